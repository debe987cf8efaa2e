// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/lm/model.h"
#include "common/lm/text_model.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/testbed/experiment.h"
#include "papers/infini_retri/cost.h"
#include "papers/infini_retri/heat_maps.h"
#include "papers/infini_retri/infini_retri.h"
#include "papers/infini_retri/needle.h"
#include "papers/infini_retri/recall.h"

namespace repro::infini_retri {
namespace {

absl::Status Settings(ExperimentRun& run) {
  const Options api, pipeline = Options::Pipeline();
  const std::map<std::string, double> values = {
      {"top_k", static_cast<double>(api.retriever.top_k)},
      {"top_k_pipeline", static_cast<double>(pipeline.retriever.top_k)},
      {"phrase_width", static_cast<double>(api.retriever.phrase_width)},
      {"chunk_size", static_cast<double>(api.chunk_size)},
      {"max_new_tokens", static_cast<double>(api.max_new_tokens)}};
  return RecordByName(run, "setting", values);
}
REPRO_REGISTER_EXPERIMENT("infini_retri", "settings", Settings);

absl::Status HeatMapStatistics(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("niah_heatmap_cells"));
  REPRO_ASSIGN_OR_RETURN(const HeatMaps maps, ReadHeatMaps(path));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string method, run.Arg(*claim, "method"));
    REPRO_ASSIGN_OR_RETURN(const std::string statistic,
                           run.Arg(*claim, "statistic"));
    int64_t split = 0;
    if (statistic == "up_to" || statistic == "beyond") {
      REPRO_ASSIGN_OR_RETURN(split, run.IntArg(*claim, "split"));
    }
    const auto found = maps.find({model, method});
    if (found == maps.end()) {
      return UnknownName(*claim, "heat map", absl::StrCat(model, ", ", method));
    }
    REPRO_ASSIGN_OR_RETURN(const double value,
                           HeatMapStatistic(found->second, statistic, split));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("infini_retri", "heat_maps", HeatMapStatistics);

// ------------------------------------- quantities by policy, over the seeds

// Measures a policy at a length once a seed.
using MeasurePolicy = std::function<absl::StatusOr<std::vector<double>>(
    const Claim& claim, const std::string& policy, int64_t length)>;

// The value is that of `policy` at `length`; the effect, where `against` is
// given, what it has more than that policy at `against_length` (else `length`).
absl::Status RecordPolicies(ExperimentRun& run, const std::string& scale,
                            const MeasurePolicy& measure) {
  double done = 0;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string policy, run.Arg(*claim, "policy"));
    REPRO_ASSIGN_OR_RETURN(const int64_t length, run.IntArg(*claim, "length"));
    Observation observation;
    observation.scale = scale;
    REPRO_ASSIGN_OR_RETURN(observation.samples,
                           measure(*claim, policy, length));
    const absl::StatusOr<std::string> against = run.Arg(*claim, "against");
    if (against.ok()) {
      int64_t other_length = length;
      if (run.Arg(*claim, "against_length").ok()) {
        REPRO_ASSIGN_OR_RETURN(other_length,
                               run.IntArg(*claim, "against_length"));
      }
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> other,
                             measure(*claim, *against, other_length));
      for (size_t i = 0; i < other.size(); ++i) {
        observation.effects.push_back(observation.samples[i] - other[i]);
      }
    }
    run.Record(*claim, std::move(observation));
    run.Progress(0.5 + 0.5 * ++done / static_cast<double>(run.claims().size()),
                 1, claim->id());
  }
  return absl::OkStatus();
}

absl::Status RecallBeyondContext(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const testbed::Testbed testbed,
                         testbed::TestbedOfRun(run, "testbed_small"));
  const RecallOptions options;
  std::map<std::pair<std::string, int64_t>, std::vector<RetrievalRecall>>
      recalls;
  const auto measure =
      [&](const Claim& claim, const std::string& policy,
          int64_t length) -> absl::StatusOr<std::vector<double>> {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "measure"));
    if (name != "accuracy" && name != "survival") {
      return UnknownName(claim, "measure", name);
    }
    std::vector<RetrievalRecall>& of_policy = recalls[{policy, length}];
    std::vector<double> values;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      if (of_policy.size() == i) {
        if (run.Cancelled()) return absl::CancelledError("stopped");
        REPRO_ASSIGN_OR_RETURN(
            of_policy.emplace_back(),
            MeasureRetrieval(*testbed.model, testbed.recipe, options, policy,
                             length, run.seeds()[i]));
      }
      values.push_back(name == "accuracy" ? of_policy[i].accuracy
                                          : of_policy[i].survival);
    }
    return values;
  };
  const lm::ModelConfig& model = testbed.model->config();
  return RecordPolicies(
      run,
      absl::StrCat(model.num_layers, " layers of ", model.num_heads,
                   " heads, trained at ", testbed.recipe.context,
                   " tokens; w = ", options.chunk_size,
                   ", k = ", options.retriever.top_k, ": ",
                   options.sequences * options.questions, " passkeys a seed"),
      measure);
}
REPRO_REGISTER_EXPERIMENT("infini_retri", "recall", RecallBeyondContext);

