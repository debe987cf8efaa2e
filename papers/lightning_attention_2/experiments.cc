// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/claims/experiment.h"
#include "common/count/flops.h"
#include "common/data/io.h"
#include "common/nn/initializer.h"
#include "common/nn/softmax_backend.h"
#include "common/nn/transnormer.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/experiment.h"
#include "common/train/language_model.h"
#include "kernels/lightning_attention/lightning_attention.h"
#include "papers/lightning_attention_2/kernel_speed.h"
#include "papers/lightning_attention_2/lightning_attention_2.h"
#include "papers/lightning_attention_2/training_speed.h"

namespace repro::lightning_attention_2 {
namespace {

// ------------------------------------------------------------ closed forms

absl::Status MeasureSlopes(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t heads, run.IntArg(*claim, "heads"));
    REPRO_ASSIGN_OR_RETURN(const int64_t head, run.IntArg(*claim, "head"));
    if (heads < 1 || head < 0 || head >= heads) {
      return absl::InvalidArgumentError(
          absl::StrCat("claim ", claim->id(), ": head ", head, " of ", heads));
    }
    run.Record(*claim, RepositorySlopes(heads)[head].item<double>());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "slopes", MeasureSlopes);

// What the operator does on the CPU, a token and head.
absl::Status MeasureMultiplyAdds(ExperimentRun& run) {
  constexpr int64_t kHeads = 2, kLength = 512;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t dim, run.IntArg(*claim, "head_dim"));
    const at::Tensor x = at::zeros({1, kHeads, kLength, dim});
    const int64_t total = CountFlops(FlopConvention::kConvMatmul, [&] {
                            LightningAttention(x, x, x, at::zeros({kHeads}));
                          }).total;
    run.Record(*claim, static_cast<double>(total) / (kHeads * kLength));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "multiply_adds",
                          MeasureMultiplyAdds);

struct KernelCase {
  Attention attention;
  Phase phase;
  BenchmarkShape shape;
};

// attention, phase, n. A claim may name another attention in `argument`.
absl::StatusOr<KernelCase> ReadKernelCase(
    const ExperimentRun& run, const Claim& claim,
    absl::string_view argument = "attention") {
  KernelCase result;
  REPRO_ASSIGN_OR_RETURN(const std::string attention, run.Arg(claim, argument));
  REPRO_ASSIGN_OR_RETURN(result.attention, ParseAttention(attention));
  REPRO_ASSIGN_OR_RETURN(const std::string phase, run.Arg(claim, "phase"));
  REPRO_ASSIGN_OR_RETURN(result.phase, ParsePhase(phase));
  if (claim.args().count("n") > 0) {
    REPRO_ASSIGN_OR_RETURN(result.shape.seq_len, run.IntArg(claim, "n"));
  }
  return result;
}

absl::Status MeasureMemoryFormula(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const KernelCase c, ReadKernelCase(run, *claim));
    run.Record(*claim, BenchmarkMebibytes(c.attention, c.phase, c.shape));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "memory_formula",
                          MeasureMemoryFormula);

// ------------------------------------------------------------ kernels (GPU)

// Effect: what is held over what is reported.
absl::Status MeasureMemory(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  double done = 0;
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const KernelCase c, ReadKernelCase(run, *claim));
    double reported;
    if (!absl::SimpleAtod(claim->reported(), &reported)) {
      return absl::InvalidArgumentError(
          absl::StrCat("claim ", claim->id(), ": reported \"",
                       claim->reported(), "\" is no number"));
    }
    Observation observation;
    try {
      for (size_t i = 0; i < run.seeds().size(); ++i) {
        observation.samples.push_back(
            MeasureMebibytes(c.attention, c.phase, c.shape, device));
        observation.effects.push_back(observation.samples.back() / reported);
      }
    } catch (const c10::Error& error) {
      return absl::InternalError(absl::StrCat("claim ", claim->id(), ": ",
                                              error.what_without_backtrace()));
    }
    run.Record(*claim, observation);
    run.Progress(++done, run.claims().size(), claim->id());
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "memory_allocator",
                          MeasureMemory);

constexpr int64_t kLengths[] = {512, 1024, 2048, 4096, 8192, 16384, 32768};

// Median milliseconds by (attention, n), one a seed, measured when asked for.
class KernelTimes {
 public:
  KernelTimes(ExperimentRun& run, c10::Device device, Phase phase)
      : run_(run), device_(device), phase_(phase) {}

