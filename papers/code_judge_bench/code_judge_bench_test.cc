#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/completion/scripted.h"
#include "common/data/io.h"
#include "papers/code_judge_bench/items.h"
#include "papers/code_judge_bench/judge.h"
#include "papers/code_judge_bench/scoring.h"

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

// ------------------------------------------------------------------ items

TEST(Tasks, NamesGoBothWays) {
  for (const Task task : kTasks) EXPECT_EQ(*ParseTask(TaskName(task)), task);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseTask("CodeGen").status()));
  EXPECT_THAT(ParseTask("").status().message(), HasSubstr("coderepair"));
}

TEST(ErrorText, TellsWhatEachCodeHas) {
  const struct {
    const char* meta;
    const char* text;
  } cases[] = {
      {R"({"error_code":-1,"error":"bad syntax"})",
       "The program is wrong: it does not compile.\nbad syntax"},
      {R"({"error_code":-2,"inputs":"1 2","output":"3","expected":[4]})",
       "The program is wrong: it gives a wrong answer.\nInput:\n1 2\nOutput:\n3"
       "\nExpected:\n[4]"},
      {R"({"error_code":-3,"error":"slow","inputs":"9","expected":"1"})",
       "The program is wrong: it exceeds the time limit.\nslow\nInput:\n9"
       "\nExpected:\n1"},
      {R"({"error_code":-4,"error":"boom","inputs":"9","expected":"1"})",
       "The program is wrong: it ends with a runtime error.\nInput:\n9"
       "\nExpected:\n1\nboom"},
      {R"({"error_code":-4,"inputs":null,"error_message":"boom"})",
       "The program is wrong: it ends with a runtime error.\nboom"},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(*ErrorText(json::parse(one.meta)), one.text) << one.meta;
  }
}

TEST(ErrorText, SaysWhatIsMissing) {
  const struct {
    const char* meta;
    const char* message;
  } cases[] = {
      {"[]", "not an object"},
      {"{}", "\"error_code\""},
      {R"({"error_code":"-1"})", "\"error_code\""},
      {R"({"error_code":-5})", "error_code -5"},
      {R"({"error_code":-1})", "\"error\" is missing"},
      {R"({"error_code":-2,"inputs":"","output":""})", "\"expected\""},
      {R"({"error_code":-4,"error":"x"})", "\"error_message\""},
  };
  for (const auto& one : cases) {
    const auto text = ErrorText(json::parse(one.meta));
    EXPECT_TRUE(absl::IsInvalidArgument(text.status())) << one.meta;
    EXPECT_THAT(text.status().message(), HasSubstr(one.message));
  }
}

json RepairRecord() {
  return {{"question_content", "Add {a} and {b}."},
          {"difficulty", "easy"},
          {"pos_response", "right"},
          {"neg_response", "wrong"},
          {"wrong_code", "print(1)"},
          {"wrong_meta", {{"error_code", -1}, {"error", "E"}}},
          {"pos_input", "1 2"},
          {"neg_input", "3 4"},
          {"contest_id", 7}};
}

TEST(ReadItems, BuildsWhatTheJudgeReadsOfEachTask) {
  json record = RepairRecord();
  const std::string path =
      TempFile("items.jsonl", absl::StrCat(record.dump(), "\n\n"));
  const auto generation = *ReadItems(path, Task::kCodeGeneration, "gpt");
  ASSERT_EQ(generation.size(), 1);
  EXPECT_EQ(generation[0].split, "gpt");
  EXPECT_EQ(generation[0].difficulty, "easy");
  EXPECT_EQ(generation[0].question, "Add {a} and {b}.");
  EXPECT_EQ(generation[0].correct, "right");
  EXPECT_EQ(generation[0].wrong, "wrong");

  const auto repair = *ReadItems(path, Task::kCodeRepair, "gpt");
  EXPECT_THAT(repair[0].question, HasSubstr("Add {a} and {b}."));
  EXPECT_THAT(repair[0].question, HasSubstr("```python\nprint(1)\n```"));
  EXPECT_THAT(repair[0].question, HasSubstr("does not compile.\nE"));
  EXPECT_EQ(repair[0].correct, "right");

  const auto tests = *ReadItems(path, Task::kTestGeneration, "gpt");
  EXPECT_EQ(tests[0].correct, UnitTest("1 2", "right"));
  EXPECT_EQ(tests[0].wrong, UnitTest("3 4", "wrong"));
  EXPECT_THAT(tests[0].wrong, HasSubstr("```\n3 4\n```"));

  record["wrong_meta"] = record["wrong_meta"].dump();
  const auto as_text = *ReadItems(TempFile("text.jsonl", record.dump()),
                                  Task::kCodeRepair, "gpt");
  EXPECT_EQ(as_text[0].question, repair[0].question);
}

