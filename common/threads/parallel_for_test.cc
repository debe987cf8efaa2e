#include "common/threads/parallel_for.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/barrier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using testing::Each;
using testing::ElementsAre;

TEST(ParallelFor, CallsEachOnce) {
  for (const int threads : {-1, 0, 1, 2, 7}) {
    std::vector<int> calls(100);
    std::vector<int64_t> done;
    EXPECT_TRUE(ParallelFor(
                    100, threads,
                    [&](int64_t i) {
                      ++calls[i];
                      return absl::OkStatus();
                    },
                    [&](int64_t n) {
                      done.push_back(n);
                      return true;
                    })
                    .ok());
    EXPECT_THAT(calls, Each(1)) << threads;
    ASSERT_EQ(done.size(), 100);
    for (int64_t n = 0; n < 100; ++n) EXPECT_EQ(done[n], n + 1) << threads;
  }
}

TEST(ParallelFor, NothingToDo) {
  const auto never = [](int64_t) { return absl::InternalError("called"); };
  EXPECT_TRUE(ParallelFor(0, 4, never).ok());
  EXPECT_TRUE(ParallelFor(-3, 4, never).ok());
}

// Each piece waits until all have begun, which one thread less could not.
TEST(ParallelFor, RunsOnAsManyThreads) {
  constexpr int kThreads = 4;
  auto* barrier = new absl::Barrier(kThreads);
  std::vector<std::thread::id> ids(kThreads);
  EXPECT_TRUE(ParallelFor(kThreads, kThreads, [&](int64_t i) {
                ids[i] = std::this_thread::get_id();
                if (barrier->Block()) delete barrier;
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), kThreads);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), std::this_thread::get_id()), 1);
}

TEST(ParallelFor, StopsAtTheFirstError) {
  std::vector<int64_t> begun;
  const absl::Status status = ParallelFor(10, 1, [&](int64_t i) {
    begun.push_back(i);
    return i < 2 ? absl::OkStatus() : absl::NotFoundError(std::to_string(i));
  });
  EXPECT_EQ(status, absl::NotFoundError("2"));
  EXPECT_THAT(begun, ElementsAre(0, 1, 2));

  std::atomic<int> calls{0};
  EXPECT_EQ(ParallelFor(1000, 3,
                        [&](int64_t) {
                          ++calls;
                          return absl::NotFoundError("any");
                        }),
            absl::NotFoundError("any"));
  EXPECT_LE(calls, 3);
}

TEST(ParallelFor, ProgressCanStopIt) {
  int calls = 0;
  EXPECT_EQ(ParallelFor(
                10, 1,
                [&](int64_t) {
                  ++calls;
                  return absl::OkStatus();
                },
                [](int64_t done) { return done < 4; })
                .code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(calls, 4);
}

}  // namespace
}  // namespace repro
