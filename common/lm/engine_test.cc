#include "common/lm/engine.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/lm/dense_state.h"
#include "common/lm/tiny_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::lm {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(20);

// Dense attention behind a hook that may wait or throw.
class HookedState : public AttentionState {
 public:
  HookedState(std::unique_ptr<AttentionState> dense,
              const std::function<void(const AttentionInput&)>& hook)
      : dense_(std::move(dense)), hook_(hook) {}
  at::Tensor Attend(const AttentionInput& input) override {
    hook_(input);
    return dense_->Attend(input);
  }
  int64_t Bytes() const override { return dense_->Bytes(); }

 private:
  std::unique_ptr<AttentionState> dense_;
  const std::function<void(const AttentionInput&)>& hook_;
};

struct Answer {
  std::string text;
  int64_t tokens = 0;
  FinishReason reason;
  absl::Status status;
};

Answer Read(TextStream* stream) {
  Answer answer;
  while (const std::optional<TextPiece> piece = stream->Next(kLong)) {
    answer.text += piece->text;
    answer.tokens += static_cast<int64_t>(piece->tokens.size());
  }
  EXPECT_TRUE(stream->done());
  answer.reason = stream->finish_reason();
  answer.status = stream->status();
  return answer;
}

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() : model_(TinyModel(128)), tokenizer_(TinyTokenizer()) {}

  StateFactory Dense() const {
    return [this] {
      return MakeDenseState(model_->config(), at::kCPU, at::kFloat);
    };
  }
  StateFactory Hooked() const {
    return [this] { return std::make_unique<HookedState>(Dense()(), hook_); };
  }
  std::unique_ptr<Engine> Make(const StateFactory& factory,
                               const EngineOptions& options) const {
    return std::make_unique<Engine>(model_.get(), tokenizer_.get(), factory,
                                    options);
  }

  GenerationRequest Request(int64_t length, int64_t max_tokens = 20) const {
    GenerationRequest request;
    for (int64_t i = 0; i < length; ++i) {
      request.prompt.push_back(
          static_cast<int32_t>('a' + (i * i + length) % 26));
    }
    request.max_tokens = max_tokens;
    return request;
  }

  std::string Alone(const GenerationRequest& request) const {
    const auto result =
        Generate(*model_, *tokenizer_, Dense(), request, nullptr);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->text : "";
  }

  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  // Called in each layer of each step.
  std::function<void(const AttentionInput&)> hook_;
};

TEST_F(EngineTest, ManyAtOnceAreAsEachAlone) {
  EngineOptions options;
  options.max_running = 4;
  options.prompt_chunk = 16;
  const auto engine = Make(Dense(), options);
  std::vector<GenerationRequest> requests;
  std::vector<std::shared_ptr<TextStream>> streams;
  for (int64_t i = 0; i < 12; ++i) {
    requests.push_back(Request(1 + 7 * i, 5 + 3 * i));
    requests.back().sampling.temperature = i % 2 == 0 ? 0 : 1;
    requests.back().sampling.seed = i;
    auto stream = engine->Submit(requests.back());
    ASSERT_TRUE(stream.ok()) << stream.status();
    streams.push_back(*std::move(stream));
  }
  for (size_t i = 0; i < streams.size(); ++i) {
    const Answer answer = Read(streams[i].get());
    EXPECT_TRUE(answer.status.ok()) << answer.status;
    EXPECT_EQ(answer.text, Alone(requests[i])) << i;
  }
}

TEST_F(EngineTest, JoinsARunningBatchAndRefusesBeyondTheQueue) {
  absl::Notification entered, go;
  std::atomic<bool> first{true};
  std::atomic<int64_t> most{0};
  EngineOptions options;
  options.max_waiting = 2;
  const auto engine = Make(Hooked(), options);
  hook_ = [&](const AttentionInput&) {
    if (first.exchange(false)) {
      entered.Notify();
      go.WaitForNotification();
    }
    most = std::max<int64_t>(most, engine->running());
  };
  std::vector<std::shared_ptr<TextStream>> streams;
  streams.push_back(*engine->Submit(Request(3, 100)));
  entered.WaitForNotification();  // in its first step
  streams.push_back(*engine->Submit(Request(4)));
  streams.push_back(*engine->Submit(Request(5)));
  EXPECT_EQ(engine->waiting(), 2);
  EXPECT_EQ(engine->running(), 1);
  EXPECT_EQ(engine->Submit(Request(6)).status().code(),
            absl::StatusCode::kResourceExhausted);
  go.Notify();
  EXPECT_EQ(Read(streams[1].get()).text, Alone(Request(4)));
  EXPECT_EQ(Read(streams[2].get()).text, Alone(Request(5)));
  EXPECT_EQ(Read(streams[0].get()).text, Alone(Request(3, 100)));
  EXPECT_EQ(most, 3);  // the short ones beside the long one
  EXPECT_TRUE(engine->Submit(Request(6)).ok());
}

