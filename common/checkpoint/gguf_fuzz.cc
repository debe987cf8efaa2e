// Whatever the bytes, reading them as GGUF ends with an error or with a file
// whose every key, tensor and number can be read.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/checkpoint/gguf.h"
#include "common/checkpoint/hf_config.h"
#include "common/data/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using repro::FuzzCheck;
  using repro::FuzzCheckError;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto file = repro::ParseGguf(bytes, repro::kFuzzedName, nullptr);
  if (!file.ok()) {
    FuzzCheckError(file.status());
    return 0;
  }
  for (const absl::string_view key : (*file)->keys()) {
    const absl::Status reads[] = {
        (*file)->Int(key).status(),    (*file)->Float(key).status(),
        (*file)->Bool(key).status(),   (*file)->String(key).status(),
        (*file)->Ints(key).status(),   (*file)->Floats(key).status(),
        (*file)->Strings(key).status()};
    for (const absl::Status& read : reads) {
      if (!read.ok()) FuzzCheckError(read);
    }
  }
  for (const repro::GgufTensor& tensor : (*file)->tensors()) {
    const repro::GgmlTypeInfo info = repro::Info(tensor.type);
    const int64_t blocks = tensor.numel() / info.block_size;
    FuzzCheck(
        static_cast<int64_t>(tensor.data.size()) == blocks * info.block_bytes,
        "data of another size than the shape's");
    std::vector<float> values(tensor.numel());
    repro::DequantizeBlocks(tensor.type, tensor.data.data(), blocks,
                            values.data());
  }
  const auto config = repro::GgufModelConfig(**file);
  if (!config.ok()) FuzzCheckError(config.status());
  return 0;
}
