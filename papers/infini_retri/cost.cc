#include "papers/infini_retri/cost.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randint.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "common/count/memory.h"
#include "common/count/timing.h"
#include "common/lm/dense_state.h"
#include "common/tensor/generator.h"

namespace repro::infini_retri {
namespace {

std::vector<int32_t> RandomTokens(const lm::LanguageModel& model, int64_t count,
                                  at::Generator generator) {
  const at::Tensor tokens = at::randint(model.config().vocab_size, {count},
                                        std::move(generator), at::kLong);
  const int64_t* first = tokens.const_data_ptr<int64_t>();
  return {first, first + count};
}

void Read(const lm::LanguageModel& model, int64_t tokens,
          const CostOptions& options, uint64_t seed) {
  at::Generator generator = MakeGenerator(seed);
  Retriever retriever(
      &model, {{}, {}, RandomTokens(model, options.question, generator)},
      options.retriever);
  std::vector<TokenSentence> memory;
  for (int64_t done = 0; done < tokens; done += options.chunk_size) {
    std::vector<TokenSentence> context = std::move(memory);
    const int64_t chunk = std::min(options.chunk_size, tokens - done);
    const std::vector<int32_t> more = RandomTokens(model, chunk, generator);
    for (int64_t at = 0; at < chunk; at += options.sentence) {
      context.emplace_back(
          more.begin() + at,
          more.begin() + std::min(at + options.sentence, chunk));
    }
    const absl::StatusOr<std::vector<int64_t>> kept = retriever.Select(context);
    TORCH_CHECK(kept.ok(), kept.status().ToString());
    memory.clear();
    for (const int64_t i : *kept) memory.push_back(std::move(context[i]));
  }
}

void Prefill(const lm::LanguageModel& model, int64_t tokens,
             const CostOptions& options, uint64_t seed) {
  const at::NoGradGuard no_grad;
  at::Generator generator = MakeGenerator(seed);
  const auto state =
      lm::MakeDenseState(model.config(), model.device(), model.dtype());
  for (int64_t done = 0; done < tokens; done += options.dense_chunk) {
    model.Hidden({{at::randint(model.config().vocab_size,
                               {std::min(options.dense_chunk, tokens - done)},
                               generator, at::kLong),
                   state.get(), done}});
  }
}

// The first call of a length takes longer: the allocator asks for memory.
Cost Measure(const lm::LanguageModel& model,
             const std::function<void()>& read) {
  TimingOptions timing;
  timing.warmup = 0;
  timing.repetitions = 3;
  Cost cost;
  cost.peak_bytes = PeakBytes(model.device(), read);
  cost.seconds = MeasureTime(model.device(), read, timing).Median() / 1e3;
  return cost;
}

}  // namespace

lm::ModelConfig Qwen25HalfBillion() {
  lm::ModelConfig config;
  config.architecture = "qwen2";
  config.vocab_size = 151936;
  config.hidden_size = 896;
  config.intermediate_size = 4864;
  config.num_layers = 24;
  config.num_heads = 14;
  config.num_kv_heads = 2;
  config.head_dim = 64;
  config.rms_norm_eps = 1e-6;
  config.rope_theta = 1e6;
  config.max_positions = 32768;
  config.tie_embeddings = true;
  config.attention_bias = true;
  return config;
}

Cost MeasureRetrievalCost(const lm::LanguageModel& model, int64_t tokens,
                          const CostOptions& options, uint64_t seed) {
  TORCH_CHECK(tokens >= 1 && options.chunk_size >= 1 && options.sentence >= 1,
              "retrieval cost: ", tokens, " tokens in chunks of ",
              options.chunk_size, " and sentences of ", options.sentence);
  return Measure(model, [&] { Read(model, tokens, options, seed); });
}

Cost MeasureDenseCost(const lm::LanguageModel& model, int64_t tokens,
                      const CostOptions& options, uint64_t seed) {
  TORCH_CHECK(tokens >= 1 && options.dense_chunk >= 1, "dense cost: ", tokens,
              " tokens in chunks of ", options.dense_chunk);
  return Measure(model, [&] { Prefill(model, tokens, options, seed); });
}

}  // namespace repro::infini_retri
