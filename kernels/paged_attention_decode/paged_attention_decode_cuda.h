// Launches of paged_attention_decode_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_PAGED_ATTENTION_DECODE_PAGED_ATTENTION_DECODE_CUDA_H_
#define REPRO_KERNELS_PAGED_ATTENTION_DECODE_PAGED_ATTENTION_DECODE_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/runtime/float_type.h"

namespace repro {

// A view [num_pages, page_size, num_kv_heads, row] with a dense last axis;
// strides in elements of its type.
struct PagedView {
  const void* data;
  int64_t page_stride, slot_stride, head_stride;
};

struct PagedDecodeParams {
  const void* q;  // [batch, num_heads, head_dim], last axis dense
  int64_t q_batch_stride, q_head_stride;
  PagedView k, v;
  // Of quantised pages: [..., groups] of half.
  PagedView k_scale, k_zero, v_scale, v_zero;
  const int32_t* page_table;
  int64_t page_table_stride;
  const int32_t* lengths;
  void* out;   // [batch, num_heads, head_dim], dense
  float* lse;  // [batch, num_heads]
  // Of more than one split: [batch, num_heads, splits, head_dim] and
  // [batch, num_heads, splits].
  float* partial_out;
  float* partial_lse;
  int batch, num_heads, num_kv_heads, head_dim, page_size, max_length;
  int group_size;  // quantisation's
  int bits;        // of an element of the pages: 16 or 32, 8, 4
  int splits;      // PagedDecodeSplits
  float scale;
  FloatType type;  // of q, out and unquantised pages
  cudaStream_t stream;
};

// Into how many parts the keys of each sequence are split; from the shapes
// alone (pointers may be unset but for alignment checks at the launch).
int PagedDecodeSplits(const PagedDecodeParams& params, int multiprocessors);
cudaError_t PagedDecodeLaunch(const PagedDecodeParams& params);

struct PagedAppendParams {
  // The pages are written.
  PagedView k_pages, v_pages;
  const int32_t* page_table;
  int64_t page_table_stride;
  const int32_t* lengths;
  void* q;  // rotated in place; null: not
  const void* k;
  const void* v;
  int64_t q_batch_stride, q_head_stride;
  int64_t k_batch_stride, k_head_stride;
  int64_t v_batch_stride, v_head_stride;
  const float* cos;  // null: no rotation
  const float* sin;
  int64_t rope_positions;
  int batch, num_heads, num_kv_heads, head_dim, page_size;
  int max_keys;  // slots of a sequence in the page table
  int sink, window;
  FloatType type;
  cudaStream_t stream;
};
cudaError_t PagedAppendLaunch(const PagedAppendParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_PAGED_ATTENTION_DECODE_PAGED_ATTENTION_DECODE_CUDA_H_
