// The matrix kernels of quantized_linear, one set for each kind of CPU.
#ifndef REPRO_KERNELS_QUANTIZED_LINEAR_QUANTIZED_LINEAR_KERNELS_H_
#define REPRO_KERNELS_QUANTIZED_LINEAR_QUANTIZED_LINEAR_KERNELS_H_

#include <cstdint>
#include <vector>

#include "kernels/quantized_linear/quantized_linear_layout.h"

namespace repro {

// Rows of x are rounded and interleaved in groups of `group_rows` (the last
// group has what is left), so that a kernel finds a group's values of a block
// side by side. A group of r rows is, for each block,
//   codes   [block / 4][r][4] int8
//   scales  [r] float32
//   sums    [r]: of the row's codes times its scale, float32, for a format with
//           minima; else of its codes times -zero, int32
inline int64_t QuantizedRowBytes(const QuantLayout& layout, int64_t blocks) {
  return blocks * (layout.block + 8);
}

struct QuantizedKernels {
  const char* name;
  int group_rows;

  // Rounds rows of x, [rows, blocks * block] with rows <= group_rows, to one
  // group.
  void (*round)(const QuantLayout& layout, const float* x, int rows,
                int64_t blocks, uint8_t* group);

  // Codes of a tile as bytes, [blocks][block / 4][16][4], and its scales and
  // minima in float32, [blocks][1 or 2][16]. Both aligned to 64 bytes.
  void (*unpack)(const QuantLayout& layout, const uint8_t* tile, int64_t blocks,
                 uint8_t* codes, float* scales);

  // y: [rows][16] of an unpacked tile and a group.
  void (*multiply)(const QuantLayout& layout, const uint8_t* codes,
                   const float* scales, int64_t blocks, const uint8_t* group,
                   int rows, float* y);

  // The same for one row and consecutive tiles, packed: y: [tiles][16]. Null:
  // unpack and multiply.
  void (*vector)(const QuantLayout& layout, const uint8_t* packed,
                 int64_t tiles, int64_t blocks, const uint8_t* group, float* y);
};

// Those that this CPU runs, the fastest first; the last is portable.
std::vector<const QuantizedKernels*> SupportedQuantizedKernels();

extern const QuantizedKernels kPortableQuantizedKernels;
#if defined(__x86_64__)
extern const QuantizedKernels kAvx2QuantizedKernels;
extern const QuantizedKernels kAvx512QuantizedKernels;
#endif

// Rounds rows [begin, end) of groups of x, [rows, blocks * block], to
// `rounded`, rows * QuantizedRowBytes.
void RoundQuantizedGroups(const QuantizedKernels& kernels,
                          const QuantLayout& layout, const float* x,
                          int64_t rows, int64_t blocks, int64_t group_begin,
                          int64_t group_end, uint8_t* rounded);

// Tiles [begin, end) of y, [rows, out_features] = x W^T.
void MultiplyQuantizedTiles(const QuantizedKernels& kernels,
                            const QuantLayout& layout, const uint8_t* rounded,
                            int64_t rows, const uint8_t* packed, int64_t blocks,
                            int64_t tile_begin, int64_t tile_end,
                            int64_t out_features, float* y);

}  // namespace repro

#endif  // REPRO_KERNELS_QUANTIZED_LINEAR_QUANTIZED_LINEAR_KERNELS_H_
