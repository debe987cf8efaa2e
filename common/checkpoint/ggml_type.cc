#include "common/checkpoint/ggml_type.h"

#include <c10/util/Half.h>

#include <cstdint>
#include <cstring>
#include <optional>

namespace repro {
namespace {

constexpr int kSuperBlock = 256;  // QK_K

float LoadHalf(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return c10::detail::fp16_ieee_to_fp32_value(bits);
}

float LoadFloat(const uint8_t* bytes) {
  float value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint32_t LoadUint32(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// One block each: b holds what the comment names, in that order; y gets values.

void F32Block(const uint8_t* b, float* y) { *y = LoadFloat(b); }

void F16Block(const uint8_t* b, float* y) { *y = LoadHalf(b); }

void BF16Block(const uint8_t* b, float* y) {
  uint16_t high;
  std::memcpy(&high, b, sizeof(high));
  const uint32_t bits = static_cast<uint32_t>(high) << 16;
  std::memcpy(y, &bits, sizeof(bits));
}

// d: half, q: 16 bytes; low nibbles are the first half. y = d (q - 8).
void Q4_0Block(const uint8_t* b, float* y) {
  const float d = LoadHalf(b);
  const uint8_t* q = b + 2;
  for (int i = 0; i < 16; ++i) {
    y[i] = static_cast<float>((q[i] & 15) - 8) * d;
    y[i + 16] = static_cast<float>((q[i] >> 4) - 8) * d;
  }
}

// d, m: half, q: 16 bytes. y = d q + m.
void Q4_1Block(const uint8_t* b, float* y) {
  const float d = LoadHalf(b), m = LoadHalf(b + 2);
  const uint8_t* q = b + 4;
  for (int i = 0; i < 16; ++i) {
    y[i] = static_cast<float>(q[i] & 15) * d + m;
    y[i + 16] = static_cast<float>(q[i] >> 4) * d + m;
  }
}

// d: half, h: 32 fifth bits, q: 16 bytes. y = d (q - 16).
void Q5_0Block(const uint8_t* b, float* y) {
  const float d = LoadHalf(b);
  const uint32_t h = LoadUint32(b + 2);
  const uint8_t* q = b + 6;
  for (int i = 0; i < 16; ++i) {
    const int low = (q[i] & 15) | ((h >> i << 4) & 16);
    const int high = (q[i] >> 4) | ((h >> (i + 12)) & 16);
    y[i] = static_cast<float>(low - 16) * d;
    y[i + 16] = static_cast<float>(high - 16) * d;
  }
}

// d, m: half, h: 32 fifth bits, q: 16 bytes. y = d q + m.
void Q5_1Block(const uint8_t* b, float* y) {
  const float d = LoadHalf(b), m = LoadHalf(b + 2);
  const uint32_t h = LoadUint32(b + 4);
  const uint8_t* q = b + 8;
  for (int i = 0; i < 16; ++i) {
    const int low = (q[i] & 15) | ((h >> i << 4) & 16);
    const int high = (q[i] >> 4) | ((h >> (i + 12)) & 16);
    y[i] = static_cast<float>(low) * d + m;
    y[i + 16] = static_cast<float>(high) * d + m;
  }
}

// d: half, q: 32 signed bytes. y = d q.
void Q8_0Block(const uint8_t* b, float* y) {
  const float d = LoadHalf(b);
  for (int i = 0; i < 32; ++i) {
    y[i] = static_cast<float>(static_cast<int8_t>(b[2 + i])) * d;
  }
}

// Blocks of 256: 16 groups of 16 or 8 groups of 32, each with a scale (and a
// minimum) of few bits, times d (and dmin).

// s: 16 bytes, scale low and minimum high nibble; q: 64 bytes; d, dmin: half.
// y = d s q - dmin m.
void Q2_KBlock(const uint8_t* b, float* y) {
  const uint8_t* s = b;
  const uint8_t* q = b + 16;
  const float d = LoadHalf(b + 80), dmin = LoadHalf(b + 82);
  for (int half = 0; half < 2; ++half, q += 32) {
    for (int shift = 0; shift < 8; shift += 2, y += 32, s += 2) {
      for (int group = 0; group < 2; ++group) {
        const float scale = d * static_cast<float>(s[group] & 15);
        const float minimum = dmin * static_cast<float>(s[group] >> 4);
        for (int i = group * 16; i < group * 16 + 16; ++i) {
          y[i] = scale * static_cast<float>((q[i] >> shift) & 3) - minimum;
        }
      }
    }
  }
}

// h: 32 bytes of third bits (0 subtracts 4), q: 64 bytes, s: 16 scales of 6
// bits in 12 bytes, d: half. y = d (s - 32) q.
void Q3_KBlock(const uint8_t* b, float* y) {
  const uint8_t* h = b;
  const uint8_t* q = b + 32;
  const uint8_t* s = b + 96;
  const float d = LoadHalf(b + 108);
  int8_t scales[16];
  for (int i = 0; i < 16; ++i) {
    const int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
    const int high = (s[8 + i % 4] >> (i / 4 * 2)) & 3;
    scales[i] = static_cast<int8_t>((low | high << 4) - 32);
  }
  const int8_t* scale_of = scales;
  int bit = 0;
  for (int half = 0; half < 2; ++half, q += 32) {
    for (int shift = 0; shift < 8; shift += 2, ++bit, y += 32) {
      for (int group = 0; group < 2; ++group) {
        const float scale = d * static_cast<float>(*scale_of++);
        for (int i = group * 16; i < group * 16 + 16; ++i) {
          const int third = ((h[i] >> bit) & 1) * 4 - 4;
          y[i] = scale * static_cast<float>(((q[i] >> shift) & 3) + third);
        }
      }
    }
  }
}

// Scale and minimum of group j of 8, 6 bits each, in 12 bytes.
void ScaleAndMinimum(const uint8_t* s, int j, float* scale, float* minimum) {
  const int scale_bits =
      j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6 << 4);
  const int minimum_bits =
      j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6 << 4);
  *scale = static_cast<float>(scale_bits);
  *minimum = static_cast<float>(minimum_bits);
}

// d, dmin: half, s: 12 bytes, q: 128 bytes. y = d s q - dmin m.
void Q4_KBlock(const uint8_t* b, float* y) {
  const float d = LoadHalf(b), dmin = LoadHalf(b + 2);
  const uint8_t* s = b + 4;
  const uint8_t* q = b + 16;
  for (int j = 0; j < 8; j += 2, q += 32, y += 64) {
    float scale1, minimum1, scale2, minimum2;
    ScaleAndMinimum(s, j, &scale1, &minimum1);
    ScaleAndMinimum(s, j + 1, &scale2, &minimum2);
    scale1 *= d, minimum1 *= dmin, scale2 *= d, minimum2 *= dmin;
    for (int i = 0; i < 32; ++i) {
      y[i] = scale1 * static_cast<float>(q[i] & 15) - minimum1;
      y[i + 32] = scale2 * static_cast<float>(q[i] >> 4) - minimum2;
    }
  }
}

// d, dmin: half, s: 12 bytes, h: 32 bytes of fifth bits, q: 128 bytes.
// y = d s q - dmin m.
void Q5_KBlock(const uint8_t* b, float* y) {
  const float d = LoadHalf(b), dmin = LoadHalf(b + 2);
  const uint8_t* s = b + 4;
  const uint8_t* h = b + 16;
  const uint8_t* q = b + 48;
  for (int j = 0; j < 8; j += 2, q += 32, y += 64) {
    float scale1, minimum1, scale2, minimum2;
    ScaleAndMinimum(s, j, &scale1, &minimum1);
    ScaleAndMinimum(s, j + 1, &scale2, &minimum2);
    scale1 *= d, minimum1 *= dmin, scale2 *= d, minimum2 *= dmin;
    for (int i = 0; i < 32; ++i) {
      const int low = (q[i] & 15) | ((h[i] >> j & 1) << 4);
      const int high = (q[i] >> 4) | ((h[i] >> (j + 1) & 1) << 4);
      y[i] = scale1 * static_cast<float>(low) - minimum1;
      y[i + 32] = scale2 * static_cast<float>(high) - minimum2;
    }
  }
}

// l: 128 bytes of low nibbles, h: 64 bytes of upper bit pairs, s: 16 signed
// bytes, d: half. y = d s (q - 32).
void Q6_KBlock(const uint8_t* b, float* y) {
  const float d = LoadHalf(b + 208);
  for (int half = 0; half < 2; ++half, y += 128) {
    const uint8_t* l = b + half * 64;
    const uint8_t* h = b + 128 + half * 32;
    float scales[8];
    for (int i = 0; i < 8; ++i) {
      scales[i] =
          d * static_cast<float>(static_cast<int8_t>(b[192 + half * 8 + i]));
    }
    for (int group = 0; group < 2; ++group) {
      const float* s = scales + group;
      for (int i = group * 16; i < group * 16 + 16; ++i) {
        const int q0 = (l[i] & 15) | ((h[i] & 3) << 4);
        const int q1 = (l[i + 32] & 15) | ((h[i] >> 2 & 3) << 4);
        const int q2 = (l[i] >> 4) | ((h[i] >> 4 & 3) << 4);
        const int q3 = (l[i + 32] >> 4) | ((h[i] >> 6) << 4);
        y[i] = s[0] * static_cast<float>(q0 - 32);
        y[i + 32] = s[2] * static_cast<float>(q1 - 32);
        y[i + 64] = s[4] * static_cast<float>(q2 - 32);
        y[i + 96] = s[6] * static_cast<float>(q3 - 32);
      }
    }
  }
}

// d: float, q: 256 signed bytes, 16 sums that are not needed here. y = d q.
void Q8_KBlock(const uint8_t* b, float* y) {
  const float d = LoadFloat(b);
  for (int i = 0; i < kSuperBlock; ++i) {
    y[i] = static_cast<float>(static_cast<int8_t>(b[4 + i])) * d;
  }
}

template <int64_t block_size, int64_t block_bytes,
          void (*block)(const uint8_t*, float*)>
void Loop(const uint8_t* b, int64_t num_blocks, float* y) {
  for (int64_t i = 0; i < num_blocks; ++i) {
    block(b + i * block_bytes, y + i * block_size);
  }
}

}  // namespace

GgmlTypeInfo Info(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return {"F32", 1, 4};
    case GgmlType::kF16:
      return {"F16", 1, 2};
    case GgmlType::kBF16:
      return {"BF16", 1, 2};
    case GgmlType::kQ4_0:
      return {"Q4_0", 32, 18};
    case GgmlType::kQ4_1:
      return {"Q4_1", 32, 20};
    case GgmlType::kQ5_0:
      return {"Q5_0", 32, 22};
    case GgmlType::kQ5_1:
      return {"Q5_1", 32, 24};
    case GgmlType::kQ8_0:
      return {"Q8_0", 32, 34};
    case GgmlType::kQ2_K:
      return {"Q2_K", kSuperBlock, 84};
    case GgmlType::kQ3_K:
      return {"Q3_K", kSuperBlock, 110};
    case GgmlType::kQ4_K:
      return {"Q4_K", kSuperBlock, 144};
    case GgmlType::kQ5_K:
      return {"Q5_K", kSuperBlock, 176};
    case GgmlType::kQ6_K:
      return {"Q6_K", kSuperBlock, 210};
    case GgmlType::kQ8_K:
      return {"Q8_K", kSuperBlock, 292};
  }
  return {nullptr, 1, 0};
}

