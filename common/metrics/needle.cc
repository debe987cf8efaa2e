#include "common/metrics/needle.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::metrics {
namespace {

bool IsDigit(char c) {
  return absl::ascii_isdigit(static_cast<unsigned char>(c));
}

}  // namespace

absl::StatusOr<double> ContainedShare(
    absl::string_view prediction, const std::vector<std::string>& references) {
  if (references.empty()) {
    return absl::InvalidArgumentError("the prediction has no reference");
  }
  const std::string text = Lower(prediction);
  double hits = 0;
  for (const std::string& reference : references) {
    hits += absl::StrContains(text, Lower(reference));
  }
  return hits / references.size();
}

absl::StatusOr<double> ContainsAny(absl::string_view prediction,
                                   const std::vector<std::string>& references) {
  REPRO_ASSIGN_OR_RETURN(const double share,
                         ContainedShare(prediction, references));
  return share > 0;
}

absl::StatusOr<double> DigitAccuracy(absl::string_view prediction,
                                     absl::string_view key) {
  if (key.empty() || !std::all_of(key.begin(), key.end(), IsDigit)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the key is \"", key, "\", needed are digits"));
  }
  size_t position = 0;
  double hits = 0;
  for (const char c : prediction) {
    if (!IsDigit(c)) continue;
    if (position == key.size()) break;
    hits += c == key[position++];
  }
  return hits / key.size();
}

}  // namespace repro::metrics
