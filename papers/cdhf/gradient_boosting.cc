#include "papers/cdhf/gradient_boosting.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace repro::cdhf {
namespace {

// A split must gain more.
constexpr float kLeastGain = 1e-6f;

float Sigmoid(float x) { return 1.0f / (std::exp(-x) + 1.0f); }

struct Sums {
  double gradient = 0;
  double hessian = 0;
};

float Square(double value) { return static_cast<float>(value * value); }

absl::Status CheckTraining(const Matrix& features,
                           const std::vector<bool>& positive,
                           const BoostingOptions& options) {
  if (features.rows < 1 || features.columns < 0 ||
      static_cast<int64_t>(features.values.size()) !=
          features.rows * features.columns) {
    return absl::InvalidArgumentError(
        absl::StrCat("a matrix of [", features.rows, ", ", features.columns,
                     "] with ", features.values.size(), " values"));
  }
  if (static_cast<int64_t>(positive.size()) != features.rows) {
    return absl::InvalidArgumentError(
        absl::StrCat(positive.size(), " labels for ", features.rows, " rows"));
  }
  for (size_t i = 0; i < features.values.size(); ++i) {
    if (!std::isfinite(features.values[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("row ", static_cast<int64_t>(i) / features.columns,
                       ", column ", static_cast<int64_t>(i) % features.columns,
                       ": ", features.values[i]));
    }
  }
  if (options.trees < 0 || options.max_depth < 0 ||
      !(options.learning_rate > 0) || !(options.l2 >= 0) ||
      !(options.min_child_weight > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "trees ", options.trees, ", max_depth ", options.max_depth,
        ", learning_rate ", options.learning_rate, ", l2 ", options.l2,
        ", min_child_weight ", options.min_child_weight));
  }
  return absl::OkStatus();
}

// A column's rows from its highest value down, without those that have its
// lowest one: what is left over on a node lies there.
struct SortedColumn {
  int64_t column = 0;
  float lowest = 0;
  std::vector<int32_t> rows;
  std::vector<float> values;
};

std::vector<SortedColumn> SortColumns(const Matrix& features) {
  std::vector<SortedColumn> sorted;
  std::vector<int32_t> order(features.rows);
  for (int64_t column = 0; column < features.columns; ++column) {
    const auto value = [&](int32_t row) {
      return features.values[row * features.columns + column];
    };
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return value(a) > value(b); });
    SortedColumn one;
    one.column = column;
    one.lowest = value(order.back());
    for (const int32_t row : order) {
      if (value(row) == one.lowest) break;
      one.rows.push_back(row);
      one.values.push_back(value(row));
    }
    if (!one.rows.empty()) sorted.push_back(std::move(one));
  }
  return sorted;
}

}  // namespace

class TreeGrower {
 public:
  TreeGrower(const Matrix& features, const BoostingOptions& options)
      : features_(features),
        options_(options),
        columns_(SortColumns(features)),
        slots_(features.rows) {}

  BoostedTrees::Tree Grow(const std::vector<float>& gradients,
                          const std::vector<float>& hessians) {
    BoostedTrees::Tree tree(1);
    std::vector<Open> open(1);
    std::fill(slots_.begin(), slots_.end(), 0);
    for (int64_t depth = 0; !open.empty(); ++depth) {
      AddUp(gradients, hessians, open);
      if (depth < options_.max_depth) FindSplits(gradients, hessians, open);
      open = Split(open, tree);
    }
    return tree;
  }

 private:
  // A node of the level that is grown.
  struct Open {
    int32_t node = 0;
    Sums sums;
    float gain = 0;  // of the node as it is
    // The best split so far.
    float best = 0;
    int64_t column = -1;
    float threshold = 0;
  };

  float Gain(const Sums& sums) const {
    return Square(sums.gradient) /
           static_cast<float>(sums.hessian + options_.l2);
  }

  void AddUp(const std::vector<float>& gradients,
             const std::vector<float>& hessians,
             std::vector<Open>& open) const {
    for (size_t row = 0; row < slots_.size(); ++row) {
      if (slots_[row] < 0) continue;
      open[slots_[row]].sums.gradient += gradients[row];
      open[slots_[row]].sums.hessian += hessians[row];
    }
    for (Open& one : open) one.gain = Gain(one.sums);
  }

  // Takes the split between `high`, the lowest value of what is in `above`, and
  // `low` if it is better.
  void Try(const Sums& above, float high, float low, int64_t column,
           Open& one) const {
    if (!(above.hessian >= options_.min_child_weight)) return;
    const Sums below = {one.sums.gradient - above.gradient,
                        one.sums.hessian - above.hessian};
    if (!(below.hessian >= options_.min_child_weight)) return;
    const float gain = Gain(below) + Gain(above) - one.gain;
    if (!(gain > one.best) || std::isinf(gain)) return;
    one.best = gain;
    one.column = column;
    const float middle = (low + high) * 0.5f;
    one.threshold = middle == low ? high : middle;
  }

