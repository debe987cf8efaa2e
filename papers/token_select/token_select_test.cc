#include "papers/token_select/token_select.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/lm/attention.h"
#include "common/lm/dense_state.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/testbed/small_recipe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/token_select/extrapolation.h"
#include "papers/token_select/infinite_bench_scores.h"
#include "papers/token_select/selection.h"
#include "papers/token_select/speed.h"

namespace repro::token_select {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::vector<int64_t> Numbers(const at::Tensor& t) {
  const at::Tensor dense = t.contiguous();
  return {dense.data_ptr<int64_t>(), dense.data_ptr<int64_t>() + dense.numel()};
}

// --- Selection ---

at::Tensor Matrix(std::vector<double> values, int64_t rows) {
  return at::tensor(values, at::kDouble).view({rows, -1});
}

at::Tensor Vote(const at::Tensor& scores, Rule rule, int64_t k = 1) {
  return Criticality(scores, scores.logsumexp(1), rule, k);
}

// Worked by hand: e^2 / (e^2 + 2) = 0.786986.
TEST(CriticalityTest, OneLoudHeadWinsByLogitsAlone) {
  const at::Tensor scores = Matrix({0, 20, 0, 2, 0, 0, 2, 0, 0}, 3);
  const at::Tensor soft = Vote(scores, Rule::kSoftVote);
  EXPECT_THAT(soft, IsCloseTo(Matrix({1.5740, 1.2130, 0.2130}, 1)[0], 0, 5e-5));
  EXPECT_THAT(Numbers(TopTokens(soft, 1)), ElementsAre(0));
  const at::Tensor votes = Vote(scores, Rule::kHeadVote);
  EXPECT_THAT(votes, IsIdenticalTo(Matrix({2, 1, 0}, 1)[0]));
  const at::Tensor sum = Vote(scores, Rule::kSummedLogits);
  EXPECT_THAT(sum, IsIdenticalTo(Matrix({4, 20, 0}, 1)[0]));
  EXPECT_THAT(Numbers(TopTokens(sum, 1)), ElementsAre(1));
}

TEST(CriticalityTest, SoftVotesOfTwoHeads) {
  const at::Tensor scores = Matrix({10, 0, 0, 0, 1, 2}, 2);
  EXPECT_THAT(Vote(scores, Rule::kSoftVote),
              IsCloseTo(Matrix({1.0899, 0.2448, 0.6653}, 1)[0], 0, 5e-5));
  // With k = 2 each head votes twice.
  EXPECT_EQ(Vote(scores, Rule::kHeadVote, 2).sum().item<double>(), 4);
  EXPECT_EQ(Vote(scores, Rule::kHeadVote, 9).sum().item<double>(), 6);
}

TEST(CriticalityTest, OneHeadIsPlainTopK) {
  const at::Tensor scores = RandomNormal({1, 50}, 1);
  EXPECT_EQ(Numbers(TopTokens(Vote(scores, Rule::kSoftVote), 7)),
            Numbers(TopTokens(scores[0], 7)));
}

TEST(MaxPoolTest, KeepsTheLength) {
  const at::Tensor votes = Matrix({1, 5, 2, 0, 0, 3}, 1)[0];
  EXPECT_THAT(MaxPool(votes, 0), IsIdenticalTo(votes));
  EXPECT_THAT(MaxPool(votes, 1), IsIdenticalTo(votes));
  EXPECT_THAT(MaxPool(votes, 3),
              IsIdenticalTo(Matrix({5, 5, 5, 2, 3, 3}, 1)[0]));
  EXPECT_THAT(MaxPool(votes, 2),
              IsIdenticalTo(Matrix({5, 5, 2, 0, 3, 3}, 1)[0]));
  EXPECT_THAT(MaxPool(votes, 20),
              IsIdenticalTo(at::full({6}, 5., at::kDouble)));
  EXPECT_THAT(MaxPool(votes - 9, 3), IsIdenticalTo(MaxPool(votes, 3) - 9));
  EXPECT_EQ(MaxPool(votes.slice(0, 0, 0), 3).size(0), 0);
}

TEST(TopTokensTest, Ascending) {
  const at::Tensor votes = Matrix({1, 5, 2, 0, 4}, 1)[0];
  EXPECT_THAT(Numbers(TopTokens(votes, 3)), ElementsAre(1, 2, 4));
  EXPECT_THAT(Numbers(TopTokens(votes, 9)), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_TRUE(Numbers(TopTokens(votes, 0)).empty());
  EXPECT_THROW(TopTokens(votes, -1), c10::Error);
}

TEST(TopBlocksTest, BestMeansAndTheIncompleteBlock) {
  // Means of one head: 1, 3, 2; token 6 is over.
  const at::Tensor scores = Matrix({1, 1, 6, 0, 2, 2, -9}, 1);
  EXPECT_THAT(Numbers(TopBlocks(scores, 2, 2)), ElementsAre(2, 3, 6));
  EXPECT_THAT(Numbers(TopBlocks(scores, 5, 2)), ElementsAre(2, 3, 4, 5, 6));
  EXPECT_THAT(Numbers(TopBlocks(scores, 3, 1)),
              testing::ElementsAreArray(Numbers(TopTokens(scores[0], 3))));
}

// The lemma: whatever lies within the bound has the same best tokens.
TEST(ReuseBoundTest, SameTokensWithinTheBound) {
  constexpr int64_t kTokens = 40, kBest = 5;
  int within = 0, changed = 0;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    const at::Tensor keys = RandomNormal({kTokens, 4}, 3 * seed);
    const at::Tensor q1 = RandomNormal({4}, 3 * seed + 1);
    const at::Tensor q2 =
        (q1 + 0.1 * RandomNormal({4}, 3 * seed + 2)) * (1. + seed % 3);
    const at::Tensor scores = at::matmul(keys, q1);
    const at::Tensor sorted = std::get<0>(scores.sort(0, /*descending=*/true));
    const double gap = (sorted[kBest - 1] - sorted[kBest]).item<double>();
    const double bound = ReuseBound(gap, q1.norm().item<double>(),
                                    keys.norm(2, 1).max().item<double>());
    const bool same = Numbers(TopTokens(scores, kBest)) ==
                      Numbers(TopTokens(at::matmul(keys, q2), kBest));
    if (Cosine(q1, q2) >= bound) {
      ++within;
      EXPECT_TRUE(same) << seed;
    }
    changed += !same;
  }
  // Both happen, or nothing was tested.
  EXPECT_GT(within, 10);
  EXPECT_GT(changed, 10);
}

// The worst case: two keys that differ by nearly twice the largest norm, across
// the query. A turn just beyond the bound swaps them.
TEST(ReuseBoundTest, CannotBeWider) {
  const double a = 0.01, b = std::sqrt(1 - a * a);
  const at::Tensor keys = Matrix({a, -b, -a, b}, 2);  // of norm 1
  const double bound = ReuseBound(/*gap=*/2 * a, 1, 1);
  const auto best = [&](double angle) {
    const at::Tensor q = Matrix({std::cos(angle), std::sin(angle)}, 1)[0];
    return TopTokens(at::matmul(keys, q), 1).item<int64_t>();
  };
  const double angle = std::acos(bound);
  EXPECT_EQ(best(0), 0);
  EXPECT_EQ(best(angle * 0.999), 0);
  EXPECT_EQ(best(angle * 1.001), 1);
  EXPECT_THROW(ReuseBound(-1, 1, 1), c10::Error);
}

// --- The state ---

lm::ModelConfig TinyModel(int64_t vocab_size = 64) {
  lm::ModelConfig config;
  config.vocab_size = vocab_size;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_positions = 256;
  return config;
}

TokenSelectOptions Small() {
  TokenSelectOptions options;
  options.initial = 2;
  options.selected = 6;
  options.local = 5;
  options.chunk = 4;
  options.theta = 1.01;
  return options;
}

class StateTest : public testing::Test {
 protected:
  static constexpr int64_t kPrompt = 30, kTokens = 36;

