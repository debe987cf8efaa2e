#include "papers/mango/pair_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/nn/greedy.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/tokenizer/bpe_trainer.h"
#include "common/tokenizer/loader.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"
#include "papers/mango/comments.h"

namespace repro::mango {
namespace {

enum Stream : uint64_t { kWeights, kOrder, kTrainTexts, kTestTexts };
enum DataStream : uint64_t { kTrainTasks, kGapTasks, kTestTasks };

constexpr double kClipNorm = 1;
constexpr int64_t kMaxProgramTokens = 256;
constexpr int64_t kGapBatch = 64;

// Short, since the decoders are small: two headers, without a preamble.
std::string PromptOf(const PairTask& task) {
  return absl::StrCat("### Instruction:\n", task.task, "\n\n### Response:");
}

absl::StatusOr<std::vector<std::vector<int32_t>>> EncodeWordings(
    const Tokenizer& tokenizer, PrefixKind kind) {
  std::vector<std::vector<int32_t>> ids;
  for (const std::string& wording : Wordings(kind)) {
    REPRO_ASSIGN_OR_RETURN(ids.emplace_back(),
                           tokenizer.Encode(absl::StrCat(" ", wording, "\n")));
  }
  return ids;
}

absl::StatusOr<std::vector<EncodedTask>> EncodeTasks(
    const Tokenizer& tokenizer, const std::vector<PairTask>& tasks) {
  std::vector<EncodedTask> encoded;
  for (const PairTask& task : tasks) {
    EncodedTask& one = encoded.emplace_back();
    REPRO_ASSIGN_OR_RETURN(one.prompt, tokenizer.Encode(PromptOf(task)));
    REPRO_ASSIGN_OR_RETURN(one.commented,
                           tokenizer.Encode(ToTabs(task.commented)));
    REPRO_ASSIGN_OR_RETURN(one.bare, tokenizer.Encode(ToTabs(task.bare)));
  }
  return encoded;
}

// A sentence of the data, or of the other kind with `plain_share`.
class SentenceDrawer {
 public:
  SentenceDrawer(const PairData& data, double plain_share, uint64_t seed)
      : data_(data), plain_share_(plain_share), random_(seed) {}

  const std::vector<int32_t>& Draw(PrefixKind kind) {
    const double share = static_cast<double>(random_() >> 11) * 0x1p-53;
    const bool plain = kind == PrefixKind::kPlain || share < plain_share_;
    const auto& wordings = plain ? data_.plain : data_.comment;
    return wordings[random_() % wordings.size()];
  }

 private:
  const PairData& data_;
  const double plain_share_;
  std::mt19937_64 random_;
};

TokenPair PairOf(const EncodedTask& task, const std::vector<int32_t>& sentence,
                 bool commented) {
  TokenPair pair;
  pair.prompt = task.prompt;
  pair.prompt.insert(pair.prompt.end(), sentence.begin(), sentence.end());
  pair.positive = commented ? task.commented : task.bare;
  pair.positive.push_back(kEnd);
  pair.negative = commented ? task.bare : task.commented;
  return pair;
}

// Which tasks a step trains on: a permutation an epoch.
class Order {
 public:
  Order(int64_t size, int64_t batch_size, uint64_t seed)
      : seed_(seed), batch_size_(batch_size), rows_(size) {}

  std::vector<int64_t> At(int64_t step) {
    const int64_t batches = static_cast<int64_t>(rows_.size()) / batch_size_;
    if (step / batches != epoch_) {
      epoch_ = step / batches;
      for (size_t i = 0; i < rows_.size(); ++i) {
        rows_[i] = static_cast<int64_t>(i);
      }
      std::mt19937_64 random(MixSeed(seed_, epoch_));
      for (size_t i = rows_.size(); i > 1; --i) {
        std::swap(rows_[i - 1], rows_[random() % i]);
      }
    }
    const auto begin = rows_.begin() + (step % batches) * batch_size_;
    return {begin, begin + batch_size_};
  }

