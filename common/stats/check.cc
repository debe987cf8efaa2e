#include "common/stats/check.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::stats_internal {

absl::Status CheckOrdered(absl::Span<const double> values, size_t least) {
  if (values.size() < least) {
    return absl::InvalidArgumentError(absl::StrCat(
        values.size(), " values given, at least ", least, " needed"));
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) {
      return absl::InvalidArgumentError(absl::StrCat("value ", i, " is NaN"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFinite(absl::Span<const double> values, size_t least) {
  REPRO_RETURN_IF_ERROR(CheckOrdered(values, least));
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isinf(values[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("value ", i, " is infinite"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckConfidence(double confidence) {
  if (confidence > 0 && confidence < 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "confidence is ", confidence, ", it must lie between 0 and 1"));
}

}  // namespace repro::stats_internal
