// How each claim about VAN is measured. Experiments, and what the claims' args
// mean to them:
//
//   counts           quantity: see Count(); model, resolution, layer_scale,
//                    lka, kernel_size, dilation; stage; channels
//   long_range,      lka, kernel_size, dilation: the variant that is trained;
//   lka_ablation,    distance: "far" (unless given) or "near";
//   kernel_ablation  effect: "loss" (full LKA - variant, unless given), "gain"
//                    (variant - full LKA) or "over_chance", in points
//   cpu_throughput,  quantity: "images_per_second" or "ratio"; model,
//   throughput       relative_to: the model that the ratio is taken to
//   lka_scaling      quantity: "growth" (side against half of it) or "ratio"
//                    (relative_to against the operator); operator, side
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/count/flops.h"
#include "common/count/parameters.h"
#include "common/nn/attention.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"
#include "papers/van/large_kernel_attention.h"
#include "papers/van/two_marks.h"
#include "papers/van/van.h"

namespace repro::van {
namespace {

std::string ArgOr(const ExperimentRun& run, const Claim& claim,
                  absl::string_view name, absl::string_view fallback) {
  const absl::StatusOr<std::string> value = run.Arg(claim, name);
  return value.ok() ? *value : std::string(fallback);
}

// `fallback` only if the claim has no such argument; one that is no number is
// an error.
absl::StatusOr<int64_t> IntArgOr(const ExperimentRun& run, const Claim& claim,
                                 absl::string_view name, int64_t fallback) {
  absl::StatusOr<int64_t> value = run.IntArg(claim, name);
  if (absl::IsNotFound(value.status())) return fallback;
  return value;
}

absl::StatusOr<LkaConfig> LkaOf(const ExperimentRun& run, const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(LkaConfig config,
                         LkaConfig::Named(ArgOr(run, claim, "lka", "full")));
  REPRO_ASSIGN_OR_RETURN(config.kernel_size, IntArgOr(run, claim, "kernel_size",
                                                      config.kernel_size));
  REPRO_ASSIGN_OR_RETURN(config.dilation,
                         IntArgOr(run, claim, "dilation", config.dilation));
  return config;
}

absl::Status UnknownArg(const Claim& claim, absl::string_view name,
                        absl::string_view value) {
  return absl::InvalidArgumentError(absl::StrCat(
      "claim ", claim.id(), ": argument ", name, " is \"", value, "\""));
}

at::TensorOptions OnMeta() { return at::TensorOptions().device(at::kMeta); }

// Tables 2, 3, 5, 6, 8 ------------------------------------------------------

// Elements of the parameters whose name ends in `suffix`.
int64_t CountNamed(const Module& module, absl::string_view suffix) {
  int64_t count = 0;
  for (const auto& [name, parameter] : module.NamedParameters()) {
    if (absl::EndsWith(name, suffix)) count += parameter.numel();
  }
  return count;
}

// Of the square that one position influences through steps 1 and 2: all
// weights 1, an impulse as the input.
int64_t SupportWidth(LkaConfig config) {
  config.pointwise = false;
  config.gate = Gate::kNone;
  const int64_t size = 4 * config.kernel_size + 1;
  LargeKernelAttention lka(1, config, Initializer(MakeGenerator(0)));
  at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : lka.NamedParameters()) {
    at::Tensor(parameter).fill_(absl::EndsWith(name, "weight") ? 1 : 0);
  }
  at::Tensor impulse = at::zeros({1, 1, size, size}, at::kFloat);
  impulse[0][0][size / 2][size / 2].fill_(1);
  return (lka.Forward(impulse)[0][0].sum(0) != 0).sum().item<int64_t>();
}

// One image of 224 x 224, or what a stage gets of it, through `part` of the
// stage: "patch_embed" or "block".
absl::StatusOr<int64_t> CountInStage(const VanConfig& config,
                                     absl::string_view part, bool parameters,
                                     int64_t number) {
  if (number < 1 || number > static_cast<int64_t>(config.stages.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no stage ", number));
  }
  const StageConfig& stage = config.stages[number - 1];
  int64_t side = 224, channels = config.in_channels;
  for (int64_t i = 0; i < number - 1; ++i) {
    side /= config.stages[i].stride;
    channels = config.stages[i].channels;
  }
  if (part == "patch_embed") {
    PatchEmbedding embedding(channels, stage, Initializer::Meta());
    if (parameters) return CountParameters(embedding);
    return CountFlops(FlopConvention::kConvLinear,
                      [&] {
                        embedding.Forward(
                            at::empty({1, channels, side, side}, OnMeta()));
                      })
        .total;
  }
  Block block(config, stage, /*drop_path=*/0, Initializer::Meta());
  if (parameters) return CountParameters(block);
  side /= stage.stride;
  return CountFlops(FlopConvention::kConvLinear,
                    [&] {
                      block.Forward(
                          at::empty({1, stage.channels, side, side}, OnMeta()),
                          {});
                    })
      .total;
}

// What args.quantity asks for:
//   parameters, macs, flops   of a model; macs are the multiply-adds of
//                             convolutions and linear layers, flops those plus
//                             biases and norms (FlopConvention)
//   patch_embed_parameters, patch_embed_macs, block_parameters, block_macs
//                             of one stage of a model
//   lka_weights               of LKA alone with C = channels, without biases
//   lka_taps                  of steps 1 and 2, for one channel
//   support                   see SupportWidth
absl::StatusOr<int64_t> Count(const ExperimentRun& run, const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                         run.Arg(claim, "quantity"));
  REPRO_ASSIGN_OR_RETURN(const LkaConfig lka, LkaOf(run, claim));
  if (quantity == "support") return SupportWidth(lka);
  if (quantity == "lka_weights" || quantity == "lka_taps") {
    REPRO_ASSIGN_OR_RETURN(const int64_t channels,
                           IntArgOr(run, claim, "channels", 32));
    const LargeKernelAttention module(channels, lka, Initializer::Meta());
    if (quantity == "lka_weights") return CountNamed(module, ".weight");
    return (CountNamed(module, "conv0.weight") +
            CountNamed(module, "conv_spatial.weight")) /
           channels;
  }

  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "model"));
  REPRO_ASSIGN_OR_RETURN(VanConfig config, VanConfig::Named(name));
  config.lka = lka;
  config.layer_scale = ArgOr(run, claim, "layer_scale", "yes") == "yes";
  for (const char* part : {"patch_embed", "block"}) {
    for (const bool parameters : {true, false}) {
      if (quantity !=
          absl::StrCat(part, parameters ? "_parameters" : "_macs")) {
        continue;
      }
      REPRO_ASSIGN_OR_RETURN(const int64_t stage, run.IntArg(claim, "stage"));
      return CountInStage(config, part, parameters, stage);
    }
  }
  Van model(config, Initializer::Meta());
  if (quantity == "parameters") return CountParameters(model);
  if (quantity != "macs" && quantity != "flops") {
    return UnknownArg(claim, "quantity", quantity);
  }
  REPRO_ASSIGN_OR_RETURN(const int64_t side,
                         IntArgOr(run, claim, "resolution", 224));
  return CountFlops(quantity == "macs" ? FlopConvention::kConvLinear
                                       : FlopConvention::kConvLinearBiasNorm,
                    [&] {
                      model.Forward(at::empty({1, 3, side, side}, OnMeta()));
                    })
      .total;
}

