// RankEF's ranker (Sun et al. 2024): an encoder-decoder that classifies a
// program from the encoder's first state and says its execution feedback with
// the decoder, and the losses of the multi-task schemes.
#ifndef REPRO_PAPERS_RANK_EF_RANKER_H_
#define REPRO_PAPERS_RANK_EF_RANKER_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/encoder/encoder_decoder.h"
#include "common/encoder/transformer_encoder.h"
#include "common/nn/initializer.h"
#include "common/nn/module.h"

namespace repro::rank_ef {

// One batch of one of the two tasks.
struct RankerBatch {
  at::Tensor tokens;  // int64 [batch, source_len]
  at::Tensor mask;    // bool [batch, source_len], true for tokens
  // Classification: int64 [batch], a FeedbackClass. Generation: int64
  // [batch, target_len], -100 for padding.
  at::Tensor labels;
};

// Parameters "model.*" (embedding, encoder, decoder) and "class_head.*".
class Ranker : public Module {
 public:
  // The hidden width of the class head, whatever the model's.
  static constexpr int64_t kHeadDim = 128;

  // Dropout draws from `generator`; undefined: no dropout.
  Ranker(const encoder::EncoderDecoderConfig& config, const Initializer& init,
         at::Generator generator = {});

  // Linear(dim, 128), ReLU, Linear(128, 3) of the encoder's state of the first
  // token -> [batch, 3].
  at::Tensor ClassLogits(const at::Tensor& tokens,
                         const at::Tensor& mask) const;

  // Means in nats: L_cls over programs, L_gen over the tokens of the feedback.
  at::Tensor ClassificationLoss(const RankerBatch& batch) const;
  at::Tensor GenerationLoss(const RankerBatch& batch) const;

  encoder::EncoderDecoder* model() { return model_; }

 private:
  encoder::EncoderDecoder* model_;
  encoder::ClassificationHead* class_head_;
};

// Parameters that classification alone needs: embedding, encoder and head.
int64_t CountClassifierParameters(const Ranker& ranker);

enum class Scheme {
  kClassification,  // L_cls alone, as CodeRanker
  kHard,            // one model: a L_cls + (1 - a) L_gen
  // Two models, of which the first ranks: a L_cls + (1 - a) L_gen +
  // sum over the encoder's tensors, the embedding among them, of
  // ||W_1 - W_2||_F.
  kSoft,
  kIntermediate,  // first L_gen, then L_cls from these weights
};
// "classification", "hard", "soft", "intermediate".
absl::StatusOr<Scheme> ParseScheme(absl::string_view name);
const char* SchemeName(Scheme scheme);

// a L_cls + (1 - a) L_gen with a = loss_weight.
at::Tensor HardSharingLoss(const Ranker& ranker,
                           const RankerBatch& classification,
                           const RankerBatch& generation, double loss_weight);

// The sum of Frobenius norms (not squared) over embedding and encoder. Its
// gradient is 0 where two tensors are equal.
at::Tensor SoftSharingPenalty(const Ranker& a, const Ranker& b);

}  // namespace repro::rank_ef

#endif  // REPRO_PAPERS_RANK_EF_RANKER_H_
