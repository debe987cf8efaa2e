// `--policy razor`: finds the model's retrieval heads by the probe once, then
// makes the state of each sequence.
#include "common/lm/policy.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "papers/razor_attention/head_scores.h"
#include "papers/razor_attention/razor_attention.h"

namespace repro::razor {
namespace {

constexpr int64_t kMost = int64_t{1} << 30;

absl::StatusOr<RazorOptions> ReadRazorOptions(const lm::PolicyOptions& from) {
  RazorOptions options;
  REPRO_ASSIGN_OR_RETURN(options.capacity, from.Int("capacity", 0, 0, kMost));
  if (options.capacity > 0) options = RazorOptions::Deployed();
  REPRO_ASSIGN_OR_RETURN(options.capacity,
                         from.Int("capacity", options.capacity, 0, kMost));
  REPRO_ASSIGN_OR_RETURN(options.sink,
                         from.Int("sink", options.sink, 0, kMost));
  REPRO_ASSIGN_OR_RETURN(options.ratio,
                         from.Double("ratio", options.ratio, 1, 1e6));
  REPRO_ASSIGN_OR_RETURN(
      options.least_window,
      from.Int("least_window", options.least_window, 0, kMost));
  const std::string compensation =
      from.String("compensation", options.capacity > 0 ? "plain" : "weighted");
  if (compensation == "weighted") {
    options.compensation = Compensation::kWeighted;
  } else if (compensation == "plain") {
    options.compensation = Compensation::kPlain;
  } else if (compensation == "none") {
    options.compensation = Compensation::kNone;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("policy option compensation=", compensation,
                     ": want weighted, plain or none"));
  }
  if (options.capacity > 0 && options.capacity <= options.sink + 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy option capacity=", options.capacity,
                     ": want more than the sinks and one compensation token, ",
                     options.sink + 1));
  }
  return options;
}

absl::StatusOr<lm::StateFactory> Prepare(const lm::LanguageModel& model,
                                         const lm::PolicyOptions& from) {
  const lm::ModelConfig& config = model.config();
  REPRO_ASSIGN_OR_RETURN(const RazorOptions options, ReadRazorOptions(from));
  HeadShares shares;
  REPRO_ASSIGN_OR_RETURN(shares.echo, from.Double("echo", shares.echo, 0, 1));
  REPRO_ASSIGN_OR_RETURN(shares.induction,
                         from.Double("induction", shares.induction, 0, 1));
  const std::string rank = from.String("rank", "kv_heads");
  if (rank != "kv_heads" && rank != "query_heads") {
    return absl::InvalidArgumentError(absl::StrCat(
        "policy option rank=", rank, ": want kv_heads or query_heads"));
  }
  Probe probe;
  REPRO_ASSIGN_OR_RETURN(probe.repeats,
                         from.Int("probe_repeats", probe.repeats, 2, 1000));
  const int64_t fits =
      std::max<int64_t>(2, (config.max_positions - 1) / probe.repeats);
  REPRO_ASSIGN_OR_RETURN(
      probe.period,
      from.Int("probe_tokens", std::min(probe.period, fits), 2, kMost));
  probe.first_token = std::min(probe.first_token, config.vocab_size / 2);
  probe.last_token = std::min(probe.last_token, config.vocab_size - 1);
  probe.bos = config.bos_id;
  REPRO_ASSIGN_OR_RETURN(const int64_t seed,
                         from.Int("seed", 0, 0, int64_t{1} << 62));
  HeadSet heads;
  try {
    heads = SelectRetrievalHeads(
        ScoreHeads(model, probe, MakeGenerator(static_cast<uint64_t>(seed))),
        config.num_kv_heads, shares,
        rank == "kv_heads" ? Promotion::kKvHead : Promotion::kQueryHead);
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("policy razor, probing the heads: ",
                                            error.what_without_backtrace()));
  }
  return lm::StateFactory([heads = std::move(heads), options, config,
                           device = model.device(), dtype = model.dtype()] {
    return MakeRazorState(config, device, dtype, heads, options);
  });
}

REPRO_REGISTER_POLICY((lm::Policy{
    "razor",
    "RazorAttention: retrieval heads keep all of the prompt, the others "
    "sinks, a window and a compensation token (arXiv 2407.15891)",
    {{"ratio", "C: the window is at least the prompt over this (5)"},
     {"least_window", "S0: and at least this many tokens (4000)"},
     {"sink", "N0: first tokens kept (4)"},
     {"capacity",
      "above 0: entries that a head keeps of any prompt, as the deployed "
      "code, there 256 (0)"},
     {"compensation",
      "weighted (as published), plain (as deployed) or none (weighted; "
      "plain with a capacity)"},
     {"echo", "share of heads kept for their echo score (0.01)"},
     {"induction", "share of heads kept for their induction score (0.14)"},
     {"rank", "kv_heads (as published) or query_heads (kv_heads)"},
     {"probe_tokens",
      "K: tokens of the probe that finds the heads, cut to what fits the "
      "context; 256 is quick (2500)"},
     {"probe_repeats", "how often they follow each other (4)"},
     {"seed", "of the probe (0)"}},
    Prepare}));

}  // namespace
}  // namespace repro::razor
