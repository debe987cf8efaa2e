#include "papers/effi_code/study.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/encoder/objectives.h"
#include "common/nn/greedy.h"
#include "common/nn/initializer.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/tokenizer/bpe_trainer.h"
#include "common/tokenizer/loader.h"
#include "common/tokenizer/tokenizer.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"

namespace repro::effi_code {
namespace {

enum Stream : uint64_t {
  kTasks,
  kForms,
  kOriginals,
  kWeights,
  kPretrainingOrder,
  kTuningOrder,
};

constexpr int32_t kPad = 0, kEnd = 1;
constexpr int64_t kMaxProgramTokens = 128;
constexpr int64_t kTextsARecipe = 2;
constexpr double kFailed = -1;

// Not std::shuffle and distributions, which libraries define differently.
template <typename T>
void Shuffle(std::vector<T>* list, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (size_t i = list->size(); i > 1; --i) {
    std::swap((*list)[i - 1], (*list)[random() % i]);
  }
}

double Share(std::mt19937_64* random) {
  return static_cast<double>((*random)() >> 11) * 0x1p-53;
}

std::string Instruction(const std::string& task) {
  return absl::StrCat("Complete the function: ", task, "\n");
}

absl::StatusOr<EncodedExample> Encode(const Tokenizer& tokenizer,
                                      const std::string& prompt,
                                      const std::string& answer,
                                      int64_t cutoff) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> prompt_ids,
                         tokenizer.Encode(prompt));
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> answer_ids,
                         tokenizer.Encode(answer));
  return EncodeExample(prompt_ids, answer_ids, kEnd, encoder::kIgnoredLabel,
                       cutoff);
}

// Training text of a start, in its two parts.
struct Text {
  std::string prompt, answer;
};

std::vector<Text> PretrainingTexts(const Study& study, const StudyTasks& tasks,
                                   Start start, uint64_t seed) {
  std::mt19937_64 random(MixSeed(seed, kForms));
  std::vector<Text> texts;
  for (const Recipe& recipe : tasks.pretraining) {
    for (int64_t i = 0; i < kTextsARecipe; ++i) {
      const std::string task = TaskText(recipe, random());
      const double share = Share(&random);
      const Form form =
          share < study.pretraining_slow ? Form::kSlow
          : share < study.pretraining_slow + study.pretraining_fair
              ? Form::kFair
              : Form::kFast;
      const bool in_template = start == Start::kInstruct || random() % 10 == 0;
      std::string program = ProgramOf(recipe, form);
      if (in_template) {
        texts.push_back({Instruction(task), std::move(program)});
      } else {
        // A base model predicts all of a text.
        texts.push_back({"", absl::StrCat("# ", task, "\n", program)});
      }
    }
  }
  return texts;
}

struct Batch {
  at::Tensor tokens, labels;  // [batch, seq_len] int64
};

// Padded at the right, where nothing that counts looks.
Batch MakeBatch(const std::vector<EncodedExample>& examples,
                const std::vector<size_t>& rows, c10::Device device) {
  size_t length = 2;
  for (const size_t row : rows) {
    length = std::max(length, examples[row].ids.size());
  }
  const auto full = [&](int64_t value) {
    return at::full(
        {static_cast<int64_t>(rows.size()), static_cast<int64_t>(length)},
        value, at::kLong);
  };
  Batch batch{full(kPad), full(encoder::kIgnoredLabel)};
  auto tokens = batch.tokens.accessor<int64_t, 2>();
  auto labels = batch.labels.accessor<int64_t, 2>();
  for (size_t i = 0; i < rows.size(); ++i) {
    const EncodedExample& example = examples[rows[i]];
    for (size_t t = 0; t < example.ids.size(); ++t) {
      tokens[i][t] = example.ids[t];
      labels[i][t] = example.labels[t];
    }
  }
  return {batch.tokens.to(device), batch.labels.to(device)};
}

struct Phase {
  std::string name;
  int64_t steps = 0, batch = 0;
  double rate = 0;
  uint64_t order = 0;  // seed
};

