#include "common/testbed/niah.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/assets/asset_store.h"
#include "common/checkpoint/gguf.h"
#include "common/lm/default_model.h"
#include "common/lm/dense_state.h"
#include "common/lm/model.h"
#include "common/tensor/generator.h"
#include "common/tokenizer/loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace repro::testbed {
namespace {

using ::testing::HasSubstr;

// GPT-2's names of the 256 bytes, in UTF-8.
std::string ByteName(int byte) {
  static int others = 0;
  const bool printable = (byte >= 33 && byte <= 126) ||
                         (byte >= 161 && byte <= 172) || byte >= 174;
  const int code = printable ? byte : 256 + others++;
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)),
          static_cast<char>(0x80 | (code & 63))};
}

// One token a byte; no chat template.
std::unique_ptr<Tokenizer> ByteTokenizer() {
  static const auto* const json = [] {
    auto* out = new nlohmann::json{{"pre_tokenizer",
                                    {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"use_regex", true}}},
                                   {"decoder", {{"type", "ByteLevel"}}},
                                   {"model",
                                    {{"type", "BPE"},
                                     {"vocab", nlohmann::json::object()},
                                     {"merges", nlohmann::json::array()}}}};
    for (int byte = 0; byte < 256; ++byte) {
      (*out)["model"]["vocab"][ByteName(byte)] = byte;
    }
    return out;
  }();
  auto tokenizer = ParseTokenizerJson(json->dump(), "", "bytes");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::string Text(const Tokenizer& tokenizer, const NiahPrompt& prompt) {
  const absl::StatusOr<std::string> text = tokenizer.Decode(prompt.tokens);
  EXPECT_TRUE(text.ok()) << text.status();
  return *text;
}

constexpr char kNeedle[] =
    " One of the special magic numbers for long-context is: 12345.";

TEST(NiahPromptTest, HasTheLengthAndTheNeedleAtItsDepth) {
  const auto tokenizer = ByteTokenizer();
  const std::string haystack = "First. Two two. Three is longer. ";
  double last = -1;
  for (const double depth : {0.0, 0.3, 0.7, 1.0}) {
    const absl::StatusOr<NiahPrompt> prompt =
        MakeNiahPrompt(*tokenizer, haystack, 900, depth, "12345");
    ASSERT_TRUE(prompt.ok()) << prompt.status();
    EXPECT_EQ(prompt->tokens.size(), 900);
    const std::string text = Text(*tokenizer, *prompt);
    const size_t begin = text.find(haystack.substr(0, 6));
    const size_t needle = text.find(kNeedle);
    const size_t question = text.find("\nWhat is the special");
    ASSERT_NE(needle, std::string::npos) << text;
    ASSERT_NE(question, std::string::npos);
    EXPECT_EQ(text.find("12345"), needle + sizeof(kNeedle) - 7);
    EXPECT_EQ(text.substr(text.size() - 16), "provided text is");
    // Taking the needle out leaves the haystack, over and over.
    std::string rest = text;
    rest.erase(needle, sizeof(kNeedle) - 1);
    const size_t first = std::min(begin, needle);
    const size_t fill = question - first - (sizeof(kNeedle) - 1);
    for (size_t i = 0; i < fill; ++i) {
      ASSERT_EQ(rest[first + i], haystack[i % haystack.size()]);
    }
    // At the end of a sentence, less than one haystack behind its depth.
    const double place = static_cast<double>(needle - first);
    EXPECT_GE(place, depth * fill - 1);
    EXPECT_LE(place, depth * fill + haystack.size());
    EXPECT_GT(place, last);
    last = place;
    if (needle > first && depth < 1) {
      EXPECT_EQ(text[needle - 1], '.');
    }
  }
}

