#include "papers/van/two_marks.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/rand.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace repro::van {
namespace {

// u uniform in [0, 1) to an integer uniform in [low, high].
int64_t Pick(double u, int64_t low, int64_t high) {
  return std::min(high, low + static_cast<int64_t>(u * (high - low + 1)));
}

}  // namespace

TwoMarks MakeTwoMarks(const TwoMarksOptions& options, int64_t count,
                      at::Generator generator) {
  const int64_t size = options.image_size;
  TORCH_CHECK(count > 0 && options.min_distance >= 3 &&
                  options.min_distance <= options.max_distance &&
                  options.max_distance <= size - 3,
              "two marks: count ", count, ", distances ", options.min_distance,
              " to ", options.max_distance, ", image size ", size,
              " (needed: count > 0, 3 <= min <= max <= size - 3)");
  TwoMarks batch;
  batch.images = at::empty({count, 1, size, size}, at::kFloat)
                     .normal_(0, options.noise, generator);
  batch.labels = at::empty({count}, at::kLong);
  batch.distances = at::empty({count}, at::kLong);

  constexpr int kDraws = 7;
  const at::Tensor draws = at::rand({count, kDraws}, generator,
                                    at::TensorOptions().dtype(at::kDouble));
  float* pixels = batch.images.mutable_data_ptr<float>();
  int64_t* labels = batch.labels.mutable_data_ptr<int64_t>();
  int64_t* distances = batch.distances.mutable_data_ptr<int64_t>();
  const double* u = draws.const_data_ptr<double>();
  for (int64_t i = 0; i < count; ++i, u += kDraws, pixels += size * size) {
    const int64_t last = size - 2;  // of the centres' coordinates; the first: 1
    const int64_t distance =
        Pick(u[0], options.min_distance, options.max_distance);
    int64_t along[2], across[2];
    along[0] = Pick(u[1], 1, last - distance);
    along[1] = along[0] + distance;
    across[0] = Pick(u[2], 1, last);
    across[1] = Pick(u[3], std::max<int64_t>(1, across[0] - distance),
                     std::min(last, across[0] + distance));
    const bool vertical = u[4] < 0.5;
    const float signs[2] = {u[5] < 0.5 ? -1.0f : 1.0f,
                            u[6] < 0.5 ? -1.0f : 1.0f};
    for (int mark = 0; mark < 2; ++mark) {
      const int64_t y = vertical ? along[mark] : across[mark];
      const int64_t x = vertical ? across[mark] : along[mark];
      for (int64_t dy = -1; dy <= 1; ++dy) {
        for (int64_t dx = -1; dx <= 1; ++dx) {
          pixels[(y + dy) * size + x + dx] += signs[mark];
        }
      }
    }
    labels[i] = signs[0] == signs[1];
    distances[i] = distance;
  }
  return batch;
}

}  // namespace repro::van
