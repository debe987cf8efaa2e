#include "common/lm/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>

#include <optional>
#include <utility>

#include "common/tensor/check.h"
#include "kernels/quantized_linear/quantized_linear.h"

namespace repro::lm {

at::Tensor LinearWeight::Apply(const at::Tensor& x) const {
  TORCH_CHECK(x.size(-1) == in_features, "linear: x ", x.sizes(),
              " does not fit a weight of [", out_features, ", ", in_features,
              "]");
  if (!parts.empty()) {
    std::vector<at::Tensor> y;
    y.reserve(parts.size());
    for (const LinearWeight& part : parts) y.push_back(part.Apply(x));
    at::Tensor joined = at::cat(y, -1);
    return bias.defined() ? joined + bias : joined;
  }
  const auto optional_bias =
      bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  return packed.defined() ? QuantizedLinear(x, packed, format, out_features,
                                            in_features, optional_bias)
                          : at::linear(x, dense, optional_bias);
}

at::Tensor LinearWeight::AddTo(at::Tensor sum, const at::Tensor& x) const {
  if (at::GradMode::is_enabled()) return sum + Apply(x);
  if (sum.is_cuda() && dense.defined() && !bias.defined()) {
    return sum.addmm_(x, dense.t());
  }
  return sum.add_(Apply(x));
}

int64_t LinearWeight::Bytes() const {
  int64_t bytes = 0;
  for (const at::Tensor* t : {&dense, &packed, &bias}) {
    if (t->defined()) bytes += static_cast<int64_t>(t->nbytes());
  }
  for (const LinearWeight& part : parts) bytes += part.Bytes();
  return bytes;
}

LinearWeight DenseWeight(at::Tensor weight, at::Tensor bias) {
  CheckShape(weight, {"out", "in"}, "weight");
  if (bias.defined()) CheckShape(bias, {weight.size(0)}, "bias");
  LinearWeight out;
  out.out_features = weight.size(0);
  out.in_features = weight.size(1);
  out.dense = std::move(weight);
  out.bias = std::move(bias);
  return out;
}

LinearWeight PackedWeight(const at::Tensor& blocks, int64_t format,
                          int64_t out_features, int64_t in_features) {
  LinearWeight out;
  out.packed = PackQuantized(blocks, format, out_features, in_features);
  out.format = format;
  out.out_features = out_features;
  out.in_features = in_features;
  return out;
}

}  // namespace repro::lm
