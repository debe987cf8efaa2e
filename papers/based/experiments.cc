// How each claim of claims.textproto is measured; arguments come from there.

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "common/claims/experiment.h"
#include "common/count/parameters.h"
#include "common/data/io.h"
#include "common/nn/initializer.h"
#include "common/nn/llama.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/train/experiment.h"
#include "common/train/grid.h"
#include "common/train/language_model.h"
#include "papers/based/based_model.h"
#include "papers/based/feature_map.h"
#include "papers/based/mqar_model.h"
#include "papers/based/speed.h"
#include "papers/based/text_models.h"

namespace repro::based {
namespace {

absl::Status UnknownArg(const Claim& claim, absl::string_view name,
                        absl::string_view value) {
  return absl::InvalidArgumentError(absl::StrCat(
      claim.id(), ": args.", name, " is '", value, "', which is not known"));
}

// ------------------------------------------------------------------ counting

absl::StatusOr<BasedConfig> NamedBased(const Claim& claim,
                                       absl::string_view name) {
  if (name == "based_360m") return BasedConfig::Size360M();
  if (name == "based_1.3b") return BasedConfig::Size1300M();
  // The speed benchmark's: 28 heads of 64 values in its linear layers.
  if (name == "based_1.3b_28_heads") {
    BasedConfig config = BasedConfig::Size1300M();
    config.linear_heads = 28;
    return config;
  }
  return UnknownArg(claim, "model", name);
}

// part: "all", or the parameters of the first layer whose name ends so:
// "linear", "sliding", "conv", "ffn".
absl::Status MeasureParameters(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string part, run.Arg(*claim, "part"));
    if (name == "attention_360m" || name == "attention_1.3b") {
      const Llama model(
          name == "attention_360m" ? Attention360M() : Attention1300M(),
          Initializer::Meta());
      run.RecordCount(*claim, static_cast<double>(CountParameters(model)));
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const BasedConfig config, NamedBased(*claim, name));
    const BasedModel model(config, Initializer::Meta());
    int64_t count = 0;
    if (part == "all") count = CountParameters(model);
    for (const auto& [prefix, parameters] : ParametersByPrefix(model)) {
      if (count == 0 && absl::EndsWith(prefix, absl::StrCat("_", part))) {
        count = parameters;
      }
    }
    if (count == 0) return UnknownArg(*claim, "part", part);
    run.RecordCount(*claim, static_cast<double>(count));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("based", "parameters", MeasureParameters);

// mixer=linear: dim, feature; mixer=sliding: dim, window.
absl::StatusOr<MqarModelConfig> MqarConfigOf(const ExperimentRun& run,
                                             const Claim& claim) {
  MqarModelConfig config;
  REPRO_ASSIGN_OR_RETURN(const std::string mixer, run.Arg(claim, "mixer"));
  REPRO_ASSIGN_OR_RETURN(config.dim, run.IntArg(claim, "dim"));
  if (mixer == "sliding") {
    config.mixer = MqarModelConfig::Mixer::kSliding;
    REPRO_ASSIGN_OR_RETURN(config.window, run.IntArg(claim, "window"));
  } else {
    REPRO_ASSIGN_OR_RETURN(config.feature_map, ParseFeatureMap(mixer));
    REPRO_ASSIGN_OR_RETURN(config.feature_dim, run.IntArg(claim, "feature"));
  }
  return config;
}

absl::Status MeasureStateBytes(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const MqarModelConfig config,
                           MqarConfigOf(run, *claim));
    run.Record(*claim, static_cast<double>(config.StateBytes()));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("based", "state_bytes", MeasureStateBytes);

// Numbers that a 1.3B model remembers of one sequence. of=linear: the sums of
// its linear layers; of=attention: the attention model's keys and values of
// `tokens` tokens.
absl::Status MeasureStateElements(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string of, run.Arg(*claim, "of"));
    double count = 0;
    if (of == "linear") {
      const BasedModel model(BasedConfig::Size1300M(), Initializer::Meta());
      for (const LayerState& layer : model.MakeState(1).layers) {
        if (!layer.sums.kv.defined()) continue;
        count += layer.sums.kv.numel() + layer.sums.k.numel();
      }
    } else if (of == "attention") {
      REPRO_ASSIGN_OR_RETURN(const int64_t tokens,
                             run.IntArg(*claim, "tokens"));
      const Llama model(Attention1300M(), Initializer::Meta());
      const LlamaCache cache = model.MakeCache(1, tokens);
      for (size_t l = 0; l < cache.k.size(); ++l) {
        count += cache.k[l].numel() + cache.v[l].numel();
      }
    } else {
      return UnknownArg(*claim, "of", of);
    }
    run.RecordCount(*claim, count);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("based", "state_elements", MeasureStateElements);

absl::Status MeasureTaylorError(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double s, run.DoubleArg(*claim, "s"));
    run.Record(*claim, TaylorError(s));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("based", "taylor_error", MeasureTaylorError);

// The ratio of the bytes that a decoding step of the two 1.3B models moves: the
// most that their throughputs can differ where memory is what limits both.
absl::Status MeasureByteRatio(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t batch, run.IntArg(*claim, "batch"));
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    REPRO_ASSIGN_OR_RETURN(const double attention,
                           BytesPerStep("attention_1.3b", batch, tokens));
    REPRO_ASSIGN_OR_RETURN(const double based,
                           BytesPerStep("based_1.3b", batch, tokens));
    run.Record(*claim, attention / based);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("based", "byte_ratio", MeasureByteRatio);

// --------------------------------------------------------------------- speed

// One sample a seed: Based's throughput over attention's, or with report=gain
// what it is more than 1.
absl::Status MeasureSpeeds(ExperimentRun& run, const SpeedOptions& options,
                           double ModelSpeed::*what) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  std::vector<double> ratios;
  double based_sum = 0, attention_sum = 0;
  for (const uint64_t seed : run.seeds()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(
        const ModelSpeed based,
        MeasureModelSpeed("based_1.3b", options, device, seed));
    REPRO_ASSIGN_OR_RETURN(
        const ModelSpeed attention,
        MeasureModelSpeed("attention_1.3b", options, device, seed));
    ratios.push_back(based.*what / attention.*what);
    based_sum += based.*what;
    attention_sum += attention.*what;
    run.Progress(static_cast<double>(ratios.size()),
                 static_cast<double>(run.seeds().size()), "seeds");
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    Observation observation;
    for (const double ratio : ratios) {
      observation.samples.push_back(report == "gain" ? 100 * (ratio - 1)
                                                     : ratio);
    }
    observation.scale = absl::StrFormat("Based %.0f, attention %.0f tokens/s",
                                        based_sum / ratios.size(),
                                        attention_sum / ratios.size());
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status MeasureGeneration(ExperimentRun& run) {
  SpeedOptions options;
  options.prefill_tokens = 0;
  return MeasureSpeeds(run, options, &ModelSpeed::generated_per_second);
}
REPRO_REGISTER_EXPERIMENT("based", "generation", MeasureGeneration);

absl::Status MeasurePrefill(ExperimentRun& run) {
  SpeedOptions options;
  options.new_tokens = 0;
  return MeasureSpeeds(run, options, &ModelSpeed::prefilled_per_second);
}
REPRO_REGISTER_EXPERIMENT("based", "prefill", MeasurePrefill);

// report=taylor or flash: that time; the effect is flash over Taylor, or with
// effect=time the sample itself.
absl::Status MeasureOperatorTimes(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  std::map<std::pair<int64_t, int64_t>, std::vector<OperatorTimes>> measured;
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const int64_t batch, run.IntArg(*claim, "batch"));
    REPRO_ASSIGN_OR_RETURN(const int64_t seq_len,
                           run.IntArg(*claim, "seq_len"));
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const std::string effect, run.Arg(*claim, "effect"));
    std::vector<OperatorTimes>& times = measured[{batch, seq_len}];
    if (times.empty()) {
      for (const uint64_t seed : run.seeds()) {
        times.push_back(MeasureOperators(batch, seq_len, device, seed));
      }
    }
    Observation observation;
    for (const OperatorTimes& t : times) {
      observation.samples.push_back(report == "flash" ? t.flash : t.taylor);
      if (effect == "ratio") observation.effects.push_back(t.flash / t.taylor);
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("based", "operator_times", MeasureOperatorTimes);

// -------------------------------------------------------------------- recall

// A claim's model and the one that its effect compares it with: rival=bytes is
// the sliding model of width `rival_dim` and as many state bytes, rival=sliding
// that of `rival_window`, rival=linear that of `rival_feature`, else the
// linear model of the same sizes with that feature map.
absl::StatusOr<MqarModelConfig> RivalOf(const ExperimentRun& run,
                                        const Claim& claim,
                                        const MqarModelConfig& config) {
  REPRO_ASSIGN_OR_RETURN(const std::string rival, run.Arg(claim, "rival"));
  MqarModelConfig other = config;
  if (rival == "bytes" || rival == "sliding") {
    other.mixer = MqarModelConfig::Mixer::kSliding;
    REPRO_ASSIGN_OR_RETURN(other.dim, run.IntArg(claim, "rival_dim"));
    if (rival == "bytes") {
      other.window = WindowOfBytes(other.dim, config.StateBytes());
    } else {
      REPRO_ASSIGN_OR_RETURN(other.window, run.IntArg(claim, "rival_window"));
    }
    return other;
  }
  other.mixer = MqarModelConfig::Mixer::kLinear;
  if (rival == "linear") {
    REPRO_ASSIGN_OR_RETURN(other.dim, run.IntArg(claim, "rival_dim"));
    REPRO_ASSIGN_OR_RETURN(other.feature_dim,
                           run.IntArg(claim, "rival_feature"));
    return other;
  }
  REPRO_ASSIGN_OR_RETURN(other.feature_map, ParseFeatureMap(rival));
  return other;
}

// Trains every model that a claim names once, all seeds of it as one stack.
// The value is the model's accuracy; the effect is that less the rival's, with
// report=difference the value too.
absl::Status MeasureRecall(ExperimentRun& run, const MqarTraining& training,
                           int64_t vocab_size, const std::string& scale) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  std::map<std::string, MqarModelConfig> models;
  std::vector<std::pair<std::string, std::string>> names;  // one a claim
  Grid grid = GridOfRun(run);
  const auto add = [&](MqarModelConfig config) {
    config.vocab_size = vocab_size;
    if (models.emplace(config.Name(), config).second) {
      grid.names.push_back(config.Name());
    }
    return config.Name();
  };
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const MqarModelConfig config,
                           MqarConfigOf(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const MqarModelConfig rival,
                           RivalOf(run, *claim, config));
    const std::string first = add(config);
    names.emplace_back(first, add(rival));
  }
  const MqarData data = MakeMqarData(training, device);
  grid.seeds = {run.seeds()[0]};  // stands for the stack of all seeds
  REPRO_ASSIGN_OR_RETURN(const GridOutcomes outcomes,
                         TrainGrid(grid, [&](const GridCell& cell) {
                           return TrainMqar(models.at(cell.name), training,
                                            data, run.seeds(), device, cell);
                         }));
  for (size_t c = 0; c < names.size(); ++c) {
    const Claim& claim = *run.claims()[c];
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(claim, "report"));
    const std::vector<double>& first = outcomes.at(names[c].first)[0];
    const std::vector<double>& second = outcomes.at(names[c].second)[0];
    Observation observation;
    double rival = 0;
    for (size_t i = 0; i < first.size(); ++i) {
      observation.effects.push_back(first[i] - second[i]);
      observation.samples.push_back(
          report == "difference" ? observation.effects.back() : first[i]);
      rival += second[i] / static_cast<double>(second.size());
    }
    observation.scale =
        absl::StrFormat("%s; rival %s (%d bytes) %.3f", scale, names[c].second,
                        models.at(names[c].second).StateBytes(), rival);
    run.Record(claim, std::move(observation));
  }
  return absl::OkStatus();
}

