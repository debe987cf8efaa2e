#include "common/metrics/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/ngrams.h"

namespace repro::metrics {
namespace {

constexpr int kOrder = 4;

struct Statistics {
  std::array<int64_t, kOrder> matches = {};   // clipped by the references
  std::array<int64_t, kOrder> possible = {};  // n-grams of the hypothesis
};

Statistics CountMatches(const std::vector<Tokens>& references,
                        const Tokens& hypothesis) {
  NGramIndex index;
  const auto grams = index.Grams(index.Intern(hypothesis), kOrder);
  std::vector<std::vector<Symbols>> reference_grams;
  for (const Tokens& reference : references) {
    reference_grams.push_back(index.Grams(index.Intern(reference), kOrder));
  }
  Statistics statistics;
  std::vector<int64_t> counts, in_reference, most;
  for (int n = 1; n <= kOrder; ++n) {
    counts.assign(index.size(n), 0);
    most.assign(index.size(n), 0);
    for (const int32_t id : grams[n - 1]) ++counts[id];
    for (const auto& reference : reference_grams) {
      in_reference.assign(index.size(n), 0);
      for (const int32_t id : reference[n - 1]) {
        most[id] = std::max(most[id], ++in_reference[id]);
      }
    }
    statistics.possible[n - 1] = grams[n - 1].size();
    for (size_t id = 0; id < counts.size(); ++id) {
      statistics.matches[n - 1] += std::min(counts[id], most[id]);
    }
  }
  return statistics;
}

int64_t LengthOf(const std::vector<Tokens>& references, int64_t length,
                 ReferenceLength choice) {
  int64_t best = references.front().size();
  for (const Tokens& reference : references) {
    const int64_t candidate = reference.size();
    if (choice == ReferenceLength::kShortest) {
      best = std::min(best, candidate);
      continue;
    }
    const int64_t distance = std::abs(candidate - length);
    const int64_t best_distance = std::abs(best - length);
    if (distance < best_distance ||
        (distance == best_distance && candidate < best)) {
      best = candidate;
    }
  }
  return best;
}

double BrevityPenalty(int64_t reference_length, int64_t length) {
  if (length == 0) return 0;
  if (length >= reference_length) return 1;
  return std::exp(1 - static_cast<double>(reference_length) / length);
}

absl::Status CheckReferences(const std::vector<Tokens>& references) {
  if (!references.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("the hypothesis has no reference");
}

}  // namespace

absl::StatusOr<BleuScore> CorpusBleu(
    const std::vector<std::vector<Tokens>>& references,
    const std::vector<Tokens>& hypotheses, BleuSmoothing smoothing,
    ReferenceLength reference_length) {
  if (references.size() != hypotheses.size() || hypotheses.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        references.size(), " segments with references and ", hypotheses.size(),
        " hypotheses: they must be equally many and at least one"));
  }
  BleuScore score;
  std::array<double, kOrder> matches = {};
  std::array<double, kOrder> possible = {};
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    if (references[i].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("segment ", i, " has no reference"));
    }
    const Statistics segment = CountMatches(references[i], hypotheses[i]);
    for (int n = 0; n < kOrder; ++n) {
      matches[n] += segment.matches[n];
      possible[n] += smoothing == BleuSmoothing::kEpsilon
                         ? std::max<int64_t>(1, segment.possible[n])
                         : segment.possible[n];
    }
    const int64_t length = hypotheses[i].size();
    score.hypothesis_length += length;
    score.reference_length += LengthOf(references[i], length, reference_length);
  }
  score.brevity_penalty =
      BrevityPenalty(score.reference_length, score.hypothesis_length);
  double log_sum = 0;
  for (int n = 0; n < kOrder; ++n) {
    double numerator = matches[n];
    double denominator = possible[n];
    if (smoothing == BleuSmoothing::kAddOne) {
      ++numerator;
      ++denominator;
    } else if (smoothing == BleuSmoothing::kEpsilon && numerator == 0 &&
               matches[0] > 0) {
      numerator = 0.1;
    }
    score.precisions[n] = denominator == 0 ? 0 : numerator / denominator;
    log_sum += std::log(score.precisions[n]);
  }
  score.bleu = score.brevity_penalty * std::exp(log_sum / kOrder);
  return score;
}

Tokens CodeXglueTokens(absl::string_view text) {
  Tokens tokens;
  bool in_word = false;
  for (const int32_t code_point : CodePoints(Lower(text))) {
    const bool is_word = code_point != '_' && IsWord(code_point);
    if (!IsSpace(code_point)) {
      if (!is_word || !in_word) tokens.emplace_back();
      AppendUtf8(code_point, &tokens.back());
    }
    in_word = is_word;
  }
  return tokens;
}

absl::StatusOr<double> CodeXglueSentenceBleu(
    const std::vector<Tokens>& references, const Tokens& hypothesis) {
  if (absl::Status status = CheckReferences(references); !status.ok()) {
    return status;
  }
  constexpr double kTiny = std::numeric_limits<double>::min();
  const Statistics statistics = CountMatches(references, hypothesis);
  const double length = hypothesis.size();
  const double reference_length =
      LengthOf(references, hypothesis.size(), ReferenceLength::kShortest);
  double log_bleu = 0;
  for (int n = 0; n < kOrder; ++n) {
    const double add = n == 0 ? kTiny : 1;
    log_bleu += std::log(statistics.matches[n] + add) -
                std::log(statistics.possible[n] + add);
  }
  log_bleu /= kOrder;
  return std::exp(log_bleu +
                  std::min(0.0, 1 - (reference_length + 1) / (length + 1)));
}

absl::StatusOr<double> NltkSentenceBleu(const std::vector<Tokens>& references,
                                        const Tokens& hypothesis,
                                        NltkSmoothing smoothing) {
  if (absl::Status status = CheckReferences(references); !status.ok()) {
    return status;
  }
  const Statistics statistics = CountMatches(references, hypothesis);
  if (statistics.matches[0] == 0) return 0;
  const int64_t length = hypothesis.size();
  double log_sum = 0;
  int without_match = 0;
  for (int n = 0; n < kOrder; ++n) {
    double numerator = statistics.matches[n];
    double denominator = std::max<int64_t>(1, statistics.possible[n]);
    if (smoothing == NltkSmoothing::kMethod2) {
      if (n > 0) {
        ++numerator;
        ++denominator;
      }
    } else if (numerator == 0 && length > 1) {
      numerator = std::log(length) / (5 * std::exp2(++without_match));
    }
    // NLTK leaves out a precision of 0, which method 4 keeps for one token.
    if (numerator > 0) log_sum += std::log(numerator / denominator);
  }
  return BrevityPenalty(LengthOf(references, length, ReferenceLength::kClosest),
                        length) *
         std::exp(log_sum / kOrder);
}

}  // namespace repro::metrics
