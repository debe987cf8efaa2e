// How each claim about agent attention is measured. Experiments, and what the
// claims' args mean to them:
//
//   counts       quantity: parameters, flops (as fvcore counts) or products
//                (convolutions and matrix products) of the agent model `model`;
//                complexity: 2 n^2 d / (4 n n_a d) for n = tokens, n_a = agents
//   cpu_speed,   images a second of `model` over those of relative_to; a model
//   speed,       is a VisionConfig's name, with "agent_" before it an agent
//   speed_half   model's, with "_fused" after it with fused softmax attention
//   length       quantity: ratio, the time of `over` ("softmax", "fused") over
//                that of agents at `tokens`; growth, the time of agents at
//                `tokens` over that at `over`
//   diffusion    quantity: time, in s an image, and memory, in GB: of `method`
//   at
//                `ratio` (in percent); the effect is that of `over` at
//                over_ratio over it, but for the method "plain", whose own is
//                divided by it; memory_ratio: method over `over`; time_ratio:
//                `over` over method
//   study        arm: shown, in percent; the effect is arm less minus
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/claims/experiment.h"
#include "common/count/flops.h"
#include "common/count/memory.h"
#include "common/count/parameters.h"
#include "common/count/timing.h"
#include "common/nn/attention.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/experiment.h"
#include "common/train/grid.h"
#include "common/vision/vision_transformer.h"
#include "kernels/graph/graph.h"
#include "papers/agent_attention/agent_attention.h"
#include "papers/agent_attention/agent_sd.h"
#include "papers/agent_attention/study.h"

