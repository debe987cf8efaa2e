#include "kernels/quantized_linear/quantized_linear_layout.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cstring>

namespace repro {
namespace {

// format, file_block, file_bytes, block, bits, zero, has_minimum, wide
constexpr QuantLayout kLayouts[] = {
    {2, 32, 18, 32, 4, 8, false, false},     // Q4_0
    {3, 32, 20, 32, 4, 0, true, false},      // Q4_1
    {6, 32, 22, 32, 8, 16, false, false},    // Q5_0
    {7, 32, 24, 32, 8, 0, true, false},      // Q5_1
    {8, 32, 34, 32, 8, 128, false, false},   // Q8_0
    {10, 256, 84, 16, 4, 0, true, true},     // Q2_K
    {11, 256, 110, 16, 4, 4, false, true},   // Q3_K
    {12, 256, 144, 32, 4, 0, true, true},    // Q4_K
    {13, 256, 176, 32, 8, 0, true, true},    // Q5_K
    {14, 256, 210, 16, 8, 32, false, true},  // Q6_K
};

float Half(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return c10::detail::fp16_ieee_to_fp32_value(bits);
}

float LoadScale(const QuantLayout& layout, const uint8_t* scales, int row) {
  if (!layout.wide) return Half(scales + 2 * row);
  float scale;
  std::memcpy(&scale, scales + 4 * row, sizeof(scale));
  return scale;
}

void StoreScale(const QuantLayout& layout, float scale, uint8_t* scales,
                int row) {
  if (layout.wide) {
    std::memcpy(scales + 4 * row, &scale, sizeof(scale));
  } else {
    // Exact: it was a float16 in the file.
    const uint16_t bits = c10::detail::fp16_ieee_from_fp32_value(scale);
    std::memcpy(scales + 2 * row, &bits, sizeof(bits));
  }
}

// One block of a file: a code a weight, a scale and a minimum a layout.block.
struct Decoded {
  uint8_t codes[kQuantMaxFileBlock];
  float scales[kQuantMaxFileBlock / 16];
  float minima[kQuantMaxFileBlock / 16];
};

void Nibbles(const uint8_t* bytes, uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = bytes[i] & 15;
    codes[i + 16] = bytes[i] >> 4;
  }
}

void FifthBits(const uint8_t* bytes, uint8_t* codes) {
  for (int i = 0; i < 32; ++i) {
    codes[i] |= ((bytes[i / 8] >> (i % 8)) & 1) << 4;
  }
}

// Q4_K and Q5_K: 8 scales and 8 minima of 6 bits in 12 bytes, times the block's
// two float16.
void SixBitScales(const uint8_t* block, Decoded* out) {
  const float d = Half(block), minimum = Half(block + 2);
  const uint8_t* s = block + 4;
  for (int i = 0; i < 8; ++i) {
    const int j = i % 4;
    const int scale = i < 4 ? s[j] & 63 : (s[8 + j] & 15) | (s[j] >> 6 << 4);
    const int least =
        i < 4 ? s[4 + j] & 63 : (s[8 + j] >> 4) | (s[4 + j] >> 6 << 4);
    out->scales[i] = d * static_cast<float>(scale);
    out->minima[i] = -(minimum * static_cast<float>(least));
  }
}

void Decode(int64_t format, const uint8_t* block, Decoded* out) {
  switch (format) {
    case 2:  // Q4_0: d, 16 bytes of nibbles
      out->scales[0] = Half(block);
      Nibbles(block + 2, out->codes);
      break;
    case 3:  // Q4_1: d, minimum, nibbles
      out->scales[0] = Half(block);
      out->minima[0] = Half(block + 2);
      Nibbles(block + 4, out->codes);
      break;
    case 6:  // Q5_0: d, fifth bits, nibbles
      out->scales[0] = Half(block);
      Nibbles(block + 6, out->codes);
      FifthBits(block + 2, out->codes);
      break;
    case 7:  // Q5_1: d, minimum, fifth bits, nibbles
      out->scales[0] = Half(block);
      out->minima[0] = Half(block + 2);
      Nibbles(block + 8, out->codes);
      FifthBits(block + 4, out->codes);
      break;
    case 8:  // Q8_0: d, 32 signed bytes
      out->scales[0] = Half(block);
      for (int i = 0; i < 32; ++i) out->codes[i] = block[2 + i] ^ 0x80;
      break;
    case 10: {  // Q2_K: 16 bytes of scale and minimum, 64 of codes, d, dmin
      const float d = Half(block + 80), minimum = Half(block + 82);
      for (int i = 0; i < 16; ++i) {
        out->scales[i] = d * static_cast<float>(block[i] & 15);
        out->minima[i] = -(minimum * static_cast<float>(block[i] >> 4));
      }
      for (int i = 0; i < 256; ++i) {
        out->codes[i] =
            (block[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
      }
      break;
    }
    case 11: {  // Q3_K: 32 bytes of third bits, 64 of codes, 12 of scales, d
      const float d = Half(block + 108);
      const uint8_t* s = block + 96;
      for (int i = 0; i < 16; ++i) {
        const int low = (s[i % 8] >> (i / 8 * 4)) & 15;
        const int high = (s[8 + i % 4] >> (i / 4 * 2)) & 3;
        out->scales[i] = d * static_cast<float>((low | high << 4) - 32);
      }
      for (int i = 0; i < 256; ++i) {
        const int low =
            (block[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
        const int high = (block[i % 32] >> (i / 32)) & 1;
        out->codes[i] = low | high << 2;
      }
      break;
    }
    case 12:    // Q4_K: d, dmin, 12 bytes of scales, nibbles of 64 at a time
    case 13: {  // Q5_K: 32 bytes of fifth bits before the nibbles
      SixBitScales(block, out);
      const uint8_t* nibbles = block + (format == 12 ? 16 : 48);
      for (int i = 0; i < 256; ++i) {
        const uint8_t byte = nibbles[i / 64 * 32 + i % 32];
        out->codes[i] = i % 64 < 32 ? byte & 15 : byte >> 4;
        if (format == 13) {
          out->codes[i] |= ((block[16 + i % 32] >> (i / 32)) & 1) << 4;
        }
      }
      break;
    }
    case 14: {  // Q6_K: 128 bytes of nibbles, 64 of high bits, 16 scales, d
      const float d = Half(block + 208);
      for (int i = 0; i < 16; ++i) {
        out->scales[i] =
            d * static_cast<float>(static_cast<int8_t>(block[192 + i]));
      }
      for (int i = 0; i < 256; ++i) {
        const uint8_t byte = block[i / 128 * 64 + i % 64];
        const int low = i % 128 < 64 ? byte & 15 : byte >> 4;
        const int high =
            (block[128 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
        out->codes[i] = low | high << 4;
      }
      break;
    }
  }
}

}  // namespace

const QuantLayout* FindQuantLayout(int64_t format) {
  for (const QuantLayout& layout : kLayouts) {
    if (layout.format == format) return &layout;
  }
  return nullptr;
}

void PackQuantTile(const QuantLayout& layout, const uint8_t* file_rows,
                   int rows, int64_t row_bytes, int64_t in_features,
                   uint8_t* packed) {
  const int64_t blocks = in_features / layout.block;
  std::fill_n(packed, blocks * layout.BlockBytes(), uint8_t{0});
  const int code_bytes = layout.CodeBytes();
  Decoded decoded;
  for (int row = 0; row < rows; ++row) {
    const uint8_t* file_block = file_rows + row * row_bytes;
    uint8_t* out = packed;
    for (int64_t i = 0; i < in_features; i += layout.file_block) {
      Decode(layout.format, file_block, &decoded);
      file_block += layout.file_bytes;
      for (int j = 0; j < layout.file_block / layout.block; ++j) {
        for (int k = 0; k < layout.block; ++k) {
          const int byte = k / 4 * 64 + row * 4 + k % 4;
          const uint8_t code = decoded.codes[j * layout.block + k];
          if (byte < code_bytes) {
            out[byte] |= code;
          } else {
            out[byte - code_bytes] |= code << 4;
          }
        }
        uint8_t* scales = out + code_bytes;
        StoreScale(layout, decoded.scales[j], scales, row);
        if (layout.has_minimum) {
          StoreScale(layout, decoded.minima[j], scales + layout.ScaleBytes(),
                     row);
        }
        out += layout.BlockBytes();
      }
    }
  }
}

void UnpackQuantRow(const QuantLayout& layout, const uint8_t* packed_tile,
                    int row, int64_t blocks, float* out) {
  const int code_bytes = layout.CodeBytes();
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* scales = packed_tile + code_bytes;
    const float scale = LoadScale(layout, scales, row);
    const float minimum =
        layout.has_minimum
            ? LoadScale(layout, scales + layout.ScaleBytes(), row)
            : 0.0f;
    for (int k = 0; k < layout.block; ++k) {
      const int byte = k / 4 * 64 + row * 4 + k % 4;
      int code = packed_tile[byte % code_bytes];
      if (layout.bits == 4) code = byte < code_bytes ? code & 15 : code >> 4;
      *out++ = scale * static_cast<float>(code - layout.zero) + minimum;
    }
    packed_tile += layout.BlockBytes();
  }
}

}  // namespace repro
