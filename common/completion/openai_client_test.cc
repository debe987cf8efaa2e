#include "common/completion/openai_client.h"

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/completion/fake_clock.h"
#include "common/completion/record_replay.h"
#include "common/data/io.h"
#include "common/http/raw_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::completion {
namespace {

using http::HttpAnswer;
using http::RawServer;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr char kKey[] = "sk-test-0123456789abcdef";
constexpr char kAnswer[] = R"({
  "id": "chatcmpl-1", "object": "chat.completion", "model": "m-2026-01-01",
  "choices": [{"index": 0, "finish_reason": "stop",
               "message": {"role": "assistant", "content": "Four."}}],
  "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13}})";
constexpr char kEvents[] =
    "data: {\"model\": \"m\", \"choices\": [{\"index\": 0, \"delta\": "
    "{\"role\": \"assistant\", \"content\": \"\"}, \"finish_reason\": null}]}"
    "\n\n: keep-alive\n\n"
    "data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": "
    "\"Fo\"}}]}\n\n"
    "data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": "
    "\"ur\"}}]}\n\n"
    "data: {\"choices\": [{\"index\": 0, \"delta\": {}, \"finish_reason\": "
    "\"stop\"}]}\n\n"
    "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 11, "
    "\"completion_tokens\": 2}}\n\n"
    "data: [DONE]\n\n";

RawServer::Reply Ok(const std::string& body) {
  return {HttpAnswer(200, "application/json", body)};
}

RawServer::Reply Events(const std::string& text, bool hang = false) {
  return {
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
      "Connection: close\r\n\r\n" +
          text,
      hang};
}

CompletionRequest Chat() {
  CompletionRequest request;
  request.messages = {{"user", "What is 2 + 2?"}};
  return request;
}

class OpenAiClientTest : public ::testing::Test {
 protected:
  void SetUp() override { setenv("OPENAI_API_KEY", kKey, 1); }

  // A server that gives the replies in turn, the last one for ever.
  RawServer& Serve(std::vector<RawServer::Reply> replies) {
    server_ = std::make_unique<RawServer>(
        [replies = std::move(replies),
         next = size_t{0}](const std::string&) mutable {
          return replies[std::min(next++, replies.size() - 1)];
        });
    return *server_;
  }

  std::unique_ptr<OpenAiClient> Client(
      const std::function<void(OpenAiOptions*)>& change = nullptr) {
    OpenAiOptions options;
    options.url = server_ ? server_->url() + "/v1" : "http://127.0.0.1:1/v1";
    options.model = "m";
    options.jitter_seed = 1;
    options.clock = &clock_;
    if (change) change(&options);
    auto client = OpenAiClient::Create(std::move(options));
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  // What is left of the body of the n-th request.
  Json Sent(size_t n) const {
    const std::string request = server_->requests().at(n);
    return Json::parse(request.substr(request.find("\r\n\r\n") + 4));
  }

  // All of the replies fail in this way; no error tells the key.
  absl::Status ErrorOf(
      std::vector<RawServer::Reply> replies,
      const std::function<void(OpenAiOptions*)>& change = nullptr) {
    Serve(std::move(replies));
    const absl::StatusOr<Completion> answer = Client(change)->Complete(Chat());
    EXPECT_FALSE(answer.ok());
    EXPECT_THAT(answer.status().ToString(), Not(HasSubstr(kKey)));
    return answer.status();
  }

  FakeClock clock_;
  std::unique_ptr<RawServer> server_;
};

TEST_F(OpenAiClientTest, ChatAsAWhole) {
  const RawServer& server = Serve({Ok(kAnswer)});
  const auto client = Client([](OpenAiOptions* o) { o->stream = false; });
  CompletionRequest request = Chat();
  request.stop = {"\n"};
  request.seed = 7;
  const auto answer = client->Complete(request);
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->choices.size(), 1);
  EXPECT_EQ(answer->choices[0].text, "Four.");
  EXPECT_EQ(answer->choices[0].finish_reason, "stop");
  EXPECT_EQ(answer->model, "m-2026-01-01");
  EXPECT_EQ(answer->prompt_tokens, 11);
  EXPECT_EQ(answer->completion_tokens, 2);
  EXPECT_FALSE(answer->from_record);

