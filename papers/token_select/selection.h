// Which of the cached tokens a query reads: criticality of tokens from the
// heads' logits, the choice of the k most critical, and when an earlier choice
// still holds.
#ifndef REPRO_PAPERS_TOKEN_SELECT_SELECTION_H_
#define REPRO_PAPERS_TOKEN_SELECT_SELECTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "common/lm/rope.h"

namespace repro::token_select {

// The three functions that the paper compares (its section on head soft vote
// and table 4).
enum class Rule {
  kSoftVote,      // sum over heads of softmax over tokens: the method
  kHeadVote,      // each head gives one vote to each of its k best tokens
  kSummedLogits,  // sum of logits over heads
};

// Which key-value head a query head is scored with. Attention itself always
// reads h / (num_heads / num_kv_heads).
enum class HeadMapping {
  kPublished,  // h mod num_kv_heads: the paper's algorithm and its code
  kCorrected,  // that of the attention
};

// scores: [num_heads, tokens], log_sum_exp: [num_heads] as
// kernels/paged_dot_product returns them -> [tokens], the larger the more
// critical. k matters to kHeadVote alone.
at::Tensor Criticality(const at::Tensor& scores, const at::Tensor& log_sum_exp,
                       Rule rule, int64_t k);

// Each entry becomes the largest of `kernel` neighbours: out[t] = max of
// votes[t - (kernel - 1) / 2 ... t + kernel / 2], as many as there are. The
// length stays, also for even kernels, with which the authors' code changes it
// by one. kernel <= 1: votes.
at::Tensor MaxPool(const at::Tensor& votes, int64_t kernel);

// The places of the min(k, tokens) largest of [tokens], ascending, int64: keys
// are rotated to their places in the list, so that its order matters.
at::Tensor TopTokens(const at::Tensor& votes, int64_t k);

// For comparison, a choice of whole blocks: blocks of `block` tokens from the
// first on are scored by q . (mean of their keys), which is the mean of their
// scores, by soft vote, and the tokens of the k / block best are returned as
// TopTokens does, with those of the incomplete last block.
at::Tensor TopBlocks(const at::Tensor& scores, int64_t k, int64_t block);

// One vector for a chunk of queries: their mean after rotation to `position`,
// position + 1, ... q: [num_heads, queries, head_dim], not rotated ->
// [num_heads, head_dim].
at::Tensor SelectionQuery(const at::Tensor& q, const lm::Rope& rope,
                          int64_t position);

// The cosine of two selection queries of one shape, over all their entries.
double Cosine(const at::Tensor& a, const at::Tensor& b);

// The lemma of the Selection Cache: with logits q . k, if those of q1 leave a
// gap between the k-th and the next best token, every q2 with cos(q1, q2) above
// 1 / sqrt(1 + (gap / (2 |q1| max |k|))^2), what is returned, has the same k
// best tokens. Holds for one inner product, not for votes.
double ReuseBound(double gap, double query_norm, double largest_key_norm);

}  // namespace repro::token_select

#endif  // REPRO_PAPERS_TOKEN_SELECT_SELECTION_H_
