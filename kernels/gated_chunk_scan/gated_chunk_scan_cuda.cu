// Memory bounds the scan: forward, a bfloat16 element with a float32 gate moves
// 10.25 bytes (gate 4, v 2, k 2 / 8 heads a group, both averages 2 + 2),
// backward 16.5, for about ten operations each. 2^18 tokens of 2,048
// channels: 5.5 GB and 8.9 GB, 1.15 and 1.85 ms at 4.8 TB/s.
//
// A warp scans a segment of 16 tokens, each lane two neighbouring channels (one
// with 32-bit values), so that a row of a warp is 128 bytes. What a chunk start
// forgets is a gate of 0, so all chunk sizes are one scan:
//   - chunks that segments never cut (1, 2, 4, 8, 16: RAT's is 16): segments
//     know nothing of each other, and each byte moves once;
//   - else a segment is a map y -> p y + b a channel. The warps of a block
//     compose theirs in shared memory; a block whose first token continues a
//     chunk takes the state from the blocks before (decoupled look-back,
//     Merrill and Garland 2016): each publishes its map as soon as it has it,
//     16 bytes a channel, and its total once it knows what enters it. Inputs
//     stay in registers or shared memory meanwhile, so this costs only the
//     maps: 16 bytes written twice, read and cleared for 128 tokens forward, 64
//     backward.
//
// Forward holds its 16 tokens as loaded: 48 loads in flight, 64 registers with
// a float32 gate; two blocks of 8 warps an SM keep 131 KB requested.
//
// Backward needs y_{t-1}: recomputed in float32 from the segment's inputs and
// one row of the saved averages, which saves reading them (4 of 20.5 bytes). It
// needs a sum over the heads that share k: a warp walks them with the sums in
// registers (deterministic, and k is read once). With y_{t-1} - x_t (64
// registers) and the sums (32) there is no room for the inputs, so they come
// through shared memory by 16-byte cp.async, the next head's while this head's
// are used: 22 KB a warp, two blocks of 4 warps an SM, 80 KB in flight.
//
// Measured on an H100 that copies 3.01 TB/s, 2^18 tokens of that shape: chunks
// of 16, forward 95 to 100% of the floor at that rate, backward 89 to 92%; one
// chunk of 4,096 or of all tokens, forward 81%, backward 74 to 78%, the rest
// being the wait for the tiles before. Looking further back costs more than it
// hides: 10 tiles took 4.7 ms backward, 6 took 4.2, 4 took 3.8.
//
// The readable form is gated_chunk_scan_cpu.cc.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/gated_chunk_scan/gated_chunk_scan_cuda.h"
#include "kernels/runtime/float_dispatch.h"

namespace repro {
namespace {

constexpr int kSegment = 16;
constexpr int kForwardWarps = 8;
constexpr int kBackwardWarps = 4;
constexpr int kMaxTilesBack = 4;
constexpr int kStepThreads = 128;
constexpr int kStepVector = 4;

// Value `i` of two 16-bit values in a word, or a 32-bit word.
template <typename T>
__device__ float FromWord(uint32_t word, int i);
template <>
__device__ float FromWord<float>(uint32_t word, int) {
  return __uint_as_float(word);
}
template <>
__device__ float FromWord<__half>(uint32_t word, int i) {
  return __half2float(__ushort_as_half(word >> (16 * i)));
}
template <>
__device__ float FromWord<__nv_bfloat16>(uint32_t word, int i) {
  return __uint_as_float(i == 0 ? word << 16 : word & 0xffff0000u);
}
__device__ uint32_t Bits(float x, float) { return __float_as_uint(x); }
__device__ uint32_t Bits(float x, __half) {
  return __half_as_ushort(__float2half_rn(x));
}
__device__ uint32_t Bits(float x, __nv_bfloat16) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

// Neighbouring channels, loaded and stored at once. They stay as they were
// loaded until used: unpacking right away would wait for each load.
template <typename T, int kSize>
struct alignas(sizeof(T) * kSize) Vector {
  static constexpr int kAWord = 4 / sizeof(T);
  uint32_t words[kSize / kAWord];
  __device__ float operator[](int i) const {
    return FromWord<T>(words[i / kAWord], i % kAWord);
  }
  // In the order of i.
  __device__ void Set(int i, float x) {
    uint32_t& word = words[i / kAWord];
    if (i % kAWord == 0) {
      word = Bits(x, T());
    } else {
      word |= Bits(x, T()) << 16;
    }
  }
};

template <typename T, int kSize>
__device__ Vector<T, kSize> Load(const T* data) {
  return *reinterpret_cast<const Vector<T, kSize>*>(data);
}
template <typename T, int kSize>
__device__ void Store(T* data, const Vector<T, kSize>& x) {
  *reinterpret_cast<Vector<T, kSize>*>(data) = x;
}

// Keeps the compiler from holding on to what it has computed from x.
template <typename T, int kSize>
__device__ void Forget(Vector<T, kSize>& x) {
#pragma unroll
  for (uint32_t& word : x.words) asm volatile("" : "+r"(word));
}

template <typename T>
__device__ const T* At(const GatedChunkScanInput& x, int64_t batch,
                       int64_t token, int64_t head, int64_t d) {
  return static_cast<const T*>(x.data) + batch * x.batch_stride +
         token * x.token_stride + head * x.head_stride + d;
}

// What a run of tokens does to the state that enters it, for one channel:
// state -> product * state + k (or v).
struct alignas(16) Map {
  float product = 1;
  float k = 0;
  float v = 0;
  // Of a published map: kPartial, or kTotal where k and v are the state itself,
  // whatever enters; 0 is not published yet.
  int state = 0;

