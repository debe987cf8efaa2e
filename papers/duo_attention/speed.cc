#include "papers/duo_attention/speed.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randint.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/count/memory.h"
#include "common/count/timing.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "papers/duo_attention/decoder.h"

namespace repro::duo {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

at::ScalarType Dtype(c10::Device device) {
  return device.is_cuda() ? at::kBFloat16 : at::kFloat;
}

// layers 0: all.
const lm::LanguageModel& Model(const SpeedRun& run, const std::string& name,
                               int64_t layers) {
  ModelCache& cache = *run.models;
  lm::ModelConfig config = *ModelShape(name);
  if (layers > 0) config.num_layers = layers;
  if (!cache.model || cache.name != name || cache.layers != config.num_layers) {
    cache.model.reset();
    cache.model = lm::RandomModel(config, MakeGenerator(0, 0, run.device),
                                  run.device, Dtype(run.device));
    cache.name = name;
    cache.layers = config.num_layers;
  }
  return *cache.model;
}

double LayerBytesPerToken(const lm::ModelConfig& c, double element) {
  return 2 * element * static_cast<double>(c.num_kv_heads * c.head_dim);
}

// Bytes in use; on the CPU, which keeps no account, of the tensors that live.
double InUse(const SpeedRun& run, const lm::LanguageModel& model,
             const StaticDuoState& state) {
  if (run.device.is_cuda()) {
    return static_cast<double>(AllocatedBytes(run.device));
  }
  return static_cast<double>(model.WeightBytes() + state.Bytes());
}

at::Tensor RandomTokens(const lm::ModelConfig& c, int64_t count,
                        uint64_t seed) {
  return at::randint(0, c.vocab_size, {count}, MakeGenerator(seed),
                     at::TensorOptions(at::kLong));
}

// Whether tensors of so many bytes can be had at once; nothing is kept.
bool Fits(c10::Device device, const std::vector<int64_t>& sizes) {
  bool fits = true;
  try {
    std::vector<at::Tensor> all;
    for (const int64_t size : sizes) {
      all.push_back(
          at::empty({size}, at::TensorOptions(device).dtype(at::kByte)));
    }
  } catch (const c10::OutOfMemoryError&) {
    fits = false;
  }
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
  return fits;
}

// The model's first layer alone, on the same weights.
lm::LanguageModel FirstLayer(const lm::LanguageModel& model) {
  lm::ModelConfig config = model.config();
  config.num_layers = 1;
  lm::ModelWeights weights = model.weights();
  weights.layers.resize(1);
  return lm::LanguageModel(config, std::move(weights));
}

}  // namespace

absl::StatusOr<lm::ModelConfig> ModelShape(const std::string& name) {
  if (name == "llama2") return lm::ModelConfig::Llama2_7B();
  if (name == "llama3") return lm::ModelConfig::Llama3_8B();
  if (name == "tiny") {
    lm::ModelConfig c;
    c.vocab_size = 64;
    c.hidden_size = 32;
    c.intermediate_size = 48;
    c.num_layers = 4;
    c.num_heads = 4;
    c.num_kv_heads = 4;
    c.head_dim = 8;
    c.max_positions = 256;
    return c;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no model ", name, "; known: llama2, llama3"));
}

absl::StatusOr<SpeedCase> ParseSpeedCase(const std::string& name) {
  const std::vector<std::string> parts =
      absl::StrSplit(name, absl::ByAnyChar(":@x"));
  SpeedCase c;
  if (parts.size() < 3 || parts.size() > 4 || !ModelShape(parts[0]).ok() ||
      !absl::SimpleAtod(parts[1], &c.full) || !(c.full >= 0 && c.full <= 1) ||
      !absl::SimpleAtoi(parts[2], &c.tokens) || c.tokens < 1 ||
      (parts.size() == 4 &&
       (!absl::SimpleAtoi(parts[3], &c.chunk) || c.chunk < 1))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", name, "\": expected model:full@tokens or ...xchunk"));
  }
  c.model = parts[0];
  return c;
}

void MeasureDecode(const SpeedCase& c, const SpeedRun& run,
                   std::vector<double>* samples, std::string* scale) {
  const lm::LanguageModel& model = Model(run, c.model, 0);
  const lm::ModelConfig& config = model.config();
  DecoderOptions options;
  options.full_heads =
      EvenHeads(config.num_layers, config.num_kv_heads, c.full);
  options.capacity = c.tokens + 16;
  int64_t layers = config.num_layers;
  const double layer = c.full * LayerBytesPerToken(config, 2) *
                       static_cast<double>(options.capacity);
  while (layers > 2 && static_cast<double>(layers) * layer > 40 * kGiB) {
    layers /= 2;
  }
  options.cache_layers = layers;
  if (layers < config.num_layers) {
    *scale = absl::StrCat(layers, " of ", config.num_layers,
                          " layers have a cache of their own");
  }
  DuoDecoder decoder(model, options);
  decoder.FillCaches(MakeGenerator(1, 0, run.device));
  for (size_t i = 0; i < run.seeds.size(); ++i) {
    decoder.SetLength(c.tokens);
    TimingOptions timing;
    timing.warmup = 2;
    timing.repetitions = 8;
    samples->push_back(MeasureTime(
                           run.device, [&] { decoder.Step(); }, timing)
                           .Median());
  }
}

