#ifndef REPRO_TOOLS_ENVIRONMENT_H_
#define REPRO_TOOLS_ENVIRONMENT_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/claims/runner.h"

namespace repro {

// What this program was built from and runs on. Chooses the device: an error if
// `device` is not there.
absl::StatusOr<RunEnvironment> MakeEnvironment(const std::string& device);

// Of the process that the program was built by.
Build ThisBuild();
Machine ThisMachine();

}  // namespace repro

#endif  // REPRO_TOOLS_ENVIRONMENT_H_
