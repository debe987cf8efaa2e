#include "common/completion/record_replay.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/completion/scripted.h"
#include "common/data/io.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::completion {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

CompletionRequest Prompt(const std::string& prompt) {
  CompletionRequest request;
  request.prompt = prompt;
  return request;
}

class RecordReplayTest : public ::testing::Test {
 protected:
  RecordReplayTest()
      : folder_(absl::StrCat(
            ::testing::TempDir(), "/recordings_",
            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(folder_);
  }

  // A recording client over a script, which *script points to.
  std::unique_ptr<RecordingClient> Recorder(ScriptedClient::Script answer,
                                            ScriptedClient** script = nullptr) {
    auto inner = std::make_unique<ScriptedClient>(std::move(answer));
    if (script != nullptr) *script = inner.get();
    auto client = RecordingClient::Create(std::move(inner), folder_);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  std::unique_ptr<ReplayClient> Replayer() const {
    auto client = ReplayClient::Create(folder_);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  std::string PathOf(const CompletionRequest& request) const {
    return absl::StrCat(folder_, "/", RequestKey(request), ".json");
  }

  static absl::StatusOr<Completion> Echo(const CompletionRequest& request) {
    Completion completion = TextCompletion(request.prompt + "\xff ü");
    completion.prompt_tokens = 4;
    completion.completion_tokens = 2;
    completion.cost = 0.5;
    completion.choices[0].logprobs = {{"t", -1, {{"u", -2, {}}}}};
    return completion;
  }

  std::string folder_;
};

TEST_F(RecordReplayTest, WhatWasRecordedIsReplayed) {
  const auto recorder = Recorder(Echo);
  const auto answer = recorder->Complete(Prompt("a"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->from_record);
  const auto again = Replayer()->Complete(Prompt("a"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->from_record);
  // What is not UTF-8 cannot be in JSON.
  EXPECT_EQ(again->choices[0].text, "a\xef\xbf\xbd ü");
  EXPECT_EQ(again->choices[0].finish_reason, "stop");
  EXPECT_EQ(again->choices[0].logprobs[0].top[0].token, "u");
  EXPECT_EQ(again->prompt_tokens, 4);
  EXPECT_EQ(again->completion_tokens, 2);
  EXPECT_EQ(again->cost, 0.5);
  EXPECT_EQ(again->model, "scripted");
}

TEST_F(RecordReplayTest, AMissingRecordingSaysHowToMakeIt) {
  Recorder(Echo);
  const absl::Status status = Replayer()->Complete(Prompt("b")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr(RequestKey(Prompt("b"))));
  EXPECT_THAT(message, HasSubstr(folder_));
  EXPECT_THAT(message, HasSubstr("--model record:" + folder_ + ":SPEC"));
  EXPECT_EQ(ReplayClient::Create(folder_ + "/none").status().code(),
            absl::StatusCode::kNotFound);
}

// A run that fails in the middle goes on where it was.
TEST_F(RecordReplayTest, ResumesAfterAFailure) {
  int answered = 0;
  const auto failing =
      Recorder([&](const CompletionRequest& r) -> absl::StatusOr<Completion> {
        if (++answered > 2) return absl::UnavailableError("down");
        return Echo(r);
      });
  const std::vector<std::string> prompts = {"a", "b", "c", "d"};
  EXPECT_TRUE(failing->Complete(Prompt("a")).ok());
  EXPECT_TRUE(failing->Complete(Prompt("b")).ok());
  EXPECT_EQ(failing->Complete(Prompt("c")).status().code(),
            absl::StatusCode::kUnavailable);

  ScriptedClient* script = nullptr;
  const auto resumed = Recorder(Echo, &script);
  for (const std::string& prompt : prompts) {
    const auto answer = resumed->Complete(Prompt(prompt));
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->from_record, prompt < "c") << prompt;
  }
  ASSERT_EQ(script->requests().size(), 2);
  EXPECT_EQ(script->requests()[0].prompt, "c");
  EXPECT_EQ(script->requests()[1].prompt, "d");
}

TEST_F(RecordReplayTest, ACorruptRecordingIsNamed) {
  const auto recorder = Recorder(Echo);
  ASSERT_TRUE(recorder->Complete(Prompt("a")).ok());
  const std::string path = PathOf(Prompt("a"));
  const std::string whole = *ReadFile(path);
  std::vector<std::string> broken = {"",
                                     "{}",
                                     "[]",
                                     "null",
                                     "\xff",
                                     "{\"version\": 2}",
                                     std::string(100000, '[')};
  for (size_t n = 1; n + 2 < whole.size(); n += 7) {
    broken.push_back(whole.substr(0, n));
  }
  const auto replace = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    const size_t at = text.find(from);
    ASSERT_NE(at, text.npos) << from;
    broken.push_back(text.replace(at, from.size(), to));
  };
  replace("\"prompt\": \"a\"", "\"prompt\": \"b\"");  // of another request
  replace("\"stop\": []", "\"stop\": [1]");
  replace("\"text\": ", "\"txet\": ");
  replace("\"completion\"", "\"completions\"");
  replace("\"client\": \"scripted\"", "\"client\": 3");
  replace("\"choices\": [", "\"choices\": [{},");
  for (const std::string& text : broken) {
    std::ofstream(path, std::ios::trunc) << text;
    const absl::Status status = recorder->Complete(Prompt("a")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
    EXPECT_EQ(Replayer()->Complete(Prompt("a")).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST_F(RecordReplayTest, NumberOfChoicesMustBeAsAsked) {
  const auto recorder = Recorder(Echo);
  CompletionRequest two = Prompt("a");
  two.n = 2;  // the script gives one
  EXPECT_EQ(recorder->Complete(two).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_FALSE(fs::exists(PathOf(two)));
}

TEST_F(RecordReplayTest, AFolderIsOfOneModel) {
  ASSERT_TRUE(Recorder(Echo)->Complete(Prompt("a")).ok());
  class Other : public ScriptedClient {
   public:
    Other() : ScriptedClient(std::vector<std::string>{"x"}) {}
    std::string name() const override { return "other"; }
  };
  auto other = RecordingClient::Create(std::make_unique<Other>(), folder_);
  ASSERT_TRUE(other.ok());
  const absl::Status status = (*other)->Complete(Prompt("a")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("recorded from scripted, not from other"));
}

TEST_F(RecordReplayTest, AFolderThatCannotBeWritten) {
  EXPECT_FALSE(RecordingClient::Create(std::make_unique<ScriptedClient>(Echo),
                                       "/proc/recordings")
                   .ok());
  const auto recorder = Recorder(Echo);
  fs::remove_all(folder_);
  std::ofstream(folder_) << "a file";
  EXPECT_FALSE(recorder->Complete(Prompt("a")).ok());
  EXPECT_FALSE(ReplayClient::Create(folder_).ok());
}

TEST_F(RecordReplayTest, ManyThreadsRecordAndReplay) {
  const auto recorder = Recorder(Echo);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 8; ++j) {
        EXPECT_TRUE(recorder->Complete(Prompt(absl::StrCat(j))).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    EXPECT_EQ(entry.path().extension(), ".json");
    ++files;
  }
  EXPECT_EQ(files, 8);
}

}  // namespace
}  // namespace repro::completion
