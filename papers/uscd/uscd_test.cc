#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/assets/test_asset.h"
#include "common/data/human_eval.h"
#include "common/data/io.h"
#include "common/exec/namespaces_permitted.h"
#include "common/exec/sandbox.h"
#include "papers/uscd/prompts.h"
#include "papers/uscd/released.h"
#include "papers/uscd/selective_contrast.h"

namespace repro::uscd {
namespace {

using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> Logits(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) {
    logits.push_back(static_cast<float>(std::log(p)));
  }
  return logits;
}

UscdSettings Settings(double theta, double eta, double lame_weight) {
  UscdSettings settings;
  settings.theta = theta;
  settings.eta = eta;
  settings.lame_weight = lame_weight;
  return settings;
}

std::vector<float> RandomLogits(int64_t size, double scale, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<float> logits;
  for (int64_t i = 0; i < size; ++i) {
    logits.push_back(static_cast<float>(normal(random)));
  }
  return logits;
}

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// ---- Deviation -------------------------------------------------------------

TEST(Deviation, ByHand) {
  // Squares of differences from 1/4: 0.0225 + 0.0025 + 0.0025 + 0.0225.
  EXPECT_NEAR(Deviation({0.4, 0.3, 0.2, 0.1}), std::sqrt(0.05 / 3), 1e-15);
  EXPECT_NEAR(Deviation({0, 0, 1, 0}), 0.5, 1e-15);
  EXPECT_EQ(LargestDeviation(4), 0.5);
  EXPECT_EQ(Deviation({0.25, 0.25, 0.25, 0.25}), 0);
}

TEST(Deviation, FromSumOfSquares) {
  for (const int64_t size : {2, 30, 32016}) {
    for (const double scale : {0.5, 3.0, 10.0}) {
      const auto p = Probabilities(RandomLogits(size, scale, 1));
      ASSERT_TRUE(p.ok());
      double sum = 0;
      for (const double value : *p) sum += value * value;
      const double deviation = Deviation(*p);
      EXPECT_NEAR(DeviationOf(sum, size), deviation, 1e-6 * deviation);
      EXPECT_NEAR(SumOfSquares(deviation, size), sum, 1e-9 * sum);
    }
  }
}

TEST(Deviation, ThetaOfAnotherVocabulary) {
  EXPECT_NEAR(EquivalentTheta(0.005, 32016, 32016), 0.005, 1e-15);
  EXPECT_NEAR(EquivalentTheta(LargestDeviation(32016), 32016, 30),
              LargestDeviation(30), 1e-12);
  // Two tokens share all, whatever V is.
  const double a = 0.9, s = a * a + (1 - a) * (1 - a);
  EXPECT_NEAR(EquivalentTheta(DeviationOf(s, 32016), 32016, 42),
              DeviationOf(s, 42), 1e-12);
  EXPECT_EQ(EquivalentTheta(0, 32016, 30), 0);
}

// ---- The rule --------------------------------------------------------------

TEST(SelectiveContrast, ByHand) {
  const auto p = Logits({0.4, 0.3, 0.2, 0.1});
  const auto q = Logits({0.5, 0.2, 0.2, 0.1});
  const auto scores = SelectiveContrast(p, q, Settings(0.2, 2.0 / 3, -0.7));
  ASSERT_TRUE(scores.ok());
  EXPECT_TRUE(scores->contrasted);
  EXPECT_FALSE(scores->fell_back);
  EXPECT_NEAR(scores->deviation, 0.129099, 1e-6);
  ASSERT_EQ(scores->standard.size(), 4u);
  // 0.05, 0.16, 0.06; the fourth lies below the cut of 1/6.
  EXPECT_NEAR(scores->standard[0], -2.995732, 1e-5);
  EXPECT_NEAR(scores->standard[1], -1.832581, 1e-5);
  EXPECT_NEAR(scores->standard[2], -2.813411, 1e-5);
  EXPECT_EQ(scores->standard[3], -kInfinity);
  EXPECT_EQ(scores->lame, scores->standard);
}

TEST(SelectiveContrast, SureTokensAreLeftAlone) {
  const auto p = Logits({0.4, 0.3, 0.2, 0.1});
  const auto q = Logits({0.5, 0.2, 0.2, 0.1});
  const auto scores = SelectiveContrast(p, q, Settings(0.12, 2.0 / 3, -0.7));
  ASSERT_TRUE(scores.ok());
  EXPECT_FALSE(scores->contrasted);
  for (size_t v = 0; v < 4; ++v) {
    EXPECT_NEAR(scores->standard[v], p[v], 1e-6);
    EXPECT_NEAR(scores->lame[v], q[v], 1e-6);
  }
}

// mu == theta is contrasted: the code asks for mu > theta.
TEST(SelectiveContrast, AtTheta) {
  const auto p = Logits({0.4, 0.3, 0.2, 0.1});
  const double mu = SelectiveContrast(p, p, UscdSettings())->deviation;
  EXPECT_TRUE(SelectiveContrast(p, p, Settings(mu, 0, -0.7))->contrasted);
  EXPECT_FALSE(
      SelectiveContrast(p, p, Settings(std::nextafter(mu, 0.0), 0, -0.7))
          ->contrasted);
}

TEST(SelectiveContrast, EqualRowsKeepTheOrder) {
  const auto p = RandomLogits(50, 2, 3);
  const auto scores = SelectiveContrast(p, p, Settings(1, 0, -0.7));
  ASSERT_TRUE(scores.ok());
  const auto probabilities = Probabilities(p);
  for (size_t v = 0; v < p.size(); ++v) {
    EXPECT_NEAR(scores->standard[v], std::log(0.3 * (*probabilities)[v]), 1e-5);
  }
}

TEST(SelectiveContrast, WithoutLameWeightAndCutItIsPlain) {
  const auto p = RandomLogits(40, 3, 4), q = RandomLogits(40, 3, 5);
  const auto all = SelectiveContrast(p, q, Settings(1, 0, 0));
  const auto never = SelectiveContrast(p, q, Settings(0, 1, -0.7));
  ASSERT_TRUE(all.ok() && never.ok());
  EXPECT_TRUE(all->contrasted);
  EXPECT_FALSE(never->contrasted);
  EXPECT_EQ(all->standard, never->standard);
}

TEST(SelectiveContrast, ShiftedAndPermutedLogits) {
  const auto p = RandomLogits(60, 1, 6), q = RandomLogits(60, 1, 7);
  const UscdSettings settings = Settings(1, 0.5, -0.7);
  const auto scores = SelectiveContrast(p, q, settings);
  ASSERT_TRUE(scores.ok());
  std::vector<float> shifted_p, shifted_q;
  for (size_t v = p.size(); v > 0; --v) {  // reversed, too
    shifted_p.push_back(p[v - 1] + 4);
    shifted_q.push_back(q[v - 1] - 3);
  }
  const auto other = SelectiveContrast(shifted_p, shifted_q, settings);
  ASSERT_TRUE(other.ok());
  EXPECT_NEAR(other->deviation, scores->deviation, 1e-7);
  for (size_t v = 0; v < p.size(); ++v) {
    const float a = scores->standard[v], b = other->standard[p.size() - 1 - v];
    if (std::isinf(a)) {
      EXPECT_EQ(b, a);
    } else {
      EXPECT_NEAR(b, a, 1e-3);
    }
  }
}

TEST(SelectiveContrast, ForbiddenTokensAreNeverNan) {
  // 0.3 < 0.7 * 0.8.
  const auto scores = SelectiveContrast(Logits({0.3, 0.7}), Logits({0.8, 0.2}),
                                        Settings(1, 0, -0.7));
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ(scores->standard[0], -kInfinity);
  EXPECT_NEAR(scores->standard[1], std::log(0.56), 1e-6);
  // A logit of -inf is a probability of 0.
  const auto masked = SelectiveContrast({0, -kInfinity, 1}, {0, 0, -kInfinity},
                                        Settings(1, 0, -0.7));
  ASSERT_TRUE(masked.ok());
  EXPECT_EQ(masked->standard[1], -kInfinity);
  EXPECT_TRUE(std::isfinite(masked->standard[2]));
}

TEST(SelectiveContrast, FallsBackWhereNothingIsLeft) {
  const auto scores = SelectiveContrast(Logits({0.5, 0.5}), Logits({0.5, 0.5}),
                                        Settings(1, 0, -1));
  ASSERT_TRUE(scores.ok());
  EXPECT_TRUE(scores->fell_back);
  EXPECT_NEAR(scores->standard[0], std::log(0.5), 1e-6);
  // A cut above the largest probability leaves no candidate.
  const auto empty = SelectiveContrast(Logits({0.5, 0.5}), Logits({0.9, 0.1}),
                                       Settings(1, 1.5, -0.7));
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->fell_back);
}

