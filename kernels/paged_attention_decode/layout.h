// How quantised pages show in the shapes.
#ifndef REPRO_KERNELS_PAGED_ATTENTION_DECODE_LAYOUT_H_
#define REPRO_KERNELS_PAGED_ATTENTION_DECODE_LAYOUT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace repro {

// Bits of an element of the pages; 16 for all that are not quantised.
inline int64_t PagedBits(const at::Tensor& pages, int64_t head_dim) {
  if (pages.scalar_type() != at::kByte) return 16;
  return pages.size(3) == head_dim ? 8 : 4;
}

inline int64_t PagedGroupSize(const at::Tensor& q,
                              const std::optional<at::Tensor>& k_scale) {
  return k_scale.has_value() ? q.size(2) / k_scale->size(3) : q.size(2);
}

}  // namespace repro

#endif  // REPRO_KERNELS_PAGED_ATTENTION_DECODE_LAYOUT_H_
