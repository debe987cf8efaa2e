// AgentSD: the attention of a diffusion model's U-Net on fewer tokens, through
// agents, without training. Tokens are merged as in ToMe for Stable Diffusion
// (Bolya and Hoffman 2023, arXiv 2303.17604): in every cell of cell x cell
// tokens one is a destination, the r others that are most like a destination
// are averaged into it, attention runs on what is left, and the result is
// copied back to the merged places.
//
// With n_a destinations as agents, hidden states averaged over everything that
// is merged into them,
//
//   out = softmax(s^0.3 Q A^T) softmax(s A K^T) V + 0.075 V,  A = agents W_q.
#ifndef REPRO_PAPERS_AGENT_ATTENTION_AGENT_SD_H_
#define REPRO_PAPERS_AGENT_ATTENTION_AGENT_SD_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>

#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"

namespace repro::agent_attention {

// Which tokens of a map are merged into which may be destinations. Both int64
// on one device, in ascending order; together all of [0, n), each once.
struct MergePlaces {
  at::Tensor destinations;  // [cells], at least one
  at::Tensor sources;       // [n - cells]

  // Throws c10::Error unless the destinations, int64, are distinct places in
  // [0, n).
  static MergePlaces Of(int64_t n, const at::Tensor& destinations,
                        c10::Device device);
  // One token of each cell at random; rows and columns that fill no cell hold
  // no destination. The generator is of the CPU.
  static MergePlaces Draw(int64_t height, int64_t width, int64_t cell,
                          at::Generator generator, c10::Device device);
};

// How tokens are merged into destinations. All of it is work of the device, so
// that a graph can capture it.
class TokenMerge {
 public:
  // hidden: [batch, n, dim], what likeness is measured on (cosine); `merged`:
  // how many sources are merged, at most all. Throws c10::Error.
  TokenMerge(const at::Tensor& hidden, const MergePlaces& places,
             int64_t merged);

  // x: [batch, n, channels] -> [batch, n - merged, channels]: tokens that are
  // left, the most mergeable first, then destinations, each the mean of itself
  // and what is merged into it.
  at::Tensor Merge(const at::Tensor& x) const;
  // Likewise with `merged` tokens in place of the constructor's: no more than
  // there are.
  at::Tensor Merge(const at::Tensor& x, int64_t merged) const;
  // x: [batch, n - merged, channels] -> [batch, n, channels].
  at::Tensor Unmerge(const at::Tensor& x) const;

 private:
  MergePlaces places_;
  int64_t merged_;
  at::Tensor order_;    // [batch, n - cells, 1]: sources, most alike first
  at::Tensor nearest_;  // the same shape: their destinations
};

struct AgentSdOptions {
  double merge_ratio = 0;  // r = floor(n merge_ratio); 0: plain attention
  int64_t cell = 4;
  // Agents are what is left when floor(n agent_ratio) tokens, at most all but
  // destinations, are merged. Used if twice their number is below n - r.
  double agent_ratio = 0.95;
  double broadcast_exponent = 0.3;
  double shortcut = 0.075;
  bool fused_softmax = false;  // plain attention by LibTorch's fused kernels
};

// Self-attention of a block of Stable Diffusion's U-Net, with its LayerNorm and
// skip: x + Unmerge(Attention(Merge(LayerNorm(x)))), likeness measured on x.
// "norm1", "attn1.to_q", "to_k", "to_v" without and "attn1.to_out.0" with bias.
class SdAttentionBlock : public Module {
 public:
  SdAttentionBlock(int64_t dim, int64_t num_heads, const Initializer& init);

  // x: [batch, n, dim] -> the same; the places are not read where merge_ratio
  // is 0.
  at::Tensor Forward(const at::Tensor& x, const AgentSdOptions& options,
                     const MergePlaces& places = {}) const;

 private:
  class Attention;
  LayerNorm* norm_;
  Attention* attention_;
};

}  // namespace repro::agent_attention

#endif  // REPRO_PAPERS_AGENT_ATTENTION_AGENT_SD_H_
