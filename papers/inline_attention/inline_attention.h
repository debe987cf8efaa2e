// InLine attention: linear attention that normalises by subtraction in place of
// division, so that different queries get different weights, with a local
// residual. Han, Pu, Xia, Han, Pan, Li, Lu, Song, Huang, "Bridging the Divide:
// Reconsidering Softmax and Linear Attention", arXiv 2412.06590, NeurIPS 2024;
// and its code. For one head, n keys and s = 1 / sqrt(head_dim),
//
//   w_ij = (s / n) phi(q_i) (phi(k_j) - mean_l phi(k_l)) + 1 / n
//   o_i  = phi(q_i) M + (1 - s phi(q_i) mean_l phi(k_l)) mean_l v_l,
//   M    = (s / n) phi(K)^T V                    [head_dim, head_dim]
//   y    = W_proj (O + R(x) * V),
//
// where R(x) are 3 x 3 kernels, one a channel and image, predicted from the
// image's mean token: 2 n d head_dim multiply-adds in place of 2 n^2 d. Rows
// sum to 1, weights may be negative, and w is an injective function of phi(q)
// where the differences of the phi(k_j) span the space.
//
//   auto model = MakeInLineModel(*InLineModelConfig::Named("swin_t"), init);
//   at::Tensor logits = model->Forward(images);  // [batch, 1000]
#ifndef REPRO_PAPERS_INLINE_ATTENTION_INLINE_ATTENTION_H_
#define REPRO_PAPERS_INLINE_ATTENTION_INLINE_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/initializer.h"
#include "common/nn/module.h"
#include "common/vision/vision_transformer.h"

namespace repro::inline_attention {

// phi, element by element: x, max(x, 0), x or x / 100 below 0, exp(x / 5).
enum class FeatureMap { kIdentity, kRelu, kLeakyRelu, kExp };
at::Tensor ApplyFeatureMap(FeatureMap map, const at::Tensor& x);

// phi_q: [..., n, head_dim], phi_k: [..., m, head_dim], v: [..., m, value_dim],
// all after phi. Wrong shapes throw c10::Error.

// InL_K(Q) with s = scale and its factor 1 / m, written out: [..., n, m].
at::Tensor InLineWeights(const at::Tensor& phi_q, const at::Tensor& phi_k,
                         double scale);

// The same times v, in time linear in n and m: [..., n, value_dim]. M is made
// of K and V times sqrt(s / m) each, so that half precision does not overflow.
at::Tensor InLineAttend(const at::Tensor& phi_q, const at::Tensor& phi_k,
                        const at::Tensor& v, double scale);

// What the paper compares with, linear attention that divides:
// w_ij = phi(q_i) phi(k_j) / (sum_l phi(q_i) phi(k_l) + eps). A query's
// multiples have its weights.
at::Tensor DivisionWeights(const at::Tensor& phi_q, const at::Tensor& phi_k,
                           double eps = 1e-6);
at::Tensor DivisionAttend(const at::Tensor& phi_q, const at::Tensor& phi_k,
                          const at::Tensor& v, double eps = 1e-6);

// How many rows of weights, [n, m], differ from all those before by more than
// `tolerance` somewhere. 0 for n = 0.
int64_t CountDistinctRows(const at::Tensor& weights, double tolerance);

// Semantic confusion: of the pairs of queries of a head that differ, the number
// that get nearly the same weights. With d_i = w_i - 1 / m a pair differs where
// |q_i - q_j| > max(|q_i|, |q_j|) / 5 and is confused where moreover
// |d_i - d_j| < max(|d_i|, |d_j|) / 20: both are relative, so that neither the
// size of queries nor how sharp an attention is matters. q: [..., n, head_dim],
// weights: [..., n, m].
struct ConfusedPairs {
  int64_t differing = 0;
  int64_t confused = 0;
};
ConfusedPairs CountConfusedPairs(const at::Tensor& q,
                                 const at::Tensor& weights);

// R(x) * V. Two pointwise convolutions in groups, one a head, with GELU between
// them ("0" and "2", "weight" [out, dim / heads, 1] and "bias") make 9 numbers
// a channel, row by row its 3 x 3 kernel, from a mean token.
class LocalResidual : public Module {
 public:
  LocalResidual(int64_t dim, int64_t num_heads, const Initializer& init);

  // mean: [batch, dim] -> [batch, dim, 3, 3].
  at::Tensor Kernels(const at::Tensor& mean) const;

  // Cross-correlation with zeros around the map. v: [batch, height * width,
  // dim], mean: [batch, dim] -> the same as v.
  at::Tensor Forward(const at::Tensor& v, const at::Tensor& mean,
                     int64_t height, int64_t width) const;

 private:
  class Pointwise;
  int64_t dim_;
  Pointwise* first_;
  Pointwise* second_;
};

enum class Normalisation {
  kSubtraction,  // InLine
  kDivision,     // linear attention
  kSoftmax,      // of s q k^T; phi is the identity
};

struct InLineOptions {
  FeatureMap feature_map = FeatureMap::kIdentity;
  Normalisation normalisation = Normalisation::kSubtraction;
  bool residual = true;
  // Attention within windows of such a side, which divides the map's, shifted
  // by half of it in every second block as Swin's, but without a mask, as the
  // authors' code has it. 0, or at least the map's side: the whole map.
  int64_t window = 0;
  // Told phi(q), [batch, heads, n, head_dim], and the weights, [batch, heads,
  // n, m], of every forward run. Costs time quadratic in n.
  std::function<void(const at::Tensor& phi_q, const at::Tensor& weights)>
      observe;
};

// A block's attention. The residual ("residual") is made from the mean of x, in
// CSWin from that of the block's input before its LayerNorm. [CLS] is a query,
// a key and part of the mean, and has no residual. In CSWin a convolution of
// the values ("get_v") is added too.
class InLineAttention : public BlockAttention {
 public:
  // Throws c10::Error for a window that does not divide the map, a window
  // beside [CLS], and a feature map with softmax.
  InLineAttention(const AttentionSite& site, const InLineOptions& options,
                  const Initializer& init);

  at::Tensor Forward(const at::Tensor& x,
                     const at::Tensor& input) const override;

 private:
  // Without the output projection; x and source: [batch, prefix + side^2, dim].
  at::Tensor Mix(const at::Tensor& x, const at::Tensor& source,
                 int64_t side) const;
  at::Tensor Attend(const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v) const;
  at::Tensor Roll(const at::Tensor& x, int64_t by) const;

  InLineOptions options_;
  int64_t window_;
  int64_t shift_;
  LocalResidual* residual_ = nullptr;
  TokenConvolution* convolution_ = nullptr;
};

// A backbone whose blocks have InLine attention, from the first on, in some
// stages.
struct InLineModelConfig {
  VisionConfig vision;
  std::vector<int64_t> inline_blocks;  // a stage: the first so many blocks
  InLineOptions options;

  // The configurations of the released models: "deit_t", "deit_s", "deit_b",
  // "pvt_t", "pvt_s", "pvt_m", "pvt_l", "swin_t", "swin_s", "swin_b",
  // "swin_b_384", "cswin_t", "cswin_s", "cswin_b", "cswin_b_384". NotFound
  // lists the names.
  static absl::StatusOr<InLineModelConfig> Named(absl::string_view name);
  static std::vector<std::string> Names();
};

std::unique_ptr<VisionTransformer> MakeInLineModel(
    const InLineModelConfig& config, const Initializer& init);

}  // namespace repro::inline_attention

#endif  // REPRO_PAPERS_INLINE_ATTENTION_INLINE_ATTENTION_H_
