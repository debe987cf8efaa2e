#include "common/claims/printed_number.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace repro {

absl::StatusOr<PrintedNumber> ParsePrintedNumber(absl::string_view text) {
  const auto invalid = [text] {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", text, "\" is not a number as printed (like 4.1 or 1.6e-05)"));
  };
  absl::string_view rest = text;
  const auto take_digits = [&rest] {
    size_t count = 0;
    while (count < rest.size() && absl::ascii_isdigit(rest[count])) ++count;
    rest.remove_prefix(count);
    return static_cast<int>(count);
  };
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) {
    rest.remove_prefix(1);
  }
  const int whole = take_digits();
  int decimals = 0;
  if (!rest.empty() && rest[0] == '.') {
    rest.remove_prefix(1);
    decimals = take_digits();
    if (decimals == 0) return invalid();
  }
  if (whole + decimals == 0) return invalid();
  int exponent = 0;
  if (!rest.empty() && (rest[0] == 'e' || rest[0] == 'E')) {
    rest.remove_prefix(1);
    if (rest.empty() || !absl::SimpleAtoi(rest, &exponent) ||
        std::abs(exponent) > 300) {
      return invalid();
    }
    rest = {};
  }
  PrintedNumber number;
  // SimpleAtod takes no leading '+'.
  if (!rest.empty() ||
      !absl::SimpleAtod(text[0] == '+' ? text.substr(1) : text,
                        &number.value) ||
      !std::isfinite(number.value)) {
    return invalid();
  }
  number.last_place = std::pow(10.0, exponent - decimals);
  return number;
}

bool RoundsTo(double value, const PrintedNumber& printed) {
  // 4.05 and 4.1 are not exact in binary: the half is widened by what their
  // representation loses.
  const double slack = 1e-12 * std::abs(printed.value);
  return std::abs(value - printed.value) <=
         0.5 * printed.last_place * (1 + 1e-9) + slack;
}

}  // namespace repro
