// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/claims/experiment.h"
#include "common/count/memory.h"
#include "common/count/parameters.h"
#include "common/count/timing.h"
#include "common/data/io.h"
#include "common/nn/initializer.h"
#include "common/nn/transnormer.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/experiment.h"
#include "common/train/language_model.h"
#include "kernels/rms_norm/rms_norm.h"
#include "papers/lightning_attention/generation.h"
#include "papers/lightning_attention/models.h"
#include "papers/lightning_attention/simple_rms_norm.h"
#include "papers/lightning_attention/stability.h"

namespace repro::lightning_attention {
namespace {

constexpr double kMiB = 1 << 20;
// The benchmark of SRMSNorm: x is [12, length, 2048] in bfloat16.
constexpr int64_t kNormBatch = 12;
constexpr int64_t kNormDim = 2048;

// ---------------------------------------------------------------- counting

// model=transformer: dim, layers, ffn, vocabulary. model=tnl: dim, layers,
// heads, glu, vocabulary; part=matrices leaves out LRPE's angles, part=layer is
// one layer without them.
absl::Status MeasureParameters(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const int64_t dim, run.IntArg(*claim, "dim"));
    REPRO_ASSIGN_OR_RETURN(const int64_t layers, run.IntArg(*claim, "layers"));
    REPRO_ASSIGN_OR_RETURN(const int64_t vocabulary,
                           run.IntArg(*claim, "vocabulary"));
    if (model == "transformer") {
      REPRO_ASSIGN_OR_RETURN(const int64_t ffn, run.IntArg(*claim, "ffn"));
      run.RecordCount(*claim, static_cast<double>(TransformerParameters(
                                  dim, layers, ffn, vocabulary)));
      continue;
    }
    TransnormerConfig config;
    config.dim = dim;
    config.num_layers = layers;
    config.vocab_size = vocabulary;
    config.tie_embeddings = true;
    config.lrpe = TransnormerLrpe::kNone;
    REPRO_ASSIGN_OR_RETURN(config.num_heads, run.IntArg(*claim, "heads"));
    REPRO_ASSIGN_OR_RETURN(config.glu_dim, run.IntArg(*claim, "glu"));
    REPRO_ASSIGN_OR_RETURN(const std::string part, run.Arg(*claim, "part"));
    const Transnormer tnl(config, Initializer::Meta());
    run.RecordCount(
        *claim, static_cast<double>(part == "layer"
                                        ? ParametersByPrefix(tnl).at("layer0")
                                        : CountParameters(tnl)));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "parameters",
                          MeasureParameters);

// operation over the printed `cells`: sum; ratio a / b; gain 1 - b / a; power2
// 2^a.
absl::Status RecomputePrinted(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string operation,
                           run.Arg(*claim, "operation"));
    REPRO_ASSIGN_OR_RETURN(const std::string cells, run.Arg(*claim, "cells"));
    std::vector<double> values;
    for (const absl::string_view cell : absl::StrSplit(cells, ',')) {
      double value = 0;
      if (!absl::SimpleAtod(cell, &value)) {
        return absl::InvalidArgumentError(absl::StrCat(
            claim->id(), ": '", cell, "' in args.cells is no number"));
      }
      values.push_back(value);
    }
    const size_t expected = operation == "power2" ? 1 : 2;
    if (operation != "sum" && values.size() != expected) {
      return absl::InvalidArgumentError(
          absl::StrCat(claim->id(), ": args.cells of ", operation, " needs ",
                       expected, " numbers, has ", values.size()));
    }
    if (operation == "sum") {
      double sum = 0;
      for (const double value : values) sum += value;
      run.Record(*claim, sum);
    } else if (operation == "ratio") {
      run.Record(*claim, values[0] / values[1]);
    } else if (operation == "gain") {
      run.RecordCount(*claim, 1 - values[1] / values[0]);
    } else if (operation == "power2") {
      run.Record(*claim, std::exp2(values[0]));
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat(claim->id(), ": args.operation is '", operation,
                       "': write sum, ratio, gain or power2"));
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "printed", RecomputePrinted);

