// AVX2. Products of bytes add up in 16 bits, which 8 pairs of 4-bit codes and
// 8-bit inputs do not overflow (16 * 15 * 127 = 30480); 8-bit codes go as two
// halves of 4 bits.
#if defined(__x86_64__)
#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/quantized_linear/quantized_linear_kernels.h"

#define REPRO_AVX2 __attribute__((target("avx2,fma,f16c")))

namespace repro {
namespace {

constexpr int kGroupRows = 4;

REPRO_AVX2 inline __m256i Broadcast(const uint8_t* four) {
  int32_t bits;
  std::memcpy(&bits, four, sizeof(bits));
  return _mm256_set1_epi32(bits);
}

REPRO_AVX2 inline __m256 BroadcastFloat(const uint8_t* four) {
  float value;
  std::memcpy(&value, four, sizeof(value));
  return _mm256_set1_ps(value);
}

REPRO_AVX2 inline __m256i Load(const uint8_t* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

REPRO_AVX2 void Round(const QuantLayout& layout, const float* x, int rows,
                      int64_t blocks, uint8_t* group) {
  const int block = layout.block;
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  const __m256 infinity =
      _mm256_set1_ps(std::numeric_limits<float>::infinity());
  for (int64_t b = 0; b < blocks; ++b) {
    uint8_t* scales = group + rows * block;
    uint8_t* sums = scales + 4 * rows;
    for (int r = 0; r < rows; ++r) {
      const float* values = x + (r * blocks + b) * block;
      __m256 most = _mm256_setzero_ps();
      __m256 finite = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
      for (int i = 0; i < block; i += 8) {
        const __m256 size =
            _mm256_and_ps(_mm256_loadu_ps(values + i), magnitude);
        most = _mm256_max_ps(most, size);
        finite =
            _mm256_and_ps(finite, _mm256_cmp_ps(size, infinity, _CMP_LT_OQ));
      }
      __m128 half = _mm_max_ps(_mm256_castps256_ps128(most),
                               _mm256_extractf128_ps(most, 1));
      half = _mm_max_ps(half, _mm_movehl_ps(half, half));
      half = _mm_max_ss(half, _mm_movehdup_ps(half));
      const bool all_finite = _mm256_movemask_ps(finite) == 255;
      const float largest = _mm_cvtss_f32(half);
      const __m256 inverse =
          _mm256_set1_ps(all_finite && largest > 1e-36f ? 127 / largest : 0.0f);
      const float scale =
          all_finite ? largest / 127 : std::numeric_limits<float>::quiet_NaN();
      __m256i total = _mm256_setzero_si256();
      for (int i = 0; i < block; i += 8) {
        const __m256i codes =
            _mm256_and_si256(_mm256_set1_epi32(all_finite ? -1 : 0),
                             _mm256_cvtps_epi32(_mm256_mul_ps(
                                 _mm256_loadu_ps(values + i), inverse)));
        total = _mm256_add_epi32(total, codes);
        const __m256i words = _mm256_packs_epi32(codes, codes);
        const __m256i bytes = _mm256_packs_epi16(words, words);
        const int32_t first = _mm_cvtsi128_si32(_mm256_castsi256_si128(bytes));
        const int32_t second =
            _mm_cvtsi128_si32(_mm256_extracti128_si256(bytes, 1));
        std::memcpy(group + i * rows + 4 * r, &first, 4);
        std::memcpy(group + (i + 4) * rows + 4 * r, &second, 4);
      }
      __m128i pair = _mm_add_epi32(_mm256_castsi256_si128(total),
                                   _mm256_extracti128_si256(total, 1));
      pair = _mm_add_epi32(pair, _mm_srli_si128(pair, 8));
      pair = _mm_add_epi32(pair, _mm_srli_si128(pair, 4));
      const int32_t sum = _mm_cvtsi128_si32(pair);
      std::memcpy(scales + 4 * r, &scale, 4);
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

REPRO_AVX2 void Unpack(const QuantLayout& layout, const uint8_t* tile,
                       int64_t blocks, uint8_t* codes, float* scales) {
  const int bytes = layout.CodeBytes();
  const int count = kQuantTileRows * (layout.has_minimum ? 2 : 1);
  const __m256i nibble = _mm256_set1_epi8(15);
  for (int64_t b = 0; b < blocks; ++b) {
    if (layout.bits == 4) {
      for (int i = 0; i < bytes; i += 32) {
        const __m256i packed = Load(tile + i);
        _mm256_store_si256(reinterpret_cast<__m256i*>(codes + i),
                           _mm256_and_si256(packed, nibble));
        _mm256_store_si256(
            reinterpret_cast<__m256i*>(codes + i + bytes),
            _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble));
      }
    } else {
      std::memcpy(codes, tile, bytes);
    }
    if (layout.wide) {
      std::memcpy(scales, tile + bytes, count * 4);
    } else {
      for (int i = 0; i < count; i += 8) {
        _mm256_store_ps(
            scales + i,
            _mm256_cvtph_ps(_mm_loadu_si128(
                reinterpret_cast<const __m128i*>(tile + bytes) + i / 8)));
      }
    }
    codes += kQuantTileRows * layout.block;
    scales += count;
    tile += layout.BlockBytes();
  }
}

// kHigh: codes have more than 4 bits.
template <int kBlock, bool kMinimum, bool kHigh, int kRows>
REPRO_AVX2 void Group(const uint8_t* codes, const float* scales, int64_t blocks,
                      const uint8_t* group, float* y) {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i sixteens = _mm256_set1_epi16(16);
  for (int half = 0; half < 2; ++half) {  // 8 rows of W
    const uint8_t* w = codes + 32 * half;
    const float* w_scales = scales + 8 * half;
    const uint8_t* x = group;
    __m256 acc[kRows];
    for (int r = 0; r < kRows; ++r) acc[r] = _mm256_setzero_ps();
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t* row_scales = x + kRows * kBlock;
      const uint8_t* sums = row_scales + 4 * kRows;
      __m256i low[kRows], high[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        low[r] = high[r] = _mm256_setzero_si256();
      }
#pragma GCC unroll 8
      for (int k = 0; k < kBlock; k += 4) {
        const __m256i code = Load(w + k * kQuantTileRows);
        const __m256i code_low = kHigh ? _mm256_and_si256(code, nibble) : code;
        const __m256i code_high =
            _mm256_and_si256(_mm256_srli_epi16(code, 4), nibble);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const __m256i four = Broadcast(x + k * kRows + 4 * r);
          low[r] =
              _mm256_add_epi16(low[r], _mm256_maddubs_epi16(code_low, four));
          if (kHigh) {
            high[r] = _mm256_add_epi16(high[r],
                                       _mm256_maddubs_epi16(code_high, four));
          }
        }
      }
      const __m256 scale = _mm256_load_ps(w_scales);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        __m256i dot = _mm256_madd_epi16(low[r], ones);
        if (kHigh) {
          dot = _mm256_add_epi32(dot, _mm256_madd_epi16(high[r], sixteens));
        }
        if (!kMinimum) dot = _mm256_add_epi32(dot, Broadcast(sums + 4 * r));
        acc[r] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale),
                                 BroadcastFloat(row_scales + 4 * r), acc[r]);
        if (kMinimum) {
          acc[r] = _mm256_fmadd_ps(_mm256_load_ps(w_scales + 16),
                                   BroadcastFloat(sums + 4 * r), acc[r]);
        }
      }
      w += kBlock * kQuantTileRows;
      w_scales += kMinimum ? 32 : 16;
      x += kRows * (kBlock + 8);
    }
    for (int r = 0; r < kRows; ++r) {
      _mm256_storeu_ps(y + 16 * r + 8 * half, acc[r]);
    }
  }
}

