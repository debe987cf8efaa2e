#include "common/tokenizer/loader.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/tokenizer/expected.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace repro {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

Json Tiny(const std::string& name) {
  return Json::parse(ReadTestdata(name + ".json"));
}

// The error of a tokenizer.json that is right but for one value.
absl::Status ErrorWith(Json json, const std::string& pointer, Json value) {
  json[Json::json_pointer(pointer)] = std::move(value);
  return ParseTokenizerJson(json.dump(), "", "t.json").status();
}

TEST(TokenizerJsonTest, MissingMergeIsNamed) {
  Json json = Tiny("tiny_bpe");
  const Json merge = json["model"]["merges"][7];
  const std::string left = merge[0], right = merge[1];
  json["model"]["vocab"].erase(left + right);
  const absl::Status status =
      ParseTokenizerJson(json.dump(), "", "t.json").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("t.json: model.merges: merge 7 ("),
                    HasSubstr("the vocabulary has no token"),
                    HasSubstr(absl::StrCat("\"", left)),
                    HasSubstr(absl::StrCat("\"", right))));
}

TEST(TokenizerJsonTest, UnknownSideOfAMergeIsNamed) {
  Json json = Tiny("tiny_bpe");
  json["model"]["merges"].push_back({"qqq", "e"});
  const absl::Status status =
      ParseTokenizerJson(json.dump(), "", "t.json").status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("(\"qqq\" with \"e\"): the vocabulary has no token "
                        "\"qqq\""));
}

TEST(TokenizerJsonTest, BothSpellingsOfMerges) {
  Json json = Tiny("tiny_bpe");
  for (Json& merge : json["model"]["merges"]) {
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  const auto tokenizer = ParseTokenizerJson(json.dump(), "", "t.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  CheckCasesInFull(**tokenizer, "tiny_bpe");
}

TEST(TokenizerJsonTest, Errors) {
  const Json bpe = Tiny("tiny_bpe"), word_piece = Tiny("tiny_word_piece");
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const auto unknown = absl::StatusCode::kUnimplemented;
  struct Case {
    const Json* json;
    std::string pointer;
    Json value;
    absl::StatusCode code;
    std::string message;
  };
  Json deep = {{"type", "NFC"}};
  for (int i = 0; i < 1000; ++i) {
    deep = {{"type", "Sequence"}, {"normalizers", Json::array({deep})}};
  }
  const Case cases[] = {
      {&bpe, "/model/type", "Unigram", unknown, "BPE and WordPiece"},
      {&bpe, "/model/type", 3, invalid, "model.type: a string"},
      {&bpe, "/model/vocab", Json::array(), invalid, "model.vocab: an object"},
      {&bpe, "/model/vocab/a", -1, invalid, "model.vocab[\"a\"]: -1"},
      {&bpe, "/model/vocab/a", 1.5, invalid, "an integer"},
      {&bpe, "/model/vocab/a", 1LL << 40, invalid, "between 0 and"},
      {&bpe, "/model/vocab/a", 2147483647, invalid, "ids are from 0"},
      {&bpe, "/model/vocab/a", 9, invalid, "the id 9 stands for"},
      {&bpe, "/model/merges", "x", invalid, "model.merges: an array"},
      {&bpe, "/model/merges/0", "abc", invalid, "model.merges[0]: a merge"},
      {&bpe, "/model/merges/0", "a b c", invalid, "model.merges[0]: a merge"},
      {&bpe, "/model/unk_token", "nope", invalid, "model.unk_token"},
      {&bpe, "/model/byte_fallback", true, unknown, "byte_fallback"},
      {&bpe, "/model/dropout", 0.1, unknown, "dropout"},
      {&bpe, "/model/end_of_word_suffix", "</w>", unknown, "suffix"},
      {&bpe, "/pre_tokenizer", nullptr, unknown, "ByteLevel"},
      {&bpe, "/pre_tokenizer/type", "Metaspace", unknown, "Metaspace"},
      {&bpe, "/pre_tokenizer/pretokenizers/0/pattern/Regex", "(", invalid,
       "pre_tokenizer.pretokenizers[0].pattern: the regular expression"},
      {&bpe, "/pre_tokenizer/pretokenizers/0/behavior", "MergedWithNext",
       unknown, "Isolated and Removed"},
      {&bpe, "/pre_tokenizer/pretokenizers/1/add_prefix_space", true, unknown,
       "add_prefix_space"},
      {&bpe, "/decoder", nullptr, unknown, "decoder"},
      {&bpe, "/normalizer/type", "Precompiled", unknown, "Precompiled"},
      {&bpe, "/normalizer", deep, invalid, "too deeply"},
      {&bpe, "/post_processor/processors/1/single/0/SpecialToken/id", "x",
       invalid, "special_tokens.x.ids"},
      {&bpe, "/post_processor/processors/1/special_tokens/<s>/ids/0", 99999,
       invalid, "no token has the id 99999"},
      {&bpe, "/added_tokens/0/id", 77, invalid, "\"<s>\""},
      {&bpe, "/added_tokens/0/content", nullptr, invalid,
       "added_tokens[0].content"},
      {&bpe, "/added_tokens", 1, invalid, "added_tokens: an array"},
      {&word_piece, "/model/unk_token", "nope", invalid, "unknown token"},
      {&word_piece, "/post_processor/cls", 1, invalid, "post_processor.cls"},
      {&word_piece, "/decoder/type", "ByteLevel", unknown, "decoder"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.pointer);
    const absl::Status status = ErrorWith(*c.json, c.pointer, c.value);
    EXPECT_EQ(status.code(), c.code) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("t.json: "), HasSubstr(c.message)));
  }
}