TEST(ReadItems, NamesFileLineAndField) {
  const auto error_with = [](const char* field, const json& value) {
    json record = RepairRecord();
    const std::string first = record.dump();
    if (value.is_null()) {
      record.erase(field);
    } else {
      record[field] = value;
    }
    const auto items = ReadItems(
        TempFile("bad.jsonl", absl::StrCat(first, "\n", record.dump())),
        Task::kCodeRepair, "gpt");
    EXPECT_TRUE(absl::IsInvalidArgument(items.status())) << field;
    return std::string(items.status().message());
  };
  EXPECT_THAT(error_with("pos_response", nullptr), HasSubstr("bad.jsonl:2: "));
  EXPECT_THAT(error_with("pos_response", 3), HasSubstr("\"pos_response\""));
  EXPECT_THAT(error_with("wrong_meta", nullptr), HasSubstr("\"wrong_meta\""));
  EXPECT_THAT(error_with("wrong_meta", "{"), HasSubstr("not JSON"));
  EXPECT_THAT(error_with("wrong_meta", {{"error_code", 1}}),
              HasSubstr("bad.jsonl:2: wrong_meta: error_code 1"));
}

TEST(ReadItems, RefusesFilesThatAreNone) {
  const auto read = [](const std::string& path) {
    return ReadItems(path, Task::kCodeGeneration, "gpt").status();
  };
  EXPECT_TRUE(absl::IsNotFound(read("/no/such/file")));
  EXPECT_TRUE(absl::IsInvalidArgument(read(TempFile("empty.jsonl", ""))));
  EXPECT_THAT(read(TempFile("cut.jsonl", "{\"difficulty\":\"ea")).message(),
              HasSubstr("cut.jsonl:1"));
  EXPECT_TRUE(absl::IsInvalidArgument(read(TempFile("list.jsonl", "[1]"))));
}

// ----------------------------------------------------------------- judges

Verdict General(const char* text, const char* finish = "stop") {
  return ParseVerdict(PromptStyle::kGeneral, text, finish);
}

TEST(ParseVerdict, TheLastPatternDecides) {
  EXPECT_EQ(General("... [[A>B]] ... [[B>A]]"), Winner::kB);
  EXPECT_EQ(General("[[B>A]], no: [[A>B]]."), Winner::kA);
  EXPECT_EQ(General("\\boxed{A>B}"), Winner::kA);
  EXPECT_EQ(General("[[A>B]] so \\boxed{B>A}"), Winner::kB);
  for (const char* none : {"", "A is better", "[[A > B]]", "[A>B]", "[[A]]"}) {
    EXPECT_EQ(General(none), std::nullopt) << none;
  }
}

TEST(ParseVerdict, OnlyTheTextBehindTheFirstThoughtCounts) {
  EXPECT_EQ(General("[[A>B]]</think>[[B>A]]"), Winner::kB);
  EXPECT_EQ(General("[[A>B]]</think>undecided"), std::nullopt);
  EXPECT_EQ(General("x</think>[[B>A]]</think>[[A>B]]"), Winner::kB);
  EXPECT_EQ(General("x</think></think>[[A>B]]"), std::nullopt);
}

TEST(ParseVerdict, ATextThatWasCutOffHasNone) {
  EXPECT_EQ(General("[[A>B]]", "length"), std::nullopt);
  EXPECT_EQ(General("[[A>B]]", ""), std::nullopt);
}

TEST(ParseVerdict, RmR1HasPatternsOfItsOwn) {
  const auto parse = [](const char* text) {
    return ParseVerdict(PromptStyle::kRmR1, text, "stop");
  };
  EXPECT_EQ(parse("<answer>[[A]]</answer>"), Winner::kA);
  EXPECT_EQ(parse("<answer>[[B]]</answer>"), Winner::kB);
  EXPECT_EQ(parse("[[A]] no [[B]"), Winner::kB);
  EXPECT_EQ(parse("[B]] no [A]]"), Winner::kA);
  EXPECT_EQ(parse("boxed{B}"), Winner::kB);
  EXPECT_EQ(parse("[[A>B]]"), std::nullopt);
}

