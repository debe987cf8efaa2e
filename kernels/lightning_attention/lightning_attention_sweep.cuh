// The sweep on Hopper; lightning_attention_cuda.cu says why it is so.
#ifndef REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_SWEEP_CUH_
#define REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_SWEEP_CUH_

#include <cuda.h>

#include <cstdint>

#include "kernels/lightning_attention/lightning_attention_fragments.cuh"
#include "kernels/lightning_attention/lightning_attention_hopper.cuh"
#include "kernels/lightning_attention/lightning_attention_work.cuh"

namespace repro {
namespace lightning {

// Shared memory of a block, in bytes.
template <int kKey, int kValue, bool kStates>
struct HopperLayout {
  static constexpr int kGroups = kValue / 64;
  static constexpr int kConsumers = 128 * kGroups;
  // A warpgroup loads, with few registers, so that the others have more.
  static constexpr int kThreads = kConsumers + 128;
  [[maybe_unused]] static constexpr int kLoaderRegisters = 40;
  [[maybe_unused]] static constexpr int kConsumerRegisters =
      kGroups == 1 ? 216 : 232;
  static constexpr int kBlocks = kValue == 64 ? 2 : 1;  // a multiprocessor
  static constexpr int kKeyTile = kKey / 64 * kSubtile;
  static constexpr int kValueTile = kValue / 64 * kSubtile;
  // Of a stage: k, v, q.
  static constexpr int kStage = (kStates ? 1 : 2) * kKeyTile + kValueTile;
  // Of a warpgroup: the state's part and its output.
  static constexpr int kStateTile = kStates ? 0 : kKeyTile;
  static constexpr int kOutTile = kStates ? 0 : kSubtile;
  static constexpr int kSmall = kGroups * kPowers * 4 + 256;
  static constexpr int kFixed =
      kGroups * (kStateTile + kOutTile) + kSmall + 1024 /* alignment */;
  static constexpr int kAvailable = kBlocks == 1 ? 232448 : 233472 / 2 - 1024;
  static constexpr int kStages =
      (kAvailable - kFixed) / kStage < 6 ? (kAvailable - kFixed) / kStage : 6;
  static_assert(kStages >= 2);
  static constexpr int kBytes = kStages * kStage + kFixed;
};

struct TensorMaps {
  CUtensorMap q, k, v, out;
};

template <typename T, int kKey, int kValue, bool kStates>
__global__ void __launch_bounds__(HopperLayout<kKey, kValue, kStates>::kThreads,
                                  HopperLayout<kKey, kValue, kStates>::kBlocks)
    HopperSweep(const __grid_constant__ TensorMaps maps,
                const __grid_constant__ Sweep p) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using L = HopperLayout<kKey, kValue, kStates>;
  extern __shared__ char shared_memory[];
  char* const base = shared_memory + (-SharedAddress(shared_memory) & 1023u);
  const uint32_t stages = SharedAddress(base);
  const uint32_t states = stages + L::kStages * L::kStage;
  const uint32_t outs = states + L::kGroups * L::kStateTile;
  const uint32_t small = outs + L::kGroups * L::kOutTile;
  const uint32_t full = small + L::kGroups * kPowers * 4;
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

  const int items = p.segments * p.heads * (kStates ? kPieces : 1);
  int stage = 0;
  uint32_t parity = 0;
  const auto advance = [&] {
    if (++stage == L::kStages) {
      stage = 0;
      parity ^= 1;
    }
  };

  if (threadIdx.x >= L::kConsumers) {
    hopper::ReleaseRegisters<L::kLoaderRegisters>();
    if (threadIdx.x != L::kConsumers) return;
    for (int item = blockIdx.x; item < items; item += gridDim.x) {
      Work work;
      if (!FindWork<kStates>(p, item, &work)) continue;
      const int chunks = (work.rows + kChunk - 1) / kChunk;
      for (int c = 0; c < chunks; ++c) {
        const int row = work.begin + (p.reverse ? chunks - 1 - c : c) * kChunk;
        const uint32_t tile = stages + stage * L::kStage;
        const uint32_t barrier = full + 8 * stage;
        hopper::Wait(empty + 8 * stage, parity ^ 1);
        hopper::ExpectBytes(barrier, L::kStage);
        if (!kStates) {
          hopper::LoadTile(tile + L::kKeyTile + L::kValueTile, &maps.q, barrier,
                           row, 0, work.head, work.batch);
        }
        hopper::LoadTile(tile, &maps.k, barrier, row, 0, work.head, work.batch);
        hopper::LoadTile(tile + L::kKeyTile, &maps.v, barrier, row, 0,
                         work.head, work.batch);
        advance();
      }
    }
    return;
  }

  hopper::ClaimRegisters<L::kConsumerRegisters>();
  const int group = threadIdx.x / 128;
  const Lane at;
  float* const powers = reinterpret_cast<float*>(base + (small - stages)) +
                        group * kPowers + kChunk;
  const uint32_t state_tile = states + group * L::kStateTile;
  const uint32_t out_tile = outs + group * L::kOutTile;
  float state[kKey / 2];

