#ifndef REPRO_COMMON_EXEC_SECCOMP_FILTER_H_
#define REPRO_COMMON_EXEC_SECCOMP_FILTER_H_

#include <string>

#include "absl/status/statusor.h"

namespace repro::exec {

// The BPF program for `bwrap --seccomp`: system calls of no use to a program
// that computes fail with EPERM, those that this build does not know and
// clone3 (whose flags a filter cannot see) with ENOSYS; another architecture's
// calls kill. README.md lists what is denied and why. Fails if libseccomp does.
absl::StatusOr<std::string> SeccompFilter();

}  // namespace repro::exec

#endif  // REPRO_COMMON_EXEC_SECCOMP_FILTER_H_
