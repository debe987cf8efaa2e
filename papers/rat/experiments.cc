// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/claims/experiment.h"
#include "common/count/parameters.h"
#include "common/data/io.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/experiment.h"
#include "common/train/grid.h"
#include "common/train/language_model.h"
#include "papers/rat/rat.h"
#include "papers/rat/recall.h"
#include "papers/rat/speed.h"

namespace repro::rat {
namespace {

// ---------------------------------------------------------------- counting

absl::StatusOr<RatConfig> ReadConfig(const ExperimentRun& run,
                                     const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(claim, "model"));
  return RatConfig::Named(model, "1.3B");
}

absl::Status MeasureParameters(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const RatConfig config, ReadConfig(run, *claim));
    run.RecordCount(*claim, static_cast<double>(CountParameters(
                                RatModel(config, Initializer::Meta()))));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("rat", "parameters", MeasureParameters);

absl::Status MeasureCache(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const RatConfig config, ReadConfig(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    run.Record(*claim, CacheMebibytes(config, tokens));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("rat", "cache", MeasureCache);

absl::Status MeasureScorePairs(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const RatConfig config, ReadConfig(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    run.RecordCount(*claim, static_cast<double>(
                                ScorePairs(config.mixer(0), config, tokens)));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("rat", "score_pairs", MeasureScorePairs);

// ------------------------------------------------- quantities by their names

// One value a seed for each name.
using Quantities = std::map<std::string, std::vector<double>>;

// A claim's args `value` and `effect` are a name or a quotient of two,
// "rat/attention"; without `effect` the samples are what is tested.
constexpr const char* kExpressions[] = {"value", "effect"};

std::set<std::string> NamesInClaims(const ExperimentRun& run) {
  std::set<std::string> names;
  for (const Claim* claim : run.claims()) {
    for (const char* arg : kExpressions) {
      const absl::StatusOr<std::string> text = run.Arg(*claim, arg);
      if (!text.ok()) continue;
      for (const absl::string_view name : absl::StrSplit(*text, '/')) {
        names.emplace(name);
      }
    }
  }
  return names;
}

std::vector<double> Evaluate(const Quantities& quantities,
                             const std::string& expression) {
  const std::vector<std::string> names = absl::StrSplit(expression, '/');
  std::vector<double> values = quantities.at(names[0]);
  for (size_t n = 1; n < names.size(); ++n) {
    const std::vector<double>& divisor = quantities.at(names[n]);
    for (size_t i = 0; i < values.size(); ++i) values[i] /= divisor[i];
  }
  return values;
}

// `scale` says for a claim's value what was made smaller.
absl::Status RecordAll(
    ExperimentRun& run, const Quantities& quantities,
    const std::function<std::string(const std::string& value)>& scale) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string value, run.Arg(*claim, "value"));
    Observation observation;
    observation.samples = Evaluate(quantities, value);
    if (const absl::StatusOr<std::string> effect = run.Arg(*claim, "effect");
        effect.ok()) {
      observation.effects = Evaluate(quantities, *effect);
    }
    observation.scale = scale(value);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

// ------------------------------------------------------------ one layer (GPU)

struct LayerCase {
  Mixer mixer;
  int64_t length, batch;
};

// "rat@4096x64": mixer, length, batch.
absl::StatusOr<LayerCase> ParseLayerCase(const std::string& name) {
  const std::vector<std::string> parts =
      absl::StrSplit(name, absl::ByAnyChar("@x"));
  LayerCase result{};
  if (parts.size() == 3 && absl::SimpleAtoi(parts[1], &result.length) &&
      absl::SimpleAtoi(parts[2], &result.batch) && result.length > 0 &&
      result.batch > 0 && (parts[0] == "rat" || parts[0] == "attention")) {
    result.mixer = parts[0] == "rat" ? Mixer::kRat : Mixer::kAttention;
    return result;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("layer \"", name,
                   "\": expected rat or attention, \"@\", the length, "
                   "\"x\", the batch"));
}

absl::Status MeasureLayers(ExperimentRun& run, LayerTask task) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const RatConfig config,
                         RatConfig::Named("rat", "1.3B"));
  const std::set<std::string> names = NamesInClaims(run);
  Quantities milliseconds;
  double done = 0;
  for (const std::string& name : names) {
    REPRO_ASSIGN_OR_RETURN(const LayerCase c, ParseLayerCase(name));
    TimingOptions timing;
    timing.warmup = 1;
    timing.repetitions = 20;
    timing.max_seconds = 0.2;
    // Seconds a call.
    if (task != LayerTask::kGeneration && c.length >= 65536) {
      timing.repetitions = 1;
    }
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      try {
        milliseconds[name].push_back(TimeLayer(task, c.mixer, config, c.batch,
                                               c.length, device, seed, timing)
                                         .Median());
      } catch (const c10::Error& error) {
        return absl::InternalError(
            absl::StrCat(name, ": ", error.what_without_backtrace()));
      }
    }
    run.Progress(++done, names.size(), name);
  }
  return RecordAll(run, milliseconds, [](const std::string&) { return ""; });
}

absl::Status MeasureLayerTraining(ExperimentRun& run) {
  return MeasureLayers(run, LayerTask::kTraining);
}
REPRO_REGISTER_EXPERIMENT("rat", "layer_training", MeasureLayerTraining);

absl::Status MeasureLayerPrefill(ExperimentRun& run) {
  return MeasureLayers(run, LayerTask::kPrefill);
}
REPRO_REGISTER_EXPERIMENT("rat", "layer_prefill", MeasureLayerPrefill);

absl::Status MeasureLayerGeneration(ExperimentRun& run) {
  return MeasureLayers(run, LayerTask::kGeneration);
}
REPRO_REGISTER_EXPERIMENT("rat", "layer_generation", MeasureLayerGeneration);

// ---------------------------------------------------------- whole model (GPU)

absl::Status MeasureModels(ExperimentRun& run, absl::string_view size) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  const std::set<std::string> names = NamesInClaims(run);
  Quantities rates;
  std::map<std::string, int64_t> batches;
  double done = 0;
  for (const std::string& name : names) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const RatConfig config,
                           RatConfig::Named(name, size));
    try {
      const Throughput measured =
          MeasureThroughput(config, {}, device, run.seeds().front(),
                            static_cast<int>(run.seeds().size()));
      rates[name] = measured.tokens_per_second;
      batches[name] = measured.batch;
    } catch (const c10::Error& error) {
      return absl::InternalError(
          absl::StrCat(name, ": ", error.what_without_backtrace()));
    }
    run.Progress(++done, names.size(), name);
  }
  return RecordAll(run, rates, [&](const std::string& value) {
    std::vector<std::string> parts;
    for (const absl::string_view name : absl::StrSplit(value, '/')) {
      parts.push_back(
          absl::StrCat(name, " batch ", batches.at(std::string(name))));
    }
    return absl::StrJoin(parts, ", ");
  });
}

