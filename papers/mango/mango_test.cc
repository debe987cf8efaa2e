#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/assets/test_asset.h"
#include "common/completion/scripted.h"
#include "common/data/io.h"
#include "common/exec/namespaces_permitted.h"
#include "common/exec/sandbox.h"
#include "papers/mango/comments.h"
#include "papers/mango/error_types.h"
#include "papers/mango/programs.h"
#include "papers/mango/prompts.h"

namespace repro::mango {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

// ---- Prompts ---------------------------------------------------------------

TEST(Prompts, LayoutOfTrainingAndDecoding) {
  const PromptTexts texts = {"P", "L"};
  EXPECT_EQ(TrainingPrompt("do", "", texts),
            "P\n\n### Instruction:\ndo\n\n### Response:");
  EXPECT_EQ(TrainingPrompt("do", "this", texts),
            "P\n\n### Instruction:\ndo\n\n### Input:\nthis\n\n### Response:");
  EXPECT_EQ(DecodingPrompt("a\n        b", "S:", texts),
            "P\n\n### Instruction:\nL\na\n\t\tb\n\n### Response: S:");
}

// The training finds the response by the second "###".
TEST(Prompts, OwnWordsHoldNoSeparator) {
  EXPECT_EQ(Count(TrainingPrompt("do", ""), "###"), 2);
  EXPECT_EQ(Count(DecodingPrompt("do", "S:"), "###"), 2);
}

TEST(Prompts, WordingsAnnounceWhatTheirKindSays) {
  std::set<std::string> all;
  size_t count = 0;
  for (const char* name :
       {"plain", "comment", "reason_first", "reason_anywhere"}) {
    const PrefixKind kind = *ParsePrefixKind(name);
    EXPECT_STREQ(PrefixKindName(kind), name);
    for (const std::string& wording : Wordings(kind)) {
      all.insert(wording);
      ++count;
      EXPECT_EQ(wording.back(), ':') << wording;
      const bool comment = absl::StrContains(wording, "omment") ||
                           absl::StrContains(wording, "nnotat");
      EXPECT_EQ(comment, kind == PrefixKind::kComment) << wording;
    }
  }
  EXPECT_EQ(all.size(), count);
  EXPECT_THAT(ParsePrefixKind("cot").status().ToString(),
              HasSubstr("no kind of prefix 'cot'"));
}

TEST(Prompts, TabsAreUndoneUnlessThereWereTabs) {
  EXPECT_EQ(ToTabs("        x     y"), "\t\tx\t y");
  EXPECT_EQ(FromTabs(ToTabs("def f():\n    if x:\n        y\n")),
            "def f():\n    if x:\n        y\n");
  EXPECT_EQ(FromTabs(ToTabs("\tx")), "    x");
}

TEST(Prompts, ExtractsTheFirstPythonBlock) {
  EXPECT_EQ(ExtractProgram("a ```python\nx = 1\n``` b ```python\ny\n```"),
            "x = 1\n");
  EXPECT_EQ(ExtractProgram("```python\nold\n```\n### Response: so:\n"
                           "```\n1\n```\n```python\n\tx\n```"),
            "    x\n");
  EXPECT_EQ(ExtractProgram("```\nx\n```"), "x\n");
  EXPECT_EQ(ExtractProgram("so\n```python\nx = 1\ny"), "x = 1\ny");
  EXPECT_EQ(ExtractProgram("x = 1"), "x = 1");
  EXPECT_EQ(ExtractProgram("```python"), "");
  EXPECT_EQ(ExtractProgram(""), "");
}

TEST(Prompts, AModelIsAskedAsThePaperSays) {
  completion::ScriptedClient client([](const completion::CompletionRequest&) {
    return completion::TextCompletion(" So:\n```python\n# one\nx = 1\n```");
  });
  const std::string prompt =
      DecodingPrompt("Set x.", Wordings(PrefixKind::kComment)[0]);
  const auto greedy = client.Complete(GreedyRequest(prompt));
  ASSERT_TRUE(greedy.ok()) << greedy.status();
  EXPECT_EQ(ExtractProgram(greedy->choices[0].text), "# one\nx = 1\n");
  ASSERT_TRUE(client.Complete(SampleRequest(prompt)).ok());
  const auto requests = client.requests();
  EXPECT_EQ(requests[0].temperature, 0);
  EXPECT_EQ(requests[0].n, 1);
  EXPECT_EQ(requests[1].temperature, 0.8);
  EXPECT_EQ(requests[1].top_p, 0.95);
  EXPECT_EQ(requests[1].n, 10);
  EXPECT_EQ(requests[1].prompt, prompt);
}

// ---- Test sets -------------------------------------------------------------

TEST(Mbpp, TaskHasTheTextAndItsTests) {
  MbppProblem problem = {11, "Do it.", "", {"assert f(1)", "assert f(2)"}};
  EXPECT_EQ(*MbppTask(problem),
            "\nDo it.\nTest examples:\nassert f(1)\nassert f(2)");
  problem.task_id = 493;
  problem.code = "import math\r\ndef area(a, b):\r\n    return a";
  EXPECT_EQ(*MbppTask(problem), "\nDo it.\nTest examples:\narea(a, b)");
  problem.code = "x = (1)";
  EXPECT_THAT(MbppTask(problem).status().ToString(),
              HasSubstr("problem 493: its program defines no function"));
  problem.code = "def f";
  EXPECT_TRUE(absl::IsInvalidArgument(MbppTask(problem).status()));
}

TEST(Mbpp, TestSplitIs11To510) {
  const auto in = [](int64_t id) { return InMbppTestSplit({id, "", "", {}}); };
  EXPECT_FALSE(in(10));
  EXPECT_TRUE(in(11));
  EXPECT_TRUE(in(510));
  EXPECT_FALSE(in(511));
}

TEST(Readers, DamagedFilesAreRefused) {
  const auto error = [](const auto& read, const std::string& content) {
    const auto result = read(TempFile("damaged.jsonl", content));
    EXPECT_FALSE(result.ok()) << content;
    return std::string(result.status().message());
  };
  EXPECT_THAT(error(ReadMbpp, ""), HasSubstr("no records"));
  const std::string mbpp =
      "{\"task_id\": 1, \"text\": \"\", \"code\": \"\", \"test_list\": []}\n";
  EXPECT_THAT(error(ReadMbpp, absl::StrCat(mbpp, mbpp)),
              HasSubstr(":2: task_id 1 comes twice"));
  EXPECT_THAT(error(ReadMbpp, "{\"task_id\": \"1\"}"),
              HasSubstr("field \"task_id\" is not a whole number"));
  EXPECT_THAT(error(ReadMbpp,
                    "{\"task_id\": 1, \"text\": \"\", \"code\": "
                    "\"\", \"test_list\": [1]}"),
              HasSubstr("field \"test_list\" is not a list of texts"));
  const std::string test = "{\"task_id\": \"a\", \"test\": \"\"}\n";
  EXPECT_THAT(error(ReadLabelledTests, absl::StrCat(test, test)),
              HasSubstr(":2: task_id 'a' comes twice"));
  EXPECT_THAT(error(ReadWizardCoder, "{\"task_id\": \"a\"}"),
              HasSubstr("field \"completion\""));
  EXPECT_THAT(error(ReadAgents,
                    "{\"model\": \"m\", \"method\": \"a\", "
                    "\"task_id\": \"t\", \"solution\": \"\", "
                    "\"rechecked\": 2}"),
              HasSubstr("field \"rechecked\" is not 0 or 1"));
  EXPECT_FALSE(ReadAgents("/no/such/file").ok());
}

// ---- Comments --------------------------------------------------------------

TEST(Comments, LinesAreCountedAsCoded) {
  const LineCounts counts = CountLines(
      "# a\n\n    \n\t# b\nx = 1  # not counted\ns = '''\n# in a text\n'''\n");
  EXPECT_EQ(counts.lines, 7);
  EXPECT_EQ(counts.comments, 3);
  EXPECT_EQ(CountLines("").lines, 0);
  EXPECT_EQ(CountLines("#").comments, 1);
  // Python's strip takes U+00A0, too, and no line ends at a carriage return.
  EXPECT_EQ(CountLines("\u00a0# a\r# b").comments, 1);
}

TEST(Comments, CutAtHashCutsStrings) {
  EXPECT_EQ(CutAtHash("x = 1  # set x\ny = 2"), "x = 1  \ny = 2");
  EXPECT_EQ(CutAtHash("s = \"#a\""), "s = \"");
  EXPECT_EQ(CutAtHash("    # a\n"), "    \n");
  EXPECT_EQ(CutAtHash(""), "");
}

TEST(Comments, TheGrammarTellsStringsFromComments) {
  const auto found =
      FindComments("s = \"#a\"  # b # c\n'''\n# d\n'''\n#e\nx = 1\n#");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->comments, 3);
  EXPECT_EQ(found->without, "s = \"#a\"  \n'''\n# d\n'''\n\nx = 1\n");
  EXPECT_TRUE(found->parses);
  const auto broken = FindComments("def f(:\n");
  ASSERT_TRUE(broken.ok()) << broken.status();
  EXPECT_FALSE(broken->parses);
  EXPECT_EQ(broken->without, "def f(:\n");
  EXPECT_EQ(FindComments("")->without, "");
}

