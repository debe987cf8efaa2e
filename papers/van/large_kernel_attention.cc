#include "papers/van/large_kernel_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/sigmoid.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/tensor/check.h"

namespace repro::van {
namespace {

std::vector<std::pair<std::string, LkaConfig>> NamedConfigs() {
  const LkaConfig full;
  LkaConfig no_dw = full, no_dw_d = full, no_1x1 = full, no_gate = full,
            add = full, sigmoid = full, dense = full, separable = full;
  no_dw.depthwise = false;
  no_dw_d.dilated = false;
  no_1x1.pointwise = false;
  no_gate.gate = Gate::kNone;
  add.gate = Gate::kSum;
  sigmoid.gate = Gate::kSigmoid;
  dense.dense = true;
  // With d = 1 step 2 is an undilated depth-wise 21 x 21 convolution.
  separable.dilation = 1;
  separable.depthwise = false;
  return {{"full", full},       {"no_dw", no_dw},     {"no_dw_d", no_dw_d},
          {"no_1x1", no_1x1},   {"no_gate", no_gate}, {"add", add},
          {"sigmoid", sigmoid}, {"dense", dense},     {"separable", separable}};
}

}  // namespace

absl::StatusOr<LkaConfig> LkaConfig::Named(absl::string_view name) {
  for (const auto& [known, config] : NamedConfigs()) {
    if (known == name) return config;
  }
  return absl::NotFoundError(absl::StrCat("no LKA variant \"", name,
                                          "\"; there are ",
                                          absl::StrJoin(Names(), ", ")));
}

std::vector<std::string> LkaConfig::Names() {
  std::vector<std::string> names;
  for (const auto& named : NamedConfigs()) names.push_back(named.first);
  return names;
}

int64_t LkaParameters(int64_t channels, int64_t kernel_size, int64_t dilation) {
  LkaConfig config;
  config.kernel_size = kernel_size;
  config.dilation = dilation;
  const int64_t dilated = config.dilated_size();
  const int64_t depthwise = config.depthwise_size();
  return channels * (dilated * dilated + depthwise * depthwise + channels);
}

SameConv2d::SameConv2d(int64_t channels, int64_t size, int64_t dilation,
                       int64_t groups, const Initializer& init)
    : weight_(AddParameter(
          "weight", init.KaimingNormalFanOut(
                        {channels, channels / groups, size, size}, groups))),
      bias_(AddParameter("bias", init.Zeros({channels}))),
      dilation_(dilation),
      groups_(groups) {}

at::Tensor SameConv2d::Forward(const at::Tensor& x) const {
  const int64_t zeros = dilation_ * (weight_.size(-1) - 1);
  return at::conv2d(zeros % 2 == 0 ? x : at::constant_pad_nd(x, {0, 1, 0, 1}),
                    weight_, bias_, /*stride=*/1, /*padding=*/zeros / 2,
                    dilation_, groups_);
}

LargeKernelAttention::LargeKernelAttention(int64_t channels,
                                           const LkaConfig& config,
                                           const Initializer& init)
    : channels_(channels), gate_(config.gate) {
  TORCH_CHECK(channels > 0 && config.kernel_size > 0 && config.dilation > 0,
              "LKA: channels, kernel_size and dilation are above 0, got ",
              channels, ", ", config.kernel_size, ", ", config.dilation);
  if (config.dense) {
    steps_.push_back(AddModule<SameConv2d>("conv_dense", channels,
                                           config.kernel_size, 1, 1, init));
    return;
  }
  if (config.depthwise) {
    steps_.push_back(AddModule<SameConv2d>(
        "conv0", channels, config.depthwise_size(), 1, channels, init));
  }
  if (config.dilated) {
    steps_.push_back(AddModule<SameConv2d>("conv_spatial", channels,
                                           config.dilated_size(),
                                           config.dilation, channels, init));
  }
  if (config.pointwise) {
    steps_.push_back(AddModule<SameConv2d>("conv1", channels, 1, 1, 1, init));
  }
}

at::Tensor LargeKernelAttention::AttentionMap(const at::Tensor& f) const {
  CheckShape(f, {"batch", channels_, "height", "width"}, "f");
  at::Tensor a = f;
  for (const SameConv2d* step : steps_) a = step->Forward(a);
  return a;
}

at::Tensor LargeKernelAttention::Forward(const at::Tensor& f) const {
  const at::Tensor a = AttentionMap(f);
  switch (gate_) {
    case Gate::kProduct:
      return a * f;
    case Gate::kNone:
      return a;
    case Gate::kSum:
      return a + f;
    case Gate::kSigmoid:
      return at::sigmoid(a) * f;
  }
  TORCH_CHECK(false, "unknown gate ", static_cast<int>(gate_));
}

}  // namespace repro::van
