#include "papers/chain_of_code/oracle.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/assets/test_asset.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/chain_of_code/bbh.h"
#include "papers/chain_of_code/prompts.h"

namespace repro::chain_of_code {
namespace {

using ::testing::DoubleNear;
using ::testing::HasSubstr;

constexpr char kQuestion[] =
    "I have a flute, two carrots, and three mice. How many animals do I have?";

std::string Ask(OracleClient& client, const std::string& prompt) {
  const auto completion = client.Complete(
      GreedyRequest(prompt, kStateTokens, {"\nline:"}, /*chat=*/false));
  return completion.ok() ? completion->choices[0].text
                         : completion.status().ToString();
}

std::string ClaimPrompt(const std::string& claim) {
  return StatePrompt("(worked)",
                     absl::StrCat("line: claim = ...\ndelta state: {'claim': '",
                                  claim, "'}\nline: counted = is_true(claim)"));
}

TEST(OracleTest, Table) {
  EXPECT_TRUE(*IsOneOf("flute", "musical instruments"));
  EXPECT_FALSE(*IsOneOf("flutes", "fruits"));
  EXPECT_TRUE(*IsOneOf("mice", "animals"));
  EXPECT_TRUE(*IsOneOf("strawberries", "fruits"));
  EXPECT_TRUE(*IsOneOf("heads of broccoli", "vegetables"));
  EXPECT_TRUE(*IsOneOf("couches", "objects"));
  EXPECT_TRUE(absl::IsNotFound(IsOneOf("whistle", "objects").status()));
  EXPECT_TRUE(absl::IsNotFound(IsOneOf("flute", "planets").status()));
}

TEST(OracleTest, ParsesQuestions) {
  const auto things = ParseThings(kQuestion);
  ASSERT_TRUE(things.ok()) << things.status();
  ASSERT_EQ(things->size(), 3u);
  EXPECT_EQ(things->at(1).claim, "carrots is one of the animals");
  EXPECT_EQ(things->at(1).count, 2);
  EXPECT_FALSE(things->at(1).counted);
  EXPECT_EQ(things->at(2).count, 3);
  EXPECT_TRUE(things->at(2).counted);
  for (const char* bad : {"", "I have a flute.", "Who? How many x do I have?",
                          "I have many flutes. How many objects do I have?"}) {
    EXPECT_FALSE(ParseThings(bad).ok()) << bad;
  }
}

TEST(OracleTest, AnswersHelpers) {
  OracleClient client;
  EXPECT_EQ(Ask(client, ClaimPrompt("mice is one of the animals")),
            " {'counted': True}");
  EXPECT_EQ(Ask(client, ClaimPrompt("flute is one of the animals")),
            " {'counted': False}");
  const auto motion = [&](const std::string& order) {
    return Ask(client,
               StatePrompt("", absl::StrCat("delta state: {'order': '", order,
                                            "'}\nline: motion = get_motion(")));
  };
  EXPECT_EQ(motion("0. Take 3 steps"), " {'motion': (3, 0, 0)}");
  EXPECT_EQ(motion("1. Take 1 step left"), " {'motion': (0, -1, 0)}");
  EXPECT_EQ(motion("2. Turn left"), " {'motion': (0, 0, 3)}");
  EXPECT_EQ(motion("3. Always face forward"), " {'motion': (0, 0, 0)}");
  EXPECT_THAT(motion("4. Fly"), HasSubstr("NOT_FOUND"));
  EXPECT_THAT(Ask(client, "What is a monad?"), HasSubstr("UNIMPLEMENTED"));
  EXPECT_THAT(Ask(client, StatePrompt("", "x\nline: y = f()")),
              HasSubstr("UNIMPLEMENTED"));
}

// Sums over all outcomes of all lines, one after the other.
double ByEnumeration(const std::vector<Thing>& things, double e, bool slips,
                     size_t i = 0, int error = 0) {
  if (i == things.size()) return error == 0;
  double right = 0;
  for (const bool flipped : {false, true}) {
    const bool counted = things[i].counted != flipped;
    const int now =
        error + (flipped ? (counted ? 1 : -1) * things[i].count : 0);
    const double p = flipped ? e : 1 - e;
    if (counted && slips) {
      for (const auto& [slip, q] :
           std::map<int, double>{{0, 1 - e}, {-1, e / 2}, {1, e / 2}}) {
        right += p * q * ByEnumeration(things, e, slips, i + 1, now + slip);
      }
    } else {
      right += p * ByEnumeration(things, e, slips, i + 1, now);
    }
  }
  return right;
}

TEST(NoiseTest, ProbabilityEqualsEnumeration) {
  const std::vector<Thing> things = {{"", 1, true},  {"", 1, false},
                                     {"", 2, true},  {"", 3, false},
                                     {"", 1, false}, {"", 4, true}};
  for (const double e : {0.0, 0.05, 0.3, 0.5, 1.0}) {
    EXPECT_THAT(ProbabilityRight(things, e, Emulated::kHelperLines),
                DoubleNear(ByEnumeration(things, e, false), 1e-12));
    EXPECT_THAT(ProbabilityRight(things, e, Emulated::kAllLines),
                DoubleNear(ByEnumeration(things, e, true), 1e-12));
  }
}

TEST(NoiseTest, ClosedFormsOfSmallCases) {
  // One thing: 1 - e; two of opposite effect: both right or both wrong; m
  // things whose flips cannot cancel: (1 - e)^m.
  const double e = 0.1;
  EXPECT_DOUBLE_EQ(ProbabilityRight({{"", 1, true}}, e, Emulated::kHelperLines),
                   0.9);
  EXPECT_DOUBLE_EQ(ProbabilityRight({{"", 2, true}, {"", 2, false}}, e,
                                    Emulated::kHelperLines),
                   0.81 + 0.01);
  EXPECT_NEAR(ProbabilityRight({{"", 1, true}, {"", 2, true}, {"", 4, true}}, e,
                               Emulated::kHelperLines),
              std::pow(0.9, 3), 1e-15);
  EXPECT_DOUBLE_EQ(ProbabilityRight({}, e, Emulated::kAllLines), 1);
  // A counted thing: both lines right; a flip by 1 is not made good, since the
  // addition is then not run.
  EXPECT_DOUBLE_EQ(ProbabilityRight({{"", 1, true}}, e, Emulated::kAllLines),
                   0.81);
  // One that is not: a flip of 1 and a slip of -1 cancel.
  EXPECT_DOUBLE_EQ(ProbabilityRight({{"", 1, false}}, e, Emulated::kAllLines),
                   0.9 + 0.1 * 0.05);
}

TEST(NoiseTest, TracesErrAtTheRateOfTheClosedForm) {
  const double e = 0.2;
  const auto things = ParseThings(kQuestion);
  ASSERT_TRUE(things.ok()) << things.status();
  const std::string prompt = TracePrompt({}, kQuestion, "import re");
  int right = 0, flipped = 0;
  constexpr int kDraws = 4000;
  for (int seed = 0; seed < kDraws; ++seed) {
    OracleClient client(e, static_cast<uint64_t>(seed));
    const std::string trace = Ask(client, prompt);
    ASSERT_TRUE(ExtractAnswer(trace).ok()) << trace;
    right += *ExtractAnswer(trace) == "3";
    // The helper errs alike when it is asked alone.
    const bool alone =
        Ask(client, ClaimPrompt(things->at(0).claim)) == " {'counted': True}";
    EXPECT_EQ(alone, trace.find("True") < trace.find("False"));
    flipped += alone;
  }
  const double p = ProbabilityRight(*things, e, Emulated::kAllLines);
  const auto sd = [](double p) { return std::sqrt(p * (1 - p) / kDraws); };
  EXPECT_NEAR(right / double{kDraws}, p, 4 * sd(p));
  EXPECT_NEAR(flipped / double{kDraws}, e, 4 * sd(e));
}

TEST(OracleTest, CountsWhatTheTaskCounts) {
  const std::string path = FindTestAsset("chain_of_code/bbh.jsonl.gz");
  if (path.empty()) GTEST_SKIP() << "no bbh.jsonl.gz below REPRO_ASSETS";
  const auto bbh = ReadBbh(path);
  ASSERT_TRUE(bbh.ok()) << bbh.status();
  for (const Instance& instance : bbh->at("object_counting")) {
    const auto things = ParseThings(instance.input);
    ASSERT_TRUE(things.ok()) << things.status();
    int count = 0;
    for (const Thing& thing : *things) {
      if (thing.counted) count += thing.count;
    }
    EXPECT_EQ(absl::StrCat(count), instance.target) << instance.input;
  }
}

}  // namespace
}  // namespace repro::chain_of_code
