// Time and memory at the paper's shapes with random weights.
#ifndef REPRO_PAPERS_DUO_ATTENTION_SPEED_H_
#define REPRO_PAPERS_DUO_ATTENTION_SPEED_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/config.h"
#include "common/lm/model.h"

namespace repro::duo {

// "llama2", "llama3"; "tiny", a model for tests.
absl::StatusOr<lm::ModelConfig> ModelShape(const std::string& name);

struct SpeedCase {
  std::string model;
  double full = 1;       // the share of full heads
  int64_t tokens = 0;    // context
  int64_t chunk = 4096;  // of prompts
};
// "llama2:0.25@60000" or "llama2:0.25@100000x10000" with a chunk.
absl::StatusOr<SpeedCase> ParseSpeedCase(const std::string& name);

// One random model at a time, so that cases of one model share it.
struct ModelCache {
  std::string name;
  int64_t layers = 0;
  std::unique_ptr<lm::LanguageModel> model;
};

struct SpeedRun {
  c10::Device device;
  std::vector<uint64_t> seeds;
  std::shared_ptr<ModelCache> models;
};

// Each appends one value a seed and says in `scale` what was made smaller.

// Milliseconds of a token of greedy decoding after `tokens` tokens, the median
// of 8 steps of a captured graph. Layers share caches where all together would
// take more than 40 GiB: what is read and computed stays the same.
void MeasureDecode(const SpeedCase& c, const SpeedRun& run,
                   std::vector<double>* samples, std::string* scale);

// Seconds to read a prompt of `tokens` in chunks: of a model with 2 layers,
// times layers / 2.
void MeasurePrefill(const SpeedCase& c, const SpeedRun& run,
                    std::vector<double>* samples, std::string* scale);

// Peak GiB: all weights and caches, and the activations of the last chunk.
void MeasurePrefillMemory(const SpeedCase& c, const SpeedRun& run,
                          std::vector<double>* samples, std::string* scale);

// GiB in use, by the allocator, of a step of decoding after `tokens` tokens
// with the authors' static cache.
void MeasureAllocated(const SpeedCase& c, const SpeedRun& run,
                      std::vector<double>* samples, std::string* scale);

// Millions of tokens that a 4-bit cache holds beside 16-bit weights when the
// device's memory is full, verified by a step of decoding after them; c.tokens
// limits it.
void MeasureCapacityReal(const SpeedCase& c, const SpeedRun& run,
                         std::vector<double>* samples, std::string* scale);

}  // namespace repro::duo

#endif  // REPRO_PAPERS_DUO_ATTENTION_SPEED_H_
