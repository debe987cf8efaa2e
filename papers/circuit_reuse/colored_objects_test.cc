#include "papers/circuit_reuse/colored_objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_replace.h"
#include "common/assets/test_asset.h"
#include "common/data/io.h"

namespace repro::circuit_reuse {
namespace {

using ::testing::HasSubstr;

// The first prompt of the released file.
constexpr char kReleased[] =
    "Q: On the table, I see an orange textbook, a red puzzle, and a purple "
    "cup. "
    "What color is the textbook?\nA: Orange\nQ: On the table, there is a blue "
    "pencil, a black necklace, and a yellow lighter. What color is the pencil?"
    "\nA:";

TEST(ColoredPrompt, ParsesTheReleasedOne) {
  const auto prompt = ParseColoredPrompt(kReleased);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->example.surface, "table");
  EXPECT_EQ(prompt->example.start, "I see");
  EXPECT_EQ(prompt->example.query, 0);
  EXPECT_THAT(prompt->test.colors,
              testing::ElementsAre("blue", "black", "yellow"));
  EXPECT_THAT(prompt->test.objects,
              testing::ElementsAre("pencil", "necklace", "lighter"));
  EXPECT_EQ(Render(*prompt), kReleased);
  EXPECT_EQ(LabelOf(*prompt), " Blue");
  const auto other = CounterfactualOf(*prompt, 2);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(LabelOf(*other), " Yellow");
  EXPECT_EQ(Render(*other),
            absl::StrReplaceAll(kReleased, {{"the pencil?", "the lighter?"}}));
  for (const int64_t bad : {-1, 0, 3}) {
    EXPECT_FALSE(CounterfactualOf(*prompt, bad).ok()) << bad;
  }
}

TEST(ColoredPrompt, DrawnOnesComeBack) {
  std::mt19937_64 random(1);
  std::map<std::string, int64_t> labels;
  std::map<int64_t, int64_t> queries;
  constexpr int64_t kDraws = 4000;
  for (int64_t i = 0; i < kDraws; ++i) {
    const ColoredPrompt drawn = DrawColoredPrompt(random);
    const std::string text = Render(drawn);
    const auto parsed = ParseColoredPrompt(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status() << text;
    EXPECT_EQ(Render(*parsed), text);
    EXPECT_EQ(SplitWords(text).size(), kPromptTokens);
    std::set<std::string> words;
    for (const ColoredQuestion* question : {&drawn.example, &drawn.test}) {
      words.insert(question->colors.begin(), question->colors.end());
      words.insert(question->objects.begin(), question->objects.end());
    }
    EXPECT_EQ(words.size(), 12) << text;
    ++labels[LabelOf(drawn)];
    ++queries[drawn.test.query];
  }
  // Within five standard deviations of equal shares.
  EXPECT_EQ(labels.size(), 8);
  for (const auto& [label, count] : labels) EXPECT_NEAR(count, 500, 105);
  for (const auto& [query, count] : queries) EXPECT_NEAR(count, 1333, 150);
}

TEST(ColoredPrompt, SaysWhereATextIsNoPrompt) {
  const auto error = [](const std::string& from, const std::string& to) {
    const std::string text = absl::StrReplaceAll(kReleased, {{from, to}});
    EXPECT_NE(text, kReleased);
    const auto prompt = ParseColoredPrompt(text);
    EXPECT_FALSE(prompt.ok()) << text;
    return std::string(prompt.status().message());
  };
  EXPECT_THAT(error("On the table, I", "On the moon, I"),
              HasSubstr("byte 10: expected a surface"));
  EXPECT_THAT(error("an orange", "a orange"), HasSubstr("article"));
  EXPECT_THAT(error("a red", "a pink"), HasSubstr("expected a colour"));
  EXPECT_THAT(error("a red", "an orange"), HasSubstr("before"));
  EXPECT_THAT(error("a red puzzle", "a red textbook"), HasSubstr("before"));
  EXPECT_THAT(error("the pencil?", "the pen?"), HasSubstr("there is no pen"));
  EXPECT_THAT(error("A: Orange", "A: Red"), HasSubstr("' Orange'"));
  EXPECT_THAT(error("pencil?\nA:", "pencil?\nA: "), HasSubstr("the end"));
  const std::string whole = kReleased;
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(ParseColoredPrompt(whole.substr(0, length)).ok()) << length;
  }
}

TEST(SplitWords, MarksStandAlone) {
  EXPECT_THAT(
      SplitWords("Q: a b,c.\nA:"),
      testing::ElementsAre("Q", ":", "a", "b", ",", "c", ".", "\n", "A", ":"));
  EXPECT_TRUE(SplitWords("").empty());
  EXPECT_TRUE(SplitWords("   ").empty());
  const std::vector<std::string> words = SplitWords(kReleased);
  EXPECT_EQ(words[kExampleEnd], ":");
  EXPECT_EQ(words[kExampleEnd + 1], "Orange");
  EXPECT_EQ(words[kEnd], ":");
  EXPECT_EQ(words[kColorTokens[1]], "black");
  EXPECT_EQ(words[kQueryToken], "pencil");
}

class ReadColoredPromptsTest : public testing::Test {
 protected:
  std::string ErrorOf(const std::string& content) {
    const std::string path = testing::TempDir() + "/prompts.json";
    EXPECT_TRUE(WriteFileAtomically(path, content).ok());
    const auto prompts = ReadColoredPrompts(path);
    EXPECT_FALSE(prompts.ok()) << content;
    return std::string(prompts.status().message());
  }
};

TEST_F(ReadColoredPromptsTest, RefusesWhatIsNoListOfPrompts) {
  EXPECT_EQ(ReadColoredPrompts(testing::TempDir() + "/none").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(ErrorOf(""), HasSubstr("prompts.json:1"));
  EXPECT_THAT(ErrorOf("[]"), HasSubstr("expected a list"));
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("expected a list"));
  EXPECT_THAT(ErrorOf("[\n[\"a\","), HasSubstr("prompts.json:2"));
  EXPECT_THAT(ErrorOf("[[\"Q: no prompt\", \" Red\"]]"),
              HasSubstr("prompt 0: byte 0: expected 'Q: On the '"));
  const std::string text = absl::StrReplaceAll(kReleased, {{"\n", "\\n"}});
  const std::string good = "[\"" + text + "\", \" Blue\"]";
  EXPECT_THAT(ErrorOf("[" + good + ", [\"" + text + "\", \" Red\"]]"),
              HasSubstr("prompt 1: label ' Red' in place of ' Blue'"));
  EXPECT_THAT(ErrorOf("[" + good + ", [1, 2]]"), HasSubstr("prompt 1: "));
  EXPECT_THAT(ErrorOf("[" + good + ", [\"a\"]]"), HasSubstr("prompt 1: "));
}

TEST(ReleasedPrompts, AreRead) {
  const std::string path = FindTestAsset("circuit_reuse/cobjs_data_42.json.gz");
  if (path.empty()) GTEST_SKIP() << "no circuit_reuse/cobjs_data_42.json.gz";
  const auto prompts = ReadColoredPrompts(path);
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  ASSERT_EQ(prompts->size(), 1000);
  EXPECT_EQ((*prompts)[0].text, kReleased);
}

}  // namespace
}  // namespace repro::circuit_reuse