// Cross entropy of the answers, a permutation of the examples an epoch.
absl::Status TrainOn(const std::vector<EncodedExample>& examples,
                     const Phase& phase, double warmup_ratio,
                     c10::Device device, const GridCell& cell, Llama* model) {
  const auto optimizer = MakeAdamW(model->Parameters(), {});
  TrainOptions options;
  options.num_steps = phase.steps;
  options.rate = WarmupCosineRate(
      phase.rate,
      std::max<int64_t>(
          1, std::llround(warmup_ratio * static_cast<double>(phase.steps))),
      phase.steps);
  options.clip_norm = 1;
  options.log_every = 20;
  options.progress = [&](int64_t done, int64_t total, const std::string& text) {
    if (cell.progress) {
      cell.progress(done, total, absl::StrCat(phase.name, ", ", text));
    }
  };
  options.cancelled = cell.cancelled;
  TrainState state;
  state.model = model;
  state.optimizer = optimizer.get();
  const auto size = static_cast<int64_t>(examples.size());
  const int64_t batch = std::min(phase.batch, size);
  const int64_t batches = size / batch;
  std::vector<size_t> order;
  int64_t epoch = -1;
  model->Train(true);
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult trained,
      Train(options, state, [&](int64_t step) -> at::Tensor {
        if (step / batches != epoch) {
          epoch = step / batches;
          order.resize(examples.size());
          std::iota(order.begin(), order.end(), 0);
          Shuffle(&order, MixSeed(phase.order, epoch));
        }
        const auto begin = order.begin() + (step % batches) * batch;
        const Batch rows = MakeBatch(
            examples, std::vector<size_t>(begin, begin + batch), device);
        const int64_t last = rows.tokens.size(1) - 1;
        return encoder::TokenCrossEntropy(
            model->Forward(rows.tokens.narrow(1, 0, last)),
            rows.labels.narrow(1, 1, last));
      }));
  if (trained.cancelled) return absl::CancelledError("stopped");
  model->Train(false);
  return absl::OkStatus();
}

// Greedy programs for the tasks.
absl::StatusOr<std::vector<std::string>> WritePrograms(
    const Llama& model, const Tokenizer& tokenizer,
    const std::vector<std::string>& tasks, c10::Device device) {
  std::vector<std::vector<int32_t>> prompts;
  for (const std::string& task : tasks) {
    REPRO_ASSIGN_OR_RETURN(prompts.emplace_back(),
                           tokenizer.Encode(Instruction(task)));
  }
  std::vector<std::string> programs;
  for (const std::vector<int32_t>& written :
       WriteGreedily(model, prompts, kEnd, kMaxProgramTokens, device)) {
    REPRO_ASSIGN_OR_RETURN(programs.emplace_back(), tokenizer.Decode(written));
  }
  return programs;
}

absl::StatusOr<std::vector<double>> Costs(
    const std::vector<std::string>& programs, const std::vector<Recipe>& tasks,
    int workers) {
  std::vector<TestedProgram> tested;
  for (size_t i = 0; i < programs.size(); ++i) {
    tested.push_back({programs[i], TestsOf(tasks[i])});
  }
  CountOptions options;
  options.limit = 100'000;
  REPRO_ASSIGN_OR_RETURN(const std::vector<InstructionCount> counts,
                         CountInstructions(tested, workers, options));
  std::vector<double> costs;
  for (const InstructionCount& count : counts) {
    costs.push_back(count.passed ? static_cast<double>(count.instructions)
                                 : kFailed);
  }
  return costs;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> TrainTokenizer(
    const Study& study, const std::vector<Text>& texts) {
  BpeTrainer trainer;
  for (const Text& text : texts) {
    REPRO_RETURN_IF_ERROR(trainer.AddText(text.prompt));
    REPRO_RETURN_IF_ERROR(trainer.AddText(text.answer));
  }
  BpeTrainingOptions options;
  options.vocab_size = study.vocab_size;
  options.special_tokens = {"<pad>", "</s>"};
  REPRO_ASSIGN_OR_RETURN(const TrainedBpe bpe, trainer.Train(options));
  return ParseTokenizerJson(bpe.ToJson(), "", "the study's tokenizer");
}

// The share of the pairs that an arm is tuned on, in fourths.
int64_t FourthsOf(Arm arm) {
  switch (arm) {
    case Arm::kBefore:
      return 0;
    case Arm::kQuarter:
      return 1;
    case Arm::kHalf:
      return 2;
    case Arm::kThreeQuarters:
      return 3;
    case Arm::kAll:
    case Arm::kOriginal:
      return 4;
  }
  return 0;
}

absl::StatusOr<std::vector<EncodedExample>> TuningExamples(
    const Study& study, const Tokenizer& tokenizer, const Dataset& data,
    Arm arm) {
  const size_t count = data.pairs.size() * FourthsOf(arm) / 4;
  std::vector<EncodedExample> examples;
  for (size_t i = 0; i < count; ++i) {
    const TrainingPair& pair = data.pairs[i];
    REPRO_ASSIGN_OR_RETURN(
        examples.emplace_back(),
        Encode(tokenizer, Instruction(pair.instruction),
               arm == Arm::kOriginal ? pair.original : pair.optimized,
               study.tuning.cutoff_tokens));
  }
  return examples;
}

absl::StatusOr<StudyOutcome> TrainAndTest(const Study& study, Start start,
                                          int workers, c10::Device device,
                                          const GridCell& cell) {
  const uint64_t seed = cell.seed;
  REPRO_ASSIGN_OR_RETURN(const StudyTasks tasks, DrawStudyTasks(study, seed));
  REPRO_ASSIGN_OR_RETURN(const Dataset data,
                         StudyDataset(study, tasks, seed, workers));
  const std::vector<Text> texts = PretrainingTexts(study, tasks, start, seed);
  REPRO_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                         TrainTokenizer(study, texts));
  std::vector<EncodedExample> examples;
  for (const Text& text : texts) {
    REPRO_ASSIGN_OR_RETURN(examples.emplace_back(),
                           Encode(*tokenizer, text.prompt, text.answer,
                                  study.tuning.cutoff_tokens));
  }
  LlamaConfig config = study.model;
  config.vocab_size = tokenizer->vocab_size();
  const auto make = [&] {
    return std::make_unique<Llama>(
        config, Initializer(MakeGenerator(seed, kWeights),
                            at::TensorOptions().device(device)));
  };
  const std::unique_ptr<Llama> pretrained = make();
  REPRO_RETURN_IF_ERROR(
      TrainOn(examples,
              {"pretraining", study.pretraining_steps, study.pretraining_batch,
               study.pretraining_rate, MixSeed(seed, kPretrainingOrder)},
              study.tuning.warmup_ratio, device, cell, pretrained.get()));
  StudyOutcome outcome;
  std::vector<std::string> fast;
  for (const Recipe& recipe : tasks.test) {
    fast.push_back(ProgramOf(recipe, Form::kFast));
  }
  REPRO_ASSIGN_OR_RETURN(outcome.canonical, Costs(fast, tasks.test, workers));
  for (const Arm arm : AllArms()) {
    const std::unique_ptr<Llama> model = make();
    {
      at::NoGradGuard no_grad;
      const std::vector<at::Tensor> from = pretrained->Parameters();
      std::vector<at::Tensor> to = model->Parameters();
      for (size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i]);
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<EncodedExample> tuning,
                           TuningExamples(study, *tokenizer, data, arm));
    if (!tuning.empty()) {
      const auto batches = std::max<int64_t>(
          1, static_cast<int64_t>(tuning.size()) / study.tuning_batch);
      REPRO_RETURN_IF_ERROR(TrainOn(
          tuning,
          {ArmName(arm), study.tuning.epochs * batches, study.tuning_batch,
           study.tuning_rate, MixSeed(seed, kTuningOrder)},
          study.tuning.warmup_ratio, device, cell, model.get()));
    }
    model->Train(false);
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<std::string> programs,
        WritePrograms(*model, *tokenizer, tasks.test_texts, device));
    REPRO_ASSIGN_OR_RETURN(outcome.costs[arm],
                           Costs(programs, tasks.test, workers));
  }
  return outcome;
}

}  // namespace

