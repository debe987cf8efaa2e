// RAT (Wei, Yadav, Pascanu, Gulcehre 2025, arXiv 2507.04416): a gated linear
// recurrence inside chunks of L tokens, softmax attention over the chunks'
// summaries. The layers and language models of the paper: full attention,
// local attention, RNN, RAT and their interleaving.
//
//   REPRO_ASSIGN_OR_RETURN(RatConfig config, RatConfig::Named("rat", "1.3B"));
//   RatModel model(config, Initializer(generator, options));
//   at::Tensor logits = model.Forward(tokens);
//
//   RatCache cache = model.MakeCache(batch, prompt_len + new_tokens);
//   at::Tensor next = model.Prefill(prompt, &cache);     // [batch, vocab_size]
//   next = model.Step(next.argmax(-1), &cache);
//
// Step does not read `position` on the host and changes tensors in place, so
// that one captured graph (kernels/graph) serves every step.
#ifndef REPRO_PAPERS_RAT_RAT_H_
#define REPRO_PAPERS_RAT_RAT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/llama.h"
#include "common/nn/module.h"
#include "common/nn/rotary.h"

namespace repro::rat {

// What mixes tokens in a layer.
enum class Mixer { kAttention, kLocalAttention, kRnn, kRat };

struct RatConfig {
  int64_t vocab_size = 32000;
  int64_t dim = 2048;
  int64_t num_layers = 24;
  int64_t num_heads = 16;  // head_dim = dim / num_heads
  // Layer l is mixers[l % size].
  std::vector<Mixer> mixers = {Mixer::kRat};
  int64_t chunk_size = 16;  // L
  int64_t num_groups = 2;   // of RAT's queries and keys; divides num_heads
  int64_t window = 1025;    // keys that local attention sees, its own included
  int64_t seq_len = 4096;   // of training: sets the RNN's initial gate bias
  double rope_base = 10000;
  double norm_eps = 1e-6;
  double init_std = 0.02;
  // Of activations; empty: the weights'.
  std::optional<at::ScalarType> compute_dtype;

  int64_t head_dim() const { return dim / num_heads; }
  Mixer mixer(int64_t layer) const { return mixers[layer % mixers.size()]; }

  // model: "attention", "rnn", "rat", "attention_swa", "rat_swa"; size:
  // "1.3B", "13B" (40 layers of 5120; the paper's shape is not public), "tiny"
  // (for tests). InvalidArgument: another name.
  static absl::StatusOr<RatConfig> Named(absl::string_view model,
                                         absl::string_view size);
};

// The key-value pairs that a layer keeps for a sequence of `tokens` tokens:
// attention all, local attention its window, RAT one a chunk and the running
// one, RNN half a pair.
double CacheEntries(Mixer mixer, const RatConfig& config, int64_t tokens);
// Of all layers, in MiB, with `bytes` a number.
double CacheMebibytes(const RatConfig& config, int64_t tokens,
                      int64_t bytes = 2);

// (query, key) pairs that a layer scores for `tokens` tokens, a head:
// T (T + 1) / 2 for attention, about T^2 / (2 L) + T / 2 for RAT.
int64_t ScorePairs(Mixer mixer, const RatConfig& config, int64_t tokens);

// The rotations of a run of tokens: by their position, and by their chunk.
struct RatPositions {
  RotaryTable token;
  RotaryTable chunk;
};

// Of the tokens 0 ... seq_len - 1.
RatPositions MakeRatPositions(const RatConfig& config, int64_t seq_len,
                              at::TensorOptions options);

// What a layer remembers, all of fixed shape.
struct MixerCache {
  // [batch, num_heads, entries, head_dim], rotated keys and values. Attention:
  // one entry a token; RAT: one a chunk; local attention: the last window - 1
  // tokens, position p in entry p % (window - 1). Undefined for the RNN.
  at::Tensor k, v;
  // RAT and RNN: the running averages, [batch, num_heads, head_dim] float32.
  at::Tensor k_state, v_state;
};

// What the layers share in a step; each a tensor of one element on the device.
struct StepPosition {
  at::Tensor position;  // int64: tokens before this one
  at::Tensor chunk;     // int64: position / L
  at::Tensor first;     // bool: position % L == 0
  at::Tensor is_start;  // bool: position == 0
  // Local attention: the entry that this token will take, entries held.
  at::Tensor window_entry, window_length;  // int64
  RatPositions rotary;                     // of this token
};

// x + Mix(RmsNorm(x)), for any of the mixers. x: [batch, seq_len, dim].
class MixerLayer : public Module {
 public:
  virtual at::Tensor Forward(const at::Tensor& x,
                             const RatPositions& positions) const = 0;
  // Room for `capacity` tokens.
  virtual MixerCache MakeCache(int64_t batch, int64_t capacity,
                               at::TensorOptions options) const = 0;
  // Forward from position 0, and leaves the cache as after its tokens.
  virtual at::Tensor Prefill(const at::Tensor& x, const RatPositions& positions,
                             MixerCache* cache) const = 0;
  // One token: x: [batch, dim] -> the same.
  virtual at::Tensor Step(const at::Tensor& x, const StepPosition& at,
                          MixerCache* cache) const = 0;
};

// Throws c10::Error where sizes do not divide.
std::unique_ptr<MixerLayer> MakeMixerLayer(Mixer mixer, const RatConfig& config,
                                           const Initializer& init);

struct RatCache {
  std::vector<MixerCache> layers;
  at::Tensor position;  // [1] int64 on the device: tokens held
  RatPositions rotary;  // of all positions up to the capacity
  int64_t capacity = 0;

  int64_t NumBytes() const;  // of the layers' tensors
};

// Without layers: for `capacity` tokens, at position 0.
RatCache MakeEmptyRatCache(const RatConfig& config, int64_t capacity,
                           at::TensorOptions options);
// What the layers share in the step at cache.position.
StepPosition MakeStepPosition(const RatConfig& config, const RatCache& cache);

class RatModel : public Module {
 public:
  RatModel(const RatConfig& config, const Initializer& init);
  ~RatModel() override;

  const RatConfig& config() const { return config_; }

  // tokens: [batch, seq_len] int64 -> logits [batch, seq_len, vocab_size].
  at::Tensor Forward(const at::Tensor& tokens) const;

  RatCache MakeCache(int64_t batch, int64_t capacity) const;
  // Appends tokens [batch, seq_len] to an empty cache; the logits after the
  // last one, [batch, vocab_size]. Without gradients, as Step.
  at::Tensor Prefill(const at::Tensor& tokens, RatCache* cache) const;
  // Appends one token a sequence, tokens: [batch]; the logits after it. The
  // caller sees to it that position < capacity.
  at::Tensor Step(const at::Tensor& tokens, RatCache* cache) const;

 private:
  class Ffn;

  at::Tensor Embed(const at::Tensor& tokens) const;
  at::Tensor Logits(const at::Tensor& x) const;

  RatConfig config_;
  at::Tensor embedding_;  // "embedding": [vocab_size, dim]
  at::Tensor head_;       // "head": [vocab_size, dim]
  std::vector<MixerLayer*> mixers_;
  std::vector<Ffn*> ffns_;
  RmsNormLayer* norm_;
};

}  // namespace repro::rat

#endif  // REPRO_PAPERS_RAT_RAT_H_