absl::Status MeasureThroughputs(ExperimentRun& run) {
  return MeasureModels(run, "1.3B");
}
REPRO_REGISTER_EXPERIMENT("rat", "throughput", MeasureThroughputs);

absl::Status MeasureThroughputs13B(ExperimentRun& run) {
  return MeasureModels(run, "13B");
}
REPRO_REGISTER_EXPERIMENT("rat", "throughput_13b", MeasureThroughputs13B);

// ------------------------------------------------------------ language models

struct SmallModels {
  int64_t dim, num_layers, num_heads;
  LanguageModelTraining training;
};

// "attention", "rnn", "rat16" for any chunk size.
absl::StatusOr<RatConfig> SmallConfig(const std::string& name,
                                      const SmallModels& small,
                                      int64_t vocab_size) {
  absl::string_view rest = name;
  int64_t chunk_size = 1;
  if (absl::ConsumePrefix(&rest, "rat") &&
      (!absl::SimpleAtoi(rest, &chunk_size) || chunk_size < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("model \"", name, "\": expected rat and a chunk size"));
  }
  REPRO_ASSIGN_OR_RETURN(
      RatConfig config,
      RatConfig::Named(absl::StartsWith(name, "rat") ? "rat" : name, "1.3B"));
  config.chunk_size = chunk_size;
  config.vocab_size = vocab_size;
  config.dim = small.dim;
  config.num_layers = small.num_layers;
  config.num_heads = small.num_heads;
  config.seq_len = small.training.seq_len;
  return config;
}

