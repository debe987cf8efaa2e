#include "papers/agent_attention/study.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/nn/attention.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"
#include "papers/agent_attention/agent_attention.h"

namespace repro::agent_attention {
namespace {

// Streams of a seed.
constexpr uint64_t kWeights = 0, kTestImages = 1, kTrainImages = 1000;

using Colour = std::array<float, 3>;
constexpr Colour kColours[] = {{0.9f, -0.5f, -0.5f},
                               {-0.5f, 0.9f, -0.5f},
                               {-0.5f, -0.5f, 0.9f},
                               {0.7f, 0.7f, -0.6f},
                               {0.7f, -0.6f, 0.7f}};
constexpr int64_t kNumColours = 5;
constexpr int kNumDots = 16;
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

struct Disc {
  float x, y, radius;
};

void Paint(const Disc& disc, int64_t colour, int64_t side,
           std::mt19937_64& random, float* image) {
  Colour shade = kColours[colour];
  for (float& c : shade) c += Uniform(random, -kJitter, kJitter);
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      const float u = static_cast<float>(x) - disc.x;
      const float v = static_cast<float>(y) - disc.y;
      if (u * u + v * v > disc.radius * disc.radius) continue;
      for (int64_t c = 0; c < 3; ++c) {
        image[(c * side + y) * side + x] = shade[c];
      }
    }
  }
}

Disc DrawDisc(int64_t side, float low, float high, std::mt19937_64& random) {
  Disc disc{};
  disc.radius = Uniform(random, low, high);
  const float end = static_cast<float>(side - 1) - disc.radius;
  disc.x = Uniform(random, disc.radius, end);
  disc.y = Uniform(random, disc.radius, end);
  return disc;
}

enum class Kind { kSoftmax, kLinear, kAgent };

struct Arm {
  const char* name;
  Kind kind;
  bool convolution;
  bool bias;
};

constexpr Arm kArms[] = {{"softmax", Kind::kSoftmax, false, false},
                         {"softmax_dwc", Kind::kSoftmax, true, false},
                         {"linear", Kind::kLinear, false, false},
                         {"linear_dwc", Kind::kLinear, true, false},
                         {"agent", Kind::kAgent, true, true},
                         {"agent_no_dwc", Kind::kAgent, false, true},
                         {"agent_no_bias", Kind::kAgent, true, false},
                         {"agent_plain", Kind::kAgent, false, false}};

// phi(Q) phi(K)^T V over row sums, phi(x) = relu(x) / sqrt(head_dim).
at::Tensor ReluAttention(const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v) {
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(-1)));
  const at::Tensor phi_q = at::relu(q) * scale, phi_k = at::relu(k);
  const at::Tensor mass =
      at::matmul(phi_q, phi_k.sum(-2, /*keepdim=*/true).transpose(-2, -1));
  return at::matmul(phi_q, at::matmul(phi_k.transpose(-2, -1), v)) /
         (mass + 1e-6);
}

// Softmax or linear attention with a convolution of the map's values, or
// without.
class BaselineAttention : public BlockAttention {
 public:
  BaselineAttention(const AttentionSite& site, const Arm& arm,
                    const Initializer& init)
      : BlockAttention(site, init), kind_(arm.kind) {
    if (arm.convolution) {
      convolution_ = AddModule<TokenConvolution>("dwc", site.dim, init);
    }
  }

  at::Tensor Forward(const at::Tensor& x, const at::Tensor&) const override {
    const int64_t heads = site().num_heads, side = site().side;
    const Qkv t = Project(x);
    const at::Tensor q = SplitHeads(t.q, heads), k = SplitHeads(t.k, heads),
                     v = SplitHeads(t.v, heads);
    at::Tensor out =
        MergeHeads(kind_ == Kind::kLinear ? ReluAttention(q, k, v)
                                          : SoftmaxAttention(q, k, v));
    if (convolution_ != nullptr) {
      const at::Tensor map = convolution_->Forward(
          t.v.narrow(1, site().prefix, side * side), side, side);
      out = at::cat({out.narrow(1, 0, site().prefix),
                     out.narrow(1, site().prefix, side * side) + map},
                    1);
    }
    return Output(out);
  }

 private:
  Kind kind_;
  TokenConvolution* convolution_ = nullptr;
};

AttentionFactory FactoryOf(const StudyOptions& options, const Arm& arm) {
  AgentOptions agent;
  agent.num_agents = options.num_agents;
  agent.convolution = arm.convolution;
  agent.bias = arm.bias;
  return [arm, agent](const AttentionSite& site, const Initializer& init,
                      VisionBlock* block) -> BlockAttention* {
    if (arm.kind == Kind::kAgent) {
      return block->AddAttention<AgentAttention>(site, agent, init);
    }
    return block->AddAttention<BaselineAttention>(site, arm, init);
  };
}

