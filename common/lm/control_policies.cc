#include "common/lm/control_policies.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Generator.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/lm/attention.h"
#include "common/lm/cache.h"
#include "common/lm/policy.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"

namespace repro::lm {
namespace {

class SelectionState : public AttentionState {
 public:
  // Without a generator: the largest logits.
  SelectionState(const ModelConfig& config, const CacheOptions& cache,
                 const SelectionOptions& options,
                 std::optional<at::Generator> generator)
      : options_(options), generator_(std::move(generator)) {
    TORCH_CHECK(options.sink >= 0 && options.recent >= 1 &&
                    options.budget >= options.sink + options.recent,
                "selection: budget ", options.budget, ", sink ", options.sink,
                ", recent ", options.recent,
                ": expected sink >= 0, recent >= 1, budget >= their sum");
    for (int64_t layer = 0; layer < config.num_layers; ++layer) {
      caches_.push_back(MakeContiguousCache(cache));
    }
  }

  at::Tensor Attend(const AttentionInput& input) override {
    LayerCache& cache = *caches_.at(input.layer);
    cache.Append(input.rope->Apply(input.k, input.position), input.v);
    const at::Tensor q = input.rope->Apply(input.q, input.position);
    const at::Tensor k = cache.Keys(), v = cache.Values();
    const int64_t keys = k.size(1), queries = q.size(1);
    if (keys <= options_.budget || (options_.dense_prompt && !prompt_done_)) {
      return DenseAttention(q, k, v);
    }
    const int64_t block = std::max<int64_t>(1, kMaxScores / (q.size(0) * keys));
    std::vector<at::Tensor> out;
    for (int64_t begin = 0; begin < queries; begin += block) {
      const int64_t count = std::min(block, queries - begin);
      const at::Tensor part = q.narrow(1, begin, count);
      const at::Tensor keep = Keep(part, k, keys - queries + begin);
      out.push_back(
          BiasedAttention(part, k, v,
                          at::zeros_like(keep, q.scalar_type())
                              .masked_fill_(keep.logical_not(), -INFINITY)));
    }
    return out.empty() ? at::empty_like(q) : at::cat(out, 1);
  }

  void PromptDone() override { prompt_done_ = true; }

  int64_t Bytes() const override {
    int64_t bytes = 0;
    for (const auto& cache : caches_) bytes += cache->Bytes();
    return bytes;
  }

 private:
  static constexpr int64_t kMaxScores = int64_t{1} << 24;

  // What each query, the first at `place`, sees: [num_heads, queries, keys].
  at::Tensor Keep(const at::Tensor& q, const at::Tensor& k, int64_t place) {
    const int64_t heads = q.size(0), queries = q.size(1), keys = k.size(1);
    const at::TensorOptions places = q.options().dtype(at::kLong);
    const at::Tensor key = at::arange(keys, places);
    const at::Tensor query =
        at::arange(place, place + queries, places).unsqueeze(1);
    const at::Tensor past = key <= query;
    const at::Tensor always = past.logical_and(
        (key < options_.sink).logical_or(key > query - options_.recent));
    at::Tensor scores;
    if (generator_) {
      scores = at::rand({heads, queries, keys}, generator_,
                        q.options().dtype(at::kFloat));
    } else {
      scores =
          at::matmul(
              q.reshape({k.size(0), heads / k.size(0) * queries, q.size(2)})
                  .to(at::kFloat),
              k.transpose(1, 2).to(at::kFloat))
              .view({heads, queries, keys});
    }
    scores.masked_fill_(past.logical_not().logical_or(always), -INFINITY);
    const auto [best, index] =
        at::topk(scores, options_.budget - options_.sink - options_.recent, -1);
    return at::zeros_like(scores, at::kBool)
        .scatter_(-1, index, best > -INFINITY)
        .logical_or(always);
  }

  SelectionOptions options_;
  std::optional<at::Generator> generator_;
  std::vector<std::unique_ptr<LayerCache>> caches_;
  bool prompt_done_ = false;
};

absl::StatusOr<SelectionOptions> ReadOptions(const PolicyOptions& from) {
  constexpr int64_t kMost = int64_t{1} << 30;
  SelectionOptions options;
  REPRO_ASSIGN_OR_RETURN(options.budget,
                         from.Int("budget", options.budget, 1, kMost));
  REPRO_ASSIGN_OR_RETURN(options.sink,
                         from.Int("sink", options.sink, 0, kMost));
  REPRO_ASSIGN_OR_RETURN(options.recent,
                         from.Int("recent", options.recent, 1, kMost));
  REPRO_ASSIGN_OR_RETURN(const int64_t dense_prompt,
                         from.Int("dense_prompt", 0, 0, 1));
  options.dense_prompt = dense_prompt == 1;
  if (options.budget < options.sink + options.recent) {
    return absl::InvalidArgumentError(absl::StrCat(
        "policy option budget=", options.budget,
        ": want at least sink + recent = ", options.sink + options.recent));
  }
  return options;
}

const std::vector<std::pair<std::string, std::string>>& OptionHelp() {
  static const auto* const help =
      new std::vector<std::pair<std::string, std::string>>{
          {"budget", "tokens that a query sees (256)"},
          {"sink", "of these the first ones (4)"},
          {"recent", "and the last ones (16)"},
          {"dense_prompt", "1: dense attention within the prompt (0)"}};
  return *help;
}

absl::StatusOr<StateFactory> ExactTopk(const LanguageModel& model,
                                       const PolicyOptions& from) {
  REPRO_ASSIGN_OR_RETURN(const SelectionOptions options, ReadOptions(from));
  return StateFactory([options, config = model.config(),
                       device = model.device(), dtype = model.dtype()] {
    return MakeExactTopkState(config, device, dtype, options);
  });
}

absl::StatusOr<StateFactory> Random(const LanguageModel& model,
                                    const PolicyOptions& from) {
  REPRO_ASSIGN_OR_RETURN(const SelectionOptions options, ReadOptions(from));
  REPRO_ASSIGN_OR_RETURN(const int64_t seed,
                         from.Int("seed", 0, 0, int64_t{1} << 62));
  // Each sequence has draws of its own.
  auto made = std::make_shared<std::atomic<uint64_t>>(0);
  return StateFactory([options, seed, made, config = model.config(),
                       device = model.device(), dtype = model.dtype()] {
    return MakeRandomState(config, device, dtype, options,
                           MakeGenerator(seed, (*made)++, device));
  });
}

std::vector<std::pair<std::string, std::string>> RandomHelp() {
  auto help = OptionHelp();
  help.emplace_back("seed", "of the draws (0)");
  return help;
}

const bool registered =
    RegisterPolicy({"exact_topk",
                    "a query sees the tokens with its largest logits: the "
                    "oracle of token selection",
                    OptionHelp(), ExactTopk}) &&
    RegisterPolicy({"random", "a query sees tokens drawn at random: a control",
                    RandomHelp(), Random});

}  // namespace

std::unique_ptr<AttentionState> MakeExactTopkState(
    const ModelConfig& config, c10::Device device, at::ScalarType dtype,
    const SelectionOptions& options) {
  return std::make_unique<SelectionState>(
      config, MakeCacheOptions(config, device, dtype), options, std::nullopt);
}

std::unique_ptr<AttentionState> MakeRandomState(const ModelConfig& config,
                                                c10::Device device,
                                                at::ScalarType dtype,
                                                const SelectionOptions& options,
                                                at::Generator generator) {
  return std::make_unique<SelectionState>(
      config, MakeCacheOptions(config, device, dtype), options,
      std::move(generator));
}

}  // namespace repro::lm