  StateTest()
      : rope_(TinyModel(), at::kCPU, at::kDouble),
        q_(RandomNormal({4, kTokens, 8}, 1)),
        k_(RandomNormal({2, kTokens, 8}, 2)),
        v_(RandomNormal({2, kTokens, 8}, 3)) {}

  at::Tensor Feed(lm::AttentionState* state, int64_t begin, int64_t end) const {
    return state->Attend({1, q_.slice(1, begin, end), k_.slice(1, begin, end),
                          v_.slice(1, begin, end), begin, &rope_});
  }

  std::unique_ptr<lm::AttentionState> Make(
      const TokenSelectOptions& options) const {
    return MakeTokenSelectState(TinyModel(), at::kCPU, at::kDouble, options);
  }

  // The prompt, then token by token.
  at::Tensor Run(const TokenSelectOptions& options) const {
    const auto state = Make(options);
    std::vector<at::Tensor> out = {Feed(state.get(), 0, kPrompt)};
    state->PromptDone();
    for (int64_t t = kPrompt; t < kTokens; ++t) {
      out.push_back(Feed(state.get(), t, t + 1));
    }
    return at::cat(out, 1);
  }

  // Votes token by token, and dense attention over copies of what they choose
  // that stand side by side.
  at::Tensor Chunk(int64_t begin, int64_t end,
                   const TokenSelectOptions& o) const {
    std::vector<int64_t> places;
    for (int64_t t = 0; t < end; ++t) places.push_back(t);
    if (end > o.budget()) {
      at::Tensor query = at::zeros({4, 8}, at::kDouble);
      for (int64_t t = begin; t < end; ++t) {
        query +=
            rope_.Apply(q_.slice(1, t, t + 1), o.local + t - begin).squeeze(1) /
            static_cast<double>(end - begin);
      }
      const int64_t middle = end - o.initial - o.local;
      at::Tensor votes = at::zeros({middle}, at::kDouble);
      for (int64_t h = 0; h < 4; ++h) {
        const int64_t kv = o.mapping == HeadMapping::kPublished ? h % 2 : h / 2;
        const at::Tensor logits = at::matmul(
            k_[kv].slice(0, o.initial, o.initial + middle), query[h]);
        votes +=
            o.rule == Rule::kSummedLogits ? logits : at::softmax(logits, 0);
      }
      const std::vector<int64_t> best = Numbers(TopTokens(votes, o.selected));
      places.clear();
      for (int64_t t = 0; t < o.initial; ++t) places.push_back(t);
      for (const int64_t t : best) places.push_back(o.initial + t);
      for (int64_t t = end - o.local; t < end; ++t) places.push_back(t);
    }
    const at::Tensor index = at::tensor(places, at::kLong);
    const auto listed = static_cast<int64_t>(places.size());
    return lm::DenseAttention(
        rope_.Apply(q_.slice(1, begin, end), listed - (end - begin)),
        rope_.Apply(k_.index_select(1, index), 0), v_.index_select(1, index));
  }

