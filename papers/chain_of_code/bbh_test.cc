#include "papers/chain_of_code/bbh.h"

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/chain_of_code/countries.h"
#include "papers/chain_of_code/table_a1.h"

namespace repro::chain_of_code {
namespace {

using ::testing::DoubleNear;
using ::testing::HasSubstr;

int CountOf(absl::string_view group) {
  const auto in_group = TaskGroup(group);
  if (!in_group.ok()) return -1;
  int count = 0;
  for (const Task& task : Tasks()) count += (*in_group)(task);
  return count;
}

TEST(TasksTest, GroupsHaveTheSizesOfThePaper) {
  EXPECT_EQ(CountOf("all"), 23);
  EXPECT_EQ(CountOf("nlp"), 12);
  EXPECT_EQ(CountOf("algorithmic"), 11);
  EXPECT_EQ(CountOf("python_same") + CountOf("python_different") +
                CountOf("lm_same") + CountOf("lm_different"),
            23);
  EXPECT_EQ(CountOf("python_same"), 5);
  EXPECT_EQ(CountOf("lm_same"), 7);
  EXPECT_TRUE(absl::IsNotFound(TaskGroup("python").status()));
  size_t files = 0;
  for (const Task& task : Tasks()) files += task.files.size();
  EXPECT_EQ(files, 27u);
}

TEST(TableA1Test, ColumnsAreOnePerTask) {
  ASSERT_EQ(TableA1Columns().size(), 11u);
  for (const std::string& name : TableA1Columns()) {
    const absl::StatusOr<std::vector<double>> column = TableA1Column(name);
    ASSERT_TRUE(column.ok()) << column.status();
    ASSERT_EQ(column->size(), Tasks().size());
    for (const double value : *column) {
      EXPECT_GE(value, 0);
      EXPECT_LE(value, 100);
    }
  }
  EXPECT_EQ(TableA1Column("interweave")->at(0), 100);  // Boolean Expressions
  EXPECT_EQ(TableA1Column("lm")->back(), 54);          // Word Sorting
  EXPECT_TRUE(absl::IsNotFound(TableA1Column("tool").status()));
}

TEST(AnswersTest, ByTheRulesOfTheRecordedAccuracies) {
  EXPECT_EQ(DirectAnswer(" (B)\n"), "(B)");
  EXPECT_EQ(DirectAnswer(""), "");
  EXPECT_EQ(CotAnswer("The answer is 3. No, so the answer is (C)..\n"), "(C)");
  EXPECT_EQ(CotAnswer(" never said. "), "never said");
  EXPECT_EQ(CotAnswer("so the answer is ..."), "");
}

TEST(AccuracyTest, ExactMatches) {
  const std::vector<Instance> instances = {{"", "a"}, {"", "b"}, {"", "c"}};
  EXPECT_THAT(*Accuracy({"a", "B", "c"}, instances),
              DoubleNear(200.0 / 3, 1e-12));
  EXPECT_TRUE(absl::IsInvalidArgument(Accuracy({"a"}, instances).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Accuracy({}, {}).status()));
}

TEST(MeanOverTasksTest, FilesOfATaskAreAveragedFirst) {
  std::map<std::string, double> values;
  for (const Task& task : Tasks()) {
    for (const std::string& file : task.files) values[file] = 0;
  }
  values["navigate"] = 110;
  EXPECT_THAT(*MeanOverTasks(values, "algorithmic"), DoubleNear(10, 1e-12));
  EXPECT_THAT(*MeanOverTasks(values, "nlp"), DoubleNear(0, 1e-12));
  values["navigate"] = 0;
  values["logical_deduction_five_objects"] = 330;
  EXPECT_THAT(*MeanOverTasks(values, "algorithmic"), DoubleNear(10, 1e-12));
  values.erase("snarks");
  EXPECT_TRUE(absl::IsNotFound(MeanOverTasks(values, "all").status()));
}

class ReadTest : public ::testing::Test {
 protected:
  // One line a task, with `more` behind them.
  std::string Write(const std::string& more, bool all_tasks = true) {
    const std::string path = ::testing::TempDir() + "/bbh.jsonl";
    std::ofstream file(path);
    if (all_tasks) {
      for (const Task& task : Tasks()) {
        for (const std::string& name : task.files) {
          file << R"({"task": ")" << name
               << R"(", "i": 0, "input": "q", "target": "t"})"
               << "\n";
        }
      }
    }
    file << more;
    return path;
  }
};

TEST_F(ReadTest, ReadsAllTasks) {
  const auto read = ReadBbh(
      Write(R"({"task": "snarks", "i": 1, "input": "q2", "target": "t2"})"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->size(), 27u);
  ASSERT_EQ(read->at("snarks").size(), 2u);
  EXPECT_EQ(read->at("snarks")[1].target, "t2");
  const auto targets = ReadPredictions(Write(""), "target");
  ASSERT_TRUE(targets.ok()) << targets.status();
  EXPECT_EQ(targets->at("navigate"), std::vector<std::string>{"t"});
}

TEST_F(ReadTest, SaysWhichLineIsWrong) {
  for (const auto& [line, what] :
       std::vector<std::pair<std::string, std::string>>{
           {"[1]", "not an object"},
           {R"({"i": 1})", "\"task\""},
           {R"({"task": "cooking", "i": 0})", "cooking"},
           {R"({"task": "snarks", "i": 2})", "\"i\" is not 1"},
           {R"({"task": "snarks", "i": "1"})", "\"i\" is not 1"},
           {R"({"task": "snarks", "i": 1, "input": 3, "target": ""})",
            "\"input\""},
           {R"({"task": "snarks", "i": 1, "input": "")", "JSON"}}) {
    const auto read = ReadBbh(Write(line));
    ASSERT_FALSE(read.ok()) << line;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(":28: "))
        << line;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(what)) << line;
  }
  EXPECT_THAT(std::string(ReadBbh(Write("", false)).status().message()),
              HasSubstr("no line of task"));
  EXPECT_TRUE(absl::IsNotFound(ReadBbh("/nowhere/bbh.jsonl").status()));
  EXPECT_FALSE(ReadPredictions(Write(""), "prediction").ok());
}

TEST(CotPromptTest, WorkedQuestions) {
  const auto examples = ParseCotPrompt(
      "canary\n-----\nDescription.\n\nQ: one?\nOptions:\n(A) x\nA: Let's think "
      "step by step.\nSo the answer is easy. So the answer is (A).\n\nQ: two?\n"
      "A: Let's think.\n\nMore. So the answer is 2.\n");
  ASSERT_TRUE(examples.ok()) << examples.status();
  ASSERT_EQ(examples->size(), 2u);
  EXPECT_EQ(examples->at(0).input, "one?\nOptions:\n(A) x");
  EXPECT_EQ(examples->at(0).target, "(A)");
  EXPECT_EQ(examples->at(1).input, "two?");
  EXPECT_EQ(examples->at(1).target, "2");
  EXPECT_FALSE(ParseCotPrompt("").ok());
  EXPECT_FALSE(ParseCotPrompt("x\n\nQ: one?\nSo the answer is 1.").ok());
}

TEST(CountriesTest, EachPlaceOnce) {
  std::map<std::string, int> places;
  for (const Country& country : CountriesOfFigure1()) {
    for (const std::string& place : country.places) ++places[place];
  }
  EXPECT_EQ(places.size(), 188u);
  for (const auto& [place, count] : places) EXPECT_EQ(count, 1) << place;
}

}  // namespace
}  // namespace repro::chain_of_code
