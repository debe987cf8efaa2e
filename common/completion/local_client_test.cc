#include "common/completion/local_client.h"

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/lm/dense_state.h"
#include "common/lm/tiny_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::completion {
namespace {

using ::testing::HasSubstr;

class LocalClientTest : public ::testing::Test {
 protected:
  LocalClientTest()
      : model_(lm::TinyModel(256)), tokenizer_(lm::TinyTokenizer()) {}

  std::unique_ptr<CompletionClient> Client(const LocalOptions& options = {}) {
    return MakeLocalClient(
        model_.get(), tokenizer_.get(),
        [this] {
          return lm::MakeDenseState(model_->config(), at::kCPU, at::kFloat);
        },
        "tiny", options);
  }

  static CompletionRequest Warm(uint64_t seed) {
    CompletionRequest request;
    request.messages = {{"user", "hello"}};
    request.max_tokens = 20;
    request.temperature = 1.5;
    request.seed = seed;
    return request;
  }

  std::unique_ptr<lm::LanguageModel> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(LocalClientTest, TheSeedDecides) {
  const auto client = Client();
  const auto a = client->Complete(Warm(1));
  ASSERT_TRUE(a.ok()) << a.status();
  EXPECT_EQ(a->model, "tiny");
  EXPECT_EQ(a->cost, 0);
  EXPECT_GT(a->prompt_tokens, 5);
  EXPECT_FALSE(a->choices[0].text.empty());
  EXPECT_EQ(client->Complete(Warm(1))->choices[0].text, a->choices[0].text);
  EXPECT_EQ(Client()->Complete(Warm(1))->choices[0].text, a->choices[0].text);
  EXPECT_NE(client->Complete(Warm(2))->choices[0].text, a->choices[0].text);
}

// Also beside other requests.
TEST_F(LocalClientTest, ThreadsDoNotDisturbEachOther) {
  const auto client = Client();
  std::vector<std::string> alone(4), together(4);
  for (int i = 0; i < 4; ++i) {
    alone[i] = client->Complete(Warm(i))->choices[0].text;
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back(
        [&, i] { together[i] = client->Complete(Warm(i))->choices[0].text; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST_F(LocalClientTest, ChoicesAreThoseOfTheNextSeeds) {
  const auto client = Client();
  CompletionRequest three = Warm(5);
  three.n = 3;
  const auto answer = client->Complete(three);
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->choices.size(), 3);
  int64_t tokens = 0;
  for (int i = 0; i < 3; ++i) {
    const auto one = client->Complete(Warm(5 + i));
    EXPECT_EQ(answer->choices[i].text, one->choices[0].text);
    tokens += one->completion_tokens;
    EXPECT_EQ(answer->prompt_tokens, one->prompt_tokens);
  }
  EXPECT_EQ(answer->completion_tokens, tokens);
}

TEST_F(LocalClientTest, PromptsStopStringsAndLogprobs) {
  const auto client = Client();
  CompletionRequest request;
  request.prompt = "abc";
  request.max_tokens = 12;
  request.logprobs = 2;
  const auto whole = client->Complete(request);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->choices[0].finish_reason, "length");
  EXPECT_EQ(whole->completion_tokens, 12);
  ASSERT_EQ(whole->choices[0].logprobs.size(), 12);
  for (const TokenLogprob& token : whole->choices[0].logprobs) {
    // The greedy token is the most likely one.
    ASSERT_EQ(token.top.size(), 2);
    EXPECT_EQ(token.logprob, token.top[0].logprob);
    EXPECT_LE(token.logprob, 0);
    EXPECT_GE(token.logprob, token.top[1].logprob);
  }
  const std::string text = whole->choices[0].text;
  request.logprobs = 0;
  request.stop = {text.substr(text.size() / 2)};
  const auto stopped = client->Complete(request);
  EXPECT_EQ(stopped->choices[0].text, text.substr(0, text.size() / 2));
  EXPECT_EQ(stopped->choices[0].finish_reason, "stop");
  EXPECT_TRUE(stopped->choices[0].logprobs.empty());
}

TEST_F(LocalClientTest, Errors) {
  const auto client = Client();
  CompletionRequest request = Warm(1);
  request.model = "other";
  EXPECT_EQ(client->Complete(request).status().code(),
            absl::StatusCode::kNotFound);
  request.model = "tiny";
  EXPECT_TRUE(client->Complete(request).ok());
  request.messages[0].content = std::string(300, 'x');  // of a context of 256
  EXPECT_EQ(client->Complete(request).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client->Complete({}).status().code(),
            absl::StatusCode::kInvalidArgument);
  LocalOptions options;
  int asked = 0;
  options.cancelled = [&asked] { return ++asked > 3; };
  EXPECT_EQ(Client(options)->Complete(Warm(1)).status().code(),
            absl::StatusCode::kCancelled);
  options = {};
  options.path = "/no/such/model.gguf";
  const absl::Status status = MakeLocalClient(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(options.path));
}

}  // namespace
}  // namespace repro::completion
