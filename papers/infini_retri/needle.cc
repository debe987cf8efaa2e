#include "papers/infini_retri/needle.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/randint.h>

#include <limits>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/data/jsonl.h"
#include "common/lm/dense_state.h"
#include "common/lm/generate.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "papers/infini_retri/infini_retri.h"
#include "papers/infini_retri/sentences.h"

namespace repro::infini_retri {
namespace {

// Of the first probe's text: far from the seeds of experiments.
constexpr uint64_t kProbeSeed = uint64_t{1} << 32;

std::set<std::string> WordSet(absl::string_view text) {
  const metrics::Tokens words = metrics::SplitWhitespace(metrics::Lower(text));
  return {words.begin(), words.end()};
}

absl::StatusOr<int64_t> CountTokens(const Tokenizer& tokenizer,
                                    const std::string& text) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                         tokenizer.Encode(text, {/*add_special_tokens=*/false,
                                                 /*parse_special=*/false}));
  return static_cast<int64_t>(ids.size());
}

// The answer to a prompt that holds the whole text.
absl::StatusOr<std::string> AnswerWhole(const lm::LanguageModel& model,
                                        const Tokenizer& tokenizer,
                                        const std::string& text,
                                        const Options& options,
                                        const lm::StateFactory& factory) {
  REPRO_ASSIGN_OR_RETURN(PromptFrame frame,
                         MakeFrame(tokenizer, options.prompt, kNeedleQuestion));
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens,
                         tokenizer.Encode(text, {/*add_special_tokens=*/false,
                                                 /*parse_special=*/false}));
  lm::GenerationRequest request;
  request.prompt = Retriever(&model, std::move(frame), {}).Prompt({tokens});
  request.max_tokens = options.max_new_tokens;
  request.stop = options.stop;
  request.sampling = options.sampling;
  REPRO_ASSIGN_OR_RETURN(
      const lm::GenerationResult result,
      lm::Generate(model, tokenizer, factory, request, /*on_piece=*/nullptr));
  return result.text;
}

}  // namespace

absl::StatusOr<double> MatchedWords(absl::string_view response,
                                    absl::string_view answer) {
  const std::set<std::string> wanted = WordSet(answer), got = WordSet(response);
  if (wanted.empty()) {
    return absl::InvalidArgumentError("the answer has no words");
  }
  double matched = 0;
  for (const std::string& word : wanted) {
    matched += static_cast<double>(got.count(word));
  }
  return matched / static_cast<double>(wanted.size());
}

absl::StatusOr<std::vector<std::string>> ReadEssays(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::vector<std::string> essays;
  for (const JsonLine& line : lines) {
    if (!line.value.is_object() || !line.value.contains("text") ||
        !line.value["text"].is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ":", line.line, ": expected an object with a string \"text\""));
    }
    essays.push_back(line.value["text"].get<std::string>());
  }
  if (essays.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no essays"));
  }
  return essays;
}

absl::StatusOr<std::string> MakeNeedleText(
    const std::vector<std::string>& essays, const Tokenizer& tokenizer,
    absl::string_view needle, int64_t length, double depth, uint64_t seed) {
  if (!(depth >= 0 && depth <= 1) || essays.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("needle: depth ", depth, " in ", essays.size(),
                     " essays, expected 0 to 1 and at least one"));
  }
  const std::string spaced = absl::StrCat(" ", needle);
  REPRO_ASSIGN_OR_RETURN(int64_t total, CountTokens(tokenizer, spaced));
  if (total > length) {
    return absl::InvalidArgumentError(absl::StrCat("needle: a text of ", length,
                                                   " tokens, and the needle's ",
                                                   total, " alone"));
  }
  const auto count = static_cast<int64_t>(essays.size());
  const int64_t first =
      at::randint(count, {1}, MakeGenerator(seed), at::kLong).item<int64_t>();
  std::vector<std::string> sentences;
  bool full = false;
  for (int64_t i = 0; !full; ++i) {
    if (i == count && sentences.empty()) {
      return absl::InvalidArgumentError("needle: the essays have no text");
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> more,
                           SplitSentences(essays[(first + i) % count]));
    for (const std::string& sentence : more) {
      REPRO_ASSIGN_OR_RETURN(const int64_t tokens,
                             CountTokens(tokenizer, sentence));
      full = total + tokens > length;
      if (full) break;
      total += tokens;
      sentences.push_back(sentence);
    }
  }
  const auto place =
      static_cast<size_t>(depth * static_cast<double>(sentences.size()));
  std::string text;
  for (size_t i = 0; i <= sentences.size(); ++i) {
    if (i == place) text += spaced;
    if (i < sentences.size()) text += sentences[i];
  }
  return text;
}

