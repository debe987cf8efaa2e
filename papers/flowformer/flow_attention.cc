#include "papers/flowformer/flow_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>

#include "common/tensor/check.h"

namespace repro::flowformer {
namespace {

void CheckInputs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 bool causal) {
  CheckFloating(q, "q");
  CheckFloating(k, "k");
  CheckFloating(v, "v");
  TORCH_CHECK(q.dim() >= 2 && q.size(-2) > 0,
              "q: expected [..., length > 0, head_dim], got ", q.sizes());
  const auto leading = q.sizes().slice(0, q.dim() - 2);
  TORCH_CHECK(
      k.dim() == q.dim() && k.sizes().slice(0, k.dim() - 2) == leading &&
          k.size(-1) == q.size(-1) && k.size(-2) > 0,
      "k: expected ", leading, " + [source_len > 0, head_dim=", q.size(-1),
      "], got ", k.sizes());
  TORCH_CHECK(v.dim() == q.dim() &&
                  v.sizes().slice(0, v.dim() - 2) == leading &&
                  v.size(-2) == k.size(-2),
              "v: expected ", leading, " + [source_len=", k.size(-2),
              ", value_dim], got ", v.sizes());
  TORCH_CHECK(!causal || q.size(-2) == k.size(-2),
              "k: causal attention expected source_len=", q.size(-2), ", got ",
              k.sizes());
}

// To the dtype that the arithmetic is done in.
at::Tensor Widen(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

at::Tensor Phi(const at::Tensor& x, FeatureMap map) {
  return map == FeatureMap::kSigmoid ? at::sigmoid(x) : at::relu(x) + 1e-6;
}

// (a + eps) . (b + eps) over the last axis, plus flow_eps.
at::Tensor Flow(const at::Tensor& a, const at::Tensor& b,
                const FlowOptions& options) {
  at::Tensor flow = ((a + options.eps) * (b + options.eps)).sum(-1);
  return options.flow_eps == 0 ? flow : flow + options.flow_eps;
}

at::Tensor Clamp(const at::Tensor& x, const FlowOptions& options) {
  if (!options.clamp.has_value()) return x;
  return at::clamp(x, -*options.clamp, *options.clamp);
}

// n_t = 1, 2, ..., L: [L].
at::Tensor Positions(const at::Tensor& like, int64_t length) {
  return at::arange(1, length + 1, like.options().requires_grad(false));
}

// sum_{j<=t} q_t . k_j v_j, in chunks.
at::Tensor ChunkedCausalProduct(const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v, int64_t chunk_size) {
  const int64_t length = q.size(-2);
  const int64_t chunks = (length + chunk_size - 1) / chunk_size;
  const int64_t padding = chunks * chunk_size - length;
  // Zero keys and values behind the end change nothing before it.
  const auto split = [&](const at::Tensor& x) {
    const at::Tensor padded =
        padding == 0 ? x : at::constant_pad_nd(x, {0, 0, 0, padding});
    return padded.unflatten(-2, {chunks, chunk_size});  // [..., n, c, dim]
  };
  const at::Tensor qc = split(q), kc = split(k), vc = split(v);
  at::Tensor out = at::matmul(at::matmul(qc, kc.transpose(-2, -1)).tril(), vc);
  if (chunks > 1) {
    // State n is the sum over chunks 0 to n; chunk n + 1 reads it.
    const at::Tensor states =
        at::matmul(kc.narrow(-3, 0, chunks - 1).transpose(-2, -1),
                   vc.narrow(-3, 0, chunks - 1))
            .cumsum(-3);
    const at::Tensor earlier = at::matmul(qc.narrow(-3, 1, chunks - 1), states);
    out = out + at::constant_pad_nd(earlier, {0, 0, 0, 0, 1, 0});
  }
  return out.flatten(-3, -2).narrow(-2, 0, length);
}

// sum_{j<=t} q_t . k_j v_j, from all prefix sums.
at::Tensor CumulativeCausalProduct(const at::Tensor& q, const at::Tensor& k,
                                   const at::Tensor& v) {
  const at::Tensor prefix = (k.unsqueeze(-1) * v.unsqueeze(-2)).cumsum(-3);
  return at::matmul(q.unsqueeze(-2), prefix).squeeze(-2);
}

template <typename Product>
at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, const FlowOptions& options,
                           const Product& product) {
  CheckInputs(q, k, v, /*causal=*/true);
  TORCH_CHECK(options.competition != Competition::kHeads,
              "causal flow attention has no competition over heads");
  const at::Tensor mapped_q = Phi(Widen(q), options.feature_map);
  const at::Tensor mapped_k = Phi(Widen(k), options.feature_map);
  at::Tensor values = Widen(v);
  const Flows flows = ComputeCausalFlows(mapped_q, mapped_k, options);
  if (options.competition == Competition::kSources) {
    const at::Tensor weight = at::exp(Clamp(flows.conserved_outgoing, options));
    const at::Tensor competition =
        weight / weight.cumsum(-1) * Positions(weight, weight.size(-1));
    values = values * competition.unsqueeze(-1);
  }
  at::Tensor out =
      product(mapped_q / flows.incoming.unsqueeze(-1), mapped_k, values);
  if (options.allocation) {
    out = out * at::sigmoid(flows.conserved_incoming).unsqueeze(-1);
  }
  return out.to(q.scalar_type());
}

}  // namespace