absl::Status NeedleOfSmolLm2(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string model_path,
                         run.AssetPath("smollm2"));
  REPRO_ASSIGN_OR_RETURN(const std::string essays_path,
                         run.AssetPath("paul_graham_essays"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> essays,
                         ReadEssays(essays_path));
  lm::LoadOptions load;
  REPRO_ASSIGN_OR_RETURN(load.device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const lm::TextModel model,
                         lm::LoadTextModel(model_path, load));
  std::map<std::tuple<std::string, int64_t, uint64_t>, NeedleScore> scores;
  NeedleOptions options;
  int64_t best_layer = -1;  // not known yet
  const auto measure =
      [&](const Claim& claim, const std::string& policy,
          int64_t length) -> absl::StatusOr<std::vector<double>> {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "measure"));
    if (name != "matched" && name != "retrieved") {
      return UnknownName(claim, "measure", name);
    }
    options.length = length;
    options.layer = -1;
    if (policy == "best_layer") {
      if (best_layer < 0) {
        REPRO_ASSIGN_OR_RETURN(
            best_layer,
            BestNeedleLayer(*model.model, *model.tokenizer, essays, options));
      }
      options.layer = best_layer;
    }
    std::vector<double> values;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      const auto [found, added] =
          scores.try_emplace({policy, length, seed}, NeedleScore{});
      if (added) {
        REPRO_ASSIGN_OR_RETURN(
            found->second,
            MeasureNeedle(*model.model, *model.tokenizer, essays, options,
                          policy == "best_layer" ? "infini_retri" : policy,
                          seed));
      }
      values.push_back(name == "matched" ? found->second.matched
                                         : found->second.retrieved);
    }
    return values;
  };
  return RecordPolicies(run,
                        absl::StrCat("SmolLM2-135M; w = ", options.chunk_size,
                                     ", k = ", options.top_k, ": ",
                                     options.depths.size(), " depths a seed"),
                        measure);
}
REPRO_REGISTER_EXPERIMENT("infini_retri", "smollm2_needle", NeedleOfSmolLm2);

// -------------------------------------------------------------------- cost

absl::Status CostOfLength(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  std::map<std::tuple<bool, int64_t, uint64_t>, Cost> costs;
  double done = 0;
  try {
    const auto model =
        lm::RandomModel(Qwen25HalfBillion(), MakeGenerator(0, 0, device),
                        device, device.is_cuda() ? at::kBFloat16 : at::kFloat);
    const CostOptions options;
    const auto cost = [&](bool dense, int64_t tokens, uint64_t seed) {
      const auto [found, added] =
          costs.try_emplace({dense, tokens, seed}, Cost{});
      if (added) {
        found->second = (dense ? MeasureDenseCost : MeasureRetrievalCost)(
            *model, tokens, options, seed);
      }
      return found->second;
    };
    for (const Claim* claim : run.claims()) {
      REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                             run.Arg(*claim, "quantity"));
      REPRO_ASSIGN_OR_RETURN(const int64_t tokens,
                             run.IntArg(*claim, "tokens"));
      int64_t base = 0;
      if (quantity == "time_growth" || quantity == "memory_growth") {
        REPRO_ASSIGN_OR_RETURN(base, run.IntArg(*claim, "base"));
      } else if (quantity != "dense_time_ratio") {
        return UnknownName(*claim, "quantity", quantity);
      }
      Observation observation;
      for (const uint64_t seed : run.seeds()) {
        if (run.Cancelled()) return absl::CancelledError("stopped");
        const Cost of_text = cost(/*dense=*/false, tokens, seed);
        if (quantity == "dense_time_ratio") {
          observation.samples.push_back(
              cost(/*dense=*/true, tokens, seed).seconds / of_text.seconds);
          continue;
        }
        const Cost of_base = cost(/*dense=*/false, base, seed);
        observation.samples.push_back(
            quantity == "time_growth"
                ? of_text.seconds / of_base.seconds
                : static_cast<double>(of_text.peak_bytes) /
                      static_cast<double>(of_base.peak_bytes));
      }
      run.Record(*claim, std::move(observation));
      run.Progress(++done, static_cast<double>(run.claims().size()),
                   claim->id());
    }
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("length_cost: ", error.what_without_backtrace()));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("infini_retri", "length_cost", CostOfLength);

}  // namespace
}  // namespace repro::infini_retri
