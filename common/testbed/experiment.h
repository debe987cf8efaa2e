#ifndef REPRO_COMMON_TESTBED_EXPERIMENT_H_
#define REPRO_COMMON_TESTBED_EXPERIMENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/claims/experiment.h"
#include "common/testbed/evaluate.h"
#include "common/testbed/testbed.h"

namespace repro::testbed {

// The recipe's model on the run's device, from the cache or trained now; the
// training is the first half of the run's progress and ends when the run is
// cancelled.
absl::StatusOr<Testbed> TestbedOfRun(ExperimentRun& run,
                                     const std::string& recipe_name);

// What `compare` finds for each of the run's seeds: by policy, in the order of
// the seeds. The second half of the run's progress.
absl::StatusOr<std::map<std::string, std::vector<Recall>>> RecallsOverSeeds(
    ExperimentRun& run,
    const std::function<
        absl::StatusOr<std::map<std::string, Recall>>(uint64_t seed)>& compare);

// The measure that the claim's arg `measure` names: accuracy or nats.
absl::StatusOr<double Recall::*> MeasureOfRecall(const ExperimentRun& run,
                                                 const Claim& claim);

}  // namespace repro::testbed

#endif  // REPRO_COMMON_TESTBED_EXPERIMENT_H_
