#include "papers/code_judge_bench/small_judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/assets/test_asset.h"
#include "common/data/io.h"
#include "common/exec/namespaces_permitted.h"
#include "common/exec/sandbox.h"
#include "papers/code_judge_bench/edits.h"
#include "papers/code_judge_bench/pairs.h"

namespace repro::code_judge_bench {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// ------------------------------------------------------------------ pairs

std::string Problem(int number) {
  return json({{"task_id", absl::StrCat("HumanEval/", number)},
               {"prompt", "def f(x):\n"},
               {"entry_point", "f"},
               {"canonical_solution", "    return x\n"},
               {"test", "def check(f):\n    assert f(1) == 1\n"}})
      .dump();
}

std::string CandidateRow(int number, int first, int label,
                         const char* text = "    return x\n") {
  return json({{"task_id", absl::StrCat("HumanEval/", number)},
               {"first", first},
               {"count", 1},
               {"completion", text},
               {"label", label}})
      .dump();
}

absl::StatusOr<std::vector<TaskPool>> PoolsOf(
    const std::vector<std::string>& rows) {
  return ReadPools(
      TempFile("problems.jsonl", absl::StrCat(Problem(0), "\n", Problem(1))),
      TempFile("candidates.jsonl", absl::StrJoin(rows, "\n")));
}

TEST(Pairs, TakeTheFirstOfEachKind) {
  const auto pools = *PoolsOf(
      {CandidateRow(0, 7, 0, "late"), CandidateRow(0, 2, 0, "early"),
       CandidateRow(0, 5, 2), CandidateRow(0, 3, 1), CandidateRow(1, 0, 0)});
  const auto pairs = FirstPairs(pools);
  ASSERT_EQ(pairs.size(), 1);
  EXPECT_EQ(pairs[0].correct->completion, "early");
  EXPECT_EQ(pairs[0].wrong->first, 3);
  EXPECT_TRUE(pairs[0].wrong->raised);
  EXPECT_EQ(CountPairs(pools), 4);
  EXPECT_THAT(ItemOf(pairs[0]).question, HasSubstr("def f(x):"));
}

TEST(Pairs, DrawsAreDifferentAndUniform) {
  std::vector<std::string> rows;
  for (int i = 0; i < 3; ++i) {
    rows.push_back(CandidateRow(0, i, 0));
    rows.push_back(CandidateRow(0, 10 + i, 2));
  }
  const auto pools = *PoolsOf(rows);
  std::map<std::pair<int64_t, int64_t>, int> counts;
  for (uint64_t seed = 0; seed < 900; ++seed) {
    std::mt19937_64 random(seed);
    const auto pairs = DrawPairs(pools, 4, random);
    ASSERT_EQ(pairs.size(), 4);
    std::set<std::pair<int64_t, int64_t>> distinct;
    for (const Pair& pair : pairs) {
      distinct.insert({pair.correct->first, pair.wrong->first});
    }
    ASSERT_EQ(distinct.size(), 4);
    for (const auto& pair : distinct) ++counts[pair];
  }
  // 400 each, with a standard deviation of 15.
  ASSERT_EQ(counts.size(), 9);
  for (const auto& [pair, count] : counts) EXPECT_NEAR(count, 400, 75);
  std::mt19937_64 random(0);
  EXPECT_EQ(DrawPairs(pools, 100, random).size(), 9);
  EXPECT_TRUE(DrawPairs(pools, 0, random).empty());
  EXPECT_TRUE(DrawPairs(pools, -1, random).empty());
}

TEST(Pairs, ReportWhatIsWrongWithAPool) {
  const auto error_of = [](const std::string& row) {
    const auto pools = PoolsOf({CandidateRow(0, 0, 0), row});
    EXPECT_TRUE(absl::IsInvalidArgument(pools.status())) << row;
    return std::string(pools.status().message());
  };
  EXPECT_THAT(error_of(CandidateRow(9, 0, 0)), HasSubstr("candidates.jsonl:2"));
  EXPECT_THAT(error_of(CandidateRow(0, -1, 0)), HasSubstr("\"first\""));
  EXPECT_THAT(error_of(CandidateRow(0, 0, 3)), HasSubstr("label 3"));
  EXPECT_THAT(error_of("{}"), HasSubstr("\"task_id\""));
  EXPECT_TRUE(absl::IsNotFound(ReadPools("/none", "/none").status()));
}

TEST(Pairs, OfThePool) {
  const std::string problems = FindTestAsset("rank_ef/humaneval164.jsonl.gz");
  const std::string candidates =
      FindTestAsset("rank_ef/humaneval_codegen16b_feedback.jsonl.gz");
  if (problems.empty() || candidates.empty()) GTEST_SKIP() << "no asset";
  const auto pools = *ReadPools(problems, candidates);
  EXPECT_EQ(pools.size(), 164);
  EXPECT_EQ(FirstPairs(pools).size(), 121);
}

// ------------------------------------------------------------------ edits

constexpr char kPrompt[] = "def f(xs):\n";
constexpr char kBody[] =
    "    total = 0\n"
    "    for x in xs:\n"
    "        total += x\n"
    "    if total: return total\n"
    "    return sorted(xs, key=lambda y: y)[0]\n";

std::string Edit(const std::string& prompt, const std::string& body,
                 const EditOptions& options, uint64_t seed = 0) {
  std::mt19937_64 random(seed);
  return *EditCompletion(prompt, body, options, random);
}

TEST(EditCompletion, RenamesVariablesOfFunctionsAlone) {
  const std::string edited = Edit(kPrompt, kBody, {});
  EXPECT_THAT(edited, Not(HasSubstr("total")));
  EXPECT_THAT(edited, Not(HasSubstr("for x in")));
  EXPECT_THAT(edited, HasSubstr(" in xs:"));
  EXPECT_THAT(edited, HasSubstr("sorted(xs, key=lambda "));
  EXPECT_EQ(Edit(kPrompt, kBody, {}), edited);
  EditOptions none;
  none.rename = false;
  EXPECT_EQ(Edit(kPrompt, kBody, none), kBody);
}

TEST(EditCompletion, LeavesNamesThatOthersSee) {
  const std::string bodies[] = {
      "    import math as m\n    return m.floor(xs)\n",
      "    g(key=1)\n    key = 2\n    return key\n",
      "    def helper(): pass\n    return helper()\n",
      "    v = 1\n    return eval('v')\n",
      "    global count\n    count = 1\n",
      "    v = (\n",  // does not parse
      "    return missing\n",
      "",
  };
  for (const std::string& body : bodies) {
    EXPECT_EQ(Edit(kPrompt, body, {}), body);
  }
  // A member is no variable, and a name outside is another one.
  const std::string member =
      Edit(kPrompt, "    n = 1\n    return xs.n + n\n", {});
  EXPECT_THAT(member, HasSubstr("xs.n + "));
  EXPECT_THAT(member, Not(HasSubstr("    n = 1")));
}

TEST(EditCompletion, NewNamesAreNewAndDifferent) {
  std::string body;
  for (int i = 0; i < 40; ++i)
    absl::StrAppend(&body, "    v", i, " = ", i, "\n");
  absl::StrAppend(&body, "    checked = expected = 1\n    return (");
  for (int i = 0; i < 40; ++i) absl::StrAppend(&body, "v", i, ", ");
  absl::StrAppend(&body, "checked, expected)\n");
  const std::string edited = Edit(kPrompt, body, {});
  std::set<std::string> names;
  for (const absl::string_view line : absl::StrSplit(edited, '\n')) {
    const size_t equals = line.find(" = ");
    if (equals != absl::string_view::npos) {
      names.insert(std::string(line.substr(4, equals - 4)));
    }
  }
  EXPECT_EQ(names.size(), 41);
}

TEST(EditCompletion, PutsCommentsBeforeReturns) {
  EditOptions options;
  options.rename = false;
  options.comments = Comments::kDoubt;
  const std::string edited = Edit(kPrompt, kBody, options);
  const std::vector<std::string> lines = absl::StrSplit(edited, '\n');
  ASSERT_EQ(lines.size(), 7);  // one more, and the end
  EXPECT_EQ(lines[3], "    if total: return total");
  EXPECT_THAT(lines[4], testing::StartsWith("    # "));
  EXPECT_THAT(lines[5], testing::StartsWith("    return sorted"));
  // Behind a backslash a comment would end the statement.
  const std::string continued = "    if xs: \\\n    return 1\n";
  EXPECT_EQ(Edit(kPrompt, continued, options), continued);
}

TEST(EditCompletion, KeepsWhatProgramsDo) {
  const absl::Status permitted = exec::NamespacesPermitted();
  if (!permitted.ok()) GTEST_SKIP() << permitted;
  const auto sandbox = exec::Sandbox::Create();
  ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  const std::string bodies[] = {
      kBody,
      "    total = sum(v for v in xs)\n"
      "    def inner(y):\n        nonlocal total\n        total += y\n"
      "        return total\n"
      "    return inner(0)\n",
      "    best = {n: i for i, n in enumerate(xs)}\n"
      "    text = f'{len(best)}'\n"
      "    try:\n        total = sum(xs)\n    except TypeError as error:\n"
      "        raise error\n"
      "    return total if text else 0\n",
      "    a, *rest = xs\n    with open('/dev/null') as file:\n"
      "        file.read()\n    while (n := len(rest)) > 5: pass\n"
      "    return a + sum(rest)\n",
  };
  for (const std::string& body : bodies) {
    EditOptions options;
    options.comments = Comments::kPraise;
    exec::ExecRequest request;
    request.mode = exec::Mode::kTests;
    request.program = absl::StrCat(kPrompt, Edit(kPrompt, body, options));
    request.tests = "assert f([1, 2, 3]) == 6\n";
    EXPECT_EQ(sandbox->Run(request).outcome, exec::Outcome::kPassed)
        << request.program;
    request.tests = "assert f([1, 2, 3]) == 7\n";
    EXPECT_EQ(sandbox->Run(request).outcome, exec::Outcome::kWrong);
  }
}

// ------------------------------------------------------------ small judges

TEST(FeaturesOf, CountsTokensAndPairs) {
  // FNV-1a of "a" is 0xaf63dc4c8601ec8c (the authors' test vectors).
  const TextFeatures one = FeaturesOf("a");
  ASSERT_EQ(one.weights.size(), 1);
  EXPECT_EQ(one.weights[0].first, 0xc8c);
  EXPECT_EQ(one.weights[0].second, 1);
  EXPECT_DOUBLE_EQ(one.log_length, std::log(2) / 5);
  // Tokens a, a, +; pairs a a, a +.
  const TextFeatures more = FeaturesOf("  a\na+");
  double norm = 0, largest = 0;
  for (const auto& [feature, weight] : more.weights) {
    norm += weight * weight;
    largest = std::max(largest, weight);
  }
  EXPECT_EQ(more.weights.size(), 4);
  EXPECT_DOUBLE_EQ(norm, 1);
  EXPECT_DOUBLE_EQ(
      largest,
      std::log(3) / std::hypot(std::log(3), std::log(2) * std::sqrt(3)));
  EXPECT_TRUE(FeaturesOf("").weights.empty());
  EXPECT_EQ(FeaturesOf(" \n").log_length, 0);
}

TEST(Network, OutputAndGradientAgree) {
  const TextFeatures a = FeaturesOf("for x in xs: total += x");
  const TextFeatures b = FeaturesOf("return total");
  Network network(2, 3, 4, 7);
  const double base = network.Output({&a, &b});
  network.AddGradient({&a, &b}, 2);
  const std::vector<double> gradient = network.gradient();
  size_t nonzero = 0;
  for (size_t i = 0; i < gradient.size(); ++i) {
    if (gradient[i] == 0) continue;
    ++nonzero;
    double& parameter = network.parameters()[i];
    const double kept = parameter;
    constexpr double kStep = 1e-6;
    parameter = kept + kStep;
    const double up = network.Output({&a, &b});
    parameter = kept - kStep;
    const double down = network.Output({&a, &b});
    parameter = kept;
    EXPECT_NEAR(gradient[i], 2 * (up - down) / (2 * kStep), 1e-6) << i;
  }
  EXPECT_GT(nonzero, 3 * a.weights.size());
  // A step goes down, and leaves no gradient.
  network.Step(1e-3);
  EXPECT_LT(network.Output({&a, &b}), base);
  for (const double left : network.gradient()) EXPECT_EQ(left, 0);
}

TEST(Network, AdagradsFirstStepIsTheRate) {
  Network network(1, 2, 2, 0);
  const TextFeatures text = FeaturesOf("x");
  const double before = network.parameters().back();
  network.AddGradient({&text}, -3);
  network.Step(0.25);
  EXPECT_DOUBLE_EQ(network.parameters().back(), before + 0.25);
  // The second of the same gradient: rate / sqrt(2).
  network.AddGradient({&text}, -3);
  network.Step(0.25);
  EXPECT_DOUBLE_EQ(network.parameters().back(),
                   before + 0.25 + 0.25 / std::sqrt(2));
}

// Correct answers hold the word "sound".
struct ToyPairs {
  std::vector<TextFeatures> questions, correct, wrong;
  std::vector<TrainingPair> pairs;

