// Facts, the shift of metrics, related work and generated programs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "common/stats/interval.h"
#include "papers/survey_code_intelligence/citations.h"
#include "papers/survey_code_intelligence/facts.h"
#include "papers/survey_code_intelligence/generated_programs.h"
#include "papers/survey_code_intelligence/metric_shift.h"
#include "papers/survey_code_intelligence/related_work.h"
#include "papers/survey_code_intelligence/test_survey.h"

namespace repro::survey_code_intelligence {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// -------------------------------------------------------------------- facts

TEST(ParseQuantity, KnowsWhatTheTablesWrite) {
  const auto check = [](const std::string& text, double value, double low,
                        double high) {
    const auto quantity = ParseQuantity(text);
    ASSERT_TRUE(quantity.ok()) << quantity.status();
    EXPECT_DOUBLE_EQ(quantity->value, value) << text;
    EXPECT_DOUBLE_EQ(quantity->low, low) << text;
    EXPECT_DOUBLE_EQ(quantity->high, high) << text;
  };
  const double infinity = std::numeric_limits<double>::infinity();
  check("93", 93, 92.5, 93.5);
  check("8.0K", 8000, 7950, 8050);
  check("256k", 256000, 255500, 256500);
  check("1.5M", 1.5e6, 1.45e6, 1.55e6);
  check("over 1M", 1e6, 1e6, infinity);
  check("more than 78K", 78e3, 78e3, infinity);
  check("30K+", 30e3, 30e3, infinity);
  check(">40", 40, 40, infinity);
  check("almost 1.8K", 1800, 1620, 1800);
  check("around 148K", 148e3, 147e3, 149e3);
  check("eight million", 8e6, 7.5e6, 8.5e6);
  for (const char* text :
       {"", "K", ".5K", "5.", "1.2.3", "-3", "1e5", "nan", "inf", "0x10", "7Q",
        "12345678901234567890", "over", "eight", "eight apples", "3 K"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseQuantity(text).status())) << text;
  }
}

TEST(Compatible, IsOverlapOfRoundings) {
  const auto compatible = [](const std::string& a, const std::string& b) {
    return Compatible(*ParseQuantities(a), *ParseQuantities(b));
  };
  EXPECT_TRUE(compatible("7K;93", "6971;93"));
  EXPECT_TRUE(compatible("2K", "2.2K"));
  EXPECT_TRUE(compatible("13K/27K", "27K"));
  EXPECT_TRUE(compatible("12", "over 10"));
  EXPECT_TRUE(compatible("eight million", "8M"));
  EXPECT_FALSE(compatible("18K/330K", "19K;330K"));  // half a place apart
  EXPECT_FALSE(compatible("over 1M", "100K"));
  EXPECT_FALSE(compatible("2", "6"));
}