  __device__ void Then(const Map& next) {
    k = fmaf(next.product, k, next.k);
    v = fmaf(next.product, v, next.v);
    product *= next.product;
  }
};
constexpr int kPartial = 1;
constexpr int kTotal = 2;

// 16 bytes at once, so that a reader sees all of a map or nothing.
__device__ void Publish(Map* to, const Map& map) {
  const auto word = [](int low, int high) {
    return static_cast<uint64_t>(static_cast<uint32_t>(low)) |
           static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32;
  };
  const uint64_t low = word(__float_as_int(map.product), __float_as_int(map.k));
  const uint64_t high = word(__float_as_int(map.v), map.state);
  asm volatile(
      "{ .reg .b128 t; mov.b128 t, {%1, %2};"
      " st.relaxed.gpu.global.b128 [%0], t; }" ::"l"(to),
      "l"(low), "l"(high)
      : "memory");
}
// Waits for a map, a total one if it must be.
__device__ Map Published(const Map* from, bool must_be_total) {
  Map map;
  do {
    uint64_t low, high;
    asm volatile(
        "{ .reg .b128 t; ld.relaxed.gpu.global.b128 t, [%2];"
        " mov.b128 {%0, %1}, t; }"
        : "=l"(low), "=l"(high)
        : "l"(from)
        : "memory");
    map.product = __int_as_float(static_cast<int>(low));
    map.k = __int_as_float(static_cast<int>(low >> 32));
    map.v = __int_as_float(static_cast<int>(high));
    map.state = static_cast<int>(high >> 32);
  } while (map.state == 0 || (must_be_total && map.state != kTotal));
  return map;
}

// Where a tile stands among those that the scan passes before it and after it.
struct Chain {
  Map* own;            // this tile's published map of the lane's channels
  int64_t before;      // from own to the tile before, in maps
  int num_before;      // tiles back to the one where the scan starts anew
  bool starts_inside;  // it starts anew in this tile
  bool publishes;      // the tile after needs this tile's state
};

// The state that enters a warp's segment. own: what the segment does; rank: its
// place in the scan's order. All threads of the block call it. Bit-identical
// between runs: whether a tile before is found partial or total, its state
// comes from the same operations in the same order. `meanwhile` is called
// between publishing and waiting.
template <int kWarps, int kVector, typename Meanwhile>
__device__ void EnteringState(const Map (&own)[kVector], int rank,
                              const Chain& chain, bool active,
                              float (&k)[kVector], float (&v)[kVector],
                              const Meanwhile& meanwhile) {
  __shared__ Map segments[kWarps][kVector][32];
  __shared__ Map tiles[kMaxTilesBack][kVector][32];
  const int lane = threadIdx.x % 32;
  const int tiles_back = min(chain.num_before, kMaxTilesBack);
  const bool total = chain.num_before == 0 || chain.starts_inside;
  const bool publishes = chain.publishes && active && rank == kWarps - 1;
#pragma unroll
  for (int j = 0; j < kVector; ++j) segments[rank][j][lane] = own[j];
  __syncthreads();
  Map before[kVector];
  for (int r = 0; r < rank; ++r) {
#pragma unroll
    for (int j = 0; j < kVector; ++j) before[j].Then(segments[r][j][lane]);
  }
  const auto publish = [&](int state) {
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      Map tile = before[j];
      tile.Then(segments[rank][j][lane]);
      tile.k = fmaf(tile.product, k[j], tile.k);
      tile.v = fmaf(tile.product, v[j], tile.v);
      tile.state = state;
      Publish(chain.own + j, tile);
    }
  };
#pragma unroll
  for (int j = 0; j < kVector; ++j) k[j] = v[j] = 0;
  if (publishes) publish(total ? kTotal : kPartial);
  meanwhile();

