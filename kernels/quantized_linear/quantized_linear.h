// Linear layers whose weights stay in the block formats of GGUF files:
//
//   y = x W^T + bias,  W in Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or a K-quant.
//
// On the CPU. As in llama.cpp, x is rounded to 8-bit integers with one scale a
// block (32 inputs, 16 where the weight's scales are that fine; finer than
// llama.cpp's 256 for K-quants), products of a block are summed exactly as
// integers and blocks in float32. AVX-512 VNNI, AVX2 or portable code is chosen
// at run time. A row of y depends neither on the other rows of x nor on the
// number of threads, bit for bit.
//
// From Python: torch.ops.repro.quantized_linear.
#ifndef REPRO_KERNELS_QUANTIZED_LINEAR_QUANTIZED_LINEAR_H_
#define REPRO_KERNELS_QUANTIZED_LINEAR_QUANTIZED_LINEAR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace repro {

// As GGML numbers its types (ggml.h, enum ggml_type).
enum QuantFormat : int64_t {
  kQuantQ4_0 = 2,
  kQuantQ4_1 = 3,
  kQuantQ5_0 = 6,
  kQuantQ5_1 = 7,
  kQuantQ8_0 = 8,
  kQuantQ2_K = 10,
  kQuantQ3_K = 11,
  kQuantQ4_K = 12,
  kQuantQ5_K = 13,
  kQuantQ6_K = 14,
};

// Whether a GGML type is one of QuantFormat. Below, `format` is checked: any
// other throws c10::Error, as do wrong shapes.
bool IsQuantFormat(int64_t format);

// Weights and bytes of one block of a file: Q4_1 has 32 in 20 bytes.
int64_t QuantBlockSize(int64_t format);
int64_t QuantBlockBytes(int64_t format);

// blocks: uint8 on the CPU, contiguous, out_features rows of
// in_features / QuantBlockSize blocks one after the other, as they lie in a
// GGUF file. in_features must be a multiple of QuantBlockSize. Rows of several
// matrices may follow one another (q, k and v as one). Returns the layout that
// the functions below read: uint8 [tiles of 16 rows, blocks, bytes]; Q4_0, Q4_1
// and Q8_0 keep their size, 5 and 6 bits take 8, K-quants' scales take float32.
at::Tensor PackQuantized(const at::Tensor& blocks, int64_t format,
                         int64_t out_features, int64_t in_features);

// x: [..., in_features] of a floating dtype; packed: by PackQuantized with the
// same format and sizes; bias: [out_features]. Returns [..., out_features] of
// x's dtype. Differentiable in x and bias as if x were not rounded. A block of
// x with an infinity or NaN makes its whole row of y NaN.
at::Tensor QuantizedLinear(
    const at::Tensor& x, const at::Tensor& packed, int64_t format,
    int64_t out_features, int64_t in_features,
    const std::optional<at::Tensor>& bias = std::nullopt);

// Rows of W, dequantised: rows: int64 [...] -> float32 [..., in_features]. For
// an embedding. The values are those of GGML's dequantisation in float32.
at::Tensor QuantizedRows(const at::Tensor& packed, int64_t format,
                         int64_t out_features, int64_t in_features,
                         const at::Tensor& rows);

// All of W: float32 [out_features, in_features].
at::Tensor UnpackDequantized(const at::Tensor& packed, int64_t format,
                             int64_t out_features, int64_t in_features);

}  // namespace repro

#endif  // REPRO_KERNELS_QUANTIZED_LINEAR_QUANTIZED_LINEAR_H_
