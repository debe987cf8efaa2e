// Speed of generation with random weights, for TNL and for models with a cache
// of keys and values.
#ifndef REPRO_PAPERS_LIGHTNING_ATTENTION_GENERATION_H_
#define REPRO_PAPERS_LIGHTNING_ATTENTION_GENERATION_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::lightning_attention {

// A model and what it remembers, as a generation loop sees it.
class TextGenerator {
 public:
  virtual ~TextGenerator() = default;

  // Bytes of all weights; of what is kept for one sequence of `tokens`.
  virtual double WeightBytes() const = 0;
  virtual double BytesPerSequence(int64_t tokens) const = 0;

  // Memory for `batch` sequences of up to `tokens` each, filled with random
  // values: what they are does not matter to the time, zeros might.
  virtual void Allocate(int64_t batch, int64_t tokens, uint64_t seed) = 0;
  // Takes in `tokens` random tokens of the sequences 0 ... batch - 1.
  virtual void Prefill(int64_t batch, int64_t tokens, uint64_t seed) = 0;
  // From now on `tokens` tokens count as seen.
  virtual void SetLength(int64_t tokens) = 0;
  // One token for every sequence, the likeliest one after the last.
  virtual void Step() = 0;
};

// "tnl", "llama" (also LLaMA2), "baichuan", "baichuan2", "pythia", "chatglm":
// about 7B parameters; "tnl_385m", "llama_385m": 0.4B; "tnl_tiny", "llama_tiny"
// for tests. Weights are bfloat16 on CUDA, float32 on the CPU. NotFound:
// another name.
absl::StatusOr<std::unique_ptr<TextGenerator>> MakeTextGenerator(
    absl::string_view model, c10::Device device, uint64_t seed);

struct ThroughputOptions {
  int64_t prompt_tokens = 512;
  int64_t new_tokens = 1024;
  double memory_bytes = 70.0 * (int64_t{1} << 30);  // weights and sequences
  double reserve_bytes = 2.0 * (int64_t{1} << 30);  // of it, for activations
  int64_t max_batch = 1 << 20;
  int64_t prefill_batch = 16;  // sequences taken in together
  int64_t positions = 16;      // at which steps are timed
  int64_t steps = 2;           // timed at each
};

// The most sequences that the memory holds, at least 1.
int64_t FillingBatch(const TextGenerator& generator,
                     const ThroughputOptions& options);

// batch * new_tokens / seconds. The seconds are those of the prompts (one piece
// of prefill_batch timed, times the number of pieces) and of new_tokens steps
// (timed at the middle of each of `positions` equal parts). Call Allocate
// first.
double TokensPerSecond(TextGenerator& generator, int64_t batch,
                       const ThroughputOptions& options, c10::Device device,
                       uint64_t seed);

// The median time of `steps` steps after `length` tokens; room for 3 more that
// warm up.
double StepMilliseconds(TextGenerator& generator, int64_t length, int64_t steps,
                        c10::Device device);

}  // namespace repro::lightning_attention

#endif  // REPRO_PAPERS_LIGHTNING_ATTENTION_GENERATION_H_
