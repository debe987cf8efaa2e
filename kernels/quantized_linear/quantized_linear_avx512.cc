// AVX-512 VNNI. 64 bytes of codes, 16 rows of W by 4 inputs, times 4 inputs of
// one row of x, broadcast from memory, are one VPDPBUSD: 8 of them a block of
// 32 inputs, then one conversion and up to three float32 operations. Two pipes
// do both, so a block of 512 products costs about 5.5 cycles, 94 products a
// cycle of 128 without the scales. Twelve rows of x at a time hide the latency
// and use 27 of 32 registers.
#if defined(__x86_64__)
// GCC 12 warns of its own header's _mm512_undefined_ps (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/quantized_linear/quantized_linear_kernels.h"

#define REPRO_AVX512 \
  __attribute__((    \
      target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")))

namespace repro {
namespace {

constexpr int kGroupRows = 12;

REPRO_AVX512 inline __m512i Broadcast(const uint8_t* four) {
  int32_t bits;
  std::memcpy(&bits, four, sizeof(bits));
  return _mm512_set1_epi32(bits);
}

REPRO_AVX512 inline __m512 BroadcastFloat(const uint8_t* four) {
  float value;
  std::memcpy(&value, four, sizeof(value));
  return _mm512_set1_ps(value);
}

REPRO_AVX512 void Round(const QuantLayout& layout, const float* x, int rows,
                        int64_t blocks, uint8_t* group) {
  const int block = layout.block;
  for (int64_t b = 0; b < blocks; ++b) {
    uint8_t* scales = group + rows * block;
    uint8_t* sums = scales + 4 * rows;
    for (int r = 0; r < rows; ++r) {
      const float* values = x + (r * blocks + b) * block;
      const __m512 low = _mm512_loadu_ps(values);
      const __m512 high =
          block == 32 ? _mm512_loadu_ps(values + 16) : _mm512_setzero_ps();
      const float largest = _mm512_reduce_max_ps(
          _mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
      // Quiet and signalling NaN, both infinities.
      constexpr int kNotFinite = 0x99;
      const bool finite = !(_mm512_fpclass_ps_mask(low, kNotFinite) |
                            _mm512_fpclass_ps_mask(high, kNotFinite));
      const __m512 inverse =
          _mm512_set1_ps(finite && largest > 1e-36f ? 127 / largest : 0.0f);
      const float scale =
          finite ? largest / 127 : std::numeric_limits<float>::quiet_NaN();
      const __mmask16 keep = finite ? 0xffff : 0;
      const __m512i codes_low =
          _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(low, inverse));
      const __m512i codes_high =
          _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(high, inverse));
      alignas(16) uint8_t codes[32];
      _mm_store_si128(reinterpret_cast<__m128i*>(codes),
                      _mm512_cvtepi32_epi8(codes_low));
      _mm_store_si128(reinterpret_cast<__m128i*>(codes + 16),
                      _mm512_cvtepi32_epi8(codes_high));
      for (int i = 0; i < block; i += 4) {
        std::memcpy(group + i * rows + 4 * r, codes + i, 4);
      }
      const int32_t sum =
          _mm512_reduce_add_epi32(_mm512_add_epi32(codes_low, codes_high));
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

REPRO_AVX512 inline __m512 LoadScales(const uint8_t* scales, bool wide) {
  if (wide) return _mm512_loadu_ps(scales);
  return _mm512_cvtph_ps(
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales)));
}

REPRO_AVX512 void Unpack(const QuantLayout& layout, const uint8_t* tile,
                         int64_t blocks, uint8_t* codes, float* scales) {
  const int bytes = layout.CodeBytes();
  const __m512i nibble = _mm512_set1_epi8(15);
  for (int64_t b = 0; b < blocks; ++b) {
    for (int i = 0; i < bytes; i += 64) {
      const __m512i packed = _mm512_loadu_si512(tile + i);
      if (layout.bits == 4) {
        _mm512_store_si512(codes + i, _mm512_and_si512(packed, nibble));
        _mm512_store_si512(
            codes + i + bytes,
            _mm512_and_si512(_mm512_srli_epi16(packed, 4), nibble));
      } else {
        _mm512_store_si512(codes + i, packed);
      }
    }
    _mm512_store_ps(scales, LoadScales(tile + bytes, layout.wide));
    scales += 16;
    if (layout.has_minimum) {
      _mm512_store_ps(
          scales, LoadScales(tile + bytes + layout.ScaleBytes(), layout.wide));
      scales += 16;
    }
    codes += kQuantTileRows * layout.block;
    tile += layout.BlockBytes();
  }
}

// acc += (dot scale) row_scale + minimum row_sum: the same operations in both
// kernels, so that a row's result is the same in both.
REPRO_AVX512 inline __m512 Accumulate(__m512 acc, __m512i dot, __m512 scale,
                                      __m512 row_scale) {
  return _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot), scale),
                         row_scale, acc);
}

template <int kBlock, bool kMinimum, int kRows>
REPRO_AVX512 void Group(const uint8_t* codes, const float* scales,
                        int64_t blocks, const uint8_t* group, float* y) {
  __m512 acc[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) acc[r] = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; ++b) {
    const uint8_t* row_scales = group + kRows * kBlock;
    const uint8_t* sums = row_scales + 4 * kRows;
    __m512i dot[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      dot[r] = kMinimum ? _mm512_setzero_si512() : Broadcast(sums + 4 * r);
    }
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; k += 4) {
      const __m512i w = _mm512_load_si512(codes + k * kQuantTileRows);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        dot[r] = _mm512_dpbusd_epi32(dot[r], w,
                                     Broadcast(group + k * kRows + 4 * r));
      }
    }
    const __m512 scale = _mm512_load_ps(scales);
    const __m512 minimum =
        kMinimum ? _mm512_load_ps(scales + 16) : _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      acc[r] =
          Accumulate(acc[r], dot[r], scale, BroadcastFloat(row_scales + 4 * r));
      if (kMinimum) {
        acc[r] = _mm512_fmadd_ps(minimum, BroadcastFloat(sums + 4 * r), acc[r]);
      }
    }
    codes += kBlock * kQuantTileRows;
    scales += kMinimum ? 32 : 16;
    group += kRows * (kBlock + 8);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) _mm512_storeu_ps(y + 16 * r, acc[r]);
}

