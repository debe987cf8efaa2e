// What the CPU and the CUDA implementation demand of their inputs.
#ifndef REPRO_KERNELS_GATED_CHUNK_SCAN_GATED_CHUNK_SCAN_CHECK_H_
#define REPRO_KERNELS_GATED_CHUNK_SCAN_GATED_CHUNK_SCAN_CHECK_H_

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

namespace repro {

// gate, v: [..., heads, head_dim], k: [..., groups, head_dim], of `dim` axes.
inline void CheckGatedChunkScanInputs(const char* op, const at::Tensor& gate,
                                      const at::Tensor& k, const at::Tensor& v,
                                      int64_t dim) {
  const char* shape = dim == 4 ? "[batch, seq_len, heads, head_dim]"
                               : "[batch, heads, head_dim]";
  TORCH_CHECK(v.dim() == dim, op, ": v must be ", shape, ", not ", v.sizes());
  TORCH_CHECK(gate.sizes() == v.sizes(), op, ": gate must have v's shape ",
              v.sizes(), ", not ", gate.sizes());
  TORCH_CHECK(k.dim() == dim &&
                  k.sizes().slice(0, dim - 2) == v.sizes().slice(0, dim - 2) &&
                  k.size(-1) == v.size(-1),
              op, ": k must be v's shape ", v.sizes(),
              " but for the number of heads, not ", k.sizes());
  TORCH_CHECK(k.size(-2) > 0 ? v.size(-2) % k.size(-2) == 0 : v.size(-2) == 0,
              op, ": v's ", v.size(-2), " heads are no multiple of k's ",
              k.size(-2), " groups");
  TORCH_CHECK(v.is_floating_point() && k.scalar_type() == v.scalar_type(), op,
              ": k and v must have one floating dtype, not ", k.scalar_type(),
              " and ", v.scalar_type());
  TORCH_CHECK(
      gate.scalar_type() == at::kFloat || gate.scalar_type() == v.scalar_type(),
      op, ": gate must be float32 or of v's dtype ", v.scalar_type(), ", not ",
      gate.scalar_type());
  TORCH_CHECK(gate.device() == v.device() && k.device() == v.device(), op,
              ": gate, k and v must be on one device, not on ", gate.device(),
              ", ", k.device(), " and ", v.device());
}

inline void CheckGatedChunkScan(const at::Tensor& gate, const at::Tensor& k,
                                const at::Tensor& v, int64_t chunk_size) {
  CheckGatedChunkScanInputs("gated_chunk_scan", gate, k, v, 4);
  TORCH_CHECK(chunk_size > 0,
              "gated_chunk_scan: chunk_size must be positive, not ",
              chunk_size);
}

inline void CheckGatedChunkScanBackward(
    const at::Tensor& gate, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& k_average, const at::Tensor& v_average,
    const at::Tensor& grad_k_average, const at::Tensor& grad_v_average,
    int64_t chunk_size) {
  CheckGatedChunkScan(gate, k, v, chunk_size);
  for (const at::Tensor* t :
       {&k_average, &v_average, &grad_k_average, &grad_v_average}) {
    TORCH_CHECK(
        t->sizes() == v.sizes() && t->scalar_type() == v.scalar_type() &&
            t->device() == v.device(),
        "gated_chunk_scan_backward: averages and their gradients must have "
        "v's shape, dtype and device ",
        v.sizes(), " ", v.scalar_type(), " ", v.device(), ", not ", t->sizes(),
        " ", t->scalar_type(), " ", t->device());
  }
}

inline void CheckGatedChunkScanStep(const at::Tensor& gate, const at::Tensor& k,
                                    const at::Tensor& v,
                                    const at::Tensor& first,
                                    const at::Tensor& k_state,
                                    const at::Tensor& v_state) {
  CheckGatedChunkScanInputs("gated_chunk_scan_step", gate, k, v, 3);
  TORCH_CHECK(
      first.numel() == 1 && first.dim() <= 1 &&
          first.scalar_type() == at::kBool && first.device() == v.device(),
      "gated_chunk_scan_step: first must be one bool on ", v.device(), ", not ",
      first.sizes(), " ", first.scalar_type(), " on ", first.device());
  for (const at::Tensor* state : {&k_state, &v_state}) {
    TORCH_CHECK(state->sizes() == v.sizes() &&
                    state->scalar_type() == at::kFloat &&
                    state->device() == v.device(),
                "gated_chunk_scan_step: states must be float32 of v's shape ",
                v.sizes(), " on ", v.device(), ", not ", state->sizes(), " ",
                state->scalar_type(), " on ", state->device());
  }
}

}  // namespace repro

#endif  // REPRO_KERNELS_GATED_CHUNK_SCAN_GATED_CHUNK_SCAN_CHECK_H_
