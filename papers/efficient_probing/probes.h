// Probes of frozen vision transformers, of Psomas et al., "Attention, Please!
// Revisiting Attentive Probing Through the Lens of Efficiency" (ICLR 2026,
// arXiv 2506.10178), as the authors' repository has them.
//
//   ProbeHead head({"ep", /*dim=*/768, /*queries=*/32}, 1000, init);
//   at::Tensor logits = head.Forward(tokens);  // [batch, 1000]
//
// A pooling makes one vector of an image's tokens. All but the simplest are M
// attention predictors: predictor j has weights a_j over the tokens that sum to
// 1, and yields y_j = V_j^T a_j of the j-th block of columns of the values
// V = X W_V^T; the output is their concatenation.
//
// Tokens are x: [batch, num_tokens, dim], floating, num_tokens >= 1; outputs
// are [batch, output_dim()]. Another shape fails TORCH_CHECK with it. Nothing
// here asks for gradients of x.
#ifndef REPRO_PAPERS_EFFICIENT_PROBING_PROBES_H_
#define REPRO_PAPERS_EFFICIENT_PROBING_PROBES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "common/train/optimizer.h"

namespace repro::efficient_probing {

// Batch normalisation without learned scale and shift, eps 1e-6, momentum 0.1,
// over all axes but the last. x: [..., dim]. In training it takes the batch's
// statistics and needs more than one row.
class FeatureNorm : public Module {
 public:
  FeatureNorm(int64_t dim, const Initializer& init);

  at::Tensor Forward(const at::Tensor& x);

 private:
  at::Tensor running_mean_;  // [dim]
  at::Tensor running_var_;   // [dim]
};

class Pooling : public Module {
 public:
  virtual at::Tensor Forward(const at::Tensor& x) = 0;
  virtual int64_t output_dim() const = 0;
};

// The first token: [CLS] of an encoder that has one.
class FirstToken : public Pooling {
 public:
  explicit FirstToken(int64_t dim) : dim_(dim) {}

  at::Tensor Forward(const at::Tensor& x) override;
  int64_t output_dim() const override { return dim_; }

 private:
  int64_t dim_;
};

// The mean of the tokens (GAP), through W_V [dim, dim] if asked for.
class MeanToken : public Pooling {
 public:
  MeanToken(int64_t dim, bool value_projection, const Initializer& init);

  at::Tensor Forward(const at::Tensor& x) override;
  int64_t output_dim() const override { return dim_; }

 private:
  int64_t dim_;
  Linear* value_ = nullptr;
};

struct EfficientProbingOptions {
  int64_t output_dim = 0;  // D_o, a multiple of the queries; 0: as wide as x
  // False: V = X, the ablation "w/o W_V"; output_dim is then that of x.
  bool value_projection = true;
};

// Efficient probing (EP): queries U [M, D] and W_V [D_o, D], no bias.
//   A = softmax_n(D^{-1/2} U X^T)              [batch, M, N]
//   y_j = sum_n A_jn (X W_V^T)_n, block j      [batch, D_o / M]
// The raw tokens are the keys: with learned queries a key matrix adds nothing,
// x^T W_Kj^T q_j being x^T u_j.
class EfficientProbing : public Pooling {
 public:
  // U is N(0, 0.02^2), W_V as torch.nn.Linear's.
  EfficientProbing(int64_t dim, int64_t num_queries, const Initializer& init,
                   EfficientProbingOptions options = {});

  // Pools the raw tokens for each query, then projects with the query's block:
  // y_j = W_Vj (X^T a_j). The same function in D (2 M N + D_o) multiply-adds an
  // image instead of D (M N + N D_o) + N D_o.
  at::Tensor Forward(const at::Tensor& x) override;
  // In the order of the authors' code: all N values first.
  at::Tensor ForwardAsCoded(const at::Tensor& x);
  // A: [batch, M, N].
  at::Tensor Attention(const at::Tensor& x) const;

  int64_t output_dim() const override { return output_dim_; }
  const at::Tensor& queries() const { return queries_; }  // [M, D]
  // [D_o, D]; undefined without W_V.
  const at::Tensor& value_weight() const { return value_; }

