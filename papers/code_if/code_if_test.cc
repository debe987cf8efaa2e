// Expected values marked "Python" are those of the authors' scoring and
// construction rules, run on the same input under Python 3.11; others are by
// hand.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/assets/test_asset.h"
#include "common/completion/scripted.h"
#include "common/data/io.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/code_if/construction.h"
#include "papers/code_if/judge.h"
#include "papers/code_if/leaderboard.h"
#include "papers/code_if/metrics.h"
#include "papers/code_if/questions.h"

namespace repro::code_if {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// ------------------------------------------------------------------ metrics

TEST(MetricsTest, WorkedExample) {
  const auto scores = ScoreVerdicts({true, false, true, true}, {{3, {1}}});
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ(scores->csr, 0);
  EXPECT_EQ(scores->ssr, 0.75);
  EXPECT_EQ(scores->rsr, 0.5);
  EXPECT_EQ(scores->ccsr, 0.5);
}

TEST(MetricsTest, AllAndNone) {
  const Dependencies dependencies = {{1, {0}}, {2, {0, 1}}};
  const auto all = ScoreVerdicts({true, true, true}, dependencies);
  const auto none = ScoreVerdicts({false, false, false}, dependencies);
  for (const auto& [scores, value] : {std::pair(*all, 1), {*none, 0}}) {
    EXPECT_EQ(scores.csr, value);
    EXPECT_EQ(scores.ssr, value);
    EXPECT_EQ(scores.rsr, value);
    EXPECT_EQ(scores.ccsr, value);
  }
}

TEST(MetricsTest, OrderAndLimitsOverAllVerdicts) {
  const Dependencies dependencies = {{2, {0, 1}}, {4, {0}}};
  for (int bits = 0; bits < 32; ++bits) {
    std::vector<bool> verdicts;
    for (int i = 0; i < 5; ++i) verdicts.push_back(bits >> i & 1);
    const Scores scores = *ScoreVerdicts(verdicts, dependencies);
    EXPECT_LE(scores.csr, scores.rsr);
    EXPECT_LE(scores.rsr, scores.ssr);
    EXPECT_LE(scores.csr, scores.ccsr);
    EXPECT_LE(scores.ccsr, scores.ssr);
    const Scores free = *ScoreVerdicts(verdicts, {});
    EXPECT_EQ(free.rsr, free.ssr);
    // Runs of yes without a gap.
    const bool contiguous = (((bits | (bits - 1)) + 1) & bits) == 0;
    EXPECT_EQ(free.ccsr == free.ssr, contiguous) << bits;
  }
}

TEST(MetricsTest, BadVerdicts) {
  EXPECT_FALSE(ScoreVerdicts({}, {}).ok());
  EXPECT_FALSE(ScoreVerdicts({true}, {{1, {0}}}).ok());
  EXPECT_FALSE(ScoreVerdicts({true}, {{0, {1}}}).ok());
  EXPECT_FALSE(ScoreVerdicts({true}, {{0, {-1}}}).ok());
}

Question TwoInstructions(int64_t id) {
  Question question;
  question.id = id;
  question.instructions = {{"global", "Use Go."}, {"class", "Define A."}};
  question.dependencies = {{1, {0}}};
  return question;
}

TEST(MetricsTest, MeansOverScoredQuestions) {
  const std::vector<Question> questions = {
      TwoInstructions(1), TwoInstructions(2), TwoInstructions(3)};
  const auto scores =
      ScoreQuestions(questions, {std::vector<bool>{true, true}, std::nullopt,
                                 std::vector<bool>{false, true}});
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_EQ(scores->num_scored, 2);
  EXPECT_EQ(scores->num_dropped, 1);
  EXPECT_EQ(scores->mean.csr, 0.5);
  EXPECT_EQ(scores->mean.ssr, 0.75);
  EXPECT_EQ(scores->mean.rsr, 0.5);
  EXPECT_EQ(scores->mean.ccsr, 0.75);
  EXPECT_EQ(scores->category_ssr.at("global"), 0.5);
  EXPECT_EQ(scores->category_ssr.at("class"), 1);
  EXPECT_FALSE(ScoreQuestions(questions, {std::nullopt}).ok());
  EXPECT_FALSE(
      ScoreQuestions(questions, {std::nullopt, std::nullopt, std::nullopt})
          .ok());
  EXPECT_THAT(std::string(ScoreQuestions(questions, {std::nullopt, std::nullopt,
                                                     std::vector<bool>{true}})
                              .status()
                              .message()),
              HasSubstr("question 3"));
}

TEST(MetricsTest, IndependentJudgeAgainstDraws) {
  const std::vector<int64_t> counts = {5, 5, 12, 21};
  const double expected = *IndependentCsr(0.8, counts);
  std::mt19937_64 random(7);
  std::bernoulli_distribution yes(0.8);
  constexpr int kDraws = 40000;
  double all_yes = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    bool all = true;
    for (int64_t i = 0; i < counts[draw % 4]; ++i) all &= yes(random);
    all_yes += all;
  }
  const double sigma = std::sqrt(expected * (1 - expected) / kDraws);
  EXPECT_NEAR(all_yes / kDraws, expected, 4 * sigma);
  EXPECT_EQ(*IndependentCsr(1, counts), 1);
  EXPECT_EQ(*IndependentCsr(0, counts), 0);
  EXPECT_FALSE(IndependentCsr(1.1, counts).ok());
  EXPECT_FALSE(IndependentCsr(std::nan(""), counts).ok());
  EXPECT_FALSE(IndependentCsr(0.5, {}).ok());
  EXPECT_FALSE(IndependentCsr(0.5, {0}).ok());
}