absl::Status MeasureLanguageModels(ExperimentRun& run,
                                   const SmallModels& small) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("tinyshakespeare"));
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const TextDataset data =
      MakeTextDataset(text, TextUnit::kCharacter).To(device);
  std::vector<NamedLanguageModel> models;
  for (const std::string& name : NamesInClaims(run)) {
    REPRO_ASSIGN_OR_RETURN(RatConfig config,
                           SmallConfig(name, small, data.vocab_size));
    if (device.is_cuda()) config.compute_dtype = at::kBFloat16;
    models.push_back({name, [config, device](uint64_t seed) {
                        return AsLanguageModel(std::make_unique<RatModel>(
                            config, Initializer(MakeGenerator(seed),
                                                at::TensorOptions(device).dtype(
                                                    at::kFloat))));
                      }});
  }
  REPRO_ASSIGN_OR_RETURN(
      const LanguageModelOutcomes outcomes,
      CompareLanguageModels(data, small.training, models, GridOfRun(run)));
  Quantities perplexities;
  for (const auto& [name, of_seeds] : outcomes) {
    for (const LanguageModelOutcome& outcome : of_seeds) {
      perplexities[name].push_back(Perplexity(outcome.valid_loss));
    }
  }
  return RecordAll(run, perplexities, [&](const std::string&) {
    return absl::StrCat(small.num_layers, " layers of ", small.dim, ", ",
                        small.training.steps, " steps of ",
                        small.training.batch_size, " x ",
                        small.training.seq_len, " characters");
  });
}

LanguageModelTraining Training(int64_t steps, int64_t batch_size,
                               int64_t seq_len, double rate) {
  LanguageModelTraining training;
  training.steps = steps;
  training.batch_size = batch_size;
  training.seq_len = seq_len;
  training.adam.rate = rate;
  training.adam.weight_decay = 0.1;
  training.warmup_steps = steps / 10;
  training.valid_windows = 128;
  training.valid_batch_size = 32;
  return training;
}

absl::Status MeasureChunkSizes(ExperimentRun& run) {
  return MeasureLanguageModels(run, {256, 6, 4, Training(400, 32, 512, 2e-3)});
}
REPRO_REGISTER_EXPERIMENT("rat", "chunk_sizes", MeasureChunkSizes);

absl::Status MeasureChunkSizesOnCpu(ExperimentRun& run) {
  return MeasureLanguageModels(run, {64, 2, 4, Training(200, 8, 128, 4e-3)});
}
REPRO_REGISTER_EXPERIMENT("rat", "chunk_sizes_small", MeasureChunkSizesOnCpu);

// ----------------------------------------------------------- recall (GPU)

absl::Status MeasureRecall(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  const std::set<std::string> names = NamesInClaims(run);
  RecallTraining training;
  training.task.vocab_size = 32;
  training.task.seq_len = 32;
  training.task.num_pairs = 4;
  training.steps = 1200;
  training.batch_size = 128;
  training.rate = 4e-3;
  training.train_examples = 20000;
  training.test_examples = 1000;
  SmallModels size{128, 2, 2, {}};
  size.training.seq_len = training.task.seq_len;
  std::map<std::string, RatConfig> models;
  for (const std::string& name : names) {
    REPRO_ASSIGN_OR_RETURN(models[name],
                           SmallConfig(name, size, training.task.vocab_size));
    if (device.is_cuda()) models[name].compute_dtype = at::kBFloat16;
  }
  REPRO_ASSIGN_OR_RETURN(
      const Quantities accuracies,
      CompareRecall(models, training, device, GridOfRun(run)));
  return RecordAll(run, accuracies, [&](const std::string&) {
    return absl::StrCat(training.task.num_pairs, " pairs in ",
                        training.task.seq_len, " tokens, 2 layers of 128, ",
                        training.steps, " steps");
  });
}
REPRO_REGISTER_EXPERIMENT("rat", "recall", MeasureRecall);

}  // namespace
}  // namespace repro::rat
