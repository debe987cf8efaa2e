// `repro generate --policy duo`.
#include "common/lm/policy.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "papers/duo_attention/duo_attention.h"
#include "papers/duo_attention/heads.h"

namespace repro::duo {
namespace {

// Scores without trained gates: random tokens twice, heads ranked by what the
// second half looks up beyond a streaming head's sight.
at::Tensor ProfileRandomTokens(const lm::LanguageModel& model,
                               const DuoOptions& options, int64_t seed) {
  const lm::ModelConfig& c = model.config();
  const int64_t half =
      std::min<int64_t>(std::max<int64_t>(2, c.max_positions / 2),
                        options.sink + options.recent + 64);
  const at::Tensor once =
      at::randint(0, c.vocab_size, {1, half}, MakeGenerator(seed),
                  at::TensorOptions(at::kLong));
  const at::Tensor places =
      at::zeros({1, 2 * half}, at::TensorOptions(at::kBool));
  places.narrow(1, half, half).fill_(true);
  return AttentionProfile(model, at::cat({once, once}, 1), places, options.sink,
                          options.recent);
}

absl::StatusOr<lm::StateFactory> Prepare(const lm::LanguageModel& model,
                                         const lm::PolicyOptions& from) {
  constexpr int64_t kMost = int64_t{1} << 30;
  DuoOptions options;
  REPRO_ASSIGN_OR_RETURN(options.sink, from.Int("sink", 64, 0, kMost));
  REPRO_ASSIGN_OR_RETURN(options.recent, from.Int("recent", 256, 1, kMost));
  REPRO_ASSIGN_OR_RETURN(options.bits, from.Int("bits", 16, 4, 16));
  REPRO_ASSIGN_OR_RETURN(const double sparsity,
                         from.Double("sparsity", 0.5, 0, 1));
  REPRO_ASSIGN_OR_RETURN(const int64_t seed, from.Int("seed", 42, 0, kMost));
  const std::string rule = from.String("rule", "chunk");
  if (rule != "chunk" && rule != "window") {
    return absl::InvalidArgumentError(
        absl::StrCat("policy option rule=", rule, ": want chunk or window"));
  }
  options.rule =
      rule == "chunk" ? StreamingRule::kChunk : StreamingRule::kWindow;
  if (options.bits != 4 && options.bits != 16) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy option bits=", options.bits, ": want 4 or 16"));
  }
  const lm::ModelConfig& c = model.config();
  at::Tensor scores;
  const std::string path = from.String("gates", "");
  if (path.empty()) {
    scores = ProfileRandomTokens(model, options, seed);
  } else {
    REPRO_ASSIGN_OR_RETURN(scores, ReadGates(path));
    if (scores.size(0) != c.num_layers || scores.size(1) != c.num_kv_heads) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": gates of ", scores.size(0), " layers of ", scores.size(1),
          " heads; the model has ", c.num_layers, " of ", c.num_kv_heads));
    }
  }
  at::Generator generator = MakeGenerator(seed, 1);
  const HeadSet heads = SelectHeads(scores, sparsity, &generator);
  return lm::StateFactory(
      [&model, heads, options] { return MakeDuoState(model, heads, options); });
}

REPRO_REGISTER_POLICY((lm::Policy{
    "duo",
    "retrieval heads keep everything, streaming heads sinks and a "
    "window (DuoAttention, arXiv 2410.10819)",
    {{"gates",
      "file of trained gates, a line a layer (none: heads "
      "are ranked by attention to far tokens)"},
     {"sparsity", "share of heads that stream (0.5)"},
     {"sink", "first tokens that these keep (64)"},
     {"recent", "and last ones (256)"},
     {"rule", "chunk, as deployed, or window, as trained (chunk)"},
     {"bits", "of full heads' keys and values, 16 or 4 (16)"},
     {"seed", "of tie-breaking noise and of the ranking (42)"}},
    Prepare}));

}  // namespace
}  // namespace repro::duo
