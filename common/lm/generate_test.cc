#include "common/lm/generate.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "common/lm/dense_state.h"
#include "common/lm/tiny_model.h"
#include "common/text/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::lm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST(StopMatcherTest, HoldsBackWhatMayBecomeAStopString) {
  StopMatcher matcher({"END", "NDX"});
  EXPECT_EQ(matcher.Next("a E"), "a ");
  EXPECT_EQ(matcher.Next("N"), "");
  EXPECT_EQ(matcher.Next("E"), "EN");  // "E" may begin another
  EXPECT_EQ(matcher.Next("ND and more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.Next("x"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcherTest, GivesBackWhatDidNot) {
  StopMatcher matcher({"aab"});
  EXPECT_EQ(matcher.Next("aaa"), "a");
  EXPECT_EQ(matcher.Finish(), "aa");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcherTest, TheFirstInTheTextWins) {
  StopMatcher matcher({"world", "o"});
  EXPECT_EQ(matcher.Next("hello world"), "hell");
}

// Any cut of a text into pieces gives what searching the whole text gives.
TEST(StopMatcherTest, CutsDoNotMatter) {
  const std::string text = "abaababaabbabaaab";
  for (const std::string stop : {"abab", "aabb", "baaab", "bbb", "aaab"}) {
    const std::string expected = text.substr(0, text.find(stop));
    for (size_t size = 1; size <= 5; ++size) {
      StopMatcher matcher({stop});
      std::string out;
      for (size_t at = 0; at < text.size(); at += size) {
        out += matcher.Next(absl::string_view(text).substr(at, size));
        EXPECT_THAT(expected, StartsWith(out));
      }
      out += matcher.Finish();
      EXPECT_EQ(out, expected) << stop << " by " << size;
      EXPECT_EQ(matcher.stopped(), text.find(stop) != std::string::npos);
    }
  }
}

class GenerateTest : public ::testing::Test {
 protected:
  GenerateTest() : model_(TinyModel(64)), tokenizer_(TinyTokenizer()) {}

  StateFactory Dense() const {
    return [this] {
      return MakeDenseState(model_->config(), at::kCPU, at::kFloat);
    };
  }

  GenerationRequest Request(const std::string& prompt) const {
    GenerationRequest request;
    request.prompt = *EncodePrompt(*tokenizer_, prompt);
    request.max_tokens = 20;
    return request;
  }

  GenerationResult Run(const GenerationRequest& request,
                       const PieceCallback& on_piece = nullptr,
                       int64_t chunk = 512) const {
    auto result =
        Generate(*model_, *tokenizer_, Dense(), request, on_piece, chunk);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : GenerationResult();
  }

  // Logits that make `id` certain.
  static std::vector<float> Only(int32_t id) {
    std::vector<float> logits(kTinyVocabulary, -100);
    logits[id] = 0;
    return logits;
  }

  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

std::vector<int32_t> Ids(const GenerationResult& result) {
  std::vector<int32_t> ids;
  for (const SampledToken& token : result.tokens)
    ids.push_back(token.chosen.id);
  return ids;
}

// Each token anew from the whole sequence, without a cache that lives on.
TEST_F(GenerateTest, GreedyIsTheArgmaxOfTheWholeSequence) {
  at::NoGradGuard no_grad;
  const GenerationRequest request = Request("Once upon");
  std::vector<int64_t> sequence(request.prompt.begin(), request.prompt.end());
  std::vector<int32_t> expected;
  while (expected.size() < 20) {
    const auto state = Dense()();
    const int64_t next =
        model_->Forward({{at::tensor(sequence, at::kLong), state.get(), 0}})
            .argmax(-1)
            .item<int64_t>();
    if (next == kTinyEnd) break;
    expected.push_back(static_cast<int32_t>(next));
    sequence.push_back(next);
  }
  ASSERT_GT(expected.size(), 5);
  for (const int64_t chunk : {1, 4, 9, 512}) {
    const GenerationResult result = Run(request, nullptr, chunk);
    EXPECT_EQ(Ids(result), expected) << chunk;
    EXPECT_EQ(result.text, *tokenizer_->Decode(expected));
    EXPECT_EQ(result.prompt_tokens, 9);
  }
}

TEST_F(GenerateTest, PiecesAddUpAndAreWholeCharacters) {
  GenerationRequest request = Request("x");
  request.sampling.temperature = 1.5;
  request.max_tokens = 60;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    request.sampling.seed = seed;
    std::string text;
    size_t tokens = 0;
    const GenerationResult result = Run(request, [&](const TextPiece& piece) {
      EXPECT_EQ(ValidUtf8Prefix(piece.text), piece.text.size());
      text += piece.text;
      tokens += piece.tokens.size();
      return true;
    });
    EXPECT_EQ(text, result.text);
    EXPECT_EQ(tokens, result.tokens.size());
    EXPECT_EQ(text, *tokenizer_->Decode(Ids(result)));
    EXPECT_EQ(Ids(Run(request)), Ids(result));
  }
}

TEST_F(GenerateTest, StopStringsCutTheText) {
  GenerationRequest request = Request("Once upon");
  const std::string text = Run(request).text;
  ASSERT_GT(text.size(), 12);
  const std::string stop = text.substr(6, 4);
  request.stop = {"not in it", stop};
  const GenerationResult result = Run(request);
  EXPECT_EQ(result.text, text.substr(0, text.find(stop)));
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
}

TEST_F(GenerateTest, LengthAndContextEnd) {
  GenerationRequest request = Request("abc");
  request.max_tokens = 4;
  GenerationResult result = Run(request);
  EXPECT_THAT(result.tokens, SizeIs(4));
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  request.prompt.assign(62, 'a');
  result = Run(request);  // 64 positions
  EXPECT_THAT(result.tokens, SizeIs(2));
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
}

TEST_F(GenerateTest, CallerCancels) {
  int calls = 0;
  const GenerationResult result =
      Run(Request("abc"), [&](const TextPiece&) { return ++calls < 4; });
  EXPECT_EQ(result.finish_reason, FinishReason::kCancelled);
  EXPECT_THAT(result.tokens, SizeIs(3));  // the first call is the prompt's
  EXPECT_EQ(
      Run(Request("abc"), [](const TextPiece&) { return false; }).tokens.size(),
      0);
}

TEST_F(GenerateTest, EndOfTextIsNoToken) {
  Completion completion(Request("a"), tokenizer_.get(), model_->config());
  ASSERT_TRUE(completion.Add(Only('h')).ok());
  ASSERT_TRUE(completion.Add(Only(0xc3)).ok());  // half of a character
  EXPECT_EQ(completion.Take().text, "h");
  ASSERT_TRUE(completion.Add(Only(kTinyEnd)).ok());
  EXPECT_EQ(completion.finish_reason(), FinishReason::kStop);
  EXPECT_EQ(completion.Take().text, "\xEF\xBF\xBD");
  EXPECT_THAT(completion.tokens(), ElementsAre('h', 0xc3));
}

TEST_F(GenerateTest, StopStringAcrossTokens) {
  GenerationRequest request = Request("a");
  request.stop = {"é!"};
  Completion completion(request, tokenizer_.get(), model_->config());
  for (const int32_t byte :
       std::vector<int32_t>{'o', 0xc3, 0xa9, '?', 0xc3, 0xa9}) {
    ASSERT_TRUE(completion.Add(Only(byte)).ok());
  }
  TextPiece piece = completion.Take();
  EXPECT_EQ(piece.text, "oé?");
  EXPECT_THAT(piece.tokens, SizeIs(6));
  ASSERT_TRUE(completion.Add(Only('!')).ok());
  EXPECT_EQ(completion.finish_reason(), FinishReason::kStop);
  EXPECT_EQ(completion.Take().text, "");
}

TEST_F(GenerateTest, ChatsByTheTemplate) {
  const auto ids = EncodeChat(*tokenizer_, {{"user", "Hi"}});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->front(), kTinyStart);
  EXPECT_EQ(*tokenizer_->Decode(*ids, /*skip_special=*/false),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(EncodeChat(*tokenizer_, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(GenerateTest, RefusesWhatCannotBe) {
  const auto message = [&](const GenerationRequest& request) {
    const absl::Status status =
        Generate(*model_, *tokenizer_, Dense(), request, nullptr).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message(Request("")), HasSubstr("prompt is empty"));
  EXPECT_THAT(message(Request(std::string(64, 'a'))),
              HasSubstr("64 tokens; the model's context is 64"));
  GenerationRequest request = Request("a");
  request.prompt.push_back(258);
  EXPECT_THAT(message(request), HasSubstr("token 258"));
  request = Request("a");
  request.max_tokens = 0;
  EXPECT_THAT(message(request), HasSubstr("max_tokens is 0"));
  request = Request("a");
  request.stop = {""};
  EXPECT_THAT(message(request), HasSubstr("stop string is empty"));
  request = Request("a");
  request.sampling.top_p = 2;
  EXPECT_THAT(message(request), HasSubstr("top_p"));
  EXPECT_EQ(EncodePrompt(*tokenizer_, "a\xff").status().code(),
            absl::StatusCode::kInvalidArgument);
}

// Throws what an allocator throws.
template <typename Error>
class ThrowingState : public AttentionState {
 public:
  explicit ThrowingState(Error error) : error_(std::move(error)) {}
  at::Tensor Attend(const AttentionInput&) override { throw Error(error_); }
  int64_t Bytes() const override { return 0; }

 private:
  Error error_;
};

TEST_F(GenerateTest, LackOfMemoryIsAnError) {
  const auto run = [&](auto error) {
    return Generate(
               *model_, *tokenizer_,
               [error] {
                 return std::make_unique<ThrowingState<decltype(error)>>(error);
               },
               Request("abc"), nullptr)
        .status();
  };
  EXPECT_EQ(run(std::bad_alloc()).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(run(c10::OutOfMemoryError({"f", "f.cc", 1}, "CUDA is full")).code(),
            absl::StatusCode::kResourceExhausted);
  const absl::Status cpu = run(c10::Error(
      {"f", "f.cc", 1},
      "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"));
  EXPECT_EQ(cpu.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(cpu.message()), HasSubstr("shorter prompt"));
  EXPECT_EQ(run(c10::Error({"f", "f.cc", 1}, "other")).code(),
            absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace repro::lm
