#include "papers/razor_attention/razor_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
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
#include "papers/razor_attention/decode.h"
#include "papers/razor_attention/head_protection.h"
#include "papers/razor_attention/head_scores.h"
#include "papers/razor_attention/released_scores.h"

namespace repro::razor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// --- Head scores ---

// By plain loops over the definition in float64.
void CheckScores(const at::Tensor& q, const at::Tensor& k, int64_t first,
                 int64_t period) {
  const int64_t heads = q.size(0), tokens = q.size(1), dim = q.size(2);
  const int64_t group = heads / k.size(0);
  const HeadScores scores = ScoreLayer(q, k, first, period);
  ASSERT_EQ(scores.echo.sizes(), at::IntArrayRef({1, heads}));
  const auto qa = q.accessor<double, 3>(), ka = k.accessor<double, 3>();
  for (int64_t h = 0; h < heads; ++h) {
    double echo = 0, induction = 0;
    for (int64_t i = 0; i < tokens; ++i) {
      std::vector<double> p(i + 1);
      double sum = 0;
      for (int64_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (int64_t d = 0; d < dim; ++d)
          dot += qa[h][i][d] * ka[h / group][j][d];
        sum += p[j] = std::exp(dot / std::sqrt(dim));
      }
      for (int64_t j = first; j < i; ++j) {
        if (i - first < period || (i - j) % period != 0) continue;
        echo += p[j] / sum;
        induction += p[j + 1] / sum;
      }
    }
    const double area = static_cast<double>(tokens * tokens);
    EXPECT_NEAR(scores.echo[0][h].item<double>(), echo / area, 1e-9);
    EXPECT_NEAR(scores.induction[0][h].item<double>(), induction / area, 1e-9);
  }
}

TEST(HeadScoresTest, EqualsPlainLoops) {
  const auto draw = [](int64_t heads, int64_t tokens, uint64_t seed) {
    return RandomNormal({heads, tokens, 8}, seed);
  };
  CheckScores(draw(2, 6, 1), draw(2, 6, 2), 0, 3);    // the worked masks
  CheckScores(draw(4, 13, 3), draw(2, 13, 4), 1, 3);  // BOS, groups
  CheckScores(draw(3, 11, 5), draw(1, 11, 6), 0, 2);  // an incomplete period
}

// Keys tell the token before, queries their own: an ideal induction head, whose
// score is 3 K / S^2; and keys and queries their own: an echo head, but for
// what it gives to itself. Long enough for several blocks of rows.
TEST(HeadScoresTest, IdealHeads) {
  constexpr int64_t kPeriod = 32, kRepeats = 100;
  constexpr int64_t kTokens = 1 + kPeriod * kRepeats;
  const at::Tensor token = at::arange(kTokens - 1).remainder(kPeriod);
  const at::Tensor own = at::cat(
      {at::zeros({1, kPeriod}), at::eye(kPeriod).index_select(0, token)});
  const at::Tensor before =
      at::cat({at::zeros({1, kPeriod}), own.narrow(0, 0, kTokens - 1)});
  const at::Tensor q = (300 * own).unsqueeze(0).expand({2, -1, -1});
  const at::Tensor k = at::cat({before.unsqueeze(0), own.unsqueeze(0)});
  const HeadScores scores = ScoreLayer(q, k, 1, kPeriod);
  const double area = static_cast<double>(kTokens) * kTokens;
  const double rows = (kRepeats - 1) * kPeriod;
  EXPECT_NEAR(scores.induction[0][0].item<double>(), rows / area, 1e-9);
  EXPECT_LT(scores.echo[0][0].item<double>(), 1e-12);
  // In repetition r + 1 itself is one of r + 1 equal keys.
  double echo = 0;
  for (int64_t r = 1; r < kRepeats; ++r) {
    echo += kPeriod * static_cast<double>(r) / static_cast<double>(r + 1);
  }
  EXPECT_NEAR(scores.echo[0][1].item<double>(), echo / area, 1e-8);
  EXPECT_LT(scores.induction[0][1].item<double>(), 1e-12);
}

