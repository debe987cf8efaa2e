#ifndef REPRO_COMMON_COMPLETION_RATE_LIMIT_H_
#define REPRO_COMMON_COMPLETION_RATE_LIMIT_H_

#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace repro::completion {

// Time, so that tests of waiting do not wait.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;
  // False if `cancelled` (may be null) said so before the time was over.
  virtual bool Sleep(absl::Duration duration,
                     const std::function<bool()>& cancelled) = 0;

  static Clock* Real();
};

struct RateLimits {
  // A minute's worth may be used at once. 0: no limit.
  double requests_per_minute = 0;
  double tokens_per_minute = 0;
};

// Token buckets (of requests and of tokens) that fill evenly and hold a
// minute's worth. Threads get their turn in the order of asking.
class RateLimiter {
 public:
  // `clock` must outlive it.
  RateLimiter(const RateLimits& limits, Clock* clock);

  // Waits until a request of so many tokens may go. A request of more than the
  // bucket holds waits for a full one and leaves a debt. Cancelled.
  absl::Status Acquire(int64_t tokens, const std::function<bool()>& cancelled);

  // The request took `used` tokens where `acquired` were asked for.
  void Settle(int64_t acquired, int64_t used);

 private:
  class Bucket {
   public:
    Bucket(double per_minute, absl::Time now)
        : per_minute_(per_minute), level_(per_minute), at_(now) {}
    // Takes the amount at once; how long to wait before using it.
    absl::Duration Take(double amount, absl::Time now);
    void Give(double amount);

   private:
    double per_minute_;
    double level_;  // negative: promised to those who wait
    absl::Time at_;
  };

  Clock* const clock_;
  absl::Mutex mutex_;
  Bucket requests_ ABSL_GUARDED_BY(mutex_);
  Bucket tokens_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_RATE_LIMIT_H_
