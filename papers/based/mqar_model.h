// The two-layer model of the recall experiments and its training: several
// models that differ by their seed alone run as one, stacked along the first
// axis of every parameter, since a single one is too small to fill a GPU.
#ifndef REPRO_PAPERS_BASED_MQAR_MODEL_H_
#define REPRO_PAPERS_BASED_MQAR_MODEL_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/module.h"
#include "common/train/grid.h"
#include "papers/based/feature_map.h"

namespace repro::based {

struct MqarModelConfig {
  enum class Mixer { kLinear, kSliding };

  int64_t vocab_size = 8192;
  int64_t dim = 0;
  Mixer mixer = Mixer::kLinear;
  FeatureMap feature_map = FeatureMap::kTaylor;  // linear
  int64_t feature_dim = 16;                      // linear: of q and k
  int64_t window = 0;  // sliding: keys that a query sees, its own included
  double dropout = 0.1;

  // The figure's x axis: 4 bytes times the sizes of feature_map.h of both
  // layers. Full attention is a window of the longest sequence.
  int64_t StateBytes() const;
  // "taylor_d64_f16", "sliding_d128_w32".
  std::string Name() const;
};

// The window at which a sliding model of width `dim` has the number of state
// bytes nearest to `bytes`; at least 1.
int64_t WindowOfBytes(int64_t dim, int64_t bytes);

// x = dropout(embedding); x += BaseConv(LayerNorm x), BaseConv(u) = conv(u) *
// (W u + b) + u with a causal filter of width 3 a channel; x += mixer(LayerNorm
// x), one head, no positions; logits by the embedding from LayerNorm x.
class MqarModel : public Module {
 public:
  // One model for each seed; its weights depend on its seed alone.
  MqarModel(const MqarModelConfig& config, const std::vector<uint64_t>& seeds,
            c10::Device device);

  // tokens [batch, seq_len], the same for all models, and positions [batch,
  // queries] -> logits [models, batch, queries, vocab_size] at these. The
  // generator is of the device; it is used in training mode.
  at::Tensor Forward(const at::Tensor& tokens, const at::Tensor& positions,
                     at::Generator generator) const;

  int64_t num_models() const { return num_models_; }

 private:
  at::Tensor Normalize(const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& bias) const;
  at::Tensor BaseConv(const at::Tensor& u) const;
  at::Tensor Mix(const at::Tensor& x) const;

  const MqarModelConfig config_;
  const int64_t num_models_;
  at::Tensor embedding_;                // [models, vocab_size, dim]
  at::Tensor norm_weight_, norm_bias_;  // [models, 3, dim]
  at::Tensor conv_filter_, conv_bias_;  // [models, 3 or 1, dim]
  at::Tensor conv_weight_,
      conv_weight_bias_;           // [models, dim, dim], [.., 1, dim]
  at::Tensor q_, k_, v_, output_;  // [models, dim, ...]
};

struct MqarSegment {
  int64_t seq_len, num_pairs, num_examples;
};

struct MqarTraining {
  int64_t vocab_size = 8192;
  std::vector<MqarSegment> train, test;
  int64_t epochs = 32;
  int64_t batch_size = 256;
  double rate = 3.16e-3;
  double weight_decay = 0.1;
  uint64_t data_seed = 123;

  // The paper's segments, with `fraction` of the training examples.
  static MqarTraining Published(double fraction = 1);
  int64_t StepsPerEpoch() const;
};

// All examples, on the device.
struct MqarData {
  struct Segment {
    at::Tensor inputs;     // [examples, seq_len]
    at::Tensor positions;  // [examples, num_pairs], increasing
    at::Tensor targets;    // the same
  };
  std::vector<Segment> train, test;
};
MqarData MakeMqarData(const MqarTraining& training, c10::Device device);

// AdamW, the rate falling as a cosine from epoch to epoch, segments in order.
// One accuracy a seed after the last step: the share of right answers, of all
// test examples' means. Resumes from cell.checkpoint_path.
absl::StatusOr<std::vector<double>> TrainMqar(
    const MqarModelConfig& config, const MqarTraining& training,
    const MqarData& data, const std::vector<uint64_t>& seeds,
    c10::Device device, const GridCell& cell);

}  // namespace repro::based

#endif  // REPRO_PAPERS_BASED_MQAR_MODEL_H_