  explicit ToyPairs(uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < 100; ++i) {
      const auto noise = [&] {
        return absl::StrCat("w", random() % 30, " w", random() % 30);
      };
      questions.push_back(FeaturesOf(noise()));
      correct.push_back(FeaturesOf(absl::StrCat(noise(), " sound ", noise())));
      wrong.push_back(FeaturesOf(absl::StrCat(noise(), " flawed ", noise())));
    }
    for (size_t i = 0; i < questions.size(); ++i) {
      pairs.push_back({&questions[i], &correct[i], &wrong[i]});
    }
  }
};

TEST(SmallJudge, EveryDesignLearnsAToy) {
  const ToyPairs train(1), test(2);
  for (const Design design :
       {Design::kPointwise, Design::kConcatenated, Design::kDifference}) {
    for (const bool both_orders : {false, true}) {
      SmallJudgeOptions options;
      options.design = design;
      options.both_orders = both_orders;
      const SmallJudge judge = SmallJudge::Train(train.pairs, options, 3);
      int right = 0;
      for (const TrainingPair& pair : test.pairs) {
        right +=
            judge.Preference(*pair.question, *pair.correct, *pair.wrong) > 0;
        right +=
            judge.Preference(*pair.question, *pair.wrong, *pair.correct) < 0;
      }
      EXPECT_GT(right, 180) << static_cast<int>(design) << both_orders;
    }
  }
}

