#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

namespace repro {
namespace {

at::Tensor Groups(const at::Tensor& x, int64_t groups) {
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = groups;
  sizes.push_back(x.size(-1) / groups);
  return x.reshape(sizes);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Quantize(const at::Tensor& x,
                                                        int64_t bits,
                                                        int64_t group_size) {
  const double levels = (1 << bits) - 1;
  const at::Tensor groups = Groups(x.to(at::kFloat), x.size(-1) / group_size);
  const at::Tensor least = groups.amin({-1}), most = groups.amax({-1});
  const at::Tensor scale = ((most - least) / levels + 1e-8).to(at::kHalf);
  const at::Tensor zero = least.to(at::kHalf);
  const at::Tensor step = scale.to(at::kFloat).unsqueeze(-1);
  at::Tensor q =
      at::where(step > 0, (groups - zero.to(at::kFloat).unsqueeze(-1)) / step,
                0.0)
          .round()
          .clamp(0, levels)
          .to(at::kByte)
          .flatten(-2);
  if (bits == 4) {
    const at::Tensor pairs = Groups(q, q.size(-1) / 2);
    q = pairs.select(-1, 0).bitwise_left_shift(4).bitwise_or(
        pairs.select(-1, 1));
  }
  return {q.contiguous(), scale, zero};
}

at::Tensor Dequantize(const at::Tensor& packed, const at::Tensor& scale,
                      const at::Tensor& zero, int64_t head_dim,
                      at::ScalarType dtype) {
  const at::Tensor q =
      packed.size(-1) == head_dim
          ? packed
          : at::stack({packed.bitwise_right_shift(4), packed.bitwise_and(15)},
                      -1)
                .flatten(-2);
  return (Groups(q.to(at::kFloat), scale.size(-1)) *
              scale.to(at::kFloat).unsqueeze(-1) +
          zero.to(at::kFloat).unsqueeze(-1))
      .flatten(-2)
      .to(dtype);
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("kv_quantize_forward", Quantize);
  m.impl("kv_dequantize_forward", Dequantize);
}

}  // namespace
}  // namespace repro
