#include "papers/sae_circuits/name_task.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/classification.h"
#include "common/nn/attention.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "common/tensor/check.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"

namespace repro::sae_circuits {
namespace {

constexpr int64_t kShuffles = 20;
// Streams of a seed.
constexpr uint64_t kWeights = 0, kExamples = 1, kTest = 2, kShuffle = 3,
                   kAutoencoders = 1000, kBatches = 1000000;

std::vector<double> ToDoubles(const at::Tensor& values) {
  const at::Tensor flat =
      values.detach().to(at::kCPU, at::kDouble).contiguous();
  return std::vector<double>(flat.const_data_ptr<double>(),
                             flat.const_data_ptr<double>() + flat.numel());
}

// The first `count` prompts.
NamePrompts First(const NamePrompts& prompts, int64_t count) {
  return {prompts.tokens.narrow(0, 0, count),
          prompts.answers.narrow(0, 0, count),
          prompts.subjects.narrow(0, 0, count)};
}

NamePrompts On(c10::Device device, const NamePrompts& prompts) {
  return {prompts.tokens.to(device), prompts.answers.to(device),
          prompts.subjects.to(device)};
}

// Per prompt.
at::Tensor LogitDifferences(const at::Tensor& logits,
                            const NamePrompts& prompts) {
  const auto of = [&](const at::Tensor& tokens) {
    return logits.gather(1, tokens.unsqueeze(1)).squeeze(1);
  };
  return of(prompts.answers) - of(prompts.subjects);
}

absl::Status TrainModel(const NameStudyOptions& options, uint64_t seed,
                        c10::Device device, const HeadGates& gates,
                        const std::function<bool(double)>& progress,
                        AttentionOnlyModel* model) {
  AdamOptions adam;
  adam.weight_decay = 0.1;
  const std::unique_ptr<Optimizer> optimizer =
      MakeAdamW(model->Parameters(), adam);
  TrainOptions train;
  train.num_steps = options.steps;
  train.rate = WarmupCosineRate(
      options.rate, std::max<int64_t>(1, options.steps / 10), options.steps);
  train.clip_norm = 1;
  train.log_every = 50;
  bool stopped = false;
  // Training is about half of the time.
  train.progress = [&](int64_t done, int64_t total, const std::string&) {
    stopped =
        !progress(0.5 * static_cast<double>(done) / static_cast<double>(total));
  };
  train.cancelled = [&] { return stopped; };
  TrainState state;
  state.model = model;
  state.optimizer = optimizer.get();
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult trained, Train(train, state, [&](int64_t step) {
        const int64_t half = options.batch / 2;
        const NamePrompts prompts =
            On(device,
               DrawNamePrompts(options.task, half, options.batch - half,
                               MakeGenerator(MixSeed(seed, kBatches), step)));
        return at::cross_entropy_loss(
            model->Forward(prompts.tokens, false, gates).logits,
            prompts.answers);
      }));
  if (trained.cancelled) return absl::CancelledError("stopped");
  model->Train(false);
  return absl::OkStatus();
}

// Marks the `count` heads with the largest effects; their share of all
// positive effects.
double MarkLargest(const std::vector<double>& effects, int64_t count,
                   std::vector<bool>* marked) {
  std::vector<int64_t> order(effects.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return effects[a] > effects[b];
  });
  double of_marked = 0, of_all = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const double effect = std::max(0.0, effects[order[i]]);
    of_all += effect;
    if (static_cast<int64_t>(i) < count) {
      (*marked)[order[i]] = true;
      of_marked += effect;
    }
  }
  return of_all > 0 ? of_marked / of_all : 0;
}

}  // namespace

