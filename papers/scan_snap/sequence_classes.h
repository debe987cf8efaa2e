// Where the sequences come from: Sec. 3 (sequence classes) and Sec. 6
// (Syn-Small, Syn-Medium) of the paper.
#ifndef REPRO_PAPERS_SCAN_SNAP_SEQUENCE_CLASSES_H_
#define REPRO_PAPERS_SCAN_SNAP_SEQUENCE_CLASSES_H_

#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/statusor.h"

namespace repro::scan_snap {

struct SequenceClassOptions {
  int num_queries = 2;     // last tokens m
  int next_per_query = 1;  // next tokens n that share a query, psi(n) = m
  // Tokens that occur with every next token, and their unnormalised P(l|n).
  int num_common = 10;
  double common_weight = 1;
  // Tokens of one next token only; their weights go linearly from min to max.
  int num_distinct = 10;
  double distinct_min = 0.1;
  double distinct_max = 1;
};

// A uniform number in [0, 1) of 53 bits.
double UniformDraw(std::mt19937_64& generator);

// The joint distribution of a sequence: the next token n is uniform over
// `num_classes()` classes, it fixes the query psi(n), and the context tokens
// are independent draws from P(l|n). Token ids: common tokens, then each
// class's distinct tokens, then queries, then next tokens.
class SequenceClasses {
 public:
  // InvalidArgument: a count below 1 (num_common may be 0), more than 2^20
  // tokens, a weight that is not positive and finite.
  static absl::StatusOr<SequenceClasses> Create(
      const SequenceClassOptions& options);

  const SequenceClassOptions& options() const { return options_; }
  // M, the vocabulary, and K, the number of next tokens.
  int vocab_size() const;
  int num_classes() const;
  // How many tokens can occur in the context of a class: first the common, then
  // its distinct ones. This number is T in the shapes below.
  int support_size() const;

  // The token id of place `i` of the support of class `n`.
  int Token(int n, int i) const;
  int Query(int n) const;
  int NextToken(int n) const;

  // P(l|n) over the support, the same for every class. [T], sums to 1.
  const std::vector<double>& probabilities() const { return probabilities_; }

  // Adds to `counts` [T] how often each token of the support occurs among
  // `length` independent draws from P(l|n).
  template <typename Real>
  void DrawCounts(int length, std::mt19937_64& generator, Real* counts) const;

 private:
  explicit SequenceClasses(const SequenceClassOptions& options);
  int Place(uint32_t uniform) const;

  SequenceClassOptions options_;
  std::vector<double> probabilities_;
  // Inverse of the distribution function on 32-bit integers: place i is drawn
  // for numbers up to upper_[i]; first_[top 8 bits] is where to begin to look.
  std::vector<uint32_t> upper_;
  std::vector<int> first_;
};

// Sequences, each reduced to what the model sees of it: attention without
// positions depends on a context only through its token counts.
template <typename Real>
struct Batch {
  std::vector<int> classes;  // [batch]
  std::vector<Real> counts;  // [batch, T]

  int size() const { return static_cast<int>(classes.size()); }
};

// `batch_size` sequences of a uniformly drawn class each, with
// `sequence_length`
// - 1 context tokens and the query.
template <typename Real>
Batch<Real> DrawBatch(const SequenceClasses& classes, int batch_size,
                      int sequence_length, std::mt19937_64& generator);

// One sequence of each class whose counts are P(l|n) itself: the limit of
// infinite length and batch, in which the paper's theorems are stated.
template <typename Real>
Batch<Real> PopulationBatch(const SequenceClasses& classes);

}  // namespace repro::scan_snap

#endif  // REPRO_PAPERS_SCAN_SNAP_SEQUENCE_CLASSES_H_
