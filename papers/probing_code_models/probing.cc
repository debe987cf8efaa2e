#include "papers/probing_code_models/probing.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/encoder/batching.h"
#include "common/encoder/objectives.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"

namespace repro::probing_code_models {
namespace {

// Streams of one seed.
enum Stream : uint64_t {
  kWeights,
  kHead,
  kMasking,
  kPretrainingPrograms,
  kNegativeEdges,
  kProbePrograms,
  kProbePairs,
  kProbeWeights,
  kProbeDropout,
  kProbeOrder,
};

encoder::PaddedBatch Pad(const std::vector<Program>& programs, int64_t seq_len,
                         c10::Device device) {
  std::vector<std::vector<int32_t>> sequences;
  for (const Program& program : programs) {
    sequences.emplace_back(program.ids.begin(), program.ids.end());
  }
  encoder::PaddedBatch batch = encoder::PadSequences(
      sequences, /*max_length=*/0, kPadId, /*pad_to=*/seq_len);
  return {batch.tokens.to(device), batch.mask.to(device)};
}

std::vector<Program> DrawPrograms(int64_t count, const ProgramOptions& options,
                                  std::mt19937_64& random) {
  std::vector<Program> programs;
  for (int64_t i = 0; i < count; ++i) {
    programs.push_back(DrawProgram(options, random));
  }
  return programs;
}

encoder::TransformerConfig Config(const ProbingOptions& options) {
  encoder::TransformerConfig config;
  config.vocab_size = static_cast<int64_t>(Vocabulary().size());
  config.dim = options.dim;
  config.num_layers = options.num_layers;
  config.num_heads = options.num_heads;
  config.ffn_dim = 4 * options.dim;
  config.max_positions = options.programs.max_tokens + config.padding_id + 1;
  // Every batch is new: nothing is learned by heart.
  config.dropout = 0;
  config.attention_dropout = 0;
  return config;
}

// The mean of -log sigmoid of the scaled inner product of both ends of each
// edge of the token data flow, and of -log (1 - sigmoid) for as many pairs of a
// variable that is read and an assigned one that it does not come from.
at::Tensor DataFlowLoss(const at::Tensor& h,
                        const std::vector<Program>& programs,
                        std::mt19937_64& random) {
  std::vector<int64_t> pairs;
  std::vector<double> labels;
  for (size_t row = 0; row < programs.size(); ++row) {
    const Program& program = programs[row];
    std::vector<int64_t> targets;
    for (const Node& node : program.nodes) {
      if (node.kind == NodeKind::kTarget) targets.push_back(node.tokens.begin);
    }
    for (const auto& edge : program.token_data_flow) {
      const int64_t read = edge.second;
      std::vector<int64_t> others;
      for (const int64_t target : targets) {
        if (program.token_data_flow.count({target, read}) == 0) {
          others.push_back(target);
        }
      }
      const auto add = [&](int64_t target, double label) {
        pairs.insert(pairs.end(), {static_cast<int64_t>(row), target, read});
        labels.push_back(label);
      };
      add(edge.first, 1);
      if (!others.empty()) add(others[random() % others.size()], 0);
    }
  }
  if (labels.empty()) return h.new_zeros({});
  const at::Tensor logits =
      encoder::TokenPairLogits(
          h, at::tensor(pairs, at::kLong).view({-1, 3}).to(h.device())) /
      std::sqrt(static_cast<double>(h.size(2)));
  return encoder::BinaryCrossEntropy(
      logits, at::tensor(labels, at::kDouble).to(logits.options()));
}

absl::Status Pretrain(encoder::TransformerEncoder& model, bool data_flow,
                      const ProbingOptions& options, uint64_t seed,
                      c10::Device device,
                      const std::function<bool(double)>& progress) {
  encoder::MaskedLanguageModelHead head(
      model.config(), Initializer(MakeGenerator(seed, kHead), device));
  std::vector<at::Tensor> parameters = model.Parameters();
  for (const at::Tensor& parameter : head.Parameters()) {
    parameters.push_back(parameter);
  }
  const auto optimizer = MakeAdamW(parameters, AdamOptions());
  const Schedule rate = WarmupLinearRate(
      options.pretraining_rate,
      std::floor(options.pretraining_warmup *
                 static_cast<double>(options.pretraining_steps)),
      options.pretraining_steps);
  encoder::TokenMaskingOptions masking;
  masking.mask_id = kMaskId;
  masking.vocab_size = model.config().vocab_size;
  masking.first_random_id = kFirstCodeId;
  at::Generator mask_generator = MakeGenerator(seed, kMasking, device);
  std::mt19937_64 program_random(MixSeed(seed, kPretrainingPrograms));
  std::mt19937_64 edge_random(MixSeed(seed, kNegativeEdges));
  for (int64_t step = 0; step < options.pretraining_steps; ++step) {
    if (!progress(static_cast<double>(step) /
                  static_cast<double>(options.pretraining_steps))) {
      return absl::CancelledError("pre-training: stopped");
    }
    const std::vector<Program> programs = DrawPrograms(
        options.pretraining_batch, options.programs, program_random);
    const encoder::PaddedBatch batch =
        Pad(programs, options.programs.max_tokens, device);
    const encoder::MaskedTokens masked = encoder::MaskTokens(
        batch.tokens, batch.tokens >= kFirstCodeId, masking, mask_generator);
    const at::Tensor h = model.Forward(masked.inputs, batch.mask);
    const at::Tensor selected = masked.labels != encoder::kIgnoredLabel;
    at::Tensor loss = encoder::TokenCrossEntropy(
        head.Forward(h.index({selected}), model.word_embedding()),
        masked.labels.index({selected}));
    if (data_flow) loss = loss + DataFlowLoss(h, programs, edge_random);
    optimizer->ZeroGradients();
    loss.backward();
    ClipGradientNorm(parameters, 1);
    optimizer->SetRate(rate(step));
    optimizer->Step();
  }
  return absl::OkStatus();
}

// A part of the programs that are probed.
struct Split {
  std::vector<Program> programs;
  at::Tensor states;  // [layers + 1, programs, seq_len, dim]
};

absl::StatusOr<Split> MakeSplit(const encoder::TransformerEncoder& model,
                                int64_t count, const ProbingOptions& options,
                                std::mt19937_64& random, c10::Device device) {
  Split split;
  split.programs = DrawPrograms(count, options.programs, random);
  std::vector<at::Tensor> parts;
  const encoder::PaddedBatch all =
      Pad(split.programs, options.programs.max_tokens, device);
  for (int64_t begin = 0; begin < count; begin += 100) {
    const int64_t size = std::min<int64_t>(100, count - begin);
    parts.push_back(LayerStates(model, all.tokens.narrow(0, begin, size),
                                all.mask.narrow(0, begin, size)));
  }
  split.states = at::cat(parts, 1);
  return split;
}

absl::Status CheckSizes(const ProbingOptions& options) {
  for (const int64_t size :
       {options.dim, options.num_layers, options.num_heads,
        options.pretraining_steps, options.pretraining_batch,
        options.train_programs, options.validation_programs,
        options.test_programs, options.max_positives}) {
    if (size < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("probing: a size of ", size, ", expected at least 1"));
    }
  }
  if (options.programs.min_tokens > options.programs.max_tokens ||
      options.programs.max_tokens < 40) {
    return absl::InvalidArgumentError(absl::StrCat(
        "probing: programs of ", options.programs.min_tokens, " to ",
        options.programs.max_tokens, " tokens; expected up to at least 40"));
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& Tasks() {
  static const auto* const kTasks = new std::vector<std::string>{
      "ast", "cfg", "cdg", "ddg", "in_cdg", "in_ddg", "tag"};
  return *kTasks;
}

absl::StatusOr<EncoderKind> ParseEncoderKind(absl::string_view name) {
  if (name == "random") return EncoderKind::kRandom;
  if (name == "pretrained") return EncoderKind::kPretrained;
  if (name == "data_flow") return EncoderKind::kDataFlow;
  return absl::InvalidArgumentError(absl::StrCat(
      "no encoder \"", name, "\"; there are random, pretrained, data_flow"));
}

ProbingOptions ProbingOptions::Small() {
  ProbingOptions options;
  // Fewer pairs than the paper's and a twelfth of its dimensions: more passes
  // at a higher rate.
  options.probes.epochs = 3;
  options.probes.rate = 1e-2;
  options.probes.validations_per_epoch = 2;
  options.tag_probes = options.probes;
  options.tag_probes.epochs = 5;
  options.tag_probes.batch_size = 8;
  return options;
}

ProbingOptions ProbingOptions::Large() {
  ProbingOptions options = Small();
  options.programs.min_tokens = 60;
  options.programs.max_tokens = 128;
  options.programs.max_depth = 3;
  options.dim = 256;
  options.num_layers = 6;
  options.num_heads = 8;
  options.pretraining_steps = 5000;
  options.pretraining_batch = 64;
  options.pretraining_rate = 5e-4;
  options.train_programs = 2000;
  options.validation_programs = 500;
  options.test_programs = 1000;
  options.probes.rate = 3e-3;
  options.tag_probes.rate = 3e-3;
  return options;
}

int64_t BestByValidation(const LayerScores& scores) {
  return std::max_element(scores.validation.begin(), scores.validation.end()) -
         scores.validation.begin();
}

at::Tensor LayerStates(const encoder::TransformerEncoder& model,
                       const at::Tensor& tokens, const at::Tensor& mask) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> values;
  for (const auto& [name, value] : model.NamedParameters()) {
    values[name] = value;
  }
  // The state after `depth` layers is the output of an encoder of that depth
  // with the same parameters.
  std::vector<at::Tensor> states;
  for (int64_t depth = 0; depth <= model.config().num_layers; ++depth) {
    encoder::TransformerConfig config = model.config();
    config.num_layers = depth;
    encoder::TransformerEncoder prefix(
        config,
        Initializer(MakeGenerator(0),
                    model.word_embedding().options().requires_grad(false)));
    for (auto& [name, parameter] : prefix.NamedParameters()) {
      parameter.copy_(values.at(name));
    }
    prefix.Train(false);
    states.push_back(prefix.Forward(tokens, mask));
  }
  return at::stack(states);
}

std::vector<PairExample> PairsOfTask(const std::string& task,
                                     const std::vector<Program>& programs,
                                     int64_t max_positives,
                                     std::mt19937_64& random) {
  std::vector<PairExample> examples;
  for (size_t i = 0; i < programs.size(); ++i) {
    const Program& program = programs[i];
    const Edges& graph = task == "ast"   ? program.ast
                         : task == "cfg" ? program.control_flow
                         : task == "cdg" || task == "in_cdg"
                             ? program.control_dependence
                             : program.data_dependence;
    std::vector<int64_t> candidates = program.statements;
    if (task == "ast") {
      candidates.clear();
      for (size_t node = 0; node < program.nodes.size(); ++node) {
        candidates.push_back(static_cast<int64_t>(node));
      }
    }
    Edges linked = graph;
    const bool in_graph = task == "in_cdg" || task == "in_ddg";
    if (in_graph) {
      const std::vector<int64_t> group =
          Components(graph, static_cast<int64_t>(program.nodes.size()));
      linked.clear();
      for (const int64_t a : candidates) {
        for (const int64_t b : candidates) {
          if (a < b && group[a] == group[b]) linked.insert({a, b});
        }
      }
    }
    for (const NodePair& pair :
         SamplePairs(program, linked, candidates, max_positives, random)) {
      // Spans of a program's nodes are never wrong.
      const std::optional<PairPieces> pieces = *ResolveOverlap(
          program.nodes[pair.first].tokens, program.nodes[pair.second].tokens);
      if (!pieces.has_value()) continue;
      examples.push_back({static_cast<int64_t>(i), *pieces, pair.linked});
    }
  }
  return examples;
}

TagExamples TagsOf(const std::vector<Program>& programs, int64_t seq_len) {
  TagExamples examples;
  for (size_t i = 0; i < programs.size(); ++i) {
    const TaggedText tagged = AnnotateProgram(programs[i]);
    // Annotations of a program are never wrong.
    const std::vector<int64_t> tags =
        *TagTokens(tagged.annotations, tagged.token_of,
                   static_cast<int64_t>(programs[i].ids.size()), kNumTagTypes);
    std::vector<int64_t>& token_list = examples.tokens.emplace_back();
    std::vector<int64_t>& tag_list = examples.tags.emplace_back();
    for (size_t t = 0; t < tags.size(); ++t) {
      if (tags[t] == 0) continue;
      token_list.push_back(static_cast<int64_t>(i) * seq_len +
                           static_cast<int64_t>(t));
      tag_list.push_back(tags[t]);
    }
  }
  return examples;
}

absl::StatusOr<std::vector<LayerScores>> ProbeEncoder(
    EncoderKind kind, const ProbingOptions& options, uint64_t seed,
    c10::Device device, const std::function<bool(double)>& progress) {
  REPRO_RETURN_IF_ERROR(CheckSizes(options));
  encoder::TransformerEncoder model(
      Config(options), Initializer(MakeGenerator(seed, kWeights), device));
  // Shares of the whole, roughly as they take time.
  const double pretraining_share = kind == EncoderKind::kRandom ? 0 : 0.7;
  if (kind != EncoderKind::kRandom) {
    REPRO_RETURN_IF_ERROR(Pretrain(
        model, kind == EncoderKind::kDataFlow, options, seed, device,
        [&](double done) { return progress(pretraining_share * done); }));
  }
  std::mt19937_64 program_random(MixSeed(seed, kProbePrograms));
  REPRO_ASSIGN_OR_RETURN(const Split train,
                         MakeSplit(model, options.train_programs, options,
                                   program_random, device));
  REPRO_ASSIGN_OR_RETURN(const Split validation,
                         MakeSplit(model, options.validation_programs, options,
                                   program_random, device));
  REPRO_ASSIGN_OR_RETURN(
      const Split test,
      MakeSplit(model, options.test_programs, options, program_random, device));
  std::mt19937_64 pair_random(MixSeed(seed, kProbePairs));
  std::vector<LayerScores> scores;
  for (size_t i = 0; i < Tasks().size(); ++i) {
    const std::string& task = Tasks()[i];
    const uint64_t task_seed = MixSeed(seed, 100 + i);
    std::vector<Initializer> inits;
    for (int64_t layer = 0; layer <= options.num_layers; ++layer) {
      inits.emplace_back(
          MakeGenerator(MixSeed(task_seed, kProbeWeights), layer), device);
    }
    at::Generator dropout = MakeGenerator(task_seed, kProbeDropout, device);
    const auto probe_progress = [&](double done) {
      return progress(pretraining_share +
                      (1 - pretraining_share) *
                          (static_cast<double>(i) + done) /
                          static_cast<double>(Tasks().size()));
    };
    LayerScores& of_task = scores.emplace_back();
    if (task == "tag") {
      const int64_t seq_len = options.programs.max_tokens;
      TagProbes probes(options.dim, NumTags(kNumTagTypes), inits, 0.1, dropout);
      REPRO_ASSIGN_OR_RETURN(
          of_task.validation,
          TrainTagProbes(probes, train.states, TagsOf(train.programs, seq_len),
                         validation.states,
                         TagsOf(validation.programs, seq_len),
                         options.tag_probes, MixSeed(task_seed, kProbeOrder),
                         probe_progress));
      REPRO_ASSIGN_OR_RETURN(
          of_task.test,
          TestTagProbes(probes, test.states, TagsOf(test.programs, seq_len)));
      continue;
    }
    const auto pairs = [&](const Split& split) {
      return MakePairTensors(
          PairsOfTask(task, split.programs, options.max_positives, pair_random),
          device);
    };
    REPRO_ASSIGN_OR_RETURN(const PairTensors train_pairs, pairs(train));
    REPRO_ASSIGN_OR_RETURN(const PairTensors validation_pairs,
                           pairs(validation));
    REPRO_ASSIGN_OR_RETURN(const PairTensors test_pairs, pairs(test));
    PairProbes probes(options.dim, inits, 0.1, dropout);
    REPRO_ASSIGN_OR_RETURN(
        of_task.validation,
        TrainPairProbes(probes, train.states, train_pairs, validation.states,
                        validation_pairs, options.probes,
                        MixSeed(task_seed, kProbeOrder), probe_progress));
    for (const Confusion& counts :
         TestPairProbes(probes, test.states, test_pairs)) {
      of_task.test.push_back(ScoreOf(counts).mcc);
    }
  }
  return scores;
}

}  // namespace repro::probing_code_models
