#include "common/train/language_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "common/nn/initializer.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::HasSubstr;

TEST(TextDataset, Characters) {
  const TextDataset data =
      MakeTextDataset("abcabcabd\xff", TextUnit::kCharacter, 0.3);
  EXPECT_EQ(data.vocab_size, 5);
  EXPECT_THAT(data.train,
              IsIdenticalTo(at::tensor({0, 1, 2, 0, 1, 2, 0}, at::kLong)));
  EXPECT_THAT(data.valid, IsIdenticalTo(at::tensor({1, 3, 4}, at::kLong)));
}

TEST(TextDataset, Bytes) {
  const TextDataset data = MakeTextDataset("A\xff", TextUnit::kByte, 0);
  EXPECT_EQ(data.vocab_size, 256);
  EXPECT_THAT(data.train, IsIdenticalTo(at::tensor({65, 255}, at::kLong)));
  EXPECT_EQ(data.valid.numel(), 0);
  EXPECT_EQ(MakeTextDataset("", TextUnit::kCharacter).vocab_size, 0);
  EXPECT_THROW(MakeTextDataset("a", TextUnit::kByte, 1.5), c10::Error);
}

TEST(Windows, EvenOnesReachBothEnds) {
  const at::Tensor tokens = at::arange(10, at::kLong);
  EXPECT_THAT(
      EvenWindows(tokens, 3, 4),
      IsIdenticalTo(at::tensor({0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9}, at::kLong)
                        .view({3, 4})));
  EXPECT_THAT(EvenWindows(tokens, 1, 10), IsIdenticalTo(tokens.unsqueeze(0)));
}

TEST(Windows, RandomOnesDependOnSeedAndStep) {
  const at::Tensor tokens = at::arange(1000, at::kLong);
  const at::Tensor windows = RandomWindows(tokens, 64, 5, 1, 2);
  EXPECT_THAT(windows - windows.narrow(1, 0, 1),
              IsIdenticalTo(at::arange(5, at::kLong).expand({64, 5})));
  EXPECT_GT(std::get<0>(windows.max(0))[0].item<int64_t>(), 800);
  EXPECT_THAT(RandomWindows(tokens, 64, 5, 1, 2), IsIdenticalTo(windows));
  EXPECT_FALSE(RandomWindows(tokens, 64, 5, 1, 3).equal(windows));
  EXPECT_FALSE(RandomWindows(tokens, 64, 5, 2, 2).equal(windows));
  // All starts, the last one included, occur.
  const at::Tensor starts = RandomWindows(tokens, 4000, 998, 1, 0).select(1, 0);
  EXPECT_EQ(starts.min().item<int64_t>(), 0);
  EXPECT_EQ(starts.max().item<int64_t>(), 2);
}

TEST(Windows, Errors) {
  const at::Tensor tokens = at::arange(10, at::kLong);
  EXPECT_THROW(RandomWindows(tokens, 1, 11, 0, 0), c10::Error);
  EXPECT_THROW(EvenWindows(tokens, 0, 2), c10::Error);
  EXPECT_THROW(EvenWindows(tokens.to(at::kFloat), 1, 2), c10::Error);
}

TEST(Loss, OfAUniformModelIsLogVocabulary) {
  const LogitsFunction uniform = [](const at::Tensor& tokens) {
    return at::zeros({tokens.size(0), tokens.size(1), 7});
  };
  const at::Tensor windows =
      at::arange(12, at::kLong).remainder(7).view({3, 4});
  EXPECT_NEAR(NextTokenLoss(uniform, windows).item<double>(), std::log(7.0),
              1e-6);
  // Batches of unequal size.
  EXPECT_NEAR(EvaluateLanguageModel(uniform, windows, 2), std::log(7.0), 1e-6);
  EXPECT_NEAR(Perplexity(std::log(7.0)), 7, 1e-12);
  EXPECT_NEAR(Bits(std::log(8.0)), 3, 1e-12);
  EXPECT_THROW(NextTokenLoss(uniform, windows.narrow(1, 0, 1)), c10::Error);
}

TEST(Loss, OfAModelThatKnowsTheNextTokenIsSmall) {
  const LogitsFunction next = [](const at::Tensor& tokens) {
    at::Tensor logits = at::zeros({tokens.size(0), tokens.size(1), 7});
    logits.scatter_(2, (tokens + 1).remainder(7).unsqueeze(2), 30.0);
    return logits;
  };
  const at::Tensor windows =
      at::arange(12, at::kLong).remainder(7).view({3, 4});
  EXPECT_LT(NextTokenLoss(next, windows).item<double>(), 1e-6);
}

