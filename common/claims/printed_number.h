#ifndef REPRO_COMMON_CLAIMS_PRINTED_NUMBER_H_
#define REPRO_COMMON_CLAIMS_PRINTED_NUMBER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

// A number as a paper prints it, with the place of its last digit: "4.1" is
// {4.1, 0.1}, "200" is {200, 1}, "1.672e-05" is {1.672e-5, 1e-8}.
struct PrintedNumber {
  double value = 0;
  double last_place = 1;
};

// Accepts an optional sign, digits with at most one point, and an optional
// exponent. Anything else (an empty string, "n/a", "1,000", "nan") is an
// InvalidArgumentError.
absl::StatusOr<PrintedNumber> ParsePrintedNumber(absl::string_view text);

// True if `value` rounds to `printed`. A value exactly between two printable
// numbers rounds to both, since papers round half up as well as half to even.
bool RoundsTo(double value, const PrintedNumber& printed);

}  // namespace repro

#endif  // REPRO_COMMON_CLAIMS_PRINTED_NUMBER_H_
