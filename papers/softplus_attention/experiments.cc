// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/claims/experiment.h"
#include "common/count/parameters.h"
#include "common/data/io.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/testbed/recipe.h"
#include "common/train/experiment.h"
#include "common/train/grid.h"
#include "common/train/language_model.h"
#include "papers/softplus_attention/gpt.h"
#include "papers/softplus_attention/softplus_attention.h"
#include "papers/softplus_attention/studies.h"

namespace repro::softplus_attention {
namespace {

constexpr char kSlug[] = "softplus_attention";

// --------------------------------------------------------------- definitions

absl::Status Settings(ExperimentRun& run) {
  const LanguageModelTraining training = PublishedTraining();
  const std::map<std::string, double> settings = {
      {"steps", training.steps},
      {"seq_len", training.seq_len},
      {"power_for_length", kPowerForLength},
      {"power_at_training_length", kPowerAtTrainingLength}};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "setting"));
    const auto found = settings.find(name);
    if (found == settings.end()) return UnknownName(*claim, "setting", name);
    run.Record(*claim, found->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "settings", Settings);

absl::Status Parameters(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    run.RecordCount(*claim, static_cast<double>(CountParameters(Gpt(
                                GptConfig::Gpt2Small(), Initializer::Meta()))));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "parameters", Parameters);

// The weights of one row, the last one of as many keys as there are cosines:
// the operator's output for values that are one where their key is.
std::vector<double> WeightsOfRow(const std::vector<double>& cosines,
                                 int64_t head_dim, const AttentionForm& form) {
  const auto n = static_cast<int64_t>(cosines.size());
  at::Tensor q = at::zeros({1, 1, 1, head_dim}, at::kDouble);
  at::Tensor k = at::zeros({1, 1, n, head_dim}, at::kDouble);
  q[0][0][0][0] = 1;
  for (int64_t j = 0; j < n; ++j) {
    k[0][0][j][0] = cosines[j];
    k[0][0][j][1] = std::sqrt(1 - cosines[j] * cosines[j]);
  }
  const at::Tensor weights = AttentionWeights(q, k, form).contiguous();
  return std::vector<double>(weights.const_data_ptr<double>(),
                             weights.const_data_ptr<double>() + n);
}

// The first key has cosine 1, the others have 0; the values tell the one from
// the others, as a matrix of weights would be large.
absl::Status OneKey(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t head_dim,
                           run.IntArg(*claim, "head_dim"));
    REPRO_ASSIGN_OR_RETURN(const int64_t visible,
                           run.IntArg(*claim, "visible"));
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    if (measure == "scale") {
      run.Record(*claim, LengthScale(head_dim, visible));
      continue;
    }
    at::Tensor q = at::zeros({1, 1, 1, head_dim}, at::kDouble);
    at::Tensor k = at::zeros({1, 1, visible, head_dim}, at::kDouble);
    at::Tensor v = at::zeros({1, 1, visible, 2}, at::kDouble);
    q[0][0][0][0] = 1;
    k[0][0].select(1, 1).fill_(1);
    k[0][0][0].zero_()[0] = 1;
    v[0][0].select(1, 1).fill_(1);
    v[0][0][0][0] = 1;
    v[0][0][0][1] = 0;
    const at::Tensor out = SoftplusAttention(q, k, v, AttentionForm());
    const double one = out[0][0][0][0].item<double>();
    const double others = out[0][0][0][1].item<double>();
    const auto i = static_cast<double>(visible);
    if (measure == "weight") {
      run.Record(*claim, one);
    } else if (measure == "relative") {
      run.Record(*claim, one * i);
    } else if (measure == "others") {
      run.Record(*claim, others * i / (i - 1));
    } else {
      return UnknownName(*claim, "measure", measure);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "one_key", OneKey);

absl::Status FourRows(ExperimentRun& run) {
  const std::vector<std::vector<double>> cosines = {
      {1}, {.5, 1}, {0, .5, 1}, {1, 0, .5, -.5}};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "form"));
    REPRO_ASSIGN_OR_RETURN(const int64_t row, run.IntArg(*claim, "row"));
    REPRO_ASSIGN_OR_RETURN(const int64_t key, run.IntArg(*claim, "key"));
    REPRO_ASSIGN_OR_RETURN(const AttentionForm form,
                           AttentionForm::Named(name, /*training_length=*/1));
    if (row < 1 || row > static_cast<int64_t>(cosines.size()) || key < 1 ||
        key > row) {
      return UnknownName(*claim, "row and key", absl::StrCat(row, ", ", key));
    }
    run.Record(*claim,
               WeightsOfRow(cosines[row - 1], /*head_dim=*/4, form)[key - 1]);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "four_rows", FourRows);