TEST(JudgePrompt, HoldsTheTextsOnceAndAsTheyAre) {
  const Comparison comparison = {"Q {answer_a} {0}", "def a(): {query}",
                                 "b {answer_b}"};
  for (const PromptStyle style :
       {PromptStyle::kGeneral, PromptStyle::kRmR1, PromptStyle::kAceReason}) {
    const std::string prompt = JudgePrompt(style, comparison);
    size_t at = 0;
    for (const std::string& text :
         {comparison.question, comparison.answer_a, comparison.answer_b}) {
      at = prompt.find(text, at);
      ASSERT_NE(at, std::string::npos) << text;
      EXPECT_EQ(prompt.find(text, at + 1), std::string::npos);
    }
  }
  // A prompt that is quoted in full gives the verdict of its example.
  EXPECT_EQ(General(JudgePrompt(PromptStyle::kGeneral, comparison).c_str()),
            Winner::kA);
}

TEST(JudgeRequest, AceReasonHasNoChatTemplate) {
  const Comparison comparison = {"Q", "a", "b"};
  const GenerationSettings settings =
      GenerationSettings::For(PromptStyle::kAceReason);
  const auto raw = JudgeRequest(PromptStyle::kAceReason, comparison, settings);
  EXPECT_TRUE(raw.messages.empty());
  EXPECT_TRUE(absl::EndsWith(raw.prompt, "<think>\n"));
  EXPECT_TRUE(completion::Validate(raw).ok());
  const auto chat = JudgeRequest(PromptStyle::kRmR1, comparison,
                                 GenerationSettings::For(PromptStyle::kRmR1));
  ASSERT_EQ(chat.messages.size(), 1);
  EXPECT_EQ(chat.messages[0].role, "user");
  EXPECT_EQ(chat.temperature, 0);
  EXPECT_EQ(settings.temperature, 0.6);
}

std::vector<Item> TwoItems() {
  return {{"gpt", "easy", "Q1", "good", "bad"},
          {"gpt", "hard", "Q2", "good", "bad"}};
}

TEST(LanguageModelJudge, AsksTwiceAnItem) {
  completion::ScriptedClient client(
      {"[[A>B]]", "[[B>A]]", "I can't tell", "so </think> [[A>B]]"});
  GenerationSettings settings;
  settings.seed = 5;
  const auto verdicts = *JudgeItems(
      TwoItems(), LanguageModelJudge(client, PromptStyle::kGeneral, settings),
      1);
  ASSERT_EQ(verdicts.size(), 2);
  EXPECT_EQ(verdicts[0].straight, Winner::kA);
  EXPECT_EQ(verdicts[0].swapped, Winner::kB);
  EXPECT_EQ(verdicts[1].straight, std::nullopt);
  EXPECT_EQ(verdicts[1].swapped, Winner::kA);
  EXPECT_EQ(verdicts[1].difficulty, "hard");
  const Scores scores = *Score(verdicts);
  EXPECT_EQ(scores.accuracy, 50);
  EXPECT_EQ(scores.no_verdict, 25);
  const auto requests = client.requests();
  ASSERT_EQ(requests.size(), 4);
  EXPECT_EQ(requests[0].max_tokens, 32768);
  EXPECT_EQ(requests[0].seed, 5);
  const std::string& straight = requests[0].messages[0].content;
  const std::string& swapped = requests[1].messages[0].content;
  EXPECT_LT(straight.find("\ngood\n"), straight.find("\nbad\n"));
  EXPECT_GT(swapped.find("\ngood\n"), swapped.find("\nbad\n"));
}

TEST(JudgeItems, EndsWithTheFirstErrorOrWhenStopped) {
  completion::ScriptedClient client(std::vector<std::string>{"[[A>B]]"});
  const auto failed = JudgeItems(
      TwoItems(), LanguageModelJudge(client, PromptStyle::kGeneral, {}), 1);
  EXPECT_TRUE(absl::IsResourceExhausted(failed.status()));
  const auto stopped = JudgeItems(
      TwoItems(), PreferenceJudge([](const Comparison&) { return 1; }), 1,
      [](int64_t) { return false; });
  EXPECT_TRUE(absl::IsCancelled(stopped.status()));
  completion::ScriptedClient silent([](const completion::CompletionRequest&) {
    return completion::Completion();
  });
  EXPECT_TRUE(absl::IsDataLoss(
      LanguageModelJudge(silent, PromptStyle::kGeneral, {})({"Q", "a", "b"})
          .status()));
}

