#include "common/metrics/code_bleu.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/metrics/bleu.h"
#include "common/metrics/ngrams.h"
#include "common/status/macros.h"

namespace repro::metrics {
namespace {

constexpr int kOrder = 4;
constexpr double kOtherWeight = 0.2;
constexpr int kMeasuredReferenceLength = 2;

}  // namespace

absl::StatusOr<double> CodeBleuNgramMatch(
    const std::vector<std::vector<Tokens>>& references,
    const std::vector<Tokens>& hypotheses) {
  REPRO_ASSIGN_OR_RETURN(
      const BleuScore score,
      CorpusBleu(references, hypotheses, BleuSmoothing::kEpsilon,
                 ReferenceLength::kClosest));
  return score.bleu;
}

Keywords ParseKeywords(absl::string_view text) {
  Keywords keywords;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    std::string keyword = Strip(line);
    if (!keyword.empty()) keywords.insert(std::move(keyword));
  }
  return keywords;
}

absl::StatusOr<double> CodeBleuWeightedNgramMatch(
    const std::vector<std::vector<Tokens>>& references,
    const std::vector<Tokens>& hypotheses, const Keywords& keywords) {
  if (references.size() != hypotheses.size() || hypotheses.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        references.size(), " segments with references and ", hypotheses.size(),
        " hypotheses: they must be equally many and at least one"));
  }
  std::array<double, kOrder> matches = {};
  std::array<double, kOrder> possible = {};
  double length = 0;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    if (references[i].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("segment ", i, " has no reference"));
    }
    length += hypotheses[i].size();
    NGramIndex index;
    const auto grams = index.Grams(index.Intern(hypotheses[i]), kOrder);
    for (const Tokens& reference : references[i]) {
      const auto wanted = index.Grams(index.Intern(reference), kOrder);
      for (int n = 0; n < kOrder; ++n) {
        Counts left = Count(grams[n]);
        double matched = 0;
        double total = 0;
        for (size_t j = 0; j < wanted[n].size(); ++j) {
          const double weight =
              n > 0 || keywords.contains(reference[j]) ? 1 : kOtherWeight;
          total += weight;
          const auto found = left.find(wanted[n][j]);
          if (found == left.end() || found->second == 0) continue;
          --found->second;
          matched += weight;
        }
        matches[n] += matched;
        possible[n] += std::max(1.0, total);
      }
    }
  }
  if (matches[0] == 0) return 0;
  double log_sum = 0;
  for (int n = 0; n < kOrder; ++n) {
    log_sum += std::log((matches[n] == 0 ? 0.1 : matches[n]) / possible[n]);
  }
  const double reference_length =
      static_cast<double>(kMeasuredReferenceLength) * hypotheses.size();
  const double log_penalty = std::min(0.0, 1 - reference_length / length);
  return std::exp(log_sum / kOrder + log_penalty);
}

absl::StatusOr<double> CodeBleu(double ngram, double weighted_ngram,
                                double syntax, double dataflow,
                                const CodeBleuWeights& weights) {
  for (const double part : {ngram, weighted_ngram, syntax, dataflow}) {
    if (part >= 0 && part <= 1) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a part is ", part, ", it must lie between 0 and 1"));
  }
  return weights.ngram * ngram + weights.weighted_ngram * weighted_ngram +
         weights.syntax * syntax + weights.dataflow * dataflow;
}

}  // namespace repro::metrics
