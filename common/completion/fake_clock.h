#ifndef REPRO_COMMON_COMPLETION_FAKE_CLOCK_H_
#define REPRO_COMMON_COMPLETION_FAKE_CLOCK_H_

#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/completion/rate_limit.h"

namespace repro::completion {

// Time that passes only by sleeping, at once.
class FakeClock : public Clock {
 public:
  absl::Time Now() override {
    absl::MutexLock lock(&mutex_);
    return now_;
  }

  bool Sleep(absl::Duration duration,
             const std::function<bool()>& cancelled) override {
    if (cancelled && cancelled()) return false;
    absl::MutexLock lock(&mutex_);
    sleeps_.push_back(duration);
    now_ += duration;
    return true;
  }

  void Advance(absl::Duration duration) {
    absl::MutexLock lock(&mutex_);
    now_ += duration;
  }

  std::vector<absl::Duration> sleeps() const {
    absl::MutexLock lock(&mutex_);
    return sleeps_;
  }

  absl::Duration slept() const {
    absl::Duration sum;
    for (const absl::Duration duration : sleeps()) sum += duration;
    return sum;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_) = absl::FromUnixSeconds(1767225600);
  std::vector<absl::Duration> sleeps_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_FAKE_CLOCK_H_
