#include "papers/probing_code_models/probe.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/count/timing.h"
#include "common/encoder/objectives.h"
#include "common/metrics/classification.h"
#include "common/status/macros.h"
#include "common/tensor/check.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"

namespace repro::probing_code_models {
namespace {

at::Tensor Int64Tensor(const std::vector<int64_t>& values, c10::Device device) {
  return at::tensor(values, at::kLong).to(device);
}

// The mean cross-entropy of each probe, summed: probes share no parameter, so
// each one's gradient is that of its own loss.
at::Tensor SummedLoss(const at::Tensor& logits, const at::Tensor& labels) {
  return encoder::TokenCrossEntropy(
             logits, labels.unsqueeze(0).expand({logits.size(0), -1})) *
         static_cast<double>(logits.size(0));
}

std::unique_ptr<Optimizer> MakeProbeOptimizer(const Module& probes,
                                              int64_t num_probes, double rate) {
  AdamOptions adam;  // eps 1e-8, no weight decay
  adam.rate = rate;
  return MakeStackedAdam(probes.Parameters(),
                         std::vector<double>(num_probes, rate), adam);
}

// What both kinds of probes share. `loss` is given a step, `validate` gives one
// MCC a probe.
absl::StatusOr<std::vector<double>> TrainStack(
    Module& probes, int64_t num_probes, int64_t steps_per_epoch,
    const ProbeTrainingOptions& options,
    const std::function<at::Tensor(int64_t)>& loss,
    const std::function<absl::StatusOr<std::vector<double>>()>& validate,
    const std::function<bool(double)>& progress) {
  const int64_t steps = options.epochs * steps_per_epoch;
  if (steps < 1 || options.batch_size < 1 ||
      options.validations_per_epoch < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("probes: ", options.epochs, " epochs of batches of ",
                     options.batch_size, ", ", options.validations_per_epoch,
                     " validations an epoch; expected at least 1 of each"));
  }
  const int64_t every =
      std::max<int64_t>(1, steps_per_epoch / options.validations_per_epoch);
  const Schedule rate = WarmupLinearRate(
      options.rate, std::floor(options.warmup * static_cast<double>(steps)),
      steps);
  const auto optimizer = MakeProbeOptimizer(probes, num_probes, options.rate);
  const std::vector<at::Tensor>& parameters = optimizer->parameters();
  std::vector<double> best(num_probes,
                           -std::numeric_limits<double>::infinity());
  std::vector<at::Tensor> best_values;
  for (const at::Tensor& p : parameters) {
    best_values.push_back(p.detach().clone());
  }
  for (int64_t step = 0; step < steps; ++step) {
    if (progress &&
        !progress(static_cast<double>(step) / static_cast<double>(steps))) {
      return absl::CancelledError("probes: stopped");
    }
    probes.Train();
    optimizer->ZeroGradients();
    loss(step).backward();
    ClipStackedGradients(parameters, options.clip_norm);
    optimizer->SetRate(rate(step));
    optimizer->Step();
    if ((step + 1) % every != 0 && step + 1 != steps) continue;
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> mcc, validate());
    const at::NoGradGuard no_grad;
    for (int64_t probe = 0; probe < num_probes; ++probe) {
      if (mcc[probe] <= best[probe]) continue;
      best[probe] = mcc[probe];
      for (size_t i = 0; i < parameters.size(); ++i) {
        best_values[i].select(0, probe).copy_(parameters[i].select(0, probe));
      }
    }
  }
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor parameter = parameters[i];
    parameter.copy_(best_values[i]);
  }
  return best;
}

// Batches of a permutation that is drawn anew for each epoch.
class Batches {
 public:
  Batches(int64_t size, int64_t batch_size, uint64_t seed)
      : size_(size),
        batch_size_(std::max<int64_t>(batch_size, 1)),
        seed_(seed) {}

  int64_t PerEpoch() const { return (size_ + batch_size_ - 1) / batch_size_; }

  at::Tensor At(int64_t step) {
    const int64_t epoch = step / PerEpoch();
    if (epoch != epoch_) {
      order_ = at::randperm(size_, MakeGenerator(MixSeed(seed_, 17), epoch),
                            at::kLong);
      epoch_ = epoch;
    }
    const int64_t begin = step % PerEpoch() * batch_size_;
    return order_.narrow(0, begin, std::min(batch_size_, size_ - begin));
  }

 private:
  const int64_t size_, batch_size_;
  const uint64_t seed_;
  int64_t epoch_ = -1;
  at::Tensor order_;
};

constexpr int64_t kTestBatch = 256;

}  // namespace

