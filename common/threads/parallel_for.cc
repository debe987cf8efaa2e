#include "common/threads/parallel_for.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace repro {

absl::Status ParallelFor(int64_t count, int threads,
                         const std::function<absl::Status(int64_t)>& work,
                         const std::function<bool(int64_t)>& progress) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  int64_t done = 0;
  absl::Status first_error;
  const auto loop = [&] {
    for (int64_t i; (i = next++) < count;) {
      absl::Status status = work(i);
      const std::lock_guard<std::mutex> lock(mutex);
      // What ends after an error does not count.
      if (!first_error.ok()) return;
      if (status.ok() && progress && !progress(++done)) {
        status = absl::CancelledError("stopped");
      }
      if (!status.ok()) {
        first_error = std::move(status);
        next = count;
        return;
      }
    }
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min<int64_t>(threads, count); ++i) {
    others.emplace_back(loop);
  }
  loop();
  for (std::thread& other : others) other.join();
  return first_error;
}

}  // namespace repro
