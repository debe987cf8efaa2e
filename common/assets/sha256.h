#ifndef REPRO_COMMON_ASSETS_SHA256_H_
#define REPRO_COMMON_ASSETS_SHA256_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

// The SHA-256 digest (FIPS 180-4) in 64 lower-case hexadecimal digits.
std::string Sha256(absl::string_view bytes);

// The digest of a file's bytes as they lie on the disk (nothing is
// decompressed). NotFound or another error that names the path where it cannot
// be read.
absl::StatusOr<std::string> Sha256File(const std::string& path);

}  // namespace repro

#endif  // REPRO_COMMON_ASSETS_SHA256_H_
