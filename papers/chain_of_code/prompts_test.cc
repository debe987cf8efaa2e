#include "papers/chain_of_code/prompts.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace repro::chain_of_code {
namespace {

const std::vector<Example>& Examples() {
  static const auto& examples = *new std::vector<Example>{
      {"1 + 1?",
       "answer = 1 + 1",
       {"state: {}", "line: answer = 1 + 1", "delta state: {'answer': 2}"},
       "2"}};
  return examples;
}

TEST(PromptsTest, Formats) {
  EXPECT_EQ(DirectPrompt(Examples(), "2 + 2?"),
            "Q: 1 + 1?\nAnswer: 2\n\nQ: 2 + 2?\nAnswer:");
  const std::string example =
      "Q: 1 + 1?\nA:\n# CODE START\nanswer = 1 + 1\n# CODE END\n";
  const std::string program =
      "Q: 2 + 2?\nA:\n# CODE START\nx = 2\nanswer = x + 2\n# CODE END\n";
  EXPECT_EQ(GenerationPrompt(Examples(), "2 + 2?"),
            example + "Answer: 2\n\nQ: 2 + 2?");
  EXPECT_EQ(AnswerPrompt(Examples(), "2 + 2?", "x = 2\nanswer = x + 2"),
            example + "Answer: 2\n\n" + program + "Answer:");
  EXPECT_EQ(TracePrompt(Examples(), "2 + 2?", "x = 2\nanswer = x + 2"),
            example +
                "# TRACE START\nstate: {}\nline: answer = 1 + 1\n"
                "delta state: {'answer': 2}\n# TRACE END\nAnswer: 2\n\n" +
                program +
                "# TRACE START\nstate: {}\nline: x = 2\ndelta state:");
  EXPECT_EQ(StatePrompt("worked", "line: x"),
            "# TRACE START\nworked\n# TRACE END\n\n# TRACE START\nline: x\n"
            "delta state:");
}

TEST(PromptsTest, ExtractsPrograms) {
  EXPECT_EQ(*ExtractProgram("A:\n# CODE START\n  x = 1\n\n# CODE END\nmore"),
            "x = 1");
  EXPECT_EQ(*ExtractProgram("# CODE START\nx = 1\n# CODE END\n# CODE START\ny"),
            "x = 1");
  EXPECT_EQ(*ExtractProgram("# CODE START x = 1"), "x = 1");
  EXPECT_EQ(*ExtractProgram("# CODE START# CODE END"), "");
  EXPECT_TRUE(absl::IsNotFound(ExtractProgram("x = 1").status()));
  EXPECT_TRUE(absl::IsNotFound(ExtractProgram("").status()));
}

TEST(PromptsTest, ExtractsAnswers) {
  EXPECT_EQ(*ExtractAnswer("Answer: 1\nAnswer:  (B) \nmore"), "(B)");
  EXPECT_TRUE(absl::IsNotFound(ExtractAnswer("Answer:\n 1").status()));
  EXPECT_TRUE(absl::IsNotFound(ExtractAnswer("1").status()));
}

TEST(PromptsTest, ChatModelsGetASystemMessage) {
  const auto plain = GreedyRequest("text", 7, {"x"}, false);
  EXPECT_EQ(plain.prompt, "text");
  EXPECT_TRUE(plain.messages.empty());
  EXPECT_EQ(plain.max_tokens, 7);
  EXPECT_EQ(plain.temperature, 0);
  const auto chat = GreedyRequest("text", 7, {}, true);
  EXPECT_TRUE(chat.prompt.empty());
  ASSERT_EQ(chat.messages.size(), 2u);
  EXPECT_EQ(chat.messages[0].role, "system");
  EXPECT_EQ(chat.messages[1].content, "text");
  EXPECT_TRUE(completion::Validate(chat).ok());
}

}  // namespace
}  // namespace repro::chain_of_code