FlowOptions FlowOptions::Core() { return {}; }

FlowOptions FlowOptions::Language() {
  FlowOptions options;
  options.clamp = 5;
  return options;
}

FlowOptions FlowOptions::Reinforcement() {
  FlowOptions options;
  options.clamp = 10;
  return options;
}

FlowOptions FlowOptions::TimeSeries() {
  FlowOptions options;
  options.clamp.reset();
  return options;
}

FlowOptions FlowOptions::Vision() {
  FlowOptions options;
  options.flow_eps = 1e-6;
  return options;
}

FlowOptions FlowOptions::LongRangeArena() {
  FlowOptions options;
  options.clamp.reset();
  options.competition = Competition::kHeads;
  options.feature_map = FeatureMap::kShiftedRelu;
  return options;
}

Flows ComputeFlows(const at::Tensor& mapped_q, const at::Tensor& mapped_k,
                   const FlowOptions& options) {
  const auto sum = [](const at::Tensor& x) {
    return x.sum(-2, /*keepdim=*/true);
  };
  Flows flows;
  flows.incoming = Flow(mapped_q, sum(mapped_k), options);
  flows.outgoing = Flow(mapped_k, sum(mapped_q), options);
  flows.conserved_incoming =
      Flow(mapped_q, sum(mapped_k / flows.outgoing.unsqueeze(-1)), options);
  flows.conserved_outgoing =
      Flow(mapped_k, sum(mapped_q / flows.incoming.unsqueeze(-1)), options);
  return flows;
}

Flows ComputeCausalFlows(const at::Tensor& mapped_q, const at::Tensor& mapped_k,
                         const FlowOptions& options) {
  const at::Tensor n = Positions(mapped_q, mapped_q.size(-2));
  Flows flows;
  flows.incoming = Flow(mapped_q, mapped_k.cumsum(-2), options);
  flows.outgoing = Flow(mapped_k, mapped_q.cumsum(-2), options);
  flows.conserved_incoming =
      Flow(mapped_q, (mapped_k * (n / flows.outgoing).unsqueeze(-1)).cumsum(-2),
           options) /
      n;
  flows.conserved_outgoing =
      Flow(mapped_k, (mapped_q * (n / flows.incoming).unsqueeze(-1)).cumsum(-2),
           options) /
      n;
  return flows;
}

at::Tensor FlowAttention(const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v, const FlowOptions& options) {
  CheckInputs(q, k, v, /*causal=*/false);
  TORCH_CHECK(options.competition != Competition::kHeads || q.dim() >= 3,
              "q: competition over heads expected [..., heads, length, "
              "head_dim], got ",
              q.sizes());
  const at::Tensor mapped_q = Phi(Widen(q), options.feature_map);
  const at::Tensor mapped_k = Phi(Widen(k), options.feature_map);
  at::Tensor values = Widen(v);
  const double sinks = q.size(-2), sources = k.size(-2);
  const Flows flows = ComputeFlows(mapped_q, mapped_k, options);
  if (options.competition != Competition::kNone) {
    const int64_t axis = options.competition == Competition::kSources ? -1 : -2;
    const at::Tensor competition =
        at::softmax(Clamp(flows.conserved_outgoing, options), axis) * sources;
    values = values * competition.unsqueeze(-1);
  }
  at::Tensor out = at::matmul(mapped_q / flows.incoming.unsqueeze(-1),
                              at::matmul(mapped_k.transpose(-2, -1), values));
  if (options.allocation) {
    out =
        out *
        at::sigmoid(flows.conserved_incoming * (sinks / sources)).unsqueeze(-1);
  }
  return out.to(q.scalar_type());
}

at::Tensor CausalFlowAttention(const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v, const FlowOptions& options,
                               int64_t chunk_size) {
  TORCH_CHECK(chunk_size > 0, "chunk_size: expected above 0, got ", chunk_size);
  return CausalAttention(q, k, v, options,
                         [&](const at::Tensor& queries, const at::Tensor& keys,
                             const at::Tensor& values) {
                           return ChunkedCausalProduct(queries, keys, values,
                                                       chunk_size);
                         });
}

at::Tensor CausalFlowAttentionCumulative(const at::Tensor& q,
                                         const at::Tensor& k,
                                         const at::Tensor& v,
                                         const FlowOptions& options) {
  return CausalAttention(q, k, v, options, CumulativeCausalProduct);
}

}  // namespace repro::flowformer
