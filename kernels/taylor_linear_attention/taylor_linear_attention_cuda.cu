// Forward, of one head with value_dim 64 and a token: 0.3 KB of q, k, v, y; by
// tiles of 16 tokens 180 tensor products of 16x8x16 a tile, 46 kFLOP a token.
// For 65,536 tokens of 16 heads that is 0.34 GB, 0.07 ms of an H200, and 48
// GFLOP, 0.06 ms: neither bounds alone, so what counts is to feed the tensor
// cores with few other instructions. 168 registers a thread leave twelve warps
// a multiprocessor; measured on an H100, 36% of the issue slots and 24% of the
// tensor pipe are busy. By the disassembly what remains is latency: each
// rotated tile is loaded right before its use.
//
// The state never leaves the registers. A block of four warps walks through
// one head; a warp has 16 of 64 value columns and, in fp32 accumulators, their
// sums with all products k_i k_j. Those are symmetric in i and j, so only the
// cyclic diagonals (i, i + s mod 16), s = 0...8, are kept: 136 products, 17
// tiles of 8, 68 registers a thread. The features of diagonal s are the 16x16
// tile of tokens and keys times itself rotated by s rows, and a rotated tile is
// an ldmatrix from a transposed copy with another first row. The state is held
// transposed (value columns are rows), so that an accumulator, rounded to 16
// bits, is the right operand of the product with the queries' features as it
// stands: no exchange between threads and none through shared memory. The
// denominator is a Gram matrix K^T K (two products) of which every warp has its
// own copy.
//
// Gradients of q and k need the sums over value columns of state times dy; a
// warp has again 16 value columns and all of 16 x 16 products (128 registers),
// the left operand is dy scaled by one key feature, and the partial sums of the
// four warps meet in shared memory. The gradient of v is the forward kernel on
// the reversed sequence.
//
// Where batch x heads leaves multiprocessors idle, the sequence is cut in
// segments: a first pass sums each segment's state (a dump of the registers), a
// scan adds what lies before, and the main pass starts from there.
//
// float16: the state is scaled by a power of two before it is rounded, lest it
// overflow or vanish.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/taylor_linear_attention/taylor_linear_attention_cuda.h"

namespace repro {
namespace {

constexpr int kThreads = 128;  // four warps
constexpr int kChunk = 64;     // tokens in shared memory at a time
constexpr int kTile = 16;      // tokens of a step
constexpr int kBlockValues = 64;
constexpr int kStride = kChunk + 8;  // of rows in shared memory: no conflicts
constexpr int kShifted = 23;         // rows of q^T, k^T: 16, and 7 again

template <typename T>
__device__ uint32_t Pack(float low, float high);
template <>
__device__ uint32_t Pack<__nv_bfloat16>(float low, float high) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
template <>
__device__ uint32_t Pack<__half>(float low, float high) {
  uint32_t out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}

__device__ float2 Unpack(__nv_bfloat16, uint32_t x) {
  return __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(x));
}
__device__ float2 Unpack(__half, uint32_t x) {
  return __half22float2(reinterpret_cast<const __half2&>(x));
}

template <typename T>
__device__ uint32_t Multiply(uint32_t a, uint32_t b);
template <>
__device__ uint32_t Multiply<__nv_bfloat16>(uint32_t a, uint32_t b) {
  const __nv_bfloat162 out =
      __hmul2(reinterpret_cast<const __nv_bfloat162&>(a),
              reinterpret_cast<const __nv_bfloat162&>(b));
  return reinterpret_cast<const uint32_t&>(out);
}
template <>
__device__ uint32_t Multiply<__half>(uint32_t a, uint32_t b) {
  const __half2 out = __hmul2(reinterpret_cast<const __half2&>(a),
                              reinterpret_cast<const __half2&>(b));
  return reinterpret_cast<const uint32_t&>(out);
}

// The fragments of mma.sync, with lane = 4 g + t. C [16, 8]: rows g (c0, c1)
// and g + 8 (c2, c3), columns 2t, 2t + 1. A [16, 16]: (row g, columns 2t, 2t +
// 1), (g + 8, same), (g, 8 + 2t...), (g + 8, 8 + 2t...). B [16, 8]: (rows 2t,
// 2t + 1, column g), (rows 8 + 2t..., column g).
template <typename T>
__device__ void Mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                    uint32_t b1);
template <>
__device__ void Mma<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4],
                                   uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ void Mma<__half>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                            uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same with half of the inner axis.
template <typename T>
__device__ void MmaHalf(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t b0);
template <>
__device__ void MmaHalf<__nv_bfloat16>(float (&c)[4], uint32_t a0, uint32_t a1,
                                       uint32_t b0) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
      "{%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(b0));
}
template <>
__device__ void MmaHalf<__half>(float (&c)[4], uint32_t a0, uint32_t a1,
                                uint32_t b0) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
      "{%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(b0));
}

__device__ uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Four 8x8 tiles, of which lanes 8m...8m + 7 give the rows of tile m: lane gets
// (row g, columns 2t, 2t + 1), transposed (rows 2t, 2t + 1, column g).
__device__ void Load4(uint32_t (&r)[4], uint32_t address) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
      : "r"(address)
      : "memory");
}
__device__ void Load4Transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
      : "r"(address)
      : "memory");
}

