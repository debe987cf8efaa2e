#include "papers/uscd/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/lm/dense_state.h"
#include "common/lm/generate.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/lm/tiny_model.h"
#include "common/tokenizer/tokenizer.h"
#include "papers/uscd/selective_contrast.h"
#include "papers/uscd/study.h"
#include "papers/uscd/word_language.h"

namespace repro::uscd {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

// Probabilities by row and last token; remembers what it was given.
class ScriptedRows : public TwoRowModel {
 public:
  std::map<std::pair<Row, int32_t>, std::vector<double>> probabilities;
  std::map<Row, std::vector<int32_t>> seen;
  int calls = 0;

  absl::StatusOr<std::vector<std::vector<float>>> Append(
      const std::vector<NewTokens>& rows) override {
    ++calls;
    std::vector<std::vector<float>> logits;
    for (const NewTokens& row : rows) {
      std::vector<int32_t>& of_row = seen[row.row];
      of_row.insert(of_row.end(), row.tokens.begin(), row.tokens.end());
      const auto found = probabilities.find({row.row, of_row.back()});
      if (found == probabilities.end()) return absl::InternalError("no script");
      std::vector<float>& of_token = logits.emplace_back();
      for (const double p : found->second) {
        of_token.push_back(static_cast<float>(std::log(p)));
      }
    }
    return logits;
  }
};

// Token 0 ends. After 1 the standard row is unsure, after 2 it is sure of 0.
ScriptedRows Script() {
  ScriptedRows model;
  model.probabilities[{Row::kStandard, 3}] = {0.1, 0.5, 0.3, 0.1};
  model.probabilities[{Row::kLame, 3}] = {0.1, 0.7, 0.1, 0.1};
  model.probabilities[{Row::kStandard, 1}] = {0.97, 0.01, 0.01, 0.01};
  model.probabilities[{Row::kLame, 1}] = {0.97, 0.01, 0.01, 0.01};
  model.probabilities[{Row::kStandard, 2}] = {0.01, 0.01, 0.01, 0.97};
  model.probabilities[{Row::kLame, 2}] = {0.97, 0.01, 0.01, 0.01};
  return model;
}

DecodeOptions Greedy(double theta) {
  DecodeOptions options;
  options.settings.theta = theta;
  options.sampling.temperature = 0;
  options.sampling.top_p = 1;
  options.end_ids = {0};
  options.max_tokens = 4;
  return options;
}

// 0.5 - 0.49 = 0.01 against 0.3 - 0.07 = 0.23: the contrast takes 2, plain 1.
TEST(Decode, ContrastsUnsureTokensAlone) {
  ScriptedRows plain_model = Script();
  const auto plain = Decode(plain_model, {3}, {3}, Greedy(0));
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_THAT(plain->Ids(), ElementsAre(1));
  EXPECT_TRUE(plain->ended);
  ASSERT_EQ(plain->tokens.size(), 2u);
  EXPECT_FALSE(plain->tokens[0].contrasted);

  ScriptedRows model = Script();
  DecodeOptions options = Greedy(0.3);
  options.max_tokens = 2;
  const auto result = Decode(model, {3}, {3}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->Ids(), ElementsAre(2, 3));
  EXPECT_FALSE(result->ended);
  EXPECT_TRUE(result->tokens[0].contrasted);
  EXPECT_FALSE(result->tokens[1].contrasted);
  // The standard row's token went to both.
  EXPECT_THAT(model.seen[Row::kStandard], ElementsAre(3, 2));
  EXPECT_THAT(model.seen[Row::kLame], ElementsAre(3, 2));
}

TEST(Decode, LazyRunsTheLameRowWhereItIsNeeded) {
  ScriptedRows model = Script();
  model.probabilities[{Row::kStandard, 3}] = {0.01, 0.97, 0.01, 0.01};
  model.probabilities[{Row::kStandard, 1}] = {0.1, 0.1, 0.4, 0.4};
  model.probabilities[{Row::kLame, 1}] = {0.1, 0.1, 0.5, 0.3};
  DecodeOptions options = Greedy(0.3);
  options.form = Form::kLazy;
  options.max_tokens = 2;
  const auto result = Decode(model, {2, 3}, {3}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->Ids(), ElementsAre(1, 3));
  EXPECT_EQ(result->lame_forwards, 1);
  EXPECT_EQ(model.calls, 3);
  EXPECT_THAT(model.seen[Row::kStandard], ElementsAre(2, 3, 1));
  EXPECT_THAT(model.seen[Row::kLame], ElementsAre(3, 1));
}

// As released: padded on the right, and each row goes on with its own token.
TEST(Decode, ReleasedRowsDriftApart) {
  ScriptedRows model = Script();
  model.probabilities[{Row::kLame, 0}] = {0.01, 0.01, 0.97, 0.01};
  DecodeOptions options = Greedy(0.3);
  options.form = Form::kReleased;
  options.max_tokens = 2;
  model.probabilities[{Row::kStandard, 3}] = {0.01, 0.97, 0.01, 0.01};
  model.probabilities[{Row::kStandard, 1}] = {0.01, 0.97, 0.01, 0.01};
  const auto result = Decode(model, {1, 2, 3}, {3}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->Ids(), ElementsAre(1, 1));
  EXPECT_THAT(model.seen[Row::kStandard], ElementsAre(1, 2, 3, 1));
  EXPECT_THAT(model.seen[Row::kLame], ElementsAre(3, 0, 0, 2));
  // A longer lame prompt is cut.
  ScriptedRows other = Script();
  options.max_tokens = 1;
  ASSERT_TRUE(Decode(other, {3}, {1, 2, 3}, options).ok());
  EXPECT_THAT(other.seen[Row::kLame], ElementsAre(1));
}

TEST(Decode, StopsWhenTold) {
  ScriptedRows model = Script();
  const auto result = Decode(model, {3}, {3}, Greedy(0),
                             [](const DecodeResult&) { return false; });
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->cancelled);
  EXPECT_THAT(result->Ids(), ElementsAre(1));
}

