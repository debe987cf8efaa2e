#include "kernels/quantized_linear/quantized_linear_kernels.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

namespace repro {
namespace {

// Rounded rows that stay in a second-level cache while tiles pass.
constexpr int64_t kChunkBytes = 256 * 1024;

void Round(const QuantLayout& layout, const float* x, int rows, int64_t blocks,
           uint8_t* group) {
  const int block = layout.block;
  for (int64_t b = 0; b < blocks; ++b) {
    for (int r = 0; r < rows; ++r) {
      const float* values = x + (r * blocks + b) * block;
      float largest = 0;
      bool finite = true;
      for (int i = 0; i < block; ++i) {
        largest = std::max(largest, std::abs(values[i]));
        finite = finite && std::isfinite(values[i]);
      }
      // Below, the inverse would overflow.
      const float inverse = largest > 1e-36f ? 127 / largest : 0;
      const float scale =
          finite ? largest / 127 : std::numeric_limits<float>::quiet_NaN();
      int32_t sum = 0;
      for (int i = 0; i < block; ++i) {
        const int8_t code =
            finite ? static_cast<int8_t>(std::lrint(values[i] * inverse)) : 0;
        sum += code;
        group[(i / 4 * rows + r) * 4 + i % 4] = static_cast<uint8_t>(code);
      }
      uint8_t* scales = group + rows * block;
      std::memcpy(scales + 4 * r, &scale, 4);
      uint8_t* sums = scales + 4 * rows;
      if (layout.has_minimum) {
        const float scaled = scale * static_cast<float>(sum);
        std::memcpy(sums + 4 * r, &scaled, 4);
      } else {
        const int32_t offset = -layout.zero * sum;
        std::memcpy(sums + 4 * r, &offset, 4);
      }
    }
    group += rows * (block + 8);
  }
}

void Unpack(const QuantLayout& layout, const uint8_t* tile, int64_t blocks,
            uint8_t* codes, float* scales) {
  const int bytes = layout.CodeBytes();
  const int count = kQuantTileRows * (layout.has_minimum ? 2 : 1);
  for (int64_t b = 0; b < blocks; ++b) {
    if (layout.bits == 4) {
      for (int i = 0; i < bytes; ++i) {
        codes[i] = tile[i] & 15;
        codes[i + bytes] = tile[i] >> 4;
      }
    } else {
      std::memcpy(codes, tile, bytes);
    }
    if (layout.wide) {
      std::memcpy(scales, tile + bytes, count * 4);
    } else {
      for (int i = 0; i < count; ++i) {
        uint16_t half;
        std::memcpy(&half, tile + bytes + 2 * i, 2);
        scales[i] = c10::detail::fp16_ieee_to_fp32_value(half);
      }
    }
    codes += kQuantTileRows * layout.block;
    scales += count;
    tile += layout.BlockBytes();
  }
}

void Multiply(const QuantLayout& layout, const uint8_t* codes,
              const float* scales, int64_t blocks, const uint8_t* group,
              int rows, float* y) {
  std::fill_n(y, rows * kQuantTileRows, 0.0f);
  for (int64_t b = 0; b < blocks; ++b) {
    const int8_t* x = reinterpret_cast<const int8_t*>(group);
    const uint8_t* row_scales = group + rows * layout.block;
    const uint8_t* sums = row_scales + 4 * rows;
    for (int r = 0; r < rows; ++r) {
      int32_t offset = 0;
      float sum = 0;
      if (layout.has_minimum) {
        std::memcpy(&sum, sums + 4 * r, 4);
      } else {
        std::memcpy(&offset, sums + 4 * r, 4);
      }
      float scale;
      std::memcpy(&scale, row_scales + 4 * r, 4);
      int32_t dot[kQuantTileRows];
      std::fill_n(dot, kQuantTileRows, offset);
      for (int k = 0; k < layout.block; k += 4) {
        const int8_t* values = x + k * rows + 4 * r;
        const uint8_t* w = codes + k * kQuantTileRows;
        for (int n = 0; n < kQuantTileRows; ++n) {
          dot[n] += w[4 * n] * values[0] + w[4 * n + 1] * values[1] +
                    w[4 * n + 2] * values[2] + w[4 * n + 3] * values[3];
        }
      }
      float* out = y + r * kQuantTileRows;
      for (int n = 0; n < kQuantTileRows; ++n) {
        out[n] += static_cast<float>(dot[n]) * scales[n] * scale;
        if (layout.has_minimum) out[n] += scales[kQuantTileRows + n] * sum;
      }
    }
    codes += kQuantTileRows * layout.block;
    scales += kQuantTileRows * (layout.has_minimum ? 2 : 1);
    group += rows * (layout.block + 8);
  }
}

template <typename T>
T* Aligned(T* pointer) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  return pointer + (-address & 63) / sizeof(T);
}

}  // namespace