TEST(HeadScoresTest, Probe) {
  Probe probe;
  probe.period = 5;
  probe.repeats = 3;
  probe.first_token = 7;
  probe.last_token = 9;
  probe.bos = 1;
  const at::Tensor tokens = MakeProbe(probe, MakeGenerator(3));
  ASSERT_EQ(tokens.size(0), 16);
  EXPECT_EQ(tokens[0].item<int64_t>(), 1);
  for (int64_t i = 1; i < 16; ++i) {
    EXPECT_GE(tokens[i].item<int64_t>(), 7);
    EXPECT_LE(tokens[i].item<int64_t>(), 9);
    if (i > 5) {
      EXPECT_TRUE(tokens[i].equal(tokens[i - 5]));
    }
  }
  EXPECT_TRUE(tokens.equal(MakeProbe(probe, MakeGenerator(3))));
  probe.period = 1;
  EXPECT_THROW(MakeProbe(probe, MakeGenerator(3)), c10::Error);
}

TEST(SelectionTest, TiesGoByPlace) {
  const at::Tensor scores =
      at::tensor(std::vector<double>{1, 3, 3, 2, 3, 0}).view({2, 3});
  EXPECT_THAT(TopPlaces(scores, 2), ElementsAre(1, 2));
  EXPECT_THAT(TopPlaces(scores, 0), IsEmpty());
  EXPECT_THROW(TopPlaces(scores, 7), c10::Error);
}

TEST(SelectionTest, BothPromotionRules) {
  HeadScores scores;
  // Two layers of four query heads over two key-value heads.
  scores.echo =
      at::tensor(std::vector<double>{0, 0, 0, 0, 0, 0, 0, 9}).view({2, 4});
  scores.induction =
      at::tensor(std::vector<double>{8, 7, 0, 6, 0, 0, 5, 0}).view({2, 4});
  // Groups by their largest: induction 8, 6, 0, 5; echo 0, 0, 0, 9.
  EXPECT_THAT(SelectRetrievalHeads(scores, 2, {0.25, 0.5}, Promotion::kKvHead),
              ElementsAre(ElementsAre(0, 1), ElementsAre(1)));
  // Query heads: 2 by echo (place 7, and 0 at a tie), 4 by induction.
  EXPECT_THAT(
      SelectRetrievalHeads(scores, 2, {0.25, 0.5}, Promotion::kQueryHead),
      ElementsAre(ElementsAre(0, 1), ElementsAre(1)));
  EXPECT_THAT(SelectRetrievalHeads(scores, 2, {0, 0.25}, Promotion::kQueryHead),
              ElementsAre(ElementsAre(0), IsEmpty()));
  // A share above 0 is at least one head, 0 is none.
  EXPECT_THAT(SelectRetrievalHeads(scores, 2, {0.01, 0}),
              ElementsAre(IsEmpty(), ElementsAre(1)));
  EXPECT_THROW(SelectRetrievalHeads(scores, 3, {}), c10::Error);
  EXPECT_THROW(SelectRetrievalHeads(scores, 2, {0.1, 1.5}), c10::Error);
}

