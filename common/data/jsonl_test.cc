#include "common/data/jsonl.h"

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(JsonlTest, ValuesWithTheirLines) {
  const auto lines =
      ParseJsonl("{\"a\": 1, \"b\": [2.5, null]}\r\n\n  \n\"x\"\n", "f")
          .value();
  ASSERT_EQ(lines.size(), 2);
  EXPECT_EQ(lines[0].line, 1);
  EXPECT_EQ(lines[0].value["a"], 1);
  EXPECT_EQ(lines[0].value["b"][0], 2.5);
  EXPECT_TRUE(lines[0].value["b"][1].is_null());
  EXPECT_EQ(lines[1].line, 4);
  EXPECT_EQ(lines[1].value, "x");
}

TEST(JsonlTest, EmptyTextHasNoValues) {
  EXPECT_TRUE(ParseJsonl("", "f").value().empty());
  EXPECT_TRUE(ParseJsonl("\n\n", "f").value().empty());
}

TEST(JsonlTest, ErrorsNameFileLineAndColumn) {
  const absl::Status status = ParseJsonl("{}\n{\"a\" 1}\n", "f.jsonl").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), StartsWith("f.jsonl:2: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("column 6"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("json.exception")));
}

TEST(JsonlTest, BadLines) {
  for (const char* bad :
       {"{", "{} {}", "nul", "\"\xff\"", "1e999", "{\"a\":}", "[1,]"}) {
    const absl::Status status = ParseJsonl(bad, "f").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(status.message()), StartsWith("f:1: ")) << bad;
  }
}

TEST(JsonlTest, DepthIsLimited) {
  const auto nested = [](int depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseJsonl(nested(500), "f").ok());
  EXPECT_THAT(std::string(ParseJsonl(nested(501), "f").status().message()),
              HasSubstr("f:1: nests deeper"));
  EXPECT_FALSE(ParseJsonl(nested(1'000'000), "f").ok());
  // Brackets in a string are no depth.
  EXPECT_TRUE(ParseJsonl("\"\\\"" + std::string(1000, '[') + "\"", "f").ok());
}

TEST(JsonlTest, ReadsFile) {
  const std::string path = ::testing::TempDir() + "/jsonl_test.jsonl";
  std::ofstream(path) << "[1]\n[2\n";
  EXPECT_THAT(std::string(ReadJsonl(path).status().message()),
              StartsWith(path + ":2: "));
  std::ofstream(path) << "[1]\n[2]\n";
  EXPECT_EQ(ReadJsonl(path).value().size(), 2);
  EXPECT_EQ(ReadJsonl(path + ".none").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace repro
