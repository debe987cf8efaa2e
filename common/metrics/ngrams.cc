#include "common/metrics/ngrams.h"

namespace repro::metrics {

Symbols NGramIndex::Intern(const Tokens& tokens) {
  Symbols symbols;
  symbols.reserve(tokens.size());
  for (const std::string& token : tokens) {
    symbols.push_back(
        interned_.try_emplace(token, interned_.size()).first->second);
  }
  return symbols;
}

std::vector<Symbols> NGramIndex::Grams(absl::Span<const int32_t> symbols,
                                       int max_order) {
  if (levels_.size() < max_order) levels_.resize(max_order);
  std::vector<Symbols> grams(max_order);
  const int64_t length = symbols.size();
  for (int n = 1; n <= max_order; ++n) {
    auto& ids = levels_[n - 1];
    Symbols& current = grams[n - 1];
    for (int64_t i = 0; i + n <= length; ++i) {
      const uint64_t shorter =
          n == 1 ? 0 : static_cast<uint32_t>(grams[n - 2][i]);
      const uint64_t key =
          shorter << 32 | static_cast<uint32_t>(symbols[i + n - 1]);
      current.push_back(ids.try_emplace(key, ids.size()).first->second);
    }
  }
  return grams;
}

Counts Count(const Symbols& ids) {
  Counts counts;
  counts.reserve(ids.size());
  for (const int32_t id : ids) ++counts[id];
  return counts;
}

}  // namespace repro::metrics
