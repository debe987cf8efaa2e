#include "papers/inline_attention/study.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/nan_to_num.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"
#include "papers/inline_attention/inline_attention.h"

namespace repro::inline_attention {
namespace {

// Streams of a seed.
constexpr uint64_t kWeights = 0, kTestImages = 1, kTrainImages = 1000;

using Colour = std::array<float, 3>;
constexpr Colour kColours[kSquareClasses] = {
    {0.9f, -0.5f, -0.5f}, {-0.5f, 0.9f, -0.5f}, {-0.5f, -0.5f, 0.9f},
    {0.7f, 0.7f, -0.6f},  {0.7f, -0.6f, 0.7f},  {-0.6f, 0.7f, 0.7f}};
constexpr int kNumSmall = 14;
constexpr float kJitter = 0.3f;
constexpr float kNoise = 0.3f;

// The standard's distributions differ between libraries; these do not.
float Uniform(std::mt19937_64& random, float low, float high) {
  const auto unit = static_cast<float>(random() >> 40) * 0x1p-24f;  // [0, 1)
  return low + (high - low) * unit;
}

int64_t Below(std::mt19937_64& random, int64_t bound) {
  return static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
}

// A square of `width` anywhere on the image.
void Paint(int64_t width, int64_t colour, int64_t side, std::mt19937_64& random,
           float* image) {
  Colour shade = kColours[colour];
  for (float& c : shade) c += Uniform(random, -kJitter, kJitter);
  const int64_t left = Below(random, side - width + 1);
  const int64_t top = Below(random, side - width + 1);
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t y = top; y < top + width; ++y) {
      float* row = image + (c * side + y) * side;
      std::fill(row + left, row + left + width, shade[c]);
    }
  }
}

struct Arm {
  const char* name;
  Normalisation normalisation;
  FeatureMap feature_map;
  bool residual;
};

constexpr Arm kArms[] = {
    {"softmax", Normalisation::kSoftmax, FeatureMap::kIdentity, false},
    {"softmax_residual", Normalisation::kSoftmax, FeatureMap::kIdentity, true},
    {"linear", Normalisation::kDivision, FeatureMap::kRelu, false},
    {"linear_residual", Normalisation::kDivision, FeatureMap::kRelu, true},
    {"linear_identity", Normalisation::kDivision, FeatureMap::kIdentity, false},
    {"inline", Normalisation::kSubtraction, FeatureMap::kIdentity, true},
    {"inline_plain", Normalisation::kSubtraction, FeatureMap::kIdentity, false},
};

SquareImages Draw(const StudyOptions& options, uint64_t seed, uint64_t stream,
                  int64_t count) {
  std::mt19937_64 random(MixSeed(seed, stream));
  return DrawSquares(count, options.vision.image_side, random);
}

double Accuracy(const VisionTransformer& model, const SquareImages& test,
                c10::Device device) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> predicted;
  for (const at::Tensor& part : test.images.split(500)) {
    predicted.push_back(model.Forward(part.to(device)).argmax(1).cpu());
  }
  return 100 * (at::cat(predicted) == test.labels)
                   .to(at::kDouble)
                   .mean()
                   .item<double>();
}

}  // namespace

SquareImages DrawSquares(int64_t count, int64_t side, std::mt19937_64& random) {
  TORCH_CHECK(count >= 0 && side >= 10, "squares: ", count, " images of side ",
              side);
  SquareImages drawn;
  drawn.images = at::empty({count, 3, side, side}, at::kFloat);
  drawn.labels = at::empty({count}, at::kLong);
  auto* pixels = drawn.images.data_ptr<float>();
  auto* labels = drawn.labels.data_ptr<int64_t>();
  const int64_t size = 3 * side * side;
  for (int64_t i = 0; i < count; ++i, pixels += size) {
    std::fill(pixels, pixels + size, 0.0f);
    for (int j = 0; j < kNumSmall; ++j) {
      const int64_t width = 4 + Below(random, 3);
      Paint(width, Below(random, kSquareClasses), side, random, pixels);
    }
    labels[i] = Below(random, kSquareClasses);
    Paint(8 + Below(random, 3), labels[i], side, random, pixels);
    for (int64_t j = 0; j < size; ++j) {
      pixels[j] += Uniform(random, -kNoise, kNoise);
    }
  }
  return drawn;
}

