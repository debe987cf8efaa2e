#include "papers/graph_code_bert/pretraining.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/code/data_flow.h"
#include "common/code/language.h"
#include "common/encoder/objectives.h"
#include "common/metrics/ranking.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/text/utf8.h"
#include "common/tokenizer/bpe_trainer.h"
#include "common/tokenizer/loader.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "papers/graph_code_bert/model.h"

namespace repro::graph_code_bert {
namespace {

constexpr int32_t kPadId = 1;
constexpr int32_t kMaskId = 4;
constexpr int32_t kFirstTextId = 5;

// Streams of a seed.
enum Stream : uint64_t { kWeights, kDropout, kMasking, kBatches, kGraphs };

const std::map<Arm, const char*>& ArmNames() {
  static const auto* const names = new std::map<Arm, const char*>{
      {Arm::kFull, "full"},
      {Arm::kNoEdgePrediction, "no_edge_prediction"},
      {Arm::kNoNodeAlignment, "no_node_alignment"},
      {Arm::kNoDataFlow, "no_data_flow"},
      {Arm::kShuffledEdges, "shuffled_edges"}};
  return *names;
}

absl::StatusOr<std::vector<GraphInput>> ReadFunctions(
    code::CodeLanguage language, const std::vector<std::string>& sources,
    const Tokenizer& tokenizer, const PretrainingOptions& options) {
  GraphInputOptions input_options;
  input_options.code_length = options.code_length;
  input_options.data_flow_length = options.data_flow_length;
  std::vector<GraphInput> inputs;
  inputs.reserve(sources.size());
  for (const std::string& source : sources) {
    auto graph = code::DataFlow(language, source);
    if (absl::IsResourceExhausted(graph.status())) graph.emplace();
    REPRO_RETURN_IF_ERROR(graph.status());
    REPRO_ASSIGN_OR_RETURN(const TokenPieces pieces,
                           EncodeTokens(graph->tokens, tokenizer));
    REPRO_ASSIGN_OR_RETURN(GraphInput input,
                           MakeGraphInput(*graph, pieces, input_options));
    inputs.push_back(std::move(input));
  }
  return inputs;
}

// The functions as an arm sees them.
std::vector<GraphInput> OfArm(Arm arm, std::vector<GraphInput> inputs,
                              std::mt19937_64& random) {
  for (GraphInput& input : inputs) {
    if (arm == Arm::kNoDataFlow) {
      input = WithoutDataFlow(std::move(input));
    } else if (arm == Arm::kShuffledEdges) {
      input = ShuffleEdges(std::move(input), random);
    }
  }
  return inputs;
}

// The rate of the update of a step is not 0, neither first nor last.
Schedule Rate(double peak, int64_t steps, double warmup) {
  return [of_update = WarmupLinearRate(
              peak, warmup * static_cast<double>(steps + 1), steps + 1)](
             int64_t step) { return of_update(step + 1); };
}

// Endless passes over `size` indices, each in a new order.
class Shuffled {
 public:
  Shuffled(int64_t size, uint64_t seed) : random_(seed), order_(size) {
    for (int64_t i = 0; i < size; ++i) order_[i] = i;
    next_ = size;
  }

  std::vector<int64_t> Next(int64_t count) {
    std::vector<int64_t> indices;
    while (static_cast<int64_t>(indices.size()) < count) {
      if (next_ == static_cast<int64_t>(order_.size())) {
        std::shuffle(order_.begin(), order_.end(), random_);
        next_ = 0;
      }
      indices.push_back(order_[next_++]);
    }
    return indices;
  }

