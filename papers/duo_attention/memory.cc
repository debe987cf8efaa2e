#include "papers/duo_attention/memory.h"

namespace repro::duo {
namespace {

// 16-bit keys and values of one token in one layer.
double LayerEntry(const lm::ModelConfig& c) {
  return 2.0 * 2.0 * static_cast<double>(c.num_kv_heads * c.head_dim);
}

}  // namespace

double StaticBytes(const lm::ModelConfig& config, const StaticMemory& memory,
                   int64_t tokens) {
  const double entries =
      memory.full * static_cast<double>(tokens) +
      (1 - memory.full) *
          static_cast<double>(memory.sink + memory.recent + memory.chunk);
  return 2.0 * static_cast<double>(NumParameters(config)) +
         static_cast<double>(config.num_layers) * LayerEntry(config) * entries;
}

double WeightBytes(const lm::ModelConfig& config, bool quantized) {
  const auto all = static_cast<double>(NumParameters(config));
  if (!quantized) return 2 * all;
  const double outside = (config.tie_embeddings ? 1.0 : 2.0) *
                         static_cast<double>(config.vocab_size) *
                         static_cast<double>(config.hidden_size);
  return (all - outside) + 2 * outside;
}

double BytesPerToken(const lm::ModelConfig& config,
                     const QuantizedMemory& memory) {
  const auto layers = static_cast<double>(config.num_layers);
  if (!memory.quantized) return memory.full * layers * LayerEntry(config);
  const double head = 2.0 * (static_cast<double>(config.head_dim) / 2 + 2 * 2);
  return memory.full * layers * static_cast<double>(config.num_kv_heads) *
             head +
         LayerEntry(config);
}

double CapacityBytes(const lm::ModelConfig& config,
                     const QuantizedMemory& memory, double tokens) {
  return WeightBytes(config, memory.quantized) +
         tokens * BytesPerToken(config, memory);
}

double Capacity(const lm::ModelConfig& config, const QuantizedMemory& memory,
                double bytes) {
  return (bytes - WeightBytes(config, memory.quantized)) /
         BytesPerToken(config, memory);
}

}  // namespace repro::duo
