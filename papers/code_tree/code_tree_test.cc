#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/completion/scripted.h"
#include "papers/code_tree/end_to_end.h"
#include "papers/code_tree/language_model_agents.h"
#include "papers/code_tree/parse.h"
#include "papers/code_tree/released.h"
#include "papers/code_tree/search.h"
#include "papers/code_tree/simulation.h"

namespace repro::code_tree {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

using Strings = std::vector<std::string>;

// ------------------------------------------------------------------- parsing

TEST(ParseNumberedList, TakesWhatFollowsTheNumber) {
  EXPECT_THAT(ParseNumberedList("1. foo bar\n2. baz qux\nok", 10),
              ElementsAre("foo bar", "baz qux"));
  EXPECT_THAT(ParseNumberedList("<1> angle\r\n  <12>  more  \r\n", 10),
              ElementsAre("angle", "more"));
  EXPECT_THAT(ParseNumberedList("- **10. bold**", 10), ElementsAre("bold**"));
}

TEST(ParseNumberedList, CutsAtTheWidth) {
  EXPECT_THAT(ParseNumberedList("1. one\n2. two\n3. three", 2),
              ElementsAre("one", "two"));
  EXPECT_THAT(ParseNumberedList("1. one", 0), IsEmpty());
}

TEST(ParseNumberedList, PassesOverWhatIsNoItem) {
  // No number; too short (4 bytes); a number without a point; nothing after it.
  EXPECT_THAT(ParseNumberedList("a strategy\n1. a\n12 monkeys\n3.      \n", 10),
              IsEmpty());
  EXPECT_THAT(ParseNumberedList("", 10), IsEmpty());
  EXPECT_THAT(ParseNumberedList("<>.....\n<1\n<1>", 10), IsEmpty());
  // As coded, a number with a point counts wherever it stands.
  EXPECT_THAT(ParseNumberedList("use 3.5 as bound", 10),
              ElementsAre("5 as bound"));
}

TEST(ExtractCode, PrefersTheFirstPythonBlock) {
  EXPECT_EQ(ExtractCode("```\nplain\n```\n```python\nx = 1\ny = 2\n```\n"
                        "```python\nz\n```"),
            "x = 1\ny = 2");
  EXPECT_EQ(ExtractCode("```bash\nls\n```\n```\nx = 1\n```"), "x = 1");
  EXPECT_EQ(ExtractCode("Sure:\r\n```Python3\r\nx = 1\r\n```\r\n"), "x = 1");
  EXPECT_EQ(ExtractCode("```python\nx = 1```\nmore"), "x = 1");
}

TEST(ExtractCode, TakesABlockThatIsCutOff) {
  EXPECT_EQ(ExtractCode("```python\ndef f():\n    return 1"),
            "def f():\n    return 1");
  EXPECT_EQ(ExtractCode("```\nplain\n```\n```python\ncut"), "plain");
}

TEST(ExtractCode, FallsBackToTheFirstFunction) {
  EXPECT_EQ(ExtractCode("Here it is.\nimport math\n\ndef f(x):\n"
                        "    return math.sqrt(x)\nThat is all."),
            "import math\n\ndef f(x):\n    return math.sqrt(x)");
  EXPECT_EQ(ExtractCode("  def indented(): pass"), std::nullopt);
}

TEST(ExtractCode, FindsNothingWhereThereIsNothing) {
  EXPECT_EQ(ExtractCode(""), std::nullopt);
  EXPECT_EQ(ExtractCode("I cannot do that."), std::nullopt);
  EXPECT_EQ(ExtractCode("```python\n   \n```"), std::nullopt);
  EXPECT_EQ(ExtractCode("```"), std::nullopt);
  EXPECT_EQ(ExtractCode("```bash\nls\n```"), std::nullopt);
}

TEST(ParseScore, IsTheLargestDigitOfTheLastLine) {
  EXPECT_EQ(ParseScore("analysis of 5 cases\n3"), 3);
  EXPECT_EQ(ParseScore("Score: 0\n\n  \n"), 0);
  // As coded.
  EXPECT_EQ(ParseScore("score 4/5"), 5);
  EXPECT_EQ(ParseScore("10"), 1);
}

TEST(ParseScore, NeedsADigit) {
  EXPECT_EQ(ParseScore(""), std::nullopt);
  EXPECT_EQ(ParseScore(" \n\n"), std::nullopt);
  EXPECT_EQ(ParseScore("4\nnone at all"), std::nullopt);
  EXPECT_EQ(ParseScore("9"), std::nullopt);
  EXPECT_EQ(ParseScore("NaN"), std::nullopt);
}

TEST(ParseReview, RejectsWhereTheLastLineSaysFalse) {
  const Review review = ParseReview("1. general\n2. off by one\n**FALSE**\n\n");
  EXPECT_FALSE(review.accepted);
  EXPECT_EQ(review.text, "1. general\n2. off by one");
  EXPECT_TRUE(ParseReview("It returns False for 0.\nfine\nTrue").accepted);
}

TEST(ParseReview, AcceptsWithoutAVerdict) {
  EXPECT_TRUE(ParseReview("").accepted);
  EXPECT_EQ(ParseReview("").text, "");
  EXPECT_TRUE(ParseReview("I am not sure.").accepted);
  EXPECT_EQ(ParseReview("I am not sure.").text, "I am not sure.");
  EXPECT_EQ(ParseReview("weak\nFalse").text, "weak\nFalse");
}

// -------------------------------------------------------------------- search

// Agents whose programs are named by how they came about: "A" solves strategy
// A, "A/x" is its repair by reflection x. Every program has four visible tests.
class NamedAgents : public Agents, public TestRunner {
 public:
  Strings strategies;
  Strings more_strategies;                       // when asked again
  std::map<std::string, Strings> reflections;    // by program
  std::map<std::string, int> passed;             // of 4; 0 if not said
  std::map<std::string, int> scores;             // 0 if not said
  std::map<std::string, bool> verdicts;          // true if not said
  std::map<std::string, std::string> solutions;  // by strategy; else itself
  absl::Status failure;                          // of Score

