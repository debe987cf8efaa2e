// Three kernels. Times are an H200's.
//
// Many queries, one list (TokenSelect: 512 queries, 28 heads, 4 of keys of 128,
// 2,688 keys): 18 GFLOP (23 us at 790 TFLOP/s) over 5.5 MB of keys and values,
// which every one of 28 heads' blocks of queries reads. They are gathered once,
// rotated on the way, to dense rows that stay in the L2 cache, and then
// attended to by the causal tiles of kernels/flash: the gathering moves 26 MB
// and takes 7 of 55 us, where rotating in the attention would do it 112 times
// over. LibTorch's FlashAttention takes 101 us for 2,688 keys in a row.
//
// Many queries, a list for each block of them and head (HiP): a group of four
// warps takes up to 64 queries of one list and head. Tiles of 64 keys come by
// cp.async, a row of 128 or 256 bytes at a time from where the list says, three
// of keys and of values each in shared memory: 96 KB for D = 128, two blocks an
// SM. The product with one tile's values runs while the next tile's scores are
// exponentiated. First the window, then the list, expanded to tokens in shared
// memory; both masks are intervals of columns, as the list ascends. With Q
// queries a list a key's 4 D bytes serve 4 Q D operations: Q operations a byte,
// and as no other head or block shares a list, from L2, which gives 4.1 to 4.7
// TB/s of gathered rows: 262 TFLOP/s for Q = 64 (1.14 times the time of
// LibTorch's FlashAttention over as many keys in a row) and 138 for Q = 32 (2.2
// times), whatever the matrix units do.
//
// One query (both): memory alone, 4 D bytes a key. A warp takes 16 keys at a
// time from memory straight into the registers of mma.m16n8k16, in the shape of
// kernels/paged_attention_decode (S^T = K Q^T, O^T = V^T P^T; the 8 columns are
// the query heads of a key head). A lane's 16-byte chunks of a key hold both
// entries of each pair that rotates together, so keys are rotated in registers
// with the tables' rows, as many bytes as a head's key and value but from the
// L2 cache. The lists of the papers, 5 to 25 MB, take some 10 us, most of it
// launching and waiting in a row for list, keys and merge.
#include <cuda_runtime.h>

#include <algorithm>
#include <climits>
#include <cstdint>

#include "kernels/flash/forward.h"
#include "kernels/runtime/early_launch.h"
#include "kernels/runtime/warp.h"
#include "kernels/selected_attention/selected_attention_cuda.h"

namespace repro {
namespace {

using flash::kLog2E;
using flash::kLowest;

// ---- Gathering ----

constexpr int kGatherThreads = 256;

// Rotates two pairs, the first entries in x and the second in y.
template <typename T>
__device__ inline void Turn(float2 cos, float2 sin, uint32_t* x, uint32_t* y) {
  const float2 a = flash::Unpack<T>(*x), b = flash::Unpack<T>(*y);
  *x = flash::Pack<T>(a.x * cos.x - b.x * sin.x, a.y * cos.y - b.y * sin.y);
  *y = flash::Pack<T>(b.x * cos.x + a.x * sin.x, b.y * cos.y + a.y * sin.y);
}

// Entries i... of the first half of a row and of the second, kWidth of each a
// thread; kWidth = 8 where all is aligned to 16 bytes, else 1.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kGatherThreads)
    Gather(const __grid_constant__ GatherParams p) {
  int head = blockIdx.y, number = 0;
  while (head >= p.streams[number].heads) head -= p.streams[number++].heads;
  const GatherStream& s = p.streams[number];
  const int half = s.padded_dim / 2;  // padded_dim is dim where kWidth is 8
  const int threads = half / kWidth;  // of a row
  const int index = blockIdx.x * kGatherThreads + threadIdx.x;
  const int row = index / threads;
  if (row >= s.rows) return;
  const int i = index % threads * kWidth;
  const int64_t from_row = s.slots != nullptr ? s.slots[row] : row;
  const T* from =
      flash::Head<T>(s.from, 0, head) + from_row * s.from.row_stride;
  T* to = static_cast<T*>(s.to) +
          (static_cast<int64_t>(head) * s.rows + row) * s.padded_dim;
  const int64_t table =
      static_cast<int64_t>(s.first_position + row) * (s.dim / 2);
  if constexpr (kWidth == 8) {
    uint4 low = *reinterpret_cast<const uint4*>(from + i);
    uint4 high = *reinterpret_cast<const uint4*>(from + i + half);
    if (s.rotate) {
      uint32_t* x = reinterpret_cast<uint32_t*>(&low);
      uint32_t* y = reinterpret_cast<uint32_t*>(&high);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 c =
            *reinterpret_cast<const float2*>(p.cos + table + i + 2 * j);
        const float2 n =
            *reinterpret_cast<const float2*>(p.sin + table + i + 2 * j);
        Turn<T>(c, n, &x[j], &y[j]);
      }
    }
    *reinterpret_cast<uint4*>(to + i) = low;
    *reinterpret_cast<uint4*>(to + i + half) = high;
  } else if (s.rotate) {
    // Where rows rotate, dim is even; here i counts pairs.
    if (i < s.dim / 2) {
      const float c = p.cos[table + i], n = p.sin[table + i];
      const float a = static_cast<float>(from[i]),
                  b = static_cast<float>(from[i + s.dim / 2]);
      to[i] = static_cast<T>(a * c - b * n);
      to[i + s.dim / 2] = static_cast<T>(b * c + a * n);
    } else {
      to[2 * i] = to[2 * i + 1] = static_cast<T>(0.f);
    }
  } else {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      to[2 * i + j] = 2 * i + j < s.dim ? from[2 * i + j] : static_cast<T>(0.f);
    }
  }
}

