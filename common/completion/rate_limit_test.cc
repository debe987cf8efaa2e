#include "common/completion/rate_limit.h"

#include "absl/time/time.h"
#include "common/completion/fake_clock.h"
#include "gtest/gtest.h"

namespace repro::completion {
namespace {

TEST(RateLimiterTest, NoLimitNeverWaits) {
  FakeClock clock;
  RateLimiter limiter({}, &clock);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(limiter.Acquire(1000000, nullptr).ok());
  }
  EXPECT_EQ(clock.slept(), absl::ZeroDuration());
}

// A full bucket, then one request every 60/30 seconds.
TEST(RateLimiterTest, RequestsAMinute) {
  FakeClock clock;
  RateLimiter limiter({30, 0}, &clock);
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(limiter.Acquire(5, nullptr).ok());
  EXPECT_EQ(clock.slept(), absl::ZeroDuration());
  for (int i = 1; i <= 5; ++i) {
    EXPECT_TRUE(limiter.Acquire(5, nullptr).ok());
    EXPECT_NEAR(absl::ToDoubleSeconds(clock.slept()), 2. * i, 1e-6);
  }
  // An idle hour fills it no further than a minute's worth.
  clock.Advance(absl::Hours(1));
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(limiter.Acquire(5, nullptr).ok());
  EXPECT_NEAR(absl::ToDoubleSeconds(clock.slept()), 10, 1e-6);
  EXPECT_TRUE(limiter.Acquire(5, nullptr).ok());
  EXPECT_NEAR(absl::ToDoubleSeconds(clock.slept()), 12, 1e-6);
}

TEST(RateLimiterTest, TokensAMinuteAreSettled) {
  FakeClock clock;
  RateLimiter limiter({0, 6000}, &clock);  // 100 a second
  EXPECT_TRUE(limiter.Acquire(6000, nullptr).ok());
  limiter.Settle(6000, 5000);
  EXPECT_TRUE(limiter.Acquire(1000, nullptr).ok());
  EXPECT_EQ(clock.slept(), absl::ZeroDuration());
  EXPECT_TRUE(limiter.Acquire(300, nullptr).ok());
  EXPECT_NEAR(absl::ToDoubleSeconds(clock.slept()), 3, 1e-6);
  limiter.Settle(300, 500);  // more than was thought
  EXPECT_TRUE(limiter.Acquire(100, nullptr).ok());
  EXPECT_NEAR(absl::ToDoubleSeconds(clock.slept()), 6, 1e-6);
}

// More than a minute's worth: waits for a full bucket and leaves a debt.
TEST(RateLimiterTest, ALargeRequestIsNotStarved) {
  FakeClock clock;
  RateLimiter limiter({0, 600}, &clock);  // 10 a second
  EXPECT_TRUE(limiter.Acquire(300, nullptr).ok());
  EXPECT_TRUE(limiter.Acquire(1200, nullptr).ok());
  EXPECT_NEAR(absl::ToDoubleSeconds(clock.slept()), 30, 1e-6);
  EXPECT_TRUE(limiter.Acquire(10, nullptr).ok());
  EXPECT_NEAR(absl::ToDoubleSeconds(clock.slept()), 30 + 61, 1e-6);
}

TEST(RateLimiterTest, ACancelledWaitGivesBack) {
  FakeClock clock;
  RateLimiter limiter({0, 60}, &clock);
  EXPECT_TRUE(limiter.Acquire(60, nullptr).ok());
  EXPECT_EQ(limiter.Acquire(60, [] { return true; }).code(),
            absl::StatusCode::kCancelled);
  EXPECT_TRUE(limiter.Acquire(1, nullptr).ok());
  EXPECT_NEAR(absl::ToDoubleSeconds(clock.slept()), 1, 1e-6);
}

TEST(ClockTest, RealSleepEndsAndCancels) {
  Clock* clock = Clock::Real();
  EXPECT_TRUE(clock->Sleep(absl::Milliseconds(1), nullptr));
  EXPECT_FALSE(clock->Sleep(absl::Hours(1), [] { return true; }));
  EXPECT_FALSE(
      clock->Sleep(absl::Hours(1), [n = 0]() mutable { return ++n > 2; }));
}

}  // namespace
}  // namespace repro::completion