// Copies the weights of `from` by their names; both have the same.
void CopyParameters(const Module& from, const Module& to) {
  at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> values;
  for (const auto& [name, value] : from.NamedParameters()) values[name] = value;
  for (const auto& [name, value] : to.NamedParameters()) {
    at::Tensor(value).copy_(values.at(name));
    values.erase(name);
  }
  TORCH_CHECK(values.empty(), "the models have different parameters");
}

double Accuracy(const VisionTransformer& model, const DiscImages& test,
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

DiscImages Draw(const StudyOptions& options, uint64_t seed, uint64_t stream,
                int64_t count) {
  std::mt19937_64 random(MixSeed(seed, stream));
  return DrawDiscs(count, options.vision.image_side, random);
}

}  // namespace

DiscImages DrawDiscs(int64_t count, int64_t side, std::mt19937_64& random) {
  TORCH_CHECK(count >= 0 && side >= 24, "discs: ", count, " images of side ",
              side);
  DiscImages drawn;
  drawn.images = at::empty({count, 3, side, side}, at::kFloat);
  drawn.labels = at::empty({count}, at::kLong);
  auto* pixels = drawn.images.data_ptr<float>();
  auto* labels = drawn.labels.data_ptr<int64_t>();
  const int64_t size = 3 * side * side;
  for (int64_t i = 0; i < count; ++i, pixels += size) {
    std::fill(pixels, pixels + size, 0.0f);
    for (int dot = 0; dot < kNumDots; ++dot) {
      const Disc disc = DrawDisc(side, 2.0f, 3.0f, random);
      Paint(disc, Below(random, kNumColours), side, random, pixels);
    }
    const Disc first = DrawDisc(side, 3.5f, 4.5f, random);
    Disc second{};
    float apart = 0;
    do {
      second = DrawDisc(side, 3.5f, 4.5f, random);
      apart = std::hypot(first.x - second.x, first.y - second.y);
    } while (apart <= first.radius + second.radius + 1);
    int64_t label = Below(random, kDiscClasses);
    labels[i] = label;
    int64_t low = 0;  // label counts the pairs low < high
    while (label >= kNumColours - 1 - low) label -= kNumColours - 1 - low++;
    Paint(first, low, side, random, pixels);
    Paint(second, low + 1 + label, side, random, pixels);
    for (int64_t j = 0; j < size; ++j) {
      pixels[j] += Uniform(random, -kNoise, kNoise);
    }
  }
  return drawn;
}

StudyOptions::StudyOptions() {
  vision.backbone = VisionBackbone::kDeit;
  vision.image_side = 24;
  vision.num_classes = kDiscClasses;
  vision.patch = 3;
  vision.dims = {48};
  vision.depths = {2};
  vision.num_heads = {3};
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

const std::vector<int64_t>& ReplacedBy() {
  static const auto* const kAgents = new std::vector<int64_t>{4, 16, 64};
  return *kAgents;
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
  VisionTransformer model(
      options.vision, Initializer(MakeGenerator(cell.seed, kWeights), device),
      FactoryOf(options, *arm));
  AdamOptions adam;
  adam.weight_decay = 0.05;
  const std::unique_ptr<Optimizer> optimizer =
      MakeAdamW(model.Parameters(), adam);
  const DiscImages test =
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
  state.model = &model;
  state.optimizer = optimizer.get();
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult result, Train(train, state, [&](int64_t step) {
        const DiscImages batch =
            Draw(options, cell.seed, kTrainImages + step, options.batch);
        return at::cross_entropy_loss(model.Forward(batch.images.to(device)),
                                      batch.labels.to(device));
      }));
  if (result.cancelled) return absl::CancelledError("stopped");

  std::vector<double> accuracies = {Accuracy(model, test, device)};
  if (cell.name != "softmax") return accuracies;
  for (const int64_t num_agents : ReplacedBy()) {
    AgentOptions agent;
    agent.num_agents = num_agents;
    agent.bias = agent.convolution = false;
    agent.broadcast_exponent = 0.3;
    agent.shortcut = 0.075;
    const VisionTransformer replaced(
        options.vision, Initializer(MakeGenerator(cell.seed, kWeights), device),
        [&](const AttentionSite& site, const Initializer& init,
            VisionBlock* block) -> BlockAttention* {
          return block->AddAttention<AgentAttention>(site, agent, init);
        });
    CopyParameters(model, replaced);
    accuracies.push_back(Accuracy(replaced, test, device));
  }
  return accuracies;
}

}  // namespace repro::agent_attention
