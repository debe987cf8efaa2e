#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/complex.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/imag.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/polar.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/real.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "common/lm/attention.h"
#include "common/lm/cache.h"
#include "common/lm/cpu_ops.h"
#include "common/lm/dense_state.h"
#include "common/lm/from_llama.h"
#include "common/lm/model.h"
#include "common/lm/perplexity.h"
#include "common/lm/policy.h"
#include "common/lm/rope.h"
#include "common/nn/llama.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::lm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocab_size = 29;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_layers = 2;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_positions = 64;
  config.rope_theta = 100;
  return config;
}

// Weights large enough that attention is far from uniform.
std::unique_ptr<LanguageModel> SmallModel(at::ScalarType dtype,
                                          ModelConfig config = SmallConfig()) {
  auto model = RandomModel(config, MakeGenerator(1), at::kCPU, dtype);
  for (LayerWeights& layer : model->mutable_weights().layers) {
    layer.qkv.dense.mul_(30);
    layer.output.dense.mul_(10);
    layer.gate_up.dense.mul_(10);
    layer.down.dense.mul_(10);
  }
  model->mutable_weights().embedding.mul_(50);
  model->mutable_weights().head.dense.mul_(10);
  return model;
}

// The same weights in float32.
std::unique_ptr<LanguageModel> Float(const LanguageModel& model) {
  ModelWeights weights = model.weights();
  for (at::Tensor* t :
       {&weights.embedding, &weights.final_norm, &weights.head.dense}) {
    *t = t->to(at::kFloat);
  }
  for (LayerWeights& l : weights.layers) {
    for (at::Tensor* t : {&l.attention_norm, &l.qkv.dense, &l.output.dense,
                          &l.ffn_norm, &l.gate_up.dense, &l.down.dense}) {
      *t = t->to(at::kFloat);
    }
  }
  return std::make_unique<LanguageModel>(model.config(), std::move(weights));
}

at::Tensor Tokens(int64_t count, uint64_t seed) {
  return at::randint(29, {count}, MakeGenerator(seed), at::kLong);
}

std::unique_ptr<AttentionState> Dense(const LanguageModel& model) {
  return MakeDenseState(model.config(), at::kCPU, model.dtype());
}

// Logits of every token, fed in chunks of `step`.
at::Tensor AllLogits(const LanguageModel& model, AttentionState* state,
                     const at::Tensor& tokens, int64_t step) {
  std::vector<at::Tensor> out;
  for (int64_t begin = 0; begin < tokens.size(0); begin += step) {
    const int64_t size = std::min(step, tokens.size(0) - begin);
    out.push_back(model.Logits(
        model.Hidden({{tokens.narrow(0, begin, size), state, begin}})));
  }
  return at::cat(out);
}

// --- configuration ---

TEST(ConfigTest, KnownModelsHaveTheirParameters) {
  // From the models' cards: 134,515,008; 6,738,415,616; 8,030,261,248.
  EXPECT_EQ(NumParameters(ModelConfig::SmolLm2_135M()), 134515008);
  EXPECT_EQ(NumParameters(ModelConfig::Llama2_7B()), 6738415616);
  EXPECT_EQ(NumParameters(ModelConfig::Llama3_8B()), 8030261248);
  for (const ModelConfig& config :
       {ModelConfig::SmolLm2_135M(), ModelConfig::Llama2_7B(),
        ModelConfig::Llama3_8B(), SmallConfig()}) {
    EXPECT_TRUE(Validate(config).ok()) << Validate(config);
  }
}

TEST(ConfigTest, RefusesWhatCannotBe) {
  const auto message = [](const std::function<void(ModelConfig*)>& change) {
    ModelConfig config = SmallConfig();
    change(&config);
    return std::string(Validate(config).message());
  };
  using C = ModelConfig;
  EXPECT_THAT(message([](C* c) { c->vocab_size = 0; }),
              HasSubstr("vocab_size is 0"));
  EXPECT_THAT(message([](C* c) { c->hidden_size = int64_t{1} << 31; }),
              HasSubstr("hidden_size is 2147483648"));
  EXPECT_THAT(message([](C* c) { c->num_kv_heads = 4; }),
              HasSubstr("num_heads 6 is not a multiple of num_kv_heads 4"));
  EXPECT_THAT(message([](C* c) { c->head_dim = 7; }),
              HasSubstr("head_dim 7 is odd"));
  EXPECT_THAT(message([](C* c) { c->rms_norm_eps = NAN; }),
              HasSubstr("rms_norm_eps"));
  EXPECT_THAT(message([](C* c) { c->rope_theta = -1; }),
              HasSubstr("rope_theta"));
  EXPECT_THAT(message([](C* c) {
                c->eos_ids = {2, 29};
              }),
              HasSubstr("eos id is 29"));
  EXPECT_THAT(
      message([](C* c) { c->vocab_size = c->hidden_size = 2147483647; }),
      HasSubstr("want less than 2^40"));
}

// --- rotary positions ---

