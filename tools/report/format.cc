#include "tools/report/format.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/claims/printed_number.h"

namespace repro {
namespace {

std::string NotFinite(double value) {
  if (std::isnan(value)) return "NaN";
  return value > 0 ? "infinity" : "-infinity";
}

// How many digits stand after the point if the last one counts 10^exponent.
std::string WithLastPlace(double value, int exponent) {
  if (!std::isfinite(value)) return NotFinite(value);
  const double magnitude = std::abs(value);
  const bool scientific =
      magnitude != 0 && (magnitude < 1e-4 || (magnitude >= 1e15));
  if (!scientific) {
    return absl::StrFormat("%.*f", std::clamp(-exponent, 0, 12), value);
  }
  const int leading = static_cast<int>(std::floor(std::log10(magnitude)));
  return absl::StrFormat("%.*e", std::clamp(leading - exponent, 0, 12), value);
}

// The place of the second significant digit of the interval's half-width.
int LastPlaceOfInterval(const ConfidenceInterval& interval) {
  const double half = (interval.high() - interval.low()) / 2;
  return static_cast<int>(std::floor(std::log10(half))) - 1;
}

bool IsUseful(const Measurement& measurement) {
  const double width =
      measurement.interval().high() - measurement.interval().low();
  return measurement.has_interval() && std::isfinite(width) && width > 0;
}

}  // namespace

std::string FormatNumber(double value) {
  if (!std::isfinite(value)) return NotFinite(value);
  if (value == std::rint(value) && std::abs(value) < 1e15) {
    return absl::StrFormat("%.0f", value);
  }
  return absl::StrFormat("%.6g", value);
}

std::string FormatMeasured(const Measurement& measurement,
                           absl::string_view reported) {
  const double value = measurement.value();
  if (IsUseful(measurement)) {
    return WithLastPlace(value, LastPlaceOfInterval(measurement.interval()));
  }
  const auto printed = ParsePrintedNumber(reported);
  if (!printed.ok() || value == std::rint(value)) return FormatNumber(value);
  return WithLastPlace(
      value,
      static_cast<int>(std::lround(std::log10(printed->last_place))) - 2);
}

std::string FormatInterval(const Measurement& measurement) {
  if (!measurement.has_interval()) return "";
  const ConfidenceInterval& interval = measurement.interval();
  if (!IsUseful(measurement)) {
    return absl::StrCat("[", FormatNumber(interval.low()), ", ",
                        FormatNumber(interval.high()), "]");
  }
  const int place = LastPlaceOfInterval(interval);
  return absl::StrCat("[", WithLastPlace(interval.low(), place), ", ",
                      WithLastPlace(interval.high(), place), "]");
}

std::string Shorten(absl::string_view text, int length) {
  std::vector<size_t> starts;  // of each character
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) {
      starts.push_back(i);
    }
  }
  const int count = static_cast<int>(starts.size());
  if (count <= length) return std::string(text);
  const int head = length / 2;
  const int tail = length - 1 - head;
  return absl::StrCat(text.substr(0, starts[head]), "…",
                      tail > 0 ? text.substr(starts[count - tail]) : "");
}

}  // namespace repro
