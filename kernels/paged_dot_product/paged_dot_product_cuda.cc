#include "kernels/paged_dot_product/paged_dot_product_cuda.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <limits>
#include <tuple>

namespace repro {
namespace {

// The kernel loads 16 bytes at a time.
bool IsAligned(const at::Tensor& k_pool) {
  return k_pool.stride(2) == 1 && k_pool.stride(0) % 8 == 0 &&
         k_pool.stride(1) % 8 == 0 &&
         reinterpret_cast<uintptr_t>(k_pool.const_data_ptr()) % 16 == 0;
}

std::tuple<at::Tensor, at::Tensor> PagedDotProductCuda(const at::Tensor& q,
                                                       const at::Tensor& k_pool,
                                                       const at::Tensor& slots,
                                                       bool interleaved) {
  TORCH_CHECK(q.scalar_type() == at::kHalf || q.scalar_type() == at::kBFloat16,
              "paged_dot_product: q is ", q.dtype(),
              " on CUDA; supported are half and bfloat16");
  const c10::cuda::CUDAGuard guard(q.device());
  const int64_t heads = q.size(0), tokens = slots.size(0);
  const at::TensorOptions options = q.options().dtype(at::kFloat);
  const at::Tensor scores = at::empty({heads, tokens}, options);
  if (tokens == 0 || heads == 0) {
    return {scores, at::full({heads}, -std::numeric_limits<float>::infinity(),
                             options)};
  }
  const at::Tensor dense_q = q.contiguous();
  const at::Tensor pool =
      q.size(1) % 32 != 0 || IsAligned(k_pool) ? k_pool : k_pool.contiguous();
  TORCH_CHECK(pool.stride(2) == 1,
              "paged_dot_product: k_pool's last axis is not dense, strides ",
              pool.strides());
  const at::Tensor dense_slots = slots.contiguous();
  const int64_t blocks =
      (tokens + kPagedDotProductTokens - 1) / kPagedDotProductTokens;
  const at::Tensor partial = at::empty({heads, blocks}, options);
  PagedDotProductParams params;
  params.q = dense_q.const_data_ptr();
  params.k_pool = pool.const_data_ptr();
  params.slots = dense_slots.const_data_ptr<int32_t>();
  params.scores = scores.mutable_data_ptr<float>();
  params.partial = partial.mutable_data_ptr<float>();
  params.tokens = tokens;
  params.slot_stride = pool.stride(0);
  params.head_stride = pool.stride(1);
  params.num_heads = static_cast<int>(heads);
  params.num_kv_heads = static_cast<int>(k_pool.size(1));
  params.head_dim = static_cast<int>(q.size(1));
  params.interleaved = interleaved;
  params.bfloat16 = q.scalar_type() == at::kBFloat16;
  params.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(PagedDotProductLaunch(params));
  return {scores, at::logsumexp(partial, 1)};
}

at::Tensor SoftVoteCuda(const at::Tensor& scores,
                        const at::Tensor& log_sum_exp) {
  TORCH_CHECK(scores.scalar_type() == at::kFloat, "soft_vote: scores are ",
              scores.dtype(), " on CUDA, expected float");
  const c10::cuda::CUDAGuard guard(scores.device());
  const at::Tensor dense = scores.contiguous();
  const at::Tensor lse = log_sum_exp.contiguous();
  const at::Tensor votes = at::empty({scores.size(1)}, scores.options());
  if (votes.numel() == 0) return votes;
  SoftVoteParams params;
  params.scores = dense.const_data_ptr<float>();
  params.log_sum_exp = lse.const_data_ptr<float>();
  params.votes = votes.mutable_data_ptr<float>();
  params.tokens = scores.size(1);
  params.num_heads = static_cast<int>(scores.size(0));
  params.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(SoftVoteLaunch(params));
  return votes;
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("paged_dot_product_unchecked", PagedDotProductCuda);
  m.impl("soft_vote_unchecked", SoftVoteCuda);
}

}  // namespace
}  // namespace repro
