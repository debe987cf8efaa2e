// A multi-head attention layer whose attention is a named choice: the paper's
// method, its ablations, or a rival from its tables.
#ifndef REPRO_PAPERS_FLOWFORMER_ATTENTION_LAYER_H_
#define REPRO_PAPERS_FLOWFORMER_ATTENTION_LAYER_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "papers/flowformer/flow_attention.h"

namespace repro::flowformer {

enum class AttentionKind { kFlow, kSoftmax, kLinear, kCosformer };

struct AttentionChoice {
  AttentionKind kind = AttentionKind::kFlow;
  FlowOptions flow;  // of kFlow

  // "flow", "flow_no_competition", "flow_no_allocation" (with `flow` as the
  // base), "flow_heads" (as coded for LRA, whatever the base), "softmax",
  // "linear" (elu + 1), "cosformer". NotFound lists them.
  static absl::StatusOr<AttentionChoice> Named(absl::string_view name,
                                               const FlowOptions& flow);
  static std::vector<std::string> Names();
};

// q, k: [batch, heads, length, head_dim], v: [batch, heads, length, value_dim]
// -> v's shape. cosFormer has no causal form here.
at::Tensor Attend(const AttentionChoice& choice, bool causal,
                  const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v);

// cosFormer (Qin et al. 2022): phi = relu, and the similarity of positions i
// and j (from 1) is weighted by cos(pi (i - j) / 2M), M = max(L, S), which
// splits into cos cos + sin sin:
// out_i = sum_j s_ij v_j / max(sum_j s_ij, eps). Shapes as FlowAttention.
at::Tensor CosformerAttention(const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, double eps = 1e-6);

// How the weights of a model's linear layers begin; biases are 0 except with
// kFanIn.
enum class WeightInit {
  kFanIn,            // torch.nn.Linear's own
  kNormal,           // N(0, 0.02^2)
  kTruncatedNormal,  // the same, cut
  kXavierUniform,
};

// A module that makes linear layers with one rule.
class InitializedModule : public Module {
 protected:
  Linear* AddLinear(std::string name, int64_t in_features, int64_t out_features,
                    WeightInit rule, const Initializer& init, bool bias = true);
};

struct AttentionLayerOptions {
  int64_t heads = 1;
  bool causal = false;
  bool qkv_bias = true;
  bool out_bias = true;
  WeightInit init = WeightInit::kFanIn;
};

// Projects to queries, keys and values, attends, projects the result.
// x: [batch, length, dim] -> the same.
class AttentionLayer : public InitializedModule {
 public:
  AttentionLayer(int64_t dim, const AttentionChoice& choice,
                 const AttentionLayerOptions& options, const Initializer& init);

  at::Tensor Forward(const at::Tensor& x) const;

 private:
  const AttentionChoice choice_;
  const AttentionLayerOptions options_;
  Linear* query_;
  Linear* key_;
  Linear* value_;
  Linear* out_;
};

}  // namespace repro::flowformer

#endif  // REPRO_PAPERS_FLOWFORMER_ATTENTION_LAYER_H_
