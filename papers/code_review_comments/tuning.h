// Fine-tuning in small: a decoder is trained on bytes of code and comments,
// then on instructions as the paper forms them, by full fine-tuning, LoRA, and
// LoRA over four-bit weights.
#ifndef REPRO_PAPERS_CODE_REVIEW_COMMENTS_TUNING_H_
#define REPRO_PAPERS_CODE_REVIEW_COMMENTS_TUNING_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/train/grid.h"
#include "papers/code_review_comments/qlora.h"
#include "papers/code_review_comments/reviews.h"

namespace repro::code_review_comments {

// A record as an instruction (fixed text), its input (the hunk) and its output
// (the comment), closed by an empty byte.
std::string InstructionText(absl::string_view patch, absl::string_view comment);

// Bytes as int64 tokens.
struct TuningData {
  at::Tensor pretraining;
  at::Tensor tuning;
  at::Tensor held_out;  // instructions, too
};

// Of the patches, the first two fifths are for pretraining, the next two for
// tuning and the last fifth is held out. Pretraining alternates these patches
// with the human comments of the items that have no patch here.
// InvalidArgument: fewer than 5 patches, or no item behind them.
absl::StatusOr<TuningData> MakeTuningData(
    const std::vector<PatchItem>& patches,
    const std::vector<PredictedItem>& items);

struct TuningOptions {
  DecoderConfig decoder = {
      /*vocab_size=*/256, /*dim=*/192,        /*num_layers=*/3,
      /*num_heads=*/4,    /*num_kv_heads=*/4,
      /*ffn_dim=*/384};
  int64_t rank = 1;
  double alpha = 1;  // alpha / rank = 1, as unsloth's default
  int64_t pretraining_steps = 400;
  double pretraining_rate = 2e-3;
  int64_t tuning_steps = 150;
  double full_rate = 1e-3;
  double lora_rate = 5e-3;
  int64_t batch_size = 8;
  int64_t seq_len = 256;
  int64_t held_out_windows = 128;
};

// Losses are on the held-out instructions, in nats a byte.
struct TuningOutcome {
  double base = 0;  // before tuning
  double full = 0;
  double lora = 0;
  double lora_nf4 = 0;
  double lora_int4 = 0;
  // Trained parameters of LoRA over all of the base.
  double trained_share = 0;
  // The squared error of int4 on the base's projections over that of NF4.
  double int4_over_nf4_error = 0;
};

// One outcome a seed of `grid`, whose names are set here. All that is tuned
// begins at one base a seed and sees the same batches. Errors: those of
// TrainGrid and Train; Cancelled.
absl::StatusOr<std::vector<TuningOutcome>> CompareTuning(
    const TuningData& data, const TuningOptions& options, c10::Device device,
    Grid grid);

}  // namespace repro::code_review_comments

#endif  // REPRO_PAPERS_CODE_REVIEW_COMMENTS_TUNING_H_