TEST(Decode, BadInput) {
  ScriptedRows model = Script();
  const auto code = [&](const std::vector<int32_t>& standard,
                        const std::vector<int32_t>& lame,
                        const DecodeOptions& options) {
    return Decode(model, standard, lame, options).status().code();
  };
  const DecodeOptions good = Greedy(0.3);
  EXPECT_EQ(code({}, {3}, good), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({3}, {}, good), absl::StatusCode::kInvalidArgument);
  DecodeOptions options = good;
  options.max_tokens = 0;
  EXPECT_EQ(code({3}, {3}, options), absl::StatusCode::kInvalidArgument);
  options = good;
  options.settings.eta = -1;
  EXPECT_EQ(code({3}, {3}, options), absl::StatusCode::kInvalidArgument);
  options = good;
  options.sampling.top_p = 0;
  EXPECT_EQ(code({3}, {3}, options), absl::StatusCode::kInvalidArgument);
  options = good;
  options.form = Form::kLazy;
  options.contrast = Contrast::kLogRatio;
  EXPECT_EQ(code({3}, {3}, options), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({7}, {3}, good), absl::StatusCode::kInternal);  // the model's
}

// ---- With a language model -------------------------------------------------

lm::StateFactory Dense(const lm::LanguageModel& model) {
  return [&model] {
    return lm::MakeDenseState(model.config(), model.device(), model.dtype());
  };
}

