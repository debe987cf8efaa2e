#include "common/testbed/experiment.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"

namespace repro::testbed {

absl::StatusOr<Testbed> TestbedOfRun(ExperimentRun& run,
                                     const std::string& recipe_name) {
  TrainingOptions training;
  REPRO_ASSIGN_OR_RETURN(training.device, ParseDevice(run.device()));
  training.cancelled = [&] { return run.Cancelled(); };
  training.progress = [&](int64_t done, int64_t total,
                          const std::string& text) {
    run.Progress(0.5 * static_cast<double>(done) / static_cast<double>(total),
                 1, absl::StrCat("training ", recipe_name, ": ", text));
  };
  return LoadOrTrainTestbed(recipe_name, DefaultCacheDir(), training);
}

absl::StatusOr<std::map<std::string, std::vector<Recall>>> RecallsOverSeeds(
    ExperimentRun& run,
    const std::function<absl::StatusOr<std::map<std::string, Recall>>(
        uint64_t seed)>& compare) {
  std::map<std::string, std::vector<Recall>> recalls;
  const auto count = static_cast<double>(run.seeds().size());
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    run.Progress(0.5 + 0.5 * done++ / count, 1, absl::StrCat("seed ", seed));
    REPRO_ASSIGN_OR_RETURN(const auto of_seed, compare(seed));
    for (const auto& [policy, recall] : of_seed) {
      recalls[policy].push_back(recall);
    }
  }
  return recalls;
}

absl::StatusOr<double Recall::*> MeasureOfRecall(const ExperimentRun& run,
                                                 const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "measure"));
  if (name == "accuracy") return &Recall::accuracy;
  if (name == "nats") return &Recall::nats;
  return absl::InvalidArgumentError(
      absl::StrCat(claim.id(), ": no measure \"", name, "\""));
}

}  // namespace repro::testbed