  const std::string sent = server.requests().at(0);
  EXPECT_THAT(sent, HasSubstr("POST /v1/chat/completions HTTP/1.1\r\n"));
  EXPECT_THAT(sent, HasSubstr(absl::StrCat("Bearer ", kKey, "\r\n")));
  EXPECT_EQ(Sent(0), Json::parse(R"({"model": "m", "messages": [{"role":
      "user", "content": "What is 2 + 2?"}], "max_tokens": 256,
      "temperature": 0.0, "top_p": 1.0, "n": 1, "stop": ["\n"], "seed": 7})"));
}

TEST_F(OpenAiClientTest, ChatAsEvents) {
  Serve({Events(kEvents)});
  const auto answer = Client()->Complete(Chat());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->choices[0].text, "Four");
  EXPECT_EQ(answer->choices[0].finish_reason, "stop");
  EXPECT_EQ(answer->prompt_tokens, 11);
  EXPECT_EQ(Sent(0)["stream"], true);
  EXPECT_EQ(Sent(0)["stream_options"]["include_usage"], true);
}

TEST_F(OpenAiClientTest, AServerMayAnswerAsAWholeThoughEventsWereAskedFor) {
  Serve({Ok(kAnswer)});
  EXPECT_EQ(Client()->Complete(Chat())->choices[0].text, "Four.");
}

TEST_F(OpenAiClientTest, PromptsChoicesAndLogprobs) {
  Serve({Ok(R"({"choices": [
    {"index": 1, "text": " b", "finish_reason": "length", "logprobs": null},
    {"index": 0, "text": " a", "finish_reason": "stop",
     "logprobs": {"tokens": [" a"], "token_logprobs": [-0.25],
                  "top_logprobs": [{" b": -2.5, " a": -0.25}]}}]})"),
         Ok(R"({"choices": [{"index": 0, "finish_reason": "stop",
     "message": {"content": "a"}, "logprobs": {"content": [
       {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [
         {"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1}]}
     ]}}]})")});
  const auto client = Client();
  CompletionRequest request;
  request.prompt = "x";
  request.n = 2;
  request.logprobs = 2;
  auto answer = client->Complete(request);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->choices[0].text, " a");
  EXPECT_EQ(answer->choices[1].text, " b");
  EXPECT_EQ(answer->choices[1].finish_reason, "length");
  ASSERT_EQ(answer->choices[0].logprobs.size(), 1);
  EXPECT_EQ(answer->choices[0].logprobs[0].logprob, -0.25);
  EXPECT_EQ(answer->choices[0].logprobs[0].top[1].token, " b");
  EXPECT_THAT(server_->requests()[0], HasSubstr("POST /v1/completions HTTP"));
  EXPECT_EQ(Sent(0)["logprobs"], 2);
  EXPECT_EQ(Sent(0)["prompt"], "x");

  request = Chat();
  request.logprobs = 2;
  answer = client->Complete(request);
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->choices[0].logprobs.size(), 1);
  EXPECT_EQ(answer->choices[0].logprobs[0].top[1].logprob, -1);
  EXPECT_EQ(Sent(1)["top_logprobs"], 2);
}

TEST_F(OpenAiClientTest, RetriesWhatMayPass) {
  const RawServer& server =
      Serve({{HttpAnswer(500, "text/html", "<h1>oops</h1>")},
             {""},                               // ends at once
             {"HTTP/1.1 200 OK\r\nContent-Ty"},  // in the headers
             Events("data: {\"choices\": [{\"delta\": {\"content\": \"F"),
             Events(std::string(kEvents).substr(0, 300)),  // in the middle
             Ok(kAnswer)});
  const auto client = Client();
  const auto answer = client->Complete(Chat());
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(server.requests().size(), 6);
  EXPECT_EQ(client->usage().retries, 5);
  EXPECT_EQ(client->usage().requests, 1);
  // Full jitter: from 0 to 1, 2, 4, 8 and 16 seconds.
  const std::vector<absl::Duration> sleeps = clock_.sleeps();
  ASSERT_EQ(sleeps.size(), 5);
  for (int i = 0; i < 5; ++i) {
    EXPECT_GE(sleeps[i], absl::ZeroDuration());
    EXPECT_LE(sleeps[i], absl::Seconds(1 << i));
  }
  EXPECT_NE(sleeps[3] / 8, sleeps[4] / 16);
}