TEST(Facts, ParseSizesContextsAndData) {
  EXPECT_THAT(*ParseParameterCounts("220M/770M/2B"),
              ElementsAre(220'000'000, 770'000'000, 2'000'000'000));
  for (const char* text : {"", "0M", "2B/", "2K", "1e3M", "99999999999B"}) {
    EXPECT_FALSE(ParseParameterCounts(text).ok()) << text;
  }
  EXPECT_EQ(ParseContextLength("2048+2049")->encoder, 2048);
  EXPECT_EQ(ParseContextLength("2048+2049")->decoder, 2049);
  EXPECT_EQ(ParseContextLength("8192")->encoder, 0);
  for (const char* text : {"", "+", "1+2+3", "0", "-1", "8K", "1+0"}) {
    EXPECT_FALSE(ParseContextLength(text).ok()) << text;
  }
  const auto scale = ParseDataScale("100B/159GB");
  EXPECT_THAT(scale->items, ElementsAre(100e9));
  EXPECT_THAT(scale->bytes, ElementsAre(159e9));
  EXPECT_THAT(ParseDataScale("1.6TB")->bytes, ElementsAre(1.6e12));
  EXPECT_THAT(ParseDataScale("7.75B")->items, ElementsAre(7.75e9));
  EXPECT_THAT(ParseDataScale("78k")->items, ElementsAre(78e3));
  for (const char* text : {"", "GB", "1XB", "1/", "B files"}) {
    EXPECT_FALSE(ParseDataScale(text).ok()) << text;
  }
  EXPECT_EQ(ParseArxivNumber("2403.14734")->year, 2024);
  EXPECT_EQ(ParseArxivNumber("0704.0001")->month, 4);
  for (const char* text : {"", "2413.14734", "2400.14734", "0604.0001",
                           "24.0314734", "2403.147345", "2403.1473x"}) {
    EXPECT_FALSE(ParseArxivNumber(text).ok()) << text;
  }
}

TEST(FamilyOf, SortsTheMetrics) {
  for (const char* metric : {"pass@k", "pass@1", "Pass Rate", "Resolve Rate"}) {
    EXPECT_EQ(FamilyOf(metric), MetricFamily::kExecution) << metric;
  }
  for (const char* metric :
       {"BLEU", "CodeBLEU", "(Code)BLEU", "EM", "Edit sim", "Edit Sim", "ROUGE",
        "METEOR", "CIDEr", "B-Norm", "B-CC", "B-Moses", "NIM"}) {
    EXPECT_EQ(FamilyOf(metric), MetricFamily::kMatch) << metric;
  }
  for (const char* metric :
       {"Acc.", "F1", "F1 score", " Precision", "Recall"}) {
    EXPECT_EQ(FamilyOf(metric), MetricFamily::kClassification) << metric;
  }
  EXPECT_EQ(FamilyOf("MRR"), MetricFamily::kRanking);
  EXPECT_EQ(FamilyOf("Customized"), MetricFamily::kOther);
  EXPECT_THAT(SplitMetrics("FRank/SuccessRate/ Precision"),
              ElementsAre("FRank", "SuccessRate", "Precision"));
  EXPECT_THAT(SplitMetrics("-"), IsEmpty());
  EXPECT_TRUE(HasFamily("BLEU/pass@k", MetricFamily::kExecution));
  EXPECT_FALSE(HasFamily("", MetricFamily::kOther));
}

// ------------------------------------------------------------- metric shift

const std::vector<DatedItem>& Items() {
  static const auto* const kItems = new std::vector<DatedItem>{
      {"a", 2018, false}, {"a", 2019, false}, {"a", 2021, true},
      {"a", 2022, false}, {"b", 2020, true},  {"b", 2021, true},
      {"b", 2021, true},  {"b", 2023, true},  {"c", 2023, true}};
  return *kItems;
}

TEST(ShareDifference, IsByHand) {
  // 1 of 3 before, 5 of 6 from 2021 on.
  EXPECT_NEAR(*ShareDifference(Items(), 2021), 5.0 / 6 - 1.0 / 3, 1e-15);
  // a: 1/2 with weight 2 * 2 / 4; b: 0 with weight 1 * 3 / 4; c: one side.
  EXPECT_NEAR(*StratifiedShareDifference(Items(), 2021), 0.5 / 1.75, 1e-15);
  EXPECT_TRUE(absl::IsInvalidArgument(ShareDifference({}, 2021).status()));
  EXPECT_FALSE(ShareDifference(Items(), 1990).ok());
  EXPECT_FALSE(StratifiedShareDifference(Items(), 2024).ok());
}

TEST(DatedMetrics, TakesRowsWithAMetric) {
  const auto items =
      DatedMetrics(*ReadFiles(SmallFiles()), MetricFamily::kExecution);
  ASSERT_EQ(items.size(), 3);  // Tables 1 and 5 and "-" have none
  EXPECT_TRUE(items[2].positive);
  EXPECT_FALSE(items[0].positive);
  EXPECT_EQ(items[2].stratum, "Search");
}

absl::StatusOr<double> Share(const std::vector<DatedItem>& items) {
  double sum = 0;
  for (const DatedItem& item : items) sum += item.positive ? 1 : 0;
  return sum / static_cast<double>(items.size());
}

// Of a mean, leaving out one at a time, the pseudo-values are the data.
TEST(JackknifePseudoValues, AreTheDataOfAMean) {
  std::mt19937_64 generator(1);
  auto values = *JackknifePseudoValues(
      Items(), static_cast<int>(Items().size()), &Share, generator);
  std::sort(values.begin(), values.end());
  ASSERT_EQ(values.size(), 9);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(values[i], i < 3 ? 0 : 1, 1e-12);
  }
  EXPECT_FALSE(JackknifePseudoValues(Items(), 1, &Share, generator).ok());
  EXPECT_FALSE(JackknifePseudoValues(Items(), 10, &Share, generator).ok());
}

// Its interval covers as stated: 95% of the time, of the difference of two
// shares of 1/5 and 1/2.
TEST(JackknifePseudoValues, IntervalsCover) {
  std::mt19937_64 generator(2);
  const ItemStatistic statistic = [](const std::vector<DatedItem>& items) {
    return ShareDifference(items, 2021);
  };
  int covered = 0;
  constexpr int kTrials = 400;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<DatedItem> items;
    for (int i = 0; i < 140; ++i) {
      const bool late = i % 2 == 0;
      items.push_back(
          {"", late ? 2022 : 2019,
           std::bernoulli_distribution(late ? 0.5 : 0.2)(generator)});
    }
    const auto values = *JackknifePseudoValues(items, 10, statistic, generator);
    const auto interval = *MeanInterval(values);
    if (interval.low <= 0.3 && 0.3 <= interval.high) ++covered;
  }
  // 380 expected, standard deviation 4.4.
  EXPECT_GE(covered, 360);
  EXPECT_LE(covered, 396);
}