// 16 bytes to shared memory; zeros, and no read, if !valid.
__device__ void CopyAsync(uint32_t to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
               "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
__device__ void WaitForCopies() {
  asm volatile("cp.async.wait_group 0;" ::: "memory");
}

template <typename T>
__device__ const T* RowsOf(const TaylorMatrix& m, int64_t batch, int64_t head) {
  return static_cast<const T*>(m.data) + batch * m.batch_stride +
         head * m.head_stride;
}

// A power of two that brings `largest`, the warp's maximum, near 2^8.
__device__ float ScaleFor(float largest) {
  const unsigned bits =
      __reduce_max_sync(0xffffffffu, __float_as_uint(largest));
  const int exponent = static_cast<int>(bits >> 23) - 127;
  const int wanted = max(-60, min(60, 8 - exponent));
  return __uint_as_float(static_cast<unsigned>(wanted + 127) << 23);
}

// 8 key features of a token, thread by thread: 64 tokens by two halves. Walks
// from chunk to chunk.
template <typename T>
struct KeyPrefetch {
  const T* from;
  int64_t step;
  uint4 values;

  __device__ KeyPrefetch(const T* rows, int64_t stride, int64_t begin)
      : from(rows + (begin + threadIdx.x / 2) * stride + threadIdx.x % 2 * 8),
        step(kChunk * stride) {}

  // The next chunk, of which `tokens` are there.
  __device__ void Load(int tokens) {
    values = make_uint4(0, 0, 0, 0);
    if (static_cast<int>(threadIdx.x / 2) < tokens) {
      values = *reinterpret_cast<const uint4*>(from);
    }
    from += step;
  }

  // Transposed, times scale; rows from 16 on repeat the first ones.
  template <int kRows>
  __device__ void Store(T (*to)[kStride], float scale) const {
    const int token = threadIdx.x / 2, first = threadIdx.x % 2 * 8;
    const uint32_t words[4] = {values.x, values.y, values.z, values.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair = Unpack(T(), words[i]);
      const T low = static_cast<T>(pair.x * scale),
              high = static_cast<T>(pair.y * scale);
      const int row = first + 2 * i;
      to[row][token] = low;
      to[row + 1][token] = high;
      if (row + 16 < kRows) to[row + 16][token] = low;
      if (row + 17 < kRows) to[row + 17][token] = high;
    }
  }
};

// 64 value columns of a chunk; walks from chunk to chunk.
template <typename T>
struct ValueCopy {
  const T* from;
  int64_t step;
  bool inside;

  __device__ ValueCopy(const T* rows, int64_t stride, int64_t begin, int column,
                       int value_dim)
      : step(kThreads / 8 * stride) {
    const int value = column + threadIdx.x % 8 * 8;
    inside = value < value_dim;
    from = rows + (begin + threadIdx.x / 8) * stride + (inside ? value : 0);
  }

  __device__ void Load(T (*to)[kStride], int tokens) {
    const int first = threadIdx.x / 8;
    const uint32_t address = SharedAddress(&to[first][threadIdx.x % 8 * 8]);
#pragma unroll
    for (int i = 0; i < kChunk; i += kThreads / 8) {
      CopyAsync(address + i * kStride * sizeof(T), from,
                inside && first + i < tokens);
      from += step;
    }
  }
};

// What a thread holds of a head's sums.
struct ForwardState {
  // Diagonal tile n: features i = 8 (n % 2) + {0...7}, j = i + n / 2 mod 16:
  // C[value][i] = sum k_i k_j v.
  float square[17][4];
  float linear[2][4];    // C[value][i] = sum k_i v
  float constant[2][4];  // C[any row][value] = sum v
  float gram[2][4];      // C[i][j] = sum k_i k_j
  float keys[2][4];      // C[any row][i] = sum k_i

  static constexpr int kSize = 100;
};
static_assert(sizeof(ForwardState) == ForwardState::kSize * sizeof(float), "");

// C[a = b-th feature][value] for each a; a = 16 stands for the constant.
struct GradientState {
  float square[17][2][4];
  float gram[2][4];  // C[i][j] = sum b k_i k_j
  float keys[2][4];  // C[any row][i] = sum b k_i

  static constexpr int kSize = 152;
};
static_assert(sizeof(GradientState) == GradientState::kSize * sizeof(float),
              "");

template <typename State>
__device__ void Clear(State& state) {
  auto* values = reinterpret_cast<float*>(&state);
#pragma unroll
  for (int i = 0; i < State::kSize; ++i) values[i] = 0;
}

// [heads, value blocks, segments, register, thread]
template <typename State>
__device__ float* Dump(float* workspace, int segments, int segment) {
  const int64_t head =
      blockIdx.x * static_cast<int64_t>(gridDim.z) + blockIdx.z;
  return workspace + (head * segments + segment) * State::kSize * kThreads +
         threadIdx.x;
}
template <typename State>
__device__ void LoadDump(State& state, const float* from) {
  auto* values = reinterpret_cast<float*>(&state);
#pragma unroll
  for (int i = 0; i < State::kSize; ++i) values[i] = from[i * kThreads];
}
template <typename State>
__device__ void StoreDump(const State& state, float* to) {
  const auto* values = reinterpret_cast<const float*>(&state);
#pragma unroll
  for (int i = 0; i < State::kSize; ++i) to[i * kThreads] = values[i];
}

// The public state of one head: features 1, k / d^(1/4), k k / (sqrt 2 sqrt d).
struct Sums {
  float* kv;  // [1 + d + d^2, value_dim]
  float* k;
  int d;
  int value_dim;
  float linear;
  float square;

  __device__ Sums(const TaylorSums& sums, const TaylorSizes& sizes,
                  int64_t head)
      : d(sizes.key_dim), value_dim(sizes.value_dim) {
    const int64_t features = 1 + d + d * d;
    kv = sums.kv + head * features * value_dim;
    k = sums.k + head * features;
    linear = sqrtf(sqrtf(static_cast<float>(d)));
    square = sqrtf(2.0f * d);
  }

  // Of sum k_i k_j v and so on, without phi's factors.
  __device__ float Square(int i, int j, int value) const {
    if (i >= d || j >= d || value >= value_dim) return 0;
    const int64_t a = 1 + d + i * d + j, b = 1 + d + j * d + i;
    return 0.5f * square *
           (kv[a * value_dim + value] + kv[b * value_dim + value]);
  }
  __device__ float Linear(int i, int value) const {
    if (i >= d || value >= value_dim) return 0;
    return linear * kv[(1 + static_cast<int64_t>(i)) * value_dim + value];
  }
  __device__ float Constant(int value) const {
    return value < value_dim ? kv[value] : 0;
  }
  __device__ float Gram(int i, int j) const {
    if (i >= d || j >= d) return 0;
    return 0.5f * square * (k[1 + d + i * d + j] + k[1 + d + j * d + i]);
  }
  __device__ float Key(int i) const { return i < d ? linear * k[1 + i] : 0; }

  __device__ void SetSquare(int i, int j, int value, float x) const {
    if (i >= d || j >= d || value >= value_dim) return;
    const int64_t a = 1 + d + i * d + j, b = 1 + d + j * d + i;
    kv[a * value_dim + value] = x / square;
    kv[b * value_dim + value] = x / square;
  }
  __device__ void SetLinear(int i, int value, float x) const {
    if (i >= d || value >= value_dim) return;
    kv[(1 + static_cast<int64_t>(i)) * value_dim + value] = x / linear;
  }
};

struct Lane {
  int g = threadIdx.x % 32 / 4;
  int t = threadIdx.x % 4;
  int warp = threadIdx.x / 32;
};

__device__ void LoadSums(ForwardState& state, const Sums& sums, int column) {
  const Lane lane;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const int row = lane.g + e / 2 * 8, pair = 2 * lane.t + e % 2;
    const int value = column + lane.warp * 16 + row;
#pragma unroll
    for (int n = 0; n < 17; ++n) {
      const int i = n % 2 * 8 + pair;
      state.square[n][e] = sums.Square(i, (i + n / 2) % 16, value);
    }
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      state.linear[n][e] = sums.Linear(8 * n + pair, value);
      state.constant[n][e] =
          sums.Constant(column + lane.warp * 16 + 8 * n + pair);
      state.gram[n][e] = sums.Gram(row, 8 * n + pair);
      state.keys[n][e] = sums.Key(8 * n + pair);
    }
  }
}