  Strings log;  // the programs in the order in which they were run
  std::vector<std::optional<int>> counts;
  std::vector<Sampling> samplings;
  Strings reviews;  // that the Thinker saw

  absl::StatusOr<Strings> Strategies(const Problem&, std::optional<int> count,
                                     int asked_before) override {
    counts.push_back(count);
    return asked_before == 0 ? strategies : more_strategies;
  }
  absl::StatusOr<std::string> Solve(const Problem&, const std::string& strategy,
                                    const Sampling& sampling) override {
    samplings.push_back(sampling);
    const auto found = solutions.find(strategy);
    return found == solutions.end() ? strategy : found->second;
  }
  absl::StatusOr<Strings> Reflections(const Problem&, const std::string&,
                                      const std::string& program,
                                      const std::string&,
                                      const std::string& review,
                                      std::optional<int> count) override {
    counts.push_back(count);
    reviews.push_back(review);
    return reflections[program];
  }
  absl::StatusOr<std::string> Repair(const Problem&, const std::string& program,
                                     const std::string&,
                                     const std::string& reflection) override {
    return absl::StrCat(program, "/", reflection);
  }
  absl::StatusOr<int> Score(const Problem&, const std::string& program,
                            const std::string&) override {
    if (!failure.ok()) return failure;
    return scores[program];
  }
  absl::StatusOr<Review> Verify(const Problem&, const std::string& program,
                                const std::string&) override {
    const auto found = verdicts.find(program);
    return Review{found == verdicts.end() || found->second,
                  absl::StrCat("review of ", program)};
  }
  absl::StatusOr<Feedback> Run(const Problem&,
                               const std::string& program) override {
    log.push_back(program);
    Feedback feedback;
    feedback.total = 4;
    feedback.passed = passed[program];
    feedback.reward = feedback.passed / 4.0;
    return feedback;
  }
};

SearchResult MustSearch(NamedAgents& agents, const SearchOptions& options) {
  Problem problem;
  problem.id = "P";
  const auto result = Search(problem, agents, agents, options);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.value_or(SearchResult());
}

const Node& NodeOf(const SearchResult& result, const std::string& program) {
  for (const int node : result.visited) {
    if (result.nodes[node].program == program) return result.nodes[node];
  }
  ADD_FAILURE() << program << " was not visited";
  static const Node* const none = new Node();
  return *none;
}

TEST(CodeTreeSearch, OneProgramThatPassesAndIsAccepted) {
  NamedAgents agents;
  agents.strategies = {"A"};
  agents.passed = {{"A", 4}};
  const SearchResult result = MustSearch(agents, {});
  EXPECT_EQ(result.programs(), 1);
  EXPECT_EQ(result.Submission(Variant::kAsPublished), "A");
  EXPECT_EQ(result.Submission(Variant::kAsCoded), "A");
  EXPECT_EQ(NodeOf(result, "A").action, Action::kAccept);
  EXPECT_EQ(result.calls.thinker, 1);
  EXPECT_EQ(result.calls.solver, 1);
  EXPECT_EQ(result.calls.verify, 1);
  EXPECT_EQ(result.calls.total(), 3);
  EXPECT_THAT(agents.counts, ElementsAre(std::nullopt));
}

// The strategy's program has r = 0.5 and a = 3, so the value 0.7.
NamedAgents ParentOfValue07() {
  NamedAgents agents;
  agents.strategies = {"A"};
  agents.reflections = {{"A", {"x"}}};
  agents.passed = {{"A", 2}};
  agents.scores = {{"A", 3}};
  return agents;
}

TEST(CodeTreeSearch, AbortsBelowTheParentsValue) {
  NamedAgents agents = ParentOfValue07();
  agents.passed["A/x"] = 2;
  agents.scores["A/x"] = 2;
  const SearchResult result = MustSearch(agents, {});
  EXPECT_NEAR(NodeOf(result, "A").value, 0.7, 1e-12);
  EXPECT_NEAR(NodeOf(result, "A/x").value, 0.5 + 2 / 15.0, 1e-12);
  EXPECT_EQ(NodeOf(result, "A").action, Action::kRefine);
  EXPECT_EQ(NodeOf(result, "A/x").action, Action::kAbort);

  agents = ParentOfValue07();
  agents.scores["A/x"] = 5;  // with r = 0: 1/3
  EXPECT_EQ(NodeOf(MustSearch(agents, {}), "A/x").action, Action::kAbort);
}

TEST(CodeTreeSearch, RefinesATieUnlessTheDepthExceedsTheScore) {
  NamedAgents agents = ParentOfValue07();
  agents.passed["A/x"] = 2;
  agents.scores["A/x"] = 3;
  EXPECT_EQ(NodeOf(MustSearch(agents, {}), "A/x").action, Action::kRefine);

  agents = ParentOfValue07();
  agents.scores = {{"A", 1}, {"A/x", 1}};
  agents.passed["A/x"] = 2;
  EXPECT_EQ(NodeOf(MustSearch(agents, {}), "A/x").action, Action::kAbort);

  // A strategy's program is compared with 0: r = 0 and a = 0 is a tie, too.
  agents = NamedAgents();
  agents.strategies = {"A"};
  EXPECT_EQ(NodeOf(MustSearch(agents, {}), "A").action, Action::kAbort);
}

TEST(CodeTreeSearch, RefinesAboveTheParentsValue) {
  NamedAgents agents = ParentOfValue07();
  agents.passed["A/x"] = 3;
  agents.reflections["A/x"] = {"y"};
  const SearchResult result = MustSearch(agents, {});
  EXPECT_THAT(agents.log, ElementsAre("A", "A/x", "A/x/y"));
  // At the last depth nothing is scored.
  EXPECT_FALSE(NodeOf(result, "A/x/y").critic_score.has_value());
  EXPECT_EQ(result.calls.score, 2);
}

TEST(CodeTreeSearch, ARejectedProgramsFailingChildIsAlwaysAborted) {
  NamedAgents agents;
  agents.strategies = {"A"};
  agents.passed = {{"A", 4}, {"A/x", 3}};
  agents.verdicts = {{"A", false}};
  agents.scores = {{"A/x", 5}};
  agents.reflections = {{"A", {"x"}}};
  const SearchResult result = MustSearch(agents, {});
  EXPECT_NEAR(NodeOf(result, "A").value, 4 / 3.0, 1e-12);
  EXPECT_LT(NodeOf(result, "A/x").value, 4 / 3.0);
  EXPECT_EQ(NodeOf(result, "A/x").action, Action::kAbort);
  EXPECT_THAT(agents.reviews, ElementsAre("review of A"));
}

TEST(CodeTreeSearch, TakesTheThirdProgramThatPassesInARow) {
  NamedAgents agents;
  agents.strategies = {"A", "B"};
  agents.reflections = {{"A", {"x"}}, {"A/x", {"y"}}};
  for (const char* program : {"A", "A/x", "A/x/y"}) {
    agents.passed[program] = 4;
    agents.verdicts[program] = false;
  }
  const SearchResult result = MustSearch(agents, {});
  EXPECT_THAT(agents.log, ElementsAre("A", "A/x", "A/x/y"));
  EXPECT_EQ(result.Submission(Variant::kAsCoded), "A/x/y");
  EXPECT_EQ(result.calls.verify, 3);
}

TEST(CodeTreeSearch, GoesDownBeforeItGoesOn) {
  NamedAgents agents;
  agents.strategies = {"A", "B"};
  agents.passed = {{"A", 1}, {"A/x", 2}, {"A/y", 2}, {"B", 1}};
  agents.scores = {{"A", 1}, {"A/x", 1}, {"A/y", 0}, {"B", 1}};
  agents.reflections = {{"A", {"x", "", "y"}}, {"A/x", {"z"}}};
  MustSearch(agents, {});
  EXPECT_THAT(agents.log, ElementsAre("A", "A/x", "A/x/z", "A/y", "B"));
}

TEST(CodeTreeSearch, KeepsToTheBudgetAndTheWidth) {
  NamedAgents agents;
  agents.strategies = {"A", "B", "C", "D"};
  SearchOptions options;
  options.max_programs = 2;
  EXPECT_EQ(MustSearch(agents, options).programs(), 2);
  options.max_programs = 20;
  options.search_width = 3;
  agents.log.clear();
  MustSearch(agents, options);
  EXPECT_THAT(agents.log, ElementsAre("A", "B", "C"));
}

TEST(CodeTreeSearch, SubmissionsAsPublishedAndAsCoded) {
  NamedAgents agents;
  agents.strategies = {"A", "B", "C"};
  // B passes, is rejected, and the Thinker has nothing to say.
  agents.passed = {{"A", 2}, {"B", 4}, {"C", 1}};
  agents.verdicts = {{"B", false}};
  const SearchResult result = MustSearch(agents, {});
  EXPECT_EQ(result.accepted, -1);
  EXPECT_EQ(result.Submission(Variant::kAsPublished), "B");
  EXPECT_EQ(result.Submission(Variant::kAsCoded), "C");
}

TEST(CodeTreeSearch, EqualValuesSubmitTheFirst) {
  NamedAgents agents;
  agents.strategies = {"A", "B"};
  agents.passed = {{"A", 2}, {"B", 2}};
  EXPECT_EQ(MustSearch(agents, {}).Submission(Variant::kAsPublished), "A");
}

TEST(CodeTreeSearch, WithoutStrategiesThereIsNoProgram) {
  NamedAgents agents;
  for (const Arm arm : {Arm::kCodeTree, Arm::kBreadthFirst, Arm::kDepthFirst,
                        Arm::kStrategyList}) {
    const SearchResult result = MustSearch(agents, SearchOptions::Of(arm));
    EXPECT_EQ(result.programs(), 0);
    EXPECT_EQ(result.Submission(Variant::kAsPublished), std::nullopt);
    EXPECT_EQ(result.Submission(Variant::kAsCoded), std::nullopt);
  }
}

TEST(CodeTreeSearch, SolvesAnewWhereThereIsNothingToRepair) {
  NamedAgents agents;
  agents.strategies = {"A"};
  agents.solutions = {{"A", ""}};  // a reply without code
  agents.scores = {{"", 5}};
  agents.reflections = {{"", {"x"}}};
  const SearchResult result = MustSearch(agents, {});
  EXPECT_GT(result.calls.solver, 1);
  EXPECT_EQ(result.calls.debugger, 0);
}

TEST(CodeTreeSearch, Ablations) {
  NamedAgents agents;
  agents.strategies = {"A"};
  agents.passed = {{"A", 4}};
  agents.verdicts = {{"A", false}};
  SearchOptions options;
  options.verify = false;
  SearchResult result = MustSearch(agents, options);
  EXPECT_EQ(result.accepted, 0);
  EXPECT_EQ(result.calls.verify, 0);

  // Aborted with abort (above), refined without.
  agents = ParentOfValue07();
  options = SearchOptions();
  options.abort = false;
  result = MustSearch(agents, options);
  EXPECT_EQ(NodeOf(result, "A/x").action, Action::kRefine);
  EXPECT_EQ(result.calls.score, 2);

  // Without scores equal rewards are a tie, which goes on.
  agents = ParentOfValue07();
  agents.passed["A/x"] = 2;
  options = SearchOptions();
  options.score = false;
  result = MustSearch(agents, options);
  EXPECT_EQ(NodeOf(result, "A/x").action, Action::kRefine);
  EXPECT_EQ(NodeOf(result, "A").value, 0.5);
  EXPECT_EQ(result.calls.score, 0);
  agents.passed["A/x"] = 1;
  EXPECT_EQ(NodeOf(MustSearch(agents, options), "A/x").action, Action::kAbort);
}

// Three first programs, of which B is the best and C the worst; each has the
// repairs x and y.
NamedAgents ThreeTrees() {
  NamedAgents agents;
  agents.strategies = {"A", "B", "C"};
  agents.passed = {{"A", 2}, {"B", 3}, {"C", 1}, {"B/x", 0}, {"B/y", 1}};
  for (const char* program : {"A", "B", "C", "B/y", "B/x", "C/x", "C/y"}) {
    agents.reflections[program] = {"x", "y"};
  }
  return agents;
}

TEST(BreadthFirst, RepairsTheBestOfALevelFirst) {
  NamedAgents agents = ThreeTrees();
  SearchOptions options = SearchOptions::Of(Arm::kBreadthFirst);
  options.max_depth = 2;
  options.max_programs = 11;
  const SearchResult result = MustSearch(agents, options);
  EXPECT_THAT(agents.log, ElementsAre("A", "B", "C", "B/x", "B/y", "A/x", "A/y",
                                      "C/x", "C/y", "B/y/x", "B/y/y"));
  EXPECT_THAT(agents.counts, Each(std::optional<int>(3)));
  // No Critic, and nothing to submit as coded.
  EXPECT_EQ(result.calls.score + result.calls.verify, 0);
  EXPECT_EQ(result.Submission(Variant::kAsPublished), "B");
  EXPECT_EQ(result.Submission(Variant::kAsCoded), std::nullopt);
}

TEST(BreadthFirst, StopsAtTheFirstProgramThatPasses) {
  NamedAgents agents = ThreeTrees();
  agents.passed["B/y"] = 4;
  const SearchResult result =
      MustSearch(agents, SearchOptions::Of(Arm::kBreadthFirst));
  EXPECT_THAT(agents.log, ElementsAre("A", "B", "C", "B/x", "B/y"));
  EXPECT_EQ(result.Submission(Variant::kAsCoded), "B/y");
}

TEST(BreadthFirst, DoesNotRepairAtTheLastDepth) {
  NamedAgents agents = ThreeTrees();
  SearchOptions options = SearchOptions::Of(Arm::kBreadthFirst);
  options.max_depth = 0;
  EXPECT_EQ(MustSearch(agents, options).programs(), 3);
}

TEST(DepthFirst, GoesDownTheBestAsPublishedAndTheWorstAsCoded) {
  NamedAgents agents = ThreeTrees();
  SearchOptions options = SearchOptions::Of(Arm::kDepthFirst);
  options.max_depth = 2;
  options.max_programs = 9;
  MustSearch(agents, options);
  EXPECT_THAT(agents.log, ElementsAre("A", "B", "C", "B/x", "B/y", "B/y/x",
                                      "B/y/y", "B/x/x", "B/x/y"));
  agents = ThreeTrees();
  options.variant = Variant::kAsCoded;
  MustSearch(agents, options);
  // C is the worst; its repairs are equal, the first comes first.
  EXPECT_THAT(agents.log, ElementsAre("A", "B", "C", "C/x", "C/y", "C/x/x",
                                      "C/x/y", "C/y/x", "C/y/y"));
}

TEST(DepthFirst, AsCodedOverstepsTheBudgetWithinANode) {
  SearchOptions options = SearchOptions::Of(Arm::kDepthFirst);
  options.max_programs = 4;
  NamedAgents agents = ThreeTrees();
  EXPECT_EQ(MustSearch(agents, options).programs(), 4);
  options.variant = Variant::kAsCoded;
  agents = ThreeTrees();
  EXPECT_EQ(MustSearch(agents, options).programs(), 5);
}

TEST(StrategyList, AsksAgainForWhatIsMissing) {
  NamedAgents agents;
  agents.strategies = {"A", "B"};
  agents.more_strategies = {"C", "D", "E"};
  SearchOptions options = SearchOptions::Of(Arm::kStrategyList);
  options.max_programs = 4;
  const SearchResult result = MustSearch(agents, options);
  EXPECT_THAT(agents.log, ElementsAre("A", "B", "C", "D"));
  EXPECT_THAT(agents.counts, ElementsAre(4, 2));
  EXPECT_EQ(agents.samplings[3].temperature, 0.8);
  EXPECT_EQ(result.calls.debugger, 0);
}

TEST(Resample, DrawsUpToTheBudgetFromTheSamePrompt) {
  NamedAgents agents;
  SearchOptions options = SearchOptions::Of(Arm::kResample);
  options.max_programs = 3;
  const SearchResult result = MustSearch(agents, options);
  EXPECT_EQ(result.programs(), 3);
  EXPECT_EQ(result.calls.thinker, 0);
  ASSERT_THAT(agents.samplings, SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(agents.samplings[i].temperature, 1.0);
    EXPECT_EQ(agents.samplings[i].sample, i);
  }
}

TEST(Search, NamesTheProblemOfAnError) {
  NamedAgents agents;
  agents.strategies = {"A"};
  agents.failure = absl::UnavailableError("no server");
  Problem problem;
  problem.id = "HumanEval/7";
  const auto result = Search(problem, agents, agents, {});
  EXPECT_EQ(result.status(), absl::UnavailableError("HumanEval/7: no server"));
}

TEST(Search, RefusesBadOptions) {
  NamedAgents agents;
  for (int i = 0; i < 3; ++i) {
    SearchOptions options;
    (i == 0   ? options.max_programs
     : i == 1 ? options.search_width
              : options.max_depth) = -1;
    EXPECT_TRUE(absl::IsInvalidArgument(
        Search(Problem(), agents, agents, options).status()));
  }
}

TEST(Search, ArmsByName) {
  for (const Arm arm : {Arm::kCodeTree, Arm::kBreadthFirst, Arm::kDepthFirst,
                        Arm::kStrategyList, Arm::kResample}) {
    const auto parsed = ParseArm(ArmName(arm));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, arm);
  }
  EXPECT_THAT(std::string(ParseArm("astar").status().message()),
              HasSubstr("codetree, bfs, dfs, list, resample"));
}