absl::Status LargestBases(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double power, run.DoubleArg(*claim, "power"));
    REPRO_ASSIGN_OR_RETURN(const std::string dtype, run.Arg(*claim, "dtype"));
    if (dtype != "float32" && dtype != "float16") {
      return UnknownName(*claim, "dtype", dtype);
    }
    run.Record(*claim,
               LargestBase(power, dtype == "float32" ? at::kFloat : at::kHalf));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "largest_base", LargestBases);

// -------------------------------------------------- losses beyond the training

// What a claim asks of the trained models. `effect` is
//   level         the loss itself
//   rise          less that of the trained form at the training length
//   rise_share    that over the same of softmax attention
//   above_<form>  less the loss of a model of that form (softmax_window: of
//                 softmax attention, read so) at the same length
//   far_weight    no loss but the share of attention beyond the training length
struct LossClaim {
  std::string trained, read, effect;
  int64_t length = 0;
  std::string rival;       // trained, or empty
  std::string rival_read;  // how it is read
};

absl::StatusOr<LossClaim> ReadLossClaim(const ExperimentRun& run,
                                        const Claim& claim) {
  LossClaim out;
  REPRO_ASSIGN_OR_RETURN(out.trained, run.Arg(claim, "trained"));
  REPRO_ASSIGN_OR_RETURN(out.read, run.Arg(claim, "read"));
  REPRO_ASSIGN_OR_RETURN(out.effect, run.Arg(claim, "effect"));
  REPRO_ASSIGN_OR_RETURN(out.length, run.IntArg(claim, "length"));
  absl::string_view rest = out.effect;
  if (out.effect == "rise_share") {
    out.rival = out.rival_read = "softmax";
  } else if (absl::ConsumePrefix(&rest, "above_")) {
    out.rival_read = std::string(rest);
    out.rival = rest == "softmax_window" ? "softmax" : std::string(rest);
  } else if (out.effect != "level" && out.effect != "rise" &&
             out.effect != "far_weight") {
    return UnknownName(claim, "effect", out.effect);
  }
  return out;
}