// -------------------------------------------------------------------- judge

TEST(JudgeTest, ParsesAsTheAuthorsScript) {
  // Python: extract_list.
  EXPECT_THAT(ParseJudgeAnswer("[Yes, No]"), ElementsAre("Yes", "No"));
  EXPECT_THAT(ParseJudgeAnswer("['Yes', \"No\"]"), ElementsAre("Yes", "No"));
  EXPECT_THAT(ParseJudgeAnswer("Sure: ['Yes', 'No',] and ['No']"),
              ElementsAre("Yes", "No"));
  EXPECT_THAT(ParseJudgeAnswer("```\n[\n'Yes', # first\n'No'\n]\n```"),
              ElementsAre("Yes", "No"));
  EXPECT_THAT(ParseJudgeAnswer("['Ye' 's', u'No']"), ElementsAre("Yes", "No"));
  EXPECT_THAT(ParseJudgeAnswer("[True, 1.5, 'Yes']"),
              ElementsAre("True", "1.5", "Yes"));
  EXPECT_THAT(ParseJudgeAnswer("[]"), IsEmpty());
  for (const char* broken :
       {"", "Yes", "]", "['Yes', 'No'", "['Yes' 'No", "[1. Yes, 2. No]",
        "[['Yes'], ['No']]", "['Yes',, 'No']", "['Yes\n', 'No']", "[,]",
        "['Yes'; 'No']"}) {
    EXPECT_THAT(ParseJudgeAnswer(broken), ElementsAre("No")) << broken;
  }
}

TEST(JudgeTest, VerdictsAreExact) {
  EXPECT_THAT(*ParseVerdicts("['Yes', 'yes', 'YES', 'No', 'Yes ']", 5),
              ElementsAre(true, false, false, false, false));
  EXPECT_FALSE(ParseVerdicts("['Yes']", 2));
  EXPECT_FALSE(ParseVerdicts("no list", 2));
  // A broken answer is a verdict on a single instruction.
  EXPECT_THAT(*ParseVerdicts("no list", 1), ElementsAre(false));
}

TEST(JudgeTest, HostileAnswers) {
  const std::string many(1'000'000, '[');
  EXPECT_THAT(ParseJudgeAnswer(many), ElementsAre("No"));
  EXPECT_THAT(ParseJudgeAnswer(many + "]"), ElementsAre("No"));
  EXPECT_THAT(ParseJudgeAnswer("['" + std::string(1'000'000, '\\') + "]"),
              ElementsAre("No"));
  EXPECT_THAT(ParseJudgeAnswer(std::string("[\0\xff'Yes']", 9)),
              ElementsAre("No"));
  std::string list = "[";
  for (int i = 0; i < 100000; ++i) list += "'Yes',";
  EXPECT_EQ(ParseJudgeAnswer(list + "]").size(), 100000);
  EXPECT_FALSE(ParseVerdicts(list + "]", 12));
}

