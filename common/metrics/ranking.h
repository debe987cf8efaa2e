#ifndef REPRO_COMMON_METRICS_RANKING_H_
#define REPRO_COMMON_METRICS_RANKING_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

// Metrics of one query's ranking, best item first. The metric of a set of
// queries is the mean (repro::Mean of common/stats): MRR is that of
// ReciprocalRank, MAP that of AveragePrecision. `relevant[i]` says whether the
// item at rank i + 1 is relevant; `num_relevant` counts the relevant items of
// the whole collection, retrieved or not. A query without relevant items scores
// 0, as in scikit-learn. InvalidArgument: k < 1, or fewer relevant items in the
// collection than in the ranking.
namespace repro::metrics {

inline constexpr int64_t kWholeRanking = std::numeric_limits<int64_t>::max();

// 1 / the rank of the first relevant item, 0 if there is none in the top k.
absl::StatusOr<double> ReciprocalRank(const std::vector<bool>& relevant,
                                      int64_t k = kWholeRanking);

// The share of the relevant items that is in the top k.
absl::StatusOr<double> RecallAtK(const std::vector<bool>& relevant,
                                 int64_t num_relevant, int64_t k);

// The relevant items in the top k over k, even if fewer were retrieved (the
// convention of trec_eval).
absl::StatusOr<double> PrecisionAtK(const std::vector<bool>& relevant,
                                    int64_t k);

// The sum over the relevant items in the top k of the precision at their rank,
// over `num_relevant`: items that were not retrieved count with precision 0.
absl::StatusOr<double> AveragePrecision(const std::vector<bool>& relevant,
                                        int64_t num_relevant,
                                        int64_t k = kWholeRanking);

enum class Gain {
  kLinear,       // g: Jarvelin and Kekalainen 2002, scikit-learn
  kExponential,  // 2^g - 1: Burges et al. 2005
};

// DCG@k / ideal DCG@k with DCG = sum over ranks r of gain(g_r) / log2(r + 1).
// `ranked` holds the graded relevance of the ranking's items, `judged` that of
// all items of the collection in any order, which sorted makes the ideal; zeros
// may be left out of it. O(n log n). InvalidArgument also for a negative or not
// finite gain, and where no order of `judged` can contain `ranked`.
absl::StatusOr<double> Ndcg(const std::vector<double>& ranked,
                            const std::vector<double>& judged, Gain gain,
                            int64_t k = kWholeRanking);

// What a ranked item without a judgement does.
enum class Unjudged {
  kGainZero,  // it takes a rank and gains 0: "All" of CodeSearchNet, trec_eval
  kSkip,      // it takes no rank: "Within" of CodeSearchNet
};

// The gains of a ranking for Ndcg; nullopt stands for an unjudged item.
std::vector<double> JudgedGains(
    const std::vector<std::optional<double>>& ranked, Unjudged unjudged);

// The rank of the item `target` by its distance from the query, smaller is
// nearer, where ties count against it: the number of items at most as far, as
// in CodeSearchNet's MRR. InvalidArgument: no such item, NaN.
absl::StatusOr<int64_t> PessimisticRank(const std::vector<double>& distances,
                                        int64_t target);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_RANKING_H_