TEST(ParseRating, TakesTheLastNumberInRange) {
  EXPECT_EQ(ParseRating("[[3]] ... [[7.5]]", "stop"), 7.5);
  EXPECT_EQ(ParseRating("[[9]]</think>[[2]]", "stop"), 2);
  for (const char* none : {"", "7", "[[11]]", "[[0]]", "[[nan]]", "[[x]]",
                           "[[5", "[[4]] then [[?]]"}) {
    EXPECT_EQ(ParseRating(none, "stop"), std::nullopt) << none;
  }
  EXPECT_EQ(ParseRating("[[7]]", "length"), std::nullopt);
}

TEST(PointwiseJudge, TheHigherRatingWinsAndTiesCountHalf) {
  completion::ScriptedClient client(
      {"[[9]]", "[[2]]", "[[2]]", "[[9]]", "[[5]]", "[[5]]", "[[5]]", "[[5]]"});
  const auto verdicts = *JudgeItems(
      TwoItems(), PointwiseJudge(LanguageModelScorer(client, {})), 1);
  EXPECT_EQ(Score({verdicts[0]})->accuracy, 100);
  EXPECT_EQ(Score({verdicts[1]})->accuracy, 50);
  EXPECT_EQ(Score({verdicts[1]})->consistency, 0);
  EXPECT_THAT(client.requests()[0].messages[0].content, Not(HasSubstr("bad")));
  completion::ScriptedClient mute({"[[9]]", "no idea"});
  EXPECT_EQ(
      *PointwiseJudge(LanguageModelScorer(mute, {}))({"Q", "good", "bad"}),
      std::nullopt);
}

TEST(Symmetrised, IsAntisymmetric) {
  // Prefers the longer answer, and A by 2.
  const Preference biased = [](const Comparison& comparison) {
    return static_cast<double>(comparison.answer_a.size()) -
           static_cast<double>(comparison.answer_b.size()) + 2;
  };
  const Comparison comparison = {"Q", "a", "bb"};
  EXPECT_EQ(biased(comparison), 1);
  EXPECT_EQ(Symmetrised(biased)(comparison), -1);
  EXPECT_EQ(Symmetrised(biased)(Swapped(comparison)), 1);
  const std::vector<Item> items = {{"", "", "Q", "bb", "a"}};
  EXPECT_EQ(Score(*JudgeItems(items, PreferenceJudge(biased), 1))->accuracy,
            50);
  EXPECT_EQ(Score(*JudgeItems(items, PreferenceJudge(Symmetrised(biased)), 1))
                ->accuracy,
            100);
}

// ---------------------------------------------------------------- scoring

TEST(Score, OfJudgesThatNeedNoText) {
  const std::vector<ItemVerdicts> always(7, {"", "", Winner::kA, Winner::kA});
  const Scores a = *Score(always);
  EXPECT_EQ(a.accuracy, 50);
  EXPECT_EQ(a.straight, 100);
  EXPECT_EQ(a.swapped, 0);
  EXPECT_EQ(a.position_gap, 100);
  EXPECT_EQ(a.consistency, 0);
  const Scores right = *Score({{"", "", Winner::kA, Winner::kB}});
  EXPECT_EQ(right.accuracy, 100);
  EXPECT_EQ(right.consistency, 100);
  const Scores wrong = *Score({{"", "", Winner::kB, Winner::kA}});
  EXPECT_EQ(wrong.accuracy, 0);
  EXPECT_EQ(wrong.consistency, 100);
  EXPECT_EQ(wrong.neither_right, 100);
  const Scores mute = *Score({ItemVerdicts()});
  EXPECT_EQ(mute.accuracy, 0);
  EXPECT_EQ(mute.consistency, 0);
  EXPECT_EQ(mute.no_verdict, 100);
  EXPECT_TRUE(absl::IsInvalidArgument(Score({}).status()));
}

// Draws verdicts; empty with probability `empty`, else A or B alike.
std::vector<ItemVerdicts> Guesses(double empty, size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform;
  const auto guess = [&]() -> Verdict {
    if (uniform(random) < empty) return std::nullopt;
    return uniform(random) < 0.5 ? Winner::kA : Winner::kB;
  };
  std::vector<ItemVerdicts> items(n);
  for (ItemVerdicts& item : items) {
    item.straight = guess();
    item.swapped = guess();
  }
  return items;
}