TEST(SelectionTest, RandomHeadsAreDistinct) {
  const HeadSet heads = RandomHeads(3, 4, 12, MakeGenerator(1));
  for (const auto& layer : heads) EXPECT_THAT(layer, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(CountHeads(RandomHeads(3, 4, 5, MakeGenerator(1))), 5);
}

// --- Compression ---

TEST(BudgetTest, Windows) {
  const RazorOptions options;
  EXPECT_EQ(WindowTokens(options, 4000), 4000);
  EXPECT_EQ(KeptEntries(options, 4000), 4000);
  EXPECT_EQ(KeptEntries(options, 8192), 4005);
  EXPECT_EQ(KeptEntries(options, 100000), 20005);
  EXPECT_NEAR(KeptFraction(options, 0.15, 1 << 30), 0.32, 1e-6);
  const RazorOptions deployed = RazorOptions::Deployed();
  for (const int64_t tokens : {300, 5000}) {
    EXPECT_EQ(KeptEntries(deployed, tokens), 256);
    const at::Tensor k = RandomNormal({1, tokens, 2}, 1);
    EXPECT_EQ(Compress(k, k, deployed).k.size(1), 256);
  }
  EXPECT_EQ(KeptEntries(deployed, 256), 256);
  RazorOptions bad;
  bad.ratio = 0.5;
  EXPECT_THROW(WindowTokens(bad, 10), c10::Error);
  bad = deployed;
  bad.capacity = 5;
  EXPECT_THROW(WindowTokens(bad, 10), c10::Error);
}

// Sinks 2, window max(3, N / 5).
RazorOptions Small(Compensation compensation = Compensation::kWeighted) {
  RazorOptions options;
  options.sink = 2;
  options.least_window = 3;
  options.compensation = compensation;
  return options;
}

at::Tensor WeightedOutput(const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v) {
  const CompressedKeysValues c = Compress(k, v, Small());
  return WeightedAttention(q, c.k, c.v, Small().sink, c.dropped);
}

TEST(CompensationTest, ExactForEqualKeys) {
  at::Tensor k = RandomNormal({2, 12, 4}, 1);
  k.narrow(1, 2, 7).copy_(RandomNormal({2, 1, 4}, 2).expand({2, 7, 4}));
  const at::Tensor v = RandomNormal({2, 12, 4}, 3);
  const at::Tensor q = RandomNormal({4, 1, 4}, 4);
  EXPECT_THAT(WeightedOutput(q, k, v),
              IsCloseTo(lm::DenseAttention(q, k, v), 1e-12, 1e-12));
}

TEST(CompensationTest, CountsAsSoManyCopies) {
  const at::Tensor k = RandomNormal({1, 12, 4}, 1);
  const at::Tensor v = RandomNormal({1, 12, 4}, 2);
  const at::Tensor q = RandomNormal({1, 1, 4}, 3);
  const CompressedKeysValues c = Compress(k, v, Small());
  ASSERT_EQ(c.dropped, 7);
  EXPECT_THAT(c.k.narrow(1, 2, 1),
              IsCloseTo(k.narrow(1, 2, 7).mean(1, true), 1e-12, 1e-12));
  const auto repeat = [](const at::Tensor& x) {
    return at::cat({x, x.narrow(1, 2, 1).expand({-1, 6, -1})}, 1);
  };
  EXPECT_THAT(
      WeightedAttention(q, c.k, c.v, 2, c.dropped),
      IsCloseTo(lm::DenseAttention(q, repeat(c.k), repeat(c.v)), 1e-12, 1e-12));
}

// N_d e^(q . khat) <= sum_D e^(q . k), by Jensen's inequality.
TEST(CompensationTest, NeverMoreMassThanDropped) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const at::Tensor k = 2 * RandomNormal({12, 4}, seed);
    const at::Tensor q = 2 * RandomNormal({4}, seed + 1000);
    const double mass = (k.matmul(q)).exp().sum().item<double>();
    EXPECT_LE(12 * std::exp(k.mean(0).dot(q).item<double>()),
              mass * (1 + 1e-12));
  }
}

// Sink (k 0, v 1), dropped (1, 2) and (3, 4), recent (2, 0), query 1.
TEST(CompensationTest, ScalarExampleInClosedForm) {
  const auto row = [](std::vector<double> x) {
    return at::tensor(x, at::kDouble).view({1, -1, 1});
  };
  const at::Tensor k = row({0, 1, 3, 2}), v = row({1, 2, 4, 0}), q = row({1});
  RazorOptions options;
  options.sink = 1;
  options.least_window = 1;
  const CompressedKeysValues c = Compress(k, v, options);
  const double e2 = std::exp(2.0);
  EXPECT_NEAR(WeightedAttention(q, c.k, c.v, 1, c.dropped).item<double>(),
              (6 * e2 + 1) / (3 * e2 + 1), 1e-12);
  EXPECT_NEAR(lm::DenseAttention(q, c.k, c.v).item<double>(),
              (3 * e2 + 1) / (2 * e2 + 1), 1e-12);
}

