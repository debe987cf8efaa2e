#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/exec/namespaces_permitted.h"
#include "common/exec/sandbox.h"
#include "common/nn/initializer.h"
#include "common/nn/llama.h"
#include "common/tensor/generator.h"
#include "papers/mango/comments.h"
#include "papers/mango/pair_language.h"
#include "papers/mango/pair_loss.h"
#include "papers/mango/pair_training.h"

namespace repro::mango {
namespace {

using testing::HasSubstr;

constexpr int32_t kMark = 3;

// ---- Positions and batches -------------------------------------------------

TEST(ResponseStart, IsTheSecondSeparator) {
  EXPECT_EQ(ResponseStart({5, 3, 7, 8, 3, 9}, kMark), 4);
  EXPECT_EQ(ResponseStart({3, 3, 3}, kMark), 1);
  // With an input there are three: the input's header, as coded.
  EXPECT_EQ(ResponseStart({3, 1, 3, 1, 3}, kMark), 2);
  EXPECT_EQ(ResponseStart({3, 1}, kMark), std::nullopt);
  EXPECT_EQ(ResponseStart({}, kMark), std::nullopt);
}

TEST(MakePairBatch, NegativeLacksTheHeaderAndIsNotToldItsFirstToken) {
  const auto batch =
      MakePairBatch({{{3, 10, 3, 11}, {20, 21, 1}, {30, 31}},
                     {{3, 10, 12, 3, 11}, {20}, {30, 31, 32, 33}}},
                    kMark, /*pad=*/0);
  ASSERT_TRUE(batch.ok()) << batch.status();
  constexpr int64_t kNo = kIgnored;
  const auto same = [](const at::Tensor& a,
                       const std::vector<std::vector<int64_t>>& rows) {
    std::vector<int64_t> flat;
    for (const auto& row : rows)
      flat.insert(flat.end(), row.begin(), row.end());
    return a.flatten().equal(at::tensor(flat, at::kLong)) &&
           a.size(0) == static_cast<int64_t>(rows.size());
  };
  EXPECT_TRUE(same(batch->positive,
                   {{3, 10, 3, 11, 20, 21, 1}, {3, 10, 12, 3, 11, 20, 0}}));
  EXPECT_TRUE(same(
      batch->positive_labels,
      {{kNo, kNo, kNo, kNo, 20, 21, 1}, {kNo, kNo, kNo, kNo, kNo, 20, kNo}}));
  EXPECT_TRUE(same(batch->positive_lengths, {{7}, {6}}));
  EXPECT_TRUE(same(batch->negative,
                   {{3, 10, 30, 31, 0, 0, 0}, {3, 10, 12, 30, 31, 32, 33}}));
  EXPECT_TRUE(same(batch->negative_labels, {{kNo, kNo, kNo, 31, kNo, kNo, kNo},
                                            {kNo, kNo, kNo, kNo, 31, 32, 33}}));
}

TEST(MakePairBatch, RefusesWhatHasNoResponse) {
  const auto error = [](const std::vector<TokenPair>& pairs) {
    const auto batch = MakePairBatch(pairs, kMark, 0);
    EXPECT_TRUE(absl::IsInvalidArgument(batch.status()));
    return std::string(batch.status().message());
  };
  EXPECT_THAT(error({}), HasSubstr("no pairs"));
  EXPECT_THAT(error({{{3, 3}, {1}, {1}}, {{3, 1}, {1}, {1}}}),
              HasSubstr("pair 1: its prompt has no two separators"));
  EXPECT_THAT(error({{{3, 3}, {}, {1}}}), HasSubstr("an empty program"));
  EXPECT_THAT(error({{{3, 3}, {1}, {}}}), HasSubstr("an empty program"));
}

// ---- Loss ------------------------------------------------------------------

std::vector<int32_t> Tokens(int64_t count, int64_t vocab, uint64_t salt) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(4 + MixSeed(salt, i) % (vocab - 4)));
  }
  return tokens;
}

PairBatch RandomBatch(int64_t vocab, const std::vector<int64_t>& prompts,
                      const std::vector<int64_t>& positives,
                      const std::vector<int64_t>& negatives) {
  std::vector<TokenPair> pairs;
  for (size_t i = 0; i < prompts.size(); ++i) {
    TokenPair pair;
    pair.prompt = Tokens(prompts[i], vocab, 10 * i);
    pair.prompt[0] = pair.prompt[prompts[i] - 2] = kMark;
    pair.positive = Tokens(positives[i], vocab, 10 * i + 1);
    pair.negative = Tokens(negatives[i], vocab, 10 * i + 2);
    pairs.push_back(pair);
  }
  return *MakePairBatch(pairs, kMark, 0);
}

