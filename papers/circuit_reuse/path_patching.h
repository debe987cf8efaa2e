// Path patching (Wang et al. 2023; as Merullo et al. 2024, arXiv 2310.08744,
// use it), circuits of attention heads, and interventions on attention.
//
//   REPRO_ASSIGN_OR_RETURN(auto to_logits,
//                          PathPatch(model, prompts, Receivers{}));
//   std::vector<Head> movers = TopHeads(to_logits, 8);
//   REPRO_ASSIGN_OR_RETURN(auto to_movers,
//                          PathPatch(model, prompts, {movers, kQuery}));
//
// Shapes and values from callers: errors are InvalidArgument.
#ifndef REPRO_PAPERS_CIRCUIT_REUSE_PATH_PATCHING_H_
#define REPRO_PAPERS_CIRCUIT_REUSE_PATH_PATCHING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "papers/circuit_reuse/hooked_transformer.h"

namespace repro::circuit_reuse {

struct Head {
  int64_t layer = 0;
  int64_t head = 0;
};
inline bool operator==(const Head& a, const Head& b) {
  return a.layer == b.layer && a.head == b.head;
}
inline bool operator<(const Head& a, const Head& b) {
  return a.layer != b.layer ? a.layer < b.layer : a.head < b.head;
}

// Prompts of one task, all of one length, with their counterfactuals.
struct PatchingPrompts {
  at::Tensor tokens;          // [count, length] int64
  at::Tensor counterfactual;  // [count, length] int64
  at::Tensor answers;         // [count] int64: the right token
  at::Tensor wrong;           // [count] int64: the counterfactual's
};

// What a sender's change is let through to.
struct Receivers {
  std::vector<Head> heads;  // empty: the last residual stream, the logits
  HookPoint component = HookPoint::kQuery;  // kQuery, kKey or kValue of heads
};

struct PathPatchingOptions {
  // Where senders are changed and receivers read: [count] int64; undefined: the
  // last position. The logits are always read at the last one.
  at::Tensor positions;
  // MLPs between sender and receiver write what they write on the clean prompt;
  // else they see the change and pass it on.
  bool freeze_mlps = false;
  // As in the authors' code, senders are the heads up to the lowest receiver's
  // layer. False: all heads, of which those above every receiver get 0.
  bool up_to_lowest_receiver = true;
  // Prompts whose mean logit differences make one ratio; ratios are averaged.
  int64_t batch = 25;
};

// [layers][heads]: (d - d0) / (d1 - d0), d the mean over a batch of
// logit(answers) - logit(wrong) at the last position: d0 on the clean prompts,
// d1 on the counterfactual ones, and d with the path from this head to the
// receivers patched. 1: all of the difference goes this way; negative: the head
// works against the answer. (The authors store -100 times this.)
using Importance = std::vector<std::vector<double>>;

// The definition in four steps, done literally: two passes over whole prompts
// for each sender. Errors: shapes; tokens outside the vocabulary; receivers
// that are not there; FailedPrecondition for a batch with d1 = d0.
absl::StatusOr<Importance> PathPatchByDefinition(
    const HookedTransformer& model, const PatchingPrompts& prompts,
    const Receivers& receivers, const PathPatchingOptions& options = {});

// The same numbers, sooner. With all other heads frozen at the one position
// that changes, the first pass has no attention to compute: it is the MLPs at
// this position from the sender's layer on, for all heads of a layer together.
// The second begins at the lowest receiver's layer; into the logits it is the
// unembedding alone.
absl::StatusOr<Importance> PathPatch(const HookedTransformer& model,
                                     const PatchingPrompts& prompts,
                                     const Receivers& receivers,
                                     const PathPatchingOptions& options = {});

// The `count` heads with the largest |importance|, that first. Equal ones in
// the order of layers and heads; heads with exactly 0 are left out.
std::vector<Head> TopHeads(const Importance& importance, int64_t count);

// Heads in both; a head counts once.
int64_t SharedHeads(const std::vector<Head>& a, const std::vector<Head>& b);
// 2 |a and b| / (|a| + |b|): for circuits of one size, as the paper's, the
// share of heads that both have. InvalidArgument: both empty.
absl::StatusOr<double> Overlap(const std::vector<Head>& a,
                               const std::vector<Head>& b);
// The expected Overlap when b has as many heads in each layer but any of them:
// sum_l a_l b_l / H in place of |a and b|. Errors: as Overlap; a head outside.
absl::StatusOr<double> ExpectedOverlap(const std::vector<Head>& a,
                                       const std::vector<Head>& b,
                                       int64_t layers, int64_t heads_per_layer);

// ---- Interventions on attention, after the softmax
// ----------------------------

// In the given heads the last row (the last query's) becomes 1/n at each of the
// n given positions and 0 elsewhere. targets: [batch, n] int64.
Hook AttendOnly(std::vector<Head> heads, at::Tensor targets);

// In the given heads the last query's attention to the given positions becomes
// 0, the rest stays as it is. targets: [batch, n] int64.
Hook BlockAttention(std::vector<Head> heads, at::Tensor targets);

// ---- What heads write -------------------------------------------------------

// [count, layers, heads]: by how much a head raises logit(answers) less the
// mean of logit(others), at the last position: its output under the last norm,
// with the norm's scale held, times the difference of unembeddings. answers:
// [count], others: [count, n] int64.
at::Tensor LogitAttribution(const HookedTransformer& model,
                            const at::Tensor& tokens, const at::Tensor& answers,
                            const at::Tensor& others, const Hook& hook = {});

// [count, layers, heads]: the last query's attention to the given positions,
// summed. targets: [count, n] int64.
at::Tensor AttentionTo(const HookedTransformer& model, const at::Tensor& tokens,
                       const at::Tensor& targets, const Hook& hook = {});

// [count] bool: the most likely token of the whole vocabulary is the answer.
at::Tensor IsRight(const HookedTransformer& model, const at::Tensor& tokens,
                   const at::Tensor& answers, const Hook& hook = {});

}  // namespace repro::circuit_reuse

#endif  // REPRO_PAPERS_CIRCUIT_REUSE_PATH_PATCHING_H_
