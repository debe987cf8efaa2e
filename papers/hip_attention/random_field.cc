#include "papers/hip_attention/random_field.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace repro::hip {

at::Tensor RandomWalkKeys(int64_t heads, int64_t tokens, int64_t head_dim,
                          double step, at::Generator generator) {
  TORCH_CHECK(step > 0, "random walk: step ", step);
  const at::Tensor keys =
      at::randn({heads, tokens, head_dim}, generator, at::kFloat);
  const double scale = step / std::sqrt(static_cast<double>(head_dim));
  float* x = keys.mutable_data_ptr<float>();
  for (int64_t row = 0; row < heads * tokens; ++row, x += head_dim) {
    const float* before =
        row % tokens == 0 || std::isinf(step) ? nullptr : x - head_dim;
    double square = 0;
    for (int64_t d = 0; d < head_dim; ++d) {
      if (before != nullptr) {
        x[d] = before[d] + static_cast<float>(scale) * x[d];
      }
      square += x[d] * x[d];
    }
    const float factor = static_cast<float>(1 / std::sqrt(square));
    for (int64_t d = 0; d < head_dim; ++d) x[d] *= factor;
  }
  return keys;
}

double TopkRecall(const at::Tensor& q, const at::Tensor& k,
                  HierarchicalTopkOptions options) {
  TORCH_CHECK(q.dim() == 3 && q.size(1) == 1, "top-k recall: q is ", q.sizes(),
              ", expected [num_heads, 1, head_dim]");
  options.query_block = options.query_stride = 1;
  options.window = 0;
  const auto [blocks, counts] = HierarchicalTopkMask(q, k, options);
  const int64_t heads = q.size(0), keys = k.size(1);
  const int64_t group = heads / k.size(0);
  const int64_t num_blocks = (keys + options.key_block - 1) / options.key_block;
  // One place more for the -1 of lists that are not full.
  const at::Tensor kept =
      at::zeros({heads, num_blocks + 1}, at::kBool)
          .scatter_(1,
                    blocks.squeeze(1).to(at::kLong).masked_fill(
                        blocks.squeeze(1) < 0, num_blocks),
                    true);
  const at::Tensor scores =
      at::matmul(q.view({k.size(0), group, -1}), k.transpose(1, 2))
          .view({heads, keys});
  const at::Tensor best =
      std::get<1>(at::topk(scores, std::min(options.top_k, keys), 1));
  return kept.gather(1, best.floor_divide(options.key_block))
      .to(at::kDouble)
      .mean()
      .item<double>();
}

}  // namespace repro::hip
