#include "papers/rank_ef/training.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/encoder/batching.h"
#include "common/encoder/objectives.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/tokenizer/bpe_trainer.h"
#include "common/tokenizer/loader.h"
#include "common/train/optimizer.h"
#include "common/train/trainer.h"

namespace repro::rank_ef {
namespace {

constexpr double kClipNorm = 1;

enum Stream : uint64_t { kWeights, kDropout, kGeneratorDropout, kOrder };

// Products of float32 matrices on a GPU's tensor cores while it lives.
class TensorFloat32 {
 public:
  TensorFloat32() : before_(at::globalContext().allowTF32CuBLAS()) {
    at::globalContext().setAllowTF32CuBLAS(true);
  }
  ~TensorFloat32() { at::globalContext().setAllowTF32CuBLAS(before_); }

 private:
  bool before_;
};

// The two models of soft sharing, of which the first ranks.
struct RankerPair : Module {
  RankerPair(const encoder::EncoderDecoderConfig& config, uint64_t seed,
             at::TensorOptions options)
      : classifier(Add("classifier", config, seed, kDropout, options)),
        generator(Add("generator", config, seed, kGeneratorDropout, options)) {}

  Ranker* classifier;
  Ranker* generator;

 private:
  // Equal weights, as both start from one pretrained model in the paper.
  Ranker* Add(const char* name, const encoder::EncoderDecoderConfig& config,
              uint64_t seed, uint64_t dropout, at::TensorOptions options) {
    return AddModule<Ranker>(
        name, config, Initializer(MakeGenerator(seed, kWeights), options),
        MakeGenerator(seed, dropout, options.device()));
  }
};

void CopyParameters(const Ranker& from, Ranker* to) {
  at::NoGradGuard no_grad;
  const std::vector<at::Tensor> sources = from.Parameters();
  const std::vector<at::Tensor> targets = to->Parameters();
  for (size_t i = 0; i < sources.size(); ++i) targets[i].copy_(sources[i]);
}

// The batches of a training, the same for all schemes of a seed.
class Batches {
 public:
  Batches(const EncodedExamples& examples, const RankerTraining& training,
          uint64_t seed, c10::Device device)
      : examples_(examples),
        training_(training),
        seed_(MixSeed(seed, kOrder)),
        device_(device) {
    for (const auto& input : examples.classification) {
      lengths_.push_back(static_cast<int64_t>(input.size()));
    }
    options_.batch_size = training.batch_size;
    // A problem's candidates have like lengths: keep them apart.
    options_.bucket_batches = 8;
    rows_ = encoder::LengthBatches(lengths_, options_, seed_, 0);
  }

  int64_t steps_per_epoch() const { return static_cast<int64_t>(rows_.size()); }

  RankerBatch Classification(int64_t step) {
    const std::vector<int64_t>& rows = Rows(step);
    RankerBatch batch = Inputs(examples_.classification, rows);
    std::vector<int64_t> labels;
    for (const int64_t row : rows) labels.push_back(examples_.labels[row]);
    batch.labels = at::tensor(labels, at::kLong).to(device_);
    return batch;
  }

  RankerBatch Generation(int64_t step) {
    const std::vector<int64_t>& rows = Rows(step);
    RankerBatch batch = Inputs(examples_.generation, rows);
    batch.labels =
        encoder::PadSequences(examples_.feedback, rows,
                              training_.feedback_tokens, encoder::kIgnoredLabel)
            .tokens.to(device_);
    return batch;
  }

 private:
  const std::vector<int64_t>& Rows(int64_t step) {
    const int64_t epoch = step / steps_per_epoch();
    if (epoch != epoch_) {
      rows_ = encoder::LengthBatches(lengths_, options_, seed_, epoch);
      epoch_ = epoch;
    }
    return rows_[step % steps_per_epoch()];
  }

  RankerBatch Inputs(const std::vector<std::vector<int32_t>>& inputs,
                     const std::vector<int64_t>& rows) const {
    const encoder::PaddedBatch padded =
        encoder::PadSequences(inputs, rows, training_.source_tokens, kPad);
    return {padded.tokens.to(device_), padded.mask.to(device_), {}};
  }

