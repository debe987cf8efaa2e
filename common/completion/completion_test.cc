#include "common/completion/completion.h"

#include <functional>
#include <limits>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "common/completion/ask.h"
#include "common/completion/completion_json.h"
#include "common/completion/scripted.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::completion {
namespace {

using ::testing::HasSubstr;

CompletionRequest Prompt(const std::string& prompt) {
  CompletionRequest request;
  request.prompt = prompt;
  return request;
}

CompletionRequest Full() {
  CompletionRequest request;
  request.model = "gpt-4o-mini";
  request.messages = {{"system", "Be brief."},
                      {"user", "Grüße, 世界 😀 \"quoted\"\n\t\\"}};
  request.max_tokens = 64;
  request.temperature = 0.7;
  request.top_p = 0.95;
  request.stop = {"\n\n", "###"};
  request.seed = 9223372036854775807u;
  request.n = 3;
  request.logprobs = 5;
  return request;
}

// A change of these makes all recordings void. From Python 3.11:
//   json.dumps(request, sort_keys=True, separators=(",", ":"),
//              ensure_ascii=False) and hashlib.sha256 of its UTF-8.
TEST(RequestKeyTest, Constants) {
  EXPECT_EQ(CanonicalJson(Prompt("2 + 2 =")),
            R"({"logprobs":0,"max_tokens":256,"messages":[],"model":"",)"
            R"("n":1,"prompt":"2 + 2 =","seed":null,"stop":[],)"
            R"("temperature":0.0,"top_p":1.0,"version":1})");
  EXPECT_EQ(RequestKey(Prompt("2 + 2 =")),
            "01a6f2f835f23d76536707c4a7008d82d1709359dd81f5161e5e291d17b22cf9");
  EXPECT_EQ(
      CanonicalJson(Full()),
      R"({"logprobs":5,"max_tokens":64,"messages":[{"content":"Be brief.",)"
      R"("role":"system"},{"content":"Grüße, 世界 😀 \"quoted\"\n\t\\",)"
      R"("role":"user"}],"model":"gpt-4o-mini","n":3,"prompt":"",)"
      R"("seed":9223372036854775807,"stop":["\n\n","###"],)"
      R"("temperature":0.7,"top_p":0.95,"version":1})");
  EXPECT_EQ(RequestKey(Full()),
            "6702e7f477dbae351d105a9eb65ccc51b27e8dfa7cb7cb5abf4d799a92e2c820");
}

TEST(RequestKeyTest, EveryFieldCounts) {
  std::set<std::string> keys = {RequestKey(Full())};
  const std::function<void(CompletionRequest*)> changes[] = {
      [](auto* r) { r->model = "gpt-4o"; },
      [](auto* r) { r->messages[0].role = "user"; },
      [](auto* r) { r->messages[1].content += " "; },
      [](auto* r) { r->messages.pop_back(); },
      [](auto* r) { r->prompt = "x"; },
      [](auto* r) { r->max_tokens = 65; },
      [](auto* r) { r->temperature = 0.70000001; },
      [](auto* r) { r->top_p = 1; },
      [](auto* r) {
        r->stop = {"###", "\n\n"};
      },
      [](auto* r) { r->seed = 0; },
      [](auto* r) { r->seed.reset(); },
      [](auto* r) { r->n = 4; },
      [](auto* r) { r->logprobs = 0; },
  };
  for (const auto& change : changes) {
    CompletionRequest request = Full();
    change(&request);
    EXPECT_TRUE(keys.insert(RequestKey(request)).second);
  }
  // -0 is the same temperature as 0.
  CompletionRequest zero = Prompt("a"), minus = Prompt("a");
  minus.temperature = -0.0;
  EXPECT_EQ(RequestKey(zero), RequestKey(minus));
}

