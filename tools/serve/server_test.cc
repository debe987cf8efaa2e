#include "tools/serve/server.h"

#include <ATen/core/Tensor.h>
#include <arpa/inet.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/lm/dense_state.h"
#include "common/lm/tiny_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

// Dense attention that waits while the gate is closed, and counts its steps.
struct Gate {
  std::atomic<bool> open{true};
  std::atomic<int> steps{0};
};

class GatedState : public lm::AttentionState {
 public:
  GatedState(std::unique_ptr<lm::AttentionState> dense, Gate* gate)
      : dense_(std::move(dense)), gate_(gate) {}
  at::Tensor Attend(const lm::AttentionInput& input) override {
    if (input.layer == 0) ++gate_->steps;
    while (!gate_->open) absl::SleepFor(absl::Milliseconds(1));
    return dense_->Attend(input);
  }
  int64_t Bytes() const override { return 0; }

 private:
  std::unique_ptr<lm::AttentionState> dense_;
  Gate* gate_;
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() : model_(lm::TinyModel(256)), tokenizer_(lm::TinyTokenizer()) {
    options_.port = 0;
    options_.model_name = "tiny";
    options_.max_new_tokens = 200;
    options_.read_timeout = absl::Seconds(1);
    options_.stop_wait = absl::Seconds(10);
  }
  ~ServerTest() override {
    gate_.open = true;
    server_.reset();
  }

  void Start() {
    server_ = std::make_unique<Server>(
        model_.get(), tokenizer_.get(),
        [this] {
          return std::make_unique<GatedState>(
              lm::MakeDenseState(model_->config(), at::kCPU, at::kFloat),
              &gate_);
        },
        options_);
    const absl::Status status = server_->Start();
    ASSERT_TRUE(status.ok()) << status;
  }

  httplib::Client Client() const {
    httplib::Client client("127.0.0.1", server_->port());
    client.set_read_timeout(20);
    return client;
  }

  // The status and the body.
  std::pair<int, Json> Post(const std::string& path, const std::string& body,
                            const httplib::Headers& headers = {}) const {
    const auto result = Client().Post(path, headers, body, "application/json");
    if (!result) return {-1, nullptr};
    return {result->status, Json::parse(result->body, nullptr, false)};
  }
  std::pair<int, Json> Post(const std::string& path, const Json& body) const {
    return Post(path, body.dump());
  }

  // The data of the events of a stream.
  std::vector<std::string> Events(const std::string& path,
                                  const Json& body) const {
    const auto result = Client().Post(path, body.dump(), "application/json");
    EXPECT_TRUE(result);
    if (!result) return {};
    EXPECT_EQ(result->status, 200) << result->body;
    EXPECT_EQ(result->get_header_value("Content-Type"), "text/event-stream");
    std::vector<std::string> out;
    for (absl::string_view line :
         absl::StrSplit(result->body, "\n\n", absl::SkipEmpty())) {
      EXPECT_TRUE(absl::ConsumePrefix(&line, "data: ")) << line;
      out.emplace_back(line);
    }
    return out;
  }

  void WaitForSteps(int steps) const {
    while (gate_.steps < steps) absl::SleepFor(absl::Milliseconds(1));
  }

