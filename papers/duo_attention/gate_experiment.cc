#include "papers/duo_attention/gate_experiment.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/lm/dense_state.h"
#include "common/lm/policy.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/testbed/data.h"
#include "common/testbed/evaluate.h"
#include "papers/duo_attention/duo_attention.h"
#include "papers/duo_attention/gate_training.h"
#include "papers/duo_attention/heads.h"

namespace repro::duo {
namespace {

// Streams of a seed.
constexpr uint64_t kNoise = 1, kRandom = 2, kProfile = 3, kEvaluation = 4,
                   kSamples = uint64_t{1} << 32;

}  // namespace

absl::Status CompareHeads(const lm::LanguageModel& model,
                          const testbed::Recipe& recipe,
                          const GateExperiment& experiment, uint64_t seed,
                          Quantities* quantities, std::string* scale) {
  const lm::ModelConfig& c = model.config();
  const testbed::Stage& last = recipe.stages.back();
  const int64_t length =
      *std::max_element(last.lengths.begin(), last.lengths.end());
  const testbed::Task task = last.mixture.count("passkey") > 0
                                 ? testbed::Task::kPasskey
                                 : testbed::Task::kKeyValue;
  const testbed::SequenceConfig config =
      testbed::EvaluationConfig(recipe, task, length, 0);
  GateTraining training;
  training.mask.sink = std::max<int64_t>(1, length / 64);
  training.mask.recent = std::max<int64_t>(4, length / 16);
  training.steps = experiment.steps;
  training.cancelled = experiment.cancelled;
  // The loss looks at questions and answers, as the authors' labels do.
  const auto labelled = [&](const testbed::Sequences& sequences) {
    return at::arange(length, at::kLong) >= sequences.prompt_length;
  };
  REPRO_ASSIGN_OR_RETURN(
      const at::Tensor gates, TrainGates(model, training, [&](int64_t step) {
        const testbed::Sequences one = testbed::MakeSequences(
            config, 1, MakeGenerator(seed, kSamples + step));
        return GateSample{one.tokens[0], labelled(one)};
      }));
  const testbed::Sequences probe = testbed::MakeSequences(
      config, experiment.profile_sequences, MakeGenerator(seed, kProfile));
  const at::Tensor profile = AttentionProfile(
      model, probe.tokens,
      labelled(probe).unsqueeze(0).expand(probe.tokens.sizes()),
      training.mask.sink, training.mask.recent);

  DuoOptions options;
  options.sink = training.mask.sink;
  options.recent = training.mask.recent;
  options.rule = StreamingRule::kWindow;
  for (const std::string& name : experiment.names) {
    absl::string_view rest = name;
    const bool other = absl::ConsumePrefix(&rest, "key_value:");
    const std::vector<std::string> parts = absl::StrSplit(rest, '@');
    double sparsity = 0;
    if (parts.size() > 2 ||
        (parts.size() == 2 && !absl::SimpleAtod(parts[1], &sparsity))) {
      return absl::InvalidArgumentError(
          absl::StrCat("heads: \"", name, "\": expected method@sparsity"));
    }
    at::Generator noise = MakeGenerator(seed, kNoise);
    const auto kept = static_cast<int64_t>(std::llround(
        (1 - sparsity) * static_cast<double>(c.num_layers * c.num_kv_heads)));
    HeadSet heads;
    if (parts[0] == "duo") {
      heads = SelectHeads(gates, sparsity, &noise);
    } else if (parts[0] == "profile") {
      heads = SelectHeads(profile, sparsity, &noise);
    } else if (parts[0] == "random") {
      heads = RandomHeads(c.num_layers, c.num_kv_heads, kept,
                          MakeGenerator(seed, kRandom));
    } else if (parts[0] != "dense" && parts[0] != "window") {
      return absl::InvalidArgumentError(
          absl::StrCat("heads: there is no method \"", name, "\""));
    }
    const auto budget = static_cast<int64_t>(
        (1 - sparsity) * static_cast<double>(length) +
        sparsity * static_cast<double>(options.sink + options.recent));
    const lm::StateFactory factory =
        [&]() -> std::unique_ptr<lm::AttentionState> {
      if (parts[0] == "dense") {
        return lm::MakeDenseState(c, model.device(), model.dtype());
      }
      if (parts[0] == "window") {
        return lm::MakeWindowState(c, model.device(), model.dtype(),
                                   options.sink, budget - options.sink);
      }
      return MakeDuoState(model, heads, options);
    };
    testbed::RecallEvaluation evaluation;
    evaluation.sequences =
        other ? testbed::EvaluationConfig(recipe, testbed::Task::kKeyValue,
                                          length, 0)
              : config;
    evaluation.lengths = {length};
    evaluation.count = experiment.count;
    evaluation.seed = MixSeed(seed, kEvaluation);
    if (experiment.cancelled && experiment.cancelled()) {
      return absl::CancelledError("stopped");
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<testbed::RecallCell> cells,
                           testbed::EvaluateRecall(model, factory, evaluation));
    (*quantities)[name].push_back(testbed::MeanAccuracy(cells));
  }
  *scale =
      absl::StrCat(recipe.name, ", ", c.num_layers, " layers of ",
                   c.num_kv_heads, " heads, ", testbed::TaskName(task), " in ",
                   length, " tokens, sink ", options.sink, ", recent ",
                   options.recent, ", ", experiment.steps, " of 2000 steps");
  return absl::OkStatus();
}

}  // namespace repro::duo
