#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/quantized_linear/quantized_linear_kernels.h"
#include "kernels/quantized_linear/quantized_linear_layout.h"

namespace repro {
namespace {

// Products that are worth waking a thread for (a few microseconds).
constexpr int64_t kThreadProducts = 1 << 18;

const QuantizedKernels& BestKernels() {
  static const QuantizedKernels& best = *SupportedQuantizedKernels().front();
  return best;
}

at::Tensor Forward(const at::Tensor& x, const at::Tensor& packed,
                   int64_t format, int64_t out_features, int64_t in_features,
                   const std::optional<at::Tensor>& bias) {
  const QuantLayout& layout = *FindQuantLayout(format);
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = out_features;
  at::Tensor y = at::empty(sizes, at::kFloat);
  if (y.numel() == 0) return y.to(x.scalar_type());
  const at::Tensor dense = x.to(at::kFloat).contiguous();
  const int64_t rows = y.numel() / out_features;
  const int64_t blocks = in_features / layout.block;
  const int64_t tiles = packed.size(0);
  const QuantizedKernels& kernels = BestKernels();
  const std::unique_ptr<uint8_t[]> rounded(
      new uint8_t[rows * QuantizedRowBytes(layout, blocks)]);
  const float* from = dense.const_data_ptr<float>();
  const int64_t groups = (rows + kernels.group_rows - 1) / kernels.group_rows;
  at::parallel_for(
      0, groups,
      std::max<int64_t>(1, (1 << 15) / (1 + in_features * kernels.group_rows)),
      [&](int64_t begin, int64_t end) {
        RoundQuantizedGroups(kernels, layout, from, rows, blocks, begin, end,
                             rounded.get());
      });
  const uint8_t* weight = packed.const_data_ptr<uint8_t>();
  float* to = y.mutable_data_ptr<float>();
  const int64_t tile_products = rows * kQuantTileRows * (1 + in_features);
  at::parallel_for(
      0, tiles, std::max<int64_t>(1, kThreadProducts / tile_products),
      [&](int64_t begin, int64_t end) {
        MultiplyQuantizedTiles(kernels, layout, rounded.get(), rows, weight,
                               blocks, begin, end, out_features, to);
      });
  if (bias.has_value()) y.add_(*bias);
  return y.to(x.scalar_type());
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("quantized_linear_forward", Forward);
}

}  // namespace
}  // namespace repro