// ---- Error types -----------------------------------------------------------

TEST(ErrorTypes, OfMessagesByBothRules) {
  using E = ErrorType;
  const struct {
    const char* message;
    E substring, number;
  } cases[] = {
      {"Test 1", E::kFirstTest, E::kFirstTest},
      {"Test 2", E::kLaterTest, E::kLaterTest},
      {"Test 11", E::kFirstTest, E::kLaterTest},
      {"Test 21", E::kLaterTest, E::kLaterTest},
      {"This prints if this assert fails 1 (good for debugging!)",
       E::kFirstTest, E::kFirstTest},
      {"This prints if this assert fails 12 (good for debugging!)",
       E::kFirstTest, E::kLaterTest},
      {"This prints if this assert fails 2(good for debugging!)", E::kLaterTest,
       E::kLaterTest},
      {"First test error: FalseTest 1", E::kFirstTest, E::kFirstTest},
      {"Test x Test 3", E::kLaterTest, E::kLaterTest},
      {"assert fails 4, Test 1", E::kFirstTest, E::kLaterTest},
      {"Test ", E::kLaterTest, E::kOther},
      {"Test 99999999999999999999", E::kLaterTest, E::kOther},
      {"test1", E::kOther, E::kOther},
      {"list index out of range", E::kOther, E::kOther},
      {"", E::kOther, E::kOther},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(TypeOfMessage(one.message, LabelRule::kSubstring), one.substring)
        << one.message;
    EXPECT_EQ(TypeOfMessage(one.message, LabelRule::kNumber), one.number)
        << one.message;
  }
}