TEST(MeanOverShuffledYears, IsNone) {
  std::mt19937_64 generator(3);
  const ItemStatistic statistic = [](const std::vector<DatedItem>& items) {
    return ShareDifference(items, 2021);
  };
  // One value has a standard deviation of 0.35.
  EXPECT_NEAR(*MeanOverShuffledYears(Items(), 20000, statistic, generator), 0,
              0.01);
  EXPECT_FALSE(MeanOverShuffledYears(Items(), 0, statistic, generator).ok());
}

// ------------------------------------------------------------- related work

TEST(TitleIndex, FindsSharedWords) {
  const Survey survey = *ReadFiles(SmallFiles());
  const auto index = TitleIndex::Build(Titles(survey));
  ASSERT_TRUE(index.ok()) << index.status();
  const auto related = *index->Related(2, 10);
  ASSERT_FALSE(related.empty());
  EXPECT_EQ(related[0].number, 5);  // the same title
  for (const RelatedReference& one : related) {
    EXPECT_NE(one.number, 2);
    EXPECT_NE(one.number, 3);  // shares no word
  }
  EXPECT_EQ((*index->Related(2, 1)).size(), 1);
  EXPECT_THAT(*index->Related(2, 0), IsEmpty());
  EXPECT_THAT(index->Search("quantum", 5), IsEmpty());
  EXPECT_EQ(index->Search("the bug", 5).size(), 2);
  EXPECT_TRUE(absl::IsOutOfRange(index->Related(6, 1).status()));
  EXPECT_FALSE(TitleIndex::Build({}).ok());
}