using GroupFunction = void (*)(const uint8_t*, const float*, int64_t,
                               const uint8_t*, float*);

template <int kBlock, bool kMinimum, int... kRows>
constexpr std::array<GroupFunction, kGroupRows> GroupsOf(
    std::integer_sequence<int, kRows...>) {
  return {Group<kBlock, kMinimum, kRows + 1>...};
}

// By the number of rows less one.
template <int kBlock, bool kMinimum>
constexpr std::array<GroupFunction, kGroupRows> kGroups =
    GroupsOf<kBlock, kMinimum>(std::make_integer_sequence<int, kGroupRows>());

void Multiply(const QuantLayout& layout, const uint8_t* codes,
              const float* scales, int64_t blocks, const uint8_t* group,
              int rows, float* y) {
  const auto& groups =
      layout.block == 32
          ? (layout.has_minimum ? kGroups<32, true> : kGroups<32, false>)
          : (layout.has_minimum ? kGroups<16, true> : kGroups<16, false>);
  groups[rows - 1](codes, scales, blocks, group, y);
}

// One row of x reads each weight once, so memory is the bound: tiles one after
// the other are one stream, which reads faster than several side by side.
template <int kBits, int kBlock, bool kMinimum, bool kWide>
REPRO_AVX512 void Tiles(const uint8_t* packed, int64_t tiles, int64_t blocks,
                        const uint8_t* group, float* y) {
  constexpr QuantLayout kLayout = {0, 0, 0, kBlock, kBits, 0, kMinimum, kWide};
  constexpr int kCodeBytes = kLayout.CodeBytes();
  const __m512i nibble = _mm512_set1_epi8(15);
  for (int64_t t = 0; t < tiles; ++t) {
    const uint8_t* x = group;
    __m512 acc = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; ++b) {
      const uint8_t* sum = x + kBlock + 4;
      __m512i dot = kMinimum ? _mm512_setzero_si512() : Broadcast(sum);
#pragma GCC unroll 8
      for (int i = 0; i < kCodeBytes; i += 64) {
        const __m512i w = _mm512_loadu_si512(packed + i);
        if constexpr (kBits == 4) {
          dot = _mm512_dpbusd_epi32(dot, _mm512_and_si512(w, nibble),
                                    Broadcast(x + i / 16));
          dot = _mm512_dpbusd_epi32(
              dot, _mm512_and_si512(_mm512_srli_epi16(w, 4), nibble),
              Broadcast(x + i / 16 + kBlock / 2));
        } else {
          dot = _mm512_dpbusd_epi32(dot, w, Broadcast(x + i / 16));
        }
      }
      const uint8_t* scales = packed + kCodeBytes;
      acc = Accumulate(acc, dot, LoadScales(scales, kWide),
                       BroadcastFloat(x + kBlock));
      if constexpr (kMinimum) {
        acc = _mm512_fmadd_ps(LoadScales(scales + kLayout.ScaleBytes(), kWide),
                              BroadcastFloat(sum), acc);
      }
      packed += kLayout.BlockBytes();
      x += kBlock + 8;
    }
    _mm512_storeu_ps(y + t * kQuantTileRows, acc);
  }
}

template <int kBits, int kBlock, bool kMinimum>
void TilesOfWidth(const QuantLayout& layout, const uint8_t* packed,
                  int64_t tiles, int64_t blocks, const uint8_t* group,
                  float* y) {
  const auto tiles_of = layout.wide ? Tiles<kBits, kBlock, kMinimum, true>
                                    : Tiles<kBits, kBlock, kMinimum, false>;
  tiles_of(packed, tiles, blocks, group, y);
}

template <int kBits, int kBlock>
void TilesOfBlock(const QuantLayout& layout, const uint8_t* packed,
                  int64_t tiles, int64_t blocks, const uint8_t* group,
                  float* y) {
  const auto tiles_of = layout.has_minimum ? TilesOfWidth<kBits, kBlock, true>
                                           : TilesOfWidth<kBits, kBlock, false>;
  tiles_of(layout, packed, tiles, blocks, group, y);
}

void Vector(const QuantLayout& layout, const uint8_t* packed, int64_t tiles,
            int64_t blocks, const uint8_t* group, float* y) {
  const auto tiles_of =
      layout.bits == 4
          ? (layout.block == 32 ? TilesOfBlock<4, 32> : TilesOfBlock<4, 16>)
          : (layout.block == 32 ? TilesOfBlock<8, 32> : TilesOfBlock<8, 16>);
  tiles_of(layout, packed, tiles, blocks, group, y);
}

}  // namespace

const QuantizedKernels kAvx512QuantizedKernels = {
    "avx512_vnni", kGroupRows, Round, Unpack, Multiply, Vector};

}  // namespace repro
#endif  // __x86_64__
