// Causal linear attention with a decay. A block owns a sequence's head (or a
// segment of it) and walks over its tokens in chunks of 64 with the state on
// chip. With i, j the rows of a chunk of n:
//
//   O  = [(Q K^T) o M] V + diag(e^{-s(i+1)}) Q KV,   M_ij = e^{-s(i-j)}, i >= j
//   KV <- e^{-s n} KV + (diag(e^{-s(n-1-j)}) K)^T V
//
// and in reverse (for gradients) the same with rows mirrored and one decay
// moved from the query's factor to the key's.
//
// It is bound by memory: at H16 D128 and 65,536 tokens q, k, v and out are 1.07
// GB, 0.22 ms at 4.8 TB/s; the products are 98 kFLOP a token and head, 103
// GFLOP, 0.13 ms at 790 TFLOP/s. So each tensor is to be moved once and the
// products are to hide behind the copies:
//
// - The state stays in float32 in registers, 64 a thread, for the whole
// sequence.
//   It is kept transposed: its update (V^T scaled) K then takes the scaled
//   operand from registers, where ldmatrix transposes it, and K as it lies in
//   shared memory, so that no scaled copy is written. A copy in the input's
//   type is the right operand of Q KV.
// - Two warpgroups have 64 columns of v, out and the state each. Both compute
// the
//   scores: 17% more products (120 GFLOP) against an exchange. They share the
//   loads alone, so that one's arithmetic runs under the other's products.
// - A third warpgroup loads tiles by bulk tensor copies, three stages of 48 KB;
//   with two copies of the state's half (32 KB) and the output (16 KB) that is
//   a block's whole shared memory, so one block a multiprocessor, with 232
//   registers a thread for the warpgroups that compute.
// - Blocks are persistent, so the next head's loads run under the last one's
// end.
// - With fewer heads than multiprocessors sequences are cut into segments. A
//   first pass computes the segments' states from k and v alone, CombineSlots
//   adds them up. It reads only what has not decayed to nothing (ReachOf): with
//   ALiBi's slopes 15% of k and v at B1 N64k H16, without decay all of it.
//
// On an H100 a block that does not wait for memory takes 1.7 us for a chunk; at
// the card's copy bandwidth (3.0 TB/s) a chunk has 2.9 us, on an H200
// (4.3) 2.0.
#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <utility>

#include "kernels/lightning_attention/lightning_attention_cuda.h"
#include "kernels/lightning_attention/lightning_attention_fragments.cuh"
#include "kernels/lightning_attention/lightning_attention_pair.cuh"
#include "kernels/lightning_attention/lightning_attention_portable.cuh"
#include "kernels/lightning_attention/lightning_attention_sweep.cuh"
#include "kernels/lightning_attention/lightning_attention_work.cuh"

