#include "papers/flowformer/list_ops.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::flowformer {
namespace {

using ::testing::HasSubstr;

int Value(const std::string& text) { return ParseListOps(text)->value; }

// Worked by hand.
TEST(ListOpsTest, Values) {
  EXPECT_EQ(Value("7"), 7);
  EXPECT_EQ(Value("[MAX 3 4 ]"), 4);
  EXPECT_EQ(Value("[MIN 3 4 0 ]"), 0);
  EXPECT_EQ(Value("[MED 1 9 2 ]"), 2);
  EXPECT_EQ(Value("[MED 1 4 9 2 ]"), 3);
  EXPECT_EQ(Value("[MED 1 4 ]"), 2);  // 2.5, rounded down
  EXPECT_EQ(Value("[SM 9 9 5 ]"), 3);
  EXPECT_EQ(Value("[MAX 2 [SM 4 [MIN 5 8 ] ] [MED 0 1 1 ] ]"), 9);
}

TEST(ListOpsTest, RefusesWhatIsNoExpression) {
  for (const std::string text :
       {"", "[MAX", "[MAX ]", "]", "[MAX 1 2", "1 2", "[AVG 1 2 ]", "12"}) {
    EXPECT_FALSE(ParseListOps(text).ok()) << text;
  }
  EXPECT_THAT(std::string(ParseListOps("[AVG 1 ]").status().message()),
              HasSubstr("[AVG"));
}

TEST(ListOpsTest, DrawsWhatItEvaluatesTo) {
  ListOpsOptions options;
  options.min_length = 10;
  options.max_length = 60;
  std::mt19937_64 random(1);
  std::set<std::string> texts;
  int operators = 0, arguments = 0;
  for (const ListOpsExample& example : DrawListOpsSet(options, 300, random)) {
    EXPECT_GT(example.tokens.size(), 10);
    EXPECT_LT(example.tokens.size(), 60);
    const auto parsed = ParseListOps(example.Text());
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->tokens, example.tokens);
    EXPECT_EQ(parsed->value, example.value);
    texts.insert(example.Text());
    for (const int64_t token : example.tokens) {
      EXPECT_GT(token, 0);
      EXPECT_LT(token, kListOpsVocabulary);
      operators += token >= 11 && token < 15;
      arguments += token < 15;
    }
  }
  EXPECT_EQ(texts.size(), 300);  // no duplicates
  EXPECT_GE(arguments, 2 * operators);
}

TEST(ListOpsTest, SameSeedSameSet) {
  ListOpsOptions options;
  options.min_length = 5;
  options.max_length = 40;
  std::mt19937_64 a(2), b(2);
  EXPECT_EQ(DrawListOps(options, a).Text(), DrawListOps(options, b).Text());
}

}  // namespace
}  // namespace repro::flowformer
