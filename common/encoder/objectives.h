// Losses of encoders: masked language modelling, contrast within a batch, token
// classification. All are means; logits are taken to float32 or wider.
#ifndef REPRO_COMMON_ENCODER_OBJECTIVES_H_
#define REPRO_COMMON_ENCODER_OBJECTIVES_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace repro::encoder {

// The label that no loss counts, PyTorch's ignore_index.
inline constexpr int64_t kIgnoredLabel = -100;

struct TokenMaskingOptions {
  int64_t mask_id = 0;
  int64_t vocab_size = 0;
  // Random tokens are drawn from [first_random_id, vocab_size).
  int64_t first_random_id = 0;
  double select = 0.15;  // of the maskable tokens, each on its own
  double mask = 0.8;     // of the selected: become mask_id
  double random = 0.1;   // of the selected: become a random token; others stay
};

struct MaskedTokens {
  at::Tensor inputs;  // int64 [batch, seq_len]
  at::Tensor labels;  // the original where selected, else kIgnoredLabel
};

// BERT's masking (Devlin et al. 2019, section 3.1). tokens: int64, maskable:
// bool of the same shape, false for padding and special tokens. `generator` is
// of the tokens' device.
MaskedTokens MaskTokens(const at::Tensor& tokens, const at::Tensor& maskable,
                        const TokenMaskingOptions& options,
                        at::Generator generator);

// Mean cross-entropy in nats over the labels that are not kIgnoredLabel; 0 if
// there are none. logits: [..., classes], labels: int64 [...]. Serves masked
// language modelling, token classification and teacher forcing.
at::Tensor TokenCrossEntropy(const at::Tensor& logits,
                             const at::Tensor& labels);

// Mean binary cross-entropy with logits. labels: of the logits' shape, 0 or 1;
// 0 for no logits.
at::Tensor BinaryCrossEntropy(const at::Tensor& logits,
                              const at::Tensor& labels);

// Losses over pairs (query_i, code_i), where code_j with j != i are the
// negatives of query_i: CodeSearchNet's four (its section 4.1 and the authors'
// model.py). queries, codes: [batch, dim]; weights: [batch] or undefined for
// ones; the weighted mean over queries.

// -log softmax_j(q_i c_j)_i.
at::Tensor SoftmaxPairLoss(const at::Tensor& queries, const at::Tensor& codes,
                           const at::Tensor& weights = {});

// max(0, margin - S_ii + max_{j != i} relu(S_ij)), S the cosines. Norms have
// 1e-10 added.
at::Tensor CosineMarginPairLoss(const at::Tensor& queries,
                                const at::Tensor& codes, double margin = 1,
                                const at::Tensor& weights = {});

// max(0, margin - S_ii + max_{j != i} S_ij), S_i = log softmax(q_i c_j)_j.
at::Tensor LogSoftmaxMarginPairLoss(const at::Tensor& queries,
                                    const at::Tensor& codes, double margin = 1,
                                    const at::Tensor& weights = {});

// The mean of relu(D_ii - D_ij + margin) over those j != i where it is
// positive, D the Euclidean distances.
at::Tensor TripletPairLoss(const at::Tensor& queries, const at::Tensor& codes,
                           double margin = 1, const at::Tensor& weights = {});

// InfoNCE (van den Oord et al. 2018): -log softmax_j(cos(q_i, k_j) /
// temperature)_i. `symmetric` averages it with the loss of keys against
// queries.
at::Tensor InfoNceLoss(const at::Tensor& queries, const at::Tensor& keys,
                       double temperature, bool symmetric = false);

// The mean of relu(|a - p| - |a - n| + margin). anchors, positives, negatives:
// [batch, dim].
at::Tensor TripletMarginLoss(const at::Tensor& anchors,
                             const at::Tensor& positives,
                             const at::Tensor& negatives, double margin = 1);

}  // namespace repro::encoder

#endif  // REPRO_COMMON_ENCODER_OBJECTIVES_H_
