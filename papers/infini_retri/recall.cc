#include "papers/infini_retri/recall.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/lm/dense_state.h"
#include "common/lm/policy.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/testbed/data.h"
#include "common/testbed/evaluate.h"

namespace repro::infini_retri {
namespace {

using testbed::Sequences;
using testbed::Vocabulary;

// The stream of a seed for texts to choose a layer by; those of the lengths are
// the lengths.
constexpr uint64_t kProbes = uint64_t{1} << 32;

std::vector<int32_t> Ids(const at::Tensor& tokens) {
  const at::Tensor row = tokens.contiguous();
  const int64_t* first = row.const_data_ptr<int64_t>();
  return {first, first + row.numel()};
}

lm::StateFactory DenseFactory(const lm::LanguageModel& model) {
  return [&model] {
    return lm::MakeDenseState(model.config(), model.device(), model.dtype());
  };
}

// One question: "ask, ordinal" and the words that answer it.
struct Question {
  std::vector<int32_t> ask, answer;
};

// The questions after a sequence's prompt.
std::vector<Question> QuestionsOf(const std::vector<int32_t>& tokens,
                                  int64_t prompt_length, int64_t passkey_len) {
  std::vector<Question> questions;
  for (auto it = tokens.begin() + prompt_length; it != tokens.end();
       it += 2 + passkey_len) {
    questions.push_back({{it, it + 2}, {it + 2, it + 2 + passkey_len}});
  }
  return questions;
}

struct Steps {
  int64_t seen = 0, kept = 0;  // with the needle asked for
};

bool IsAskedFor(const Question& question, const TokenSentence& sentence) {
  return sentence.size() > 1 && sentence[0] == Vocabulary::kNeedle &&
         sentence[1] == question.ask[1];
}

PromptFrame FrameOf(const Question& question) {
  return {{Vocabulary::kBegin}, {}, question.ask};
}

// The prompt of a sequence, without its begin symbol, in chunks.
std::vector<std::vector<TokenSentence>> ChunksOf(
    const std::vector<int32_t>& tokens, int64_t prompt_length,
    int64_t passkey_len, const RecallOptions& options) {
  return PackSentences(
      PasskeySentences({tokens.begin() + 1, tokens.begin() + prompt_length},
                       passkey_len, options.run),
      options.chunk_size);
}

// Each question of the sequences with the chunk that holds its needle.
std::vector<LayerProbe> Probes(const testbed::Recipe& recipe,
                               const RecallOptions& options,
                               const Sequences& sequences) {
  std::vector<LayerProbe> probes;
  for (int64_t i = 0; i < sequences.tokens.size(0); ++i) {
    const std::vector<int32_t> tokens = Ids(sequences.tokens[i]);
    const auto chunks =
        ChunksOf(tokens, sequences.prompt_length, recipe.passkey_len, options);
    for (const Question& question :
         QuestionsOf(tokens, sequences.prompt_length, recipe.passkey_len)) {
      for (const std::vector<TokenSentence>& chunk : chunks) {
        const auto needle = std::find_if(
            chunk.begin(), chunk.end(), [&](const TokenSentence& sentence) {
              return IsAskedFor(question, sentence);
            });
        if (needle == chunk.end()) continue;
        probes.push_back({FrameOf(question), chunk, needle - chunk.begin()});
      }
    }
  }
  return probes;
}

// What is left of the text.
absl::StatusOr<std::vector<TokenSentence>> Memory(
    const lm::LanguageModel& model,
    const std::vector<std::vector<TokenSentence>>& chunks,
    const Question& question, const RetrieverOptions& options, Steps* steps) {
  const auto has_needle = [&](const std::vector<TokenSentence>& sentences) {
    return std::any_of(sentences.begin(), sentences.end(),
                       [&](const TokenSentence& sentence) {
                         return IsAskedFor(question, sentence);
                       });
  };
  Retriever retriever(&model, FrameOf(question), options);
  std::vector<TokenSentence> memory;
  for (const std::vector<TokenSentence>& chunk : chunks) {
    std::vector<TokenSentence> context = std::move(memory);
    context.insert(context.end(), chunk.begin(), chunk.end());
    REPRO_ASSIGN_OR_RETURN(const std::vector<int64_t> kept,
                           retriever.Select(context));
    memory.clear();
    for (const int64_t i : kept) memory.push_back(context[i]);
    if (has_needle(context)) {
      ++steps->seen;
      steps->kept += has_needle(memory);
    }
  }
  return memory;
}

// The question after its memory, as the testbed asks.
Sequences AsSequence(const std::vector<TokenSentence>& memory,
                     const Question& question) {
  std::vector<int64_t> tokens = {Vocabulary::kBegin};
  const auto append = [&](const std::vector<int32_t>& more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
  };
  for (const TokenSentence& sentence : memory) append(sentence);
  Sequences out;
  out.prompt_length = static_cast<int64_t>(tokens.size());
  append(question.ask);
  append(question.answer);
  out.tokens = at::tensor(tokens, at::kLong).unsqueeze(0);
  out.answers = at::full_like(out.tokens, -1);
  const auto answer_len = static_cast<int64_t>(question.answer.size());
  out.answers.narrow(1, out.tokens.size(1) - answer_len, answer_len).zero_();
  out.places = at::zeros({1, 1}, at::kLong);
  return out;
}

absl::StatusOr<Sequences> MakePasskeys(const testbed::Recipe& recipe,
                                       const RecallOptions& options,
                                       int64_t length,
                                       at::Generator generator) {
  try {
    return testbed::MakeSequences(
        testbed::EvaluationConfig(recipe, testbed::Task::kPasskey, length,
                                  options.questions),
        options.sequences, std::move(generator));
  } catch (const c10::Error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("recall: ", error.what_without_backtrace()));
  }
}

absl::StatusOr<RetrievalRecall> ThroughMemory(const lm::LanguageModel& model,
                                              const testbed::Recipe& recipe,
                                              const RecallOptions& options,
                                              const RetrieverOptions& retriever,
                                              const Sequences& sequences) {
  Steps steps;
  double exact = 0, asked = 0;
  for (int64_t i = 0; i < sequences.tokens.size(0); ++i) {
    const std::vector<int32_t> tokens = Ids(sequences.tokens[i]);
    const auto chunks =
        ChunksOf(tokens, sequences.prompt_length, recipe.passkey_len, options);
    for (const Question& question :
         QuestionsOf(tokens, sequences.prompt_length, recipe.passkey_len)) {
      REPRO_ASSIGN_OR_RETURN(
          const std::vector<TokenSentence> memory,
          Memory(model, chunks, question, retriever, &steps));
      REPRO_ASSIGN_OR_RETURN(
          const std::vector<testbed::Answer> answers,
          testbed::AnswerQuestions(model, DenseFactory(model),
                                   AsSequence(memory, question)));
      for (const testbed::Answer& answer : answers) exact += answer.exact();
      asked += static_cast<double>(answers.size());
    }
  }
  if (asked == 0 || steps.seen == 0) {
    return absl::InvalidArgumentError("recall: no questions");
  }
  return RetrievalRecall{
      100 * exact / asked,
      100 * static_cast<double>(steps.kept) / static_cast<double>(steps.seen)};
}

}  // namespace