namespace repro {
namespace lightning {
namespace {

// From the states of pieces alone to the states at the segments' ends:
// S_i = e^{-s segment_rows} S_{i-1} + sum over pieces of e^{-s near} slot, for
// every segment but the last, whose state the sweep itself carries on. A thread
// owns four elements.
__global__ void __launch_bounds__(256)
    CombineSlots(const __grid_constant__ Sweep p, const SequenceSlots* table,
                 int sequences, int elements) {
  const int vectors = elements / 4;
  const int64_t total = static_cast<int64_t>(sequences) * p.heads * vectors;
  for (int64_t i = blockIdx.x * int64_t{256} + threadIdx.x; i < total;
       i += gridDim.x * int64_t{256}) {
    const int vector = static_cast<int>(i % vectors);
    const int head = static_cast<int>(i / vectors % p.heads);
    const int sequence = static_cast<int>(i / vectors / p.heads);
    SequenceSlots range = {
        sequence * p.segments_per_sequence, p.segments_per_sequence,
        p.length - (p.segments_per_sequence - 1) * p.segment_rows};
    if (table != nullptr) range = table[sequence];
    const float slope = p.decay[head];
    const Reach reach = ReachOf(p, slope);
    const auto power = [slope](int rows) {
      return exp2f(-slope * kLog2E * static_cast<float>(rows));
    };
    const float decay = power(p.segment_rows);
    float4 sum = {0, 0, 0, 0};
    for (int part = 0; part < range.count - 1; ++part) {
      const int index =
          range.first + (p.reverse ? range.count - 1 - part : part);
      const int rows =
          p.reverse && part == 0 ? range.last_rows : p.segment_rows;
      auto* const slot =
          reinterpret_cast<float4*>(p.slots) +
          (static_cast<int64_t>(index) * kPieces * p.heads + head) * vectors +
          vector;
      sum = {sum.x * decay, sum.y * decay, sum.z * decay, sum.w * decay};
#pragma unroll
      for (int piece = 0; piece < kPieces; ++piece) {
        const int near = piece * reach.piece_rows;
        if (near >= min(reach.rows, rows)) continue;
        const float scale = power(near);
        const float4 own =
            slot[static_cast<int64_t>(piece) * p.heads * vectors];
        sum = {sum.x + scale * own.x, sum.y + scale * own.y,
               sum.z + scale * own.z, sum.w + scale * own.w};
      }
      *slot = sum;
    }
  }
}

constexpr int kTableThreads = 256;

// The segments of the sequences of cu_seqlens, in one block. Sequences longer
// than segment_rows have slots. Bounds are clamped to [0, length], so that
// wrong ones read and write inside the tensors.
template <typename Int>
__global__ void __launch_bounds__(kTableThreads)
    BuildTable(const Int* cu_seqlens, int sequences, int length,
               int segment_rows, Segment* table, int entries,
               SequenceSlots* slots) {
  __shared__ int2 sums[kTableThreads];
  int2 before = {0, 0};  // segments and slots of the sequences before
  for (int start = 0; start < sequences; start += kTableThreads) {
    const int i = start + static_cast<int>(threadIdx.x);
    int begin = 0, rows = 0;
    int2 own = {0, 0};
    if (i < sequences) {
      const Int limit = length;
      begin = static_cast<int>(min(max(cu_seqlens[i], Int{0}), limit));
      const int end = static_cast<int>(
          min(max(cu_seqlens[i + 1], static_cast<Int>(begin)), limit));
      rows = end - begin;
      own.x = max(1, (rows - 1) / segment_rows + 1);
      own.y = own.x > 1 ? own.x : 0;
    }
    int2 sum = own;
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int offset = 1; offset < kTableThreads; offset *= 2) {
      const bool add = static_cast<int>(threadIdx.x) >= offset;
      const int2 other = add ? sums[threadIdx.x - offset] : int2{0, 0};
      __syncthreads();
      sum.x += other.x;
      sum.y += other.y;
      sums[threadIdx.x] = sum;
      __syncthreads();
    }
    const int2 all = sums[kTableThreads - 1];
    __syncthreads();
    if (i < sequences) {
      const int first = before.x + sum.x - own.x;
      const int first_slot = before.y + sum.y - own.y;
      slots[i] = {first_slot, own.y, rows - (own.x - 1) * segment_rows};
      for (int part = 0; part < own.x && first + part < entries; ++part) {
        Segment s;
        s.begin = begin + part * segment_rows;
        s.rows = min(segment_rows, rows - part * segment_rows);
        s.batch = 0;
        s.sequence = i;
        s.slot = own.y > 0 ? first_slot + part : -1;
        s.first = part == 0;
        s.last = part == own.x - 1;
        table[first + part] = s;
      }
    }
    before.x += all.x;
    before.y += all.y;
  }
  for (int i = before.x + threadIdx.x; i < entries; i += kTableThreads) {
    table[i].rows = -1;
  }
}

int DivideUp(int64_t a, int64_t b) { return static_cast<int>((a + b - 1) / b); }

// How the sweep is cut: into one segment a sequence where that fills the GPU,
// or else into about as many segments as the GPU has multiprocessors, at the
// price of reading k and v twice.
struct Plan {
  int segments_per_sequence = 1;
  int segment_rows = 0;
  int segments = 0;  // with cu_seqlens: at most
  int slots = 0;     // at most
  size_t table_offset = 0, sequence_slots_offset = 0, bytes = 0;
};

Plan MakePlan(const LightningSweepParams& p) {
  constexpr int kLeastRows = 4 * kChunk;
  Plan plan;
  if (p.cu_seqlens == nullptr) {
    const int parts =
        std::min<int64_t>(p.multiprocessors / (int64_t{p.batch} * p.heads),
                          DivideUp(p.length, kLeastRows));
    plan.segment_rows =
        DivideUp(DivideUp(p.length, std::max(parts, 1)), kChunk) * kChunk;
    plan.segments_per_sequence = DivideUp(p.length, plan.segment_rows);
    plan.segments = plan.segments_per_sequence * p.batch;
    plan.slots = plan.segments_per_sequence > 1 ? plan.segments : 0;
  } else {
    const int share = DivideUp(int64_t{p.length} * p.heads, p.multiprocessors);
    plan.segment_rows = DivideUp(std::max(share, kLeastRows), kChunk) * kChunk;
    const int whole = p.length / plan.segment_rows;
    plan.segments = whole + p.sequences;
    // A sequence with slots is longer than a segment, so it has at most twice
    // as many as whole segments.
    plan.slots = p.length > plan.segment_rows ? 2 * whole : 0;
  }
  const auto align = [](size_t x) { return (x + 15) / 16 * 16; };
  plan.table_offset = sizeof(float) * plan.slots * kPieces * p.heads *
                      static_cast<size_t>(p.key_dim * p.value_dim);
  const bool table = p.cu_seqlens != nullptr;
  plan.sequence_slots_offset =
      plan.table_offset + (table ? align(sizeof(Segment) * plan.segments) : 0);
  plan.bytes = plan.sequence_slots_offset +
               (table ? align(sizeof(SequenceSlots) * p.sequences) : 0);
  return plan;
}

// To be called before Encode: this makes the device's context current in the
// calling thread, which the driver's functions need. Autograd's threads start
// without one.
template <typename Kernel>
cudaError_t AllowSharedMemory(Kernel kernel, int bytes) {
  return cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

cudaError_t Encode(const LightningTensor& x, LightningType type, int dim,
                   int parts, const LightningSweepParams& p, CUtensorMap* map) {
  static void* const function = [] {
    void* f = nullptr;
    cudaDriverEntryPointQueryResult result;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000,
                                         cudaEnableDefault,
                                         &result) != cudaSuccess ||
        result != cudaDriverEntryPointSuccess) {
      f = nullptr;
    }
    return f;
  }();
  if (function == nullptr) return cudaErrorNotSupported;
  // An axis of one element may have any stride; a map needs a plausible one.
  const auto bytes = [](int64_t stride, int size) {
    return static_cast<cuuint64_t>(size > 1 ? 2 * stride : 128);
  };
  const cuuint64_t sizes[] = {
      64, static_cast<cuuint64_t>(p.length), static_cast<cuuint64_t>(dim / 64),
      static_cast<cuuint64_t>(p.heads), static_cast<cuuint64_t>(p.batch)};
  const cuuint64_t strides[] = {bytes(x.row_stride, p.length), 128,
                                bytes(x.head_stride, p.heads),
                                bytes(x.batch_stride, p.batch)};
  const cuuint32_t box[] = {64, kChunk, static_cast<cuuint32_t>(parts), 1, 1};
  const cuuint32_t element_strides[] = {1, 1, 1, 1, 1};
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(
      function)(map,
                type == LightningType::kHalf ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                             : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                5, x.data, sizes, strides, box, element_strides,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

template <typename T>
cudaError_t LaunchPair(const LightningSweepParams& params, const Sweep& sweep) {
  using L = PairLayout;
  const auto kernel = HopperPair<T>;
  const cudaError_t error = AllowSharedMemory(kernel, L::kBytes);
  if (error != cudaSuccess) return error;
  PairMaps maps = {};
  const std::pair<const LightningTensor*, CUtensorMap*> tensors[] = {
      {&params.q, &maps.q},     {&params.k, &maps.k},
      {&params.v, &maps.v},     {&params.second_q, &maps.second_q},
      {&params.out, &maps.out}, {&params.second_out, &maps.second_out}};
  for (const auto& [tensor, map] : tensors) {
    const cudaError_t encoded =
        Encode(*tensor, params.type, 128, 2, params, map);
    if (encoded != cudaSuccess) return encoded;
  }
  const int blocks =
      std::min(sweep.segments * sweep.heads, params.multiprocessors);
  kernel<<<blocks, L::kThreads, L::kBytes, params.stream>>>(maps, sweep);
  return cudaGetLastError();
}

template <typename T, int kKey, int kValue, bool kStates>
cudaError_t LaunchPass(const LightningSweepParams& params, const Sweep& sweep) {
  const int items = sweep.segments * sweep.heads * (kStates ? kPieces : 1);
  if (params.hopper) {
    using L = HopperLayout<kKey, kValue, kStates>;
    const auto kernel = HopperSweep<T, kKey, kValue, kStates>;
    cudaError_t error = AllowSharedMemory(kernel, L::kBytes);
    if (error != cudaSuccess) return error;
    TensorMaps maps = {};
    error = Encode(params.k, params.type, kKey, kKey / 64, params, &maps.k);
    if (error != cudaSuccess) return error;
    error = Encode(params.v, params.type, kValue, kValue / 64, params, &maps.v);
    if (error != cudaSuccess) return error;
    if (!kStates) {
      error = Encode(params.q, params.type, kKey, kKey / 64, params, &maps.q);
      if (error != cudaSuccess) return error;
      error = Encode(params.out, params.type, kValue, 1, params, &maps.out);
      if (error != cudaSuccess) return error;
    }
    // The states' pieces are unequal: more blocks than fit let the GPU balance
    // them.
    const int blocks = std::min(
        items, params.multiprocessors * L::kBlocks * (kStates ? 8 : 1));
    kernel<<<blocks, L::kThreads, L::kBytes, params.stream>>>(maps, sweep);
  } else {
    using L = PortableLayout<kKey, kValue, kStates>;
    const auto kernel = PortableSweep<T, kKey, kValue, kStates>;
    const cudaError_t error = AllowSharedMemory(kernel, L::kBytes);
    if (error != cudaSuccess) return error;
    const Operands operands = {params.q, params.k, params.v};
    kernel<<<items, L::kThreads, L::kBytes, params.stream>>>(operands, sweep);
  }
  return cudaGetLastError();
}

template <typename T, int kKey, int kValue>
cudaError_t Launch(const LightningSweepParams& p) {
  const Plan plan = MakePlan(p);
  char* const workspace = static_cast<char*>(p.workspace);
  Sweep sweep = {};
  sweep.decay = p.decay;
  sweep.initial_state = p.initial_state;
  sweep.final_state = p.final_state;
  sweep.state_key_stride = p.state_key_stride;
  sweep.state_value_stride = p.state_value_stride;
  sweep.heads = p.heads;
  sweep.length = p.length;
  sweep.segments = plan.segments;
  sweep.reverse = p.reverse;
  sweep.segments_per_sequence = plan.segments_per_sequence;
  sweep.segment_rows = plan.segment_rows;
  sweep.slots = reinterpret_cast<float*>(workspace);
  sweep.out = p.out;
  sweep.second_out = p.second_out;
  SequenceSlots* sequence_slots = nullptr;
  if (p.cu_seqlens != nullptr) {
    auto* const table =
        reinterpret_cast<Segment*>(workspace + plan.table_offset);
    sequence_slots = reinterpret_cast<SequenceSlots*>(
        workspace + plan.sequence_slots_offset);
    if (p.cu_seqlens_is_64) {
      BuildTable<<<1, kTableThreads, 0, p.stream>>>(
          static_cast<const int64_t*>(p.cu_seqlens), p.sequences, p.length,
          plan.segment_rows, table, plan.segments, sequence_slots);
    } else {
      BuildTable<<<1, kTableThreads, 0, p.stream>>>(
          static_cast<const int*>(p.cu_seqlens), p.sequences, p.length,
          plan.segment_rows, table, plan.segments, sequence_slots);
    }
    sweep.table = table;
  }
  if (plan.slots > 0) {
    const cudaError_t error = LaunchPass<T, kKey, kValue, true>(p, sweep);
    if (error != cudaSuccess) return error;
    constexpr int kElements = kKey * kValue;
    const int64_t threads =
        static_cast<int64_t>(p.sequences) * p.heads * (kElements / 4);
    const auto blocks = static_cast<int>(
        std::min<int64_t>((threads + 255) / 256, 16 * p.multiprocessors));
    CombineSlots<<<blocks, 256, 0, p.stream>>>(sweep, sequence_slots,
                                               p.sequences, kElements);
  }
  if constexpr (kKey == 128 && kValue == 128) {
    if (p.second_out.data != nullptr) return LaunchPair<T>(p, sweep);
  }
  return LaunchPass<T, kKey, kValue, false>(p, sweep);
}

template <typename T>
cudaError_t LaunchDims(const LightningSweepParams& p) {
  if (p.key_dim == 128) {
    return p.value_dim == 128 ? Launch<T, 128, 128>(p) : Launch<T, 128, 64>(p);
  }
  return p.value_dim == 128 ? Launch<T, 64, 128>(p) : Launch<T, 64, 64>(p);
}
}  // namespace
}  // namespace lightning

bool LightningSweepHasPair(const LightningSweepParams& params) {
  return params.hopper && params.reverse && params.key_dim == 128 &&
         params.value_dim == 128;
}

size_t LightningSweepWorkspace(const LightningSweepParams& params) {
  return lightning::MakePlan(params).bytes;
}

cudaError_t LightningSweepLaunch(const LightningSweepParams& params) {
  if (params.second_out.data != nullptr && !LightningSweepHasPair(params)) {
    return cudaErrorNotSupported;
  }
  return params.type == LightningType::kHalf
             ? lightning::LaunchDims<__half>(params)
             : lightning::LaunchDims<__nv_bfloat16>(params);
}

}  // namespace repro
