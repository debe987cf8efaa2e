#ifndef REPRO_COMMON_METRICS_CLASSIFICATION_H_
#define REPRO_COMMON_METRICS_CLASSIFICATION_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

// Metrics of predicted classes. `Label` is int64_t or std::string. Arguments
// are in scikit-learn's order, references (y_true) first, and so are the values
// of degenerate cases: a ratio without a denominator is 0. All return
// InvalidArgument for empty or unequally long vectors.
namespace repro::metrics {

// The share of predictions equal to their reference.
template <typename Label>
absl::StatusOr<double> Accuracy(const std::vector<Label>& references,
                                const std::vector<Label>& predictions);

struct PrecisionRecallF1 {
  double precision = 0;  // TP / (TP + FP), 0 where nothing is predicted
  double recall = 0;     // TP / (TP + FN), 0 where there is nothing to find
  double f1 = 0;         // 2 TP / (2 TP + FP + FN), 0 where that is 0 / 0
  int64_t support = 0;   // references of the class or classes, TP + FN
};

// One entry for each label that occurs in references or predictions.
template <typename Label>
absl::StatusOr<std::map<Label, PrecisionRecallF1>> PerClass(
    const std::vector<Label>& references,
    const std::vector<Label>& predictions);

// Those of the class `positive`. InvalidArgument as in scikit-learn: more than
// two labels occur, or two occur and `positive` is neither. All 0 where
// `positive` does not occur beside one other label.
template <typename Label>
absl::StatusOr<PrecisionRecallF1> Binary(const std::vector<Label>& references,
                                         const std::vector<Label>& predictions,
                                         const Label& positive);

// Over the summed TP, FP and FN of all labels. With one label an item, as here,
// all three equal the accuracy.
template <typename Label>
absl::StatusOr<PrecisionRecallF1> Micro(const std::vector<Label>& references,
                                        const std::vector<Label>& predictions);

// The unweighted means of PerClass. F1 is the mean of the classes' F1, not the
// F1 of the mean precision and recall.
template <typename Label>
absl::StatusOr<PrecisionRecallF1> Macro(const std::vector<Label>& references,
                                        const std::vector<Label>& predictions);

// Matthews' correlation coefficient in [-1, 1] for any number of classes
// (Gorodkin 2004): (c s - sum_k p_k t_k) / sqrt((s^2 - sum p_k^2)
// (s^2 - sum t_k^2)) with s items, c of them correct, and p_k predictions and
// t_k references of class k. 0 where all references or all predictions are one
// class.
template <typename Label>
absl::StatusOr<double> MatthewsCorrelation(
    const std::vector<Label>& references,
    const std::vector<Label>& predictions);

// The area under the ROC curve: the probability that a random positive item has
// a higher score than a random negative one, ties counting one half. O(n log
// n). InvalidArgument also for a NaN score, and where all items are of one
// class: the area is not defined (scikit-learn warns and returns NaN).
absl::StatusOr<double> RocAuc(const std::vector<bool>& positive,
                              const std::vector<double>& scores);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_CLASSIFICATION_H_
