#ifndef REPRO_COMMON_TESTBED_EXPERIMENT_H_
#define REPRO_COMMON_TESTBED_EXPERIMENT_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/claims/experiment.h"
#include "common/testbed/testbed.h"

namespace repro::testbed {

// The recipe's model on the run's device, from the cache or trained now; the
// training is the first half of the run's progress and ends when the run is
// cancelled.
absl::StatusOr<Testbed> TestbedOfRun(ExperimentRun& run,
                                     const std::string& recipe_name);

}  // namespace repro::testbed

#endif  // REPRO_COMMON_TESTBED_EXPERIMENT_H_
