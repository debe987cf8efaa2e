// The part of a safetensors file that says what lies where (the format:
// github.com/huggingface/safetensors): 8 bytes of length, JSON, data.
#ifndef REPRO_COMMON_CHECKPOINT_SAFETENSORS_HEADER_H_
#define REPRO_COMMON_CHECKPOINT_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

struct SafetensorsEntry {
  std::string dtype;           // as the file names it: "BF16"
  std::vector<int64_t> shape;  // row-major
  uint64_t begin = 0;          // of its bytes in the file
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
};

// Bytes of an element; 0 for a dtype that is not supported.
int64_t SafetensorsDtypeBytes(absl::string_view dtype);

// `bytes` is the whole file, which is not trusted; `name` stands for it in
// errors. InvalidArgument: not such a file. Unimplemented: a dtype that is not
// known. DataLoss: truncated, or it contradicts itself or the format (names
// that come twice, shapes that do not fit the offsets, tensors that overlap or
// leave holes), with the tensor's name.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    absl::string_view bytes, const std::string& name);

}  // namespace repro

#endif  // REPRO_COMMON_CHECKPOINT_SAFETENSORS_HEADER_H_
