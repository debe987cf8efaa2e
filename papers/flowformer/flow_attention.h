// Flow-Attention (Wu et al. 2022): attention of linear cost as a flow network.
// Values are sources, results are sinks, and the capacity from source j to sink
// i is phi(q_i) . phi(k_j). Conserving the flow into each sink makes sources
// compete; conserving the flow out of each source allocates it among sinks.
//
// Shapes, in every function here: q [..., L, d], k [..., S, d], v [..., S, m]
// -> [..., L, m], usually with leading axes [batch, heads]. Q = phi(q) and
// K = phi(k). Half and bfloat16 inputs are computed in float32, since sums of
// sigmoids over a long sequence exceed their precision; the result has q's
// dtype.
#ifndef REPRO_PAPERS_FLOWFORMER_FLOW_ATTENTION_H_
#define REPRO_PAPERS_FLOWFORMER_FLOW_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <optional>

namespace repro::flowformer {

// phi, applied to queries and keys.
enum class FeatureMap {
  kSigmoid,      // as published
  kShiftedRelu,  // relu(x) + 1e-6: the reference code for LRA
};

// Over what the softmax of the competition runs.
enum class Competition {
  kSources,  // as published
  kHeads,    // the axis before the last two: the reference code for LRA, whose
             // arrays are [batch, length, heads]. Not causal.
  kNone,     // ablation: every source counts 1
};

struct FlowOptions {
  // Bound of |O^|, the flow out of a source after conservation, before its
  // softmax; the copies of the reference code disagree about it.
  std::optional<double> clamp = 1.0;
  Competition competition = Competition::kSources;
  bool allocation = true;  // false: ablation, every sink counts 1
  FeatureMap feature_map = FeatureMap::kSigmoid;
  double eps = 1e-6;    // added to both factors of every flow
  double flow_eps = 0;  // added to every flow (the CV copy adds 1e-6)

  // As coded in the reference's Flow_Attention.py and GPT module (clamp 1),
  // fairseq copy (5), D4RL copy (10), UEA classifier (none), vision model and
  // JAX code for LRA.
  static FlowOptions Core();
  static FlowOptions Language();
  static FlowOptions Reinforcement();
  static FlowOptions TimeSeries();
  static FlowOptions Vision();
  static FlowOptions LongRangeArena();
};

// The flows of steps (1) and (2), before the clamp.
struct Flows {
  at::Tensor incoming;            // I  [..., L], into sinks
  at::Tensor outgoing;            // O  [..., S], out of sources
  at::Tensor conserved_incoming;  // I^ [..., L], when every source gives 1
  at::Tensor conserved_outgoing;  // O^ [..., S], when every sink takes 1
};

// Steps (1) and (2) without a causal mask, from Q and K:
//   I_i  = (Q_i + eps) . (sum_j K_j + eps)
//   O_j  = (K_j + eps) . (sum_i Q_i + eps)
//   I^_i = (Q_i + eps) . (sum_j K_j / O_j + eps)
//   O^_j = (K_j + eps) . (sum_i Q_i / I_i + eps)
Flows ComputeFlows(const at::Tensor& mapped_q, const at::Tensor& mapped_k,
                   const FlowOptions& options = {});

// The same with a causal mask, L = S, n_t = t counted from 1. Sums run over
// positions up to t; I and O keep the factor that the reference puts on their
// inverses, so that I^ and O^ stay of the size that they have without a mask:
//   I_t  = (Q_t + eps) . (sum_{j<=t} K_j + eps)
//   I^_t = (Q_t + eps) . (sum_{j<=t} K_j n_j / O_j + eps) / n_t
// and O_t, O^_t likewise with Q and K exchanged.
Flows ComputeCausalFlows(const at::Tensor& mapped_q, const at::Tensor& mapped_k,
                         const FlowOptions& options = {});

// Steps (3) to (5):
//   c_j   = S softmax_j(clamp(O^_j))      competition: sums to S
//   a_i   = sigmoid(I^_i L / S)           allocation
//   out_i = a_i (Q_i / I_i) . (K^T (c v))
// Cost O((L + S) d m).
at::Tensor FlowAttention(const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v, const FlowOptions& options = {});

// The causal form, L = S:
//   c_t   = n_t exp(clamp(O^_t)) / sum_{j<=t} exp(clamp(O^_j))
//   out_t = sigmoid(I^_t) (Q_t / I_t) . sum_{j<=t} K_j^T (c_j v_j)
// c_j is normalised at the source's own time, so that it does not change later.
// The last sum is a scan over chunks: within a chunk a masked product, between
// chunks a [d, m] state each, so that memory is O(L m d / chunk_size + L d +
// L chunk_size) and no prefix sum of [L, d, m] exists.
at::Tensor CausalFlowAttention(const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v,
                               const FlowOptions& options = {},
                               int64_t chunk_size = 64);

// The same as the reference code computes it, with the [..., L, d, m] prefix
// sums of K^T v. For tests.
at::Tensor CausalFlowAttentionCumulative(const at::Tensor& q,
                                         const at::Tensor& k,
                                         const at::Tensor& v,
                                         const FlowOptions& options = {});

}  // namespace repro::flowformer

#endif  // REPRO_PAPERS_FLOWFORMER_FLOW_ATTENTION_H_
