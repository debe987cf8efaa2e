#include "common/claims/paper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_replace.h"

namespace repro {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kGood[] =
    R"(slug: "toy"
title: "A toy"
authors: "A. Author"
assets {
  name: "runs"
  sources {
    folder_path: "toy/runs.csv"
    sha256: "0123456789012345678901234567890123456789012345678901234567890123"
  }
}
experiments {
  id: "count"
  description: "counts"
  seconds: 1
  assets: "runs"
}
claims {
  id: "table1/a"
  table: "Table 1"
  metric: "parameters"
  reported: "4.1"
  unit: "M"
  evidence: EXACT
  origin: PAPER
  experiment: "count"
}
claims {
  id: "table1/b"
  table: "Table 1"
  metric: "accuracy"
  reported: "75.4"
  evidence: SCALED
  origin: PAPER
  experiment: "count"
  criterion {
    statement: "better than chance by 10 points"
    effect { at_least: 10 }
  }
}
)";

// kGood with one place changed, as an error message.
std::string ErrorWith(const std::string& from, const std::string& to) {
  const std::string text = absl::StrReplaceAll(kGood, {{from, to}});
  EXPECT_NE(text, kGood) << from << " is not in the text";
  const auto paper = ParsePaper(text, "toy/claims.textproto");
  return paper.ok() ? "no error" : std::string(paper.status().message());
}

TEST(ParsePaperTest, ReadsAGoodOne) {
  const auto paper = ParsePaper(kGood, "toy/claims.textproto");
  ASSERT_TRUE(paper.ok()) << paper.status();
  EXPECT_EQ(paper->claims_size(), 2);
  EXPECT_NE(FindClaim(*paper, "table1/b"), nullptr);
  EXPECT_EQ(FindClaim(*paper, "table1/c"), nullptr);
  EXPECT_NE(FindExperiment(*paper, "count"), nullptr);
  EXPECT_NE(FindAsset(*paper, "runs"), nullptr);
}

TEST(ParsePaperTest, NamesFileLineAndField) {
  EXPECT_THAT(ErrorWith("experiment: \"count\"\n}", "experiment: \"cuont\"\n}"),
              AllOf(HasSubstr("toy/claims.textproto:25:"),
                    HasSubstr("claims[0] \"table1/a\": experiment: "),
                    HasSubstr("unknown experiment \"cuont\"")));
  EXPECT_THAT(ErrorWith("reported: \"75.4\"", "reported: \"75,4\""),
              AllOf(HasSubstr("claims[1] \"table1/b\": reported: "),
                    HasSubstr("\"75,4\" is not a number")));
}

TEST(ParsePaperTest, RejectsWhatIsIncomplete) {
  EXPECT_THAT(ErrorWith("table1/b", "table1/a"),
              HasSubstr("id: is used by an earlier claim"));
  EXPECT_THAT(ErrorWith("  effect { at_least: 10 }\n", "  effect {}\n"),
              HasSubstr("an effect needs at_least or at_most"));
  EXPECT_THAT(ErrorWith("  effect { at_least: 10 }\n", ""),
              HasSubstr("SCALED needs an effect or a within criterion"));
  EXPECT_THAT(ErrorWith("statement: \"better than chance by 10 points\"", ""),
              HasSubstr("needs a statement"));
  EXPECT_THAT(ErrorWith("evidence: EXACT", "evidence: BLOCKED"),
              HasSubstr("says which asset is missing"));
  EXPECT_THAT(ErrorWith("assets: \"runs\"", "assets: \"run\""),
              HasSubstr("unknown asset \"run\""));
  EXPECT_THAT(ErrorWith("origin: PAPER", ""), HasSubstr("origin: is missing"));
  EXPECT_THAT(ErrorWith("seconds: 1", ""), HasSubstr("expected wall time"));
  EXPECT_THAT(ErrorWith("sha256: \"0123", "sha256: \"123"),
              HasSubstr("sha256"));
}

TEST(ParsePaperTest, ReportsAllProblemsAtOnce) {
  const std::string text =
      absl::StrReplaceAll(kGood, {{"reported: \"4.1\"", "reported: \"x\""},
                                  {"reported: \"75.4\"", "reported: \"y\""}});
  const std::string message(ParsePaper(text, "f").status().message());
  EXPECT_THAT(message, AllOf(HasSubstr("\"x\""), HasSubstr("\"y\"")));
}

TEST(ParsePaperTest, TruncatedTextIsAnErrorWithItsPlace) {
  const std::string good = kGood;
  const auto paper = ParsePaper(good.substr(0, good.size() - 20), "f");
  EXPECT_EQ(paper.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(paper.status().message()), HasSubstr("f:"));
  EXPECT_THAT(ErrorWith("title:", "titel:"), HasSubstr(":2:"));
}

TEST(UnitScaleTest, KnowsTheUnitsThatPapersPrint) {
  EXPECT_EQ(4105800 / UnitScale("M"), 4.1058);
  EXPECT_EQ(0.754 / UnitScale("%"), 75.4);
  EXPECT_EQ(UnitScale("nats"), 1);
}

}  // namespace
}  // namespace repro
