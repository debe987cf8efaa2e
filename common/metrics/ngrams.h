#ifndef REPRO_COMMON_METRICS_NGRAMS_H_
#define REPRO_COMMON_METRICS_NGRAMS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "common/metrics/python_text.h"

namespace repro::metrics {

// Numbers the n-grams of any number of sequences: two n-grams of one order get
// the same id if and only if they hold the same symbols. O(length) an order,
// because an n-gram is its first n - 1 symbols' id and one symbol.
class NGramIndex {
 public:
  // Ids of symbols that are strings; the same string, the same id.
  Symbols Intern(const Tokens& tokens);

  // grams[n - 1] holds the ids of the n-grams of `symbols` in order, for n = 1
  // to max_order; it is empty where the sequence is shorter than n.
  std::vector<Symbols> Grams(absl::Span<const int32_t> symbols, int max_order);

  // One more than the largest id of order n.
  int64_t size(int n) const {
    return n <= static_cast<int>(levels_.size()) ? levels_[n - 1].size() : 0;
  }

 private:
  absl::flat_hash_map<std::string, int32_t> interned_;
  std::vector<absl::flat_hash_map<uint64_t, int32_t>> levels_;
};

// Id to number of occurrences.
using Counts = absl::flat_hash_map<int32_t, int64_t>;
Counts Count(const Symbols& ids);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_NGRAMS_H_
