#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/completion/scripted.h"
#include "papers/plan_search/diversity.h"
#include "papers/plan_search/language_model_thinker.h"
#include "papers/plan_search/scoring.h"
#include "papers/plan_search/search.h"
#include "papers/plan_search/simulation.h"

namespace repro::plan_search {
namespace {

using completion::CompletionRequest;
using completion::ScriptedClient;
using completion::TextCompletion;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;
using testing::UnorderedElementsAre;

using Strings = std::vector<std::string>;

// ------------------------------------------------------------------- subsets

TEST(SubsetsUpTo, AreInTheOrderOfPythonsCombinations) {
  EXPECT_THAT(
      SubsetsUpTo({"a", "b", "c"}, 2),
      ElementsAre(Strings{}, Strings{"a"}, Strings{"b"}, Strings{"c"},
                  Strings{"a", "b"}, Strings{"a", "c"}, Strings{"b", "c"}));
  EXPECT_THAT(SubsetsUpTo({"a"}, 5), ElementsAre(Strings{}, Strings{"a"}));
  EXPECT_THAT(SubsetsUpTo({}, 2), ElementsAre(Strings{}));
  EXPECT_THAT(SubsetsUpTo({"a", "b"}, 0), ElementsAre(Strings{}));
}

TEST(SubsetsUpTo, AreThoseOfABitMask) {
  Strings letters;
  for (char c = 'a'; c < 'h'; ++c) letters.push_back(std::string(1, c));
  for (int most = 0; most <= 7; ++most) {
    std::set<Strings> expected;
    for (int mask = 0; mask < 128; ++mask) {
      Strings subset;
      for (int i = 0; i < 7; ++i) {
        if ((mask >> i) & 1) subset.push_back(letters[i]);
      }
      if (static_cast<int>(subset.size()) <= most) expected.insert(subset);
    }
    const auto subsets = SubsetsUpTo(letters, most);
    EXPECT_EQ(std::set<Strings>(subsets.begin(), subsets.end()), expected);
    EXPECT_EQ(SubsetCount(7, most), static_cast<int64_t>(expected.size()));
    EXPECT_THAT(subsets, SizeIs(expected.size()));
  }
}

TEST(SubsetCount, OfAtMostTwo) {
  EXPECT_EQ(SubsetCount(0, 2), 1);
  EXPECT_EQ(SubsetCount(1, 2), 2);
  EXPECT_EQ(SubsetCount(3, 2), 7);
  EXPECT_EQ(SubsetCount(10, 2), 56);
}

// -------------------------------------------------------------------- search

// Finds the next of `lists` at each expansion, then the last again; everything
// else names its input.
class ListThinker : public Thinker {
 public:
  explicit ListThinker(std::vector<Strings> lists) : lists_(std::move(lists)) {}

  std::vector<std::pair<Strings, bool>> expanded;
  std::string fails_at;

  absl::StatusOr<Observations> Observe(const Problem&,
                                       const Observations& given,
                                       bool root) override {
    if (fails_at == "observe") return absl::UnavailableError("observe");
    const size_t at = std::min(expanded.size(), lists_.size() - 1);
    expanded.emplace_back(given, root);
    return lists_[at];
  }
  absl::StatusOr<std::string> Sketch(
      const Problem&, const Observations& observations) override {
    if (fails_at == "sketch") return absl::UnavailableError("sketch");
    return absl::StrCat("{", absl::StrJoin(observations, ","), "}");
  }
  absl::StatusOr<std::string> Fix(const Problem&,
                                  const std::string& sketch) override {
    if (fails_at == "fix") return absl::UnavailableError("fix");
    return absl::StrCat("fix ", sketch);
  }
  absl::StatusOr<std::string> Implement(const Problem&,
                                        const std::string& idea) override {
    if (fails_at == "implement") return absl::UnavailableError("implement");
    return absl::StrCat("code ", idea);
  }
  absl::StatusOr<std::string> Program(const Problem&,
                                      uint64_t sample) override {
    return absl::StrCat("program ", sample);
  }
  absl::StatusOr<std::string> Idea(const Problem&, uint64_t sample) override {
    return absl::StrCat("idea ", sample);
  }
  absl::StatusOr<std::string> ImplementIdea(const Problem&,
                                            const std::string& idea,
                                            uint64_t sample) override {
    return absl::StrCat("code ", idea, " ", sample);
  }