 private:
  const uint64_t seed_;
  const int64_t batch_size_;
  std::vector<int64_t> rows_;
  int64_t epoch_ = -1;
};

absl::StatusOr<PairOutcome> TrainAndMeasure(const PairStudy& study,
                                            const PairData& data, Arm arm,
                                            uint64_t seed,
                                            const exec::Sandbox& sandbox,
                                            int workers, c10::Device device,
                                            const GridCell& cell) {
  LlamaConfig config = study.model;
  config.vocab_size = data.tokenizer->vocab_size();
  Llama model(config, Initializer(MakeGenerator(seed, kWeights),
                                  at::TensorOptions().device(device)));
  const auto optimizer = MakeAdamW(model.Parameters(), {});
  TrainOptions options;
  options.num_steps = study.steps;
  options.rate = WarmupCosineRate(study.rate, study.warmup_steps, study.steps);
  options.clip_norm = kClipNorm;
  options.log_every = 20;
  options.checkpoint_path = cell.checkpoint_path;
  options.identity = absl::StrCat("mango pairs ", ArmName(arm), " ", seed, " ",
                                  study.steps, " ", study.batch_size);
  options.progress = cell.progress;
  options.cancelled = cell.cancelled;
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  PairOptions loss_options;
  loss_options.margin = study.margin;
  loss_options.contrast = arm == Arm::kMango;
  const auto logits = [&model](const at::Tensor& tokens) {
    return model.Forward(tokens);
  };
  Order order(static_cast<int64_t>(data.train_ids.size()), study.batch_size,
              MixSeed(seed, kOrder));
  const LossFunction loss = [&](int64_t step) -> at::Tensor {
    SentenceDrawer sentences(data, study.plain_share,
                             MixSeed(MixSeed(seed, kTrainTexts), step));
    std::vector<TokenPair> pairs;
    for (const int64_t row : order.At(step)) {
      const bool commented = arm != Arm::kBare;
      pairs.push_back(PairOf(
          data.train_ids[row],
          sentences.Draw(commented ? PrefixKind::kComment : PrefixKind::kPlain),
          commented));
    }
    const auto batch = MakePairBatch(pairs, kSeparator, kPad);
    TORCH_CHECK(batch.ok(), batch.status().ToString());
    const PairBatch on_device = batch->To(device);
    if (!loss_options.contrast) {
      // The negative costs as much as the positive, and is not needed.
      return TargetLoss(logits(on_device.positive), on_device.positive_labels)
          .mean();
    }
    return ForwardPairs(logits, on_device, PairForm::kTwoPasses, loss_options)
        .total.mean();
  };
  REPRO_ASSIGN_OR_RETURN(const TrainResult trained,
                         Train(options, state, loss));
  if (trained.cancelled) return absl::CancelledError("stopped");
  model.Train(false);
  PairOutcome outcome = MeasureGap(model, data, seed, device);
  const auto solved = [&](PrefixKind kind,
                          double* comments) -> absl::StatusOr<double> {
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<std::string> programs,
        WritePrograms(model, data, kind, kMaxProgramTokens, seed, device));
    REPRO_ASSIGN_OR_RETURN(const std::vector<bool> passed,
                           SolvedBy(sandbox, data.test, programs, workers));
    const auto total = static_cast<double>(passed.size());
    const auto with_comment = std::count_if(
        programs.begin(), programs.end(), [](const std::string& program) {
          return CountLines(program).comments > 0;
        });
    *comments = 100.0 * static_cast<double>(with_comment) / total;
    return 100.0 *
           static_cast<double>(std::count(passed.begin(), passed.end(), true)) /
           total;
  };
  double unused = 0;
  REPRO_ASSIGN_OR_RETURN(outcome.solved_comment,
                         solved(PrefixKind::kComment, &outcome.comments));
  REPRO_ASSIGN_OR_RETURN(outcome.solved_plain,
                         solved(PrefixKind::kPlain, &unused));
  return outcome;
}

}  // namespace

