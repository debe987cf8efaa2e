// Training runs of the paper's experiments, one model each.
#ifndef REPRO_PAPERS_FLOWFORMER_TRAINING_H_
#define REPRO_PAPERS_FLOWFORMER_TRAINING_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/flowformer/attention_layer.h"
#include "papers/flowformer/list_ops.h"
#include "papers/flowformer/models.h"
#include "papers/flowformer/series_data.h"

namespace repro::flowformer {

// Where a run happens and whom it tells.
struct RunContext {
  c10::Device device = c10::Device(c10::kCPU);
  uint64_t seed = 0;
  std::string checkpoint_path;  // empty: none
  std::function<void(int64_t done, int64_t total, const std::string& text)>
      progress;
  std::function<bool()> cancelled;
};

// On the test set, from 0 to 1.
struct Accuracy {
  double best = 0;  // over all evaluations: the test set selects the epoch
  double last = 0;  // after the last step
};

// The reference's settings for the UEA table (100 epochs; RAdam at a constant
// rate; no weight decay).
struct SeriesTraining {
  int64_t epochs = 100;
  int64_t batch_size = 16;  // the last batch of an epoch may be smaller
  double rate = 1e-3;
  double clip_norm = 4;
  int64_t evaluate_every = 2;  // epochs
  // 512 wide, 8 heads, 2 layers, 2048 hidden, dropout 0.1.
  SeriesClassifierConfig model;
};

// `problem` is on context.device; sizes of the model that it fixes are set from
// it. Cancelled: context.cancelled said so.
absl::StatusOr<Accuracy> TrainSeriesClassifier(const SeriesProblem& problem,
                                               const AttentionChoice& attention,
                                               SeriesTraining options,
                                               const RunContext& context);

struct CharGptTraining {
  std::string size = "nano";
  int64_t block_size = 128;
  int64_t batch_size = 32;
  int64_t steps = 600;
  double rate = 2e-3;  // AdamW (0.9, 0.95) without decay
  double clip_norm = 1;
  int64_t validation_windows = 256;
};

// Characters as indices into the sorted distinct ones.
struct CharData {
  at::Tensor tokens;  // int64 [length]
  int64_t vocabulary = 0;
};
CharData IndexCharacters(const std::string& text);

// Trains on windows drawn from the first 90% of the text and returns the mean
// loss in nats a character over windows spread evenly over the last 10%.
absl::StatusOr<double> TrainCharGpt(const CharData& data,
                                    const AttentionChoice& attention,
                                    const CharGptTraining& options,
                                    const RunContext& context);

struct ListOpsTraining {
  ListOpsOptions task;
  int64_t train_examples = 96000;
  int64_t test_examples = 2000;
  int64_t steps = 5000;
  int64_t batch_size = 32;
  // The rate is factor min(1, t / warmup) / sqrt(max(t, warmup)); AdamW
  // (0.9, 0.98).
  double rate_factor = 0.005;
  int64_t warmup = 1000;
  double weight_decay = 0.1;
  SequenceClassifierConfig model;
};

struct ListOpsData {
  at::Tensor train_tokens;  // int64 [examples, max_length - 1], padded with 0
  at::Tensor train_values;  // int64 [examples]
  at::Tensor test_tokens;
  at::Tensor test_values;
};
// The same for every seed of a model: the data set is drawn from `seed`.
ListOpsData MakeListOpsData(const ListOpsTraining& options, uint64_t seed,
                            c10::Device device);

// `options.model`'s vocabulary and length are set from the task.
absl::StatusOr<Accuracy> TrainListOps(const ListOpsData& data,
                                      const AttentionChoice& attention,
                                      const ListOpsTraining& options,
                                      const RunContext& context);

}  // namespace repro::flowformer

#endif  // REPRO_PAPERS_FLOWFORMER_TRAINING_H_