TEST(NiahPromptTest, BadInput) {
  const auto tokenizer = ByteTokenizer();
  const auto error = [&](const std::string& haystack, int64_t length,
                         double depth) {
    const absl::Status status =
        MakeNiahPrompt(*tokenizer, haystack, length, depth, "12345").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(error("Text. ", 50, 0.5), HasSubstr("a prompt of 50 tokens"));
  EXPECT_THAT(error("Text. ", -1, 0.5), HasSubstr("a prompt of -1 tokens"));
  EXPECT_THAT(error("", 900, 0.5), HasSubstr("a haystack of 0"));
  EXPECT_THAT(error("Text. ", 900, 1.1), HasSubstr("depth 1.1"));
  EXPECT_THAT(error("Text. ", 900, -0.1), HasSubstr("depth -0.1"));
}

TEST(NiahTest, CellsAreSeededAndChecked) {
  const auto tokenizer = ByteTokenizer();
  lm::ModelConfig config;
  config.vocab_size = 256;
  config.hidden_size = 8;
  config.intermediate_size = 8;
  config.num_layers = 1;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 4;
  config.max_positions = 1024;
  const auto model =
      lm::RandomModel(config, MakeGenerator(1), at::kCPU, at::kFloat);
  const lm::StateFactory factory = [&] {
    return lm::MakeDenseState(config, at::kCPU, at::kFloat);
  };
  NiahConfig niah;
  niah.lengths = {500, 600};
  niah.depths = {0, 0.5, 1};
  niah.count = 2;
  const auto cells = EvaluateNiah(*model, *tokenizer, factory, niah);
  ASSERT_TRUE(cells.ok()) << cells.status();
  ASSERT_EQ(cells->size(), 6);
  EXPECT_EQ((*cells)[4].length, 600);
  EXPECT_EQ((*cells)[4].depth, 0.5);
  for (const NiahCell& cell : *cells) {
    EXPECT_EQ(cell.scores.size(), 2);
    EXPECT_LE(cell.mean(), 0.5);  // weights that know nothing
  }
  niah.count = 0;
  EXPECT_EQ(EvaluateNiah(*model, *tokenizer, factory, niah).status().code(),
            absl::StatusCode::kInvalidArgument);
  niah.count = 1;
  niah.lengths = {10};
  EXPECT_EQ(EvaluateNiah(*model, *tokenizer, factory, niah).status().code(),
            absl::StatusCode::kInvalidArgument);
  niah.lengths = {500};
  EXPECT_EQ(EvaluateNiah(
                *model, *tokenizer, [] { return lm::MakePagedState({}); }, niah)
                .status()
                .code(),
            absl::StatusCode::kInternal);
}

// The default model, if it is on this machine: it finds the key when it sees
// the needle, and not when the needle is out of sight.
TEST(NiahTest, RealModelNeedsToSeeTheNeedle) {
  AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
  options.offline = true;
  const auto asset = AssetStore(options).Locate(lm::DefaultModel());
  if (absl::IsNotFound(asset.status())) GTEST_SKIP() << asset.status();
  ASSERT_TRUE(asset.ok()) << asset.status();
  const auto model = lm::LoadModel(asset->path, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto file = OpenGguf(asset->path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto tokenizer = TokenizerFromGguf(**file);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  NiahConfig niah;
  niah.lengths = {256};
  niah.depths = {0.3};
  niah.count = 2;
  const lm::ModelConfig& config = (*model)->config();
  const auto dense = EvaluateNiah(
      **model, **tokenizer,
      [&] { return lm::MakeDenseState(config, at::kCPU, at::kFloat); }, niah);
  ASSERT_TRUE(dense.ok()) << dense.status();
  EXPECT_EQ((*dense)[0].mean(), 1);
  const auto window = EvaluateNiah(
      **model, **tokenizer,
      [&] { return lm::MakeWindowState(config, at::kCPU, at::kFloat, 4, 32); },
      niah);
  ASSERT_TRUE(window.ok()) << window.status();
  EXPECT_LT((*window)[0].mean(), 0.5);
}

}  // namespace
}  // namespace repro::testbed