// With theta 0.005 at 32,016 tokens a token that counts as sure keeps its place
// under the contrast, whatever the lame row says.
TEST(SelectiveContrast, SureTokensWouldKeepTheOrder) {
  const double theta = EquivalentTheta(0.005, 32016, 6);
  int sure = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    const auto p = RandomLogits(6, 4, 2 * seed);
    const auto q = RandomLogits(6, 8, 2 * seed + 1);
    if (SelectiveContrast(p, q, Settings(theta, 0, -0.7))->contrasted) continue;
    ++sure;
    const auto scores = SelectiveContrast(p, q, Settings(1, 0, -0.7))->standard;
    EXPECT_EQ(std::max_element(scores.begin(), scores.end()) - scores.begin(),
              std::max_element(p.begin(), p.end()) - p.begin());
  }
  EXPECT_GT(sure, 100);
}

TEST(SelectiveContrast, BadInput) {
  const std::vector<float> two = {0, 1};
  for (const auto& scores :
       {SelectiveContrast({}, {}, {}), SelectiveContrast({1}, {1}, {}),
        SelectiveContrast(two, {0, 1, 2}, {}),
        SelectiveContrast({0, kNan}, two, {}),
        SelectiveContrast(two, {0, kInfinity}, {}),
        SelectiveContrast({-kInfinity, -kInfinity}, two, {}),
        SelectiveContrast(two, two, Settings(-1, 0, -1)),
        SelectiveContrast(two, two, Settings(kNan, 0, -1)),
        SelectiveContrast(two, two, Settings(0, kInfinity, -1)),
        SelectiveContrast(two, two, Settings(0, 0, 0.7)),
        LogRatioContrast(two, two, 0), LogRatioContrast(two, two, kNan),
        LogRatioContrast(two, {1}, 0.1)}) {
    EXPECT_EQ(scores.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(LogRatioContrast, ByHand) {
  const auto scores =
      LogRatioContrast(Logits({0.6, 0.35, 0.05}), Logits({0.8, 0.1, 0.1}), 0.1);
  ASSERT_TRUE(scores.ok());
  EXPECT_NEAR(scores->standard[0], std::log(0.75), 1e-6);
  EXPECT_NEAR(scores->standard[1], std::log(3.5), 1e-6);
  EXPECT_EQ(scores->standard[2], -kInfinity);  // 0.05 < 0.1 * 0.6
  // What the lame row excludes is large, not infinite.
  EXPECT_TRUE(std::isfinite(
      LogRatioContrast({0, 0}, {-kInfinity, 0}, 0.1)->standard[0]));
}

TEST(JensenShannon, ByHand) {
  EXPECT_NEAR(*JensenShannon({1, 0}, {0, 1}), std::log(2.0), 1e-15);
  EXPECT_EQ(*JensenShannon({0.2, 0.8}, {0.2, 0.8}), 0);
  EXPECT_EQ(*JensenShannon({1, 4}, {2, 8}), 0);
  // Entropy of the mean less the mean entropy.
  const auto entropy = [](double p) {
    return -p * std::log(p) - (1 - p) * std::log(1 - p);
  };
  EXPECT_NEAR(*JensenShannon({0.9, 0.1}, {0.4, 0.6}),
              entropy(0.65) - (entropy(0.9) + entropy(0.4)) / 2, 1e-12);
  for (const auto& wrong :
       {JensenShannon({}, {}), JensenShannon({1}, {1, 2}),
        JensenShannon({-1, 2}, {1, 1}), JensenShannon({0, 0}, {1, 1}),
        JensenShannon({kNan, 1}, {1, 1})}) {
    EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

// ---- Prompts ---------------------------------------------------------------

TEST(Prompts, Mbpp) {
  const PromptPair pair = MbppPrompts("Add two.", "assert add(1, 2) == 3");
  EXPECT_EQ(pair.standard, "\"\"\"\nAdd two.\nassert add(1, 2) == 3\n\"\"\"\n");
  EXPECT_EQ(pair.lame, "\"\"\"\nAdd two.\n\"\"\"\n");
}

TEST(Prompts, DropExamples) {
  const std::string head = "import a\n\ndef f(x):\n    \"\"\" Double x.";
  for (const char* example :
       {"    >>> f(1)\n    2\n", "    Example:\n    1 -> 2\n",
        "  For example, 1 gives 2\n", "    f(1) == 2\n", "\n\te.g. 2"}) {
    const auto lame =
        DropExamples(absl::StrCat(head, "\n", example, "\"\"\"\n"), "f");
    ASSERT_TRUE(lame.ok());
    EXPECT_EQ(*lame, absl::StrCat(head, "\n    \"\"\"")) << example;
  }
  // Without examples the prompt stays as it is.
  EXPECT_EQ(*DropExamples("def f():\n    '''One.'''", "f"),
            "def f():\n    '''One.'''");
  for (const char* wrong : {"", "def f():", "\"\"\"", "'''a\"\"\""}) {
    EXPECT_EQ(DropExamples(wrong, "f").status().code(),
              absl::StatusCode::kInvalidArgument)
        << wrong;
  }
}

TEST(Prompts, StopWords) {
  EXPECT_EQ(
      CutAtStopWord("    return 1\nprint(2)\ndef g", HumanEvalStopWords()),
      "    return 1");
  EXPECT_EQ(CutAtStopWord("  if a:\n  #", HumanEvalStopWords()),
            "  if a:\n  #");
  EXPECT_EQ(CutAtStopWord("a[DONE]\nclass", MbppStopWords()), "a");
  EXPECT_EQ(CutAtStopWord("", MbppStopWords()), "");
}

TEST(Prompts, Statistics) {
  const std::vector<HumanEvalProblem> problems = {
      {"a", "def f(x):\n    \"\"\" \u00e4.\n    >>> f(1)\n    \"\"\"\n", "f",
       "", ""},
      {"b", "def g(x):\n    \"\"\"G.\"\"\"\n", "g", "", ""},
      {"c", "def h(x):\n    \"\"\"H\n    of x.\n    \"\"\"\n", "h", "", ""}};
  const std::vector<LamePrompt> lame = {
      {"c", "def h(x):\n    \"\"\"H of x.\n    \"\"\""},
      {"a", "def f(x):\n    \"\"\" \u00e4.\n    \"\"\""},
      {"b", "\ndef g(x):\n    \"\"\"G.\"\"\"\n"}};
  const auto statistics = ComparePrompts(problems, lame);
  ASSERT_TRUE(statistics.ok()) << statistics.status();
  EXPECT_EQ(statistics->problems, 3);
  EXPECT_EQ(statistics->standard_examples, 1);
  EXPECT_EQ(statistics->lame_examples, 0);
  // Lines with their breaks: 10 + 11 + 13 + 8, 10 + 13, 10 + 9 + 10 + 8.
  EXPECT_EQ(statistics->standard_characters, 42 + 23 + 37);
  EXPECT_EQ(statistics->lame_characters, (10 + 15 + 7) + (10 + 11 + 7) + 24);
  EXPECT_EQ(statistics->equal, 1);
  EXPECT_EQ(statistics->prefix, 2);
  EXPECT_EQ(statistics->rule_equal, 3);
  EXPECT_EQ(ComparePrompts(problems, {}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Prompts, DamagedFiles) {
  const auto error = [](const std::string& content) {
    return std::string(
        ReadLamePrompts(TempFile("lame.jsonl", content)).status().message());
  };
  const std::string good = R"({"task_id": "a", "lame_prompt": "p"})";
  EXPECT_TRUE(ReadLamePrompts(TempFile("good.jsonl", good)).ok());
  EXPECT_THAT(error(""), HasSubstr("no records"));
  EXPECT_THAT(error(good + "\n{\"task_id\": \"b\"}\n"),
              HasSubstr("lame.jsonl:2: "));
  EXPECT_THAT(error(good + "\n" + good), HasSubstr(":2: "));
  EXPECT_THAT(error(good + "\n{\"task"), HasSubstr(":2: "));
  EXPECT_THAT(error("[1]"), HasSubstr(":1: "));
  EXPECT_EQ(ReadLamePrompts("/nowhere").status().code(),
            absl::StatusCode::kNotFound);
}

// ---- Released programs -----------------------------------------------------

TEST(Released, Join) {
  const std::string prompt = "def f():\n    '''One.\n    '''\n";
  const std::string open = "def f():\n    '''One.\n    >>>";
  const std::string stripped = "def f():\n    '''One.\n    '''";
  EXPECT_EQ(*JoinProgram(prompt, " f()", Join::kAppended), stripped + " f()");
  EXPECT_EQ(*JoinProgram(prompt, " f()", Join::kReplaced), open + " f()");
  EXPECT_EQ(*JoinProgram(prompt, " f()", Join::kQuotesKept), open + " f()");
  EXPECT_EQ(*JoinProgram(prompt, "\n  1", Join::kReplaced), open + "\n  1");
  EXPECT_EQ(*JoinProgram(prompt, "\n  1", Join::kQuotesKept),
            stripped + "\n  1");
  EXPECT_EQ(JoinProgram("def f():", "", Join::kReplaced).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Released, DamagedFiles) {
  const std::string path =
      TempFile("texts.jsonl", "{\"task_id\": \"a\", \"continuation\": 3}");
  EXPECT_THAT(
      std::string(ReadReleasedTexts(path, "continuation").status().message()),
      HasSubstr("texts.jsonl:1: field \"continuation\""));
  EXPECT_EQ(
      ProgramRequests({{"x", "p", "f", "", "t"}}, {{"y", "t"}}).status().code(),
      absl::StatusCode::kNotFound);
  const auto no_docstring = ContinuationRequests(
      {{"x", "def f():", "f", "", "t"}}, {{"x", "t"}}, Join::kReplaced);
  EXPECT_THAT(std::string(no_docstring.status().message()), HasSubstr("x: "));
}

TEST(Released, Run) {
  if (const absl::Status permitted = exec::NamespacesPermitted();
      !permitted.ok()) {
    GTEST_SKIP() << permitted;
  }
  const std::vector<HumanEvalProblem> problems = {
      {"a", "def f(x):\n    \"\"\" Double.\n    >>> f(1)\n    2\n    \"\"\"\n",
       "f", "", "def check(candidate):\n    assert candidate(3) == 6\n"}};
  const std::vector<ReleasedText> open = {
      {"a", " f(2)\n    4\n    \"\"\"\n    return 2 * x\n"}};
  const auto sandbox = exec::Sandbox::Create();
  ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  const auto outcome = [&](const std::vector<ReleasedText>& texts, Join join) {
    const auto requests = ContinuationRequests(problems, texts, join);
    EXPECT_TRUE(requests.ok()) << requests.status();
    return sandbox->Run(requests->front());
  };
  EXPECT_EQ(outcome(open, Join::kReplaced).outcome, exec::Outcome::kPassed);
  // The text behind the closed docstring is no code.
  EXPECT_THAT(outcome(open, Join::kAppended).exception_type,
              testing::AnyOf("SyntaxError", "IndentationError"));
  const std::vector<ReleasedText> wrong = {{"a", "\n    return x\n"}};
  EXPECT_EQ(outcome(wrong, Join::kQuotesKept).outcome, exec::Outcome::kWrong);
}

// Where the data are at hand: problem 150's continuation lost its beginning.
TEST(Released, RealFiles) {
  const std::string texts_path =
      FindTestAsset("uscd/codellama7b_uscd_humaneval.jsonl.gz");
  const std::string lame_path =
      FindTestAsset("uscd/humaneval_lame_prompts.jsonl.gz");
  const std::string problems_path =
      FindTestAsset("plan_search/humaneval.jsonl.gz");
  if (texts_path.empty() || lame_path.empty() || problems_path.empty()) {
    GTEST_SKIP() << "no data";
  }
  const auto problems = ReadHumanEval(problems_path);
  const auto texts = ReadReleasedTexts(texts_path, "continuation");
  const auto lame = ReadLamePrompts(lame_path);
  ASSERT_TRUE(problems.ok() && texts.ok() && lame.ok());
  EXPECT_EQ(texts->size(), 164u);
  int line_breaks = 0;
  for (const ReleasedText& text : *texts) {
    line_breaks += absl::StartsWith(text.text, "\n");
  }
  EXPECT_EQ(line_breaks, 11);
  EXPECT_TRUE(ContinuationRequests(*problems, *texts, Join::kQuotesKept).ok());
  const auto pairs = HumanEvalPrompts(*problems, *lame);
  ASSERT_TRUE(pairs.ok());
  for (const PromptPair& pair : *pairs) {
    EXPECT_FALSE(absl::StrContains(pair.lame, ">>>"));
  }
}

}  // namespace
}  // namespace repro::uscd
