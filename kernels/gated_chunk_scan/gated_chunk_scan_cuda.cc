#include "kernels/gated_chunk_scan/gated_chunk_scan_cuda.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "kernels/gated_chunk_scan/gated_chunk_scan_check.h"
#include "kernels/runtime/float_type_of.h"

namespace repro {
namespace {

// Channels of a 16-byte vector of the narrowest dtype.
constexpr int64_t kVector = 8;
constexpr int64_t kMaxSize = int64_t{1} << 30;

bool Aligned(const at::Tensor& x) {
  return reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
}

// x with whole, aligned vectors: itself, or a copy, head_dim padded with zeros.
at::Tensor Vectors(const at::Tensor& x) {
  if (x.size(-1) % kVector != 0) {
    return at::constant_pad_nd(x, {0, kVector - x.size(-1) % kVector});
  }
  bool fits = x.stride(-1) == 1 && Aligned(x);
  for (int64_t i = 0; i + 1 < x.dim(); ++i) {
    fits = fits && x.stride(i) % kVector == 0;
  }
  return fits ? x : x.clone(at::MemoryFormat::Contiguous);
}

GatedChunkScanInput InputOf(const at::Tensor& x) {
  return {x.const_data_ptr(), x.stride(0), x.dim() == 4 ? x.stride(1) : 1,
          x.stride(-2)};
}

// Of tensors from Vectors.
GatedChunkScanSizes SizesOf(const at::Tensor& gate, const at::Tensor& k,
                            const at::Tensor& v, int64_t chunk_size) {
  GatedChunkScanSizes sizes;
  sizes.batch = v.size(0);
  sizes.seq_len = v.dim() == 4 ? v.size(1) : 1;
  sizes.heads = v.size(-2);
  sizes.groups = k.size(-2);
  sizes.head_dim = v.size(-1);
  sizes.chunk_size = std::min(chunk_size, sizes.seq_len);
  sizes.type = FloatTypeOf(v.scalar_type(), "gated_chunk_scan");
  sizes.gate_type = FloatTypeOf(gate.scalar_type(), "gated_chunk_scan");
  TORCH_CHECK(sizes.seq_len <= kMaxSize &&
                  sizes.heads * sizes.head_dim <= kMaxSize &&
                  v.numel() / 1024 <= kMaxSize,
              "gated_chunk_scan: v is ", v.sizes(),
              "; supported are up to 2^30 tokens, 2^30 channels and 2^40 "
              "elements");
  return sizes;
}

at::Tensor Scratch(const GatedChunkScanSizes& sizes, const at::Tensor& like) {
  return at::empty({static_cast<int64_t>(GatedChunkScanScratchBytes(sizes))},
                   like.options().dtype(at::kByte));
}

// Takes the padding off.
at::Tensor Unpadded(const at::Tensor& x, int64_t head_dim) {
  return x.narrow(-1, 0, head_dim).contiguous();
}

std::tuple<at::Tensor, at::Tensor> Forward(const at::Tensor& gate_in,
                                           const at::Tensor& k_in,
                                           const at::Tensor& v_in,
                                           int64_t chunk_size) {
  CheckGatedChunkScan(gate_in, k_in, v_in, chunk_size);
  const c10::cuda::CUDAGuard guard(v_in.device());
  if (v_in.numel() == 0) {
    return {at::empty(v_in.sizes(), v_in.options()),
            at::empty(v_in.sizes(), v_in.options())};
  }
  const at::Tensor gate = Vectors(gate_in), k = Vectors(k_in),
                   v = Vectors(v_in);
  const at::Tensor k_average = at::empty(v.sizes(), v.options()),
                   v_average = at::empty(v.sizes(), v.options());
  GatedChunkScanForwardParams params;
  params.sizes = SizesOf(gate, k, v, chunk_size);
  const at::Tensor scratch = Scratch(params.sizes, v);
  params.gate = InputOf(gate);
  params.k = InputOf(k);
  params.v = InputOf(v);
  params.k_average = k_average.mutable_data_ptr();
  params.v_average = v_average.mutable_data_ptr();
  params.scratch = scratch.mutable_data_ptr();
  params.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(GatedChunkScanForwardLaunch(params));
  return {Unpadded(k_average, v_in.size(-1)),
          Unpadded(v_average, v_in.size(-1))};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& gate_in, const at::Tensor& k_in, const at::Tensor& v_in,
    const at::Tensor& k_average_in, const at::Tensor& v_average_in,
    const at::Tensor& grad_k_average_in, const at::Tensor& grad_v_average_in,
    int64_t chunk_size) {
  CheckGatedChunkScanBackward(gate_in, k_in, v_in, k_average_in, v_average_in,
                              grad_k_average_in, grad_v_average_in, chunk_size);
  const c10::cuda::CUDAGuard guard(v_in.device());
  if (v_in.numel() == 0) {
    return {at::empty(gate_in.sizes(), gate_in.options()),
            at::zeros(k_in.sizes(), k_in.options()),
            at::empty(v_in.sizes(), v_in.options())};
  }
  const at::Tensor gate = Vectors(gate_in), k = Vectors(k_in),
                   v = Vectors(v_in),
                   k_average = Vectors(k_average_in).contiguous(),
                   v_average = Vectors(v_average_in).contiguous(),
                   grad_k_average = Vectors(grad_k_average_in),
                   grad_v_average = Vectors(grad_v_average_in);
  const at::Tensor grad_gate = at::empty(gate.sizes(), gate.options()),
                   grad_k = at::empty(k.sizes(), k.options()),
                   grad_v = at::empty(v.sizes(), v.options());
  GatedChunkScanBackwardParams params;
  params.sizes = SizesOf(gate, k, v, chunk_size);
  const at::Tensor scratch = Scratch(params.sizes, v);
  params.gate = InputOf(gate);
  params.k = InputOf(k);
  params.v = InputOf(v);
  params.grad_k_average = InputOf(grad_k_average);
  params.grad_v_average = InputOf(grad_v_average);
  params.k_average = k_average.const_data_ptr();
  params.v_average = v_average.const_data_ptr();
  params.grad_gate = grad_gate.mutable_data_ptr();
  params.grad_k = grad_k.mutable_data_ptr();
  params.grad_v = grad_v.mutable_data_ptr();
  params.scratch = scratch.mutable_data_ptr();
  params.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(GatedChunkScanBackwardLaunch(params));
  return {Unpadded(grad_gate, v_in.size(-1)), Unpadded(grad_k, v_in.size(-1)),
          Unpadded(grad_v, v_in.size(-1))};
}

void Step(const at::Tensor& gate_in, const at::Tensor& k_in,
          const at::Tensor& v_in, const at::Tensor& first,
          const at::Tensor& k_state, const at::Tensor& v_state) {
  CheckGatedChunkScanStep(gate_in, k_in, v_in, first, k_state, v_state);
  const c10::cuda::CUDAGuard guard(v_in.device());
  if (v_in.numel() == 0) return;
  const at::Tensor gate = Vectors(gate_in), k = Vectors(k_in),
                   v = Vectors(v_in);
  const at::Tensor k_dense = Vectors(k_state).contiguous(),
                   v_dense = Vectors(v_state).contiguous();
  GatedChunkScanStepParams params;
  params.sizes = SizesOf(gate, k, v, 1);
  params.gate = InputOf(gate);
  params.k = InputOf(k);
  params.v = InputOf(v);
  params.first = first.const_data_ptr<bool>();
  params.k_state = k_dense.mutable_data_ptr<float>();
  params.v_state = v_dense.mutable_data_ptr<float>();
  params.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(GatedChunkScanStepLaunch(params));
  const auto put_back = [&](const at::Tensor& state, const at::Tensor& dense) {
    if (!dense.is_same(state)) state.copy_(Unpadded(dense, v_in.size(-1)));
  };
  put_back(k_state, k_dense);
  put_back(v_state, v_dense);
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("gated_chunk_scan", Forward);
  m.impl("gated_chunk_scan_backward", Backward);
  m.impl("gated_chunk_scan_step", Step);
}

}  // namespace
}  // namespace repro
