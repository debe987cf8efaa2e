#include "papers/softplus_attention/softplus_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/count/memory.h"
#include "common/count/parameters.h"
#include "common/nn/attention.h"
#include "common/nn/initializer.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/testbed/data.h"
#include "common/testbed/small_recipe.h"
#include "common/train/grid.h"
#include "common/train/language_model.h"
#include "papers/softplus_attention/gpt.h"
#include "papers/softplus_attention/studies.h"

namespace repro::softplus_attention {
namespace {

constexpr int64_t kTrainingLength = 7;

AttentionForm Form(const std::string& name) {
  return *AttentionForm::Named(name, kTrainingLength);
}

// All but softmax_window, which SoftplusAttention does not compute.
const char* const kForms[] = {"softmax",
                              "sigmoid",
                              "relu",
                              "lssa",
                              "lssar1",
                              "lssar3",
                              "lssar2.5",
                              "lssar15",
                              "softmax_reweighted",
                              "sigmoid_reweighted",
                              "relu_reweighted",
                              "lssar15_fixed_scale"};

struct Inputs {
  at::Tensor q, k, v;
};

Inputs RandomInputs(int64_t target, int64_t source, int64_t head_dim,
                    uint64_t seed, int64_t batch = 2, int64_t heads = 3) {
  return {RandomNormal({batch, heads, target, head_dim}, seed),
          RandomNormal({batch, heads, source, head_dim}, seed + 1),
          RandomNormal({batch, heads, source, 5}, seed + 2)};
}

// The weights of one row, number by number in double, from the formulas of the
// paper: nothing is shared with the library.
std::vector<double> RowByFormula(const std::string& name,
                                 const std::vector<double>& q,
                                 const std::vector<std::vector<double>>& keys) {
  const auto d = static_cast<double>(q.size());
  const auto i = static_cast<double>(keys.size());
  const double n = kTrainingLength;
  const bool dot = name == "softmax" || name == "softmax_reweighted" ||
                   name == "sigmoid" || name == "relu";
  std::vector<double> a;
  for (const std::vector<double>& key : keys) {
    double product = 0, q2 = 0, k2 = 0;
    for (size_t c = 0; c < q.size(); ++c) {
      product += q[c] * key[c];
      q2 += q[c] * q[c];
      k2 += key[c] * key[c];
    }
    const double z = dot ? product / std::sqrt(d)
                         : std::log(d) *
                               std::log(name == "lssar15_fixed_scale" ? n : i) *
                               product / std::sqrt(q2 * k2);
    if (name == "softmax" || name == "softmax_reweighted") {
      a.push_back(std::exp(z));
    } else if (name == "sigmoid") {
      a.push_back(1 / (1 + n * std::exp(-z)));
    } else if (name == "sigmoid_reweighted") {
      a.push_back(1 / (1 + std::exp(-z)));
    } else if (name == "relu" || name == "relu_reweighted") {
      a.push_back(z > 0 ? z : 0);
    } else {
      a.push_back(std::log(1 + std::exp(z)));
    }
  }
  const auto normalize = [&a] {
    double sum = 0;
    for (const double x : a) sum += x;
    for (double& x : a) x = sum > 0 ? x / sum : 0;
  };
  if (name == "sigmoid") return a;
  if (name == "relu") {
    for (double& x : a) x /= i;
    return a;
  }
  normalize();
  if (name == "softmax" || name == "lssa") return a;
  const double power = name == "lssar1"     ? 1
                       : name == "lssar3"   ? 3
                       : name == "lssar2.5" ? 2.5
                                            : 15;
  for (double& x : a) {
    const double t = x * i - (i > 3 ? 1 : 0);
    x = t > 0 ? std::pow(t, power) : 0;
  }
  normalize();
  return a;
}

at::Tensor ByFormula(const std::string& name, const Inputs& in) {
  const int64_t target = in.q.size(2), source = in.k.size(2);
  const auto values = [](const at::Tensor& x) {
    const at::Tensor row = x.contiguous();
    return std::vector<double>(row.const_data_ptr<double>(),
                               row.const_data_ptr<double>() + row.numel());
  };
  at::Tensor out = at::zeros({in.q.size(0), in.q.size(1), target, in.v.size(3)},
                             at::kDouble);
  for (int64_t b = 0; b < in.q.size(0); ++b) {
    for (int64_t h = 0; h < in.q.size(1); ++h) {
      for (int64_t r = 0; r < target; ++r) {
        std::vector<std::vector<double>> keys;
        for (int64_t j = 0; j <= source - target + r; ++j) {
          keys.push_back(values(in.k[b][h][j]));
        }
        const std::vector<double> weights =
            RowByFormula(name, values(in.q[b][h][r]), keys);
        for (size_t j = 0; j < weights.size(); ++j) {
          out[b][h][r] += weights[j] * in.v[b][h][static_cast<int64_t>(j)];
        }
      }
    }
  }
  return out;
}

// A row of given cosines with the last of its keys, in four dimensions.
at::Tensor WeightsOfCosines(const std::vector<double>& cosines,
                            const std::string& form) {
  std::vector<at::Tensor> keys;
  for (const double c : cosines) {
    keys.push_back(
        at::tensor({c, 0.0, std::sqrt(1 - c * c), 0.0}, at::kDouble));
  }
  return AttentionWeights(
             at::tensor({2.0, 0.0, 0.0, 0.0}, at::kDouble).view({1, 1, 1, 4}),
             at::stack(keys).view({1, 1, -1, 4}), Form(form))
      .flatten();
}

// The dossier's four rows, d = 4.
TEST(SoftplusAttention, WorkedExample) {
  const auto row = [](std::vector<double> x) {
    return at::tensor(x, at::kDouble);
  };
  const std::vector<double> last = {1, 0, .5, -.5};
  EXPECT_THAT(WeightsOfCosines({1}, "lssa"), IsCloseTo(row({1}), 0, 1e-15));
  EXPECT_THAT(WeightsOfCosines({.5, 1}, "lssa"),
              IsCloseTo(row({.428147, .571853}), 0, 6e-7));
  EXPECT_THAT(WeightsOfCosines(last, "lssa"),
              IsCloseTo(row({.472075, .158968, .294667, .074290}), 0, 6e-7));
  EXPECT_THAT(WeightsOfCosines(last, "lssar1"),
              IsCloseTo(row({.832548, 0, .167452, 0}), 0, 6e-7));
  EXPECT_THAT(WeightsOfCosines({0, .5, 1}, "lssar3"),
              IsCloseTo(row({.048099, .216637, .735263}), 0, 6e-7));
  EXPECT_THAT(WeightsOfCosines(last, "lssar15"),
              IsCloseTo(row({1, 0, 0, 0}), 0, 6e-7));
}

TEST(SoftplusAttention, IsTheFormulas) {
  for (const char* name : kForms) {
    for (const int64_t target : {11, 4, 1}) {
      const Inputs in = RandomInputs(target, 11, 6, 10 * target);
      const at::Tensor expected = ByFormula(name, in);
      for (const AttentionTiles& tiles :
           {AttentionTiles{}, AttentionTiles{1, 1}, AttentionTiles{4, 3},
            AttentionTiles{3, 5}}) {
        SCOPED_TRACE(testing::Message()
                     << name << ", target " << target << ", tiles of "
                     << tiles.queries << " x " << tiles.keys);
        EXPECT_THAT(SoftplusAttention(in.q, in.k, in.v, Form(name), tiles),
                    IsCloseTo(expected, 1e-10, 1e-12));
      }
      EXPECT_THAT(MaterializedAttention(in.q, in.k, in.v, Form(name)),
                  IsCloseTo(expected, 1e-10, 1e-12))
          << name;
    }
  }
}

TEST(SoftplusAttention, Float32AndBfloat16AreNearFloat64) {
  const Inputs in = RandomInputs(150, 150, 16, 3);
  for (const char* name : kForms) {
    SCOPED_TRACE(name);
    const auto run = [&](at::ScalarType type) {
      return SoftplusAttention(in.q.to(type), in.k.to(type), in.v.to(type),
                               Form(name), {64, 48});
    };
    EXPECT_THAT(run(at::kFloat), RelativeErrorBelow(run(at::kDouble), 1e-4));
    const Inputs rounded = {in.q.to(at::kBFloat16).to(at::kDouble),
                            in.k.to(at::kBFloat16).to(at::kDouble),
                            in.v.to(at::kBFloat16).to(at::kDouble)};
    const at::Tensor out = run(at::kBFloat16);
    EXPECT_EQ(out.scalar_type(), at::kBFloat16);
    EXPECT_THAT(
        out, RelativeErrorBelow(
                 SoftplusAttention(rounded.q, rounded.k, rounded.v, Form(name)),
                 4e-3));
  }
}

TEST(SoftplusAttention, SoftmaxIsSoftmax) {
  const Inputs in = RandomInputs(20, 20, 8, 5);
  const at::Tensor expected =
      SoftmaxAttention(in.q, in.k, in.v, /*causal=*/true);
  EXPECT_THAT(SoftplusAttention(in.q, in.k, in.v, Form("softmax"), {6, 7}),
              IsCloseTo(expected, 1e-12, 1e-13));
  EXPECT_THAT(Attend(in.q, in.k, in.v, Form("softmax")),
              IsCloseTo(expected, 1e-12, 1e-13));
  // Large scores, whose exponentials overflow.
  EXPECT_THAT(
      SoftplusAttention(1e3 * in.q, in.k, in.v, Form("softmax"), {6, 7}),
      IsCloseTo(SoftmaxAttention(1e3 * in.q, in.k, in.v, true), 1e-9, 1e-12));
  const at::Tensor window = Attend(in.q, in.k, in.v, Form("softmax_window"));
  EXPECT_THAT(window.narrow(2, 0, kTrainingLength),
              IsCloseTo(expected.narrow(2, 0, kTrainingLength), 1e-12, 1e-13));
  const auto last = [](const at::Tensor& x) {
    return x.narrow(2, 20 - kTrainingLength, kTrainingLength);
  };
  EXPECT_THAT(
      window.narrow(2, 19, 1),
      IsCloseTo(SoftmaxAttention(last(in.q), last(in.k), last(in.v), true)
                    .narrow(2, kTrainingLength - 1, 1),
                1e-12, 1e-13));
}

TEST(SoftplusAttention, Identities) {
  const Inputs in = RandomInputs(40, 40, 8, 7);
  const at::Tensor one = at::ones({2, 3, 40}, at::kDouble);
  const at::Tensor i = at::arange(1, 41, at::kDouble).view({40, 1});
  const at::Tensor a = AttentionWeights(in.q, in.k, Form("lssa"));
  EXPECT_THAT(a.sum(-1), IsCloseTo(one, 0, 1e-13));
  // sum_j (A_ij i - 1) = 0 over the visible keys.
  const at::Tensor visible = at::ones({40, 40}, at::kDouble).tril();
  EXPECT_THAT(((a * i - 1) * visible).sum(-1), IsCloseTo(0 * one, 0, 1e-11));
  // A row sees one key at least that is above the uniform weight.
  EXPECT_THAT(AttentionWeights(in.q, in.k, Form("lssar15")).sum(-1),
              IsCloseTo(one, 0, 1e-13));
  EXPECT_THAT(a.narrow(2, 0, 1).narrow(3, 0, 1),
              IsCloseTo(one.narrow(2, 0, 1).unsqueeze(-1), 0, 1e-15));
  for (const char* name : {"lssa", "lssar3", "lssar15"}) {
    const at::Tensor out = SoftplusAttention(in.q, in.k, in.v, Form(name));
    EXPECT_THAT(SoftplusAttention(1e-3 * in.q, 1e4 * in.k, in.v, Form(name)),
                IsCloseTo(out, 1e-9, 1e-11));
  }
  // A large power leaves the largest score alone.
  const at::Tensor cosines =
      at::matmul(in.q, (in.k / in.k.norm(2, {-1}, true)).transpose(-2, -1))
          .masked_fill(visible.eq(0), -1e9);
  const at::Tensor sharp = AttentionWeights(in.q, in.k, Form("lssar100000"));
  EXPECT_TRUE(sharp.argmax(-1).equal(cosines.argmax(-1)));
  EXPECT_THAT(sharp.amax(-1).median(),
              IsCloseTo(at::ones({}, at::kDouble), 0, 1e-6));
}

TEST(SoftplusAttention, IsCausalAndCountsFromTheFirstToken) {
  const Inputs in = RandomInputs(30, 30, 8, 9);
  for (const char* name : kForms) {
    SCOPED_TRACE(name);
    const at::Tensor out = SoftplusAttention(in.q, in.k, in.v, Form(name));
    at::Tensor k = in.k.clone(), v = in.v.clone();
    k.narrow(2, 20, 10).normal_();
    v.narrow(2, 20, 10).fill_(1e6);
    EXPECT_THAT(
        SoftplusAttention(in.q, k, v, Form(name), {7, 8}).narrow(2, 0, 20),
        IsCloseTo(out.narrow(2, 0, 20), 1e-9, 1e-12));
    // The second chunk of a prompt, and one step of decoding.
    for (const int64_t rows : {10, 1}) {
      EXPECT_THAT(SoftplusAttention(in.q.narrow(2, 30 - rows, rows), in.k, in.v,
                                    Form(name), {4, 8}),
                  IsCloseTo(out.narrow(2, 30 - rows, rows), 1e-9, 1e-12));
    }
  }
}

TEST(SoftplusAttention, EqualScoresLeaveNothing) {
  const AttentionForm form = Form("lssar15");
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    const Inputs in = RandomInputs(300, 300, 8, 11, 1, 1);
    at::Tensor q = in.q.to(type), k = in.k.to(type), v = in.v.to(type);
    const at::Tensor first =
        v.narrow(2, 0, 3).cumsum(2) / at::arange(1, 4, type).view({3, 1});
    const auto check = [&](at::Tensor queries, at::Tensor keys) {
      queries.requires_grad_();
      keys.requires_grad_();
      const at::Tensor out =
          SoftplusAttention(queries, keys, v, form, {128, 100});
      const at::NoGradGuard no_grad;
      EXPECT_THAT(out.narrow(2, 0, 3), IsCloseTo(first, 1e-5, 1e-6));
      EXPECT_EQ(out.narrow(2, 3, 297).abs().max().item<double>(), 0);
      {
        const at::AutoGradMode enable(true);
        out.sum().backward();
      }
      EXPECT_TRUE(queries.grad().isfinite().all().item<bool>());
      EXPECT_TRUE(keys.grad().isfinite().all().item<bool>());
    };
    check(at::zeros_like(q), k.clone());
    check(q.clone(), k.narrow(2, 0, 1).expand({1, 1, 300, 8}).clone());
  }
  // ReLU can leave a row without any score above 0.
  EXPECT_THAT(WeightsOfCosines({-1, -.5, -.2, -1, -.1}, "relu_reweighted"),
              IsCloseTo(at::zeros({5}, at::kDouble), 0, 0));
}

// One key with cosine 1, 1,023 with -0.2: its weight is 922 times the uniform
// one, whose 15th power is no float32.
TEST(SoftplusAttention, DoesNotOverflow) {
  at::Tensor q = at::zeros({1, 1, 1, 64}), k = at::zeros({1, 1, 1024, 64});
  q.select(3, 0).fill_(1);
  k.select(3, 0).fill_(-.2);
  k.select(3, 1).fill_(std::sqrt(1 - .04));
  k[0][0][5].zero_()[0] = 1;
  const at::Tensor v = RandomNormal({1, 1, 1024, 3}, 1, at::kFloat);
  const AttentionForm form = Form("lssar15");
  EXPECT_TRUE(MaterializedAttention(q, k, v, form).isnan().all().item<bool>());
  EXPECT_THAT(SoftplusAttention(q, k, v, form),
              IsCloseTo(v.narrow(2, 5, 1), 1e-6, 1e-6));
  EXPECT_THAT(MaterializedAttention(q.to(at::kDouble), k.to(at::kDouble),
                                    v.to(at::kDouble), form),
              IsCloseTo(v.narrow(2, 5, 1), 1e-6, 1e-6));
}

TEST(SoftplusAttention, GradientsAreDifferenceQuotients) {
  for (const char* name : kForms) {
    for (const AttentionTiles& tiles :
         {AttentionTiles{}, AttentionTiles{3, 2}}) {
      SCOPED_TRACE(testing::Message() << name << ", tiles " << tiles.keys);
      const Inputs in = RandomInputs(7, 8, 4, 21, 1, 1);
      EXPECT_TRUE(CheckGradients(
          [&](const std::vector<at::Tensor>& x) {
            return SoftplusAttention(x[0], x[1], x[2], Form(name), tiles);
          },
          {in.q, in.k, in.v}, /*step=*/1e-6, /*rtol=*/1e-5, /*atol=*/1e-6));
    }
  }
}

TEST(SoftplusAttention, GradientsAreThoseOfTheFormulas) {
  for (const char* name : kForms) {
    SCOPED_TRACE(name);
    const Inputs in = RandomInputs(50, 60, 8, 23);
    const at::Tensor weight = RandomNormal({2, 3, 50, 5}, 1);
    std::vector<at::Tensor> gradients[2];
    for (const int tiled : {0, 1}) {
      std::vector<at::Tensor> x;
      for (const at::Tensor& t : {in.q, in.k, in.v}) {
        x.push_back(t.clone().requires_grad_());
      }
      const at::Tensor out =
          tiled ? SoftplusAttention(x[0], x[1], x[2], Form(name), {16, 11})
                : MaterializedAttention(x[0], x[1], x[2], Form(name));
      (out * weight).sum().backward();
      for (const at::Tensor& t : x) gradients[tiled].push_back(t.grad());
    }
    for (int i = 0; i < 3; ++i) {
      EXPECT_THAT(gradients[1][i], RelativeErrorBelow(gradients[0][i], 1e-9));
    }
  }
}

TEST(SoftplusAttention, HoldsTilesAlone) {
  constexpr int64_t kLength = 2048;
  const Inputs in = RandomInputs(kLength, kLength, 16, 1, 1, 1);
  const at::Tensor q = in.q.to(at::kFloat), k = in.k.to(at::kFloat),
                   v = in.v.to(at::kFloat);
  const at::NoGradGuard no_grad;
  const auto peak = [&](const AttentionTiles& tiles) {
    return PeakBytes(
        c10::kCPU, [&] { SoftplusAttention(q, k, v, Form("lssar15"), tiles); });
  };
  const int64_t all = kLength * kLength * 4;
  EXPECT_LT(peak({64, 128}), all / 8);
  EXPECT_GT(peak({kLength, kLength}), all);
}

TEST(SoftplusAttention, RefusesWrongInput) {
  const Inputs in = RandomInputs(5, 5, 4, 1);
  const AttentionForm form = Form("lssar15");
  const auto run = [&](const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v, const AttentionForm& f,
                       const AttentionTiles& tiles = {}) {
    SoftplusAttention(q, k, v, f, tiles);
  };
  EXPECT_THROW(run(in.q[0], in.k, in.v, form), c10::Error);
  EXPECT_THROW(run(in.q, in.k.narrow(3, 0, 3), in.v, form), c10::Error);
  EXPECT_THROW(run(in.q, in.k, in.v.narrow(2, 0, 4), form), c10::Error);
  EXPECT_THROW(run(in.q, in.k.narrow(2, 0, 4), in.v.narrow(2, 0, 4), form),
               c10::Error);
  EXPECT_THROW(run(in.q, in.k.to(at::kFloat), in.v, form), c10::Error);
  EXPECT_THROW(run(in.q.to(at::kLong), in.k, in.v, form), c10::Error);
  EXPECT_THROW(run(in.q, in.k, in.v, form, {0, 4}), c10::Error);
  EXPECT_THROW(run(in.q, in.k, in.v, form, {4, 0}), c10::Error);
  EXPECT_THROW(run(in.q, in.k, in.v, Form("softmax_window")), c10::Error);
  AttentionForm wrong = form;
  wrong.power = .5;
  EXPECT_THROW(run(in.q, in.k, in.v, wrong), c10::Error);
  wrong = Form("sigmoid");
  wrong.power = 3;
  EXPECT_THROW(run(in.q, in.k, in.v, wrong), c10::Error);
  EXPECT_EQ(SoftplusAttention(in.q.narrow(2, 0, 0), in.k, in.v, form).sizes(),
            at::IntArrayRef({2, 3, 0, 5}));
  EXPECT_EQ(SoftplusAttention(in.q.narrow(2, 0, 0), in.k.narrow(2, 0, 0),
                              in.v.narrow(2, 0, 0), form)
                .numel(),
            0);
  for (const char* name :
       {"", "softplus", "lssar", "lssar0.5", "lssarx", "lssarinf", "lssar-3"}) {
    EXPECT_EQ(AttentionForm::Named(name, 8).status().code(),
              absl::StatusCode::kNotFound)
        << name;
  }
  EXPECT_EQ(AttentionForm::Named("lssa", 0).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(LargestBase, IsTheRootOfTheLargestNumber) {
  EXPECT_NEAR(LargestBase(15, at::kFloat),
              std::pow(std::numeric_limits<float>::max(), 1. / 15), 1e-4);
  EXPECT_NEAR(LargestBase(15, at::kHalf), std::pow(65504, 1. / 15), 1e-4);
  EXPECT_NEAR(LargestBase(3, at::kDouble),
              std::cbrt(std::numeric_limits<double>::max()), 1e90);
  EXPECT_THROW(LargestBase(0.5, at::kFloat), c10::Error);
}

// ------------------------------------------------------------------- the model

GptConfig TinyGpt() {
  GptConfig config;
  config.vocab_size = 11;
  config.dim = 16;
  config.num_layers = 2;
  config.num_heads = 2;
  return config;
}

Initializer Weights(uint64_t seed, at::ScalarType type = at::kDouble) {
  return Initializer(MakeGenerator(seed), at::TensorOptions(type));
}

at::Tensor Tokens(int64_t batch, int64_t length, uint64_t seed = 1) {
  return at::randint(11, {batch, length}, MakeGenerator(seed), at::kLong);
}

TEST(Gpt, HasGpt2sParameters) {
  // Embedding; two norms, qkv, output, up and down of each layer; a norm.
  const int64_t d = 16;
  EXPECT_EQ(CountParameters(Gpt(TinyGpt(), Initializer::Meta())),
            11 * d +
                2 * (4 * d + 3 * d * (d + 1) + d * (d + 1) + 4 * d * (d + 1) +
                     d * (4 * d + 1)) +
                2 * d);
}

TEST(Gpt, EveryParameterLearnsInEveryForm) {
  for (const char* name : kForms) {
    Gpt model(TinyGpt(), Weights(3));
    model.set_form(Form(name));
    const at::Tensor tokens = Tokens(2, 12);
    EXPECT_EQ(model.Forward(tokens).sizes(), at::IntArrayRef({2, 12, 11}));
    model.Forward(tokens).pow(2).sum().backward();
    for (const auto& [path, parameter] : model.NamedParameters()) {
      ASSERT_TRUE(parameter.grad().defined()) << name << " " << path;
      EXPECT_GT(parameter.grad().abs().max().item<double>(), 0)
          << name << " " << path;
    }
  }
}

TEST(Gpt, IsCausalAndKnowsOrder) {
  Gpt model(TinyGpt(), Weights(4));
  model.set_form(Form("lssar15"));
  at::Tensor tokens = Tokens(1, 12);
  const at::NoGradGuard no_grad;
  const at::Tensor logits = model.Forward(tokens);
  at::Tensor other = tokens.clone();
  other[0][9] = (tokens[0][9] + 1) % 11;
  EXPECT_THAT(model.Forward(other).narrow(1, 0, 9),
              IsCloseTo(logits.narrow(1, 0, 9), 1e-10, 1e-12));
  // Of softmax, as re-weighting may see neither of the two that change places.
  model.set_form(Form("softmax"));
  const at::Tensor distinct = at::arange(11, at::kLong).view({1, 11});
  const at::Tensor swapped =
      at::cat({distinct.narrow(1, 1, 1), distinct.narrow(1, 0, 1),
               distinct.narrow(1, 2, 9)},
              1);
  EXPECT_GT((model.Forward(swapped) - model.Forward(distinct))[0][10]
                .abs()
                .max()
                .item<double>(),
            1e-9);
  EXPECT_THROW(model.Forward(tokens[0]), c10::Error);
  GptConfig wrong = TinyGpt();
  wrong.num_heads = 3;
  EXPECT_THROW(Gpt(wrong, Initializer::Meta()), c10::Error);
  wrong.num_heads = 0;
  EXPECT_THROW(Gpt(wrong, Initializer::Meta()), c10::Error);
}

TEST(Gpt, StartsSymmetricIfAsked) {
  Gpt model(TinyGpt(), Weights(5));
  model.StartSymmetric();
  std::map<std::string, at::Tensor> w;
  for (const auto& [name, tensor] : model.NamedParameters()) w[name] = tensor;
  const at::Tensor qkv = w.at("layer1.qkv.weight");
  EXPECT_THAT(qkv.narrow(0, 16, 16), IsIdenticalTo(qkv.narrow(0, 0, 16)));
  EXPECT_THAT(w.at("layer1.output.weight"),
              IsCloseTo(qkv.narrow(0, 32, 16).t(), 0, 0));
}

// Without queries all weights of a row of LSSA are 1 / i, of which keys at
// least D before row i have (i - D) / i.
TEST(FarWeight, OfUniformAttention) {
  Gpt model(TinyGpt(), Weights(6));
  {
    const at::NoGradGuard no_grad;
    for (auto& [name, tensor] : model.NamedParameters()) {
      if (name.find("qkv") != std::string::npos) at::Tensor(tensor).zero_();
    }
  }
  double expected = 0;
  for (int i = 6; i <= 20; ++i) expected += 100. / 15 * (i - 5) / i;
  EXPECT_NEAR(FarWeight(model, Tokens(3, 20), 5), expected, 1e-4);
  model.set_form(Form("lssar15"));  // equal scores: no attention at all
  EXPECT_EQ(FarWeight(model, Tokens(1, 20), 5), 0);
  EXPECT_THROW(FarWeight(model, Tokens(1, 5), 5), c10::Error);
}

// ------------------------------------------------------------------ the
// studies

std::string Folder(const char* name) { return testing::TempDir() + "/" + name; }

ExtrapolationStudy TinyStudy() {
  ExtrapolationStudy study;
  study.model = TinyGpt();
  study.training.steps = 60;
  study.training.batch_size = 4;
  study.training.seq_len = 8;
  study.training.adam.rate = 1e-2;
  study.training.warmup_steps = 6;
  study.lengths = {8, 16, 32};
  study.valid_tokens = 64;
  study.look_length = 20;
  return study;
}

Grid GridIn(const std::string& folder) {
  Grid grid;
  grid.seeds = {1};
  grid.checkpoint_dir = folder;
  return grid;
}

TEST(Extrapolation, LearnsACycleAndGoesOnAfterAStop) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "abcde";
  const TextDataset data = MakeTextDataset(text, TextUnit::kCharacter);
  const std::vector<std::string> forms = {"lssa", "softmax"};
  const std::string whole = Folder("whole"), parts = Folder("parts");
  for (const std::string& folder : {whole, parts}) {
    ASSERT_EQ(std::system(("mkdir -p " + folder).c_str()), 0);
  }
  const auto outcomes =
      MeasureExtrapolation(data, TinyStudy(), forms, GridIn(whole));
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  const ExtrapolationOutcome& lssa = outcomes->at("lssa")[0];
  const ExtrapolationOutcome& softmax = outcomes->at("softmax")[0];
  EXPECT_EQ(lssa.losses.size(), 2);
  EXPECT_EQ(lssa.losses.count("lssar15"), 1);
  EXPECT_EQ(softmax.losses.count("softmax_window"), 1);
  // Five characters in turn: their own frequency would give ln 5 = 1.61.
  EXPECT_LT(lssa.losses.at("lssa")[0], 0.5);
  EXPECT_LT(softmax.losses.at("softmax")[0], 0.5);
  // A window of the training length is all there is at that length.
  EXPECT_NEAR(softmax.losses.at("softmax_window")[0],
              softmax.losses.at("softmax")[0], 1e-5);
  EXPECT_GE(lssa.far_weight, 0);
  EXPECT_LE(lssa.far_weight, 100);

  Grid grid = GridIn(parts);
  int asked = 0;
  grid.cancelled = [&] { return ++asked > 70; };  // in the second training
  EXPECT_EQ(
      MeasureExtrapolation(data, TinyStudy(), forms, grid).status().code(),
      absl::StatusCode::kCancelled);
  const auto resumed =
      MeasureExtrapolation(data, TinyStudy(), forms, GridIn(parts));
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  for (const std::string& form : forms) {
    EXPECT_EQ(resumed->at(form)[0].losses, outcomes->at(form)[0].losses);
    EXPECT_EQ(resumed->at(form)[0].far_weight,
              outcomes->at(form)[0].far_weight);
  }
}

TEST(Extrapolation, RefusesWhatCannotBe) {
  const TextDataset data =
      MakeTextDataset(std::string(1000, 'a') + "b", TextUnit::kCharacter);
  const auto code = [&](const ExtrapolationStudy& study,
                        const std::vector<std::string>& forms) {
    return MeasureExtrapolation(data, study, forms, GridIn(testing::TempDir()))
        .status()
        .code();
  };
  EXPECT_EQ(code(TinyStudy(), {"softmax", "nonsense"}),
            absl::StatusCode::kNotFound);
  ExtrapolationStudy study = TinyStudy();
  study.lengths = {64};  // with 64 tokens to read, more than the 100 there are
  EXPECT_EQ(code(study, {"lssa"}), absl::StatusCode::kInvalidArgument);
  study = TinyStudy();
  study.training.seq_len = 0;
  EXPECT_EQ(code(study, {"lssa"}), absl::StatusCode::kInvalidArgument);
  study = TinyStudy();
  study.training.warmup_steps = 60;
  EXPECT_EQ(code(study, {"lssa"}), absl::StatusCode::kInvalidArgument);
  study = TinyStudy();
  study.look_length = 8;
  EXPECT_EQ(code(study, {"lssa"}), absl::StatusCode::kInvalidArgument);
}

PasskeyStudy TinyPasskeys() {
  PasskeyStudy study;
  study.model = TinyGpt();
  study.recipe = testbed::SmallRecipe(/*context=*/32);
  study.recipe.symmetric_start = true;
  study.recipe.warmup_steps = 1;
  testbed::Stage& stage = study.recipe.stages[0];
  stage.steps = 3;
  stage.tokens = 64;
  stage.lengths = {24, 32};
  stage.mixture = {{"passkey", 0.7}, {"text", 0.3}};
  stage.max_question_share = 0.5;
  study.lengths = {32, 48};
  study.sequences = 12;
  return study;
}

TEST(Passkeys, ReadersThatKnowAndThatDoNot) {
  const PasskeyStudy study = TinyPasskeys();
  const int64_t vocabulary = study.recipe.vocabulary.size();
  const auto accuracy = [&](int64_t copied) {
    // Looks the first `copied` tokens of the answer up behind the needle.
    return PasskeyAccuracy(
        [&](const at::Tensor& tokens) {
          at::Tensor logits =
              at::zeros({tokens.size(0), tokens.size(1), vocabulary});
          for (int64_t b = 0; b < tokens.size(0); ++b) {
            const auto place = [&](int64_t symbol) {
              return tokens[b].eq(symbol).nonzero()[0][0].item<int64_t>();
            };
            const int64_t needle = place(testbed::Vocabulary::kNeedle);
            const int64_t ask = place(testbed::Vocabulary::kAsk);
            for (int64_t w = 0; w < copied; ++w) {
              logits[b][ask + 1 + w][tokens[b][needle + 2 + w]] = 1;
            }
          }
          return logits;
        },
        study, 48, /*seed=*/5, c10::kCPU);
  };
  EXPECT_EQ(accuracy(2), 100);
  EXPECT_EQ(accuracy(1), 0);
  EXPECT_EQ(accuracy(0), 0);
}

TEST(Passkeys, TrainsAndAsks) {
  const std::string folder = Folder("passkeys");
  ASSERT_EQ(std::system(("mkdir -p " + folder).c_str()), 0);
  const auto outcomes = MeasurePasskeys(TinyPasskeys(), {"softmax", "lssar15"},
                                        c10::kCPU, GridIn(folder));
  ASSERT_TRUE(outcomes.ok()) << outcomes.status();
  for (const char* form : {"softmax", "lssar15"}) {
    ASSERT_EQ(outcomes->at(form).size(), 1);
    ASSERT_EQ(outcomes->at(form)[0].size(), 2);
    for (const double accuracy : outcomes->at(form)[0]) {
      EXPECT_GE(accuracy, 0);
      EXPECT_LE(accuracy, 100);
    }
  }
  PasskeyStudy wrong = TinyPasskeys();
  wrong.lengths = {6};
  EXPECT_EQ(MeasurePasskeys(wrong, {"lssa"}, c10::kCPU, GridIn(folder))
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  wrong = TinyPasskeys();
  wrong.sequences = 0;
  EXPECT_EQ(MeasurePasskeys(wrong, {"lssa"}, c10::kCPU, GridIn(folder))
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MeasurePasskeys(TinyPasskeys(), {"none"}, c10::kCPU, GridIn(folder))
                .status()
                .code(),
            absl::StatusCode::kNotFound);
}

TEST(Operator, IsTimedAndWeighed) {
  OperatorShape shape;
  shape.heads = 2;
  shape.length = 256;
  TimingOptions timing;
  timing.warmup = 0;
  timing.repetitions = 1;
  for (const char* name :
       {"lssar15", "lssar15_materialized", "flash", "math"}) {
    for (const bool backward : {false, true}) {
      const auto time =
          TimeOperator(name, shape, backward, c10::kCPU, 1, timing);
      ASSERT_TRUE(time.ok()) << name << ": " << time.status();
      EXPECT_GT(*time, 0);
    }
  }
  const auto bytes = OperatorBytes("lssar15_materialized", shape, c10::kCPU);
  ASSERT_TRUE(bytes.ok());
  EXPECT_GE(*bytes, 3. * 2 * 256 * 256 * 4);
  EXPECT_EQ(
      TimeOperator("cudnn", shape, false, c10::kCPU, 1, timing).status().code(),
      absl::StatusCode::kNotFound);
  EXPECT_EQ(OperatorBytes("x_materialized", shape, c10::kCPU).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace repro::softplus_attention