const QuantizedKernels kPortableQuantizedKernels = {
    "portable", 4, Round, Unpack, Multiply, nullptr};

std::vector<const QuantizedKernels*> SupportedQuantizedKernels() {
  std::vector<const QuantizedKernels*> supported;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni")) {
    supported.push_back(&kAvx512QuantizedKernels);
  }
  // Every CPU with AVX2 converts float16, which clang 14 cannot ask for.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    supported.push_back(&kAvx2QuantizedKernels);
  }
#endif
  supported.push_back(&kPortableQuantizedKernels);
  return supported;
}

void RoundQuantizedGroups(const QuantizedKernels& kernels,
                          const QuantLayout& layout, const float* x,
                          int64_t rows, int64_t blocks, int64_t group_begin,
                          int64_t group_end, uint8_t* rounded) {
  const int64_t row_bytes = QuantizedRowBytes(layout, blocks);
  for (int64_t g = group_begin; g < group_end; ++g) {
    const int64_t row = g * kernels.group_rows;
    const int count =
        static_cast<int>(std::min<int64_t>(kernels.group_rows, rows - row));
    kernels.round(layout, x + row * blocks * layout.block, count, blocks,
                  rounded + row * row_bytes);
  }
}

void MultiplyQuantizedTiles(const QuantizedKernels& kernels,
                            const QuantLayout& layout, const uint8_t* rounded,
                            int64_t rows, const uint8_t* packed, int64_t blocks,
                            int64_t tile_begin, int64_t tile_end,
                            int64_t out_features, float* y) {
  const int64_t tile_bytes = blocks * layout.BlockBytes();
  if (rows == 1 && kernels.vector != nullptr) {
    // The last tile may be wider than y.
    const int64_t whole = std::min(tile_end, out_features / kQuantTileRows);
    if (whole > tile_begin) {
      kernels.vector(layout, packed + tile_begin * tile_bytes,
                     whole - tile_begin, blocks, rounded,
                     y + tile_begin * kQuantTileRows);
    }
    if (whole < tile_end) {
      float last[kQuantTileRows];
      kernels.vector(layout, packed + whole * tile_bytes, 1, blocks, rounded,
                     last);
      std::copy_n(last, out_features - whole * kQuantTileRows,
                  y + whole * kQuantTileRows);
    }
    return;
  }
  const int64_t row_bytes = QuantizedRowBytes(layout, blocks);
  const int64_t group = kernels.group_rows;
  const int64_t group_bytes = std::max<int64_t>(1, row_bytes * group);
  const int64_t chunk = std::max<int64_t>(1, kChunkBytes / group_bytes) * group;
  const int64_t code_bytes = blocks * layout.block * kQuantTileRows;
  const int64_t scale_count =
      blocks * kQuantTileRows * (layout.has_minimum ? 2 : 1);
  const std::unique_ptr<uint8_t[]> code_memory(new uint8_t[code_bytes + 64]);
  const std::unique_ptr<float[]> scale_memory(new float[scale_count + 16]);
  const std::unique_ptr<float[]> result(new float[group * kQuantTileRows]);
  uint8_t* const codes = Aligned(code_memory.get());
  float* const scales = Aligned(scale_memory.get());
  for (int64_t from = 0; from < rows; from += chunk) {
    const int64_t to = std::min(rows, from + chunk);
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      kernels.unpack(layout, packed + tile * tile_bytes, blocks, codes, scales);
      const int64_t column = tile * kQuantTileRows;
      const int64_t columns =
          std::min<int64_t>(kQuantTileRows, out_features - column);
      for (int64_t row = from; row < to; row += group) {
        const int count = static_cast<int>(std::min(group, rows - row));
        kernels.multiply(layout, codes, scales, blocks,
                         rounded + row * row_bytes, count, result.get());
        for (int r = 0; r < count; ++r) {
          std::copy_n(result.get() + r * kQuantTileRows, columns,
                      y + (row + r) * out_features + column);
        }
      }
    }
  }
}

}  // namespace repro
