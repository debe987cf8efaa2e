#include "papers/lightning_attention_2/kernel_speed.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/count/memory.h"
#include "common/nn/softmax_backend.h"
#include "common/tensor/generator.h"
#include "kernels/lightning_attention/lightning_attention.h"

namespace repro::lightning_attention_2 {
namespace {

struct Inputs {
  Inputs(const BenchmarkShape& shape, c10::Device device, uint64_t seed)
      : generator(MakeGenerator(seed, /*stream=*/0, device)),
        slopes(RepositorySlopes(shape.heads).to(at::kFloat).to(device)) {
    const at::NoGradGuard no_grad;
    for (at::Tensor* x : {&q, &k, &v}) {
      *x = Normal(shape, device).requires_grad_();
    }
  }

  at::Tensor Normal(const BenchmarkShape& shape, c10::Device device) const {
    return at::randn(
        {shape.batch, shape.heads, shape.seq_len, shape.head_dim}, generator,
        at::TensorOptions(device).dtype(device.is_cuda() ? at::kBFloat16
                                                         : at::kFloat));
  }

  at::Generator generator;
  at::Tensor slopes, q, k, v;
};

at::Tensor Run(Attention attention, const Inputs& in) {
  if (attention == Attention::kLightning) {
    return std::get<0>(LightningAttention(in.q, in.k, in.v, in.slopes,
                                          std::nullopt, std::nullopt,
                                          /*output_final_state=*/false));
  }
  return at::scaled_dot_product_attention(in.q, in.k, in.v, std::nullopt,
                                          /*dropout_p=*/0, /*is_causal=*/true);
}

// Null for our own attention.
std::unique_ptr<SoftmaxBackend> Only(Attention attention) {
  if (attention == Attention::kLightning) return nullptr;
  return std::make_unique<SoftmaxBackend>(
      attention == Attention::kFlash ? at::SDPBackend::flash_attention
                                     : at::SDPBackend::cudnn_attention);
}

// The peak of `repetitions` repetitions, inputs included.
int64_t Peak(Attention attention, Phase phase, const BenchmarkShape& shape,
             c10::Device device, int repetitions) {
  return PeakBytes(device, [&] {
    const Inputs in(shape, device, /*seed=*/0);
    if (phase == Phase::kForward) {
      for (int i = 0; i < repetitions; ++i) Run(attention, in);
      return;
    }
    const at::Tensor out = Run(attention, in);
    const at::Tensor dout = in.Normal(shape, device);
    for (int i = 0; i < repetitions; ++i) {
      out.backward(dout, /*retain_graph=*/true);
    }
  });
}

}  // namespace

absl::StatusOr<Attention> ParseAttention(absl::string_view name) {
  if (name == "lightning") return Attention::kLightning;
  if (name == "flash") return Attention::kFlash;
  if (name == "cudnn") return Attention::kCudnn;
  return absl::InvalidArgumentError(absl::StrCat(
      "attention \"", name, "\": expected lightning, flash or cudnn"));
}

absl::StatusOr<Phase> ParsePhase(absl::string_view name) {
  if (name == "forward") return Phase::kForward;
  if (name == "backward") return Phase::kBackward;
  return absl::InvalidArgumentError(
      absl::StrCat("phase \"", name, "\": expected forward or backward"));
}

Timing MeasureKernel(Attention attention, Phase phase,
                     const BenchmarkShape& shape, c10::Device device,
                     uint64_t seed, const TimingOptions& options) {
  const std::unique_ptr<SoftmaxBackend> only = Only(attention);
  const Inputs in(shape, device, seed);
  if (phase == Phase::kForward) {
    return MeasureTime(
        device, [&] { Run(attention, in); }, options);
  }
  const at::Tensor out = Run(attention, in);
  const at::Tensor dout = in.Normal(shape, device);
  return MeasureTime(
      device,
      [&] {
        torch::autograd::grad({out}, {in.q, in.k, in.v}, {dout},
                              /*retain_graph=*/true);
      },
      options);
}

double MeasureMebibytes(Attention attention, Phase phase,
                        const BenchmarkShape& shape, c10::Device device) {
  constexpr int kRepetitions = 20;
  const std::unique_ptr<SoftmaxBackend> only = Only(attention);
  // Libraries make the workspaces that they keep.
  BenchmarkShape small = shape;
  small.seq_len = 128;
  Peak(attention, phase, small, device, 1);
  // All repetitions from the second on are alike.
  const double first = Peak(attention, phase, shape, device, 1);
  const double later = Peak(attention, phase, shape, device, 2);
  return (first + (kRepetitions - 1) * later) / kRepetitions / (1 << 20);
}

}  // namespace repro::lightning_attention_2