PairTensors PairTensors::Select(const at::Tensor& rows) const {
  return {program.index_select(0, rows), begin.index_select(0, rows),
          end.index_select(0, rows),     mask.index_select(0, rows),
          labels.index_select(0, rows),  last_token};
}

absl::StatusOr<PairTensors> MakePairTensors(
    const std::vector<PairExample>& pairs, c10::Device device) {
  if (pairs.empty()) return absl::InvalidArgumentError("pairs: none");
  std::vector<int64_t> program, begin, end, labels, mask;
  int64_t last_token = 0;
  for (const PairExample& pair : pairs) {
    for (const Pieces& pieces : {pair.nodes.first, pair.nodes.second}) {
      if (pieces.empty() || pieces.size() > 2) {
        return absl::InvalidArgumentError(absl::StrCat(
            "pairs: a node of ", pieces.size(), " pieces, expected 1 or 2"));
      }
      // A piece that is not there has a span all the same: its softmax is
      // defined.
      for (size_t i = 0; i < 2; ++i) {
        const Span& span = pieces[std::min(i, pieces.size() - 1)];
        if (span.begin < 0 || span.end < span.begin) {
          return absl::InvalidArgumentError(
              absl::StrCat("pairs: a span [", span.begin, ", ", span.end,
                           "], expected 0 <= begin <= end"));
        }
        last_token = std::max(last_token, span.end);
        begin.push_back(span.begin);
        end.push_back(span.end);
        mask.push_back(i < pieces.size());
      }
    }
    program.push_back(pair.program);
    labels.push_back(pair.linked);
  }
  const auto size = static_cast<int64_t>(pairs.size());
  return PairTensors{
      Int64Tensor(program, device),
      Int64Tensor(begin, device).view({size, 2, 2}),
      Int64Tensor(end, device).view({size, 2, 2}),
      Int64Tensor(mask, device).view({size, 2, 2}).to(at::kFloat),
      Int64Tensor(labels, device),
      last_token};
}

PairProbes::PairProbes(int64_t dim, const std::vector<Initializer>& inits,
                       double dropout, at::Generator generator)
    : dropout_(dropout), generator_(std::move(generator)) {
  score_ = AddModule<StackedLinear>("score", dim, 1, inits);
  classifier_ = AddModule<StackedLinear>("classifier", 2 * dim, 2, inits);
}

at::Tensor PairProbes::Pool(const at::Tensor& states,
                            const PairTensors& pairs) const {
  ShapeChecker check;
  check(states, {"probes", "programs", "seq_len", "dim"}, "states");
  check(pairs.program, {"pairs"}, "program");
  check(pairs.begin, {"pairs", 2, 2}, "begin");
  check(pairs.end, {"pairs", 2, 2}, "end");
  check(pairs.mask, {"pairs", 2, 2}, "mask");
  const int64_t probes = states.size(0), seq_len = states.size(2),
                dim = states.size(3), size = pairs.program.size(0);
  TORCH_CHECK(size > 0, "pairs: none");
  // Known without a look at the tensors: a GPU need not be waited for.
  TORCH_CHECK(pairs.last_token < seq_len, "pairs: a span ends at token ",
              pairs.last_token, ", states have ", seq_len);
  const at::Tensor h = states.index_select(1, pairs.program);
  const at::Tensor scores =
      score_->Forward(h.view({probes, size * seq_len, dim}))
          .view({probes, size, 1, seq_len});
  const at::Tensor position =
      at::arange(seq_len, at::TensorOptions(states.device()).dtype(at::kLong));
  const at::Tensor outside =
      ((position < pairs.begin.unsqueeze(-1))
           .logical_or(position > pairs.end.unsqueeze(-1)))
          .view({1, size, 4, seq_len});
  const at::Tensor weights = at::softmax(
      scores.masked_fill(outside, -std::numeric_limits<double>::infinity()),
      -1);
  const at::Tensor pieces =
      at::matmul(weights, h).view({probes, size, 2, 2, dim});
  return (pieces * pairs.mask.to(states.scalar_type()).unsqueeze(-1))
      .sum(3)
      .reshape({probes, size, 2 * dim});
}

at::Tensor PairProbes::Forward(const at::Tensor& states,
                               const PairTensors& pairs) const {
  at::Tensor v = Pool(states, pairs);
  if (generator_.defined()) v = Dropout(v, dropout_, training(), generator_);
  return classifier_->Forward(v);
}

TagProbes::TagProbes(int64_t dim, int64_t num_tags,
                     const std::vector<Initializer>& inits, double dropout,
                     at::Generator generator)
    : dropout_(dropout), generator_(std::move(generator)) {
  classifier_ = AddModule<StackedLinear>("classifier", dim, num_tags, inits);
}