const char* StartName(Start start) {
  return start == Start::kBase ? "base" : "instruct";
}

const std::vector<Arm>& AllArms() {
  static const auto* const kArms =
      new std::vector<Arm>{Arm::kBefore,        Arm::kQuarter, Arm::kHalf,
                           Arm::kThreeQuarters, Arm::kAll,     Arm::kOriginal};
  return *kArms;
}

const char* ArmName(Arm arm) {
  static constexpr const char* kNames[] = {
      "before", "quarter", "half", "three_quarters", "all", "original"};
  return kNames[static_cast<int>(arm)];
}

absl::StatusOr<Arm> ParseArm(absl::string_view name) {
  for (const Arm arm : AllArms()) {
    if (name == ArmName(arm)) return arm;
  }
  return absl::InvalidArgumentError(absl::StrCat("no arm \"", name, "\""));
}

Study Study::Small() {
  Study study;
  study.model.dim = 96;
  study.model.num_layers = 2;
  study.model.num_heads = 4;
  study.model.ffn_dim = 256;
  study.model.tie_embeddings = true;
  study.vocab_size = 384;
  study.test_tasks = 120;
  study.tuning_tasks = 400;
  study.pretraining_steps = 400;
  study.pretraining_batch = 32;
  study.pretraining_rate = 3e-3;
  study.tuning_batch = 16;
  study.tuning_rate = 1e-3;
  study.pretraining_slow = 0.5;
  study.pretraining_fair = 0.35;
  study.original_slow = 0.6;
  return study;
}