// Of problems that a sample solves no failure counts.
TEST(ErrorTypes, OnlyUnsolvedProblemsCount) {
  const std::vector<SampleResult> results = {
      {"a", false, "Test 1"}, {"a", true, ""},         {"b", false, "Test 1"},
      {"b", false, "Test 2"}, {"c", false, "no name"}, {"a", false, "Test 3"}};
  const ErrorCounts counts = CountErrors(results, LabelRule::kNumber);
  EXPECT_EQ(counts.samples, 6);
  EXPECT_EQ(counts.passed, 1);
  EXPECT_THAT(counts.failed,
              UnorderedElementsAre(Pair(ErrorType::kFirstTest, 1),
                                   Pair(ErrorType::kLaterTest, 1),
                                   Pair(ErrorType::kOther, 1)));
  EXPECT_EQ(CountErrors({}, LabelRule::kNumber).samples, 0);
}

constexpr char kTest[] =
    "def check(candidate):\n"
    "    assert True, \"This prints\"\n"
    "    assert candidate(1) == (2, 3), \"Test 7\"\n"
    "    if x: assert not f(\"a, b\")  # no message\n"
    "    assert candidate([y for y in z]), 'error: ' + str(candidate(1))\n"
    "    assert (candidate(2)), f\"{x}\"\n";

TEST(Asserts, AreFoundWithTheirMessages) {
  const auto asserts = FindAsserts(kTest);
  ASSERT_TRUE(asserts.ok()) << asserts.status();
  ASSERT_EQ(asserts->size(), 5);
  std::vector<std::string> conditions;
  for (const TestAssert& one : *asserts) conditions.push_back(one.condition);
  EXPECT_THAT(conditions,
              ElementsAre("True", "candidate(1) == (2, 3)", "not f(\"a, b\")",
                          "candidate([y for y in z])", "(candidate(2))"));
  EXPECT_TRUE((*asserts)[0].literal);
  EXPECT_EQ((*asserts)[0].message, "This prints");
  EXPECT_FALSE((*asserts)[1].literal);
  EXPECT_EQ((*asserts)[1].message, "Test 7");
  EXPECT_FALSE((*asserts)[2].has_message);
  EXPECT_TRUE((*asserts)[3].has_message);
  EXPECT_FALSE((*asserts)[3].message.has_value());
  EXPECT_FALSE((*asserts)[4].message.has_value());
  EXPECT_TRUE(FindAsserts("x = 1")->empty());
  EXPECT_THAT(FindAsserts("assert (").status().ToString(),
              HasSubstr("does not parse"));
}