TEST_F(EngineTest, Cancels) {
  absl::Notification entered, go;
  std::atomic<int> calls{0};
  hook_ = [&](const AttentionInput&) {
    if (calls++ == 0) {
      entered.Notify();
      go.WaitForNotification();
    }
  };
  EngineOptions options;
  options.max_running = 1;
  const auto engine = Make(Hooked(), options);
  const auto running = *engine->Submit(Request(3, 100));
  entered.WaitForNotification();
  const auto waiting = *engine->Submit(Request(4, 100));
  const auto last = *engine->Submit(Request(5));
  waiting->Cancel();
  running->Cancel();
  go.Notify();
  EXPECT_EQ(Read(running.get()).reason, FinishReason::kCancelled);
  const Answer never = Read(waiting.get());
  EXPECT_EQ(never.reason, FinishReason::kCancelled);
  EXPECT_EQ(never.tokens, 0);
  EXPECT_EQ(Read(last.get()).text, Alone(Request(5)));
  // One step of two layers, and those of the last.
  EXPECT_LE(calls, 2 * (1 + 20));
}

TEST_F(EngineTest, TokensInFlightAreLimited) {
  EngineOptions options;
  options.max_tokens = 60;
  const auto engine = Make(Hooked(), options);
  int64_t most = 0;  // the hook is the engine's thread
  hook_ = [&](const AttentionInput&) {
    most = std::max(most, engine->running());
  };
  std::vector<std::shared_ptr<TextStream>> streams;
  for (int64_t i = 0; i < 4; ++i) {
    streams.push_back(*engine->Submit(Request(20 + i, 20)));
  }
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(Read(streams[i].get()).text, Alone(Request(20 + i, 20)));
  }
  engine->Stop(kLong);
  EXPECT_EQ(most, 1);
  const auto refused = Make(Dense(), options)->Submit(Request(20, 41));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("61 tokens; the server has room for 60"));
}

TEST_F(EngineTest, LackOfMemoryFailsOneRequestOnly) {
  // The long prompt's chunks do not fit, whenever they come.
  hook_ = [](const AttentionInput& input) {
    if (input.layer == 1 && input.position >= 40) throw std::bad_alloc();
  };
  EngineOptions options;
  options.prompt_chunk = 24;
  const auto engine = Make(Hooked(), options);
  std::vector<std::shared_ptr<TextStream>> good;
  good.push_back(*engine->Submit(Request(4)));
  const auto bad = *engine->Submit(Request(60));
  good.push_back(*engine->Submit(Request(10)));
  good.push_back(*engine->Submit(Request(16)));
  const Answer failed = Read(bad.get());
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(failed.tokens, 0);
  EXPECT_EQ(Read(good[0].get()).text, Alone(Request(4)));
  EXPECT_EQ(Read(good[1].get()).text, Alone(Request(10)));
  EXPECT_EQ(Read(good[2].get()).text, Alone(Request(16)));
  EXPECT_EQ(Read(engine->Submit(Request(7))->get()).text, Alone(Request(7)));
}

TEST_F(EngineTest, StopsGracefullyOrNot) {
  auto engine = Make(Dense(), {});
  auto stream = *engine->Submit(Request(3, 60));
  engine->Stop(kLong);
  EXPECT_EQ(Read(stream.get()).text, Alone(Request(3, 60)));
  EXPECT_EQ(engine->Submit(Request(3)).status().code(),
            absl::StatusCode::kUnavailable);

  hook_ = [](const AttentionInput&) { absl::SleepFor(absl::Milliseconds(5)); };
  engine = Make(Hooked(), {});
  stream = *engine->Submit(Request(3, 120));
  ASSERT_TRUE(stream->Next(kLong).has_value());
  engine.reset();
  EXPECT_EQ(Read(stream.get()).status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(EngineTest, RefusesWhatGenerateRefuses) {
  const auto engine = Make(Dense(), {});
  EXPECT_EQ(engine->Submit(Request(0)).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(engine->Submit(Request(128)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(EngineTest, NextDoesNotWaitForEver) {
  absl::Notification go;
  hook_ = [&](const AttentionInput&) { go.WaitForNotification(); };
  const auto engine = Make(Hooked(), {});
  const auto stream = *engine->Submit(Request(3));
  EXPECT_FALSE(stream->Next(absl::Milliseconds(1)).has_value());
  EXPECT_FALSE(stream->done());
  go.Notify();
  EXPECT_EQ(Read(stream.get()).text, Alone(Request(3)));
}

}  // namespace
}  // namespace repro::lm