__device__ void StoreSums(const ForwardState& state, const Sums& sums,
                          int column, float count) {
  const Lane lane;
  const bool keys = column == 0 && lane.warp == 0;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const int row = lane.g + e / 2 * 8, pair = 2 * lane.t + e % 2;
    const int value = column + lane.warp * 16 + row;
#pragma unroll
    for (int n = 0; n < 17; ++n) {
      const int i = n % 2 * 8 + pair;
      sums.SetSquare(i, (i + n / 2) % 16, value, state.square[n][e]);
    }
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const int i = 8 * n + pair, own = column + lane.warp * 16 + i;
      sums.SetLinear(i, value, state.linear[n][e]);
      if (lane.g == 0 && e < 2 && own < sums.value_dim) {
        sums.kv[own] = state.constant[n][e];
      }
      if (!keys) continue;
      if (row < sums.d && i < sums.d) {
        sums.k[1 + sums.d + row * sums.d + i] = state.gram[n][e] / sums.square;
      }
      if (lane.g == 0 && e < 2 && i < sums.d) {
        sums.k[1 + i] = state.keys[n][e] / sums.linear;
      }
    }
  }
  if (keys && threadIdx.x == 0) sums.k[0] = count;
}

__device__ void LoadSums(GradientState& state, const Sums& sums, int column) {
  const Lane lane;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const int row = lane.g + e / 2 * 8, pair = 2 * lane.t + e % 2;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const int value = column + lane.warp * 16 + 8 * n + pair;
#pragma unroll
      for (int a = 0; a < 16; ++a) {
        state.square[a][n][e] = sums.Square(a, row, value);
      }
      state.square[16][n][e] = sums.Linear(row, value);
      state.gram[n][e] = sums.Gram(row, 8 * n + pair);
      state.keys[n][e] = sums.Key(8 * n + pair);
    }
  }
}

template <typename T>
struct ForwardStage {
  alignas(16) T q[kShifted][kStride];  // transposed, times scale
  alignas(16) T k[kShifted][kStride];  // transposed
  alignas(16) T v[kChunk][kStride];
};

// One tile of 16 tokens. q, k, v: this lane's ldmatrix addresses. Returns the
// outputs of rows g, g + 8 and the tile's and the state's part of the
// denominator (this thread's share of the sum over its four lanes).
template <typename T, bool kOutput, bool kNormalize>
__device__ void ForwardTile(ForwardState& state, uint32_t q_address,
                            uint32_t k_address, uint32_t v_address,
                            float (&out)[2][4], float (&f_sum)[2]) {
  constexpr bool kScaled = std::is_same<T, __half>::value;
  constexpr int kRowBytes = kStride * sizeof(T);
  const Lane lane;
  const uint32_t one = Pack<T>(1, 1);
  const uint32_t ones[4] = {one, one, one, one};
  uint32_t q[4], k[4], v[4], q_half[4];
  float other[2][4] = {};  // a second chain of sums
  float scale = 1, inverse = 1;
  Load4(k, k_address);
  Load4Transposed(v, v_address);
  if (kOutput) {
    Load4Transposed(q, q_address);
    const uint32_t half = Pack<T>(0.5f, 0.5f);
#pragma unroll
    for (int i = 0; i < 4; ++i) q_half[i] = Multiply<T>(q[i], half);
    if (kScaled) {
      float largest = 0;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
#pragma unroll
        for (int n = 0; n < 17; ++n) {
          largest = fmaxf(largest, fabsf(state.square[n][e]));
        }
        largest = fmaxf(largest, fabsf(state.linear[0][e]));
        largest = fmaxf(largest, fabsf(state.linear[1][e]));
      }
      scale = ScaleFor(largest);
      inverse = 1 / scale;
    }
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e)
        out[n][e] = kScaled ? 0 : state.constant[n][e];
    }
  }
  const auto rounded = [&](float low, float high) {
    return kScaled ? Pack<T>(low * scale, high * scale) : Pack<T>(low, high);
  };

  // The state's part, then the tile's into the state.
  if (kOutput) {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      Mma<T>(other[n], q,
             rounded(state.linear[0][2 * n], state.linear[0][2 * n + 1]),
             rounded(state.linear[1][2 * n], state.linear[1][2 * n + 1]));
    }
    if (kNormalize) {
      // z1 . q + q Z2 q / 2 = (2 z1 + q Z2) . q / 2
      float u[2][4] = {}, gram_scale = 1;
      if (kScaled) {
        float largest = 0;
#pragma unroll
        for (int e = 0; e < 8; ++e) {
          largest = fmaxf(largest, fabsf(state.gram[e / 4][e % 4]));
        }
        gram_scale = ScaleFor(largest);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        Mma<T>(u[n], q,
               Pack<T>(state.gram[0][2 * n] * gram_scale,
                       state.gram[0][2 * n + 1] * gram_scale),
               Pack<T>(state.gram[1][2 * n] * gram_scale,
                       state.gram[1][2 * n + 1] * gram_scale));
      }
      const float back = 0.5f / gram_scale;
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        float sum = 0;
#pragma unroll
        for (int n = 0; n < 2; ++n) {
          const float2 pair = Unpack(T(), q[row + 2 * n]);
          sum += pair.x * (u[n][2 * row] * back + state.keys[n][2 * row]);
          sum +=
              pair.y * (u[n][2 * row + 1] * back + state.keys[n][2 * row + 1]);
        }
        f_sum[row] = sum;
      }
    }
  }
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    Mma<T>(state.linear[n], v, k[2 * n], k[2 * n + 1]);
    Mma<T>(state.keys[n], ones, k[2 * n], k[2 * n + 1]);
  }
  const uint32_t k_rows[4] = {k[0], k[2], k[1], k[3]};
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    Mma<T>(state.gram[n], k_rows, k[2 * n], k[2 * n + 1]);
  }
