// A linear layer's weight, dense or quantised.
#ifndef REPRO_COMMON_LM_LINEAR_H_
#define REPRO_COMMON_LM_LINEAR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace repro::lm {

// y = x W^T + bias. One of `dense`, `packed` and `parts` is there.
struct LinearWeight {
  at::Tensor dense;    // [out, in]
  at::Tensor packed;   // kernels/quantized_linear's packing of blocks, uint8
  int64_t format = 0;  // of `packed`, as that kernel numbers it
  // Rows that follow one another and that a file quantises differently, each
  // without bias or parts.
  std::vector<LinearWeight> parts;
  int64_t out_features = 0;
  int64_t in_features = 0;
  at::Tensor bias;  // [out] or undefined

  // x: [..., in] -> [..., out], of x's dtype.
  at::Tensor Apply(const at::Tensor& x) const;

  // sum + Apply(x), which without gradients is written over sum. On a GPU a
  // dense weight's product adds as it writes.
  at::Tensor AddTo(at::Tensor sum, const at::Tensor& x) const;

  int64_t Bytes() const;
};

LinearWeight DenseWeight(at::Tensor weight, at::Tensor bias = at::Tensor());

// blocks: uint8, contiguous, the rows' blocks as a GGUF file holds them.
LinearWeight PackedWeight(const at::Tensor& blocks, int64_t format,
                          int64_t out_features, int64_t in_features);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_LINEAR_H_