  const EncodedExamples& examples_;
  const RankerTraining& training_;
  uint64_t seed_;
  c10::Device device_;
  std::vector<int64_t> lengths_;
  encoder::LengthBatchingOptions options_;
  int64_t epoch_ = 0;
  std::vector<std::vector<int64_t>> rows_;  // of epoch_
};

// One run of `epochs`; `stage` of `stages` is for the progress alone.
absl::Status RunStage(Module& model, const RankerTraining& training,
                      int64_t steps_per_epoch, const LossFunction& loss,
                      int64_t stage, int64_t stages,
                      const TrainingHooks& hooks) {
  AdamOptions adam;
  adam.weight_decay = training.weight_decay;
  const auto optimizer = MakeAdamW(model.Parameters(), adam);
  TrainOptions options;
  options.num_steps = training.epochs * steps_per_epoch;
  options.rate = [&training](int64_t step) {
    const int64_t warmup = std::max<int64_t>(1, training.warmup_steps);
    return training.rate * std::min(1.0, static_cast<double>(step) / warmup);
  };
  options.clip_norm = kClipNorm;
  options.log_every = 50;
  options.cancelled = hooks.cancelled;
  if (hooks.progress) {
    options.progress = [&](int64_t done, int64_t total,
                           const std::string& text) {
      hooks.progress(stage * total + done, stages * total, text);
    };
  }
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  REPRO_ASSIGN_OR_RETURN(const TrainResult result, Train(options, state, loss));
  return result.cancelled ? absl::CancelledError("stopped") : absl::OkStatus();
}

std::vector<int32_t> Framed(std::vector<int32_t> ids, int64_t max_tokens) {
  ids.insert(ids.begin(), kBegin);
  ids.push_back(kEnd);
  if (static_cast<int64_t>(ids.size()) > max_tokens) ids.resize(max_tokens);
  return ids;
}

bool HeldOut(Split split, const Place& place, int64_t fold, int64_t folds) {
  const size_t index =
      split == Split::kByProblem ? place.problem : place.candidate;
  return static_cast<int64_t>(index % folds) == fold;
}

// What the rankers of one fold train on and score.
struct Fold {
  EncodedExamples train, held_out;
  encoder::EncoderDecoderConfig model;
};

absl::StatusOr<Fold> MakeFold(const CandidatePool& pool, Split split,
                              int64_t index, const ScaledRanker& options) {
  std::vector<Place> train, held_out;
  for (size_t p = 0; p < pool.candidates.size(); ++p) {
    for (size_t i = 0; i < pool.candidates[p].size(); ++i) {
      (HeldOut(split, {p, i}, index, options.folds) ? held_out : train)
          .push_back({p, i});
    }
  }
  REPRO_ASSIGN_OR_RETURN(const auto tokenizer,
                         TrainTokenizer(pool, train, options.vocab_size));
  Fold fold;
  REPRO_ASSIGN_OR_RETURN(
      fold.train,
      EncodeExamples(*tokenizer, pool, std::move(train), options.training));
  REPRO_ASSIGN_OR_RETURN(
      fold.held_out,
      EncodeExamples(*tokenizer, pool, std::move(held_out), options.training));
  fold.model = options.model;
  fold.model.vocab_size = tokenizer->vocab_size();
  fold.model.pad_id = kPad;
  fold.model.eos_id = kEnd;
  return fold;
}

Scores EmptyScores(const CandidatePool& pool) {
  Scores scores;
  for (const auto& candidates : pool.candidates) {
    scores.emplace_back(candidates.size(), 0.0);
  }
  return scores;
}

}  // namespace

ScaledRanker ScaledRanker::Default() {
  ScaledRanker options;
  options.model.dim = 256;
  options.model.num_heads = 4;
  options.model.head_dim = 64;
  options.model.ffn_dim = 1024;
  options.model.encoder_layers = 4;
  options.model.decoder_layers = 2;
  options.training.rate = 1e-3;
  options.training.warmup_steps = 100;
  options.training.epochs = 4;
  options.training.batch_size = 64;
  options.training.source_tokens = 384;
  options.training.feedback_tokens = 96;
  return options;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> TrainTokenizer(
    const CandidatePool& pool, const std::vector<Place>& places,
    int64_t vocab_size) {
  BpeTrainer trainer;
  std::vector<bool> seen(pool.problems.size(), false);
  for (const Place& place : places) {
    const Candidate& candidate =
        pool.candidates[place.problem][place.candidate];
    const std::string& prompt = pool.problems[place.problem].prompt;
    REPRO_RETURN_IF_ERROR(trainer.AddText(
        RankerInput(RankerTask::kClassification,
                    seen[place.problem] ? "" : prompt, candidate.completion)));
    REPRO_RETURN_IF_ERROR(trainer.AddText(FeedbackText(candidate.feedback)));
    seen[place.problem] = true;
  }
  BpeTrainingOptions options;
  options.vocab_size = vocab_size;
  options.special_tokens = {"<pad>", "<s>", "</s>"};
  REPRO_ASSIGN_OR_RETURN(const TrainedBpe bpe, trainer.Train(options));
  return ParseTokenizerJson(bpe.ToJson(), "", "the ranker's tokenizer");
}

absl::StatusOr<EncodedExamples> EncodeExamples(const Tokenizer& tokenizer,
                                               const CandidatePool& pool,
                                               std::vector<Place> places,
                                               const RankerTraining& training) {
  EncodedExamples examples;
  const size_t count = places.size();
  examples.classification.resize(count);
  examples.generation.resize(count);
  examples.feedback.resize(count);
  examples.labels.resize(count);
  EncodeOptions options;
  options.add_special_tokens = false;
  options.parse_special = false;
  const auto encode = [&](const std::string& text, int64_t max_tokens,
                          std::vector<int32_t>* ids) {
    REPRO_ASSIGN_OR_RETURN(*ids, tokenizer.Encode(text, options));
    *ids = Framed(std::move(*ids), max_tokens);
    return absl::OkStatus();
  };
  const auto encode_one = [&](size_t i) -> absl::Status {
    const std::string& prompt = pool.problems[places[i].problem].prompt;
    const Candidate& candidate =
        pool.candidates[places[i].problem][places[i].candidate];
    examples.labels[i] = static_cast<int64_t>(candidate.feedback.label);
    REPRO_RETURN_IF_ERROR(encode(
        RankerInput(RankerTask::kClassification, prompt, candidate.completion),
        training.source_tokens, &examples.classification[i]));
    REPRO_RETURN_IF_ERROR(encode(
        RankerInput(RankerTask::kGeneration, prompt, candidate.completion),
        training.source_tokens, &examples.generation[i]));
    return encode(FeedbackText(candidate.feedback), training.feedback_tokens,
                  &examples.feedback[i]);
  };
  std::vector<absl::Status> statuses(count);
  at::parallel_for(0, static_cast<int64_t>(count), /*grain_size=*/256,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       statuses[i] = encode_one(i);
                     }
                   });
  for (const absl::Status& status : statuses) REPRO_RETURN_IF_ERROR(status);
  examples.places = std::move(places);
  return examples;
}

