#include "kernels/paged_attention_decode/paged_attention_decode_cuda.h"

#include <ATen/cuda/CUDAContextLight.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>

#include "kernels/paged_attention_decode/layout.h"
#include "kernels/runtime/float_type_of.h"

namespace repro {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

PagedView ViewOf(const at::Tensor& pages) {
  return {pages.const_data_ptr(), pages.stride(0), pages.stride(1),
          pages.stride(2)};
}

at::Tensor DenseRows(const at::Tensor& x) {
  return x.stride(-1) == 1 ? x : x.contiguous();
}

void CheckGrid(const char* op, const at::Tensor& q, const at::Tensor& pages) {
  TORCH_CHECK(q.size(0) < 65536 && q.size(1) + 2 * pages.size(2) < 65536, op,
              ": q is ", q.sizes(),
              ", at most 65535 sequences and heads are supported on CUDA");
  TORCH_CHECK(q.size(2) <= 2048, op, ": head_dim is ", q.size(2),
              ", at most 2048 is supported on CUDA");
}

std::tuple<at::Tensor, at::Tensor> Decode(
    const at::Tensor& q_in, const at::Tensor& k_pages,
    const at::Tensor& v_pages, const at::Tensor& page_table_in,
    const at::Tensor& lengths_in, int64_t max_length,
    std::optional<double> scale, const OptionalTensor& k_scale,
    const OptionalTensor& k_zero, const OptionalTensor& v_scale,
    const OptionalTensor& v_zero) {
  constexpr char kOp[] = "paged_attention_decode";
  const c10::cuda::CUDAGuard guard(q_in.device());
  CheckGrid(kOp, q_in, k_pages);
  const at::Tensor q = DenseRows(q_in), k = DenseRows(k_pages),
                   v = DenseRows(v_pages),
                   page_table = DenseRows(page_table_in),
                   lengths = DenseRows(lengths_in);
  PagedDecodeParams p = {};
  p.type = FloatTypeOf(q.scalar_type(), kOp);
  const at::Tensor out = at::empty(q.sizes(), q.options());
  const at::Tensor lse =
      at::empty({q.size(0), q.size(1)}, q.options().dtype(at::kFloat));
  if (lse.numel() == 0) return {out, lse};
  p.q = q.const_data_ptr();
  p.q_batch_stride = q.stride(0);
  p.q_head_stride = q.stride(1);
  p.k = ViewOf(k);
  p.v = ViewOf(v);
  at::Tensor scales[4];
  if (k_scale.has_value()) {
    PagedView* const views[] = {&p.k_scale, &p.k_zero, &p.v_scale, &p.v_zero};
    const at::Tensor* const given[] = {&*k_scale, &*k_zero, &*v_scale,
                                       &*v_zero};
    for (int i = 0; i < 4; ++i) {
      scales[i] = DenseRows(*given[i]);
      *views[i] = ViewOf(scales[i]);
    }
  }
  p.page_table = page_table.const_data_ptr<int32_t>();
  p.page_table_stride = page_table.stride(0);
  p.lengths = lengths.const_data_ptr<int32_t>();
  p.out = out.mutable_data_ptr();
  p.lse = lse.mutable_data_ptr<float>();
  p.batch = static_cast<int>(q.size(0));
  p.num_heads = static_cast<int>(q.size(1));
  p.num_kv_heads = static_cast<int>(k.size(2));
  p.head_dim = static_cast<int>(q.size(2));
  p.page_size = static_cast<int>(k.size(1));
  p.max_length = static_cast<int>(max_length);
  p.group_size = static_cast<int>(PagedGroupSize(q, k_scale));
  p.bits = static_cast<int>(PagedBits(k, q.size(2)));
  p.scale = static_cast<float>(*scale);
  p.stream = c10::cuda::getCurrentCUDAStream();
  p.splits = PagedDecodeSplits(
      p, at::cuda::getCurrentDeviceProperties()->multiProcessorCount);
  at::Tensor partial_out, partial_lse;
  if (p.splits > 1) {
    const auto options = q.options().dtype(at::kFloat);
    partial_out =
        at::empty({q.size(0), q.size(1), p.splits, q.size(2)}, options);
    partial_lse = at::empty({q.size(0), q.size(1), p.splits}, options);
    p.partial_out = partial_out.mutable_data_ptr<float>();
    p.partial_lse = partial_lse.mutable_data_ptr<float>();
  }
  C10_CUDA_CHECK(PagedDecodeLaunch(p));
  return {out, lse};
}

void Append(const at::Tensor& k_pages, const at::Tensor& v_pages,
            const at::Tensor& page_table_in, const at::Tensor& lengths_in,
            const at::Tensor& q, const at::Tensor& k_in, const at::Tensor& v_in,
            const OptionalTensor& cos_in, const OptionalTensor& sin_in,
            int64_t sink, int64_t window) {
  constexpr char kOp[] = "paged_append_";
  const c10::cuda::CUDAGuard guard(q.device());
  CheckGrid(kOp, q, k_pages);
  if (q.size(0) == 0) return;
  TORCH_CHECK(
      q.stride(2) == 1 && k_pages.stride(3) == 1 && v_pages.stride(3) == 1, kOp,
      ": q and the pages are written in place and must be dense ",
      "along head_dim, but have strides ", q.strides(), ", ", k_pages.strides(),
      " and ", v_pages.strides());
  const at::Tensor k = DenseRows(k_in), v = DenseRows(v_in),
                   page_table = DenseRows(page_table_in),
                   lengths = DenseRows(lengths_in);
  PagedAppendParams p = {};
  p.k_pages = ViewOf(k_pages);
  p.v_pages = ViewOf(v_pages);
  p.page_table = page_table.const_data_ptr<int32_t>();
  p.page_table_stride = page_table.stride(0);
  p.lengths = lengths.const_data_ptr<int32_t>();
  p.q = q.mutable_data_ptr();
  p.k = k.const_data_ptr();
  p.v = v.const_data_ptr();
  p.q_batch_stride = q.stride(0);
  p.q_head_stride = q.stride(1);
  p.k_batch_stride = k.stride(0);
  p.k_head_stride = k.stride(1);
  p.v_batch_stride = v.stride(0);
  p.v_head_stride = v.stride(1);
  at::Tensor cos, sin;
  if (cos_in.has_value()) {
    cos = cos_in->contiguous();
    sin = sin_in->contiguous();
    p.cos = cos.const_data_ptr<float>();
    p.sin = sin.const_data_ptr<float>();
    p.rope_positions = cos.size(0);
  }
  p.batch = static_cast<int>(q.size(0));
  p.num_heads = static_cast<int>(q.size(1));
  p.num_kv_heads = static_cast<int>(k_pages.size(2));
  p.head_dim = static_cast<int>(q.size(2));
  p.page_size = static_cast<int>(k_pages.size(1));
  p.max_keys =
      static_cast<int>(std::min<int64_t>(page_table.size(1) * k_pages.size(1),
                                         std::numeric_limits<int32_t>::max()));
  p.sink = static_cast<int>(sink);
  p.window = static_cast<int>(window);
  p.type = FloatTypeOf(q.scalar_type(), kOp);
  p.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(PagedAppendLaunch(p));
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("paged_attention_decode_forward", Decode);
  m.impl("paged_append_write", Append);
}

}  // namespace
}  // namespace repro
