// How gates are found: by optimising them alone so that the model's last hidden
// states stay as they are while the gates shrink (section 2.2, equations 2-4).
#ifndef REPRO_PAPERS_DUO_ATTENTION_GATE_TRAINING_H_
#define REPRO_PAPERS_DUO_ATTENTION_GATE_TRAINING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/model.h"

namespace repro::duo {

struct StreamingMask {
  int64_t sink = 128;
  int64_t recent = 256;  // the query's own place counts
  // 0: exactly those. > 0, as coded: in blocks of so many queries and keys,
  // ceil(sink / block) first blocks and the last ceil(recent / block), the
  // query's own among them, so that a query sees between recent - block + 1
  // and recent recent keys (where block divides recent).
  int64_t block = 0;
};

// [queries, keys] bool of the same number of places, on the CPU: causal, and
// sinks or recent.
at::Tensor MakeStreamingMask(const StreamingMask& mask, int64_t length);

struct GateTraining {
  StreamingMask mask;
  double regularisation = 0.05;  // lambda
  double rate = 0.02;
  int64_t steps = 2000;
  double initial = 1;
  // As coded, errors are averaged over tokens and entries and gates over all
  // heads; false: sums, as the paper writes them.
  bool normalised = true;
  std::function<void(int64_t done, int64_t total, const std::string& text)>
      progress;
  std::function<bool()> cancelled;
};

// min(1, max((step + 1) / w, 0.1), max((steps - step) / w, 0.1)) with
// w = floor(steps / 5), at least 1; `step` from 0.
double RateFactor(int64_t step, int64_t steps);

struct GateLoss {
  at::Tensor distillation;    // of the hidden states of both passes
  at::Tensor regularisation;  // of |alpha|, before lambda
  at::Tensor total;
};

// tokens: [length] int64 on the CPU; labelled: [length] bool, what the loss
// looks at; alpha: [layers, num_kv_heads] float32 on the model's device. The
// first pass is dense and has no gradient; in the second each head gives
//   clamp(alpha, 0, 1) full + (1 - clamp(alpha, 0, 1)) streaming,
// full from the first pass, streaming of the second pass's own queries, keys
// and values.
GateLoss ComputeGateLoss(const lm::LanguageModel& model,
                         const at::Tensor& alpha, const at::Tensor& tokens,
                         const at::Tensor& labelled,
                         const GateTraining& training);

struct GateSample {
  at::Tensor tokens;    // [length] int64
  at::Tensor labelled;  // [length] bool
};

// Gates after `steps` of AdamW without weight decay, one sample a step; clamped
// before each step but not after the last (as coded). The model's weights must
// be dense. Cancelled if it was; Internal: what the model threw, or a loss that
// is not finite.
absl::StatusOr<at::Tensor> TrainGates(
    const lm::LanguageModel& model, const GateTraining& training,
    const std::function<GateSample(int64_t step)>& sample);

}  // namespace repro::duo

#endif  // REPRO_PAPERS_DUO_ATTENTION_GATE_TRAINING_H_
