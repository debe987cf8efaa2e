// Agent attention against softmax and linear attention where all of them can be
// trained in seconds: a small DeiT that tells which two colours the large discs
// of an image have, among small dots of the same colours.
#ifndef REPRO_PAPERS_AGENT_ATTENTION_STUDY_H_
#define REPRO_PAPERS_AGENT_ATTENTION_STUDY_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/train/grid.h"
#include "common/vision/vision_transformer.h"

namespace repro::agent_attention {

inline constexpr int64_t kDiscClasses = 10;  // pairs of five colours

struct DiscImages {
  at::Tensor images;  // float32 [count, 3, side, side]
  at::Tensor labels;  // int64 [count], uniform in [0, 10)
};

// Each image has two discs 7 to 9 pixels wide, of two colours, that do not
// touch, and under them 16 dots 4 to 6 pixels wide, each of one of the five
// colours; all colours vary, and there is noise. The same state of `random`
// gives the same images. side is at least 24.
DiscImages DrawDiscs(int64_t count, int64_t side, std::mt19937_64& random);

struct StudyOptions {
  VisionConfig vision;  // of the DeiT
  int64_t num_agents = 16;
  int64_t steps = 300;
  int64_t batch = 64;
  double rate = 2e-3;
  int64_t test_images = 2000;

  // 24 x 24 images in 64 patches, 2 blocks of 48 with 3 heads.
  StudyOptions();
};

// "softmax", "linear" (ReLU features), each also with a convolution of the
// values
// ("_dwc"); "agent", which has one and biases, and "agent_no_dwc",
// "agent_no_bias", "agent_plain" (neither).
const std::vector<std::string>& ArmNames();

// Numbers of agents that replace a trained softmax attention without training.
const std::vector<int64_t>& ReplacedBy();

// Trains an arm on fresh images and returns its test accuracy in percent; for
// "softmax" followed by that with its attention replaced by agents, as AgentSD
// does it, for each entry of ReplacedBy(). Cell: name, seed, checkpoint,
// progress. InvalidArgument for an unknown arm, Cancelled.
absl::StatusOr<std::vector<double>> TrainArm(const StudyOptions& options,
                                             const GridCell& cell,
                                             c10::Device device);

}  // namespace repro::agent_attention

#endif  // REPRO_PAPERS_AGENT_ATTENTION_STUDY_H_