TEST(CompensationTest, NothingIsDroppedFromShortPrompts) {
  const at::Tensor k = RandomNormal({2, 6, 4}, 1);
  const CompressedKeysValues c = Compress(k, k, Small());
  EXPECT_EQ(c.dropped, 0);
  EXPECT_THAT(c.k, IsIdenticalTo(k));
  EXPECT_THROW(WeightedAttention(k, k, k, 5, 2), c10::Error);
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
  config.max_positions = 128;
  return config;
}

class StateTest : public testing::Test {
 protected:
  static constexpr int64_t kPrompt = 24;

  StateTest()
      : config_(TinyModel()),
        rope_(config_, at::kCPU, at::kDouble),
        q_(RandomNormal({4, kPrompt + 3, 8}, 1)),
        k_(RandomNormal({2, kPrompt + 3, 8}, 2)),
        v_(RandomNormal({2, kPrompt + 3, 8}, 3)) {}

  std::unique_ptr<lm::AttentionState> Make(const HeadSet& heads,
                                           const RazorOptions& options) {
    return MakeRazorState(config_, at::kCPU, at::kDouble, heads, options);
  }

  at::Tensor Feed(lm::AttentionState* state, int64_t begin, int64_t end) {
    lm::AttentionInput input;
    input.rope = &rope_;
    input.position = begin;
    input.q = q_.narrow(1, begin, end - begin);
    input.k = k_.narrow(1, begin, end - begin);
    input.v = v_.narrow(1, begin, end - begin);
    input.layer = 1;
    state->Attend(input);  // the second layer's heads differ
    input.layer = 0;
    return state->Attend(input);
  }

  // The prompt in chunks, then the last three tokens in pieces.
  at::Tensor Run(lm::AttentionState* state, int64_t chunk, int64_t piece) {
    std::vector<at::Tensor> out;
    for (int64_t t = 0; t < kPrompt; t += chunk) {
      out.push_back(Feed(state, t, std::min(kPrompt, t + chunk)));
    }
    state->PromptDone();
    for (int64_t t = kPrompt; t < kPrompt + 3; t += piece) {
      out.push_back(Feed(state, t, std::min(kPrompt + 3, t + piece)));
    }
    return at::cat(out, 1);
  }

  lm::ModelConfig config_;
  lm::Rope rope_;
  at::Tensor q_, k_, v_;
};

TEST_F(StateTest, EqualsDenseWhereNothingIsDropped) {
  const auto dense = lm::MakeDenseState(config_, at::kCPU, at::kDouble);
  const at::Tensor expected = Run(dense.get(), kPrompt, 1);
  RazorOptions long_window = Small();
  long_window.least_window = kPrompt;
  EXPECT_THAT(Run(Make({{0, 1}, {0, 1}}, Small()).get(), kPrompt, 1),
              IsCloseTo(expected, 1e-12, 1e-12));
  EXPECT_THAT(Run(Make({{}, {0}}, long_window).get(), 7, 1),
              IsCloseTo(expected, 1e-12, 1e-12));
}

TEST_F(StateTest, HeadsThatDoNotRetrieveSeeTheCompressedPrompt) {
  const at::Tensor k = rope_.Apply(k_, 0), q = rope_.Apply(q_, 0);
  for (const Compensation compensation :
       {Compensation::kWeighted, Compensation::kPlain, Compensation::kNone}) {
    const RazorOptions options = Small(compensation);
    auto state = Make({{1}, {0, 1}}, options);
    const at::Tensor out = Run(state.get(), 10, 1);
    const at::Tensor dense = lm::DenseAttention(q, k, v_);
    // The prompt was read with dense attention; so were heads 2 and 3.
    EXPECT_THAT(out.narrow(1, 0, kPrompt),
                IsCloseTo(dense.narrow(1, 0, kPrompt), 1e-12, 1e-12));
    EXPECT_THAT(out.narrow(0, 2, 2),
                IsCloseTo(dense.narrow(0, 2, 2), 1e-12, 1e-12));
    const CompressedKeysValues c =
        Compress(k.narrow(1, 0, kPrompt), v_.narrow(1, 0, kPrompt), options);
    ASSERT_EQ(c.dropped, 24 - 2 - 4);
    for (int64_t t = kPrompt; t < kPrompt + 3; ++t) {
      const auto append = [&](const at::Tensor& kept, const at::Tensor& all) {
        return at::cat({kept.narrow(0, 0, 1), all.narrow(0, 0, 1).narrow(
                                                  1, kPrompt, t + 1 - kPrompt)},
                       1);
      };
      const at::Tensor query = q.narrow(0, 0, 2).narrow(1, t, 1);
      const at::Tensor keys = append(c.k, k), values = append(c.v, v_);
      EXPECT_THAT(
          out.narrow(0, 0, 2).narrow(1, t, 1),
          IsCloseTo(compensation == Compensation::kWeighted
                        ? WeightedAttention(query, keys, values, 2, c.dropped)
                        : lm::DenseAttention(query, keys, values),
                    1e-12, 1e-12));
    }
    // Several tokens at once see what they saw one by one.
    EXPECT_THAT(Run(Make({{1}, {0, 1}}, options).get(), kPrompt, 2),
                IsCloseTo(out, 1e-12, 1e-12));
  }
}