TEST(SmallJudge, ScoresOfSingleAnswersAreAntisymmetric) {
  const ToyPairs train(1);
  const TrainingPair& pair = train.pairs[0];
  for (const Design design : {Design::kPointwise, Design::kDifference}) {
    SmallJudgeOptions options;
    options.design = design;
    const SmallJudge judge = SmallJudge::Train(train.pairs, options, 3);
    EXPECT_EQ(judge.Preference(*pair.question, *pair.correct, *pair.wrong),
              -judge.Preference(*pair.question, *pair.wrong, *pair.correct));
  }
}

TEST(SmallJudge, TheSameSeedGivesTheSameJudge) {
  const ToyPairs train(1);
  const TrainingPair& pair = train.pairs[0];
  const auto preference = [&](uint64_t seed) {
    return SmallJudge::Train(train.pairs, {}, seed)
        .Preference(*pair.question, *pair.correct, *pair.wrong);
  };
  EXPECT_EQ(preference(4), preference(4));
  EXPECT_NE(preference(4), preference(5));
  // Without pairs it is what the seed drew.
  EXPECT_TRUE(std::isfinite(SmallJudge::Train({}, {}, 0).Preference(
      *pair.question, *pair.correct, *pair.wrong)));
}

}  // namespace
}  // namespace repro::code_judge_bench