TEST(RopeTest, TurnsPairsAsComplexNumbers) {
  ModelConfig config = SmallConfig();
  config.max_positions = 4;  // the tables grow
  const Rope rope(config, at::kCPU, at::kDouble);
  const at::Tensor x = RandomNormal({3, 5, 8}, 1);
  const auto turned = [&](const std::vector<double>& positions) {
    at::Tensor angle = at::zeros({5, 4}, at::kDouble);
    for (int64_t p = 0; p < 5; ++p) {
      for (int64_t i = 0; i < 4; ++i) {
        angle[p][i] = positions[p] * std::pow(100, -i / 4.0);
      }
    }
    const at::Tensor z = at::complex(x.narrow(-1, 0, 4), x.narrow(-1, 4, 4)) *
                         at::polar(at::ones({5, 4}, at::kDouble), angle);
    return at::cat({at::real(z), at::imag(z)}, -1);
  };
  EXPECT_THAT(rope.Apply(x, 7), IsCloseTo(turned({7, 8, 9, 10, 11}), 0, 1e-5));
  EXPECT_THAT(rope.ApplyAt(x, at::tensor({9, 0, 3, 3, 50}, at::kLong)),
              IsCloseTo(turned({9, 0, 3, 3, 50}), 0, 1e-5));
  EXPECT_THROW(rope.Apply(x, -1), c10::Error);
  EXPECT_THROW(rope.Apply(RandomNormal({3, 5, 6}, 1), 0), c10::Error);
  EXPECT_TRUE(CheckGradients(
      [&](const auto& in) { return rope.Apply(in[0], 2); }, {x}));
}

TEST(RopeTest, ScalesFrequencies) {
  ModelConfig config = ModelConfig::Llama3_8B();
  config.rope_scaling = {RopeScaling::Type::kLinear, 4};
  const at::Tensor plain = Rope(ModelConfig::Llama3_8B(), at::kCPU, at::kFloat)
                               .inverse_frequencies();
  EXPECT_THAT(Rope(config, at::kCPU, at::kFloat).inverse_frequencies(),
              IsCloseTo(plain / 4, 1e-7, 0));
  config.rope_scaling = {RopeScaling::Type::kLlama3, 8, 1, 4, 8192};
  // transformers 5.24, the entries 0, 20, 30, 32, 34, 40 and 63 of
  // ROPE_INIT_FUNCTIONS["llama3"](LlamaConfig(head_dim=128,
  // max_position_embeddings=131072, rope_parameters={"rope_type": "llama3",
  // "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
  // "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
  // "cpu")[0]
  const at::Tensor expected = at::tensor(
      {1.0, 0.016560440883040428, 0.0013718936825171113, 0.0005248460220173001,
       0.0001785077911335975, 3.428102354519069e-05, 3.068925877869333e-07},
      at::kFloat);
  EXPECT_THAT(
      Rope(config, at::kCPU, at::kFloat)
          .inverse_frequencies()
          .index_select(0, at::tensor({0, 20, 30, 32, 34, 40, 63}, at::kLong)),
      IsCloseTo(expected, 1e-5, 0));
}

// --- attention ---

// By the definition, in float64: softmax over the keys that `see` allows.
at::Tensor NaiveAttention(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::function<bool(int64_t head, int64_t query, int64_t key)>& see) {
  const int64_t heads = q.size(0), queries = q.size(1), keys = k.size(1);
  const int64_t group = heads / k.size(0);
  at::Tensor out = at::zeros(q.sizes(), at::kDouble);
  for (int64_t h = 0; h < heads; ++h) {
    const at::Tensor logits =
        at::matmul(q[h].to(at::kDouble), k[h / group].to(at::kDouble).t()) /
        std::sqrt(q.size(2));
    for (int64_t i = 0; i < queries; ++i) {
      double sum = 0;
      at::Tensor row = at::zeros({q.size(2)}, at::kDouble);
      for (int64_t j = 0; j < keys; ++j) {
        if (!see(h, i, j)) continue;
        const double weight = std::exp(logits[i][j].item<double>());
        sum += weight;
        row += weight * v[h / group][j].to(at::kDouble);
      }
      if (sum > 0) out[h][i] = row / sum;
    }
  }
  return out;
}

struct Qkv {
  at::Tensor q, k, v;
};

Qkv Draw(int64_t queries, int64_t keys, uint64_t seed) {
  return {RandomNormal({6, queries, 8}, seed),
          RandomNormal({2, keys, 8}, seed + 1),
          RandomNormal({2, keys, 8}, seed + 2)};
}

TEST(AttentionTest, DenseIsCausalFromTheLastKey) {
  for (const auto& [queries, keys] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {1, 9}, {5, 5}, {4, 9}}) {
    const Qkv x = Draw(queries, keys, 1);
    const int64_t first = keys - queries;
    EXPECT_THAT(DenseAttention(x.q, x.k, x.v),
                IsCloseTo(NaiveAttention(x.q, x.k, x.v,
                                         [&](int64_t, int64_t i, int64_t j) {
                                           return j <= first + i;
                                         }),
                          1e-9, 1e-9))
        << queries << " of " << keys;
  }
  const Qkv x = Draw(5, 4, 1);
  EXPECT_THROW(DenseAttention(x.q, x.k, x.v), c10::Error);
  EXPECT_THROW(DenseAttention(x.q.narrow(0, 0, 5), x.k, x.v), c10::Error);
  EXPECT_EQ(DenseAttention(x.q.narrow(1, 0, 0), x.k, x.v).size(1), 0);
}

