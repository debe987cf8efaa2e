#include "common/metrics/ranking.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::metrics {
namespace {

absl::Status CheckCutoff(int64_t k) {
  if (k >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("k is ", k, ", it must be at least 1"));
}

absl::Status CheckRelevant(const std::vector<bool>& relevant,
                           int64_t num_relevant) {
  const int64_t retrieved = std::count(relevant.begin(), relevant.end(), true);
  if (num_relevant >= retrieved) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the ranking holds ", retrieved,
                   " relevant items, the collection only ", num_relevant));
}

int64_t Hits(const std::vector<bool>& relevant, int64_t k) {
  const int64_t size = std::min<int64_t>(k, relevant.size());
  return std::count(relevant.begin(), relevant.begin() + size, true);
}

absl::StatusOr<std::vector<double>> Gains(std::vector<double> grades,
                                          Gain gain) {
  for (double& value : grades) {
    const double grade = value;
    if (gain == Gain::kExponential) value = std::exp2(grade) - 1;
    if (!(grade >= 0) || !std::isfinite(value)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "gain ", grade, " must be a finite number of at least 0"));
    }
  }
  return grades;
}

double Dcg(const std::vector<double>& gains, int64_t k) {
  const int64_t size = std::min<int64_t>(k, gains.size());
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += gains[i] / std::log2(i + 2.0);
  return sum;
}

}  // namespace

absl::StatusOr<double> ReciprocalRank(const std::vector<bool>& relevant,
                                      int64_t k) {
  REPRO_RETURN_IF_ERROR(CheckCutoff(k));
  const int64_t size = std::min<int64_t>(k, relevant.size());
  for (int64_t i = 0; i < size; ++i) {
    if (relevant[i]) return 1.0 / (i + 1);
  }
  return 0;
}

absl::StatusOr<double> RecallAtK(const std::vector<bool>& relevant,
                                 int64_t num_relevant, int64_t k) {
  REPRO_RETURN_IF_ERROR(CheckCutoff(k));
  REPRO_RETURN_IF_ERROR(CheckRelevant(relevant, num_relevant));
  if (num_relevant == 0) return 0;
  return Hits(relevant, k) / static_cast<double>(num_relevant);
}

absl::StatusOr<double> PrecisionAtK(const std::vector<bool>& relevant,
                                    int64_t k) {
  REPRO_RETURN_IF_ERROR(CheckCutoff(k));
  return Hits(relevant, k) / static_cast<double>(k);
}

absl::StatusOr<double> AveragePrecision(const std::vector<bool>& relevant,
                                        int64_t num_relevant, int64_t k) {
  REPRO_RETURN_IF_ERROR(CheckCutoff(k));
  REPRO_RETURN_IF_ERROR(CheckRelevant(relevant, num_relevant));
  if (num_relevant == 0) return 0;
  const int64_t size = std::min<int64_t>(k, relevant.size());
  double hits = 0;
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    if (!relevant[i]) continue;
    ++hits;
    sum += hits / (i + 1);
  }
  return sum / num_relevant;
}

absl::StatusOr<double> Ndcg(const std::vector<double>& ranked,
                            const std::vector<double>& judged, Gain gain,
                            int64_t k) {
  REPRO_RETURN_IF_ERROR(CheckCutoff(k));
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> gains, Gains(ranked, gain));
  REPRO_ASSIGN_OR_RETURN(std::vector<double> ideal, Gains(judged, gain));
  std::sort(ideal.begin(), ideal.end(), std::greater<double>());
  std::vector<double> best = gains;
  std::sort(best.begin(), best.end(), std::greater<double>());
  for (size_t i = 0; i < best.size(); ++i) {
    if (best[i] > (i < ideal.size() ? ideal[i] : 0)) {
      return absl::InvalidArgumentError(
          "the ranking holds gains that the judged items do not have");
    }
  }
  const double ideal_dcg = Dcg(ideal, k);
  return ideal_dcg == 0 ? 0 : Dcg(gains, k) / ideal_dcg;
}

std::vector<double> JudgedGains(
    const std::vector<std::optional<double>>& ranked, Unjudged unjudged) {
  std::vector<double> gains;
  for (const std::optional<double>& gain : ranked) {
    if (!gain.has_value() && unjudged == Unjudged::kSkip) continue;
    gains.push_back(gain.value_or(0));
  }
  return gains;
}

absl::StatusOr<int64_t> PessimisticRank(const std::vector<double>& distances,
                                        int64_t target) {
  if (target < 0 || target >= distances.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "no item ", target, " among ", distances.size(), " distances"));
  }
  int64_t rank = 0;
  for (const double distance : distances) {
    if (std::isnan(distance)) {
      return absl::InvalidArgumentError("a distance is NaN");
    }
    rank += distance <= distances[target];
  }
  return rank;
}

}  // namespace repro::metrics