  absl::StatusOr<std::vector<double>> At(Attention attention, int64_t n) {
    std::vector<double>& times = times_[{attention, n}];
    if (!times.empty()) return times;
    TimingOptions options;
    options.warmup = 2;
    options.repetitions = 20;
    options.max_seconds = 0.1;
    options.flush_cache = true;
    BenchmarkShape shape;
    shape.seq_len = n;
    try {
      for (const uint64_t seed : run_.seeds()) {
        if (run_.Cancelled()) return absl::CancelledError("stopped");
        times.push_back(
            MeasureKernel(attention, phase_, shape, device_, seed, options)
                .Median());
      }
    } catch (const c10::Error& error) {
      return absl::InternalError(
          absl::StrCat("n ", n, ": ", error.what_without_backtrace()));
    }
    constexpr double kAll = 3 * std::size(kLengths);
    run_.Progress(times_.size(), std::max<double>(kAll, times_.size()),
                  absl::StrCat("n ", n));
    return times;
  }

 private:
  ExperimentRun& run_;
  const c10::Device device_;
  const Phase phase_;
  std::map<std::pair<Attention, int64_t>, std::vector<double>> times_;
};

// The least-squares slope of log y over log x.
double LogLogSlope(const std::vector<double>& x, const std::vector<double>& y) {
  double mean_x = 0, mean_y = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    mean_x += std::log(x[i]) / x.size();
    mean_y += std::log(y[i]) / x.size();
  }
  double xy = 0, xx = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (std::log(x[i]) - mean_x) * (std::log(y[i]) - mean_y);
    xx += (std::log(x[i]) - mean_x) * (std::log(x[i]) - mean_x);
  }
  return xy / xx;
}

// Claims by `report`:
//   time      milliseconds at n. Effect by `effect`: ratio, the time of
//             `against` over it; growth, the exponent of n between n / 2 and n
//             (from 512: to 1024).
//   exponent  of n over the lengths from `from` on.
//   crossover the least n from which on it is faster than `against`, twice the
//             greatest n if it never is.
absl::Status MeasureKernels(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const KernelCase first,
                         ReadKernelCase(run, *run.claims()[0]));
  KernelTimes times(run, device, first.phase);
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const KernelCase c, ReadKernelCase(run, *claim));
    if (c.phase != first.phase) {
      return absl::InvalidArgumentError(
          absl::StrCat("claim ", claim->id(), ": another phase"));
    }
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    const int64_t n = c.shape.seq_len;
    Observation observation;
    if (report == "time") {
      REPRO_ASSIGN_OR_RETURN(observation.samples, times.At(c.attention, n));
      REPRO_ASSIGN_OR_RETURN(const std::string effect,
                             run.Arg(*claim, "effect"));
      if (effect == "ratio") {
        REPRO_ASSIGN_OR_RETURN(const KernelCase other,
                               ReadKernelCase(run, *claim, "against"));
        REPRO_ASSIGN_OR_RETURN(observation.effects,
                               times.At(other.attention, n));
        for (size_t i = 0; i < observation.effects.size(); ++i) {
          observation.effects[i] /= observation.samples[i];
        }
      } else {
        const bool shortest = n == kLengths[0];
        REPRO_ASSIGN_OR_RETURN(const std::vector<double> shorter,
                               times.At(c.attention, shortest ? n : n / 2));
        REPRO_ASSIGN_OR_RETURN(const std::vector<double> longer,
                               times.At(c.attention, shortest ? 2 * n : n));
        for (size_t i = 0; i < longer.size(); ++i) {
          observation.effects.push_back(std::log2(longer[i] / shorter[i]));
        }
      }
    } else if (report == "exponent") {
      REPRO_ASSIGN_OR_RETURN(const int64_t from, run.IntArg(*claim, "from"));
      std::vector<double> lengths;
      std::vector<std::vector<double>> of_seed(run.seeds().size());
      for (const int64_t length : kLengths) {
        if (length < from) continue;
        lengths.push_back(length);
        REPRO_ASSIGN_OR_RETURN(const std::vector<double> at,
                               times.At(c.attention, length));
        for (size_t i = 0; i < at.size(); ++i) of_seed[i].push_back(at[i]);
      }
      for (const std::vector<double>& of_lengths : of_seed) {
        observation.samples.push_back(LogLogSlope(lengths, of_lengths));
      }
    } else if (report == "crossover") {
      REPRO_ASSIGN_OR_RETURN(const KernelCase other,
                             ReadKernelCase(run, *claim, "against"));
      observation.samples.assign(run.seeds().size(),
                                 2.0 * *std::rbegin(kLengths));
      std::vector<bool> faster(run.seeds().size(), true);
      for (auto length = std::rbegin(kLengths); length != std::rend(kLengths);
           ++length) {
        REPRO_ASSIGN_OR_RETURN(const std::vector<double> ours,
                               times.At(c.attention, *length));
        REPRO_ASSIGN_OR_RETURN(const std::vector<double> theirs,
                               times.At(other.attention, *length));
        for (size_t i = 0; i < ours.size(); ++i) {
          faster[i] = faster[i] && ours[i] < theirs[i];
          if (faster[i]) observation.samples[i] = *length;
        }
      }
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("claim ", claim->id(), ": no report \"", report, "\""));
    }
    run.Record(*claim, observation);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "kernel_forward",
                          MeasureKernels);
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "kernel_backward",
                          MeasureKernels);