// ------------------------------------------------------ language model agents

Problem Doubling() {
  Problem problem;
  problem.id = "double";
  problem.prompt = "def double(x):\n    \"\"\"Twice x.\"\"\"\n";
  problem.asserts = {"assert double(1) == 2"};
  return problem;
}

std::string AllText(const completion::CompletionRequest& request) {
  std::string text;
  for (const auto& message : request.messages) {
    absl::StrAppend(&text, message.role, ": ", message.content, "\n");
  }
  return text;
}

TEST(LanguageModelAgents, EachRoleSeesWhatItNeeds) {
  completion::ScriptedClient client(Strings{
      "1. add it to itself", "```python\ncode\n```", "1. the sign is wrong",
      "```python\nbetter\n```", "off by a factor\n3", "looks fine\nTrue"});
  LanguageModelAgents agents(&client);
  const Problem problem = Doubling();
  EXPECT_THAT(*agents.Strategies(problem, std::nullopt, 0),
              ElementsAre("add it to itself"));
  EXPECT_EQ(*agents.Solve(problem, "STRATEGY", {}), "code");
  EXPECT_THAT(*agents.Reflections(problem, "STRATEGY", "PROGRAM", "FEEDBACK",
                                  "REVIEW", 4),
              ElementsAre("the sign is wrong"));
  EXPECT_EQ(*agents.Repair(problem, "PROGRAM", "FEEDBACK", "REFLECTION"),
            "better");
  EXPECT_EQ(*agents.Score(problem, "PROGRAM", "FEEDBACK"), 3);
  EXPECT_TRUE(agents.Verify(problem, "PROGRAM", "FEEDBACK")->accepted);
  EXPECT_EQ(agents.usage().requests, 6);

  const auto requests = client.requests();
  ASSERT_THAT(requests, SizeIs(6));
  for (const auto& request : requests) {
    EXPECT_EQ(request.messages.front().role, "system");
    EXPECT_THAT(AllText(request), HasSubstr("Twice x."));
    EXPECT_THAT(AllText(request), Not(HasSubstr("{count}")));
    EXPECT_EQ(request.temperature, 0);
    EXPECT_FALSE(request.seed.has_value());
  }
  EXPECT_THAT(AllText(requests[1]), HasSubstr("STRATEGY"));
  for (const char* part : {"STRATEGY", "PROGRAM", "FEEDBACK", "REVIEW", "4"}) {
    EXPECT_THAT(AllText(requests[2]), HasSubstr(part));
  }
  // The Debugger's dialogue: task, its program, the tests, its reflection.
  const auto& dialogue = requests[3].messages;
  ASSERT_THAT(dialogue, SizeIs(6));
  EXPECT_EQ(dialogue[2].role, "assistant");
  EXPECT_THAT(dialogue[2].content, HasSubstr("PROGRAM"));
  EXPECT_THAT(dialogue[3].content, HasSubstr("FEEDBACK"));
  EXPECT_EQ(dialogue[4].role, "assistant");
  EXPECT_EQ(dialogue[4].content, "REFLECTION");
  EXPECT_EQ(dialogue[5].role, "user");
}