 private:
  std::mt19937_64 random_;
  std::vector<int64_t> order_;
  int64_t next_ = 0;
};

std::vector<const GraphInput*> Choose(const std::vector<GraphInput>& inputs,
                                      const std::vector<int64_t>& indices) {
  std::vector<const GraphInput*> chosen;
  for (const int64_t i : indices) chosen.push_back(&inputs[i]);
  return chosen;
}

absl::Status Cancelled() {
  return absl::CancelledError("pre-training: stopped");
}

}  // namespace

const char* ArmName(Arm arm) { return ArmNames().at(arm); }

absl::StatusOr<Arm> ParseArm(const std::string& name) {
  for (const auto& [arm, arm_name] : ArmNames()) {
    if (name == arm_name) return arm;
  }
  return absl::InvalidArgumentError(absl::StrCat("no arm \"", name, "\""));
}

absl::StatusOr<PretrainingData> PreparePretraining(
    const Columns& train, const Columns& test,
    const PretrainingOptions& options) {
  BpeTrainer trainer;
  for (const char* column : {"java", "cs"}) {
    for (const std::string& text : train.at(column)) {
      REPRO_RETURN_IF_ERROR(trainer.AddText(ReplaceInvalidUtf8(text)));
    }
  }
  BpeTrainingOptions bpe_options;
  bpe_options.vocab_size = options.vocab_size;
  bpe_options.special_tokens = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
  REPRO_ASSIGN_OR_RETURN(const TrainedBpe bpe, trainer.Train(bpe_options));
  REPRO_ASSIGN_OR_RETURN(
      const std::unique_ptr<Tokenizer> tokenizer,
      ParseTokenizerJson(bpe.ToJson(), "", "CodeTrans' vocabulary"));
  PretrainingData data;
  data.vocab_size = tokenizer->vocab_size();
  const auto read = [&](const Columns& columns, const char* column,
                        code::CodeLanguage language) {
    return ReadFunctions(language, columns.at(column), *tokenizer, options);
  };
  using code::CodeLanguage;
  REPRO_ASSIGN_OR_RETURN(data.train_java,
                         read(train, "java", CodeLanguage::kJava));
  REPRO_ASSIGN_OR_RETURN(data.train_cs,
                         read(train, "cs", CodeLanguage::kCSharp));
  REPRO_ASSIGN_OR_RETURN(data.test_java,
                         read(test, "java", CodeLanguage::kJava));
  REPRO_ASSIGN_OR_RETURN(data.test_cs, read(test, "cs", CodeLanguage::kCSharp));
  return data;
}

absl::StatusOr<double> RetrievalAfterPretraining(
    const PretrainingData& data, Arm arm, const PretrainingOptions& options,
    uint64_t seed, c10::Device device,
    const std::function<bool(double)>& progress) {
  std::mt19937_64 graph_random(MixSeed(seed, kGraphs));
  const auto of_arm = [&](const std::vector<GraphInput>& inputs) {
    return OfArm(arm, inputs, graph_random);
  };
  const std::vector<GraphInput> java = of_arm(data.train_java);
  const std::vector<GraphInput> cs = of_arm(data.train_cs);
  const std::vector<GraphInput> test_java = of_arm(data.test_java);
  const std::vector<GraphInput> test_cs = of_arm(data.test_cs);

  encoder::TransformerConfig config;
  config.vocab_size = data.vocab_size;
  config.dim = options.dim;
  config.num_layers = options.num_layers;
  config.num_heads = options.num_heads;
  config.ffn_dim = 4 * options.dim;
  config.max_positions = options.code_length + options.data_flow_length + 2;
  config.dropout = options.dropout;
  config.attention_dropout = options.dropout;
  GraphCodeBert model(config, Initializer(MakeGenerator(seed, kWeights)),
                      MakeGenerator(seed, kDropout, device));
  model.To(device);
  at::Generator masking = MakeGenerator(seed, kMasking, device);

  const double pair_scale =
      options.scaled_products ? 1 / std::sqrt(static_cast<double>(options.dim))
                              : 1;
  const double total =
      static_cast<double>(options.pretraining_steps + options.search_steps);
  const auto step_model = [&](Optimizer* optimizer, const at::Tensor& loss,
                              double rate) {
    optimizer->ZeroGradients();
    loss.backward();
    ClipGradientNorm(optimizer->parameters(), 1);
    optimizer->SetRate(rate);
    optimizer->Step();
  };

  // Both languages mixed, edge prediction and node alignment by turns.
  std::vector<const GraphInput*> all;
  for (const GraphInput& input : java) all.push_back(&input);
  for (const GraphInput& input : cs) all.push_back(&input);
  Shuffled batches(static_cast<int64_t>(all.size()), MixSeed(seed, kBatches));
  auto optimizer = MakeAdamW(model.Parameters(), AdamOptions());
  Schedule rate =
      Rate(options.pretraining_rate, options.pretraining_steps, options.warmup);
  for (int64_t step = 0; step < options.pretraining_steps; ++step) {
    if (!progress(static_cast<double>(step) / total)) return Cancelled();
    std::vector<const GraphInput*> inputs;
    for (const int64_t i : batches.Next(options.batch_size)) {
      inputs.push_back(all[i]);
    }
    const bool edges = step % 2 == 0;
    std::vector<PairSample> samples;
    std::vector<MaskOptions> masks;
    if (arm != Arm::kNoDataFlow &&
        arm != (edges ? Arm::kNoEdgePrediction : Arm::kNoNodeAlignment)) {
      for (const GraphInput* input : inputs) {
        samples.push_back(
            edges ? SampleEdges(*input, options.node_share, graph_random)
                  : SampleAlignment(*input, options.node_share, graph_random));
        MaskOptions mask;
        (edges ? mask.hidden_edges : mask.hidden_alignment) =
            samples.back().hidden;
        masks.push_back(std::move(mask));
      }
    }
    const GraphCodeBert::Losses losses = model.PretrainingLosses(
        MakeGraphBatch(inputs, masks, kPadId, device), samples, kMaskId,
        kFirstTextId, masking, pair_scale);
    step_model(optimizer.get(), losses.masked_language_model + losses.structure,
               rate(step));
  }

  const auto vectors = [&](const std::vector<GraphInput>& inputs,
                           const std::vector<int64_t>& indices) {
    return model.SearchVectors(model.Forward(
        MakeGraphBatch(Choose(inputs, indices), {}, kPadId, device)));
  };
  Shuffled pairs(static_cast<int64_t>(java.size()), MixSeed(seed, kBatches));
  optimizer = MakeAdamW(model.Parameters(), AdamOptions());
  rate = Rate(options.search_rate, options.search_steps, options.warmup);
  for (int64_t step = 0; step < options.search_steps; ++step) {
    if (!progress(static_cast<double>(options.pretraining_steps + step) /
                  total)) {
      return Cancelled();
    }
    const std::vector<int64_t> indices = pairs.Next(options.batch_size);
    step_model(
        optimizer.get(),
        encoder::SoftmaxPairLoss(vectors(java, indices), vectors(cs, indices)),
        rate(step));
  }

  model.Train(false);
  const at::NoGradGuard no_grad;
  const auto encode = [&](const std::vector<GraphInput>& inputs) {
    std::vector<at::Tensor> parts;
    const auto size = static_cast<int64_t>(inputs.size());
    for (int64_t begin = 0; begin < size; begin += options.batch_size) {
      std::vector<int64_t> indices;
      for (int64_t i = begin; i < std::min(size, begin + options.batch_size);
           ++i) {
        indices.push_back(i);
      }
      parts.push_back(vectors(inputs, indices));
    }
    return at::cat(parts);
  };
  const at::Tensor distances =
      -at::matmul(encode(test_java), encode(test_cs).t())
           .cpu()
           .to(at::kDouble)
           .contiguous();
  double sum = 0;
  const int64_t queries = distances.size(0), codes = distances.size(1);
  for (int64_t i = 0; i < queries; ++i) {
    const double* const row = distances.const_data_ptr<double>() + i * codes;
    REPRO_ASSIGN_OR_RETURN(
        const int64_t rank,
        metrics::PessimisticRank(std::vector<double>(row, row + codes), i));
    sum += 1 / static_cast<double>(rank);
  }
  return sum / static_cast<double>(queries);
}

}  // namespace repro::graph_code_bert
