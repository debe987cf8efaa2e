// Decoding and prefill at full scale: the authors' static cache, and a whole
// decoding step recorded once on a GPU (kernels/graph). On the CPU the same is
// computed step by step.
#ifndef REPRO_PAPERS_DUO_ATTENTION_DECODER_H_
#define REPRO_PAPERS_DUO_ATTENTION_DECODER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "common/lm/attention_state.h"
#include "common/lm/model.h"
#include "kernels/graph/graph.h"

namespace repro::duo {

struct DecoderOptions {
  // Of each layer; the first ones of a model whose heads were reordered. A
  // number a layer because a quantile leaves layers with different numbers.
  std::vector<int64_t> full_heads;
  int64_t capacity = 0;  // tokens of a full head
  int64_t sink = 64;
  int64_t recent = 256;
  int64_t bits = 16;  // of full heads' cache; 4 as in the paper's section 3.5
  // Layers l and l + cache_layers share one cache: for timings of more tokens
  // than fit. 0: each has its own, without which the output has no meaning.
  int64_t cache_layers = 0;
};

// Greedy decoding of one sequence. Streaming heads keep `sink` and the last
// `recent` tokens, the newest included, in a ring.
class DuoDecoder {
 public:
  DuoDecoder(const lm::LanguageModel& model, const DecoderOptions& options);
  DuoDecoder(const DuoDecoder&) = delete;
  DuoDecoder& operator=(const DuoDecoder&) = delete;

  // Takes tokens() in, replaces tokens() and logits() by what follows.
  void Step();

  const at::Tensor& tokens() const { return tokens_; }  // [1] int64
  const at::Tensor& logits() const { return logits_; }  // [1, vocab] float32

  // Declares that the sequence holds `length` tokens, whatever lies in the
  // caches: for measurements.
  void SetLength(int64_t length);

  // Random numbers in all caches.
  void FillCaches(at::Generator generator);

  int64_t CacheBytes() const;

 private:
  struct Layer {
    at::Tensor k, v;                              // of full heads
    at::Tensor k_scale, k_zero, v_scale, v_zero;  // 4 bits
    at::Tensor streaming_k, streaming_v;
  };
  void RunStep();

  const lm::LanguageModel& model_;
  const DecoderOptions options_;
  std::vector<Layer> layers_;
  int64_t known_length_ = 0;
  at::Tensor page_table_, length_, tokens_, logits_, qkv_, hidden_, attended_;
  at::Tensor cos_, sin_;
  std::unique_ptr<CapturedGraph> graph_;
};

// The authors' static cache as a state for prompts read in chunks of at most
// `chunk` tokens: per layer keys and values of full heads [capacity, heads,
// head_dim] and of streaming heads [sink + recent + chunk, ...], of which after
// each call the first `sink` and the last `recent` are kept. Heads are the
// first ones, as after ReorderHeads. Throws c10::Error beyond its capacity.
struct StaticCacheOptions {
  std::vector<int64_t> full_heads;
  int64_t capacity = 0;
  int64_t sink = 128;
  int64_t recent = 256;
  int64_t chunk = 4096;
};

class StaticDuoState : public lm::AttentionState {
 public:
  StaticDuoState(const lm::ModelConfig& config, c10::Device device,
                 at::ScalarType dtype, const StaticCacheOptions& options);

  at::Tensor Attend(const lm::AttentionInput& input) override;
  int64_t Bytes() const override;

  // Declares that `length` tokens were read, whatever lies in the cache.
  void SetLength(int64_t length);

 private:
  struct Layer {
    at::Tensor k, v, streaming_k, streaming_v;
    int64_t length = 0, streaming_length = 0;
  };
  StaticCacheOptions options_;
  std::vector<Layer> layers_;
};

// How many full heads each of `layers` has if all together have round(share *
// layers * heads), spread evenly.
std::vector<int64_t> EvenHeads(int64_t layers, int64_t heads, double share);

}  // namespace repro::duo

#endif  // REPRO_PAPERS_DUO_ATTENTION_DECODER_H_