absl::Status MeasureLosses(ExperimentRun& run,
                           const ExtrapolationStudy& study) {
  std::vector<LossClaim> asked;
  std::set<std::string> forms;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(asked.emplace_back(), ReadLossClaim(run, *claim));
    forms.insert(asked.back().trained);
    if (!asked.back().rival.empty()) forms.insert(asked.back().rival);
  }
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("tinyshakespeare"));
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const TextDataset data =
      MakeTextDataset(text, TextUnit::kCharacter).To(device);
  REPRO_ASSIGN_OR_RETURN(
      const auto outcomes,
      MeasureExtrapolation(data, study, {forms.begin(), forms.end()},
                           GridOfRun(run)));
  for (size_t c = 0; c < asked.size(); ++c) {
    const Claim& claim = *run.claims()[c];
    const LossClaim& ask = asked[c];
    const auto place =
        std::find(study.lengths.begin(), study.lengths.end(), ask.length);
    if (place == study.lengths.end()) {
      return UnknownName(claim, "length", absl::StrCat(ask.length));
    }
    const auto at = place - study.lengths.begin();
    Observation observation;
    double rival_mean = 0;
    for (size_t s = 0; s < run.seeds().size(); ++s) {
      const ExtrapolationOutcome& own = outcomes.at(ask.trained)[s];
      if (ask.effect == "far_weight") {
        observation.samples.push_back(own.far_weight);
        continue;
      }
      if (own.losses.count(ask.read) == 0) {
        return UnknownName(claim, "reading", ask.read);
      }
      const double loss = own.losses.at(ask.read)[at];
      const double rise = loss - own.losses.at(ask.trained)[0];
      observation.samples.push_back(loss);
      if (ask.rival.empty()) {
        observation.effects.push_back(ask.effect == "rise" ? rise : loss);
        continue;
      }
      const auto& rival = outcomes.at(ask.rival)[s].losses;
      const double rival_loss = rival.at(ask.rival_read)[at];
      rival_mean += rival_loss / static_cast<double>(run.seeds().size());
      if (ask.effect == "rise_share") {
        // Of a loss that does not rise there is no share: undecided.
        const double whole = rival_loss - rival.at(ask.rival)[0];
        observation.effects.push_back(whole > 0 ? rise / whole : std::nan(""));
      } else {
        observation.effects.push_back(loss - rival_loss);
      }
    }
    observation.scale = absl::StrCat(
        study.model.num_layers, " layers of ", study.model.dim, ", ",
        study.training.steps, " of ", PublishedTraining().steps, " steps, ",
        study.training.seq_len, " of ", PublishedTraining().seq_len,
        " tokens, characters");
    if (!ask.rival.empty()) {
      absl::StrAppend(&observation.scale, "; ", ask.rival_read, " ",
                      std::round(rival_mean * 1000) / 1000);
    }
    run.Record(claim, std::move(observation));
  }
  return absl::OkStatus();
}

ExtrapolationStudy Study(int64_t dim, int64_t num_layers, int64_t steps,
                         int64_t batch_size, int64_t seq_len, double rate) {
  ExtrapolationStudy study;
  study.model.dim = dim;
  study.model.num_layers = num_layers;
  study.model.num_heads = dim / 64;
  study.training.steps = steps;
  study.training.batch_size = batch_size;
  study.training.seq_len = seq_len;
  study.training.adam.rate = rate;
  study.training.adam.weight_decay = 0.1;
  study.training.warmup_steps = steps / 10;
  study.training.final_rate = rate / 10;
  for (const int64_t times : {1, 2, 4, 8, 16}) {
    study.lengths.push_back(times * seq_len);
  }
  study.look_length = 8 * seq_len;
  return study;
}

absl::Status MeasureValidationLoss(ExperimentRun& run) {
  ExtrapolationStudy study = Study(384, 6, 1000, 64, 256, 1e-3);
  study.valid_tokens = 98304;
  return MeasureLosses(run, study);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "validation_loss", MeasureValidationLoss);

absl::Status MeasureValidationLossOnCpu(ExperimentRun& run) {
  ExtrapolationStudy study = Study(128, 2, 500, 16, 64, 3e-3);
  study.valid_tokens = 32768;
  return MeasureLosses(run, study);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "validation_loss_small",
                          MeasureValidationLossOnCpu);

// -------------------------------------------------------------------- passkeys

