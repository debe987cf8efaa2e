#include "common/completion/rate_limit.h"

#include <algorithm>

#include "absl/time/clock.h"

namespace repro::completion {
namespace {

class RealClock : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }

  bool Sleep(absl::Duration duration,
             const std::function<bool()>& cancelled) override {
    constexpr absl::Duration kLook = absl::Milliseconds(50);
    const absl::Time end = absl::Now() + duration;
    while (true) {
      if (cancelled && cancelled()) return false;
      const absl::Duration left = end - absl::Now();
      if (left <= absl::ZeroDuration()) return true;
      absl::SleepFor(std::min(left, kLook));
    }
  }
};

}  // namespace

Clock* Clock::Real() {
  static Clock* const clock = new RealClock;
  return clock;
}

absl::Duration RateLimiter::Bucket::Take(double amount, absl::Time now) {
  if (per_minute_ <= 0) return absl::ZeroDuration();
  const double minutes = absl::FDivDuration(now - at_, absl::Minutes(1));
  level_ = std::min(per_minute_, level_ + std::max(0., minutes) * per_minute_);
  at_ = now;
  const double lacking = std::min(amount, per_minute_) - level_;
  level_ -= amount;
  return absl::Minutes(std::max(0., lacking) / per_minute_);
}

void RateLimiter::Bucket::Give(double amount) {
  level_ = std::min(per_minute_, level_ + amount);
}

RateLimiter::RateLimiter(const RateLimits& limits, Clock* clock)
    : clock_(clock),
      requests_(limits.requests_per_minute, clock->Now()),
      tokens_(limits.tokens_per_minute, clock->Now()) {}

absl::Status RateLimiter::Acquire(int64_t tokens,
                                  const std::function<bool()>& cancelled) {
  absl::Duration wait;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Time now = clock_->Now();
    wait = std::max(requests_.Take(1, now),
                    tokens_.Take(static_cast<double>(tokens), now));
  }
  if (wait <= absl::ZeroDuration() || clock_->Sleep(wait, cancelled)) {
    return absl::OkStatus();
  }
  absl::MutexLock lock(&mutex_);
  requests_.Give(1);
  tokens_.Give(static_cast<double>(tokens));
  return absl::CancelledError("stopped while waiting for the rate limit");
}

void RateLimiter::Settle(int64_t acquired, int64_t used) {
  absl::MutexLock lock(&mutex_);
  tokens_.Give(static_cast<double>(acquired - used));
}

}  // namespace repro::completion