  at::Tensor Expected(const TokenSelectOptions& o) const {
    std::vector<at::Tensor> out;
    for (int64_t t = 0; t < kPrompt; t += o.chunk) {
      out.push_back(Chunk(t, std::min(t + o.chunk, kPrompt), o));
    }
    for (int64_t t = kPrompt; t < kTokens; ++t)
      out.push_back(Chunk(t, t + 1, o));
    return at::cat(out, 1);
  }

  const lm::Rope rope_;
  const at::Tensor q_, k_, v_;
};

TEST_F(StateTest, EqualsAttentionOverCopies) {
  std::vector<at::Tensor> all;
  for (const HeadMapping mapping :
       {HeadMapping::kPublished, HeadMapping::kCorrected}) {
    for (const Rule rule : {Rule::kSoftVote, Rule::kSummedLogits}) {
      TokenSelectOptions options = Small();
      options.mapping = mapping;
      options.rule = rule;
      const at::Tensor out = Run(options);
      EXPECT_THAT(out, IsCloseTo(Expected(options), 1e-9, 1e-9));
      for (const at::Tensor& other : all) {
        EXPECT_FALSE(out.allclose(other, 1e-3, 1e-3));
      }
      all.push_back(out);
    }
  }
}

TEST_F(StateTest, ChunksOfThePromptMayComeOneByOne) {
  const TokenSelectOptions options = Small();
  const auto state = Make(options);
  std::vector<at::Tensor> out;
  for (int64_t t = 0; t < kPrompt; t += 8) {
    out.push_back(Feed(state.get(), t, std::min(t + 8, kPrompt)));
  }
  EXPECT_THAT(at::cat(out, 1),
              IsCloseTo(Run(options).slice(1, 0, kPrompt), 1e-12, 1e-12));
  EXPECT_EQ(Feed(state.get(), kPrompt, kPrompt).size(1), 0);
  // Two pools of 64 or more rows of 2 x 8 float64, and the slots.
  EXPECT_EQ(state->Bytes(), 2 * 64 * 2 * 8 * 8 + 64 * 4);
}

TEST_F(StateTest, ALargeBudgetIsDense) {
  TokenSelectOptions options = Small();
  options.selected = kTokens;
  const auto dense = lm::MakeDenseState(TinyModel(), at::kCPU, at::kDouble);
  EXPECT_THAT(Run(options),
              IsCloseTo(Feed(dense.get(), 0, kTokens), 1e-9, 1e-9));
}

TEST_F(StateTest, SelectionCache) {
  TokenSelectOptions options = Small();
  const at::Tensor fresh = Run(options);
  // No cosine is below -1: the first selection of the decoding stays.
  options.theta = -1;
  const at::Tensor stale = Run(options);
  EXPECT_THAT(stale.slice(1, 0, kPrompt + 1),
              IsCloseTo(fresh.slice(1, 0, kPrompt + 1), 1e-12, 1e-12));
  EXPECT_FALSE(stale.allclose(fresh, 1e-3, 1e-3));
  // The same query again and again hits each time.
  const auto repeat = [&](double theta) {
    options.theta = theta;
    const auto state = Make(options);
    Feed(state.get(), 0, kPrompt);
    state->PromptDone();
    std::vector<at::Tensor> out;
    for (int64_t t = kPrompt; t < kTokens; ++t) {
      out.push_back(state->Attend({1, q_.slice(1, 7, 8), k_.slice(1, t, t + 1),
                                   v_.slice(1, t, t + 1), t, &rope_}));
    }
    return at::cat(out, 1);
  };
  EXPECT_THAT(repeat(0.9), IsIdenticalTo(repeat(-1)));
}

TEST_F(StateTest, RejectsOptionsThatCannotBe) {
  TokenSelectOptions options = Small();
  options.chunk = options.local + 1;
  EXPECT_THROW(Make(options), c10::Error);
  options = Small();
  options.selected = 0;
  EXPECT_THROW(Make(options), c10::Error);
}

TEST(SelectTest, LoudHeadAndBlocks) {
  const at::Tensor query = RandomNormal({4, 8}, 1);
  const at::Tensor pool = RandomNormal({50, 2, 8}, 2);
  const at::Tensor slots = at::arange(50, at::kInt);
  TokenSelectOptions options = Small();
  options.first_head_factor = 10;
  at::Tensor loud = query.clone();
  loud[0] *= 10;
  EXPECT_EQ(Numbers(Select(query, pool, slots, options)),
            Numbers(Select(loud, pool, slots, Small())));
  options = Small();
  options.block = 3;
  const std::vector<int64_t> blocks =
      Numbers(Select(query, pool, slots, options));
  // Two blocks of 3, and the 2 tokens that are over.
  ASSERT_EQ(blocks.size(), 8);
  EXPECT_EQ(blocks[0] % 3, 0);
  EXPECT_EQ(blocks[7], 49);
  // Of 50 slots 2 and 5 are always read.
  EXPECT_EQ(Middle(slots, Small()).size(0), 43);
  EXPECT_THAT(
      ReadList(slots, at::tensor({int64_t{0}, int64_t{42}}), Small()),
      IsIdenticalTo(at::tensor({0, 1, 2, 44, 45, 46, 47, 48, 49}, at::kInt)));
}

// --- Policy ---

TEST(PolicyTest, PreparesAndSelects) {
  const auto model =
      lm::RandomModel(TinyModel(), MakeGenerator(1), at::kCPU, at::kFloat);
  const auto prepare = [&](const std::string& text) {
    return lm::PreparePolicy("token_select", *lm::PolicyOptions::Parse(text),
                             *model);
  };
  const at::NoGradGuard no_grad;
  const at::Tensor prompt = at::arange(60, at::kLong);
  const auto run = [&](const std::string& options) {
    const auto factory = prepare(options);
    EXPECT_TRUE(factory.ok()) << factory.status();
    const auto state = (*factory)();
    return model->Forward({{prompt, state.get()}});
  };
  const auto dense = lm::MakeDenseState(model->config(), at::kCPU, at::kFloat);
  const at::Tensor expected = model->Forward({{prompt, dense.get()}});
  EXPECT_THAT(run(""), IsCloseTo(expected, 1e-5, 1e-6));
  EXPECT_THAT(run("budget=60"), IsCloseTo(expected, 1e-5, 1e-6));
  for (const char* options :
       {"budget=24", "budget=24,mapping=corrected", "budget=24,pool=3",
        "selected=8,initial=1,local=4", "budget=24,rule=head_vote",
        "budget=24,rule=summed_logits"}) {
    EXPECT_FALSE(run(options).allclose(expected, 1e-6, 1e-7)) << options;
  }
  for (const char* bad : {"budget=3", "theta=3", "rule=votes", "mapping=none",
                          "chunk=513", "k=3"}) {
    EXPECT_EQ(prepare(bad).status().code(), absl::StatusCode::kInvalidArgument)
        << bad;
  }
  EXPECT_THAT(prepare("rule=votes").status().message(),
              HasSubstr("head_vote or soft_vote or summed_logits"));
}

// --- InfiniteBench ---

TEST(ScorePredictionsTest, ByModelAndTask) {
  const std::string path = testing::TempDir() + "/predictions.jsonl";
  const auto score = [&](const std::string& text, const std::string& task) {
    std::ofstream(path) << text;
    return ScorePredictions(path, task, metrics::InfiniteBenchRules::kOriginal);
  };
  const auto passkey = score(
      R"({"model":"a","pred":"it is 12345.","label":"12345"}
{"model":"a","pred":"none","label":["12345"]}
{"model":"b","pred":"12345","label":"12345"})",
      "passkey");
  ASSERT_TRUE(passkey.ok()) << passkey.status();
  EXPECT_THAT(*passkey, ElementsAre(Pair("a", 50), Pair("b", 100)));
  const auto f1 = score(
      R"({"model":"a","pred":"the red house","label":["blue","red barn"]})",
      "longbook_qa_eng");
  ASSERT_TRUE(f1.ok()) << f1.status();
  EXPECT_THAT(*f1, ElementsAre(Pair("a", 50)));
  EXPECT_EQ(score("", "poems").status().code(),
            absl::StatusCode::kInvalidArgument);
  for (const char* bad :
       {R"({"model":"a","pred":"x"})", R"({"pred":"x","label":"1"})",
        R"({"model":"a","pred":"x","label":[]})", "[1]"}) {
    const auto result = score(bad, "passkey");
    EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss) << bad;
    EXPECT_THAT(result.status().message(), HasSubstr("predictions.jsonl:1"));
  }
}

