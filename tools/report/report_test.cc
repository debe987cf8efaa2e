#include "tools/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "tools/history/history.h"
#include "tools/report/example_report.h"

namespace repro {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

struct Written {
  std::string html;
  std::string markdown;
};

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

class ReportTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::path(testing::TempDir()) /
               testing::UnitTest::GetInstance()->current_test_info()->name())
                  .string();
    fs::remove_all(folder_);

    paper_.set_slug("paper");
    paper_.set_title("A Paper");
    paper_.add_authors("Ada Example");
    paper_.set_venue("Venue");
    paper_.set_year(2024);
    claim_ = paper_.add_claims();
    claim_->set_id("table1/a");
    claim_->set_table("Table 1");
    claim_->set_row("row-a");
    claim_->set_metric("metric");
    claim_->set_reported("4.1");
    claim_->set_evidence(EXACT);
    claim_->set_origin(PAPER);
    claim_->set_version(2);
  }

  Result MakeResult(const std::string& id) {
    Result result;
    result.set_id(id);
    result.set_complete(true);
    result.mutable_build()->set_commit(absl::StrCat("commit-", id));
    return result;
  }

  Measurement* Measure(Result& result, double value, const std::string& day) {
    Measurement* measurement = result.add_measurements();
    measurement->set_paper("paper");
    measurement->set_claim(claim_->id());
    measurement->set_claim_version(2);
    measurement->set_value(value);
    measurement->set_verdict(REPRODUCED);
    measurement->set_reason("reason");
    measurement->set_device("device-of-" + result.id());
    measurement->set_measured_at(day + "T00:00:00Z");
    return measurement;
  }

  Written Write(const ReportInput& input) {
    const absl::Status status = WriteReport(input, folder_);
    EXPECT_TRUE(status.ok()) << status;
    const auto html = ReadFile(folder_ + "/report.html");
    const auto markdown = ReadFile(folder_ + "/report.md");
    EXPECT_TRUE(html.ok() && markdown.ok());
    if (!html.ok() || !markdown.ok()) return {};
    return {*html, *markdown};
  }
  Written Write(std::vector<Result> results) {
    ReportInput input;
    input.papers = {paper_};
    input.results = std::move(results);
    return Write(input);
  }

  // The row of the claim, in Markdown: one line.
  std::string Row(const Written& written) {
    const size_t begin = written.markdown.find("\n| row-a |");
    EXPECT_NE(begin, std::string::npos) << written.markdown;
    if (begin == std::string::npos) return "";
    return written.markdown.substr(
        begin + 1, written.markdown.find('\n', begin + 1) - begin - 1);
  }

  std::string folder_;
  Paper paper_;
  Claim* claim_ = nullptr;
};

TEST_F(ReportTest, WithoutResultsEveryClaimIsNotRun) {
  const Written written = Write(std::vector<Result>{});
  EXPECT_EQ(Row(written),
            "| row-a |  | metric | 4.1 |  | NOT_RUN | EXACT | no run has been "
            "asked for it |  |");
  EXPECT_THAT(written.html, HasSubstr("Nothing has been measured yet"));
  EXPECT_THAT(written.html, HasSubstr("data-total=\"NOT_RUN\">1<"));
  EXPECT_THAT(written.html, HasSubstr("data-total=\"REPRODUCED\">0<"));
}

TEST_F(ReportTest, WithoutPapersIsStillAReport) {
  const Written written = Write(ReportInput());
  EXPECT_THAT(written.html, HasSubstr("0 claims about 0 papers"));
}

TEST_F(ReportTest, ShowsTheNewestMeasurement) {
  Result newest = MakeResult("new");
  Measure(newest, 4.12, "2026-11-02");
  Result older = MakeResult("old");
  Measure(older, 4.08, "2026-11-01");
  const std::string row = Row(Write({newest, older}));
  EXPECT_THAT(row, HasSubstr("| 4.1 | 4.120 | REPRODUCED | EXACT | reason |"));
  EXPECT_THAT(row, Not(HasSubstr("Recorded")));
}

TEST_F(ReportTest, ShowsARecordedMeasurementWithWhereItComesFrom) {
  Result newest = MakeResult("new");
  Skipped* skipped = newest.add_skipped();
  skipped->set_paper("paper");
  skipped->set_claim(claim_->id());
  skipped->set_verdict(NOT_RUN);
  skipped->set_reason("needs a CUDA device");
  Result older = MakeResult("old");
  Measure(older, 4.0, "2026-10-01");
  Result recorded = MakeResult("gpu");
  Measure(recorded, 4.11, "2026-10-02");
  const Written written = Write({newest, older, recorded});
  const std::string row = Row(written);
  EXPECT_THAT(row, HasSubstr("| 4.110 | REPRODUCED |"));
  EXPECT_THAT(row, HasSubstr("Recorded: 2026-10-02, commit commit-gpu, "
                             "device-of-gpu. Not in the newest run: needs a "
                             "CUDA device."));
  EXPECT_THAT(written.html, HasSubstr("Every claim that is not blocked"));
}

