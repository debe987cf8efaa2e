#include "common/metrics/cider.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/ngrams.h"

namespace repro::metrics {
namespace {

constexpr int kOrder = 4;
constexpr double kSigma = 6;

using Grams = std::vector<Symbols>;

// The weights of a text's distinct n-grams, sorted by id.
struct Vector {
  std::vector<std::pair<int32_t, double>> weights;
  double norm = 0;
};

struct Text {
  std::array<Vector, kOrder> vectors;
  double num_bigrams = 0;
};

using DocumentFrequency = std::array<std::vector<int64_t>, kOrder>;

Text Weigh(const Grams& grams, const DocumentFrequency& document_frequency,
           double log_num_items) {
  Text text;
  text.num_bigrams = grams[1].size();
  for (int n = 0; n < kOrder; ++n) {
    Symbols ids = grams[n];
    std::sort(ids.begin(), ids.end());
    Vector& vector = text.vectors[n];
    double squares = 0;
    for (size_t i = 0; i < ids.size();) {
      const size_t begin = i;
      while (i < ids.size() && ids[i] == ids[begin]) ++i;
      const double idf =
          log_num_items -
          std::log(std::max<int64_t>(1, document_frequency[n][ids[begin]]));
      const double weight = (i - begin) * idf;
      vector.weights.push_back({ids[begin], weight});
      squares += weight * weight;
    }
    vector.norm = std::sqrt(squares);
  }
  return text;
}

double Similarity(const Vector& hypothesis, const Vector& reference) {
  double sum = 0;
  auto other = reference.weights.begin();
  for (const auto& [id, weight] : hypothesis.weights) {
    while (other != reference.weights.end() && other->first < id) ++other;
    if (other == reference.weights.end()) break;
    if (other->first == id) {
      sum += std::min(weight, other->second) * other->second;
    }
  }
  if (hypothesis.norm != 0 && reference.norm != 0) {
    sum /= hypothesis.norm * reference.norm;
  }
  return sum;
}

}  // namespace

absl::StatusOr<CiderScore> CiderD(
    const std::vector<std::vector<Tokens>>& references,
    const std::vector<Tokens>& hypotheses) {
  if (references.size() != hypotheses.size() || hypotheses.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        references.size(), " items with references and ", hypotheses.size(),
        " hypotheses: they must be equally many and at least one"));
  }
  NGramIndex index;
  std::vector<Grams> hypothesis_grams;
  std::vector<std::vector<Grams>> reference_grams(references.size());
  for (size_t i = 0; i < references.size(); ++i) {
    if (references[i].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("item ", i, " has no reference"));
    }
    hypothesis_grams.push_back(
        index.Grams(index.Intern(hypotheses[i]), kOrder));
    for (const Tokens& reference : references[i]) {
      reference_grams[i].push_back(
          index.Grams(index.Intern(reference), kOrder));
    }
  }
  DocumentFrequency document_frequency;
  for (int n = 0; n < kOrder; ++n) {
    document_frequency[n].resize(index.size(n + 1), 0);
    for (const std::vector<Grams>& item : reference_grams) {
      Symbols ids;
      for (const Grams& grams : item) {
        ids.insert(ids.end(), grams[n].begin(), grams[n].end());
      }
      std::sort(ids.begin(), ids.end());
      ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
      for (const int32_t id : ids) ++document_frequency[n][id];
    }
  }
  const double log_num_items = std::log(hypotheses.size());
  CiderScore score;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    const Text hypothesis =
        Weigh(hypothesis_grams[i], document_frequency, log_num_items);
    double sum = 0;
    for (const Grams& grams : reference_grams[i]) {
      const Text reference = Weigh(grams, document_frequency, log_num_items);
      const double difference = hypothesis.num_bigrams - reference.num_bigrams;
      const double penalty =
          std::exp(-difference * difference / (2 * kSigma * kSigma));
      for (int n = 0; n < kOrder; ++n) {
        sum +=
            penalty * Similarity(hypothesis.vectors[n], reference.vectors[n]);
      }
    }
    score.items.push_back(10 * sum / kOrder / reference_grams[i].size());
    score.mean += score.items.back() / hypotheses.size();
  }
  return score;
}

}  // namespace repro::metrics
