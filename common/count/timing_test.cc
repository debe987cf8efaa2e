#include "common/count/timing.h"

#include <c10/util/Exception.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

const c10::Device kCpu(c10::kCPU);

void Sleep(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST(Timing, CallsAsOftenAsAsked) {
  int calls = 0, before = 0;
  TimingOptions options;
  options.warmup = 2;
  options.repetitions = 5;
  options.before_each = [&] {
    EXPECT_EQ(before, calls);
    ++before;
  };
  const Timing timing = MeasureTime(
      kCpu, [&] { ++calls; }, options);
  EXPECT_EQ(calls, 7);
  EXPECT_EQ(before, 7);
  EXPECT_EQ(timing.milliseconds.size(), 5);
}

TEST(Timing, IsAtLeastTheTimeSlept) {
  TimingOptions options;
  options.warmup = 0;
  options.repetitions = 3;
  // Not timed.
  options.before_each = [] { Sleep(1); };
  const Timing timing = MeasureTime(
      kCpu, [] { Sleep(20); }, options);
  EXPECT_THAT(timing.milliseconds, testing::Each(testing::Ge(20)));
  EXPECT_GE(timing.Median(), 20);
}

TEST(Timing, StopsAtTheLimit) {
  TimingOptions options;
  options.warmup = 0;
  options.repetitions = 1000000;
  options.max_seconds = 0.02;
  // A third call ends past the limit whatever the machine does.
  EXPECT_EQ(MeasureTime(
                kCpu, [] { Sleep(10); }, options)
                .milliseconds.size(),
            3);
  options.repetitions = 2;
  EXPECT_EQ(MeasureTime(
                kCpu, [] { Sleep(15); }, options)
                .milliseconds.size(),
            2);
}

TEST(Timing, MedianAndRate) {
  const Timing odd{{4, 1, 2}};
  EXPECT_EQ(odd.Median(), 2);
  EXPECT_EQ(odd.PerSecond(10), 5000);
  EXPECT_EQ((Timing{{4, 1, 2, 3}}.Median()), 2.5);
}

TEST(Timing, Errors) {
  TimingOptions options;
  options.repetitions = 0;
  EXPECT_THROW(MeasureTime(
                   kCpu, [] {}, options),
               c10::Error);
  EXPECT_THROW(MeasureTime(kCpu, [] { throw std::runtime_error("x"); }),
               std::runtime_error);
}

}  // namespace
}  // namespace repro
