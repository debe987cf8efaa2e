// Launches of selected_attention_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_SELECTED_ATTENTION_SELECTED_ATTENTION_CUDA_H_
#define REPRO_KERNELS_SELECTED_ATTENTION_SELECTED_ATTENTION_CUDA_H_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/flash/flash.h"

namespace repro {

// Rows of `from` [heads, rows, dim], those that `slots` lists if it is given,
// copied to `to` [heads, rows, padded_dim] dense, zeros behind dim.
struct GatherStream {
  FlashMatrix from;
  void* to = nullptr;
  const int32_t* slots = nullptr;  // [rows]
  int heads = 0, rows = 0;
  int dim = 0, padded_dim = 0;
  // Row r is rotated to position first_position + r, entry i together with
  // entry i + dim / 2.
  bool rotate = false;
  int first_position = 0;
};

struct GatherParams {
  GatherStream streams[3];
  const float* cos = nullptr;  // [positions, dim / 2], if a stream rotates
  const float* sin = nullptr;
  FlashType type = FlashType::kBFloat16;
  cudaStream_t stream = nullptr;
};
cudaError_t GatherLaunch(const GatherParams& params);

// Query t sees the keys up to num_keys - seq_len + t.
cudaError_t CausalAttentionLaunch(const FlashParams& params);

// Keys that each block of queries has a list of, and a window.
struct BlockList {
  const int32_t* blocks = nullptr;  // [heads, query blocks, listed]
  int64_t head_stride = 0, block_stride = 0;
  int listed = 0;
  int query_block = 0, key_block = 0;
  int window = 0;  // at most num_keys
};

// Bytes of shared memory of a block of threads; at most 200 KB may be asked
// for.
int64_t BlockAttentionSharedBytes(const FlashParams& params,
                                  const BlockList& list);
cudaError_t BlockAttentionLaunch(const FlashParams& params,
                                 const BlockList& list);

// One query. Either slots or list.blocks is given.
struct SelectedDecodeParams {
  FlashMatrix q;        // one row
  FlashMatrix k, v;     // 16-byte aligned rows of head_dim, 64 or 128
  void* out = nullptr;  // [heads, head_dim]
  const int32_t* slots = nullptr;  // [num_listed]
  int num_listed = 0;
  // [positions, head_dim / 2], or null: the key in place j of the list is
  // rotated to position j, and with rotate_q the query to the last.
  const float* cos = nullptr;
  const float* sin = nullptr;
  bool rotate_q = false;

  BlockList list;
  int num_keys = 0;  // with list: the query stands at the last

  int heads = 0, key_heads = 0, head_dim = 0;
  float scale = 0;
  FlashType type = FlashType::kBFloat16;
  // If splits > 1, float32 [heads, splits, head_dim] and [heads, splits].
  float* partial_out = nullptr;
  float* partial_lse = nullptr;
  int splits = 1;
  cudaStream_t stream = nullptr;
};
int SelectedDecodeSplits(const SelectedDecodeParams& params,
                         int multiprocessors);
cudaError_t SelectedDecodeLaunch(const SelectedDecodeParams& params);

}  // namespace repro

#endif  // REPRO_KERNELS_SELECTED_ATTENTION_SELECTED_ATTENTION_CUDA_H_
