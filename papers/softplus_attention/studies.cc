#include "papers/softplus_attention/studies.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/count/memory.h"
#include "common/nn/softmax_backend.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/testbed/data.h"
#include "common/train/optimizer.h"
#include "common/train/trainer.h"

namespace repro::softplus_attention {
namespace {

// Streams of a seed; batches have those of RandomWindows and of the recipe.
enum Stream : uint64_t { kWeights = 0, kPasskeys = 1 };

// Tokens that are read side by side when losses are measured.
constexpr int64_t kTokensAtOnce = 16384;

std::unique_ptr<Gpt> MakeModel(GptConfig config, const AttentionForm& form,
                               uint64_t seed, c10::Device device) {
  if (device.is_cuda()) config.compute_dtype = at::kBFloat16;
  auto model = std::make_unique<Gpt>(
      config, Initializer(MakeGenerator(seed, kWeights),
                          at::TensorOptions(device).dtype(at::kFloat)));
  model->set_form(form);
  return model;
}

// The forms in which a model of a form is read besides its own.
std::vector<std::string> OtherReadings(const std::string& form) {
  if (form == "softmax") return {"softmax_window"};
  if (form == "lssa") return {"lssar15"};
  return {};
}

absl::Status CheckForms(const std::vector<std::string>& forms,
                        int64_t training_length) {
  for (const std::string& form : forms) {
    REPRO_RETURN_IF_ERROR(AttentionForm::Named(form, training_length).status());
  }
  return absl::OkStatus();
}

// What both studies ask of Train.
struct Schedules {
  int64_t steps;
  Schedule rate;
  double clip_norm;
  std::string identity;
};

// `loss` gives the loss of a step's batch.
absl::Status TrainModel(Gpt* model, Optimizer* optimizer,
                        const Schedules& schedules, const GridCell& cell,
                        const LossFunction& loss) {
  TrainOptions options;
  options.num_steps = schedules.steps;
  options.rate = schedules.rate;
  options.clip_norm = schedules.clip_norm;
  options.log_every = 50;
  options.checkpoint_path = cell.checkpoint_path;
  options.identity =
      absl::StrCat(cell.name, ", seed ", cell.seed, ", ", schedules.identity);
  options.progress = cell.progress;
  options.cancelled = cell.cancelled;
  TrainState state;
  state.model = model;
  state.optimizer = optimizer;
  REPRO_ASSIGN_OR_RETURN(const TrainResult result, Train(options, state, loss));
  if (result.cancelled) {
    return absl::CancelledError(
        absl::StrCat("stopped in the training of ", cell.name));
  }
  return absl::OkStatus();
}

// The losses of each reading at each length, then the far weight.
absl::StatusOr<std::vector<double>> TrainAndRead(
    const TextDataset& data, const ExtrapolationStudy& study,
    const GridCell& cell) {
  const LanguageModelTraining& training = study.training;
  REPRO_ASSIGN_OR_RETURN(const AttentionForm form,
                         AttentionForm::Named(cell.name, training.seq_len));
  GptConfig config = study.model;
  config.vocab_size = data.vocab_size;
  const std::unique_ptr<Gpt> model =
      MakeModel(config, form, cell.seed, data.train.device());
  const LogitsFunction logits = [&](const at::Tensor& tokens) {
    return model->Forward(tokens);
  };
  const auto optimizer = MakeAdamW(model->Parameters(), training.adam);
  REPRO_RETURN_IF_ERROR(TrainModel(
      model.get(), optimizer.get(),
      {training.steps,
       WarmupCosineRate(training.adam.rate, training.warmup_steps,
                        training.steps, /*start=*/0, training.final_rate),
       training.clip_norm,
       absl::StrCat(training.steps, " steps of ", training.batch_size, " x ",
                    training.seq_len, ", rate ", training.adam.rate)},
      cell, [&](int64_t step) {
        return NextTokenLoss(
            logits, RandomWindows(data.train, training.batch_size,
                                  training.seq_len + 1, cell.seed, step));
      }));
  std::vector<double> numbers;
  const auto read = [&](const AttentionForm& as) {
    model->set_form(as);
    for (const int64_t length : study.lengths) {
      numbers.push_back(EvaluateLanguageModel(
          logits,
          EvenWindows(data.valid, study.valid_tokens / length, length + 1),
          std::max<int64_t>(1, kTokensAtOnce / length)));
    }
    model->set_form(form);
  };
  read(form);
  for (const std::string& name : OtherReadings(cell.name)) {
    REPRO_ASSIGN_OR_RETURN(const AttentionForm other,
                           AttentionForm::Named(name, training.seq_len));
    read(other);
  }
  numbers.push_back(FarWeight(
      *model, EvenWindows(data.valid, study.look_windows, study.look_length),
      training.seq_len));
  return numbers;
}

// As testbed::RecallLoss for any model.
at::Tensor AnswerLoss(const Gpt& model, const testbed::TrainingBatch& batch,
                      double text_weight) {
  const int64_t length = batch.tokens.size(1) - 1;
  const at::Tensor loss = at::cross_entropy_loss(
      model.Forward(batch.tokens.narrow(1, 0, length))
          .flatten(0, 1)
          .to(at::kFloat),
      batch.tokens.narrow(1, 1, length).flatten(), {}, at::Reduction::None);
  const at::Tensor answers =
      batch.answers.narrow(1, 1, length).flatten().to(at::kFloat);
  const at::Tensor others = 1 - answers;
  return (loss * answers).sum() / answers.sum().clamp_min(1) +
         text_weight * (loss * others).sum() / others.sum().clamp_min(1);
}

absl::StatusOr<std::vector<double>> TrainAndAsk(const PasskeyStudy& study,
                                                c10::Device device,
                                                const GridCell& cell) {
  testbed::Recipe recipe = study.recipe;
  recipe.seed = MixSeed(recipe.seed, cell.seed);
  REPRO_ASSIGN_OR_RETURN(const AttentionForm form,
                         AttentionForm::Named(cell.name, recipe.context));
  GptConfig config = study.model;
  config.vocab_size = recipe.vocabulary.size();
  const std::unique_ptr<Gpt> model = MakeModel(config, form, cell.seed, device);
  if (recipe.symmetric_start) model->StartSymmetric();
  AdamOptions adam;
  adam.rate = recipe.rate;
  adam.beta1 = 0.9;
  adam.beta2 = recipe.beta2;
  adam.weight_decay = recipe.weight_decay;
  const auto optimizer = MakeAdamW(model->Parameters(), adam);
  REPRO_RETURN_IF_ERROR(TrainModel(
      model.get(), optimizer.get(),
      {recipe.steps(),
       WarmupCosineRate(recipe.rate, recipe.warmup_steps, recipe.steps(),
                        /*start=*/0, recipe.final_rate),
       recipe.clip_norm, absl::StrCat("recipe ", RecipeDigest(recipe))},
      cell, [&](int64_t step) {
        testbed::TrainingBatch batch = testbed::MakeTrainingBatch(recipe, step);
        batch.tokens = batch.tokens.to(device);
        batch.answers = batch.answers.to(device);
        return AnswerLoss(*model, batch, recipe.text_weight);
      }));
  std::vector<double> accuracies;
  for (const int64_t length : study.lengths) {
    accuracies.push_back(PasskeyAccuracy(
        [&](const at::Tensor& tokens) { return model->Forward(tokens); }, study,
        length, recipe.seed, device));
  }
  return accuracies;
}

// TrainGrid of what may throw.
absl::StatusOr<GridOutcomes> RunGrid(
    const Grid& grid,
    const std::function<absl::StatusOr<std::vector<double>>(const GridCell&)>&
        train) {
  return TrainGrid(
      grid, [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
        try {
          return train(cell);
        } catch (const c10::Error& error) {
          return absl::InternalError(
              absl::StrCat(cell.name, ": ", error.what_without_backtrace()));
        }
      });
}

// An operator by its name; some need `backend` to live while they run.
struct NamedOperator {
  std::unique_ptr<SoftmaxBackend> backend;
  std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v)>
      run;
};

absl::StatusOr<NamedOperator> FindOperator(absl::string_view name,
                                           int64_t length) {
  NamedOperator op;
  if (name == "flash" || name == "math") {
    op.backend = std::make_unique<SoftmaxBackend>(
        name == "flash" ? at::SDPBackend::flash_attention
                        : at::SDPBackend::math);
    op.run = [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
      return at::scaled_dot_product_attention(
          q, k, v, /*attn_mask=*/{}, /*dropout_p=*/0.0, /*is_causal=*/true);
    };
    return op;
  }
  const bool materialized = absl::ConsumeSuffix(&name, "_materialized");
  REPRO_ASSIGN_OR_RETURN(const AttentionForm form,
                         AttentionForm::Named(name, length));
  op.run = [form, materialized](const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v) {
    return materialized ? MaterializedAttention(q, k, v, form)
                        : SoftplusAttention(q, k, v, form);
  };
  return op;
}

// q, k, v.
std::vector<at::Tensor> RandomInputs(const OperatorShape& shape,
                                     c10::Device device, uint64_t seed) {
  const at::Generator generator = MakeGenerator(seed, 0, device);
  std::vector<at::Tensor> inputs;
  for (int i = 0; i < 3; ++i) {
    inputs.push_back(at::randn(
        {shape.batch, shape.heads, shape.length, shape.head_dim}, generator,
        at::TensorOptions(device).dtype(device.is_cuda() ? at::kBFloat16
                                                         : at::kFloat)));
  }
  return inputs;
}

}  // namespace

