// How quantised weights lie in memory: GGML's blocks as files hold them, and
// the packing that the matrix kernels read.
//
// A weight is scale * (code - zero) + minimum, with one scale (and one minimum
// where the format has them) for `block` consecutive inputs of one row.
//
// Packing: tiles of 16 rows; for each tile, its blocks in order of the inputs;
// for each block
//   codes   [block / 4][16 rows][4 inputs], a byte each. 4-bit codes: only the
//           first half of those bytes, whose high nibbles are the second half's
//           codes.
//   scales  [16] float16, or float32 where `wide`
//   minima  [16] likewise, where the format has them
// so that 64 bytes of codes and 4 broadcast inputs make one step of 16 rows'
// dot products. Rows past the last are zero.
#ifndef REPRO_KERNELS_QUANTIZED_LINEAR_QUANTIZED_LINEAR_LAYOUT_H_
#define REPRO_KERNELS_QUANTIZED_LINEAR_QUANTIZED_LINEAR_LAYOUT_H_

#include <cstdint>

namespace repro {

inline constexpr int kQuantTileRows = 16;
inline constexpr int kQuantMaxFileBlock = 256;

struct QuantLayout {
  int64_t format;  // GGML's number
  int file_block;  // weights of a block in a file
  int file_bytes;  // its size
  int block;       // weights that share a scale: 16 or 32
  int bits;        // of a packed code: 4 or 8
  int zero;        // the code of 0 without a minimum
  bool has_minimum;
  bool wide;  // scales and minima are float32

  constexpr int CodeBytes() const { return kQuantTileRows * block * bits / 8; }
  constexpr int ScaleBytes() const { return kQuantTileRows * (wide ? 4 : 2); }
  // Of one block of a tile.
  constexpr int BlockBytes() const {
    return CodeBytes() + ScaleBytes() * (has_minimum ? 2 : 1);
  }
};

// Null for a number that is not one of QuantFormat.
const QuantLayout* FindQuantLayout(int64_t format);

// Packs one tile: `rows` (at most 16) of `in_features` weights, `row_bytes` of
// file blocks each, to in_features / block blocks at `packed`.
void PackQuantTile(const QuantLayout& layout, const uint8_t* file_rows,
                   int rows, int64_t row_bytes, int64_t in_features,
                   uint8_t* packed);

// Dequantises row `row` of a tile of `blocks` blocks.
void UnpackQuantRow(const QuantLayout& layout, const uint8_t* packed_tile,
                    int row, int64_t blocks, float* out);

}  // namespace repro

#endif  // REPRO_KERNELS_QUANTIZED_LINEAR_QUANTIZED_LINEAR_LAYOUT_H_
