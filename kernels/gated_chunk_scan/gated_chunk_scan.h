// Gated averages inside chunks (RAT, Wei et al. 2025, arXiv 2507.04416):
//
//   y_t = g_t * y_{t-1} + (1 - g_t) * x_t,   y = 0 before each chunk,
//
// elementwise. chunk_size >= seq_len is a gated linear RNN.
//
// From Python: torch.ops.repro.gated_chunk_scan and
// torch.ops.repro.gated_chunk_scan_step.
#ifndef REPRO_KERNELS_GATED_CHUNK_SCAN_GATED_CHUNK_SCAN_H_
#define REPRO_KERNELS_GATED_CHUNK_SCAN_GATED_CHUNK_SCAN_H_

#include <ATen/core/Tensor.h>

#include <tuple>

namespace repro {

// gate: [batch, seq_len, heads, head_dim] in (0, 1), float32 or x's dtype (1 -
// g loses its digits in bfloat16 near 1: keep it in float32).
// v: [batch, seq_len, heads, head_dim], k: [batch, seq_len, groups, head_dim]
// with heads a multiple of groups; head h averages k's group h % groups.
// One floating dtype for k and v; any strides.
//
// Returns the running averages of k and of v, both [batch, seq_len, heads,
// head_dim] of v's dtype; the scan runs in float32 or wider. Differentiable in
// all three. Throws c10::Error with the offending shape.
std::tuple<at::Tensor, at::Tensor> GatedChunkScan(const at::Tensor& gate,
                                                  const at::Tensor& k,
                                                  const at::Tensor& v,
                                                  int64_t chunk_size);

// One token: gate, v: [batch, heads, head_dim], k: [batch, groups, head_dim].
// Updates the running averages k_state, v_state [batch, heads, head_dim]
// (float32) in place. `first` true starts a chunk: the state counts as 0.
// first: [] or [1] bool tensor of the same device. Not differentiable.
void GatedChunkScanStep(const at::Tensor& gate, const at::Tensor& k,
                        const at::Tensor& v, const at::Tensor& first,
                        const at::Tensor& k_state, const at::Tensor& v_state);

}  // namespace repro

#endif  // REPRO_KERNELS_GATED_CHUNK_SCAN_GATED_CHUNK_SCAN_H_
