#include "papers/hip_attention/hip_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <set>
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
#include "papers/hip_attention/latency.h"
#include "papers/hip_attention/random_field.h"
#include "papers/hip_attention/recall.h"

namespace repro::hip {
namespace {

using testing::HasSubstr;

HipOptions Small() {
  HipOptions options;
  options.mask.top_k = 16;
  options.mask.query_block = 8;
  options.mask.window = 12;
  options.sink = 4;
  options.dense_layers = 0;
  return options;
}

struct Inputs {
  at::Tensor q, k, v;
};
Inputs Draw(int64_t queries, int64_t keys) {
  return {RandomNormal({4, queries, 8}, 1), RandomNormal({2, keys, 8}, 2),
          RandomNormal({2, keys, 8}, 3)};
}

std::string ErrorOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

// --- Mask and attention ---

TEST(HipAttentionTest, DenseWhereEverythingFits) {
  // sink + k + w = 32 keys.
  for (const int64_t queries : {1, 5, 32}) {
    const Inputs in = Draw(queries, 32);
    EXPECT_THAT(HipAttention(in.q, in.k, in.v, Small()),
                IsCloseTo(lm::DenseAttention(in.q, in.k, in.v), 1e-9, 1e-12));
  }
  const Inputs in = Draw(40, 40);
  const at::Tensor out = HipAttention(in.q, in.k, in.v, Small());
  const at::Tensor dense = lm::DenseAttention(in.q, in.k, in.v);
  EXPECT_THAT(out.narrow(1, 0, 32),
              IsCloseTo(dense.narrow(1, 0, 32), 1e-9, 1e-12));
  EXPECT_FALSE(out.allclose(dense, 1e-3, 1e-3));
}

// By the rule, key by key, and plain softmax over what is seen.
TEST(HipAttentionTest, SeesSinksMaskAndWindow) {
  const HipOptions options = Small();
  const Inputs in = Draw(50, 90);
  const at::Tensor mask = EstimateMask(in.q, in.k, options);
  EXPECT_EQ(mask.sizes(), (at::IntArrayRef{4, 7, 10}));
  const at::Tensor out = SparseAttention(in.q, in.k, in.v, mask, options);
  for (int64_t head = 0; head < 4; ++head) {
    for (const int64_t query : {0, 7, 8, 30, 49}) {
      const int64_t place = 40 + query;
      std::set<int64_t> seen;
      for (int64_t j = place - 11; j <= place; ++j) seen.insert(j);
      for (int64_t i = 0; i < 10; ++i) {
        const int64_t block = mask[head][query / 8][i].item<int>();
        if (i < 2) {
          EXPECT_EQ(block, i);  // the sinks
        }
        for (int64_t j = 2 * block; block >= 0 && j < 2 * block + 2; ++j) {
          if (j <= place) seen.insert(j);
        }
      }
      // The search ends at the window of a block's last query: for those before
      // it some of what it found is in their window.
      if (query == 7 || query == 49) {
        EXPECT_EQ(seen.size(), 32u);
      } else {
        EXPECT_LE(seen.size(), 32u);
      }
      double sum = 0;
      at::Tensor expected = at::zeros_like(out[head][query]);
      for (const int64_t j : seen) {
        const double weight = std::exp(
            (in.q[head][query] * in.k[head / 2][j]).sum().item<double>() /
            std::sqrt(8.0));
        sum += weight;
        expected += weight * in.v[head / 2][j];
      }
      EXPECT_THAT(out[head][query], IsCloseTo(expected / sum, 1e-9, 1e-12));
    }
  }
  // The reference of common/lm agrees everywhere.
  EXPECT_THAT(
      out, IsCloseTo(lm::BlockSparseAttention(in.q, in.k, in.v, mask, 8, 2, 12),
                     1e-9, 1e-12));
}

// Sinks are taken out of the search and nothing else changes: without them the
// keys behind give the same lists, moved by the sinks' blocks.
TEST(HipAttentionTest, SinksAreNotSearched) {
  HipOptions options = Small();
  const Inputs in = Draw(64, 64);
  const at::Tensor mask = EstimateMask(in.q, in.k, options);
  const int64_t whole = 8;  // the first block of queries has only sinks
  EXPECT_TRUE(mask.narrow(1, 0, 1).narrow(2, 2, 8).eq(-1).all().item<bool>());
  options.sink = 0;
  const at::Tensor behind =
      EstimateMask(in.q.narrow(1, whole, 56), in.k.narrow(1, 4, 60), options);
  const at::Tensor moved = (behind + 2).masked_fill(behind < 0, -1);
  EXPECT_TRUE(mask.narrow(1, 1, 7).narrow(2, 2, 8).equal(moved));
}

TEST(HipAttentionTest, HeadsArePermuted) {
  const Inputs in = Draw(20, 100);
  const at::Tensor k = RandomNormal({4, 100, 8}, 4);
  const at::Tensor order = at::tensor({2, 0, 3, 1}, at::kLong);
  EXPECT_TRUE(
      EstimateMask(in.q.index_select(0, order), k.index_select(0, order),
                   Small())
          .equal(EstimateMask(in.q, k, Small()).index_select(0, order)));
}

TEST(HipAttentionTest, OddLengths) {
  for (const int64_t keys : {1, 2, 3, 5, 13, 33}) {
    for (int64_t queries = 0; queries <= keys; queries += 1 + keys / 3) {
      const Inputs in = Draw(queries, keys);
      HipOptions options = Small();
      options.sink = 16;
      EXPECT_THAT(HipAttention(in.q, in.k, in.v, options),
                  IsCloseTo(lm::DenseAttention(in.q, in.k, in.v), 1e-9, 1e-12))
          << queries << " of " << keys;
    }
  }
}

TEST(HipAttentionTest, SaysWhatDoesNotFit) {
  const Inputs in = Draw(8, 40);
  HipOptions odd = Small();
  odd.sink = 3;
  EXPECT_THAT(ErrorOf([&] { EstimateMask(in.q, in.k, odd); }),
              HasSubstr("sink 3"));
  EXPECT_THAT(
      ErrorOf([&] { EstimateMask(in.q, in.k.narrow(1, 0, 7), Small()); }),
      HasSubstr("8 queries"));
  EXPECT_THAT(ErrorOf([&] { EstimateMask(in.q[0], in.k, Small()); }),
              HasSubstr("num_heads"));
  HipOptions never = Small();
  never.refresh = 0;
  EXPECT_THAT(ErrorOf([&] {
                MakeHipState(lm::ModelConfig(), at::kCPU, at::kFloat, never);
              }),
              HasSubstr("refresh 0"));
}

// --- State ---

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

class HipStateTest : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 96;

