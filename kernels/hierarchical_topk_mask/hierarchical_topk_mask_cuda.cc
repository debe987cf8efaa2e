#include "kernels/hierarchical_topk_mask/hierarchical_topk_mask_cuda.h"

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <tuple>

namespace repro {
namespace {

// Rows as the kernel reads them: 16-byte vectors, a whole number of 32 values.
at::Tensor Readable(const at::Tensor& x) {
  const int64_t dim = x.size(2);
  if (dim % 32 != 0) return at::constant_pad_nd(x, {0, 32 - dim % 32});
  const bool aligned =
      x.stride(2) == 1 && x.stride(0) % 8 == 0 && x.stride(1) % 8 == 0 &&
      reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0;
  return aligned ? x : x.contiguous();
}

std::tuple<at::Tensor, at::Tensor> MaskCuda(
    const at::Tensor& q, const at::Tensor& k, int64_t top_k,
    int64_t query_block, int64_t query_stride, int64_t key_block,
    int64_t key_stride, int64_t window, int64_t representative, bool aligned,
    int64_t head_group) {
  TORCH_CHECK(q.scalar_type() == at::kHalf || q.scalar_type() == at::kBFloat16,
              "hierarchical_topk_mask: q is ", q.dtype(),
              " on CUDA; supported are half and bfloat16");
  TORCH_CHECK(representative != 3 && head_group == 1,
              "hierarchical_topk_mask: the representative \"oracle\" and head "
              "groups are computed on the CPU only");
  TORCH_CHECK(q.size(2) <= 128, "hierarchical_topk_mask: head_dim ", q.size(2),
              " on CUDA, at most 128 is supported");
  const c10::cuda::CUDAGuard guard(q.device());
  const int64_t query_blocks = (q.size(1) + query_block - 1) / query_block;
  const at::TensorOptions options = q.options().dtype(at::kInt);
  const at::Tensor blocks =
      at::empty({q.size(0), query_blocks, top_k / key_block}, options);
  const at::Tensor counts = at::empty({q.size(0), query_blocks}, options);
  if (counts.numel() == 0) return {blocks, counts};
  const at::Tensor queries = Readable(q), keys = Readable(k);
  HierarchicalTopkMaskParams params;
  params.q = queries.const_data_ptr();
  params.k = keys.const_data_ptr();
  params.blocks = blocks.mutable_data_ptr<int32_t>();
  params.counts = counts.mutable_data_ptr<int32_t>();
  params.q_head_stride = queries.stride(0);
  params.q_row_stride = queries.stride(1);
  params.k_head_stride = keys.stride(0);
  params.k_row_stride = keys.stride(1);
  params.queries = q.size(1);
  params.keys = k.size(1);
  params.num_heads = static_cast<int>(q.size(0));
  params.num_kv_heads = static_cast<int>(k.size(0));
  params.head_dim = static_cast<int>(queries.size(2));
  params.branches = static_cast<int>(top_k / key_block);
  params.query_block = static_cast<int>(query_block);
  params.query_stride = static_cast<int>(query_stride);
  params.key_block = static_cast<int>(key_block);
  params.key_stride = static_cast<int>(key_stride);
  params.window = window;
  params.representative = static_cast<int>(representative);
  params.aligned = aligned;
  params.bfloat16 = q.scalar_type() == at::kBFloat16;
  params.stream = c10::cuda::getCurrentCUDAStream();
  const int64_t bytes = HierarchicalTopkMaskSharedBytes(params);
  TORCH_CHECK(bytes <= 200 * 1024, "hierarchical_topk_mask: top_k ", top_k,
              " in blocks of ", key_block, " takes ", bytes,
              " bytes of shared memory, at most 204800 are to be had");
  C10_CUDA_CHECK(HierarchicalTopkMaskLaunch(params));
  return {blocks, counts};
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("hierarchical_topk_mask_unchecked", MaskCuda);
}

}  // namespace
}  // namespace repro
