#include "papers/rat/speed.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/nn/softmax_backend.h"
#include "common/tensor/generator.h"
#include "kernels/graph/graph.h"

namespace repro::rat {
namespace {

at::TensorOptions Activations(c10::Device device) {
  return at::TensorOptions(device).dtype(device.is_cuda() ? at::kBFloat16
                                                          : at::kFloat);
}

void ReleaseMemory(c10::Device device) {
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
}

// What the values are does not matter to the time; zeros might.
void FillRandom(MixerCache* cache, at::Generator random) {
  for (at::Tensor* t :
       {&cache->k, &cache->v, &cache->k_state, &cache->v_state}) {
    if (t->defined()) t->normal_(0, 1, random);
  }
}

Timing TimeGeneration(const MixerLayer& layer, const RatConfig& config,
                      int64_t batch, int64_t length, c10::Device device,
                      at::Generator random, const TimingOptions& options) {
  const at::NoGradGuard no_grad;
  RatCache cache = MakeEmptyRatCache(config, length, Activations(device));
  cache.layers.push_back(layer.MakeCache(batch, length, Activations(device)));
  FillRandom(&cache.layers[0], random);
  cache.position.fill_(length - 1);
  const at::Tensor x =
      at::randn({batch, config.dim}, random, Activations(device));
  at::Tensor out;
  CapturedGraph step(device, [&] {
    out = layer.Step(x, MakeStepPosition(config, cache), &cache.layers[0]);
  });
  return MeasureTime(
      device, [&] { step.Replay(); }, options);
}

}  // namespace

absl::StatusOr<LayerTask> ParseLayerTask(absl::string_view name) {
  if (name == "training") return LayerTask::kTraining;
  if (name == "prefill") return LayerTask::kPrefill;
  if (name == "generation") return LayerTask::kGeneration;
  return absl::InvalidArgumentError(absl::StrCat(
      "task \"", name, "\": expected training, prefill or generation"));
}

Timing TimeLayer(LayerTask task, Mixer mixer, const RatConfig& config,
                 int64_t batch, int64_t length, c10::Device device,
                 uint64_t seed, const TimingOptions& options) {
  ReleaseMemory(device);
  at::Generator random = MakeGenerator(seed, 0, device);
  const at::TensorOptions activations = Activations(device);
  const std::unique_ptr<MixerLayer> layer =
      MakeMixerLayer(mixer, config,
                     Initializer(random, task == LayerTask::kTraining
                                             ? activations.dtype(at::kFloat)
                                             : activations));
  if (task == LayerTask::kGeneration) {
    return TimeGeneration(*layer, config, batch, length, device, random,
                          options);
  }
  std::optional<SoftmaxBackend> flash_only;
  if (device.is_cuda()) flash_only.emplace(at::SDPBackend::flash_attention);
  const at::Tensor x =
      at::randn({batch, length, config.dim}, random, activations).mul_(0.02);
  const RatPositions positions = MakeRatPositions(config, length, activations);
  TimingOptions timing = options;
  if (task == LayerTask::kPrefill) {
    const at::NoGradGuard no_grad;
    MixerCache cache = layer->MakeCache(batch, length, activations);
    return MeasureTime(
        device, [&] { layer->Prefill(x, positions, &cache); }, timing);
  }
  timing.before_each = [&] {
    for (at::Tensor& p : layer->Parameters()) p.mutable_grad().reset();
  };
  return MeasureTime(
      device, [&] { layer->Forward(x, positions).mean().backward(); }, timing);
}

Throughput MeasureThroughput(const RatConfig& config,
                             const ThroughputOptions& options,
                             c10::Device device, uint64_t seed,
                             int repetitions) {
  ReleaseMemory(device);
  const at::NoGradGuard no_grad;
  at::Generator random = MakeGenerator(seed, 0, device);
  const RatModel model(config, Initializer(random, Activations(device)));
  ReleaseMemory(device);
  const int64_t capacity = options.prompt_tokens + options.new_tokens;
  Throughput result;
  result.batch = options.batch;
  if (result.batch == 0) {
    TORCH_CHECK(device.is_cuda(),
                "throughput: give the batch for the CPU, whose memory is the "
                "other programs' too");
    const int64_t free =
        static_cast<int64_t>(c10::getDeviceAllocator(device.type())
                                 ->getMemoryInfo(device.index())
                                 .first);
    result.batch = (free - options.reserved_bytes) /
                   model.MakeCache(1, capacity).NumBytes();
    ReleaseMemory(device);
  }
  TORCH_CHECK(result.batch > 0, "throughput: no sequence of ", capacity,
              " tokens fits beside the model");
  RatCache cache = model.MakeCache(result.batch, capacity);
  for (MixerCache& layer : cache.layers) FillRandom(&layer, random);
  const at::Tensor token =
      at::zeros({result.batch}, at::TensorOptions(device).dtype(at::kLong));
  cache.position.fill_(options.prompt_tokens);
  CapturedGraph step(
      device, [&] { token.copy_(model.Step(token, &cache).argmax(-1)); });
  TimingOptions timing;
  timing.warmup = 1;
  timing.repetitions = static_cast<int>(options.steps);
  for (int r = 0; r < repetitions; ++r) {
    double milliseconds = 0;
    for (int64_t i = 0; i < options.positions; ++i) {
      // The middle of each of `positions` equal parts, with room for the steps.
      const int64_t middle =
          options.prompt_tokens +
          (2 * i + 1) * options.new_tokens / (2 * options.positions);
      cache.position.fill_(
          std::min(middle, capacity - options.steps - timing.warmup));
      milliseconds += MeasureTime(
                          device, [&] { step.Replay(); }, timing)
                          .Median() /
                      options.positions;
    }
    result.tokens_per_second.push_back(1e3 * result.batch / milliseconds);
  }
  return result;
}

}  // namespace repro::rat
