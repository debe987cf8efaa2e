// Rotary positions with their scalings; entry i of a head turns together with
// entry i + head_dim / 2, as in Hugging Face's checkpoints (those of GGUF are
// brought to this order when loaded).
#ifndef REPRO_COMMON_LM_ROPE_H_
#define REPRO_COMMON_LM_ROPE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "common/lm/config.h"

namespace repro::lm {

class Rope {
 public:
  // Tables of positions below 32768 and the config's `max_positions` are made
  // at once on `device`; they grow when a later position is asked for, which
  // other threads must not do at the same time.
  Rope(const ModelConfig& config, c10::Device device, at::ScalarType dtype);

  // Rotates x: [heads, tokens, head_dim] whose tokens stand at `first`,
  // first + 1, ... Differentiable.
  at::Tensor Apply(const at::Tensor& x, int64_t first) const;

  // The same at positions [tokens], an int64 tensor on the device.
  at::Tensor ApplyAt(const at::Tensor& x, const at::Tensor& positions) const;

  // theta_i of each pair of entries, scaling included: [head_dim / 2] float32.
  const at::Tensor& inverse_frequencies() const { return inverse_frequencies_; }

  // cos and sin of positions [0, count): [count, head_dim / 2] float32 each,
  // for kernels that rotate as they read.
  void Tables(int64_t count, at::Tensor* cos, at::Tensor* sin) const;

 private:
  void Grow(int64_t count) const;

  int64_t head_dim_;
  at::ScalarType dtype_;
  at::Tensor inverse_frequencies_;
  mutable at::Tensor cos_, sin_;  // [count, head_dim / 2] float32
};

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_ROPE_H_