  // The farthest tile gives its total, the nearer ones what they have.
  for (int i = rank; i < tiles_back; i += kWarps) {
    if (!active) continue;
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      tiles[i][j][lane] = Published(chain.own + (i + 1) * chain.before + j,
                                    i == tiles_back - 1);
    }
  }
  __syncthreads();
  for (int i = tiles_back - 1; i >= 0; --i) {
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      const Map tile = tiles[i][j][lane];
      const bool is_total = tile.state == kTotal;
      k[j] = is_total ? tile.k : fmaf(tile.product, k[j], tile.k);
      v[j] = is_total ? tile.v : fmaf(tile.product, v[j], tile.v);
    }
  }
  if (publishes && !total) publish(kTotal);
#pragma unroll
  for (int j = 0; j < kVector; ++j) {
    k[j] = fmaf(before[j].product, k[j], before[j].k);
    v[j] = fmaf(before[j].product, v[j], before[j].v);
  }
}

// A block's tile and channels. Blocks that need another's state take their work
// in the order in which they start, since a block may only wait for one that
// runs or has run.
struct Work {
  int64_t batch;
  int tile;  // in the scan's order
  int column;
};
template <bool kCarry>
__device__ Work NextWork(const GatedChunkScanSizes& sizes, int columns,
                         unsigned* counter) {
  unsigned index = blockIdx.x;
  if (kCarry) {
    __shared__ unsigned shared_index;
    if (threadIdx.x == 0) shared_index = atomicAdd(counter, 1);
    __syncthreads();
    index = shared_index;
  }
  const auto batch = static_cast<unsigned>(sizes.batch);
  Work work;
  work.column = static_cast<int>(index % columns);
  work.batch = index / columns % batch;
  work.tile = static_cast<int>(index / columns / batch);
  return work;
}

// Bit i: a chunk starts at token + i.
__device__ unsigned ChunkStarts(int token, int chunk_size) {
  const int lane = threadIdx.x % 32;
  return __ballot_sync(0xffffffffu, (token + lane) % chunk_size == 0);
}

__host__ __device__ int NumTiles(int64_t seq_len, int tile) {
  return static_cast<int>((seq_len + tile - 1) / tile);
}
__host__ __device__ int NumColumns(int64_t channels, int vector) {
  return static_cast<int>((channels + 32 * vector - 1) / (32 * vector));
}