absl::Status RunCounts(ExperimentRun& run) {
  int done = 0;
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError();
    run.Progress(done++, run.claims().size(), claim->id());
    REPRO_ASSIGN_OR_RETURN(const int64_t count, Count(run, *claim));
    run.RecordCount(*claim, count);
  }
  return absl::OkStatus();
}

// Tables 3 and 6 at a small scale -------------------------------------------

constexpr int64_t kNumSteps = 400;
constexpr int64_t kBatchSize = 32;
constexpr int64_t kTestSize = 2000;
constexpr double kRate = 4e-3;
constexpr char kScale[] =
    "VAN of one block with 16 channels on 14 x 14 positions, synthetic images "
    "of two marks, 400 steps of 32";

// Streams of a seed.
constexpr uint64_t kWeightStream = 0, kTestStream = 1, kFirstBatchStream = 2;

// One stage, so that nothing but LKA can carry information further than the
// 3 x 3 of the stem and of the feed-forward.
VanConfig NanoConfig(const LkaConfig& lka) {
  StageConfig stage;
  stage.channels = 16;
  stage.depth = 1;
  VanConfig config;
  config.stages = {stage};
  config.in_channels = 1;
  config.num_classes = 2;
  config.layer_scale = false;  // from 0.01 it would take most of the 400 steps
  config.lka = lka;
  return config;
}

