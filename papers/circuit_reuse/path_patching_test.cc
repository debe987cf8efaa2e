#include "papers/circuit_reuse/path_patching.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/nn/testing.h"
#include "common/tensor/testing.h"
#include "papers/circuit_reuse/testing.h"

namespace repro::circuit_reuse {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

at::Tensor Whole(const std::vector<int64_t>& values) {
  at::Tensor out = at::full({static_cast<int64_t>(values.size())}, 0,
                            at::TensorOptions().dtype(at::kLong));
  for (size_t i = 0; i < values.size(); ++i) {
    out.select(0, static_cast<int64_t>(i)).fill_(values[i]);
  }
  return out;
}

void ExpectNear(const Importance& a, const Importance& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t l = 0; l < a.size(); ++l) {
    ASSERT_EQ(a[l].size(), b[l].size());
    for (size_t h = 0; h < a[l].size(); ++h) {
      EXPECT_NEAR(a[l][h], b[l][h], tolerance) << l << "." << h;
    }
  }
}

double LogitDifference(const at::Tensor& logits, const PatchingPrompts& of) {
  const at::Tensor last = logits.select(1, logits.size(1) - 1);
  return (last.gather(1, of.answers.unsqueeze(1)) -
          last.gather(1, of.wrong.unsqueeze(1)))
      .mean()
      .item<double>();
}

// ---- Path patching ----------------------------------------------------------

TEST(PathPatch, AgreesWithTheDefinition) {
  const TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  Randomize(model, 2);
  const PatchingPrompts prompts = DrawPrompts(config, 5, 6, 3);
  const std::vector<Receivers> all = {
      {},
      {{{1, 0}}, HookPoint::kQuery},
      {{{2, 0}, {2, 1}}, HookPoint::kValue},
      {{{1, 1}, {2, 0}}, HookPoint::kKey},
      {{{2, 1}, {1, 0}, {2, 1}}, HookPoint::kQuery},
      {{{0, 1}, {2, 1}}, HookPoint::kValue},
  };
  int64_t nonzero = 0;
  for (const Receivers& receivers : all) {
    for (const bool freeze : {false, true}) {
      for (const bool up_to_lowest : {false, true}) {
        for (const bool inside : {false, true}) {
          if (inside && receivers.heads.empty()) continue;
          PathPatchingOptions options;
          options.freeze_mlps = freeze;
          options.up_to_lowest_receiver = up_to_lowest;
          options.batch = 2;  // 2, 2 and 1 prompts
          if (inside) options.positions = Whole({3, 1, 5, 2, 4});
          const auto literal =
              PathPatchByDefinition(model, prompts, receivers, options);
          const auto quick = PathPatch(model, prompts, receivers, options);
          ASSERT_TRUE(literal.ok()) << literal.status();
          ASSERT_TRUE(quick.ok()) << quick.status();
          ExpectNear(*quick, *literal, 1e-10);
          for (const auto& of_layer : *literal) {
            for (const double value : of_layer) nonzero += value != 0;
          }
        }
      }
    }
  }
  EXPECT_GT(nonzero, 60);
}

// With MLPs frozen, the residual stream at the end changes by
// (z' - z) W_O alone; the logits follow in closed form.
TEST(PathPatch, DirectEffectInClosedForm) {
  const TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  Randomize(model, 2);
  const PatchingPrompts prompts = DrawPrompts(config, 1, 5, 3);
  std::vector<at::Tensor> z, other;
  at::Tensor x;
  const auto keep = [&](std::vector<at::Tensor>* to) {
    return [&x, to](HookPoint point, int64_t layer, const at::Tensor& value) {
      if (point == HookPoint::kZ) to->push_back(value.select(2, 4));
      if (point == HookPoint::kResidual && layer == 3) x = value.select(1, 4);
      return value;
    };
  };
  const double d1 = LogitDifference(
      model.Forward(prompts.counterfactual, keep(&other)), prompts);
  const double d0 =
      LogitDifference(model.Forward(prompts.tokens, keep(&z)), prompts);
  const at::Tensor gamma = ParameterOf(model, "norm.weight");
  const at::Tensor beta = ParameterOf(model, "norm.bias");
  PathPatchingOptions options;
  options.freeze_mlps = true;
  const auto importance = PathPatch(model, prompts, {}, options);
  ASSERT_TRUE(importance.ok()) << importance.status();
  for (int64_t l = 0; l < 3; ++l) {
    const at::Tensor output =
        ParameterOf(model, "layer" + std::to_string(l) + "_output");
    for (int64_t h = 0; h < 2; ++h) {
      const at::Tensor change = (other[l] - z[l]).select(1, h).squeeze(0);
      const at::Tensor moved =
          x.squeeze(0) + output.narrow(1, 3 * h, 3).matmul(change);
      const at::Tensor centred = moved - moved.mean();
      const at::Tensor normed =
          centred / (centred.square().mean() + 1e-5).sqrt() * gamma + beta;
      const at::Tensor logits =
          ParameterOf(model, "unembedding").matmul(normed);
      const double d = (logits[prompts.answers.item<int64_t>()] -
                        logits[prompts.wrong.item<int64_t>()])
                           .item<double>();
      EXPECT_NEAR((*importance)[l][h], (d - d0) / (d1 - d0), 1e-10);
    }
  }
}