struct CausalMask {
  static constexpr bool kOwn = false;
  static constexpr bool kLong = true;
  int place;  // of query 0

  __device__ int First(int) const { return 0; }
  __device__ int End(int t) const { return t + place + 1; }
};

// ---- A list a block of queries ----

constexpr int kRows = 64;  // queries of a block of threads
constexpr int kTile = 64;
constexpr int kStages = 3;
constexpr int kThreads = 128;

// As flash::LoadTile, of the rows row_of(0)...; zeros where that is negative.
template <int kDim, typename T, typename RowOf>
__device__ inline void LoadRowsOf(uint32_t tile, const T* matrix,
                                  int64_t stride, int dim,
                                  const RowOf& row_of) {
  constexpr int kChunks = kDim / 8;
  constexpr int kStep = kThreads / kChunks;
  const int chunk = threadIdx.x % kChunks;
  const int row = threadIdx.x / kChunks;
  const T* from = matrix + chunk * 8;
  const uint32_t to = tile + flash::TileOffset<kTile>(row, chunk);
#pragma unroll
  for (int i = 0; i < kTile / kStep; ++i) {
    const int key = row_of(row + i * kStep);
    const bool valid = key >= 0 && chunk * 8 < dim;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     to + i * kStep * 128),
                 "l"(from + (valid ? key : 0) * stride), "r"(valid ? 16 : 0)
                 : "memory");
  }
}

template <int kDim>
constexpr int TileBytes() {
  return 2 * kStages * kTile * kDim * 2;
}

