#include "papers/flowformer/flow_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <string>
#include <vector>

#include "common/nn/attention.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"

namespace repro::flowformer {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, MakeGenerator(seed), at::kDouble);
}

at::Tensor Column(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).unsqueeze(-1);
}

// Flow-Attention of one head by loops over scalars, written from the paper's
// sums rather than from tensor code. Causal: sums over j <= t.
at::Tensor ByLoops(const at::Tensor& q, const at::Tensor& k,
                   const at::Tensor& v, bool causal,
                   const FlowOptions& options) {
  const int64_t sinks = q.size(0), sources = k.size(0), dim = q.size(1);
  const auto qa = q.accessor<double, 2>(), ka = k.accessor<double, 2>(),
             va = v.accessor<double, 2>();
  const double eps = options.eps;
  const auto phi = [&](double x) {
    return options.feature_map == FeatureMap::kSigmoid
               ? 1 / (1 + std::exp(-x))
               : std::max(x, 0.0) + 1e-6;
  };
  const auto n = [&](int64_t t) { return causal ? t + 1.0 : 1.0; };
  const auto end = [&](int64_t t, int64_t all) { return causal ? t + 1 : all; };
  std::vector<double> in(sinks), out(sources), in_hat(sinks), out_hat(sources);
  const auto flow = [&](double x, double sum) {
    return (x + eps) * (sum + eps);
  };
  for (int64_t i = 0; i < sinks; ++i) {
    for (int64_t d = 0; d < dim; ++d) {
      double sum = 0;
      for (int64_t j = 0; j < end(i, sources); ++j) sum += phi(ka[j][d]);
      in[i] += flow(phi(qa[i][d]), sum);
    }
  }
  for (int64_t j = 0; j < sources; ++j) {
    for (int64_t d = 0; d < dim; ++d) {
      double sum = 0;
      for (int64_t i = 0; i < end(j, sinks); ++i) sum += phi(qa[i][d]);
      out[j] += flow(phi(ka[j][d]), sum);
    }
  }
  for (int64_t i = 0; i < sinks; ++i) {
    for (int64_t d = 0; d < dim; ++d) {
      double sum = 0;
      for (int64_t j = 0; j < end(i, sources); ++j) {
        sum += phi(ka[j][d]) * n(j) / out[j];
      }
      in_hat[i] += flow(phi(qa[i][d]), sum) / n(i);
    }
  }
  for (int64_t j = 0; j < sources; ++j) {
    for (int64_t d = 0; d < dim; ++d) {
      double sum = 0;
      for (int64_t i = 0; i < end(j, sinks); ++i) {
        sum += phi(qa[i][d]) * n(i) / in[i];
      }
      out_hat[j] += flow(phi(ka[j][d]), sum) / n(j);
    }
    if (options.clamp) {
      out_hat[j] =
          std::min(std::max(out_hat[j], -*options.clamp), *options.clamp);
    }
  }
  std::vector<double> competition(sources, 1);
  if (options.competition == Competition::kSources) {
    for (int64_t j = 0; j < sources; ++j) {
      double sum = 0;
      for (int64_t o = 0; o < end(j, sources); ++o) sum += std::exp(out_hat[o]);
      competition[j] =
          std::exp(out_hat[j]) / sum * (causal ? n(j) : 1.0 * sources);
    }
  }
  at::Tensor result = at::zeros({sinks, v.size(1)}, at::kDouble);
  auto ra = result.accessor<double, 2>();
  for (int64_t i = 0; i < sinks; ++i) {
    const double ratio = causal ? 1 : 1.0 * sinks / sources;
    const double allocation =
        options.allocation ? 1 / (1 + std::exp(-in_hat[i] * ratio)) : 1;
    for (int64_t j = 0; j < end(i, sources); ++j) {
      double capacity = 0;
      for (int64_t d = 0; d < dim; ++d) {
        capacity += phi(qa[i][d]) * phi(ka[j][d]);
      }
      for (int64_t m = 0; m < v.size(1); ++m) {
        ra[i][m] += allocation * capacity / in[i] * competition[j] * va[j][m];
      }
    }
  }
  return result;
}

std::vector<FlowOptions> Variants() {
  FlowOptions no_competition, no_allocation, relu;
  no_competition.competition = Competition::kNone;
  no_allocation.allocation = false;
  relu.feature_map = FeatureMap::kShiftedRelu;
  return {FlowOptions::Core(),
          FlowOptions::Language(),
          FlowOptions::Reinforcement(),
          FlowOptions::TimeSeries(),
          no_competition,
          no_allocation,
          relu};
}