TEST(LanguageModelAgents, RepliesWithoutSenseAreNoErrors) {
  completion::ScriptedClient client(
      [](const auto&) { return completion::TextCompletion("I don't know."); });
  LanguageModelAgents agents(&client);
  const Problem problem = Doubling();
  EXPECT_THAT(*agents.Strategies(problem, 3, 0), IsEmpty());
  EXPECT_EQ(*agents.Solve(problem, "", {}), "");
  EXPECT_THAT(*agents.Reflections(problem, "", "p", "f", "", 2), IsEmpty());
  EXPECT_EQ(*agents.Repair(problem, "p", "f", "r"), "");
  EXPECT_EQ(*agents.Score(problem, "p", "f"), 0);
  EXPECT_TRUE(agents.Verify(problem, "p", "f")->accepted);
}

TEST(LanguageModelAgents, SamplesHaveSeedsOfTheirOwn) {
  completion::ScriptedClient client(
      [](const auto&) { return completion::TextCompletion("```\nx\n```"); });
  LanguageModelOptions options;
  options.seed = 100;
  options.model = "a-model";
  options.max_program_tokens = 7;
  LanguageModelAgents agents(&client, options);
  Sampling sampling;
  sampling.temperature = 1;
  sampling.sample = 5;
  ASSERT_TRUE(agents.Solve(Doubling(), "", sampling).ok());
  const auto request = client.requests().at(0);
  EXPECT_EQ(request.seed, 105);
  EXPECT_EQ(request.temperature, 1);
  EXPECT_EQ(request.model, "a-model");
  EXPECT_EQ(request.max_tokens, 7);
}