template <typename T, int kDim>
__global__ void __launch_bounds__(kThreads, kDim == 64 ? 3 : 2)
    BlockAttention(const __grid_constant__ FlashParams p, const BlockList list,
                   int chunks) {
  using namespace flash;
  extern __shared__ __align__(1024) char shared[];
  __shared__ int shared_count;
  constexpr int kTileBytes = kTile * kDim * 2;
  const uint32_t k_tiles = SharedAddress(shared);
  const uint32_t v_tiles = k_tiles + kStages * kTileBytes;
  int* ids = reinterpret_cast<int*>(shared + TileBytes<kDim>());
  const int warp = WarpIndex(), lane = threadIdx.x % 32;

  // Neighbours share a key head: the heads of its group first, then queries.
  const int group = p.heads_per_key_head;
  const int query_blocks =
      (p.seq_len + list.query_block - 1) / list.query_block;
  const int per_head = query_blocks * chunks;
  const int kv_head = blockIdx.x / (per_head * group);
  const int rest = blockIdx.x % (per_head * group);
  const int head = kv_head * group + rest % group;
  const int query_block = rest / group / chunks;
  const int chunk_start = rest / group % chunks * kRows;
  const int first = query_block * list.query_block + chunk_start;
  const int count =
      min(min(list.query_block - chunk_start, kRows), p.seq_len - first);
  if (count <= 0) return;

  const int place = p.num_keys - p.seq_len + first;  // of the first query
  const int last = place + count - 1;
  const int low = max(0, place - list.window + 1);
  const int window_keys = list.window == 0 ? 0 : last + 1 - low;
  const int window_tiles = (window_keys + kTile - 1) / kTile;

  // The listed tokens that the last query sees, then INT_MAX.
  if (threadIdx.x == 0) shared_count = 0;
  __syncthreads();
  const int tokens = list.listed * list.key_block;
  const int padded = (tokens + kTile - 1) / kTile * kTile;
  {
    const int32_t* blocks =
        list.blocks + head * list.head_stride + query_block * list.block_stride;
    const int all_blocks = (p.num_keys + list.key_block - 1) / list.key_block;
    int valid = 0;
    for (int i = threadIdx.x; i < list.listed; i += kThreads) {
      const int block = blocks[i];
      const bool known = block >= 0 && block < all_blocks;
      for (int j = 0; j < list.key_block; ++j) {
        const int id = known ? block * list.key_block + j : INT_MAX;
        const bool seen = id <= last - list.window;
        ids[i * list.key_block + j] = seen ? id : INT_MAX;
        valid += seen;
      }
    }
    for (int i = tokens + threadIdx.x; i < padded; i += kThreads) {
      ids[i] = INT_MAX;
    }
    if (valid > 0) atomicAdd(&shared_count, valid);
  }
  __syncthreads();
  const int tiles = window_tiles + (shared_count + kTile - 1) / kTile;

  const T* k = Head<T>(p.k, 0, kv_head);
  const T* v = Head<T>(p.v, 0, kv_head);
  const auto k_tile = [&](int i) { return k_tiles + i % kStages * kTileBytes; };
  const auto v_tile = [&](int i) { return v_tiles + i % kStages * kTileBytes; };
  const auto load = [&](uint32_t tile, const T* matrix, int64_t stride, int dim,
                        int i) {
    if (i < window_tiles) {
      const int key = low + i * kTile;
      LoadRowsOf<kDim>(tile, matrix, stride, dim, [&](int row) {
        return key + row <= last ? key + row : -1;
      });
    } else if (i < tiles) {
      const int* entry = ids + (i - window_tiles) * kTile;
      LoadRowsOf<kDim>(tile, matrix, stride, dim, [&](int row) {
        const int id = entry[row];
        return id == INT_MAX ? -1 : id;
      });
    }
  };
  const auto load_k = [&](int i) {
    load(k_tile(i), k, p.k.row_stride, p.head_dim, i);
  };
  const auto load_v = [&](int i) {
    load(v_tile(i), v, p.v.row_stride, p.value_dim, i);
  };

  // Queries where tile 2 of keys will be.
  LoadTile<kRows, kDim, kThreads>(k_tile(2), Head<T>(p.q, 0, head),
                                  p.q.row_stride, first, first + count,
                                  p.head_dim);
  load_k(0);
  CommitLoads();
  load_k(1);
  load_v(0);
  CommitLoads();
  WaitForLoads<1>();
  __syncthreads();
  uint32_t q[kDim / 16][4];
  LoadOperand<kRows>(k_tile(2) + warp * 16 * 128, q);

  const float scale = p.scale * kLog2E;
  float out[kDim / 8][4];
  Clear(out);
  float maximum[2] = {kLowest, kLowest}, sum[2] = {0, 0};
  float scores[kTile / 8][4];
  float decay[2] = {1, 1};
  uint32_t weights[kTile / 16][4];
  // Warps without queries only take part in the products.
  const bool active = warp * 16 < count;
  const int row_place = place + warp * 16 + lane / 4;

  // Scores to weights; see flash/forward.h.
  const auto weigh = [&](int i) {
    bool whole;
    int begin[2] = {0, 0}, end[2] = {kTile, kTile};
    if (i < window_tiles) {
      const int key = low + i * kTile;
      whole = key > last - list.window && key + kTile <= place + 1;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        begin[r] = row_place + 8 * r - list.window + 1 - key;
        end[r] = row_place + 8 * r + 1 - key;
      }
    } else {
      const int* entry = ids + (i - window_tiles) * kTile;
      whole = entry[kTile - 1] <= place - list.window;
      if (!whole) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          // How many of the entries are outside the row's window.
          const int seen = row_place + 8 * r - list.window;
          int below = 0;
#pragma unroll
          for (int step = kTile / 2; step > 0; step /= 2) {
            if (entry[below + step - 1] <= seen) below += step;
          }
          if (below == kTile - 1 && entry[below] <= seen) ++below;
          end[r] = below;
        }
      }
    }
    if (!whole) MaskScores<0, kTile / 8>(scores, begin, end);
    float maxima[2] = {maximum[0], maximum[1]};
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        maxima[j / 2] = fmaxf(maxima[j / 2], scores[n][j]);
      }
    }
    float shift[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      maxima[r] = QuadMax(maxima[r]);
      decay[r] = Exp2((maximum[r] - maxima[r]) * scale);
      maximum[r] = maxima[r];
      shift[r] = maxima[r] * scale;
      sum[r] *= decay[r];
    }
