#include "common/tokenizer/tokenizer.h"

#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/text/utf8.h"
#include "common/tokenizer/byte_level.h"
#include "common/tokenizer/expected.h"
#include "common/tokenizer/loader.h"
#include "common/tokenizer/regex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// All bytes, then the results of the merges, then special tokens.
GgmlVocabulary Bytes(const std::vector<std::string>& merges,
                     const std::vector<std::string>& special) {
  GgmlVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(ByteLevelCharacter(static_cast<uint8_t>(byte)));
  }
  for (std::string merge : merges) {
    vocabulary.merges.push_back(merge);
    merge.erase(merge.find(' '), 1);
    vocabulary.tokens.push_back(merge);
  }
  vocabulary.token_types.assign(vocabulary.tokens.size(), 1);
  for (const std::string& token : special) {
    vocabulary.tokens.push_back(token);
    vocabulary.token_types.push_back(3);
  }
  return vocabulary;
}

std::unique_ptr<Tokenizer> Make(GgmlVocabulary vocabulary) {
  auto tokenizer = TokenizerFromGgml(std::move(vocabulary), "made");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

TEST(Utf8Test, ReplacesAsPython) {
  // Each from bytes(...).decode("utf-8", "replace").
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(ReplaceInvalidUtf8("ok\xE2\x82\xAC"), "ok\xE2\x82\xAC");
  EXPECT_EQ(ReplaceInvalidUtf8("\xFF"), r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xE4\xB8"), r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xE4\xB8z"), r + "z");
  EXPECT_EQ(ReplaceInvalidUtf8("\xC0\x80"), r + r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xF0\x9F\x98"), r);
  EXPECT_EQ(ReplaceInvalidUtf8("\xF4\x90\x80\x80"), r + r + r + r);
  // The example of Unicode's table 3-8.
  EXPECT_EQ(ReplaceInvalidUtf8("a\xF1\x80\x80\xE1\x80\xC2"
                               "b\x80"
                               "c\x80\xBF"
                               "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
}

TEST(Utf8Test, IncompleteSuffix) {
  const std::string euro = "\xE2\x82\xAC", face = "\xF0\x9F\x98\x80";
  for (size_t n = 0; n < euro.size(); ++n) {
    EXPECT_EQ(IncompleteUtf8Suffix("a" + euro.substr(0, n)), n);
  }
  for (size_t n = 0; n < face.size(); ++n) {
    EXPECT_EQ(IncompleteUtf8Suffix(face + face.substr(0, n)), n);
  }
  EXPECT_EQ(IncompleteUtf8Suffix(euro), 0);
  EXPECT_EQ(IncompleteUtf8Suffix("\x80\x80\x80\x80"), 0);
  EXPECT_EQ(IncompleteUtf8Suffix("\xC0"), 0);
  EXPECT_EQ(IncompleteUtf8Suffix("\xED\xA0"), 0);
  EXPECT_EQ(IncompleteUtf8Suffix(""), 0);
}

TEST(RegexTest, WhiteSpaceIsUnicodes) {
  const auto regex = Regex::Create(R"(\s+|[^\s]+)");
  ASSERT_TRUE(regex.ok()) << regex.status();
  // U+0085 and U+3000 are white space, U+180E is not.
  std::vector<std::pair<size_t, size_t>> matches;
  ASSERT_TRUE(
      (*regex)->FindAll("a\xC2\x85\xE3\x80\x80\xE1\xA0\x8E", &matches).ok());
  EXPECT_THAT(matches, ElementsAre(Pair(0, 1), Pair(1, 6), Pair(6, 9)));
}

TEST(RegexTest, EmptyMatchesAreLeftOut) {
  const auto regex = Regex::Create("b*");
  ASSERT_TRUE(regex.ok()) << regex.status();
  std::vector<std::pair<size_t, size_t>> matches;
  ASSERT_TRUE((*regex)
                  ->FindAll("\xC3\xA9"
                            "bb\xC3\xA9"
                            "b",
                            &matches)
                  .ok());
  EXPECT_THAT(matches, ElementsAre(Pair(2, 4), Pair(6, 7)));
}

TEST(RegexTest, BadPatterns) {
  const absl::Status open = Regex::Create("a(b").status();
  EXPECT_EQ(open.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(open.message()), HasSubstr("near byte 3"));
  EXPECT_EQ(Regex::Create(R"(\w+)").status().code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Regex::Create(std::string(20000, 'a')).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Regex::Create("\xFF").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(Regex::CreateLiteral("").ok());
  // Exponential backtracking ends.
  const auto hostile = Regex::Create("(a+)+$");
  ASSERT_TRUE(hostile.ok()) << hostile.status();
  std::vector<std::pair<size_t, size_t>> matches;
  EXPECT_EQ((*hostile)->FindAll(std::string(40, 'a') + "b", &matches).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(TinyVocabularyTest, ByteLevelBpe) {
  const auto tokenizer = TinyTokenizer("tiny_bpe");
  ASSERT_NE(tokenizer, nullptr);
  CheckCasesInFull(*tokenizer, "tiny_bpe");
  CheckRandomStrings(*tokenizer, "tiny_bpe");
}

TEST(TinyVocabularyTest, WordPiece) {
  const auto tokenizer = TinyTokenizer("tiny_word_piece");
  ASSERT_NE(tokenizer, nullptr);
  CheckCasesInFull(*tokenizer, "tiny_word_piece");
  CheckRandomStrings(*tokenizer, "tiny_word_piece");
}

// "aaaa" by hand: the merge of least rank goes first, from the left.
TEST(ByteLevelBpeTest, MergesByRankThenPlace) {
  const auto tokenizer = Make(Bytes({"a b", "a a", "aa a", "b c"}, {}));
  const auto encode = [&](const std::string& text) {
    return *tokenizer->Encode(text);
  };
  EXPECT_THAT(encode("aaaa"), ElementsAre(257, 257));
  EXPECT_THAT(encode("aaa"), ElementsAre(258));
  EXPECT_THAT(encode("abc"), ElementsAre(256, 'c'));
  EXPECT_THAT(encode("aab"), ElementsAre('a', 256));
  EXPECT_THAT(encode(""), IsEmpty());
  EXPECT_EQ(*tokenizer->TokenText(257), "aa");
  EXPECT_EQ(tokenizer->TokenId("aab"), std::nullopt);
  EXPECT_EQ(tokenizer->vocab_size(), 260);
}

TEST(ByteLevelBpeTest, EveryUnicodeStringRoundTrips) {
  CheckRoundTrips(*Make(Bytes({"a a", "\xC4\xA0 a", "\xC3\x83 \xC2\xA9"}, {})),
                  20000);
}

TEST(ByteLevelBpeTest, MissingBytes) {
  GgmlVocabulary vocabulary = Bytes({}, {"<unk>"});
  vocabulary.tokens['z'] = "unused";
  EXPECT_THAT(*Make(vocabulary)->Encode("azzb"), ElementsAre('a', 'b'));

  // As tokenizers 0.23.3: BPE(vocab={"a": 0, "?": 1}, merges=[],
  // unk_token="?", fuse_unk=f) under ByteLevel encodes "azza".
  for (const bool fuse : {false, true}) {
    const auto with_unknown = ParseTokenizerJson(
        absl::StrCat(
            R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},)"
            R"("decoder":{"type":"ByteLevel"},"model":{"type":"BPE",)"
            R"("vocab":{"a":0,"?":1},"merges":[],"unk_token":"?","fuse_unk":)",
            fuse ? "true" : "false", "}}"),
        "", "made");
    ASSERT_TRUE(with_unknown.ok()) << with_unknown.status();
    EXPECT_EQ((*with_unknown)->unk(), 1);
    EXPECT_EQ(*(*with_unknown)->Encode("azza"),
              fuse ? std::vector<int32_t>({0, 1, 0})
                   : std::vector<int32_t>({0, 1, 1, 0}));
  }
}

// Long inputs that would take a quadratic algorithm hours.
TEST(ByteLevelBpeTest, LongWords) {
  const auto tokenizer =
      Make(Bytes({"a a", "aa aa", "aaaa aaaa", "aaaaaaaa aaaaaaaa"}, {}));
  constexpr size_t kSize = 1 << 20;
  const auto ids = tokenizer->Encode(std::string(kSize, 'a'));
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, std::vector<int32_t>(kSize / 16, 259));
  for (const std::string unit :
       {" ", "\n", "1", ".", "\xCC\x81", "\xE6\x97\xA5", "\xF0\x9F\x98\x80",
        "a ", "'", "<"}) {
    std::string text;
    while (text.size() < kSize) text += unit;
    for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "qwen2"}) {
      GgmlVocabulary vocabulary = Bytes({"a a"}, {"<|im_start|>"});
      vocabulary.pre = pre;
      const auto other = Make(vocabulary);
      const auto encoded = other->Encode(text);
      ASSERT_TRUE(encoded.ok()) << encoded.status();
      EXPECT_EQ(*other->Decode(*encoded), text);
    }
  }
}

TEST(ByteLevelBpeTest, ThreadsShareOne) {
  const auto tokenizer = TinyTokenizer("tiny_bpe");
  ASSERT_NE(tokenizer, nullptr);
  const std::vector<std::string> texts = RandomStrings();
  const auto encode_all = [&](std::vector<std::vector<int32_t>>* all) {
    for (const std::string& text : texts) {
      all->push_back(*tokenizer->Encode(text));
    }
  };
  std::vector<std::vector<int32_t>> results[4];
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back(encode_all, &result);
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

TEST(TokenizerTest, InvalidUtf8IsAnError) {
  const auto tokenizer = Make(Bytes({}, {}));
  const absl::Status status = tokenizer->Encode("abc\xE4\xB8z").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("byte 3 is 0xe4"));
}

TEST(TokenizerTest, IdsOutsideTheVocabulary) {
  const auto tokenizer = Make(Bytes({}, {}));
  for (const int32_t id : {-1, 256, 0x7FFFFFFF}) {
    EXPECT_EQ(tokenizer->Decode({'a', id}).status().code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(tokenizer->DecodeToken(id).ok());
    EXPECT_FALSE(tokenizer->TokenText(id).ok());
    EXPECT_FALSE(tokenizer->IsSpecial(id));
    StreamDecoder stream(tokenizer.get());
    EXPECT_EQ(*stream.Next(0xC3), "");
    EXPECT_FALSE(stream.Next(id).ok());
    EXPECT_EQ(*stream.Next(0xA9), "\xC3\xA9");
  }
}

TEST(TokenizerTest, SpecialTokens) {
  GgmlVocabulary vocabulary = Bytes({}, {"<s>", "</s>"});
  vocabulary.roles.bos = 256;
  vocabulary.roles.eos = 257;
  vocabulary.add_bos = vocabulary.add_eos = true;
  const auto tokenizer = Make(vocabulary);
  EXPECT_THAT(*tokenizer->Encode("a</s>"), ElementsAre(256, 'a', 257, 257));
  EncodeOptions options;
  options.parse_special = false;
  EXPECT_THAT(*tokenizer->Encode("</s>", options),
              ElementsAre(256, '<', '/', 's', '>', 257));
  options.add_special_tokens = false;
  EXPECT_THAT(*tokenizer->Encode("", options), IsEmpty());
  EXPECT_EQ(*tokenizer->Decode({256, 'a', 257}), "a");
  EXPECT_EQ(*tokenizer->Decode({256, 'a', 257}, false), "<s>a</s>");
  EXPECT_EQ(*tokenizer->DecodeToken(257), "</s>");
  EXPECT_TRUE(tokenizer->IsSpecial(256));
  EXPECT_FALSE(tokenizer->IsSpecial('a'));
  EXPECT_THAT(tokenizer->special_tokens(), ElementsAre(256, 257));
  EXPECT_EQ(tokenizer->bos(), 256);
  EXPECT_EQ(tokenizer->eos(), 257);
  EXPECT_EQ(tokenizer->pad(), std::nullopt);
}

// Every way to cut a text into tokens of single bytes streams the same.
TEST(StreamDecoderTest, WholeCharactersOnly) {
  const auto tokenizer = Make(Bytes({}, {"<s>"}));
  StreamDecoder stream(tokenizer.get());
  const std::string face = "\xF0\x9F\x98\x80";
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(*stream.Next(static_cast<uint8_t>(face[i])), "");
  }
  EXPECT_EQ(*stream.Next(static_cast<uint8_t>(face[3])), face);
  EXPECT_EQ(stream.Finish(), "");
  EXPECT_EQ(*stream.Next(0xE2), "");
  EXPECT_EQ(*stream.Next('x'), "\xEF\xBF\xBDx");
  EXPECT_EQ(*stream.Next(0xE2), "");
  EXPECT_EQ(*stream.Next(0x82), "");
  EXPECT_EQ(stream.Finish(), "\xEF\xBF\xBD");

  std::mt19937_64 random(20240501);
  for (int i = 0; i < 5000; ++i) {
    std::vector<int32_t> ids(random() % 12);
    for (int32_t& id : ids) {
      constexpr int32_t kBytes[] = {'a',  0x80, 0x82, 0x9F, 0xA0, 0xBF, 0xC0,
                                    0xC3, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 256};
      id = kBytes[random() % std::size(kBytes)];
    }
    std::string streamed;
    for (const int32_t id : ids) streamed += *stream.Next(id);
    streamed += stream.Finish();
    ASSERT_EQ(streamed, *tokenizer->Decode(ids));
  }
}

}  // namespace
}  // namespace repro