// As the authors' program goes about it, row by row in float64: the response
// is what follows the position of the second separator.
TEST(PairLoss, EqualsARowByRowComputation) {
  constexpr int64_t kVocab = 17;
  const std::vector<int64_t> prompts = {5, 9, 6}, positives = {14, 3, 20},
                             negatives = {13, 30, 11};
  const PairBatch batch = RandomBatch(kVocab, prompts, positives, negatives);
  at::Generator generator = MakeGenerator(1);
  const auto logits_for = [&](const at::Tensor& tokens) {
    return at::randn({tokens.size(0), tokens.size(1), kVocab}, generator,
                     at::kFloat);
  };
  const at::Tensor positive = logits_for(batch.positive);
  const at::Tensor negative = logits_for(batch.negative);
  PairOptions options;
  const PairLoss published =
      ComputePairLoss(positive, negative, batch, options);
  options.mean = CrossEntropyMean::kOverPositions;
  const PairLoss coded = ComputePairLoss(positive, negative, batch, options);
  const auto sum = [](const at::Tensor& logits, const at::Tensor& tokens,
                      int64_t begin, int64_t end) {
    const at::Tensor log_p = at::log_softmax(logits.to(at::kDouble), -1);
    double total = 0;
    for (int64_t i = begin; i < end; ++i) {
      total -= log_p[i - 1][tokens[i].item<int64_t>()].item<double>();
    }
    return total;
  };
  for (int64_t row = 0; row < 3; ++row) {
    const int64_t p = prompts[row], start = p - 2;
    const int64_t length = p + positives[row];
    const double targets = sum(positive[row], batch.positive[row], p, length);
    const double plus = targets / static_cast<double>(positives[row]);
    const double minus = sum(negative[row], batch.negative[row], start + 1,
                             start + negatives[row]) /
                         static_cast<double>(negatives[row] - 1);
    const double hinge =
        negatives[row] - 1 > 10 ? std::max(0.0, 0.10 + plus - minus) : 0;
    EXPECT_NEAR(published.positive[row].item<double>(), plus, 1e-5);
    EXPECT_NEAR(published.negative[row].item<double>(), minus, 1e-5);
    EXPECT_NEAR(published.contrastive[row].item<double>(), hinge, 1e-5);
    EXPECT_NEAR(published.total[row].item<double>(), plus + hinge, 1e-5);
    EXPECT_NEAR(coded.cross_entropy[row].item<double>(),
                targets / static_cast<double>(length - 1), 1e-5);
    EXPECT_NEAR(coded.total[row].item<double>(),
                targets / static_cast<double>(length - 1) + hinge, 1e-5);
    EXPECT_NEAR(TargetLoss(positive, batch.positive_labels)[row].item<double>(),
                plus, 1e-5);
  }
  // The last row's negative is one token too short for the margin loss.
  EXPECT_EQ(published.contrastive[2].item<double>(), 0);
  options.contrast = false;
  EXPECT_TRUE(ComputePairLoss(positive, negative, batch, options)
                  .total.equal(coded.cross_entropy));
}

// L+ = L- = ln V, and the gradient of the hinge is (softmax - onehot) / n+ for
// the positive and the negative of it for the negative.
TEST(PairLoss, UniformLogitsHaveTheClosedForm) {
  constexpr int64_t kVocab = 11, kPrompt = 6, kPlus = 15, kMinus = 21;
  const PairBatch batch = RandomBatch(kVocab, {kPrompt}, {kPlus}, {kMinus});
  at::Tensor positive =
      at::zeros({1, kPrompt + kPlus, kVocab}, at::kFloat).requires_grad_();
  at::Tensor negative =
      at::zeros({1, kPrompt - 2 + kMinus, kVocab}, at::kFloat).requires_grad_();
  const PairLoss loss = ComputePairLoss(positive, negative, batch, {});
  EXPECT_NEAR(loss.positive.item<double>(), std::log(kVocab), 1e-6);
  EXPECT_NEAR(loss.negative.item<double>(), std::log(kVocab), 1e-6);
  EXPECT_NEAR(loss.contrastive.item<double>(), 0.10, 1e-6);
  loss.contrastive.sum().backward();
  const auto expected = [](const at::Tensor& targets, double count) {
    return (1.0 / kVocab - at::one_hot(targets, kVocab).to(at::kFloat)) / count;
  };
  EXPECT_TRUE(positive.grad()[0]
                  .narrow(0, kPrompt - 1, kPlus)
                  .allclose(expected(
                      batch.positive[0].narrow(0, kPrompt, kPlus), kPlus)));
  EXPECT_EQ(
      positive.grad()[0].narrow(0, 0, kPrompt - 1).abs().sum().item<double>(),
      0);
  const int64_t start = kPrompt - 2;
  EXPECT_TRUE(
      (-negative.grad()[0].narrow(0, start, kMinus - 1))
          .allclose(expected(batch.negative[0].narrow(0, start + 1, kMinus - 1),
                             kMinus - 1)));
}