void MeasurePrefill(const SpeedCase& c, const SpeedRun& run,
                    std::vector<double>* samples, std::string* scale) {
  const int64_t all = ModelShape(c.model)->num_layers;
  const lm::LanguageModel& model = Model(run, c.model, 2);
  const lm::ModelConfig& config = model.config();
  StaticCacheOptions options;
  options.full_heads =
      EvenHeads(config.num_layers, config.num_kv_heads, c.full);
  options.capacity = c.tokens;
  options.chunk = c.chunk;
  StaticDuoState state(config, run.device, model.dtype(), options);
  for (const uint64_t seed : run.seeds) {
    const at::Tensor tokens =
        RandomTokens(config, c.tokens, seed).to(run.device);
    const auto read = [&](int64_t most) {
      state.SetLength(0);
      at::Tensor logits;
      for (int64_t first = 0; first < most; first += c.chunk) {
        const int64_t count = std::min(c.chunk, c.tokens - first);
        logits =
            model.Forward({{tokens.narrow(0, first, count), &state, first}});
      }
    };
    read(std::min(c.tokens, 2 * c.chunk));
    TimingOptions timing;
    timing.warmup = 0;
    timing.repetitions = 1;
    samples->push_back(MeasureTime(
                           run.device, [&] { read(c.tokens); }, timing)
                           .Median() /
                       1e3 * static_cast<double>(all) /
                       static_cast<double>(config.num_layers));
  }
  *scale = absl::StrCat(config.num_layers, " of ", all, " layers, time times ",
                        all / config.num_layers);
}

void MeasurePrefillMemory(const SpeedCase& c, const SpeedRun& run,
                          std::vector<double>* samples, std::string* scale) {
  const lm::LanguageModel& model = Model(run, c.model, 0);
  const lm::ModelConfig& config = model.config();
  const lm::LanguageModel first = FirstLayer(model);
  StaticCacheOptions options;
  options.full_heads =
      EvenHeads(config.num_layers, config.num_kv_heads, c.full);
  options.capacity = c.tokens;
  options.chunk = c.chunk;
  StaticDuoState state(config, run.device, model.dtype(), options);
  const int64_t before = std::max<int64_t>(0, c.tokens - c.chunk);
  for (const uint64_t seed : run.seeds) {
    const at::Tensor tokens =
        RandomTokens(config, c.tokens - before, seed).to(run.device);
    // Tables of positions are made once.
    state.SetLength(before);
    first.Forward({{tokens.narrow(0, 0, 1), &state, before}});
    state.SetLength(before);
    const double held = InUse(run, model, state);
    const auto peak = static_cast<double>(PeakBytes(run.device, [&] {
      first.Forward({{tokens, &state, before}});
    }));
    samples->push_back((held + peak) / kGiB);
  }
  *scale = "the last chunk through one layer; weights and caches of all";
}

void MeasureAllocated(const SpeedCase& c, const SpeedRun& run,
                      std::vector<double>* samples, std::string* scale) {
  const lm::LanguageModel& model = Model(run, c.model, 0);
  const lm::ModelConfig& config = model.config();
  for (const uint64_t seed : run.seeds) {
    StaticCacheOptions options;
    options.full_heads =
        EvenHeads(config.num_layers, config.num_kv_heads, c.full);
    options.capacity = c.tokens;
    StaticDuoState state(config, run.device, model.dtype(), options);
    state.SetLength(c.tokens - 1);
    const at::Tensor token = RandomTokens(config, 1, seed).to(run.device);
    const double held = InUse(run, model, state);
    const auto peak = static_cast<double>(PeakBytes(run.device, [&] {
      model.Forward({{token, &state, c.tokens - 1}});
    }));
    samples->push_back((held + peak) / kGiB);
  }
  scale->clear();
}

void MeasureCapacityReal(const SpeedCase& c, const SpeedRun& run,
                         std::vector<double>* samples, std::string* scale) {
  const lm::LanguageModel& model = Model(run, c.model, 0);
  const lm::ModelConfig& config = model.config();
  const std::vector<int64_t> heads =
      EvenHeads(config.num_layers, config.num_kv_heads, c.full);
  int64_t full_heads = 0;
  for (const int64_t full : heads) full_heads += full;
  // Of one token: two rows of half a byte an entry with 16-bit scale and zero.
  const int64_t token_bytes = full_heads * 2 * (config.head_dim / 2 + 4);
  for (const uint64_t seed : run.seeds) {
    int64_t tokens = c.tokens;
    // Room for the cache, tables of positions with what makes them, and 1 GiB
    // for everything else: an allocation that failed while a graph is recorded
    // would end the run.
    while (!Fits(run.device, {tokens * token_bytes,
                              tokens * 8 * config.head_dim + (1 << 30)})) {
      tokens = tokens * 98 / 100;
      TORCH_CHECK(tokens > 0, "capacity: not even a token fits");
    }
    DecoderOptions options;
    options.full_heads = heads;
    options.capacity = tokens;
    options.bits = 4;
    DuoDecoder decoder(model, options);
    decoder.FillCaches(MakeGenerator(seed, 1, run.device));
    decoder.SetLength(tokens - 1);
    decoder.Step();
    Synchronize(run.device);
    TORCH_CHECK(decoder.logits().isfinite().all().item<bool>(),
                "capacity: logits are not finite");
    samples->push_back(static_cast<double>(tokens) / 1e6);
  }
  *scale = "weights of 16 bits; steps of 2% down from what cannot fit";
}

}  // namespace repro::duo
