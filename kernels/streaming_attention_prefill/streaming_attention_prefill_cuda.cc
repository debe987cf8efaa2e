#include "kernels/streaming_attention_prefill/streaming_attention_prefill_cuda.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include "kernels/flash/tensors.h"
#include "kernels/streaming_attention_prefill/check.h"

namespace repro {
namespace {

constexpr char kOp[] = "streaming_attention_prefill";

at::Tensor Attend(const at::Tensor& q_in, const at::Tensor& k_in,
                  const at::Tensor& v_in, int64_t sink, int64_t recent,
                  int64_t block, int64_t dropped, std::optional<double> scale) {
  const StreamingRule rule =
      CheckStreamingAttention(q_in, k_in, v_in, sink, recent, block, dropped);
  const c10::cuda::CUDAGuard guard(q_in.device());
  FlashParams p = FlashShape(kOp, q_in, v_in, scale);
  p.num_keys = static_cast<int>(k_in.size(2));
  p.heads_per_key_head = static_cast<int>(q_in.size(1) / k_in.size(1));
  const at::Tensor q = FlashRows(q_in), k = FlashRows(k_in),
                   v = FlashRows(v_in);
  const at::Tensor out =
      at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options());
  if (out.numel() > 0) {
    p.q = FlashMatrixOf(q);
    p.k = FlashMatrixOf(k);
    p.v = FlashMatrixOf(v);
    p.out = FlashMatrixOf(out);
    StreamingLaunch launch;
    launch.sink_end = static_cast<int>(rule.sink_end);
    launch.recent = static_cast<int>(rule.recent);
    launch.block_shift = 0;
    while (int64_t{1} << launch.block_shift < block) ++launch.block_shift;
    launch.dropped = static_cast<int>(rule.dropped);
    C10_CUDA_CHECK(StreamingAttentionLaunch(p, launch));
  }
  return v.size(3) == v_in.size(3)
             ? out
             : out.narrow(-1, 0, v_in.size(3)).contiguous();
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("streaming_attention_prefill", Attend);
}

}  // namespace
}  // namespace repro