#pragma unroll
  for (int s = 0; s < 8; ++s) {
    uint32_t turned[4];
    if (kOutput) {
      if (s > 0) Load4Transposed(turned, q_address + s * kRowBytes);
      uint32_t features[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        features[i] = s == 0 ? Multiply<T>(q[i], q_half[i])
                             : Multiply<T>(q[i], turned[i]);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const float(&low)[4] = state.square[2 * s];
        const float(&high)[4] = state.square[2 * s + 1];
        Mma<T>(s % 2 == 0 ? out[n] : other[n], features,
               rounded(low[2 * n], low[2 * n + 1]),
               rounded(high[2 * n], high[2 * n + 1]));
      }
    }
    if (s > 0) Load4(turned, k_address + s * kRowBytes);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      Mma<T>(
          state.square[2 * s + n], v,
          Multiply<T>(k[2 * n], s == 0 ? k[2 * n] : turned[2 * n]),
          Multiply<T>(k[2 * n + 1], s == 0 ? k[2 * n + 1] : turned[2 * n + 1]));
    }
  }
  // s = 8: j = i + 8, the other half of the same tile.
  if (kOutput) {
    const uint32_t a0 = Multiply<T>(q[0], q[2]), a1 = Multiply<T>(q[1], q[3]);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      MmaHalf<T>(out[n], a0, a1,
                 rounded(state.square[16][2 * n], state.square[16][2 * n + 1]));
    }
  }
  Mma<T>(state.square[16], v, Multiply<T>(k[0], k[2]), Multiply<T>(k[1], k[3]));

  if (kOutput) {
    if (kScaled) {
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          out[n][e] =
              state.constant[n][e] + inverse * (out[n][e] + other[n][e]);
          other[n][e] = 0;
        }
      }
    }
    // Inside the tile.
    uint32_t k_columns[4];
    Load4Transposed(k_columns, k_address);
    float s[2][4] = {};
    Mma<T>(s[0], q, k_columns[0], k_columns[2]);
    Mma<T>(s[1], q, k_columns[1], k_columns[3]);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const bool seen = 8 * n + 2 * lane.t + e % 2 <= lane.g + e / 2 * 8;
        const float f = fmaf(s[n][e], fmaf(0.5f, s[n][e], 1.0f), 1.0f);
        s[n][e] = seen ? f : 0;
        if (kNormalize) f_sum[e / 2] += s[n][e];
      }
    }
    const uint32_t f[4] = {Pack<T>(s[0][0], s[0][1]), Pack<T>(s[0][2], s[0][3]),
                           Pack<T>(s[1][0], s[1][1]),
                           Pack<T>(s[1][2], s[1][3])};
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      Mma<T>(other[n], f, v[n], v[n + 2]);
#pragma unroll
      for (int e = 0; e < 4; ++e) out[n][e] += other[n][e];
    }
  }
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    Mma<T>(state.constant[n], ones, v[n], v[n + 2]);
  }
}

// Grid: (batch * heads, segments, value blocks of 64). kOutput: from the
// segment's first state, writes y and after the last segment the public state.
// Else: leaves the segment's own state in the workspace.
template <typename T, bool kOutput, bool kNormalize>
__global__ void __launch_bounds__(kThreads, 3)
    ForwardKernel(TaylorForwardParams p) {
  __shared__ ForwardStage<T> stages[2];
  const Lane lane;
  const int64_t head_index = blockIdx.x;
  const int64_t batch = head_index / p.sizes.heads;
  const int64_t head = head_index % p.sizes.heads;
  const int segment = blockIdx.y;
  if (!kOutput && segment == p.segments.count - 1) return;
  const int column = blockIdx.z * kBlockValues;
  const int64_t begin = segment * p.segments.length;
  const int length =
      static_cast<int>(min(p.segments.length, p.sizes.seq_len - begin));
  const int own_value =
      column + lane.warp * 16 + lane.t % 2 * 8 + lane.t / 2 * 4;
  T* y = const_cast<T*>(RowsOf<T>(p.y, batch, head)) +
         (begin + lane.g) * p.y.token_stride + own_value;
  float* denominator =
      p.denominator == nullptr || column > 0 || threadIdx.x % 4 > 0 ||
              lane.warp > 0
          ? nullptr
          : p.denominator + head_index * p.sizes.seq_len + begin + lane.g;

  ForwardState state;
  float count = static_cast<float>(begin);
  if (p.initial.k != nullptr) {
    count += Sums(p.initial, p.sizes, head_index).k[0];
  }
  if (kOutput && segment > 0) {
    LoadDump(state, Dump<ForwardState>(p.workspace, p.segments.count, segment));
  } else if (segment == 0 && p.initial.kv != nullptr) {
    LoadSums(state, Sums(p.initial, p.sizes, head_index), column);
  } else {
    Clear(state);
  }

  const int row = threadIdx.x % 8, tile = threadIdx.x % 32 / 8;
  const int key_offset = (tile / 2 * 8 + row) * kStride + tile % 2 * 8;
  const int value_offset =
      (tile / 2 * 8 + row) * kStride + lane.warp * 16 + tile % 2 * 8;
  KeyPrefetch<T> next_q(RowsOf<T>(p.q, batch, head), p.q.token_stride, begin);
  KeyPrefetch<T> next_k(RowsOf<T>(p.k, batch, head), p.k.token_stride, begin);
  ValueCopy<T> next_v(RowsOf<T>(p.v, batch, head), p.v.token_stride, begin,
                      column, p.sizes.value_dim);
  const auto load = [&](int tokens, int stage) {
    if (kOutput) next_q.Load(tokens);
    next_k.Load(tokens);
    next_v.Load(stages[stage].v, tokens);
    CommitCopies();
  };
  const auto store = [&](int stage) {
    if (kOutput) next_q.template Store<kShifted>(stages[stage].q, p.scale);
    next_k.template Store<kShifted>(stages[stage].k, 1.0f);
  };
  load(length, 0);
  store(0);
  int stage = 0;
  for (int left = length; left > 0; left -= kChunk, stage ^= 1) {
    WaitForCopies();
    __syncthreads();
    const bool more = left > kChunk;
    if (more) load(left - kChunk, stage ^ 1);
    const uint32_t q_address =
        SharedAddress(&stages[stage].q[0][0] + key_offset);
    const uint32_t k_address =
        SharedAddress(&stages[stage].k[0][0] + key_offset);
    const uint32_t v_address =
        SharedAddress(&stages[stage].v[0][0] + value_offset);
#pragma unroll 1
    for (int i = 0; i < kChunk / kTile && i * kTile < left; ++i) {
      float out[2][4], f_sum[2];
      ForwardTile<T, kOutput, kNormalize>(
          state, q_address + i * kTile * sizeof(T),
          k_address + i * kTile * sizeof(T),
          v_address + i * kTile * kStride * sizeof(T), out, f_sum);
      if (kOutput) {
        const int rows = left - i * kTile - lane.g;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const bool valid = 8 * r < rows;
          float inverse = 1;
          if (kNormalize) {
            float sum = f_sum[r];
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            sum += count + p.eps;
            inverse = __fdividef(1, sum);
            if (denominator != nullptr && valid) denominator[8 * r] = sum;
          }
          // Even lanes collect four columns of the first tile, odd lanes of the
          // second: 32 bytes of a row side by side.
          const uint32_t first =
              Pack<T>(out[0][2 * r] * inverse, out[0][2 * r + 1] * inverse);
          const uint32_t second =
              Pack<T>(out[1][2 * r] * inverse, out[1][2 * r + 1] * inverse);
          const bool odd = lane.t % 2 == 1;
          const uint32_t got =
              __shfl_xor_sync(0xffffffffu, odd ? first : second, 1);
          if (valid && own_value < p.sizes.value_dim) {
            *reinterpret_cast<uint2*>(y + 8 * r * p.y.token_stride) =
                odd ? make_uint2(got, second) : make_uint2(first, got);
          }
        }
        y += kTile * p.y.token_stride;
        if (denominator != nullptr) denominator += kTile;
        count += kTile;
      }
    }
    if (more) store(stage ^ 1);
  }
  if (!kOutput) {
    StoreDump(state,
              Dump<ForwardState>(p.workspace, p.segments.count, segment));
  } else if (p.last.kv != nullptr && segment == p.segments.count - 1) {
    const Sums initial(p.initial, p.sizes, head_index);
    const float before = p.initial.k == nullptr ? 0 : initial.k[0];
    StoreSums(state, Sums(p.last, p.sizes, head_index), column,
              before + static_cast<float>(p.sizes.seq_len));
  }
}

