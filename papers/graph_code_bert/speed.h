// What the graph-guided mask costs.
#ifndef REPRO_PAPERS_GRAPH_CODE_BERT_SPEED_H_
#define REPRO_PAPERS_GRAPH_CODE_BERT_SPEED_H_

#include <c10/core/Device.h>

#include <cstdint>

#include "common/count/timing.h"
#include "papers/graph_code_bert/graph_input.h"

namespace repro::graph_code_bert {

struct MaskedAttentionSpeed {
  Timing masked, dense;
  double MaskedOverDense() const { return masked.Median() / dense.Median(); }
};

// A full input of `positions` positions, a fifth of them nodes with one piece
// and two edges each, drawn at random. At least 10 positions.
GraphInput RandomFullInput(int64_t positions, std::mt19937_64& random);

// The attention of 12 layers with 12 heads of 64 (bfloat16 on a GPU) under such
// masks, another one a row, and without a mask, on the same values. What is
// made of the mask once for all layers counts.
MaskedAttentionSpeed TimeMaskedAttention(int64_t positions, int64_t batch,
                                         c10::Device device, uint64_t seed,
                                         const TimingOptions& timing = {});

}  // namespace repro::graph_code_bert

#endif  // REPRO_PAPERS_GRAPH_CODE_BERT_SPEED_H_
