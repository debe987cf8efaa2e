// Independent pieces of work on a few threads.
//
//   std::vector<double> scores(runs.size());
//   REPRO_RETURN_IF_ERROR(ParallelFor(
//       runs.size(), run.threads(),
//       [&](int64_t i) -> absl::Status {
//         REPRO_ASSIGN_OR_RETURN(scores[i], Train(runs[i]));
//         return absl::OkStatus();
//       },
//       [&](int64_t done) {
//         run.Progress(done, runs.size(), "runs");
//         return !run.Cancelled();
//       }));
#ifndef REPRO_COMMON_THREADS_PARALLEL_FOR_H_
#define REPRO_COMMON_THREADS_PARALLEL_FOR_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"

namespace repro {

// Calls work(0) to work(count - 1), each once and begun in this order, on the
// caller's thread and up to `threads` - 1 others, and returns when none runs.
// After an error no piece begins any more, and the first error to come is
// returned. `progress` is called after each piece that went well, by one thread
// at a time, with how many are done; if it says false: Cancelled. `work` and
// `progress` must not throw.
absl::Status ParallelFor(
    int64_t count, int threads,
    const std::function<absl::Status(int64_t i)>& work,
    const std::function<bool(int64_t done)>& progress = nullptr);

}  // namespace repro

#endif  // REPRO_COMMON_THREADS_PARALLEL_FOR_H_
