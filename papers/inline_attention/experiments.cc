// How each claim about InLine attention is measured. Experiments, and what the
// claims' args mean to them:
//
//   counts      quantity: parameters, flops (as fvcore counts) or products
//               (convolutions and matrix products) of the InLine model `model`
//   figure      quantity: weight, of `attention` ("softmax", "linear",
//               "inline") from `query` to `key`, both from 1; printed, how many
//               of the figure's 48 weights come out; from_softmax, by how much
//               the printed InLine weights are off the printed softmax ones'
//               logarithms, scaled
//   collinear   different rows of `attention` over 100 `queries`: "multiples"
//               of one, "unseen" by the keys, "negative" where they differ
//   cpu_speed,  images a second (shown: rate) of `model` or those over
//   swin_speed, relative_to's (shown: ratio), which is the effect. A model is
//   deit_speed, "deit_t:640" (the image's side) or "swin_t:14" (the window's),
//   deit_speed_ with "inline_" before it InLine, with "_fused" before the colon
//   half        fused softmax attention
//   study       quantity: top1 or confusion, both in percent, of `arm`; the
//               effect is arm less minus
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/claims/experiment.h"
#include "common/count/flops.h"
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
#include "papers/inline_attention/inline_attention.h"
#include "papers/inline_attention/study.h"

