// The paper's comparison of probes at a small scale: a masked autoencoder and a
// contrastive encoder learn from images without labels, are frozen,
// and probes learn to tell the classes of stripes.h from their tokens.
#ifndef REPRO_PAPERS_EFFICIENT_PROBING_STUDY_H_
#define REPRO_PAPERS_EFFICIENT_PROBING_STUDY_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/efficient_probing/small_vit.h"

namespace repro::efficient_probing {

struct StudyOptions {
  VitConfig vit;
  int64_t mae_steps = 400;
  int64_t contrastive_steps = 150;
  int64_t batch = 128;
  double rate = 2e-3;  // AdamW, weight decay 0.05, warm-up and half-cosine
  int64_t train_images = 2000;
  int64_t test_images = 2000;
  // Probes: LARS, warm-up of a tenth and half-cosine, as the paper's; the rate
  // is that of a batch of 256 as there.
  int64_t probe_epochs = 40;
  int64_t probe_batch = 256;
  double probe_rate = 20;
  // Adapted encoders and, to compare, a frozen one: AdamW.
  int64_t lora_epochs = 16;
  int64_t lora_batch = 64;
  int64_t lora_rank = 4;
  double lora_rate = 5e-3;
};

// Top-1 accuracy in percent on the test images at the best epoch, by name:
//   mae/..., contrastive/...: cls (LP on [CLS]), mean (LP on GAP), knn, ep8 on
//     patches, ep8_all on [CLS] and patches
//   mae/...: mean_v, ep1, ep4, ep16, ep4_no_v, ep4_narrow (D_o = D / 8), aim4,
//     mhca4_no_k, averaged4
//   lora/...: ep_frozen (EP8, encoder frozen), ep (EP8 and LoRA in the last
//     half of the blocks), cls (LP on [CLS] and LoRA in all blocks)
// The same seed gives the same numbers on the same device.
//
// MeasureNames() has all of them. InvalidArgument: sizes that make no sense.
// Cancelled: `cancelled` said so.
absl::StatusOr<std::map<std::string, double>> RunStudy(
    const StudyOptions& options, uint64_t seed, c10::Device device,
    const std::function<void(double done, const std::string& text)>& progress,
    const std::function<bool()>& cancelled);

// The names, sorted.
const std::vector<std::string>& MeasureNames();

}  // namespace repro::efficient_probing

#endif  // REPRO_PAPERS_EFFICIENT_PROBING_STUDY_H_