std::optional<GgmlTypeInfo> FindGgmlType(uint32_t type) {
  const GgmlTypeInfo info = Info(static_cast<GgmlType>(type));
  if (info.name == nullptr) return std::nullopt;
  return info;
}

void DequantizeBlocks(GgmlType type, const uint8_t* blocks, int64_t num_blocks,
                      float* values) {
  switch (type) {
    case GgmlType::kF32:
      return Loop<1, 4, F32Block>(blocks, num_blocks, values);
    case GgmlType::kF16:
      return Loop<1, 2, F16Block>(blocks, num_blocks, values);
    case GgmlType::kBF16:
      return Loop<1, 2, BF16Block>(blocks, num_blocks, values);
    case GgmlType::kQ4_0:
      return Loop<32, 18, Q4_0Block>(blocks, num_blocks, values);
    case GgmlType::kQ4_1:
      return Loop<32, 20, Q4_1Block>(blocks, num_blocks, values);
    case GgmlType::kQ5_0:
      return Loop<32, 22, Q5_0Block>(blocks, num_blocks, values);
    case GgmlType::kQ5_1:
      return Loop<32, 24, Q5_1Block>(blocks, num_blocks, values);
    case GgmlType::kQ8_0:
      return Loop<32, 34, Q8_0Block>(blocks, num_blocks, values);
    case GgmlType::kQ2_K:
      return Loop<kSuperBlock, 84, Q2_KBlock>(blocks, num_blocks, values);
    case GgmlType::kQ3_K:
      return Loop<kSuperBlock, 110, Q3_KBlock>(blocks, num_blocks, values);
    case GgmlType::kQ4_K:
      return Loop<kSuperBlock, 144, Q4_KBlock>(blocks, num_blocks, values);
    case GgmlType::kQ5_K:
      return Loop<kSuperBlock, 176, Q5_KBlock>(blocks, num_blocks, values);
    case GgmlType::kQ6_K:
      return Loop<kSuperBlock, 210, Q6_KBlock>(blocks, num_blocks, values);
    case GgmlType::kQ8_K:
      return Loop<kSuperBlock, 292, Q8_KBlock>(blocks, num_blocks, values);
  }
}

}  // namespace repro
