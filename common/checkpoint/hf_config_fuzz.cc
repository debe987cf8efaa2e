// Whatever the bytes, reading them as a config.json ends with an error or with
// a configuration that is valid.

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "common/checkpoint/hf_config.h"
#include "common/data/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto config = repro::ParseHfConfig(bytes, repro::kFuzzedName);
  if (config.ok()) {
    repro::FuzzCheck(repro::lm::Validate(*config).ok(), "invalid config");
  } else {
    repro::FuzzCheckError(config.status());
  }
  return 0;
}
