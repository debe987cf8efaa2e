// Statistics of retrieval scores that others released for every query head of
// a model.
#ifndef REPRO_PAPERS_RAZOR_ATTENTION_RELEASED_SCORES_H_
#define REPRO_PAPERS_RAZOR_ATTENTION_RELEASED_SCORES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::razor {

// A table of numbers separated by tabs, one layer a line: [layers, heads]
// float64. DataLoss names file, line and what is wrong (not a number, not
// finite, lines of unequal length, nothing at all).
absl::StatusOr<at::Tensor> ParseHeadTable(absl::string_view text,
                                          const std::string& path);

// With the query heads of `scores` ranked over all layers, lower places first
// at ties, and four-to-one groups, say, of num_kv_heads:
struct HeadStatistics {
  int64_t top_heads = 0;      // round(share * heads)
  int64_t promoted = 0;       // groups with one of them
  double promoted_share = 0;  // of all groups
  double kept_fraction = 0;   // LimitKeptFraction(promoted_share, ratio)
  double mass_of_top = 0;     // their scores over the sum of all
  double mass_of_ten = 0;     // those of the ten best
  // The groups' largest scores against the gates of the same heads:
  double pearson = 0;
  // of the round(share * groups) best groups, how many are in the better half
  // by gate.
  int64_t in_better_half = 0;
};

// scores: [layers, num_heads]; gates: [layers, num_kv_heads]. Throws c10::Error
// for other shapes.
HeadStatistics Describe(const at::Tensor& scores, const at::Tensor& gates,
                        double share, double ratio);

}  // namespace repro::razor

#endif  // REPRO_PAPERS_RAZOR_ATTENTION_RELEASED_SCORES_H_
