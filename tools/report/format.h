#ifndef REPRO_TOOLS_REPORT_FORMAT_H_
#define REPRO_TOOLS_REPORT_FORMAT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "common/claims/result.pb.h"

namespace repro {

// A number with at most six significant digits, counts in full: "4105800",
// "0.00123457", "NaN", "-infinity".
std::string FormatNumber(double value);

// A measured value with the digits that mean something: two of its interval's
// half-width if it has one, else two more than `reported` prints.
std::string FormatMeasured(const Measurement& measurement,
                           absl::string_view reported);

// "[4.02, 4.18]" with the digits of FormatMeasured(); empty without interval.
std::string FormatInterval(const Measurement& measurement);

// `text` with "…" in its middle where it has more than `length` characters
// (bytes of UTF-8 are never cut apart).
std::string Shorten(absl::string_view text, int length);

}  // namespace repro

#endif  // REPRO_TOOLS_REPORT_FORMAT_H_