namespace repro::agent_attention {
namespace {

// -------------------------------------------------------------------- counts

absl::Status Counts(ExperimentRun& run) {
  int done = 0;
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    run.Progress(done++, static_cast<double>(run.claims().size()), claim->id());
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    if (quantity == "complexity") {
      REPRO_ASSIGN_OR_RETURN(const int64_t tokens,
                             run.IntArg(*claim, "tokens"));
      REPRO_ASSIGN_OR_RETURN(const int64_t agents,
                             run.IntArg(*claim, "agents"));
      // Observed, as in all other claims: one head of width 1.
      const at::TensorOptions on_meta = at::TensorOptions().device(at::kMeta);
      const at::Tensor x = at::empty({1, tokens, 1}, on_meta);
      const at::Tensor a = at::empty({1, agents, 1}, on_meta);
      const auto count = [](const std::function<void()>& call) {
        return static_cast<double>(
            CountFlops(FlopConvention::kConvMatmul, call).total);
      };
      run.Record(*claim, count([&] { SoftmaxAttention(x, x, x); }) / count([&] {
                           AgentAttend(x, x, x, a, {}, {}, 1, 1);
                         }));
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const AgentModelConfig config,
                           AgentModelConfig::Named(name));
    const auto model = MakeAgentModel(config, Initializer::Meta());
    if (quantity == "parameters") {
      run.RecordCount(*claim, static_cast<double>(CountParameters(*model)));
    } else if (quantity == "flops" || quantity == "products") {
      const int64_t side = config.vision.image_side;
      const at::Tensor image =
          at::empty({1, 3, side, side}, at::TensorOptions().device(at::kMeta));
      run.RecordCount(*claim, static_cast<double>(
                                  CountFlops(quantity == "flops"
                                                 ? FlopConvention::kFvcore
                                                 : FlopConvention::kConvMatmul,
                                             [&] { model->Forward(image); })
                                      .total));
    } else {
      return UnknownName(*claim, "quantity", quantity);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("agent_attention", "counts", Counts);

// --------------------------------------------------------------------- speed

absl::StatusOr<std::unique_ptr<VisionTransformer>> MakeModel(
    absl::string_view name, const Initializer& init) {
  if (absl::ConsumePrefix(&name, "agent_")) {
    REPRO_ASSIGN_OR_RETURN(const AgentModelConfig config,
                           AgentModelConfig::Named(name));
    return MakeAgentModel(config, init);
  }
  const bool fused = absl::ConsumeSuffix(&name, "_fused");
  REPRO_ASSIGN_OR_RETURN(VisionConfig config, VisionConfig::Named(name));
  config.fused_softmax = fused;
  return std::make_unique<VisionTransformer>(config, init);
}

// Every seed is one round with its own weights and images. On a GPU a run is
// captured: small models would else be bound by the CPU's launches. On a CPU
// the models take turns, so that other load on the machine meets all of them,
// and each one's fastest call counts.
absl::Status MeasureSpeed(ExperimentRun& run, int64_t batch,
                          at::ScalarType type) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  at::NoGradGuard no_grad;
  std::map<std::string, std::vector<double>> rates;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string base,
                           run.Arg(*claim, "relative_to"));
    rates[model];
    rates[base];
  }
  TimingOptions options;
  options.repetitions = device.is_cuda() ? 10 : 1;
  options.warmup = device.is_cuda() ? 3 : 0;
  const int turns = device.is_cuda() ? 1 : 4;
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    const at::TensorOptions like = at::TensorOptions(type).device(device);
    const at::Tensor images =
        at::randn({batch, 3, 224, 224}, MakeGenerator(seed, 1), at::kFloat)
            .to(like);
    std::map<std::string, std::unique_ptr<VisionTransformer>> models;
    std::map<std::string, double> milliseconds;
    for (int turn = 0; turn < turns; ++turn) {
      for (const auto& entry : rates) {
        const std::string& name = entry.first;
        if (run.Cancelled()) return absl::CancelledError("stopped");
        run.Progress(
            done++,
            static_cast<double>(turns * rates.size() * run.seeds().size()),
            absl::StrCat(name, ", seed ", seed));
        if (models[name] == nullptr) {
          REPRO_ASSIGN_OR_RETURN(
              models[name],
              MakeModel(name, Initializer(MakeGenerator(seed), like)));
        }
        CapturedGraph graph(device, [&] { models[name]->Forward(images); });
        const double median = MeasureTime(
                                  device, [&] { graph.Replay(); }, options)
                                  .Median();
        const auto [found, first] = milliseconds.emplace(name, median);
        if (!first) found->second = std::min(found->second, median);
        // The memory of 128 images: one model at a time.
        if (device.is_cuda()) models[name].reset();
      }
    }
    for (auto& [name, measured] : rates) {
      measured.push_back(1e3 * static_cast<double>(batch) / milliseconds[name]);
    }
  }
  for (const Claim* claim : run.claims()) {
    const std::vector<double>& own = rates[*run.Arg(*claim, "model")];
    const std::vector<double>& base = rates[*run.Arg(*claim, "relative_to")];
    Observation observation;
    for (size_t i = 0; i < own.size(); ++i) {
      observation.samples.push_back(own[i] / base[i]);
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status CpuSpeed(ExperimentRun& run) {
  return MeasureSpeed(run, 1, at::kFloat);
}
REPRO_REGISTER_EXPERIMENT("agent_attention", "cpu_speed", CpuSpeed);

absl::Status Speed(ExperimentRun& run) {
  return MeasureSpeed(run, 128, at::kFloat);
}
REPRO_REGISTER_EXPERIMENT("agent_attention", "speed", Speed);

absl::Status SpeedHalf(ExperimentRun& run) {
  return MeasureSpeed(run, 128, at::kBFloat16);
}
REPRO_REGISTER_EXPERIMENT("agent_attention", "speed_half", SpeedHalf);

// -------------------------------------------------------------------- length

// Milliseconds of one attention over all heads of DeiT-S, agents pooled from
// the queries. `tokens` is a square.
double AttentionTime(at::Device device, const std::string& attention,
                     int64_t tokens, uint64_t seed) {
  constexpr int64_t kHeads = 6, kDim = 384, kPoolSide = 7;
  const auto side = static_cast<int64_t>(
      std::llround(std::sqrt(static_cast<double>(tokens))));
  const at::TensorOptions like = at::TensorOptions(at::kFloat).device(device);
  const at::Generator generator = MakeGenerator(seed, 0, device);
  const auto draw = [&] {
    return at::randn({1, tokens, kDim}, generator, like).to(at::kBFloat16);
  };
  const at::Tensor x = draw();
  const at::Tensor q = SplitHeads(x, kHeads).contiguous();
  const at::Tensor k = SplitHeads(draw(), kHeads).contiguous();
  const at::Tensor v = SplitHeads(draw(), kHeads).contiguous();
  const double scale = 1 / std::sqrt(static_cast<double>(kDim / kHeads));
  std::function<void()> step;
  if (attention == "softmax") {
    step = [&] { SoftmaxAttention(q, k, v); };
  } else if (attention == "fused") {
    step = [&] { at::scaled_dot_product_attention(q, k, v); };
  } else {
    step = [&] {
      AgentAttend(q, k, v, SplitHeads(PoolAgents(x, side, kPoolSide), kHeads),
                  {}, {}, scale, scale);
    };
  }
  CapturedGraph graph(device, step);
  return MeasureTime(device, [&] { graph.Replay(); }).Median();
}

absl::Status Length(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  at::NoGradGuard no_grad;
  using Point = std::pair<std::string, int64_t>;
  // Of each claim: whose time is divided by whose.
  std::map<const Claim*, std::pair<Point, Point>> ratios;
  std::map<Point, std::vector<double>> times;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    std::pair<Point, Point> ratio;
    if (quantity == "ratio") {
      REPRO_ASSIGN_OR_RETURN(const std::string over, run.Arg(*claim, "over"));
      if (over != "softmax" && over != "fused") {
        return UnknownName(*claim, "attention", over);
      }
      ratio = {{over, tokens}, {"agent", tokens}};
    } else if (quantity == "growth") {
      REPRO_ASSIGN_OR_RETURN(const int64_t over, run.IntArg(*claim, "over"));
      ratio = {{"agent", tokens}, {"agent", over}};
    } else {
      return UnknownName(*claim, "quantity", quantity);
    }
    ratios[claim] = ratio;
    times[ratio.first];
    times[ratio.second];
  }
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    for (auto& [point, measured] : times) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      run.Progress(done++,
                   static_cast<double>(times.size() * run.seeds().size()),
                   absl::StrCat(point.first, ", ", point.second, " tokens"));
      measured.push_back(
          AttentionTime(device, point.first, point.second, seed));
    }
  }
  for (const Claim* claim : run.claims()) {
    const auto& [numerator, denominator] = ratios[claim];
    Observation observation;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      observation.samples.push_back(times[numerator][i] /
                                    times[denominator][i]);
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("agent_attention", "length", Length);

// ----------------------------------------------------------------- diffusion

// Stable Diffusion 1.5 for images of 512 x 512: attention at 64 x 64 stands in
// two blocks on the way down and three on the way up; two images for guidance.
constexpr int64_t kSdSide = 64, kSdDim = 320, kSdHeads = 8, kSdBatch = 2;
constexpr int kSdLayers = 5, kSdSteps = 50, kSdEarlySteps = 20;

struct Cost {
  double milliseconds = 0;  // of all steps of an image, one layer
  double bytes = 0;         // at the peak over them
};

Cost MeasureStep(const AgentSdOptions& options, at::Device device,
                 uint64_t seed) {
  const at::TensorOptions like = at::TensorOptions(at::kHalf).device(device);
  const SdAttentionBlock block(kSdDim, kSdHeads,
                               Initializer(MakeGenerator(seed, 0), like));
  const at::Tensor x = at::randn({kSdBatch, kSdSide * kSdSide, kSdDim},
                                 MakeGenerator(seed, 1), at::kFloat)
                           .to(like);
  const MergePlaces places = MergePlaces::Draw(kSdSide, kSdSide, options.cell,
                                               MakeGenerator(seed, 2), device);
  const auto step = [&] { block.Forward(x, options, places); };
  step();  // libraries make their workspaces
  Cost cost;
  cost.bytes = static_cast<double>(PeakBytes(device, step));
  CapturedGraph graph(device, step);
  cost.milliseconds = MeasureTime(device, [&] { graph.Replay(); }).Median();
  return cost;
}

// "plain", "tome", "agent", "agent_early" (its first 20 steps for all 50), each
// also with "_fused": plain attention by LibTorch's fused kernels.
absl::StatusOr<Cost> MeasureMethod(const Claim& claim, const std::string& name,
                                   int64_t percent, at::Device device,
                                   uint64_t seed) {
  absl::string_view method = name;
  AgentSdOptions options;
  options.fused_softmax = absl::ConsumeSuffix(&method, "_fused");
  options.merge_ratio = static_cast<double>(percent) / 100;
  AgentSdOptions early = options, late = options;
  early.cell = 4, early.agent_ratio = 0.95;
  late.cell = 2, late.agent_ratio = 0.5;
  if (method == "plain") {
    early.merge_ratio = 0;
    late = early;
  } else if (method == "tome") {
    late.agent_ratio = 0;
    early = late;
  } else if (method == "agent_early") {
    late = early;
  } else if (method != "agent") {
    return UnknownName(claim, "method", name);
  }
  const Cost first = MeasureStep(early, device, seed);
  const Cost second =
      method == "agent" ? MeasureStep(late, device, seed) : first;
  Cost cost;
  cost.milliseconds = kSdEarlySteps * first.milliseconds +
                      (kSdSteps - kSdEarlySteps) * second.milliseconds;
  cost.bytes = std::max(first.bytes, second.bytes);
  return cost;
}

absl::Status Diffusion(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  at::NoGradGuard no_grad;
  using Method = std::pair<std::string, int64_t>;  // with the ratio in percent
  std::map<const Claim*, std::pair<Method, Method>> methods;
  std::map<Method, std::vector<Cost>> costs;
  const auto method_of =
      [&](const Claim& claim, absl::string_view name,
          absl::string_view ratio) -> absl::StatusOr<Method> {
    Method method;
    REPRO_ASSIGN_OR_RETURN(method.first, run.Arg(claim, name));
    // Plain attention has no ratio.
    const absl::StatusOr<int64_t> percent = run.IntArg(claim, ratio);
    if (percent.ok()) {
      method.second = *percent;
    } else if (!absl::IsNotFound(percent.status())) {
      return percent.status();
    }
    return method;
  };
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const Method own,
                           method_of(*claim, "method", "ratio"));
    REPRO_ASSIGN_OR_RETURN(const Method over,
                           method_of(*claim, "over", "over_ratio"));
    methods[claim] = {own, over};
    costs[own];
    costs[over];
  }
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    for (auto& [method, measured] : costs) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      run.Progress(done++,
                   static_cast<double>(costs.size() * run.seeds().size()),
                   absl::StrCat(method.first, ", ", method.second, "%"));
      REPRO_ASSIGN_OR_RETURN(const Cost cost,
                             MeasureMethod(*run.claims()[0], method.first,
                                           method.second, device, seed));
      measured.push_back(cost);
    }
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    const auto& [method, over] = methods[claim];
    const bool memory = quantity == "memory" || quantity == "memory_ratio";
    if (!memory && quantity != "time" && quantity != "time_ratio") {
      return UnknownName(*claim, "quantity", quantity);
    }
    const auto amount = [&](const Cost& cost) {
      return memory ? cost.bytes / 1e9 : kSdLayers * cost.milliseconds / 1e3;
    };
    Observation observation;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      const double own = amount(costs[method][i]);
      const double other = amount(costs[over][i]);
      if (quantity == "memory_ratio") {
        observation.samples.push_back(own / other);
      } else if (quantity == "time_ratio") {
        observation.samples.push_back(other / own);
      } else {
        observation.samples.push_back(own);
        observation.effects.push_back(method.first == "plain" ? own / other
                                                              : other / own);
      }
    }
    observation.scale = absl::StrCat("attention of ", kSdSide, " x ", kSdSide,
                                     " tokens, width ", kSdDim, ", alone");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("agent_attention", "diffusion", Diffusion);