NamePrompts DrawNamePrompts(const NameTask& task, int64_t positives,
                            int64_t negatives, at::Generator generator) {
  // begin, N1 and N2, S gave to
  constexpr int64_t kBesidesFillers = 7;
  TORCH_CHECK(
      task.names >= 3 && task.fillers >= 1 && task.length >= kBesidesFillers &&
          positives >= 0 && negatives >= 0,
      "names: ", task.names, " names, ", task.fillers, " fillers, ",
      task.length, " tokens, ", positives, " and ", negatives, " prompts");
  const at::TensorOptions whole = at::TensorOptions().dtype(at::kLong);
  const int64_t count = positives + negatives;
  const int64_t spare = task.length - kBesidesFillers;
  // Three different names a prompt, in random order.
  const at::Tensor names =
      NameTask::kFirstName + at::rand({count, task.names}, generator,
                                      at::TensorOptions().dtype(at::kFloat))
                                 .argsort(/*dim=*/1, /*descending=*/false)
                                 .narrow(1, 0, 3);
  const at::Tensor first = names.select(1, 0), second = names.select(1, 1);
  const at::Tensor coin = at::randint(2, {count}, generator, whole) == 1;
  const at::Tensor positive = at::arange(count, whole) < positives;

  NamePrompts prompts;
  prompts.answers = at::where(coin, first, second);
  prompts.subjects =
      at::where(positive, at::where(coin, second, first), names.select(1, 2));
  prompts.tokens =
      task.vocabulary() - task.fillers +
      at::randint(task.fillers, {count, task.length}, generator, whole);
  prompts.tokens.select(1, 0).fill_(NameTask::kBegin);
  const at::Tensor start =
      1 + at::randint(spare + 1, {count}, generator, whole);
  const auto put = [&](const at::Tensor& place, const at::Tensor& token) {
    prompts.tokens.scatter_(1, place.unsqueeze(1), token.unsqueeze(1));
  };
  const auto constant = [&](int64_t value) {
    return at::full({count}, value, whole);
  };
  put(start, first);
  put(start + 1, constant(NameTask::kAnd));
  put(start + 2, second);
  put(constant(task.length - 3), prompts.subjects);
  put(constant(task.length - 2), constant(NameTask::kGave));
  put(constant(task.length - 1), constant(NameTask::kTo));
  return prompts;
}

AttentionOnlyModel::AttentionOnlyModel(const NameTask& task,
                                       const AttentionOnlyConfig& config,
                                       const Initializer& init)
    : config_(config), length_(task.length) {
  TORCH_CHECK(
      config.layers >= 1 && config.heads >= 1 && config.dim % config.heads == 0,
      "model: ", config.layers, " layers of ", config.heads, " heads, dim ",
      config.dim);
  const int64_t head_dim = config.dim / config.heads;
  const double std = 1 / std::sqrt(static_cast<double>(config.dim));
  tokens_ =
      AddParameter("tokens", init.Normal({task.vocabulary(), config.dim}, std));
  positions_ =
      AddParameter("positions", init.Normal({task.length, config.dim}, std));
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = absl::StrCat("layer", i, "_");
    Layer layer;
    layer.norm = AddModule<LayerNorm>(name + "norm", config.dim, init);
    layer.qkv = AddModule<Linear>(
        name + "qkv", init.Normal({3 * config.dim, config.dim}, std),
        at::Tensor());
    layer.output =
        AddParameter(name + "output",
                     init.Normal({config.heads, head_dim, config.dim}, std));
    layers_.push_back(layer);
  }
  norm_ = AddModule<LayerNorm>("norm", config.dim, init);
  unembed_ = AddModule<Linear>(
      "unembed", init.Normal({task.vocabulary(), config.dim}, std),
      at::Tensor());
}

AttentionOnlyModel::Output AttentionOnlyModel::Forward(
    const at::Tensor& tokens, bool keep_heads, const HeadGates& gates) const {
  CheckShape(tokens, {"batch", length_}, "tokens");
  if (gates.gates.defined()) {
    CheckShape(gates.gates, {"batch", config_.layers, config_.heads}, "gates");
  }
  at::Tensor x = at::embedding(tokens_, tokens) + positions_;
  std::vector<at::Tensor> kept;
  for (int64_t i = 0; i < config_.layers; ++i) {
    const Layer& layer = layers_[i];
    const std::vector<at::Tensor> qkv =
        layer.qkv->Forward(layer.norm->Forward(x)).chunk(3, -1);
    // [batch, heads, length, head_dim]
    const at::Tensor z = SoftmaxAttention(
        SplitHeads(qkv[0], config_.heads), SplitHeads(qkv[1], config_.heads),
        SplitHeads(qkv[2], config_.heads), /*causal=*/true);
    if (!keep_heads && !gates.gates.defined()) {
      x = x + at::matmul(MergeHeads(z), layer.output.flatten(0, 1));
      continue;
    }
    // [batch, heads, length, dim]
    at::Tensor r = at::matmul(z, layer.output);
    if (keep_heads) kept.push_back(r);
    if (gates.gates.defined()) {
      const at::Tensor gate =
          gates.gates.select(1, i).unsqueeze(-1).unsqueeze(-1);
      r = gate * r;
      if (gates.otherwise.defined()) {
        r = r + (1 - gate) * gates.otherwise.select(0, i);
      }
    }
    x = x + r.sum(1);
  }
  Output output;
  output.logits = unembed_->Forward(norm_->Forward(x.select(1, length_ - 1)));
  if (keep_heads) output.heads = at::stack(kept, 1);
  return output;
}

