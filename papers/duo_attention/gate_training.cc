#include "papers/duo_attention/gate_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/lm/attention.h"
#include "common/lm/attention_state.h"
#include "common/train/optimizer.h"

namespace repro::duo {
namespace {

// The first pass: dense attention whose outputs are kept.
class FullPass : public lm::AttentionState {
 public:
  at::Tensor Attend(const lm::AttentionInput& input) override {
    outputs.push_back(lm::DenseAttention(
        input.rope->Apply(input.q, input.position),
        input.rope->Apply(input.k, input.position), input.v));
    return outputs.back();
  }
  int64_t Bytes() const override { return 0; }

  std::vector<at::Tensor> outputs;  // a layer: [num_heads, length, head_dim]
};

// The second: a mixture of the first one's output and streaming attention.
class GatedPass : public lm::AttentionState {
 public:
  // alpha: [layers, num_kv_heads], clamped; bias: [1, length, length] of 0 and
  // -inf, or undefined for a mask that is not in blocks.
  GatedPass(const std::vector<at::Tensor>& full, at::Tensor alpha,
            const StreamingMask& mask, at::Tensor bias)
      : full_(full),
        alpha_(std::move(alpha)),
        mask_(mask),
        bias_(std::move(bias)) {}

  at::Tensor Attend(const lm::AttentionInput& input) override {
    const at::Tensor q = input.rope->Apply(input.q, input.position);
    const at::Tensor k = input.rope->Apply(input.k, input.position);
    const at::Tensor streaming =
        bias_.defined()
            ? lm::BiasedAttention(q, k, input.v, bias_)
            : lm::SinkWindowAttention(q, k, input.v, mask_.sink, mask_.recent);
    const at::Tensor alpha = alpha_[input.layer]
                                 .repeat_interleave(q.size(0) / k.size(0))
                                 .view({q.size(0), 1, 1})
                                 .to(q.scalar_type());
    return alpha * full_[input.layer] + (1 - alpha) * streaming;
  }
  int64_t Bytes() const override { return 0; }

 private:
  const std::vector<at::Tensor>& full_;
  at::Tensor alpha_;
  StreamingMask mask_;
  at::Tensor bias_;
};

}  // namespace

at::Tensor MakeStreamingMask(const StreamingMask& mask, int64_t length) {
  TORCH_CHECK(mask.sink >= 0 && mask.recent > 0 && mask.block >= 0,
              "streaming mask: sink ", mask.sink, ", recent ", mask.recent,
              ", block ", mask.block);
  const at::Tensor key = at::arange(length, at::kLong);
  const at::Tensor query = key.unsqueeze(1);
  const at::Tensor causal = key <= query;
  if (mask.block == 0) {
    return causal.logical_and(
        (key < mask.sink).logical_or(key > query - mask.recent));
  }
  const auto blocks = [&](int64_t tokens) {
    return (tokens + mask.block - 1) / mask.block;
  };
  const at::Tensor key_block = key.floor_divide(mask.block);
  const at::Tensor query_block = query.floor_divide(mask.block);
  return causal.logical_and(
      (key_block < blocks(mask.sink))
          .logical_or(key_block > query_block - blocks(mask.recent)));
}

double RateFactor(int64_t step, int64_t steps) {
  const auto ramp = static_cast<double>(std::max<int64_t>(1, steps / 5));
  return std::min({1.0, std::max(static_cast<double>(step + 1) / ramp, 0.1),
                   std::max(static_cast<double>(steps - step) / ramp, 0.1)});
}

GateLoss ComputeGateLoss(const lm::LanguageModel& model,
                         const at::Tensor& alpha, const at::Tensor& tokens,
                         const at::Tensor& labelled,
                         const GateTraining& training) {
  const lm::ModelConfig& c = model.config();
  TORCH_CHECK(alpha.dim() == 2 && alpha.size(0) == c.num_layers &&
                  alpha.size(1) == c.num_kv_heads,
              "gates: ", alpha.sizes(), ", expected [", c.num_layers, ", ",
              c.num_kv_heads, "]");
  TORCH_CHECK(labelled.sizes() == tokens.sizes() && tokens.dim() == 1,
              "gates: tokens ", tokens.sizes(), ", labelled ",
              labelled.sizes());
  const at::Tensor rows = labelled.nonzero().squeeze(1).to(model.device());
  TORCH_CHECK(rows.numel() > 0, "gates: no token is labelled");
  FullPass full;
  at::Tensor wanted;
  {
    const at::NoGradGuard no_grad;
    wanted =
        model.Hidden({{tokens, &full, 0}}).index_select(0, rows).to(at::kFloat);
  }
  at::Tensor bias;
  if (training.mask.block > 0) {
    const at::Tensor mask =
        MakeStreamingMask(training.mask, tokens.size(0)).to(model.device());
    bias = at::zeros(mask.sizes(),
                     at::TensorOptions(model.device()).dtype(model.dtype()))
               .masked_fill_(mask.logical_not(), -INFINITY)
               .unsqueeze(0);
  }
  GatedPass gated(full.outputs, alpha.clamp(0, 1), training.mask, bias);
  const at::Tensor got =
      model.Hidden({{tokens, &gated, 0}}).index_select(0, rows).to(at::kFloat);
  const at::Tensor squared = (wanted - got).pow(2);
  GateLoss loss;
  loss.distillation = training.normalised ? squared.mean() : squared.sum();
  loss.regularisation =
      training.normalised ? alpha.abs().mean() : alpha.abs().sum();
  loss.total =
      loss.distillation + training.regularisation * loss.regularisation;
  return loss;
}

absl::StatusOr<at::Tensor> TrainGates(
    const lm::LanguageModel& model, const GateTraining& training,
    const std::function<GateSample(int64_t step)>& sample) {
  if (training.steps < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("gate training: ", training.steps, " steps"));
  }
  try {
    const at::AutoGradMode with_gradients(true);
    const lm::ModelConfig& c = model.config();
    at::Tensor alpha =
        at::full({c.num_layers, c.num_kv_heads}, training.initial,
                 at::TensorOptions(model.device()).dtype(at::kFloat))
            .set_requires_grad(true);
    const std::unique_ptr<Optimizer> optimizer =
        MakeAdamW({alpha}, {training.rate, 0.9, 0.999, 1e-8, 0});
    for (int64_t step = 0; step < training.steps; ++step) {
      if (training.cancelled && training.cancelled()) {
        return absl::CancelledError("gate training stopped");
      }
      {
        const at::NoGradGuard no_grad;
        alpha.clamp_(0, 1);
      }
      const GateSample one = sample(step);
      const GateLoss loss =
          ComputeGateLoss(model, alpha, one.tokens, one.labelled, training);
      optimizer->ZeroGradients();
      loss.total.backward();
      optimizer->SetRate(training.rate * RateFactor(step, training.steps));
      optimizer->Step();
      const bool last = step + 1 == training.steps;
      // Reading the loss waits for the device.
      if (last || step % 20 == 0) {
        const double value = loss.total.item<double>();
        if (!std::isfinite(value)) {
          return absl::InternalError(absl::StrCat(
              "gate training: the loss of step ", step, " is ", value));
        }
        if (training.progress) {
          training.progress(
              step + 1, training.steps,
              absl::StrFormat("gates: distillation %.4f, mean gate %.3f",
                              loss.distillation.item<double>(),
                              alpha.mean().item<double>()));
        }
      }
    }
    return alpha.detach().to(at::kCPU).to(at::kDouble);
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("gate training: ", error.what_without_backtrace()));
  }
}

}  // namespace repro::duo
