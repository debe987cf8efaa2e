// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/claims/experiment.h"
#include "common/count/memory.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/testbed/experiment.h"
#include "papers/hip_attention/hip_attention.h"
#include "papers/hip_attention/latency.h"
#include "papers/hip_attention/random_field.h"
#include "papers/hip_attention/recall.h"

namespace repro::hip {
namespace {

absl::StatusOr<HierarchicalTopkOptions::Representative> RepresentativeArg(
    const ExperimentRun& run, const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string name,
                         run.Arg(claim, "representative"));
  if (name == "center") return HierarchicalTopkOptions::kCenter;
  if (name == "first") return HierarchicalTopkOptions::kFirst;
  if (name == "last") return HierarchicalTopkOptions::kLast;
  return UnknownName(claim, "representative", name);
}

absl::StatusOr<std::vector<double>> NumbersArg(const ExperimentRun& run,
                                               const Claim& claim,
                                               const std::string& name,
                                               char separator) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, run.Arg(claim, name));
  std::vector<double> numbers;
  for (const absl::string_view part : absl::StrSplit(text, separator)) {
    double number = 0;
    if (!absl::SimpleAtod(part, &number)) {
      return UnknownName(claim, "number", std::string(part));
    }
    numbers.push_back(number);
  }
  return numbers;
}

// ------------------------------------------------------------ printed numbers

// (sum of `numerator`) / (sum of `denominator`), printed numbers with + between
// them.
absl::Status PrintedRatios(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    const auto sum = [&](const char* arg) -> absl::StatusOr<double> {
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> numbers,
                             NumbersArg(run, *claim, arg, '+'));
      double total = 0;
      for (const double number : numbers) total += number;
      return total;
    };
    REPRO_ASSIGN_OR_RETURN(const double numerator, sum("numerator"));
    REPRO_ASSIGN_OR_RETURN(const double denominator, sum("denominator"));
    run.Record(*claim, numerator / denominator);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("hip_attention", "printed_ratios", PrintedRatios);

