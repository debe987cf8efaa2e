// How each claim about efficient probing is measured. Experiments, and what the
// claims' args mean to them:
//
//   leaderboard    encoder: method and architecture; column: lp, ep, knn
//   runs           run; quantity: best_top1, best_epoch, first_top1, epochs
//   summary        report: see Summary()
//   parameters     pooling, dim, queries, output_dim: a PoolingConfig
//   multiply_adds  form: as_coded, reassociated, aim; over: a form, if it is a
//                  ratio
//   speed,         method: ep, ep_as_coded; quantity: time (cross-attention
//   cpu_speed      over the method), memory (likewise)
//   study          arm: shown, in percent; the effect is arm less minus, or
//                  that less (against less against_minus)
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/claims/experiment.h"
#include "common/count/flops.h"
#include "common/count/memory.h"
#include "common/count/parameters.h"
#include "common/count/timing.h"
#include "common/stats/correlation.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/experiment.h"
#include "common/train/grid.h"
#include "kernels/graph/graph.h"
#include "papers/efficient_probing/leaderboard.h"
#include "papers/efficient_probing/probes.h"
#include "papers/efficient_probing/study.h"

namespace repro::efficient_probing {
namespace {

constexpr int64_t kImageNetClasses = 1000;
// ViT-B/16 at 224 x 224, and the queries of the paper.
constexpr int64_t kTokens = 196, kDim = 768, kQueries = 32, kHeads = 12;

// ------------------------------------------------------------ released logs

absl::StatusOr<Logs> ReadLogs(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string runs, run.AssetPath("runs"));
  REPRO_ASSIGN_OR_RETURN(const std::string epochs, run.AssetPath("epochs"));
  REPRO_ASSIGN_OR_RETURN(const std::string sweeps, run.AssetPath("knn_sweeps"));
  return Logs::Read(runs, epochs, sweeps);
}

absl::StatusOr<std::vector<LeaderboardRow>> ReadRows(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("results"));
  return ReadLeaderboard(path);
}

