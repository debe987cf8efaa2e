#include "papers/based/speed.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/count/parameters.h"
#include "common/count/timing.h"
#include "common/nn/initializer.h"
#include "common/nn/llama.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "kernels/graph/graph.h"
#include "kernels/taylor_linear_attention/taylor_linear_attention.h"
#include "papers/based/based_model.h"

namespace repro::based {
namespace {

struct Named {
  bool is_based = false;
  BasedConfig based;
  LlamaConfig attention;
};

absl::StatusOr<Named> FindModel(absl::string_view name) {
  Named named;
  if (name == "based_360m" || name == "based_1.3b") {
    named.is_based = true;
    named.based = name == "based_360m" ? BasedConfig::Size360M()
                                       : BasedConfig::Size1300M();
  } else if (name == "based_tiny") {
    named.is_based = true;
    named.based.vocab_size = 19;
    named.based.dim = 32;
    named.based.num_layers = 3;
    named.based.linear_layers = {1};
    named.based.sliding_layers = {2};
    named.based.num_heads = 2;
    named.based.window = 5;
  } else if (name == "attention_360m") {
    named.attention = Attention360M();
  } else if (name == "attention_1.3b") {
    named.attention = Attention1300M();
  } else if (name == "attention_tiny") {
    named.attention.vocab_size = 19;
    named.attention.dim = 32;
    named.attention.num_layers = 2;
    named.attention.num_heads = 2;
    named.attention.ffn_dim = 32;
    named.attention.tie_embeddings = true;
  } else {
    return absl::NotFoundError(absl::StrCat("no model is called '", name, "'"));
  }
  return named;
}

// One sequence batch of a model: its step, and what starts it anew.
struct Decoder {
  std::function<at::Tensor(const at::Tensor&)> step;     // [batch] -> logits
  std::function<at::Tensor(const at::Tensor&)> prefill;  // [batch, seq_len]
  std::function<void()> reset;
};

Decoder Decode(const BasedModel& model, int64_t batch, int64_t /*capacity*/) {
  const auto state = std::make_shared<BasedState>(model.MakeState(batch));
  return {
      [&model, state](const at::Tensor& t) {
        return model.Step(t, state.get());
      },
      [&model, state](const at::Tensor& t) {
        return model.Prefill(t, state.get());
      },
      [state] {
        state->position.zero_();
        for (LayerState& layer : state->layers) {
          for (at::Tensor* x : {&layer.sums.kv, &layer.sums.k, &layer.inputs}) {
            if (x->defined()) x->zero_();
          }
        }
      }};
}

Decoder Decode(const Llama& model, int64_t batch, int64_t capacity) {
  const auto cache = std::make_shared<LlamaCache>(
      model.MakeCache(batch, capacity, /*device_length=*/true));
  return {[&model, cache](const at::Tensor& t) {
            return model.Step(t, cache.get());
          },
          [&model, cache](const at::Tensor& t) {
            cache->length = 0;
            return model.Prefill(t, cache.get());
          },
          [cache] {
            cache->length = 0;
            cache->position.zero_();
          }};
}

template <typename Model>
ModelSpeed Measure(const Model& model, int64_t vocab_size,
                   const SpeedOptions& options, c10::Device device,
                   uint64_t seed) {
  at::NoGradGuard no_grad;
  const at::TensorOptions integers = at::TensorOptions(device).dtype(at::kLong);
  ModelSpeed speed;
  if (options.new_tokens > 0) {
    constexpr int kWarmup = 3;
    const Decoder decoder =
        Decode(model, options.batch, options.new_tokens + kWarmup + 1);
    at::Tensor token = at::randint(vocab_size, {options.batch},
                                   MakeGenerator(seed, 1, device), integers);
    CapturedGraph step(
        device, [&] { token.copy_(decoder.step(token).argmax(-1)); }, kWarmup);
    TimingOptions once;
    once.warmup = 0;
    once.repetitions = 1;
    once.before_each = decoder.reset;
    speed.generated_per_second =
        MeasureTime(
            device,
            [&] {
              for (int64_t i = 0; i < options.new_tokens; ++i) step.Replay();
            },
            once)
            .PerSecond(static_cast<double>(options.batch * options.new_tokens));
  }
  if (options.prefill_tokens > 0) {
    const Decoder decoder =
        Decode(model, options.prefill_batch, options.prefill_tokens);
    const at::Tensor prompt =
        at::randint(vocab_size, {options.prefill_batch, options.prefill_tokens},
                    MakeGenerator(seed, 2, device), integers);
    TimingOptions timing;
    timing.repetitions = options.repetitions;
    speed.prefilled_per_second =
        MeasureTime(
            device, [&] { decoder.prefill(prompt); }, timing)
            .PerSecond(static_cast<double>(options.prefill_batch *
                                           options.prefill_tokens));
  }
  return speed;
}

}  // namespace

absl::StatusOr<ModelSpeed> MeasureModelSpeed(absl::string_view model,
                                             const SpeedOptions& options,
                                             c10::Device device,
                                             uint64_t seed) {
  REPRO_ASSIGN_OR_RETURN(const Named named, FindModel(model));
  const Initializer init(MakeGenerator(seed, 0, device),
                         at::TensorOptions(device).dtype(
                             device.is_cuda() ? at::kBFloat16 : at::kFloat));
  if (named.is_based) {
    return Measure(BasedModel(named.based, init), named.based.vocab_size,
                   options, device, seed);
  }
  return Measure(Llama(named.attention, init), named.attention.vocab_size,
                 options, device, seed);
}

absl::StatusOr<double> BytesPerStep(absl::string_view model, int64_t batch,
                                    int64_t new_tokens) {
  REPRO_ASSIGN_OR_RETURN(const Named named, FindModel(model));
  const double mean_past = (static_cast<double>(new_tokens) - 1) / 2;
  if (!named.is_based) {
    const LlamaConfig& c = named.attention;
    return 2.0 * CountParameters(Llama(c, Initializer::Meta())) +
           2.0 * 2 * c.num_layers * c.dim * mean_past * batch;
  }
  const BasedModel based(named.based, Initializer::Meta());
  double bytes = 2.0 * CountParameters(based);
  for (const LayerState& layer : based.MakeState(batch).layers) {
    if (layer.sums.kv.defined()) {
      bytes += 2 * 4.0 * (layer.sums.kv.numel() + layer.sums.k.numel());
    }
    if (layer.keys.defined()) {
      // Full for most of a long run; an upper bound before that.
      bytes += 2.0 * (layer.keys.numel() + layer.values.numel());
    }
    if (layer.inputs.defined()) bytes += 2 * 2.0 * layer.inputs.numel();
  }
  return bytes;
}

OperatorTimes MeasureOperators(int64_t batch, int64_t seq_len,
                               c10::Device device, uint64_t seed) {
  at::NoGradGuard no_grad;
  const at::TensorOptions options = at::TensorOptions(device).dtype(
      device.is_cuda() ? at::kBFloat16 : at::kFloat);
  at::Generator random = MakeGenerator(seed, 0, device);
  const auto draw = [&](int64_t dim) {
    return at::randn({batch, 16, seq_len, dim}, random, options);
  };
  TimingOptions timing;
  timing.warmup = 2;
  timing.repetitions = 10;
  timing.max_seconds = 1;
  timing.flush_cache = true;
  OperatorTimes times;
  const at::Tensor v = draw(64);
  {
    const at::Tensor q = draw(16), k = draw(16);
    times.taylor =
        MeasureTime(
            device,
            [&] { TaylorLinearAttention(q, k, v, /*normalize=*/false); },
            timing)
            .Median();
  }
  const at::Tensor q = draw(64), k = draw(64);
  times.flash = MeasureTime(
                    device,
                    [&] {
                      if (device.is_cuda()) {
                        at::_scaled_dot_product_flash_attention(
                            q, k, v, /*dropout_p=*/0.0, /*is_causal=*/true);
                      } else {
                        at::scaled_dot_product_attention(q, k, v, {}, 0.0,
                                                         /*is_causal=*/true);
                      }
                    },
                    timing)
                    .Median();
  return times;
}

}  // namespace repro::based
