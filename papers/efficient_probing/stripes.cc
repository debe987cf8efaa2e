#include "papers/efficient_probing/stripes.h"

#include <ATen/ops/empty.h>

#include <array>
#include <cmath>
#include <vector>

namespace repro::efficient_probing {
namespace {

constexpr int64_t kShift = 8;
constexpr int64_t kCanvas = kImageSide + kShift;
constexpr int kNumDots = 8;
constexpr float kNoise = 0.03f;

using Colour = std::array<float, 3>;
constexpr Colour kColours[] = {{0.9f, -0.6f, -0.6f},
                               {-0.6f, 0.7f, -0.6f},
                               {-0.5f, -0.4f, 0.9f},
                               {0.8f, 0.7f, -0.8f},
                               {0.7f, -0.5f, 0.8f}};
constexpr int64_t kNumColours = 5;

// The standard's distributions differ between libraries; these do not.
float Uniform(std::mt19937_64& random, float low, float high) {
  const auto unit = static_cast<float>(random() >> 40) * 0x1p-24f;  // [0, 1)
  return low + (high - low) * unit;
}
int64_t Below(std::mt19937_64& random, int64_t end) {
  return static_cast<int64_t>(random() % static_cast<uint64_t>(end));
}

Colour Jittered(Colour colour, std::mt19937_64& random) {
  for (float& channel : colour) channel += Uniform(random, -0.1f, 0.1f);
  return colour;
}

// The two colours of a class: (0, 1), (0, 2), ..., (3, 4).
std::array<int64_t, 2> ColoursOf(int64_t label) {
  int64_t first = 0;
  while (label >= kNumColours - 1 - first) label -= kNumColours - 1 - first++;
  return {first, first + 1 + label};
}

class Canvas {
 public:
  Canvas() : pixels_(3 * kCanvas * kCanvas) {}

  float& at(int64_t channel, int64_t y, int64_t x) {
    return pixels_[(channel * kCanvas + y) * kCanvas + x];
  }

  void Slope(std::mt19937_64& random) {
    for (int64_t c = 0; c < 3; ++c) {
      const float base = Uniform(random, -0.3f, 0.3f);
      const float dx = Uniform(random, -0.3f, 0.3f) / kCanvas;
      const float dy = Uniform(random, -0.3f, 0.3f) / kCanvas;
      for (int64_t y = 0; y < kCanvas; ++y) {
        for (int64_t x = 0; x < kCanvas; ++x) {
          at(c, y, x) =
              base + dx * static_cast<float>(x) + dy * static_cast<float>(y);
        }
      }
    }
  }

  // A disc in stripes of two colours, which may be the same.
  void Disc(std::mt19937_64& random, float center_x, float center_y,
            float radius, const std::array<Colour, 2>& colours) {
    constexpr int64_t kDirections[4][2] = {{1, 0}, {0, 1}, {1, 1}, {1, -1}};
    const auto* direction = kDirections[Below(random, 4)];
    const int64_t phase = Below(random, 4);
    for (int64_t y = 0; y < kCanvas; ++y) {
      for (int64_t x = 0; x < kCanvas; ++x) {
        const float u = static_cast<float>(x) - center_x;
        const float v = static_cast<float>(y) - center_y;
        if (u * u + v * v >= radius * radius) continue;
        const int64_t along = direction[0] * x + direction[1] * y + phase;
        const Colour& colour = colours[((along + 4 * kCanvas) / 2) % 2];
        for (int64_t c = 0; c < 3; ++c) at(c, y, x) = colour[c];
      }
    }
  }

  // A crop with its own brightness and noise.
  void Crop(std::mt19937_64& random, float* out) {
    const int64_t top = Below(random, kShift + 1);
    const int64_t left = Below(random, kShift + 1);
    for (int64_t c = 0; c < 3; ++c) {
      const float gain = Uniform(random, 0.8f, 1.2f);
      const float shift = Uniform(random, -0.1f, 0.1f);
      for (int64_t y = 0; y < kImageSide; ++y) {
        for (int64_t x = 0; x < kImageSide; ++x) {
          *out++ = gain * at(c, top + y, left + x) + shift +
                   Uniform(random, -kNoise, kNoise);
        }
      }
    }
  }

 private:
  std::vector<float> pixels_;
};

}  // namespace

Images DrawImages(int64_t count, bool two_views, std::mt19937_64& random) {
  const std::array<int64_t, 4> size = {count, 3, kImageSide, kImageSide};
  Images images;
  images.view = at::empty(size, at::kFloat);
  if (two_views) images.other_view = at::empty(size, at::kFloat);
  images.labels = at::empty({count}, at::kLong);
  auto* view = images.view.data_ptr<float>();
  auto* other = two_views ? images.other_view.data_ptr<float>() : nullptr;
  auto* labels = images.labels.data_ptr<int64_t>();
  constexpr int64_t kPixels = 3 * kImageSide * kImageSide;
  Canvas canvas;
  for (int64_t i = 0; i < count; ++i) {
    canvas.Slope(random);
    for (int dot = 0; dot < kNumDots; ++dot) {
      const Colour colour =
          Jittered(kColours[Below(random, kNumColours)], random);
      const float x = Uniform(random, 0, kCanvas);
      const float y = Uniform(random, 0, kCanvas);
      const float radius = Uniform(random, 1.5f, 3);
      canvas.Disc(random, x, y, radius, {colour, colour});
    }
    labels[i] = Below(random, kNumClasses);
    const auto [first, second] = ColoursOf(labels[i]);
    std::array<Colour, 2> colours;
    colours[0] = Jittered(kColours[first], random);
    colours[1] = Jittered(kColours[second], random);
    const float radius = Uniform(random, 4.5f, 6.5f);
    // Seen whole wherever the crop lies.
    const float low = kShift + radius, high = kImageSide - 1 - radius;
    const float x = Uniform(random, low, high);
    const float y = Uniform(random, low, high);
    canvas.Disc(random, x, y, radius, colours);
    canvas.Crop(random, view + i * kPixels);
    if (two_views) canvas.Crop(random, other + i * kPixels);
  }
  return images;
}

}  // namespace repro::efficient_probing
