#ifndef REPRO_KERNELS_STREAMING_ATTENTION_PREFILL_CHECK_H_
#define REPRO_KERNELS_STREAMING_ATTENTION_PREFILL_CHECK_H_

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>

namespace repro {

// The rule in places of keys: key j is seen by the query at key `place` where
// j <= place and (j < sink_end or j >= First(place)).
struct StreamingRule {
  int64_t sink_end;
  int64_t recent, block, dropped;

  int64_t First(int64_t place) const {
    return std::max<int64_t>(
        0, ((place + dropped) / block - recent + 1) * block - dropped);
  }
};

// Checks the inputs.
inline StreamingRule CheckStreamingAttention(const at::Tensor& q,
                                             const at::Tensor& k,
                                             const at::Tensor& v, int64_t sink,
                                             int64_t recent, int64_t block,
                                             int64_t dropped) {
  constexpr char kOp[] = "streaming_attention_prefill";
  TORCH_CHECK(q.dim() == 4 && q.size(3) > 0, kOp,
              ": q must be [batch, num_heads, queries, head_dim], not ",
              q.sizes());
  TORCH_CHECK(k.dim() == 4 && k.size(0) == q.size(0) && k.size(3) == q.size(3),
              kOp, ": k must be [batch, num_kv_heads, keys, head_dim] for q ",
              q.sizes(), ", not ", k.sizes());
  TORCH_CHECK(v.dim() == 4 && v.size(3) > 0 &&
                  v.sizes().slice(0, 3) == k.sizes().slice(0, 3),
              kOp, ": v must be k's shape ", k.sizes(),
              " but for its last axis, not ", v.sizes());
  TORCH_CHECK(k.size(1) > 0 && q.size(1) % k.size(1) == 0, kOp, ": ", q.size(1),
              " query heads are no multiple of ", k.size(1), " key heads");
  TORCH_CHECK(k.size(2) >= q.size(2), kOp, ": ", k.size(2), " keys for ",
              q.size(2), " queries");
  TORCH_CHECK(q.is_floating_point() && k.scalar_type() == q.scalar_type() &&
                  v.scalar_type() == q.scalar_type(),
              kOp, ": q, k and v must have one floating dtype, not ",
              q.scalar_type(), ", ", k.scalar_type(), " and ", v.scalar_type());
  TORCH_CHECK(k.device() == q.device() && v.device() == q.device(), kOp,
              ": q, k and v must be on one device, not on ", q.device(), ", ",
              k.device(), " and ", v.device());
  TORCH_CHECK(sink >= 0 && recent > 0, kOp, ": sink ", sink, " and recent ",
              recent, ", expected at least 0 and 1");
  TORCH_CHECK(block > 0 && (block & (block - 1)) == 0 && block <= 1 << 20, kOp,
              ": block ", block,
              ", expected a power of two of at most 1048576");
  const int64_t keys = k.size(2);
  TORCH_CHECK(dropped >= 0 && dropped <= INT32_MAX - 256 - keys - 2 * block,
              kOp, ": dropped ", dropped, " with ", keys,
              " keys, expected at least 0 and below 2^31 in all");
  StreamingRule rule;
  rule.sink_end = std::min(sink, keys / block + 1) * block;
  TORCH_CHECK(dropped == 0 || rule.sink_end <= keys, kOp, ": ", dropped,
              " tokens dropped behind ", sink * block, " sinks, but there are ",
              keys, " keys");
  rule.sink_end = std::min(rule.sink_end, keys);
  rule.recent = std::min(recent, (keys + dropped) / block + 1);
  rule.block = block;
  rule.dropped = dropped;
  return rule;
}

}  // namespace repro

#endif  // REPRO_KERNELS_STREAMING_ATTENTION_PREFILL_CHECK_H_