TEST(AttentionTest, SinkWindowSeesFirstAndLast) {
  for (const auto& [queries, keys] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 3}, {1, 20}, {20, 20}, {7, 20}, {300, 300}}) {
    for (const auto& [sink, recent] : std::vector<std::pair<int64_t, int64_t>>{
             {0, 1}, {2, 3}, {4, 5}, {0, 6}}) {
      if (queries == 300 && sink != 2) continue;
      const Qkv x = Draw(queries, keys, 4);
      const int64_t first = keys - queries;
      const int64_t s = sink, r = recent;
      EXPECT_THAT(SinkWindowAttention(x.q, x.k, x.v, sink, recent),
                  IsCloseTo(NaiveAttention(x.q, x.k, x.v,
                                           [&](int64_t, int64_t i, int64_t j) {
                                             const int64_t p = first + i;
                                             return j <= p &&
                                                    (j < s || j > p - r);
                                           }),
                            1e-9, 1e-9))
          << queries << " of " << keys << ", " << sink << " + " << recent;
    }
  }
  const Qkv x = Draw(3, 9, 1);
  EXPECT_TRUE(CheckGradients(
      [](const auto& in) {
        return SinkWindowAttention(in[0], in[1], in[2], 2, 3);
      },
      {x.q, x.k, x.v}));
  EXPECT_THROW(SinkWindowAttention(x.q, x.k, x.v, 1, 0), c10::Error);
}

TEST(AttentionTest, BlockSparseSeesListedBlocksAndWindow) {
  const int64_t queries = 7, keys = 13;
  const Qkv x = Draw(queries, keys, 7);
  for (const int64_t heads : {1, 6}) {
    for (const int64_t window : {0, 1, 4}) {
      // Blocks of 3 keys for blocks of 4 queries; block 4 has one key, -1 none.
      at::Tensor blocks = at::full({heads, 2, 3}, -1, at::kInt);
      std::vector<std::vector<std::vector<int32_t>>> lists;
      for (int64_t h = 0; h < heads; ++h) {
        const int32_t n = static_cast<int32_t>(h % 4);
        lists.push_back({{n, -1, 2}, {4, n, -1}});
        if (n == 2) lists.back()[0][0] = 0;
        for (int b = 0; b < 2; ++b) {
          for (int i = 0; i < 3; ++i) blocks[h][b][i] = lists[h][b][i];
        }
      }
      const auto see = [&](int64_t h, int64_t i, int64_t j) {
        const int64_t p = keys - queries + i;
        if (j > p) return false;
        if (j > p - window) return true;
        for (int32_t b : lists[heads == 1 ? 0 : h][i / 4]) {
          if (b >= 0 && j / 3 == b) return true;
        }
        return false;
      };
      EXPECT_THAT(BlockSparseAttention(x.q, x.k, x.v, blocks, 4, 3, window),
                  IsCloseTo(NaiveAttention(x.q, x.k, x.v, see), 1e-9, 1e-9))
          << heads << " heads, window " << window;
    }
  }
  const at::Tensor blocks = at::zeros({1, 2, 1}, at::kInt);
  EXPECT_TRUE(CheckGradients(
      [&](const auto& in) {
        return BlockSparseAttention(in[0], in[1], in[2], blocks, 4, 3, 2);
      },
      {x.q, x.k, x.v}));
  EXPECT_THROW(BlockSparseAttention(x.q, x.k, x.v, blocks, 3, 3, 2),
               c10::Error);
}

TEST(AttentionTest, BiasAddsToLogits) {
  const Qkv x = Draw(4, 9, 10);
  at::Tensor bias = RandomNormal({6, 4, 9}, 13);
  at::Tensor hidden = at::zeros({6, 4, 9}, at::kDouble);
  hidden.select(2, 3).fill_(-INFINITY);
  // exp(b) as a factor of the weights: a key's bias equals log of its count.
  const at::Tensor counts = at::arange(1, 10, at::kDouble);
  at::Tensor k = at::cat({x.k, x.k.narrow(1, 1, 1)}, 1);
  at::Tensor v = at::cat({x.v, x.v.narrow(1, 1, 1)}, 1);
  at::Tensor twice = at::zeros({1, 1, 9}, at::kDouble);
  twice[0][0][1] = std::log(2.0);
  EXPECT_THAT(
      BiasedAttention(x.q, x.k, x.v, twice),
      IsCloseTo(NaiveAttention(x.q, k, v,
                               [](int64_t, int64_t, int64_t) { return true; }),
                1e-9, 1e-9));
  EXPECT_THAT(BiasedAttention(x.q, x.k, x.v, hidden),
              IsCloseTo(NaiveAttention(
                            x.q, x.k, x.v,
                            [](int64_t, int64_t, int64_t j) { return j != 3; }),
                        1e-9, 1e-9));
  EXPECT_TRUE(CheckGradients(
      [](const auto& in) {
        return BiasedAttention(in[0], in[1], in[2], in[3]);
      },
      {x.q, x.k, x.v, bias}));
  EXPECT_THROW(BiasedAttention(x.q, x.k, x.v, bias.narrow(2, 0, 8)),
               c10::Error);
}

// --- fused operators of the CPU ---