TEST_F(OpenAiClientTest, BackoffIsCappedAndAttemptsEnd) {
  const absl::Status status =
      ErrorOf({{HttpAnswer(503, "application/json",
                           R"({"error": {"message": "overloaded"}})")}},
              [](OpenAiOptions* o) {
                o->attempts = 9;
                o->max_backoff = absl::Seconds(3);
              });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("HTTP 503: overloaded (9 attempts)"));
  EXPECT_EQ(server_->requests().size(), 9);
  for (const absl::Duration sleep : clock_.sleeps()) {
    EXPECT_LE(sleep, absl::Seconds(3));
  }
}

TEST_F(OpenAiClientTest, RetryAfterIsHonoured) {
  const auto busy = [](const std::string& header) -> RawServer::Reply {
    return {HttpAnswer(429, "application/json",
                       R"({"error": {"message": "slow down"}})", header)};
  };
  Serve({busy("Retry-After: 17\r\n"),
         // The clock starts at 2026-01-01 00:00:00.
         busy("Retry-After: Thu, 01 Jan 2026 00:02:00 GMT\r\n"),
         busy("Retry-After: soon\r\n"), Ok(kAnswer)});
  ASSERT_TRUE(Client()->Complete(Chat()).ok());
  const std::vector<absl::Duration> sleeps = clock_.sleeps();
  ASSERT_EQ(sleeps.size(), 3);
  EXPECT_GE(sleeps[0], absl::Seconds(17));
  EXPECT_LE(sleeps[0], absl::Seconds(18));
  EXPECT_GE(sleeps[0] + sleeps[1], absl::Seconds(120));
  EXPECT_LE(sleeps[0] + sleeps[1], absl::Seconds(122));
  EXPECT_LE(sleeps[2], absl::Seconds(4));

  const absl::Status status = ErrorOf({busy("Retry-After: 3600\r\n")});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no request for 1h"));
  EXPECT_EQ(server_->requests().size(), 1);
}

TEST_F(OpenAiClientTest, WhatDoesNotPassIsNotTriedAgain) {
  const std::pair<int, absl::StatusCode> cases[] = {
      {400, absl::StatusCode::kInvalidArgument},
      {401, absl::StatusCode::kUnauthenticated},
      {403, absl::StatusCode::kPermissionDenied},
      {404, absl::StatusCode::kNotFound},
      {307, absl::StatusCode::kFailedPrecondition},
  };
  for (const auto& [http_code, code] : cases) {
    const absl::Status status =
        ErrorOf({{HttpAnswer(http_code, "application/json",
                             R"({"error": {"message": "no \"way\""}})")}});
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("no \\\"way\\\""));
    EXPECT_EQ(server_->requests().size(), 1);
  }
  EXPECT_EQ(ErrorOf({{HttpAnswer(429, "application/json",
                                 R"({"error": {"message": "pay",
                                     "code": "insufficient_quota"}})")}})
                .code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(server_->requests().size(), 1);
}

TEST_F(OpenAiClientTest, AnswersThatMakeNoSense) {
  for (const std::string body :
       {"", "garbage", "[]", "{}", R"({"choices": 3})", R"({"choices": [3]})",
        R"({"choices": []})", R"({"choices": [{"finish_reason": "stop"}]})",
        R"({"choices": [{"message": {"content": 3}}]})",
        R"({"choices": [{"message": {"content": "a"}}]})",
        R"({"choices": [{"index": 1, "message": {"content": "a"}}]})",
        R"({"choices": [{"index": -1, "message": {"content": "a"}}]})",
        R"({"choices": [{"index": 1e99, "message": {"content": "a"}}]})",
        R"({"choices": [{"message": {"content": "a"}, "finish_reason": 1}]})",
        R"({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": -1}})",
        R"({"choices": [{"text": "a", "finish_reason": "stop"}]})"}) {
    const absl::Status status = ErrorOf({Ok(body)});
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << body;
    EXPECT_EQ(server_->requests().size(), 1);
  }
  const std::string deep(1 << 20, '[');
  EXPECT_EQ(ErrorOf({Ok(R"({"choices": )" + deep)}).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ErrorOf({Events("data: nonsense\n\n")}).code(),
            absl::StatusCode::kDataLoss);
}