  HipStateTest()
      : config_(TinyModel()), rope_(config_, at::kCPU, at::kDouble) {}

  std::unique_ptr<lm::AttentionState> Make(const HipOptions& options) {
    return MakeHipState(config_, at::kCPU, at::kDouble, options);
  }
  at::Tensor Feed(lm::AttentionState* state, int64_t begin, int64_t end,
                  int64_t layer = 0) {
    const auto part = [&](const at::Tensor& x) {
      return x.narrow(1, begin, end - begin);
    };
    return state->Attend(
        {layer, part(in_.q), part(in_.k), part(in_.v), begin, &rope_});
  }

  const lm::ModelConfig config_;
  const lm::Rope rope_;
  const Inputs in_ = Draw(kTokens, kTokens);
};

TEST_F(HipStateTest, ChunksGiveWhatTheWholeGives) {
  const at::Tensor q = rope_.Apply(in_.q, 0), k = rope_.Apply(in_.k, 0);
  const at::Tensor whole = HipAttention(q, k, in_.v, Small());
  EXPECT_FALSE(whole.allclose(lm::DenseAttention(q, k, in_.v), 1e-3, 1e-3));
  const auto state = Make(Small());
  std::vector<at::Tensor> parts;
  int64_t begin = 0;
  for (const int64_t end : {16, 64, 72, 96}) {
    parts.push_back(Feed(state.get(), begin, end));
    begin = end;
  }
  EXPECT_THAT(at::cat(parts, 1), IsCloseTo(whole, 1e-9, 1e-12));
  EXPECT_EQ(state->Bytes() % 8, 0);
  EXPECT_GE(state->Bytes(), 2 * 2 * kTokens * 8 * 8);
}

TEST_F(HipStateTest, FirstLayersAreDense) {
  HipOptions options = Small();
  options.dense_layers = 1;
  const auto state = Make(options);
  const at::Tensor q = rope_.Apply(in_.q, 0), k = rope_.Apply(in_.k, 0);
  EXPECT_THAT(Feed(state.get(), 0, kTokens, 0),
              IsCloseTo(lm::DenseAttention(q, k, in_.v), 1e-9, 1e-12));
  EXPECT_THAT(Feed(state.get(), 0, kTokens, 1),
              IsCloseTo(HipAttention(q, k, in_.v, options), 1e-9, 1e-12));
}

// Steps 0 and 3 have a mask of their own, 1 and 2 that of step 0.
TEST_F(HipStateTest, MasksAreShared) {
  for (const bool cover : {false, true}) {
    HipOptions options = Small();
    options.refresh = 3;
    options.cover_gap = cover;
    const auto state = Make(options);
    Feed(state.get(), 0, 80);
    at::Tensor mask;
    for (int64_t step = 0; step < 6; ++step) {
      const int64_t keys = 81 + step;
      const at::Tensor q = rope_.Apply(in_.q.narrow(1, keys - 1, 1), keys - 1);
      const at::Tensor k = rope_.Apply(in_.k.narrow(1, 0, keys), 0);
      const at::Tensor v = in_.v.narrow(1, 0, keys);
      if (step % 3 == 0) mask = EstimateMask(q, k, options);
      EXPECT_THAT(Feed(state.get(), keys - 1, keys),
                  IsCloseTo(SparseAttention(q, k, v, mask, options,
                                            12 + (cover ? step % 3 : 0)),
                            1e-9, 1e-12))
          << step;
    }
  }
}

// A prompt of sink + k + w tokens and no more: its mask sees everything, and
// one step later the token that has left the window is seen no more.
TEST_F(HipStateTest, ReuseLosesWhatLeftTheWindow) {
  for (const bool cover : {false, true}) {
    HipOptions options = Small();
    options.cover_gap = cover;
    const auto state = Make(options);
    Feed(state.get(), 0, 31);
    const auto dense = [&](int64_t keys) {
      return lm::DenseAttention(
          rope_.Apply(in_.q.narrow(1, keys - 1, 1), keys - 1),
          rope_.Apply(in_.k.narrow(1, 0, keys), 0), in_.v.narrow(1, 0, keys));
    };
    EXPECT_THAT(Feed(state.get(), 31, 32), IsCloseTo(dense(32), 1e-9, 1e-12));
    const at::Tensor next = Feed(state.get(), 32, 33);
    EXPECT_EQ(next.allclose(dense(33), 1e-9, 1e-12), cover);
  }
}

// --- Random field ---

TEST(RandomFieldTest, WalksOnTheSphere) {
  const at::Tensor walk = RandomWalkKeys(2, 4000, 64, 0.1, MakeGenerator(1));
  EXPECT_THAT(walk.norm(2, -1),
              IsCloseTo(at::ones({2, 4000}, at::kDouble), 1e-5, 0));
  // E x_t x_{t+1} = 1 / sqrt(1 + step^2) up to the length of e.
  const double next = (walk.narrow(1, 0, 3999) * walk.narrow(1, 1, 3999))
                          .sum(-1)
                          .mean()
                          .item<double>();
  EXPECT_NEAR(next, 1 / std::sqrt(1.01), 1e-4);
  const at::Tensor independent = RandomWalkKeys(
      1, 4000, 64, std::numeric_limits<double>::infinity(), MakeGenerator(1));
  EXPECT_NEAR((independent.narrow(1, 0, 3999) * independent.narrow(1, 1, 3999))
                  .sum(-1)
                  .mean()
                  .item<double>(),
              0, 0.01);
}

TEST(RandomFieldTest, RecallOfTheOracleAndOfAllKeys) {
  const at::Tensor k = RandomWalkKeys(2, 300, 8, 0.3, MakeGenerator(1));
  const at::Tensor q = at::randn({4, 1, 8}, MakeGenerator(2), at::kFloat);
  HierarchicalTopkOptions options;
  options.top_k = 16;
  options.key_block = 1;
  const double center = TopkRecall(q, k, options);
  EXPECT_GT(center, 0);
  EXPECT_LT(center, 1);
  options.representative = HierarchicalTopkOptions::kOracle;
  options.aligned = false;
  EXPECT_EQ(TopkRecall(q, k, options), 1);
  options.representative = HierarchicalTopkOptions::kCenter;
  options.top_k = 300;
  EXPECT_EQ(TopkRecall(q, k, options), 1);
}

// Where keys are alike over many branches nothing is pruned wrongly: what is
// missed lies in blocks that the exact choice of blocks misses, too.
TEST(RandomFieldTest, ASmoothFieldIsSearchedExactly) {
  const at::Tensor k = RandomWalkKeys(2, 8192, 64, 0.05, MakeGenerator(3));
  const at::Tensor q = at::randn({8, 1, 64}, MakeGenerator(4), at::kFloat);
  HierarchicalTopkOptions options;
  options.top_k = 128;
  const double center = TopkRecall(q, k, options);
  options.representative = HierarchicalTopkOptions::kFirst;
  const double first = TopkRecall(q, k, options);
  options.representative = HierarchicalTopkOptions::kOracle;
  const double oracle = TopkRecall(q, k, options);
  EXPECT_LT(oracle, 1);
  EXPECT_NEAR(center, oracle, 0.01);
  EXPECT_NEAR(first, oracle, 0.01);
}

// --- Latency ---

TEST(LatencyTest, TimesEverything) {
  LayerShape shape;
  shape.num_heads = 4;
  shape.num_kv_heads = 2;
  shape.head_dim = 8;
  shape.tokens = 64;
  TimingOptions timing;
  timing.warmup = 0;
  timing.repetitions = 1;
  for (const AttentionTimes& times :
       {TimePrefill(shape, Small(), at::kCPU, 1, timing),
        TimeDecode(shape, Small(), at::kCPU, 1, timing)}) {
    EXPECT_GT(times.dense, 0);
    EXPECT_GT(times.refresh, 0);
    EXPECT_GT(times.sparse, 0);
    EXPECT_DOUBLE_EQ(times.Hip(4), times.refresh / 4 + times.sparse);
  }
  const LinearTimes linear = TimeLinear(TinyModel(), at::kCPU, 1, timing);
  EXPECT_GT(linear.layer, 0);
  EXPECT_GT(linear.head, 0);
}

TEST(LatencyTest, EndToEnd) {
  lm::ModelConfig config = TinyModel();
  config.num_layers = 4;
  AttentionTimes attention;
  attention.dense = 10;
  attention.refresh = 4;
  attention.sparse = 1;
  LinearTimes linear;
  linear.layer = 2;
  linear.head = 3;
  // (11 + 4 10) / (11 + 1 10 + 3 (4 / 2 + 1))
  EXPECT_DOUBLE_EQ(EndToEndSpeedup(config, attention, linear, 1, 2),
                   51.0 / 30.0);
  // A bound for attention that takes no time, where time is bytes.
  config.tie_embeddings = true;
  const double weights = 2.0 * static_cast<double>(NumParameters(config));
  const double cache = 2.0 * 2 * 4 * 2 * 8 * 100;
  EXPECT_DOUBLE_EQ(EndToEndBound(config, 100, 2), 1 + cache / weights);
}

// --- Recall ---

TEST(RecallTest, EveryPolicyOnAnUntrainedModel) {
  const testbed::Recipe recipe = testbed::SmallRecipe(256);
  const auto model = lm::RandomModel(TinyModel(recipe.vocabulary.size()),
                                     MakeGenerator(1), at::kCPU, at::kFloat);
  RecallOptions options = RecallOptions::ForLength(recipe.context);
  EXPECT_EQ(options.hip.sink + options.hip.mask.top_k + options.hip.mask.window,
            32);
  options.questions = 2;
  options.count = 1;
  const std::set<std::string> all = {"dense",  "hip",        "first",
                                     "last",   "reuse",      "window",
                                     "random", "exact_topk", "dense_layers_2"};
  const auto go = [] { return true; };
  const auto recalls = CompareRecall(*model, recipe, options, all, 5, go);
  ASSERT_TRUE(recalls.ok()) << recalls.status();
  ASSERT_EQ(recalls->size(), all.size());
  for (const auto& [name, recall] : *recalls) {
    EXPECT_GE(recall.accuracy, 0) << name;
    EXPECT_LE(recall.accuracy, 100) << name;
    EXPECT_GT(recall.nats, 0) << name;
  }
  EXPECT_NE(recalls->at("hip").nats, recalls->at("dense").nats);
  EXPECT_NE(recalls->at("hip").nats, recalls->at("window").nats);
  EXPECT_NE(recalls->at("hip").nats, recalls->at("first").nats);
  // Both of the model's layers.
  EXPECT_NEAR(recalls->at("dense_layers_2").nats, recalls->at("dense").nats,
              1e-5);
  for (const char* bad : {"best", "dense_layers_", "dense_layers_-1"}) {
    EXPECT_EQ(
        CompareRecall(*model, recipe, options, {bad}, 5, go).status().code(),
        absl::StatusCode::kInvalidArgument)
        << bad;
  }
  EXPECT_EQ(
      CompareRecall(*model, recipe, options, {"hip"}, 5, [] { return false; })
          .status()
          .code(),
      absl::StatusCode::kCancelled);
}

// --- Policy ---

TEST(PolicyTest, ReadsItsOptions) {
  const auto model =
      lm::RandomModel(TinyModel(), MakeGenerator(1), at::kCPU, at::kFloat);
  const auto prepare = [&](const std::string& text) {
    return lm::PreparePolicy("hip", *lm::PolicyOptions::Parse(text), *model);
  };
  const at::NoGradGuard no_grad;
  const at::Tensor prompt = at::arange(60, at::kLong);
  const auto run = [&](const std::string& options) {
    const auto factory = prepare(options);
    EXPECT_TRUE(factory.ok()) << factory.status();
    const auto state = (*factory)();
    model->Forward({{prompt, state.get()}});
    return model->Forward({{prompt.narrow(0, 3, 1), state.get(), 60}});
  };
  const auto dense = lm::MakeDenseState(model->config(), at::kCPU, at::kFloat);
  model->Forward({{prompt, dense.get()}});
  const at::Tensor expected =
      model->Forward({{prompt.narrow(0, 3, 1), dense.get(), 60}});
  // Few enough tokens, and all layers dense.
  EXPECT_THAT(run("dense_layers=0"), IsCloseTo(expected, 1e-4, 1e-5));
  EXPECT_THAT(run("dense_layers=2,k=2,query_block=4,window=4,sink=0"),
              IsCloseTo(expected, 1e-4, 1e-5));
  const std::string few = "k=4,query_block=4,window=4,sink=2,dense_layers=0";
  std::vector<at::Tensor> outs = {expected};
  for (const char* more :
       {"", ",representative=first", ",key_block=1", ",dense_layers=1"}) {
    const std::string base = std::string(more) == ",dense_layers=1"
                                 ? "k=4,query_block=4,window=4,sink=2"
                                 : few;
    const at::Tensor out = run(base + more);
    for (const at::Tensor& other : outs) {
      EXPECT_FALSE(out.allclose(other, 1e-6, 1e-7)) << more;
    }
    outs.push_back(out);
  }
  for (const char* bad :
       {"k=0", "k=3", "sink=1", "window=30", "head_group=3",
        "representative=mean", "refresh=0", "aligned=2", "budget=8"}) {
    EXPECT_EQ(prepare(bad).status().code(), absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

}  // namespace
}  // namespace repro::hip