at::Tensor LogitDifference(const at::Tensor& logits,
                           const NamePrompts& prompts) {
  return LogitDifferences(logits, prompts).mean();
}

std::vector<double> AblationEffects(const AttentionOnlyModel& model,
                                    const NamePrompts& prompts,
                                    const at::Tensor& means) {
  at::NoGradGuard no_grad;
  const AttentionOnlyConfig& config = model.config();
  const double whole =
      LogitDifference(model.Forward(prompts.tokens).logits, prompts)
          .item<double>();
  std::vector<double> effects;
  for (int64_t i = 0; i < config.layers * config.heads; ++i) {
    at::Tensor gates =
        at::ones({1, config.layers, config.heads}, means.options());
    gates.select(1, i / config.heads).select(1, i % config.heads).fill_(0);
    const at::Tensor logits =
        model.Forward(prompts.tokens, false, {gates, means}).logits;
    effects.push_back(whole - LogitDifference(logits, prompts).item<double>());
  }
  return effects;
}

std::vector<double> GradientImportance(const AttentionOnlyModel& model,
                                       const NamePrompts& prompts) {
  const AttentionOnlyConfig& config = model.config();
  const at::Tensor gates =
      at::ones(
          {prompts.tokens.size(0), config.layers, config.heads},
          at::TensorOptions().dtype(at::kFloat).device(prompts.tokens.device()))
          .requires_grad_(true);
  LogitDifferences(model.Forward(prompts.tokens, false, {gates, {}}).logits,
                   prompts)
      .sum()
      .backward();
  // The parameters' gradients are of no use.
  for (at::Tensor& parameter : model.Parameters()) {
    parameter.mutable_grad().reset();
  }
  return ToDoubles(gates.grad().abs().mean(0).flatten());
}

std::vector<std::string> NameStudyMeasures(KnownCircuit known) {
  if (known == KnownCircuit::kCut) {
    return {"accuracy", "distinct", "edge", "node", "node_shuffled"};
  }
  return {"accuracy",          "circuit_share", "distinct", "edge",
          "edge_lowest_first", "importance",    "node",     "node_100_examples",
          "node_5_codes",      "node_shuffled"};
}