absl::StatusOr<StudyTasks> DrawStudyTasks(const Study& study, uint64_t seed) {
  std::vector<Recipe> recipes = AllRecipes();
  const auto total = static_cast<int64_t>(recipes.size());
  if (study.test_tasks < 1 || study.tuning_tasks < 1 ||
      study.test_tasks + study.tuning_tasks >= total) {
    return absl::InvalidArgumentError(
        absl::StrCat(study.test_tasks, " test and ", study.tuning_tasks,
                     " tuning tasks of ", total, " recipes"));
  }
  Shuffle(&recipes, MixSeed(seed, kTasks));
  std::mt19937_64 random(MixSeed(seed, kOriginals));
  StudyTasks tasks;
  for (const Recipe& recipe : recipes) {
    const bool test =
        static_cast<int64_t>(tasks.test.size()) < study.test_tasks;
    if (!test &&
        static_cast<int64_t>(tasks.tuning.size()) >= study.tuning_tasks) {
      tasks.pretraining.push_back(recipe);
      continue;
    }
    const std::string text = TaskText(recipe, random());
    (test ? tasks.test : tasks.tuning).push_back(recipe);
    (test ? tasks.test_texts : tasks.tuning_texts).push_back(text);
    tasks.meanings.emplace(text, recipe);
  }
  return tasks;
}

absl::StatusOr<Dataset> StudyDataset(const Study& study,
                                     const StudyTasks& tasks, uint64_t seed,
                                     int workers) {
  std::mt19937_64 random(MixSeed(seed, kForms));
  std::vector<CollectedTask> collected;
  for (size_t i = 0; i < tasks.tuning.size(); ++i) {
    const Form form =
        Share(&random) < study.original_slow ? Form::kSlow : Form::kFair;
    collected.push_back({tasks.tuning_texts[i],
                         ProgramOf(tasks.tuning[i], form),
                         TestsOf(tasks.tuning[i])});
  }
  Rewriter rewriter(tasks.meanings);
  DatasetOptions options;
  options.soap.seed = seed * 1000;
  // Traced bytes differ a little from run to run, instructions do not.
  options.selection = KeepRule::kTime;
  CountOptions count;
  count.limit = 100'000;
  return BuildDataset(collected, rewriter, CountedCost(workers, count),
                      options);
}

double StudyOutcome::PassAt1(Arm arm) const {
  const std::vector<double>& of_arm = costs.at(arm);
  const auto solved = std::count_if(of_arm.begin(), of_arm.end(),
                                    [](double cost) { return cost >= 0; });
  return 100.0 * static_cast<double>(solved) /
         static_cast<double>(of_arm.size());
}

double StudyOutcome::NormalizedCost(Arm arm, Arm other) const {
  const std::vector<double>& of_arm = costs.at(arm);
  const std::vector<double>& of_other = costs.at(other);
  std::vector<double> cost, reference;
  for (size_t i = 0; i < of_arm.size(); ++i) {
    if (of_arm[i] < 0 || of_other[i] < 0) continue;
    cost.push_back(of_arm[i]);
    reference.push_back(canonical[i]);
  }
  const auto summary = SummarizeCosts(cost, reference);
  return summary.ok() ? summary->mean_ratio
                      : std::numeric_limits<double>::quiet_NaN();
}

std::vector<double> StudyOutcome::Numbers() const {
  std::vector<double> numbers = canonical;
  for (const Arm arm : AllArms()) {
    const std::vector<double>& of_arm = costs.at(arm);
    numbers.insert(numbers.end(), of_arm.begin(), of_arm.end());
  }
  return numbers;
}

absl::StatusOr<StudyOutcome> StudyOutcome::FromNumbers(
    const std::vector<double>& numbers, int64_t tasks) {
  const std::vector<Arm>& arms = AllArms();
  if (tasks < 1 || numbers.size() != (arms.size() + 1) * tasks) {
    return absl::InvalidArgumentError(
        absl::StrCat(numbers.size(), " numbers of ", tasks, " tasks"));
  }
  StudyOutcome outcome;
  auto at = numbers.begin();
  outcome.canonical.assign(at, at + tasks);
  for (const Arm arm : arms) {
    at += tasks;
    outcome.costs[arm].assign(at, at + tasks);
  }
  return outcome;
}

absl::StatusOr<std::map<Start, std::vector<StudyOutcome>>> RunStudy(
    const Study& study, const std::vector<Start>& starts, int workers,
    c10::Device device, Grid grid) {
  grid.names.clear();
  for (const Start start : starts) grid.names.emplace_back(StartName(start));
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes numbers,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            const Start start = cell.name == StartName(Start::kBase)
                                    ? Start::kBase
                                    : Start::kInstruct;
            REPRO_ASSIGN_OR_RETURN(
                const StudyOutcome outcome,
                TrainAndTest(study, start, workers, device, cell));
            return outcome.Numbers();
          }));
  std::map<Start, std::vector<StudyOutcome>> outcomes;
  for (const Start start : starts) {
    for (const std::vector<double>& of_seed : numbers.at(StartName(start))) {
      REPRO_ASSIGN_OR_RETURN(
          outcomes[start].emplace_back(),
          StudyOutcome::FromNumbers(of_seed, study.test_tasks));
    }
  }
  return outcomes;
}

}  // namespace repro::effi_code