TEST_F(StateTest, BytesOfWhatIsKept) {
  auto state = Make({{1}, {}}, Small());
  Feed(state.get(), 0, kPrompt);
  const int64_t row = 2 * 8 * sizeof(double);
  EXPECT_EQ(state->Bytes(), 2 * 2 * 64 * row);  // caches begin with 64 places
  state->PromptDone();
  const int64_t once = state->Bytes();
  state->PromptDone();
  EXPECT_EQ(state->Bytes(), once);
  EXPECT_THROW(Make({{1}}, Small()), c10::Error);
  EXPECT_THROW(Make({{2}, {}}, Small()), c10::Error);
}

// --- ALiBi ---

// A query that meets one far key with the largest possible logit and near ones
// with the least; its own key's is 0 (W turns by 90 degrees).
double FarWeight(double gamma_squared, int64_t hidden_size, double distance,
                 double slope) {
  const double largest = static_cast<double>(hidden_size) * gamma_squared;
  const double far = std::exp(largest - slope * distance);
  double sum = far + 1;
  for (int64_t t = 1; t < distance; ++t) sum += std::exp(-largest - slope * t);
  return far / sum;
}

TEST(AlibiTest, StrictScopeHoldsAndThePublishedOneNeedNot) {
  EXPECT_EQ(AlibiSlope(1, 8), 0.5);
  EXPECT_EQ(AlibiSlope(16, 16), 1.0 / 256);
  EXPECT_THROW(AlibiSlope(0, 8), c10::Error);
  constexpr double kEpsilon = 1e-3, kSlope = 0.25;
  // gamma = (1, 1, 0, ...), hidden size 8: x can be (2, 2, 0, ...) but also
  // (sqrt 8, 0, ...), so that logits reach 8, while |gamma|^2 is 2.
  const double published = AlibiScope(1, 2, 0, kSlope, kEpsilon);
  const double strict = StrictAlibiScope(1, 8, 1, 0, kSlope, kEpsilon);
  EXPECT_GT(FarWeight(1, 8, std::ceil(published), kSlope), kEpsilon);
  EXPECT_LT(FarWeight(1, 8, std::ceil(strict), kSlope), kEpsilon);
  EXPECT_THROW(AlibiScope(1, 1, 0, 0, 0.1), c10::Error);
}

// --- Decoding by kernels ---