 private:
  const std::vector<Strings> lists_;
};

SearchResult Search(ListThinker& thinker, const PlanSearchOptions& options) {
  std::mt19937_64 generator(3);
  const auto result = PlanSearch(Problem(), thinker, options, generator);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *result : SearchResult();
}

Strings Programs(const SearchResult& result) {
  Strings programs;
  for (const Candidate& candidate : result.candidates) {
    programs.push_back(candidate.program);
  }
  return programs;
}

TEST(PlanSearch, OneLayerWithoutFixesIsOneProgramASubset) {
  ListThinker thinker({Strings{"a", "b", "c"}});
  PlanSearchOptions options;
  options.layers = 1;
  options.fix = false;
  EXPECT_THAT(
      Programs(Search(thinker, options)),
      UnorderedElementsAre("code {}", "code {a}", "code {b}", "code {c}",
                           "code {a,b}", "code {a,c}", "code {b,c}"));
  EXPECT_THAT(thinker.expanded, ElementsAre(std::pair(Strings{}, true)));
}

TEST(PlanSearch, ExpandsEveryChildAndKeepsEveryNode) {
  // The root has a; its children, () and (a), have x and y in their order.
  ListThinker thinker({Strings{"a"}, Strings{"x"}, Strings{"y"}});
  const SearchResult result = Search(thinker, {});
  EXPECT_THAT(Programs(result),
              UnorderedElementsAre("code {}", "code fix {}", "code {a}",
                                   "code fix {a}", "code {x}", "code fix {x}",
                                   "code {y}", "code fix {y}"));
  ASSERT_THAT(thinker.expanded, SizeIs(3));
  EXPECT_EQ(thinker.expanded[0], std::pair(Strings{}, true));
  // The empty combination below the root is not the root.
  EXPECT_THAT((std::set<std::pair<Strings, bool>>(thinker.expanded.begin() + 1,
                                                  thinker.expanded.end())),
              UnorderedElementsAre(std::pair(Strings{}, false),
                                   std::pair(Strings{"a"}, false)));
  EXPECT_EQ(result.expanded, 3);
  EXPECT_EQ(result.combinations, 4);
  for (const Candidate& candidate : result.candidates) {
    EXPECT_EQ(candidate.idea,
              absl::StrCat(candidate.fixed ? "fix {" : "{",
                           absl::StrJoin(candidate.observations, ","), "}"));
  }
}

TEST(PlanSearch, LeavesHaveTheEmptyCombinationOncePerParent) {
  ListThinker thinker({Strings{"a"}, Strings{"x"}, Strings{"y"}});
  PlanSearchOptions options;
  options.collect = Collect::kLeaves;
  options.fix = false;
  EXPECT_THAT(
      Programs(Search(thinker, options)),
      UnorderedElementsAre("code {}", "code {}", "code {x}", "code {y}"));
}

TEST(PlanSearch, EqualCombinationsCountOnce) {
  ListThinker thinker({Strings{"a", "b"}});  // the same two everywhere
  const SearchResult result = Search(thinker, {});
  EXPECT_EQ(result.expanded, 5);
  EXPECT_EQ(result.combinations, 4);
  EXPECT_THAT(result.candidates, SizeIs(8));
}

TEST(PlanSearch, WithoutObservationsThereIsTheProblemAlone) {
  ListThinker thinker({Strings{}});
  EXPECT_THAT(Programs(Search(thinker, {})),
              UnorderedElementsAre("code {}", "code fix {}"));
  ListThinker unasked({Strings{"a"}});
  PlanSearchOptions options;
  options.layers = 0;
  EXPECT_THAT(Search(unasked, options).candidates, SizeIs(2));
  EXPECT_THAT(unasked.expanded, IsEmpty());
}

TEST(PlanSearch, TheGeneratorDecidesTheOrderAlone) {
  const auto programs = [](uint64_t seed) {
    ListThinker thinker({Strings{"a", "b", "c"}});
    std::mt19937_64 generator(seed);
    return Programs(*PlanSearch(Problem(), thinker, {}, generator));
  };
  EXPECT_EQ(programs(3), programs(3));
  EXPECT_NE(programs(3), programs(4));
  Strings a = programs(3), b = programs(4);
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  EXPECT_EQ(a, b);
}

TEST(PlanSearch, ErrorsEndIt) {
  for (const char* step : {"observe", "sketch", "fix", "implement"}) {
    ListThinker thinker({Strings{"a"}});
    thinker.fails_at = step;
    std::mt19937_64 generator(3);
    const auto result = PlanSearch(Problem(), thinker, {}, generator);
    EXPECT_TRUE(absl::IsUnavailable(result.status())) << step;
    EXPECT_EQ(result.status().message(), step);
  }
  ListThinker thinker({Strings{"a"}});
  std::mt19937_64 generator(3);
  PlanSearchOptions options;
  options.max_subset = -1;
  EXPECT_TRUE(absl::IsInvalidArgument(
      PlanSearch(Problem(), thinker, options, generator).status()));
  options = {};
  options.layers = -1;
  EXPECT_TRUE(absl::IsInvalidArgument(
      PlanSearch(Problem(), thinker, options, generator).status()));
}

TEST(Shuffle, GivesEveryOrderAsOften) {
  std::mt19937_64 generator(1);
  std::map<Strings, int> counts;
  for (int i = 0; i < 6000; ++i) {
    Strings letters = {"a", "b", "c"};
    Shuffle(letters, generator);
    ++counts[letters];
  }
  EXPECT_THAT(counts, SizeIs(6));
  // Binomial(6000, 1/6): 1000 with a standard deviation of 29.
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 150);
}

TEST(Baselines, TellEqualRequestsApart) {
  ListThinker thinker({Strings{}});
  const auto programs = *RepeatedSampling(Problem(), thinker, 2);
  ASSERT_THAT(programs, SizeIs(2));
  EXPECT_EQ(programs[1].program, "program 1");
  const auto ideas = *IdeaSearch(Problem(), thinker, 2);
  ASSERT_THAT(ideas, SizeIs(2));
  EXPECT_EQ(ideas[1].idea, "idea 1");
  EXPECT_EQ(ideas[1].program, "code idea 1 1");
  EXPECT_THAT(*RepeatedSampling(Problem(), thinker, 0), IsEmpty());
}

// ------------------------------------------------------------------- scoring

std::vector<Sample> Samples(int wrong, int wrong_but_public, int right) {
  std::vector<Sample> samples(wrong);
  samples.insert(samples.end(), wrong_but_public, {true, false});
  samples.insert(samples.end(), right, {true, true});
  return samples;
}

double Pass(const std::vector<std::vector<Sample>>& problems, int64_t k,
            Filter filter = Filter::kNone) {
  return *MeanPassAtK(problems, k, filter);
}

TEST(MeanPassAtK, WorkedExamples) {
  EXPECT_DOUBLE_EQ(Pass({Samples(7, 0, 3)}, 1), 0.3);
  EXPECT_NEAR(Pass({Samples(7, 0, 3)}, 5), 11.0 / 12, 1e-12);
  EXPECT_DOUBLE_EQ(Pass({Samples(7, 0, 3)}, 8), 1);
  EXPECT_DOUBLE_EQ(Pass({Samples(1, 0, 1)}, 1), 0.5);
  EXPECT_DOUBLE_EQ(Pass({Samples(1, 0, 1)}, 2), 1);
  EXPECT_DOUBLE_EQ(Pass({Samples(1, 0, 1), Samples(2, 0, 0)}, 2), 0.5);
}

TEST(MeanPassAtK, FewerProgramsAreFilledUpWithWrongOnes) {
  EXPECT_DOUBLE_EQ(Pass({Samples(2, 0, 0)}, 5), 0);
  EXPECT_DOUBLE_EQ(Pass({Samples(2, 0, 1)}, 5), 1);
  EXPECT_DOUBLE_EQ(Pass({{}, Samples(0, 0, 1)}, 1), 0.5);
}

TEST(MeanPassAtK, PublicTestsLeaveFewerToDrawFrom) {
  // 1 of 2 programs that pass the public tests is right, 1 of 10 of all.
  const std::vector<std::vector<Sample>> problems = {Samples(8, 1, 1)};
  EXPECT_DOUBLE_EQ(Pass(problems, 1), 0.1);
  EXPECT_DOUBLE_EQ(Pass(problems, 1, Filter::kPublic), 0.5);
  EXPECT_DOUBLE_EQ(Pass(problems, 2, Filter::kPublic), 1);
  // None passes them.
  EXPECT_DOUBLE_EQ(Pass({Samples(3, 0, 0)}, 1, Filter::kPublic), 0);
  // A right program that they reject is lost.
  EXPECT_DOUBLE_EQ(Pass({{{false, true}}}, 1, Filter::kPublic), 0);
}

// The share of the k-subsets of kept programs that hold a right one, by going
// through all of them.
double PassByEnumeration(const std::vector<Sample>& samples, int k,
                         Filter filter) {
  std::vector<bool> right;
  for (const Sample& sample : samples) {
    if (filter == Filter::kNone || sample.passes_public) {
      right.push_back(sample.right);
    }
  }
  while (static_cast<int>(right.size()) < k) right.push_back(false);
  int with = 0, all = 0;
  for (int mask = 0; mask < (1 << right.size()); ++mask) {
    int size = 0;
    bool any = false;
    for (size_t i = 0; i < right.size(); ++i) {
      if (((mask >> i) & 1) == 0) continue;
      ++size;
      any = any || right[i];
    }
    if (size != k) continue;
    ++all;
    with += any;
  }
  return static_cast<double>(with) / all;
}

TEST(MeanPassAtK, IsTheShareOfAllSubsets) {
  std::mt19937_64 generator(5);
  for (int trial = 0; trial < 60; ++trial) {
    std::vector<std::vector<Sample>> problems(3);
    for (auto& problem : problems) {
      for (uint64_t n = generator() % 8; n > 0; --n) {
        problem.push_back({generator() % 2 == 0, generator() % 3 == 0});
      }
    }
    for (int k = 1; k <= 8; ++k) {
      for (const Filter filter : {Filter::kNone, Filter::kPublic}) {
        double expected = 0;
        for (const auto& problem : problems) {
          expected += PassByEnumeration(problem, k, filter) / 3;
        }
        EXPECT_NEAR(Pass(problems, k, filter), expected, 1e-12);
      }
    }
  }
}

TEST(MeanPassAtK, RefusesNothing) {
  EXPECT_TRUE(
      absl::IsInvalidArgument(MeanPassAtK({}, 1, Filter::kNone).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      MeanPassAtK({Samples(1, 0, 1)}, 0, Filter::kNone).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      MeanPassAtK({Samples(1, 0, 1)}, -1, Filter::kPublic).status()));
}

TEST(ExpectedPassAtK, IsWhatDrawsGive) {
  EXPECT_DOUBLE_EQ(*ExpectedPassAtK({0.5}, 3), 0.875);
  EXPECT_DOUBLE_EQ(*ExpectedPassAtK({0, 1}, 7), 0.5);
  EXPECT_NEAR(*ExpectedPassAtK({1e-12}, 1000), 1e-9, 1e-17);
  EXPECT_TRUE(absl::IsInvalidArgument(ExpectedPassAtK({}, 1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ExpectedPassAtK({0.5}, 0).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ExpectedPassAtK({1.5}, 1).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(ExpectedPassAtK({std::nan("")}, 1).status()));
}

// Over the numbers of right programs: the mean of pass@k, and of its square.
std::pair<double, double> Moments(int n, int k, double p) {
  double mean = 0, square = 0;
  for (int right = 0; right <= n; ++right) {
    double probability = 1;
    for (int i = 0; i < right; ++i) {
      probability *= p * (n - i) / (right - i);
    }
    for (int i = right; i < n; ++i) probability *= 1 - p;
    const double pass = Pass({Samples(n - right, 0, right)}, k);
    mean += probability * pass;
    square += probability * pass * pass;
  }
  return {mean, square};
}

TEST(PassAtKVariance, IsThatOfAnUnbiasedEstimator) {
  for (const int n : {1, 4, 17, 60}) {
    for (const int k : {1, 2, 5, 17}) {
      if (k > n) continue;
      for (const double p : {0.02, 0.3, 0.9}) {
        const auto [mean, square] = Moments(n, k, p);
        EXPECT_NEAR(mean, *ExpectedPassAtK({p}, k), 1e-12);
        EXPECT_NEAR(*PassAtKVariance(n, k, p), square - mean * mean, 1e-12);
      }
    }
  }
}

TEST(PassAtKVariance, IsABinomialsAtBothEnds) {
  // k = 1: of a mean of n draws. k = n: of one draw of "any is right".
  EXPECT_NEAR(*PassAtKVariance(200, 1, 0.3), 0.3 * 0.7 / 200, 1e-12);
  const double none = std::pow(0.998, 200);
  EXPECT_NEAR(*PassAtKVariance(200, 200, 0.002), none * (1 - none), 1e-12);
  EXPECT_EQ(*PassAtKVariance(10, 3, 0), 0);
  EXPECT_EQ(*PassAtKVariance(10, 3, 1), 0);
}

TEST(PassAtKVariance, IsTheSpreadOfDraws) {
  std::mt19937_64 generator(11);
  constexpr int kDraws = 20000, kPrograms = 30, kK = 10;
  double sum = 0, square = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    int right = 0;
    for (int i = 0; i < kPrograms; ++i) right += generator() % 20 == 0;
    const double pass = Pass({Samples(kPrograms - right, 0, right)}, kK);
    sum += pass;
    square += pass * pass;
  }
  const double mean = sum / kDraws;
  EXPECT_NEAR(square / kDraws - mean * mean,
              *PassAtKVariance(kPrograms, kK, 0.05), 0.002);
}

TEST(PassAtKVariance, RefusesWhatHasNone) {
  for (const auto& [n, k, p] :
       {std::tuple(3, 4, 0.5), std::tuple(3, 0, 0.5), std::tuple(0, 0, 0.5),
        std::tuple(3, 1, -0.1), std::tuple(3, 1, 1.1),
        std::tuple(1'000'000, 1, 0.5)}) {
    EXPECT_TRUE(absl::IsInvalidArgument(PassAtKVariance(n, k, p).status()));
  }
}

TEST(RelativeGain, IsRelativeToOneProgram) {
  // Table 1, GPT-4o on LiveCodeBench.
  EXPECT_NEAR(*RelativeGain(0.413, 0.730), 0.7676, 5e-5);
  EXPECT_TRUE(absl::IsInvalidArgument(RelativeGain(0, 0.5).status()));
}

TEST(Diversity, IsTheShareOfPairsThatDiffer) {
  EXPECT_EQ(*Diversity(780, 780), 0);
  EXPECT_EQ(*Diversity(0, 780), 1);
  EXPECT_NEAR(*Diversity(1, 3), 2.0 / 3, 1e-15);
  EXPECT_TRUE(absl::IsInvalidArgument(Diversity(0, 0).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Diversity(4, 3).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Diversity(-1, 3).status()));
}

// ------------------------------------------------------------------- parsing

TEST(ExtractBlock, TakesTheFirst) {
  EXPECT_EQ(ExtractBlock("Sure:\n```python\na = 1\n\nb\n```\n```\nc\n```"),
            "a = 1\n\nb\n");
  EXPECT_EQ(ExtractBlock("  ```\n  x\n\t``` end\ny"), "  x\n");
  EXPECT_EQ(ExtractBlock("```\nnever closed"), "never closed\n");
  EXPECT_EQ(ExtractBlock("```\nnever closed\n"), "never closed\n\n");
  EXPECT_EQ(ExtractBlock("```\n```\nx\n```"), "");
  EXPECT_EQ(ExtractBlock("x = 1"), "");
  EXPECT_EQ(ExtractBlock("`x`"), "");
  EXPECT_EQ(ExtractBlock(""), "");
  // As coded: a fence that is not at the start of its line is text.
  EXPECT_EQ(ExtractBlock("code: ```x\n```\ny\n```"), "y\n");
}

// Values of ast.literal_eval in CPython 3.11.
TEST(ParseStringList, ReadsWhatPythonReads) {
  const std::pair<const char*, Strings> cases[] = {
      {"[]", {}},
      {"[ ]\n", {}},
      {R"(["a", 'b',])", {"a", "b"}},
      {"[\n    \"one, two\",  # first\n    'it''s'\n]", {"one, two", "its"}},
      {R"(["say \"x\"", 'don\'t', "tab\tend\\"])",
       {"say \"x\"", "don't", "tab\tend\\"}},
      {R"([r"\d+\"", u'x'])", {R"(\d+\")", "x"}},
      {R"(["""a
"quoted" b""", '''c''d'''])",
       {"a\n\"quoted\" b", "c''d"}},
      {R"(["\x41\u00e9\U0001F600\101\0z"])",
       {std::string("A\xC3\xA9\xF0\x9F\x98\x80"
                    "A\0z",
                    10)}},
      {R"(["O(n\^2) \leq"])", {R"(O(n\^2) \leq)"}},
      {"['a\\\nb']", {"ab"}},
      {"[\"\"]", {""}},
      {"[\"\" \"\"]", {""}},
      {"[\"#1\", \"]\"]", {"#1", "]"}},
  };
  for (const auto& [text, expected] : cases) {
    const auto parsed = ParseStringList(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(*parsed, expected) << text;
  }
}

TEST(ParseStringList, RefusesWhatIsNoListOfStrings) {
  for (const char* text : {"",
                           "[",
                           "]",
                           "[\"a\"",
                           "[\"a]",
                           "\"a\"",
                           "(\"a\",)",
                           "{\"a\"}",
                           "[1]",
                           "[\"a\", 1]",
                           "[None]",
                           "[\"a\" + \"b\"]",
                           "[\"a\",, \"b\"]",
                           "[,]",
                           "[[\"a\"]]",
                           "[\"a\"] * 3",
                           "[\"a\"]; import os",
                           "[str(1)]",
                           "[\"a\nb\"]",
                           "['\\x4']",
                           "['\\u12']",
                           "['\\ud800']",
                           "['\\U00110000']",
                           "['\\N{BULLET}']",
                           "[b'a']",
                           "[f'a']",
                           "x = [\"a\"]",
                           "['''a]",
                           "['a\\",
                           "[r'\\']",
                           "[\"a\"] # ok\nx"}) {
    EXPECT_EQ(ParseStringList(text), std::nullopt) << text;
  }
  EXPECT_EQ(ParseStringList(std::string(1'000'000, '[')), std::nullopt);
}

// ----------------------------------------------------------- language model

Problem StdinProblem() { return {"Print the SUM of two numbers.", ""}; }
Problem FunctionProblem() { return {"Add two numbers.", "def add(a, b):\n"}; }

const std::string& LastUser(const CompletionRequest& request) {
  EXPECT_EQ(request.messages.back().role, "user");
  return request.messages.back().content;
}

TEST(Observe, IsOneConversationOfFour) {
  ScriptedClient client({"thoughts", "listed", "filtered",
                         "```python\n[\"first\", \"second\"]\n```"});
  LanguageModelThinker thinker(&client);
  EXPECT_THAT(*thinker.Observe(StdinProblem(), {}, /*root=*/true),
              ElementsAre("first", "second"));
  const auto requests = client.requests();
  ASSERT_THAT(requests, SizeIs(4));
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_THAT(requests[i].messages, SizeIs(2 + 2 * i));
    EXPECT_EQ(requests[i].messages[0].role, "system");
    EXPECT_EQ(requests[i].max_tokens, 4096);
    EXPECT_EQ(requests[i].top_p, 0.95);
    EXPECT_EQ(requests[i].temperature, i < 3 ? 0.9 : 0.0);
    EXPECT_EQ(requests[i].seed.has_value(), i < 3);
  }
  EXPECT_THAT(LastUser(requests[0]),
              AllOf(HasSubstr("the SUM of two"), HasSubstr("Write 10 ")));
  EXPECT_EQ(requests[3].messages[2].content, "thoughts");
  EXPECT_EQ(requests[3].messages[4].content, "listed");
  EXPECT_EQ(requests[3].messages[6].content, "filtered");
  EXPECT_EQ(requests[3].messages[6].role, "assistant");
  EXPECT_EQ(thinker.usage().requests, 4);
}

TEST(Observe, ShowsWhatItDerivesFrom) {
  const auto first_prompt = [](const Observations& given) {
    ScriptedClient client({"a", "b", "c", "```\n[]\n```"});
    LanguageModelThinker thinker(&client);
    EXPECT_THAT(*thinker.Observe(StdinProblem(), given, /*root=*/false),
                IsEmpty());
    return LastUser(client.requests()[0]);
  };
  EXPECT_THAT(first_prompt({}), HasSubstr("No observations are necessary"));
  EXPECT_THAT(first_prompt({"ONE"}),
              AllOf(HasSubstr("This observation is"), HasSubstr("- ONE\n")));
  EXPECT_THAT(first_prompt({"ONE", "TWO"}),
              AllOf(HasSubstr("These observations are"), HasSubstr("- ONE\n"),
                    HasSubstr("- TWO\n"), HasSubstr("joining")));
}

TEST(Observe, AsksForTheListThreeTimes) {
  ScriptedClient client(
      Strings{"a", "b", "c", "no list", "```\n[1]\n```", "```\n[\"x\"]\n```"});
  LanguageModelThinker thinker(&client);
  EXPECT_THAT(*thinker.Observe(StdinProblem(), {}, true), ElementsAre("x"));
  const auto requests = client.requests();
  ASSERT_THAT(requests, SizeIs(6));
  EXPECT_DOUBLE_EQ(requests[3].temperature, 0);
  EXPECT_DOUBLE_EQ(requests[4].temperature, 0.2);
  EXPECT_DOUBLE_EQ(requests[5].temperature, 0.4);
  // Each is the same question anew.
  EXPECT_EQ(LastUser(requests[3]), LastUser(requests[5]));
  EXPECT_EQ(requests[3].messages.size(), requests[5].messages.size());

  ScriptedClient never(Strings{"a", "b", "c", "no", "no", "no"});
  LanguageModelThinker other(&never);
  EXPECT_THAT(*other.Observe(StdinProblem(), {}, true), IsEmpty());
  EXPECT_THAT(never.requests(), SizeIs(6));
}

TEST(Sketch, UsesTheObservations) {
  ScriptedClient client(Strings{"sketch", "other"});
  LanguageModelThinker thinker(&client);
  EXPECT_EQ(*thinker.Sketch(StdinProblem(), {"ONE", "TWO"}), "sketch");
  EXPECT_EQ(*thinker.Sketch(StdinProblem(), {}), "other");
  EXPECT_THAT(LastUser(client.requests()[0]),
              AllOf(HasSubstr("the SUM"), HasSubstr("ONE"), HasSubstr("TWO")));
  EXPECT_THAT(LastUser(client.requests()[1]),
              HasSubstr("No observations are necessary"));
}

TEST(Fix, CriticisesInAFreshConversation) {
  ScriptedClient client(Strings{"CRITICISM", "fixed"});
  LanguageModelThinker thinker(&client);
  EXPECT_EQ(*thinker.Fix(StdinProblem(), "the SKETCH"), "fixed");
  const auto requests = client.requests();
  ASSERT_THAT(requests, SizeIs(2));
  EXPECT_THAT(requests[0].messages, SizeIs(2));
  EXPECT_THAT(LastUser(requests[0]), HasSubstr("the SKETCH"));
  ASSERT_THAT(requests[1].messages, SizeIs(4));
  EXPECT_EQ(requests[1].messages[2].content, "CRITICISM");
}

TEST(Implement, GoesThroughPseudocode) {
  ScriptedClient client(
      Strings{"PSEUDO", "```python\n\nprint(1)\n\n```", "no block"});
  LanguageModelThinker thinker(&client);
  EXPECT_EQ(*thinker.Implement(StdinProblem(), "the IDEA"), "print(1)");
  const auto requests = client.requests();
  ASSERT_THAT(requests, SizeIs(2));
  EXPECT_THAT(LastUser(requests[0]), HasSubstr("the IDEA"));
  // The program is made of the pseudocode alone.
  EXPECT_THAT(LastUser(requests[1]),
              AllOf(HasSubstr("PSEUDO"), Not(HasSubstr("the IDEA")),
                    HasSubstr("standard input")));

  ScriptedClient direct(Strings{"no block"});
  LanguageModelOptions options;
  options.pseudocode = false;
  LanguageModelThinker without(&direct, options);
  EXPECT_EQ(*without.Implement(FunctionProblem(), "the IDEA"), "");
  EXPECT_THAT(LastUser(direct.requests()[0]),
              AllOf(HasSubstr("the IDEA"), HasSubstr("def add(a, b):"),
                    Not(HasSubstr("standard input"))));
}

TEST(LanguageModelThinker, SamplesHaveSeedsOfTheirOwn) {
  ScriptedClient client(
      [](const CompletionRequest&) { return TextCompletion("```\nx\n```"); });
  LanguageModelOptions options;
  options.seed = 100;
  options.model = "m";
  LanguageModelThinker thinker(&client, options);
  ASSERT_TRUE(RepeatedSampling(FunctionProblem(), thinker, 3).ok());
  ASSERT_TRUE(IdeaSearch(FunctionProblem(), thinker, 2).ok());
  std::vector<uint64_t> seeds;
  for (const CompletionRequest& request : client.requests()) {
    seeds.push_back(request.seed.value_or(0));
    EXPECT_EQ(request.model, "m");
    EXPECT_EQ(request.temperature, 0.9);
  }
  EXPECT_THAT(seeds, ElementsAre(100, 101, 102, 100, 100, 101, 101));
  // Worked examples of the same kind of problem.
  EXPECT_THAT(LastUser(client.requests()[0]),
              AllOf(HasSubstr("def longest_run"), HasSubstr("def add(a, b):")));
}

TEST(LanguageModelThinker, TranslatesBack) {
  ScriptedClient client(Strings{"In words."});
  LanguageModelThinker thinker(&client);
  EXPECT_EQ(*thinker.BackTranslate(StdinProblem(), "PROGRAM", 30, 0),
            "In words.");
  EXPECT_THAT(LastUser(client.requests()[0]),
              AllOf(HasSubstr("PROGRAM"), HasSubstr("about 30 words")));
  EXPECT_TRUE(absl::IsInvalidArgument(
      thinker.BackTranslate(StdinProblem(), "PROGRAM", 0, 0).status()));
}

TEST(LanguageModelThinker, ErrorsNameTheStep) {
  ScriptedClient client(Strings{});
  LanguageModelThinker thinker(&client);
  const auto status = [](const auto& result) { return result.status(); };
  for (const auto& [step, error] :
       {std::pair("observe", status(thinker.Observe({}, {}, true))),
        std::pair("sketch", status(thinker.Sketch({}, {}))),
        std::pair("criticise", status(thinker.Fix({}, ""))),
        std::pair("pseudocode", status(thinker.Implement({}, ""))),
        std::pair("program", status(thinker.Program({}, 0))),
        std::pair("idea", status(thinker.Idea({}, 0)))}) {
    EXPECT_TRUE(absl::IsResourceExhausted(error)) << error;
    EXPECT_THAT(std::string(error.message()), StartsWith(step));
  }
  EXPECT_EQ(thinker.usage().requests, 0);
  ScriptedClient mute(
      [](const CompletionRequest&) { return completion::Completion(); });
  LanguageModelThinker other(&mute);
  EXPECT_TRUE(absl::IsDataLoss(other.Sketch({}, {}).status()));
}

// ----------------------------------------------------------------- diversity

TEST(SaysSame, LooksForYes) {
  EXPECT_TRUE(SaysSame("Yes."));
  EXPECT_TRUE(SaysSame("** YES **"));
  EXPECT_TRUE(SaysSame("eyes"));  // as coded
  EXPECT_FALSE(SaysSame("No."));
  EXPECT_FALSE(SaysSame(""));
}

// Describes programs by their first letter; these are the ideas.
absl::StatusOr<completion::Completion> Judge(const CompletionRequest& request) {
  const std::string& user = request.messages.back().content;
  EXPECT_EQ(request.temperature, 0);
  std::vector<std::string> found;
  for (size_t at = user.find("```python\n"); at != std::string::npos;
       at = user.find("```python\n", at + 1)) {
    found.push_back(user.substr(at + 10, 1));
  }
  if (found.size() == 1) {
    return TextCompletion(absl::StrCat("the idea of ", found[0]));
  }
  EXPECT_THAT(found, SizeIs(2));
  for (const std::string& letter : found) {
    EXPECT_THAT(user, HasSubstr(absl::StrCat("the idea of ", letter)));
  }
  return TextCompletion(found[0] == found[1] ? "Yes." : "No.");
}

TEST(JudgePairs, ComparesEveryPair) {
  ScriptedClient client(Judge);
  std::mt19937_64 generator(1);
  const auto judged = *JudgePairs(
      client, StdinProblem(), {"a1", "b1", "a2", "c1", "a3"}, {}, generator);
  EXPECT_EQ(judged.pairs, 10);
  EXPECT_EQ(judged.similar, 3);
  EXPECT_THAT(client.requests(), SizeIs(5 + 10));
}

TEST(JudgePairs, SkipsEmptyProgramsAndDrawsSoMany) {
  ScriptedClient client(Judge);
  std::mt19937_64 generator(1);
  EXPECT_EQ(JudgePairs(client, {}, {"a", "", "b", ""}, {}, generator)->pairs,
            1);
  EXPECT_EQ(JudgePairs(client, {}, {"a", ""}, {}, generator)->pairs, 0);
  EXPECT_EQ(JudgePairs(client, {}, {}, {}, generator)->pairs, 0);
  DiversityOptions options;
  options.max_programs = 3;
  EXPECT_EQ(
      JudgePairs(client, {}, Strings(9, "a"), options, generator)->similar, 3);
}

TEST(JudgePairs, ErrorsNameTheStep) {
  ScriptedClient client(Strings{"one", "two"});
  std::mt19937_64 generator(1);
  const auto judged = JudgePairs(client, {}, {"a", "b"}, {}, generator);
  EXPECT_TRUE(absl::IsResourceExhausted(judged.status()));
  EXPECT_THAT(std::string(judged.status().message()), StartsWith("compare: "));
}

// ---------------------------------------------------------------- simulation

TEST(SimulatedThinker, DrawsByZipfsLaw) {
  SimulationOptions options;
  options.observations = 3;
  options.idea_size = 1;
  SimulatedThinker thinker(options, /*peakedness=*/1, {1}, 0, 7);
  std::map<char, int> counts;
  constexpr int kDraws = 11000;
  for (int i = 0; i < kDraws; ++i) ++counts[thinker.Program({}, i)->back()];
  // 1 : 1/2 : 1/3 is 6 : 3 : 2; standard deviations of at most 53.
  EXPECT_NEAR(counts['1'], 6000, 250);
  EXPECT_NEAR(counts['2'], 3000, 250);
  EXPECT_NEAR(counts['3'], 2000, 250);
}

TEST(SimulatedThinker, ProgramsAreRightAsOftenAsStated) {
  SimulationOptions options;
  SimulatedThinker thinker(options, 1, {2, 5}, 0, 7);
  int right = 0;
  constexpr int kPrograms = 10000;
  for (int i = 0; i < kPrograms; ++i) {
    right += absl::StartsWith(*thinker.Implement({}, "2+5+8+9"), "right");
  }
  EXPECT_NEAR(right / double{kPrograms}, 0.9 * 0.85 * 0.85, 0.02);
  EXPECT_EQ(*thinker.Implement({}, "2+8"), "wrong 2+8");
  EXPECT_TRUE(absl::IsInvalidArgument(thinker.Implement({}, "2+x").status()));
}

TEST(SimulatedThinker, DerivesFromWhatIsGiven) {
  SimulationOptions options;
  SimulatedThinker thinker(options, 1, {2, 5}, 0, 7);
  for (int i = 0; i < 50; ++i) {
    const Observations observations =
        *thinker.Observe({}, {"23", "24"}, /*root=*/false);
    EXPECT_GE(observations.size(), 4u);
    EXPECT_LE(observations.size(), 5u);
    EXPECT_THAT(observations, Each(HasSubstr("23+24")));
    EXPECT_EQ(
        std::set<std::string>(observations.begin(), observations.end()).size(),
        observations.size());
  }
  EXPECT_EQ(*thinker.Sketch({}, {"1+23+24", "4+23+24"}), "1+4+23+24");
  // Drops 1 or adds another one: three elements or five.
  for (int i = 0; i < 20; ++i) {
    const std::string fixed = *thinker.Fix({}, "1+2+5");
    EXPECT_TRUE(fixed == "2+5" ||
                std::count(fixed.begin(), fixed.end(), '+') == 3)
        << fixed;
  }
}

TEST(Simulate, IsItsSeeds) {
  SimulationOptions options;
  options.problems = 4;
  options.peakedness_of_model = {1.0};
  const auto a = *Simulate(options, 1), b = *Simulate(options, 1),
             c = *Simulate(options, 2);
  EXPECT_EQ(a.plan_search[0].pass_at_1, b.plan_search[0].pass_at_1);
  EXPECT_NE(a.plan_search[0].pass_at_1, c.plan_search[0].pass_at_1);
}

TEST(Simulate, AModelOfOneIdeaGainsNothingBySampling) {
  SimulationOptions options;
  options.problems = 20;
  options.peakedness_of_model = {60};  // 1+2+3, always
  options.creative = 1;
  options.misleads = 0;
  options.implements = 1;
  const auto scores = *Simulate(options, 1);
  for (const auto* method : {&scores.repeated_sampling, &scores.idea_search}) {
    EXPECT_EQ((*method)[0].diversity, 0);
    EXPECT_EQ((*method)[0].gain, 0);
  }
  EXPECT_GT(scores.plan_search[0].diversity, 0.5);
  EXPECT_GT(scores.plan_search[0].gain, 0);
}

TEST(Simulate, InTheControlAllMethodsAreAlike) {
  SimulationOptions options;
  options.problems = 200;
  options.peakedness_of_model = {1.0};
  options.ideas_matter = false;
  const auto scores = *Simulate(options, 1);
  // The mean of 10^-u over u in [0, 3) is 0.999 / (3 ln 10).
  for (const auto* method :
       {&scores.repeated_sampling, &scores.idea_search, &scores.plan_search}) {
    EXPECT_NEAR((*method)[0].pass_at_1, 0.999 / (3 * std::log(10.0)), 0.06);
  }
  EXPECT_NEAR(scores.repeated_sampling[0].pass_at_1,
              scores.plan_search[0].pass_at_1, 0.01);
}

}  // namespace
}  // namespace repro::plan_search