// Where the commented program is likelier by the margin nothing flows.
TEST(PairLoss, NoGradientBeyondTheMargin) {
  const PairBatch batch = RandomBatch(11, {6}, {15}, {21});
  at::Tensor positive =
      (8 * at::one_hot(batch.positive.roll(-1, 1), 11).to(at::kFloat))
          .detach()
          .requires_grad_();
  at::Tensor negative = at::zeros({1, 25, 11}, at::kFloat).requires_grad_();
  const PairLoss loss = ComputePairLoss(positive, negative, batch, {});
  EXPECT_EQ(loss.contrastive.item<double>(), 0);
  loss.contrastive.sum().backward();
  EXPECT_EQ(positive.grad().abs().sum().item<double>(), 0);
  EXPECT_EQ(negative.grad().abs().sum().item<double>(), 0);
}

TEST(PairLoss, RefusesOtherShapes) {
  const PairBatch batch = RandomBatch(11, {6}, {15}, {21});
  EXPECT_THROW(ComputePairLoss(at::zeros({1, 20, 11}), at::zeros({1, 25, 11}),
                               batch, {}),
               c10::Error);
  EXPECT_THROW(
      ComputePairLoss(at::zeros({1, 21, 11}), at::zeros({1, 25}), batch, {}),
      c10::Error);
}

// A decoder does not see padding on the right, so that one batch of both
// sequences has the losses and gradients of two passes.
TEST(ForwardPairs, OneBatchEqualsTwoPasses) {
  LlamaConfig config;
  config.vocab_size = 17;
  config.dim = 16;
  config.num_layers = 2;
  config.num_heads = 2;
  config.ffn_dim = 24;
  config.init_std = 0.3;
  const Llama model(config, Initializer(MakeGenerator(2)));
  const PairBatch batch = RandomBatch(17, {5, 9, 6}, {14, 3, 20}, {13, 40, 12});
  const auto logits = [&](const at::Tensor& tokens) {
    return model.Forward(tokens);
  };
  std::vector<std::vector<at::Tensor>> gradients;
  std::vector<at::Tensor> totals;
  for (const PairForm form : {PairForm::kTwoPasses, PairForm::kOneBatch}) {
    for (at::Tensor& parameter : model.Parameters()) {
      parameter.mutable_grad() = at::Tensor();
    }
    const PairLoss loss = ForwardPairs(logits, batch, form, {});
    totals.push_back(loss.total.detach());
    loss.total.sum().backward();
    gradients.emplace_back();
    for (const at::Tensor& parameter : model.Parameters()) {
      gradients.back().push_back(parameter.grad().clone());
    }
  }
  EXPECT_TRUE(totals[0].allclose(totals[1], 1e-5, 1e-5));
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    EXPECT_TRUE(gradients[0][i].allclose(gradients[1][i], 1e-4, 1e-5)) << i;
  }
}

// ---- The language ----------------------------------------------------------

TEST(PairTask, NamesStepsFromTheLastToTheFirst) {
  Recipe recipe;
  recipe.steps = {{StepKind::kEven, 0}, {StepKind::kAdd, 3}};
  const PairTask task = MakePairTask(recipe, 0);
  EXPECT_EQ(task.task, "the sum of 3 added to each of the even numbers of x");
  EXPECT_EQ(task.bare,
            "def f(x):\n    x = [v for v in x if v % 2 == 0]\n"
            "    x = [v + 3 for v in x]\n    return sum(x)\n");
  EXPECT_EQ(task.commented,
            "def f(x):\n    # keep the even numbers\n"
            "    x = [v for v in x if v % 2 == 0]\n"
            "    # add 3 to each number\n    x = [v + 3 for v in x]\n"
            "    # give back the sum\n    return sum(x)\n");
  EXPECT_EQ(MakePairTask(recipe, 6).task,
            "the total of an increase by 3 of each of the even numbers of x");
  EXPECT_EQ(Evaluate(recipe, {1, 2, -4}), 2 + 3 - 4 + 3);
}