TEST(LanguageModelAgents, ErrorsNameTheRole) {
  completion::ScriptedClient client(Strings{});
  LanguageModelAgents agents(&client);
  const auto score = agents.Score(Doubling(), "p", "f");
  EXPECT_TRUE(absl::IsResourceExhausted(score.status()));
  EXPECT_THAT(std::string(score.status().message()), HasSubstr("Critic: "));
}

TEST(LanguageModelAgents, ProgramsThatReadStdinHaveOtherPrompts) {
  completion::ScriptedClient client(
      [](const auto&) { return completion::TextCompletion("1. read it all"); });
  LanguageModelAgents agents(&client);
  Problem problem;
  problem.prompt = "Print the sum.";
  problem.stdin_tests = {{"1 2", "3"}};
  ASSERT_TRUE(agents.Strategies(problem, 3, 0).ok());
  ASSERT_TRUE(agents.Strategies(Doubling(), 3, 1).ok());
  const auto requests = client.requests();
  EXPECT_THAT(AllText(requests[0]), HasSubstr("input and output"));
  EXPECT_THAT(AllText(requests[1]), Not(HasSubstr("input and output")));
  EXPECT_THAT(AllText(requests[1]), HasSubstr("another kind"));
}

// ---------------------------------------------------------- released programs