TEST(TokenizerJsonTest, NotJson) {
  const std::string valid = ReadTestdata("tiny_bpe.json");
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("null"),
        valid.substr(0, valid.size() / 2), valid + "x",
        std::string("{\"a\": \"\xFF\"}"), std::string(1000000, '[')}) {
    const absl::Status status = ParseTokenizerJson(text, "", "t.json").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("t.json: "));
  }
}

TEST(TokenizerJsonTest, Config) {
  const auto tokenizer = ParseTokenizerJson(
      ReadTestdata("tiny_bpe.json"),
      R"({"bos_token":"<s>","eos_token":{"content":"</s>"},"pad_token":null,)"
      R"("chat_template":[{"name":"tool_use","template":"x"},)"
      R"({"name":"default","template":"y"}]})",
      "t.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos(), (*tokenizer)->TokenId("<s>"));
  EXPECT_EQ((*tokenizer)->eos(), (*tokenizer)->TokenId("</s>"));
  EXPECT_EQ((*tokenizer)->pad(), std::nullopt);
  EXPECT_EQ((*tokenizer)->chat_template(), "y");

  const absl::Status status =
      ParseTokenizerJson(ReadTestdata("tiny_bpe.json"),
                         R"({"bos_token":"<none>"})", "t.json")
          .status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("bos_token: no token is \"<none>\""));
}

TEST(LoadTokenizerTest, Folder) {
  const std::string folder = absl::StrCat(std::getenv("TEST_TMPDIR"), "/model");
  std::filesystem::create_directories(folder);
  EXPECT_TRUE(absl::IsNotFound(LoadTokenizer(folder).status()))
      << LoadTokenizer(folder).status();
  std::ofstream(folder + "/tokenizer.json") << ReadTestdata("tiny_bpe.json");
  auto tokenizer = LoadTokenizer(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos(), std::nullopt);
  std::ofstream(folder + "/tokenizer_config.json") << R"({"bos_token":"<s>"})";
  tokenizer = LoadTokenizer(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos(), 0);
}

GgmlVocabulary Small() {
  GgmlVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  vocabulary.tokens = {"a", "b", "ab", "<s>", "<user>"};
  vocabulary.token_types = {1, 1, 1, 3, 4};
  vocabulary.merges = {"a b"};
  return vocabulary;
}

TEST(GgmlTest, TokenTypes) {
  const auto tokenizer = TokenizerFromGgml(Small(), "m.gguf");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("ab<s>a<user>"), ElementsAre(2, 3, 0, 4));
  EncodeOptions options;
  options.parse_special = false;
  EXPECT_THAT(*(*tokenizer)->Encode("<s><user>", options), ElementsAre(4));
  EXPECT_THAT((*tokenizer)->special_tokens(), ElementsAre(3));
  EXPECT_EQ(*(*tokenizer)->Decode({4, 3, 2}), "<user>ab");
}

TEST(GgmlTest, Errors) {
  const auto error = [](void (*change)(GgmlVocabulary*)) {
    GgmlVocabulary vocabulary = Small();
    change(&vocabulary);
    const absl::Status status =
        TokenizerFromGgml(std::move(vocabulary), "m.gguf").status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr("m.gguf: "));
    return std::string(status.message());
  };
  EXPECT_THAT(error([](GgmlVocabulary* v) {
                v->merges = {"a b", "ab c"};
              }),
              HasSubstr("merge 1 (\"ab\" with \"c\"): the vocabulary has no "
                        "token \"c\""));
  EXPECT_THAT(error([](GgmlVocabulary* v) { v->merges = {"ab"}; }),
              HasSubstr("merge 0"));
  EXPECT_THAT(error([](GgmlVocabulary* v) { v->model = "llama"; }),
              HasSubstr("\"gpt2\""));
  EXPECT_THAT(error([](GgmlVocabulary* v) { v->pre = "tekken"; }),
              AllOf(HasSubstr("tekken"), HasSubstr("smollm")));
  EXPECT_THAT(error([](GgmlVocabulary* v) { v->tokens[1] = "a"; }),
              HasSubstr("\"a\" has the ids 0 and 1"));
  EXPECT_THAT(error([](GgmlVocabulary* v) { v->token_types.pop_back(); }),
              HasSubstr("4 elements"));
  EXPECT_THAT(error([](GgmlVocabulary* v) { v->add_bos = true; }),
              HasSubstr("bos_token_id is missing"));
  EXPECT_THAT(error([](GgmlVocabulary* v) { v->roles.eos = 5; }),
              HasSubstr("no token has the id 5"));
}

}  // namespace
}  // namespace repro