#pragma unroll
    for (int n = 0; n < kTile / 8; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        scores[n][j] = Exp2(fmaf(scores[n][j], scale, -shift[j / 2]));
        sum[j / 2] += scores[n][j];
      }
    }
  };

#pragma unroll
  for (int n = 0; n < kTile / 16; ++n) {
    weights[n][0] = weights[n][1] = weights[n][2] = weights[n][3] = 0;
  }
  const auto settle = [&] {
    if (!active) return;
    if (!__all_sync(0xffffffffu, decay[0] == 1 && decay[1] == 1)) {
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
        for (int j = 0; j < 4; ++j) out[n][j] *= decay[j / 2];
      }
    }
    PackOperand<T>(scores, weights);
  };
  // While tile i is worked on, tile i + 1 and half of tile i + 2 are on their
  // way.
  const auto arrive = [&](int i) {
    WaitForLoads<1>();
    __syncthreads();
    load_k(i + 2);
    load_v(i + 1);
    CommitLoads();
  };
  if (tiles > 0) {
    arrive(0);
    StartProducts();
    Multiply<T, kTile>(scores, q, k_tile(0));
    CommitProducts();
    Wait<0>(scores);
    if (active) weigh(0);
    settle();
    for (int i = 1; i < tiles; ++i) {
      arrive(i);
      StartProducts();
      Multiply<T, kTile>(scores, q, k_tile(i));
      CommitProducts();
      AddTransposed<T, kTile>(out, weights, v_tile(i - 1));
      CommitProducts();
      Wait<1>(scores);
      if (active) weigh(i);
      Wait<0>(out);
      settle();
    }
    WaitForLoads<0>();
    __syncthreads();
    StartProducts();
    AddTransposed<T, kTile>(out, weights, v_tile(tiles - 1));
    CommitProducts();
    Wait<0>(out);
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] = QuadSum(sum[r]);
    // A query may see nothing.
    const float inverse = sum[r] > 0 ? __fdividef(1, sum[r]) : 0;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      out[n][2 * r] *= inverse;
      out[n][2 * r + 1] *= inverse;
    }
  }
  WaitForLoads<0>();
  __syncthreads();
  const uint32_t rows = k_tiles + warp * 16 * 128;
  StoreAccumulator<T, kRows>(rows, out);
  __syncwarp();
  StoreRows<kRows, kDim>(rows, Head<T>(p.out, 0, head), p.out.row_stride,
                         first + warp * 16, first + count, p.value_dim);
}

template <typename T, int kDim>
cudaError_t LaunchBlocks(const FlashParams& p, const BlockList& list) {
  const auto kernel = BlockAttention<T, kDim>;
  const int bytes = static_cast<int>(BlockAttentionSharedBytes(p, list));
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error != cudaSuccess) return error;
  const int chunks = (list.query_block + kRows - 1) / kRows;
  const int query_blocks =
      (p.seq_len + list.query_block - 1) / list.query_block;
  kernel<<<query_blocks * chunks * p.heads, kThreads, bytes, p.stream>>>(
      p, list, chunks);
  return cudaGetLastError();
}

