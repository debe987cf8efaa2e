#include "common/metrics/infinite_bench.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace repro::metrics {
namespace {

constexpr InfiniteBenchRules kOriginal = InfiniteBenchRules::kOriginal;
constexpr InfiniteBenchRules kRevised = InfiniteBenchRules::kRevised;

TEST(InfiniteBenchTest, Retrieval) {
  EXPECT_TRUE(FirstDigitsMatch("The pass key is 71432, not 1.", "71432"));
  EXPECT_FALSE(FirstDigitsMatch("1. The pass key is 71432", "71432"));
  EXPECT_FALSE(FirstDigitsMatch("none", "71432"));
  EXPECT_TRUE(ContainsWord("{\"key\":'ab-1'}.", "ab-1"));
  EXPECT_FALSE(ContainsWord("ab-12", "ab-1"));
}

TEST(InfiniteBenchTest, Numbers) {
  EXPECT_TRUE(LastWordIsInteger("so it is `-14`.", -14));
  EXPECT_TRUE(LastWordIsInteger("+1_000", 1000));
  EXPECT_FALSE(LastWordIsInteger("14 or so", 14));
  EXPECT_FALSE(LastWordIsInteger("1__0", 10));
  EXPECT_FALSE(LastWordIsInteger("", 0));
  EXPECT_TRUE(FirstNumberIs("it is -88 of 90", int64_t{88}));
  EXPECT_FALSE(FirstNumberIs("88.0", int64_t{88}));
  EXPECT_TRUE(FirstNumberIs("88.50.", 88.5));
  EXPECT_TRUE(FirstNumberIs("88.", 88.0));
  EXPECT_FALSE(FirstNumberIs("none", 0.0));
  EXPECT_EQ(CommonPrefixShare("1, 2, 4", {1, 2, 3, 4}), 0.5);
  EXPECT_EQ(CommonPrefixShare("9 1, 2", {1, 2}, 1), 1);
  EXPECT_EQ(CommonPrefixShare("", {1}), 0);
  EXPECT_EQ(CommonPrefixShare("1", {}), 0);
}

// The functions get_score_one_* of the benchmark's src/compute_scores.py and of
// its revised descendants, run on these texts.
TEST(InfiniteBenchTest, Choice) {
  const std::vector<std::string> labels = {"Hall Farm", "B"};
  EXPECT_TRUE(ChoiceIsRight("B. Hall Farm", labels, kOriginal));
  EXPECT_FALSE(ChoiceIsRight("A, no: B", labels, kOriginal));
  EXPECT_TRUE(ChoiceIsRight("A, no: B", labels, kRevised));
  // "Because" starts with B.
  EXPECT_TRUE(ChoiceIsRight("Because", labels, kOriginal));
  EXPECT_TRUE(ChoiceIsRight("The answer is: Hall Farm", labels, kOriginal));
  EXPECT_FALSE(ChoiceIsRight("The answer is", labels, kOriginal));
  EXPECT_TRUE(ChoiceIsRight("it is \"B\"", labels, kOriginal));
  EXPECT_FALSE(ChoiceIsRight("", labels, kOriginal));
  EXPECT_FALSE(ChoiceIsRight(" ", labels, kRevised));
  EXPECT_TRUE(ChoiceIsRight(" Hall Farm", labels, kOriginal));
  // The last letter of the first line that has one.
  EXPECT_TRUE(ChoiceIsRight("first\nA or B\nC", labels, kRevised));
  EXPECT_FALSE(ChoiceIsRight("A x\nB", labels, kRevised));
}

TEST(InfiniteBenchTest, Dialogue) {
  EXPECT_TRUE(DialogueIsRight("Ace, of course", {"ACE", "X"}, kOriginal));
  EXPECT_FALSE(DialogueIsRight("Ace Rothstein", {"ACE ROTHSTEIN"}, kOriginal));
  EXPECT_FALSE(DialogueIsRight("x", {"ACE", "X"}, kOriginal));
  EXPECT_TRUE(DialogueIsRight("x", {"ACE", "x"}, kRevised));
  EXPECT_TRUE(DialogueIsRight("ace rothstein", {"Ace R"}, kRevised));
  EXPECT_FALSE(DialogueIsRight("", {"ACE"}, kRevised));
}

TEST(InfiniteBenchTest, CodeDebug) {
  EXPECT_TRUE(CodeDebugIsRight("C. f", "f", "C", kOriginal));
  EXPECT_FALSE(CodeDebugIsRight("C) f", "f", "C", kOriginal));
  EXPECT_TRUE(CodeDebugIsRight("C) f", "f", "C", kRevised));
  EXPECT_TRUE(CodeDebugIsRight("The answer is: Option C", "f", "C", kOriginal));
  EXPECT_TRUE(CodeDebugIsRight("So it is: f", "f", "C", kOriginal));
  EXPECT_FALSE(CodeDebugIsRight("So it is:", "f", "C", kOriginal));
  EXPECT_FALSE(CodeDebugIsRight("It is C", "f", "C", kOriginal));
  EXPECT_TRUE(CodeDebugIsRight("It is C", "f", "C", kRevised));
  EXPECT_FALSE(CodeDebugIsRight("It is C or D", "f", "C", kRevised));
  EXPECT_TRUE(CodeDebugIsRight("f has it", "f", "C", kRevised));
}

}  // namespace
}  // namespace repro::metrics