TEST(Score, IdentitiesHoldForAnyVerdicts) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const Scores full = *Score(Guesses(0, 1 + seed, seed));
    EXPECT_NEAR(full.accuracy, full.both_right + (100 - full.consistency) / 2,
                1e-9);
    const Scores some = *Score(Guesses(0.3, 1 + seed, seed));
    EXPECT_NEAR(some.accuracy, (some.straight + some.swapped) / 2, 1e-9);
    EXPECT_NEAR(some.accuracy, 50 + (some.both_right - some.neither_right) / 2,
                1e-9);
    EXPECT_GE(some.neither_right, LeastNeitherRight(some.accuracy) - 1e-9);
  }
  // 50 (1 - e), within five standard errors of 40,000 judgements.
  EXPECT_NEAR(Score(Guesses(0.2, 20000, 1))->accuracy, 40, 1.3);
}

TEST(ScoreBenchmark, MicroAverageWeighsSplitsBySize) {
  std::vector<ItemVerdicts> items(3, {"a", "easy", Winner::kA, Winner::kB});
  items.push_back({"b", "unknown", Winner::kB, Winner::kA});
  const BenchmarkScores scores = *ScoreBenchmark(items);
  EXPECT_EQ(scores.all.accuracy, 75);
  EXPECT_EQ(scores.split_mean, 50);
  EXPECT_EQ(scores.by_split.at("b").accuracy, 0);
  ASSERT_EQ(scores.by_difficulty.size(), 1);
  EXPECT_EQ(scores.by_difficulty.at("easy").items, 3);
  EXPECT_TRUE(absl::IsInvalidArgument(ScoreBenchmark({}).status()));
}

std::string Row(const char* pred, const char* label,
                const char* difficulty = "easy") {
  return json({{"pred", pred},
               {"label", label},
               {"difficulty", difficulty},
               {"response", "..."}})
      .dump();
}

TEST(ReadOutputs, PairsTheOrdersOfEachBatch) {
  // Three items in batches of two.
  const std::string path = TempFile(
      "outputs.jsonl",
      absl::StrJoin({Row("A", "A"), Row("", "A", "hard"), Row("A", "B"),
                     Row("B", "B", "hard"), Row("B", "A"), Row("B", "B")},
                    "\n"));
  const auto items = *ReadOutputs(path, "gpt", 2);
  ASSERT_EQ(items.size(), 3);
  EXPECT_EQ(items[0].straight, Winner::kA);
  EXPECT_EQ(items[0].swapped, Winner::kA);
  EXPECT_EQ(items[1].straight, std::nullopt);
  EXPECT_EQ(items[1].swapped, Winner::kB);
  EXPECT_EQ(items[1].difficulty, "hard");
  EXPECT_EQ(items[2].split, "gpt");
  // 3 of 6 predictions equal their label.
  EXPECT_EQ(Score(items)->accuracy, 50);
}

TEST(ReadOutputs, SaysWhichRowIsOutOfOrder) {
  const auto error_of = [](const std::vector<std::string>& rows,
                           int64_t batch) {
    const auto items = ReadOutputs(
        TempFile("rows.jsonl", absl::StrJoin(rows, "\n")), "gpt", batch);
    EXPECT_TRUE(absl::IsInvalidArgument(items.status()));
    return std::string(items.status().message());
  };
  const std::string a = Row("A", "A"), b = Row("A", "B");
  EXPECT_THAT(error_of({a, a, b, b}, 1), HasSubstr("rows.jsonl:2: "));
  EXPECT_THAT(error_of({a, b, a}, 1), HasSubstr("odd number"));
  EXPECT_THAT(error_of({a, b}, 0), HasSubstr("batch_size"));
  EXPECT_THAT(error_of({a, Row("C", "B")}, 1), HasSubstr("rows.jsonl:2: "));
  EXPECT_THAT(error_of({a, Row("A", "B", "hard")}, 1),
              HasSubstr("\"difficulty\""));
  EXPECT_THAT(error_of({"{}", b}, 1), HasSubstr("\"label\""));
  EXPECT_THAT(error_of({""}, 1), HasSubstr("no records"));
  // One batch for all rows, however large.
  EXPECT_TRUE(ReadOutputs(TempFile("rows.jsonl", absl::StrCat(a, "\n", b)),
                          "gpt", std::numeric_limits<int64_t>::max())
                  .ok());
}

}  // namespace
}  // namespace repro::code_judge_bench