TEST(FlowAttentionTest, WorkedExample) {
  const double ln3 = std::log(3.0);
  const at::Tensor q = Column({0, ln3}), k = Column({0, ln3, -ln3}),
                   v = Column({1, 2, 4});
  EXPECT_THAT(FlowAttention(q, k, v),
              IsCloseTo(Column({1.46765342, 1.63473951}), 0, 5e-9));
  FlowOptions exact;
  exact.eps = 0;
  EXPECT_THAT(FlowAttention(q, k, v, exact),
              IsCloseTo(Column({1.46765779, 1.63474363}), 0, 5e-9));
  // By hand, eps = 0: I = (3/4, 9/8), O = (5/8, 15/16, 5/16).
  const Flows flows = ComputeFlows(at::sigmoid(q), at::sigmoid(k), exact);
  EXPECT_THAT(flows.incoming,
              IsCloseTo(at::tensor({0.75, 1.125}, at::kDouble), 0, 1e-15));
  EXPECT_THAT(
      flows.outgoing,
      IsCloseTo(at::tensor({0.625, 0.9375, 0.3125}, at::kDouble), 0, 1e-15));
}

// Inputs sin(n f + p), v doubled. Constants printed by the reference's
// Flow_Attention.py at commit 61f5d8c in float64, PyTorch 2.11, with
// query, key and value projections 2 I and the output projection I:
//   o.flatten()[::13], o.abs().sum()
TEST(FlowAttentionTest, EqualsTheReferenceCode) {
  const auto fill = [](int64_t length, double frequency, double phase) {
    const at::Tensor x =
        at::arange(2 * length * 6, at::kDouble).mul(frequency).add(phase).sin();
    return SplitHeads(2 * x.view({2, length, 6}), 2);
  };
  const auto check = [&](const at::Tensor& out,
                         const std::vector<double>& elements, double sum) {
    const at::Tensor flat = MergeHeads(out).flatten();
    EXPECT_THAT(flat.slice(0, 0, flat.numel(), 13),
                IsCloseTo(at::tensor(elements, at::kDouble), 0, 1e-11));
    EXPECT_NEAR(flat.abs().sum().item<double>(), sum, 1e-11);
  };
  const at::Tensor q = fill(5, 0.37, 0);
  check(FlowAttention(q, fill(7, 0.61, 1), fill(7, 0.83, 2)),
        {0.547424372336, 0.220486869661, -0.121658706328, 0.136044162979,
         0.465313598462},
        18.146906879451585);
  check(CausalFlowAttention(q, fill(5, 0.61, 1), fill(5, 0.83, 2)),
        {1.329496061354, 0.368907995314, 0.006807268581, -0.597516279094,
         0.04855098747},
        28.478871835552177);
}

TEST(FlowAttentionTest, EqualsLoops) {
  for (const FlowOptions& options : Variants()) {
    const at::Tensor q = 2 * Random({5, 3}, 1), k = 2 * Random({7, 3}, 2),
                     v = Random({7, 4}, 3);
    EXPECT_THAT(FlowAttention(q, k, v, options),
                IsCloseTo(ByLoops(q, k, v, false, options), 1e-11, 1e-12));
    const at::Tensor kc = k.narrow(0, 0, 5), vc = v.narrow(0, 0, 5);
    const at::Tensor expected = ByLoops(q, kc, vc, true, options);
    EXPECT_THAT(CausalFlowAttention(q, kc, vc, options),
                IsCloseTo(expected, 1e-11, 1e-12));
    EXPECT_THAT(CausalFlowAttentionCumulative(q, kc, vc, options),
                IsCloseTo(expected, 1e-11, 1e-12));
  }
}

TEST(FlowAttentionTest, ConservesFlow) {
  const at::Tensor q = at::sigmoid(Random({2, 3, 6, 4}, 4)),
                   k = at::sigmoid(Random({2, 3, 9, 4}, 5));
  FlowOptions exact;
  exact.eps = 0;
  const Flows flows = ComputeFlows(q, k, exact);
  const at::Tensor each = at::ones({2, 3}, at::kDouble);
  EXPECT_THAT(flows.conserved_incoming.sum(-1), IsCloseTo(9 * each, 1e-13, 0));
  EXPECT_THAT(flows.conserved_outgoing.sum(-1), IsCloseTo(6 * each, 1e-13, 0));
}

