#include "common/train/trainer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <fstream>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status/macros.h"
#include "common/text/duration.h"
#include "common/train/checkpoint.h"
#include "common/train/metrics_log.h"

namespace repro {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

at::Tensor FromDoubles(const std::vector<double>& values) {
  at::Tensor out =
      at::empty({static_cast<int64_t>(values.size())}, at::kDouble);
  std::copy(values.begin(), values.end(), out.data_ptr<double>());
  return out;
}

std::vector<double> ToDoubles(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.scalar_type() == at::kDouble && tensor.dim() == 1,
              "expected a vector of float64");
  const double* data = tensor.const_data_ptr<double>();
  return std::vector<double>(data, data + tensor.numel());
}

class Loop {
 public:
  Loop(const TrainOptions& options, const TrainState& state)
      : options_(options), state_(state) {}

  absl::StatusOr<TrainResult> Run(const LossFunction& loss,
                                  const EvaluateFunction& evaluate);

 private:
  absl::Status Validate(bool has_evaluate) const;

  // The tensors that a run changes in place, under the checkpoint's names.
  NamedTensors Tensors() const;
  absl::Status Save();
  // False: there is no checkpoint.
  absl::StatusOr<bool> Resume();
  absl::Status RestoreFrom(const Checkpoint& checkpoint);

  bool Due(int64_t every) const {
    return every > 0 && result_.steps % every == 0;
  }
  absl::Status Log(int64_t step, absl::string_view name, double value);
  absl::Status UpdateOnce(const LossFunction& loss);
  absl::Status EvaluateOnce(const EvaluateFunction& evaluate);
  void Report() const;

  const TrainOptions& options_;
  const TrainState& state_;
  TrainResult result_;
  int64_t evaluations_without_best_ = 0;
  double seconds_before_ = 0;  // of training, when the present run began
  Clock::time_point start_;
  Clock::time_point last_save_;
  std::optional<MetricsLog> log_;
};

absl::Status Loop::Validate(bool has_evaluate) const {
  if (options_.num_steps < 1 || options_.log_every < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("Train: num_steps ", options_.num_steps, " and log_every ",
                     options_.log_every, ": expected at least 1"));
  }
  if (state_.model == nullptr || state_.optimizer == nullptr) {
    return absl::InvalidArgumentError("Train: no model or no optimizer");
  }
  if (!has_evaluate &&
      (options_.evaluate_every != 0 || !options_.selection_metric.empty())) {
    return absl::InvalidArgumentError(
        "Train: evaluation is asked for and no function is given");
  }
  if (options_.patience > 0 && options_.selection_metric.empty()) {
    return absl::InvalidArgumentError(
        "Train: patience needs a selection_metric");
  }
  return absl::OkStatus();
}

NamedTensors Loop::Tensors() const {
  NamedTensors tensors;
  for (auto& [name, tensor] : state_.model->NamedParameters()) {
    tensors.emplace_back("model/" + name, tensor);
  }
  for (auto& [name, tensor] : state_.model->NamedBuffers()) {
    tensors.emplace_back("model/" + name, tensor);
  }
  const std::vector<at::Tensor>& moments = state_.optimizer->state();
  for (size_t i = 0; i < moments.size(); ++i) {
    tensors.emplace_back(absl::StrCat("optimizer/", i), moments[i]);
  }
  for (const auto& [name, tensor] : state_.extra) {
    tensors.emplace_back("extra/" + name, tensor);
  }
  return tensors;
}

absl::Status Loop::Save() {
  if (log_.has_value()) REPRO_RETURN_IF_ERROR(log_->Flush());
  if (options_.checkpoint_path.empty() || !options_.write_checkpoint) {
    return absl::OkStatus();
  }
  Checkpoint checkpoint;
  for (const auto& [name, tensor] : Tensors()) {
    checkpoint.tensors[name] = tensor;
  }
  for (size_t i = 0; i < state_.generators.size(); ++i) {
    checkpoint.tensors[absl::StrCat("generator/", i)] =
        state_.generators[i].get_state();
  }
  for (size_t i = 0; i < state_.plateaus.size(); ++i) {
    checkpoint.tensors[absl::StrCat("plateau/", i)] =
        FromDoubles(state_.plateaus[i]->State());
  }
  checkpoint.tensors["rates"] = FromDoubles(state_.optimizer->rates());
  checkpoint.tensors["progress"] =
      FromDoubles({static_cast<double>(result_.steps),
                   static_cast<double>(result_.best_step),
                   static_cast<double>(evaluations_without_best_),
                   static_cast<double>(result_.stopped_early),
                   result_.last_loss, seconds_before_ + SecondsSince(start_)});
  for (const auto& [name, value] : result_.last) {
    checkpoint.tensors["last/" + name] = FromDoubles({value});
  }
  for (const auto& [name, value] : result_.best) {
    checkpoint.tensors["best/" + name] = FromDoubles({value});
  }
  checkpoint.texts["identity"] = options_.identity;
  last_save_ = Clock::now();
  return WriteCheckpoint(options_.checkpoint_path, checkpoint);
}

