// What TokenSelect saves of a prompt's time.
#ifndef REPRO_PAPERS_TOKEN_SELECT_SPEED_H_
#define REPRO_PAPERS_TOKEN_SELECT_SPEED_H_

#include <c10/core/Device.h>

#include <cstdint>

#include "common/count/timing.h"
#include "common/lm/config.h"
#include "common/lm/model.h"
#include "papers/token_select/token_select.h"

namespace repro::token_select {

// Heads of Qwen2-7B.
struct ChunkShape {
  int64_t num_heads = 28;
  int64_t num_kv_heads = 4;
  int64_t head_dim = 128;
  int64_t queries = 512;  // at the end of the keys
};

struct Speed {
  Timing dense, token_select;
  double Speedup() const { return dense.Median() / token_select.Median(); }
};

// Attention of one chunk of a prompt's queries over `tokens` keys, its own
// included, random values (bfloat16 on a GPU). Dense: FlashAttention-2 on a
// GPU (lm::DenseAttention), over keys that are rotated already. TokenSelect:
// rotation and mean of the queries, scores, votes, selection, and attention to
// what was selected, keys rotated as they are read.
Speed TimeChunk(const ChunkShape& shape, int64_t tokens,
                const TokenSelectOptions& options, c10::Device device,
                uint64_t seed, TimingOptions timing);

// The whole prompt through the model, fed in chunks of `engine_chunk` tokens,
// to the logits after its last token; dense state against TokenSelect's.
Speed TimePrompt(const lm::LanguageModel& model, int64_t tokens,
                 int64_t engine_chunk, const TokenSelectOptions& options,
                 const TimingOptions& timing);

}  // namespace repro::token_select

#endif  // REPRO_PAPERS_TOKEN_SELECT_SPEED_H_
