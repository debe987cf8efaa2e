// How each claim of claims.textproto is measured; arguments come from there.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randint.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/claims/experiment.h"
#include "common/data/io.h"
#include "common/data/jsonl.h"
#include "common/lm/config.h"
#include "common/metrics/long_bench.h"
#include "common/metrics/qa.h"
#include "common/metrics/rouge.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/testbed/experiment.h"
#include "papers/duo_attention/gate_experiment.h"
#include "papers/duo_attention/heads.h"
#include "papers/duo_attention/memory.h"
#include "papers/duo_attention/speed.h"

namespace repro::duo {
namespace {

using nlohmann::json;

constexpr double kGiB = 1024.0 * 1024 * 1024;

absl::StatusOr<lm::ModelConfig> ModelArg(const ExperimentRun& run,
                                         const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "model"));
  return ModelShape(name);
}

// ------------------------------------------------------------ closed forms

absl::Status MeasureMemory(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const lm::ModelConfig config, ModelArg(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const double full, run.DoubleArg(*claim, "full"));
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    StaticMemory memory;
    memory.full = full;
    const double bytes = StaticBytes(config, memory, tokens);
    memory.full = 1;
    const double dense = StaticBytes(config, memory, tokens);
    run.Record(*claim, claim->unit() == "x" ? dense / bytes : bytes / kGiB);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("duo_attention", "memory", MeasureMemory);

// What an A100 of 80 GB has for programs, as the driver reports it.
constexpr double kA100Bytes = 79.15 * kGiB;

absl::Status MeasureCapacity(ExperimentRun& run) {
  const lm::ModelConfig config = lm::ModelConfig::Llama3_8B();
  for (const Claim* claim : run.claims()) {
    QuantizedMemory memory;
    REPRO_ASSIGN_OR_RETURN(memory.full, run.DoubleArg(*claim, "full"));
    REPRO_ASSIGN_OR_RETURN(const int64_t bits, run.IntArg(*claim, "bits"));
    memory.quantized = bits == 4;
    if (claim->unit() == "GiB") {
      REPRO_ASSIGN_OR_RETURN(const double tokens,
                             run.DoubleArg(*claim, "tokens"));
      run.Record(*claim, CapacityBytes(config, memory, tokens) / kGiB);
    } else {
      run.Record(*claim, Capacity(config, memory, kA100Bytes) / 1e6);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("duo_attention", "capacity", MeasureCapacity);

// --------------------------------------------------------- released outputs

absl::Status MeasureGates(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string asset, run.Arg(*claim, "asset"));
    REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath(asset));
    REPRO_ASSIGN_OR_RETURN(const at::Tensor gates, ReadGates(path));
    const absl::StatusOr<double> sparsity = run.DoubleArg(*claim, "sparsity");
    if (!sparsity.ok()) {
      run.RecordCount(*claim, ShareAbove(gates, 0.5));
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const std::string noise, run.Arg(*claim, "noise"));
    at::Generator generator = MakeGenerator(42);
    run.Record(*claim,
               static_cast<double>(CountHeads(SelectHeads(
                   gates, *sparsity, noise == "yes" ? &generator : nullptr))));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("duo_attention", "gates", MeasureGates);

double LongBenchScore(const json& record, const json& task) {
  const std::string metric = task.at("metric");
  std::string prediction = record.at("pred");
  if (task.at("first_line_only")) prediction = metrics::FirstLine(prediction);
  const json& answers = record.at("answers");
  double best = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    const std::string answer = answers[i];
    double score = 0;
    if (metric == "qa_f1") {
      score = metrics::QaF1(prediction, answer);
    } else if (metric == "qa_f1_zh") {
      score = metrics::ChineseQaF1(record.at("pred_seg"),
                                   record.at("answers_seg").at(i));
    } else if (metric == "rouge_l") {
      score = metrics::SetRougeL(answer, prediction).f1;
    } else if (metric == "rouge_l_zh") {
      const std::vector<std::string> wanted = record.at("answers_seg").at(i);
      const std::vector<std::string> predicted = record.at("pred_seg");
      score = metrics::SetRougeL(absl::StrJoin(wanted, " "),
                                 absl::StrJoin(predicted, " "))
                  .f1;
    } else if (metric == "classification") {
      score = metrics::ClassificationScore(prediction, answer,
                                           task.at("all_classes"));
    } else if (metric == "code_sim") {
      score = metrics::CodeSimilarity(prediction, answer);
    } else {
      score = metrics::DigitRunScore(prediction, answer);
    }
    best = std::max(best, score);
  }
  return best;
}

absl::Status MeasureLongBench(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string meta_path,
                         run.AssetPath("longbench_meta"));
  REPRO_ASSIGN_OR_RETURN(const std::string meta_text, ReadFile(meta_path));
  std::map<std::pair<std::string, std::string>, std::pair<double, int64_t>> sum;
  try {
    const json meta = json::parse(meta_text);
    std::set<std::string> models;
    for (const Claim* claim : run.claims()) {
      REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
      models.insert(model);
    }
    for (const std::string& model : models) {
      REPRO_ASSIGN_OR_RETURN(
          const std::string path,
          run.AssetPath(absl::StrCat("longbench_preds_", model)));
      REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                             ReadJsonl(path));
      for (size_t i = 0; i < lines.size(); ++i) {
        if (run.Cancelled()) return absl::CancelledError("stopped");
        const json& record = lines[i].value;
        auto& [total, count] = sum[{model, record.at("task")}];
        total += LongBenchScore(record, meta.at("tasks").at(record.at("task")));
        ++count;
        if (i % 500 == 0) {
          run.Progress(static_cast<double>(i),
                       static_cast<double>(lines.size()), model);
        }
      }
    }
  } catch (const json::exception& error) {
    return absl::DataLossError(
        absl::StrCat(meta_path, " or predictions: ", error.what()));
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string task, run.Arg(*claim, "task"));
    const auto [total, count] = sum[{model, task}];
    if (count == 0) {
      return absl::DataLossError(
          absl::StrCat(model, ": no predictions of ", task));
    }
    run.RecordCount(*claim, total / static_cast<double>(count));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("duo_attention", "long_bench", MeasureLongBench);

// ------------------------------------------------- quantities by their names

// One value a seed for each name. A claim's args `value` and `effect` are a
// name, a quotient "a/b" or a difference "a-b" of names.
constexpr const char* kExpressions[] = {"value", "effect"};

std::set<std::string> NamesInClaims(const ExperimentRun& run) {
  std::set<std::string> names;
  for (const Claim* claim : run.claims()) {
    for (const char* arg : kExpressions) {
      const absl::StatusOr<std::string> text = run.Arg(*claim, arg);
      if (!text.ok()) continue;
      for (const absl::string_view name :
           absl::StrSplit(*text, absl::ByAnyChar("/-"))) {
        names.emplace(name);
      }
    }
  }
  return names;
}

std::vector<double> Evaluate(const Quantities& quantities,
                             const std::string& expression) {
  const std::vector<std::string> names =
      absl::StrSplit(expression, absl::ByAnyChar("/-"));
  std::vector<double> values = quantities.at(names[0]);
  for (size_t n = 1; n < names.size(); ++n) {
    const std::vector<double>& other = quantities.at(names[n]);
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = absl::StrContains(expression, '/') ? values[i] / other[i]
                                                     : values[i] - other[i];
    }
  }
  return values;
}

