#ifndef REPRO_COMMON_EXEC_NAMESPACES_PERMITTED_H_
#define REPRO_COMMON_EXEC_NAMESPACES_PERMITTED_H_

#include "absl/status/status.h"

namespace repro::exec {

// For tests, which are skipped where the kernel or a container forbids what
// every sandbox needs: user, mount, PID and network namespaces and mounts in
// them. Asks the kernel directly, so that a fault of Sandbox is not taken for
// a lack of permission.
absl::Status NamespacesPermitted();

}  // namespace repro::exec

#endif  // REPRO_COMMON_EXEC_NAMESPACES_PERMITTED_H_
