// The ListOps task of the Long Range Arena (Nangia and Bowman 2018; Tay et al.
// 2021): nested operations on lists of digits, whose value is a digit.
#ifndef REPRO_PAPERS_FLOWFORMER_LIST_OPS_H_
#define REPRO_PAPERS_FLOWFORMER_LIST_OPS_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::flowformer {

struct ListOpsOptions {
  int max_depth = 10;
  int max_args = 10;
  // Lengths in tokens: min_length < length < max_length.
  int min_length = 500;
  int max_length = 2000;
  double operator_probability = 0.25;
};

// Tokens: digit d is d + 1; then the four opening operators and the closing
// bracket; 0 is padding. The binary parentheses that the release's text has
// besides are dropped by its loader, and never made here.
inline constexpr int kListOpsVocabulary = 16;

struct ListOpsExample {
  std::vector<int64_t> tokens;
  int value = 0;  // 0 to 9

  // "[MAX 3 4 ]"
  std::string Text() const;
};

// Draws trees as the release's generator does: at a depth below max_depth an
// operator (MIN, MAX, MED, SM, all alike) of 2 to max_args arguments with
// operator_probability, else a digit; trees of other lengths are drawn again.
ListOpsExample DrawListOps(const ListOpsOptions& options,
                           std::mt19937_64& random);

// `count` examples without duplicates.
std::vector<ListOpsExample> DrawListOpsSet(const ListOpsOptions& options,
                                           int64_t count,
                                           std::mt19937_64& random);

// Reads an expression and computes its value: MED is the median rounded down,
// SM the sum modulo 10. InvalidArgument: not an expression.
absl::StatusOr<ListOpsExample> ParseListOps(absl::string_view text);

}  // namespace repro::flowformer

#endif  // REPRO_PAPERS_FLOWFORMER_LIST_OPS_H_
