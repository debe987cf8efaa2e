// The reference: a block of queries at a time against the sinks and the range
// of keys that any of them sees, so that time and memory grow with queries
// times (sink + recent + block).
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>

#include "kernels/flash/check.h"
#include "kernels/streaming_attention_prefill/check.h"

namespace repro {
namespace {

at::Tensor Attend(const at::Tensor& q_in, const at::Tensor& k_in,
                  const at::Tensor& v_in, int64_t sink, int64_t recent,
                  int64_t block, int64_t dropped,
                  std::optional<double> scale_in) {
  const StreamingRule rule =
      CheckStreamingAttention(q_in, k_in, v_in, sink, recent, block, dropped);
  const double scale = AttentionScale(scale_in, q_in);
  const auto wide =
      q_in.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t batch = q_in.size(0), heads = q_in.size(1),
                queries = q_in.size(2), kv_heads = k_in.size(1),
                keys = k_in.size(2);
  at::Tensor out =
      at::empty({batch, heads, queries, v_in.size(3)}, q_in.options());
  if (out.numel() == 0) return out;
  // [batch, num_kv_heads, heads of a group, queries, dim]
  const at::Tensor q = q_in.to(wide).unflatten(1, {kv_heads, heads / kv_heads});
  const at::Tensor grouped_out =
      out.view({batch, kv_heads, heads / kv_heads, queries, v_in.size(3)});

  constexpr int64_t kQueries = 128;
  for (int64_t first = 0; first < queries; first += kQueries) {
    const int64_t count = std::min(kQueries, queries - first);
    const int64_t place = keys - queries + first;  // of the first query
    const int64_t low = rule.First(place);
    const int64_t sinks = std::min(rule.sink_end, low);
    const auto pick = [&](const at::Tensor& x) {
      const at::Tensor range = x.narrow(2, low, place + count - low);
      return (sinks == 0 ? range : at::cat({x.narrow(2, 0, sinks), range}, 2))
          .to(wide)
          .unsqueeze(2);
    };
    const at::Tensor j =
        at::cat({at::arange(sinks), at::arange(low, place + count)});
    const at::Tensor i = at::arange(place, place + count).unsqueeze(1);
    const at::Tensor begin =
        ((i + rule.dropped).floor_divide(rule.block) - rule.recent + 1) *
            rule.block -
        rule.dropped;
    const at::Tensor seen =
        j.lt(rule.sink_end).logical_or(j.ge(begin)).logical_and(j.le(i));
    const at::Tensor scores =
        at::matmul(q.narrow(3, first, count), pick(k_in).transpose(-1, -2))
            .mul_(scale)
            .masked_fill_(seen.logical_not(),
                          -std::numeric_limits<double>::infinity());
    grouped_out.narrow(3, first, count)
        .copy_(at::matmul(at::softmax(scores, -1), pick(v_in)));
  }
  return out;
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("streaming_attention_prefill", Attend);
}

}  // namespace
}  // namespace repro