// kCarry false: every segment starts a chunk.
template <typename T, typename G, int kVector, bool kCarry>
__global__ void __launch_bounds__(kForwardWarps * 32, 2)
    Forward(GatedChunkScanForwardParams p) {
  constexpr int kTile = kForwardWarps * kSegment;
  const GatedChunkScanSizes& s = p.sizes;
  const int chunk_size = static_cast<int>(s.chunk_size);
  const int head_dim = static_cast<int>(s.head_dim);
  const int channels = static_cast<int>(s.heads) * head_dim;
  auto* maps = static_cast<Map*>(p.scratch) + 1;
  const Work work = NextWork<kCarry>(s, NumColumns(channels, kVector),
                                     reinterpret_cast<unsigned*>(p.scratch));
  const int warp = threadIdx.x / 32;
  const int channel = (work.column * 32 + threadIdx.x % 32) * kVector;
  const bool active = channel < channels;
  const int tile_begin = work.tile * kTile;
  const int begin = tile_begin + warp * kSegment;
  const int tokens =
      active ? min(kSegment, static_cast<int>(s.seq_len) - begin) : 0;
  const int head = channel / head_dim, d = channel % head_dim;
  const int group = head % static_cast<int>(s.groups);
  const T* k_data = At<T>(p.k, work.batch, begin, group, d);
  const T* v_data = At<T>(p.v, work.batch, begin, head, d);
  const G* gate_data = At<G>(p.gate, work.batch, begin, head, d);

  Vector<T, kVector> k[kSegment] = {}, v[kSegment] = {};
  Vector<G, kVector> gate[kSegment] = {};
#pragma unroll
  for (int i = 0; i < kSegment; ++i) {
    if (i < tokens) gate[i] = Load<G, kVector>(gate_data);
    if (i < tokens) v[i] = Load<T, kVector>(v_data);
    if (i < tokens) k[i] = Load<T, kVector>(k_data);
    gate_data += p.gate.token_stride;
    v_data += p.v.token_stride;
    k_data += p.k.token_stride;
  }
  const unsigned starts = ChunkStarts(begin, chunk_size);

  float last_k[kVector] = {}, last_v[kVector] = {};
  if (kCarry) {
    Map map[kVector];
#pragma unroll
    for (int i = 0; i < kSegment; ++i) {
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        const float g = gate[i][j];
        map[j].Then(
            {starts >> i & 1 ? 0.0f : g, (1 - g) * k[i][j], (1 - g) * v[i][j]});
      }
    }
    const int tile_end = tile_begin + kTile;
    const int inside = tile_begin % chunk_size;
    Chain chain;
    chain.before = -s.batch * channels;
    chain.own =
        maps - work.tile * chain.before + work.batch * channels + channel;
    chain.num_before = work.tile - (tile_begin - inside) / kTile;
    chain.starts_inside = inside == 0 || chunk_size - inside < kTile;
    chain.publishes = tile_end < s.seq_len && tile_end % chunk_size != 0;
    EnteringState<kForwardWarps>(map, warp, chain, active, last_k, last_v,
                                 [] {});
    // Convert the inputs again instead of holding them twice.
#pragma unroll
    for (int i = 0; i < kSegment; ++i) {
      Forget(k[i]);
      Forget(v[i]);
      Forget(gate[i]);
    }
  }

  const int64_t out = (work.batch * s.seq_len + begin) * channels + channel;
  T* k_out = static_cast<T*>(p.k_average) + out;
  T* v_out = static_cast<T*>(p.v_average) + out;
#pragma unroll
  for (int i = 0; i < kSegment; ++i) {
    Vector<T, kVector> k_now, v_now;
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      const float g = gate[i][j];
      const float keep = starts >> i & 1 ? 0.0f : g;
      last_k[j] = keep * last_k[j] + (1 - g) * k[i][j];
      last_v[j] = keep * last_v[j] + (1 - g) * v[i][j];
      k_now.Set(j, last_k[j]);
      v_now.Set(j, last_v[j]);
    }
    if (i < tokens) Store<T, kVector>(k_out, k_now);
    if (i < tokens) Store<T, kVector>(v_out, v_now);
    k_out += channels;
    v_out += channels;
  }
}

// What a warp of Backward holds of a head in shared memory.
template <typename T, typename G, int kVector>
struct alignas(16) Stage {
  G gate[kSegment][32 * kVector];
  T v[kSegment][32 * kVector];
  T dyk[kSegment][32 * kVector];
  T dyv[kSegment][32 * kVector];
};
template <typename T, typename G, int kVector>
struct alignas(16) BackwardBuffer {
  Stage<T, G, kVector> stages[2];
  T k[kSegment][32 * kVector];
};

// Starts to copy a segment's rows of 32 kVector channels, of which the first is
// `channel` and head_dim of them belong to a head; rows from `tokens` on and
// channels from `channels` on become 0.
template <typename T, int kChannels>
__device__ void CopyRows(T (&to)[kSegment][kChannels],
                         const GatedChunkScanInput& from, int64_t batch,
                         int begin, int tokens, int first_head, int channel,
                         int channels, int head_dim) {
  constexpr int kSize = 16 / sizeof(T);
  constexpr int kLanesARow = kChannels / kSize;
  constexpr int kRows = 32 / kLanesARow;
  const int lane = threadIdx.x % 32;
  const int at = lane % kLanesARow * kSize;
  const int row = lane / kLanesARow;
  const int c = channel + at;
  const T* data =
      At<T>(from, batch, begin + row, first_head + c / head_dim, c % head_dim);
#pragma unroll
  for (int i = 0; i < kSegment; i += kRows) {
    // With 0 bytes to read, the address is not looked at.
    const int bytes = i + row < tokens && c < channels ? 16 : 0;
    const auto to_address =
        static_cast<unsigned>(__cvta_generic_to_shared(&to[i + row][at]));
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to_address),
        "l"(data), "r"(bytes)
        : "memory");
    data += kRows * from.token_stride;
  }
}