  // An open connection that has sent `text`.
  int Connect(const std::string& text) const {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(
        connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(send(fd, text.data(), text.size(), 0), text.size());
    return fd;
  }

  std::unique_ptr<lm::LanguageModel> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  ServerOptions options_;
  Gate gate_;
  std::unique_ptr<Server> server_;
};

constexpr char kCompletions[] = "/v1/completions";
constexpr char kChat[] = "/v1/chat/completions";

Json Completion(const std::string& prompt, int max_tokens = 12) {
  return {{"model", "tiny"},
          {"prompt", prompt},
          {"max_tokens", max_tokens},
          {"temperature", 0}};
}

Json Chat(const std::string& text) {
  return {{"model", "tiny"},
          {"messages", {{{"role", "user"}, {"content", text}}}},
          {"max_tokens", 12},
          {"seed", 3}};
}

TEST_F(ServerTest, CompletesAsGenerateDoes) {
  Start();
  lm::GenerationRequest request;
  request.prompt = *lm::EncodePrompt(*tokenizer_, "Once upon");
  request.max_tokens = 12;
  const auto expected = lm::Generate(
      *model_, *tokenizer_,
      [&] {
        return lm::MakeDenseState(model_->config(), at::kCPU, at::kFloat);
      },
      request, nullptr);
  ASSERT_TRUE(expected.ok());
  const auto [status, json] = Post(kCompletions, Completion("Once upon"));
  ASSERT_EQ(status, 200) << json;
  EXPECT_EQ(json["object"], "text_completion");
  EXPECT_EQ(json["choices"][0]["text"], expected->text);
  EXPECT_EQ(json["choices"][0]["finish_reason"],
            lm::Name(expected->finish_reason));
  EXPECT_EQ(json["usage"]["prompt_tokens"], 9);
  EXPECT_EQ(json["usage"]["completion_tokens"], expected->tokens.size());
  EXPECT_EQ(json["usage"]["total_tokens"], 9 + expected->tokens.size());
}

TEST_F(ServerTest, StreamsWhatItAnswers) {
  Start();
  Json body = Chat("Hi");
  const auto [status, whole] = Post(kChat, body);
  ASSERT_EQ(status, 200) << whole;
  EXPECT_EQ(whole["object"], "chat.completion");
  EXPECT_EQ(whole["choices"][0]["message"]["role"], "assistant");
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  const std::vector<std::string> events = Events(kChat, body);
  ASSERT_GE(events.size(), 4);
  EXPECT_EQ(events.back(), "[DONE]");
  std::string text;
  Json finish, usage;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    const Json event = Json::parse(events[i]);
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    if (event["choices"].empty()) {
      usage = event["usage"];
      continue;
    }
    const Json& choice = event["choices"][0];
    text += choice["delta"].value("content", "");
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
  }
  EXPECT_EQ(text, whole["choices"][0]["message"]["content"]);
  EXPECT_EQ(finish, whole["choices"][0]["finish_reason"]);
  EXPECT_EQ(usage, whole["usage"]);
}

TEST_F(ServerTest, SeveralPromptsChoicesAndLogprobs) {
  Start();
  Json body = Completion("a");
  body["prompt"] = {"Once upon", "a"};
  body["n"] = 2;
  body["logprobs"] = 2;
  const auto [status, json] = Post(kCompletions, body);
  ASSERT_EQ(status, 200) << json;
  ASSERT_EQ(json["choices"].size(), 4);
  const std::string first =
      Post(kCompletions, Completion("Once upon")).second["choices"][0]["text"];
  const std::string second =
      Post(kCompletions, Completion("a")).second["choices"][0]["text"];
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(json["choices"][i]["index"], i);
    EXPECT_EQ(json["choices"][i]["text"], i < 2 ? first : second);
    const Json& logprobs = json["choices"][i]["logprobs"];
    ASSERT_GT(logprobs["tokens"].size(), 0);
    // Greedy: the chosen token is the most likely one.
    for (size_t t = 0; t < logprobs["tokens"].size(); ++t) {
      double best = -1e9;
      for (const auto& [token, logprob] : logprobs["top_logprobs"][t].items()) {
        best = std::max(best, logprob.get<double>());
      }
      EXPECT_EQ(logprobs["token_logprobs"][t].get<double>(), best);
    }
  }
  // Tokens instead of text.
  body = Completion("a");
  body["prompt"] = {97};
  EXPECT_EQ(Post(kCompletions, body).second["choices"][0]["text"], second);
}