struct Variant {
  LkaConfig lka;
  TwoMarksOptions task;
  std::string key;  // names it among all variants
};

absl::StatusOr<Variant> MakeVariant(const Claim& claim, absl::string_view lka,
                                    const LkaConfig& config,
                                    absl::string_view distance) {
  Variant variant;
  variant.lka = config;
  if (distance == "near") {
    variant.task.min_distance = 3;
    variant.task.max_distance = 4;
  } else if (distance != "far") {
    return UnknownArg(claim, "distance", distance);
  }
  variant.key = absl::StrCat(lka, "_k", config.kernel_size, "_d",
                             config.dilation, "_", distance);
  return variant;
}

// Accuracy in per cent on kTestSize fresh images.
absl::StatusOr<double> TrainAndTest(
    const ExperimentRun& run, const Variant& variant, uint64_t seed,
    at::Device device, const std::function<void(double done)>& progress) {
  Van model(NanoConfig(variant.lka),
            Initializer(MakeGenerator(seed, kWeightStream), device));
  AdamOptions adam;
  adam.weight_decay = 0.05;
  const std::unique_ptr<Optimizer> optimizer =
      MakeAdamW(model.Parameters(), adam);
  const TwoMarks test =
      MakeTwoMarks(variant.task, kTestSize, MakeGenerator(seed, kTestStream));

  TrainOptions options;
  options.num_steps = kNumSteps;
  options.rate = WarmupCosineRate(kRate, kNumSteps / 20, kNumSteps);
  options.clip_norm = 5;
  options.log_every = 10;
  const std::string name = absl::StrCat(variant.key, "_seed", seed);
  options.identity = absl::StrCat(name, ", ", kScale, ", rate ", kRate);
  options.checkpoint_path =
      absl::StrCat(run.checkpoint_dir(), "/", name, ".pt");
  options.cancelled = [&] { return run.Cancelled(); };
  options.progress = [&](int64_t done, int64_t total, const std::string&) {
    progress(static_cast<double>(done) / total);
  };
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult result,
      Train(
          options, state,
          [&](int64_t step) {
            const TwoMarks batch =
                MakeTwoMarks(variant.task, kBatchSize,
                             MakeGenerator(seed, kFirstBatchStream + step));
            return at::cross_entropy_loss(
                model.Forward(batch.images.to(device)),
                batch.labels.to(device));
          },
          [&](int64_t) -> Metrics {
            const at::Tensor predicted =
                model.Forward(test.images.to(device)).argmax(1).cpu();
            return {{"accuracy", (predicted == test.labels)
                                     .to(at::kDouble)
                                     .mean()
                                     .item<double>()}};
          }));
  if (result.cancelled) return absl::CancelledError();
  return 100 * result.last.at("accuracy");
}