TEST(CpuOpsTest, DecodeAttentionIsDense) {
  for (const auto& [kv_heads, group, dim, keys] :
       std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t>>{
           {3, 3, 64, 17},
           {1, 1, 16, 1},
           {2, 7, 80, 16},
           {2, 2, 48, 300},
           {1, 4, 256, 700}}) {
    // Strided, as the model's projections and a cache's views are.
    const at::Tensor q =
        RandomNormal({1, kv_heads * group, dim}, 1, at::kFloat).transpose(0, 1);
    const at::Tensor k = RandomNormal({kv_heads, keys + 5, dim}, 2, at::kFloat)
                             .narrow(1, 3, keys);
    const at::Tensor v =
        RandomNormal({keys, kv_heads, dim}, 3, at::kFloat).transpose(0, 1);
    ASSERT_TRUE(cpu::TakesHeadDim(dim));
    // 4: logits far apart.
    for (const double factor : {1, 4}) {
      EXPECT_THAT(DenseAttention(q * factor, k, v),
                  IsCloseTo(NaiveAttention(
                                q * factor, k, v,
                                [](int64_t, int64_t, int64_t) { return true; }),
                            1e-5, 1e-5))
          << group << " heads, " << dim << ", " << keys << " keys";
    }
  }
}

TEST(CpuOpsTest, CausalAttentionIsDense) {
  for (const auto& [kv_heads, group, dim, queries, keys] :
       std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>>{
           {3, 3, 64, 17, 17},
           {1, 2, 16, 2, 3},
           {2, 1, 80, 5, 270},
           {1, 1, 64, 40, 290},
           {1, 2, 256, 9, 20}}) {
    const at::Tensor q =
        RandomNormal({queries, kv_heads * group, dim}, 1, at::kFloat)
            .transpose(0, 1);
    const at::Tensor k = RandomNormal({kv_heads, keys + 5, dim}, 2, at::kFloat)
                             .narrow(1, 3, keys);
    const at::Tensor v =
        RandomNormal({keys, kv_heads, dim}, 3, at::kFloat).transpose(0, 1);
    const int64_t first = keys - queries;
    for (const double factor : {1, 4}) {
      EXPECT_THAT(DenseAttention(q * factor, k, v),
                  IsCloseTo(NaiveAttention(q * factor, k, v,
                                           [&](int64_t, int64_t i, int64_t j) {
                                             return j <= first + i;
                                           }),
                            1e-5, 1e-5))
          << group << " heads, " << dim << ", " << queries << " of " << keys;
    }
  }
}

TEST(CpuOpsTest, SwiGluHoldsForAnyGate) {
  const at::Tensor gate =
      at::tensor({0.0, 1.0, -1.0, 20.0, -20.0, 80.0, -80.0, -87.5, 1e4, -1e4,
                  1e30, -1e30, 1e-30, 0.5, 3.0, -3.0, 7.0, -7.0, NAN},
                 at::kDouble);
  const at::Tensor up = at::full_like(gate, 2);
  const at::Tensor y =
      cpu::SwiGlu(at::cat({gate, up}).to(at::kFloat).unsqueeze(0))[0];
  const int64_t last = gate.size(0) - 1;
  EXPECT_THAT(
      y.narrow(0, 0, last),
      IsCloseTo((gate * gate.sigmoid() * 2).narrow(0, 0, last), 1e-6, 1e-30));
  EXPECT_TRUE(std::isnan(y[last].item<float>()));
}

TEST(CpuOpsTest, RmsNormIsItsEquation) {
  const at::Tensor x = RandomNormal({3, 37}, 1, at::kFloat);
  const at::Tensor weight = RandomNormal({37}, 2, at::kFloat);
  const at::Tensor wide = x.to(at::kDouble);
  EXPECT_THAT(
      cpu::RmsNorm(x, weight, 0.1),
      IsCloseTo(wide / (wide.square().mean(-1, true) + 0.1).sqrt() * weight,
                1e-6, 1e-6));
}

// --- caches ---

constexpr int64_t kKvHeads = 2, kDim = 8;

CacheOptions Options() { return {kKvHeads, kDim, at::kCPU, at::kFloat}; }

at::Tensor Draw(int64_t tokens, uint64_t seed) {
  return RandomNormal({kKvHeads, tokens, kDim}, seed, at::kFloat);
}

TEST(CacheTest, KeepsEverything) {
  const at::Tensor k = Draw(200, 1), v = Draw(200, 2);
  std::vector<std::unique_ptr<LayerCache>> caches;
  caches.push_back(MakeContiguousCache(Options()));
  caches.push_back(MakeStaticCache(Options(), 200));
  caches.push_back(std::make_unique<PagedCache>(
      std::make_shared<PagePool>(Options(), 200, 1)));
  caches.push_back(std::make_unique<PagedCache>(
      std::make_shared<PagePool>(Options(), 13, 16)));
  for (const auto& cache : caches) {
    int64_t begin = 0;
    for (int64_t size : {3, 1, 0, 96, 1, 99}) {
      cache->Append(k.narrow(1, begin, size), v.narrow(1, begin, size));
      begin += size;
      EXPECT_THAT(cache->Keys(), IsIdenticalTo(k.narrow(1, 0, begin)));
      EXPECT_THAT(cache->Values(), IsIdenticalTo(v.narrow(1, 0, begin)));
    }
    EXPECT_EQ(cache->length(), 200);
    EXPECT_EQ(cache->kept(), 200);
    EXPECT_THAT(cache->Positions(), IsIdenticalTo(at::arange(200, at::kLong)));
    EXPECT_GE(cache->Bytes(), 2 * 200 * kKvHeads * kDim * 4);
    EXPECT_LE(cache->Bytes(), 2 * 300 * kKvHeads * kDim * 4);
    EXPECT_THROW(cache->Append(Draw(1, 3), Draw(2, 3)), c10::Error);
    EXPECT_THROW(cache->Append(k.narrow(2, 0, 4), v.narrow(2, 0, 4)),
                 c10::Error);
  }
  EXPECT_THROW(caches[1]->Append(Draw(1, 3), Draw(1, 3)), c10::Error);
  EXPECT_EQ(caches[1]->length(), 200);
}