TEST(Asserts, UniformLabelsAreNumberedWithoutLiterals) {
  EXPECT_EQ(*WithUniformLabels(kTest),
            "def check(candidate):\n"
            "    assert True, \"This prints\"\n"
            "    assert candidate(1) == (2, 3), \"Test 1\"\n"
            "    if x: assert not f(\"a, b\"), \"Test 2\"  # no message\n"
            "    assert candidate([y for y in z]), \"Test 3\"\n"
            "    assert (candidate(2)), \"Test 4\"\n");
  EXPECT_FALSE(WithUniformLabels("assert (").ok());
}

// The conditions are those of before, and labelling again changes nothing.
TEST(Asserts, OfAllReleasedTests) {
  const std::string path =
      FindTestAsset("mango/humaneval_labelled_asserts.jsonl.gz");
  if (path.empty()) {
    GTEST_SKIP() << "mango/humaneval_labelled_asserts.jsonl.gz is not below a "
                    "folder of REPRO_ASSETS";
  }
  const auto tests = ReadLabelledTests(path);
  ASSERT_TRUE(tests.ok()) << tests.status();
  EXPECT_EQ(tests->size(), 164);
  for (const auto& [id, test] : *tests) {
    const auto uniform = WithUniformLabels(test);
    ASSERT_TRUE(uniform.ok()) << id << uniform.status();
    EXPECT_EQ(*WithUniformLabels(*uniform), *uniform) << id;
    const auto before = FindAsserts(test);
    const auto after = FindAsserts(*uniform);
    ASSERT_EQ(before->size(), after->size()) << id;
    int number = 0;
    for (size_t i = 0; i < before->size(); ++i) {
      EXPECT_EQ((*before)[i].condition, (*after)[i].condition) << id;
      if ((*after)[i].literal) continue;
      EXPECT_EQ((*after)[i].message, absl::StrCat("Test ", ++number)) << id;
    }
  }
}

TEST(JudgeAll, MessagesComeFromTheFailingAssert) {
  const absl::Status permitted = exec::NamespacesPermitted();
  if (!permitted.ok()) GTEST_SKIP() << "NOT TESTED: " << permitted;
  const auto sandbox = exec::Sandbox::Create();
  ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  const std::string tests =
      "def check(f):\n    assert f(1) == 2, \"Test 1\"\n"
      "    assert f(2) == 3, \"Test 2\"\ncheck(inc)\n";
  const auto results =
      JudgeAll(*sandbox,
               {{"a", "def inc(x):\n    return x + 1\n", tests},
                {"b", "def inc(x):\n    return x\n", tests},
                {"c", "def inc(x):\n    return 2\n", tests},
                {"d", "def inc(x):\n    return y\n", tests},
                {"e", "def inc(x)\n", tests},
                {"f", "import sys\nsys.exit(0)\n", tests}},
               /*workers=*/2);
  ASSERT_TRUE(results.ok()) << results.status();
  std::vector<std::string> messages;
  for (const SampleResult& result : *results) {
    EXPECT_EQ(result.passed, result.task_id == "a");
    messages.push_back(result.message);
  }
  EXPECT_EQ(messages[0], "");
  EXPECT_EQ(messages[1], "Test 1");
  EXPECT_EQ(messages[2], "Test 2");
  EXPECT_THAT(messages[3], HasSubstr("'y' is not defined"));
  const ErrorCounts counts = CountErrors(*results, LabelRule::kSubstring);
  EXPECT_THAT(counts.failed,
              UnorderedElementsAre(Pair(ErrorType::kFirstTest, 1),
                                   Pair(ErrorType::kLaterTest, 1),
                                   Pair(ErrorType::kOther, 3)));
}

}  // namespace
}  // namespace repro::mango