TEST(JudgeTest, PromptsNumberFromOne) {
  const Question question = TwoInstructions(1);
  EXPECT_EQ(NumberedInstructions(question.instructions),
            "1. Use Go.\n2. Define A.");
  EXPECT_THAT(AnswerPrompt(question), HasSubstr("1. Use Go.\n2. Define A.\n"));
  EXPECT_THAT(JudgePrompt(question, "package p"),
              HasSubstr("2. Define A.\n\nModel-generated code:\npackage p\n"));
}

TEST(JudgeTest, AsksOnce) {
  completion::ScriptedClient client({"['Yes', 'No']", "I cannot judge."});
  const Question question = TwoInstructions(1);
  const auto verdicts = AskJudge(client, question, "package p");
  ASSERT_TRUE(verdicts.ok()) << verdicts.status();
  EXPECT_THAT(**verdicts, ElementsAre(true, false));
  EXPECT_FALSE(AskJudge(client, question, "package p")->has_value());
  EXPECT_EQ(AskJudge(client, question, "package p").status().code(),
            absl::StatusCode::kResourceExhausted);
  const auto requests = client.requests();
  EXPECT_EQ(requests[0].temperature, 0.5);
  EXPECT_EQ(requests[0].max_tokens, 4096);
}

// -------------------------------------------------------------- construction

TEST(ConstructionTest, PrerequisitesAreTransitiveAndSorted) {
  EXPECT_THAT(WithPrerequisites({1}), ElementsAre(1));
  EXPECT_THAT(WithPrerequisites({48, 1, 42}),
              ElementsAre(1, 32, 34, 36, 42, 48));
  EXPECT_THAT(WithPrerequisites({47, 47}), ElementsAre(34, 36, 47));
  EXPECT_THAT(Prerequisites(1), IsEmpty());
  EXPECT_THAT(Prerequisites(999), IsEmpty());
}

TEST(ConstructionTest, Conflicts) {
  EXPECT_EQ(FindConflict({1, 4, 24}), (std::pair<int64_t, int64_t>(24, 4)));
  EXPECT_EQ(FindConflict({9, 8}), (std::pair<int64_t, int64_t>(8, 9)));
  EXPECT_EQ(FindConflict({1, 3, 24, 28}).first, 0);
  // What DrawTemplates adds unchecked conflicts with nothing.
  for (int64_t id = 1; id <= 50; ++id) {
    for (const int64_t needed : Prerequisites(id)) {
      for (const auto& [a, b] : ConflictingPairs()) {
        EXPECT_NE(needed, a);
        EXPECT_NE(needed, b);
      }
    }
  }
}

TEST(ConstructionTest, DrawsHoldTheRules) {
  std::vector<InstructionTemplate> templates(50);
  for (int64_t i = 0; i < 50; ++i) templates[i].id = i + 1;
  std::mt19937_64 random(1);
  std::map<int64_t, int> drawn;
  for (int draw = 0; draw < 2000; ++draw) {
    const auto ids = DrawTemplates(templates, 8, random);
    ASSERT_TRUE(ids.ok());
    EXPECT_GE(ids->size(), 8);
    EXPECT_EQ(ids->front(), 1);
    EXPECT_TRUE(std::is_sorted(ids->begin(), ids->end()));
    EXPECT_EQ(FindConflict(*ids).first, 0);
    EXPECT_EQ(WithPrerequisites(*ids), *ids);
    for (const int64_t id : *ids) ++drawn[id];
  }
  EXPECT_EQ(drawn.size(), 50);
  // Of 9 pairs only one of each can be drawn, and 24 or 4 of the tenth.
  EXPECT_TRUE(DrawTemplates(templates, 41, random).ok());
  EXPECT_FALSE(DrawTemplates(templates, 43, random).ok());
  EXPECT_FALSE(DrawTemplates({}, 1, random).ok());
}

