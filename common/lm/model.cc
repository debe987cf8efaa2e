#include "common/lm/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>

#include <utility>

#include "common/lm/cpu_ops.h"
#include "common/tensor/check.h"
#include "kernels/quantized_linear/quantized_linear.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/swiglu/swiglu.h"

namespace repro::lm {
namespace {

void CheckWeight(const LinearWeight& weight, int64_t out, int64_t in,
                 const char* name, int64_t layer) {
  TORCH_CHECK(weight.dense.defined() + weight.packed.defined() +
                      !weight.parts.empty() ==
                  1,
              "language model: ", name, " of layer ", layer,
              " is not one of dense, packed and parts");
  TORCH_CHECK(weight.out_features == out && weight.in_features == in,
              "language model: ", name, " of layer ", layer, " is [",
              weight.out_features, ", ", weight.in_features, "], expected [",
              out, ", ", in, "]");
}

at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return cpu::Takes(x) && cpu::Takes(weight) ? cpu::RmsNorm(x, weight, eps)
                                             : RmsNorm(x, weight, eps);
}

at::Tensor Gate(const at::Tensor& gate_up) {
  return cpu::Takes(gate_up) ? cpu::SwiGlu(gate_up) : SwiGlu(gate_up);
}

}  // namespace

LanguageModel::LanguageModel(ModelConfig config, ModelWeights weights)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      device_(weights_.final_norm.device()),
      dtype_(weights_.final_norm.scalar_type()),
      rope_(config_, device_, dtype_) {
  const absl::Status status = Validate(config_);
  TORCH_CHECK(status.ok(), status.ToString());
  const ModelConfig& c = config_;
  TORCH_CHECK(static_cast<int64_t>(weights_.layers.size()) == c.num_layers,
              "language model: weights of ", weights_.layers.size(),
              " layers, expected ", c.num_layers);
  if (weights_.embedding.defined() || !weights_.head.packed.defined()) {
    CheckShape(weights_.embedding, {c.vocab_size, c.hidden_size}, "embedding");
  }
  CheckShape(weights_.final_norm, {c.hidden_size}, "final_norm");
  CheckWeight(weights_.head, c.vocab_size, c.hidden_size, "head", -1);
  for (int64_t l = 0; l < c.num_layers; ++l) {
    const LayerWeights& layer = weights_.layers[l];
    CheckShape(layer.attention_norm, {c.hidden_size}, "attention_norm");
    CheckShape(layer.ffn_norm, {c.hidden_size}, "ffn_norm");
    CheckWeight(layer.qkv, (c.num_heads + 2 * c.num_kv_heads) * c.head_dim,
                c.hidden_size, "qkv", l);
    CheckWeight(layer.output, c.hidden_size, c.num_heads * c.head_dim, "output",
                l);
    CheckWeight(layer.gate_up, 2 * c.intermediate_size, c.hidden_size,
                "gate_up", l);
    CheckWeight(layer.down, c.hidden_size, c.intermediate_size, "down", l);
  }
}

int64_t LanguageModel::WeightBytes() const {
  int64_t bytes = static_cast<int64_t>(weights_.final_norm.nbytes()) +
                  weights_.head.Bytes();
  const at::Tensor& embedding = weights_.embedding;
  const at::Tensor& head = weights_.head.dense;
  if (embedding.defined() && !(head.defined() && head.is_alias_of(embedding))) {
    bytes += static_cast<int64_t>(embedding.nbytes());
  }
  for (const LayerWeights& layer : weights_.layers) {
    bytes += static_cast<int64_t>(layer.attention_norm.nbytes() +
                                  layer.ffn_norm.nbytes()) +
             layer.qkv.Bytes() + layer.output.Bytes() + layer.gate_up.Bytes() +
             layer.down.Bytes();
  }
  return bytes;
}