LanguageModelTraining PublishedTraining() {
  LanguageModelTraining training;
  training.steps = 18865;
  training.seq_len = 1024;
  return training;
}

absl::StatusOr<std::map<std::string, std::vector<ExtrapolationOutcome>>>
MeasureExtrapolation(const TextDataset& data, const ExtrapolationStudy& study,
                     const std::vector<std::string>& forms, Grid grid) {
  const LanguageModelTraining& training = study.training;
  REPRO_RETURN_IF_ERROR(
      CheckForms(forms, std::max<int64_t>(1, training.seq_len)));
  if (training.seq_len < 1 || training.batch_size < 1 ||
      training.warmup_steps < 0 || training.warmup_steps >= training.steps ||
      data.train.numel() <= training.seq_len) {
    return absl::InvalidArgumentError(absl::StrCat(
        "extrapolation: ", training.warmup_steps, " of ", training.steps,
        " steps warm up, ", training.batch_size, " windows of ",
        training.seq_len, " predictions from ", data.train.numel(),
        " tokens: expected fewer warm-up steps than steps and a window at "
        "least"));
  }
  for (const int64_t length : study.lengths) {
    // Windows that start evenly do not overlap if the text is long enough.
    if (length < 1 || study.valid_tokens < length ||
        study.valid_tokens + length >= data.valid.numel()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "extrapolation: ", study.valid_tokens, " tokens in windows of ",
          length, " out of ", data.valid.numel(), " for validation"));
    }
  }
  if (study.look_length <= training.seq_len || study.look_windows < 1 ||
      study.look_length > data.valid.numel()) {
    return absl::InvalidArgumentError(
        absl::StrCat("extrapolation: a look at ", study.look_windows,
                     " windows of ", study.look_length, " out of ",
                     data.valid.numel(), " tokens: expected more than the ",
                     training.seq_len, " of the training"));
  }
  grid.names = forms;
  REPRO_ASSIGN_OR_RETURN(const GridOutcomes numbers,
                         RunGrid(grid, [&](const GridCell& cell) {
                           return TrainAndRead(data, study, cell);
                         }));
  std::map<std::string, std::vector<ExtrapolationOutcome>> outcomes;
  for (const auto& [form, of_seeds] : numbers) {
    std::vector<std::string> readings = OtherReadings(form);
    readings.insert(readings.begin(), form);
    const size_t lengths = study.lengths.size();
    for (const std::vector<double>& values : of_seeds) {
      if (values.size() != readings.size() * lengths + 1) {
        return absl::DataLossError(
            absl::StrCat(form, ": a kept result has ", values.size(),
                         " numbers, expected ", readings.size() * lengths + 1));
      }
      ExtrapolationOutcome& outcome = outcomes[form].emplace_back();
      for (size_t r = 0; r < readings.size(); ++r) {
        outcome.losses[readings[r]].assign(values.begin() + r * lengths,
                                           values.begin() + (r + 1) * lengths);
      }
      outcome.far_weight = values.back();
    }
  }
  return outcomes;
}

