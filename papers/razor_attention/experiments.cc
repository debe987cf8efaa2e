// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/data/io.h"
#include "common/lm/attention.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/testbed/experiment.h"
#include "papers/razor_attention/decode.h"
#include "papers/razor_attention/head_protection.h"
#include "papers/razor_attention/head_scores.h"
#include "papers/razor_attention/razor_attention.h"
#include "papers/razor_attention/released_scores.h"

namespace repro::razor {
namespace {

// --------------------------------------------------- settings and arithmetic

absl::Status Settings(ExperimentRun& run) {
  const HeadShares shares;
  const Probe probe;
  const RazorOptions published;
  return RecordByName(
      run, "setting",
      {{"retrieval_heads", 100 * (shares.echo + shares.induction)},
       {"echo_heads", 100 * shares.echo},
       {"induction_heads", 100 * shares.induction},
       {"probe_tokens", static_cast<double>(probe.period)},
       {"probe_repeats", static_cast<double>(probe.repeats)},
       {"ratio", published.ratio},
       {"sink", static_cast<double>(published.sink)},
       {"deployed_capacity",
        static_cast<double>(RazorOptions::Deployed().capacity)}});
}
REPRO_REGISTER_EXPERIMENT("razor_attention", "settings", Settings);

absl::Status Budget(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double share, run.DoubleArg(*claim, "share"));
    REPRO_ASSIGN_OR_RETURN(const double ratio, run.DoubleArg(*claim, "ratio"));
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    const double kept = LimitKeptFraction(share, ratio);
    if (quantity == "kept") {
      run.Record(*claim, kept);
    } else if (quantity == "factor") {
      run.Record(*claim, 1 / kept);
    } else if (quantity == "reduction") {
      run.Record(*claim, 100 * (1 - kept));
    } else {
      return UnknownName(*claim, "quantity", quantity);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("razor_attention", "budget", Budget);

absl::Status AlibiScopes(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t head, run.IntArg(*claim, "head"));
    run.Record(*claim, AlibiScope(/*weight_norm=*/1, /*gamma_squared=*/1,
                                  /*bias_squared=*/0, AlibiSlope(head, 8),
                                  /*epsilon=*/1e-3));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("razor_attention", "alibi_scopes", AlibiScopes);

// One head of one channel, query 1: a sink (k 0, v 1), dropped (1, 2) and
// (3, 4), recent (2, 0).
absl::Status ScalarExample(ExperimentRun& run) {
  const auto row = [](const std::vector<double>& x) {
    return at::tensor(x, at::kDouble).view({1, -1, 1});
  };
  const at::Tensor q = row({1}), k = row({0, 1, 3, 2}), v = row({1, 2, 4, 0});
  RazorOptions options;
  options.sink = 1;
  options.least_window = 1;
  const auto compressed = [&](Compensation compensation) {
    options.compensation = compensation;
    const CompressedKeysValues c = Compress(k, v, options);
    return (compensation == Compensation::kWeighted
                ? WeightedAttention(q, c.k, c.v, options.sink, c.dropped)
                : lm::DenseAttention(q, c.k, c.v))
        .item<double>();
  };
  return RecordByName(run, "cache",
                      {{"dense", lm::DenseAttention(q, k, v).item<double>()},
                       {"weighted", compressed(Compensation::kWeighted)},
                       {"plain", compressed(Compensation::kPlain)},
                       {"dropped", compressed(Compensation::kNone)}});
}
REPRO_REGISTER_EXPERIMENT("razor_attention", "scalar_example", ScalarExample);

// 15% of a layer's 8 heads, on average: 1 of them is full in four layers out of
// five, 2 in the fifth. `of` is asked for either number.
double AverageLayer(const std::function<double(int64_t full_heads)>& of) {
  return 0.8 * of(1) + 0.2 * of(2);
}

absl::Status LayerBytes(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    DecodeShape shape;
    REPRO_ASSIGN_OR_RETURN(shape.tokens, run.IntArg(*claim, "tokens"));
    const auto bytes = [&](LayerKind kind, int64_t full_heads) {
      return static_cast<double>(
          DecodeLayer(kind, shape, full_heads, {}, at::kCPU, MakeGenerator(0))
              .Bytes());
    };
    run.Record(*claim, AverageLayer([&](int64_t full_heads) {
                         return bytes(LayerKind::kPublished, full_heads);
                       }) / bytes(LayerKind::kDense, shape.num_kv_heads));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("razor_attention", "layer_bytes", LayerBytes);

// ---------------------------------------------------- released head scores

absl::Status ReleasedScores(ExperimentRun& run) {
  const auto read =
      [&](const std::string& asset) -> absl::StatusOr<at::Tensor> {
    REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath(asset));
    REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 22));
    return ParseHeadTable(text, path);
  };
  std::map<std::string, HeadStatistics> statistics;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    if (statistics.count(model) == 0) {
      REPRO_ASSIGN_OR_RETURN(const at::Tensor scores,
                             read(absl::StrCat("scores_", model)));
      REPRO_ASSIGN_OR_RETURN(const at::Tensor gates,
                             read(absl::StrCat("gates_", model)));
      try {
        statistics[model] =
            Describe(scores, gates, /*share=*/0.15, RazorOptions().ratio);
      } catch (const c10::Error& error) {
        return absl::DataLossError(
            absl::StrCat("scores and gates of ", model, ": ",
                         error.what_without_backtrace()));
      }
    }
    const HeadStatistics& s = statistics[model];
    const std::map<std::string, double> values = {
        {"promoted", static_cast<double>(s.promoted)},
        {"promoted_share", s.promoted_share},
        {"kept_fraction", s.kept_fraction},
        {"mass_of_top", s.mass_of_top},
        {"mass_of_ten", s.mass_of_ten},
        {"pearson", s.pearson},
        {"in_better_half", static_cast<double>(s.in_better_half)}};
    const auto found = values.find(quantity);
    if (found == values.end()) return UnknownName(*claim, "quantity", quantity);
    run.Record(*claim, found->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("razor_attention", "released_scores", ReleasedScores);

// -------------------------------------------------------- bytes, whole model

absl::Status MeasureBytes(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  lm::ModelConfig qwen;  // Qwen1.5-7B, what matters to the cache
  qwen.num_layers = 32;
  qwen.num_heads = 32;
  qwen.num_kv_heads = 32;
  qwen.head_dim = 128;
  qwen.max_positions = 32768;
  const HeadShares shares;
  double done = 0;
  for (const Claim* claim : run.claims()) {
    RazorOptions options;
    REPRO_ASSIGN_OR_RETURN(options.ratio, run.DoubleArg(*claim, "ratio"));
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    const int64_t heads = static_cast<int64_t>(
        std::nearbyint((shares.echo + shares.induction) *
                       static_cast<double>(qwen.num_layers) *
                       static_cast<double>(qwen.num_kv_heads)));
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      try {
        const CacheBytes bytes =
            MeasureCacheBytes(qwen, tokens,
                              RandomHeads(qwen.num_layers, qwen.num_kv_heads,
                                          heads, MakeGenerator(seed)),
                              options, device, MakeGenerator(seed, 1, device));
        observation.samples.push_back(
            100 * (1 - static_cast<double>(bytes.compressed) /
                           static_cast<double>(bytes.dense)));
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
REPRO_REGISTER_EXPERIMENT("razor_attention", "cache_bytes", MeasureBytes);

// ---------------------------------------------------------- decode time

// Prompt lengths among which the crossover is looked for.
constexpr int64_t kLengths[] = {8192, 16384, 32768, 65536, 131072};

class DecodeTimes {
 public:
  explicit DecodeTimes(c10::Device device) : device_(device) {}

  double Milliseconds(LayerKind kind, int64_t tokens, int64_t batch,
                      uint64_t seed) {
    const auto key = std::make_tuple(kind, tokens, batch, seed);
    const auto found = times_.find(key);
    if (found != times_.end()) return found->second;
    DecodeShape shape;
    shape.tokens = tokens;
    shape.batch = batch;
    const RazorOptions options = kind == LayerKind::kDeployed
                                     ? RazorOptions::Deployed()
                                     : RazorOptions();
    TimingOptions timing;
    timing.warmup = 3;
    timing.repetitions = 20;
    timing.max_seconds = 0.2;
    const auto time = [&](int64_t full_heads) {
      return TimeDecode(kind, shape, full_heads, options, device_, seed, timing)
          .Median();
    };
    return times_[key] = kind == LayerKind::kDense ? time(shape.num_kv_heads)
                                                   : AverageLayer(time);
  }

  double Ratio(LayerKind kind, int64_t tokens, int64_t batch, uint64_t seed) {
    return Milliseconds(kind, tokens, batch, seed) /
           Milliseconds(LayerKind::kDense, tokens, batch, seed);
  }

  // The least length from which on it is faster than dense; twice the longest
  // where it never is.
  double Crossover(LayerKind kind, int64_t batch, uint64_t seed) {
    int64_t crossover = 2 * kLengths[std::size(kLengths) - 1];
    for (size_t i = std::size(kLengths);
         i > 0 && Ratio(kind, kLengths[i - 1], batch, seed) < 1; --i) {
      crossover = kLengths[i - 1];
    }
    return static_cast<double>(crossover);
  }

 private:
  const c10::Device device_;
  std::map<std::tuple<LayerKind, int64_t, int64_t, uint64_t>, double> times_;
};

absl::Status MeasureDecode(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  DecodeTimes times(device);
  double done = 0;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "cache"));
    REPRO_ASSIGN_OR_RETURN(const int64_t batch, run.IntArg(*claim, "batch"));
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    if (name != "published" && name != "deployed") {
      return UnknownName(*claim, "cache", name);
    }
    const LayerKind kind =
        name == "published" ? LayerKind::kPublished : LayerKind::kDeployed;
    int64_t tokens = 0;
    if (quantity == "time_ratio") {
      REPRO_ASSIGN_OR_RETURN(tokens, run.IntArg(*claim, "tokens"));
    } else if (quantity != "crossover") {
      return UnknownName(*claim, "quantity", quantity);
    }
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      try {
        observation.samples.push_back(
            tokens > 0 ? times.Ratio(kind, tokens, batch, seed)
                       : times.Crossover(kind, batch, seed));
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
REPRO_REGISTER_EXPERIMENT("razor_attention", "decode", MeasureDecode);

// ------------------------------------------------- protected heads, testbed

// A claim's args `value` and `effect` (without it, the value is what is
// tested): a policy, or two with - (difference), / (quotient) or % (how many
// percent the first is below the second) between them, of the measure that the
// arg `measure` names.
struct Expression {
  std::string first, second;
  char operation = 0;
};

Expression ParseExpression(const std::string& text) {
  const size_t at = text.find_first_of("-/%");
  if (at == std::string::npos) return {text, "", 0};
  return {text.substr(0, at), text.substr(at + 1), text[at]};
}

double Evaluate(const Expression& e,
                const std::function<double(const std::string&)>& of) {
  switch (e.operation) {
    case '-':
      return of(e.first) - of(e.second);
    case '/':
      return of(e.first) / of(e.second);
    case '%':
      return 100 * (1 - of(e.first) / of(e.second));
    default:
      return of(e.first);
  }
}

absl::Status MeasureProtection(ExperimentRun& run, const std::string& recipe) {
  const std::vector<std::string> known = ProtectionPolicies();
  std::set<std::string> policies;
  for (const Claim* claim : run.claims()) {
    for (const char* arg : {"value", "effect"}) {
      const absl::StatusOr<std::string> text = run.Arg(*claim, arg);
      if (!text.ok()) continue;
      const Expression e = ParseExpression(*text);
      policies.insert(e.first);
      if (e.operation != 0) policies.insert(e.second);
    }
  }
  REPRO_ASSIGN_OR_RETURN(const testbed::Testbed testbed,
                         testbed::TestbedOfRun(run, recipe));
  ProtectionOptions options;
  options.length = testbed.recipe.context;
  options.probe_period = testbed.recipe.context / 4;
  REPRO_ASSIGN_OR_RETURN(
      const auto recalls, testbed::RecallsOverSeeds(run, [&](uint64_t seed) {
        return CompareProtection(*testbed.model, testbed.recipe, options,
                                 policies, seed,
                                 [&] { return !run.Cancelled(); });
      }));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const auto measure,
                           testbed::MeasureOfRecall(run, *claim));
    const auto samples = [&](const std::string& text) {
      const Expression e = ParseExpression(text);
      std::vector<double> values;
      for (size_t i = 0; i < run.seeds().size(); ++i) {
        values.push_back(Evaluate(e, [&](const std::string& policy) {
          return recalls.at(policy)[i].*measure;
        }));
      }
      return values;
    };
    REPRO_ASSIGN_OR_RETURN(const std::string value, run.Arg(*claim, "value"));
    Observation observation;
    observation.samples = samples(value);
    const absl::StatusOr<std::string> effect = run.Arg(*claim, "effect");
    if (effect.ok()) observation.effects = samples(*effect);
    const lm::ModelConfig& model = testbed.model->config();
    observation.scale = absl::StrCat(
        model.num_layers, " layers of ", model.num_kv_heads, " heads, ",
        options.length, " tokens, passkeys and key-value pairs, ",
        options.tasks.size() * options.count * options.questions,
        " questions a seed");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status HeadProtection(ExperimentRun& run) {
  return MeasureProtection(run, "testbed");
}
REPRO_REGISTER_EXPERIMENT("razor_attention", "head_protection", HeadProtection);

absl::Status HeadProtectionSmall(ExperimentRun& run) {
  return MeasureProtection(run, "testbed_small");
}
REPRO_REGISTER_EXPERIMENT("razor_attention", "head_protection_small",
                          HeadProtectionSmall);

}  // namespace
}  // namespace repro::razor