// Heads and layers count from 1 here.
absl::Status MeasureDecays(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string convention,
                           run.Arg(*claim, "convention"));
    REPRO_ASSIGN_OR_RETURN(const int64_t head, run.IntArg(*claim, "head"));
    REPRO_ASSIGN_OR_RETURN(const int64_t layer, run.IntArg(*claim, "layer"));
    TransnormerConfig config;
    config.decay = convention == "published" ? TransnormerDecay::kAsPublished
                                             : TransnormerDecay::kAsCoded;
    REPRO_ASSIGN_OR_RETURN(config.num_heads, run.IntArg(*claim, "heads"));
    REPRO_ASSIGN_OR_RETURN(config.num_layers, run.IntArg(*claim, "layers"));
    run.Record(*claim,
               TransnormerSlopes(config, layer - 1)[head - 1].item<double>());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "decays", MeasureDecays);

// The decay exp(-0.5). Naive: the first token whose factor exp(0.5 t)
// overflows, which shows even for keys of 0. Robust: how many of `tokens`
// tokens overflow with q = k = v = 1.
absl::Status MeasureStability(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string form, run.Arg(*claim, "form"));
    REPRO_ASSIGN_OR_RETURN(const std::string dtype, run.Arg(*claim, "dtype"));
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, run.IntArg(*claim, "tokens"));
    const at::Tensor ones =
        at::ones({tokens}, dtype == "float16" ? at::kHalf : at::kFloat);
    const int64_t count =
        form == "naive"
            ? FirstNotFinite(NaiveRecurrence(ones, ones * 0, ones, 0.5))
            : CountNotFinite(RobustRecurrence(ones, ones, ones, 0.5));
    run.Record(*claim, static_cast<double>(count));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "stability", MeasureStability);

// ---------------------------------------------------------------- SRMSNorm

absl::Status MeasureNormMemory(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string pass, run.Arg(*claim, "pass"));
    REPRO_ASSIGN_OR_RETURN(const int64_t length, run.IntArg(*claim, "length"));
    const int64_t rows = kNormBatch * length;
    run.Record(*claim, (pass == "forward"
                            ? SimpleRmsNormForwardBytes(rows, kNormDim, 2)
                            : SimpleRmsNormBackwardBytes(rows, kNormDim, 2)) /
                           kMiB);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "norm_memory",
                          MeasureNormMemory);

absl::Status MeasureNormMemoryByAllocator(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  const at::TensorOptions options =
      at::TensorOptions(device).dtype(at::kBFloat16);
  const auto peak = [device](const std::function<void()>& f) {
    return PeakBytes(device, f);
  };
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string pass, run.Arg(*claim, "pass"));
    REPRO_ASSIGN_OR_RETURN(const int64_t length, run.IntArg(*claim, "length"));
    if (run.Cancelled()) return absl::CancelledError("norm_memory_allocator");
    const int64_t rows = kNormBatch * length;
    run.Record(*claim,
               (pass == "forward"
                    ? MeasureForwardBytes(rows, kNormDim, options, peak)
                    : MeasureBackwardBytes(rows, kNormDim, options, peak)) /
                   kMiB);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "norm_memory_allocator",
                          MeasureNormMemoryByAllocator);

struct NormTimes {  // milliseconds
  double fused = 0;
  double eager = 0;
};

// The medians of both, in turn, for one length and one seed.
NormTimes TimeNorms(bool backward, int64_t length, c10::Device device,
                    uint64_t seed) {
  const at::TensorOptions options = at::TensorOptions(device).dtype(
      device.is_cuda() ? at::kBFloat16 : at::kFloat);
  at::Generator random = MakeGenerator(seed, 0, device);
  const std::vector<int64_t> shape = {kNormBatch, length, kNormDim};
  const at::Tensor x = at::randn(shape, random, options);
  const at::Tensor dy = at::randn(shape, random, options);
  const auto median = [&](auto&& norm) {
    TimingOptions timing;
    timing.warmup = 5;
    timing.max_seconds = 2;
    timing.flush_cache = true;
    if (!backward) {
      return MeasureTime(
                 device, [&] { norm(x); }, timing)
          .Median();
    }
    const at::Tensor leaf = x.detach().requires_grad_();
    const at::Tensor y = norm(leaf);
    timing.before_each = [&] { leaf.mutable_grad().reset(); };
    return MeasureTime(
               device, [&] { y.backward(dy, /*retain_graph=*/true); }, timing)
        .Median();
  };
  NormTimes times;
  times.fused = median([](const at::Tensor& a) { return RmsNorm(a); });
  times.eager =
      median([](const at::Tensor& a) { return EagerSimpleRmsNorm(a); });
  return times;
}