// --- What is measured on a GPU ---

TEST(SpeedTest, RunsSmall) {
  TimingOptions timing;
  timing.warmup = 0;
  timing.repetitions = 1;
  ChunkShape shape;
  shape.num_heads = 4;
  shape.num_kv_heads = 2;
  shape.head_dim = 8;
  shape.queries = 4;
  EXPECT_GT(TimeChunk(shape, 40, Small(), at::kCPU, 1, timing).Speedup(), 0);
  EXPECT_THROW(TimeChunk(shape, 10, Small(), at::kCPU, 1, timing), c10::Error);
  const auto model =
      lm::RandomModel(TinyModel(), MakeGenerator(1), at::kCPU, at::kFloat);
  EXPECT_GT(TimePrompt(*model, 40, 16, Small(), timing).Speedup(), 0);
}

TEST(ExtrapolationTest, EveryPolicyOnAnUntrainedModel) {
  const testbed::Recipe recipe = testbed::SmallRecipe(32);
  const auto model = lm::RandomModel(TinyModel(recipe.vocabulary.size()),
                                     MakeGenerator(1), at::kCPU, at::kFloat);
  ExtrapolationOptions options;
  EXPECT_EQ(options.base.budget(), 84);
  options.base = Small();
  options.length = 96;
  options.sequences = 2;
  options.questions = 2;
  for (const char* policy :
       {"dense", "window", "random", "exact_topk", "blocks", "soft_vote",
        "head_vote", "summed_logits,first_head_factor=10",
        "soft_vote,selected=20,theta=0.5"}) {
    const auto recall = Recall(*model, recipe, options, policy, 3);
    ASSERT_TRUE(recall.ok()) << policy << ": " << recall.status();
    EXPECT_GE(*recall, 0) << policy;
    EXPECT_LE(*recall, 100) << policy;
  }
  for (const char* bad : {"best", "soft_vote,size=3", "soft_vote,theta=9"}) {
    EXPECT_EQ(Recall(*model, recipe, options, bad, 3).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
  }
  options.length = 3;
  EXPECT_EQ(Recall(*model, recipe, options, "dense", 3).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace repro::token_select