template <typename T, typename G, int kVector, bool kCarry>
__global__ void __launch_bounds__(kBackwardWarps * 32, 2)
    Backward(GatedChunkScanBackwardParams p) {
  constexpr int kTile = kBackwardWarps * kSegment;
  const GatedChunkScanSizes& s = p.sizes;
  const int seq_len = static_cast<int>(s.seq_len);
  const int chunk_size = static_cast<int>(s.chunk_size);
  const int head_dim = static_cast<int>(s.head_dim);
  const int groups = static_cast<int>(s.groups);
  const int repeats = static_cast<int>(s.heads) / groups;
  const int channels = static_cast<int>(s.heads) * head_dim;
  const int k_channels = groups * head_dim;
  auto* maps = static_cast<Map*>(p.scratch) + 1;
  const Work work = NextWork<kCarry>(s, NumColumns(k_channels, kVector),
                                     reinterpret_cast<unsigned*>(p.scratch));
  const int tile = NumTiles(seq_len, kTile) - 1 - work.tile;
  const int warp = threadIdx.x / 32;
  const int column = work.column * 32 * kVector;
  const int in_column = threadIdx.x % 32 * kVector;
  const int k_channel = column + in_column;
  const bool active = k_channel < k_channels;
  const int tile_begin = tile * kTile;
  const int begin = tile_begin + warp * kSegment;
  const int tokens = min(kSegment, seq_len - begin);
  const unsigned starts = ChunkStarts(begin, chunk_size);

  extern __shared__ __align__(16) char shared[];
  auto& buffer = reinterpret_cast<BackwardBuffer<T, G, kVector>*>(shared)[warp];
  const auto copy = [&](auto& to, const GatedChunkScanInput& from, int repeat) {
    CopyRows(to, from, work.batch, begin, tokens, repeat * groups, column,
             k_channels, head_dim);
  };
  const auto copy_stage = [&](int repeat) {
    if (repeat < repeats) {
      auto& stage = buffer.stages[repeat % 2];
      copy(stage.gate, p.gate, repeat);
      copy(stage.v, p.v, repeat);
      copy(stage.dyk, p.grad_k_average, repeat);
      copy(stage.dyv, p.grad_v_average, repeat);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  copy(buffer.k, p.k, 0);
  copy_stage(0);

  Chain chain;
  if (kCarry) {
    const int tile_end = tile_begin + kTile;
    const int inside = tile_begin % chunk_size;
    const int left = tile_end % chunk_size;
    chain.before = -s.batch * channels;
    chain.num_before = 0;
    if (tile_end < seq_len && left != 0) {
      // Up to the tile that holds the chunk's end.
      const int chunk_end = min(seq_len, tile_end - left + chunk_size);
      chain.num_before = (chunk_end - 1) / kTile - tile;
    }
    chain.starts_inside = inside == 0 || chunk_size - inside < kTile;
    chain.publishes = inside != 0;
  }

  float dk[kSegment][kVector] = {};
  for (int repeat = 0; repeat < repeats; ++repeat) {
    copy_stage(repeat + 1);
    const int channel = repeat * k_channels + k_channel;
    const int64_t out = (work.batch * s.seq_len + begin) * channels + channel;
    // y before the segment, as the forward pass has rounded it.
    float last_k[kVector] = {}, last_v[kVector] = {};
    if (kCarry && active && tokens > 0 && !(starts & 1)) {
      const auto saved_k =
          Load<T, kVector>(static_cast<const T*>(p.k_average) + out - channels);
      const auto saved_v =
          Load<T, kVector>(static_cast<const T*>(p.v_average) + out - channels);
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        last_k[j] = saved_k[j];
        last_v[j] = saved_v[j];
      }
    }
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncwarp();
    const Stage<T, G, kVector>& stage = buffer.stages[repeat % 2];
    const auto at = [&](const auto& rows, int i) {
      return Load<std::decay_t<decltype(rows[0][0])>, kVector>(
          &rows[i][in_column]);
    };

    // y_{t-1} - x_t
    float k_change[kSegment][kVector], v_change[kSegment][kVector];
    const auto find_changes = [&] {
#pragma unroll
      for (int i = 0; i < kSegment; ++i) {
        const auto gate = at(stage.gate, i);
        const auto k = at(buffer.k, i), v = at(stage.v, i);
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          const float g = gate[j];
          if (starts >> i & 1) last_k[j] = last_v[j] = 0;
          k_change[i][j] = last_k[j] - k[j];
          v_change[i][j] = last_v[j] - v[j];
          last_k[j] = g * last_k[j] + (1 - g) * k[j];
          last_v[j] = g * last_v[j] + (1 - g) * v[j];
        }
      }
    };

    // g_{t+1} a_{t+1}, what reaches y_t from the next token.
    float next_k[kVector] = {}, next_v[kVector] = {};
    if (kCarry) {
      Map map[kVector];
#pragma unroll
      for (int i = kSegment - 1; i >= 0; --i) {
        const auto gate = at(stage.gate, i);
        const auto dyk = at(stage.dyk, i), dyv = at(stage.dyv, i);
#pragma unroll
        for (int j = 0; j < kVector; ++j) {
          const float keep = starts >> i & 1 ? 0.0f : gate[j];
          map[j].Then({keep, keep * dyk[j], keep * dyv[j]});
        }
      }
      chain.own =
          maps - work.tile * chain.before + work.batch * channels + channel;
      EnteringState<kBackwardWarps>(map, kBackwardWarps - 1 - warp, chain,
                                    active, next_k, next_v, find_changes);
    } else {
      find_changes();
    }
    const int64_t last = out + (kSegment - 1) * static_cast<int64_t>(channels);
    T* dv_out = static_cast<T*>(p.grad_v) + last;
    G* dgate_out = static_cast<G*>(p.grad_gate) + last;
#pragma unroll
    for (int i = kSegment - 1; i >= 0; --i) {
      const auto gate = at(stage.gate, i);
      const auto dyk = at(stage.dyk, i), dyv = at(stage.dyv, i);
      Vector<T, kVector> dv;
      Vector<G, kVector> dgate;
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        const float g = gate[j];
        const float keep = starts >> i & 1 ? 0.0f : g;
        const float ak = next_k[j] + dyk[j], av = next_v[j] + dyv[j];
        dk[i][j] += (1 - g) * ak;
        dv.Set(j, (1 - g) * av);
        dgate.Set(j, k_change[i][j] * ak + v_change[i][j] * av);
        next_k[j] = keep * ak;
        next_v[j] = keep * av;
      }
      if (active && i < tokens) Store<T, kVector>(dv_out, dv);
      if (active && i < tokens) Store<G, kVector>(dgate_out, dgate);
      dv_out -= channels;
      dgate_out -= channels;
    }
    __syncwarp();  // the stage is free
  }

  T* dk_out = static_cast<T*>(p.grad_k) +
              (work.batch * s.seq_len + begin) * k_channels + k_channel;
