#include "papers/circuit_reuse/hooked_transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/checkpoint/safetensors.h"
#include "common/count/parameters.h"
#include "common/data/io.h"
#include "common/nn/testing.h"
#include "common/tensor/testing.h"
#include "papers/circuit_reuse/testing.h"

namespace repro::circuit_reuse {
namespace {

using ::testing::HasSubstr;
using Matrix = std::vector<std::vector<double>>;

// ---- The same network in plain loops ----------------------------------------

Matrix ToMatrix(const at::Tensor& of) {
  const at::Tensor x = of.dim() == 1 ? of.unsqueeze(0) : of;
  Matrix out(x.size(0), std::vector<double>(x.size(1)));
  for (int64_t i = 0; i < x.size(0); ++i) {
    for (int64_t j = 0; j < x.size(1); ++j) {
      out[i][j] = x.select(0, i).select(0, j).item<double>();
    }
  }
  return out;
}

std::vector<double> Norm(const std::vector<double>& x, const Module& model,
                         const std::string& name) {
  const Matrix weight = ToMatrix(ParameterOf(model, name + ".weight"));
  const Matrix bias = ToMatrix(ParameterOf(model, name + ".bias"));
  double mean = 0, variance = 0;
  const double n = static_cast<double>(x.size());
  for (const double value : x) mean += value / n;
  for (const double value : x) variance += (value - mean) * (value - mean) / n;
  std::vector<double> out;
  for (size_t i = 0; i < x.size(); ++i) {
    out.push_back((x[i] - mean) / std::sqrt(variance + 1e-5) * weight[0][i] +
                  bias[0][i]);
  }
  return out;
}

std::vector<double> Affine(const std::vector<double>& x, const Module& model,
                           const std::string& weight, const std::string& bias) {
  const Matrix w = ToMatrix(ParameterOf(model, weight));
  std::vector<double> out = bias.empty()
                                ? std::vector<double>(w.size(), 0)
                                : ToMatrix(ParameterOf(model, bias))[0];
  for (size_t i = 0; i < w.size(); ++i) {
    for (size_t j = 0; j < x.size(); ++j) out[i] += w[i][j] * x[j];
  }
  return out;
}

void Add(std::vector<double>* x, const std::vector<double>& y) {
  for (size_t i = 0; i < y.size(); ++i) (*x)[i] += y[i];
}

// Logits of each position.
Matrix Loops(const HookedTransformer& model,
             const std::vector<int64_t>& tokens) {
  const TransformerConfig& config = model.config();
  const Matrix embedding = ToMatrix(ParameterOf(model, "embedding"));
  const Matrix positions = ToMatrix(ParameterOf(model, "positions"));
  Matrix x;
  for (size_t t = 0; t < tokens.size(); ++t) {
    x.push_back(embedding[tokens[t]]);
    Add(&x.back(), positions[t]);
  }
  const int64_t dim = config.dim, head_dim = config.head_dim();
  for (int64_t l = 0; l < config.layers; ++l) {
    const std::string name = "layer" + std::to_string(l) + "_";
    Matrix qkv;
    for (const std::vector<double>& row : x) {
      qkv.push_back(Affine(Norm(row, model, name + "attention_norm"), model,
                           name + "qkv", name + "qkv_bias"));
    }
    for (size_t t = 0; t < x.size(); ++t) {
      std::vector<double> z(dim, 0);
      for (int64_t h = 0; h < config.heads; ++h) {
        std::vector<double> weights;
        double sum = 0;
        for (size_t s = 0; s <= t; ++s) {
          double score = 0;
          for (int64_t k = 0; k < head_dim; ++k) {
            score += qkv[t][h * head_dim + k] * qkv[s][dim + h * head_dim + k];
          }
          weights.push_back(
              std::exp(score / std::sqrt(static_cast<double>(head_dim))));
          sum += weights.back();
        }
        for (size_t s = 0; s <= t; ++s) {
          for (int64_t k = 0; k < head_dim; ++k) {
            z[h * head_dim + k] +=
                weights[s] / sum * qkv[s][2 * dim + h * head_dim + k];
          }
        }
      }
      Add(&x[t], Affine(z, model, name + "output", name + "output_bias"));
    }
    for (std::vector<double>& row : x) {
      std::vector<double> up =
          Affine(Norm(row, model, name + "mlp_norm"), model, name + "up.weight",
                 name + "up.bias");
      for (double& u : up) {
        // gelu, tanh form: sqrt(2 / pi)
        u = 0.5 * u *
            (1 + std::tanh(0.7978845608028654 * (u + 0.044715 * u * u * u)));
      }
      Add(&row, Affine(up, model, name + "down.weight", name + "down.bias"));
    }
  }
  Matrix logits;
  for (const std::vector<double>& row : x) {
    logits.push_back(Affine(Norm(row, model, "norm"), model,
                            config.tied ? "embedding" : "unembedding", ""));
  }
  return logits;
}

TEST(HookedTransformer, AgreesWithLoops) {
  for (const bool tied : {false, true}) {
    TransformerConfig config = SmallConfig();
    config.tied = tied;
    const HookedTransformer model(config, DoubleInitializer(1));
    Randomize(model, 2);
    const at::Tensor logits =
        model.Forward(DrawTokens(config, {2, 5}, 4)).detach();
    for (int64_t b = 0; b < 2; ++b) {
      const at::Tensor row = DrawTokens(config, {2, 5}, 4).select(0, b);
      const std::vector<int64_t> tokens(row.const_data_ptr<int64_t>(),
                                        row.const_data_ptr<int64_t>() + 5);
      const Matrix expected = Loops(model, tokens);
      const Matrix got = ToMatrix(logits.select(0, b));
      for (size_t t = 0; t < expected.size(); ++t) {
        for (size_t v = 0; v < expected[t].size(); ++v) {
          EXPECT_NEAR(got[t][v], expected[t][v], 1e-10) << t << " " << v;
        }
      }
    }
  }
}

TEST(HookedTransformer, HooksSeeAndReplace) {
  const TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  const at::Tensor tokens = DrawTokens(config, {2, 5}, 4);
  std::map<HookPoint, int64_t> calls;
  const at::Tensor same = model.Forward(tokens, [&](HookPoint point, int64_t,
                                                    const at::Tensor& value) {
    ++calls[point];
    const std::vector<int64_t> head = {2, config.heads, 5, config.head_dim()};
    const std::vector<int64_t> stream = {2, 5, config.dim};
    const std::vector<int64_t> map = {2, config.heads, 5, 5};
    const bool is_stream =
        point == HookPoint::kResidual || point == HookPoint::kMlp;
    EXPECT_EQ(value.sizes(), point == HookPoint::kAttention ? map
                             : is_stream                    ? stream
                                                            : head);
    return value;
  });
  EXPECT_THAT(same, IsIdenticalTo(model.Forward(tokens)));
  EXPECT_EQ(calls[HookPoint::kResidual], config.layers + 1);
  EXPECT_EQ(calls[HookPoint::kAttention], config.layers);
  // A residual of zeros at the end leaves the norm's bias alone.
  const at::Tensor none = model.Forward(
      tokens, [&](HookPoint point, int64_t layer, const at::Tensor& value) {
        return point == HookPoint::kResidual && layer == config.layers
                   ? at::zeros(value.sizes(), value.options())
                   : value;
      });
  EXPECT_EQ(none.abs().max().item<double>(), 0);
  // The second of two hooks gets what the first one returned.
  const Hook twice = [](HookPoint point, int64_t, const at::Tensor& value) {
    return point == HookPoint::kMlp ? value * 2 : value;
  };
  const Hook four = [](HookPoint point, int64_t, const at::Tensor& value) {
    return point == HookPoint::kMlp ? value * 4 : value;
  };
  EXPECT_THAT(model.Forward(tokens, ComposeHooks({twice, twice})),
              IsCloseTo(model.Forward(tokens, four), 0, 1e-12));
  EXPECT_THROW(model.Forward(tokens,
                             [](HookPoint, int64_t, const at::Tensor& value) {
                               return value.select(0, 0);
                             }),
               c10::Error);
}

TEST(HookedTransformer, RefusesBadInput) {
  TransformerConfig config = SmallConfig();
  const HookedTransformer model(config, DoubleInitializer(1));
  EXPECT_THROW(model.Forward(DrawTokens(config, {5}, 1)), c10::Error);
  EXPECT_THROW(model.Forward(DrawTokens(config, {1, 8}, 1)), c10::Error);
  EXPECT_THROW(model.Run(model.Embed(DrawTokens(config, {1, 2}, 1)), 4),
               c10::Error);
  config.heads = 4;
  EXPECT_THROW(HookedTransformer(config, DoubleInitializer(1)), c10::Error);
}

TEST(HookedTransformer, Gpt2MediumHasItsParameters) {
  const int64_t d = 1024, v = 50257, n = 1024;
  // Four d x d matrices of attention, two 4d x d of the MLP, biases, norms.
  const int64_t layer = 12 * d * d + (3 * d + d + 4 * d + d) + 4 * d;
  EXPECT_EQ(CountParameters(HookedTransformer(TransformerConfig::Gpt2Medium(),
                                              Initializer::Meta())),
            v * d + n * d + 24 * layer + 2 * d);
}

// ---- GPT-2's file -----------------------------------------------------------

// The model's parameters under Hugging Face's names, matrices [in, out].
std::map<std::string, at::Tensor> AsGpt2(const HookedTransformer& model) {
  const auto get = [&](const std::string& name) {
    return ParameterOf(model, name).detach();
  };
  std::map<std::string, at::Tensor> out = {{"wte.weight", get("embedding")},
                                           {"wpe.weight", get("positions")},
                                           {"ln_f.weight", get("norm.weight")},
                                           {"ln_f.bias", get("norm.bias")}};
  for (int64_t l = 0; l < model.config().layers; ++l) {
    const std::string own = "layer" + std::to_string(l) + "_";
    const std::string theirs = "h." + std::to_string(l) + ".";
    out[theirs + "ln_1.weight"] = get(own + "attention_norm.weight");
    out[theirs + "ln_1.bias"] = get(own + "attention_norm.bias");
    out[theirs + "attn.c_attn.weight"] = get(own + "qkv").t();
    out[theirs + "attn.c_attn.bias"] = get(own + "qkv_bias");
    out[theirs + "attn.c_proj.weight"] = get(own + "output").t();
    out[theirs + "attn.c_proj.bias"] = get(own + "output_bias");
    out[theirs + "ln_2.weight"] = get(own + "mlp_norm.weight");
    out[theirs + "ln_2.bias"] = get(own + "mlp_norm.bias");
    out[theirs + "mlp.c_fc.weight"] = get(own + "up.weight").t();
    out[theirs + "mlp.c_fc.bias"] = get(own + "up.bias");
    out[theirs + "mlp.c_proj.weight"] = get(own + "down.weight").t();
    out[theirs + "mlp.c_proj.bias"] = get(own + "down.bias");
  }
  return out;
}

TEST(LoadGpt2, ReadsWhatHuggingFaceWrites) {
  TransformerConfig config = SmallConfig();
  config.tied = true;
  const HookedTransformer model(config, Initializer(MakeGenerator(1)));
  Randomize(model, 2);
  const std::string path = testing::TempDir() + "/gpt2.safetensors";
  const at::Tensor tokens = DrawTokens(config, {2, 5}, 4);
  for (const char* prefix : {"", "transformer."}) {
    std::map<std::string, at::Tensor> tensors;
    for (const auto& [name, tensor] : AsGpt2(model)) {
      tensors[prefix + name] = tensor;
    }
    // The causal mask that their files carry is not read.
    tensors[std::string(prefix) + "h.0.attn.bias"] = at::ones({1, 1, 7, 7});
    ASSERT_TRUE(SaveSafetensors(path, tensors).ok());
    const auto loaded = LoadGpt2(path, config.heads);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ((*loaded)->config().mlp_dim, config.mlp_dim);
    EXPECT_THAT((*loaded)->Forward(tokens),
                IsIdenticalTo(model.Forward(tokens)));
  }
}

TEST(LoadGpt2, RefusesBadFiles) {
  TransformerConfig config = SmallConfig();
  config.tied = true;
  const HookedTransformer model(config, Initializer(MakeGenerator(1)));
  const std::string path = testing::TempDir() + "/bad_gpt2.safetensors";
  const auto error = [&](int64_t heads) {
    return LoadGpt2(path, heads).status();
  };
  EXPECT_EQ(
      LoadGpt2(testing::TempDir() + "/none.safetensors", 2).status().code(),
      absl::StatusCode::kNotFound);
  std::map<std::string, at::Tensor> tensors = AsGpt2(model);
  ASSERT_TRUE(SaveSafetensors(path, tensors).ok());
  EXPECT_EQ(error(4).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error(0).code(), absl::StatusCode::kInvalidArgument);
  tensors["h.1.attn.c_attn.weight"] = at::zeros({18, 6});
  ASSERT_TRUE(SaveSafetensors(path, tensors).ok());
  EXPECT_THAT(std::string(error(2).message()),
              HasSubstr("h.1.attn.c_attn.weight"));
  tensors.erase("h.1.attn.c_attn.weight");
  ASSERT_TRUE(SaveSafetensors(path, tensors).ok());
  EXPECT_EQ(error(2).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(path, "cut off").ok());
  EXPECT_FALSE(error(2).ok());
}

}  // namespace
}  // namespace repro::circuit_reuse
