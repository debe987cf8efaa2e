#include "kernels/selected_attention/selected_attention_cuda.h"

#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include <algorithm>

#include "kernels/flash/tensors.h"
#include "kernels/selected_attention/check.h"

namespace repro {
namespace {

constexpr char kSelected[] = "selected_attention";
constexpr char kBlock[] = "block_selected_attention";

// Of [heads, rows, dim].
FlashMatrix MatrixOf(const at::Tensor& t) {
  return {const_cast<void*>(t.const_data_ptr()), 0, t.stride(0), t.stride(1)};
}

// Whether the decoding kernel can read the rows where they lie.
bool IsAligned(const at::Tensor& t) {
  return t.stride(2) == 1 && t.stride(0) % 8 == 0 && t.stride(1) % 8 == 0 &&
         reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0;
}

// Rows dense and 16-byte aligned, as vectors are read from them.
at::Tensor AlignedTable(const at::Tensor& t) {
  const at::Tensor dense = t.contiguous();
  return reinterpret_cast<uintptr_t>(dense.const_data_ptr()) % 16 == 0
             ? dense
             : dense.clone();
}

// Shape, type and stream; [num_heads, ...] counts as one batch.
FlashParams Shape(const char* op, const at::Tensor& q, const at::Tensor& v,
                  int64_t keys, int64_t kv_heads, std::optional<double> scale) {
  FlashParams p = FlashShape(op, q.unsqueeze(0), v.unsqueeze(0), scale);
  TORCH_CHECK(keys <= INT32_MAX - 256, op, ": ", keys, " keys are too many");
  p.num_keys = static_cast<int>(keys);
  p.heads_per_key_head = static_cast<int>(q.size(0) / kv_heads);
  return p;
}

// The output of the padded size that the kernels write, as the caller sees it.
at::Tensor Unpad(const at::Tensor& out, int64_t dim) {
  return out.size(2) == dim ? out : out.narrow(2, 0, dim).contiguous();
}

bool CanDecode(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return q.size(1) == 1 && (q.size(2) == 64 || q.size(2) == 128) &&
         v.size(2) == q.size(2) && IsAligned(k) && IsAligned(v);
}

// One query over what `d` lists; k, v: [kv_heads, rows, head_dim].
at::Tensor Decode(SelectedDecodeParams d, const FlashParams& p,
                  const at::Tensor& q_in, const at::Tensor& k,
                  const at::Tensor& v) {
  const at::Tensor q = q_in.contiguous();
  const at::Tensor out = at::empty(q.sizes(), q.options());
  d.q = MatrixOf(q);
  d.k = MatrixOf(k);
  d.v = MatrixOf(v);
  d.out = out.mutable_data_ptr();
  d.heads = p.heads;
  d.key_heads = p.heads / p.heads_per_key_head;
  d.head_dim = p.head_dim;
  d.scale = p.scale;
  d.type = p.type;
  d.stream = p.stream;
  d.splits = SelectedDecodeSplits(
      d, at::cuda::getCurrentDeviceProperties()->multiProcessorCount);
  at::Tensor partial_out, partial_lse;
  if (d.splits > 1) {
    const at::TensorOptions options = q.options().dtype(at::kFloat);
    partial_out = at::empty({d.heads, d.splits, d.head_dim}, options);
    partial_lse = at::empty({d.heads, d.splits}, options);
    d.partial_out = partial_out.mutable_data_ptr<float>();
    d.partial_lse = partial_lse.mutable_data_ptr<float>();
  }
  C10_CUDA_CHECK(SelectedDecodeLaunch(d));
  return out;
}

at::Tensor Selected(const at::Tensor& q_in, const at::Tensor& k_pool_in,
                    const at::Tensor& v_pool_in, const at::Tensor& slots_in,
                    const std::optional<at::Tensor>& cos_in,
                    const std::optional<at::Tensor>& sin_in,
                    bool rotate_queries, std::optional<double> scale) {
  CheckSelectedAttention(q_in, k_pool_in, v_pool_in, slots_in, cos_in, sin_in);
  const c10::cuda::CUDAGuard guard(q_in.device());
  const auto dense_rows = [](const at::Tensor& t) {
    return t.stride(2) == 1 ? t : t.contiguous();
  };
  const at::Tensor q = dense_rows(q_in),
                   k = dense_rows(k_pool_in).transpose(0, 1),
                   v = dense_rows(v_pool_in).transpose(0, 1),
                   slots = slots_in.contiguous();
  const int listed = static_cast<int>(slots.size(0));
  FlashParams p = Shape(kSelected, q, v, listed, k.size(0), scale);
  if (q.size(0) == 0 || q.size(1) == 0) {
    return at::empty({q.size(0), q.size(1), v.size(2)}, q.options());
  }
  at::Tensor cos, sin;
  if (cos_in.has_value()) {
    cos = AlignedTable(*cos_in);
    sin = AlignedTable(*sin_in);
  }
  rotate_queries = rotate_queries && cos.defined();
  const float* cos_data = cos.defined() ? cos.const_data_ptr<float>() : nullptr;
  const float* sin_data = sin.defined() ? sin.const_data_ptr<float>() : nullptr;
  if (CanDecode(q, k, v)) {
    SelectedDecodeParams d;
    d.slots = slots.const_data_ptr<int32_t>();
    d.num_listed = listed;
    d.cos = cos_data;
    d.sin = sin_data;
    d.rotate_q = rotate_queries;
    return Decode(d, p, q, k, v);
  }

  GatherParams gather;
  gather.cos = cos_data;
  gather.sin = sin_data;
  gather.type = p.type;
  gather.stream = p.stream;
  int streams = 0;
  const auto gathered = [&](const at::Tensor& t, int rows, int padded,
                            const int32_t* from, bool rotate) {
    const at::Tensor to = at::empty({t.size(0), rows, padded}, t.options());
    GatherStream& s = gather.streams[streams++];
    s.from = MatrixOf(t);
    s.to = to.mutable_data_ptr();
    s.slots = from;
    s.heads = static_cast<int>(t.size(0));
    s.rows = rows;
    s.dim = static_cast<int>(t.size(2));
    s.padded_dim = padded;
    s.rotate = rotate;
    s.first_position = listed - rows;
    return to;
  };
  const int32_t* slots_data = slots.const_data_ptr<int32_t>();
  const at::Tensor dense_k =
      gathered(k, listed, p.head_dim, slots_data, cos.defined());
  const at::Tensor dense_v =
      gathered(v, listed, p.value_dim, slots_data, false);
  at::Tensor dense_q;
  if (rotate_queries) {
    dense_q = gathered(q, p.seq_len, p.head_dim, nullptr, true);
  } else {
    dense_q = FlashRows(q);
  }
  C10_CUDA_CHECK(GatherLaunch(gather));
  const at::Tensor out =
      at::empty({p.heads, p.seq_len, p.value_dim}, q.options());
  p.q = MatrixOf(dense_q);
  p.k = MatrixOf(dense_k);
  p.v = MatrixOf(dense_v);
  p.out = MatrixOf(out);
  C10_CUDA_CHECK(CausalAttentionLaunch(p));
  return Unpad(out, v.size(2));
}

at::Tensor BlockSelected(const at::Tensor& q_in, const at::Tensor& k_in,
                         const at::Tensor& v_in, const at::Tensor& blocks_in,
                         int64_t query_block, int64_t key_block, int64_t window,
                         std::optional<double> scale) {
  CheckBlockSelectedAttention(q_in, k_in, v_in, blocks_in, query_block,
                              key_block, window);
  const c10::cuda::CUDAGuard guard(q_in.device());
  FlashParams p = Shape(kBlock, q_in, v_in, k_in.size(1), k_in.size(0), scale);
  const at::Tensor q = FlashRows(q_in), k = FlashRows(k_in),
                   v = FlashRows(v_in), blocks = blocks_in.contiguous();
  const int64_t listed = blocks.size(2);
  const at::Tensor out =
      at::empty({q.size(0), q.size(1), v.size(2)}, q.options());
  if (out.numel() == 0) return Unpad(out, v_in.size(2));
  BlockList list;
  list.blocks = blocks.const_data_ptr<int32_t>();
  list.head_stride = blocks.size(0) == 1 ? 0 : blocks.stride(0);
  list.block_stride = blocks.stride(1);
  TORCH_CHECK(listed * key_block <= INT32_MAX / 2, kBlock, ": blocks ",
              blocks.sizes(), " of ", key_block, " keys are too many");
  list.listed = static_cast<int>(listed);
  list.query_block = static_cast<int>(query_block);
  list.key_block = static_cast<int>(key_block);
  list.window = static_cast<int>(std::min<int64_t>(window, p.num_keys));
  if (CanDecode(q_in, k_in, v_in)) {
    if (listed == 0 && list.window == 0) return out.zero_();
    SelectedDecodeParams d;
    d.list = list;
    d.num_keys = p.num_keys;
    return Decode(d, p, q_in, k_in, v_in);
  }
  const int64_t bytes = BlockAttentionSharedBytes(p, list);
  TORCH_CHECK(bytes <= 200 * 1024, kBlock, ": lists of ", listed, " blocks of ",
              key_block, " keys take ", bytes,
              " bytes of shared memory, at most 204800 are to be had");
  p.q = MatrixOf(q);
  p.k = MatrixOf(k);
  p.v = MatrixOf(v);
  p.out = MatrixOf(out);
  C10_CUDA_CHECK(BlockAttentionLaunch(p, list));
  return Unpad(out, v_in.size(2));
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("selected_attention", Selected);
  m.impl("block_selected_attention", BlockSelected);
}

}  // namespace
}  // namespace repro