// effect=accuracy; kept: that over the accuracy at the training length;
// above_softmax: less that of softmax attention at the same length.
absl::Status MeasurePasskeyClaims(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  PasskeyStudy study;
  REPRO_ASSIGN_OR_RETURN(study.recipe, testbed::FindRecipe("testbed_small"));
  study.recipe.rate = 1e-3;  // the recipe's is for a width of 64
  study.recipe.final_rate = 1e-5;
  study.model.dim = 256;
  study.model.num_layers = 4;
  study.model.num_heads = 4;
  study.lengths = {256, 384, 1024, 2048};
  std::set<std::string> forms;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string trained,
                           run.Arg(*claim, "trained"));
    REPRO_ASSIGN_OR_RETURN(const std::string effect, run.Arg(*claim, "effect"));
    forms.insert(trained);
    if (effect == "above_softmax") forms.insert("softmax");
  }
  REPRO_ASSIGN_OR_RETURN(const auto accuracies,
                         MeasurePasskeys(study, {forms.begin(), forms.end()},
                                         device, GridOfRun(run)));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string trained,
                           run.Arg(*claim, "trained"));
    REPRO_ASSIGN_OR_RETURN(const std::string effect, run.Arg(*claim, "effect"));
    REPRO_ASSIGN_OR_RETURN(const int64_t length, run.IntArg(*claim, "length"));
    const auto place =
        std::find(study.lengths.begin(), study.lengths.end(), length);
    if (place == study.lengths.end()) {
      return UnknownName(*claim, "length", absl::StrCat(length));
    }
    const auto at = place - study.lengths.begin();
    Observation observation;
    for (size_t s = 0; s < run.seeds().size(); ++s) {
      const std::vector<double>& own = accuracies.at(trained)[s];
      observation.samples.push_back(own[at]);
      if (effect == "accuracy") {
        observation.effects.push_back(own[at]);
      } else if (effect == "kept") {
        observation.effects.push_back(own[at] / own[0]);
      } else if (effect == "above_softmax") {
        observation.effects.push_back(own[at] -
                                      accuracies.at("softmax")[s][at]);
      } else {
        return UnknownName(*claim, "effect", effect);
      }
    }
    observation.scale = absl::StrCat(
        study.model.num_layers, " layers of ", study.model.dim, ", ",
        study.recipe.steps(), " steps on generated recall of up to ",
        study.recipe.context, " tokens");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "passkey", MeasurePasskeyClaims);

// -------------------------------------------------------------- operator (GPU)

// The time of `name` over that of `rival`, one ratio a seed.
absl::Status MeasureOperatorTime(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  TimingOptions timing;
  timing.max_seconds = 0.5;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "name"));
    REPRO_ASSIGN_OR_RETURN(const std::string rival, run.Arg(*claim, "rival"));
    REPRO_ASSIGN_OR_RETURN(const int64_t backward,
                           run.IntArg(*claim, "backward"));
    OperatorShape shape;
    REPRO_ASSIGN_OR_RETURN(shape.length, run.IntArg(*claim, "length"));
    Observation observation;
    double own_mean = 0, rival_mean = 0;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      try {
        REPRO_ASSIGN_OR_RETURN(
            const double own,
            TimeOperator(name, shape, backward != 0, device, seed, timing));
        REPRO_ASSIGN_OR_RETURN(
            const double other,
            TimeOperator(rival, shape, backward != 0, device, seed, timing));
        observation.samples.push_back(own / other);
        own_mean += own / static_cast<double>(run.seeds().size());
        rival_mean += other / static_cast<double>(run.seeds().size());
      } catch (const c10::Error& error) {
        return absl::InternalError(
            absl::StrCat(claim->id(), ": ", error.what_without_backtrace()));
      }
    }
    observation.scale =
        absl::StrCat(own_mean, " ms, ", rival, " ", rival_mean, " ms");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "operator_time", MeasureOperatorTime);

// GiB of `name`, or with a `rival` its bytes over the rival's.
absl::Status MeasureOperatorMemory(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "name"));
    REPRO_ASSIGN_OR_RETURN(const std::string rival, run.Arg(*claim, "rival"));
    OperatorShape shape;
    REPRO_ASSIGN_OR_RETURN(shape.length, run.IntArg(*claim, "length"));
    Observation observation;
    for (size_t s = 0; s < run.seeds().size(); ++s) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      try {
        REPRO_ASSIGN_OR_RETURN(const double bytes,
                               OperatorBytes(name, shape, device));
        double divisor = std::pow(2.0, 30);
        if (!rival.empty()) {
          REPRO_ASSIGN_OR_RETURN(divisor, OperatorBytes(rival, shape, device));
        }
        observation.samples.push_back(bytes / divisor);
      } catch (const c10::Error& error) {
        return absl::InternalError(
            absl::StrCat(claim->id(), ": ", error.what_without_backtrace()));
      }
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "operator_memory", MeasureOperatorMemory);

}  // namespace
}  // namespace repro::softplus_attention