TEST(PagePrecision, CountsSharedPages) {
  const Survey survey = *ReadFiles(SmallFiles());
  const auto index = *TitleIndex::Build(Titles(survey));
  // The nearest: 1 and 2 find each other or 5; 3 and 4 each other; 5 finds 2.
  double sum = 0;
  const CitationGraph graph(survey);
  for (int number = 1; number <= 5; ++number) {
    const auto nearest = *index.Related(number, 1);
    ASSERT_EQ(nearest.size(), 1);
    sum += *graph.CoCitations(number, nearest[0].number) > 0 ? 1 : 0;
  }
  EXPECT_DOUBLE_EQ(*PagePrecision(survey, index, 1, 0, 1), sum / 5);
  EXPECT_FALSE(PagePrecision(survey, index, 0, 0, 1).ok());
  EXPECT_FALSE(PagePrecision(survey, index, 1, 1, 1).ok());
  EXPECT_FALSE(PagePrecision(survey, index, 1, 7, 9).ok());
}

// ------------------------------------------------------- generated programs

// v2 = a - 3; v3 = v2 * b; v4 = a & v2; returns v3.
Program Example() {
  return {{{2, {false, 0}, '-', {true, 3}},
           {3, {false, 2}, '*', {false, 1}},
           {4, {false, 0}, '&', {false, 2}}},
          {"a", "b", "v2", "v3", "v4"},
          3};
}

TEST(Program, RunsAndPrints) {
  EXPECT_EQ(Evaluate(Example(), 5, 7), 14);
  EXPECT_EQ(Evaluate(Example(), -1, 2), -8);
  EXPECT_EQ(absl::StrJoin(ProgramTokens(Example()), " "),
            "def f ( a , b ) : v2 = a - 3 ; v3 = v2 * b ; v4 = a & v2 ; "
            "return v3");
  // Overflow wraps.
  Program square = Example();
  square.statements[1].right = {false, 2};
  EXPECT_EQ(Evaluate(square, std::numeric_limits<int64_t>::max(), 0), 16);
}

TEST(Rewrite, KeepsTheFunction) {
  std::mt19937_64 generator(4);
  std::uniform_int_distribution<int64_t> draw(-1000, 1000);
  int changed = 0;
  for (int i = 0; i < 500; ++i) {
    const Program program = RandomProgram(8, generator);
    const Rewriting rewriting = {i % 2 == 0, i % 3 == 0, i % 5 == 0};
    const Program rewritten = Rewrite(program, rewriting, generator);
    for (int input = 0; input < 20; ++input) {
      const int64_t a = draw(generator);
      const int64_t b = draw(generator);
      ASSERT_EQ(Evaluate(program, a, b), Evaluate(rewritten, a, b));
    }
    if (ProgramTokens(program) != ProgramTokens(rewritten)) ++changed;
  }
  EXPECT_GT(changed, 300);
}

TEST(MutateOneToken, ChangesOneToken) {
  std::mt19937_64 generator(5);
  for (int i = 0; i < 500; ++i) {
    const Program program = RandomProgram(8, generator);
    const auto before = ProgramTokens(program);
    const auto after = ProgramTokens(MutateOneToken(program, generator));
    ASSERT_EQ(before.size(), after.size());
    int changed = 0;
    for (size_t j = 0; j < before.size(); ++j) {
      if (before[j] != after[j]) ++changed;
    }
    EXPECT_EQ(changed, 1);
  }
}

TEST(CompareMetrics, GivesAreas) {
  std::mt19937_64 generator(6);
  const auto areas = CompareMetrics(20, generator);
  ASSERT_TRUE(areas.ok()) << areas.status();
  for (const double area : {areas->bleu_near_miss, areas->bleu_unrelated,
                            areas->execution_near_miss}) {
    EXPECT_GE(area, 0);
    EXPECT_LE(area, 1);
  }
  // What is right passes every test.
  EXPECT_GE(areas->execution_near_miss, 0.5);
  std::mt19937_64 again(6);
  EXPECT_EQ(CompareMetrics(20, again)->bleu_near_miss, areas->bleu_near_miss);
  EXPECT_FALSE(CompareMetrics(0, generator).ok());
}

}  // namespace
}  // namespace repro::survey_code_intelligence
