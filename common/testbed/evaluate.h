// Recall under any attention policy: which questions a model answers when its
// prompt was read, and each answer decoded, through the policy's states.
#ifndef REPRO_COMMON_TESTBED_EVALUATE_H_
#define REPRO_COMMON_TESTBED_EVALUATE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/testbed/data.h"

namespace repro::testbed {

// One question of one sequence.
struct Answer {
  int64_t sequence = 0;
  int64_t question = 0;
  double depth = 0;    // where the item begins, as a share of the prompt
  int64_t tokens = 0;  // of the answer
  int64_t right = 0;   // of these, predicted with the largest logit
  double nats = 0;     // sum of -log p of the answer's tokens
  bool exact() const { return right == tokens; }
};

struct ReadingOptions {
  int64_t prompt_chunk = 512;  // tokens that are read at once
  int64_t batch = 8;           // sequences side by side
};

// Reads each prompt in chunks, calls PromptDone, then feeds the rest token by
// token as decoding does. The true answer is fed whatever the model predicts
// (teacher forcing): greedy decoding gives an answer exactly if, and only if,
// each of its tokens is predicted so, and a mistake does not spoil the
// questions after it. In the order of sequences and questions; tokens that
// answer nothing are not counted. InvalidArgument: sequences that the model has
// no tokens for; Internal: what the policy's state threw.
absl::StatusOr<std::vector<Answer>> AnswerQuestions(
    const lm::LanguageModel& model, const lm::StateFactory& factory,
    const Sequences& sequences, const ReadingOptions& options = {});

struct Recall {
  double accuracy = 0;  // % of answers whose tokens are all right
  double nats = 0;      // -log p a token of the answers
};

// Of all questions of several tasks together; `factory_of` is asked once a
// task. Factories may count the states they made, to draw each from its own
// random numbers: a copy of one goes on counting, a new one starts again.
// Errors: those of `factory_of` and AnswerQuestions; InvalidArgument: no
// questions.
absl::StatusOr<Recall> MeasureRecall(
    const lm::LanguageModel& model, const std::vector<Sequences>& tasks,
    const std::function<absl::StatusOr<lm::StateFactory>(const Sequences&)>&
        factory_of,
    const ReadingOptions& reading);

struct RecallEvaluation {
  SequenceConfig sequences;  // length and depth come from below
  std::vector<int64_t> lengths;
  std::vector<double> depths;  // of the first question's item; empty: random
  int64_t count = 16;          // sequences of each length and depth
  uint64_t seed = 0;           // with the same one, policies see the same
  ReadingOptions reading;
};

struct RecallCell {
  int64_t length = 0;
  double depth = -1;  // -1: random places
  std::vector<Answer> answers;

  double accuracy() const;        // the share of exact answers
  double token_accuracy() const;  // the share of tokens
  double nats() const;            // a token
};

// The cells of each length and depth. With depths only the first question of a
// sequence counts.
absl::StatusOr<std::vector<RecallCell>> EvaluateRecall(
    const lm::LanguageModel& model, const lm::StateFactory& factory,
    const RecallEvaluation& evaluation);

// The share of exact answers over all cells.
double MeanAccuracy(const std::vector<RecallCell>& cells);

}  // namespace repro::testbed

#endif  // REPRO_COMMON_TESTBED_EVALUATE_H_