// Makes each segment's state the sum of those before it.
// Grid: (heads * value blocks, parts of a state).
__global__ void PrefixKernel(float* workspace, int segments, int size) {
  const int i = blockIdx.y * blockDim.x + threadIdx.x;
  if (i >= size) return;
  float* states =
      workspace + static_cast<int64_t>(blockIdx.x) * segments * size + i;
  constexpr int kBatch = 8;  // loads in flight
  float sum = 0;
  for (int first = 0; first < segments; first += kBatch) {
    float own[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int64_t s = first + j;
      own[j] = s + 1 < segments ? states[s * size] : 0;
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const int64_t s = first + j;
      if (s < segments) states[s * size] = sum;
      sum += own[j];
    }
  }
}

template <typename T>
struct GradientStage {
  alignas(16) T q[16][kStride];  // transposed, times its scale
  alignas(16) T k[16][kStride];
  alignas(16) T g[kChunk][kStride];
  alignas(16) T w[kChunk][kStride];
  float a[kChunk];
  alignas(16) T b[kChunk];
};

constexpr int kPartialStride = 24;  // of 16 sums: no conflicts

template <typename T>
struct GradientShared {
  GradientStage<T> stages[2];
  float partial[4][kChunk][kPartialStride];
};

// One tile of 16 tokens; out: this warp's part of x in rows g, g + 8.
template <typename T, bool kOutput, bool kScalars>
__device__ void GradientTile(GradientState& state, const GradientStage<T>& in,
                             int tile, int key_offset, int w_offset,
                             int row_offset, bool own_scalars,
                             float (&out)[2][4]) {
  constexpr bool kScaled = std::is_same<T, __half>::value;
  const Lane lane;
  const int first = tile * kTile;
  uint32_t q[4], k[4], w[4], g[4];
  Load4(k, SharedAddress(&in.k[0][first] + key_offset));
  Load4Transposed(w, SharedAddress(&in.w[first][0] + w_offset));
  const uint32_t k_rows[4] = {k[0], k[2], k[1], k[3]};
  float scale = 1;
  if (kOutput) {
    Load4Transposed(q, SharedAddress(&in.q[0][first] + key_offset));
    Load4(g, SharedAddress(&in.g[first][0] + row_offset));
    if (kScaled) {
      float largest = 0;
#pragma unroll
      for (int i = 0; i < 17 * 8; ++i) {
        largest = fmaxf(largest, fabsf(state.square[i / 8][i / 4 % 2][i % 4]));
      }
      scale = ScaleFor(largest);
    }
  }
  const auto rounded = [&](float low, float high) {
    return kScaled ? Pack<T>(low * scale, high * scale) : Pack<T>(low, high);
  };
  float other[2][4] = {};
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) out[n][e] = 0;
  }
#pragma unroll
  for (int a = 0; a < 17; ++a) {
    float(&own)[2][4] = state.square[a];
    if (kOutput) {
      uint32_t scaled[4] = {g[0], g[1], g[2], g[3]};
      if (a < 16) {
        // q_a of rows g and g + 8 is with lane t = a % 8 / 2.
        const unsigned pick = a % 2 == 0 ? 0x1010 : 0x3232;
        const int source = (lane.g * 4) + a % 8 / 2;
        uint32_t low = __shfl_sync(0xffffffffu, q[a / 8 * 2], source);
        uint32_t high = __shfl_sync(0xffffffffu, q[a / 8 * 2 + 1], source);
        low = __byte_perm(low, 0, pick);
        high = __byte_perm(high, 0, pick);
        scaled[0] = Multiply<T>(g[0], low);
        scaled[1] = Multiply<T>(g[1], high);
        scaled[2] = Multiply<T>(g[2], low);
        scaled[3] = Multiply<T>(g[3], high);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        Mma<T>(a % 2 == 0 ? out[n] : other[n], scaled,
               rounded(own[0][2 * n], own[0][2 * n + 1]),
               rounded(own[1][2 * n], own[1][2 * n + 1]));
      }
    }
    uint32_t features[4] = {k_rows[0], k_rows[1], k_rows[2], k_rows[3]};
    if (a < 16) {
      const uint32_t low =
          *reinterpret_cast<const uint32_t*>(&in.k[a][first + 2 * lane.t]);
      const uint32_t high =
          *reinterpret_cast<const uint32_t*>(&in.k[a][first + 8 + 2 * lane.t]);
      features[0] = Multiply<T>(k_rows[0], low);
      features[1] = Multiply<T>(k_rows[1], low);
      features[2] = Multiply<T>(k_rows[2], high);
      features[3] = Multiply<T>(k_rows[3], high);
    }
#pragma unroll
    for (int n = 0; n < 2; ++n) Mma<T>(own[n], features, w[n], w[n + 2]);
  }
  if (kOutput) {
    const float inverse = kScaled ? 1 / scale : 1;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        out[n][e] = (out[n][e] + other[n][e]) * inverse;
      }
    }
    // Inside the tile: (g w^T + a b) o (1 + s) K.
    uint32_t w_rows[4], k_columns[4];
    Load4(w_rows, SharedAddress(&in.w[first][0] + row_offset));
    Load4Transposed(k_columns, SharedAddress(&in.k[0][first] + key_offset));
    float p[2][4] = {}, s[2][4] = {};
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      Mma<T>(p[n], g, w_rows[n], w_rows[n + 2]);
      Mma<T>(s[n], q, k_columns[n], k_columns[n + 2]);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int key = 8 * n + 2 * lane.t + e % 2, query = lane.g + e / 2 * 8;
        float product = p[n][e];
        if (kScalars && own_scalars) {
          product +=
              in.a[first + query] * static_cast<float>(in.b[first + key]);
        }
        s[n][e] = key <= query ? product * (1 + s[n][e]) : 0;
      }
    }
    const uint32_t ds[4] = {
        Pack<T>(s[0][0], s[0][1]), Pack<T>(s[0][2], s[0][3]),
        Pack<T>(s[1][0], s[1][1]), Pack<T>(s[1][2], s[1][3])};
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      Mma<T>(out[n], ds, k[2 * n], k[2 * n + 1]);
    }
  }
  if (kScalars) {
    if (kOutput && own_scalars) {
      // a (z1 + Z2 q)
      float gram_scale = 1;
      if (kScaled) {
        float largest = 0;
#pragma unroll
        for (int e = 0; e < 8; ++e) {
          largest = fmaxf(largest, fabsf(state.gram[e / 4][e % 4]));
        }
        gram_scale = ScaleFor(largest);
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        float u[4] = {};
        Mma<T>(u, q,
               Pack<T>(state.gram[0][2 * n] * gram_scale,
                       state.gram[0][2 * n + 1] * gram_scale),
               Pack<T>(state.gram[1][2 * n] * gram_scale,
                       state.gram[1][2 * n + 1] * gram_scale));
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          out[n][e] += in.a[first + lane.g + e / 2 * 8] *
                       (u[e] / gram_scale + state.keys[n][e]);
        }
      }
    }
    const uint32_t low =
        *reinterpret_cast<const uint32_t*>(&in.b[first + 2 * lane.t]);
    const uint32_t high =
        *reinterpret_cast<const uint32_t*>(&in.b[first + 8 + 2 * lane.t]);
    const uint32_t b[4] = {low, low, high, high};
    const uint32_t b_rows[4] = {
        Multiply<T>(k_rows[0], low), Multiply<T>(k_rows[1], low),
        Multiply<T>(k_rows[2], high), Multiply<T>(k_rows[3], high)};
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      Mma<T>(state.gram[n], b_rows, k[2 * n], k[2 * n + 1]);
      Mma<T>(state.keys[n], b, k[2 * n], k[2 * n + 1]);
    }
  }
}

