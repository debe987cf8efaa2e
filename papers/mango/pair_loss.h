// Comment contrastive training (Chen et al. 2024, arXiv 2404.07549, after the
// authors' my_modeling_llama.py): with x a prompt, y+ a commented program and
// y- the same without comments,
//
//   L = L_CE(y+ | x) + max(0, m + L+ - L-),   m = 0.10
//
// where L+ and L- are mean negative log-likelihoods in nats a token. The
// negative's sequence ends x where the response header begins: it is
// [x up to "### Response:"; y-], and its first token is not predicted.
//
//   REPRO_ASSIGN_OR_RETURN(const PairBatch batch,
//                          MakePairBatch(pairs, separator, pad));
//   const PairLoss loss = ForwardPairs(logits, batch, PairForm::kOneBatch, {});
//   loss.total.mean().backward();
#ifndef REPRO_PAPERS_MANGO_PAIR_LOSS_H_
#define REPRO_PAPERS_MANGO_PAIR_LOSS_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

namespace repro::mango {

// The index of the second `separator`, "###" as one token: where the response
// header begins if there is no input. With an input it is the input's header,
// and a "###" in the task shifts it, too (as coded). None if there are fewer.
std::optional<int64_t> ResponseStart(const std::vector<int32_t>& tokens,
                                     int32_t separator);

// Token ids of a training pair.
struct TokenPair {
  std::vector<int32_t> prompt;
  std::vector<int32_t> positive;  // y+ and the end token
  std::vector<int32_t> negative;  // y-, tokenised by itself; as coded no end
};

// Rows are padded on the right; a label says which token a position is, or is
// kIgnored where that is not predicted. A decoder with causal attention does
// not see the padding.
struct PairBatch {
  at::Tensor positive;          // int64 [batch, positive_len]
  at::Tensor positive_labels;   // the same shape; the program
  at::Tensor positive_lengths;  // int64 [batch]
  at::Tensor negative;          // int64 [batch, negative_len]
  at::Tensor negative_labels;   // the same shape; y- but for its first token

  PairBatch To(c10::Device device) const;
};
inline constexpr int64_t kIgnored = -100;

// InvalidArgument: no pairs; a prompt with fewer than two separators; an empty
// positive or negative.
absl::StatusOr<PairBatch> MakePairBatch(const std::vector<TokenPair>& pairs,
                                        int32_t separator, int32_t pad);

// What the sum of the program's losses is divided by.
enum class CrossEntropyMean {
  kOverTargets,    // the program's tokens: as published
  kOverPositions,  // all of the row but one, those of the prompt, too: as coded
};

struct PairOptions {
  double margin = 0.10;
  CrossEntropyMean mean = CrossEntropyMean::kOverTargets;
  bool contrast = true;  // false: cross entropy alone
  // With so few predicted positions of the negative L_con is left out.
  int64_t short_negative = 10;
};

// Each [batch], float32, one value a row.
struct PairLoss {
  at::Tensor total;
  at::Tensor cross_entropy;
  at::Tensor contrastive;  // max(0, m + L+ - L-); 0 where it is left out
  at::Tensor positive;     // L+
  at::Tensor negative;     // L-
};

// The mean loss of each row's predicted tokens, [batch]; logits [batch, len,
// vocab_size], labels [batch, len]. Throws c10::Error for other shapes.
at::Tensor TargetLoss(const at::Tensor& logits, const at::Tensor& labels);

// Logits [batch, len, vocab_size] of the two sequences of `batch`. Throws
// c10::Error for other shapes.
PairLoss ComputePairLoss(const at::Tensor& positive_logits,
                         const at::Tensor& negative_logits,
                         const PairBatch& batch, const PairOptions& options);

enum class PairForm {
  kTwoPasses,  // as coded
  kOneBatch,   // both in one padded batch of twice as many rows
};

// tokens [rows, len] -> logits [rows, len, vocab_size] with causal attention.
PairLoss ForwardPairs(
    const std::function<at::Tensor(const at::Tensor& tokens)>& logits,
    const PairBatch& batch, PairForm form, const PairOptions& options);

}  // namespace repro::mango

#endif  // REPRO_PAPERS_MANGO_PAIR_LOSS_H_
