// Decoders trained from scratch on pairs of commented and bare functions, and
// what they then do: the paper's comparison at a small scale.
#ifndef REPRO_PAPERS_MANGO_PAIR_TRAINING_H_
#define REPRO_PAPERS_MANGO_PAIR_TRAINING_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/exec/sandbox.h"
#include "common/nn/llama.h"
#include "common/tokenizer/tokenizer.h"
#include "common/train/grid.h"
#include "papers/mango/pair_language.h"
#include "papers/mango/pair_loss.h"
#include "papers/mango/prompts.h"

namespace repro::mango {

// What a decoder is trained on. The responses of a training begin with a
// sentence, as those of decoding do, since nothing but this training teaches
// the decoder what it means.
enum class Arm {
  kBare,       // the bare function, announced plainly; cross entropy
  kCommented,  // the commented one; cross entropy
  kMango,      // the commented one; cross entropy and the margin loss
};
// "bare", "commented", "mango".
const char* ArmName(Arm arm);
absl::StatusOr<Arm> ParseArm(absl::string_view name);

struct PairStudy {
  LlamaConfig model;  // vocab_size is set by the tokenizer
  int64_t vocab_size = 448;
  int64_t train_tasks = 0;
  int64_t gap_tasks = 0;   // held out, for the likelihood gap
  int64_t test_tasks = 0;  // held out, to solve
  int min_steps = 1;
  int max_steps = 3;
  int64_t steps = 0;
  int64_t batch_size = 0;
  double rate = 0;
  int64_t warmup_steps = 0;
  double margin = 0.10;
  // How often a commented function is announced plainly, so that the decoder
  // knows that sentence, too.
  double plain_share = 0.1;

  // 0.4 million parameters, for a CPU.
  static PairStudy Small();
  // 26 million, for a GPU.
  static PairStudy Large();
};

// A task as token ids, its prompt without what the response begins with.
struct EncodedTask {
  std::vector<int32_t> prompt;           // up to "### Response:"
  std::vector<int32_t> commented, bare;  // without an end token
};

// The ids of special tokens; the separator is "###".
inline constexpr int32_t kPad = 0, kEnd = 1, kSeparator = 2;

// Data of a study, the same for all seeds.
struct PairData {
  std::vector<PairTask> train, gap, test;
  std::unique_ptr<Tokenizer> tokenizer;  // byte-level BPE of train's texts
  std::vector<EncodedTask> train_ids, gap_ids, test_ids;
  // Token ids of the sentences.
  std::vector<std::vector<int32_t>> plain, comment;
};
absl::StatusOr<PairData> MakePairData(const PairStudy& study, uint64_t seed);

// What a trained decoder does, in percent of the test tasks and in nats.
struct PairOutcome {
  double solved_comment = 0;  // the response begins with a comment prompt
  double solved_plain = 0;
  double gap = 0;       // mean L- less L+ of the gap tasks
  double positive = 0;  // mean L+
  double comments = 0;  // programs with a comment, after a comment prompt

  std::vector<double> Numbers() const;
  static PairOutcome FromNumbers(const std::vector<double>& numbers);
};

// Greedy programs for data.test after one sentence of `kind` each, drawn by
// `seed`. At most `max_tokens` tokens.
absl::StatusOr<std::vector<std::string>> WritePrograms(
    const Llama& model, const PairData& data, PrefixKind kind,
    int64_t max_tokens, uint64_t seed, c10::Device device);

// Means of L- and L+ over data.gap after a comment prompt.
PairOutcome MeasureGap(const Llama& model, const PairData& data, uint64_t seed,
                       c10::Device device);

// Trains a decoder for each arm and seed; by arm, in the order of grid.seeds.
// grid.names is ignored. Resumes and is cancelled as TrainGrid.
absl::StatusOr<std::map<Arm, std::vector<PairOutcome>>> TrainPairs(
    const PairStudy& study, const PairData& data, const std::vector<Arm>& arms,
    const exec::Sandbox& sandbox, int workers, c10::Device device, Grid grid);

}  // namespace repro::mango

#endif  // REPRO_PAPERS_MANGO_PAIR_TRAINING_H_
