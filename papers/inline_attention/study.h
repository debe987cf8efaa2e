// InLine attention against softmax and linear attention where all of them can
// be trained in seconds: a small DeiT that tells which colour the largest
// square of an image has.
#ifndef REPRO_PAPERS_INLINE_ATTENTION_STUDY_H_
#define REPRO_PAPERS_INLINE_ATTENTION_STUDY_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/train/grid.h"
#include "common/vision/vision_transformer.h"

namespace repro::inline_attention {

inline constexpr int64_t kSquareClasses = 6;  // colours

struct SquareImages {
  at::Tensor images;  // float32 [count, 3, side, side]
  at::Tensor labels;  // int64 [count], uniform in [0, 6)
};

// Each image has one square 8 to 10 pixels wide and, under it, 14 that are 4 to
// 6 pixels wide, anywhere, each of one of six colours; all colours vary, and
// there is noise. The label is the large one's colour. The same state of
// `random` gives the same images. side is at least 10.
SquareImages DrawSquares(int64_t count, int64_t side, std::mt19937_64& random);

struct StudyOptions {
  VisionConfig vision;  // of the DeiT
  int64_t steps = 200;
  int64_t batch = 64;
  double rate = 3e-3;
  int64_t test_images = 2000;
  int64_t confusion_images = 50;  // the first of the test images

  // 24 x 24 images in 64 patches, 2 blocks of 32 with 2 heads.
  StudyOptions();
};

// "softmax", "linear" (division, ReLU), "linear_identity" and "inline_plain"
// (subtraction, identity) have no local residual; "softmax_residual",
// "linear_residual" and "inline" do.
const std::vector<std::string>& ArmNames();

// Trains an arm on fresh images. Returns its accuracy on test images, and the
// share of pairs of different queries that are confused (CountConfusedPairs)
// over all blocks and heads, both in percent. Cell: name, seed, checkpoint,
// progress. InvalidArgument for an unknown arm, Cancelled.
absl::StatusOr<std::vector<double>> TrainArm(const StudyOptions& options,
                                             const GridCell& cell,
                                             c10::Device device);

}  // namespace repro::inline_attention

#endif  // REPRO_PAPERS_INLINE_ATTENTION_STUDY_H_
