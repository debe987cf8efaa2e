#include "common/lm/control_policies.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/lm/attention.h"
#include "common/lm/dense_state.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/lm/rope.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::lm {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kHeads = 4, kKvHeads = 2, kDim = 8, kTokens = 40;

ModelConfig Config() {
  ModelConfig config;
  config.vocab_size = 11;
  config.hidden_size = kHeads * kDim;
  config.intermediate_size = 8;
  config.num_layers = 1;
  config.num_heads = kHeads;
  config.num_kv_heads = kKvHeads;
  config.head_dim = kDim;
  config.max_positions = 64;
  return config;
}

class ControlPoliciesTest : public testing::Test {
 protected:
  ControlPoliciesTest()
      : rope_(Config(), at::kCPU, at::kDouble),
        q_(Random(kHeads, 1)),
        k_(Random(kKvHeads, 2)),
        v_(Random(kKvHeads, 3)) {}

  static at::Tensor Random(int64_t heads, uint64_t seed) {
    return at::randn({heads, kTokens, kDim}, MakeGenerator(seed), at::kDouble);
  }

  // The output of all tokens, fed `chunk` at a time.
  at::Tensor Run(AttentionState* state, const at::Tensor& v, int64_t chunk) {
    std::vector<at::Tensor> out;
    for (int64_t first = 0; first < kTokens; first += chunk) {
      const int64_t count = std::min(chunk, kTokens - first);
      AttentionInput input;
      input.q = q_.narrow(1, first, count);
      input.k = k_.narrow(1, first, count);
      input.v = v.narrow(1, first, count);
      input.position = first;
      input.rope = &rope_;
      out.push_back(state->Attend(input));
    }
    return at::cat(out, 1);
  }

  std::unique_ptr<AttentionState> Exact(const SelectionOptions& options) {
    return MakeExactTopkState(Config(), at::kCPU, at::kDouble, options);
  }

  std::unique_ptr<AttentionState> RandomOne(const SelectionOptions& options,
                                            uint64_t seed = 7) {
    return MakeRandomState(Config(), at::kCPU, at::kDouble, options,
                           MakeGenerator(seed));
  }

  // Values that are 1 at one key and 0 elsewhere, in place of the head's: the
  // outputs are the weights of attention. [heads, queries, keys].
  at::Tensor Weights(
      const std::function<std::unique_ptr<AttentionState>()>& make,
      int64_t chunk) {
    std::vector<at::Tensor> out;
    for (int64_t first = 0; first < kTokens; first += kDim) {
      at::Tensor v = at::zeros({kKvHeads, kTokens, kDim}, at::kDouble);
      for (int64_t i = 0; i < kDim; ++i)
        v.select(1, first + i).select(1, i).fill_(1);
      out.push_back(Run(make().get(), v, chunk));
    }
    return at::cat(out, -1);
  }

  Rope rope_;
  at::Tensor q_, k_, v_;
};

SelectionOptions Options(int64_t budget, int64_t sink, int64_t recent) {
  SelectionOptions options;
  options.budget = budget;
  options.sink = sink;
  options.recent = recent;
  return options;
}

TEST_F(ControlPoliciesTest, EverythingInTheBudgetIsDense) {
  const auto dense = MakeDenseState(Config(), at::kCPU, at::kDouble);
  const at::Tensor expected = Run(dense.get(), v_, kTokens);
  for (const int64_t chunk : {kTokens, int64_t{7}, int64_t{1}}) {
    EXPECT_THAT(Run(Exact(Options(kTokens, 2, 3)).get(), v_, chunk),
                IsCloseTo(expected, 1e-12, 1e-12));
    EXPECT_THAT(Run(RandomOne(Options(kTokens, 2, 3)).get(), v_, chunk),
                IsCloseTo(expected, 1e-12, 1e-12));
  }
}

TEST_F(ControlPoliciesTest, NothingToChooseIsTheWindow) {
  const at::Tensor expected =
      SinkWindowAttention(rope_.Apply(q_, 0), rope_.Apply(k_, 0), v_, 3, 5);
  for (const int64_t chunk : {kTokens, int64_t{6}, int64_t{1}}) {
    EXPECT_THAT(Run(Exact(Options(8, 3, 5)).get(), v_, chunk),
                IsCloseTo(expected, 1e-10, 1e-12));
    EXPECT_THAT(Run(RandomOne(Options(8, 3, 5)).get(), v_, chunk),
                IsCloseTo(expected, 1e-10, 1e-12));
  }
}

// Sorting every row of logits by hand gives the same attention.
TEST_F(ControlPoliciesTest, ExactIsSortedLogits) {
  constexpr int64_t kBudget = 9, kSink = 1, kRecent = 2;
  const at::Tensor q = rope_.Apply(q_, 0), k = rope_.Apply(k_, 0);
  const at::Tensor got =
      Run(Exact(Options(kBudget, kSink, kRecent)).get(), v_, 8);
  for (int64_t h = 0; h < kHeads; ++h) {
    const int64_t kv = h / (kHeads / kKvHeads);
    for (int64_t t = 0; t < kTokens; ++t) {
      std::vector<double> logits;
      for (int64_t s = 0; s <= t; ++s) {
        logits.push_back((q[h][t] * k[kv][s]).sum().item<double>() /
                         std::sqrt(static_cast<double>(kDim)));
      }
      std::vector<int64_t> middle;
      std::set<int64_t> kept;
      for (int64_t s = 0; s <= t; ++s) {
        if (s < kSink || s > t - kRecent) {
          kept.insert(s);
        } else {
          middle.push_back(s);
        }
      }
      std::sort(middle.begin(), middle.end(),
                [&](int64_t a, int64_t b) { return logits[a] > logits[b]; });
      for (size_t i = 0; i < middle.size() && i < kBudget - kSink - kRecent;
           ++i) {
        kept.insert(middle[i]);
      }
      double sum = 0;
      at::Tensor expected = at::zeros({kDim}, at::kDouble);
      for (const int64_t s : kept) {
        sum += std::exp(logits[s]);
        expected += std::exp(logits[s]) * v_[kv][s];
      }
      EXPECT_THAT(got[h][t], IsCloseTo(expected / sum, 1e-9, 1e-12));
    }
  }
}