// ------------------------------------------------------------ training (GPU)

using Rates = std::map<std::pair<std::string, int64_t>, std::vector<double>>;

absl::StatusOr<std::vector<int64_t>> Lengths(const ExperimentRun& run,
                                             const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, run.Arg(claim, "lengths"));
  std::vector<int64_t> lengths;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    lengths.emplace_back();
    if (!absl::SimpleAtoi(part, &lengths.back()) || lengths.back() < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("claim ", claim.id(), ": lengths \"", text, "\""));
    }
  }
  return lengths;
}

// The rates that the claims need, all lengths of one model at a time.
absl::StatusOr<Rates> MeasureRates(ExperimentRun& run, c10::Device device) {
  Rates rates;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<int64_t> lengths,
                           Lengths(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const std::string models, run.Arg(*claim, "models"));
    for (const absl::string_view model : absl::StrSplit(models, ',')) {
      for (const int64_t n : lengths) rates[{std::string(model), n}];
    }
  }
  REPRO_ASSIGN_OR_RETURN(const std::string size,
                         run.Arg(*run.claims()[0], "size"));
  REPRO_ASSIGN_OR_RETURN(const int64_t tokens,
                         run.IntArg(*run.claims()[0], "tokens"));
  REPRO_ASSIGN_OR_RETURN(const ModelPair pair, ModelPair::Named(size));
  const SoftmaxBackend flash(at::SDPBackend::flash_attention);
  double done = 0;
  std::unique_ptr<TrainingSpeed> training;
  std::string current;
  for (auto& [key, of_steps] : rates) {
    const auto& [model, n] = key;
    if (run.Cancelled()) return absl::CancelledError("stopped");
    if (model != "tnl" && model != "llama") {
      return absl::InvalidArgumentError(
          absl::StrCat("model \"", model, "\": expected tnl or llama"));
    }
    try {
      if (model != current) {
        training.reset();
        if (device.is_cuda()) {
          c10::getDeviceAllocator(device.type())->emptyCache();
        }
        training =
            model == "tnl"
                ? std::make_unique<TrainingSpeed>(pair.transnormer, device)
                : std::make_unique<TrainingSpeed>(pair.llama, device);
        current = model;
      }
      of_steps = training->TokensPerSecond(BatchSize(tokens, n), n,
                                           run.seeds().size());
    } catch (const c10::Error& error) {
      return absl::InternalError(
          absl::StrCat(model, " at ", n, ": ", error.what_without_backtrace()));
    }
    run.Progress(++done, rates.size(), absl::StrCat(model, " at ", n));
  }
  return rates;
}

// a / b, step by step.
std::vector<double> Quotient(std::vector<double> a,
                             const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] /= b[i];
  return a;
}