// Every prefix of a stream but the whole is an error, never a shorter answer.
TEST_F(OpenAiClientTest, AStreamThatEndsEarlyIsSeen) {
  const std::string events = kEvents;
  const size_t enough = events.find("data: {\"choices\": [], \"usage\"");
  for (size_t n = 0; n < enough; n += 23) {
    EXPECT_FALSE(ErrorOf({Events(events.substr(0, n))}, [](OpenAiOptions* o) {
                   o->attempts = 1;
                 }).ok());
  }
  const absl::Status status = ErrorOf(
      {Events(events.substr(0, events.find("\n\n") + 2) +
              "data: {\"error\": {\"message\": \"out of memory\"}}\n\n")},
      [](OpenAiOptions* o) { o->attempts = 2; });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("out of memory"));
  EXPECT_EQ(server_->requests().size(), 2);
}

TEST_F(OpenAiClientTest, AStreamThatStopsIsTimedOut) {
  const std::string events = kEvents;
  const absl::Status status =
      ErrorOf({Events(events.substr(0, events.find("\n\n") + 2), true)},
              [](OpenAiOptions* o) {
                o->attempts = 2;
                o->read_timeout = absl::Milliseconds(300);
              });
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(server_->requests().size(), 2);
}

// ErrorOf looks for the key in errors.
TEST_F(OpenAiClientTest, AServerThatEchoesTheKeyDoesNotGiveItAway) {
  EXPECT_FALSE(ErrorOf({{HttpAnswer(400, "application/json",
                                    absl::StrCat("{\"error\": {\"message\": \"",
                                                 kKey, "\"}}"))}})
                   .ok());
  EXPECT_FALSE(
      ErrorOf({Events(absl::StrCat("data: {\"error\": {\"message\": \"", kKey,
                                   "\"}}\n\n"))})
          .ok());
  EXPECT_FALSE(
      ErrorOf({Ok(absl::StrCat("{\"", kKey, "\": 1, \"", kKey, "\": 2}"))})
          .ok());

  // Nor do recordings hold it.
  Json json = Json::parse(kAnswer);
  json["choices"][0]["message"]["content"] = std::string("key: ") + kKey;
  json["model"] = kKey;
  Serve({Ok(json.dump())});
  const std::string folder = ::testing::TempDir() + "/leak";
  std::filesystem::remove_all(folder);
  auto recorder = RecordingClient::Create(Client(), folder);
  ASSERT_TRUE(recorder.ok());
  ASSERT_TRUE((*recorder)->Complete(Chat()).ok());
  const auto text =
      ReadFile(absl::StrCat(folder, "/", RequestKey(Chat()), ".json"));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, Not(HasSubstr("sk-test")));
  EXPECT_THAT(*text, HasSubstr("key: [API key]"));
  EXPECT_THAT((*recorder)->name(), Not(HasSubstr("sk-test")));
}

TEST_F(OpenAiClientTest, KeysAndUrls) {
  unsetenv("OPENAI_API_KEY");
  const RawServer& server = Serve({Ok(kAnswer)});
  ASSERT_TRUE(Client()->Complete(Chat()).ok());
  EXPECT_THAT(server.requests().at(0), Not(HasSubstr("Authorization")));
  EXPECT_THAT(
      std::string(ErrorOf({{HttpAnswer(401, "text/plain", "who?")}}).message()),
      HasSubstr("OPENAI_API_KEY, which is not set"));

  OpenAiOptions options;
  for (const char* url :
       {"", "host/v1", "ftp://host", "https://me:pass@host/v1",
        "https://host/v1?key=pass", "https://host/v1#pass", "https://a b"}) {
    options.url = url;
    const absl::Status status = OpenAiClient::Create(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << url;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("pass")));
  }
  options.url = "https://host/v1/";
  options.model = "m";
  EXPECT_EQ((*OpenAiClient::Create(options))->name(),
            "openai:m@https://host/v1");
  for (const char* key : {"a b", "a\nX-Header: 1", "k\xc3\xbc", "a\"b"}) {
    setenv("OPENAI_API_KEY", key, 1);
    const absl::Status status = OpenAiClient::Create(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(key)));
  }
  unsetenv("OPENAI_API_KEY");
  options.model = "";
  EXPECT_EQ((*OpenAiClient::Create(options))->Complete(Chat()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace repro::completion
