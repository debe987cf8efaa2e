#include "papers/rank_ef/ranker.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/norm.h>
#include <c10/util/Exception.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/encoder/objectives.h"
#include "papers/rank_ef/feedback.h"

namespace repro::rank_ef {
namespace {

encoder::ClassificationHeadConfig HeadConfig(int64_t dim) {
  encoder::ClassificationHeadConfig config;
  config.in_dim = dim;
  config.hidden_dim = Ranker::kHeadDim;
  config.num_classes = kNumClasses;
  config.activation = encoder::ClassificationHeadConfig::Activation::kRelu;
  config.dropout = 0;
  return config;
}

bool OfEncoder(const std::string& name) {
  return name == "model.embedding" || absl::StartsWith(name, "model.encoder.");
}

}  // namespace

Ranker::Ranker(const encoder::EncoderDecoderConfig& config,
               const Initializer& init, at::Generator generator)
    : model_(AddModule<encoder::EncoderDecoder>("model", config, init,
                                                std::move(generator))),
      class_head_(AddModule<encoder::ClassificationHead>(
          "class_head", HeadConfig(config.dim), init)) {}

at::Tensor Ranker::ClassLogits(const at::Tensor& tokens,
                               const at::Tensor& mask) const {
  return class_head_->Forward(model_->Encode(tokens, mask).select(1, 0));
}

at::Tensor Ranker::ClassificationLoss(const RankerBatch& batch) const {
  return encoder::TokenCrossEntropy(ClassLogits(batch.tokens, batch.mask),
                                    batch.labels);
}

at::Tensor Ranker::GenerationLoss(const RankerBatch& batch) const {
  const at::Tensor logits =
      model_->Decode(encoder::ShiftRight(batch.labels, model_->config()),
                     model_->Encode(batch.tokens, batch.mask), batch.mask);
  return encoder::TokenCrossEntropy(logits, batch.labels);
}

int64_t CountClassifierParameters(const Ranker& ranker) {
  int64_t count = 0;
  for (const auto& [name, value] : ranker.NamedParameters()) {
    if (OfEncoder(name) || absl::StartsWith(name, "class_head.")) {
      count += value.numel();
    }
  }
  return count;
}

absl::StatusOr<Scheme> ParseScheme(absl::string_view name) {
  for (const Scheme scheme : {Scheme::kClassification, Scheme::kHard,
                              Scheme::kSoft, Scheme::kIntermediate}) {
    if (name == SchemeName(scheme)) return scheme;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no scheme \"", name,
                   "\": expected classification, hard, soft or intermediate"));
}

const char* SchemeName(Scheme scheme) {
  switch (scheme) {
    case Scheme::kClassification:
      return "classification";
    case Scheme::kHard:
      return "hard";
    case Scheme::kSoft:
      return "soft";
    case Scheme::kIntermediate:
      return "intermediate";
  }
  return "";
}

at::Tensor HardSharingLoss(const Ranker& ranker,
                           const RankerBatch& classification,
                           const RankerBatch& generation, double loss_weight) {
  return loss_weight * ranker.ClassificationLoss(classification) +
         (1 - loss_weight) * ranker.GenerationLoss(generation);
}

at::Tensor SoftSharingPenalty(const Ranker& a, const Ranker& b) {
  const NamedTensors of_a = a.NamedParameters();
  const NamedTensors of_b = b.NamedParameters();
  TORCH_CHECK(of_a.size() == of_b.size(), "soft sharing: ", of_a.size(),
              " tensors and ", of_b.size());
  at::Tensor penalty;
  for (size_t i = 0; i < of_a.size(); ++i) {
    if (!OfEncoder(of_a[i].first)) continue;
    TORCH_CHECK(of_a[i].first == of_b[i].first, "soft sharing: ", of_a[i].first,
                " and ", of_b[i].first);
    const at::Tensor norm = at::norm(of_a[i].second - of_b[i].second);
    penalty = penalty.defined() ? penalty + norm : norm;
  }
  return penalty;
}

}  // namespace repro::rank_ef