std::string WriteTemp(const std::string& name, const std::string& text) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/", name);
  std::ofstream(path) << text;
  return path;
}

TEST(ReplayBudget, SubmitsTheFirstThatPassesOrElseTheFirst) {
  const Try passes_right{true, true}, passes_wrong{true, false},
      fails_right{false, true}, fails_wrong{false, false};
  const std::vector<std::vector<Try>> problems = {{passes_right, passes_right},
                                                  {fails_wrong, passes_right},
                                                  {passes_wrong, passes_right},
                                                  {fails_right, fails_wrong},
                                                  {fails_wrong, fails_right}};
  const BudgetResult one = ReplayBudget(problems, 1);
  EXPECT_EQ(one.solved, 2);
  EXPECT_EQ(one.any_right, 2);
  EXPECT_EQ(one.mean_programs, 1);
  const BudgetResult two = ReplayBudget(problems, 2);
  EXPECT_EQ(two.solved, 3);
  EXPECT_EQ(two.any_right, 5);
  EXPECT_DOUBLE_EQ(two.mean_programs, (1 + 2 + 1 + 2 + 2) / 5.0);
  // More budget than programs.
  EXPECT_EQ(ReplayBudget(problems, 9).solved, two.solved);
  EXPECT_EQ(ReplayBudget({}, 1).mean_programs, 0);
}