absl::Status Leaderboard(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Logs logs, ReadLogs(run));
  REPRO_ASSIGN_OR_RETURN(const std::vector<LeaderboardRow> rows, ReadRows(run));
  std::map<std::string, Scores> scores;
  for (const LeaderboardRow& row : rows) {
    REPRO_ASSIGN_OR_RETURN(scores[absl::StrCat(row.method, " ", row.arch)],
                           ScoresFromLogs(row, logs));
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string encoder,
                           run.Arg(*claim, "encoder"));
    REPRO_ASSIGN_OR_RETURN(const std::string column, run.Arg(*claim, "column"));
    const auto found = scores.find(encoder);
    if (found == scores.end()) return UnknownName(*claim, "encoder", encoder);
    if (column == "lp") {
      run.Record(*claim, found->second.lp);
    } else if (column == "ep") {
      run.Record(*claim, found->second.ep);
    } else if (column == "knn") {
      run.Record(*claim, found->second.knn);
    } else {
      return UnknownName(*claim, "column", column);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("efficient_probing", "leaderboard", Leaderboard);

absl::Status Runs(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Logs logs, ReadLogs(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "run"));
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    REPRO_ASSIGN_OR_RETURN(const absl::Span<const Epoch> epochs,
                           logs.Epochs(name));
    const int64_t best = BestEpoch(epochs);
    if (quantity == "best_top1") {
      run.Record(*claim, epochs[best].val_top1);
    } else if (quantity == "best_epoch") {
      run.Record(*claim, static_cast<double>(best));
    } else if (quantity == "first_top1") {
      run.Record(*claim, epochs[0].val_top1);
    } else if (quantity == "epochs") {
      run.Record(*claim, static_cast<double>(epochs.size()));
    } else {
      return UnknownName(*claim, "quantity", quantity);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("efficient_probing", "runs", Runs);

// The head that a log's representation stands for: EP, or LP on one vector.
absl::StatusOr<int64_t> HeadParameters(const Run& run, int64_t queries) {
  REPRO_ASSIGN_OR_RETURN(const int64_t width,
                         FeatureWidth(run.model, run.representation));
  const bool ep = run.representation == "ep" || run.representation == "ep_all";
  const PoolingConfig config = {ep ? "ep" : "first", width, ep ? queries : 1};
  return CountParameters(
      ProbeHead(config, kImageNetClasses, Initializer::Meta()));
}

// Accuracies are printed with two decimals.
bool Above(double a, double b) { return a - b > 1e-3; }

absl::Status CountLogs(const Logs& logs,
                       std::map<std::string, double>* values) {
  double& heads = (*values)["heads that agree"];
  double& maxima = (*values)["stated maxima"];
  double& same = (*values)["same epochs"];
  for (const auto& [name, epochs] : logs.epochs()) {
    REPRO_ASSIGN_OR_RETURN(const Run* const run, logs.Find(name));
    // Only the generative DiT has another number of queries.
    REPRO_ASSIGN_OR_RETURN(
        const int64_t parameters,
        HeadParameters(*run, run->model == "DiT-XL/2" ? 128 : kQueries));
    heads += run->trainable_parameters == parameters;
    maxima += run->stated_maximum.has_value() &&
              std::abs(*run->stated_maximum -
                       epochs[BestEpoch(epochs)].val_top1) < 1e-3;
    for (const auto& [other, other_epochs] : logs.epochs()) {
      if (!(name < other) || epochs.size() != other_epochs.size()) continue;
      bool equal = true;
      for (size_t i = 0; i < epochs.size() && equal; ++i) {
        equal = epochs[i].train_loss == other_epochs[i].train_loss &&
                epochs[i].val_top1 == other_epochs[i].val_top1;
      }
      same += equal;
    }
  }
  // The encoders that pool with an attention head of their own.
  double& pooler = (*values)["own pooler above EP"];
  for (const char* encoder :
       {"siglip_vitl", "siglip2_vitl", "siglip2_so400m", "pe_core_l336"}) {
    REPRO_ASSIGN_OR_RETURN(const absl::Span<const Epoch> ep,
                           logs.Epochs(absl::StrCat(encoder, "/ep")));
    REPRO_ASSIGN_OR_RETURN(const absl::Span<const Epoch> own,
                           logs.Epochs(absl::StrCat(encoder, "/lp_pooler")));
    pooler += Above(own[BestEpoch(own)].val_top1, ep[BestEpoch(ep)].val_top1);
  }
  return absl::OkStatus();
}

// Reports: means of columns ("mean lp") and of EP less LP, over all rows
// ("gain", "last gain") and families ("MIM gain"); counts of rows and logs;
// rank correlations ("knn-gain").
absl::Status Summary(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Logs logs, ReadLogs(run));
  REPRO_ASSIGN_OR_RETURN(const std::vector<LeaderboardRow> rows, ReadRows(run));
  std::map<std::string, double> values;
  std::map<std::string, std::vector<double>> lists;
  for (const LeaderboardRow& row : rows) {
    REPRO_ASSIGN_OR_RETURN(const Scores scores, ScoresFromLogs(row, logs));
    lists["mean knn"].push_back(scores.knn);
    lists["mean lp"].push_back(scores.lp);
    lists["mean ep"].push_back(scores.ep);
    lists["lp drop"].push_back(scores.lp - scores.lp_last);
    lists["ep drop"].push_back(scores.ep - scores.ep_last);
    for (const std::string& prefix : {std::string(), row.family + " "}) {
      lists[prefix + "gain"].push_back(scores.ep - scores.lp);
      lists[prefix + "last gain"].push_back(scores.ep_last - scores.lp_last);
    }
    values["EP above LP"] += Above(scores.ep, scores.lp);
    values["LP above EP"] += Above(scores.lp, scores.ep);
    values["EP above LP, last"] += Above(scores.ep_last, scores.lp_last);
    values["ep_all"] += row.ep_variant == "ep_all";
    REPRO_ASSIGN_OR_RETURN(const Run* const lp, logs.Find(row.lp_run));
    REPRO_ASSIGN_OR_RETURN(const Run* const ep, logs.Find(row.ep_run));
    REPRO_ASSIGN_OR_RETURN(const int64_t lp_width,
                           FeatureWidth(lp->model, lp->representation));
    REPRO_ASSIGN_OR_RETURN(const int64_t ep_width,
                           FeatureWidth(ep->model, ep->representation));
    values["other widths"] += lp_width != ep_width;
  }
  for (const auto& [name, list] : lists) {
    REPRO_ASSIGN_OR_RETURN(values[name], Mean(list));
  }
  REPRO_ASSIGN_OR_RETURN(
      values["lp-ep"], SpearmanCorrelation(lists["mean lp"], lists["mean ep"]));
  REPRO_ASSIGN_OR_RETURN(
      values["knn-ep"],
      SpearmanCorrelation(lists["mean knn"], lists["mean ep"]));
  REPRO_ASSIGN_OR_RETURN(values["knn-gain"],
                         SpearmanCorrelation(lists["mean knn"], lists["gain"]));
  REPRO_RETURN_IF_ERROR(CountLogs(logs, &values));
  return RecordByName(run, "report", values);
}
REPRO_REGISTER_EXPERIMENT("efficient_probing", "summary", Summary);

// -------------------------------------------------------------------- counts

absl::Status Parameters(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    PoolingConfig config;
    REPRO_ASSIGN_OR_RETURN(config.name, run.Arg(*claim, "pooling"));
    REPRO_ASSIGN_OR_RETURN(config.dim, run.IntArg(*claim, "dim"));
    REPRO_ASSIGN_OR_RETURN(config.queries, run.IntArg(*claim, "queries"));
    REPRO_ASSIGN_OR_RETURN(config.output_dim, run.IntArg(*claim, "output_dim"));
    const ProbeHead head(config, kImageNetClasses, Initializer::Meta());
    run.RecordCount(*claim, static_cast<double>(CountParameters(head)));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("efficient_probing", "parameters", Parameters);

absl::StatusOr<int64_t> MultiplyAddsOf(const Claim& claim,
                                       const std::string& form) {
  const Initializer init(MakeGenerator(0));
  const at::Tensor x = at::zeros({1, kTokens, kDim}, at::kFloat);
  EfficientProbing ep(kDim, kQueries, init);
  CrossAttentionOptions options;
  options.normalize_tokens = true;
  CrossAttention aim(kDim, kHeads, init, options);
  std::function<void()> forward;
  if (form == "as_coded") {
    forward = [&] { ep.ForwardAsCoded(x); };
  } else if (form == "reassociated") {
    forward = [&] { ep.Forward(x); };
  } else if (form == "aim") {
    forward = [&] { aim.Forward(x); };
  } else {
    return UnknownName(claim, "form", form);
  }
  return CountFlops(FlopConvention::kConvMatmul, forward).total;
}

absl::Status MultiplyAdds(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string form, run.Arg(*claim, "form"));
    REPRO_ASSIGN_OR_RETURN(const int64_t count, MultiplyAddsOf(*claim, form));
    const absl::StatusOr<std::string> over = run.Arg(*claim, "over");
    if (!over.ok()) {
      run.RecordCount(*claim, static_cast<double>(count));
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const int64_t base, MultiplyAddsOf(*claim, *over));
    run.Record(*claim, static_cast<double>(count) / static_cast<double>(base));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("efficient_probing", "multiply_adds", MultiplyAdds);

// --------------------------------------------------------------------- speed

// Milliseconds and peak bytes of a forward and backward run, by method.
using Costs = std::map<std::string, std::pair<double, double>>;

Costs MeasureCosts(at::Device device, int64_t batch, at::ScalarType type,
                   uint64_t seed) {
  const Initializer init(MakeGenerator(seed, 0), device);
  // The gradient ends at the tokens: the encoder is frozen.
  const at::Tensor x =
      at::randn({batch, kTokens, kDim}, MakeGenerator(seed, 1, device),
                at::TensorOptions().dtype(at::kFloat).device(device))
          .to(type);
  EfficientProbing ep(kDim, kQueries, init);
  CrossAttention mhca(kDim, kHeads, init);
  std::vector<at::Tensor> parameters = ep.Parameters();
  for (const at::Tensor& parameter : mhca.Parameters()) {
    parameters.push_back(parameter);
  }
  const std::map<std::string, std::function<at::Tensor()>> forwards = {
      {"ep", [&] { return ep.Forward(x); }},
      {"ep_as_coded", [&] { return ep.ForwardAsCoded(x); }},
      {"mhca", [&] { return mhca.Forward(x); }}};
  const auto clear = [&] {
    for (at::Tensor& parameter : parameters) parameter.mutable_grad().reset();
  };
  TimingOptions options;
  options.max_seconds = 3;
  Costs costs;
  for (const auto& [name, forward] : forwards) {
    const auto step = [&clear, &forward = forward] {
      const at::AutoGradMode with_gradients(true);
      clear();
      forward().sum().backward();
    };
    step();  // libraries make their workspaces
    clear();
    const int64_t bytes = PeakBytes(device, step);
    // EP's kernels are shorter than the CPU's launches of them, which would be
    // what is timed.
    CapturedGraph graph(device, step);
    const Timing timing = MeasureTime(
        device, [&] { graph.Replay(); }, options);
    costs[name] = {timing.Median(), static_cast<double>(bytes)};
  }
  return costs;
}

absl::Status MeasureSpeed(ExperimentRun& run, int64_t batch,
                          at::ScalarType type) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  std::vector<Costs> costs;
  for (const uint64_t seed : run.seeds()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    run.Progress(static_cast<double>(costs.size()),
                 static_cast<double>(run.seeds().size()),
                 absl::StrCat("seed ", seed));
    costs.push_back(MeasureCosts(device, batch, type, seed));
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string method, run.Arg(*claim, "method"));
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    if (quantity != "time" && quantity != "memory") {
      return UnknownName(*claim, "quantity", quantity);
    }
    Observation observation;
    observation.scale = absl::StrCat(batch, " images of ", kTokens,
                                     " tokens, forward and backward");
    for (const Costs& of_seed : costs) {
      const auto found = of_seed.find(method);
      if (found == of_seed.end()) return UnknownName(*claim, "method", method);
      const auto& [time, bytes] = found->second;
      const auto& [base_time, base_bytes] = of_seed.at("mhca");
      observation.samples.push_back(quantity == "time" ? base_time / time
                                                       : base_bytes / bytes);
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status Speed(ExperimentRun& run) {
  return MeasureSpeed(run, 1024, at::kBFloat16);
}
REPRO_REGISTER_EXPERIMENT("efficient_probing", "speed", Speed);

absl::Status CpuSpeed(ExperimentRun& run) {
  return MeasureSpeed(run, 8, at::kFloat);
}
REPRO_REGISTER_EXPERIMENT("efficient_probing", "cpu_speed", CpuSpeed);

// --------------------------------------------------------------------- study

absl::Status Study(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const at::Device device, ParseDevice(run.device()));
  const StudyOptions options;
  Grid grid = GridOfRun(run);
  grid.names = {"study"};
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes outcomes,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            REPRO_ASSIGN_OR_RETURN(
                const auto measured,
                RunStudy(
                    options, cell.seed, device,
                    [&](double done, const std::string& text) {
                      cell.progress(static_cast<int64_t>(100 * done), 100,
                                    text);
                    },
                    [&] { return run.Cancelled(); }));
            std::vector<double> values;
            for (const std::string& name : MeasureNames()) {
              values.push_back(measured.at(name));
            }
            return values;
          }));
  // By name, one value a seed.
  std::map<std::string, std::vector<double>> accuracies;
  for (const std::vector<double>& of_seed : outcomes.at("study")) {
    for (size_t i = 0; i < MeasureNames().size(); ++i) {
      accuracies[MeasureNames()[i]].push_back(of_seed.at(i));
    }
  }
  for (const Claim* claim : run.claims()) {
    const auto of =
        [&](absl::string_view arg) -> absl::StatusOr<std::vector<double>> {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
      const auto found = accuracies.find(name);
      if (found == accuracies.end()) return UnknownName(*claim, arg, name);
      return found->second;
    };
    Observation observation;
    REPRO_ASSIGN_OR_RETURN(observation.samples, of("arm"));
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> minus, of("minus"));
    for (size_t i = 0; i < minus.size(); ++i) {
      observation.effects.push_back(observation.samples[i] - minus[i]);
    }
    if (run.Arg(*claim, "against").ok()) {
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> arm, of("against"));
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> base,
                             of("against_minus"));
      for (size_t i = 0; i < arm.size(); ++i) {
        observation.effects[i] -= arm[i] - base[i];
      }
    }
    observation.scale = absl::StrCat(
        "ViT of ", options.vit.depth, " blocks of ", options.vit.dim, ", ",
        options.vit.num_patches(), " patches, ", options.train_images,
        " labelled images of 10 classes");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("efficient_probing", "study", Study);

}  // namespace
}  // namespace repro::efficient_probing
