// Images of a striped disc among plain dots, for probes at a small scale. The
// class is which two of five colours the stripes have. Each dot has one of the
// five, so that the colours of the whole image tell little: what matters stands
// in a few patches, and the rest is chance, as where an object fills a part of
// a photograph.
#ifndef REPRO_PAPERS_EFFICIENT_PROBING_STRIPES_H_
#define REPRO_PAPERS_EFFICIENT_PROBING_STRIPES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <random>

namespace repro::efficient_probing {

inline constexpr int64_t kImageSide = 24;   // pixels
inline constexpr int64_t kNumClasses = 10;  // pairs of five colours

struct Images {
  // float32 [count, 3, 24, 24]; two views are crops of one larger image, up to
  // 8 pixels apart, with their own brightness of each colour and noise.
  at::Tensor view;
  at::Tensor other_view;  // undefined unless asked for
  at::Tensor labels;      // int64 [count], uniform in [0, 10)
};

// The disc is 9 to 13 pixels wide and lies wholly in both views; its stripes
// are 2 pixels wide, level, upright or diagonal. The same state of `random`
// gives the same images.
Images DrawImages(int64_t count, bool two_views, std::mt19937_64& random);

}  // namespace repro::efficient_probing

#endif  // REPRO_PAPERS_EFFICIENT_PROBING_STRIPES_H_