using GroupFunction = void (*)(const uint8_t*, const float*, int64_t,
                               const uint8_t*, float*);

// By the number of rows less one.
template <int kBlock, bool kMinimum, bool kHigh>
constexpr std::array<GroupFunction, kGroupRows> kGroups = {
    Group<kBlock, kMinimum, kHigh, 1>, Group<kBlock, kMinimum, kHigh, 2>,
    Group<kBlock, kMinimum, kHigh, 3>, Group<kBlock, kMinimum, kHigh, 4>};

template <int kBlock>
const std::array<GroupFunction, kGroupRows>& GroupsOf(
    const QuantLayout& layout) {
  if (layout.bits == 8) {
    return layout.has_minimum ? kGroups<kBlock, true, true>
                              : kGroups<kBlock, false, true>;
  }
  return layout.has_minimum ? kGroups<kBlock, true, false>
                            : kGroups<kBlock, false, false>;
}

void Multiply(const QuantLayout& layout, const uint8_t* codes,
              const float* scales, int64_t blocks, const uint8_t* group,
              int rows, float* y) {
  const auto& groups =
      layout.block == 32 ? GroupsOf<32>(layout) : GroupsOf<16>(layout);
  groups[rows - 1](codes, scales, blocks, group, y);
}

}  // namespace

const QuantizedKernels kAvx2QuantizedKernels = {"avx2", kGroupRows, Round,
                                                Unpack, Multiply,   nullptr};

}  // namespace repro
#endif  // __x86_64__