absl::Status EndToEndBounds(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    REPRO_ASSIGN_OR_RETURN(const double bytes,
                           run.DoubleArg(*claim, "bytes_per_weight"));
    run.Record(*claim,
               EndToEndBound(lm::ModelConfig::Llama3_8B(), tokens, bytes));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("hip_attention", "end_to_end_bound", EndToEndBounds);

// -------------------------------------------------------------------- search

absl::Status SearchCost(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    const HierarchicalTopkCost cost = HierarchicalTopkCostOf(tokens);
    const double scored = static_cast<double>(cost.scored_keys);
    if (quantity == "rounds") {
      run.Record(*claim, static_cast<double>(cost.rounds));
    } else if (quantity == "scored_keys") {
      run.Record(*claim, scored);
    } else if (quantity == "fewer") {
      run.Record(*claim, static_cast<double>(tokens) / scored);
    } else {
      return UnknownName(*claim, "quantity", quantity);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("hip_attention", "search_cost", SearchCost);

// One query and keys of one channel whose products are `scores`; `top_k` keys.
absl::Status Trees(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> scores,
                           NumbersArg(run, *claim, "scores", ' '));
    HierarchicalTopkOptions options;
    REPRO_ASSIGN_OR_RETURN(options.top_k, run.IntArg(*claim, "top_k"));
    options.query_block = options.query_stride = options.key_block = 1;
    options.window = 0;
    options.aligned = false;
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    const HierarchicalTopkCost cost =
        HierarchicalTopkCostOf(static_cast<int64_t>(scores.size()), options);
    if (quantity == "rounds") {
      run.Record(*claim, static_cast<double>(cost.rounds));
      continue;
    }
    if (quantity == "scored_keys") {
      run.Record(*claim, static_cast<double>(cost.scored_keys));
      continue;
    }
    int64_t place = 0;
    if (!absl::SimpleAtoi(quantity, &place) || place < 0 ||
        place >= options.top_k) {
      return UnknownName(*claim, "quantity", quantity);
    }
    REPRO_ASSIGN_OR_RETURN(options.representative,
                           RepresentativeArg(run, *claim));
    const at::Tensor found = std::get<0>(HierarchicalTopkMask(
        at::ones({1, 1, 1}, at::kDouble),
        at::tensor(scores, at::kDouble).view({1, -1, 1}), options));
    run.Record(*claim, found[0][0][place].item<int>());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("hip_attention", "trees", Trees);

// Keys that all blocks of queries of a prompt score, over log2(T / k).
double ScoredOverLog(int64_t tokens) {
  const HierarchicalTopkOptions options;
  double scored = 0;
  for (int64_t last = options.query_block; last <= tokens;
       last += options.query_block) {
    scored += static_cast<double>(
        HierarchicalTopkCostOf(last - options.window).scored_keys);
  }
  return scored / std::log2(static_cast<double>(tokens) /
                            static_cast<double>(options.top_k));
}

double PeakOfAttention(int64_t tokens) {
  HipOptions options;
  options.mask.top_k = options.mask.window = 64;
  const at::NoGradGuard no_grad;
  const auto draw = [&](uint64_t stream) {
    return at::randn({2, tokens, 32}, MakeGenerator(0, stream), at::kFloat);
  };
  const at::Tensor q = draw(1), k = draw(2), v = draw(3);
  return static_cast<double>(
      PeakBytes(at::kCPU, [&] { HipAttention(q, k, v, options); }));
}

// The exponent of T, from `tokens` to four times as many.
absl::Status Complexity(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    const auto of = quantity == "time" ? ScoredOverLog : PeakOfAttention;
    if (quantity != "time" && quantity != "space") {
      return UnknownName(*claim, "quantity", quantity);
    }
    run.Record(*claim, std::log2(of(4 * tokens) / of(tokens)) / 2);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("hip_attention", "complexity", Complexity);

// -------------------------------------------------------------- random field

absl::Status RandomField(ExperimentRun& run) {
  constexpr int64_t kFields = 4, kQueries = 32, kTokens = 32768, kDim = 64;
  constexpr double kStep = 0.05;  // correlated over about 800 keys
  const auto recall = [&](const std::string& keys,
                          HierarchicalTopkOptions::Representative by,
                          uint64_t seed) {
    const at::Tensor k = RandomWalkKeys(
        kFields, kTokens, kDim,
        keys == "smooth" ? kStep : std::numeric_limits<double>::infinity(),
        MakeGenerator(seed, 1));
    const at::Tensor q =
        at::randn({kQueries, 1, kDim}, MakeGenerator(seed, 2), at::kFloat);
    HierarchicalTopkOptions options;
    options.representative = by;
    return 100 * TopkRecall(q, k, options);
  };
  std::map<std::tuple<std::string, int64_t, uint64_t>, double> cache;
  double done = 0;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string keys, run.Arg(*claim, "keys"));
    if (keys != "smooth" && keys != "independent") {
      return UnknownName(*claim, "keys", keys);
    }
    REPRO_ASSIGN_OR_RETURN(const auto by, RepresentativeArg(run, *claim));
    // "first" of the same keys, or "independent" keys, is subtracted.
    const absl::StatusOr<std::string> minus = run.Arg(*claim, "minus");
    const auto cached =
        [&](const std::string& of,
            HierarchicalTopkOptions::Representative representative,
            uint64_t seed) {
          const auto key =
              std::make_tuple(of, static_cast<int64_t>(representative), seed);
          const auto found = cache.find(key);
          if (found != cache.end()) return found->second;
          return cache[key] = recall(of, representative, seed);
        };
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      double value = cached(keys, by, seed);
      if (minus.ok()) {
        if (*minus == "first") {
          value -= cached(keys, HierarchicalTopkOptions::kFirst, seed);
        } else if (*minus == "independent") {
          value -= cached("independent", by, seed);
        } else {
          return UnknownName(*claim, "minus", *minus);
        }
      }
      observation.samples.push_back(value);
    }
    observation.scale =
        "32,768 random keys of 64 channels, 4 fields, 32 single queries a seed";
    run.Record(*claim, std::move(observation));
    run.Progress(++done, static_cast<double>(run.claims().size()), claim->id());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("hip_attention", "random_field", RandomField);

// ------------------------------------------------------------------- latency

class Latencies {
 public:
  Latencies(c10::Device device, double max_seconds) : device_(device) {
    timing_.warmup = 2;
    timing_.repetitions = 20;
    timing_.max_seconds = max_seconds;
  }

  const AttentionTimes& Of(bool decode, int64_t tokens, uint64_t seed) {
    const auto key = std::make_tuple(decode, tokens, seed);
    const auto found = times_.find(key);
    if (found != times_.end()) return found->second;
    LayerShape shape;
    shape.tokens = tokens;
    return times_[key] =
               decode ? TimeDecode(shape, options_, device_, seed, timing_)
                      : TimePrefill(shape, options_, device_, seed, timing_);
  }

  double EndToEnd(int64_t tokens, int64_t refresh, uint64_t seed) {
    const lm::ModelConfig config = lm::ModelConfig::Llama3_8B();
    const auto found = linear_.find(seed);
    if (found == linear_.end()) {
      linear_[seed] = TimeLinear(config, device_, seed, timing_);
    }
    return EndToEndSpeedup(config, Of(true, tokens, seed), linear_[seed],
                           options_.dense_layers, refresh);
  }

 private:
  const c10::Device device_;
  const HipOptions options_;
  TimingOptions timing_;
  std::map<std::tuple<bool, int64_t, uint64_t>, AttentionTimes> times_;
  std::map<uint64_t, LinearTimes> linear_;
};

absl::Status Latency(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  Latencies latencies(device, /*max_seconds=*/0.3);
  double done = 0;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    int64_t refresh = 1;
    if (quantity == "decode_speedup" || quantity == "end_to_end_speedup") {
      REPRO_ASSIGN_OR_RETURN(refresh, run.IntArg(*claim, "refresh"));
      if (refresh < 1) {
        return UnknownName(*claim, "refresh", absl::StrCat(refresh));
      }
    }
    const std::map<std::string, std::function<double(uint64_t)>> of = {
        {"prefill_speedup",
         [&](uint64_t seed) {
           const AttentionTimes& t = latencies.Of(false, tokens, seed);
           return t.dense / t.Hip(1);
         }},
        {"prefill_growth",
         [&](uint64_t seed) {
           return latencies.Of(false, 16 * tokens, seed).Hip(1) /
                  latencies.Of(false, tokens, seed).Hip(1);
         }},
        {"decode_speedup",
         [&](uint64_t seed) {
           const AttentionTimes& t = latencies.Of(true, tokens, seed);
           return t.dense / t.Hip(refresh);
         }},
        {"refresh_over_sparse",
         [&](uint64_t seed) {
           const AttentionTimes& t = latencies.Of(true, tokens, seed);
           return t.refresh / t.sparse;
         }},
        {"refresh_growth",
         [&](uint64_t seed) {
           return latencies.Of(true, 16 * tokens, seed).refresh /
                  latencies.Of(true, tokens, seed).refresh;
         }},
        {"sparse_growth",
         [&](uint64_t seed) {
           return latencies.Of(true, 16 * tokens, seed).sparse /
                  latencies.Of(true, tokens, seed).sparse;
         }},
        {"end_to_end_speedup", [&](uint64_t seed) {
           return latencies.EndToEnd(tokens, refresh, seed);
         }}};
    const auto found = of.find(quantity);
    if (found == of.end()) return UnknownName(*claim, "quantity", quantity);
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      try {
        observation.samples.push_back(found->second(seed));
      } catch (const c10::Error& error) {
        return absl::InternalError(
            absl::StrCat(claim->id(), ": ", error.what_without_backtrace()));
      }
    }
    run.Record(*claim, std::move(observation));
    run.Progress(++done, static_cast<double>(run.claims().size()), claim->id());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("hip_attention", "latency", Latency);

// ------------------------------------------------------------ recall, testbed

// A claim's value is a policy's measure, less that of the policy `minus`.
absl::Status MeasureRecall(ExperimentRun& run, const std::string& recipe) {
  std::set<std::string> policies;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string policy, run.Arg(*claim, "policy"));
    policies.insert(policy);
    const absl::StatusOr<std::string> minus = run.Arg(*claim, "minus");
    if (minus.ok()) policies.insert(*minus);
  }
  REPRO_ASSIGN_OR_RETURN(const testbed::Testbed testbed,
                         testbed::TestbedOfRun(run, recipe));
  const RecallOptions options =
      RecallOptions::ForLength(testbed.recipe.context);
  REPRO_ASSIGN_OR_RETURN(
      const auto recalls, testbed::RecallsOverSeeds(run, [&](uint64_t seed) {
        return CompareRecall(*testbed.model, testbed.recipe, options, policies,
                             seed, [&] { return !run.Cancelled(); });
      }));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string policy, run.Arg(*claim, "policy"));
    REPRO_ASSIGN_OR_RETURN(const auto measure,
                           testbed::MeasureOfRecall(run, *claim));
    const absl::StatusOr<std::string> minus = run.Arg(*claim, "minus");
    const auto of = [&](const std::string& name, size_t i) {
      return recalls.at(name)[i].*measure;
    };
    Observation observation;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      observation.samples.push_back(of(policy, i) -
                                    (minus.ok() ? of(*minus, i) : 0));
    }
    const lm::ModelConfig& model = testbed.model->config();
    observation.scale = absl::StrCat(
        model.num_layers, " layers of ", model.num_heads, " heads, ",
        options.length, " tokens, of which a query sees ", options.length / 8,
        ", passkeys and key-value pairs, ",
        static_cast<int64_t>(options.tasks.size()) * options.count *
            options.questions,
        " questions a seed");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status MeasureLargeRecall(ExperimentRun& run) {
  return MeasureRecall(run, "testbed");
}
REPRO_REGISTER_EXPERIMENT("hip_attention", "recall", MeasureLargeRecall);

absl::Status MeasureSmallRecall(ExperimentRun& run) {
  return MeasureRecall(run, "testbed_small");
}
REPRO_REGISTER_EXPERIMENT("hip_attention", "recall_small", MeasureSmallRecall);

}  // namespace
}  // namespace repro::hip
