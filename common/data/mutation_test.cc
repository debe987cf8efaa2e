// Damaged input never crashes a parser: each one reads thousands of seeded
// mutations of a small valid file and must return a value or an error that
// names the file. Runs of the sanitizers make the check stricter.

#include <zlib.h>

#include <functional>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "common/data/csv.h"
#include "common/data/io.h"
#include "common/data/jsonl.h"
#include "common/data/mutate.h"
#include "common/data/ts.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::HasSubstr;

constexpr int kMutations = 20000;

// Bytes that the formats care about.
void PlantSpecial(std::string* text, size_t at, const Below& below) {
  constexpr absl::string_view kSpecial("\0\n\r\",:@#?{}[]\\-.e9\xff\x1f", 20);
  (*text)[at] = kSpecial[below(kSpecial.size())];
}

// Both outcomes must be seen, or the mutations test too little.
void CheckMutations(
    const std::string& valid,
    const std::function<absl::Status(const std::string&)>& parse) {
  ASSERT_TRUE(parse(valid).ok()) << parse(valid);
  std::mt19937_64 random(20240501);
  int ok = 0, errors = 0;
  for (int i = 0; i < kMutations; ++i) {
    const absl::Status status =
        parse(Mutate(valid,
                     {Mutation::kFlipBit, Mutation::kPlant, Mutation::kDrop,
                      Mutation::kRepeat, Mutation::kCut},
                     PlantSpecial, &random));
    if (status.ok()) {
      ++ok;
      continue;
    }
    ++errors;
    ASSERT_THAT(std::string(status.message()), HasSubstr("mutated"));
    ASSERT_EQ(status.message().find('\n'), absl::string_view::npos)
        << status.message();
  }
  EXPECT_GT(ok, 0);
  EXPECT_GT(errors, kMutations / 100);
}

TEST(MutationTest, Csv) {
  CheckMutations(
      "name,value,note\r\na,1.5,\"x, y\"\r\nb,-2e3,\"say \"\"hi\"\"\"\nc,3,\n",
      [](const std::string& text) {
        absl::StatusOr<CsvTable> table = CsvTable::Parse(text, "mutated");
        if (!table.ok()) return table.status();
        for (int64_t row = 0; row < table->num_rows(); ++row) {
          for (const std::string& column : table->header()) {
            EXPECT_TRUE(table->Text(row, column).ok());
          }
        }
        return table->HasColumn("value") ? table->Doubles("value").status()
                                         : absl::OkStatus();
      });
}

TEST(MutationTest, Ts) {
  CheckMutations(
      "#note\n@problemName P\n@timeStamps false\n@univariate false\n"
      "@dimensions 2\n@equalLength false\n@classLabel true 1 2\n@data\n"
      "0.5,-1.25,?:3,4,5e-2:1\n1,2:3,4:2\n7:8:1\n",
      [](const std::string& text) {
        absl::StatusOr<TsFile> file = ParseTs(text, "mutated");
        if (!file.ok()) return file.status();
        for (const TimeSeries& series : file->series) {
          EXPECT_EQ(series.dimensions.size(), file->num_dimensions);
          for (const auto& dimension : series.dimensions) {
            EXPECT_EQ(dimension.size(), series.dimensions[0].size());
          }
        }
        return absl::OkStatus();
      });
}

TEST(MutationTest, Jsonl) {
  CheckMutations(
      "{\"a\": [1, -2.5e3, null], \"b\": {\"c\": \"x\\u00e9\\n\"}}\n"
      "\"caf\xc3\xa9\"\n\n[true, false]\n",
      [](const std::string& text) {
        absl::StatusOr<std::vector<JsonLine>> lines =
            ParseJsonl(text, "mutated");
        if (!lines.ok()) return lines.status();
        // What is accepted can be printed again, so is valid UTF-8.
        for (const JsonLine& line : *lines) line.value.dump();
        return absl::OkStatus();
      });
}

std::string Gzip(const std::string& text) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, MAX_WBITS + 16, 8,
                         Z_DEFAULT_STRATEGY),
            Z_OK);
  std::string compressed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = text.size();
  stream.next_out = reinterpret_cast<Bytef*>(&compressed[0]);
  stream.avail_out = compressed.size();
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  compressed.resize(stream.total_out);
  EXPECT_EQ(deflateEnd(&stream), Z_OK);
  return compressed;
}

TEST(MutationTest, Gzip) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += std::to_string(i * i) + ",";
  CheckMutations(Gzip(text), [](const std::string& compressed) {
    constexpr int64_t kLimit = 1 << 20;
    absl::StatusOr<std::string> content =
        GunzipBytes(compressed, "mutated", kLimit);
    if (!content.ok()) return content.status();
    EXPECT_LE(content->size(), kLimit);
    return absl::OkStatus();
  });
}

}  // namespace
}  // namespace repro