bool IsNarrow(const FlashParams& p) {
  return p.head_dim <= 64 && p.value_dim <= 64;
}

// ---- One query ----

constexpr int kDecodeWarps = 4;
constexpr int kDecodeThreads = 32 * kDecodeWarps;
// Of an SM; the tables' rows take registers.
constexpr int DecodeBlocksOfSm(bool rotate) { return rotate ? 2 : 3; }
constexpr int kQueries = 8;    // columns of an mma
constexpr int kStepKeys = 16;  // its rows
constexpr int kMergeWarps = 8;
// The running maximum moves only when a logit exceeds it by 2^kLag.
constexpr float kLag = 8;

__device__ inline void LoadOnce(const void* from, uint32_t* to) {
  asm volatile("ld.global.nc.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "l"(from));
}

// Keys that one query's launch goes through, seen or not.
__host__ __device__ inline int DecodeKeys(const SelectedDecodeParams& p) {
  if (p.slots != nullptr) return p.num_listed;
  return p.list.listed * p.list.key_block + p.list.window;
}

// Which element the low half of register i of a row's part is, which lane
// `lane` of kLanes holds in chunks of 8.
template <int kLanes>
__device__ inline int ElementOf(int lane, int i) {
  return (lane + kLanes * (i / 4)) * 8 + i % 4 * 2;
}

template <typename T, int kDim, bool kRotate, bool kBlocks>
__global__ void __launch_bounds__(kDecodeThreads, DecodeBlocksOfSm(kRotate))
    Decode(const __grid_constant__ SelectedDecodeParams p, int query_tiles) {
  constexpr int kKeyRegisters = kDim / 8;     // of a row over 4 lanes
  constexpr int kValueRegisters = kDim / 16;  // over 8 lanes
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = lane / 4, column = lane % 4;
  const int group = p.heads / p.key_heads;
  int kv_head, first_head, queries;
  if (kBlocks) {
    first_head = blockIdx.y;
    kv_head = first_head / group;
    queries = 1;
  } else {
    kv_head = blockIdx.y / query_tiles;
    const int first_query = blockIdx.y % query_tiles * kQueries;
    queries = min(group - first_query, kQueries);
    first_head = kv_head * group + first_query;
  }
  const int split = blockIdx.x;
  const int keys = DecodeKeys(p);
  const int steps = (keys + kStepKeys - 1) / kStepKeys;
  const int begin =
      static_cast<int>(static_cast<int64_t>(steps) * split / p.splits) *
      kStepKeys;
  const int end = min(
      static_cast<int>(static_cast<int64_t>(steps) * (split + 1) / p.splits) *
          kStepKeys,
      keys);
  const T* k = flash::Head<T>(p.k, 0, kv_head);
  const T* v = flash::Head<T>(p.v, 0, kv_head);
  WaitForInputs();

  float o[kDim / 16][4];
#pragma unroll
  for (int i = 0; i < kDim / 16; ++i) {
    o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0;
  }
  // Of the queries 2 column and 2 column + 1.
  float maximum[2] = {kLowest, kLowest}, sum[2] = {0, 0};

  int key0 = begin + warp * kStepKeys;
  if (key0 < end) {
    // In lane l: the row of key l % 16 of a step, -1 if it is not seen.
    int id;
    const auto find = [&](int first) {
      const int key = first + lane % kStepKeys;
      if constexpr (kBlocks) {
        const int listed = p.list.listed * p.list.key_block;
        if (key < listed) {
          const int number = key / p.list.key_block;
          const int block =
              p.list.blocks[first_head * p.list.head_stride + number];
          id = -1;
          if (block >= 0 && block < p.num_keys) {
            const int64_t token =
                static_cast<int64_t>(block) * p.list.key_block + key -
                number * p.list.key_block;
            if (token < p.num_keys - p.list.window) {
              id = static_cast<int>(token);
            }
          }
        } else {
          id = key < end ? p.num_keys - p.list.window + key - listed : -1;
        }
      } else {
        id = key < end ? p.slots[key] : -1;
      }
    };
    uint32_t k_words[2][kKeyRegisters];
    bool next_seen[2];
    const auto load_k = [&] {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int key = __shfl_sync(0xffffffffu, id, row + 8 * i);
        next_seen[i] = key >= 0;
        const T* from = k + max(key, 0) * p.k.row_stride;
#pragma unroll
        for (int c = 0; c < kKeyRegisters / 4; ++c) {
          LoadOnce(from + (column + 4 * c) * 8, k_words[i] + 4 * c);
        }
      }
    };
    find(key0);
    load_k();

    // Entry d of a query head, rotated.
    uint32_t q[kKeyRegisters];
    {
      const T* from =
          flash::Head<T>(p.q, 0, first_head + min(row, queries - 1));
      const int64_t table = static_cast<int64_t>(keys - 1) * (kDim / 2);
      const auto entry = [&](int d) {
        const float x = static_cast<float>(from[d]);
        if (!kRotate || !p.rotate_q) return x;
        const int i = d % (kDim / 2);
        const float y = static_cast<float>(from[(d + kDim / 2) % kDim]);
        const float c = p.cos[table + i], s = p.sin[table + i];
        return d < kDim / 2 ? x * c - y * s : x * c + y * s;
      };
#pragma unroll
      for (int i = 0; i < kKeyRegisters; ++i) {
        const int d = ElementOf<4>(column, i);
        q[i] = flash::Pack<T>(entry(d), entry(d + 1));
      }
    }
    const float scale = p.scale * kLog2E;

    while (true) {
      const bool seen[2] = {next_seen[0], next_seen[1]};
      uint32_t v_words[4][kValueRegisters];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        // Keys 2 column, 2 column + 1, the same + 8.
        const int key =
            __shfl_sync(0xffffffffu, id, 2 * column + i % 2 + i / 2 * 8);
        const T* from = v + max(key, 0) * p.v.row_stride;
#pragma unroll
        for (int c = 0; c < kValueRegisters / 4; ++c) {
          LoadOnce(from + (row + 8 * c) * 8, v_words[i] + 4 * c);
        }
      }
      const int next = key0 + kDecodeWarps * kStepKeys;
      if (next < end) find(next);

      if constexpr (kRotate) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int64_t table =
              static_cast<int64_t>(min(key0 + row + 8 * i, end - 1)) *
              (kDim / 2);
#pragma unroll
          for (int j = 0; j < kKeyRegisters / 2; j += 2) {
            const int d = ElementOf<4>(column, j);
            const float4 c =
                __ldg(reinterpret_cast<const float4*>(p.cos + table + d));
            const float4 n =
                __ldg(reinterpret_cast<const float4*>(p.sin + table + d));
            Turn<T>(make_float2(c.x, c.y), make_float2(n.x, n.y),
                    &k_words[i][j], &k_words[i][j + kKeyRegisters / 2]);
            Turn<T>(make_float2(c.z, c.w), make_float2(n.z, n.w),
                    &k_words[i][j + 1], &k_words[i][j + 1 + kKeyRegisters / 2]);
          }
        }
      }

      // S^T: keys row and row + 8, queries 2 column and 2 column + 1.
      float s[4] = {0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < kKeyRegisters; i += 2) {
        const uint32_t a[4] = {k_words[0][i], k_words[1][i], k_words[0][i + 1],
                               k_words[1][i + 1]};
        flash::MmaSync<T>(s, a, q[i], q[i + 1]);
      }
      if (next < end) load_k();

      float most[2] = {kLowest, kLowest};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        s[i] = seen[i / 2] ? s[i] * scale : -INFINITY;
        most[i % 2] = fmaxf(most[i % 2], s[i]);
      }
      if (__any_sync(0xffffffffu, most[0] > maximum[0] + kLag ||
                                      most[1] > maximum[1] + kLag)) {
        float factor[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
          for (int mask = 4; mask < 32; mask *= 2) {
            most[i] =
                fmaxf(most[i], __shfl_xor_sync(0xffffffffu, most[i], mask));
          }
          most[i] = fmaxf(most[i], maximum[i]);
          factor[i] = flash::Exp2(maximum[i] - most[i]);
          maximum[i] = most[i];
          sum[i] *= factor[i];
        }
#pragma unroll
        for (int i = 0; i < kDim / 16; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) o[i][j] *= factor[j % 2];
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        s[i] = flash::Exp2(s[i] - maximum[i % 2]);
        sum[i % 2] += s[i];
      }
      const uint32_t b0 = Transpose8x8(flash::Pack<T>(s[0], s[1]));
      const uint32_t b1 = Transpose8x8(flash::Pack<T>(s[2], s[3]));
