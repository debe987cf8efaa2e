#include "common/testbed/evaluate.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <exception>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"

namespace repro::testbed {
namespace {

// The sequences [begin, end) of a batch.
void AnswerBatch(const lm::LanguageModel& model,
                 const lm::StateFactory& factory, const Sequences& sequences,
                 int64_t begin, int64_t end, int64_t prompt_chunk,
                 std::vector<Answer>* out) {
  const int64_t length = sequences.tokens.size(1);
  const int64_t prompt = sequences.prompt_length;
  const int64_t questions = sequences.places.size(1);
  std::vector<std::unique_ptr<lm::AttentionState>> states;
  for (int64_t i = begin; i < end; ++i) states.push_back(factory());
  // [sequences, vocab_size] after the tokens [first, last).
  const auto feed = [&](int64_t first, int64_t last) {
    std::vector<lm::Chunk> chunks;
    for (int64_t i = begin; i < end; ++i) {
      chunks.push_back({sequences.tokens[i].slice(0, first, last),
                        states[i - begin].get(), first});
    }
    return model.Forward(chunks);
  };
  at::Tensor logits;
  for (int64_t first = 0; first < prompt; first += prompt_chunk) {
    logits = feed(first, std::min(first + prompt_chunk, prompt));
  }
  for (const auto& state : states) state->PromptDone();

  std::vector<Answer> answers((end - begin) * questions);
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t q = 0; q < questions; ++q) {
      Answer& answer = answers[(i - begin) * questions + q];
      answer.sequence = i;
      answer.question = q;
      answer.depth =
          sequences.places[i][q].item<double>() / static_cast<double>(prompt);
    }
  }
  const auto asked = sequences.answers.accessor<int64_t, 2>();
  const auto tokens = sequences.tokens.accessor<int64_t, 2>();
  for (int64_t t = prompt; t < length; ++t) {
    if (t > prompt) logits = feed(t - 1, t);
    bool any = false;
    for (int64_t i = begin; i < end; ++i) any = any || asked[i][t] >= 0;
    if (!any) continue;
    const at::Tensor log_p =
        at::log_softmax(logits.to(at::kDouble), -1).to(at::kCPU);
    const at::Tensor best = log_p.argmax(-1);
    for (int64_t i = begin; i < end; ++i) {
      if (asked[i][t] < 0) continue;
      Answer& answer = answers[(i - begin) * questions + asked[i][t]];
      ++answer.tokens;
      answer.right += best[i - begin].item<int64_t>() == tokens[i][t];
      answer.nats -= log_p[i - begin][tokens[i][t]].item<double>();
    }
  }
  for (const Answer& answer : answers) {
    if (answer.tokens > 0) out->push_back(answer);
  }
}

}  // namespace

absl::StatusOr<std::vector<Answer>> AnswerQuestions(
    const lm::LanguageModel& model, const lm::StateFactory& factory,
    const Sequences& sequences, const ReadingOptions& options) {
  if (options.prompt_chunk < 1 || options.batch < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "recall: chunks of ", options.prompt_chunk, " tokens, batches of ",
        options.batch, ": expected at least 1 of each"));
  }
  const int64_t count = sequences.tokens.size(0);
  if (count > 0 &&
      sequences.tokens.max().item<int64_t>() >= model.config().vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "recall: token ", sequences.tokens.max().item<int64_t>(),
        " is not below the model's vocabulary of ", model.config().vocab_size,
        ": sequences need the vocabulary of the model's recipe"));
  }
  const at::NoGradGuard no_grad;
  std::vector<Answer> answers;
  try {
    for (int64_t begin = 0; begin < count; begin += options.batch) {
      AnswerBatch(model, factory, sequences, begin,
                  std::min(begin + options.batch, count), options.prompt_chunk,
                  &answers);
    }
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("recall: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("recall: ", error.what()));
  }
  return answers;
}

absl::StatusOr<Recall> MeasureRecall(
    const lm::LanguageModel& model, const std::vector<Sequences>& tasks,
    const std::function<absl::StatusOr<lm::StateFactory>(const Sequences&)>&
        factory_of,
    const ReadingOptions& reading) {
  RecallCell all;
  for (const Sequences& sequences : tasks) {
    REPRO_ASSIGN_OR_RETURN(const lm::StateFactory factory,
                           factory_of(sequences));
    REPRO_ASSIGN_OR_RETURN(const std::vector<Answer> answers,
                           AnswerQuestions(model, factory, sequences, reading));
    all.answers.insert(all.answers.end(), answers.begin(), answers.end());
  }
  if (all.answers.empty()) {
    return absl::InvalidArgumentError("recall: no questions");
  }
  return Recall{100 * all.accuracy(), all.nats()};
}

double RecallCell::accuracy() const {
  double exact = 0;
  for (const Answer& answer : answers) exact += answer.exact();
  return exact / static_cast<double>(answers.size());
}

double RecallCell::token_accuracy() const {
  double right = 0, tokens = 0;
  for (const Answer& answer : answers) {
    right += static_cast<double>(answer.right);
    tokens += static_cast<double>(answer.tokens);
  }
  return right / tokens;
}

double RecallCell::nats() const {
  double nats = 0, tokens = 0;
  for (const Answer& answer : answers) {
    nats += answer.nats;
    tokens += static_cast<double>(answer.tokens);
  }
  return nats / tokens;
}

absl::StatusOr<std::vector<RecallCell>> EvaluateRecall(
    const lm::LanguageModel& model, const lm::StateFactory& factory,
    const RecallEvaluation& evaluation) {
  std::vector<std::optional<double>> depths(evaluation.depths.begin(),
                                            evaluation.depths.end());
  if (depths.empty()) depths.emplace_back();
  std::vector<RecallCell> cells;
  for (size_t l = 0; l < evaluation.lengths.size(); ++l) {
    for (size_t d = 0; d < depths.size(); ++d) {
      RecallCell cell;
      cell.length = evaluation.lengths[l];
      cell.depth = depths[d].value_or(-1);
      SequenceConfig config = evaluation.sequences;
      config.length = cell.length;
      config.depth = depths[d];
      Sequences sequences;
      try {
        sequences = MakeSequences(
            config, evaluation.count,
            MakeGenerator(evaluation.seed, l * depths.size() + d));
      } catch (const c10::Error& error) {
        return absl::InvalidArgumentError(
            absl::StrCat("recall: ", error.what_without_backtrace()));
      }
      REPRO_ASSIGN_OR_RETURN(
          cell.answers,
          AnswerQuestions(model, factory, sequences, evaluation.reading));
      if (depths[d]) {
        cell.answers.erase(
            std::remove_if(cell.answers.begin(), cell.answers.end(),
                           [](const Answer& a) { return a.question != 0; }),
            cell.answers.end());
      }
      cells.push_back(std::move(cell));
    }
  }
  return cells;
}

double MeanAccuracy(const std::vector<RecallCell>& cells) {
  double exact = 0, count = 0;
  for (const RecallCell& cell : cells) {
    for (const Answer& answer : cell.answers) exact += answer.exact();
    count += static_cast<double>(cell.answers.size());
  }
  return exact / count;
}

}  // namespace repro::testbed