TEST(DecodeTest, StepEqualsAttentionOverTheParts) {
  DecodeShape shape;
  shape.num_heads = 6;
  shape.num_kv_heads = 3;
  shape.head_dim = 16;
  shape.batch = 2;
  shape.tokens = 40;
  for (const LayerKind kind :
       {LayerKind::kDense, LayerKind::kPublished, LayerKind::kDeployed}) {
    for (const int64_t full_heads : {0, 1, 3}) {
      const DecodeLayer layer(kind, shape, full_heads, Small(), at::kCPU,
                              MakeGenerator(7));
      const at::Tensor out = layer.Step();
      ASSERT_EQ(out.sizes(), at::IntArrayRef({2, 6, 16}));
      const bool split = kind != LayerKind::kDense && full_heads < 3;
      const int64_t full_queries = split ? 2 * full_heads : 6;
      for (int64_t b = 0; b < shape.batch; ++b) {
        const auto rows = [&](const at::Tensor& pages) {
          return pages[b].transpose(0, 1);
        };
        const at::Tensor q = layer.q()[b].unsqueeze(1);
        std::vector<at::Tensor> expected;
        if (full_queries > 0) {
          const PagedKeysValues& c = layer.full().cache;
          expected.push_back(lm::DenseAttention(
              q.narrow(0, 0, full_queries), rows(c.k_pages), rows(c.v_pages)));
        }
        if (split) {
          const PagedKeysValues& c = layer.rest().cache;
          const at::Tensor queries =
              q.narrow(0, full_queries, 6 - full_queries);
          at::Tensor k = rows(c.k_pages), v = rows(c.v_pages);
          EXPECT_EQ(k.size(1) + layer.compensation().k.defined(), 11);
          if (kind == LayerKind::kPublished) {
            k = at::cat({layer.compensation().k[b].unsqueeze(1), k}, 1);
            v = at::cat({layer.compensation().v[b].unsqueeze(1), v}, 1);
            expected.push_back(WeightedAttention(queries, k, v, 0, 30));
          } else {
            expected.push_back(lm::DenseAttention(queries, k, v));
          }
        }
        EXPECT_THAT(out[b].unsqueeze(1),
                    IsCloseTo(at::cat(expected), 1e-4, 1e-5));
      }
      const int64_t entries =
          split ? full_heads * 40 + (3 - full_heads) * 11 : 3 * 40;
      EXPECT_EQ(layer.Bytes(), 2 * 4 * 2 * 16 * entries);
    }
  }
}

// What the experiments measure on a GPU.
TEST(DecodeTest, TimesAndBytes) {
  DecodeShape shape;
  shape.num_heads = 2;
  shape.num_kv_heads = 2;
  shape.head_dim = 16;
  shape.tokens = 64;
  TimingOptions timing;
  timing.warmup = 0;
  timing.repetitions = 1;
  EXPECT_GT(
      TimeDecode(LayerKind::kPublished, shape, 1, Small(), at::kCPU, 1, timing)
          .Median(),
      0);
  lm::ModelConfig config = TinyModel();
  const CacheBytes bytes = MeasureCacheBytes(config, 100, {{1}, {0}}, Small(),
                                             at::kCPU, MakeGenerator(1));
  const int64_t row = 2 * 8 * sizeof(float);
  EXPECT_EQ(bytes.dense, 2 * 2 * 100 * row);
  // Of each layer one head whole, of the other 2 + 1 + 20 entries; a cache has
  // 64 places at least.
  EXPECT_EQ(bytes.compressed, 2 * (100 + 64) * row);
}

// --- Released scores ---

TEST(ReleasedScoresTest, Parses) {
  const auto table = ParseHeadTable("1\t2\n3\t4e-1\n", "f");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(
      *table,
      IsCloseTo(at::tensor(std::vector<double>{1, 2, 3, 0.4}).view({2, 2}),
                1e-15, 0));
  for (const char* bad : {"", "1\t2\n3\n", "1\tx\n", "1\tinf\n", "nan\n"}) {
    EXPECT_EQ(ParseHeadTable(bad, "f").status().code(),
              absl::StatusCode::kDataLoss)
        << bad;
  }
  EXPECT_THAT(ParseHeadTable("1\t2\n3\n", "f").status().message(),
              HasSubstr("f:2: "));
}

TEST(ReleasedScoresTest, DescribesASmallTable) {
  const at::Tensor scores =
      at::tensor(std::vector<double>{8, 0, 1, 7, 0, 0, 3, 1}).view({2, 4});
  // Groups' largest: 8, 7, 0, 3.
  const at::Tensor gates =
      at::tensor(std::vector<double>{1, 0.5, 0, 0.75}).view({2, 2});
  const HeadStatistics s = Describe(scores, gates, 0.25, 5);
  EXPECT_EQ(s.top_heads, 2);
  EXPECT_EQ(s.promoted, 2);
  EXPECT_EQ(s.promoted_share, 0.5);
  EXPECT_DOUBLE_EQ(s.kept_fraction, 0.6);
  EXPECT_DOUBLE_EQ(s.mass_of_top, 0.75);
  EXPECT_DOUBLE_EQ(s.mass_of_ten, 1);
  // numpy.corrcoef([8, 7, 0, 3], [1, .5, 0, .75])[0, 1]
  EXPECT_NEAR(s.pearson, 0.7655473, 1e-6);
  EXPECT_EQ(s.in_better_half, 1);
  EXPECT_THROW(Describe(scores, at::zeros({3, 2}), 0.25, 5), c10::Error);
}

