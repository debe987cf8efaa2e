#ifndef REPRO_COMMON_DATA_FUZZ_CHECK_H_
#define REPRO_COMMON_DATA_FUZZ_CHECK_H_

#include <cstdio>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/match.h"

namespace repro {

// The name that fuzz targets give their input.
inline constexpr char kFuzzedName[] = "fuzzed";

// Stops the program, as a fuzzer wants it, unless `condition`.
inline void FuzzCheck(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fuzz check failed: %s\n", what);
  std::abort();
}

// An error is one line that names the input.
inline void FuzzCheckError(const absl::Status& status) {
  FuzzCheck(absl::StrContains(status.message(), kFuzzedName),
            "an error that does not name its file");
  FuzzCheck(!absl::StrContains(status.message(), '\n'),
            "an error of several lines");
}

}  // namespace repro

#endif  // REPRO_COMMON_DATA_FUZZ_CHECK_H_