at::Tensor TagProbes::Forward(const at::Tensor& states) const {
  return classifier_->Forward(
      generator_.defined() ? Dropout(states, dropout_, training(), generator_)
                           : states);
}

void ClipStackedGradients(const std::vector<at::Tensor>& parameters,
                          double max_norm) {
  const at::NoGradGuard no_grad;
  at::Tensor squares;
  for (const at::Tensor& p : parameters) {
    if (!p.grad().defined()) continue;
    const at::Tensor square = p.grad().square().flatten(1).sum(1);
    squares = squares.defined() ? squares + square : square;
  }
  if (!squares.defined()) return;
  const at::Tensor scale =
      at::clamp_max(max_norm / (squares.sqrt() + 1e-6), 1.0);
  for (const at::Tensor& p : parameters) {
    if (!p.grad().defined()) continue;
    std::vector<int64_t> shape(p.dim(), 1);
    shape[0] = p.size(0);
    p.grad().mul_(scale.view(shape));
  }
}

std::vector<Confusion> TestPairProbes(PairProbes& probes,
                                      const at::Tensor& states,
                                      const PairTensors& pairs) {
  const at::NoGradGuard no_grad;
  probes.Train(false);
  std::vector<Confusion> counts(states.size(0));
  for (int64_t begin = 0; begin < pairs.size(); begin += kTestBatch) {
    const PairTensors batch = pairs.Select(
        at::arange(begin, std::min(begin + kTestBatch, pairs.size()),
                   at::TensorOptions(pairs.labels.device()).dtype(at::kLong)));
    const at::Tensor logits = probes.Forward(states, batch);
    const at::Tensor predicted = logits.select(2, 1) > logits.select(2, 0);
    const at::Tensor actual = batch.labels.to(at::kBool).unsqueeze(0);
    const auto count = [&](const at::Tensor& hit) { return hit.sum(1).cpu(); };
    const at::Tensor tp = count(predicted.logical_and(actual));
    const at::Tensor fp = count(predicted.logical_and(actual.logical_not()));
    const at::Tensor fn = count(predicted.logical_not().logical_and(actual));
    for (size_t i = 0; i < counts.size(); ++i) {
      const auto at = [&](const at::Tensor& t) {
        return t.const_data_ptr<int64_t>()[i];
      };
      counts[i].true_positives += at(tp);
      counts[i].false_positives += at(fp);
      counts[i].false_negatives += at(fn);
      counts[i].true_negatives += batch.size() - at(tp) - at(fp) - at(fn);
    }
  }
  return counts;
}

absl::StatusOr<std::vector<double>> TrainPairProbes(
    PairProbes& probes, const at::Tensor& train_states,
    const PairTensors& train, const at::Tensor& validation_states,
    const PairTensors& validation, const ProbeTrainingOptions& options,
    uint64_t seed, const std::function<bool(double)>& progress) {
  Batches batches(train.size(), options.batch_size, seed);
  return TrainStack(
      probes, train_states.size(0), batches.PerEpoch(), options,
      [&](int64_t step) {
        const PairTensors batch =
            train.Select(batches.At(step).to(train.labels.device()));
        return SummedLoss(probes.Forward(train_states, batch), batch.labels);
      },
      [&]() -> absl::StatusOr<std::vector<double>> {
        std::vector<double> mcc;
        for (const Confusion& counts :
             TestPairProbes(probes, validation_states, validation)) {
          mcc.push_back(ScoreOf(counts).mcc);
        }
        return mcc;
      },
      progress);
}

absl::StatusOr<std::vector<double>> TestTagProbes(TagProbes& probes,
                                                  const at::Tensor& states,
                                                  const TagExamples& examples) {
  const at::NoGradGuard no_grad;
  probes.Train(false);
  const at::Tensor flat = states.flatten(1, 2);
  std::vector<int64_t> tokens, tags;
  for (size_t i = 0; i < examples.tokens.size(); ++i) {
    tokens.insert(tokens.end(), examples.tokens[i].begin(),
                  examples.tokens[i].end());
    tags.insert(tags.end(), examples.tags[i].begin(), examples.tags[i].end());
  }
  if (tokens.empty()) return absl::InvalidArgumentError("tagger: no tokens");
  const at::Tensor predicted =
      probes.Forward(flat.index_select(1, Int64Tensor(tokens, states.device())))
          .argmax(-1)
          .cpu()
          .contiguous();
  std::vector<double> mcc;
  for (int64_t probe = 0; probe < states.size(0); ++probe) {
    const int64_t* const row =
        predicted.const_data_ptr<int64_t>() + probe * predicted.size(1);
    REPRO_ASSIGN_OR_RETURN(
        mcc.emplace_back(),
        metrics::MatthewsCorrelation(
            tags, std::vector<int64_t>(row, row + predicted.size(1))));
  }
  return mcc;
}

