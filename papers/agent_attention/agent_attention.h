// Agent attention: a few agents, pooled queries, gather what keys and values
// hold and hand it on to all queries. Han, Ye, Han, Xia, Pan, Wan, Song, Huang,
// "Agent Attention: On the Integration of Softmax and Linear Attention",
// arXiv 2312.08874, ECCV 2024; and its code. For one head,
//
//   A   = pool(Q)                              agents, n_a of them
//   V_A = softmax(s A K^T + B_1) V             aggregation
//   O   = softmax(s Q A^T + B_2) V_A           broadcast
//   y   = W_proj (O + DWC(V)),                 s = 1 / sqrt(head_dim)
//
// which is linear attention phi_q(Q) phi_k(K)^T V with phi_q(Q) = softmax(Q
// A^T) and phi_k(K) = softmax(A K^T)^T: 4 n n_a d multiply-adds in place of 2
// n^2 d.
//
//   auto model = MakeAgentModel(*AgentModelConfig::Named("swin_t"), init);
//   at::Tensor logits = model->Forward(images);  // [batch, 1000]
#ifndef REPRO_PAPERS_AGENT_ATTENTION_AGENT_ATTENTION_H_
#define REPRO_PAPERS_AGENT_ATTENTION_AGENT_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/initializer.h"
#include "common/vision/vision_transformer.h"

namespace repro::agent_attention {

// The two softmax steps. q: [..., n, head_dim], k: [..., m, head_dim], v: [...,
// m, value_dim], agents: [..., n_a, head_dim] -> [..., n, value_dim]. Biases
// broadcast to [..., n_a, m] and [..., n, n_a]; undefined ones are zero. Scales
// are those of aggregation and of broadcast. Nothing of size n x m is made.
at::Tensor AgentAttend(const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v, const at::Tensor& agents,
                       const at::Tensor& aggregation_bias,
                       const at::Tensor& broadcast_bias,
                       double aggregation_scale, double broadcast_scale);

// Means over pool_side x pool_side parts of a map of tokens, row by row: part i
// of a side has the rows floor(i side / pool_side) to
// ceil((i + 1) side / pool_side) - 1, so that parts overlap where pool_side
// does not divide side. x: [batch, side^2, dim] -> [batch, pool_side^2, dim].
at::Tensor PoolAgents(const at::Tensor& x, int64_t side, int64_t pool_side);

struct AgentOptions {
  int64_t num_agents = 49;  // a square
  bool bias = true;         // B_1 and B_2
  // DWC: a depth-wise 3 x 3 convolution of the values. [CLS] has none.
  bool convolution = true;
  // Without training (AgentSD): the broadcast's scale is s^exponent, and so
  // many times v is added to O.
  double broadcast_exponent = 1;
  double shortcut = 0;
};

// A block's attention. The parameters of B_1 are "an_bias" [heads, n_a, 7, 7],
// resized to the map (bilinear, corners not aligned), "ah_bias" [1, heads, n_a,
// side, 1] and "aw_bias" [1, heads, n_a, 1, side], of B_2 "na_bias" of the
// shape of an_bias, "ha_bias" [1, heads, side, 1, n_a] and "wa_bias" [1, heads,
// 1, side, n_a]; [CLS] has "ac_bias" [1, heads, n_a, 1] and "ca_bias" [1,
// heads, 1, n_a]. Truncated normals of standard deviation 0.02. The convolution
// is "dwc", in CSWin "get_v".
class AgentAttention : public BlockAttention {
 public:
  // Throws c10::Error for a number of agents that is no square or exceeds the
  // map.
  AgentAttention(const AttentionSite& site, const AgentOptions& options,
                 const Initializer& init);

  // Agents are pooled from the queries of the map, without [CLS], which is a
  // query and a key like the others.
  at::Tensor Forward(const at::Tensor& x,
                     const at::Tensor& input) const override;

  // B_1, [1, heads, n_a, tokens], and B_2, [1, heads, tokens, n_a]; undefined
  // without biases.
  at::Tensor AggregationBias() const;
  at::Tensor BroadcastBias() const;

 private:
  AgentOptions options_;
  int64_t pool_side_;
  at::Tensor an_, na_, ah_, aw_, ha_, wa_, ac_, ca_;
  TokenConvolution* convolution_ = nullptr;
};

// A backbone whose blocks have agents, from the first on, in some stages.
struct AgentModelConfig {
  VisionConfig vision;
  std::vector<int64_t> num_agents;    // a stage
  std::vector<int64_t> agent_blocks;  // a stage: the first so many blocks

  // The configurations of the released models: "deit_t", "deit_s",
  // "deit_s_448", "deit_b", "pvt_t", "pvt_s", "pvt_m", "pvt_m_256", "pvt_l",
  // "swin_t", "swin_s", "swin_s_288", "swin_b", "swin_b_384", "cswin_t",
  // "cswin_s", "cswin_b", "cswin_b_384". NotFound lists the names.
  static absl::StatusOr<AgentModelConfig> Named(absl::string_view name);
  static std::vector<std::string> Names();
};

std::unique_ptr<VisionTransformer> MakeAgentModel(
    const AgentModelConfig& config, const Initializer& init);

}  // namespace repro::agent_attention

#endif  // REPRO_PAPERS_AGENT_ATTENTION_AGENT_ATTENTION_H_
