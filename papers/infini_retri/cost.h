// Time and memory of reading long texts with a model of Qwen2.5-0.5B's shape:
// chunk by chunk, or in one dense prefill. Random tokens and weights.
#ifndef REPRO_PAPERS_INFINI_RETRI_COST_H_
#define REPRO_PAPERS_INFINI_RETRI_COST_H_

#include <cstdint>

#include "common/lm/config.h"
#include "common/lm/model.h"
#include "papers/infini_retri/retriever.h"

namespace repro::infini_retri {

// 24 layers of 14 query and 2 key-value heads.
lm::ModelConfig Qwen25HalfBillion();

struct CostOptions {
  int64_t chunk_size = 1024;
  int64_t sentence = 16;  // tokens
  int64_t question = 32;  // tokens
  RetrieverOptions retriever;
  int64_t dense_chunk = 8192;  // tokens of the dense prefill at once
};

struct Cost {
  double seconds = 0;
  int64_t peak_bytes = 0;  // above the model's own
};

// Of retrieval from a text of `tokens`, without the final answer: the median of
// three readings after a first, whose memory it is. Throws c10::Error for sizes
// that cannot be and for what the retriever refuses.
Cost MeasureRetrievalCost(const lm::LanguageModel& model, int64_t tokens,
                          const CostOptions& options, uint64_t seed);

// Of a dense prefill of as many tokens, with its cache, measured alike.
Cost MeasureDenseCost(const lm::LanguageModel& model, int64_t tokens,
                      const CostOptions& options, uint64_t seed);

}  // namespace repro::infini_retri

#endif  // REPRO_PAPERS_INFINI_RETRI_COST_H_