// Grid as of ForwardKernel.
template <typename T, bool kOutput, bool kScalars>
__global__ void __launch_bounds__(kThreads, 2)
    GradientKernel(TaylorGradientParams p) {
  extern __shared__ __align__(16) char shared_bytes[];
  auto& shared = *reinterpret_cast<GradientShared<T>*>(shared_bytes);
  const Lane lane;
  const int64_t head_index = blockIdx.x;
  const int64_t batch = head_index / p.sizes.heads;
  const int64_t head = head_index % p.sizes.heads;
  const int segment = blockIdx.y;
  if (!kOutput && segment == p.segments.count - 1) return;
  const int column = blockIdx.z * kBlockValues;
  const int64_t begin = segment * p.segments.length;
  const int length =
      static_cast<int>(min(p.segments.length, p.sizes.seq_len - begin));
  // Both scalars start at the end that the sequence starts at.
  const int64_t first_scalar = head_index * p.sizes.seq_len +
                               (p.scalar_stride < 0 ? p.sizes.seq_len - 1 : 0);
  float* x =
      p.x +
      (static_cast<int64_t>(blockIdx.z) * gridDim.x * 16 * p.sizes.seq_len) +
      first_scalar * 16 + (begin + threadIdx.x / 4) * p.x_stride +
      threadIdx.x % 4 * 4;

  GradientState state;
  if (kOutput && segment > 0) {
    LoadDump(state,
             Dump<GradientState>(p.workspace, p.segments.count, segment));
  } else if (segment == 0 && p.initial.kv != nullptr) {
    LoadSums(state, Sums(p.initial, p.sizes, head_index), column);
  } else {
    Clear(state);
  }

  const int row = threadIdx.x % 8, tile = threadIdx.x % 32 / 8;
  const int key_offset = (tile / 2 * 8 + row) * kStride + tile % 2 * 8;
  const int w_offset =
      (tile / 2 * 8 + row) * kStride + lane.warp * 16 + tile % 2 * 8;
  const int row_offset =
      (tile % 2 * 8 + row) * kStride + lane.warp * 16 + tile / 2 * 8;
  KeyPrefetch<T> next_q(RowsOf<T>(p.q, batch, head), p.q.token_stride, begin);
  KeyPrefetch<T> next_k(RowsOf<T>(p.k, batch, head), p.k.token_stride, begin);
  ValueCopy<T> next_g(RowsOf<T>(p.g, batch, head), p.g.token_stride, begin,
                      column, p.sizes.value_dim);
  ValueCopy<T> next_w(RowsOf<T>(p.w, batch, head), p.w.token_stride, begin,
                      column, p.sizes.value_dim);
  // The first half of the threads reads a, the second b.
  const float* scalar = threadIdx.x < kChunk ? p.a : p.b;
  if (scalar != nullptr) {
    scalar += first_scalar + (begin + threadIdx.x % kChunk) * p.scalar_stride;
  }
  float next_scalar = 1;
  const auto load = [&](int tokens, int stage) {
    if (kOutput) {
      next_q.Load(tokens);
      next_g.Load(shared.stages[stage].g, tokens);
    }
    next_k.Load(tokens);
    next_w.Load(shared.stages[stage].w, tokens);
    CommitCopies();
    if (kScalars && scalar != nullptr) {
      next_scalar =
          static_cast<int>(threadIdx.x % kChunk) < tokens ? *scalar : 0;
      scalar += kChunk * p.scalar_stride;
    }
  };
  const auto store = [&](int stage) {
    if (kOutput) {
      next_q.template Store<16>(shared.stages[stage].q, p.q_scale);
    }
    next_k.template Store<16>(shared.stages[stage].k, p.k_scale);
    if (kScalars) {
      if (threadIdx.x < kChunk) {
        shared.stages[stage].a[threadIdx.x] = next_scalar;
      } else {
        shared.stages[stage].b[threadIdx.x % kChunk] =
            static_cast<T>(next_scalar);
      }
    }
  };
  load(length, 0);
  store(0);
  int stage = 0;
  for (int left = length; left > 0; left -= kChunk, stage ^= 1) {
    WaitForCopies();
    __syncthreads();
    const bool more = left > kChunk;
    if (more) load(left - kChunk, stage ^ 1);
#pragma unroll 1
    for (int i = 0; i < kChunk / kTile && i * kTile < left; ++i) {
      float out[2][4];
      // The scalars' part is the same in each warp: one adds it.
      GradientTile<T, kOutput, kScalars>(state, shared.stages[stage], i,
                                         key_offset, w_offset, row_offset,
                                         column == 0 && i == lane.warp, out);
      if (kOutput) {
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            *reinterpret_cast<float2*>(
                &shared.partial[lane.warp][i * kTile + lane.g + 8 * r]
                               [8 * n + 2 * lane.t]) =
                make_float2(out[n][2 * r], out[n][2 * r + 1]);
          }
        }
      }
    }
    if (more) store(stage ^ 1);
    if (kOutput) {
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kChunk; i += kThreads / 4) {
        const int token = threadIdx.x / 4 + i;
        float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
        for (int warp = 0; warp < 4; ++warp) {
          const float4 part = *reinterpret_cast<const float4*>(
              &shared.partial[warp][token][threadIdx.x % 4 * 4]);
          sum.x += part.x;
          sum.y += part.y;
          sum.z += part.z;
          sum.w += part.w;
        }
        if (token < left) {
          *reinterpret_cast<float4*>(x + i * p.x_stride) =
              make_float4(sum.x * p.out_scale, sum.y * p.out_scale,
                          sum.z * p.out_scale, sum.w * p.out_scale);
        }
      }
      x += kChunk * p.x_stride;
    }
  }
  if (!kOutput) {
    StoreDump(state,
              Dump<GradientState>(p.workspace, p.segments.count, segment));
  }
}