  for (int item = blockIdx.x; item < items; item += gridDim.x) {
    Work work;
    if (!FindWork<kStates>(p, item, &work)) continue;
    GroupBarrier(group);  // the last item's powers and state have been read
    FillPowers(at, powers, p.decay[work.head]);
    InitialState<L::kGroups>(p, at, work, group, state);
    if (!kStates) {
      StoreFragments<T>(at, state, state_tile);
      hopper::FenceAsyncProxy();
    }
    GroupBarrier(group);

    const int chunks = (work.rows + kChunk - 1) / kChunk;
    for (int c = 0; c < chunks; ++c) {
      const int chunk = p.reverse ? chunks - 1 - c : c;
      const int rows = min(kChunk, work.rows - chunk * kChunk);
      const uint32_t k_tile = stages + stage * L::kStage;
      const uint32_t v_tile = k_tile + L::kKeyTile;
      const uint32_t q_tile = v_tile + L::kValueTile;
      const float decay = powers[rows];
#pragma unroll
      for (int i = 0; i < kKey / 2; ++i) state[i] *= decay;
      hopper::Pin(state);
      hopper::Wait(full + 8 * stage, parity);
      if (rows < kChunk) {
        char* const tile = base + (k_tile - stages);
        ZeroRows<kKey>(tile, rows, threadIdx.x, L::kConsumers);
        ZeroRows<kValue>(tile + L::kKeyTile, rows, threadIdx.x, L::kConsumers);
        hopper::FenceAsyncProxy();
        asm volatile("bar.sync 3, %0;" ::"n"(L::kConsumers) : "memory");
      }

      float scores[32];
      float out[32];
      if constexpr (!kStates) {
        const uint64_t q = hopper::Descriptor(q_tile);
        const uint64_t k = hopper::Descriptor(k_tile);
        const uint64_t kv = hopper::Descriptor(state_tile);
        hopper::Fence();
#pragma unroll
        for (int i = 0; i < kKey / 16; ++i) {
          const uint64_t offset = (i / 4 * kSubtile + i % 4 * 32) >> 4;
          hopper::MultiplyRows<T>(scores, q + offset, k + offset, i > 0);
        }
        hopper::Commit();
#pragma unroll
        for (int i = 0; i < kKey / 16; ++i) {
          const uint64_t offset = (i / 4 * kSubtile + i % 4 * 32) >> 4;
          hopper::MultiplyRows<T>(out, q + offset, kv + offset, i > 0);
        }
        hopper::Commit();
      }

      uint32_t values[4][4];
      ScaledValues<T>(at, v_tile + group * kSubtile, powers, rows, p.reverse,
                      values);
      hopper::Fence();
      const uint64_t k_rows = hopper::Descriptor(k_tile);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        hopper::MultiplyAdd<T>(state, values[i], k_rows + (i * 2048 >> 4));
      }
      hopper::Commit();

      if constexpr (!kStates) {
        hopper::WaitProducts<2>();
        hopper::Pin(scores);
        uint32_t decayed[4][4];
        DecayedScores<T>(at, scores, powers, p.reverse, decayed);
        hopper::WaitProducts<1>();
        hopper::Pin(out);
        ScaleQueries(at, powers, rows, p.reverse, out);
        hopper::Pin(out);
        hopper::Fence();
        const uint64_t v = hopper::Descriptor(v_tile + group * kSubtile);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          hopper::MultiplyAdd<T>(out, decayed[i], v + (i * 2048 >> 4));
        }
        hopper::Commit();
        hopper::WaitProducts<1>();
        hopper::Pin(state);
        // All warps have multiplied by the old state, and the last chunk's
        // output has left its tile.
        if (at.thread == 0) hopper::WaitStoresRead();
        GroupBarrier(group);
        StoreFragments<T>(at, state, state_tile);
        hopper::WaitProducts<0>();
        hopper::Pin(out);
        if (at.lane == 0) hopper::Arrive(empty + 8 * stage);
        StoreFragments<T>(at, out, out_tile);
        hopper::FenceAsyncProxy();
        GroupBarrier(group);
        const int row = work.begin + chunk * kChunk;
        if (rows < kChunk) {
          StoreRows<T, 64>(p.out, at, work, 64 * group, row, rows,
                           base + (out_tile - stages));
        } else if (at.thread == 0) {
          hopper::StoreTile(&maps.out, out_tile, row, group, work.head,
                            work.batch);
        }
      } else {
        hopper::WaitProducts<0>();
        hopper::Pin(state);
        if (at.lane == 0) hopper::Arrive(empty + 8 * stage);
      }
      advance();
    }
    FinalState<kStates, L::kGroups>(p, at, work, group, state);
  }
  if (at.thread == 0) hopper::WaitStoresRead();
#endif
}

}  // namespace lightning
}  // namespace repro

#endif  // REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_SWEEP_CUH_