TEST(CacheTest, PagesAreSharedAndGivenBack) {
  const auto pool = std::make_shared<PagePool>(Options(), 4, 2);
  PagedCache first(pool);
  first.Append(Draw(3, 1), Draw(3, 2));
  {
    PagedCache second(pool);
    second.Append(Draw(4, 3), Draw(4, 4));
    EXPECT_EQ(pool->free_pages(), 0);
    first.Append(Draw(1, 5), Draw(1, 6));  // room in its last page
    EXPECT_THROW(first.Append(Draw(1, 5), Draw(1, 6)), c10::OutOfMemoryError);
    EXPECT_EQ(first.length(), 4);
    EXPECT_THAT(second.Keys(), IsIdenticalTo(Draw(4, 3)));
  }
  EXPECT_EQ(pool->free_pages(), 2);
  first.Append(Draw(1, 5), Draw(1, 6));
  EXPECT_THAT(first.Keys(),
              IsIdenticalTo(at::cat({Draw(3, 1), Draw(1, 5), Draw(1, 5)}, 1)));
}

TEST(CacheTest, SinkWindowDropsTheMiddle) {
  const at::Tensor k = Draw(40, 1), v = Draw(40, 2);
  for (const auto& [sink, recent] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {2, 3}, {5, 2}}) {
    const auto cache = MakeSinkWindowCache(Options(), sink, recent);
    int64_t begin = 0;
    for (int64_t size : {1, 1, 4, 1, 1, 1, 12, 1, 2, 1, 1, 1, 13}) {
      cache->Append(k.narrow(1, begin, size), v.narrow(1, begin, size));
      // What the first new token sees, and the new ones.
      const int64_t low = std::max(sink, begin - recent + 1);
      begin += size;
      const at::Tensor positions =
          low <= sink ? at::arange(begin, at::kLong)
                      : at::cat({at::arange(sink, at::kLong),
                                 at::arange(low, begin, at::kLong)});
      EXPECT_THAT(cache->Positions(), IsIdenticalTo(positions));
      EXPECT_THAT(cache->Keys(), IsIdenticalTo(k.index_select(1, positions)));
      EXPECT_THAT(cache->Values(), IsIdenticalTo(v.index_select(1, positions)));
      EXPECT_EQ(cache->kept(), positions.size(0));
      EXPECT_EQ(cache->length(), begin);
    }
    EXPECT_LT(cache->Bytes(), 2 * 80 * kKvHeads * kDim * 4);
  }
  EXPECT_THROW(MakeSinkWindowCache(Options(), 1, 0), c10::Error);
}

TEST(CacheTest, QuantisedWithinHalfAStep) {
  for (const int bits : {8, 4}) {
    const auto cache = MakeQuantizedCache(Options(), bits, 4);
    const at::Tensor k = Draw(9, 1), v = Draw(9, 2) * 5 + 3;
    cache->Append(k.narrow(1, 0, 5), v.narrow(1, 0, 5));
    cache->Append(k.narrow(1, 5, 4), v.narrow(1, 5, 4));
    const auto check = [&, b = bits](const at::Tensor& x,
                                     const at::Tensor& out) {
      const at::Tensor groups = x.view({kKvHeads, 9, 2, 4});
      const at::Tensor range = groups.amax(-1, true) - groups.amin(-1, true);
      // Half a step, and float16's rounding of minimum and scale.
      const at::Tensor bound = range / ((1 << b) - 1) * 0.5 +
                               (groups.abs().amax(-1, true) + range) / 1024;
      EXPECT_TRUE(((out.view({kKvHeads, 9, 2, 4}) - groups).abs() <= bound)
                      .all()
                      .item<bool>())
          << b << " bits";
    };
    check(k, cache->Keys());
    check(v, cache->Values());
    EXPECT_EQ(cache->length(), 9);
  }
  const auto constant = MakeQuantizedCache(Options(), 4, 8);
  const at::Tensor ones = at::ones({kKvHeads, 1, kDim});
  constant->Append(ones, ones * 0);
  EXPECT_THAT(constant->Keys(), IsIdenticalTo(ones));
  EXPECT_THAT(constant->Values(), IsIdenticalTo(ones * 0));
  EXPECT_THROW(MakeQuantizedCache(Options(), 5, 4), c10::Error);
  EXPECT_THROW(MakeQuantizedCache(Options(), 4, 3), c10::Error);
}

