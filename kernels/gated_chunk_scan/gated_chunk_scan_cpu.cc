// The reference: the recurrence as it stands, over head_dim channels at a time.
//
// With a_t = dL/dy_t, all that reaches y_t:
//   a_t = dy_t + g_{t+1} a_{t+1} inside a chunk,
//   dx_t = (1 - g_t) a_t,   dg_t = (y_{t-1} - x_t) a_t.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "kernels/gated_chunk_scan/gated_chunk_scan_check.h"

namespace repro {
namespace {

at::Tensor ToCompute(const at::Tensor& t, const at::Tensor& v) {
  return t.to(v.scalar_type() == at::kDouble ? at::kDouble : at::kFloat)
      .contiguous();
}

// Calls work(batch * seq_len + first token, tokens, group) for each chunk and
// group of heads, in parallel.
template <typename Work>
void ForEachChunk(const at::Tensor& k, int64_t chunk_size, const Work& work) {
  const int64_t batch = k.size(0), seq_len = k.size(1), groups = k.size(2);
  const int64_t num_chunks = seq_len == 0 ? 0 : (seq_len - 1) / chunk_size + 1;
  at::parallel_for(
      0, batch * num_chunks * groups, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t group = i % groups;
          const int64_t start = i / groups % num_chunks * chunk_size;
          const int64_t row = i / groups / num_chunks;
          work(row * seq_len + start, std::min(chunk_size, seq_len - start),
               group);
        }
      });
}

