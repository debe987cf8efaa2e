#ifndef REPRO_COMMON_EXEC_PROCESS_TREE_H_
#define REPRO_COMMON_EXEC_PROCESS_TREE_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace repro::exec {

// The living children of a process, from /proc; empty if it is gone.
std::vector<pid_t> Children(pid_t pid);

struct TreeUsage {
  int tasks = 0;             // processes and threads
  int64_t memory_bytes = 0;  // resident anonymous and shared memory
  absl::Duration cpu;        // with that of children waited for
};

// Sums over the descendants of `pid`; of `pid` itself, only the CPU time of
// children that it has waited for. Stops early above `max_tasks` tasks.
TreeUsage DescendantsUsage(pid_t pid, int max_tasks);

}  // namespace repro::exec

#endif  // REPRO_COMMON_EXEC_PROCESS_TREE_H_
