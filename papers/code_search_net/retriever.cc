#include "papers/code_search_net/retriever.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/encoder/batching.h"
#include "common/encoder/objectives.h"
#include "common/nn/initializer.h"
#include "common/retrieval/evaluate.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "papers/code_search_net/words.h"

namespace repro::code_search_net {
namespace {

using encoder::PaddedBatch;
using encoder::PadSequences;
using encoder::SequenceEncoder;
using encoder::SequenceEncoderConfig;
using Sequences = std::vector<std::vector<int32_t>>;
using Texts = std::vector<std::vector<std::string>>;

// Streams of a seed.
enum : uint64_t { kQueryWeights, kCodeWeights, kDropout, kFirstEpoch = 16 };

constexpr int64_t kEncodingBatch = 256;

Texts Documentations(const std::vector<Pair>& pairs) {
  Texts texts;
  for (const Pair& pair : pairs) {
    texts.push_back(Words(pair.documentation, /*digits=*/true));
  }
  return texts;
}

Texts Codes(const std::vector<Pair>& pairs) {
  Texts texts;
  for (const Pair& pair : pairs) {
    texts.push_back(Words(pair.code, /*digits=*/true));
  }
  return texts;
}

Sequences AllIds(const Vocabulary& vocabulary, const Texts& texts) {
  Sequences sequences;
  for (const auto& words : texts) sequences.push_back(vocabulary.Ids(words));
  return sequences;
}

at::Tensor Forward(const SequenceEncoder& model, const PaddedBatch& batch,
                   c10::Device device) {
  return model.Forward(batch.tokens.to(device), batch.mask.to(device));
}

std::vector<float> Encode(const SequenceEncoder& model,
                          const Sequences& sequences, int64_t max_length,
                          c10::Device device) {
  at::NoGradGuard no_grad;
  std::vector<float> vectors;
  for (size_t begin = 0; begin < sequences.size(); begin += kEncodingBatch) {
    const size_t end = std::min(begin + kEncodingBatch, sequences.size());
    const Sequences part(sequences.begin() + begin, sequences.begin() + end);
    const at::Tensor h = Forward(
        model, PadSequences(part, max_length, Vocabulary::kPadding), device);
    const at::Tensor unit =
        (h / (h.norm(2, {1}, /*keepdim=*/true) + 1e-10)).cpu().contiguous();
    const float* data = unit.const_data_ptr<float>();
    vectors.insert(vectors.end(), data, data + unit.numel());
  }
  return vectors;
}

}  // namespace

Vocabulary::Vocabulary(const Texts& texts, int64_t size) {
  absl::flat_hash_map<std::string, int64_t> counts;
  for (const auto& words : texts) {
    for (const std::string& word : words) ++counts[word];
  }
  std::vector<std::pair<int64_t, std::string>> order;
  for (const auto& [word, count] : counts) order.emplace_back(-count, word);
  std::sort(order.begin(), order.end());
  for (const auto& [count, word] : order) {
    if (this->size() >= size) break;
    ids_.emplace(word, static_cast<int32_t>(this->size()));
  }
}

std::vector<int32_t> Vocabulary::Ids(
    const std::vector<std::string>& words) const {
  std::vector<int32_t> ids;
  for (const std::string& word : words) {
    const auto found = ids_.find(word);
    ids.push_back(found == ids_.end() ? kUnknown : found->second);
  }
  return ids;
}

absl::StatusOr<Retriever> Retriever::Train(const std::vector<Pair>& train,
                                           const std::vector<Pair>& valid,
                                           const RetrieverOptions& options) {
  if (train.size() < 2 || valid.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("training needs at least 2 pairs to train on and 2 to "
                     "validate on, got ",
                     train.size(), " and ", valid.size()));
  }
  if (options.batch_size < 2 || options.max_epochs < 1 ||
      options.patience < 1 || options.vocab_size < 3 ||
      options.max_query_length < 1 || options.max_code_length < 1) {
    return absl::InvalidArgumentError(
        "batch_size must be at least 2, vocab_size 3, epochs, patience and "
        "lengths 1");
  }
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(options.device));
  Retriever result;
  result.options_ = options;
  const Texts query_texts = Documentations(train), code_texts = Codes(train);
  result.query_words_ =
      std::make_unique<Vocabulary>(query_texts, options.vocab_size);
  result.code_words_ =
      std::make_unique<Vocabulary>(code_texts, options.vocab_size);
  const Sequences queries = AllIds(*result.query_words_, query_texts);
  const Sequences codes = AllIds(*result.code_words_, code_texts);

  REPRO_ASSIGN_OR_RETURN(
      SequenceEncoderConfig query_config,
      SequenceEncoderConfig::ByName(options.query_encoder,
                                    result.query_words_->size()));
  query_config.max_length = options.max_query_length;
  REPRO_ASSIGN_OR_RETURN(SequenceEncoderConfig code_config,
                         SequenceEncoderConfig::ByName(
                             options.code_encoder, result.code_words_->size()));
  code_config.max_length = options.max_code_length;
  const at::Generator dropout = MakeGenerator(options.seed, kDropout, device);
  result.query_encoder_ = std::make_unique<SequenceEncoder>(
      query_config, Initializer(MakeGenerator(options.seed, kQueryWeights)),
      dropout);
  result.code_encoder_ = std::make_unique<SequenceEncoder>(
      code_config, Initializer(MakeGenerator(options.seed, kCodeWeights)),
      dropout);
  result.query_encoder_->To(at::TensorOptions().device(device));
  result.code_encoder_->To(at::TensorOptions().device(device));
  std::vector<at::Tensor> parameters = result.query_encoder_->Parameters();
  for (const at::Tensor& p : result.code_encoder_->Parameters()) {
    parameters.push_back(p);
  }

  const bool cosine_margin = options.query_encoder == "nbow";
  AdamOptions adam;
  adam.rate = cosine_margin || options.query_encoder == "rnn" ? 0.01 : 0.0005;
  const auto optimizer = MakeAdam(parameters, adam);
  const auto size = static_cast<int64_t>(train.size());
  const auto valid_size = static_cast<int64_t>(valid.size());
  double best = -1;
  int64_t since_best = 0;
  std::vector<at::Tensor> best_parameters;
  for (int64_t epoch = 0; epoch < options.max_epochs; ++epoch) {
    result.query_encoder_->Train();
    result.code_encoder_->Train();
    const at::Tensor order = at::randperm(
        size, MakeGenerator(options.seed, kFirstEpoch + epoch), at::kLong);
    const int64_t* rows = order.const_data_ptr<int64_t>();
    for (int64_t begin = 0; begin < size; begin += options.batch_size) {
      const int64_t end = std::min(begin + options.batch_size, size);
      if (end - begin < 2) break;  // nothing to contrast with
      const std::vector<int64_t> batch(rows + begin, rows + end);
      const at::Tensor q =
          Forward(*result.query_encoder_,
                  PadSequences(queries, batch, options.max_query_length,
                               Vocabulary::kPadding),
                  device);
      const at::Tensor c =
          Forward(*result.code_encoder_,
                  PadSequences(codes, batch, options.max_code_length,
                               Vocabulary::kPadding),
                  device);
      const at::Tensor loss = cosine_margin
                                  ? encoder::CosineMarginPairLoss(q, c)
                                  : encoder::SoftmaxPairLoss(q, c);
      optimizer->ZeroGradients();
      loss.backward();
      ClipGradientNorm(parameters, options.gradient_norm);
      optimizer->Step();
    }
    result.query_encoder_->Train(false);
    result.code_encoder_->Train(false);
    result.epochs_ = epoch + 1;
    REPRO_ASSIGN_OR_RETURN(
        const double mrr,
        result.MeanReciprocalRank(valid, std::min<int64_t>(valid_size, 1000),
                                  /*as_coded=*/false));
    if (options.stop && options.stop(epoch + 1, mrr)) {
      return absl::CancelledError("training was cancelled");
    }
    if (mrr > best) {
      best = mrr;
      since_best = 0;
      best_parameters.clear();
      for (const at::Tensor& p : parameters) {
        best_parameters.push_back(p.detach().clone());
      }
    } else if (++since_best >= options.patience) {
      break;
    }
  }
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].copy_(best_parameters[i]);
  }
  return result;
}

int64_t Retriever::dim() const { return query_encoder_->config().dim; }

std::vector<float> Retriever::EncodeQueries(const Texts& texts) const {
  return Encode(*query_encoder_, AllIds(*query_words_, texts),
                options_.max_query_length, *ParseDevice(options_.device));
}

std::vector<float> Retriever::EncodeCode(const Texts& texts) const {
  return Encode(*code_encoder_, AllIds(*code_words_, texts),
                options_.max_code_length, *ParseDevice(options_.device));
}

absl::StatusOr<double> Retriever::MeanReciprocalRank(
    const std::vector<Pair>& pairs, int64_t batch_size, bool as_coded) const {
  const std::vector<float> queries = EncodeQueries(Documentations(pairs));
  const std::vector<float> codes = EncodeCode(Codes(pairs));
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<double> ranks,
      retrieval::ReciprocalRanksInBatches(
          static_cast<int64_t>(pairs.size()), batch_size,
          retrieval::LastBatch::kDrop,
          as_coded ? retrieval::InnerProductScorer(codes, queries, dim())
                   : retrieval::InnerProductScorer(queries, codes, dim())));
  return Mean(ranks);
}

}  // namespace repro::code_search_net