TEST(PathPatch, OneHeadCarriesAll) {
  TransformerConfig config = SmallConfig();
  config.layers = 1;
  config.heads = 1;
  const HookedTransformer model(config, DoubleInitializer(1));
  Randomize(model, 2);
  // The last token is the same, so that only z tells the two prompts apart.
  const auto importance =
      PathPatch(model, DrawPrompts(config, 4, 5, 3), Receivers{});
  ASSERT_TRUE(importance.ok()) << importance.status();
  EXPECT_NEAR((*importance)[0][0], 1, 1e-10);
}

TEST(PathPatch, SilentHeadsAndReceiversGetNothing) {
  const TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  Randomize(model, 2);
  {
    // What the first head of layer 0 writes is not read.
    const at::NoGradGuard no_grad;
    ParameterOf(model, "layer0_output").narrow(1, 0, 3).zero_();
  }
  const PatchingPrompts prompts = DrawPrompts(config, 4, 6, 3);
  const auto direct = PathPatch(model, prompts, {});
  ASSERT_TRUE(direct.ok());
  EXPECT_NEAR((*direct)[0][0], 0, 1e-12);
  EXPECT_GT(std::abs((*direct)[0][1]), 1e-6);
  PathPatchingOptions options;
  options.up_to_lowest_receiver = false;
  const auto to_queries =
      PathPatch(model, prompts, {{{1, 0}, {2, 0}}, HookPoint::kQuery}, options);
  ASSERT_TRUE(to_queries.ok());
  EXPECT_NEAR((*to_queries)[0][0], 0, 1e-12);
  EXPECT_GT(std::abs((*to_queries)[0][1]), 1e-6);
  EXPECT_EQ((*to_queries)[1][0], 0);  // a receiver
  EXPECT_GT(std::abs((*to_queries)[1][1]), 1e-6);
  EXPECT_EQ((*to_queries)[2][0], 0);
  EXPECT_EQ((*to_queries)[2][1], 0);  // above every receiver
}

TEST(PathPatch, RefusesBadInput) {
  const TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  const PatchingPrompts good = DrawPrompts(config, 3, 5, 3);
  const auto code = [&](const PatchingPrompts& prompts,
                        const Receivers& receivers = {},
                        const PathPatchingOptions& options = {}) {
    const absl::Status quick =
        PathPatch(model, prompts, receivers, options).status();
    EXPECT_EQ(
        quick,
        PathPatchByDefinition(model, prompts, receivers, options).status());
    return quick.code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code(good), absl::StatusCode::kOk);
  EXPECT_EQ(code({}), kInvalid);
  PatchingPrompts bad = good;
  bad.tokens = bad.tokens.narrow(0, 0, 0);
  EXPECT_EQ(code(bad), kInvalid);
  bad = good;
  bad.counterfactual = bad.counterfactual.narrow(1, 0, 4);
  EXPECT_EQ(code(bad), kInvalid);
  bad = good;
  bad.answers = bad.answers.to(at::kInt);
  EXPECT_EQ(code(bad), kInvalid);
  bad = good;
  bad.wrong = bad.wrong + 11;
  EXPECT_EQ(code(bad), kInvalid);
  bad = good;
  bad.tokens = bad.tokens - 11;
  EXPECT_EQ(code(bad), kInvalid);
  EXPECT_EQ(code(good, {{{3, 0}}, HookPoint::kQuery}), kInvalid);
  EXPECT_EQ(code(good, {{{0, -1}}, HookPoint::kQuery}), kInvalid);
  EXPECT_EQ(code(good, {{{1, 0}}, HookPoint::kMlp}), kInvalid);
  PathPatchingOptions options;
  options.batch = 0;
  EXPECT_EQ(code(good, {}, options), kInvalid);
  options = {};
  options.positions = Whole({1, 2});
  EXPECT_EQ(code(good, {{{1, 0}}, HookPoint::kQuery}, options), kInvalid);
  options.positions = Whole({1, 2, 5});
  EXPECT_EQ(code(good, {{{1, 0}}, HookPoint::kQuery}, options), kInvalid);
  options.positions = Whole({1, 2, 4});
  EXPECT_EQ(code(good, {}, options), kInvalid);
  // A counterfactual that changes nothing.
  bad = good;
  bad.counterfactual = bad.tokens;
  EXPECT_EQ(code(bad), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(PathPatch(model, bad, {}).status().message()),
              HasSubstr("prompts 0 to 2"));
}