std::tuple<at::Tensor, at::Tensor> Scan(const at::Tensor& gate_in,
                                        const at::Tensor& k_in,
                                        const at::Tensor& v_in,
                                        int64_t chunk_size) {
  CheckGatedChunkScan(gate_in, k_in, v_in, chunk_size);
  const at::Tensor gate = ToCompute(gate_in, v_in), k = ToCompute(k_in, v_in),
                   v = ToCompute(v_in, v_in);
  const at::Tensor k_average = at::empty(v.sizes(), v.options()),
                   v_average = at::empty(v.sizes(), v.options());
  const int64_t heads = v.size(2), dim = v.size(3), groups = k.size(2);
  AT_DISPATCH_FLOATING_TYPES(v.scalar_type(), "gated_chunk_scan", [&] {
    const auto* gate_data = gate.const_data_ptr<scalar_t>();
    const auto* k_data = k.const_data_ptr<scalar_t>();
    const auto* v_data = v.const_data_ptr<scalar_t>();
    auto* k_out = k_average.mutable_data_ptr<scalar_t>();
    auto* v_out = v_average.mutable_data_ptr<scalar_t>();
    const auto chunk = [&](int64_t begin, int64_t tokens, int64_t group) {
      const std::vector<scalar_t> zeros(dim);
      for (int64_t head = group; head < heads; head += groups) {
        const scalar_t* k_last = zeros.data();
        const scalar_t* v_last = zeros.data();
        for (int64_t t = begin; t < begin + tokens; ++t) {
          const scalar_t* g = gate_data + (t * heads + head) * dim;
          const scalar_t* k_t = k_data + (t * groups + group) * dim;
          const scalar_t* v_t = v_data + (t * heads + head) * dim;
          scalar_t* yk = k_out + (t * heads + head) * dim;
          scalar_t* yv = v_out + (t * heads + head) * dim;
          for (int64_t d = 0; d < dim; ++d) {
            yk[d] = g[d] * k_last[d] + (1 - g[d]) * k_t[d];
            yv[d] = g[d] * v_last[d] + (1 - g[d]) * v_t[d];
          }
          k_last = yk;
          v_last = yv;
        }
      }
    };
    ForEachChunk(k, chunk_size, chunk);
  });
  return {k_average.to(v_in.scalar_type()), v_average.to(v_in.scalar_type())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> ScanBackward(
    const at::Tensor& gate_in, const at::Tensor& k_in, const at::Tensor& v_in,
    const at::Tensor& k_average_in, const at::Tensor& v_average_in,
    const at::Tensor& grad_k_average_in, const at::Tensor& grad_v_average_in,
    int64_t chunk_size) {
  CheckGatedChunkScanBackward(gate_in, k_in, v_in, k_average_in, v_average_in,
                              grad_k_average_in, grad_v_average_in, chunk_size);
  const at::Tensor gate = ToCompute(gate_in, v_in), k = ToCompute(k_in, v_in),
                   v = ToCompute(v_in, v_in),
                   k_average = ToCompute(k_average_in, v_in),
                   v_average = ToCompute(v_average_in, v_in),
                   grad_k_average = ToCompute(grad_k_average_in, v_in),
                   grad_v_average = ToCompute(grad_v_average_in, v_in);
  const at::Tensor grad_gate = at::empty(gate.sizes(), gate.options()),
                   grad_k = at::zeros(k.sizes(), k.options()),
                   grad_v = at::empty(v.sizes(), v.options());
  const int64_t heads = v.size(2), dim = v.size(3), groups = k.size(2);
  AT_DISPATCH_FLOATING_TYPES(v.scalar_type(), "gated_chunk_scan_backward", [&] {
    const auto* gate_data = gate.const_data_ptr<scalar_t>();
    const auto* k_data = k.const_data_ptr<scalar_t>();
    const auto* v_data = v.const_data_ptr<scalar_t>();
    const auto* yk_data = k_average.const_data_ptr<scalar_t>();
    const auto* yv_data = v_average.const_data_ptr<scalar_t>();
    const auto* dyk_data = grad_k_average.const_data_ptr<scalar_t>();
    const auto* dyv_data = grad_v_average.const_data_ptr<scalar_t>();
    auto* dg_data = grad_gate.mutable_data_ptr<scalar_t>();
    auto* dk_data = grad_k.mutable_data_ptr<scalar_t>();
    auto* dv_data = grad_v.mutable_data_ptr<scalar_t>();
    const auto chunk = [&](int64_t begin, int64_t tokens, int64_t group) {
      const std::vector<scalar_t> zeros(dim);
      // g_{t+1} a_{t+1}
      std::vector<scalar_t> carry_k(dim), carry_v(dim);
      for (int64_t head = group; head < heads; head += groups) {
        std::fill(carry_k.begin(), carry_k.end(), 0);
        std::fill(carry_v.begin(), carry_v.end(), 0);
        for (int64_t t = begin + tokens - 1; t >= begin; --t) {
          const int64_t at = (t * heads + head) * dim;
          const int64_t at_k = (t * groups + group) * dim;
          const int64_t before = at - heads * dim;
          const scalar_t* yk = t > begin ? yk_data + before : zeros.data();
          const scalar_t* yv = t > begin ? yv_data + before : zeros.data();
          for (int64_t d = 0; d < dim; ++d) {
            const scalar_t g = gate_data[at + d];
            const scalar_t ak = dyk_data[at + d] + carry_k[d];
            const scalar_t av = dyv_data[at + d] + carry_v[d];
            dk_data[at_k + d] += (1 - g) * ak;
            dv_data[at + d] = (1 - g) * av;
            dg_data[at + d] =
                (yk[d] - k_data[at_k + d]) * ak + (yv[d] - v_data[at + d]) * av;
            carry_k[d] = g * ak;
            carry_v[d] = g * av;
          }
        }
      }
    };
    ForEachChunk(k, chunk_size, chunk);
  });
  return {grad_gate.to(gate_in.scalar_type()), grad_k.to(k_in.scalar_type()),
          grad_v.to(v_in.scalar_type())};
}

void Step(const at::Tensor& gate, const at::Tensor& k, const at::Tensor& v,
          const at::Tensor& first, const at::Tensor& k_state,
          const at::Tensor& v_state) {
  CheckGatedChunkScanStep(gate, k, v, first, k_state, v_state);
  const at::Tensor g = gate.to(at::kFloat);
  const at::Tensor zero = at::zeros({}, g.options());
  const auto update = [&](const at::Tensor& x, const at::Tensor& state) {
    state.copy_(at::lerp(x.to(at::kFloat), at::where(first, zero, state), g));
  };
  const int64_t repeats = k.size(1) == 0 ? 0 : v.size(1) / k.size(1);
  update(k.repeat({1, repeats, 1}), k_state);
  update(v, v_state);
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("gated_chunk_scan", Scan);
  m.impl("gated_chunk_scan_backward", ScanBackward);
  m.impl("gated_chunk_scan_step", Step);
}

}  // namespace
}  // namespace repro