absl::StatusOr<std::unique_ptr<Ranker>> TrainRanker(
    Scheme scheme, const EncodedExamples& examples,
    const encoder::EncoderDecoderConfig& model, const RankerTraining& training,
    uint64_t seed, c10::Device device, const TrainingHooks& hooks) {
  if (examples.labels.empty()) {
    return absl::InvalidArgumentError("a ranker without training examples");
  }
  const TensorFloat32 tensor_float32;
  const at::TensorOptions options = at::TensorOptions().device(device);
  Batches batches(examples, training, seed, device);
  const auto run = [&](Module& trained, const LossFunction& loss,
                       int64_t stage = 0, int64_t stages = 1) {
    return RunStage(trained, training, batches.steps_per_epoch(), loss, stage,
                    stages, hooks);
  };
  const double weight = training.loss_weight;
  auto ranker = std::make_unique<Ranker>(
      model, Initializer(MakeGenerator(seed, kWeights), options),
      MakeGenerator(seed, kDropout, device));
  const LossFunction classify = [&](int64_t step) {
    return ranker->ClassificationLoss(batches.Classification(step));
  };
  const LossFunction generate = [&](int64_t step) {
    return ranker->GenerationLoss(batches.Generation(step));
  };
  switch (scheme) {
    case Scheme::kSoft: {
      RankerPair pair(model, seed, options);
      REPRO_RETURN_IF_ERROR(run(pair, [&](int64_t step) {
        return weight * pair.classifier->ClassificationLoss(
                            batches.Classification(step)) +
               (1 - weight) *
                   pair.generator->GenerationLoss(batches.Generation(step)) +
               SoftSharingPenalty(*pair.classifier, *pair.generator);
      }));
      CopyParameters(*pair.classifier, ranker.get());
      break;
    }
    case Scheme::kHard:
      REPRO_RETURN_IF_ERROR(run(*ranker, [&](int64_t step) {
        return HardSharingLoss(*ranker, batches.Classification(step),
                               batches.Generation(step), weight);
      }));
      break;
    case Scheme::kIntermediate:
      REPRO_RETURN_IF_ERROR(run(*ranker, generate, 0, 2));
      REPRO_RETURN_IF_ERROR(run(*ranker, classify, 1, 2));
      break;
    default:
      REPRO_RETURN_IF_ERROR(run(*ranker, classify));
  }
  return ranker;
}