// The first of `models` and of `lengths` is what the claim is about. By
// `report`:
//   rate    tokens a second. Effect by `effect`: kept, the rate over that at
//           the second length; fallen, its inverse; against, the rate over that
//           of the second model.
//   spread  the greatest rate over the least, of all lengths.
//   ratio   of the two models' rates.
absl::Status MeasureTraining(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const Rates rates, MeasureRates(run, device));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<int64_t> lengths,
                           Lengths(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const std::string model_text,
                           run.Arg(*claim, "models"));
    const std::vector<std::string> models = absl::StrSplit(model_text, ',');
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    const std::vector<double>& own = rates.at({models[0], lengths[0]});
    Observation observation;
    if (report == "rate") {
      REPRO_ASSIGN_OR_RETURN(const std::string effect,
                             run.Arg(*claim, "effect"));
      const std::vector<double>& other =
          rates.at({models.back(), lengths.back()});
      observation.samples = own;
      observation.effects =
          effect == "fallen" ? Quotient(other, own) : Quotient(own, other);
    } else if (report == "ratio") {
      observation.samples =
          Quotient(own, rates.at({models.back(), lengths[0]}));
    } else if (report == "spread") {
      for (size_t i = 0; i < own.size(); ++i) {
        double least = own[i], greatest = own[i];
        for (const int64_t n : lengths) {
          const double rate = rates.at({models[0], n})[i];
          least = std::min(least, rate);
          greatest = std::max(greatest, rate);
        }
        observation.samples.push_back(greatest / least);
      }
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("claim ", claim->id(), ": no report \"", report, "\""));
    }
    run.Record(*claim, observation);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "training_0.4b",
                          MeasureTraining);
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "training_1b",
                          MeasureTraining);
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "training_3b",
                          MeasureTraining);

// ------------------------------------------------------------ equal losses

// A mean over so many steps is a point of the compared curves.
constexpr size_t kCurveSteps = 10;

// The largest relative difference of the two curves of training losses.
double CurveDifference(const std::vector<double>& a,
                       const std::vector<double>& b) {
  double largest = 0;
  for (size_t begin = 0; begin + kCurveSteps <= a.size();
       begin += kCurveSteps) {
    double sum_a = 0, sum_b = 0;
    for (size_t i = begin; i < begin + kCurveSteps; ++i) {
      sum_a += a[i];
      sum_b += b[i];
    }
    largest = std::max(largest, std::abs(sum_a / sum_b - 1));
  }
  return largest;
}

// One small TNL, its attention by the quadratic form (as Lightning Attention-1
// and everything before computes it) and by the chunked operator. Claims:
// validation loss of `attention`; effect=curve, the largest relative difference
// of the training losses; effect=valid, that of the validation losses.
absl::Status MeasureLosses(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("tinyshakespeare"));
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const TextDataset data =
      MakeTextDataset(text, TextUnit::kCharacter).To(device);
  LanguageModelTraining training;
  training.steps = 120;
  training.batch_size = 4;
  training.seq_len = 256;
  training.adam.rate = 2e-3;
  training.warmup_steps = 20;
  training.valid_windows = 32;
  const auto make = [&](TransnormerAttention attention) {
    return [&, attention](uint64_t seed) {
      TransnormerConfig config;
      config.vocab_size = data.vocab_size;
      config.dim = 64;
      config.num_layers = 2;
      config.num_heads = 2;
      config.glu_dim = 176;
      config.tie_embeddings = true;
      config.attention = attention;
      auto model = std::make_unique<Transnormer>(
          config, Initializer(MakeGenerator(seed)));
      model->To(device);
      return AsLanguageModel(std::move(model));
    };
  };
  const Grid grid = GridOfRun(run);
  REPRO_ASSIGN_OR_RETURN(
      const LanguageModelOutcomes outcomes,
      CompareLanguageModels(
          data, training,
          {{"quadratic", make(TransnormerAttention::kQuadratic)},
           {"chunked", make(TransnormerAttention::kKernel)}},
          grid));
  const auto& quadratic = outcomes.at("quadratic");
  const auto& chunked = outcomes.at("chunked");
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string attention,
                           run.Arg(*claim, "attention"));
    REPRO_ASSIGN_OR_RETURN(const std::string effect, run.Arg(*claim, "effect"));
    if (outcomes.count(attention) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "claim ", claim->id(), ": attention \"", attention, "\""));
    }
    Observation observation;
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      observation.samples.push_back(outcomes.at(attention)[i].valid_loss);
      observation.effects.push_back(
          effect == "curve"
              ? CurveDifference(chunked[i].train_losses,
                                quadratic[i].train_losses)
              : std::abs(chunked[i].valid_loss / quadratic[i].valid_loss - 1));
    }
    observation.scale =
        "2 layers of 64, 120 steps of 4 x 256 characters of Tiny Shakespeare; "
        "nats a character";
    run.Record(*claim, observation);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("lightning_attention_2", "same_loss", MeasureLosses);

}  // namespace
}  // namespace repro::lightning_attention_2
