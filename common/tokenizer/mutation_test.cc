// Damaged tokenizer.json never crashes: the fuzz target's entry reads seeded
// mutations of valid files. Runs of the sanitizers make the check stricter.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/data/mutate.h"
#include "common/tokenizer/expected.h"
#include "common/tokenizer/loader.h"
#include "gtest/gtest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace repro {
namespace {

// Small, so that mutations hit what matters.
constexpr char kBpe[] =
    R"({"added_tokens":[{"id":5,"content":"<s>","special":true,"lstrip":true},)"
    R"({"id":2,"content":"l","normalized":true,"single_word":true}],)"
    R"("normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"}]},)"
    R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split",)"
    R"("pattern":{"Regex":"(?i:'s)| ?\\p{L}+|\\s+(?!\\S)|[^\\s\\p{N}]+"},)"
    R"("behavior":"Isolated","invert":false},)"
    R"({"type":"Digits","individual_digits":true},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},)"
    R"("post_processor":{"type":"TemplateProcessing","single":[)"
    R"({"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],)"
    R"("special_tokens":{"<s>":{"ids":[5]}}},"decoder":{"type":"ByteLevel"},)"
    R"("model":{"type":"BPE","unk_token":"o","fuse_unk":false,)"
    R"("ignore_merges":true,"vocab":{"a":0,"aa":1,"l":2,"o":3,"lo":4},)"
    R"("merges":[["a","a"],"l o"]}})";

constexpr char kWordPiece[] =
    R"({"added_tokens":[{"id":0,"content":"[CLS]","special":true}],)"
    R"("normalizer":{"type":"BertNormalizer","clean_text":true,)"
    R"("handle_chinese_chars":true,"strip_accents":null,"lowercase":true},)"
    R"("pre_tokenizer":{"type":"BertPreTokenizer"},)"
    R"("post_processor":{"type":"BertProcessing","sep":["[CLS]",0],)"
    R"("cls":["[CLS]",0]},"decoder":{"type":"WordPiece","prefix":"##",)"
    R"("cleanup":true},"model":{"type":"WordPiece","unk_token":"[UNK]",)"
    R"("continuing_subword_prefix":"##","max_input_chars_per_word":100,)"
    R"("vocab":{"[CLS]":0,"[UNK]":1,"hel":2,"##lo":3,",":4,"!":5,"a":6,)"
    R"("##a":7,"it":8,"'":9,"s":10}}})";

// Bytes that the format and the regular expressions in it care about.
void PlantSpecial(std::string* text, size_t at, const Below& below) {
  constexpr absl::string_view kSpecial("\0\n\",:{}[]\\-.019e()*+?\xff\x1f", 23);
  (*text)[at] = kSpecial[below(kSpecial.size())];
}

// Small damage more often than such as ends the JSON.
const std::vector<Mutation>& Kinds() {
  static const auto& kinds = *new std::vector<Mutation>{
      Mutation::kFlipBit, Mutation::kFlipBit, Mutation::kPlant,
      Mutation::kPlant,   Mutation::kDrop,    Mutation::kDrop,
      Mutation::kRepeat,  Mutation::kCut};
  return kinds;
}

// Both outcomes must be seen, or the mutations test too little.
void CheckMutations(const std::string& valid, int mutations) {
  const auto parsed = ParseTokenizerJson(valid, "", "valid");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  std::mt19937_64 random(20240501);
  int ok = 0;
  for (int i = 0; i < mutations; ++i) {
    const std::string text = Mutate(valid, Kinds(), PlantSpecial, &random);
    // In memory of its own size: sanitizers see a read beyond the end.
    const std::vector<uint8_t> bytes(text.begin(), text.end());
    EXPECT_EQ(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()), 0);
    ok += ParseTokenizerJson(text, "", "mutated").ok() ? 1 : 0;
  }
  EXPECT_GT(ok, 0);
  EXPECT_GT(mutations - ok, mutations / 100);
}

TEST(TokenizerMutationTest, Bpe) { CheckMutations(kBpe, 10000); }

TEST(TokenizerMutationTest, WordPiece) { CheckMutations(kWordPiece, 10000); }

TEST(TokenizerMutationTest, TrainedBpe) {
  CheckMutations(ReadTestdata("tiny_bpe.json"), 1000);
}

TEST(TokenizerMutationTest, EveryPrefix) {
  for (const std::string valid : {kBpe, kWordPiece}) {
    for (size_t size = 0; size <= valid.size(); ++size) {
      const std::vector<uint8_t> bytes(valid.begin(), valid.begin() + size);
      EXPECT_EQ(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()), 0);
    }
  }
}

}  // namespace
}  // namespace repro