// ---- Sets of heads ----------------------------------------------------------

TEST(TopHeads, ByMagnitudeWithoutZeros) {
  const Importance importance = {{0.1, -0.5, 0}, {0.5, 0.2, 0}};
  EXPECT_THAT(TopHeads(importance, 3),
              ElementsAre(Head{0, 1}, Head{1, 0}, Head{1, 1}));
  EXPECT_EQ(TopHeads(importance, 9).size(), 4);
  EXPECT_THAT(TopHeads(importance, 0), IsEmpty());
  EXPECT_THAT(TopHeads({}, 2), IsEmpty());
}

TEST(Overlap, CountsEachHeadOnce) {
  const std::vector<Head> a = {{0, 1}, {1, 0}, {1, 1}, {0, 1}};
  const std::vector<Head> b = {{1, 1}, {2, 0}, {0, 1}};
  EXPECT_EQ(SharedHeads(a, b), 2);
  EXPECT_NEAR(*Overlap(a, b), 2.0 / 3, 1e-15);
  EXPECT_EQ(*Overlap(a, {}), 0);
  EXPECT_EQ(*Overlap(a, a), 1);
  EXPECT_FALSE(Overlap({}, {}).ok());
  // The paper's circuits have 32 heads each, 25 of them in both: 78%.
  std::vector<Head> first, second;
  for (int64_t i = 0; i < 32; ++i) {
    first.push_back({0, i});
    second.push_back({0, i + 7});
  }
  EXPECT_NEAR(*Overlap(first, second), 25.0 / 32, 1e-15);
}

TEST(ExpectedOverlap, IsTheMeanOverAllPlacings) {
  // Two heads in layer 0 and one in layer 2, against all circuits with one in
  // layer 0 and two in layer 2, of three heads a layer.
  const std::vector<Head> a = {{0, 0}, {0, 2}, {2, 1}};
  double sum = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 3; ++j) {
      for (int64_t k = 0; k < j; ++k) {
        sum += *Overlap(a, {{0, i}, {2, j}, {2, k}});
        ++count;
      }
    }
  }
  EXPECT_NEAR(*ExpectedOverlap(a, {{0, 1}, {2, 0}, {2, 2}}, 3, 3),
              sum / static_cast<double>(count), 1e-15);
  EXPECT_FALSE(ExpectedOverlap(a, {{0, 3}}, 3, 3).ok());
  EXPECT_FALSE(ExpectedOverlap({}, {}, 3, 3).ok());
}

// ---- Interventions ----------------------------------------------------------

at::Tensor AttentionOf(const HookedTransformer& model, const at::Tensor& tokens,
                       const Hook& hook, int64_t layer) {
  at::Tensor out;
  const Hook keep = [&](HookPoint point, int64_t l, const at::Tensor& value) {
    if (point == HookPoint::kAttention && l == layer) out = value;
    return value;
  };
  model.Forward(tokens, ComposeHooks({hook, keep}));
  return out.detach();
}

const Hook& Nothing() {
  static const auto* nothing = new Hook(
      [](HookPoint, int64_t, const at::Tensor& value) { return value; });
  return *nothing;
}