absl::Status MeasureNormSpeed(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  std::map<std::pair<std::string, int64_t>, std::vector<NormTimes>> measured;
  double done = 0;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string pass, run.Arg(*claim, "pass"));
    REPRO_ASSIGN_OR_RETURN(const std::string kind, run.Arg(*claim, "kind"));
    REPRO_ASSIGN_OR_RETURN(const int64_t length, run.IntArg(*claim, "length"));
    std::vector<NormTimes>& times = measured[{pass, length}];
    if (times.empty()) {
      for (const uint64_t seed : run.seeds()) {
        if (run.Cancelled()) return absl::CancelledError("norm_speed");
        times.push_back(TimeNorms(pass == "backward", length, device, seed));
      }
    }
    Observation observation;
    for (const NormTimes& t : times) {
      observation.samples.push_back(kind == "fused" ? t.fused : t.eager);
      observation.effects.push_back(t.eager / t.fused);
    }
    run.Record(*claim, std::move(observation));
    run.Progress(++done, run.claims().size(), absl::StrCat(pass, " ", length));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "norm_speed",
                          MeasureNormSpeed);

// -------------------------------------------------------------- generation

// Claims: tokens per second of `model`; the effect is those of TNL over those
// of `rival`.
absl::Status MeasureGeneration(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  std::set<std::string> names = {"tnl"};
  for (const Claim* claim : run.claims()) {
    for (const char* arg : {"model", "rival"}) {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
      names.insert(name);
    }
  }
  const ThroughputOptions options;
  std::map<std::string, std::vector<double>> speeds;
  std::map<std::string, int64_t> batches;
  double done = 0;
  for (const std::string& name : names) {
    REPRO_ASSIGN_OR_RETURN(
        std::unique_ptr<TextGenerator> generator,
        MakeTextGenerator(name, device, run.seeds().front()));
    const int64_t batch = FillingBatch(*generator, options);
    batches[name] = batch;
    generator->Allocate(batch, options.prompt_tokens + options.new_tokens,
                        run.seeds().front());
    // The first pass of a model was seen at a third of the others' rate.
    TokensPerSecond(*generator, batch, options, device, run.seeds().front());
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("generation");
      speeds[name].push_back(
          TokensPerSecond(*generator, batch, options, device, seed));
    }
    run.Progress(++done, names.size(), name);
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string rival, run.Arg(*claim, "rival"));
    Observation observation;
    observation.samples = speeds[model];
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      observation.effects.push_back(speeds["tnl"][i] / speeds[rival][i]);
    }
    observation.scale =
        absl::StrCat("batch ", batches[model], "; TNL ", batches["tnl"]);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "generation",
                          MeasureGeneration);

// 8 sequences: reading 64K tokens of cache takes longer than launching.
absl::Status MeasureDecodeGrowth(ExperimentRun& run) {
  constexpr int64_t kBatch = 8, kShort = 1024, kLong = 65536, kSteps = 20;
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(std::unique_ptr<TextGenerator> generator,
                           MakeTextGenerator(absl::StrCat(model, "_385m"),
                                             device, run.seeds().front()));
    generator->Allocate(kBatch, kLong + 2 * kSteps, run.seeds().front());
    Observation observation;
    double short_ms = 0, long_ms = 0;
    // The first steps of a process load libraries and raise clocks.
    StepMilliseconds(*generator, kShort, kSteps, device);
    StepMilliseconds(*generator, kLong, kSteps, device);
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      if (run.Cancelled()) return absl::CancelledError("decode_growth");
      short_ms = StepMilliseconds(*generator, kShort, kSteps, device);
      long_ms = StepMilliseconds(*generator, kLong, kSteps, device);
      observation.samples.push_back(long_ms / short_ms);
    }
    observation.scale = absl::StrFormat(
        "batch 8: %.2f and %.2f ms, %.0f MB and %.0f MB a sequence", short_ms,
        long_ms, generator->BytesPerSequence(kShort) / 1e6,
        generator->BytesPerSequence(kLong) / 1e6);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "decode_growth",
                          MeasureDecodeGrowth);

// ---------------------------------------------------------------- training

absl::StatusOr<LanguageModelOutcomes> TrainSmallModels(
    ExperimentRun& run, const std::set<std::string>& names,
    const SmallModelSize& size, const LanguageModelTraining& training) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("tinyshakespeare"));
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const TextDataset data =
      MakeTextDataset(text, TextUnit::kCharacter).To(device);
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<NamedLanguageModel> models,
      SmallModels({names.begin(), names.end()}, size, data.vocab_size, device));
  return CompareLanguageModels(data, training, models, GridOfRun(run));
}

