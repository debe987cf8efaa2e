// A decode step of one layer over both caches of RazorAttention, in two
// launches of kernels/paged_attention_decode, and over a dense cache in one.
#ifndef REPRO_PAPERS_RAZOR_ATTENTION_DECODE_H_
#define REPRO_PAPERS_RAZOR_ATTENTION_DECODE_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "common/count/timing.h"
#include "kernels/paged_attention_decode/paged_attention_decode.h"
#include "papers/razor_attention/razor_attention.h"

namespace repro::razor {

// Some of a layer's heads: pages and the most tokens that they hold.
struct DecodeHeads {
  PagedKeysValues cache;
  int64_t max_length = 0;
};

// One token that counts as `log_count` = ln N_d says, beside the pages.
struct CompensationToken {
  at::Tensor k, v;       // [batch, num_kv_heads, head_dim]
  at::Tensor log_count;  // [batch] float32
};

// Adds the token to attention over other keys, exactly: with s its scaled
// logit plus log_count, w = sigmoid(s - lse) is its weight and out + w (v -
// out) the sum. out, q: [batch, num_heads, head_dim]; lse: [batch, num_heads].
at::Tensor AddCompensation(const at::Tensor& out, const at::Tensor& lse,
                           const at::Tensor& q, const CompensationToken& token);

// How a layer's cache is kept.
enum class LayerKind {
  kDense,
  kPublished,  // compensation token weighted by N_d
  kDeployed,   // counted once: one more key in the pages
};

struct DecodeShape {
  int64_t num_heads = 32;
  int64_t num_kv_heads = 8;
  int64_t head_dim = 128;
  int64_t batch = 1;
  int64_t tokens = 8192;  // of each sequence
};

// A layer with random keys and values, whose first `full_heads` key-value
// heads retrieve (weights put in that order need no gathering). bfloat16 on
// CUDA, float32 on the CPU.
class DecodeLayer {
 public:
  DecodeLayer(LayerKind kind, const DecodeShape& shape, int64_t full_heads,
              const RazorOptions& options, c10::Device device,
              at::Generator generator);

  // Attention of one query a head: [batch, num_heads, head_dim].
  at::Tensor Step() const;
  int64_t Bytes() const;  // of keys and values

  const at::Tensor& q() const { return q_; }
  const DecodeHeads& full() const { return full_; }
  const DecodeHeads& rest() const { return rest_; }
  const CompensationToken& compensation() const { return compensation_; }

 private:
  at::Tensor q_;  // [batch, num_heads, head_dim]
  int64_t full_queries_ = 0, rest_queries_ = 0;
  DecodeHeads full_, rest_;
  CompensationToken compensation_;
};

// Milliseconds of the step, a captured graph, from a cold L2 cache.
Timing TimeDecode(LayerKind kind, const DecodeShape& shape, int64_t full_heads,
                  const RazorOptions& options, c10::Device device,
                  uint64_t seed, TimingOptions timing);

// Bytes that the allocator gave to a whole model's states for a prompt of
// random keys and values: dense before PromptDone, compressed after it.
struct CacheBytes {
  int64_t dense = 0;
  int64_t compressed = 0;
};
CacheBytes MeasureCacheBytes(const lm::ModelConfig& config,
                             int64_t prompt_tokens, const HeadSet& retrieval,
                             const RazorOptions& options, c10::Device device,
                             at::Generator generator);

}  // namespace repro::razor

#endif  // REPRO_PAPERS_RAZOR_ATTENTION_DECODE_H_
