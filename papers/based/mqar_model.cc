#include "papers/based/mqar_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/mqar.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/status/macros.h"
#include "common/tensor/check.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/trainer.h"

namespace repro::based {
namespace {

constexpr double kStd = 0.02;
constexpr double kPi = 3.14159265358979323846;
// Streams of a seed.
constexpr uint64_t kWeights = 0, kDropout = 1;

// x: [models, batch, seq_len, in], weight: [models, in, out].
at::Tensor Product(const at::Tensor& x, const at::Tensor& weight) {
  return at::bmm(x.flatten(1, 2), weight)
      .view({x.size(0), x.size(1), x.size(2), weight.size(2)});
}

}  // namespace

int64_t MqarModelConfig::StateBytes() const {
  const int64_t mixer_size = mixer == Mixer::kLinear
                                 ? LinearStateSize(dim, feature_dim)
                                 : SlidingStateSize(dim, window);
  return 4 * (BaseConvStateSize(dim) + mixer_size);
}

std::string MqarModelConfig::Name() const {
  if (mixer == Mixer::kSliding) {
    return absl::StrCat("sliding_d", dim, "_w", window);
  }
  const char* map = "taylor";
  switch (feature_map) {
    case FeatureMap::kTaylor:
      break;
    case FeatureMap::kIdentity:
      map = "identity";
      break;
    case FeatureMap::kRelu:
      map = "relu";
      break;
    case FeatureMap::kSquare:
      map = "square";
      break;
  }
  return absl::StrCat(map, "_d", dim, "_f", feature_dim);
}

int64_t WindowOfBytes(int64_t dim, int64_t bytes) {
  const double keys = (bytes / 4.0 - BaseConvStateSize(dim)) / (2.0 * dim);
  return std::max<int64_t>(1, std::llround(keys));
}

MqarModel::MqarModel(const MqarModelConfig& config,
                     const std::vector<uint64_t>& seeds, c10::Device device)
    : config_(config), num_models_(seeds.size()) {
  TORCH_CHECK(!seeds.empty() && config.dim > 0 && config.vocab_size > 0,
              "mqar model: no seed, or a size is not positive");
  const bool linear = config.mixer == MqarModelConfig::Mixer::kLinear;
  TORCH_CHECK(linear ? config.feature_dim > 0 : config.window > 0,
              "mqar model: ", config.Name());
  std::vector<Initializer> inits;
  for (const uint64_t seed : seeds) {
    inits.emplace_back(MakeGenerator(seed, kWeights));
  }
  const auto add = [&](const char* name, auto&& draw) {
    std::vector<at::Tensor> values;
    for (const Initializer& init : inits) values.push_back(draw(init));
    return AddParameter(name, at::stack(values).to(device));
  };
  const auto normal = [&](const char* name, int64_t in, int64_t out) {
    return add(name, [=](const Initializer& init) {
      return init.Normal({in, out}, kStd);
    });
  };
  const auto zeros = [&](const char* name, int64_t rows) {
    return add(name, [&, rows](const Initializer& init) {
      return init.Zeros({rows, config.dim});
    });
  };
  const int64_t dim = config.dim;
  const int64_t key_dim = linear ? config.feature_dim : dim;
  embedding_ = normal("embedding", config.vocab_size, dim);
  norm_weight_ = add("norm_weight", [dim](const Initializer& init) {
    return init.Ones({3, dim});
  });
  norm_bias_ = zeros("norm_bias", 3);
  conv_filter_ = add("conv_filter", [dim](const Initializer& init) {
    return init.UniformFanIn({3, dim}, 3);
  });
  conv_bias_ = zeros("conv_bias", 1);
  conv_weight_ = normal("conv_weight", dim, dim);
  conv_weight_bias_ = zeros("conv_weight_bias", 1);
  q_ = normal("q", dim, key_dim);
  k_ = normal("k", dim, key_dim);
  v_ = normal("v", dim, dim);
  output_ = normal("output", dim, dim);
}

at::Tensor MqarModel::Normalize(const at::Tensor& x, const at::Tensor& weight,
                                const at::Tensor& bias) const {
  const at::Tensor normal = at::layer_norm(x, {config_.dim});
  const std::vector<int64_t> shape = {num_models_, 1, 1, config_.dim};
  return at::addcmul(bias.reshape(shape), normal, weight.reshape(shape));
}

at::Tensor MqarModel::BaseConv(const at::Tensor& u) const {
  const int64_t seq_len = u.size(2);
  const at::Tensor padded = at::constant_pad_nd(u, {0, 0, 2, 0});
  at::Tensor conv = conv_bias_.unsqueeze(1);
  for (int64_t i = 0; i < 3; ++i) {
    conv = at::addcmul(conv, padded.narrow(2, i, seq_len),
                       conv_filter_.narrow(1, i, 1).unsqueeze(1));
  }
  return conv * (Product(u, conv_weight_) + conv_weight_bias_.unsqueeze(1)) + u;
}

at::Tensor MqarModel::Mix(const at::Tensor& x) const {
  const at::Tensor q = Product(x, q_), k = Product(x, k_), v = Product(x, v_);
  if (config_.mixer == MqarModelConfig::Mixer::kLinear) {
    return Product(QuadraticLinearAttention(q, k, v, config_.feature_map),
                   output_);
  }
  // Not kernels/sliding_window_attention: windows here reach the whole
  // sequence, and on a GPU that takes 16-bit numbers.
  const int64_t seq_len = x.size(2);
  const at::Tensor seen =
      at::ones({seq_len, seq_len},
               x.options().dtype(at::kBool).requires_grad(false))
          .tril()
          .triu(1 - config_.window);
  const at::Tensor scores =
      at::matmul(q / std::sqrt(static_cast<double>(config_.dim)),
                 k.transpose(-1, -2))
          .masked_fill(seen.logical_not(),
                       -std::numeric_limits<float>::infinity());
  return Product(at::matmul(at::softmax(scores, -1), v), output_);
}

at::Tensor MqarModel::Forward(const at::Tensor& tokens,
                              const at::Tensor& positions,
                              at::Generator generator) const {
  CheckShape(tokens, {"batch", "seq_len"}, "tokens");
  CheckShape(positions, {tokens.size(0), "queries"}, "positions");
  const at::Tensor first = at::arange(num_models_, tokens.options())
                               .mul_(config_.vocab_size)
                               .view({-1, 1, 1});
  at::Tensor x = Dropout(
      at::embedding(embedding_.flatten(0, 1), tokens.unsqueeze(0) + first),
      config_.dropout, training(), generator);
  const auto norm = [this](const at::Tensor& y, int64_t i) {
    return Normalize(y, norm_weight_.select(1, i), norm_bias_.select(1, i));
  };
  x = x + BaseConv(norm(x, 0));
  x = x + Mix(norm(x, 1));
  const at::Tensor asked =
      x.gather(2, positions.view({1, positions.size(0), positions.size(1), 1})
                      .expand({num_models_, -1, -1, config_.dim}));
  return Product(norm(asked, 2), embedding_.transpose(1, 2));
}

MqarTraining MqarTraining::Published(double fraction) {
  MqarTraining training;
  const auto part = [fraction](int64_t count) {
    return static_cast<int64_t>(std::llround(count * fraction));
  };
  training.train = {{64, 4, part(100000)},
                    {128, 8, part(20000)},
                    {256, 16, part(20000)},
                    {256, 32, part(20000)},
                    {256, 64, part(20000)}};
  training.test = {{64, 4, 1000},    {64, 8, 1000},   {64, 16, 1000},
                   {128, 32, 1000},  {256, 64, 1000}, {512, 128, 1000},
                   {1024, 256, 1000}};
  return training;
}

int64_t MqarTraining::StepsPerEpoch() const {
  int64_t steps = 0;
  for (const MqarSegment& segment : train) {
    steps += (segment.num_examples + batch_size - 1) / batch_size;
  }
  return steps;
}

MqarData MakeMqarData(const MqarTraining& training, c10::Device device) {
  MqarData data;
  uint64_t stream = 0;
  const auto make = [&](const std::vector<MqarSegment>& segments) {
    std::vector<MqarData::Segment> made;
    for (const MqarSegment& segment : segments) {
      MqarConfig config;
      config.vocab_size = training.vocab_size;
      config.seq_len = segment.seq_len;
      config.num_pairs = segment.num_pairs;
      const MqarExamples examples =
          GenerateMqar(config, segment.num_examples,
                       MakeGenerator(training.data_seed, stream++));
      const at::Tensor positions =
          examples.labels.ne(-100).nonzero().select(1, 1).view(
              {segment.num_examples, segment.num_pairs});
      made.push_back({examples.inputs.to(device), positions.to(device),
                      examples.labels.gather(1, positions).to(device)});
    }
    return made;
  };
  data.train = make(training.train);
  data.test = make(training.test);
  return data;
}

namespace {

MqarData::Segment Batch(const MqarData::Segment& segment, int64_t start,
                        int64_t size) {
  const int64_t count = std::min(size, segment.inputs.size(0) - start);
  return {segment.inputs.narrow(0, start, count),
          segment.positions.narrow(0, start, count),
          segment.targets.narrow(0, start, count)};
}

// The batch of a step of an epoch.
MqarData::Segment StepBatch(const MqarData& data, int64_t batch_size,
                            int64_t step) {
  for (const MqarData::Segment& segment : data.train) {
    const int64_t steps =
        (segment.inputs.size(0) + batch_size - 1) / batch_size;
    if (step < steps) return Batch(segment, step * batch_size, batch_size);
    step -= steps;
  }
  TORCH_CHECK(false, "mqar: the epoch has fewer steps");
}

std::vector<double> Accuracies(const MqarModel& model, const MqarData& data) {
  at::NoGradGuard no_grad;
  // Scores of [models, batch, seq_len, seq_len] take 0.8 GB for 3 models.
  constexpr int64_t kScores = int64_t{1} << 26;
  at::Tensor right;
  double examples = 0;
  for (const MqarData::Segment& segment : data.test) {
    const int64_t seq_len = segment.inputs.size(1);
    const int64_t size =
        std::clamp<int64_t>(kScores / (seq_len * seq_len), 1, 256);
    for (int64_t i = 0; i < segment.inputs.size(0); i += size) {
      const MqarData::Segment batch = Batch(segment, i, size);
      const at::Tensor share =
          model.Forward(batch.inputs, batch.positions, at::Generator())
              .argmax(-1)
              .eq(batch.targets)
              .to(at::kDouble)
              .mean(2)
              .sum(1);
      right = right.defined() ? right + share : share;
      examples += batch.inputs.size(0);
    }
  }
  right = (right / examples).cpu();
  const double* begin = right.const_data_ptr<double>();
  return std::vector<double>(begin, begin + right.numel());
}

}  // namespace

absl::StatusOr<std::vector<double>> TrainMqar(
    const MqarModelConfig& config, const MqarTraining& training,
    const MqarData& data, const std::vector<uint64_t>& seeds,
    c10::Device device, const GridCell& cell) {
  MqarModel model(config, seeds, device);
  AdamOptions adam;
  adam.rate = training.rate;
  adam.weight_decay = training.weight_decay;
  const std::unique_ptr<Optimizer> optimizer =
      MakeAdamW(model.Parameters(), adam);
  at::Generator dropout = MakeGenerator(seeds[0], kDropout, device);

  const int64_t steps_per_epoch = training.StepsPerEpoch();
  TrainOptions options;
  options.num_steps = training.epochs * steps_per_epoch;
  options.rate = [&](int64_t step) {
    const double epoch = static_cast<double>(step / steps_per_epoch);
    return training.rate * (1 + std::cos(kPi * epoch / training.epochs)) / 2;
  };
  options.checkpoint_path = cell.checkpoint_path;
  options.identity = absl::StrCat(
      config.Name(), " ", options.num_steps, " steps of ", training.batch_size,
      ", rate ", training.rate, ", seeds ", absl::StrJoin(seeds, ","));
  options.log_every = 100;
  options.progress = cell.progress;
  options.cancelled = cell.cancelled;
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  state.generators = {dropout};

  std::vector<double> accuracies;
  const auto key = [](size_t model) { return absl::StrCat("accuracy", model); };
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult result,
      Train(
          options, state,
          [&](int64_t step) {
            const MqarData::Segment batch =
                StepBatch(data, training.batch_size, step % steps_per_epoch);
            const at::Tensor logits =
                model.Forward(batch.inputs, batch.positions, dropout);
            // The sum of the models' means: each gets its own gradient.
            return at::cross_entropy_loss(
                       logits.flatten(0, 2),
                       batch.targets.unsqueeze(0)
                           .expand({model.num_models(), -1, -1})
                           .reshape({-1})) *
                   model.num_models();
          },
          [&](int64_t) {
            Metrics metrics;
            const std::vector<double> values = Accuracies(model, data);
            for (size_t i = 0; i < values.size(); ++i) {
              metrics[key(i)] = values[i];
            }
            return metrics;
          }));
  if (result.cancelled) return absl::CancelledError("stopped");
  for (size_t i = 0; i < seeds.size(); ++i) {
    accuracies.push_back(result.last.at(key(i)));
  }
  return accuracies;
}

}  // namespace repro::based
