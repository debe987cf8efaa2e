// How the small language models of the testbed are made: shapes, data, schedule
// and seed. A recipe gives one model on one kind of machine; its digest names
// it everywhere.
#ifndef REPRO_COMMON_TESTBED_RECIPE_H_
#define REPRO_COMMON_TESTBED_RECIPE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/llama.h"
#include "common/testbed/data.h"

namespace repro::testbed {

// A part of the training, with one distribution of sequences.
struct Stage {
  int64_t steps = 0;
  int64_t tokens = 0;  // a step: floor(tokens / length) sequences
  // The length of a step's sequences is drawn from these.
  std::vector<int64_t> lengths;
  // Tasks in these shares (TaskName), each row its own.
  std::map<std::string, double> mixture;
  // Numbers of items are uniform from 1 to these, or what fits.
  int64_t max_needles = 10;
  int64_t max_pairs = 64;
  // Questions are as many as fill a share of the sequence that is uniform from
  // 0 to this, at least one for each item.
  double max_question_share = 0;
  // Symbols to repeat and to copy: uniform from 4 to these, or what fits twice.
  int64_t max_period = 1024;
  int64_t max_copy = 64;
};

struct Recipe {
  std::string name;
  Vocabulary vocabulary;
  LlamaConfig model;    // vocab_size is the vocabulary's
  int64_t context = 0;  // the longest sequence of the training
  // Added to the first entry of each embedding: without biases, an attention
  // head that looks by position alone needs an entry that all tokens share.
  double embedding_offset = 0;
  // In each head W_k starts as W_q and W_o as W_v transposed, so that tokens
  // look for their like and copy what they find (after Trockman and Kolter
  // 2023, arXiv 2305.09828): recall forms in a fraction of the steps. Needs
  // num_kv_heads = num_heads.
  bool symmetric_start = false;
  int64_t passkey_len = 4;
  int64_t value_len = 1;
  std::vector<Stage> stages;
  // The loss is the mean of -log p over answers plus this times the mean over
  // all other tokens.
  double text_weight = 0.1;
  double rate = 1e-3;  // AdamW, linear warm-up, cosine to final_rate
  double beta2 = 0.95;
  double weight_decay = 0.1;
  int64_t warmup_steps = 100;
  double final_rate = 1e-5;
  double clip_norm = 1;
  uint64_t seed = 1;

  int64_t steps() const;  // of all stages
};

// "testbed": 21 million parameters, 8 layers of 8 heads, context 1024, for a
// GPU (minutes); "testbed_small": 170,000 parameters, 4 layers of 4 heads,
// context 256, for a CPU (minutes on two threads). InvalidArgument: another
// name.
absl::StatusOr<Recipe> FindRecipe(absl::string_view name);

// Every number of the recipe as JSON with sorted names.
std::string RecipeJson(const Recipe& recipe);
// The recipe of such a text; names that are left out have this header's
// defaults. InvalidArgument, naming `path` and the field: not JSON, an unknown
// name, a size that cannot be.
absl::StatusOr<Recipe> ParseRecipe(absl::string_view json,
                                   const std::string& path);
// SHA-256 of RecipeJson.
std::string RecipeDigest(const Recipe& recipe);

struct TrainingBatch {
  at::Tensor tokens;   // [batch, length] int64
  at::Tensor answers;  // [batch, length] bool: answers
};

// The batch of a step, on the CPU, from the recipe's seed and the step alone.
TrainingBatch MakeTrainingBatch(const Recipe& recipe, int64_t step);

// The shape of a task's sequences at a length, as evaluations use it: as many
// items as there were in the training at most, or as fit, and `num_questions`
// questions (0: one for each item); a segment a quarter as long as the sequence
// to repeat, an eighth to copy (at most stage.max_copy).
SequenceConfig EvaluationConfig(const Recipe& recipe, Task task, int64_t length,
                                int64_t num_questions);

}  // namespace repro::testbed

#endif  // REPRO_COMMON_TESTBED_RECIPE_H_