StudyOptions::StudyOptions() {
  vision.backbone = VisionBackbone::kDeit;
  vision.image_side = 24;
  vision.num_classes = kSquareClasses;
  vision.patch = 3;
  vision.dims = {32};
  vision.depths = {2};
  vision.num_heads = {2};
  vision.mlp_ratios = {2};
  vision.windows = {0};
}

const std::vector<std::string>& ArmNames() {
  static const auto* const kNames = [] {
    auto* names = new std::vector<std::string>;
    for (const Arm& arm : kArms) names->emplace_back(arm.name);
    return names;
  }();
  return *kNames;
}

absl::StatusOr<std::vector<double>> TrainArm(const StudyOptions& options,
                                             const GridCell& cell,
                                             c10::Device device) {
  const auto* arm =
      std::find_if(std::begin(kArms), std::end(kArms),
                   [&](const Arm& known) { return known.name == cell.name; });
  if (arm == std::end(kArms)) {
    return absl::InvalidArgumentError(
        absl::StrCat("study: no arm \"", cell.name, "\""));
  }
  InLineModelConfig config;
  config.vision = options.vision;
  config.inline_blocks = options.vision.depths;
  config.options.normalisation = arm->normalisation;
  config.options.feature_map = arm->feature_map;
  config.options.residual = arm->residual;
  const Initializer init(MakeGenerator(cell.seed, kWeights), device);
  const std::unique_ptr<VisionTransformer> model =
      MakeInLineModel(config, init);
  AdamOptions adam;
  adam.weight_decay = 0.05;
  const std::unique_ptr<Optimizer> optimizer =
      MakeAdamW(model->Parameters(), adam);
  const SquareImages test =
      Draw(options, cell.seed, kTestImages, options.test_images);

  TrainOptions train;
  train.num_steps = options.steps;
  train.rate = WarmupCosineRate(
      options.rate, std::max<int64_t>(1, options.steps / 10), options.steps);
  train.clip_norm = 5;
  train.log_every = 50;
  train.checkpoint_path = cell.checkpoint_path;
  train.identity =
      absl::StrCat(cell.name, ", seed ", cell.seed, ", ", options.steps,
                   " steps of ", options.batch, ", rate ", options.rate);
  train.progress = cell.progress;
  train.cancelled = cell.cancelled;
  TrainState state;
  state.model = model.get();
  state.optimizer = optimizer.get();
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult result, Train(train, state, [&](int64_t step) {
        const SquareImages batch =
            Draw(options, cell.seed, kTrainImages + step, options.batch);
        // An arm that diverges is compared with what it then answers.
        return at::nan_to_num(at::cross_entropy_loss(
            model->Forward(batch.images.to(device)), batch.labels.to(device)));
      }));
  if (result.cancelled) return absl::CancelledError("stopped");

  const double accuracy = Accuracy(*model, test, device);
  ConfusedPairs pairs;
  config.options.observe = [&](const at::Tensor& q, const at::Tensor& weights) {
    const ConfusedPairs found = CountConfusedPairs(q, weights);
    pairs.differing += found.differing;
    pairs.confused += found.confused;
  };
  const std::unique_ptr<VisionTransformer> observed =
      MakeInLineModel(config, init);
  at::NoGradGuard no_grad;
  const std::vector<at::Tensor> from = model->Parameters();
  const std::vector<at::Tensor> to = observed->Parameters();
  for (size_t i = 0; i < to.size(); ++i) at::Tensor(to[i]).copy_(from.at(i));
  const int64_t images =
      std::min(options.confusion_images, options.test_images);
  observed->Forward(test.images.narrow(0, 0, images).to(device));
  const double confusion = pairs.differing == 0
                               ? 0
                               : 100 * static_cast<double>(pairs.confused) /
                                     static_cast<double>(pairs.differing);
  return std::vector<double>{accuracy, confusion};
}

}  // namespace repro::inline_attention
