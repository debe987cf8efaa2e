// The paper's comparison in small: one transformer learns three tasks as text,
// path patching finds the circuit of each, and the heads that inhibit in one
// task are made to inhibit in another.
//
//   Colored Objects       the paper's prompts (colored_objects.h), 62 tokens
//   indirect object       "Then, Mary and John went to the park. John gave a
//                         ring to" -> Mary; after Wang et al. 2023
//   greater than          "The war lasted from the year 17 41 to the year 17"
//                         -> a number above 41; after Hanna et al. 2023; the
//                         control, which another algorithm solves
#ifndef REPRO_PAPERS_CIRCUIT_REUSE_SMALL_STUDY_H_
#define REPRO_PAPERS_CIRCUIT_REUSE_SMALL_STUDY_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "papers/circuit_reuse/hooked_transformer.h"
#include "papers/circuit_reuse/path_patching.h"

namespace repro::circuit_reuse {

// The words of all three tasks, each a token.
class WordVocabulary {
 public:
  WordVocabulary();

  int64_t size() const { return static_cast<int64_t>(words_.size()); }
  const std::string& word(int64_t id) const { return words_.at(id); }
  // NotFound for a word that no prompt has.
  absl::StatusOr<int64_t> Id(absl::string_view word) const;
  // The tokens of SplitWords(text).
  absl::StatusOr<std::vector<int64_t>> Encode(absl::string_view text) const;

 private:
  std::vector<std::string> words_;
  std::map<std::string, int64_t, std::less<>> ids_;
};

enum class Task { kColoredObjects, kIndirectObject, kGreaterThan };

// Years of the greater-than task are two digits, kFirstYear to kLastYear.
inline constexpr int64_t kFirstYear = 20, kLastYear = 59;

// One prompt as words.
struct TaskPrompt {
  std::string text;
  std::string answer;          // what has to follow; a valid one if several are
  std::string counterfactual;  // as long; one word differs
  std::string wrong;           // an answer that the counterfactual makes right
  // The word that differs: the object asked for, the second subject, the year.
  int64_t source = 0;
  // Where the other answers stand: two for Colored Objects, one (the subject's
  // first place) for the indirect object, the year itself for greater than.
  std::vector<int64_t> distractors;
};
TaskPrompt DrawTaskPrompt(Task task, std::mt19937_64& random);

// Prompts of a task as tensors. On the CPU.
struct TaskBatch {
  PatchingPrompts prompts;
  at::Tensor sources;      // [count]
  at::Tensor distractors;  // [count, n]
  // [count, n]: the tokens that stand there, as answers ("Blue" for "blue").
  at::Tensor distractor_answers;
};
TaskBatch DrawTaskBatch(Task task, const WordVocabulary& vocabulary,
                        int64_t count, std::mt19937_64& random);

// Text that the model learns beside the tasks: "On the desk, I see a blue
// pencil, a black cup, and a red pen. pen: Red. pencil: Blue. cup: Black",
// three objects in random order. [count, 30] int64; kDescribed: before each
// answer.
inline constexpr int64_t kDescribed[] = {20, 24, 28};
at::Tensor DrawDescriptions(const WordVocabulary& vocabulary, int64_t count,
                            std::mt19937_64& random);

// The circuit of a task, found in three stages: what reaches the logits, what
// reaches the queries of those heads at the last token, and what reaches the
// values of these at the source token.
struct Circuit {
  std::vector<Importance> importance;     // of each stage
  std::vector<std::vector<Head>> stages;  // the heads with the largest ones
  std::vector<Head> heads() const;        // of all stages, each once
};
absl::StatusOr<Circuit> FindCircuit(const HookedTransformer& model,
                                    const TaskBatch& batch,
                                    int64_t heads_per_stage);

struct SmallStudyOptions {
  int64_t layers = 4;
  int64_t heads = 8;
  int64_t dim = 64;
  int64_t mlp_dim = 128;
  int64_t max_steps = 4000;
  // Colored Objects prompts in a step, and as many of the other tasks each;
  // twice as many descriptions.
  int64_t batch = 16;
  double rate = 3e-3;  // AdamW, warm-up, then constant
  // Every `evaluate_every` steps 100 new prompts of each task are answered;
  // training ends when the two other tasks are at `enough` and Colored Objects
  // is at `half`, which is where the paper's model is.
  int64_t evaluate_every = 50;
  double enough = 0.95;
  double half = 0.5;
  int64_t patching_prompts = 100;
  int64_t test_prompts = 300;
  int64_t heads_per_stage = 3;  // of 32
  int64_t random_sets = 5;      // of heads, for the controls
};

// Measures by name; those with a percent sign in their meaning are in percent:
//   steps                    of training
//   accuracy/ioi, accuracy/greater_than, accuracy/cobjs
//   overlap                  of the circuits of IOI and Colored Objects, %
//   overlap_chance           expected with as many heads in each layer
//   overlap_control          of IOI and greater than
//   overlap_control_chance   expected of these
//   both, inhibition, negative
//                            accuracy in Colored Objects when the heads of
//                            IOI's second stage and its most harmful head, or
//                            the one or the other, look at the wrong colours
//   both_random              the same of random other heads of these layers
//   broken                   share of right answers that `both` turns wrong
//   blocked                  accuracy when the heads of Colored Objects' second
//                            stage can't look at the question from the end
//   blocked_random           the same of random heads
//   attention_wrong, attention_right
//                            change of the movers' attention by `both`, in
//                            percent of all attention
//   spearman                 over heads above the ones changed: change of logit
//                            attribution by `both`, and importance to the
//                            logits
// The same seed gives the same numbers on the same device. Cancelled if
// `progress` (a share in [0, 1] and a text) returns false. Throws c10::Error
// where LibTorch does.
std::vector<std::string> SmallStudyMeasures();
absl::StatusOr<std::map<std::string, double>> RunSmallStudy(
    const SmallStudyOptions& options, uint64_t seed, c10::Device device,
    const std::function<bool(double, const std::string&)>& progress);

}  // namespace repro::circuit_reuse

#endif  // REPRO_PAPERS_CIRCUIT_REUSE_SMALL_STUDY_H_