absl::Status RunTwoMarks(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  // What the claims name, and full LKA at the same distances to compare with.
  std::map<std::string, Variant> variants;
  std::map<const Claim*, std::pair<std::string, std::string>> keys;
  for (const Claim* claim : run.claims()) {
    const std::string distance = ArgOr(run, *claim, "distance", "far");
    REPRO_ASSIGN_OR_RETURN(const LkaConfig lka, LkaOf(run, *claim));
    REPRO_ASSIGN_OR_RETURN(
        const Variant variant,
        MakeVariant(*claim, ArgOr(run, *claim, "lka", "full"), lka, distance));
    REPRO_ASSIGN_OR_RETURN(const Variant base,
                           MakeVariant(*claim, "full", LkaConfig(), distance));
    keys[claim] = {variant.key, base.key};
    variants[variant.key] = variant;
    variants[base.key] = base;
  }

  std::map<std::string, std::vector<double>> accuracies;  // one a seed
  const double total = variants.size() * run.seeds().size();
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    for (const auto& [key, variant] : variants) {
      const std::string text = absl::StrCat(key, ", seed ", seed);
      REPRO_ASSIGN_OR_RETURN(
          const double accuracy,
          TrainAndTest(run, variant, seed, device, [&](double part) {
            run.Progress(done + part, total, text);
          }));
      accuracies[key].push_back(accuracy);
      ++done;
    }
  }

  for (const Claim* claim : run.claims()) {
    const auto& [key, base_key] = keys[claim];
    const std::string effect = ArgOr(run, *claim, "effect", "loss");
    Observation observation;
    observation.samples = accuracies[key];
    observation.scale = kScale;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      const double accuracy = accuracies[key][i];
      const double base = accuracies[base_key][i];
      if (effect == "loss") {
        observation.effects.push_back(base - accuracy);
      } else if (effect == "gain") {
        observation.effects.push_back(accuracy - base);
      } else if (effect == "over_chance") {
        observation.effects.push_back(accuracy - 50);
      } else {
        return UnknownArg(*claim, "effect", effect);
      }
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

// Speed ---------------------------------------------------------------------

double SecondsOf(at::Device device, const std::function<void()>& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  Synchronize(device);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

// The fastest of `calls`, after one to warm up: other load on the machine can
// only add to a call's time.
double FastestSeconds(at::Device device, int calls,
                      const std::function<void()>& call) {
  call();
  Synchronize(device);
  double fastest = std::numeric_limits<double>::infinity();
  for (int i = 0; i < calls; ++i) {
    fastest = std::min(fastest, SecondsOf(device, call));
  }
  return fastest;
}

// Table 4: images per second of forward runs in float32 at 224 x 224. Every
// seed is one round with its own weights and images, in which the models take
// turns, so that other load on the machine meets all of them; each one's
// fastest call counts.
absl::Status RunThroughput(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  const int64_t batch_size = device.is_cuda() ? 128 : 1;
  const int calls = device.is_cuda() ? 10 : 40;
  std::map<std::string, std::vector<double>> rates;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string base,
                           run.Arg(*claim, "relative_to"));
    rates[model];
    rates[base];
  }

  at::NoGradGuard no_grad;
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    const at::Tensor images =
        at::randn({batch_size, 3, 224, 224}, MakeGenerator(seed, 1), at::kFloat)
            .to(device);
    std::map<std::string, std::unique_ptr<Van>> models;
    std::map<std::string, double> fastest;
    for (const auto& [name, measured] : rates) {
      REPRO_ASSIGN_OR_RETURN(const VanConfig config, VanConfig::Named(name));
      models[name] = std::make_unique<Van>(
          config, Initializer(MakeGenerator(seed), device));
      models[name]->Train(false);
      models[name]->Forward(images);  // to warm up
      fastest[name] = std::numeric_limits<double>::infinity();
    }
    Synchronize(device);
    for (int call = 0; call < calls; ++call) {
      if (run.Cancelled()) return absl::CancelledError();
      run.Progress(done++, calls * run.seeds().size(),
                   absl::StrCat("round ", seed));
      for (const auto& entry : models) {
        double& seconds = fastest[entry.first];
        seconds = std::min(
            seconds, SecondsOf(device, [&] { entry.second->Forward(images); }));
      }
    }
    for (auto& [name, measured] : rates) {
      measured.push_back(batch_size / fastest[name]);
    }
  }

  for (const Claim* claim : run.claims()) {
    const std::vector<double>& own = rates[*run.Arg(*claim, "model")];
    const std::vector<double>& base = rates[*run.Arg(*claim, "relative_to")];
    Observation observation;
    for (size_t i = 0; i < own.size(); ++i) {
      observation.effects.push_back(own[i] / base[i]);
    }
    observation.samples =
        ArgOr(run, *claim, "quantity", "images_per_second") == "ratio"
            ? observation.effects
            : own;
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

// Forward and backward of one operator on [batch, channels, side, side], as in
// stage 1 of VAN-B2: "lka"; "separable", the same gate from an undecomposed
// depth-wise 21 x 21 and a 1 x 1 convolution; "attention", the core of softmax
// attention with 2 heads of 32 (projections left out, in its favour).
absl::StatusOr<double> OperatorSeconds(absl::string_view name, int64_t side,
                                       uint64_t seed, at::Device device) {
  constexpr int64_t kBatch = 64, kChannels = 64, kHeads = 2;
  constexpr int kCalls = 5;
  at::Tensor x = at::randn({kBatch, kChannels, side, side}, MakeGenerator(seed),
                           at::kFloat)
                     .to(device)
                     .requires_grad_();
  if (name == "attention") {
    return FastestSeconds(device, kCalls, [&] {
      // Contiguous, or LibTorch would materialise the scores (80 GB at 112).
      const at::Tensor tokens =
          SplitHeads(x.flatten(2).transpose(1, 2), kHeads).contiguous();
      at::scaled_dot_product_attention(tokens, tokens, tokens).sum().backward();
      x.mutable_grad() = at::Tensor();
    });
  }
  REPRO_ASSIGN_OR_RETURN(const LkaConfig config,
                         LkaConfig::Named(name == "lka" ? "full" : name));
  LargeKernelAttention lka(kChannels, config,
                           Initializer(MakeGenerator(seed, 1), device));
  return FastestSeconds(device, kCalls, [&] {
    lka.Forward(x).sum().backward();
    x.mutable_grad() = at::Tensor();
    for (const at::Tensor& parameter : lka.Parameters()) {
      parameter.mutable_grad() = at::Tensor();
    }
  });
}

absl::Status RunLkaScaling(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  // The two (operator, side) whose times each claim divides.
  using Point = std::pair<std::string, int64_t>;
  std::map<const Claim*, std::pair<Point, Point>> ratios;
  std::map<Point, std::vector<double>> seconds;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "operator"));
    REPRO_ASSIGN_OR_RETURN(const int64_t side, run.IntArg(*claim, "side"));
    std::pair<Point, Point> ratio;
    if (quantity == "growth") {
      ratio = {{name, side}, {name, side / 2}};
    } else if (quantity == "ratio") {
      REPRO_ASSIGN_OR_RETURN(const std::string other,
                             run.Arg(*claim, "relative_to"));
      ratio = {{other, side}, {name, side}};
    } else {
      return UnknownArg(*claim, "quantity", quantity);
    }
    ratios[claim] = ratio;
    seconds[ratio.first];
    seconds[ratio.second];
  }

  const double total = seconds.size() * run.seeds().size();
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    for (auto& [point, measured] : seconds) {
      if (run.Cancelled()) return absl::CancelledError();
      run.Progress(done++, total,
                   absl::StrCat(point.first, " at ", point.second));
      REPRO_ASSIGN_OR_RETURN(
          const double value,
          OperatorSeconds(point.first, point.second, seed, device));
      measured.push_back(value);
    }
  }
  for (const Claim* claim : run.claims()) {
    const auto& [numerator, denominator] = ratios[claim];
    Observation observation;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      observation.samples.push_back(seconds[numerator][i] /
                                    seconds[denominator][i]);
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

REPRO_REGISTER_EXPERIMENT("van", "counts", RunCounts);
REPRO_REGISTER_EXPERIMENT("van", "long_range", RunTwoMarks);
REPRO_REGISTER_EXPERIMENT("van", "lka_ablation", RunTwoMarks);
REPRO_REGISTER_EXPERIMENT("van", "kernel_ablation", RunTwoMarks);
REPRO_REGISTER_EXPERIMENT("van", "cpu_throughput", RunThroughput);
REPRO_REGISTER_EXPERIMENT("van", "throughput", RunThroughput);
REPRO_REGISTER_EXPERIMENT("van", "lka_scaling", RunLkaScaling);

}  // namespace
}  // namespace repro::van