TEST(CacheTest, SplitKeepsFullHeadsWhole) {
  CacheOptions options = Options();
  options.num_kv_heads = 3;
  const at::Tensor k = RandomNormal({3, 10, kDim}, 1, at::kFloat);
  for (const auto& full :
       std::vector<std::vector<int64_t>>{{0, 2}, {}, {0, 1, 2}}) {
    SplitCache cache(options, full, 1, 2);
    cache.Append(k.narrow(1, 0, 6), k.narrow(1, 0, 6) * 2);
    cache.Append(k.narrow(1, 6, 4), k.narrow(1, 6, 4) * 2);
    EXPECT_EQ(cache.streaming_heads().size(), 3 - full.size());
    EXPECT_THAT(cache.full().Keys(),
                IsIdenticalTo(k.index_select(0, at::tensor(full, at::kLong))));
    EXPECT_THAT(
        cache.streaming().Values(),
        IsIdenticalTo(
            (k * 2)
                .index_select(0, at::tensor(cache.streaming_heads(), at::kLong))
                .index_select(1, at::tensor({0, 5, 6, 7, 8, 9}, at::kLong))));
  }
  EXPECT_THROW(SplitCache(options, {2, 0}, 1, 2), c10::Error);
  EXPECT_THROW(SplitCache(options, {3}, 1, 2), c10::Error);
}

// --- model ---

TEST(ModelTest, ComputesWhatTheTrainedModelDoes) {
  for (const bool tied : {false, true}) {
    LlamaConfig config;
    config.vocab_size = 29;
    config.dim = 24;
    config.num_layers = 2;
    config.num_heads = 6;
    config.num_kv_heads = 3;
    config.ffn_dim = 20;
    config.init_std = 0.3;
    config.tie_embeddings = tied;
    const Llama llama(config, Initializer(MakeGenerator(1), at::kDouble));
    const auto model = FromLlama(llama);
    const at::Tensor tokens = Tokens(17, 2);
    EXPECT_THAT(AllLogits(*model, Dense(*model).get(), tokens, 17),
                IsCloseTo(llama.Forward(tokens.unsqueeze(0))[0], 1e-5, 1e-5));
  }
}

TEST(ModelTest, ChunksMakeNoDifference) {
  const auto model = SmallModel(at::kDouble);
  at::NoGradGuard no_grad;
  const at::Tensor tokens = Tokens(21, 2);
  const at::Tensor whole = AllLogits(*model, Dense(*model).get(), tokens, 21);
  for (const int64_t step : {1, 4, 20}) {
    EXPECT_THAT(AllLogits(*model, Dense(*model).get(), tokens, step),
                IsCloseTo(whole, 1e-5, 1e-5));
  }
}

// float32 takes the fused path of the CPU.
TEST(ModelTest, Float32AgreesWithFloat64) {
  const auto model = SmallModel(at::kDouble);
  const auto single = Float(*model);
  const at::Tensor tokens = Tokens(21, 2);
  at::NoGradGuard no_grad;
  const at::Tensor whole = AllLogits(*model, Dense(*model).get(), tokens, 21);
  for (const int64_t step : {21, 4, 1}) {
    EXPECT_THAT(AllLogits(*single, Dense(*single).get(), tokens, step),
                RelativeErrorBelow(whole, 1e-5));
  }
}

TEST(ModelTest, BatchIsEachAlone) {
  const auto model = SmallModel(at::kFloat);
  at::NoGradGuard no_grad;
  const std::vector<int64_t> lengths = {5, 1, 12};
  std::vector<at::Tensor> tokens, alone;
  std::vector<std::unique_ptr<AttentionState>> states;
  std::vector<Chunk> prompts, steps;
  for (size_t i = 0; i < lengths.size(); ++i) {
    tokens.push_back(Tokens(lengths[i] + 1, i));
    alone.push_back(
        AllLogits(*model, Dense(*model).get(), tokens[i], lengths[i]));
    states.push_back(Dense(*model));
    prompts.push_back({tokens[i].narrow(0, 0, lengths[i]), states[i].get(), 0});
    steps.push_back(
        {tokens[i].narrow(0, lengths[i], 1), states[i].get(), lengths[i]});
  }
  for (const auto* chunks : {&prompts, &steps}) {
    const at::Tensor logits = model->Forward(*chunks);
    for (size_t i = 0; i < lengths.size(); ++i) {
      EXPECT_THAT(
          logits[i],
          RelativeErrorBelow(
              alone[i][chunks == &prompts ? lengths[i] - 1 : lengths[i]],
              1e-5));
    }
  }
}