absl::StatusOr<std::map<std::string, double>> RunNameStudy(
    const NameStudyOptions& options, uint64_t seed, c10::Device device,
    const std::function<bool(double)>& progress) {
  const int64_t layers = options.model.layers;
  const int64_t heads = layers * options.model.heads;
  const bool cut = options.known == KnownCircuit::kCut;
  if (options.steps < 1 || options.batch < 2 || options.examples < 2 ||
      options.examples % 2 != 0 || options.circuit_heads < 1 ||
      options.circuit_heads >= heads || options.repeats < 1 ||
      (cut && options.circuit_heads % layers != 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "name study: ", options.steps, " steps of ", options.batch, ", ",
        options.examples, " examples, ", options.circuit_heads, " of ", heads,
        " heads in ", layers, " layers, ", options.repeats, " repeats"));
  }
  AttentionOnlyModel model(options.task, options.model,
                           Initializer(MakeGenerator(seed, kWeights), device));
  std::vector<bool> in_circuit(heads, false);
  HeadGates gates;
  std::mt19937_64 random(MixSeed(seed, kShuffle));
  if (cut) {
    gates.gates =
        at::zeros({1, layers, options.model.heads},
                  at::TensorOptions().dtype(at::kFloat).device(device));
    for (int64_t layer = 0; layer < layers; ++layer) {
      std::vector<int64_t> order(options.model.heads);
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), random);
      for (int64_t i = 0; i < options.circuit_heads / layers; ++i) {
        in_circuit[layer * options.model.heads + order[i]] = true;
        gates.gates.select(1, layer).select(1, order[i]).fill_(1);
      }
    }
  }
  REPRO_RETURN_IF_ERROR(
      TrainModel(options, seed, device, gates, progress, &model));

  std::map<std::string, double> out;
  const int64_t half = options.examples / 2;
  const NamePrompts test =
      On(device,
         DrawNamePrompts(options.task, 1000, 0, MakeGenerator(seed, kTest)));
  const NamePrompts examples =
      On(device, DrawNamePrompts(options.task, half, half,
                                 MakeGenerator(seed, kExamples)));
  at::Tensor vectors, means;
  {
    at::NoGradGuard no_grad;
    out["accuracy"] =
        (model.Forward(test.tokens, false, gates).logits.argmax(1) ==
         test.answers)
            .to(at::kDouble)
            .mean()
            .item<double>();
    const at::Tensor written =
        model.Forward(examples.tokens, /*keep_heads=*/true, gates).heads;
    means = written.mean(0);
    vectors = written.mean(3).flatten(1, 2);
    vectors = vectors / vectors.square().mean().sqrt();
  }
  if (!cut) {
    const NamePrompts positives = First(examples, half);
    out["circuit_share"] = MarkLargest(AblationEffects(model, positives, means),
                                       options.circuit_heads, &in_circuit);
    REPRO_ASSIGN_OR_RETURN(
        out["importance"],
        metrics::RocAuc(in_circuit, GradientImportance(model, positives)));
  }

  std::map<std::string, std::vector<double>> areas;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    const auto codes_of = [&](const AutoencoderOptions& autoencoder) {
      const uint64_t own = MixSeed(seed, kAutoencoders + repeat);
      return FindCodes(*TrainAutoencoder(vectors, autoencoder, own), vectors);
    };
    const auto add = [&](const char* name,
                         absl::StatusOr<double> area) -> absl::Status {
      if (area.ok()) areas[name].push_back(*area);
      return area.status();
    };
    constexpr Normalisation kCount = Normalisation::kNone;
    const HeadCodes codes = codes_of(options.autoencoder);
    REPRO_RETURN_IF_ERROR(add("node", NodeArea(codes, in_circuit, kCount)));
    REPRO_RETURN_IF_ERROR(
        add("node_shuffled",
            ShuffledNodeArea(codes, in_circuit, kShuffles, random)));
    REPRO_RETURN_IF_ERROR(
        add("distinct", DistinctCodesArea(codes, in_circuit)));
    REPRO_RETURN_IF_ERROR(
        add("edge", EdgeArea(codes, in_circuit, TieOrder::kHighestFirst)));
    if (!cut) {
      REPRO_RETURN_IF_ERROR(
          add("edge_lowest_first",
              EdgeArea(codes, in_circuit, TieOrder::kLowestFirst)));
      AutoencoderOptions more_examples = options.autoencoder;
      more_examples.train_examples = std::min<int64_t>(100, options.examples);
      REPRO_RETURN_IF_ERROR(
          add("node_100_examples",
              NodeArea(codes_of(more_examples), in_circuit, kCount)));
      AutoencoderOptions few_codes = options.autoencoder;
      few_codes.num_features = 5;
      REPRO_RETURN_IF_ERROR(add(
          "node_5_codes", NodeArea(codes_of(few_codes), in_circuit, kCount)));
    }
    if (!progress(0.5 + 0.5 * static_cast<double>(repeat + 1) /
                            static_cast<double>(options.repeats))) {
      return absl::CancelledError("stopped");
    }
  }
  for (const auto& [name, list] : areas) {
    REPRO_ASSIGN_OR_RETURN(out[name], Mean(list));
  }
  return out;
}

}  // namespace repro::sae_circuits