#pragma unroll
      for (int i = 0; i < kDim / 16; ++i) {
        const uint32_t a[4] = {
            __byte_perm(v_words[0][i], v_words[1][i], 0x5410),
            __byte_perm(v_words[0][i], v_words[1][i], 0x7632),
            __byte_perm(v_words[2][i], v_words[3][i], 0x5410),
            __byte_perm(v_words[2][i], v_words[3][i], 0x7632)};
        flash::MmaSync<T>(o[i], a, b0, b1);
      }
      if (next >= end) break;
      key0 = next;
    }
  }
  LaunchDependents();

  // The warps' parts.
  __shared__ float shared_o[kDecodeWarps][kQueries][kDim];
  __shared__ float shared_max[kDecodeWarps][kQueries];
  __shared__ float shared_sum[kDecodeWarps][kQueries];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) {
      sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], mask);
    }
    if (row == 0) {
      shared_max[warp][2 * column + i] = maximum[i];
      shared_sum[warp][2 * column + i] = sum[i];
    }
  }
#pragma unroll
  for (int i = 0; i < kDim / 16; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      shared_o[warp][2 * column + j % 2][ElementOf<8>(row, i) + j / 2] =
          o[i][j];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < queries * kDim; i += kDecodeThreads) {
    const int query = i / kDim, d = i % kDim;
    float most = kLowest, total = 0, value = 0;
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) {
      most = fmaxf(most, shared_max[w][query]);
    }
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) {
      const float weight = flash::Exp2(shared_max[w][query] - most);
      total += weight * shared_sum[w][query];
      value += weight * shared_o[w][query][d];
    }
    value = total > 0 ? value / total : 0;
    const int64_t head = first_head + query;
    if (p.splits == 1) {
      static_cast<T*>(p.out)[head * kDim + d] = static_cast<T>(value);
    } else {
      p.partial_out[(head * p.splits + split) * kDim + d] = value;
      if (d == 0) {
        p.partial_lse[head * p.splits + split] =
            total > 0 ? most + log2f(total) : -INFINITY;
      }
    }
  }
}

