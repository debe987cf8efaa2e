#include "papers/circuit_reuse/small_study.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/stats/correlation.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"
#include "papers/circuit_reuse/colored_objects.h"

namespace repro::circuit_reuse {
namespace {

constexpr Task kTasks[] = {Task::kColoredObjects, Task::kIndirectObject,
                           Task::kGreaterThan};
// Streams of a seed.
constexpr uint64_t kWeights = 0, kPatching = 1, kTest = 2, kRandomHeads = 3,
                   kDescriptions = 4, kEvaluation = 1000, kBatches = 1000000;
constexpr int64_t kEvaluationPrompts = 100;

TaskBatch On(c10::Device device, const TaskBatch& batch) {
  TaskBatch out;
  out.prompts = {
      batch.prompts.tokens.to(device), batch.prompts.counterfactual.to(device),
      batch.prompts.answers.to(device), batch.prompts.wrong.to(device)};
  out.sources = batch.sources.to(device);
  out.distractors = batch.distractors.to(device);
  out.distractor_answers = batch.distractor_answers.to(device);
  return out;
}

// The mean cross entropy of all tokens as text plus that after `answers`.
// tokens: [batch, length + 1].
at::Tensor TextLoss(const HookedTransformer& model, const at::Tensor& tokens,
                    const std::vector<int64_t>& answers) {
  const int64_t length = tokens.size(1) - 1;
  const at::Tensor targets = tokens.narrow(1, 1, length);
  const at::Tensor logits = model.Forward(tokens.narrow(1, 0, length));
  at::Tensor loss =
      at::cross_entropy_loss(logits.flatten(0, 1), targets.flatten());
  for (const int64_t place : answers) {
    loss = loss + at::cross_entropy_loss(logits.select(1, place),
                                         targets.select(1, place)) /
                      static_cast<double>(answers.size());
  }
  return loss;
}

at::Tensor TaskLoss(const HookedTransformer& model, Task task,
                    const TaskBatch& batch) {
  const at::Tensor tokens =
      at::cat({batch.prompts.tokens, batch.prompts.answers.unsqueeze(1)}, 1);
  const int64_t end = tokens.size(1) - 2;
  return task == Task::kColoredObjects
             ? TextLoss(model, tokens, {kExampleEnd, end})
             : TextLoss(model, tokens, {end});
}

double Share(const at::Tensor& right) {
  return right.to(at::kDouble).mean().item<double>();
}

// The share of right answers; any later year is right in greater than.
double Accuracy(const HookedTransformer& model, Task task,
                const WordVocabulary& vocabulary, const TaskBatch& batch) {
  if (task != Task::kGreaterThan) {
    return Share(IsRight(model, batch.prompts.tokens, batch.prompts.answers));
  }
  // Words of two digits have ascending ids.
  const at::NoGradGuard no_grad;
  const at::Tensor logits = model.Forward(batch.prompts.tokens);
  const at::Tensor said = logits.select(1, logits.size(1) - 1).argmax(1);
  const at::Tensor year =
      batch.prompts.tokens.gather(1, batch.sources.unsqueeze(1)).squeeze(1);
  const int64_t last = vocabulary.Id(absl::StrCat(kLastYear)).value();
  return Share((said > year).logical_and(said <= last));
}

// Steps that were made.
absl::StatusOr<int64_t> TrainModel(
    const SmallStudyOptions& options, uint64_t seed, c10::Device device,
    const WordVocabulary& vocabulary,
    const std::function<bool(double, const std::string&)>& progress,
    HookedTransformer* model) {
  AdamOptions adam;
  adam.beta2 = 0.99;
  adam.weight_decay = 0.01;
  const std::unique_ptr<Optimizer> optimizer =
      MakeAdamW(model->Parameters(), adam);
  TrainOptions train;
  train.num_steps = options.max_steps;
  train.rate = [&](int64_t step) {
    return options.rate * std::min(1.0, static_cast<double>(step + 1) / 100);
  };
  train.clip_norm = 1;
  train.log_every = 25;
  train.evaluate_every = options.evaluate_every;
  bool stopped = false, enough = false;
  std::string text;
  train.progress = [&](int64_t done, int64_t total, const std::string&) {
    stopped = !progress(
        0.8 * static_cast<double>(done) / static_cast<double>(total), text);
  };
  train.cancelled = [&] { return stopped || enough; };
  TrainState state;
  state.model = model;
  state.optimizer = optimizer.get();
  const auto draw = [&](Task task, int64_t count, uint64_t stream) {
    std::mt19937_64 random(
        MixSeed(MixSeed(seed, stream), static_cast<uint64_t>(task)));
    return On(device, DrawTaskBatch(task, vocabulary, count, random));
  };
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult trained,
      Train(
          train, state,
          [&](int64_t step) {
            std::mt19937_64 random(
                MixSeed(MixSeed(seed, kBatches + step), kDescriptions));
            at::Tensor loss =
                TextLoss(*model,
                         DrawDescriptions(vocabulary, 2 * options.batch, random)
                             .to(device),
                         {std::begin(kDescribed), std::end(kDescribed)});
            for (const Task task : kTasks) {
              loss =
                  loss + TaskLoss(*model, task,
                                  draw(task, options.batch, kBatches + step));
            }
            return loss;
          },
          [&](int64_t step) -> Metrics {
            const auto accuracy = [&](Task task) {
              return Accuracy(
                  *model, task, vocabulary,
                  draw(task, kEvaluationPrompts, kEvaluation + step));
            };
            const double colored = accuracy(Task::kColoredObjects);
            const double indirect = accuracy(Task::kIndirectObject);
            const double greater = accuracy(Task::kGreaterThan);
            text = absl::StrCat("step ", step, ": colours ", colored,
                                ", names ", indirect, ", years ", greater);
            enough = colored >= options.half && indirect >= options.enough &&
                     greater >= options.enough;
            return {{"colored", colored}};
          }));
  if (stopped && !enough) return absl::CancelledError("stopped");
  model->Train(false);
  return trained.steps;
}

// As many heads of the same layers, none of them in `heads`.
std::vector<Head> RandomOthers(const std::vector<Head>& heads,
                               int64_t heads_per_layer,
                               std::mt19937_64& random) {
  std::vector<Head> drawn;
  std::set<Head> taken(heads.begin(), heads.end());
  for (const Head& head : heads) {
    std::vector<Head> free;
    for (int64_t h = 0; h < heads_per_layer; ++h) {
      if (taken.count({head.layer, h}) == 0) free.push_back({head.layer, h});
    }
    if (free.empty()) continue;
    const Head one =
        free[std::uniform_int_distribution<size_t>(0, free.size() - 1)(random)];
    taken.insert(one);
    drawn.push_back(one);
  }
  return drawn;
}

// Empty where no head stands below those of the stage before.
std::vector<Head> StageOf(const Circuit& circuit, size_t stage) {
  return stage < circuit.stages.size() ? circuit.stages[stage]
                                       : std::vector<Head>();
}

std::vector<double> ToDoubles(const at::Tensor& values) {
  const at::Tensor flat =
      values.detach().to(at::kCPU, at::kDouble).contiguous();
  return std::vector<double>(flat.const_data_ptr<double>(),
                             flat.const_data_ptr<double>() + flat.numel());
}

// What `change` does to attention and attribution, see SmallStudyMeasures().
void MeasureChange(const HookedTransformer& model, const TaskBatch& test,
                   const Importance& to_logits,
                   const std::vector<Head>& changed,
                   const std::vector<Head>& top,
                   std::map<std::string, double>* out) {
  const at::Tensor& tokens = test.prompts.tokens;
  const Hook change = AttendOnly(changed, test.distractors);
  const auto moved = [&](const at::Tensor& places) {
    // [layers, heads]
    const at::Tensor by_head = (AttentionTo(model, tokens, places, change) -
                                AttentionTo(model, tokens, places))
                                   .mean(0);
    double sum = 0;
    int64_t movers = 0;
    for (const Head& head : top) {
      if (to_logits[head.layer][head.head] <= 0 ||
          std::find(changed.begin(), changed.end(), head) != changed.end()) {
        continue;
      }
      sum += by_head[head.layer][head.head].item<double>();
      ++movers;
    }
    return movers > 0 ? 100 * sum / static_cast<double>(movers) : 0;
  };
  (*out)["attention_wrong"] = moved(test.distractors);
  // The sum of the three places less the two wrong ones.
  at::Tensor all = at::arange(0, 3, test.sources.options());
  for (int64_t i = 0; i < ColoredQuestion::kItems; ++i) {
    all.select(0, i).fill_(kColorTokens[i]);
  }
  (*out)["attention_right"] =
      moved(all.expand({tokens.size(0), -1})) - (*out)["attention_wrong"];

  const int64_t heads = model.config().heads;
  const auto attribution = [&](const Hook& hook) {
    return ToDoubles(LogitAttribution(model, tokens, test.prompts.answers,
                                      test.distractor_answers, hook)
                         .mean(0)
                         .flatten());
  };
  const std::vector<double> with = attribution(change);
  const std::vector<double> without = attribution({});
  const int64_t lowest =
      std::min_element(changed.begin(), changed.end())->layer;
  std::vector<double> changes, importances;
  for (int64_t l = lowest + 1; l < model.config().layers; ++l) {
    for (int64_t h = 0; h < heads; ++h) {
      if (std::find(changed.begin(), changed.end(), Head{l, h}) !=
          changed.end()) {
        continue;
      }
      changes.push_back(with[l * heads + h] - without[l * heads + h]);
      importances.push_back(to_logits[l][h]);
    }
  }
  // Not defined where nothing lies above: no relation was seen.
  const absl::StatusOr<double> spearman =
      SpearmanCorrelation(changes, importances);
  (*out)["spearman"] = spearman.ok() ? *spearman : 0;
}

}  // namespace