TEST(ValidateTest, NamesTheField) {
  EXPECT_TRUE(Validate(Full()).ok());
  EXPECT_TRUE(Validate(Prompt("x")).ok());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::pair<std::function<void(CompletionRequest*)>, const char*>
      cases[] = {
          {[](auto* r) { r->messages.clear(); }, "messages or prompt"},
          {[](auto* r) { r->prompt = "x"; }, "messages or prompt"},
          {[](auto* r) { r->messages[1].role = ""; }, "messages[1].role"},
          {[](auto* r) { r->messages[1].content = "\xff"; }, "messages[1]"},
          {[](auto* r) { r->model = "\xc0"; }, "model"},
          {[](auto* r) { r->max_tokens = 0; }, "max_tokens is 0"},
          {[](auto* r) { r->temperature = -1; }, "temperature is -1"},
          {[](auto* r) { r->temperature = 2.5; }, "temperature is 2.5"},
          {[&](auto* r) { r->temperature = nan; }, "temperature"},
          {[](auto* r) { r->top_p = 0; }, "top_p is 0"},
          {[&](auto* r) { r->top_p = nan; }, "top_p"},
          {[](auto* r) { r->stop.push_back(""); }, "stop[2]"},
          {[](auto* r) { r->seed = ~uint64_t{0}; }, "seed is 1844674"},
          {[](auto* r) { r->n = 0; }, "n is 0"},
          {[](auto* r) { r->logprobs = 21; }, "logprobs is 21"},
      };
  for (const auto& [change, expected] : cases) {
    CompletionRequest request = Full();
    change(&request);
    const absl::Status status = Validate(request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << expected;
    EXPECT_THAT(std::string(status.message()), HasSubstr(expected));
  }
}

TEST(CompletionJsonTest, RoundTripAndWrongFields) {
  Completion completion;
  completion.model = "m";
  completion.prompt_tokens = 7;
  completion.completion_tokens = 3;
  completion.cost = 0.25;
  completion.choices = {
      {"a\n", "stop", {{"a", -0.5, {{"a", -0.5, {}}, {"b", -1.5, {}}}}}},
      {"", "length", {}}};
  const nlohmann::json json = ToJson(completion);
  const auto back = CompletionFromJson(json);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(ToJson(*back), json);
  EXPECT_EQ(back->choices[0].logprobs[0].top[1].token, "b");
  for (const char* field :
       {"model", "prompt_tokens", "completion_tokens", "cost", "choices"}) {
    for (const nlohmann::json& wrong :
         {nlohmann::json(), nlohmann::json(-1.5), nlohmann::json({{"a", 1}}),
          nlohmann::json({1}), nlohmann::json({{{"text", 1}}})}) {
      if (field == std::string("cost") && wrong.is_number()) continue;
      nlohmann::json broken = json;
      broken[field] = wrong;
      EXPECT_FALSE(CompletionFromJson(broken).ok()) << broken;
    }
  }
  EXPECT_FALSE(CompletionFromJson(nlohmann::json::array()).ok());
}

TEST(ScriptedClientTest, AnswersInTurn) {
  ScriptedClient client({"one", "two"});
  EXPECT_EQ(client.Complete(Prompt("a"))->choices[0].text, "one");
  EXPECT_EQ(client.Complete(Prompt("b"))->choices[0].finish_reason, "stop");
  EXPECT_EQ(client.Complete(Prompt("c")).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(client.Complete({}).status().code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(client.requests().size(), 3);
  EXPECT_EQ(client.requests()[1].prompt, "b");
}

TEST(ScriptedClientTest, AnswersByAFunction) {
  ScriptedClient client(
      [](const CompletionRequest& request) -> absl::StatusOr<Completion> {
        if (request.prompt == "bad") return absl::UnavailableError("down");
        return TextCompletion(request.prompt + "!");
      });
  EXPECT_EQ(client.Complete(Prompt("a"))->choices[0].text, "a!");
  EXPECT_EQ(client.Complete(Prompt("bad")).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(AskTest, GivesTheTextAndCountsWhatAnswersTook) {
  int call = 0;
  ScriptedClient client(
      [&](const CompletionRequest&) -> absl::StatusOr<Completion> {
        if (++call == 3) return absl::UnavailableError("down");
        Completion completion = TextCompletion("yes");
        completion.prompt_tokens = 5;
        completion.completion_tokens = 2;
        completion.cost = 0.25;
        if (call == 2) completion.choices.clear();
        return completion;
      });
  CompletionRequest request;
  request.messages = {{"user", "well?"}};
  Usage usage;
  EXPECT_EQ(*Ask(client, request, "judge", &usage), "yes");
  EXPECT_EQ(Ask(client, request, "judge", &usage).status(),
            absl::DataLossError("judge: scripted gave no choice"));
  EXPECT_EQ(Ask(client, request, "judge", &usage).status(),
            absl::UnavailableError("judge: down"));
  EXPECT_EQ(usage.requests, 2);
  EXPECT_EQ(usage.prompt_tokens, 10);
  EXPECT_EQ(usage.completion_tokens, 4);
  EXPECT_EQ(usage.cost, 0.5);
  EXPECT_EQ(*Ask(client, request, "judge"), "yes");
}

}  // namespace
}  // namespace repro::completion
