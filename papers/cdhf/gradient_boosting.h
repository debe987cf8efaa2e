// Gradient boosting of trees for two classes with exact greedy splits (Friedman
// 2001; Chen and Guestrin 2016, algorithm 1). The defaults and the arithmetic
// are those of XGBoost with tree_method "exact" and base_score 0.5, which is
// what version 1.5.1 (the authors') does with data of this size.
//
//   REPRO_ASSIGN_OR_RETURN(const BoostedTrees trees,
//                          BoostedTrees::Train(columns, rejected, {}));
//   trees.Probability(row).value()  // of rejection
#ifndef REPRO_PAPERS_CDHF_GRADIENT_BOOSTING_H_
#define REPRO_PAPERS_CDHF_GRADIENT_BOOSTING_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro::cdhf {

// values: [rows, columns], row by row.
struct Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> values;

  absl::Span<const float> Row(int64_t row) const {
    return absl::MakeConstSpan(values).subspan(row * columns, columns);
  }
};

struct BoostingOptions {
  int64_t trees = 100;
  int64_t max_depth = 6;
  float learning_rate = 0.3f;
  float l2 = 1;                // lambda, of leaf weights
  float min_child_weight = 1;  // least sum of hessians on a side
};

class BoostedTrees {
 public:
  // Each tree is grown level by level on g = p - y and h = p (1 - p): a split
  // into L and R gains G_L^2 / (H_L + l2) + G_R^2 / (H_R + l2) - G^2 / (H +
  // l2), the best is taken if it gains more than 1e-6, and a leaf adds
  // -learning_rate G / (H + l2) to the log-odds, which begin at 0. Thresholds
  // are the middle of two neighbouring values; of equal gains the lowest column
  // and then the highest threshold wins.
  //
  // InvalidArgument: no rows, a matrix of another size than it says, as many
  // labels as not rows, a value that is not finite, options out of range.
  static absl::StatusOr<BoostedTrees> Train(const Matrix& features,
                                            const std::vector<bool>& positive,
                                            const BoostingOptions& options);

  // Of the positive class. InvalidArgument unless the row has as many values as
  // the training matrix has columns.
  absl::StatusOr<double> Probability(absl::Span<const float> row) const;

 private:
  struct Node {
    int64_t column = -1;  // < 0: a leaf
    float threshold = 0;  // to the left if the value is below
    int32_t left = 0;
    int32_t right = 0;
    float value = 0;
  };
  using Tree = std::vector<Node>;

  static float ValueOf(const Tree& tree, absl::Span<const float> row);

  int64_t columns_ = 0;
  std::vector<Tree> trees_;

  friend class TreeGrower;
};

}  // namespace repro::cdhf

#endif  // REPRO_PAPERS_CDHF_GRADIENT_BOOSTING_H_
