// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/claims/experiment.h"
#include "common/lm/config.h"
#include "common/lm/model.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/testbed/experiment.h"
#include "papers/token_select/extrapolation.h"
#include "papers/token_select/infinite_bench_scores.h"
#include "papers/token_select/selection.h"
#include "papers/token_select/speed.h"
#include "papers/token_select/token_select.h"

namespace repro::token_select {
namespace {

// The numbers of an argument, separated by spaces.
absl::StatusOr<std::vector<double>> Numbers(const ExperimentRun& run,
                                            const Claim& claim,
                                            const std::string& arg) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, run.Arg(claim, arg));
  std::vector<double> numbers;
  for (const auto& word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    double number = 0;
    if (!absl::SimpleAtod(word, &number)) return UnknownName(claim, arg, text);
    numbers.push_back(number);
  }
  if (numbers.empty()) return UnknownName(claim, arg, text);
  return numbers;
}

// --------------------------------------------------- settings and arithmetic

absl::Status Settings(ExperimentRun& run) {
  const TokenSelectOptions published;
  const std::map<std::string, double> values = {
      {"initial", static_cast<double>(published.initial)},
      {"selected", static_cast<double>(published.selected)},
      {"local", static_cast<double>(published.local)},
      {"budget", static_cast<double>(published.budget())},
      {"chunk", static_cast<double>(published.chunk)},
      {"theta", published.theta}};
  return RecordByName(run, "setting", values);
}
REPRO_REGISTER_EXPERIMENT("token_select", "settings", Settings);

absl::Status Averages(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> scores,
                           Numbers(run, *claim, "scores"));
    double sum = 0;
    for (const double score : scores) sum += score;
    run.Record(*claim, sum / static_cast<double>(scores.size()));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("token_select", "averages", Averages);