// Eight lanes a row.
template <typename T>
__global__ void __launch_bounds__(256) ScaleKernel(TaylorScaleParams p) {
  const int64_t row = blockIdx.x * int64_t{32} + threadIdx.x / 8;
  const bool valid = row < p.rows;
  const float inverse = valid ? 1 / p.denominator[row] : 0;
  float sum = 0;
  for (int i = threadIdx.x % 8; valid && i < p.value_dim / 8; i += 8) {
    const int64_t index = row * (p.value_dim / 8) + i;
    const uint4 dy = static_cast<const uint4*>(p.dy)[index];
    const uint4 y = static_cast<const uint4*>(p.y)[index];
    const uint32_t a[4] = {dy.x, dy.y, dy.z, dy.w};
    const uint32_t b[4] = {y.x, y.y, y.z, y.w};
    uint32_t out[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 u = Unpack(T(), a[j]), v = Unpack(T(), b[j]);
      sum += u.x * v.x + u.y * v.y;
      out[j] = Pack<T>(u.x * inverse, u.y * inverse);
    }
    static_cast<uint4*>(p.g)[index] =
        make_uint4(out[0], out[1], out[2], out[3]);
  }
#pragma unroll
  for (int mask = 4; mask > 0; mask /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  }
  if (valid && threadIdx.x % 8 == 0) p.dz[row] = -sum * inverse;
}

constexpr int kStepThreads = 256;
constexpr int kMaxFeatures = 1 + kTaylorKeyDim + kTaylorKeyDim * kTaylorKeyDim;

// The step moves the state once in and once out, 140 KB a head of value_dim 64.
// A block has kColumns columns of one head, kVector of them a thread, and all
// rows, several loads in flight. Grid: (heads, value blocks).
template <typename T, int kColumns, int kVector>
__global__ void __launch_bounds__(kStepThreads) StepKernel(TaylorStepParams p) {
  constexpr int kLanes = kColumns / kVector;    // of a row
  constexpr int kRows = kStepThreads / kLanes;  // at a time
  constexpr int kUnroll = 6;
  __shared__ float phi_q[kMaxFeatures], phi_k[kMaxFeatures];
  __shared__ float partial[kRows][kColumns];
  __shared__ float z_partial[kStepThreads / 32];
  const int64_t head = blockIdx.x;
  const int d = p.key_dim, features = 1 + d + d * d;
  const T* q = static_cast<const T*>(p.q) + head * d;
  const T* k = static_cast<const T*>(p.k) + head * d;
  const float linear = 1 / sqrtf(sqrtf(static_cast<float>(d)));
  const float square = 1 / sqrtf(2.0f * d);
  float z = 0;
  float* k_sum = p.state.k + head * features;
  for (int f = threadIdx.x; f < features; f += kStepThreads) {
    float a = 1, b = 1;
    if (f > d) {
      const int i = (f - 1 - d) / d, j = (f - 1 - d) % d;
      a = static_cast<float>(q[i]) * static_cast<float>(q[j]) * square;
      b = static_cast<float>(k[i]) * static_cast<float>(k[j]) * square;
    } else if (f > 0) {
      a = static_cast<float>(q[f - 1]) * linear;
      b = static_cast<float>(k[f - 1]) * linear;
    }
    phi_q[f] = a;
    phi_k[f] = b;
    const float sum = k_sum[f] + b;
    // The blocks of a head's other columns have to read it as it was.
    if (gridDim.y == 1) k_sum[f] = sum;
    z += a * sum;
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    z += __shfl_xor_sync(0xffffffffu, z, mask);
  }
  if (threadIdx.x % 32 == 0) z_partial[threadIdx.x / 32] = z;
  __syncthreads();

  const int row = threadIdx.x / kLanes;
  const int own = threadIdx.x % kLanes * kVector;
  const int column = blockIdx.y * kColumns + own;
  struct alignas(4 * kVector) Vector {
    float x[kVector];
  };
  float y[kVector] = {};
  if (column < p.value_dim) {
    float v[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      v[i] = static_cast<float>(
          static_cast<const T*>(p.v)[head * p.value_dim + column + i]);
    }
    float* state = p.state.kv + head * features * p.value_dim + column;
    for (int start = row; start < features; start += kRows * kUnroll) {
      Vector held[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int f = start + u * kRows;
        if (f < features) {
          held[u] = *reinterpret_cast<const Vector*>(
              state + static_cast<int64_t>(f) * p.value_dim);
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int f = start + u * kRows;
        if (f >= features) continue;
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          held[u].x[i] += phi_k[f] * v[i];
          y[i] += phi_q[f] * held[u].x[i];
        }
        *reinterpret_cast<Vector*>(state + static_cast<int64_t>(f) *
                                               p.value_dim) = held[u];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) partial[row][own + i] = y[i];
  __syncthreads();
  const int value = blockIdx.y * kColumns + threadIdx.x;
  if (threadIdx.x < kColumns && value < p.value_dim) {
    float sum = 0;
#pragma unroll
    for (int r = 0; r < kRows; ++r) sum += partial[r][threadIdx.x];
    if (p.normalize) {
      float denominator = p.eps;
#pragma unroll
      for (int w = 0; w < kStepThreads / 32; ++w) denominator += z_partial[w];
      sum /= denominator;
    }
    static_cast<T*>(p.y)[head * p.value_dim + value] = static_cast<T>(sum);
  }
}

// Adds phi(k) to the sums that all blocks of StepKernel have read.
template <typename T>
__global__ void __launch_bounds__(kStepThreads)
    StepKeysKernel(TaylorStepParams p) {
  const int d = p.key_dim, features = 1 + d + d * d;
  const int64_t head = blockIdx.x;
  const T* k = static_cast<const T*>(p.k) + head * d;
  for (int f = threadIdx.x; f < features; f += kStepThreads) {
    float b = 1;
    if (f > d) {
      const int i = (f - 1 - d) / d, j = (f - 1 - d) % d;
      b = static_cast<float>(k[i]) * static_cast<float>(k[j]) / sqrtf(2.0f * d);
    } else if (f > 0) {
      b = static_cast<float>(k[f - 1]) / sqrtf(sqrtf(static_cast<float>(d)));
    }
    p.state.k[head * features + f] += b;
  }
}

int Multiprocessors() {
  int device = 0, count = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) !=
          cudaSuccess) {
    return 1;
  }
  return count;
}