TEST_F(ServerTest, StopStringsAndSeeds) {
  Start();
  const std::string text =
      Post(kCompletions, Completion("Once upon")).second["choices"][0]["text"];
  ASSERT_GT(text.size(), 12);
  const auto boundary = [&text](size_t at) {
    while ((text[at] & 0xc0) == 0x80) ++at;
    return at;
  };
  const size_t begin = boundary(3), end = boundary(8);
  Json body = Completion("Once upon");
  const std::string stop = text.substr(begin, end - begin);
  body["stop"] = stop;
  const Json stopped = Post(kCompletions, body).second["choices"][0];
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(stopped["finish_reason"], "stop");
  Json chat = Chat("x");
  const Json once = Post(kChat, chat).second["choices"];
  EXPECT_EQ(Post(kChat, chat).second["choices"], once);
  chat["seed"] = 4;
  EXPECT_NE(Post(kChat, chat).second["choices"], once);
}

TEST_F(ServerTest, BadInputIs400AndSaysWhat) {
  Start();
  const auto message = [&](const char* path, const std::string& body) {
    const auto [status, json] = Post(path, body);
    EXPECT_EQ(status, 400) << body;
    EXPECT_EQ(json["error"]["type"], "invalid_request_error");
    return json["error"]["message"].get<std::string>();
  };
  for (const char* garbage : {"", "{", "[]", "\"x\"", "\xff\xfe", "nul"}) {
    EXPECT_THAT(message(kCompletions, garbage), HasSubstr("JSON object"));
  }
  EXPECT_THAT(message(kCompletions, "{}"), HasSubstr("\"prompt\""));
  EXPECT_THAT(message(kCompletions, R"({"prompt": ""})"), HasSubstr("empty"));
  EXPECT_THAT(message(kCompletions, R"({"prompt": [1.5]})"),
              HasSubstr("\"prompt\""));
  EXPECT_THAT(message(kCompletions, R"({"prompt": [99999]})"),
              HasSubstr("token 99999"));
  EXPECT_THAT(message(kCompletions, Completion(std::string(300, 'a')).dump()),
              HasSubstr("300 tokens; the model's context is 256"));
  EXPECT_THAT(message(kChat, "{}"), HasSubstr("\"messages\""));
  EXPECT_THAT(message(kChat, R"({"messages": [{"role": 1}]})"),
              HasSubstr("\"messages\""));
  const std::vector<std::pair<std::string, Json>> wrong = {
      {"temperature", "hot"},
      {"temperature", -1},
      {"top_p", 7},
      {"max_tokens", 0},
      {"max_tokens", 201},
      {"max_tokens", "x"},
      {"n", 17},
      {"n", 1.5},
      {"stop", 3},
      {"logprobs", 1000},
      {"stream", "yes"},
      {"top_k", -4},
      {"seed", "x"},
      {"logit_bias", {{"1", 2}}}};
  for (const auto& [name, value] : wrong) {
    Json body = Completion("a");
    body[name] = value;
    EXPECT_THAT(message(kCompletions, body.dump()), HasSubstr(name));
  }
}

TEST_F(ServerTest, OtherCodes) {
  options_.api_key = "secret";
  options_.max_body_bytes = 2000;
  Start();
  const std::string body = Completion("a").dump();
  EXPECT_EQ(Post(kCompletions, body).first, 401);
  EXPECT_EQ(Post(kCompletions, body, {{"Authorization", "Bearer x"}}).first,
            401);
  const httplib::Headers key = {{"Authorization", "Bearer secret"}};
  EXPECT_EQ(Post(kCompletions, body, key).first, 200);
  EXPECT_EQ(Post("/v1/nothing", body, key).first, 404);
  Json other = Completion("a");
  other["model"] = "gpt-4";
  const auto [status, json] = Post(kCompletions, other.dump(), key);
  EXPECT_EQ(status, 404);
  EXPECT_THAT(json["error"]["message"].get<std::string>(),
              HasSubstr("there is no model gpt-4; this server has tiny"));
  const auto large =
      Post(kCompletions, Completion(std::string(3000, 'a')).dump(), key);
  EXPECT_EQ(large.first, 413);
  EXPECT_EQ(large.second["error"]["message"], "the body is too large");
  const auto health = Client().Get("/health");
  ASSERT_TRUE(health);
  EXPECT_EQ(health->status, 200);
  const auto models = Client().Get("/v1/models", key);
  ASSERT_TRUE(models);
  EXPECT_EQ(Json::parse(models->body)["data"][0]["id"], "tiny");
}