absl::Status Votes(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> logits,
                           Numbers(run, *claim, "logits"));
    REPRO_ASSIGN_OR_RETURN(const int64_t heads, run.IntArg(*claim, "heads"));
    REPRO_ASSIGN_OR_RETURN(const int64_t token, run.IntArg(*claim, "token"));
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "rule"));
    const std::map<std::string, Rule> rules = {
        {"soft_vote", Rule::kSoftVote},
        {"head_vote", Rule::kHeadVote},
        {"summed_logits", Rule::kSummedLogits}};
    const auto rule = rules.find(name);
    if (rule == rules.end()) return UnknownName(*claim, "rule", name);
    try {
      const at::Tensor scores =
          at::tensor(logits, at::kDouble).view({heads, -1});
      run.Record(*claim, Criticality(scores, scores.logsumexp(1), rule->second,
                                     /*k=*/1)[token]
                             .item<double>());
    } catch (const c10::Error& error) {
      return absl::InvalidArgumentError(
          absl::StrCat(claim->id(), ": ", error.what_without_backtrace()));
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("token_select", "votes", Votes);

// Of 2,000 pairs a seed, how many have a cosine above the bound and yet other
// best tokens. The pairs lie around the bound: on both sides of it.
absl::Status ReuseLemma(ExperimentRun& run) {
  constexpr int64_t kTokens = 256, kDim = 16, kBest = 16, kPairs = 2000;
  double broken = 0, within = 0;
  for (const uint64_t seed : run.seeds()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    at::Generator generator = MakeGenerator(seed);
    const auto draw = [&](at::IntArrayRef shape) {
      return at::empty(shape, at::kDouble).normal_(0, 1, generator);
    };
    const at::Tensor keys = draw({kTokens, kDim});
    const double largest = keys.norm(2, 1).max().item<double>();
    for (int64_t i = 0; i < kPairs; ++i) {
      const at::Tensor q1 = draw({kDim});
      const at::Tensor scores = at::matmul(keys, q1);
      const at::Tensor sorted =
          std::get<0>(scores.sort(0, /*descending=*/true));
      const double gap = (sorted[kBest - 1] - sorted[kBest]).item<double>();
      // As far away as the bound, on average.
      const double length = q1.norm().item<double>();
      const at::Tensor q2 = q1 + gap / (2 * largest * 4) * draw({kDim});
      if (Cosine(q1, q2) < ReuseBound(gap, length, largest)) continue;
      ++within;
      broken += !TopTokens(scores, kBest)
                     .equal(TopTokens(at::matmul(keys, q2), kBest));
    }
  }
  if (within == 0) {
    return absl::InternalError("reuse_lemma: no pair was within the bound");
  }
  for (const Claim* claim : run.claims()) run.Record(*claim, broken);
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("token_select", "reuse_lemma", ReuseLemma);

// ------------------------------------------------------ released predictions

absl::Status InfiniteBench(ExperimentRun& run) {
  using metrics::InfiniteBenchRules;
  std::map<std::pair<std::string, std::string>, std::map<std::string, double>>
      scores;  // by task and rules, then model
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const std::string task, run.Arg(*claim, "task"));
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string rules, run.Arg(*claim, "rules"));
    if (rules != "original" && rules != "revised") {
      return UnknownName(*claim, "rules", rules);
    }
    auto& of_task = scores[{task, rules}];
    if (of_task.empty()) {
      REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath(task));
      REPRO_ASSIGN_OR_RETURN(
          of_task,
          ScorePredictions(path, task,
                           rules == "original" ? InfiniteBenchRules::kOriginal
                                               : InfiniteBenchRules::kRevised));
    }
    const auto found = of_task.find(model);
    if (found == of_task.end()) return UnknownName(*claim, "model", model);
    run.Record(*claim, found->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("token_select", "infinite_bench", InfiniteBench);

// ------------------------------------------------------------------- speed

absl::Status ChunkSpeed(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  TimingOptions timing;
  timing.warmup = 3;
  timing.repetitions = 20;
  timing.max_seconds = 0.5;
  std::map<std::pair<int64_t, uint64_t>, double> speedups;
  double done = 0;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      double& speedup = speedups[{tokens, seed}];
      try {
        if (speedup == 0) {
          speedup = TimeChunk({}, tokens, {}, device, seed, timing).Speedup();
        }
      } catch (const c10::Error& error) {
        return absl::InternalError(
            absl::StrCat(claim->id(), ": ", error.what_without_backtrace()));
      }
      observation.samples.push_back(speedup);
    }
    run.Record(*claim, std::move(observation));
    run.Progress(++done, static_cast<double>(run.claims().size()), claim->id());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("token_select", "chunk_speed", ChunkSpeed);

absl::Status PromptSpeed(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  lm::ModelConfig config = lm::ModelConfig::Llama3_8B();
  config.num_layers = 2;
  // Logits are made of one token of a prompt alone.
  config.vocab_size = 1024;
  config.bos_id = 0;
  config.eos_ids.clear();
  TimingOptions timing;
  timing.warmup = 1;
  timing.repetitions = 3;
  double done = 0;
  try {
    const auto model =
        lm::RandomModel(config, MakeGenerator(0, 0, device), device,
                        device.is_cuda() ? at::kBFloat16 : at::kFloat);
    for (const Claim* claim : run.claims()) {
      REPRO_ASSIGN_OR_RETURN(const int64_t tokens,
                             run.IntArg(*claim, "tokens"));
      Observation observation;
      for (size_t i = 0; i < run.seeds().size(); ++i) {
        if (run.Cancelled()) return absl::CancelledError("stopped");
        observation.samples.push_back(
            TimePrompt(*model, tokens, /*engine_chunk=*/8192, {}, timing)
                .Speedup());
      }
      run.Record(*claim, std::move(observation));
      run.Progress(++done, static_cast<double>(run.claims().size()),
                   claim->id());
    }
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("prompt_speed: ", error.what_without_backtrace()));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("token_select", "prompt_speed", PromptSpeed);

// --------------------------------------------- recall beyond the context

// The value is the recall under the policy `value`, the effect what it has
// more than that under `against`.
absl::Status MeasureRecall(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const testbed::Testbed testbed,
                         testbed::TestbedOfRun(run, "testbed"));
  const ExtrapolationOptions options;
  std::map<std::string, std::vector<double>> recalls;  // by policy
  const auto measure = [&](const std::string& policy) -> absl::Status {
    if (recalls.count(policy) > 0) return absl::OkStatus();
    std::vector<double> values;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      REPRO_ASSIGN_OR_RETURN(
          const double recall,
          Recall(*testbed.model, testbed.recipe, options, policy, seed));
      values.push_back(recall);
    }
    recalls[policy] = std::move(values);
    return absl::OkStatus();
  };
  double done = 0;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string value, run.Arg(*claim, "value"));
    REPRO_ASSIGN_OR_RETURN(const std::string against,
                           run.Arg(*claim, "against"));
    REPRO_RETURN_IF_ERROR(measure(value));
    REPRO_RETURN_IF_ERROR(measure(against));
    Observation observation;
    observation.samples = recalls[value];
    for (size_t i = 0; i < observation.samples.size(); ++i) {
      observation.effects.push_back(recalls[value][i] - recalls[against][i]);
    }
    const lm::ModelConfig& model = testbed.model->config();
    observation.scale = absl::StrCat(
        model.num_layers, " layers of ", model.num_heads, " heads, trained at ",
        testbed.recipe.context, " tokens, asked at ", options.length, ": ",
        options.sequences * options.questions, " key-value pairs a seed");
    run.Record(*claim, std::move(observation));
    run.Progress(0.5 + 0.5 * ++done / static_cast<double>(run.claims().size()),
                 1, claim->id());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("token_select", "selection", MeasureRecall);
REPRO_REGISTER_EXPERIMENT("token_select", "budgets", MeasureRecall);
REPRO_REGISTER_EXPERIMENT("token_select", "reuse", MeasureRecall);

}  // namespace
}  // namespace repro::token_select