namespace repro::inline_attention {
namespace {

// -------------------------------------------------------------------- counts

absl::Status Counts(ExperimentRun& run) {
  int done = 0;
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    run.Progress(done++, static_cast<double>(run.claims().size()), claim->id());
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const InLineModelConfig config,
                           InLineModelConfig::Named(name));
    const auto model = MakeInLineModel(config, Initializer::Meta());
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
REPRO_REGISTER_EXPERIMENT("inline_attention", "counts", Counts);

// -------------------------------------------------------------------- figure

at::Tensor Matrix(const std::vector<double>& values, int64_t columns) {
  return at::tensor(values, at::kDouble).view({-1, columns});
}

// The printed weights of Figure 1(a), a row a query.
at::Tensor PrintedSoftmax() {
  return Matrix({.31, .23, .25, .20, .36, .22, .25, .17,  //
                 .41, .20, .24, .15, .44, .19, .23, .13},
                4);
}
at::Tensor PrintedLinear() {
  return Matrix({.32, .23, .25, .19}, 4).expand({4, 4});
}
at::Tensor PrintedInLine() {
  return Matrix({.31, .23, .25, .20, .35, .22, .26, .17,  //
                 .39, .21, .26, .14, .42, .21, .26, .12},
                4);
}

// The figure draws its vectors without numbers. These were fitted to the
// printed weights; they are not the authors'.
at::Tensor FittedKeys() {
  return Matrix({.583, 1.858, 1.019, .997, 1.947, .636, 1.825, .287}, 2);
}
at::Tensor FittedQueries() {
  return Matrix({.357, .608, .829, 1}, 1) * Matrix({1.082, 1.947}, 2);
}

absl::Status Figure(ExperimentRun& run) {
  const at::Tensor q = FittedQueries(), k = FittedKeys();
  const double scale = 1 / std::sqrt(2.0);
  const at::Tensor relu_q = ApplyFeatureMap(FeatureMap::kRelu, q);
  const at::Tensor relu_k = ApplyFeatureMap(FeatureMap::kRelu, k);
  const std::map<std::string, std::pair<at::Tensor, at::Tensor>> attentions = {
      {"softmax", {SoftmaxAttentionMap(q, k), PrintedSoftmax()}},
      {"linear", {DivisionWeights(relu_q, relu_k, /*eps=*/0), PrintedLinear()}},
      {"inline", {InLineWeights(q, k, scale), PrintedInLine()}}};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    if (quantity == "weight") {
      REPRO_ASSIGN_OR_RETURN(const std::string name,
                             run.Arg(*claim, "attention"));
      REPRO_ASSIGN_OR_RETURN(const int64_t query, run.IntArg(*claim, "query"));
      REPRO_ASSIGN_OR_RETURN(const int64_t key, run.IntArg(*claim, "key"));
      const auto found = attentions.find(name);
      if (found == attentions.end()) {
        return UnknownName(*claim, "attention", name);
      }
      if (query < 1 || query > 4 || key < 1 || key > 4) {
        return UnknownName(*claim, "query or key",
                           absl::StrCat(query, ", ", key));
      }
      run.Record(*claim,
                 found->second.first[query - 1][key - 1].item<double>());
    } else if (quantity == "printed") {
      int64_t printed = 0;
      for (const auto& entry : attentions) {
        const auto& [weights, expected] = entry.second;
        printed += ((weights - expected).abs() <= 0.005).sum().item<int64_t>();
      }
      run.Record(*claim, static_cast<double>(printed));
    } else if (quantity == "from_softmax") {
      const at::Tensor logs = PrintedSoftmax().log();
      const at::Tensor predicted =
          (logs - logs.mean(1, /*keepdim=*/true)) / 4 + 0.25;
      run.Record(*claim,
                 (predicted - PrintedInLine()).abs().max().item<double>());
    } else {
      return UnknownName(*claim, "quantity", quantity);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("inline_attention", "figure", Figure);

// ----------------------------------------------------------------- collinear

constexpr int64_t kQueries = 100, kKeys = 64, kDim = 16, kFewKeys = 8;

struct Sample {
  at::Tensor q;  // [100, 16]
  at::Tensor k;  // [64 or 8, 16]
};

absl::StatusOr<Sample> DrawSample(const Claim& claim,
                                  const std::string& queries, uint64_t seed) {
  const at::Generator generator = MakeGenerator(seed);
  const auto normal = [&](at::IntArrayRef shape) {
    return at::randn(shape, generator, at::kDouble);
  };
  Sample sample;
  sample.k = normal({queries == "unseen" ? kFewKeys : kKeys, kDim});
  const at::Tensor one = normal({1, kDim});
  if (queries == "multiples") {
    // By 0.1, 0.2, ..., 10.
    sample.q =
        one * (at::arange(1, kQueries + 1, at::kDouble) / 10).unsqueeze(1);
  } else if (queries == "unseen") {
    // Keys that differ in their first 8 dimensions alone, queries in the
    // others.
    const int64_t rest = kDim - kFewKeys;
    sample.k = at::cat({sample.k.narrow(1, 0, kFewKeys),
                        normal({1, rest}).expand({kFewKeys, rest})},
                       1);
    sample.q = at::cat({one.narrow(1, 0, kFewKeys).expand({kQueries, kFewKeys}),
                        normal({kQueries, rest})},
                       1);
  } else if (queries == "negative") {
    const int64_t half = kDim / 2;
    sample.q = at::cat({one.narrow(1, 0, half).expand({kQueries, half}),
                        -normal({kQueries, half}).abs()},
                       1);
  } else {
    return UnknownName(claim, "queries", queries);
  }
  return sample;
}

absl::Status Collinear(ExperimentRun& run) {
  const double scale = 1 / std::sqrt(static_cast<double>(kDim));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name,
                           run.Arg(*claim, "attention"));
    REPRO_ASSIGN_OR_RETURN(const std::string queries,
                           run.Arg(*claim, "queries"));
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      REPRO_ASSIGN_OR_RETURN(Sample sample, DrawSample(*claim, queries, seed));
      absl::string_view attention = name;
      if (absl::ConsumeSuffix(&attention, "_relu")) {
        sample.q = ApplyFeatureMap(FeatureMap::kRelu, sample.q);
        sample.k = ApplyFeatureMap(FeatureMap::kRelu, sample.k);
      }
      at::Tensor weights;
      if (attention == "softmax") {
        weights = SoftmaxAttentionMap(sample.q, sample.k);
      } else if (attention == "linear") {
        weights = DivisionWeights(sample.q, sample.k, /*eps=*/0);
      } else if (attention == "inline") {
        weights = InLineWeights(sample.q, sample.k, scale);
      } else {
        return UnknownName(*claim, "attention", name);
      }
      observation.samples.push_back(
          static_cast<double>(CountDistinctRows(weights, 1e-9)));
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("inline_attention", "collinear", Collinear);

// --------------------------------------------------------------------- speed

struct SpeedModel {
  VisionConfig vision;
  bool in_line = false;
  int64_t window = 0;
};

absl::StatusOr<SpeedModel> SpeedModelNamed(const Claim& claim,
                                           absl::string_view name) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(name, absl::MaxSplits(':', 1));
  absl::string_view base = parts.first;
  int64_t number = 0;
  SpeedModel model;
  model.in_line = absl::ConsumePrefix(&base, "inline_");
  const bool fused = absl::ConsumeSuffix(&base, "_fused");
  if ((base != "deit_t" && base != "swin_t") ||
      !absl::SimpleAtoi(parts.second, &number) || number <= 0) {
    return UnknownName(claim, "model", name);
  }
  REPRO_ASSIGN_OR_RETURN(model.vision, VisionConfig::Named(base));
  model.vision.fused_softmax = fused;
  if (base == "deit_t") {
    model.vision.image_side = number;
    if (model.in_line) model.vision.num_heads = {6};
  } else {
    // Of softmax blocks; in the last stage the map, 7 x 7, in every model.
    for (int64_t& window : model.vision.windows) window = number;
    model.window = number;
  }
  return model;
}

std::unique_ptr<VisionTransformer> MakeSpeedModel(const SpeedModel& model,
                                                  const Initializer& init) {
  if (!model.in_line) {
    return std::make_unique<VisionTransformer>(model.vision, init);
  }
  InLineModelConfig config;
  config.vision = model.vision;
  config.inline_blocks = model.vision.depths;
  // Swin's last stage keeps softmax, as in InLine-Swin-T.
  if (config.inline_blocks.size() > 1) config.inline_blocks.back() = 0;
  config.options.window = model.window;
  return MakeInLineModel(config, init);
}

// Every seed is one round with its own weights and images. On a GPU a run is
// captured: small models would else be bound by the CPU's launches. On a CPU
// the models take turns, so that other load on the machine meets all of them,
// and each one's fastest call counts.
absl::Status MeasureSpeed(ExperimentRun& run, int64_t batch,
                          at::ScalarType type) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  at::NoGradGuard no_grad;
  std::map<std::string, SpeedModel> models;
  for (const Claim* claim : run.claims()) {
    for (const char* arg : {"model", "relative_to"}) {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
      REPRO_ASSIGN_OR_RETURN(models[name], SpeedModelNamed(*claim, name));
    }
  }
  TimingOptions options;
  options.repetitions = device.is_cuda() ? 10 : 1;
  options.warmup = device.is_cuda() ? 3 : 0;
  const int turns = device.is_cuda() ? 1 : 3;
  std::map<std::string, std::vector<double>> rates;
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    const at::TensorOptions like = at::TensorOptions(type).device(device);
    std::map<std::string, double> milliseconds;
    for (int turn = 0; turn < turns; ++turn) {
      for (const auto& [name, model] : models) {
        if (run.Cancelled()) return absl::CancelledError("stopped");
        run.Progress(
            done++,
            static_cast<double>(turns * models.size() * run.seeds().size()),
            absl::StrCat(name, ", seed ", seed));
        const int64_t side = model.vision.image_side;
        const at::Tensor images = at::randn({batch, 3, side, side},
                                            MakeGenerator(seed, 1), at::kFloat)
                                      .to(like);
        const auto network =
            MakeSpeedModel(model, Initializer(MakeGenerator(seed), like));
        CapturedGraph graph(device, [&] { network->Forward(images); });
        const double median = MeasureTime(
                                  device, [&] { graph.Replay(); }, options)
                                  .Median();
        const auto [found, first] = milliseconds.emplace(name, median);
        if (!first) found->second = std::min(found->second, median);
      }
    }
    for (const auto& [name, time] : milliseconds) {
      rates[name].push_back(1e3 * static_cast<double>(batch) / time);
    }
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string shown, run.Arg(*claim, "shown"));
    if (shown != "rate" && shown != "ratio") {
      return UnknownName(*claim, "shown", shown);
    }
    const std::vector<double>& own = rates[*run.Arg(*claim, "model")];
    const std::vector<double>& base = rates[*run.Arg(*claim, "relative_to")];
    Observation observation;
    for (size_t i = 0; i < own.size(); ++i) {
      observation.effects.push_back(own[i] / base[i]);
    }
    observation.samples = shown == "rate" ? own : observation.effects;
    observation.scale = absl::StrCat("batches of ", batch, " images");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status CpuSpeed(ExperimentRun& run) {
  return MeasureSpeed(run, 1, at::kFloat);
}
REPRO_REGISTER_EXPERIMENT("inline_attention", "cpu_speed", CpuSpeed);

absl::Status SwinSpeed(ExperimentRun& run) {
  return MeasureSpeed(run, 64, at::kFloat);
}
REPRO_REGISTER_EXPERIMENT("inline_attention", "swin_speed", SwinSpeed);

absl::Status DeitSpeed(ExperimentRun& run) {
  return MeasureSpeed(run, 16, at::kFloat);
}
REPRO_REGISTER_EXPERIMENT("inline_attention", "deit_speed", DeitSpeed);

absl::Status DeitSpeedHalf(ExperimentRun& run) {
  return MeasureSpeed(run, 16, at::kBFloat16);
}
REPRO_REGISTER_EXPERIMENT("inline_attention", "deit_speed_half", DeitSpeedHalf);

// --------------------------------------------------------------------- study

absl::Status Study(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  const StudyOptions options;
  std::set<std::string> names;
  for (const Claim* claim : run.claims()) {
    for (const char* arg : {"arm", "minus"}) {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
      names.insert(name);
    }
  }
  Grid grid = GridOfRun(run);
  grid.names.assign(names.begin(), names.end());
  REPRO_ASSIGN_OR_RETURN(const GridOutcomes outcomes,
                         TrainGrid(grid, [&](const GridCell& cell) {
                           return TrainArm(options, cell, device);
                         }));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    if (quantity != "top1" && quantity != "confusion") {
      return UnknownName(*claim, "quantity", quantity);
    }
    const size_t index = quantity == "top1" ? 0 : 1;
    const auto& arm = outcomes.at(*run.Arg(*claim, "arm"));
    const auto& minus = outcomes.at(*run.Arg(*claim, "minus"));
    Observation observation;
    for (size_t i = 0; i < arm.size(); ++i) {
      observation.samples.push_back(arm[i].at(index));
      observation.effects.push_back(arm[i].at(index) - minus.at(i).at(index));
    }
    observation.scale =
        absl::StrCat("DeiT of ", options.vision.depths[0], " blocks of ",
                     options.vision.dims[0], ", 64 patches, ", options.steps,
                     " steps of ", options.batch);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("inline_attention", "study", Study);

}  // namespace
}  // namespace repro::inline_attention