absl::Status Loop::RestoreFrom(const Checkpoint& checkpoint) {
  const auto other_run = [&](absl::string_view why) {
    return absl::FailedPreconditionError(absl::StrCat(
        "checkpoint ", options_.checkpoint_path, " is of another run (", why,
        "): give another path, or delete it to train from the start"));
  };
  const auto identity = checkpoint.texts.find("identity");
  if (identity == checkpoint.texts.end() ||
      identity->second != options_.identity) {
    return other_run(
        absl::StrCat("its configuration is '",
                     identity == checkpoint.texts.end() ? "" : identity->second,
                     "', this one's is '", options_.identity, "'"));
  }

  // Everything is looked up and compared before anything is changed.
  const NamedTensors targets = Tensors();
  std::vector<at::Tensor> sources;
  for (const auto& [name, target] : targets) {
    const auto found = checkpoint.tensors.find(name);
    if (found == checkpoint.tensors.end()) {
      return other_run(absl::StrCat("it has no ", name));
    }
    if (found->second.sizes() != target.sizes() ||
        found->second.scalar_type() != target.scalar_type()) {
      return other_run(absl::StrCat(
          name, " is ", c10::str(found->second.sizes()), " there and ",
          c10::str(target.sizes()), " here, or of another dtype"));
    }
    sources.push_back(found->second);
  }
  const auto get = [&](const std::string& name) {
    const auto found = checkpoint.tensors.find(name);
    TORCH_CHECK(found != checkpoint.tensors.end(), "it has no ", name);
    return found->second;
  };
  try {
    const std::vector<double> progress = ToDoubles(get("progress"));
    const std::vector<double> rates = ToDoubles(get("rates"));
    TORCH_CHECK(progress.size() == 6, "its progress has ", progress.size(),
                " numbers");
    if (progress[0] > options_.num_steps) {
      return other_run(absl::StrCat("it has made ", progress[0],
                                    " steps of now ", options_.num_steps));
    }
    std::vector<at::Tensor> generators;
    for (size_t i = 0; i < state_.generators.size(); ++i) {
      generators.push_back(get(absl::StrCat("generator/", i)));
    }
    std::vector<std::vector<double>> plateaus;
    for (size_t i = 0; i < state_.plateaus.size(); ++i) {
      plateaus.push_back(ToDoubles(get(absl::StrCat("plateau/", i))));
    }
    state_.optimizer->SetRates(rates);
    for (size_t i = 0; i < generators.size(); ++i) {
      at::Generator generator = state_.generators[i];
      generator.set_state(generators[i]);
    }
    for (size_t i = 0; i < plateaus.size(); ++i) {
      state_.plateaus[i]->Restore(plateaus[i]);
    }
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < targets.size(); ++i) {
      targets[i].second.copy_(sources[i]);
    }
    result_.steps = static_cast<int64_t>(progress[0]);
    result_.best_step = static_cast<int64_t>(progress[1]);
    evaluations_without_best_ = static_cast<int64_t>(progress[2]);
    result_.stopped_early = progress[3] != 0;
    result_.last_loss = progress[4];
    seconds_before_ = progress[5];
    result_.resumed_from = result_.steps;
    for (const auto& [name, tensor] : checkpoint.tensors) {
      if (absl::StartsWith(name, "last/")) {
        result_.last[name.substr(5)] = ToDoubles(tensor).at(0);
      } else if (absl::StartsWith(name, "best/")) {
        result_.best[name.substr(5)] = ToDoubles(tensor).at(0);
      }
    }
  } catch (const c10::Error& error) {
    return other_run(error.what_without_backtrace());
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Loop::Resume() {
  if (options_.checkpoint_path.empty()) return false;
  const absl::StatusOr<Checkpoint> checkpoint =
      ReadCheckpoint(options_.checkpoint_path);
  if (absl::IsNotFound(checkpoint.status())) return false;
  if (!checkpoint.ok()) return checkpoint.status();
  REPRO_RETURN_IF_ERROR(RestoreFrom(*checkpoint));
  return true;
}

absl::Status Loop::UpdateOnce(const LossFunction& loss) {
  const int64_t step = result_.steps;
  Optimizer& optimizer = *state_.optimizer;
  if (options_.rate) optimizer.SetRate(options_.rate(step));
  optimizer.ZeroGradients();
  const at::Tensor value = loss(step);
  TORCH_CHECK(value.defined() && value.numel() == 1,
              "the loss is not a scalar");
  const bool log =
      (step + 1) % options_.log_every == 0 || step + 1 == options_.num_steps;
  if (log) {
    result_.last_loss = value.item<double>();
    if (!std::isfinite(result_.last_loss)) {
      return absl::InternalError(
          absl::StrCat("the loss of step ", step, " is ", result_.last_loss,
                       ": lower the learning rate, or clip gradients"));
    }
  }
  value.backward();
  if (options_.clip_norm > 0) {
    ClipGradientNorm(optimizer.parameters(), options_.clip_norm);
  }
  optimizer.Step();
  ++result_.steps;
  if (log && log_.has_value()) {
    log_->Append(result_.steps, "loss", result_.last_loss);
  }
  return absl::OkStatus();
}

absl::Status Loop::EvaluateOnce(const EvaluateFunction& evaluate) {
  {
    at::NoGradGuard no_grad;
    state_.model->Train(false);
    result_.last = evaluate(result_.steps);
    state_.model->Train(true);
  }
  if (log_.has_value()) {
    for (const auto& [name, value] : result_.last) {
      log_->Append(result_.steps, name, value);
    }
  }
  const std::string& metric = options_.selection_metric;
  if (metric.empty()) return absl::OkStatus();
  const auto found = result_.last.find(metric);
  if (found == result_.last.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Train: the evaluation returns no '", metric, "' to select by"));
  }
  const double value = found->second;
  const bool better =
      result_.best.empty()
          ? !std::isnan(value)
          : (options_.higher_is_better ? value > result_.best[metric]
                                       : value < result_.best[metric]);
  if (better) {
    result_.best = result_.last;
    result_.best_step = result_.steps;
    evaluations_without_best_ = 0;
  } else if (++evaluations_without_best_ >= options_.patience &&
             options_.patience > 0) {
    result_.stopped_early = true;
  }
  return absl::OkStatus();
}

void Loop::Report() const {
  if (!options_.progress) return;
  const double per_step =
      SecondsSince(start_) /
      std::max<int64_t>(1, result_.steps - result_.resumed_from);
  options_.progress(
      result_.steps, options_.num_steps,
      absl::StrFormat(
          "loss %.4g, %s left", result_.last_loss,
          FormatDuration(per_step * (options_.num_steps - result_.steps))));
}

absl::StatusOr<TrainResult> Loop::Run(const LossFunction& loss,
                                      const EvaluateFunction& evaluate) {
  REPRO_RETURN_IF_ERROR(Validate(evaluate != nullptr));
  REPRO_ASSIGN_OR_RETURN(const bool resumed, Resume());
  if (!options_.metrics_path.empty()) {
    REPRO_ASSIGN_OR_RETURN(
        log_,
        MetricsLog::Open(options_.metrics_path, resumed ? result_.steps : -1));
  }
  start_ = last_save_ = Clock::now();
  state_.model->Train(true);
  bool saved = resumed;
  while (result_.steps < options_.num_steps && !result_.stopped_early &&
         !result_.cancelled) {
    REPRO_RETURN_IF_ERROR(UpdateOnce(loss));
    saved = false;
    if (evaluate != nullptr &&
        (Due(options_.evaluate_every) || result_.steps == options_.num_steps)) {
      REPRO_RETURN_IF_ERROR(EvaluateOnce(evaluate));
    }
    if (Due(options_.checkpoint_steps) ||
        SecondsSince(last_save_) >= options_.checkpoint_seconds) {
      REPRO_RETURN_IF_ERROR(Save());
      saved = true;
    }
    Report();
    result_.cancelled = options_.cancelled && options_.cancelled() &&
                        result_.steps < options_.num_steps;
  }
  if (!saved) REPRO_RETURN_IF_ERROR(Save());
  result_.seconds = seconds_before_ + SecondsSince(start_);
  return result_;
}

}  // namespace

absl::StatusOr<TrainResult> Train(const TrainOptions& options,
                                  const TrainState& state,
                                  const LossFunction& loss,
                                  const EvaluateFunction& evaluate) {
  try {
    return Loop(options, state).Run(loss, evaluate);
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("training: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("training: ", error.what()));
  }
}

}  // namespace repro