 private:
  int64_t dim_;
  int64_t num_queries_;
  int64_t output_dim_;
  at::Tensor queries_;
  at::Tensor value_;
};

// The same attention as the repository's README describes it in words: a key
// projection, identity values, the queries' outputs averaged. Not what its code
// does, see the README here.
class AveragedQueries : public Pooling {
 public:
  AveragedQueries(int64_t dim, int64_t num_queries, const Initializer& init);

  at::Tensor Forward(const at::Tensor& x) override;
  int64_t output_dim() const override { return dim_; }

 private:
  int64_t dim_;
  at::Tensor queries_;  // [M, D]
  Linear* key_;
};

struct CrossAttentionOptions {
  bool normalize_tokens = false;  // FeatureNorm before keys and values
  bool key_projection = true;
};

// Multi-head cross-attention (MHCA) of one learned query with the tokens, no
// output projection: head j of width d = D / heads has the logits
// d^{-1/2} q_j^T (W_K x_n)_j and the values (W_V x_n)_j.
class CrossAttention : public Pooling {
 public:
  CrossAttention(int64_t dim, int64_t num_heads, const Initializer& init,
                 CrossAttentionOptions options = {});

  at::Tensor Forward(const at::Tensor& x) override;
  int64_t output_dim() const override { return dim_; }
  const at::Tensor& query() const { return query_; }  // [D]

 private:
  int64_t dim_;
  int64_t num_heads_;
  at::Tensor query_;
  FeatureNorm* norm_ = nullptr;
  Linear* key_ = nullptr;
  Linear* value_;
};

// A pooling by name:
//   first      FirstToken               mean, mean_v  MeanToken (+ W_V)
//   ep         EfficientProbing         ep_no_v       the same without W_V
//   averaged   AveragedQueries
//   mhca       CrossAttention           mhca_no_k     the same without W_K
//   aim        CrossAttention on normalised tokens, the probe of AIM (El-Nouby
//              et al. 2024)
struct PoolingConfig {
  std::string name;
  int64_t dim = 0;         // of the tokens
  int64_t queries = 1;     // M: queries or heads, of those that have them
  int64_t output_dim = 0;  // of ep alone; 0: dim
};

// Pooling, FeatureNorm, linear classifier with bias: what is trained.
class ProbeHead : public Module {
 public:
  // Fails TORCH_CHECK for an unknown name or sizes that do not divide.
  ProbeHead(const PoolingConfig& config, int64_t num_classes,
            const Initializer& init);

  // [batch, num_classes].
  at::Tensor Forward(const at::Tensor& x);
  Pooling& pooling() { return *pooling_; }

 private:
  Pooling* AddPooling(const PoolingConfig& config, const Initializer& init);

  Pooling* pooling_;
  FeatureNorm* norm_;
  Linear* classifier_;
};

struct LarsOptions {
  double rate = 0.1;
  double momentum = 0.9;
  double weight_decay = 0;
  double trust = 0.001;
};

// LARS (You, Gitman, Ginsburg 2017) as in MAE's linear probing. Of tensors with
// more than one axis g = trust |w| / |g'| g', g' = g + weight_decay w (g = g'
// where a norm is 0); of others g is as it is. Then m = momentum m + g;
// w -= rate m.
std::unique_ptr<Optimizer> MakeLars(std::vector<at::Tensor> parameters,
                                    const LarsOptions& options);

// The k-NN protocol: features are L2-normalised, each of the k most similar
// training features votes for its class with exp(cosine / temperature).
// train: [n, dim], labels: int64 [n] in [0, num_classes), test: [m, dim],
// 1 <= k; k is cut to n. Returns int64 [m], the lowest class of equal votes.
at::Tensor NearestNeighbours(const at::Tensor& train, const at::Tensor& labels,
                             const at::Tensor& test, int64_t k,
                             double temperature, int64_t num_classes);

}  // namespace repro::efficient_probing

#endif  // REPRO_PAPERS_EFFICIENT_PROBING_PROBES_H_
