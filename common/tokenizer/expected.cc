#include "common/tokenizer/expected.h"

#include <array>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/data/io.h"
#include "common/text/utf8.h"
#include "common/tokenizer/byte_level.h"
#include "common/tokenizer/loader.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace repro {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

constexpr uint64_t kFnvStart = 0xCBF29CE484222325;

// FNV-1a over little-endian ids and a mark behind the last.
uint64_t Fnv(uint64_t hash, Ids ids) {
  ids.push_back(-1);
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash =
          (hash ^ (static_cast<uint32_t>(id) >> shift & 0xFF)) * 0x100000001B3;
    }
  }
  return hash;
}

std::string Hex(uint64_t hash) {
  return absl::StrCat(absl::Hex(hash, absl::kZeroPad16));
}

std::vector<Json> Cases() {
  std::vector<Json> cases;
  for (absl::string_view line :
       absl::StrSplit(ReadTestdata("cases.jsonl"), '\n', absl::SkipEmpty())) {
    cases.push_back(Json::parse(line.begin(), line.end()));
  }
  EXPECT_GE(cases.size(), 300);
  return cases;
}

std::string Streamed(const Tokenizer& tokenizer, const Ids& ids,
                     bool skip_special) {
  StreamDecoder stream(&tokenizer, skip_special);
  std::string text;
  for (const int32_t id : ids) {
    const absl::StatusOr<std::string> next = stream.Next(id);
    EXPECT_TRUE(next.ok()) << next.status();
    if (!next.ok()) return text;
    EXPECT_EQ(ValidUtf8Prefix(*next), next->size());
    text += *next;
  }
  return text + stream.Finish();
}

}  // namespace

std::string ReadTestdata(const std::string& name) {
  const absl::StatusOr<std::string> content =
      ReadFile(absl::StrCat("common/tokenizer/testdata/", name));
  EXPECT_TRUE(content.ok()) << content.status();
  return content.value_or("");
}

std::unique_ptr<Tokenizer> TinyTokenizer(const std::string& name) {
  auto tokenizer =
      ParseTokenizerJson(ReadTestdata(name + ".json"), "", name + ".json");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

void CheckCasesInFull(const Tokenizer& tokenizer, const std::string& name) {
  EncodeOptions plain;
  plain.add_special_tokens = false;
  plain.parse_special = false;
  for (const Json& row : Cases()) {
    const std::string text = row["text"];
    const Json& expected = row[name];
    SCOPED_TRACE(row["text"].dump());
    const absl::StatusOr<Ids> ids = tokenizer.Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, expected["ids"].get<Ids>());

    EncodeOptions bare;
    bare.add_special_tokens = false;
    const Ids expected_plain = expected.contains("plain")
                                   ? expected["plain"].get<Ids>()
                                   : *tokenizer.Encode(text, bare);
    EXPECT_EQ(*tokenizer.Encode(text, plain), expected_plain);

    for (const bool skip_special : {true, false}) {
      const std::string decoded =
          expected.contains("decoded")
              ? expected["decoded"][skip_special ? 0 : 1].get<std::string>()
              : text;
      EXPECT_EQ(*tokenizer.Decode(*ids, skip_special), decoded);
      EXPECT_EQ(Streamed(tokenizer, *ids, skip_special), decoded);
    }
  }
}

void CheckCasesHashed(const Tokenizer& tokenizer, const std::string& name) {
  for (const Json& row : Cases()) {
    const absl::StatusOr<Ids> ids =
        tokenizer.Encode(row["text"].get<std::string>());
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(Hex(Fnv(kFnvStart, *ids)), row[name]) << row["text"].dump();
  }
}

std::vector<std::string> RandomStrings() {
  const Json parameters = Json::parse(ReadTestdata("random.json"));
  const Json& ranges = parameters["ranges"];
  // Marsaglia's xorshift64.
  uint64_t state = 20240501;
  const auto draw = [&state](uint64_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
  };
  std::vector<std::string> strings(parameters["strings"].get<size_t>());
  for (std::string& text : strings) {
    for (uint64_t left = draw(60); left > 0; --left) {
      const Json& range = ranges[draw(ranges.size())];
      const int32_t low = range[0], high = range[1];
      AppendUtf8(low + static_cast<int32_t>(draw(high - low + 1)), &text);
    }
  }
  return strings;
}

void CheckRandomStrings(const Tokenizer& tokenizer, const std::string& name) {
  uint64_t hash = kFnvStart;
  for (const std::string& text : RandomStrings()) {
    const absl::StatusOr<Ids> ids = tokenizer.Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    hash = Fnv(hash, *ids);
  }
  EXPECT_EQ(Hex(hash),
            Json::parse(ReadTestdata("random.json"))["hashes"][name]);
}

void CheckRoundTrips(const Tokenizer& tokenizer, int count) {
  std::array<bool, 256> known;
  for (int byte = 0; byte < 256; ++byte) {
    known[byte] =
        tokenizer.TokenId(ByteLevelCharacter(static_cast<uint8_t>(byte)))
            .has_value();
  }
  std::mt19937_64 random(20240501);
  EncodeOptions plain;
  plain.add_special_tokens = false;
  int checked = 0;
  while (checked < count) {
    std::string text;
    for (uint64_t left = random() % 40; left > 0; --left) {
      // Short code points as often as long ones.
      const int32_t code_point =
          static_cast<int32_t>(random() % (uint64_t{1} << (random() % 22)));
      if (code_point > 0x10FFFF ||
          (code_point >= 0xD800 && code_point <= 0xDFFF)) {
        continue;
      }
      std::string bytes;
      AppendUtf8(code_point, &bytes);
      bool all = true;
      for (const char c : bytes) all &= known[static_cast<uint8_t>(c)];
      if (all) text += bytes;
    }
    const absl::StatusOr<Ids> ids = tokenizer.Encode(text, plain);
    ASSERT_TRUE(ids.ok()) << ids.status();
    ASSERT_EQ(*tokenizer.Decode(*ids), text);
    ASSERT_EQ(Streamed(tokenizer, *ids, true), text);
    ++checked;
  }
}

}  // namespace repro
