// Bytes in closed form.
#ifndef REPRO_PAPERS_DUO_ATTENTION_MEMORY_H_
#define REPRO_PAPERS_DUO_ATTENTION_MEMORY_H_

#include <cstdint>

#include "common/lm/config.h"

namespace repro::duo {

// Figures 9 and 10: 16-bit weights and the authors' static cache. A fraction
// `full` of all heads keeps `tokens` entries, the others sink + recent + chunk,
// chunk being the longest piece of a prompt.
struct StaticMemory {
  double full = 1;
  int64_t sink = 128;
  int64_t recent = 256;
  int64_t chunk = 4096;
};
double StaticBytes(const lm::ModelConfig& config, const StaticMemory& memory,
                   int64_t tokens);

// Figure 12.
struct QuantizedMemory {
  double full = 1;
  bool quantized = true;  // 8-bit layers and 4-bit cache; false: 16 bits, dense
};
// Bytes of the weights: 8 bits a weight of the layers, embedding and head 16.
double WeightBytes(const lm::ModelConfig& config, bool quantized);
// Bytes that each token takes: 4 bits an entry and a scale and zero of 16 bits
// for each key and value of a full head, and one layer's keys and values of all
// heads in 16 bits, where the authors' code dequantises them.
double BytesPerToken(const lm::ModelConfig& config,
                     const QuantizedMemory& memory);
double CapacityBytes(const lm::ModelConfig& config,
                     const QuantizedMemory& memory, double tokens);
// The tokens that fit.
double Capacity(const lm::ModelConfig& config, const QuantizedMemory& memory,
                double bytes);

}  // namespace repro::duo

#endif  // REPRO_PAPERS_DUO_ATTENTION_MEMORY_H_