  void FindSplits(const std::vector<float>& gradients,
                  const std::vector<float>& hessians, std::vector<Open>& open) {
    std::vector<Sums> above(open.size());
    std::vector<float> last(open.size());
    for (const SortedColumn& sorted : columns_) {
      std::fill(above.begin(), above.end(), Sums());
      for (size_t i = 0; i < sorted.rows.size(); ++i) {
        const int32_t row = sorted.rows[i];
        const int32_t slot = slots_[row];
        if (slot < 0) continue;
        const float value = sorted.values[i];
        if (above[slot].hessian > 0 && value != last[slot]) {
          Try(above[slot], last[slot], value, sorted.column, open[slot]);
        }
        above[slot].gradient += gradients[row];
        above[slot].hessian += hessians[row];
        last[slot] = value;
      }
      for (size_t slot = 0; slot < open.size(); ++slot) {
        Try(above[slot], last[slot], sorted.lowest, sorted.column, open[slot]);
      }
    }
  }

  // Gives the level's nodes their splits or weights; returns the next level.
  std::vector<Open> Split(const std::vector<Open>& open,
                          BoostedTrees::Tree& tree) {
    std::vector<Open> next;
    std::vector<int32_t> left_slot(open.size(), -1);
    for (size_t slot = 0; slot < open.size(); ++slot) {
      const Open& one = open[slot];
      if (!(one.best > kLeastGain)) {
        const bool light = one.sums.hessian < options_.min_child_weight;
        tree[one.node].value =
            light ? 0
                  : static_cast<float>(-one.sums.gradient /
                                       (one.sums.hessian + options_.l2)) *
                        options_.learning_rate;
        continue;
      }
      left_slot[slot] = static_cast<int32_t>(next.size());
      tree[one.node].column = one.column;
      tree[one.node].threshold = one.threshold;
      tree[one.node].left = static_cast<int32_t>(tree.size());
      tree[one.node].right = static_cast<int32_t>(tree.size() + 1);
      for (int side = 0; side < 2; ++side) {
        next.emplace_back().node = static_cast<int32_t>(tree.size());
        tree.emplace_back();
      }
    }
    for (size_t row = 0; row < slots_.size(); ++row) {
      const int32_t slot = slots_[row];
      if (slot < 0) continue;
      if (left_slot[slot] < 0) {
        slots_[row] = -1;
        continue;
      }
      const float value =
          features_.values[row * features_.columns + open[slot].column];
      slots_[row] = left_slot[slot] + (value < open[slot].threshold ? 0 : 1);
    }
    return next;
  }

  const Matrix& features_;
  const BoostingOptions& options_;
  const std::vector<SortedColumn> columns_;
  std::vector<int32_t> slots_;  // by row: its place in the level; -1: a leaf
};

absl::StatusOr<BoostedTrees> BoostedTrees::Train(
    const Matrix& features, const std::vector<bool>& positive,
    const BoostingOptions& options) {
  if (absl::Status status = CheckTraining(features, positive, options);
      !status.ok()) {
    return status;
  }
  BoostedTrees model;
  model.columns_ = features.columns;
  TreeGrower grower(features, options);
  std::vector<float> margins(features.rows, 0);
  std::vector<float> gradients(features.rows), hessians(features.rows);
  for (int64_t tree = 0; tree < options.trees; ++tree) {
    for (int64_t row = 0; row < features.rows; ++row) {
      const float p = Sigmoid(margins[row]);
      gradients[row] = p - (positive[row] ? 1.0f : 0.0f);
      hessians[row] = std::max(p * (1.0f - p), 1e-16f);
    }
    model.trees_.push_back(grower.Grow(gradients, hessians));
    for (int64_t row = 0; row < features.rows; ++row) {
      margins[row] += ValueOf(model.trees_.back(), features.Row(row));
    }
  }
  return model;
}

float BoostedTrees::ValueOf(const Tree& tree, absl::Span<const float> row) {
  const Node* node = tree.data();
  while (node->column >= 0) {
    node =
        &tree[row[node->column] < node->threshold ? node->left : node->right];
  }
  return node->value;
}

absl::StatusOr<double> BoostedTrees::Probability(
    absl::Span<const float> row) const {
  if (static_cast<int64_t>(row.size()) != columns_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a row of ", row.size(), " values, trained on ", columns_));
  }
  float margin = 0;
  for (const Tree& tree : trees_) margin += ValueOf(tree, row);
  return Sigmoid(margin);
}

}  // namespace repro::cdhf
