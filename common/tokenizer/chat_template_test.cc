#include "common/tokenizer/chat_template.h"

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/tokenizer/expected.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace repro {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

std::vector<Json> Lines() {
  std::vector<Json> lines;
  for (absl::string_view line :
       absl::StrSplit(ReadTestdata("chat.jsonl"), '\n', absl::SkipEmpty())) {
    lines.push_back(Json::parse(line.begin(), line.end()));
  }
  return lines;
}

std::string Template(size_t i) { return Lines().back()["templates"][i]; }

// Jinja2's rendering of the same templates.
TEST(ChatTemplateTest, AsJinja) {
  std::vector<Json> lines = Lines();
  const Json templates = lines.back()["templates"];
  lines.pop_back();
  EXPECT_EQ(lines.size(), 7 * 8 * 2);
  int refused = 0;
  for (const Json& line : lines) {
    SCOPED_TRACE(line.dump());
    const auto chat = ChatTemplate::Create(
        templates[line["template"].get<size_t>()].get<std::string>(), "<s>",
        "</s>");
    ASSERT_TRUE(chat.ok()) << chat.status();
    std::vector<ChatMessage> messages;
    for (const Json& message : line["messages"]) {
      messages.push_back({message["role"], message["content"]});
    }
    const auto text = chat->Render(messages, line["generate"]);
    if (line["rendered"].is_null()) {
      ++refused;
      EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
    } else {
      ASSERT_TRUE(text.ok()) << text.status();
      EXPECT_EQ(*text, line["rendered"].get<std::string>());
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(ChatTemplateTest, OtherTemplatesAreListed) {
  const absl::Status status =
      ChatTemplate::Create("{{ messages }}", "", "").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("{{ messages }}"), HasSubstr("ChatML"),
            HasSubstr("Llama-3"), HasSubstr("Llama-2"), HasSubstr("Zephyr")));
  EXPECT_TRUE(absl::IsNotFound(ChatTemplate::Create("", "", "").status()));
}

// A template that differs in a character is another template.
TEST(ChatTemplateTest, OnlyExactTemplates) {
  for (size_t i = 0; i < 7; ++i) {
    const std::string known = Template(i);
    EXPECT_TRUE(ChatTemplate::Create(known, "", "").ok());
    EXPECT_TRUE(ChatTemplate::Create(known + "\n", "", "").ok());
    EXPECT_FALSE(ChatTemplate::Create(known + " ", "", "").ok());
    EXPECT_FALSE(ChatTemplate::Create(known + "\n\n", "", "").ok());
    EXPECT_FALSE(
        ChatTemplate::Create(known.substr(0, known.size() / 2), "", "").ok());
  }
  // What stands for the default system message must be a plain string.
  EXPECT_FALSE(
      ChatTemplate::Create(
          absl::StrReplaceAll(Template(0), {{"a helpful AI", "a' + x + 'b"}}),
          "", "")
          .ok());
}

TEST(ChatTemplateTest, BadMessages) {
  const auto chat = ChatTemplate::Create(Template(0), "", "");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->Render({}, true).status().code(),
            absl::StatusCode::kInvalidArgument);
  const absl::Status status =
      chat->Render({{"user", "a"}, {"tool", "b"}}, true).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("message 1"), HasSubstr("tool")));
}

}  // namespace
}  // namespace repro