// As many segments as fill the multiprocessors with `resident` blocks each, of
// at least eight chunks; one if the heads do that half already.
TaylorSegments Segments(const TaylorSizes& sizes, int resident,
                        int64_t state_floats) {
  const int64_t blocks =
      sizes.batch * sizes.heads * TaylorValueBlocks(sizes.value_dim);
  const int64_t slots = int64_t{resident} * Multiprocessors();
  const int64_t chunks = (sizes.seq_len + kChunk - 1) / kChunk;
  int64_t count = blocks == 0 || 2 * blocks > slots ? 1 : slots / blocks;
  count = std::max<int64_t>(1, std::min(count, chunks / 8));
  const int64_t length = (chunks + count - 1) / count * kChunk;
  TaylorSegments segments;
  segments.length = std::max<int64_t>(length, kChunk);
  segments.count = static_cast<int>(std::max<int64_t>(
      1, (sizes.seq_len + segments.length - 1) / segments.length));
  segments.workspace = segments.count == 1
                           ? 0
                           : blocks * segments.count * state_floats * kThreads;
  return segments;
}

template <typename Params>
dim3 Grid(const Params& p) {
  return dim3(static_cast<unsigned>(p.sizes.batch * p.sizes.heads),
              p.segments.count, TaylorValueBlocks(p.sizes.value_dim));
}

template <typename Params>
void Prefix(const Params& p, int floats) {
  const int size = floats * kThreads;
  const dim3 grid(static_cast<unsigned>(p.sizes.batch * p.sizes.heads *
                                        TaylorValueBlocks(p.sizes.value_dim)),
                  (size + 255) / 256);
  PrefixKernel<<<grid, 256, 0, p.sizes.stream>>>(p.workspace, p.segments.count,
                                                 size);
}

template <typename T, bool kNormalize>
cudaError_t Forward(const TaylorForwardParams& p) {
  if (p.segments.count > 1) {
    ForwardKernel<T, false, false><<<Grid(p), kThreads, 0, p.sizes.stream>>>(p);
    Prefix(p, ForwardState::kSize);
  }
  ForwardKernel<T, true, kNormalize>
      <<<Grid(p), kThreads, 0, p.sizes.stream>>>(p);
  return cudaGetLastError();
}

template <typename T, bool kScalars>
cudaError_t Gradient(const TaylorGradientParams& p) {
  constexpr int kShared = sizeof(GradientShared<T>);
  for (const auto kernel : {GradientKernel<T, false, kScalars>,
                            GradientKernel<T, true, kScalars>}) {
    const cudaError_t error = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
    if (error != cudaSuccess) return error;
  }
  if (p.segments.count > 1) {
    GradientKernel<T, false, kScalars>
        <<<Grid(p), kThreads, kShared, p.sizes.stream>>>(p);
    Prefix(p, GradientState::kSize);
  }
  GradientKernel<T, true, kScalars>
      <<<Grid(p), kThreads, kShared, p.sizes.stream>>>(p);
  return cudaGetLastError();
}

template <typename T, int kColumns, int kVector>
cudaError_t Step(const TaylorStepParams& p) {
  const int blocks = (p.value_dim + kColumns - 1) / kColumns;
  StepKernel<T, kColumns, kVector>
      <<<dim3(static_cast<unsigned>(p.heads), blocks), kStepThreads, 0,
         p.stream>>>(p);
  if (blocks > 1) {
    StepKeysKernel<T>
        <<<static_cast<unsigned>(p.heads), kStepThreads, 0, p.stream>>>(p);
  }
  return cudaGetLastError();
}

template <typename T>
cudaError_t Step(const TaylorStepParams& p) {
  if (p.value_dim % 4 != 0) return Step<T, 64, 1>(p);
  if (p.value_dim > 64) return Step<T, 128, 4>(p);
  return Step<T, 64, 4>(p);
}

}  // namespace

int TaylorValueBlocks(int value_dim) {
  return (value_dim + kBlockValues - 1) / kBlockValues;
}

TaylorSegments TaylorForwardSegments(const TaylorSizes& sizes) {
  return Segments(sizes, 3, ForwardState::kSize);
}

TaylorSegments TaylorGradientSegments(const TaylorSizes& sizes) {
  return Segments(sizes, 2, GradientState::kSize);
}

cudaError_t TaylorForwardLaunch(const TaylorForwardParams& params) {
  if (params.sizes.type == TaylorType::kHalf) {
    return params.normalize ? Forward<__half, true>(params)
                            : Forward<__half, false>(params);
  }
  return params.normalize ? Forward<__nv_bfloat16, true>(params)
                          : Forward<__nv_bfloat16, false>(params);
}

cudaError_t TaylorGradientLaunch(const TaylorGradientParams& params) {
  if (params.sizes.type == TaylorType::kHalf) {
    return params.has_scalars ? Gradient<__half, true>(params)
                              : Gradient<__half, false>(params);
  }
  return params.has_scalars ? Gradient<__nv_bfloat16, true>(params)
                            : Gradient<__nv_bfloat16, false>(params);
}

cudaError_t TaylorScaleLaunch(const TaylorScaleParams& params) {
  const auto blocks = static_cast<unsigned>((params.rows + 31) / 32);
  if (params.type == TaylorType::kHalf) {
    ScaleKernel<__half><<<blocks, 256, 0, params.stream>>>(params);
  } else {
    ScaleKernel<__nv_bfloat16><<<blocks, 256, 0, params.stream>>>(params);
  }
  return cudaGetLastError();
}

cudaError_t TaylorStepLaunch(const TaylorStepParams& params) {
  return params.type == TaylorType::kHalf ? Step<__half>(params)
                                          : Step<__nv_bfloat16>(params);
}

}  // namespace repro
