// DuoAttention (Xiao et al., ICLR 2025, arXiv 2410.10819): retrieval heads keep
// the whole cache, streaming heads the first tokens and the last ones.
//
//   auto gates = *ReadGates("full_attention_heads.tsv");
//   HeadSet heads = SelectHeads(gates, /*sparsity=*/0.5, &generator);
//   auto state = MakeDuoState(model, heads, {});
//   model.Forward({{prompt, state.get()}});
#ifndef REPRO_PAPERS_DUO_ATTENTION_DUO_ATTENTION_H_
#define REPRO_PAPERS_DUO_ATTENTION_DUO_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "common/lm/attention_state.h"
#include "common/lm/model.h"
#include "papers/duo_attention/heads.h"

namespace repro::duo {

// What a streaming head's query sees of a chunk of new tokens.
enum class StreamingRule {
  // As coded: of the tokens before the chunk `sink` and the last `recent`, and
  // all of the chunk up to itself; so in decoding recent + 1 with itself.
  kChunk,
  // As trained: `sink` and the last `recent`, itself included.
  kWindow,
};

struct DuoOptions {
  int64_t sink = 64;
  int64_t recent = 256;
  StreamingRule rule = StreamingRule::kChunk;
  // 16: the model's dtype; 4: full heads' keys and values in 4 bits, in groups
  // of min(128, head_dim). Streaming heads' few stay as they are.
  int64_t bits = 16;
};

// Two caches and two attention calls a layer (figure 5). Any model; query heads
// that lie together, as after ReorderHeads, are not copied.
std::unique_ptr<lm::AttentionState> MakeDuoState(const lm::LanguageModel& model,
                                                 const HeadSet& full_heads,
                                                 const DuoOptions& options);

// Reorders the rows of W_q, W_k and W_v and the columns of W_o, so that full
// heads come first in each layer; the model computes the same. Returns the set
// in the new order, {0, ..., n - 1} a layer. The weights must be dense.
HeadSet ReorderHeads(lm::LanguageModel* model, const HeadSet& full_heads);

}  // namespace repro::duo

#endif  // REPRO_PAPERS_DUO_ATTENTION_DUO_ATTENTION_H_
