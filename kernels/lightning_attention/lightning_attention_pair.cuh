// Two sweeps in one on Hopper: the gradients of k and v.
#ifndef REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_PAIR_CUH_
#define REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_PAIR_CUH_

#include <cuda.h>

#include <cstdint>

#include "kernels/lightning_attention/lightning_attention_fragments.cuh"
#include "kernels/lightning_attention/lightning_attention_hopper.cuh"
#include "kernels/lightning_attention/lightning_attention_work.cuh"

namespace repro {
namespace lightning {

// Two reverse sweeps at once for 128 x 128 heads, which are the gradients of k
// and v: with q, k, v the operands and KV the state of the first,
//
//   out        = [(Q K^T) o M] V + diag(..) Q KV       (dK: V, dO, Q)
//   second_out = [(Q2 V^T) o M] K + diag(..) Q2 KV^T   (dV: K, Q, dO)
//
// share K, V and the state: 4 tensors read and 2 written, where apart it is 6
// and 2, and scores are computed once. A warpgroup computes an output and half
// of the state, whose copy in bf16, [128 values][128 keys], is the right
// operand of both, transposed for the second. Two copies take turns, so that
// there is one barrier of both warpgroups a chunk.
struct PairLayout {
  static constexpr int kConsumers = 256;
  static constexpr int kThreads = kConsumers + 128;
  static constexpr int kTile = 2 * kSubtile;
  static constexpr int kStage = 4 * kTile;
  static constexpr int kStages = 2;
  static constexpr int kState = 2 * kTile;
  static constexpr int kSmall = 2 * kPowers * 4 + 256;
  static constexpr int kBytes =
      kStages * kStage + 2 * kState + 2 * kTile + kSmall + 1024 /* alignment */;
  static_assert(kBytes <= 232448);
};

struct PairMaps {
  CUtensorMap q, k, v, second_q, out, second_out;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// A consumer warpgroup: kSecond computes second_out. `base` is the start of the
// stages; full and empty their barriers.
template <typename T, bool kSecond>
__device__ __forceinline__ void PairConsumer(const PairMaps& maps,
                                             const Sweep& p, char* base,
                                             uint32_t full, uint32_t empty) {
  using L = PairLayout;
  constexpr int kGroup = kSecond ? 1 : 0;
  const Lane at;
  const uint32_t stages = SharedAddress(base);
  const uint32_t states = stages + L::kStages * L::kStage;
  const uint32_t out_tile = states + 2 * L::kState + kGroup * L::kTile;
  float* const powers = reinterpret_cast<float*>(base + L::kStages * L::kStage +
                                                 2 * L::kState + 2 * L::kTile) +
                        kGroup * kPowers + kChunk;
  const auto both = [] {
    asm volatile("bar.sync 3, %0;" ::"n"(L::kConsumers) : "memory");
  };
  float state[64];
  int stage = 0, copy = 0;
  uint32_t parity = 0;
  const int items = p.segments * p.heads;
  for (int item = blockIdx.x; item < items; item += gridDim.x) {
    Work work;
    if (!FindWork<false>(p, item, &work)) continue;
    GroupBarrier(kGroup);
    FillPowers(at, powers, p.decay[work.head]);
    InitialState<2>(p, at, work, kGroup, state);
    StoreFragments<T, 2 * kSubtile>(
        at, state, states + copy * L::kState + kGroup * kSubtile);
    hopper::FenceAsyncProxy();
    both();

    const int chunks = (work.rows + kChunk - 1) / kChunk;
    for (int c = 0; c < chunks; ++c) {
      const int chunk = chunks - 1 - c;
      const int rows = min(kChunk, work.rows - chunk * kChunk);
      const uint32_t k_tile = stages + stage * L::kStage;
      const uint32_t v_tile = k_tile + L::kTile;
      const uint32_t query_tile = v_tile + (kSecond ? 2 : 1) * L::kTile;
      const uint32_t state_tile = states + copy * L::kState;
      const float decay = powers[rows];
#pragma unroll
      for (int i = 0; i < 64; ++i) state[i] *= decay;
      hopper::Pin(state);
      hopper::Wait(full + 8 * stage, parity);
      if (rows < kChunk) {
        char* const tile = base + (k_tile - stages);
        ZeroRows<128>(tile, rows, threadIdx.x, L::kConsumers);
        ZeroRows<128>(tile + L::kTile, rows, threadIdx.x, L::kConsumers);
        hopper::FenceAsyncProxy();
        both();
      }

      float scores[32];
      float out[64];
      const uint64_t query = hopper::Descriptor(query_tile);
      const uint64_t seen = hopper::Descriptor(kSecond ? v_tile : k_tile);
      hopper::Fence();
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const uint64_t offset = (i / 4 * kSubtile + i % 4 * 32) >> 4;
        hopper::MultiplyRows<T>(scores, query + offset, seen + offset, i > 0);
      }
      hopper::Commit();
      // Of the state's copy the columns (keys) are contracted, or for the
      // second the rows (values).
      const uint64_t kv = hopper::Descriptor(state_tile, 2 * kSubtile);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const uint64_t offset = (i / 4 * kSubtile + i % 4 * 32) >> 4;
        const uint64_t kv_offset =
            (kSecond ? i * 2048 : i / 4 * 2 * kSubtile + i % 4 * 32) >> 4;
        hopper::MultiplyShared<T, kSecond>(out, query + offset, kv + kv_offset,
                                           i > 0);
      }
      hopper::Commit();

      uint32_t values[4][4];
      ScaledValues<T>(at, v_tile + kGroup * kSubtile, powers, rows,
                      /*reverse=*/true, values);
      hopper::Fence();
      const uint64_t k_rows = hopper::Descriptor(k_tile);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        hopper::MultiplyAdd<T>(state, values[i], k_rows + (i * 2048 >> 4));
      }
      hopper::Commit();