TEST(FlowAttentionTest, ZeroLogitsAverageTheValues) {
  const at::Tensor zero = at::zeros({1, 2, 8, 3}, at::kDouble),
                   v = Random({1, 2, 8, 5}, 6);
  FlowOptions exact;
  exact.eps = 0;
  const double allocation = 1 / (1 + std::exp(-1.0));  // 0.7310586
  EXPECT_THAT(
      FlowAttention(zero, zero, v, exact),
      IsCloseTo((allocation * v.mean(-2, true)).expand_as(v), 1e-13, 1e-14));
  const at::Tensor running =
      v.cumsum(-2) / at::arange(1, 9, at::kDouble).unsqueeze(-1);
  EXPECT_THAT(CausalFlowAttention(zero, zero, v, exact, 3),
              IsCloseTo(allocation * running, 1e-13, 1e-14));
}

TEST(FlowAttentionTest, SourcesHaveNoOrder) {
  const at::Tensor q = Random({2, 6, 4}, 7), k = Random({2, 9, 4}, 8),
                   v = Random({2, 9, 3}, 9);
  const at::Tensor order = at::randperm(9, MakeGenerator(10), at::kLong);
  EXPECT_THAT(
      FlowAttention(q, k.index_select(1, order), v.index_select(1, order)),
      IsCloseTo(FlowAttention(q, k, v), 1e-12, 1e-13));
}

// out = a (Q / I) . sum_j K_j c_j, times the constant: independent of v's axis.
TEST(FlowAttentionTest, ConstantValuesScale) {
  const at::Tensor q = Random({6, 4}, 11), k = Random({9, 4}, 12);
  const at::Tensor one = FlowAttention(q, k, at::ones({9, 1}, at::kDouble));
  EXPECT_THAT(FlowAttention(q, k, -3.5 * at::ones({9, 2}, at::kDouble)),
              IsCloseTo(-3.5 * one.expand({6, 2}), 1e-12, 0));
  FlowOptions plain;
  plain.competition = Competition::kNone;
  plain.allocation = false;
  plain.eps = 0;
  // Without both mechanisms it is plain linear attention, whose rows sum to 1.
  EXPECT_THAT(FlowAttention(q, k, at::ones({9, 1}, at::kDouble), plain),
              IsCloseTo(at::ones({6, 1}, at::kDouble), 1e-13, 0));
}

TEST(FlowAttentionTest, TheFutureDoesNotMatter) {
  for (const FlowOptions& options : Variants()) {
    const at::Tensor q = Random({2, 11, 4}, 13), k = Random({2, 11, 4}, 14),
                     v = Random({2, 11, 3}, 15);
    const auto change = [](const at::Tensor& x) {
      return at::cat({x.narrow(1, 0, 6), x.narrow(1, 6, 5) * 3 + 1}, 1);
    };
    const at::Tensor before = CausalFlowAttention(q, k, v, options, 4);
    const at::Tensor after =
        CausalFlowAttention(change(q), change(k), change(v), options, 4);
    EXPECT_THAT(after.narrow(1, 0, 6),
                IsCloseTo(before.narrow(1, 0, 6), 1e-12, 1e-13));
    EXPECT_THAT(after.narrow(1, 6, 5),
                Not(IsCloseTo(before.narrow(1, 6, 5), 1e-3, 1e-3)));
  }
}

TEST(FlowAttentionTest, ChunksEqualPrefixSums) {
  for (int64_t length : {1, 2, 63, 64, 65, 130}) {
    const at::Tensor q = Random({2, 3, length, 5}, 16),
                     k = Random({2, 3, length, 5}, 17),
                     v = Random({2, 3, length, 4}, 18);
    const at::Tensor expected = CausalFlowAttentionCumulative(q, k, v);
    for (int64_t chunk : {1, 7, 64, 1000}) {
      EXPECT_THAT(CausalFlowAttention(q, k, v, {}, chunk),
                  IsCloseTo(expected, 1e-12, 1e-13))
          << "length " << length << ", chunk " << chunk;
    }
  }
}

TEST(FlowAttentionTest, Gradients) {
  const std::vector<at::Tensor> inputs = {
      Random({2, 5, 3}, 19), Random({2, 5, 3}, 20), Random({2, 5, 2}, 21)};
  // Without a clamp, whose corners have no derivative.
  const FlowOptions options = FlowOptions::TimeSeries();
  EXPECT_TRUE(CheckGradients(
      [&](const auto& x) { return FlowAttention(x[0], x[1], x[2], options); },
      inputs));
  EXPECT_TRUE(CheckGradients(
      [&](const auto& x) {
        return CausalFlowAttention(x[0], x[1], x[2], options, 2);
      },
      inputs));
  EXPECT_TRUE(CheckGradients(
      [&](const auto& x) {
        return CausalFlowAttentionCumulative(x[0], x[1], x[2], options);
      },
      inputs));
}

