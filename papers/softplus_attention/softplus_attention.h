// Softplus attention with re-weighting (Gao, Spratling, Gionfrida, arXiv
// 2501.13428, version 5) and the attentions that it is compared with.
//
// A row i (from 1; it sees the keys j <= i) of one head of dimension d:
//
//   c_ij = q_i . k_j / (|q_i| |k_j|),   z_ij = ln d ln i c_ij
//   A_ij = softplus(z_ij) / sum_j softplus(z_ij)                       (LSSA)
//   W_ij = ReLU(A_ij i - O_i)^p / sum_j ReLU(A_ij i - O_i)^p          (LSSAR)
//
// with O_i = 1, but 0 in the first three rows. The output is W v.
//
//   const AttentionForm form = *AttentionForm::Named("lssar15", 1024);
//   at::Tensor out = SoftplusAttention(q, k, v, form);
#ifndef REPRO_PAPERS_SOFTPLUS_ATTENTION_SOFTPLUS_ATTENTION_H_
#define REPRO_PAPERS_SOFTPLUS_ATTENTION_SOFTPLUS_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::softplus_attention {

// Rows whose offset O is 0, so that early rows are not emptied.
constexpr int64_t kRowsWithoutOffset = 3;
// The powers that the paper reports: the best at the training length, and the
// one that extrapolates.
constexpr double kPowerAtTrainingLength = 3;
constexpr double kPowerForLength = 15;

// phi, which makes scores positive.
enum class Activation { kSoftplus, kExponential, kSigmoid, kRelu };

// What phi is divided by: the row's sum (the l1 norm), the number of keys that
// the row sees, or nothing.
enum class Normalization { kRowSum, kVisibleKeys, kNone };

// A way from queries and keys to weights; it has no parameters to learn.
struct AttentionForm {
  Activation activation = Activation::kSoftplus;
  Normalization normalization = Normalization::kRowSum;
  // z = ln d ln i c_ij; else z = q_i . k_j / sqrt(d) + bias.
  bool cosine = true;
  // In place of i in ln i, in all rows; 0: i itself. Of cosine scores.
  int64_t scale_length = 0;
  double bias = 0;
  // p of the re-weighting; 0: none. Needs kRowSum.
  double power = 0;
  // Keys that a row of softmax attention sees, its own included; 0: all.
  int64_t window = 0;

  // Whether it is softmax(q k^T / sqrt(d)), for which LibTorch has kernels.
  bool IsSoftmax() const;

  // `training_length` is n where a form holds on to the length of training:
  //   softmax             exp, dot products over sqrt(d), l1 norm
  //   softmax_window      the same over the last n keys
  //   sigmoid             sigmoid(q . k / sqrt(d) - ln n), no norm
  //                       (Ramapuram et al. 2024)
  //   relu                ReLU(q . k / sqrt(d)) / i (Wortsman et al. 2023)
  //   lssa                softplus, no re-weighting
  //   lssar<p>            lssa re-weighted by the power p, a number >= 1
  //   softmax_reweighted  softmax re-weighted by 15
  //   sigmoid_reweighted  lssar15 with the sigmoid for softplus
  //   relu_reweighted     lssar15 with ReLU for softplus
  //   lssar15_fixed_scale lssar15 with ln n for ln i
  // NotFound: another name. InvalidArgument: training_length < 1.
  static absl::StatusOr<AttentionForm> Named(absl::string_view name,
                                             int64_t training_length);
};

// ln d ln i, the factor of a row's cosines.
double LengthScale(int64_t head_dim, int64_t visible_keys);

// How much is looked at at a time, as rows by keys of all heads.
struct AttentionTiles {
  int64_t queries = 512;
  int64_t keys = 1024;
};

// The attention of the last target_len of source_len tokens, each over itself
// and the keys before it: target_len = source_len is the causal attention of a
// sequence, target_len = 1 a step of decoding, anything between a chunk of a
// prompt. A row's i is its place in the source.
//
// q: [batch, heads, target_len, head_dim], k: [batch, heads, source_len,
// head_dim], v: [batch, heads, source_len, value_dim], of one floating dtype,
// rotated already -> [batch, heads, target_len, value_dim]. Differentiable
// once.
//
// Never holds target_len x source_len numbers but a tile of them. Each tile of
// queries goes over its keys twice: for the row's sum and largest score, and,
// as softplus is monotone and so that score gives the largest A_ij i - O_i = m,
// for exp(p (ln(A_ij i - O_i) - ln m)), which does not overflow, and its sum.
// The backward goes over them twice again. Computes in float32, or in float64
// for float64 inputs: A_ij i - 1 has no digits left in bfloat16.
//
// A row without any key above its offset, as one of equal scores, has the
// output 0. With an offset of 1, 16 units in the last place above it are taken
// for rounding. A zero vector has cosine 0 with all others.
//
// Throws c10::Error with the offending shape.
at::Tensor SoftplusAttention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const AttentionForm& form,
                             const AttentionTiles& tiles = {});

// The same by the formulas as they are written, all target_len x source_len
// weights at once: the peer in comparisons of cost. `p`-th powers overflow
// float16 where A_ij i - O_i is above 2.09 (p 15).
at::Tensor MaterializedAttention(const at::Tensor& q, const at::Tensor& k,
                                 const at::Tensor& v,
                                 const AttentionForm& form);

// Softmax attention by LibTorch's kernels (over a window by
// kernels/sliding_window_attention), any other form by SoftplusAttention.
// target_len = source_len.
at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const AttentionForm& form);

// All weights: [batch, heads, target_len, source_len], 0 at later keys, in
// float32 or for float64 inputs in float64. For short sequences.
at::Tensor AttentionWeights(const at::Tensor& q, const at::Tensor& k,
                            const AttentionForm& form);

// The largest x whose power x^p is finite when rounded to `dtype`.
double LargestBase(double power, at::ScalarType dtype);

}  // namespace repro::softplus_attention

#endif  // REPRO_PAPERS_SOFTPLUS_ATTENTION_SOFTPLUS_ATTENTION_H_
