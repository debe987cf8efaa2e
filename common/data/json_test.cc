#include "common/data/json.h"

#include <string>

#include "absl/status/status.h"
#include "common/data/io.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::StartsWith;

std::string ErrorOf(const std::string& text) {
  return std::string(ParseJson(text, "f.json").status().message());
}

TEST(JsonTest, AValueOverSeveralLines) {
  const auto value = ParseJson("\n{\"a\":\n [1,\n2]}\n", "f.json");
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ((*value)["a"][1], 2);
}

TEST(JsonTest, ErrorsNameTheLine) {
  EXPECT_THAT(ErrorOf("{\"a\": 1,\n\"b\" 2}"), StartsWith("f.json:2: not one"));
  EXPECT_THAT(ErrorOf("[1]\n\n[2]"), StartsWith("f.json:3: "));
  EXPECT_THAT(ErrorOf("[\n\"\xff\"]"), StartsWith("f.json:2: "));
  EXPECT_THAT(ErrorOf(""), StartsWith("f.json:1: "));
  EXPECT_THAT(ErrorOf("[1e999]"), StartsWith("f.json:1: "));
  EXPECT_THAT(ErrorOf(std::string(400, '[') + "\n" + std::string(400, '[')),
              StartsWith("f.json:2: nests deeper"));
}

TEST(JsonTest, ReadsAFile) {
  const std::string path = ::testing::TempDir() + "/value.json";
  ASSERT_TRUE(WriteFileAtomically(path, "{\"a\": true}").ok());
  EXPECT_EQ((*ReadJson(path))["a"], true);
  EXPECT_EQ(ReadJson(path + ".none").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace repro