std::vector<Head> Circuit::heads() const {
  std::set<Head> all;
  for (const std::vector<Head>& stage : stages) {
    all.insert(stage.begin(), stage.end());
  }
  return std::vector<Head>(all.begin(), all.end());
}

absl::StatusOr<Circuit> FindCircuit(const HookedTransformer& model,
                                    const TaskBatch& batch,
                                    int64_t heads_per_stage) {
  Circuit circuit;
  PathPatchingOptions options;
  // In a model of a few layers the lowest receiver may stand in the first one.
  options.up_to_lowest_receiver = false;
  Receivers receivers;
  for (int64_t stage = 0; stage < 3; ++stage) {
    if (stage > 0) {
      receivers.heads = circuit.stages.back();
      receivers.component = stage == 1 ? HookPoint::kQuery : HookPoint::kValue;
      if (receivers.heads.empty()) break;  // no head stands below
    }
    if (stage == 2) options.positions = batch.sources;
    REPRO_ASSIGN_OR_RETURN(Importance importance,
                           PathPatch(model, batch.prompts, receivers, options));
    circuit.stages.push_back(TopHeads(importance, heads_per_stage));
    circuit.importance.push_back(std::move(importance));
  }
  return circuit;
}

std::vector<std::string> SmallStudyMeasures() {
  return {"accuracy/cobjs",  "accuracy/greater_than",
          "accuracy/ioi",    "attention_right",
          "attention_wrong", "blocked",
          "blocked_random",  "both",
          "both_random",     "broken",
          "inhibition",      "negative",
          "overlap",         "overlap_chance",
          "overlap_control", "overlap_control_chance",
          "spearman",        "steps"};
}