TEST(DrawPairTasks, AreDistinctAndRepeat) {
  std::set<std::string> taken;
  const auto first = DrawPairTasks(200, 1, 3, 7, &taken);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(taken.size(), 200);
  const auto second = DrawPairTasks(100, 1, 3, 7, &taken);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(taken.size(), 300);
  std::set<std::string> anew;
  const auto again = DrawPairTasks(200, 1, 3, 7, &anew);
  for (size_t i = 0; i < 200; ++i) {
    EXPECT_EQ((*first)[i].task, (*again)[i].task);
    EXPECT_EQ((*first)[i].tests, (*again)[i].tests);
    EXPECT_EQ((*first)[i].tests.size(), 4);
  }
  EXPECT_TRUE(
      absl::IsInvalidArgument(DrawPairTasks(1, 2, 1, 7, &anew).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(DrawPairTasks(1, 0, 9, 7, &anew).status()));
  EXPECT_TRUE(
      absl::IsResourceExhausted(DrawPairTasks(9, 0, 0, 7, &anew).status()));
}

class SandboxTest : public testing::Test {
 protected:
  void SetUp() override {
    const absl::Status permitted = exec::NamespacesPermitted();
    if (!permitted.ok()) GTEST_SKIP() << "NOT TESTED: " << permitted;
  }
};

// Python's own evaluation of every kind of step agrees with Evaluate, for both
// forms of a program, and a program of another task fails.
TEST_F(SandboxTest, ProgramsDoWhatTheirTasksSay) {
  const auto sandbox = exec::Sandbox::Create();
  ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  std::set<std::string> taken;
  const auto tasks = DrawPairTasks(150, 1, 5, 3, &taken);
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  std::set<StepKind> kinds;
  std::set<Reducer> reducers;
  std::vector<std::string> commented, bare, other;
  for (size_t i = 0; i < tasks->size(); ++i) {
    const PairTask& task = (*tasks)[i];
    for (const Step& step : task.recipe.steps) kinds.insert(step.kind);
    reducers.insert(task.recipe.reducer);
    commented.push_back(task.commented);
    bare.push_back(task.bare);
    other.push_back((*tasks)[(i + 1) % tasks->size()].bare);
    const auto found = FindComments(task.commented);
    EXPECT_TRUE(found->parses);
    EXPECT_EQ(found->comments,
              static_cast<int64_t>(task.recipe.steps.size()) + 1);
    EXPECT_EQ(FindComments(task.bare)->comments, 0);
  }
  EXPECT_EQ(kinds.size(), kNumStepKinds);
  EXPECT_EQ(reducers.size(), kNumReducers);
  const std::vector<bool> all(tasks->size(), true);
  EXPECT_EQ(*SolvedBy(*sandbox, *tasks, commented, 2), all);
  EXPECT_EQ(*SolvedBy(*sandbox, *tasks, bare, 2), all);
  const std::vector<bool> of_other = *SolvedBy(*sandbox, *tasks, other, 2);
  EXPECT_LT(std::count(of_other.begin(), of_other.end(), true), 30);
}

// One that ends the process, or the report, does not harm its neighbours.
TEST_F(SandboxTest, BadProgramsFailAlone) {
  const auto sandbox = exec::Sandbox::Create();
  ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  std::set<std::string> taken;
  const auto tasks = DrawPairTasks(6, 1, 2, 3, &taken);
  std::vector<std::string> programs;
  for (const PairTask& task : *tasks) programs.push_back(task.bare);
  programs[1] = "import os\nos._exit(0)";
  programs[2] = "def f(x)";
  programs[3] = "";
  programs[4] = "print('[1, 1, 1, 1, 1, 1]')\nraise SystemExit";
  const auto solved = SolvedBy(*sandbox, *tasks, programs, 2);
  ASSERT_TRUE(solved.ok()) << solved.status();
  EXPECT_EQ(*solved,
            std::vector<bool>({true, false, false, false, false, true}));
  programs.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(
      SolvedBy(*sandbox, *tasks, programs, 2).status()));
  EXPECT_TRUE(SolvedBy(*sandbox, {}, {}, 2)->empty());
}

// ---- Training --------------------------------------------------------------

PairStudy TinyStudy() {
  PairStudy study = PairStudy::Small();
  study.model.dim = 32;
  study.model.num_layers = 2;
  study.model.num_heads = 2;
  study.model.ffn_dim = 64;
  study.vocab_size = 320;
  study.train_tasks = 8;
  study.gap_tasks = 4;
  study.test_tasks = 6;
  study.max_steps = 1;
  study.steps = 2;
  study.batch_size = 8;
  study.warmup_steps = 1;
  return study;
}