TEST_F(ServerTest, RefusesAFloodAndGoesOn) {
  options_.engine.max_running = 2;
  options_.engine.max_waiting = 2;
  Start();
  gate_.open = false;
  std::atomic<int> served{0}, refused{0}, others{0};
  std::vector<std::thread> clients;
  const auto add_client = [&] {
    clients.emplace_back([&] {
      const auto result = Client().Post(kCompletions, Completion("abc").dump(),
                                        "application/json");
      if (result && result->status == 200) {
        ++served;
      } else if (result && result->status == 429 &&
                 result->has_header("Retry-After")) {
        ++refused;
      } else {
        ++others;
      }
    });
  };
  // One is in the model, which stands still; of the others 2 can wait.
  add_client();
  WaitForSteps(1);
  for (int i = 0; i < 11; ++i) add_client();
  while (refused < 9) absl::SleepFor(absl::Milliseconds(1));
  gate_.open = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(others, 0);
  EXPECT_EQ(served + refused, 12);
  EXPECT_EQ(served, 3);
  EXPECT_EQ(Post(kCompletions, Completion("abc")).first, 200);
}

TEST_F(ServerTest, DropsWhatAClientThatLeftAskedFor) {
  options_.engine.max_running = 1;
  Start();
  Json body = Completion("abc", 200);
  body["stream"] = true;
  gate_.open = false;
  const int fd =
      Connect("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " +
              std::to_string(body.dump().size()) + "\r\n\r\n" + body.dump());
  WaitForSteps(1);
  close(fd);
  // The server looks every 100 ms; the model stands still meanwhile.
  absl::SleepFor(absl::Milliseconds(500));
  gate_.open = true;
  EXPECT_EQ(Post(kCompletions, Completion("abc")).first, 200);
  // It did not go on for its 200 tokens.
  EXPECT_LT(gate_.steps, 60);
}

TEST_F(ServerTest, SilentClientsDoNotBlockOthers) {
  Start();
  std::vector<int> silent;
  for (int i = 0; i < 20; ++i) {
    silent.push_back(Connect(i % 2 == 0 ? "" : "POST /v1/completions HTT"));
  }
  silent.push_back(
      Connect("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "
              "900\r\n\r\n{"));
  EXPECT_EQ(Post(kCompletions, Completion("abc")).first, 200);
  // They are thrown out after read_timeout.
  char byte = 0;
  const timeval limit = {15, 0};
  setsockopt(silent[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  EXPECT_EQ(recv(silent[0], &byte, 1, 0), 0);
  for (const int fd : silent) close(fd);
}

TEST_F(ServerTest, StopsAfterWhatRuns) {
  Start();
  gate_.open = false;
  int status = 0;
  std::thread client(
      [&] { status = Post(kCompletions, Completion("abc")).first; });
  WaitForSteps(1);
  std::thread stopper([&] { server_->Stop(); });
  int refused = 0;
  while (refused != 503) {
    refused = Client().Get("/health")->status;
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(Post(kCompletions, Completion("abc")).first, 503);
  gate_.open = true;
  stopper.join();
  client.join();
  EXPECT_EQ(status, 200);
  EXPECT_FALSE(Client().Get("/health"));
}

TEST_F(ServerTest, PortInUseIsAnError) {
  Start();
  ServerOptions options = options_;
  options.port = server_->port();
  Server second(model_.get(), tokenizer_.get(), nullptr, options);
  // SO_REUSEPORT would let two servers share the port.
  EXPECT_EQ(second.Start().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace repro
