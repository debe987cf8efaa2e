// What the experiments train and time.
#ifndef REPRO_PAPERS_SOFTPLUS_ATTENTION_STUDIES_H_
#define REPRO_PAPERS_SOFTPLUS_ATTENTION_STUDIES_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/count/timing.h"
#include "common/testbed/recipe.h"
#include "common/train/grid.h"
#include "common/train/language_model.h"
#include "papers/softplus_attention/gpt.h"

namespace repro::softplus_attention {

// The steps and the sequence length of the paper's training; the rest of it is
// not here.
LanguageModelTraining PublishedTraining();

// ----------------------------------------------------- losses beyond training

struct ExtrapolationStudy {
  GptConfig model;                 // its vocab_size is the data's
  LanguageModelTraining training;  // its valid_ fields are not used
  std::vector<int64_t> lengths;    // at which losses are measured
  // Read at each length, in windows without overlap: the same text whatever
  // the length.
  int64_t valid_tokens = 0;
  // The length and the windows of which attention is looked at.
  int64_t look_length = 0;
  int64_t look_windows = 2;
};

struct ExtrapolationOutcome {
  // By form of reading, one a length, in nats a token: the form of training,
  // and of "softmax" also softmax_window, of "lssa" also lssar15.
  std::map<std::string, std::vector<double>> losses;
  // The share of a row's attention that goes to keys at least training.seq_len
  // before it, in % of 100, the mean over all rows that have such keys.
  double far_weight = 0;
};

// Trains a model in each form (names as of AttentionForm::Named) with each seed
// of `grid`, all on the same batches, and reads validation text at all lengths.
// One outcome a seed. InvalidArgument: lengths or tokens that the text does not
// have; NotFound: an unknown form.
absl::StatusOr<std::map<std::string, std::vector<ExtrapolationOutcome>>>
MeasureExtrapolation(const TextDataset& data, const ExtrapolationStudy& study,
                     const std::vector<std::string>& forms, Grid grid);

// The far_weight of `model` over tokens [windows, length], of which rows from
// `distance` on count.
double FarWeight(const Gpt& model, const at::Tensor& tokens, int64_t distance);

// -------------------------------------------------------------------- passkeys

struct PasskeyStudy {
  GptConfig model;         // its vocab_size is the recipe's
  testbed::Recipe recipe;  // data, schedule, length; its model is not used
  std::vector<int64_t> lengths;
  int64_t sequences = 200;  // of each length, one passkey each
};

// % of the study's sequences of a length whose passkey `logits` predict in all
// tokens, each from the true ones before it.
double PasskeyAccuracy(const LogitsFunction& logits, const PasskeyStudy& study,
                       int64_t length, uint64_t seed, c10::Device device);

// Trains a model in each form with each seed of `grid` on the recipe's batches
// and asks for passkeys: % of them that are answered right in all tokens, one a
// length, by form and seed.
absl::StatusOr<std::map<std::string, std::vector<std::vector<double>>>>
MeasurePasskeys(const PasskeyStudy& study,
                const std::vector<std::string>& forms, c10::Device device,
                Grid grid);

// ------------------------------------------------------------ the operator

struct OperatorShape {
  int64_t batch = 1;
  int64_t heads = 12;
  int64_t head_dim = 64;
  int64_t length = 0;
};

// One operator on random inputs (bfloat16 on a GPU, float32 on the CPU):
// "lssar15" (or another form) by SoftplusAttention, "lssar15_materialized" by
// MaterializedAttention, "flash" and "math": LibTorch's softmax attention by
// FlashAttention and by products and a softmax. NotFound: another name.
//
// Milliseconds of a forward, or of a forward and a backward.
absl::StatusOr<double> TimeOperator(absl::string_view name,
                                    const OperatorShape& shape, bool backward,
                                    c10::Device device, uint64_t seed,
                                    const TimingOptions& options = {});
// Peak bytes of a forward without gradients, inputs not included.
absl::StatusOr<double> OperatorBytes(absl::string_view name,
                                     const OperatorShape& shape,
                                     c10::Device device);

}  // namespace repro::softplus_attention

#endif  // REPRO_PAPERS_SOFTPLUS_ATTENTION_STUDIES_H_
