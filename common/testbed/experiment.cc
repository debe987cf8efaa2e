#include "common/testbed/experiment.h"

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

}  // namespace repro::testbed
