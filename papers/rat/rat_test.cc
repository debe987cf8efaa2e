#include "papers/rat/rat.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "common/count/parameters.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/train/grid.h"
#include "kernels/chunk_attention/chunk_attention.h"
#include "kernels/gated_chunk_scan/gated_chunk_scan.h"
#include "papers/rat/recall.h"
#include "papers/rat/speed.h"

namespace repro::rat {
namespace {

RatConfig Tiny(const char* model) { return *RatConfig::Named(model, "tiny"); }

Initializer Weights(uint64_t seed, at::ScalarType dtype = at::kDouble) {
  return Initializer(MakeGenerator(seed), at::TensorOptions(dtype));
}

const char* const kModels[] = {"attention", "rnn", "rat", "attention_swa",
                               "rat_swa"};

// The dossier's example: D 1, q 1, k (1, 2, 0, 1), v (1, 3, 5, 7), g 1/2, L 2,
// no rotation, z 1; by hand k = (.5, 1.25, 0, .5), v = (.5, 1.75, 2.5, 4.75).
TEST(RatOperators, WorkedExample) {
  const auto column = [](std::vector<double> x) {
    return at::tensor(x, at::kDouble).view({1, 4, 1, 1});
  };
  const auto [k, v] =
      GatedChunkScan(column({.5, .5, .5, .5}), column({1, 2, 0, 1}),
                     column({1, 3, 5, 7}), /*chunk_size=*/2);
  EXPECT_THAT(k, IsCloseTo(column({.5, 1.25, 0, .5}), 0, 1e-12));
  EXPECT_THAT(v, IsCloseTo(column({.5, 1.75, 2.5, 4.75}), 0, 1e-12));
  const at::Tensor y = ChunkAttention(column({1, 1, 1, 1}).transpose(1, 2),
                                      k.transpose(1, 2), v.transpose(1, 2), 2);
  EXPECT_THAT(
      y, IsCloseTo(column({.5, 1.75, 1.9170251, 2.7124639}).transpose(1, 2), 0,
                   5e-8));
}

// A RAT layer token by token in plain loops, from the layer's own weights.
at::Tensor NaiveRat(const MixerLayer& layer, const RatConfig& c,
                    const at::Tensor& x) {
  std::map<std::string, at::Tensor> w;
  for (auto& [name, tensor] : layer.NamedParameters()) w[name] = tensor;
  const int64_t d = c.dim, dh = c.head_dim(), gd = c.num_groups * dh;
  const at::Tensor u =
      x / (x.pow(2).mean(-1, true) + c.norm_eps).sqrt() * w["norm.weight"];
  const at::Tensor p = at::linear(u, w["in.weight"]);
  const at::Tensor z = at::sigmoid(p.narrow(-1, 0, d));
  const at::Tensor v = p.narrow(-1, d, d);
  const at::Tensor g = at::sigmoid(p.narrow(-1, 2 * d, d) + w["gate_bias"]);
  const at::Tensor q = p.narrow(-1, 3 * d, gd),
                   k = p.narrow(-1, 3 * d + gd, gd);
  const auto rotate = [&](const at::Tensor& a, int64_t position) {
    const at::Tensor i = at::arange(dh / 2, at::kDouble);
    const at::Tensor angle =
        position * at::full({}, c.rope_base, at::kDouble).pow(-2 * i / dh);
    const at::Tensor a1 = a.narrow(-1, 0, dh / 2),
                     a2 = a.narrow(-1, dh / 2, dh / 2);
    return at::cat({a1 * angle.cos() - a2 * angle.sin(),
                    a2 * angle.cos() + a1 * angle.sin()},
                   -1);
  };
  std::vector<at::Tensor> rows;
  for (int64_t h = 0; h < c.num_heads; ++h) {
    const int64_t group = h % c.num_groups;
    std::vector<at::Tensor> ks, vs, out;
    for (int64_t t = 0; t < x.size(1); ++t) {
      const auto of_head = [&](const at::Tensor& a, int64_t n) {
        return a.select(1, t).narrow(-1, n * dh, dh);
      };
      const at::Tensor gt = of_head(g, h);
      at::Tensor kt = (1 - gt) * of_head(k, group),
                 vt = (1 - gt) * of_head(v, h);
      if (t % c.chunk_size != 0) {
        kt = kt + gt * ks.back();
        vt = vt + gt * vs.back();
      }
      ks.push_back(kt);
      vs.push_back(vt);
      const at::Tensor qt = rotate(of_head(q, group), t / c.chunk_size);
      std::vector<at::Tensor> scores, values;
      for (int64_t s = c.chunk_size - 1; s / c.chunk_size < t / c.chunk_size;
           s += c.chunk_size) {
        scores.push_back((qt * rotate(ks[s], s / c.chunk_size)).sum(-1));
        values.push_back(vs[s]);
      }
      scores.push_back((qt * rotate(kt, t / c.chunk_size)).sum(-1));
      values.push_back(vt);
      const at::Tensor weight =
          at::softmax(at::stack(scores, -1) / std::sqrt(double(dh)), -1);
      out.push_back((weight.unsqueeze(-1) * at::stack(values, 1)).sum(1));
    }
    rows.push_back(at::stack(out, 1));
  }
  return x + at::linear(z * at::cat(rows, -1), w["out.weight"]);
}

TEST(RatLayer, EqualsTheDefinitionInLoops) {
  const RatConfig config = Tiny("rat");
  const auto layer = MakeMixerLayer(Mixer::kRat, config, Weights(1));
  const at::NoGradGuard no_grad;
  for (at::Tensor& p : layer->Parameters()) p.mul_(20);  // not near zero
  for (const int64_t length : {1, 3, 4, 5, 17}) {
    const at::Tensor x = RandomNormal({2, length, config.dim}, length);
    EXPECT_THAT(
        layer->Forward(x, MakeRatPositions(config, length, at::kDouble)),
        IsCloseTo(NaiveRat(*layer, config, x), 2e-6, 2e-6))
        << length;
  }
}

// One chunk is an RNN, whatever the queries: y_t = v_t averaged.
TEST(RatLayer, OneChunkIsTheRnn) {
  RatConfig config = Tiny("rat");
  config.chunk_size = 32;
  const auto rat = MakeMixerLayer(Mixer::kRat, config, Weights(2));
  const auto rnn = MakeMixerLayer(Mixer::kRnn, config, Weights(3));
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> of_rat;
  for (auto& [name, tensor] : rat->NamedParameters()) of_rat[name] = tensor;
  // z, v, g of RAT's projection are all of the RNN's.
  for (auto& [name, tensor] : rnn->NamedParameters()) {
    tensor.copy_(name == "in.weight" ? of_rat[name].narrow(0, 0, 3 * config.dim)
                                     : of_rat[name]);
  }
  const at::Tensor x = RandomNormal({2, 30, config.dim}, 4);
  const RatPositions positions = MakeRatPositions(config, 30, at::kDouble);
  EXPECT_THAT(rat->Forward(x, positions),
              IsCloseTo(rnn->Forward(x, positions), 1e-12, 1e-12));
}

TEST(RatLayer, LocalAttentionWithAWideWindowIsAttention) {
  RatConfig config = Tiny("attention");
  config.window = 20;
  const auto full = MakeMixerLayer(Mixer::kAttention, config, Weights(5));
  const auto local = MakeMixerLayer(Mixer::kLocalAttention, config, Weights(5));
  const at::NoGradGuard no_grad;
  const at::Tensor x = RandomNormal({2, 23, config.dim}, 6) * 3;
  const RatPositions positions = MakeRatPositions(config, 23, at::kDouble);
  const at::Tensor a = full->Forward(x, positions);
  const at::Tensor b = local->Forward(x, positions);
  EXPECT_THAT(a.narrow(1, 0, 20), IsCloseTo(b.narrow(1, 0, 20), 1e-9, 1e-12));
  EXPECT_GT((a - b).select(1, 20).abs().max().item<double>(), 1e-9);
}

TEST(RatModel, DecodingEqualsTheFullRun) {
  for (const char* name : kModels) {
    const RatConfig config = Tiny(name);
    const RatModel model(config, Weights(7, at::kFloat));
    const at::NoGradGuard no_grad;
    for (at::Tensor& p : model.Parameters()) p.mul_(5);
    const at::Tensor tokens =
        at::randint(config.vocab_size, {2, 23}, MakeGenerator(8), at::kLong);
    const at::Tensor expected = model.Forward(tokens);
    // Prompts inside of a chunk, at its end, past the window.
    for (const int64_t prompt : {1, 3, 4, 8, 13}) {
      RatCache cache = model.MakeCache(2, 23);
      at::Tensor logits = model.Prefill(tokens.narrow(1, 0, prompt), &cache);
      for (int64_t t = prompt;; ++t) {
        EXPECT_THAT(logits, IsCloseTo(expected.select(1, t - 1), 2e-4, 2e-4))
            << name << ", prompt " << prompt << ", token " << t;
        if (t == 23) break;
        logits = model.Step(tokens.select(1, t), &cache);
      }
    }
  }
}

TEST(RatModel, IsCausal) {
  for (const char* name : kModels) {
    const RatModel model(Tiny(name), Weights(9));
    const at::Tensor tokens =
        at::randint(64, {1, 20}, MakeGenerator(10), at::kLong);
    const at::Tensor changed = tokens.clone();
    changed.narrow(1, 11, 9).add_(1).remainder_(64);
    const at::NoGradGuard no_grad;
    const at::Tensor a = model.Forward(tokens), b = model.Forward(changed);
    EXPECT_THAT(b.narrow(1, 0, 11), IsCloseTo(a.narrow(1, 0, 11), 0, 1e-12))
        << name;
    EXPECT_GT((a - b).narrow(1, 11, 9).abs().max().item<double>(), 1e-9)
        << name;
  }
}

TEST(RatModel, EveryParameterLearns) {
  for (const char* name : kModels) {
    const RatModel model(Tiny(name), Weights(11));
    const at::Tensor tokens =
        at::randint(64, {2, 20}, MakeGenerator(12), at::kLong);
    model.Forward(tokens).pow(2).sum().backward();
    for (const auto& [parameter, tensor] : model.NamedParameters()) {
      ASSERT_TRUE(tensor.grad().defined()) << name << " " << parameter;
      EXPECT_GT(tensor.grad().abs().max().item<double>(), 0)
          << name << " " << parameter;
    }
  }
}

TEST(RatModel, GateBiasSpansTheChunk) {
  RatConfig config = Tiny("rat");
  config.dim = 2048;
  config.num_heads = 16;
  config.chunk_size = 16;
  const auto layer = MakeMixerLayer(Mixer::kRat, config, Weights(13));
  for (const auto& [name, tensor] : layer->NamedParameters()) {
    if (name != "gate_bias") continue;
    EXPECT_GE(tensor.min().item<double>(), 0);
    EXPECT_LE(tensor.max().item<double>(), std::log(15.0));
    // The mean of U(1, 15), within 5 standard errors of 2048 draws.
    EXPECT_NEAR(tensor.exp().mean().item<double>(), 8,
                5 * 14 / std::sqrt(12.0 * 2048));
  }
}

TEST(RatConfig, ErrorsNameWhatIsWrong) {
  EXPECT_EQ(RatConfig::Named("lstm", "1.3B").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(RatConfig::Named("rat", "2B").status().code(),
            absl::StatusCode::kInvalidArgument);
  RatConfig config = Tiny("rat");
  config.num_groups = 3;
  EXPECT_THROW(RatModel(config, Weights(14)), c10::Error);
  const RatModel model(Tiny("rat"), Weights(15));
  EXPECT_THROW(model.MakeCache(0, 4), c10::Error);
  RatCache cache = model.MakeCache(1, 4);
  EXPECT_THROW(model.Prefill(at::zeros({1, 5}, at::kLong), &cache), c10::Error);
}

// What a cache holds against the closed form, which counts as the authors'
// code does: the running pair in 2 bytes, and local attention's own token.
TEST(Cache, BytesAgreeWithTheClosedForm) {
  for (const char* name : kModels) {
    const RatConfig config = Tiny(name);
    const RatModel model(config, Weights(16, at::kBFloat16));
    double expected = CacheMebibytes(config, 32) * (1 << 20);
    for (int64_t l = 0; l < config.num_layers; ++l) {
      const double pair = 2 * config.dim * 2;  // bytes
      if (config.mixer(l) == Mixer::kLocalAttention) expected -= pair;
      if (config.mixer(l) == Mixer::kRat) expected += pair;
      // The operator of the step averages keys as well.
      if (config.mixer(l) == Mixer::kRnn) expected += 1.5 * pair;
    }
    EXPECT_EQ(model.MakeCache(1, 32).NumBytes(), expected) << name;
  }
}

TEST(ScorePairs, EqualTheCount) {
  const RatConfig config = Tiny("rat");
  for (const Mixer mixer :
       {Mixer::kAttention, Mixer::kLocalAttention, Mixer::kRat}) {
    for (int64_t tokens = 0; tokens < 20; ++tokens) {
      int64_t count = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t s = 0; s <= t; ++s) {
          const int64_t l = config.chunk_size;
          count += mixer == Mixer::kAttention ||
                   (mixer == Mixer::kLocalAttention && t - s < config.window) ||
                   (mixer == Mixer::kRat &&
                    (s == t || (s % l == l - 1 && s / l < t / l)));
        }
      }
      EXPECT_EQ(ScorePairs(mixer, config, tokens), count) << tokens;
    }
  }
}

// What is measured on a GPU runs.
TEST(Speed, RunsOnTheCpu) {
  TimingOptions timing;
  timing.warmup = 0;
  timing.repetitions = 2;
  for (const Mixer mixer :
       {Mixer::kAttention, Mixer::kLocalAttention, Mixer::kRnn, Mixer::kRat}) {
    for (const char* task : {"training", "prefill", "generation"}) {
      EXPECT_GT(TimeLayer(*ParseLayerTask(task), mixer, Tiny("rat"), 2, 16,
                          c10::kCPU, 0, timing)
                    .Median(),
                0);
    }
  }
  EXPECT_FALSE(ParseLayerTask("sleep").ok());
  ThroughputOptions options;
  options.prompt_tokens = 12;
  options.new_tokens = 8;
  options.positions = 2;
  EXPECT_THROW(MeasureThroughput(Tiny("rat"), options, c10::kCPU, 0, 2),
               c10::Error);
  options.batch = 3;
  for (const char* name : kModels) {
    const Throughput result =
        MeasureThroughput(Tiny(name), options, c10::kCPU, 0, 2);
    EXPECT_EQ(result.batch, 3);
    ASSERT_EQ(result.tokens_per_second.size(), 2);
    EXPECT_GT(result.tokens_per_second[0], 0);
  }
}

TEST(Recall, TrainsAndResumes) {
  RecallTraining training;
  training.task.vocab_size = 16;
  training.task.seq_len = 16;
  training.task.num_pairs = 2;
  training.steps = 5;
  training.batch_size = 4;
  training.train_examples = 20;
  training.test_examples = 300;  // two pieces
  Grid grid;
  grid.seeds = {0, 1};
  grid.checkpoint_dir = testing::TempDir();
  const std::map<std::string, RatConfig> models = {{"rat", Tiny("rat")}};
  const auto accuracy = CompareRecall(models, training, c10::kCPU, grid);
  ASSERT_TRUE(accuracy.ok()) << accuracy.status();
  ASSERT_EQ(accuracy->at("rat").size(), 2);
  for (const double a : accuracy->at("rat")) {
    EXPECT_GE(a, 0);
    EXPECT_LT(a, 0.5);  // 5 steps: it can't know
  }
  training.train_examples = 0;  // what was trained is not trained again
  EXPECT_EQ(*CompareRecall(models, training, c10::kCPU, grid), *accuracy);
  grid.seeds = {2};
  training.task.seq_len = 7;
  EXPECT_FALSE(CompareRecall(models, training, c10::kCPU, grid).ok());
}

}  // namespace
}  // namespace repro::rat