// Merges the splits of one query head; four entries a lane.
template <typename T, int kDim>
__global__ void __launch_bounds__(32 * kMergeWarps)
    Merge(const __grid_constant__ SelectedDecodeParams p) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t head = blockIdx.x;
  const float* lse = p.partial_lse + head * p.splits;
  LaunchDependents();
  WaitForInputs();
  float most = kLowest;
  for (int s = lane; s < p.splits; s += 32) most = fmaxf(most, lse[s]);
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, mask));
  }
  const bool mine = lane * 4 < kDim;
  const float* from = p.partial_out + head * p.splits * kDim + lane * 4;
  float4 value = make_float4(0, 0, 0, 0);
  float total = 0;
#pragma unroll 4
  for (int s = warp; s < p.splits; s += kMergeWarps) {
    const float weight = flash::Exp2(lse[s] - most);
    total += weight;
    if (mine) {
      const float4 x = *reinterpret_cast<const float4*>(from + s * kDim);
      value.x += weight * x.x;
      value.y += weight * x.y;
      value.z += weight * x.z;
      value.w += weight * x.w;
    }
  }
  __shared__ float4 shared[kMergeWarps][32];
  __shared__ float shared_total[kMergeWarps];
  shared[warp][lane] = value;
  if (lane == 0) shared_total[warp] = total;
  __syncthreads();
  const int d = threadIdx.x;
  if (d >= kDim) return;
  float x = 0;
  total = 0;
#pragma unroll
  for (int w = 0; w < kMergeWarps; ++w) {
    x += reinterpret_cast<const float*>(&shared[w][0])[d];
    total += shared_total[w];
  }
  static_cast<T*>(p.out)[head * kDim + d] =
      static_cast<T>(total > 0 ? x / total : 0);
}