TEST(ModelTest, CachesThatKeepEverythingAreDense) {
  const auto model = SmallModel(at::kFloat);
  at::NoGradGuard no_grad;
  const ModelConfig& config = model->config();
  const at::Tensor tokens = Tokens(30, 3);
  const at::Tensor dense = AllLogits(*model, Dense(*model).get(), tokens, 7);
  const CacheOptions options = MakeCacheOptions(config, at::kCPU, at::kFloat);
  const auto fixed =
      MakeDenseState(2, [&](int64_t) { return MakeStaticCache(options, 30); });
  EXPECT_THAT(AllLogits(*model, fixed.get(), tokens, 7),
              RelativeErrorBelow(dense, 1e-5));
  for (const int64_t page_size : {1, 4}) {
    const auto paged = MakePagedState(
        MakePagePools(config, at::kCPU, at::kFloat, 30, page_size));
    EXPECT_THAT(AllLogits(*model, paged.get(), tokens, 7),
                RelativeErrorBelow(dense, 1e-5));
  }
  for (const int64_t step : {1, 7}) {
    const auto window = MakeWindowState(config, at::kCPU, at::kFloat, 2, 28);
    EXPECT_THAT(AllLogits(*model, window.get(), tokens, step),
                RelativeErrorBelow(dense, 1e-5));
  }
  const auto int8 =
      MakeDenseState(config, at::kCPU, at::kFloat, CacheKind::kInt8);
  EXPECT_THAT(AllLogits(*model, int8.get(), tokens, 7),
              RelativeErrorBelow(dense, 0.05));
  const auto int4 =
      MakeDenseState(config, at::kCPU, at::kFloat, CacheKind::kInt4);
  EXPECT_THAT(AllLogits(*model, int4.get(), tokens, 7),
              RelativeErrorBelow(dense, 0.8));
  EXPECT_LT(int4->Bytes(), int8->Bytes());
}

// Sequences of different lengths step together over shared pages.
TEST(ModelTest, BatchedStepsOverPagesAreDense) {
  const auto model = SmallModel(at::kFloat);
  at::NoGradGuard no_grad;
  const ModelConfig& config = model->config();
  const std::vector<int64_t> lengths = {1, 6, 11};
  const auto pools = MakePagePools(config, at::kCPU, at::kFloat, 16, 4);
  std::vector<at::Tensor> tokens, dense;
  std::vector<std::unique_ptr<AttentionState>> states;
  for (size_t i = 0; i < lengths.size(); ++i) {
    tokens.push_back(Tokens(lengths[i] + 3, 10 + i));
    dense.push_back(AllLogits(*model, Dense(*model).get(), tokens[i], 5));
    states.push_back(MakePagedState(pools, /*batched=*/true));
    model->Forward({{tokens[i].narrow(0, 0, lengths[i]), states[i].get(), 0}});
  }
  for (int64_t step = 0; step < 3; ++step) {
    std::vector<Chunk> chunks;
    for (size_t i = 0; i < lengths.size(); ++i) {
      const int64_t position = lengths[i] + step;
      chunks.push_back(
          {tokens[i].narrow(0, position, 1), states[i].get(), position});
    }
    const at::Tensor logits = model->Forward(chunks);
    for (size_t i = 0; i < lengths.size(); ++i) {
      EXPECT_THAT(logits[i],
                  RelativeErrorBelow(dense[i][lengths[i] + step], 1e-5));
    }
  }
}

// Keeps nothing away but hides keys by a bias.
class MaskedState : public AttentionState {
 public:
  MaskedState(const ModelConfig& config, int64_t sink, int64_t recent)
      : sink_(sink), recent_(recent) {
    for (int64_t l = 0; l < config.num_layers; ++l) {
      caches_.push_back(
          MakeContiguousCache(MakeCacheOptions(config, at::kCPU, at::kDouble)));
    }
  }

  at::Tensor Attend(const AttentionInput& input) override {
    LayerCache& cache = *caches_[input.layer];
    cache.Append(input.rope->Apply(input.k, input.position), input.v);
    const int64_t queries = input.q.size(1), keys = cache.kept();
    at::Tensor bias = at::full({1, queries, keys}, -INFINITY, at::kDouble);
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t p = input.position + i;
      for (int64_t j = 0; j <= p; ++j) {
        if (j < sink_ || j > p - recent_) bias[0][i][j] = 0;
      }
    }
    return BiasedAttention(input.rope->Apply(input.q, input.position),
                           cache.Keys(), cache.Values(), bias);
  }

  int64_t Bytes() const override { return 0; }

 private:
  int64_t sink_, recent_;
  std::vector<std::unique_ptr<LayerCache>> caches_;
};

TEST(ModelTest, WindowIsMaskedDense) {
  const auto model = SmallModel(at::kDouble);
  at::NoGradGuard no_grad;
  const at::Tensor tokens = Tokens(30, 3);
  MaskedState masked(model->config(), 3, 5);
  const at::Tensor expected = AllLogits(*model, &masked, tokens, 30);
  for (const int64_t step : {1, 4, 30}) {
    const auto window =
        MakeWindowState(model->config(), at::kCPU, at::kDouble, 3, 5);
    EXPECT_THAT(AllLogits(*model, window.get(), tokens, step),
                IsCloseTo(expected, 1e-5, 1e-5));
  }
}

TEST(ModelTest, GradientsFlowThroughAttentionAndCache) {
  const auto model = SmallModel(at::kDouble);
  const at::Tensor weight = model->weights().layers[0].qkv.dense;
  const at::Tensor tokens = Tokens(6, 2);
  for (const int64_t step : {6, 2, 1}) {
    EXPECT_TRUE(CheckGradients(
        [&](const std::vector<at::Tensor>& in) {
          ModelWeights weights = model->weights();
          weights.layers[0].qkv.dense =
              at::cat({weight.narrow(0, 0, 46), in[0],
                       weight.narrow(0, 50, 30)});  // keys and queries
          const LanguageModel changed(model->config(), weights);
          const auto state = Dense(changed);
          std::vector<at::Tensor> hidden;
          for (int64_t begin = 0; begin < 6; begin += step) {
            hidden.push_back(changed.Hidden(
                {{tokens.narrow(0, begin, step), state.get(), begin}}));
          }
          return at::cat(hidden);
        },
        {weight.narrow(0, 46, 4).clone()}))
        << "step " << step;
  }
}