double FarWeight(const Gpt& model, const at::Tensor& tokens, int64_t distance) {
  TORCH_CHECK(tokens.dim() == 2 && distance >= 1 && tokens.size(1) > distance,
              "tokens ", tokens.sizes(), ", expected windows of more than ",
              distance);
  double sum = 0;
  int64_t maps = 0;
  for (int64_t i = 0; i < tokens.size(0); ++i) {
    model.VisitWeights(tokens.narrow(0, i, 1), [&](const at::Tensor& weights) {
      sum += weights.to(at::kFloat)
                 .tril(-distance)
                 .narrow(2, distance, weights.size(2) - distance)
                 .sum(-1)
                 .mean()
                 .item<double>();
      ++maps;
    });
  }
  return 100 * sum / static_cast<double>(maps);
}

double PasskeyAccuracy(const LogitsFunction& logits, const PasskeyStudy& study,
                       int64_t length, uint64_t seed, c10::Device device) {
  const at::NoGradGuard no_grad;
  testbed::SequenceConfig config;
  config.vocabulary = study.recipe.vocabulary;
  config.task = testbed::Task::kPasskey;
  config.length = length;
  config.num_items = 1;
  config.answer_len = study.recipe.passkey_len;
  const testbed::Sequences sequences = testbed::MakeSequences(
      config, study.sequences, MakeGenerator(seed, kPasskeys));
  const int64_t at_once = std::max<int64_t>(1, kTokensAtOnce / length);
  double right = 0;
  for (int64_t begin = 0; begin < study.sequences; begin += at_once) {
    const int64_t count = std::min(at_once, study.sequences - begin);
    const at::Tensor tokens =
        sequences.tokens.narrow(0, begin, count).to(device);
    const at::Tensor asked = sequences.answers.narrow(0, begin, count)
                                 .narrow(1, 1, length - 1)
                                 .ge(0)
                                 .to(device);
    const at::Tensor wrong =
        logits(tokens.narrow(1, 0, length - 1)).argmax(-1) !=
        tokens.narrow(1, 1, length - 1);
    right += static_cast<double>(count) -
             (wrong & asked).any(-1).sum().item<double>();
  }
  return 100 * right / static_cast<double>(study.sequences);
}