TEST(MakePairData, TokensAreTheTextsAndHaveTwoSeparators) {
  const auto data = MakePairData(TinyStudy(), 5);
  ASSERT_TRUE(data.ok()) << data.status();
  std::set<std::string> tasks;
  for (const auto* part : {&data->train, &data->gap, &data->test}) {
    for (const PairTask& task : *part) tasks.insert(task.task);
  }
  EXPECT_EQ(tasks.size(), 18);  // held out
  for (size_t i = 0; i < data->train.size(); ++i) {
    const EncodedTask& ids = data->train_ids[i];
    const auto start = ResponseStart(ids.prompt, kSeparator);
    ASSERT_TRUE(start.has_value());
    EXPECT_EQ(*data->tokenizer->Decode(std::vector<int32_t>(
                  ids.prompt.begin() + *start + 1, ids.prompt.end())),
              " Response:");
    EXPECT_EQ(FromTabs(*data->tokenizer->Decode(ids.commented)),
              data->train[i].commented);
    EXPECT_EQ(FromTabs(*data->tokenizer->Decode(ids.bare)),
              data->train[i].bare);
  }
  EXPECT_EQ(data->plain.size(), 1);
  EXPECT_EQ(data->comment.size(), 15);
}

// Greedy decoding with a cache, in batches of equal length, gives the tokens of
// one forward pass a token and task.
TEST(WritePrograms, EqualsDecodingWithoutACache) {
  const auto data = MakePairData(TinyStudy(), 5);
  ASSERT_TRUE(data.ok()) << data.status();
  LlamaConfig config = TinyStudy().model;
  config.vocab_size = data->tokenizer->vocab_size();
  config.init_std = 0.5;
  const Llama model(config, Initializer(MakeGenerator(4)));
  constexpr int64_t kTokens = 12;
  const auto programs = WritePrograms(model, *data, PrefixKind::kPlain, kTokens,
                                      /*seed=*/0, c10::Device(c10::kCPU));
  ASSERT_TRUE(programs.ok()) << programs.status();
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < data->test_ids.size(); ++i) {
    std::vector<int64_t> ids(data->test_ids[i].prompt.begin(),
                             data->test_ids[i].prompt.end());
    ids.insert(ids.end(), data->plain[0].begin(), data->plain[0].end());
    std::vector<int32_t> written;
    for (int64_t t = 0; t < kTokens; ++t) {
      const at::Tensor logits =
          model.Forward(at::tensor(ids, at::kLong).unsqueeze(0));
      ids.push_back(logits[0][-1].argmax().item<int64_t>());
      if (ids.back() == kEnd) break;
      written.push_back(static_cast<int32_t>(ids.back()));
    }
    EXPECT_EQ((*programs)[i], FromTabs(*data->tokenizer->Decode(written))) << i;
  }
}

// Each arm gets to like its own form.
TEST_F(SandboxTest, TrainingLearnsTheFormOfItsArm) {
  PairStudy study = TinyStudy();
  study.steps = 60;
  study.rate = 1e-2;
  const auto data = MakePairData(study, 5);
  ASSERT_TRUE(data.ok()) << data.status();
  const auto sandbox = exec::Sandbox::Create();
  ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  Grid grid;
  grid.seeds = {0};
  grid.checkpoint_dir = testing::TempDir();
  const auto trained = TrainPairs(study, *data, {Arm::kBare, Arm::kMango},
                                  *sandbox, 2, c10::Device(c10::kCPU), grid);
  ASSERT_TRUE(trained.ok()) << trained.status();
  const PairOutcome& mango = trained->at(Arm::kMango)[0];
  const PairOutcome& bare = trained->at(Arm::kBare)[0];
  EXPECT_LT(mango.positive, std::log(study.vocab_size) / 2);
  EXPECT_GT(mango.gap, 0.10);
  EXPECT_LT(bare.gap, 0);
  study.batch_size = 9;
  EXPECT_TRUE(
      absl::IsInvalidArgument(TrainPairs(study, *data, {Arm::kBare}, *sandbox,
                                         2, c10::Device(c10::kCPU), grid)
                                  .status()));
}

TEST(Arms, NamesGoBothWays) {
  for (const Arm arm : {Arm::kBare, Arm::kCommented, Arm::kMango}) {
    EXPECT_EQ(*ParseArm(ArmName(arm)), arm);
  }
  EXPECT_THAT(ParseArm("both").status().ToString(), HasSubstr("no arm 'both'"));
  const PairOutcome outcome = {1, 2, 3, 4, 5};
  EXPECT_EQ(PairOutcome::FromNumbers(outcome.Numbers()).Numbers(),
            std::vector<double>({1, 2, 3, 4, 5}));
}

}  // namespace
}  // namespace repro::mango
