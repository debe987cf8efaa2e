// `--policy hip`.
#include "common/lm/policy.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "papers/hip_attention/hip_attention.h"

namespace repro::hip {
namespace {

absl::StatusOr<HipOptions> ReadOptions(const lm::PolicyOptions& from,
                                       const lm::ModelConfig& config) {
  constexpr int64_t kMost = int64_t{1} << 20;
  HipOptions options;
  HierarchicalTopkOptions& mask = options.mask;
  const std::pair<const char*, int64_t*> sizes[] = {
      {"k", &mask.top_k},
      {"query_block", &mask.query_block},
      {"query_stride", &mask.query_stride},
      {"key_block", &mask.key_block},
      {"key_stride", &mask.key_stride},
      {"window", &mask.window},
      {"head_group", &mask.head_group},
      {"refresh", &options.refresh}};
  for (const auto& [name, value] : sizes) {
    REPRO_ASSIGN_OR_RETURN(*value, from.Int(name, *value, 1, kMost));
  }
  REPRO_ASSIGN_OR_RETURN(options.sink,
                         from.Int("sink", options.sink, 0, kMost));
  REPRO_ASSIGN_OR_RETURN(
      options.dense_layers,
      from.Int("dense_layers", options.dense_layers, 0, kMost));
  REPRO_ASSIGN_OR_RETURN(const int64_t aligned, from.Int("aligned", 1, 0, 1));
  mask.aligned = aligned == 1;
  REPRO_ASSIGN_OR_RETURN(const int64_t cover, from.Int("cover_gap", 0, 0, 1));
  options.cover_gap = cover == 1;
  const std::string name = from.String("representative", "center");
  constexpr std::array<const char*, 4> kNames = {"center", "first", "last",
                                                 "oracle"};
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy option representative=", name,
                     ": want center, first, last or oracle"));
  }
  mask.representative = static_cast<HierarchicalTopkOptions::Representative>(
      found - kNames.begin());
  if (mask.top_k % mask.key_block != 0 || options.sink % mask.key_block != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy options k=", mask.top_k, ", sink=", options.sink,
                     ": want multiples of key_block=", mask.key_block));
  }
  if (mask.window < mask.query_block - 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "policy option window=", mask.window,
        ": want at least query_block - 1 = ", mask.query_block - 1));
  }
  if (config.num_heads % mask.head_group != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "policy option head_group=", mask.head_group, ": the model has ",
        config.num_heads, " heads, no multiple of it"));
  }
  return options;
}

absl::StatusOr<lm::StateFactory> Prepare(const lm::LanguageModel& model,
                                         const lm::PolicyOptions& from) {
  REPRO_ASSIGN_OR_RETURN(const HipOptions options,
                         ReadOptions(from, model.config()));
  return lm::StateFactory([options, config = model.config(),
                           device = model.device(), dtype = model.dtype()] {
    return MakeHipState(config, device, dtype, options);
  });
}

REPRO_REGISTER_POLICY((lm::Policy{
    "hip",
    "HiP attention: blocks of keys that a search down a tree finds, sinks and "
    "a window (arXiv 2406.09827)",
    {{"k", "keys that the search keeps for a block of queries (512)"},
     {"query_block", "b_q: queries that share a mask (32)"},
     {"query_stride", "b_sq: every so manyth of them is scored (2)"},
     {"key_block", "b_k: keys that are kept together (2)"},
     {"key_stride", "b_sk: every so manyth of them is scored (1)"},
     {"window", "w: last tokens seen (256)"},
     {"sink", "first tokens seen (16)"},
     {"representative",
      "block that is scored for a branch: center, first, last or, on the CPU, "
      "oracle for all of them (center)"},
     {"aligned", "1: branches start at multiples of a power of two (1)"},
     {"head_group", "heads that compete for their slots; 1 on a GPU (1)"},
     {"dense_layers", "l_d: first layers with dense attention (3)"},
     {"refresh", "r_m: decode steps that share a mask (8)"},
     {"cover_gap",
      "1: the window grows with a mask's age, so that no token is lost between "
      "them; as published 0 (0)"}},
    Prepare}));

}  // namespace
}  // namespace repro::hip