absl::Status RecordAll(ExperimentRun& run, const Quantities& quantities,
                       const std::map<std::string, std::string>& scales) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string value, run.Arg(*claim, "value"));
    Observation observation;
    observation.samples = Evaluate(quantities, value);
    for (double& sample : observation.samples) {
      if (claim->unit() == "%") sample *= 100;
    }
    if (const absl::StatusOr<std::string> effect = run.Arg(*claim, "effect");
        effect.ok()) {
      observation.effects = Evaluate(quantities, *effect);
    }
    for (const absl::string_view name :
         absl::StrSplit(value, absl::ByAnyChar("/-"))) {
      if (const auto it = scales.find(std::string(name)); it != scales.end()) {
        observation.scale = it->second;
      }
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

// ---------------------------------------------------------- full scale (GPU)

using Measure = void (*)(const SpeedCase&, const SpeedRun&,
                         std::vector<double>*, std::string*);

absl::Status MeasureSpeed(ExperimentRun& run, Measure measure) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  const at::NoGradGuard no_grad;
  Quantities quantities;
  std::map<std::string, std::string> scales;
  const std::set<std::string> names = NamesInClaims(run);
  SpeedRun speed{device, run.seeds(), std::make_shared<ModelCache>()};
  double done = 0;
  for (const std::string& name : names) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const SpeedCase c, ParseSpeedCase(name));
    try {
      std::string scale;
      measure(c, speed, &quantities[name], &scale);
      if (!scale.empty()) scales[name] = scale;
    } catch (const c10::Error& error) {
      return absl::InternalError(
          absl::StrCat(name, ": ", error.what_without_backtrace()));
    }
    run.Progress(++done, static_cast<double>(names.size()), name);
  }
  return RecordAll(run, quantities, scales);
}