TEST_F(ReportTest, MeasurementsOfAnotherVersionAreNotShown) {
  Result newest = MakeResult("new");
  Measure(newest, 77.7, "2026-11-02")->set_claim_version(1);
  const Written written = Write({newest});
  const std::string row = Row(written);
  EXPECT_THAT(row, HasSubstr("| NOT_RUN |"));
  EXPECT_THAT(row, HasSubstr("before its meaning changed (version 1, now 2)"));
  EXPECT_EQ(Count(written.html, "77.7"), 0) << "77.7";
}

TEST_F(ReportTest, SaysWhatWasMeasuredAtFullScaleBesideASmallerRun) {
  Result newest = MakeResult("new");
  Measure(newest, 3.5, "2026-11-02")->set_scale("20 of 100 epochs");
  Result recorded = MakeResult("gpu");
  Measure(recorded, 4.11, "2026-10-02");
  const std::string row = Row(Write({newest, recorded}));
  EXPECT_THAT(row, HasSubstr("| 3.500; smaller: 20 of 100 epochs |"));
  EXPECT_THAT(row, HasSubstr("At full scale, recorded: 4.110, REPRODUCED, "
                             "2026-10-02"));
}

TEST_F(ReportTest, ADerivedValueIsNotShownAsThePapers) {
  claim_->set_origin(DERIVED);
  const Written written = Write(std::vector<Result>{});
  EXPECT_THAT(Row(written), HasSubstr("| 4.1 (derived) |"));
  EXPECT_THAT(written.html, HasSubstr("data-label=\"Derived\""));
  EXPECT_THAT(written.html, HasSubstr("<span class=\"tag\">derived</span>"));
  EXPECT_EQ(Count(written.html, "data-label=\"Reported\""), 0)
      << "data-label=\"Reported\"";
}

TEST_F(ReportTest, NanIsShownAndLeftOutOfPlots) {
  Result newest = MakeResult("new");
  Measure(newest, std::numeric_limits<double>::quiet_NaN(), "2026-11-02")
      ->set_verdict(DIFFERS);
  const Written written = Write({newest});
  EXPECT_THAT(Row(written), HasSubstr("| NaN | DIFFERS |"));
  EXPECT_EQ(Count(written.html, "<figure>"), 0) << "<figure>";
}

TEST_F(ReportTest, ShowsIntervalsAndSeeds) {
  Result newest = MakeResult("new");
  Measurement* measurement = Measure(newest, 4.1234, "2026-11-02");
  measurement->mutable_interval()->set_low(4.0234);
  measurement->mutable_interval()->set_high(4.2234);
  measurement->add_seeds(0);
  measurement->add_seeds(1);
  measurement->set_seconds(75);
  const std::string row = Row(Write({newest}));
  EXPECT_THAT(row, HasSubstr("| 4.12 \\[4.02, 4.22\\] |"));
  EXPECT_THAT(row, HasSubstr("| 1 min 15 s device-of-new, 2 seeds |"));
}

TEST_F(ReportTest, ABlockedClaimSaysWhatIsMissing) {
  claim_->set_evidence(BLOCKED);
  claim_->mutable_blocker()->set_asset("the data");
  claim_->mutable_blocker()->set_size("150 GB");
  claim_->mutable_blocker()->set_granted_by("its owners");
  const Written written = Write(std::vector<Result>{});
  EXPECT_THAT(Row(written),
              HasSubstr("| BLOCKED | BLOCKED | needs the data |"));
  EXPECT_THAT(written.markdown,
              HasSubstr("| paper | the data | 150 GB | its owners | 1 |"));
}

TEST_F(ReportTest, AFailedExperimentIsTold) {
  Result newest = MakeResult("new");
  Skipped* skipped = newest.add_skipped();
  skipped->set_paper("paper");
  skipped->set_claim(claim_->id());
  skipped->set_verdict(NOT_RUN);
  skipped->set_reason("it broke");
  skipped->set_failed(true);
  const Written written = Write({newest});
  EXPECT_THAT(Row(written),
              HasSubstr("| NOT_RUN | EXACT | failed: it broke |"));
  EXPECT_THAT(written.markdown, HasSubstr("| paper | failed: it broke | 1 |"));
}

TEST_F(ReportTest, FindingsAreListed) {
  Finding* finding = paper_.add_findings();
  finding->set_title("a misprint");
  finding->set_reported("5.0");
  finding->set_recomputed("5.7");
  finding->set_explanation("it follows");
  finding->add_claims("table1/a");
  const Written written = Write(std::vector<Result>{});
  EXPECT_THAT(written.html, HasSubstr("<h3>a misprint</h3>"));
  EXPECT_THAT(written.html, HasSubstr("<a href=\"#paper/table1/a\">"));
  EXPECT_THAT(written.html, HasSubstr("id=\"paper/table1/a\""));
  EXPECT_THAT(written.markdown, HasSubstr("- Recomputed: 5.7"));
  EXPECT_THAT(written.markdown, Not(HasSubstr("Use instead")));
}