constexpr char kTask[] =
    R"({"task_id": "T/0", "prompt": "def f():\n    '''Two.'''\n",)"
    R"( "entry_point": "f", "canonical_solution": "    return 2\n",)"
    R"( "test": "def check(c):\n    assert c() == 2\n"})"
    "\n";

TEST(ReadHumanEvalTasks, JoinsProblemsAndVisibleTests) {
  const std::string problems = WriteTemp("problems.jsonl", kTask);
  const auto tasks = ReadHumanEvalTasks(
      problems,
      WriteTemp("visible.jsonl",
                R"({"task_id": "T/0", "given_tests": ["assert f() == 2"]})"));
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  const Task& task = tasks->at("T/0");
  EXPECT_THAT(task.problem.asserts, ElementsAre("assert f() == 2"));
  EXPECT_THAT(task.hidden_tests, HasSubstr("\ncheck(f)\n"));
  const auto after_prompt =
      HiddenTestRequest(task, "    return 2", Before::kPrompt);
  EXPECT_THAT(after_prompt.program, HasSubstr("Two."));
  EXPECT_THAT(HiddenTestRequest(task, "    return 2", Before::kImports).program,
              Not(HasSubstr("Two.")));
}

TEST(ReadHumanEvalTasks, NamesFileLineAndField) {
  const std::string good = WriteTemp("good.jsonl", kTask);
  const auto message = [](const auto& result) {
    EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << result.status();
    return std::string(result.status().message());
  };
  EXPECT_THAT(
      message(ReadHumanEvalTasks(
          good, WriteTemp("bad1.jsonl",
                          R"({"task_id": "T/0", "given_tests": [1]})"))),
      HasSubstr("bad1.jsonl:1: field \"given_tests\" is not a list of texts"));
  EXPECT_THAT(message(ReadHumanEvalTasks(
                  good, WriteTemp("bad2.jsonl",
                                  R"({"task_id": "T/1", "given_tests": []})"))),
              HasSubstr("T/0"));
  EXPECT_THAT(message(ReadHumanEvalTasks(WriteTemp("bad3.jsonl", "[]\n"),
                                         WriteTemp("visible3.jsonl", ""))),
              HasSubstr("bad3.jsonl:1: field \"task_id\" is missing"));
  const auto missing =
      ReadHumanEvalTasks("/no/such/file", WriteTemp("none", ""));
  EXPECT_TRUE(absl::IsNotFound(missing.status())) << missing.status();
}

TEST(ReadPrograms, ReadsFlagsAndRefusesOthers) {
  const auto programs = ReadPrograms(WriteTemp(
      "programs.jsonl",
      R"({"model": "m", "method": "x", "task_id": "T/0", "solution": "",)"
      R"( "recorded_solved": 1, "rechecked": 0, "visible_passed": 1,)"
      R"( "visible_total": 2})"
      "\n"
      R"({"model": "m", "method": "x", "name": "mbpp_1", "solution": "s",)"
      R"( "recorded_solved": 0})"));
  ASSERT_TRUE(programs.ok()) << programs.status();
  ASSERT_THAT(*programs, SizeIs(2));
  EXPECT_TRUE((*programs)[0].recorded_solved);
  EXPECT_EQ((*programs)[0].rechecked, false);
  EXPECT_EQ((*programs)[0].visible_total, 2);
  EXPECT_EQ((*programs)[1].task, "mbpp_1");
  EXPECT_FALSE((*programs)[1].rechecked.has_value());
  const auto bad = ReadPrograms(WriteTemp(
      "programs_bad.jsonl",
      R"({"model": "m", "method": "x", "task_id": "T/0", "solution": "",)"
      R"( "recorded_solved": 2})"));
  EXPECT_THAT(
      std::string(bad.status().message()),
      HasSubstr("programs_bad.jsonl:1: field \"recorded_solved\" is not "
                "0 or 1"));
  const auto large = ReadPrograms(WriteTemp(
      "programs_large.jsonl",
      R"({"model": "m", "method": "x", "task_id": "T/0", "solution": "",)"
      R"( "recorded_solved": 1, "rechecked": 0, "visible_passed": 4294967297,)"
      R"( "visible_total": 2})"));
  EXPECT_THAT(std::string(large.status().message()),
              HasSubstr("field \"visible_passed\" is out of range"));
}

TEST(ReadPlusStatuses, KnowsThreeStatuses) {
  const auto statuses = ReadPlusStatuses(WriteTemp(
      "statuses.jsonl",
      R"({"model": "m", "method": "x", "task_id": "T/0", "base": "success",)"
      R"( "plus": "timeout"})"));
  ASSERT_TRUE(statuses.ok()) << statuses.status();
  EXPECT_TRUE(statuses->at({"m", "x", "T/0"}).base);
  EXPECT_FALSE(statuses->at({"m", "x", "T/0"}).plus);
  EXPECT_FALSE(ReadPlusStatuses(
                   WriteTemp("statuses_bad.jsonl",
                             R"({"model": "m", "method": "x", "task_id": "T",)"
                             R"( "base": "ok", "plus": "ok"})"))
                   .ok());
}