int QueryTiles(const SelectedDecodeParams& p) {
  return (p.heads / p.key_heads + kQueries - 1) / kQueries;
}

int DecodeBlocks(const SelectedDecodeParams& p) {
  return p.slots == nullptr ? p.heads : p.key_heads * QueryTiles(p);
}

template <typename T, int kDim>
cudaError_t LaunchDecode(const SelectedDecodeParams& p) {
  const auto kernel = p.slots == nullptr ? Decode<T, kDim, false, true>
                      : p.cos != nullptr ? Decode<T, kDim, true, false>
                                         : Decode<T, kDim, false, false>;
  const cudaError_t error =
      LaunchEarly(kernel, dim3(p.splits, DecodeBlocks(p)), kDecodeThreads, 0,
                  p.stream, p, QueryTiles(p));
  if (error != cudaSuccess || p.splits == 1) return error;
  return LaunchEarly(Merge<T, kDim>, dim3(p.heads), 32 * kMergeWarps, 0,
                     p.stream, p);
}

}  // namespace

cudaError_t GatherLaunch(const GatherParams& params) {
  int64_t rows = 0;
  int heads = 0;
  bool wide = true;
  for (const GatherStream& s : params.streams) {
    if (s.heads == 0) continue;
    heads += s.heads;
    wide = wide && s.dim % 16 == 0 &&
           reinterpret_cast<uintptr_t>(s.from.data) % 16 == 0 &&
           s.from.head_stride % 8 == 0 && s.from.row_stride % 8 == 0;
  }
  for (const GatherStream& s : params.streams) {
    rows = std::max<int64_t>(
        rows, static_cast<int64_t>(s.rows) * (s.padded_dim / (wide ? 16 : 2)));
  }
  const dim3 grid(
      static_cast<unsigned>((rows + kGatherThreads - 1) / kGatherThreads),
      heads);
  const bool half = params.type == FlashType::kHalf;
  const auto kernel = half   ? wide ? Gather<__half, 8> : Gather<__half, 1>
                        : wide ? Gather<__nv_bfloat16, 8>
                             : Gather<__nv_bfloat16, 1>;
  kernel<<<grid, kGatherThreads, 0, params.stream>>>(params);
  return cudaGetLastError();
}

cudaError_t CausalAttentionLaunch(const FlashParams& params) {
  return FlashForward(params, CausalMask{params.num_keys - params.seq_len});
}

int64_t BlockAttentionSharedBytes(const FlashParams& params,
                                  const BlockList& list) {
  const int64_t tokens = static_cast<int64_t>(list.listed) * list.key_block;
  return (IsNarrow(params) ? TileBytes<64>() : TileBytes<128>()) +
         (tokens + kTile - 1) / kTile * kTile * 4;
}

cudaError_t BlockAttentionLaunch(const FlashParams& params,
                                 const BlockList& list) {
  const bool narrow = IsNarrow(params);
  if (params.type == FlashType::kHalf) {
    return narrow ? LaunchBlocks<__half, 64>(params, list)
                  : LaunchBlocks<__half, 128>(params, list);
  }
  return narrow ? LaunchBlocks<__nv_bfloat16, 64>(params, list)
                : LaunchBlocks<__nv_bfloat16, 128>(params, list);
}

int SelectedDecodeSplits(const SelectedDecodeParams& params,
                         int multiprocessors) {
  const int steps = (DecodeKeys(params) + kStepKeys - 1) / kStepKeys;
  const int fit = multiprocessors * DecodeBlocksOfSm(params.cos != nullptr) /
                  DecodeBlocks(params);
  const int most = (steps + kDecodeWarps - 1) / kDecodeWarps;
  return std::max(1, std::min({fit, most, 256}));
}

cudaError_t SelectedDecodeLaunch(const SelectedDecodeParams& params) {
  if (params.type == FlashType::kHalf) {
    return params.head_dim == 64 ? LaunchDecode<__half, 64>(params)
                                 : LaunchDecode<__half, 128>(params);
  }
  return params.head_dim == 64 ? LaunchDecode<__nv_bfloat16, 64>(params)
                               : LaunchDecode<__nv_bfloat16, 128>(params);
}

}  // namespace repro
