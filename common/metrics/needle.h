#ifndef REPRO_COMMON_METRICS_NEEDLE_H_
#define REPRO_COMMON_METRICS_NEEDLE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Scores of retrieval from long contexts by what the answer contains, in
// [0, 1].
namespace repro::metrics {

// RULER's string_match_all (niah, vt, cwe, fwe): the share of the references
// that the lower-cased prediction contains, lower-cased too. InvalidArgument:
// no reference.
absl::StatusOr<double> ContainedShare(
    absl::string_view prediction, const std::vector<std::string>& references);

// RULER's string_match_part (qa): 1 if any is contained.
absl::StatusOr<double> ContainsAny(absl::string_view prediction,
                                   const std::vector<std::string>& references);

// The share of the key's digits that the prediction, cut down to its digits,
// holds at the same position; missing ones are wrong, further ones are not
// looked at. InvalidArgument: a key that is not one or more digits.
absl::StatusOr<double> DigitAccuracy(absl::string_view prediction,
                                     absl::string_view key);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_NEEDLE_H_
