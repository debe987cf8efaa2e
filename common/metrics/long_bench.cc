#include "common/metrics/long_bench.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "common/metrics/edit_distance.h"
#include "common/metrics/python_text.h"

namespace repro::metrics {
namespace {

absl::string_view WithoutLeadingLineFeeds(absl::string_view text) {
  while (absl::ConsumePrefix(&text, "\n")) {
  }
  return text;
}

}  // namespace

std::string FirstLine(absl::string_view text) {
  text = WithoutLeadingLineFeeds(text);
  return std::string(text.substr(0, text.find('\n')));
}

double ClassificationScore(absl::string_view prediction,
                           absl::string_view reference,
                           const std::vector<std::string>& classes) {
  std::vector<std::string> matches;
  for (const std::string& name : classes) {
    if (absl::StrContains(prediction, name)) matches.push_back(name);
  }
  for (size_t i = 0; i < matches.size(); ++i) {
    const std::string match = matches[i];
    if (match == reference || !absl::StrContains(reference, match)) continue;
    matches.erase(std::find(matches.begin(), matches.end(), match));
  }
  const bool is_found =
      std::find(matches.begin(), matches.end(), reference) != matches.end();
  return is_found ? 1.0 / matches.size() : 0;
}

double DigitRunScore(absl::string_view prediction,
                     absl::string_view reference) {
  const auto wanted = DigitRuns(reference);
  const auto found = DigitRuns(prediction);
  if (wanted.empty() || found.empty()) return 0;
  return std::count(found.begin(), found.end(), wanted.front()) /
         static_cast<double>(found.size());
}

double CodeSimilarity(absl::string_view prediction,
                      absl::string_view reference) {
  for (const absl::string_view line :
       absl::StrSplit(WithoutLeadingLineFeeds(prediction), '\n')) {
    if (absl::StrContains(line, "`") || absl::StrContains(line, "#") ||
        absl::StrContains(line, "//")) {
      continue;
    }
    return FuzzywuzzyRatio(line, reference);
  }
  return FuzzywuzzyRatio("", reference);
}

}  // namespace repro::metrics
