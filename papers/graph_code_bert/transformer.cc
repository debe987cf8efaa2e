#include "papers/graph_code_bert/transformer.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/encoder/batching.h"
#include "common/encoder/encoder_decoder.h"
#include "common/encoder/objectives.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/text/utf8.h"
#include "common/tokenizer/bpe_trainer.h"
#include "common/tokenizer/loader.h"
#include "common/train/optimizer.h"

namespace repro::graph_code_bert {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

constexpr int64_t kTranslatedAtOnce = 256;

// T5's: <pad> is 0, </s> is 1, which ends each text.
absl::StatusOr<Sequences> Encode(const std::vector<std::string>& texts,
                                 const Tokenizer& tokenizer,
                                 int64_t max_length) {
  EncodeOptions options;
  options.add_special_tokens = false;
  options.parse_special = false;
  Sequences sequences;
  for (const std::string& text : texts) {
    REPRO_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                           tokenizer.Encode(ReplaceInvalidUtf8(text), options));
    if (static_cast<int64_t>(ids.size()) >= max_length) {
      ids.resize(max_length - 1);
    }
    ids.push_back(1);
    sequences.push_back(std::move(ids));
  }
  return sequences;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> TrainAndTranslate(
    const std::vector<std::string>& sources,
    const std::vector<std::string>& targets,
    const std::vector<std::string>& to_translate,
    const TransformerOptions& options, uint64_t seed, c10::Device device,
    const std::function<bool(double)>& progress) {
  if (sources.empty() || sources.size() != targets.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("transformer: ", sources.size(), " sources and ",
                     targets.size(), " targets; expected pairs"));
  }
  BpeTrainer trainer;
  for (const auto* texts : {&sources, &targets}) {
    for (const std::string& text : *texts) {
      REPRO_RETURN_IF_ERROR(trainer.AddText(ReplaceInvalidUtf8(text)));
    }
  }
  BpeTrainingOptions bpe_options;
  bpe_options.vocab_size = options.vocab_size;
  bpe_options.special_tokens = {"<pad>", "</s>"};
  REPRO_ASSIGN_OR_RETURN(const TrainedBpe bpe, trainer.Train(bpe_options));
  REPRO_ASSIGN_OR_RETURN(
      const std::unique_ptr<Tokenizer> tokenizer,
      ParseTokenizerJson(bpe.ToJson(), "", "the pairs' vocabulary"));
  REPRO_ASSIGN_OR_RETURN(const Sequences source_ids,
                         Encode(sources, *tokenizer, options.max_length));
  REPRO_ASSIGN_OR_RETURN(const Sequences target_ids,
                         Encode(targets, *tokenizer, options.max_length));
  REPRO_ASSIGN_OR_RETURN(const Sequences test_ids,
                         Encode(to_translate, *tokenizer, options.max_length));

  encoder::EncoderDecoderConfig config =
      encoder::EncoderDecoderConfig::Tiny(tokenizer->vocab_size());
  config.dim = options.dim;
  config.num_heads = 4;
  config.head_dim = options.dim / 4;
  config.ffn_dim = 4 * options.dim;
  config.encoder_layers = options.num_layers;
  config.decoder_layers = options.num_layers;
  config.pad_id = 0;
  config.eos_id = 1;
  encoder::EncoderDecoder model(config, Initializer(MakeGenerator(seed, 0)),
                                MakeGenerator(seed, 1, device));
  model.To(device);
  auto optimizer = MakeAdamW(model.Parameters(), AdamOptions());

  std::vector<int64_t> lengths;
  for (const auto& ids : source_ids) {
    lengths.push_back(static_cast<int64_t>(ids.size()));
  }
  encoder::LengthBatchingOptions batching;
  batching.batch_size = options.batch_size;
  // The last tenth of the progress is the translation.
  int64_t step = 0;
  for (int64_t epoch = 0; step < options.steps; ++epoch) {
    for (const std::vector<int64_t>& rows :
         encoder::LengthBatches(lengths, batching, seed, epoch)) {
      if (step == options.steps) break;
      const double done =
          static_cast<double>(step) / static_cast<double>(options.steps);
      if (!progress(0.9 * done)) {
        return absl::CancelledError("transformer: stopped");
      }
      const auto source = encoder::PadSequences(source_ids, rows, 0, 0);
      const auto target = encoder::PadSequences(target_ids, rows, 0, 0);
      const at::Tensor labels =
          at::where(target.mask, target.tokens, encoder::kIgnoredLabel)
              .to(device);
      const at::Tensor source_mask = source.mask.to(device);
      const at::Tensor loss = encoder::TokenCrossEntropy(
          model.Decode(encoder::ShiftRight(labels, config),
                       model.Encode(source.tokens.to(device), source_mask),
                       source_mask),
          labels);
      optimizer->ZeroGradients();
      loss.backward();
      ClipGradientNorm(optimizer->parameters(), 1);
      // A tenth of the steps up, the others linearly down.
      optimizer->SetRate(options.rate *
                         std::min((done + 1e-4) / 0.1, (1 - done) / 0.9));
      optimizer->Step();
      ++step;
    }
  }

  model.Train(false);
  // Greedy rows do not depend on each other: neighbours in length end together.
  const auto size = static_cast<int64_t>(test_ids.size());
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return test_ids[a].size() < test_ids[b].size();
  });
  std::vector<std::string> outputs(size);
  encoder::GenerateOptions generation;
  generation.max_length = options.max_length;
  for (int64_t begin = 0; begin < size; begin += kTranslatedAtOnce) {
    if (!progress(0.9 + 0.1 * static_cast<double>(begin) /
                            static_cast<double>(size))) {
      return absl::CancelledError("transformer: stopped");
    }
    const std::vector<int64_t> rows(
        order.begin() + begin,
        order.begin() + std::min(size, begin + kTranslatedAtOnce));
    const auto source = encoder::PadSequences(test_ids, rows, 0, 0);
    const std::vector<encoder::Generated> generated = model.Generate(
        source.tokens.to(device), source.mask.to(device), generation);
    for (size_t i = 0; i < rows.size(); ++i) {
      REPRO_ASSIGN_OR_RETURN(
          outputs[rows[i]],
          tokenizer->Decode(std::vector<int32_t>(generated[i].tokens.begin(),
                                                 generated[i].tokens.end())));
    }
  }
  return outputs;
}

}  // namespace repro::graph_code_bert