TEST(ReadApps, PairsInputsAndOutputs) {
  const auto problems = ReadApps(WriteTemp(
      "apps.jsonl", R"({"name": 7, "description": "Add.", "public_tests":)"
                    R"( {"input": ["1 2"], "output": ["3"]}})"));
  ASSERT_TRUE(problems.ok()) << problems.status();
  EXPECT_EQ((*problems)[0].id, "APPS/7");
  EXPECT_TRUE((*problems)[0].reads_stdin());
  EXPECT_FALSE(
      ReadApps(WriteTemp("apps_bad.jsonl",
                         R"({"name": 7, "description": "", "public_tests":)"
                         R"( {"input": ["1"], "output": []}})"))
          .ok());
}

TEST(DrawTasks, DrawsDistinctProblemsByTheSeed) {
  Tasks tasks;
  for (int i = 0; i < 30; ++i) tasks[absl::StrCat("T/", i)] = Task();
  const Strings ten = DrawTasks(tasks, 10, 1);
  EXPECT_THAT(ten, SizeIs(10));
  EXPECT_EQ(std::set<std::string>(ten.begin(), ten.end()).size(), 10u);
  EXPECT_EQ(ten, DrawTasks(tasks, 10, 1));
  EXPECT_NE(ten, DrawTasks(tasks, 10, 2));
  EXPECT_THAT(DrawTasks(tasks, 99, 1), SizeIs(30));
}

// ---------------------------------------------------------------- simulation

TEST(Simulation, ResamplingFollowsTheGeometricLaw) {
  // One program of four passes, and is right: with a budget of k the chance to
  // solve is 1 - (3/4)^k.
  const std::vector<Pool> problems(
      4000, {{2, 2, true}, {1, 2, false}, {0, 2, false}, {0, 2, false}});
  for (const int budget : {1, 3}) {
    SearchOptions options = SearchOptions::Of(Arm::kResample);
    options.max_programs = budget;
    const auto score = Simulate(problems, options, {}, /*seed=*/1);
    ASSERT_TRUE(score.ok()) << score.status();
    const double p = 1 - std::pow(0.75, budget);
    // Five standard errors.
    EXPECT_NEAR(score->published / 100, p,
                5 * std::sqrt(p * (1 - p) / problems.size()));
    EXPECT_EQ(score->published, score->coded);
  }
}

TEST(Simulation, ATrueCriticRejectsWhatIsWrong) {
  // Everything passes the visible tests, half of it is wrong and cannot be
  // repaired but by drawing again.
  const std::vector<Pool> problems(500, {{1, 1, true}, {1, 1, false}});
  SimulationOptions options;
  options.critic_noise = 0;
  options.repair_base = options.repair_by_reward = options.repair_by_quality =
      0;
  options.repair_stuck = 0;
  SearchOptions search;
  const auto with = Simulate(problems, search, options, 3);
  search.verify = false;
  const auto without = Simulate(problems, search, options, 3);
  ASSERT_TRUE(with.ok() && without.ok());
  EXPECT_GT(with->published, 85);
  EXPECT_NEAR(without->published, 50, 5 * 100 * std::sqrt(0.25 / 500));
  EXPECT_EQ(without->mean_programs, 1);
}

TEST(Simulation, EveryArmKeepsToItsLimits) {
  const Pool pool = {{2, 3, false}, {1, 3, false}, {0, 3, false}};
  SimulationOptions options;
  options.repair_base = options.repair_by_reward = options.repair_by_quality =
      0.02;
  for (const Arm arm : {Arm::kCodeTree, Arm::kBreadthFirst, Arm::kDepthFirst,
                        Arm::kStrategyList, Arm::kResample}) {
    for (uint64_t seed = 0; seed < 200; ++seed) {
      SearchOptions search = SearchOptions::Of(arm);
      search.max_programs = 1 + static_cast<int>(seed % 20);
      SimulatedAgents agents(pool, options, seed);
      const auto result = Search(Problem(), agents, agents, search);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_LE(result->programs(), search.max_programs);
      EXPECT_EQ(result->programs(),
                result->calls.solver + result->calls.debugger);
      for (const int visited : result->visited) {
        const Node& node = result->nodes[visited];
        EXPECT_LE(node.depth, search.max_depth);
        EXPECT_LE(static_cast<int>(node.children.size()), search.search_width);
        if (node.parent >= 0) {
          EXPECT_THAT(result->nodes[node.parent].children, Contains(visited));
          EXPECT_EQ(result->nodes[node.parent].depth + 1, node.depth);
        }
      }
    }
  }
}

TEST(Simulation, TheSameSeedIsTheSameSearch) {
  const std::vector<Pool> problems(50, {{1, 2, false}, {2, 2, true}});
  EXPECT_EQ(Simulate(problems, {}, {}, 7)->published,
            Simulate(problems, {}, {}, 7)->published);
  EXPECT_NE(Simulate(problems, {}, {}, 7)->mean_programs,
            Simulate(problems, {}, {}, 8)->mean_programs);
}

TEST(Simulation, RefusesProgramsOfOthers) {
  const Pool pool = {{1, 1, true}};
  SimulatedAgents agents(pool, {}, 0);
  for (const char* program : {"", "1", "-1", "wrong", "0x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(agents.Run({}, program).status()));
  }
  EXPECT_TRUE(agents.Run({}, "right").ok());
}

}  // namespace
}  // namespace repro::code_tree
