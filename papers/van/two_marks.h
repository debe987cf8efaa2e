// A task that asks for long-range dependence: are the two marks of an image,
// 6 to 20 pixels apart, both bright or both dark (1), or one of each (0)?
//
// The answer is the product of two signs, each seen at its own mark. A network
// that averages over positions what it computes within some reach can only add
// f(sign 1) and f(sign 2) if the marks are further apart than it reaches, and
// no such sum separates {++, --} from {+-, -+}: it stays at chance on them.
#ifndef REPRO_PAPERS_VAN_TWO_MARKS_H_
#define REPRO_PAPERS_VAN_TWO_MARKS_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

namespace repro::van {

struct TwoMarksOptions {
  int64_t image_size = 28;    // height and width, pixels
  int64_t min_distance = 6;   // of the marks' centres, max(|dx|, |dy|)
  int64_t max_distance = 20;  // at most image_size - 3
  double noise = 0.1;         // standard deviation, on every pixel
};

struct TwoMarks {
  at::Tensor images;     // [count, 1, image_size, image_size], float32
  at::Tensor labels;     // [count], int64: 1 if the marks are of the same sign
  at::Tensor distances;  // [count], int64
};

// A mark adds +1 or -1, with equal probability, to 3 x 3 pixels. Distances are
// uniform in [min_distance, max_distance], along either axis with equal
// probability. `generator` is of the CPU, as are the tensors.
TwoMarks MakeTwoMarks(const TwoMarksOptions& options, int64_t count,
                      at::Generator generator);

}  // namespace repro::van

#endif  // REPRO_PAPERS_VAN_TWO_MARKS_H_