#pragma unroll
  for (int i = 0; i < kSegment; ++i) {
    Vector<T, kVector> sum;
#pragma unroll
    for (int j = 0; j < kVector; ++j) sum.Set(j, dk[i][j]);
    if (active && i < tokens) Store<T, kVector>(dk_out, sum);
    dk_out += k_channels;
  }
}

template <typename T, typename G, int kVector>
__global__ void __launch_bounds__(kStepThreads)
    Step(GatedChunkScanStepParams p) {
  const GatedChunkScanSizes& s = p.sizes;
  const int64_t channels = s.heads * s.head_dim;
  const int64_t index =
      (static_cast<int64_t>(blockIdx.x) * kStepThreads + threadIdx.x) * kVector;
  if (index >= s.batch * channels) return;
  const int64_t batch = index / channels;
  const int channel = static_cast<int>(index % channels);
  const int64_t head = channel / s.head_dim, d = channel % s.head_dim;
  const auto gate = Load<G, kVector>(At<G>(p.gate, batch, 0, head, d));
  const auto v = Load<T, kVector>(At<T>(p.v, batch, 0, head, d));
  const auto k = Load<T, kVector>(At<T>(p.k, batch, 0, head % s.groups, d));
  auto k_state = Load<float, kVector>(p.k_state + index);
  auto v_state = Load<float, kVector>(p.v_state + index);
  const bool first = *p.first;
#pragma unroll
  for (int j = 0; j < kVector; ++j) {
    const float g = gate[j];
    k_state.Set(j, (first ? 0 : g * k_state[j]) + (1 - g) * k[j]);
    v_state.Set(j, (first ? 0 : g * v_state[j]) + (1 - g) * v[j]);
  }
  Store<float, kVector>(p.k_state + index, k_state);
  Store<float, kVector>(p.v_state + index, v_state);
}