TEST(FlowAttentionTest, ClampBoundsTheCompetition) {
  // One source takes nearly all flow: O^ is about 10 before the clamp.
  const at::Tensor q = Column(std::vector<double>(10, 0.0)),
                   k = Column({20, -20, -20}), v = Column({1, 0, 0});
  FlowOptions options;
  options.allocation = false;
  const auto first = [&](std::optional<double> clamp) {
    options.clamp = clamp;
    return FlowAttention(q, k, v, options)[0][0].item<double>();
  };
  const auto expected = [](double bound) {
    return 3 * std::exp(bound) / (std::exp(bound) + 2);
  };
  EXPECT_NEAR(first(1), expected(1), 1e-4);
  EXPECT_NEAR(first(5), expected(5), 1e-4);
  EXPECT_NEAR(first(std::nullopt), expected(10), 1e-4);
}

// As coded for LRA: softmax over the two heads at each source, times S.
TEST(FlowAttentionTest, CompetitionOverHeadsAsCoded) {
  const at::Tensor q = Random({1, 2, 4, 3}, 22), k = Random({1, 2, 4, 3}, 23),
                   v = Random({1, 2, 4, 3}, 24);
  const FlowOptions heads = FlowOptions::LongRangeArena();
  FlowOptions none = heads;
  none.competition = Competition::kNone;
  const auto map = [](const at::Tensor& x) { return x.relu() + 1e-6; };
  const at::Tensor o = ComputeFlows(map(q), map(k), heads).conserved_outgoing;
  const at::Tensor share =
      at::sigmoid(o.select(1, 0) - o.select(1, 1));  // softmax of two
  const at::Tensor weight =
      4 * at::cat({share, 1 - share}, 0).view({1, 2, 4, 1});
  EXPECT_THAT(FlowAttention(q, k, v, heads),
              IsCloseTo(FlowAttention(q, k, v * weight, none), 1e-12, 1e-13));
  EXPECT_THAT(FlowAttention(q, k, v, heads),
              Not(IsCloseTo(FlowAttention(q, k, v, none), 1e-2, 1e-2)));
}

TEST(FlowAttentionTest, ReducedPrecisionSumsInFloat) {
  const at::Tensor q = Random({1, 4096, 8}, 25), k = Random({1, 4096, 8}, 26),
                   v = Random({1, 4096, 4}, 27);
  const auto low = [](const at::Tensor& x) { return x.to(at::kBFloat16); };
  const auto wide = [&](const at::Tensor& x) { return low(x).to(at::kDouble); };
  const at::Tensor out = FlowAttention(low(q), low(k), low(v));
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  // One rounding of the result, 2^-9; bfloat16 sums would be off by far more.
  EXPECT_THAT(
      out, RelativeErrorBelow(FlowAttention(wide(q), wide(k), wide(v)), 0.004));
  EXPECT_THAT(CausalFlowAttention(low(q), low(k), low(v)),
              RelativeErrorBelow(CausalFlowAttention(wide(q), wide(k), wide(v)),
                                 0.004));
}

TEST(FlowAttentionTest, NamesTheWrongShape) {
  const at::Tensor x = Random({2, 5, 3}, 28);
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "no error";
  };
  EXPECT_THAT(message([&] {
                FlowAttention(x, Random({2, 5, 4}, 1), x);
              }),
              HasSubstr("k: expected [2] + [source_len > 0, head_dim=3]"));
  EXPECT_THAT(message([&] {
                FlowAttention(x, x, Random({2, 4, 3}, 1));
              }),
              HasSubstr("v: expected [2] + [source_len=5, value_dim]"));
  EXPECT_THAT(message([&] { FlowAttention(x, x, x.to(at::kInt)); }),
              HasSubstr("v"));
  EXPECT_THAT(message([&] {
                FlowAttention(Random({2, 0, 3}, 1), x, x);
              }),
              HasSubstr("q: expected [..., length > 0, head_dim]"));
  EXPECT_THAT(
      message([&] {
        CausalFlowAttention(x, Random({2, 4, 3}, 1), Random({2, 4, 3}, 2));
      }),
      HasSubstr("source_len=5"));
  EXPECT_THAT(message([&] { CausalFlowAttention(x, x, x, {}, 0); }),
              HasSubstr("chunk_size"));
  EXPECT_THAT(message([&] {
                CausalFlowAttention(x, x, x, FlowOptions::LongRangeArena());
              }),
              HasSubstr("heads"));
}

}  // namespace
}  // namespace repro::flowformer