TEST(ModelTest, RefusesBadInput) {
  const auto model = SmallModel(at::kFloat);
  const auto state = Dense(*model);
  const auto forward = [&](const at::Tensor& tokens, int64_t position = 0) {
    return model->Forward({{tokens, state.get(), position}});
  };
  EXPECT_THROW(forward(at::tensor({29}, at::kLong)), c10::Error);
  EXPECT_THROW(forward(at::tensor({-1}, at::kLong)), c10::Error);
  EXPECT_THROW(forward(at::zeros({0}, at::kLong)), c10::Error);
  EXPECT_THROW(forward(at::zeros({1, 2}, at::kLong)), c10::Error);
  EXPECT_THROW(forward(at::zeros({2}, at::kInt)), c10::Error);
  EXPECT_THROW(forward(at::zeros({2}, at::kLong), -1), c10::Error);
  EXPECT_THROW(model->Forward({}), c10::Error);
  EXPECT_THROW(model->Forward({{at::zeros({2}, at::kLong), nullptr, 0}}),
               c10::Error);
  ModelWeights weights = model->weights();
  weights.layers[1].down = weights.layers[1].output;
  EXPECT_THROW(LanguageModel(model->config(), weights), c10::Error);
}

// --- perplexity ---

TEST(PerplexityTest, IsTheMeanOverTokens) {
  const auto model = SmallModel(at::kDouble);
  const at::Tensor tokens = Tokens(20, 4);
  at::NoGradGuard no_grad;
  const at::Tensor log_probabilities =
      AllLogits(*model, Dense(*model).get(), tokens, 20)
          .to(at::kDouble)
          .log_softmax(-1);
  double expected = 0;
  for (int64_t i = 0; i + 1 < 20; ++i) {
    expected -=
        log_probabilities[i][tokens[i + 1].item<int64_t>()].item<double>();
  }
  for (const int64_t stride : {1, 6, 19, 100}) {
    const Likelihood result = Perplexity(
        *model, [&] { return Dense(*model); }, tokens, stride);
    EXPECT_EQ(result.predicted, 19);
    EXPECT_NEAR(result.negative_log_likelihood, expected, 1e-4);
    EXPECT_NEAR(result.perplexity() / std::exp(expected / 19), 1, 1e-5);
  }
  EXPECT_THROW(
      Perplexity(
          *model, [&] { return Dense(*model); }, tokens.narrow(0, 0, 1), 1),
      c10::Error);
}

// --- policies ---

TEST(PolicyTest, BuiltInPoliciesRun) {
  const auto model = SmallModel(at::kFloat);
  at::NoGradGuard no_grad;
  std::vector<std::string> names;
  for (const Policy* policy : AllPolicies()) {
    names.push_back(policy->name);
    const auto factory = PreparePolicy(policy->name, PolicyOptions(), *model);
    ASSERT_TRUE(factory.ok()) << factory.status();
    const auto state = (*factory)();
    const at::Tensor logits = AllLogits(*model, state.get(), Tokens(10, 1), 3);
    EXPECT_TRUE(logits.isfinite().all().item<bool>()) << policy->name;
    EXPECT_GT(state->Bytes(), 0) << policy->name;
  }
  EXPECT_THAT(names, ElementsAre("dense", "int4", "int8", "paged", "window"));
}

TEST(PolicyTest, OptionsAreChecked) {
  const auto model = SmallModel(at::kFloat);
  const auto message = [&](const std::string& name, const std::string& text) {
    const auto options = PolicyOptions::Parse(text);
    if (!options.ok()) return std::string(options.status().message());
    return std::string(
        PreparePolicy(name, *options, *model).status().message());
  };
  EXPECT_EQ(message("window", "sink=2,recent=3"), "");
  EXPECT_THAT(message("window", "sink=2,recent=0"),
              HasSubstr("recent=0: want a whole number from 1"));
  EXPECT_THAT(message("window", "sink=x"), HasSubstr("sink=x"));
  EXPECT_THAT(message("window", "size=2"),
              HasSubstr("no policy option size; known: sink, recent"));
  EXPECT_THAT(message("window", "sink"), HasSubstr("not name=value"));
  EXPECT_THAT(message("window", "sink=1,sink=2"), HasSubstr("twice"));
  EXPECT_THAT(message("none", ""), HasSubstr("no policy none; known: dense"));
  const auto options = PolicyOptions::Parse("a=0.5,b=x=y");
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(*options->Double("a", 1, 0, 1), 0.5);
  EXPECT_FALSE(options->Double("a", 1, 0, 0.4).ok());
  EXPECT_EQ(options->String("b", ""), "x=y");
  EXPECT_EQ(*options->Int("c", 7, 0, 9), 7);
}

}  // namespace
}  // namespace repro::lm