REPRO_REGISTER_EXPERIMENT("duo_attention", "decode", [](ExperimentRun& run) {
  return MeasureSpeed(run, MeasureDecode);
});
REPRO_REGISTER_EXPERIMENT("duo_attention", "prefill", [](ExperimentRun& run) {
  return MeasureSpeed(run, MeasurePrefill);
});
REPRO_REGISTER_EXPERIMENT("duo_attention", "prefill_memory",
                          [](ExperimentRun& run) {
                            return MeasureSpeed(run, MeasurePrefillMemory);
                          });
REPRO_REGISTER_EXPERIMENT("duo_attention", "memory_allocated",
                          [](ExperimentRun& run) {
                            return MeasureSpeed(run, MeasureAllocated);
                          });
REPRO_REGISTER_EXPERIMENT("duo_attention", "capacity_real",
                          [](ExperimentRun& run) {
                            return MeasureSpeed(run, MeasureCapacityReal);
                          });

// ------------------------------------------------------------------- gates

absl::Status MeasureHeads(ExperimentRun& run, const std::string& recipe,
                          GateExperiment experiment) {
  REPRO_ASSIGN_OR_RETURN(const testbed::Testbed testbed,
                         testbed::TestbedOfRun(run, recipe));
  experiment.names = NamesInClaims(run);
  experiment.cancelled = [&] { return run.Cancelled(); };
  Quantities quantities;
  std::string scale;
  for (size_t i = 0; i < run.seeds().size(); ++i) {
    run.Progress(static_cast<double>(run.seeds().size() + i),
                 2.0 * static_cast<double>(run.seeds().size()),
                 absl::StrCat("seed ", run.seeds()[i]));
    REPRO_RETURN_IF_ERROR(CompareHeads(*testbed.model, testbed.recipe,
                                       experiment, run.seeds()[i], &quantities,
                                       &scale));
  }
  std::map<std::string, std::string> scales;
  for (const auto& [name, values] : quantities) scales[name] = scale;
  return RecordAll(run, quantities, scales);
}

REPRO_REGISTER_EXPERIMENT("duo_attention", "heads_small",
                          [](ExperimentRun& run) {
                            GateExperiment experiment;
                            experiment.steps = 200;
                            experiment.count = 16;
                            return MeasureHeads(run, "testbed_small",
                                                experiment);
                          });
REPRO_REGISTER_EXPERIMENT("duo_attention", "heads", [](ExperimentRun& run) {
  GateExperiment experiment;
  experiment.steps = 300;
  experiment.count = 8;
  return MeasureHeads(run, "testbed", experiment);
});

}  // namespace
}  // namespace repro::duo