bool EverySegmentStartsAChunk(const GatedChunkScanSizes& s) {
  return kSegment % s.chunk_size == 0;
}

// The work counter and a map a channel of each tile; no map where tiles need
// nothing of each other.
size_t ScratchBytes(const GatedChunkScanSizes& s, int tile) {
  if (EverySegmentStartsAChunk(s)) return 0;
  if (tile % s.chunk_size == 0) return sizeof(Map);
  const size_t tiles = NumTiles(s.seq_len, tile);
  return sizeof(Map) * (1 + tiles * s.batch * s.heads * s.head_dim);
}

// Two 16-bit values or a 32-bit one: 128 bytes a warp, and registers for 16
// tokens of them.
template <typename T>
constexpr int ChannelsAThread() {
  return 4 / sizeof(T);
}

template <typename Params>
cudaError_t Launch(void (*kernel)(Params), int warps, int64_t heads, int vector,
                   size_t shared_bytes, const Params& params) {
  const GatedChunkScanSizes& s = params.sizes;
  const size_t bytes = ScratchBytes(s, warps * kSegment);
  if (bytes > 0) {
    const cudaError_t error =
        cudaMemsetAsync(params.scratch, 0, bytes, params.stream);
    if (error != cudaSuccess) return error;
  }
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(shared_bytes));
  if (error != cudaSuccess) return error;
  const int64_t blocks = s.batch * NumTiles(s.seq_len, warps * kSegment) *
                         NumColumns(heads * s.head_dim, vector);
  kernel<<<static_cast<unsigned>(blocks), warps * 32, shared_bytes,
           params.stream>>>(params);
  return cudaGetLastError();
}

}  // namespace

size_t GatedChunkScanScratchBytes(const GatedChunkScanSizes& sizes) {
  return std::max(ScratchBytes(sizes, kForwardWarps * kSegment),
                  ScratchBytes(sizes, kBackwardWarps * kSegment));
}

cudaError_t GatedChunkScanForwardLaunch(
    const GatedChunkScanForwardParams& params) {
  const GatedChunkScanSizes& s = params.sizes;
  return DispatchFloats(s.type, s.gate_type, [&](auto type, auto gate_type) {
    using T = decltype(type);
    using G = decltype(gate_type);
    constexpr int kVector = ChannelsAThread<T>();
    return Launch(EverySegmentStartsAChunk(s) ? Forward<T, G, kVector, false>
                                              : Forward<T, G, kVector, true>,
                  kForwardWarps, s.heads, kVector, 0, params);
  });
}

cudaError_t GatedChunkScanBackwardLaunch(
    const GatedChunkScanBackwardParams& params) {
  const GatedChunkScanSizes& s = params.sizes;
  return DispatchFloats(s.type, s.gate_type, [&](auto type, auto gate_type) {
    using T = decltype(type);
    using G = decltype(gate_type);
    constexpr int kVector = ChannelsAThread<T>();
    return Launch(EverySegmentStartsAChunk(s) ? Backward<T, G, kVector, false>
                                              : Backward<T, G, kVector, true>,
                  kBackwardWarps, s.groups, kVector,
                  kBackwardWarps * sizeof(BackwardBuffer<T, G, kVector>),
                  params);
  });
}

cudaError_t GatedChunkScanStepLaunch(const GatedChunkScanStepParams& params) {
  const GatedChunkScanSizes& s = params.sizes;
  return DispatchFloats(s.type, s.gate_type, [&](auto type, auto gate_type) {
    const int64_t threads = s.batch * s.heads * s.head_dim / kStepVector;
    const int64_t blocks = (threads + kStepThreads - 1) / kStepThreads;
    Step<decltype(type), decltype(gate_type), kStepVector>
        <<<static_cast<unsigned>(blocks), kStepThreads, 0, params.stream>>>(
            params);
    return cudaGetLastError();
  });
}

}  // namespace repro