absl::StatusOr<std::map<std::string, std::vector<std::vector<double>>>>
MeasurePasskeys(const PasskeyStudy& study,
                const std::vector<std::string>& forms, c10::Device device,
                Grid grid) {
  REPRO_RETURN_IF_ERROR(
      CheckForms(forms, std::max<int64_t>(1, study.recipe.context)));
  // "ask ordinal" and the answer, after a needle and the first symbol.
  const int64_t least = 5 + 2 * (study.recipe.passkey_len + 1);
  for (const int64_t length : study.lengths) {
    if (length < least) {
      return absl::InvalidArgumentError(absl::StrCat(
          "passkeys in ", length, " tokens, expected at least ", least));
    }
  }
  if (study.sequences < 1 || study.recipe.stages.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("passkeys: ", study.sequences, " sequences and ",
                     study.recipe.stages.size(),
                     " stages of training, expected at least 1"));
  }
  grid.names = forms;
  return RunGrid(grid, [&](const GridCell& cell) {
    return TrainAndAsk(study, device, cell);
  });
}

absl::StatusOr<double> TimeOperator(absl::string_view name,
                                    const OperatorShape& shape, bool backward,
                                    c10::Device device, uint64_t seed,
                                    const TimingOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const NamedOperator op,
                         FindOperator(name, shape.length));
  const std::vector<at::Tensor> in = RandomInputs(shape, device, seed);
  if (!backward) {
    const at::NoGradGuard no_grad;
    return MeasureTime(
               device, [&] { op.run(in[0], in[1], in[2]); }, options)
        .Median();
  }
  std::vector<at::Tensor> leaves = in;
  for (at::Tensor& x : leaves) x.requires_grad_();
  const at::Tensor gradient =
      at::randn(in[2].sizes(), MakeGenerator(seed, 1, device),
                in[2].options().requires_grad(false));
  TimingOptions timing = options;
  timing.before_each = [&] {
    for (at::Tensor& x : leaves) x.mutable_grad() = at::Tensor();
  };
  return MeasureTime(
             device,
             [&] {
               op.run(leaves[0], leaves[1], leaves[2]).backward(gradient);
             },
             timing)
      .Median();
}

absl::StatusOr<double> OperatorBytes(absl::string_view name,
                                     const OperatorShape& shape,
                                     c10::Device device) {
  REPRO_ASSIGN_OR_RETURN(const NamedOperator op,
                         FindOperator(name, shape.length));
  const std::vector<at::Tensor> in = RandomInputs(shape, device, /*seed=*/0);
  const at::NoGradGuard no_grad;
  // Libraries make the workspaces that they keep.
  op.run(in[0].narrow(2, 0, 1), in[1].narrow(2, 0, 1), in[2].narrow(2, 0, 1));
  return static_cast<double>(
      PeakBytes(device, [&] { op.run(in[0], in[1], in[2]); }));
}

}  // namespace repro::softplus_attention
