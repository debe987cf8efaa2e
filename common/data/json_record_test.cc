#include "common/data/json_record.h"

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;

JsonLine Line(const std::string& text) {
  return {nlohmann::json::parse(text), 7};
}

// Outlives the records.
const std::string& kPath = *new std::string("f.jsonl");

std::string Message(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(JsonRecordTest, FieldsByType) {
  const JsonLine line =
      Line(R"({"t": "é", "l": ["a", "b"], "i": -3, "c": 4, "x": 2.5})");
  const JsonRecord record(line, kPath);
  EXPECT_EQ(record.Text("t").value(), "é");
  EXPECT_THAT(record.Texts("l").value(), ElementsAre("a", "b"));
  EXPECT_EQ(record.Integer("i").value(), -3);
  EXPECT_EQ(record.Count("c").value(), 4);
  EXPECT_EQ(record.Number("x").value(), 2.5);
  EXPECT_EQ(record.Number("i").value(), -3);
  EXPECT_EQ(*record.Find("c"), 4);
  EXPECT_EQ(record.Find("none"), nullptr);
}

TEST(JsonRecordTest, ErrorsNameThePlaceAndTheField) {
  const JsonLine line = Line(
      R"({"t": 1, "l": ["a", 2], "i": 1.5, "c": -1, "x": "2",
          "big": 9223372036854775808, "most": 9223372036854775807})");
  const JsonRecord record(line, kPath);
  EXPECT_EQ(Message(record.Text("t").status()),
            "f.jsonl:7: field \"t\" is not a text");
  EXPECT_EQ(Message(record.Text("none").status()),
            "f.jsonl:7: field \"none\" is missing, not a text");
  EXPECT_EQ(Message(record.Texts("l").status()),
            "f.jsonl:7: field \"l\" is not a list of texts");
  EXPECT_EQ(Message(record.Integer("i").status()),
            "f.jsonl:7: field \"i\" is not a whole number of 64 bits");
  EXPECT_EQ(Message(record.Integer("big").status()),
            "f.jsonl:7: field \"big\" is not a whole number of 64 bits");
  EXPECT_EQ(record.Count("most").value(), INT64_MAX);
  EXPECT_EQ(Message(record.Count("c").status()),
            "f.jsonl:7: field \"c\" is negative");
  EXPECT_EQ(Message(record.Number("x").status()),
            "f.jsonl:7: field \"x\" is not a number");
  EXPECT_EQ(Message(record.Error("comes twice")), "f.jsonl:7: comes twice");
}

TEST(JsonRecordTest, WhatIsNoObjectHasNoFields) {
  for (const char* text : {"[1]", "\"x\"", "null", "3"}) {
    const JsonLine line = Line(text);
    const JsonRecord record(line, kPath);
    EXPECT_EQ(record.Find("t"), nullptr) << text;
    EXPECT_EQ(Message(record.Text("t").status()),
              "f.jsonl:7: field \"t\" is missing, not a text");
  }
}

TEST(JsonRecordTest, AFileHasRecords) {
  const std::string path = ::testing::TempDir() + "/records.jsonl";
  std::ofstream(path) << "\n{\"a\": 1}\n";
  const auto lines = ReadRecords(path);
  ASSERT_TRUE(lines.ok()) << lines.status();
  ASSERT_EQ(lines->size(), 1);
  EXPECT_EQ((*lines)[0].line, 2);
  std::ofstream(path) << "\n\n";
  EXPECT_EQ(Message(ReadRecords(path).status()), path + ": no records");
  EXPECT_FALSE(ReadRecords(path + ".none").ok());
}

}  // namespace
}  // namespace repro