double Mean(const std::vector<LanguageModelOutcome>& outcomes) {
  double sum = 0;
  for (const LanguageModelOutcome& o : outcomes) sum += o.valid_loss;
  return sum / outcomes.size();
}

// Claims: the held-out loss of `model` in bits a character, with
// report=perplexity 2 to it, with report=difference the effect, which is the
// loss of `first` less that of `second`, paired by seed, with
// difference=absolute its absolute value.
absl::Status MeasureSmallModels(ExperimentRun& run, const SmallModelSize& size,
                                const LanguageModelTraining& training) {
  std::set<std::string> names;
  for (const Claim* claim : run.claims()) {
    for (const char* arg : {"model", "first", "second"}) {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
      names.insert(name);
    }
  }
  REPRO_ASSIGN_OR_RETURN(const LanguageModelOutcomes outcomes,
                         TrainSmallModels(run, names, size, training));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string a, run.Arg(*claim, "first"));
    REPRO_ASSIGN_OR_RETURN(const std::string b, run.Arg(*claim, "second"));
    REPRO_ASSIGN_OR_RETURN(const std::string difference,
                           run.Arg(*claim, "difference"));
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    Observation observation;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      const double nats = outcomes.at(model)[i].valid_loss;
      double effect =
          Bits(outcomes.at(a)[i].valid_loss - outcomes.at(b)[i].valid_loss);
      if (difference == "absolute") effect = std::abs(effect);
      observation.effects.push_back(effect);
      observation.samples.push_back(report == "difference"   ? effect
                                    : report == "perplexity" ? Perplexity(nats)
                                                             : Bits(nats));
    }
    observation.scale = absl::StrFormat(
        "%d steps of %d x %d characters; %s %.4f, %s %.4f bits", training.steps,
        training.batch_size, training.seq_len, a, Bits(Mean(outcomes.at(a))), b,
        Bits(Mean(outcomes.at(b))));
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status MeasureOnGpu(ExperimentRun& run) {
  return MeasureSmallModels(run, SmallModelSize(), SmallModelTraining());
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "transformer", MeasureOnGpu);
REPRO_REGISTER_EXPERIMENT("lightning_attention", "positions", MeasureOnGpu);
REPRO_REGISTER_EXPERIMENT("lightning_attention", "ablations", MeasureOnGpu);

absl::Status MeasureTransformerOnCpu(ExperimentRun& run) {
  SmallModelSize size;
  size.dim = 96;
  size.num_layers = 2;
  size.num_heads = 3;
  size.glu_dim = 256;
  LanguageModelTraining training = SmallModelTraining();
  training.steps = 200;
  training.batch_size = 16;
  training.seq_len = 128;
  training.adam.rate = 3e-3;
  training.warmup_steps = 20;
  return MeasureSmallModels(run, size, training);
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "transformer_cpu",
                          MeasureTransformerOnCpu);

// Claims: max over the steps of |loss of `form` - loss of chunked| / loss.
absl::Status MeasureLossCurve(ExperimentRun& run) {
  SmallModelSize size;
  size.dim = 64;
  size.num_layers = 2;
  size.num_heads = 2;
  size.glu_dim = 128;
  LanguageModelTraining training = SmallModelTraining();
  training.steps = 40;
  training.batch_size = 4;
  training.seq_len = 160;  // two whole chunks of 64 and a part
  training.warmup_steps = 4;
  training.valid_windows = 4;
  std::set<std::string> names = {"chunked"};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string form, run.Arg(*claim, "form"));
    names.insert(form);
  }
  REPRO_ASSIGN_OR_RETURN(const LanguageModelOutcomes outcomes,
                         TrainSmallModels(run, names, size, training));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string form, run.Arg(*claim, "form"));
    double largest = 0;
    for (size_t seed = 0; seed < run.seeds().size(); ++seed) {
      const std::vector<double>& a = outcomes.at("chunked")[seed].train_losses;
      const std::vector<double>& b = outcomes.at(form)[seed].train_losses;
      for (size_t step = 0; step < a.size(); ++step) {
        largest = std::max(largest, std::abs(a[step] - b[step]) / a[step]);
      }
    }
    run.Record(*claim, largest);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention", "loss_curve",
                          MeasureLossCurve);

}  // namespace
}  // namespace repro::lightning_attention