TEST_F(ReportTest, PoliciesOfALanguageModelHaveATable) {
  EXPECT_THAT(Write(std::vector<Result>{}).html, Not(HasSubstr("policies")));
  const Written written = Write(MakeExampleInput());
  EXPECT_THAT(written.html, HasSubstr("href=\"#policies\""));
  EXPECT_THAT(written.html,
              HasSubstr("<th scope=\"row\">dense</th><td>–</td><td>0.88</td>"
                        "<td>0.75</td><td>0.81</td><td>15.250</td>"
                        "<td class=\"options\"></td>"));
  EXPECT_THAT(
      written.markdown,
      HasSubstr(
          "| Policy | Budget | 1024 | 2048 | Mean | Perplexity | Options |"));
  EXPECT_THAT(
      written.markdown,
      HasSubstr("| window | 128 | 0.12 | 0.06 | 0.09 | 16.250 | sink=4 |"));
  EXPECT_THAT(written.markdown, HasSubstr("of its first 2048 tokens"));
  // One plot for each policy with budgets.
  EXPECT_EQ(Count(written.html, "mean needle score over the budget"), 4);
}

TEST_F(ReportTest, HistoryTellsChangedFromUnchanged) {
  Result newest = MakeResult("new");
  Measure(newest, 4.2, "2026-11-02")->set_verdict(DIFFERS);
  Result older = MakeResult("old");
  Measure(older, 4.1, "2026-11-01");
  ReportInput input;
  input.papers = {paper_};
  input.results = {newest, older};
  auto history = History::Open(":memory:");
  ASSERT_TRUE(history.ok());
  ASSERT_TRUE(history->Rebuild(input.results).ok());
  input.history = &*history;
  EXPECT_THAT(Write(input).markdown,
              HasSubstr("- row-a · metric: 4.100 → 4.200 (2 measurements, "
                        "2026-11-01 to 2026-11-02), REPRODUCED → DIFFERS"));

  input.results[0] = MakeResult("same");
  Measure(input.results[0], 4.1, "2026-11-02");
  ASSERT_TRUE(history->Rebuild(input.results).ok());
  const Written written = Write(input);
  EXPECT_THAT(written.html, HasSubstr("1 metric measured more than once, 0"));
  EXPECT_THAT(written.markdown,
              HasSubstr("- row-a · metric: 4.100 (2 measurements, "));
}

TEST_F(ReportTest, TextIsNeverMarkup) {
  const Written written = Write(MakeExampleInput());
  // One script of the page's own.
  EXPECT_EQ(Count(written.html, "<script"), 1);
  EXPECT_EQ(Count(written.html, "<img"), 0);
  EXPECT_EQ(Count(written.html, "javascript:"), 0);
  EXPECT_THAT(written.html, HasSubstr("Attention &lt;script&gt;alert("));
  EXPECT_EQ(Count(written.markdown, "<"), 0);
  EXPECT_THAT(written.markdown,
              HasSubstr("## Attention &lt;script\\>alert(\"title\")"));
  EXPECT_THAT(written.markdown, HasSubstr("\\`Markup\\` \\| Considered "
                                          "\\*Harmful\\*"));
}

TEST_F(ReportTest, ThePageLoadsNothing) {
  const Written written = Write(MakeExampleInput());
  EXPECT_THAT(written.html, HasSubstr("default-src 'none'"));
  for (const char* loads :
       {"<script src", "<img", "@import", "url(", "<iframe", "<object"}) {
    EXPECT_EQ(Count(written.html, loads), 0) << loads;
  }
  EXPECT_EQ(Count(written.html, "<link "), 1);
  EXPECT_EQ(Count(written.html, "<link rel=\"icon\" href=\"data:,\">"), 1);
}

TEST_F(ReportTest, HasARowForEveryClaim) {
  const Written written = Write(MakeExampleInput());
  EXPECT_EQ(Count(written.html, "<tr role=\"row\" id="), kExampleClaims);
  EXPECT_EQ(Count(written.html, "<section class=\"paper\""), kExamplePapers);
}

TEST_F(ReportTest, DependsOnItsInputAlone) {
  const Written first = Write(MakeExampleInput());
  const Written second = Write(MakeExampleInput());
  EXPECT_EQ(first.html, second.html);
  EXPECT_EQ(first.markdown, second.markdown);
}

TEST_F(ReportTest, WithoutGnuplotItHasNoPlotsAndSaysSo) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nonexistent", 1);
  const Written written = Write(MakeExampleInput());
  setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(written.html, HasSubstr("This report has no plots: gnuplot is "
                                      "not installed"));
  EXPECT_EQ(Count(written.html, "class=\"plot\""), 0);
  EXPECT_EQ(Count(written.html, "<tr role=\"row\" id="), kExampleClaims);
}

TEST_F(ReportTest, AFolderThatCannotBeMadeIsAnErrorThatNamesIt) {
  std::ofstream(folder_) << "a file";
  const absl::Status status = WriteReport(ReportInput(), folder_ + "/out");
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder_));
}

}  // namespace
}  // namespace repro