TEST(ConstructionTest, RebuildsTheFirstQuestion) {
  const std::vector<int64_t> ids = {1,  5,  9,  12, 20, 23,
                                    29, 34, 35, 36, 43, 45};
  const std::vector<std::string> categories = {
      "global",   "global",   "global",      "structural control",
      "variable", "variable", "function",    "class",
      "class",    "file",     "combination", "combination"};
  const Dependencies released = {{5, {0, 1, 2, 4}},
                                 {8, {0, 1, 2, 7}},
                                 {10, {0, 1, 2, 7}},
                                 {11, {0, 1, 2, 6}}};
  EXPECT_EQ(RebuildDependencies(ids, categories), released);
  EXPECT_EQ(RebuildDependencies(ids, categories, Repeated::kEach), released);
}

TEST(ConstructionTest, RepeatedTemplatesStandForTheirLast) {
  const std::vector<int64_t> ids = {1, 29, 29, 45, 45};
  const std::vector<std::string> categories = {"global", "function", "function",
                                               "combination", "combination"};
  // Question 309 has {"12": [0, 1, 7, 7, 7]} for three functions.
  EXPECT_EQ(RebuildDependencies(ids, categories),
            (Dependencies{{4, {0, 2, 2}}}));
  EXPECT_EQ(RebuildDependencies(ids, categories, Repeated::kEach),
            (Dependencies{{3, {0, 1, 2}}, {4, {0, 1, 2}}}));
}

// ----------------------------------------------------------------- questions

constexpr char kTemplates[] = R"([
  {"id": 2, "type": "global", "format_keys": ["characters_num"],
   "instruction_format": "Your code lines should not exceed {characters_num} characters.",
   "check_format_list": ["Does any line exceed {characters_num}?"]},
  {"id": 7, "type": "global", "format_keys": ["class_count"],
   "instruction_format": "Your code should not have more than {class_count} classes."},
  {"id": 34, "type": "class", "format_keys": ["class_name"],
   "instruction_format": "Your code should define a class named {class_name}."},
  {"id": 32, "type": "interface", "format_keys": ["interface_name"],
   "instruction_format": "Your code should define an interface named {interface_name}."},
  {"id": 42, "type": "combination", "format_keys": ["class_name", "interface_name"],
   "instruction_format": "Your code should define a class named {class_name} that implements the {interface_name} interface."},
  {"id": 48, "type": "combination", "format_keys": ["package_name", "function_name_list"],
   "instruction_format": "Your code should be organized in a package named {package_name}, which should contain these functions {function_name_list}."},
  {"id": 49, "type": "global", "format_keys": ["line_num"],
   "instruction_format": "Your function should not exceed {line_num} lines."}
])";

TEST(QuestionsTest, MatchesTemplates) {
  const auto templates = ReadTemplates(TempFile("templates.json", kTemplates));
  ASSERT_TRUE(templates.ok()) << templates.status();
  EXPECT_EQ(templates->front().id, 2);
  EXPECT_EQ(templates->front().checks.size(), 1);
  EXPECT_THAT(templates->back().checks, IsEmpty());
  const auto matcher = TemplateMatcher::Make(*templates);
  ASSERT_TRUE(matcher.ok()) << matcher.status();
  const auto match = [&](const char* category, const char* text) {
    return matcher->Match({category, text});
  };
  EXPECT_EQ(match("global", "Your code lines should not exceed 80 characters.")
                ->values.at("characters_num"),
            "80");
  EXPECT_EQ(match("global", "Your code should not have more than 1 class.")->id,
            7);
  EXPECT_EQ(match("class", "Your code should define a class named `A`.")
                ->values.at("class_name"),
            "A");
  const auto both =
      match("combination",
            "Your code should define a class named 'A' that implements the  B "
            "interface");
  ASSERT_TRUE(both);
  EXPECT_EQ(both->id, 42);
  EXPECT_EQ(both->values.at("class_name"), "A");
  EXPECT_EQ(both->values.at("interface_name"), "B");
  EXPECT_EQ(match("global", "Your function f should not exceed 20 lines.")
                ->values.at("function_name"),
            "f");
  EXPECT_EQ(match("global", "Your function should not exceed 20 lines.")
                ->values.count("function_name"),
            0);
  // An empty placeholder, as it was released.
  const auto empty =
      match("combination",
            "Your code should be organized in a package named add_form, which "
            "should contain these functions .");
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->id, 48);
  EXPECT_THAT(SplitList(empty->values.at("function_name_list")), IsEmpty());
  // Another category, and other words.
  EXPECT_FALSE(match("file", "Your code should define a class named A."));
  EXPECT_FALSE(match("class", "Your code should define class A."));
  EXPECT_FALSE(match("class", ""));
}