TEST(Interventions, ChangeTheLastRowOfTheirHeads) {
  const TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  const at::Tensor tokens = DrawTokens(config, {2, 5}, 4);
  const at::Tensor targets = at::stack({Whole({0, 3}), Whole({2, 1})});
  const at::Tensor before = AttentionOf(model, tokens, Nothing(), 1);
  const at::Tensor only =
      AttentionOf(model, tokens, AttendOnly({{1, 1}}, targets), 1);
  const at::Tensor blocked =
      AttentionOf(model, tokens, BlockAttention({{1, 1}}, targets), 1);
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t t = 0; t < 5; ++t) {
        for (int64_t s = 0; s < 5; ++s) {
          const auto at = [&](const at::Tensor& x) {
            return x[b][h][t][s].item<double>();
          };
          const bool changed = h == 1 && t == 4;
          const bool target = s == targets[b][0].item<int64_t>() ||
                              s == targets[b][1].item<int64_t>();
          EXPECT_EQ(at(only), !changed ? at(before) : target ? 0.5 : 0);
          EXPECT_EQ(at(blocked), changed && target ? 0 : at(before));
        }
      }
    }
  }
  // Where a head looks there already, nothing changes.
  const Hook once = AttendOnly({{0, 0}, {1, 1}}, targets);
  EXPECT_THAT(model.Forward(tokens, ComposeHooks({once, once})),
              IsIdenticalTo(model.Forward(tokens, once)));
  // No heads, no change.
  EXPECT_THAT(model.Forward(tokens, AttendOnly({}, targets)),
              IsIdenticalTo(model.Forward(tokens)));
}

TEST(LogitAttribution, PartsSumToTheDifference) {
  const TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  Randomize(model, 2);
  const at::Tensor tokens = DrawTokens(config, {3, 5}, 4);
  const at::Tensor answers = Whole({1, 2, 3});
  const at::Tensor others =
      at::stack({Whole({4, 5}), Whole({6, 7}), Whole({8, 9})});
  const at::Tensor parts = LogitAttribution(model, tokens, answers, others);
  EXPECT_EQ(parts.sizes(), (std::vector<int64_t>{3, 3, 2}));
  // What is no head's: embeddings, biases of the projections, MLPs.
  at::Tensor rest = model.Embed(tokens).select(1, 4), whole;
  const at::Tensor logits =
      model
          .Forward(tokens,
                   [&](HookPoint point, int64_t layer, const at::Tensor& x) {
                     if (point == HookPoint::kMlp) {
                       rest =
                           rest + x.select(1, 4) +
                           ParameterOf(model, "layer" + std::to_string(layer) +
                                                  "_output_bias");
                     } else if (point == HookPoint::kResidual) {
                       whole = x.select(1, 4);
                     }
                     return x;
                   })
          .select(1, 4);
  const at::Tensor u = ParameterOf(model, "unembedding");
  for (int64_t b = 0; b < 3; ++b) {
    const at::Tensor row = logits[b];
    const int64_t answer = b + 1, first = 4 + 2 * b, second = 5 + 2 * b;
    const at::Tensor direction = u[answer] - (u[first] + u[second]) / 2;
    const double difference =
        (row[answer] - (row[first] + row[second]) / 2).item<double>();
    const at::Tensor others_part =
        model.NormPart(rest[b], whole[b]) + ParameterOf(model, "norm.bias");
    EXPECT_NEAR(parts[b].sum().item<double>() +
                    (others_part * direction).sum().item<double>(),
                difference, 1e-10);
  }
}

TEST(AttentionTo, SumsTheTargets) {
  const TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  const at::Tensor tokens = DrawTokens(config, {2, 5}, 4);
  const at::Tensor targets = at::stack({Whole({0, 3}), Whole({2, 1})});
  const at::Tensor found = AttentionTo(model, tokens, targets);
  const at::Tensor map = AttentionOf(model, tokens, Nothing(), 2);
  EXPECT_NEAR(found[1][2][0].item<double>(),
              (map[1][0][4][2] + map[1][0][4][1]).item<double>(), 1e-14);
  const at::Tensor all =
      AttentionTo(model, tokens, targets, AttendOnly({{2, 0}}, targets));
  EXPECT_EQ(all[0][2][0].item<double>(), 1);
}

TEST(IsRight, AsksForTheMostLikelyToken) {
  const TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  const at::Tensor tokens = DrawTokens(config, {4, 5}, 4);
  const at::Tensor said = model.Forward(tokens).select(1, 4).argmax(1);
  EXPECT_TRUE(IsRight(model, tokens, said).all().item<bool>());
  EXPECT_FALSE(
      IsRight(model, tokens, (said + 1).remainder(11)).any().item<bool>());
}

}  // namespace
}  // namespace repro::circuit_reuse