std::vector<TokenSentence> PasskeySentences(const std::vector<int32_t>& tokens,
                                            int64_t passkey_len, int64_t run) {
  TORCH_CHECK(passkey_len >= 1 && run >= 1, "passkey sentences: passkey_len ",
              passkey_len, ", run ", run);
  std::vector<TokenSentence> sentences;
  const auto end = tokens.end();
  for (auto at = tokens.begin(); at != end;) {
    const bool needle = *at == Vocabulary::kNeedle;
    auto next =
        at + std::min<int64_t>(needle ? 2 + passkey_len : run, end - at);
    if (!needle) next = std::find(at, next, Vocabulary::kNeedle);
    sentences.emplace_back(at, next);
    at = next;
  }
  return sentences;
}

std::vector<std::vector<TokenSentence>> PackSentences(
    const std::vector<TokenSentence>& sentences, int64_t chunk_size) {
  std::vector<std::vector<TokenSentence>> chunks;
  int64_t total = 0;
  for (const TokenSentence& sentence : sentences) {
    const auto tokens = static_cast<int64_t>(sentence.size());
    if (chunks.empty() || total + tokens > chunk_size) {
      chunks.emplace_back();
      total = 0;
    }
    chunks.back().push_back(sentence);
    total += tokens;
  }
  return chunks;
}

absl::StatusOr<RetrievalRecall> MeasureRetrieval(const lm::LanguageModel& model,
                                                 const testbed::Recipe& recipe,
                                                 const RecallOptions& options,
                                                 const std::string& policy,
                                                 int64_t length,
                                                 uint64_t seed) {
  REPRO_ASSIGN_OR_RETURN(
      const lm::PolicyOptions given,
      lm::PolicyOptions::Parse(absl::StrCat("policy=", policy)));
  const std::string name = given.String("policy", "");
  const bool best_layer = name == "best_layer";
  const bool retrieval = name == "infini_retri" || best_layer;
  std::vector<std::string> known = {"policy"};
  if (retrieval) {
    known.insert(known.end(), {"phrase_width", "use_question_weights"});
  }
  if (retrieval && !best_layer) known.push_back("layer");
  REPRO_RETURN_IF_ERROR(given.CheckNames(known));
  REPRO_ASSIGN_OR_RETURN(
      const Sequences sequences,
      MakePasskeys(recipe, options, length,
                   MakeGenerator(seed, static_cast<uint64_t>(length))));
  if (retrieval) {
    RetrieverOptions retriever = options.retriever;
    REPRO_ASSIGN_OR_RETURN(
        retriever.phrase_width,
        given.Int("phrase_width", retriever.phrase_width, 1, 1 << 20));
    REPRO_ASSIGN_OR_RETURN(const int64_t weighted,
                           given.Int("use_question_weights",
                                     retriever.use_question_weights, 0, 1));
    retriever.use_question_weights = weighted != 0;
    if (best_layer) {
      REPRO_ASSIGN_OR_RETURN(const Sequences others,
                             MakePasskeys(recipe, options, recipe.context,
                                          MakeGenerator(seed, kProbes)));
      REPRO_ASSIGN_OR_RETURN(
          retriever.layer,
          BestLayer(model, Probes(recipe, options, others), retriever));
    } else {
      REPRO_ASSIGN_OR_RETURN(retriever.layer,
                             given.Int("layer", retriever.layer, -1,
                                       model.config().num_layers - 1));
    }
    return ThroughMemory(model, recipe, options, retriever, sequences);
  }
  lm::StateFactory factory = DenseFactory(model);
  if (name == "window") {
    const int64_t recent = recipe.context - options.sink;
    factory = [&model, &options, recent] {
      return lm::MakeWindowState(model.config(), model.device(), model.dtype(),
                                 options.sink, recent);
    };
  } else if (name != "full") {
    return absl::InvalidArgumentError(
        absl::StrCat("recall: no policy \"", name, "\""));
  }
  REPRO_ASSIGN_OR_RETURN(
      const testbed::Recall recall,
      testbed::MeasureRecall(model, {sequences},
                             [&](const Sequences&) { return factory; }, {}));
  return RetrievalRecall{recall.accuracy,
                         std::numeric_limits<double>::quiet_NaN()};
}

}  // namespace repro::infini_retri
