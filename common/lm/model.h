// A decoder-only language model for inference (and for gradients through
// attention): weights, and the forward pass over the new tokens of any number
// of sequences, each with an attention state of its own.
//
//   auto model = LoadModel("SmolLM2-135M-Instruct.Q4_1.gguf", {});
//   auto state = MakeDenseState((*model)->config(), at::kCPU, at::kFloat);
//   at::Tensor logits = (*model)->Forward({{tokens, state.get()}});
#ifndef REPRO_COMMON_LM_MODEL_H_
#define REPRO_COMMON_LM_MODEL_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/attention_state.h"
#include "common/lm/config.h"
#include "common/lm/linear.h"
#include "common/lm/rope.h"

namespace repro::lm {

// All weights; products over the same input are fused, rows in the order of the
// name.
struct LayerWeights {
  at::Tensor attention_norm;  // [hidden_size]
  LinearWeight qkv;           // [(num_heads + 2 num_kv_heads) head_dim, hidden]
  LinearWeight output;        // [hidden, num_heads head_dim]
  at::Tensor ffn_norm;        // [hidden_size]
  LinearWeight gate_up;       // [2 intermediate, hidden]
  LinearWeight down;          // [hidden, intermediate]
};

struct ModelWeights {
  at::Tensor embedding;  // [vocab_size, hidden]; undefined: the packed head's
  std::vector<LayerWeights> layers;
  at::Tensor final_norm;  // [hidden]
  LinearWeight head;      // [vocab_size, hidden]
};

// New tokens of one sequence.
struct Chunk {
  at::Tensor tokens;      // [new_tokens] int64 on the CPU or the device
  AttentionState* state;  // of this sequence
  int64_t position = 0;   // of the first new token
};

class LanguageModel {
 public:
  LanguageModel(ModelConfig config, ModelWeights weights);

  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  ModelWeights& mutable_weights() { return weights_; }
  const Rope& rope() const { return rope_; }
  c10::Device device() const { return device_; }
  at::ScalarType dtype() const { return dtype_; }  // of activations
  int64_t WeightBytes() const;

  // Final normalised hidden states of all new tokens, chunk after chunk:
  // [total new tokens, hidden]. Gradients flow unless the caller turned them
  // off; throws c10::Error (out of memory, a token out of range).
  at::Tensor Hidden(const std::vector<Chunk>& chunks) const;

  // hidden: [..., hidden] -> float32 logits [..., vocab_size].
  at::Tensor Logits(const at::Tensor& hidden) const;

  // Logits after the last token of each chunk: [chunks, vocab_size] float32.
  at::Tensor Forward(const std::vector<Chunk>& chunks) const;

 private:
  ModelConfig config_;
  ModelWeights weights_;
  c10::Device device_;
  at::ScalarType dtype_;
  Rope rope_;
};

struct LoadOptions {
  c10::Device device = c10::kCPU;
  // Of dense weights and activations: float32 on the CPU, bfloat16 on CUDA if
  // not given.
  std::optional<at::ScalarType> dtype;
  // Keeps quantised weights of a GGUF as they are (CPU); else they are
  // dequantised to `dtype`.
  bool keep_quantized = true;
};

// A .gguf file, or a folder with config.json and safetensors. Errors name the
// file, the tensor and what was expected.
absl::StatusOr<std::unique_ptr<LanguageModel>> LoadModel(
    const std::string& path, const LoadOptions& options);

// Normal weights of standard deviation 0.02 from the generator: for speed and
// memory, where values do not matter.
std::unique_ptr<LanguageModel> RandomModel(const ModelConfig& config,
                                           at::Generator generator,
                                           c10::Device device,
                                           at::ScalarType dtype);

// Writes config.json and model.safetensors as Hugging Face names them, which
// LoadModel and other programs read. Dense weights only.
absl::Status SaveModel(const LanguageModel& model, const std::string& folder);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_MODEL_H_