TEST(QuestionsTest, SplitsLists) {
  EXPECT_THAT(SplitList("['a', \"b\"]"), ElementsAre("a", "b"));
  EXPECT_THAT(SplitList("a, b, and c"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(SplitList("a and b"), ElementsAre("a", "b"));
  EXPECT_THAT(SplitList("'a', 'b'"), ElementsAre("a", "b"));
  EXPECT_THAT(SplitList("map<int, int> m, k"),
              ElementsAre("map<int, int> m", "k"));
  for (const char* none : {"", "[]", " ", "no parameters", "none", ",,"}) {
    EXPECT_THAT(SplitList(none), IsEmpty()) << none;
  }
}

TEST(QuestionsTest, BadTemplates) {
  const auto error = [](const std::string& text) {
    return std::string(
        ReadTemplates(TempFile("bad.json", text)).status().message());
  };
  EXPECT_THAT(error("[\n{\"id\": 1,}]"), HasSubstr("bad.json:2: "));
  EXPECT_THAT(error(""), HasSubstr("bad.json:1: "));
  EXPECT_THAT(error("{}"), HasSubstr("no list of templates"));
  EXPECT_THAT(error("[{\"id\": 1}]"), HasSubstr("template 1: "));
  EXPECT_THAT(error("[{\"id\": 1, \"type\": \"odd\", \"format_keys\": [], "
                    "\"instruction_format\": \"x\"}]"),
              HasSubstr("no category 'odd'"));
  std::string twice = kTemplates;
  twice = absl::StrReplaceAll(twice, {{"\"id\": 7", "\"id\": 2"}});
  EXPECT_THAT(error(twice), HasSubstr("template id 2 twice"));
  EXPECT_EQ(ReadTemplates("/no/such/file").status().code(),
            absl::StatusCode::kNotFound);
  InstructionTemplate odd{1, "global", "Use {a} and {b}.", {"a"}, {}};
  EXPECT_THAT(std::string(TemplateMatcher::Make({odd}).status().message()),
              HasSubstr("the braces hold a, b"));
}

constexpr char kQuestion[] =
    R"({"question": "Q", "meta_info": {"programming_language": "go", )"
    R"("item_set": "hard"}, "instruction_list": [{"type": "global", )"
    R"("instruction": "Use Go."}, {"type": "class", "instruction": "A."}], )"
    R"("instruction_dependence": {"1": [0]}, "question_id": 7})";

TEST(QuestionsTest, ReadsQuestions) {
  const auto questions =
      ReadQuestions(TempFile("q.jsonl", absl::StrCat(kQuestion, "\n\n")));
  ASSERT_TRUE(questions.ok()) << questions.status();
  ASSERT_EQ(questions->size(), 1);
  const Question& question = questions->front();
  EXPECT_EQ(question.id, 7);
  EXPECT_EQ(question.language, code::CodeLanguage::kGo);
  EXPECT_TRUE(question.hard);
  EXPECT_EQ(question.instructions[1].category, "class");
  EXPECT_EQ(question.dependencies, (Dependencies{{1, {0}}}));
}

TEST(QuestionsTest, BadQuestionsNameTheLine) {
  const auto error_with = [](const char* from, const char* to) {
    const std::string bad = absl::StrReplaceAll(kQuestion, {{from, to}});
    return std::string(
        ReadQuestions(
            TempFile("q.jsonl", absl::StrCat(absl::StrReplaceAll(
                                                 kQuestion, {{": 7", ": 6"}}),
                                             "\n", bad, "\n")))
            .status()
            .message());
  };
  for (const auto& [from, to, what] :
       std::vector<std::tuple<const char*, const char*, const char*>>{
           {"{\"question\"", "{{", "not one JSON value"},
           {"\"go\"", "\"cobol\"", "cobol"},
           {"\"go\"", "\"php\"", "none of java, python, cpp, go"},
           {"\"go\"", "3", "type"},
           {"hard", "harder", "neither easy nor hard"},
           {"\"question\": \"Q\", ", "", "question"},
           {"{\"1\": [0]}", "{\"2\": [0]}", "position 2 is none of the 2"},
           {"{\"1\": [0]}", "{\"1\": [-1]}", "position -1"},
           {"{\"1\": [0]}", "{\"x\": [0]}", "'x' is no position"},
           {"{\"1\": [0]}", "[1]", "type"},
           {"{\"1\": [0]}", "{\"1\": [0.5e300]}", "position"},
           {"\"type\": \"class\"", "\"type\": \"klass\"", "no category"},
           {": 7", ": 6", "question_id 6 twice"}}) {
    const std::string error = error_with(from, to);
    EXPECT_THAT(error, HasSubstr("q.jsonl:2: ")) << from << " to " << to;
    EXPECT_THAT(error, HasSubstr(what)) << from << " to " << to;
  }
  EXPECT_THAT(
      std::string(ReadQuestions(TempFile("e.jsonl", "\n")).status().message()),
      HasSubstr("no records"));
}

// --------------------------------------------------------------- leaderboard

// One model: 2 easy and 1 hard question, a Java, a Python, a C++ and no Go
// question would be too few, so 4 questions, one a language.
std::string Leaderboard() {
  std::string fields = "{\"model\": \"m\"";
  const auto add = [&](const std::string& subset, const char* count,
                       const char* score) {
    absl::StrAppend(&fields, ", \"", subset, "_data_len\": \"", count, "\"");
    for (const char* metric : {"CS", "SS", "RS", "CCS"}) {
      absl::StrAppend(&fields, ", \"", subset, "_", metric, "\": \"", score,
                      "\"");
    }
    for (const char* category : kCategories) {
      absl::StrAppend(&fields, ", \"", subset, "_", category,
                      "_SS\": \"0.375\"");
    }
  };
  add("full", "4", "0.5");
  add("easy", "3", "0.6666666666666666");
  add("hard", "1", "0");
  add("full_java", "1", "1");
  add("full_python", "1", "1");
  add("full_cpp", "1", "0");
  add("full_go", "1", "0.0");
  return absl::StrCat("{\"performances\": [\n", fields, "}]}");
}

TEST(LeaderboardTest, SubsetsAddUp) {
  const auto models = ReadLeaderboard(TempFile("l.json", Leaderboard()));
  ASSERT_TRUE(models.ok()) << models.status();
  const ModelScores& model = **FindModel(*models, "m");
  EXPECT_EQ(*FromOtherSubsets(model, "full", "CSR"), 0.5);
  EXPECT_NEAR(*FromOtherSubsets(model, "easy", "CSR"), 2.0 / 3, 1e-15);
  EXPECT_NEAR(*FromOtherSubsets(model, "hard", "CCSR"), 0, 1e-15);
  EXPECT_FALSE(FromOtherSubsets(model, "full_go", "CSR").ok());
  EXPECT_FALSE(FromOtherSubsets(model, "full", "XSR").ok());
  EXPECT_LT(LargestPartitionError(*models), 1e-15);
  EXPECT_LT(LargestCountError(*models), 1e-15);
  // 3/8 of 8, but of no number from 5 to 7.
  std::map<std::string, int64_t> sizes;
  for (const char* category : kCategories) sizes[category] = 9;
  EXPECT_EQ(CountInstructionShares(*models, sizes, 0.8), 8);
  for (auto& [category, size] : sizes) size = 7;
  EXPECT_EQ(CountInstructionShares(*models, sizes, 0.8), 0);
  EXPECT_THAT(std::string(FindModel(*models, "n").status().message()),
              HasSubstr("there are m"));
}

TEST(LeaderboardTest, BadFiles) {
  const auto error_with = [](const char* from, const char* to) {
    return std::string(
        ReadLeaderboard(TempFile("l.json", absl::StrReplaceAll(Leaderboard(),
                                                               {{from, to}})))
            .status()
            .message());
  };
  EXPECT_THAT(error_with("[\n{", "[\n{{"), HasSubstr("l.json:2: "));
  EXPECT_THAT(error_with("performances", "scores"), HasSubstr("performances"));
  EXPECT_THAT(error_with("\"full_CS\": \"0.5\"", "\"full_CS\": \"1.5\""),
              HasSubstr("model 1: field \"full_CS\": '1.5'"));
  EXPECT_THAT(error_with("\"full_CS\": \"0.5\"", "\"full_CS\": \"nan\""),
              HasSubstr("'nan' is no number"));
  EXPECT_THAT(error_with("\"full_CS\": \"0.5\"", "\"full_CS\": 0.5"),
              HasSubstr("model 1: "));
  EXPECT_THAT(error_with("\"full_CS\": \"0.5\", ", ""), HasSubstr("full_CS"));
  EXPECT_THAT(error_with("full_data_len\": \"4\"", "full_data_len\": \"0\""),
              HasSubstr("'0' is no number of questions"));
  EXPECT_FALSE(ReadLeaderboard(TempFile("l.json", "")).ok());
  EXPECT_FALSE(ReadLeaderboard(TempFile("l.json", "[]")).ok());
  EXPECT_FALSE(
      ReadLeaderboard(TempFile("l.json", "{\"performances\": []}")).ok());
}

// -------------------------------------------------------------- released data

TEST(ReleasedTest, EveryInstructionIsATemplateOfItsQuestion) {
  const std::string templates_path =
      FindTestAsset("code_if/instruction_templates_en.json.gz");
  const std::string questions_path =
      FindTestAsset("code_if/final_release_1200.jsonl.gz");
  if (templates_path.empty() || questions_path.empty()) {
    GTEST_SKIP() << "no assets";
  }
  const auto matcher = TemplateMatcher::Make(*ReadTemplates(templates_path));
  const auto questions = ReadQuestions(questions_path);
  ASSERT_TRUE(questions.ok()) << questions.status();
  std::map<int64_t, int64_t> counts;
  for (const Question& question : *questions) {
    int64_t last = 0;
    for (const Instruction& instruction : question.instructions) {
      const auto matched = matcher->Match(instruction);
      ASSERT_TRUE(matched) << question.id << ": " << instruction.text;
      EXPECT_GE(matched->id, last) << question.id;
      last = matched->id;
      ++counts[matched->id];
    }
  }
  // Python, by regular expressions.
  const std::map<int64_t, int64_t> expected = {
      {1, 1200}, {2, 244},   {3, 231},  {4, 214},  {5, 230},  {6, 241},
      {7, 235},  {8, 213},   {9, 220},  {10, 208}, {11, 225}, {12, 203},
      {13, 227}, {14, 233},  {15, 212}, {16, 241}, {17, 230}, {18, 218},
      {19, 204}, {20, 1011}, {21, 210}, {22, 250}, {23, 262}, {24, 206},
      {25, 195}, {26, 231},  {27, 221}, {28, 229}, {29, 740}, {30, 244},
      {31, 244}, {32, 684},  {33, 248}, {34, 926}, {35, 241}, {36, 567},
      {37, 447}, {38, 253},  {39, 258}, {40, 238}, {41, 237}, {42, 203},
      {43, 232}, {44, 224},  {45, 249}, {46, 267}, {47, 225}, {48, 220},
      {49, 245}, {50, 255}};
  EXPECT_EQ(counts, expected);
}

}  // namespace
}  // namespace repro::code_if