at::Tensor LanguageModel::Hidden(const std::vector<Chunk>& chunks) const {
  TORCH_CHECK(!chunks.empty(), "language model: no tokens");
  std::vector<int64_t> counts;
  std::vector<at::Tensor> tokens;
  std::vector<AttentionState*> states;
  for (const Chunk& chunk : chunks) {
    CheckShape(chunk.tokens, {"new_tokens"}, "tokens");
    CheckDtype(chunk.tokens, at::kLong, "tokens");
    TORCH_CHECK(chunk.tokens.size(0) > 0 && chunk.state != nullptr &&
                    chunk.position >= 0,
                "language model: a chunk of ", chunk.tokens.size(0),
                " tokens at position ", chunk.position,
                chunk.state == nullptr ? " without a state" : "");
    if (chunk.tokens.is_cpu()) {
      // On the GPU an index out of range would end the process's context.
      const int64_t* ids = chunk.tokens.const_data_ptr<int64_t>();
      const int64_t stride = chunk.tokens.stride(0);
      for (int64_t i = 0; i < chunk.tokens.size(0); ++i) {
        TORCH_CHECK(
            ids[i * stride] >= 0 && ids[i * stride] < config_.vocab_size,
            "language model: token ", ids[i * stride], " at place ", i,
            " is not below the vocabulary's size ", config_.vocab_size);
      }
    }
    counts.push_back(chunk.tokens.size(0));
    tokens.push_back(chunk.tokens);
    states.push_back(chunk.state);
  }
  const ModelConfig& c = config_;
  const int64_t total_heads = c.num_heads + 2 * c.num_kv_heads;
  const at::Tensor ids =
      (tokens.size() == 1 ? tokens[0] : at::cat(tokens)).to(device_);
  at::Tensor x = weights_.embedding.defined()
                     ? at::embedding(weights_.embedding, ids)
                     : QuantizedRows(weights_.head.packed, weights_.head.format,
                                     c.vocab_size, c.hidden_size, ids);
  if (x.scalar_type() != dtype_) x = x.to(dtype_);
  for (int64_t l = 0; l < c.num_layers; ++l) {
    const LayerWeights& layer = weights_.layers[l];
    // [heads, tokens, head_dim]: queries, keys, values.
    const at::Tensor qkv =
        layer.qkv.Apply(Norm(x, layer.attention_norm, c.rms_norm_eps))
            .view({x.size(0), total_heads, c.head_dim})
            .transpose(0, 1);
    std::vector<AttentionInput> inputs;
    int64_t first = 0;
    for (size_t i = 0; i < chunks.size(); ++i) {
      const at::Tensor part = qkv.narrow(1, first, counts[i]);
      first += counts[i];
      inputs.push_back(
          {l, part.narrow(0, 0, c.num_heads),
           part.narrow(0, c.num_heads, c.num_kv_heads),
           part.narrow(0, c.num_heads + c.num_kv_heads, c.num_kv_heads),
           chunks[i].position, &rope_});
    }
    std::vector<at::Tensor> attended = states[0]->AttendMany(states, inputs);
    for (size_t i = 0; i < attended.size(); ++i) {
      CheckShape(attended[i], {c.num_heads, counts[i], c.head_dim}, "attended");
      attended[i] = attended[i].transpose(0, 1).reshape(
          {counts[i], c.num_heads * c.head_dim});
    }
    x = layer.output.AddTo(
        x, attended.size() == 1 ? attended[0] : at::cat(attended));
    x = layer.down.AddTo(
        x, Gate(layer.gate_up.Apply(Norm(x, layer.ffn_norm, c.rms_norm_eps))));
  }
  return Norm(x, weights_.final_norm, c.rms_norm_eps);
}

at::Tensor LanguageModel::Logits(const at::Tensor& hidden) const {
  return weights_.head.Apply(hidden).to(at::kFloat);
}

at::Tensor LanguageModel::Forward(const std::vector<Chunk>& chunks) const {
  const at::Tensor hidden = Hidden(chunks);
  std::vector<at::Tensor> last;
  int64_t end = 0;
  for (const Chunk& chunk : chunks) {
    end += chunk.tokens.size(0);
    last.push_back(hidden.select(0, end - 1));
  }
  return Logits(last.size() == 1 ? last[0].unsqueeze(0) : at::stack(last));
}

std::unique_ptr<LanguageModel> RandomModel(const ModelConfig& config,
                                           at::Generator generator,
                                           c10::Device device,
                                           at::ScalarType dtype) {
  const absl::Status status = Validate(config);
  TORCH_CHECK(status.ok(), status.ToString());
  const at::TensorOptions options =
      at::TensorOptions().device(device).dtype(dtype);
  const auto draw = [&](at::IntArrayRef shape) {
    return at::empty(shape, options).normal_(0, 0.02, generator);
  };
  const auto linear = [&](int64_t out, int64_t in, bool bias = false) {
    at::Tensor weight = draw({out, in});
    return DenseWeight(std::move(weight), bias ? draw({out}) : at::Tensor());
  };
  const auto ones = [&] { return at::ones({config.hidden_size}, options); };
  ModelWeights weights;
  weights.embedding = draw({config.vocab_size, config.hidden_size});
  for (int64_t l = 0; l < config.num_layers; ++l) {
    LayerWeights layer;
    layer.attention_norm = ones();
    layer.qkv =
        linear((config.num_heads + 2 * config.num_kv_heads) * config.head_dim,
               config.hidden_size, config.attention_bias);
    layer.output =
        linear(config.hidden_size, config.num_heads * config.head_dim);
    layer.ffn_norm = ones();
    layer.gate_up = linear(2 * config.intermediate_size, config.hidden_size);
    layer.down = linear(config.hidden_size, config.intermediate_size);
    weights.layers.push_back(std::move(layer));
  }
  weights.final_norm = ones();
  weights.head = config.tie_embeddings
                     ? DenseWeight(weights.embedding)
                     : linear(config.vocab_size, config.hidden_size);
  return std::make_unique<LanguageModel>(config, std::move(weights));
}

}  // namespace repro::lm