absl::StatusOr<std::vector<double>> TrainTagProbes(
    TagProbes& probes, const at::Tensor& train_states, const TagExamples& train,
    const at::Tensor& validation_states, const TagExamples& validation,
    const ProbeTrainingOptions& options, uint64_t seed,
    const std::function<bool(double)>& progress) {
  if (train.tokens.empty()) {
    return absl::InvalidArgumentError("tagger: no programs");
  }
  const at::Tensor flat = train_states.flatten(1, 2);
  Batches batches(static_cast<int64_t>(train.tokens.size()), options.batch_size,
                  seed);
  return TrainStack(
      probes, train_states.size(0), batches.PerEpoch(), options,
      [&](int64_t step) {
        const at::Tensor programs = batches.At(step).contiguous();
        std::vector<int64_t> tokens, tags;
        for (int64_t i = 0; i < programs.numel(); ++i) {
          const int64_t program = programs.const_data_ptr<int64_t>()[i];
          const auto& of_program = train.tokens[program];
          tokens.insert(tokens.end(), of_program.begin(), of_program.end());
          tags.insert(tags.end(), train.tags[program].begin(),
                      train.tags[program].end());
        }
        return SummedLoss(probes.Forward(flat.index_select(
                              1, Int64Tensor(tokens, flat.device()))),
                          Int64Tensor(tags, flat.device()));
      },
      [&] { return TestTagProbes(probes, validation_states, validation); },
      progress);
}

ProbeSpeed MeasureProbeSpeed(int64_t layers, int64_t programs, int64_t seq_len,
                             int64_t dim, int64_t pairs, c10::Device device,
                             uint64_t seed) {
  std::mt19937_64 random(MixSeed(seed, 1));
  std::vector<PairExample> examples(pairs);
  for (PairExample& example : examples) {
    const auto below = [&](int64_t bound) {
      return static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
    };
    const auto node = [&](int64_t from, int64_t size) {
      const int64_t begin = from + below(size);
      return Pieces{{begin, begin + below(from + size - begin)}};
    };
    example.program = below(programs);
    // Disjoint: one node in each half.
    example.nodes = {node(0, seq_len / 2), node(seq_len / 2, seq_len / 2)};
    example.linked = below(2) == 1;
  }
  const auto made = MakePairTensors(examples, device);
  TORCH_CHECK(made.ok(), std::string(made.status().message()));
  const PairTensors& batch = *made;
  at::Generator generator = MakeGenerator(seed, 2, device);
  const at::Tensor states =
      at::empty({layers, programs, seq_len, dim},
                at::TensorOptions(device).dtype(at::kFloat))
          .normal_(0, 1, generator);
  const auto stack = [&](int64_t size, uint64_t stream) {
    std::vector<Initializer> inits(
        size, Initializer(MakeGenerator(seed, stream), device));
    return std::make_unique<PairProbes>(dim, inits, 0.1, generator);
  };
  const auto step = [](PairProbes& probes, Optimizer& optimizer,
                       const at::Tensor& of_states,
                       const PairTensors& of_pairs) {
    optimizer.ZeroGradients();
    SummedLoss(probes.Forward(of_states, of_pairs), of_pairs.labels).backward();
    ClipStackedGradients(optimizer.parameters(), 1);
    optimizer.Step();
  };
  TimingOptions timing;
  timing.max_seconds = 20;
  ProbeSpeed speed;
  {
    const auto probes = stack(layers, 3);
    const auto optimizer = MakeProbeOptimizer(*probes, layers, 1e-3);
    speed.stacked_ms =
        MeasureTime(
            device, [&] { step(*probes, *optimizer, states, batch); }, timing)
            .Median();
  }
  std::vector<std::unique_ptr<PairProbes>> probes;
  std::vector<std::unique_ptr<Optimizer>> optimizers;
  for (int64_t layer = 0; layer < layers; ++layer) {
    probes.push_back(stack(1, 4 + static_cast<uint64_t>(layer)));
    optimizers.push_back(MakeProbeOptimizer(*probes.back(), 1, 1e-3));
  }
  speed.sequential_ms = MeasureTime(
                            device,
                            [&] {
                              for (int64_t layer = 0; layer < layers; ++layer) {
                                step(*probes[layer], *optimizers[layer],
                                     states.narrow(0, layer, 1), batch);
                              }
                            },
                            timing)
                            .Median();
  return speed;
}

}  // namespace repro::probing_code_models
