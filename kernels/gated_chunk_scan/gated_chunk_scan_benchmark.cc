#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumprod.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/gated_chunk_scan/gated_chunk_scan.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

// RAT's 1.3B layer: 16 heads of 128, two groups of k; a float32 gate.
constexpr int64_t kHeads = 16, kGroups = 2, kDim = 128;
constexpr double kWidth = kHeads * kDim;

using Scan = std::tuple<at::Tensor, at::Tensor> (*)(const at::Tensor&,
                                                    const at::Tensor&,
                                                    const at::Tensor&, int64_t);

// The recurrence over the places in a chunk, all chunks at once.
std::tuple<at::Tensor, at::Tensor> LibTorchSteps(const at::Tensor& gate,
                                                 const at::Tensor& k,
                                                 const at::Tensor& v,
                                                 int64_t chunk_size) {
  const auto chunks = [&](const at::Tensor& x) {
    return x.unflatten(1, {x.size(1) / chunk_size, chunk_size});
  };
  const at::Tensor g = chunks(gate);
  const auto scan = [&](const at::Tensor& x) {
    std::vector<at::Tensor> y;
    for (int64_t t = 0; t < chunk_size; ++t) {
      const at::Tensor g_t = g.select(2, t), x_t = x.select(2, t);
      y.push_back(t == 0 ? (1 - g_t) * x_t : at::lerp(x_t, y.back(), g_t));
    }
    return at::stack(y, 2).flatten(1, 2).to(v.scalar_type());
  };
  const auto wide = [&](const at::Tensor& x) {
    return chunks(x.to(at::kFloat));
  };
  return {scan(wide(k.repeat({1, 1, kHeads / kGroups, 1}))), scan(wide(v))};
}

struct Inputs {
  at::Tensor gate, k, v;
};

Inputs Make(at::IntArrayRef tokens, c10::Device device) {
  const auto options = at::TensorOptions(device);
  const auto sizes = [&](int64_t heads) {
    std::vector<int64_t> all = tokens.vec();
    all.insert(all.end(), {heads, kDim});
    return all;
  };
  // RAT's initial bias is the log of a place in the chunk: memory of its
  // length.
  return {at::sigmoid(at::randn(sizes(kHeads), options) + 2),
          at::randn(sizes(kGroups), options.dtype(at::kBFloat16)),
          at::randn(sizes(kHeads), options.dtype(at::kBFloat16))};
}

void RegisterScan(int64_t batch, int64_t seq_len, int64_t chunk_size,
                  const char* name, Scan scan) {
  BenchmarkCase c;
  c.shape = "B" + std::to_string(batch) + " T" + std::to_string(seq_len) +
            " H16 G2 D128 L" + std::to_string(chunk_size);
  c.implementation = name;
  const double tokens = static_cast<double>(batch) * seq_len;
  // gate 4, v 2, k 2 / 8 read, both averages written.
  c.op = "gated_chunk_scan forward";
  c.bytes = tokens * kWidth * (4 + 2 + 2. * kGroups / kHeads + 2 + 2);
  c.setup = [=](c10::Device device) {
    const Inputs in = Make({batch, seq_len}, device);
    return [=] { scan(in.gate, in.k, in.v, chunk_size); };
  };
  AddBenchmarkCase(c);
  // The same read, with both averages' gradients; gradients written.
  c.op = "gated_chunk_scan backward";
  c.bytes = tokens * kWidth * 2 * (4 + 2 + 2. * kGroups / kHeads) +
            tokens * kWidth * (2 + 2);
  c.setup = [=](c10::Device device) {
    const Inputs in = Make({batch, seq_len}, device);
    for (const at::Tensor& t : {in.gate, in.k, in.v}) t.requires_grad_();
    const auto [k, v] = scan(in.gate, in.k, in.v, chunk_size);
    const at::Tensor dk = at::randn(k.sizes(), k.options()),
                     dv = at::randn(v.sizes(), v.options());
    return [in, k = k, v = v, dk, dv] {
      torch::autograd::grad({k, v}, {in.gate, in.k, in.v}, {dk, dv},
                            /*retain_graph=*/true);
    };
  };
  AddBenchmarkCase(c);
}

void LibTorchStep(const at::Tensor& gate, const at::Tensor& k,
                  const at::Tensor& v, const at::Tensor& first,
                  const at::Tensor& k_state, const at::Tensor& v_state) {
  const at::Tensor g = at::where(first, 0, gate), rest = 1 - gate;
  k_state.mul_(g).addcmul_(rest, k.repeat({1, kHeads / kGroups, 1}));
  v_state.mul_(g).addcmul_(rest, v);
}

void RegisterStep(int64_t batch, const char* name,
                  decltype(&GatedChunkScanStep) step) {
  BenchmarkCase c;
  c.op = "gated_chunk_scan step";
  c.shape = "B" + std::to_string(batch) + " H16 G2 D128";
  c.implementation = name;
  // Two float32 states read and written.
  c.bytes = batch * kWidth * (4 + 2 + 2. * kGroups / kHeads + 4 * 4);
  c.setup = [=](c10::Device device) {
    const Inputs in = Make({batch}, device);
    const at::Tensor k_state = at::randn(in.gate.sizes(), in.gate.options()),
                     v_state = at::randn(in.gate.sizes(), in.gate.options());
    const at::Tensor first =
        at::scalar_tensor(false, at::TensorOptions(device).dtype(at::kBool));
    return [=] { step(in.gate, in.k, in.v, first, k_state, v_state); };
  };
  AddBenchmarkCase(c);
}

void Register() {
  // 2^18 tokens, as the paper times layers.
  for (const auto& [batch, seq_len] :
       {std::pair<int64_t, int64_t>{64, 4096}, {1, 262144}}) {
    for (const int64_t chunk_size : {int64_t{16}, int64_t{64}, seq_len}) {
      RegisterScan(batch, seq_len, chunk_size, "repro", GatedChunkScan);
      // Beyond, the steps are launches.
      if (chunk_size <= 64) {
        RegisterScan(batch, seq_len, chunk_size, "LibTorch steps",
                     LibTorchSteps);
      }
    }
  }
  for (const int64_t batch : {1, 16, 64, 256}) {
    RegisterStep(batch, "repro", GatedChunkScanStep);
    RegisterStep(batch, "LibTorch", LibTorchStep);
  }
}

REPRO_REGISTER_BENCHMARKS(Register);

}  // namespace
}  // namespace repro