class WithTinyModel : public testing::Test {
 protected:
  std::vector<int32_t> Text(Form form, double theta) {
    DecodeOptions options;
    options.settings.theta = theta;
    options.form = form;
    options.max_tokens = 30;
    options.sampling.seed = 5;
    LanguageModelRows rows(model_.get(), Dense(*model_));
    const auto result = Decode(rows, standard_, lame_, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return result->Ids();
  }

  const std::unique_ptr<lm::LanguageModel> model_ = lm::TinyModel(64);
  const std::unique_ptr<Tokenizer> tokenizer_ = lm::TinyTokenizer();
  const std::vector<int32_t> standard_ = {'a', 'b', 'c', 'd'};
  const std::vector<int32_t> lame_ = {'a', 'd'};
};

// With theta 0 it is the sampling of common/lm.
TEST_F(WithTinyModel, ThetaZeroIsPlainSampling) {
  lm::GenerationRequest request;
  request.prompt = standard_;
  request.max_tokens = 30;
  request.sampling = DecodeOptions().sampling;
  request.sampling.seed = 5;
  const auto generated =
      lm::Generate(*model_, *tokenizer_, Dense(*model_), request, nullptr);
  ASSERT_TRUE(generated.ok());
  std::vector<int32_t> expected;
  for (const lm::SampledToken& token : generated->tokens) {
    expected.push_back(token.chosen.id);
  }
  EXPECT_THAT(Text(Form::kClean, 0), ElementsAreArray(expected));
  EXPECT_NE(Text(Form::kClean, 1), expected);
}

TEST_F(WithTinyModel, LazyIsClean) {
  // Among the deviations of this model, so that some tokens are contrasted.
  DecodeOptions options;
  options.settings.theta = 0;
  options.max_tokens = 30;
  LanguageModelRows rows(model_.get(), Dense(*model_));
  const auto result = Decode(rows, standard_, lame_, options);
  ASSERT_TRUE(result.ok());
  std::set<double> deviations;
  for (const DecodedToken& token : result->tokens) {
    deviations.insert(token.deviation);
  }
  const double middle = *std::next(deviations.begin(),
                                   static_cast<int64_t>(deviations.size() / 2));
  EXPECT_EQ(Text(Form::kLazy, middle), Text(Form::kClean, middle));
  EXPECT_NE(Text(Form::kReleased, middle), Text(Form::kClean, middle));
}

TEST_F(WithTinyModel, ContextAndTokens) {
  LanguageModelRows rows(model_.get(), Dense(*model_));
  EXPECT_EQ(rows.Append({{Row::kLame, {}}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rows.Append({{Row::kLame, {258}}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      rows.Append({{Row::kLame, std::vector<int32_t>(65, 1)}}).status().code(),
      absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(rows.Append({{Row::kLame, std::vector<int32_t>(64, 1)}}).ok());
  EXPECT_EQ(rows.Append({{Row::kLame, {1}}}).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST_F(WithTinyModel, Complete) {
  DecodeOptions options;
  options.settings.theta = 1;
  options.max_tokens = 20;
  const PromptPair prompts = {"abcd", "ad"};
  const auto text =
      Complete(*model_, *tokenizer_, Dense(*model_), prompts, {}, options);
  ASSERT_TRUE(text.ok()) << text.status();
  // Text of a stop word of one character ends before it, in all forms.
  const auto at =
      text->find_first_of("0123456789abcdefghijklmnopqrstuvwxyz", 1);
  if (at != std::string::npos) {
    const std::string stop(1, (*text)[at]);
    const auto cut = Complete(*model_, *tokenizer_, Dense(*model_), prompts,
                              {stop}, options);
    ASSERT_TRUE(cut.ok());
    EXPECT_EQ(*cut, text->substr(0, text->find(stop)));
  }
  EXPECT_FALSE(
      Complete(*model_, *tokenizer_, Dense(*model_), {"", "a"}, {}, options)
          .ok());
}

// ---- The study -------------------------------------------------------------

TEST(WordLanguage, ByHand) {
  EXPECT_EQ(Apply({kPlus, 7}, 5), 2);
  EXPECT_EQ(Apply({kMinus, 7}, 5), 8);
  EXPECT_EQ(Apply({kTimes, 7}, 5), 5);
}

TEST(WordLanguage, ExamplesSettleMeaningsAndAnswersSolve) {
  const WordLanguage language(3);
  std::mt19937_64 random(1);
  std::map<int, int> meanings;
  for (int i = 0; i < 2000; ++i) {
    const WordTask task = language.Draw(/*frequent=*/true, i % 2 == 0, random);
    EXPECT_EQ(WordLanguage::HeldOut(task), i % 2 == 0);
    if (i % 2 == 1) ++meanings[task[0].meaning];
    const std::vector<int32_t> prompt = language.StandardPrompt(task, random);
    ASSERT_EQ(prompt.size(), 7u);
    for (int w = 0; w < 2; ++w) {
      const int x = prompt[3 * w + 1] - kDigit, y = prompt[3 * w + 2] - kDigit;
      for (int m = 0; m < kNumMeanings; ++m) {
        const int result = Apply(language.Meaning({task[w].word, m}), x);
        EXPECT_EQ(result == y, m == task[w].meaning);
      }
    }
    std::vector<int32_t> answer = language.Answer(task);
    EXPECT_EQ(answer.back(), kEndToken);
    answer.pop_back();
    EXPECT_TRUE(language.Solves(task, answer));
    // Subtracting 3 is adding 7.
    std::vector<int32_t> longer = answer;
    longer.insert(longer.end(), {kMinus, kDigit + 3, kMinus, kDigit + 7});
    EXPECT_TRUE(language.Solves(task, longer));
    longer.back() = kDigit + 8;
    EXPECT_FALSE(language.Solves(task, longer));
    // A part of an operation, and tokens that are none.
    answer.pop_back();
    EXPECT_FALSE(language.Solves(task, answer));
    answer.push_back(kEquals);
    EXPECT_FALSE(language.Solves(task, answer));
  }
  // 0.5 and 0.2 of 1000, within five standard deviations.
  EXPECT_NEAR(meanings[0], 500, 80);
  EXPECT_NEAR(meanings[2], 200, 65);
}

TEST(Study, CarryOverKeepsCertaintyAndCut) {
  const UscdSettings there = UscdSettings::CodeLlama7b();
  const UscdSettings here = CarryOver(there, 42);
  EXPECT_NEAR(SumOfSquares(here.theta, 42), 0.8004062343828087, 1e-12);
  EXPECT_NEAR(here.eta / 42, there.eta / 32016, 1e-18);
}

TEST(Study, RunsEndToEndAndIsReproducible) {
  Study study;
  study.dim = 16;
  study.num_heads = 2;
  study.ffn_dim = 32;
  study.steps = 5;
  study.warmup_steps = 1;
  study.batch_size = 8;
  study.tasks = 4;
  Grid grid;
  grid.seeds = {0};
  grid.checkpoint_dir = testing::TempDir() + "/study_a";
  std::filesystem::create_directories(grid.checkpoint_dir);
  const auto first = RunStudy(study, grid);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->size(), 1u);
  const StudyNumbers& numbers = first->front();
  EXPECT_EQ(numbers.at("plain"), numbers.at("theta_0"));
  EXPECT_EQ(numbers.at(ThetaName(UscdSettings().theta)),
            numbers.at(EtaName(UscdSettings().eta)));
  EXPECT_GE(numbers.at("js"), 0);
  EXPECT_LE(numbers.at("js"), std::log(2.0));
  grid.checkpoint_dir = testing::TempDir() + "/study_b";
  std::filesystem::create_directories(grid.checkpoint_dir);
  const auto second = RunStudy(study, grid);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->front(), numbers);
  // Stopped between ways of decoding.
  grid.checkpoint_dir = testing::TempDir() + "/study_c";
  std::filesystem::create_directories(grid.checkpoint_dir);
  grid.cancelled = [] { return true; };
  EXPECT_EQ(RunStudy(study, grid).status().code(),
            absl::StatusCode::kCancelled);
  grid.cancelled = nullptr;
  study.warmup_steps = 9;
  EXPECT_EQ(RunStudy(study, grid).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace repro::uscd