// 8 of 32 epochs, one learning rate of four.
absl::Status MeasureFrontier(ExperimentRun& run) {
  MqarTraining training = MqarTraining::Published();
  training.epochs = 8;
  return MeasureRecall(run, training, training.vocab_size,
                       "8 of 32 epochs, 1 of 4 learning rates");
}
REPRO_REGISTER_EXPERIMENT("based", "frontier", MeasureFrontier);
REPRO_REGISTER_EXPERIMENT("based", "feature_maps", MeasureFrontier);

// Small enough for two cores.
absl::Status MeasureRecallCpu(ExperimentRun& run) {
  MqarTraining training;
  training.vocab_size = 64;
  training.train = {{64, 8, 6400}};
  training.test = {{64, 8, 1000}};
  training.epochs = 10;
  training.batch_size = 64;
  training.rate = 1e-2;
  return MeasureRecall(run, training, training.vocab_size,
                       "64 tokens, 8 pairs, vocabulary 64, 1,000 steps of 64");
}
REPRO_REGISTER_EXPERIMENT("based", "recall_cpu", MeasureRecallCpu);

// --------------------------------------------------------- language modelling

// The ratio of the perplexities of `model` and `rival`, paired by seed.
absl::Status MeasureText(ExperimentRun& run, const TextModelSize& size,
                         const LanguageModelTraining& training) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("tinyshakespeare"));
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const TextDataset data =
      MakeTextDataset(text, TextUnit::kCharacter).To(device);
  std::set<std::string> names;
  for (const Claim* claim : run.claims()) {
    for (const char* arg : {"model", "rival"}) {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
      names.insert(name);
    }
  }
  std::vector<NamedLanguageModel> models;
  for (const std::string& name : names) {
    REPRO_ASSIGN_OR_RETURN(NamedLanguageModel model,
                           TextModel(name, size, data.vocab_size, device));
    models.push_back(std::move(model));
  }
  REPRO_ASSIGN_OR_RETURN(
      const LanguageModelOutcomes outcomes,
      CompareLanguageModels(data, training, models, GridOfRun(run)));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string rival, run.Arg(*claim, "rival"));
    Observation observation;
    double first = 0, second = 0;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      const double a = outcomes.at(model)[i].valid_loss;
      const double b = outcomes.at(rival)[i].valid_loss;
      observation.samples.push_back(Perplexity(a) / Perplexity(b));
      first += Perplexity(a) / static_cast<double>(run.seeds().size());
      second += Perplexity(b) / static_cast<double>(run.seeds().size());
    }
    observation.scale = absl::StrFormat(
        "%d layers of %d, %d steps of %d x %d characters; perplexity %.3f "
        "against %.3f",
        size.num_layers, size.dim, training.steps, training.batch_size,
        training.seq_len, first, second);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status MeasureSmallText(ExperimentRun& run) {
  LanguageModelTraining training;
  training.steps = 600;
  training.batch_size = 64;
  training.seq_len = 256;
  training.adam.weight_decay = 0.1;
  training.warmup_steps = 60;
  training.final_rate = 1e-4;
  return MeasureText(run, TextModelSize(), training);
}
REPRO_REGISTER_EXPERIMENT("based", "text", MeasureSmallText);

}  // namespace
}  // namespace repro::based