      hopper::WaitProducts<2>();
      hopper::Pin(scores);
      uint32_t decayed[4][4];
      DecayedScores<T>(at, scores, powers, /*reverse=*/true, decayed);
      hopper::WaitProducts<1>();
      hopper::Pin(out);
      ScaleQueries(at, powers, rows, /*reverse=*/true, out);
      hopper::Pin(out);
      hopper::Fence();
      const uint64_t summed = hopper::Descriptor(kSecond ? k_tile : v_tile);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        hopper::MultiplyAdd<T>(out, decayed[i], summed + (i * 2048 >> 4));
      }
      hopper::Commit();
      hopper::WaitProducts<1>();
      hopper::Pin(state);
      copy ^= 1;
      StoreFragments<T, 2 * kSubtile>(
          at, state, states + copy * L::kState + kGroup * kSubtile);
      // The last chunk's output has left its tile.
      if (at.thread == 0) hopper::WaitStoresRead();
      GroupBarrier(kGroup);
      hopper::WaitProducts<0>();
      hopper::Pin(out);
      if (at.lane == 0) hopper::Arrive(empty + 8 * stage);
      StoreFragments<T>(at, out, out_tile);
      hopper::FenceAsyncProxy();
      both();
      const int row = work.begin + chunk * kChunk;
      if (rows < kChunk) {
        StoreRows<T, 128>(kSecond ? p.second_out : p.out, at, work, 0, row,
                          rows, base + (out_tile - stages));
      } else if (at.thread == 0) {
        hopper::StoreTile(kSecond ? &maps.second_out : &maps.out, out_tile, row,
                          0, work.head, work.batch);
      }
      if (++stage == L::kStages) {
        stage = 0;
        parity ^= 1;
      }
    }
    FinalState<false, 2>(p, at, work, kGroup, state);
  }
  if (at.thread == 0) hopper::WaitStoresRead();
}
#endif

template <typename T>
__global__ void __launch_bounds__(PairLayout::kThreads, 1)
    HopperPair(const __grid_constant__ PairMaps maps,
               const __grid_constant__ Sweep p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using L = PairLayout;
  extern __shared__ char shared_memory[];
  char* const base = shared_memory + (-SharedAddress(shared_memory) & 1023u);
  const uint32_t stages = SharedAddress(base);
  const uint32_t full = stages + L::kStages * L::kStage + 2 * L::kState +
                        2 * L::kTile + 2 * kPowers * 4;
  const uint32_t empty = full + 8 * L::kStages;
  if (threadIdx.x == 0) {
    for (int i = 0; i < L::kStages; ++i) {
      hopper::InitBarrier(full + 8 * i, 1);
      hopper::InitBarrier(empty + 8 * i, L::kConsumers / 32);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    hopper::FenceAsyncProxy();
  }
  __syncthreads();

  if (threadIdx.x >= L::kConsumers) {
    hopper::ReleaseRegisters<24>();
    if (threadIdx.x != L::kConsumers) return;
    int stage = 0;
    uint32_t parity = 0;
    const int items = p.segments * p.heads;
    for (int item = blockIdx.x; item < items; item += gridDim.x) {
      Work work;
      if (!FindWork<false>(p, item, &work)) continue;
      for (int chunk = (work.rows + kChunk - 1) / kChunk - 1; chunk >= 0;
           --chunk) {
        const int row = work.begin + chunk * kChunk;
        const uint32_t tile = stages + stage * L::kStage;
        const uint32_t barrier = full + 8 * stage;
        const auto load = [&](int place, const CUtensorMap& map) {
          hopper::LoadTile(tile + place * L::kTile, &map, barrier, row, 0,
                           work.head, work.batch);
        };
        hopper::Wait(empty + 8 * stage, parity ^ 1);
        hopper::ExpectBytes(barrier, L::kStage);
        load(0, maps.k);
        load(1, maps.v);
        load(2, maps.q);
        load(3, maps.second_q);
        if (++stage == L::kStages) {
          stage = 0;
          parity ^= 1;
        }
      }
    }
    return;
  }
  hopper::ClaimRegisters<240>();
  if (threadIdx.x < 128) {
    PairConsumer<T, false>(maps, p, base, full, empty);
  } else {
    PairConsumer<T, true>(maps, p, base, full, empty);
  }
#endif
}

}  // namespace lightning
}  // namespace repro

#endif  // REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_PAIR_CUH_