absl::StatusOr<NeedleScore> MeasureNeedle(
    const lm::LanguageModel& model, const Tokenizer& tokenizer,
    const std::vector<std::string>& essays, const NeedleOptions& options,
    const std::string& policy, uint64_t seed) {
  if (policy != "infini_retri" && policy != "full" && policy != "window") {
    return absl::InvalidArgumentError(
        absl::StrCat("needle: no policy \"", policy, "\""));
  }
  Options retrieval;
  retrieval.chunk_size = options.chunk_size;
  retrieval.retriever.top_k = options.top_k;
  retrieval.retriever.layer = options.layer;
  retrieval.max_new_tokens = options.max_new_tokens;
  retrieval.stop = {"\n"};
  retrieval.sampling = {};  // greedy
  double matched = 0, retrieved = 0;
  for (const double depth : options.depths) {
    REPRO_ASSIGN_OR_RETURN(const std::string text,
                           MakeNeedleText(essays, tokenizer, kNeedle,
                                          options.length, depth, seed));
    std::string response;
    if (policy == "infini_retri") {
      REPRO_ASSIGN_OR_RETURN(Answer answer, Ask(model, tokenizer, text,
                                                kNeedleQuestion, retrieval));
      retrieved += absl::StrContains(answer.retrieved.memory, kNeedle);
      response = std::move(answer.text);
    } else {
      const bool window = policy == "window";
      REPRO_ASSIGN_OR_RETURN(
          response, AnswerWhole(model, tokenizer, text, retrieval, [&] {
            return window ? lm::MakeWindowState(model.config(), model.device(),
                                                model.dtype(), options.sink,
                                                options.recent)
                          : lm::MakeDenseState(model.config(), model.device(),
                                               model.dtype());
          }));
      retrieved = std::numeric_limits<double>::quiet_NaN();
    }
    REPRO_ASSIGN_OR_RETURN(const double score,
                           MatchedWords(response, kNeedleAnswer));
    matched += score;
  }
  const auto count = static_cast<double>(options.depths.size());
  if (count == 0) return absl::InvalidArgumentError("needle: no depths");
  return NeedleScore{100 * matched / count, 100 * retrieved / count};
}

absl::StatusOr<int64_t> BestNeedleLayer(const lm::LanguageModel& model,
                                        const Tokenizer& tokenizer,
                                        const std::vector<std::string>& essays,
                                        const NeedleOptions& options) {
  constexpr char kMagic[] =
      "One of the special magic numbers for long-context is: 48213.";
  REPRO_ASSIGN_OR_RETURN(
      const PromptFrame frame,
      MakeFrame(tokenizer, Options().prompt,
                "What is the special magic number for long-context mentioned "
                "in the book?"));
  std::vector<LayerProbe> probes;
  for (size_t i = 0; i < 3 * options.depths.size(); ++i) {
    const double depth = options.depths[i / 3];
    REPRO_ASSIGN_OR_RETURN(
        const std::string text,
        MakeNeedleText(essays, tokenizer, kMagic, options.chunk_size, depth,
                       kProbeSeed + i));
    REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> sentences,
                           SplitSentences(text));
    LayerProbe probe;
    probe.frame = frame;
    for (const std::string& sentence : sentences) {
      if (absl::StrContains(sentence, kMagic)) {
        probe.answer = static_cast<int64_t>(probe.context.size());
      }
      REPRO_ASSIGN_OR_RETURN(
          probe.context.emplace_back(),
          tokenizer.Encode(sentence, {/*add_special_tokens=*/false,
                                      /*parse_special=*/false}));
    }
    probes.push_back(std::move(probe));
  }
  RetrieverOptions retriever;
  retriever.top_k = options.top_k;
  return BestLayer(model, probes, retriever);
}

}  // namespace repro::infini_retri