std::vector<std::vector<double>> ClassProbabilities(
    Ranker& ranker, const EncodedExamples& examples, int64_t batch_size,
    c10::Device device) {
  at::NoGradGuard no_grad;
  ranker.Train(false);
  const size_t count = examples.classification.size();
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return examples.classification[a].size() <
           examples.classification[b].size();
  });
  std::vector<std::vector<double>> probabilities(count);
  for (size_t begin = 0; begin < count; begin += batch_size) {
    const std::vector<int64_t> rows(
        order.begin() + begin,
        order.begin() + std::min<size_t>(count, begin + batch_size));
    const encoder::PaddedBatch batch = encoder::PadSequences(
        examples.classification, rows, /*max_length=*/0, kPad);
    const at::Tensor of_batch =
        at::softmax(
            ranker.ClassLogits(batch.tokens.to(device), batch.mask.to(device)),
            -1)
            .to(at::kCPU, at::kDouble)
            .contiguous();
    const double* data = of_batch.const_data_ptr<double>();
    for (size_t i = 0; i < rows.size(); ++i) {
      probabilities[rows[i]].assign(data + i * kNumClasses,
                                    data + (i + 1) * kNumClasses);
    }
  }
  ranker.Train(true);
  return probabilities;
}

std::string RankerVariant::Name() const {
  return loss_weight == 0.5 ? SchemeName(scheme)
                            : absl::StrCat(SchemeName(scheme), loss_weight);
}

absl::StatusOr<std::map<std::string, std::vector<HeldOutScores>>> CrossValidate(
    const CandidatePool& pool, const std::vector<RankerVariant>& variants,
    Split split, const ScaledRanker& options, c10::Device device, Grid grid) {
  if (options.folds < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cross-validation with ", options.folds, " folds: expected 2 or more"));
  }
  std::vector<Fold> folds;
  std::map<std::string, std::pair<RankerVariant, int64_t>> cells;
  grid.names.clear();
  for (int64_t f = 0; f < options.folds; ++f) {
    REPRO_ASSIGN_OR_RETURN(Fold fold, MakeFold(pool, split, f, options));
    folds.push_back(std::move(fold));
  }
  const auto cell_name = [split](const RankerVariant& variant, int64_t fold) {
    return absl::StrCat(variant.Name(),
                        split == Split::kByProblem ? "" : "-known", "-fold",
                        fold);
  };
  for (const RankerVariant& variant : variants) {
    for (int64_t f = 0; f < options.folds; ++f) {
      const std::string name = cell_name(variant, f);
      if (cells.emplace(name, std::make_pair(variant, f)).second) {
        grid.names.push_back(name);
      }
    }
  }
  const auto train =
      [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
    const auto& [variant, f] = cells.at(cell.name);
    RankerTraining training = options.training;
    training.loss_weight = variant.loss_weight;
    try {
      REPRO_ASSIGN_OR_RETURN(
          const std::unique_ptr<Ranker> ranker,
          TrainRanker(variant.scheme, folds[f].train, folds[f].model, training,
                      MixSeed(cell.seed, f), device,
                      {cell.progress, cell.cancelled}));
      std::vector<double> numbers;
      for (const std::vector<double>& of_example :
           ClassProbabilities(*ranker, folds[f].held_out, 256, device)) {
        numbers.insert(numbers.end(), of_example.begin(), of_example.end());
      }
      return numbers;
    } catch (const c10::Error& error) {
      return absl::InternalError(
          absl::StrCat(cell.name, ": ", error.what_without_backtrace()));
    }
  };
  REPRO_ASSIGN_OR_RETURN(const GridOutcomes outcomes, TrainGrid(grid, train));

  std::map<std::string, std::vector<HeldOutScores>> scores;
  for (const RankerVariant& variant : variants) {
    if (scores.count(variant.Name()) > 0) continue;
    std::vector<HeldOutScores> of_seeds(
        grid.seeds.size(), HeldOutScores{EmptyScores(pool), EmptyScores(pool)});
    for (int64_t f = 0; f < options.folds; ++f) {
      const auto& numbers = outcomes.at(cell_name(variant, f));
      const std::vector<Place>& places = folds[f].held_out.places;
      for (size_t s = 0; s < of_seeds.size(); ++s) {
        if (numbers[s].size() != places.size() * kNumClasses) {
          return absl::DataLossError(absl::StrCat(
              cell_name(variant, f), ": ", numbers[s].size(), " numbers for ",
              places.size(), " candidates: delete ", grid.checkpoint_dir));
        }
        for (size_t i = 0; i < places.size(); ++i) {
          const Place& place = places[i];
          const double* of_class = &numbers[s][i * kNumClasses];
          of_seeds[s].correct[place.problem][place.candidate] = of_class[0];
          of_seeds[s].execution_error[place.problem][place.candidate] =
              of_class[1];
        }
      }
    }
    scores[variant.Name()] = std::move(of_seeds);
  }
  return scores;
}

}  // namespace repro::rank_ef