// --- Protected heads ---

TEST(ProtectionTest, EveryPolicyOnAnUntrainedModel) {
  const testbed::Recipe recipe = testbed::SmallRecipe(96);
  const auto model = lm::RandomModel(TinyModel(recipe.vocabulary.size()),
                                     MakeGenerator(1), at::kCPU, at::kFloat);
  ProtectionOptions options;
  options.length = recipe.context;
  options.probe_period = 12;
  options.questions = 2;
  options.count = 3;
  options.batch = 2;
  const std::vector<std::string> names = ProtectionPolicies();
  const std::set<std::string> all(names.begin(), names.end());
  EXPECT_EQ(all.size(), names.size());
  const auto go = [] { return true; };
  const auto recalls = CompareProtection(*model, recipe, options, all, 5, go);
  ASSERT_TRUE(recalls.ok()) << recalls.status();
  for (const auto& [name, recall] : *recalls) {
    EXPECT_GE(recall.accuracy, 0) << name;
    EXPECT_LE(recall.accuracy, 100) << name;
    EXPECT_GT(recall.nats, 0) << name;
  }
  EXPECT_NE(recalls->at("retrieval").nats, recalls->at("all").nats);
  EXPECT_NE(recalls->at("plain").nats, recalls->at("retrieval").nats);
  // With every head whole there is nothing to choose.
  options.shares = {0.01, 1};
  const auto whole =
      CompareProtection(*model, recipe, options, {"all", "retrieval"}, 5, go);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_NEAR(whole->at("retrieval").nats, whole->at("all").nats, 1e-5);
  EXPECT_EQ(CompareProtection(*model, recipe, options, {"best"}, 5, go)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CompareProtection(*model, recipe, options, {"all"}, 5,
                              [] { return false; })
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

// --- Policy ---

TEST(PolicyTest, PreparesAndCompresses) {
  const auto model =
      lm::RandomModel(TinyModel(), MakeGenerator(1), at::kCPU, at::kFloat);
  const auto prepare = [&](const std::string& text) {
    return lm::PreparePolicy("razor", *lm::PolicyOptions::Parse(text), *model);
  };
  const at::NoGradGuard no_grad;
  const at::Tensor prompt = at::arange(40, at::kLong);
  const auto run = [&](const std::string& options) {
    const auto factory = prepare(options);
    EXPECT_TRUE(factory.ok()) << factory.status();
    const auto state = (*factory)();
    model->Forward({{prompt, state.get()}});
    state->PromptDone();
    return model->Forward({{prompt.narrow(0, 3, 1), state.get(), 40}});
  };
  const auto dense = lm::MakeDenseState(model->config(), at::kCPU, at::kFloat);
  model->Forward({{prompt, dense.get()}});
  const at::Tensor expected =
      model->Forward({{prompt.narrow(0, 3, 1), dense.get(), 40}});
  // Shorter than S0.
  EXPECT_THAT(run("probe_tokens=8"), IsCloseTo(expected, 1e-5, 1e-6));
  EXPECT_THAT(run(""), IsCloseTo(expected, 1e-5, 1e-6));
  for (const char* options :
       {"least_window=0", "least_window=0,compensation=none", "capacity=9",
        "capacity=9,rank=query_heads,echo=0"}) {
    EXPECT_FALSE(run(options).allclose(expected, 1e-6, 1e-7)) << options;
  }
  for (const char* bad :
       {"ratio=0.5", "compensation=some", "rank=heads", "capacity=4", "echo=2",
        "probe_tokens=1", "windows=3"}) {
    EXPECT_EQ(prepare(bad).status().code(), absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

}  // namespace
}  // namespace repro::razor