absl::StatusOr<std::map<std::string, double>> RunSmallStudy(
    const SmallStudyOptions& options, uint64_t seed, c10::Device device,
    const std::function<bool(double, const std::string&)>& progress) {
  if (options.max_steps < 1 || options.batch < 1 ||
      options.evaluate_every < 1 || options.patching_prompts < 1 ||
      options.test_prompts < 1 || options.heads_per_stage < 1 ||
      options.random_sets < 1) {
    return absl::InvalidArgumentError("small study: a number is below 1");
  }
  const WordVocabulary vocabulary;
  TransformerConfig config;
  config.layers = options.layers;
  config.heads = options.heads;
  config.dim = options.dim;
  config.mlp_dim = options.mlp_dim;
  config.vocabulary = vocabulary.size();
  config.positions = kPromptTokens;
  config.init_std = 1 / std::sqrt(static_cast<double>(options.dim));
  HookedTransformer model(config,
                          Initializer(MakeGenerator(seed, kWeights), device));
  REPRO_ASSIGN_OR_RETURN(
      const int64_t steps,
      TrainModel(options, seed, device, vocabulary, progress, &model));

  std::map<std::string, double> out;
  out["steps"] = static_cast<double>(steps);
  const auto draw = [&](Task task, int64_t count, uint64_t stream) {
    std::mt19937_64 random(
        MixSeed(MixSeed(seed, stream), static_cast<uint64_t>(task)));
    return On(device, DrawTaskBatch(task, vocabulary, count, random));
  };
  std::map<Task, Circuit> circuits;
  for (const Task task : kTasks) {
    REPRO_ASSIGN_OR_RETURN(
        circuits[task],
        FindCircuit(model, draw(task, options.patching_prompts, kPatching),
                    options.heads_per_stage));
    const char* name = task == Task::kColoredObjects ? "accuracy/cobjs"
                       : task == Task::kIndirectObject
                           ? "accuracy/ioi"
                           : "accuracy/greater_than";
    out[name] = 100 * Accuracy(model, task, vocabulary,
                               draw(task, options.test_prompts, kTest));
    if (!progress(0.85, "circuits")) return absl::CancelledError("stopped");
  }
  const Circuit& colored = circuits[Task::kColoredObjects];
  const Circuit& indirect = circuits[Task::kIndirectObject];
  const auto compare = [&](const Circuit& with,
                           const std::string& name) -> absl::Status {
    const std::vector<Head> a = indirect.heads(), b = with.heads();
    REPRO_ASSIGN_OR_RETURN(const double overlap, Overlap(a, b));
    REPRO_ASSIGN_OR_RETURN(const double chance,
                           ExpectedOverlap(a, b, config.layers, config.heads));
    out[name] = 100 * overlap;
    out[name + "_chance"] = 100 * chance;
    return absl::OkStatus();
  };
  REPRO_RETURN_IF_ERROR(compare(colored, "overlap"));
  REPRO_RETURN_IF_ERROR(
      compare(circuits[Task::kGreaterThan], "overlap_control"));

  // IOI's second stage, and the head that works most against its answer.
  const std::vector<Head> inhibition = StageOf(indirect, 1);
  const std::vector<Head> gatherers = StageOf(colored, 1);
  std::vector<Head> negative = {{0, 0}};
  for (int64_t l = 0; l < config.layers; ++l) {
    for (int64_t h = 0; h < config.heads; ++h) {
      const Importance& importance = indirect.importance[0];
      if (importance[l][h] < importance[negative[0].layer][negative[0].head]) {
        negative[0] = {l, h};
      }
    }
  }
  std::vector<Head> both = inhibition;
  if (std::find(both.begin(), both.end(), negative[0]) == both.end()) {
    both.push_back(negative[0]);
  }

  const TaskBatch test =
      draw(Task::kColoredObjects, options.test_prompts, kTest);
  const auto right = [&](const Hook& hook) {
    return IsRight(model, test.prompts.tokens, test.prompts.answers, hook);
  };
  const auto only = [&](const std::vector<Head>& heads) {
    return right(AttendOnly(heads, test.distractors));
  };
  // The question, "What color is the ... ?".
  const at::Tensor question =
      at::arange(kQueryToken - 5, kQueryToken + 2, test.sources.options())
          .expand({options.test_prompts, -1});
  const auto blocked = [&](const std::vector<Head>& heads) {
    return right(BlockAttention(heads, question));
  };
  const at::Tensor before = right({}), after = only(both);
  out["both"] = 100 * Share(after);
  out["inhibition"] = 100 * Share(only(inhibition));
  out["negative"] = 100 * Share(only(negative));
  const double was_right = before.to(at::kDouble).sum().item<double>();
  out["broken"] = was_right > 0 ? 100 *
                                      before.logical_and(after.logical_not())
                                          .to(at::kDouble)
                                          .sum()
                                          .item<double>() /
                                      was_right
                                : 0;
  out["blocked"] = 100 * Share(blocked(gatherers));
  std::mt19937_64 random(MixSeed(seed, kRandomHeads));
  std::vector<double> both_random, blocked_random;
  for (int64_t i = 0; i < options.random_sets; ++i) {
    both_random.push_back(
        100 * Share(only(RandomOthers(both, config.heads, random))));
    blocked_random.push_back(
        100 * Share(blocked(RandomOthers(gatherers, config.heads, random))));
  }
  REPRO_ASSIGN_OR_RETURN(out["both_random"], Mean(both_random));
  REPRO_ASSIGN_OR_RETURN(out["blocked_random"], Mean(blocked_random));
  if (!progress(0.95, "interventions")) return absl::CancelledError("stopped");
  MeasureChange(model, test, colored.importance[0], both, colored.stages[0],
                &out);
  return out;
}

}  // namespace repro::circuit_reuse
