// RazorAttention (Tang et al., ICLR 2025, arXiv 2407.15891): once a prompt is
// read, retrieval heads keep its whole cache, the others the first tokens, the
// last ones, and one token that stands for all between.
//
//   HeadScores scores = ScoreHeads(model, probe, generator);
//   auto state = MakeRazorState(
//       model.config(), model.device(), model.dtype(),
//       SelectRetrievalHeads(scores, model.config().num_kv_heads, {}), {});
//   model.Forward({{prompt, state.get()}});
//   state->PromptDone();
#ifndef REPRO_PAPERS_RAZOR_ATTENTION_RAZOR_ATTENTION_H_
#define REPRO_PAPERS_RAZOR_ATTENTION_RAZOR_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "common/lm/attention_state.h"
#include "common/lm/config.h"
#include "papers/razor_attention/head_scores.h"

namespace repro::razor {

enum class Compensation {
  kWeighted,  // as published: counts as the N_d tokens that it stands for
  kPlain,     // as in Huawei's code: counts as one token
  kNone,      // what is dropped is gone
};

struct RazorOptions {
  int64_t sink = 4;             // N0
  double ratio = 5;             // C
  int64_t least_window = 4000;  // S0
  // > 0: as in Huawei's code, all that a head keeps of a prompt, sinks and
  // compensation token included, whatever its length; ratio and least_window
  // are not used.
  int64_t capacity = 0;
  Compensation compensation = Compensation::kWeighted;

  // The defaults of mindspore-ai/golden-stick.
  static RazorOptions Deployed();
};

// L_h = max(S0, floor(N / C)), or the capacity less sinks and compensation
// token: the last tokens that a head keeps of a prompt of N. N where nothing is
// dropped. Throws c10::Error for options that cannot be.
int64_t WindowTokens(const RazorOptions& options, int64_t prompt_tokens);

// Entries that a head which does not retrieve keeps of a prompt: N0 + 1 + L_h,
// or all N.
int64_t KeptEntries(const RazorOptions& options, int64_t prompt_tokens);

// Kept entries over all entries with a share of heads that keep everything; in
// the limit of long prompts share + (1 - share) / C.
double KeptFraction(const RazorOptions& options, double share,
                    int64_t prompt_tokens);
double LimitKeptFraction(double share, double ratio);

// A layer's heads after compression: sinks, compensation token (unless kNone),
// window. k, v: [heads, kept, head_dim].
struct CompressedKeysValues {
  at::Tensor k, v;
  int64_t dropped = 0;  // N_d; 0: nothing was, and there is no compensation
};

// k, v: [heads, tokens, head_dim], keys rotated. The compensation token is the
// mean of what is dropped, khat = 1/N_d sum_D k, vhat = 1/N_d sum_D v (eq. 4).
CompressedKeysValues Compress(const at::Tensor& k, const at::Tensor& v,
                              const RazorOptions& options);

// Attention where the key at `place` counts `count` times (eq. 5), by adding
// ln(count) to its scaled logit; causal for the queries, which stand at the
// last keys. q: [num_heads, queries, head_dim], k, v: [num_kv_heads, keys,
// head_dim].
at::Tensor WeightedAttention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, int64_t place, int64_t count);

// Dense attention until PromptDone, which compresses the heads that are not in
// `retrieval` (one list a layer); tokens after it are kept by all heads.
std::unique_ptr<lm::AttentionState> MakeRazorState(
    const lm::ModelConfig& config, c10::Device device, at::ScalarType dtype,
    const HeadSet& retrieval, const RazorOptions& options);

// ------------------------------------------------------------------- ALiBi

// l_h = 2^(-8 h / num_heads) of head h = 1 ... num_heads.
double AlibiSlope(int64_t head, int64_t num_heads);

// Theorem 1: beyond L_h = (2 |W_Q W_K^T| (|gamma|^2 + |b|^2) - ln eps) / l_h
// tokens the attention of a head is at most eps; |.| the spectral norm, gamma
// and b of the norm before the layer.
double AlibiScope(double weight_norm, double gamma_squared, double bias_squared,
                  double slope, double epsilon);

// The same with the bound that we can prove: |gamma x| reaches max |gamma|
// sqrt(d), not |gamma|, (x + b)^2 <= 2 (x^2 + b^2), and the best key may gain
// what the far one loses: (4 |W_Q W_K^T| (d max gamma^2 + |b|^2) - ln eps) /
// l_h.
double StrictAlibiScope(double weight_norm, int64_t hidden_size,
                        double max_gamma_squared, double bias_squared,
                        double slope, double epsilon);

}  // namespace repro::razor

#endif  // REPRO_PAPERS_RAZOR_ATTENTION_RAZOR_ATTENTION_H_
