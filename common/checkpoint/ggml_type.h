// How GGUF files store numbers: plain, or in blocks of 32 or 256 that share
// scales (llama.cpp, ggml-common.h and ggml-quants.c).
#ifndef REPRO_COMMON_CHECKPOINT_GGML_TYPE_H_
#define REPRO_COMMON_CHECKPOINT_GGML_TYPE_H_

#include <cstdint>
#include <optional>

namespace repro {

// The values are those of the file format.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kBF16 = 30,
};

struct GgmlTypeInfo {
  const char* name;    // "Q4_1"
  int64_t block_size;  // elements
  int64_t block_bytes;
};

// Of a type as a file numbers it; nullopt for one that is not above.
std::optional<GgmlTypeInfo> FindGgmlType(uint32_t type);

GgmlTypeInfo Info(GgmlType type);

// Blocks to numbers: block_size * num_blocks of them, in order. `blocks` needs
// no alignment.
void DequantizeBlocks(GgmlType type, const uint8_t* blocks, int64_t num_blocks,
                      float* values);

}  // namespace repro

#endif  // REPRO_COMMON_CHECKPOINT_GGML_TYPE_H_