TEST_F(ControlPoliciesTest, RandomKeepsTheBudgetAndChoosesForEachHead) {
  constexpr int64_t kBudget = 10, kSink = 2, kRecent = 3;
  for (const int64_t chunk : {kTokens, int64_t{8}, int64_t{1}}) {
    const at::Tensor seen =
        Weights([&] { return RandomOne(Options(kBudget, kSink, kRecent)); },
                chunk) > 0;
    EXPECT_EQ(seen.sizes(), at::IntArrayRef({kHeads, kTokens, kTokens}));
    for (int64_t t = 0; t < kTokens; ++t) {
      const at::Tensor row = seen.select(1, t);  // [heads, keys]
      EXPECT_EQ(row.narrow(1, t + 1, kTokens - t - 1).sum().item<int64_t>(), 0);
      for (int64_t h = 0; h < kHeads; ++h) {
        EXPECT_EQ(row[h].sum().item<int64_t>(), std::min(t + 1, kBudget));
      }
      for (int64_t s = 0; s <= t; ++s) {
        if (s < kSink || s > t - kRecent) {
          EXPECT_TRUE(row.select(1, s).all().item<bool>());
        }
      }
    }
    // Heads differ, and so do queries.
    EXPECT_FALSE(seen[0].equal(seen[1]));
    EXPECT_FALSE(
        seen[0][38].narrow(0, 2, 30).equal(seen[0][39].narrow(0, 2, 30)));
  }
}

// Every key between sinks and window is as likely as any other.
TEST_F(ControlPoliciesTest, RandomIsUniform) {
  constexpr int64_t kRuns = 60;
  at::Tensor count = at::zeros({kTokens}, at::kDouble);
  for (int64_t seed = 0; seed < kRuns; ++seed) {
    count +=
        (Weights([&] { return RandomOne(Options(10, 2, 3), seed); }, kTokens)
             .select(1, kTokens - 1) > 0)
            .to(at::kDouble)
            .sum(0);
  }
  const double p = 5.0 / (kTokens - 5);
  const double n = kRuns * kHeads;
  for (int64_t s = 2; s < kTokens - 3; ++s) {
    EXPECT_NEAR(count[s].item<double>() / n, p,
                4.5 * std::sqrt(p * (1 - p) / n));
  }
}

TEST_F(ControlPoliciesTest, DensePromptIsDenseUntilItIsDone) {
  SelectionOptions options = Options(6, 1, 2);
  options.dense_prompt = true;
  const auto dense = MakeDenseState(Config(), at::kCPU, at::kDouble);
  const at::Tensor expected = Run(dense.get(), v_, kTokens);
  EXPECT_THAT(Run(Exact(options).get(), v_, 16),
              IsCloseTo(expected, 1e-12, 1e-12));
  const auto done = Exact(options);
  done->PromptDone();
  EXPECT_THAT(Run(done.get(), v_, 16),
              IsIdenticalTo(Run(Exact(Options(6, 1, 2)).get(), v_, 16)));
}

TEST_F(ControlPoliciesTest, NothingIsDropped) {
  const auto state = Exact(Options(6, 1, 2));
  Run(state.get(), v_, 16);
  EXPECT_GE(state->Bytes(), 2 * kKvHeads * kTokens * kDim * 8);
}

TEST(ControlPolicyRegistryTest, PreparesAndRefuses) {
  const auto model =
      RandomModel(Config(), MakeGenerator(1), at::kCPU, at::kFloat);
  const auto prepare = [&](const std::string& name, const std::string& text) {
    return PreparePolicy(name, *PolicyOptions::Parse(text), *model);
  };
  const auto forward = [&](const StateFactory& factory) {
    const at::NoGradGuard no_grad;
    const auto state = factory();
    return model->Forward(
        {{at::arange(64, at::kLong).remainder(11), state.get(), 0}});
  };
  const std::string options = "budget=12,sink=1,recent=2,seed=5";
  const auto random = prepare("random", options);
  ASSERT_TRUE(random.ok()) << random.status();
  const at::Tensor first = forward(*random);
  // The second sequence has other draws, and a new factory the same ones.
  EXPECT_FALSE(forward(*random).equal(first));
  EXPECT_THAT(forward(*prepare("random", options)), IsIdenticalTo(first));
  const auto exact = prepare("exact_topk", "budget=12,dense_prompt=1");
  EXPECT_FALSE(exact.ok());  // 4 + 16 are more than 12
  EXPECT_THAT(exact.status().message(), HasSubstr("budget=12"));
  EXPECT_TRUE(prepare("exact_topk", "budget=20").ok());
  EXPECT_THAT(prepare("exact_topk", "seed=1").status().message(),
              HasSubstr("seed"));
  EXPECT_THAT(prepare("random", "recent=0").status().message(),
              HasSubstr("recent=0"));
  EXPECT_THROW(
      MakeExactTopkState(Config(), at::kCPU, at::kFloat, Options(4, 3, 2)),
      c10::Error);
}

}  // namespace
}  // namespace repro::lm
