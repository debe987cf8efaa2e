#include "common/data/ts.h"

#include <cmath>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Line 7 is the first after @data.
constexpr char kHeader[] =
    "#caf\xe9, a comment in Latin-1\n"
    "@problemName Vowels\n"
    "@dimensions 2\n"
    "@equalLength false\n"
    "@classLabel true a 2.0\n"
    "@data\n";

std::string ErrorOf(const std::string& text) {
  const absl::Status status = ParseTs(text, "f.ts").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

std::string ErrorOfSeries(const std::string& lines) {
  return ErrorOf(kHeader + lines);
}

TEST(TsTest, UnequalLengthsAndMissingValues) {
  const TsFile file = ParseTs(std::string(kHeader) +
                                  "1,-2.5e-1, 3:4,5,6:2.0\r\n"
                                  "\n# between\n"
                                  "?:NaN:a\n",
                              "f.ts")
                          .value();
  EXPECT_EQ(file.problem_name, "Vowels");
  EXPECT_EQ(file.num_dimensions, 2);
  EXPECT_FALSE(file.equal_length);
  EXPECT_THAT(file.class_labels, ElementsAre("a", "2.0"));
  ASSERT_EQ(file.series.size(), 2);
  EXPECT_THAT(file.series[0].dimensions,
              ElementsAre(ElementsAre(1, -0.25, 3), ElementsAre(4, 5, 6)));
  EXPECT_EQ(file.series[0].label, "2.0");
  EXPECT_EQ(file.series[0].class_index, 1);
  EXPECT_EQ(file.series[1].label, "a");
  EXPECT_EQ(file.series[1].class_index, 0);
  ASSERT_EQ(file.series[1].dimensions[0].size(), 1);
  EXPECT_TRUE(std::isnan(file.series[1].dimensions[0][0]));
  EXPECT_TRUE(std::isnan(file.series[1].dimensions[1][0]));
}

TEST(TsTest, HeadersInAnyCaseWithoutDimensionsOrLabels) {
  const TsFile file =
      ParseTs(
          "@PROBLEMNAME P\n@unknown header\n@classLabel false\n@DATA\n"
          "1,2:3,4:5,6\n",
          "f.ts")
          .value();
  EXPECT_EQ(file.problem_name, "P");
  EXPECT_EQ(file.num_dimensions, 3);
  EXPECT_EQ(file.series[0].label, "");
  EXPECT_EQ(file.series[0].class_index, -1);
}

TEST(TsTest, Univariate) {
  EXPECT_EQ(
      ParseTs("@univariate true\n@data\n1,2\n", "f").value().num_dimensions, 1);
  EXPECT_THAT(ErrorOf("@univariate true\n@data\n1,2:3,4\n"),
              HasSubstr("has 2 dimensions where 1"));
}

TEST(TsTest, BadSeries) {
  EXPECT_EQ(ErrorOfSeries("1:1:a\n1,2:1,2,3:a\n"),
            "f.ts:8: dimension 2 has 3 values where dimension 1 has 2");
  EXPECT_EQ(ErrorOfSeries("1:a\n"),
            "f.ts:7: has 1 dimensions where 2 are expected");
  EXPECT_EQ(ErrorOfSeries("a\n"),
            "f.ts:7: has 0 dimensions where 2 are expected");
  EXPECT_EQ(ErrorOfSeries("1:1:1:a\n"),
            "f.ts:7: has 3 dimensions where 2 are expected");
  EXPECT_EQ(ErrorOfSeries("1,2:1,x2:a\n"),
            "f.ts:7: dimension 2, value 2: 'x2' is not a finite number");
  EXPECT_THAT(ErrorOfSeries("1,,2:1,2,3:a\n"), HasSubstr("value 2: ''"));
  EXPECT_THAT(ErrorOfSeries("1:1e39:a\n"), HasSubstr("1e39"));
  EXPECT_THAT(ErrorOfSeries("inf:1:a\n"), HasSubstr("'inf'"));
  EXPECT_THAT(ErrorOfSeries("1: :a\n"), HasSubstr("dimension 2 is empty"));
  EXPECT_THAT(ErrorOfSeries("1:1:2\n"), HasSubstr("the label '2' is not"));
  EXPECT_THAT(ErrorOfSeries(""), HasSubstr("no series"));
}

TEST(TsTest, EqualLengthIsHeld) {
  const std::string header = "@equalLength true\n@data\n";
  EXPECT_TRUE(ParseTs(header + "1,2\n3,4\n", "f.ts").value().equal_length);
  EXPECT_THAT(ErrorOf(header + "1,2\n3\n"), StartsWith("f.ts:4: has 1 steps"));
}

TEST(TsTest, BadHeaders) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("without an @data line"));
  EXPECT_THAT(ErrorOf("@problemName x\n"), StartsWith("f.ts:1: "));
  EXPECT_THAT(ErrorOf("1,2:a\n@data\n"), HasSubstr("before the @data line"));
  EXPECT_THAT(ErrorOf("@dimensions -1\n@data\n1\n"), StartsWith("f.ts:1: "));
  EXPECT_THAT(ErrorOf("@dimensions\n@data\n1\n"), StartsWith("f.ts:1: "));
  EXPECT_THAT(ErrorOf("@equalLength maybe\n@data\n1\n"), HasSubstr("'maybe'"));
  EXPECT_THAT(ErrorOf("@classLabel true\n@data\n1\n"), HasSubstr("no labels"));
  EXPECT_THAT(ErrorOf("@classLabel true a a\n@data\n1:a\n"),
              HasSubstr("twice"));
  EXPECT_THAT(ErrorOf("@\n@data\n1\n"), StartsWith("f.ts:1: "));
  EXPECT_EQ(ParseTs("@timeStamps true\n@data\n(0,1):a\n", "f").status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(TsTest, ReadsFile) {
  const std::string path = ::testing::TempDir() + "/ts_test.ts";
  std::ofstream(path) << kHeader << "1:2:a\n";
  EXPECT_EQ(ReadTs(path).value().series.size(), 1);
  EXPECT_EQ(ReadTs(path + ".none").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace repro
