#include "common/data/csv.h"

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

std::string ErrorOf(const std::string& text) {
  const absl::Status status = CsvTable::Parse(text, "f.csv").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

// The examples of RFC 4180, section 2.
TEST(CsvTest, Rfc4180) {
  const CsvTable table = CsvTable::Parse(
                             "field_name,\"b,b\",c\r\n"
                             "\"aaa\",\"b \r\nbb\",\"ccc\"\r\n"
                             "\"aaa\",\"b\"\"bb\",\r\n"
                             "\r\n"
                             "zzz,yyy,xxx",
                             "f")
                             .value();
  EXPECT_THAT(table.header(), ElementsAre("field_name", "b,b", "c"));
  ASSERT_EQ(table.num_rows(), 3);
  EXPECT_EQ(table.Text(0, "b,b").value(), "b \r\nbb");
  EXPECT_EQ(table.Text(1, "b,b").value(), "b\"bb");
  EXPECT_EQ(table.Text(1, "c").value(), "");
  EXPECT_EQ(table.Text(2, "c").value(), "xxx");
  EXPECT_EQ(table.RowError(0, "odd"), absl::InvalidArgumentError("f:2: odd"));
  // After the line end inside a field.
  EXPECT_EQ(table.RowError(1, ""), absl::InvalidArgumentError("f:4: "));
  EXPECT_EQ(table.RowError(2, ""), absl::InvalidArgumentError("f:6: "));
}

TEST(CsvTest, LineFeedsByteOrderMarkAndFieldAtTheEnd) {
  const CsvTable table =
      CsvTable::Parse("\xef\xbb\xbfx,y\n1,\n,2\n3,", "f").value();
  EXPECT_THAT(table.header(), ElementsAre("x", "y"));
  ASSERT_EQ(table.num_rows(), 3);
  EXPECT_EQ(table.Text(0, "y").value(), "");
  EXPECT_EQ(table.Text(1, "x").value(), "");
  EXPECT_EQ(table.Text(2, "y").value(), "");
}

TEST(CsvTest, QuoteInsideAnUnquotedFieldIsText) {
  const CsvTable table = CsvTable::Parse("x\n5\" pipe\n", "f").value();
  EXPECT_EQ(table.Text(0, "x").value(), "5\" pipe");
}

TEST(CsvTest, HeaderOnly) {
  const CsvTable table = CsvTable::Parse("x,y\n", "f").value();
  EXPECT_EQ(table.num_rows(), 0);
  EXPECT_TRUE(table.Doubles("x").value().empty());
  EXPECT_EQ(table.Doubles("z").status().code(), absl::StatusCode::kNotFound);
}

TEST(CsvTest, Numbers) {
  const CsvTable table = CsvTable::Parse(
                             "n,v\n-7,3.526359796524048\n9223372036854775807,\n"
                             "9223372036854775808,nan\n1.0,1e999\n",
                             "f.csv")
                             .value();
  EXPECT_EQ(table.Int(0, "n").value(), -7);
  EXPECT_EQ(table.Int(1, "n").value(), INT64_MAX);
  EXPECT_EQ(table.Double(0, "v").value(), 3.526359796524048);
  EXPECT_EQ(table.OptionalDouble(0, "v").value(), 3.526359796524048);
  EXPECT_EQ(table.OptionalDouble(1, "v").value(), std::nullopt);
  EXPECT_TRUE(std::isnan(table.Double(2, "v").value()));
  EXPECT_THAT(table.Doubles("n").value(), ElementsAre(-7, 0x1p63, 0x1p63, 1));

  EXPECT_EQ(table.Double(1, "v").status().message(),
            "f.csv:3: column 'v': '' is not a number");
  EXPECT_THAT(std::string(table.Int(2, "n").status().message()),
              StartsWith("f.csv:4: "));
  EXPECT_THAT(std::string(table.Int(3, "n").status().message()),
              StartsWith("f.csv:5: "));
  EXPECT_THAT(std::string(table.Double(3, "v").status().message()),
              StartsWith("f.csv:5: "));
  EXPECT_THAT(std::string(table.OptionalDouble(3, "v").status().message()),
              StartsWith("f.csv:5: "));
  EXPECT_THAT(std::string(table.Doubles("v").status().message()),
              StartsWith("f.csv:3: "));
}

TEST(CsvTest, UnknownColumnAndRow) {
  const CsvTable table = CsvTable::Parse("x,y\n1,2\n", "f").value();
  EXPECT_TRUE(table.HasColumn("x"));
  EXPECT_FALSE(table.HasColumn("z"));
  const absl::Status status = table.Text(0, "z").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("x, y"));
  EXPECT_EQ(table.Text(1, "x").status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(table.Int(-1, "x").status().code(), absl::StatusCode::kOutOfRange);
}

TEST(CsvTest, BadTables) {
  EXPECT_THAT(ErrorOf(""), StartsWith("f.csv:1: "));
  EXPECT_THAT(ErrorOf("\n\r\n"), StartsWith("f.csv:1: "));
  EXPECT_THAT(ErrorOf("x,x\n"), HasSubstr("repeats"));
  EXPECT_THAT(ErrorOf("x,\n1,2\n"), HasSubstr("column 2 has no name"));
  EXPECT_EQ(ErrorOf("x,y\n1,2\n\n1\n"),
            "f.csv:4: has 1 fields where the header has 2");
  EXPECT_THAT(ErrorOf("x,y\n1,2,3\n"), StartsWith("f.csv:2: has 3"));
  EXPECT_THAT(ErrorOf("x,y\n1,\"2\n\n"), StartsWith("f.csv:2: a quote"));
  EXPECT_THAT(ErrorOf("x\n\"a\nb\"c\n"), StartsWith("f.csv:3: text after"));
}

TEST(CsvTest, ReadsFile) {
  const std::string path = ::testing::TempDir() + "/csv_test.csv";
  std::ofstream(path) << "x\n1\n";
  EXPECT_EQ(CsvTable::Read(path).value().Int(0, "x").value(), 1);
  EXPECT_EQ(CsvTable::Read(path + ".none").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace repro
