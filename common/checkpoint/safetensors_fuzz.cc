// Whatever the bytes, reading them as safetensors ends with an error or with
// tensors that lie within them, end to end.

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "common/checkpoint/safetensors_header.h"
#include "common/data/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using repro::FuzzCheck;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto header = repro::ParseSafetensorsHeader(bytes, repro::kFuzzedName);
  if (!header.ok()) {
    repro::FuzzCheckError(header.status());
    return 0;
  }
  for (const auto& [name, entry] : header->tensors) {
    int64_t expected = repro::SafetensorsDtypeBytes(entry.dtype);
    for (const int64_t dim : entry.shape) expected *= dim;
    FuzzCheck(entry.begin <= entry.end && entry.end <= size,
              "data outside the file");
    FuzzCheck(static_cast<int64_t>(entry.end - entry.begin) == expected,
              "data of another size than the shape's");
  }
  return 0;
}