TEST(Loss, InPiecesIsTheWhole) {
  at::Tensor features = RandomNormal({2, 5, 4}, 1).requires_grad_();
  at::Tensor weight = RandomNormal({6, 4}, 2).requires_grad_();
  const at::Tensor targets =
      at::arange(10, at::kLong).remainder(6).view({2, 5});
  const auto head = [&](const at::Tensor& x) {
    return at::matmul(x, weight.t());
  };
  const at::Tensor whole =
      at::cross_entropy_loss(head(features).flatten(0, 1), targets.flatten());
  whole.backward();
  const at::Tensor dfeatures = features.grad().clone();
  const at::Tensor dweight = weight.grad().clone();
  for (const int64_t piece : {1, 3, 10, 100}) {
    features.mutable_grad() = at::Tensor();
    weight.mutable_grad() = at::Tensor();
    const at::Tensor loss = PiecewiseTokenLoss(features, targets, head, piece);
    loss.backward();
    EXPECT_THAT(loss, RelativeErrorBelow(whole, 1e-6)) << piece;
    EXPECT_THAT(features.grad(), RelativeErrorBelow(dfeatures, 1e-6)) << piece;
    EXPECT_THAT(weight.grad(), RelativeErrorBelow(dweight, 1e-6)) << piece;
  }
  EXPECT_THROW(PiecewiseTokenLoss(features, targets, head, 0), c10::Error);
  EXPECT_THROW(PiecewiseTokenLoss(features, targets.t(), head, 1), c10::Error);
}

// A model of bigrams.
class Bigrams : public Module {
 public:
  Bigrams(int64_t vocab_size, uint64_t seed)
      : table_(AddParameter("table",
                            Initializer(MakeGenerator(seed))
                                .Normal({vocab_size, vocab_size}, 0.01))) {}
  at::Tensor Forward(const at::Tensor& tokens) const {
    return table_.index({tokens});
  }

 private:
  at::Tensor table_;
};

class Compare : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    grid_.checkpoint_dir = folder_;
    grid_.seeds = {0, 1};
    std::string text;
    for (int i = 0; i < 300; ++i) text += i % 3 == 0 ? "abc" : "abd";
    data_ = MakeTextDataset(text, TextUnit::kCharacter);
    training_.steps = 60;
    training_.batch_size = 8;
    training_.seq_len = 6;
    training_.adam.rate = 0.1;
    training_.valid_windows = 20;
  }

  absl::StatusOr<LanguageModelOutcomes> Run() {
    const auto make = [this](uint64_t seed) {
      ++made_;
      return AsLanguageModel(std::make_unique<Bigrams>(data_.vocab_size, seed));
    };
    return CompareLanguageModels(data_, training_,
                                 {{"one", make}, {"same", make}}, grid_);
  }

  std::filesystem::path folder_;
  TextDataset data_;
  LanguageModelTraining training_;
  Grid grid_;
  int made_ = 0;
};

TEST_F(Compare, ReachesTheEntropyAndIsTheSameForTheSameModel) {
  const auto outcomes = Run();
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  ASSERT_EQ(outcomes->at("one").size(), 2);
  for (int i = 0; i < 2; ++i) {
    const LanguageModelOutcome& one = outcomes->at("one")[i];
    // After b comes c once in three times; the rest is certain: a third of
    // H(1/3) = 0.6365 nats, and what is not yet learnt.
    EXPECT_GT(one.valid_loss, 0.212);
    EXPECT_LT(one.valid_loss, 0.26);
    ASSERT_EQ(one.train_losses.size(), 60);
    EXPECT_NEAR(one.train_losses[0], std::log(4.0), 0.05);
    EXPECT_LT(one.train_losses[59], 0.5);
    EXPECT_EQ(one.valid_loss, outcomes->at("same")[i].valid_loss);
    EXPECT_EQ(one.train_losses, outcomes->at("same")[i].train_losses);
  }
  EXPECT_NE(outcomes->at("one")[0].valid_loss,
            outcomes->at("one")[1].valid_loss);
}

TEST_F(Compare, GoesOnWhereItWasStopped) {
  const auto whole = Run();
  ASSERT_TRUE(whole.ok()) << whole.status();
  std::filesystem::remove_all(folder_);
  std::filesystem::create_directories(folder_);
  // In the middle of the third training run.
  int steps = 0;
  grid_.cancelled = [&] { return ++steps > 150; };
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kCancelled);
  grid_.cancelled = nullptr;
  made_ = 0;
  std::vector<double> progress;
  grid_.progress = [&](double done, double total, const std::string& text) {
    EXPECT_EQ(total, 4);
    progress.push_back(done);
  };
  const auto resumed = Run();
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(made_, 2);
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
  EXPECT_EQ(progress.back(), 4);
  for (const char* name : {"one", "same"}) {
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(whole->at(name)[i].valid_loss, resumed->at(name)[i].valid_loss);
      EXPECT_EQ(whole->at(name)[i].train_losses,
                resumed->at(name)[i].train_losses);
    }
  }
}

TEST_F(Compare, Errors) {
  training_.seq_len = 90;  // the validation text has 90 tokens
  EXPECT_THAT(Run().status().message(), HasSubstr("90 tokens"));
  training_.seq_len = 6;
  training_.warmup_steps = training_.steps;
  EXPECT_THAT(Run().status().message(), HasSubstr("warm-up"));
  training_.warmup_steps = 0;
  std::ofstream(folder_ / "one_0.done") << "no checkpoint";
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(Compare, AModelThatThrowsIsAnError) {
  const auto outcomes = CompareLanguageModels(
      data_, training_,
      {{"broken",
        [](uint64_t) -> LanguageModel { TORCH_CHECK(false, "no model"); }}},
      grid_);
  EXPECT_THAT(outcomes.status().message(), HasSubstr("no model"));
}

}  // namespace
}  // namespace repro