// --------------------------------------------------------------------- study

absl::Status Study(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  const StudyOptions options;
  // "replaced_16" is measured on the trained "softmax".
  const auto trained = [](absl::string_view name) {
    return std::string(absl::ConsumePrefix(&name, "replaced_") ? "softmax"
                                                               : name);
  };
  std::set<std::string> names;
  for (const Claim* claim : run.claims()) {
    for (const char* arg : {"arm", "minus"}) {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
      names.insert(trained(name));
    }
  }
  Grid grid = GridOfRun(run);
  grid.names.assign(names.begin(), names.end());
  REPRO_ASSIGN_OR_RETURN(const GridOutcomes outcomes,
                         TrainGrid(grid, [&](const GridCell& cell) {
                           return TrainArm(options, cell, device);
                         }));
  std::map<std::string, std::vector<double>> accuracies;
  for (const auto& [name, of_seeds] : outcomes) {
    for (const std::vector<double>& values : of_seeds) {
      accuracies[name].push_back(values.at(0));
      for (size_t i = 1; i < values.size(); ++i) {
        accuracies[absl::StrCat("replaced_", ReplacedBy().at(i - 1))].push_back(
            values[i]);
      }
    }
  }
  for (const Claim* claim : run.claims()) {
    Observation observation;
    const auto of =
        [&](absl::string_view arg) -> absl::StatusOr<std::vector<double>> {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
      const auto found = accuracies.find(name);
      if (found == accuracies.end()) return UnknownName(*claim, arg, name);
      return found->second;
    };
    REPRO_ASSIGN_OR_RETURN(observation.samples, of("arm"));
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> minus, of("minus"));
    for (size_t i = 0; i < minus.size(); ++i) {
      observation.effects.push_back(observation.samples[i] - minus[i]);
    }
    observation.scale = absl::StrCat(
        "DeiT of ", options.vision.depths[0], " blocks of ",
        options.vision.dims[0], ", 64 patches, ", options.num_agents,
        " agents, ", options.steps, " steps of ", options.batch);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("agent_attention", "study", Study);

}  // namespace
}  // namespace repro::agent_attention