const char* ArmName(Arm arm) {
  switch (arm) {
    case Arm::kBare:
      return "bare";
    case Arm::kCommented:
      return "commented";
    case Arm::kMango:
      return "mango";
  }
  return "";
}

absl::StatusOr<Arm> ParseArm(absl::string_view name) {
  for (const Arm arm : {Arm::kBare, Arm::kCommented, Arm::kMango}) {
    if (name == ArmName(arm)) return arm;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no arm ", Quoted(name), ": bare, commented or mango"));
}

PairStudy PairStudy::Small() {
  PairStudy study;
  study.model.dim = 96;
  study.model.num_layers = 3;
  study.model.num_heads = 4;
  study.model.ffn_dim = 256;
  study.model.tie_embeddings = true;
  study.train_tasks = 20000;
  study.gap_tasks = 256;
  study.test_tasks = 300;
  study.min_steps = 1;
  study.max_steps = 2;
  study.steps = 400;
  study.batch_size = 32;
  study.rate = 3e-3;
  study.warmup_steps = 50;
  return study;
}

PairStudy PairStudy::Large() {
  PairStudy study;
  study.model.dim = 512;
  study.model.num_layers = 8;
  study.model.num_heads = 8;
  study.model.ffn_dim = 1408;
  study.model.tie_embeddings = true;
  study.model.compute_dtype = at::kBFloat16;
  study.train_tasks = 50000;
  study.gap_tasks = 1000;
  study.test_tasks = 1000;
  study.min_steps = 2;
  study.max_steps = 5;
  study.steps = 3000;
  study.batch_size = 128;
  study.rate = 6e-4;
  study.warmup_steps = 200;
  return study;
}

std::vector<double> PairOutcome::Numbers() const {
  return {solved_comment, solved_plain, gap, positive, comments};
}

PairOutcome PairOutcome::FromNumbers(const std::vector<double>& numbers) {
  return {numbers.at(0), numbers.at(1), numbers.at(2), numbers.at(3),
          numbers.at(4)};
}

absl::StatusOr<PairData> MakePairData(const PairStudy& study, uint64_t seed) {
  PairData data;
  std::set<std::string> taken;
  const auto draw = [&](int64_t count, DataStream stream) {
    return DrawPairTasks(count, study.min_steps, study.max_steps,
                         MixSeed(seed, stream), &taken);
  };
  REPRO_ASSIGN_OR_RETURN(data.test, draw(study.test_tasks, kTestTasks));
  REPRO_ASSIGN_OR_RETURN(data.gap, draw(study.gap_tasks, kGapTasks));
  REPRO_ASSIGN_OR_RETURN(data.train, draw(study.train_tasks, kTrainTasks));
  BpeTrainer trainer;
  for (const PairTask& task : data.train) {
    REPRO_RETURN_IF_ERROR(trainer.AddText(PromptOf(task)));
    REPRO_RETURN_IF_ERROR(trainer.AddText(ToTabs(task.commented)));
    REPRO_RETURN_IF_ERROR(trainer.AddText(ToTabs(task.bare)));
  }
  BpeTrainingOptions options;
  options.vocab_size = study.vocab_size;
  options.special_tokens = {"<pad>", "</s>", "###"};
  REPRO_ASSIGN_OR_RETURN(const TrainedBpe bpe, trainer.Train(options));
  REPRO_ASSIGN_OR_RETURN(
      data.tokenizer,
      ParseTokenizerJson(bpe.ToJson(), "", "the pairs' tokenizer"));
  REPRO_ASSIGN_OR_RETURN(data.train_ids,
                         EncodeTasks(*data.tokenizer, data.train));
  REPRO_ASSIGN_OR_RETURN(data.gap_ids, EncodeTasks(*data.tokenizer, data.gap));
  REPRO_ASSIGN_OR_RETURN(data.test_ids,
                         EncodeTasks(*data.tokenizer, data.test));
  REPRO_ASSIGN_OR_RETURN(data.plain,
                         EncodeWordings(*data.tokenizer, PrefixKind::kPlain));
  REPRO_ASSIGN_OR_RETURN(data.comment,
                         EncodeWordings(*data.tokenizer, PrefixKind::kComment));
  return data;
}

absl::StatusOr<std::vector<std::string>> WritePrograms(
    const Llama& model, const PairData& data, PrefixKind kind,
    int64_t max_tokens, uint64_t seed, c10::Device device) {
  SentenceDrawer sentences(data, /*plain_share=*/0, MixSeed(seed, kTestTexts));
  std::vector<std::vector<int32_t>> prompts;
  for (const EncodedTask& task : data.test_ids) {
    const std::vector<int32_t>& sentence = sentences.Draw(kind);
    std::vector<int32_t>& prompt = prompts.emplace_back(task.prompt);
    prompt.insert(prompt.end(), sentence.begin(), sentence.end());
  }
  std::vector<std::string> programs;
  for (const std::vector<int32_t>& written :
       WriteGreedily(model, prompts, kEnd, max_tokens, device)) {
    REPRO_ASSIGN_OR_RETURN(const std::string text,
                           data.tokenizer->Decode(written));
    programs.push_back(FromTabs(text));
  }
  return programs;
}

PairOutcome MeasureGap(const Llama& model, const PairData& data, uint64_t seed,
                       c10::Device device) {
  at::NoGradGuard no_grad;
  SentenceDrawer sentences(data, /*plain_share=*/0, MixSeed(seed, kTestTexts));
  PairOutcome outcome;
  double positive = 0, negative = 0;
  const auto total = static_cast<int64_t>(data.gap_ids.size());
  for (int64_t begin = 0; begin < total; begin += kGapBatch) {
    std::vector<TokenPair> pairs;
    for (int64_t i = begin; i < std::min(total, begin + kGapBatch); ++i) {
      pairs.push_back(
          PairOf(data.gap_ids[i], sentences.Draw(PrefixKind::kComment), true));
    }
    const auto batch = MakePairBatch(pairs, kSeparator, kPad);
    TORCH_CHECK(batch.ok(), batch.status().ToString());
    const PairLoss loss = ForwardPairs(
        [&model](const at::Tensor& tokens) { return model.Forward(tokens); },
        batch->To(device), PairForm::kTwoPasses, {});
    positive += loss.positive.sum().item<double>();
    negative += loss.negative.sum().item<double>();
  }
  outcome.positive = positive / static_cast<double>(total);
  outcome.gap = (negative - positive) / static_cast<double>(total);
  return outcome;
}

absl::StatusOr<std::map<Arm, std::vector<PairOutcome>>> TrainPairs(
    const PairStudy& study, const PairData& data, const std::vector<Arm>& arms,
    const exec::Sandbox& sandbox, int workers, c10::Device device, Grid grid) {
  if (study.batch_size < 1 ||
      study.batch_size > static_cast<int64_t>(data.train_ids.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("batches of ", study.batch_size, " of ",
                     data.train_ids.size(), " tasks"));
  }
  grid.names.clear();
  for (const Arm arm : arms) grid.names.emplace_back(ArmName(arm));
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes numbers,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            REPRO_ASSIGN_OR_RETURN(const Arm arm, ParseArm(cell.name));
            REPRO_ASSIGN_OR_RETURN(
                const PairOutcome outcome,
                TrainAndMeasure(study, data, arm, cell.seed, sandbox, workers,
                                device, cell));
            return outcome.Numbers();
          }));
  std::map<Arm, std::vector<PairOutcome>> outcomes;
  for (const Arm arm : arms) {
    for (const std::vector<double>& of_seed : numbers.at(ArmName(arm))) {
      outcomes[arm].push_back(PairOutcome::FromNumbers(of_seed));
    }
  }
  return outcomes;
}

}  // namespace repro::mango
