// Time of attention in one layer of Llama-3.1-8B's shape over random values:
// dense, and the two parts of HiP attention.
#ifndef REPRO_PAPERS_HIP_ATTENTION_LATENCY_H_
#define REPRO_PAPERS_HIP_ATTENTION_LATENCY_H_

#include <c10/core/Device.h>

#include <cstdint>

#include "common/count/timing.h"
#include "common/lm/config.h"
#include "papers/hip_attention/hip_attention.h"

namespace repro::hip {

struct LayerShape {
  int64_t num_heads = 32;
  int64_t num_kv_heads = 8;
  int64_t head_dim = 128;
  int64_t tokens = 8192;
};

// Median milliseconds. bfloat16 on CUDA, float32 on the CPU.
struct AttentionTimes {
  double dense = 0;
  double refresh = 0;  // estimating the mask
  double sparse = 0;   // attention over it and the window
  // Of a step on average, the mask shared by `steps` of them.
  double Hip(int64_t steps) const {
    return refresh / static_cast<double>(steps) + sparse;
  }
};

// All tokens at once; dense is common/lm's DenseAttention.
AttentionTimes TimePrefill(const LayerShape& shape, const HipOptions& options,
                           c10::Device device, uint64_t seed,
                           TimingOptions timing);

// One query over `tokens` keys; dense is kernels/paged_attention_decode over
// the same memory. Each is a captured graph, from a cold L2 cache.
AttentionTimes TimeDecode(const LayerShape& shape, const HipOptions& options,
                          c10::Device device, uint64_t seed,
                          TimingOptions timing);

// The products with weights of a decode step of one sequence, random weights,
// each a captured graph from a cold L2 cache: of one layer, and of the head.
struct LinearTimes {
  double layer = 0;
  double head = 0;
};
LinearTimes TimeLinear(const lm::ModelConfig& config, c10::Device device,
                       uint64_t seed, TimingOptions timing);

// How many times as fast a whole decode step is with HiP attention in all but
// the first l_d layers, a mask shared by r_m steps. Norms, rotations and
// activations count nothing on either side.
double EndToEndSpeedup(const lm::ModelConfig& config,
                       const AttentionTimes& attention,
                       const LinearTimes& linear, int64_t dense_layers,
                       int64_t refresh);

// What bounds it at batch 1 where reading takes the time: bytes of weights,
// each read once, and of keys and values, over the bytes of weights alone.
double EndToEndBound(const lm::ModelConfig& config, int64_t tokens,
                     double bytes_per_value);

}  // namespace repro::hip

#endif  // REPRO_PAPERS_HIP_ATTENTION_LATENCY_H_
