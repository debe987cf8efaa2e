#ifndef REPRO_COMMON_STATUS_MACHINE_LACKS_H_
#define REPRO_COMMON_STATUS_MACHINE_LACKS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace repro {

// FailedPrecondition of the machine, not of the input: what it lacks (a
// program, a permission of the kernel). An experiment that ends with it was not
// run; one that ends with another error is broken.
absl::Status MachineLacksError(absl::string_view message);
bool IsMachineLacks(const absl::Status& status);

}  // namespace repro

#endif  // REPRO_COMMON_STATUS_MACHINE_LACKS_H_
