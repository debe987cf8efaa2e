// Training of rankers on the feedback of some problems, and the scores that
// they give to the candidates of others.
#ifndef REPRO_PAPERS_RANK_EF_TRAINING_H_
#define REPRO_PAPERS_RANK_EF_TRAINING_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/encoder/encoder_decoder.h"
#include "common/tokenizer/tokenizer.h"
#include "common/train/grid.h"
#include "papers/rank_ef/feedback.h"
#include "papers/rank_ef/ranker.h"
#include "papers/rank_ef/ranking.h"

namespace repro::rank_ef {

// Defaults are the authors'.
struct RankerTraining {
  double rate = 1e-4;  // constant after the warm-up
  int64_t warmup_steps = 200;
  double weight_decay = 0.05;
  double loss_weight = 0.5;  // of classification
  int64_t epochs = 5;        // of each of the two stages of kIntermediate
  int64_t batch_size = 128;
  int64_t source_tokens = 1024;  // longer inputs lose their end
  int64_t feedback_tokens = 150;
};

// A model from scratch and a training that fit a pool of some thousand
// candidates.
struct ScaledRanker {
  encoder::EncoderDecoderConfig
      model;  // its vocab_size is set by the tokenizer
  RankerTraining training;
  int64_t vocab_size = 4096;
  int64_t folds = 3;

  // 6 million parameters: 4 + 2 layers of 256.
  static ScaledRanker Default();
};

// Special tokens of a ranker's tokenizer: padding, and what stands before and
// after each text, as the authors' tokenizer (RoBERTa's) puts them. The class
// head thus reads the state of <s>.
inline constexpr int32_t kPad = 0, kBegin = 1, kEnd = 2;

// A candidate of a pool: [problem][candidate].
struct Place {
  size_t problem = 0;
  size_t candidate = 0;
};

// Candidates as token ids, one entry a place.
struct EncodedExamples {
  std::vector<Place> places;
  std::vector<std::vector<int32_t>> classification, generation;  // inputs
  std::vector<std::vector<int32_t>> feedback;                    // targets
  std::vector<int64_t> labels;
};

// A byte-level BPE of `vocab_size` tokens, learned from the prompts,
// completions and feedback of `places` alone.
absl::StatusOr<std::unique_ptr<Tokenizer>> TrainTokenizer(
    const CandidatePool& pool, const std::vector<Place>& places,
    int64_t vocab_size);

// Cut to training.source_tokens and feedback_tokens, both with <s> and, if it
// fits, </s>.
absl::StatusOr<EncodedExamples> EncodeExamples(const Tokenizer& tokenizer,
                                               const CandidatePool& pool,
                                               std::vector<Place> places,
                                               const RankerTraining& training);

// How a training tells its progress and is stopped; either may be empty.
struct TrainingHooks {
  std::function<void(int64_t done, int64_t total, const std::string& text)>
      progress;
  std::function<bool()> cancelled;
};

// The ranker of a scheme, trained from scratch. Errors: those of Train;
// Cancelled; InvalidArgument without examples.
absl::StatusOr<std::unique_ptr<Ranker>> TrainRanker(
    Scheme scheme, const EncodedExamples& examples,
    const encoder::EncoderDecoderConfig& model, const RankerTraining& training,
    uint64_t seed, c10::Device device, const TrainingHooks& hooks);

// softmax(class logits) of each example: [example][class].
std::vector<std::vector<double>> ClassProbabilities(
    Ranker& ranker, const EncodedExamples& examples, int64_t batch_size,
    c10::Device device);

// What is compared: a scheme with its loss weight.
struct RankerVariant {
  Scheme scheme = Scheme::kClassification;
  double loss_weight = 0.5;
  std::string Name() const;  // "hard", "hard0.1"
};

enum class Split {
  // Problem i is in fold i mod folds: rankers see no candidate of a problem
  // that they rank.
  kByProblem,
  // Candidate i of each problem is in fold i mod folds: a ranker may know the
  // problem's other candidates. Not a fair test; for contrast.
  kWithinProblem,
};

// Of one seed: the probabilities that the ranker that did not train on a
// candidate gives it.
struct HeldOutScores {
  Scores correct;
  Scores execution_error;
};

// Trains a ranker for each variant, seed and fold, and lets it score the fold
// that it did not see. By the variants' names, in the order of grid.seeds;
// grid.names is ignored. Resumes and is cancelled as TrainGrid.
absl::StatusOr<std::map<std::string, std::vector<HeldOutScores>>> CrossValidate(
    const CandidatePool& pool, const std::vector<RankerVariant>& variants,
    Split split, const ScaledRanker& options, c10::Device device, Grid grid);

}  // namespace repro::rank_ef

#endif  // REPRO_PAPERS_RANK_EF_TRAINING_H_
