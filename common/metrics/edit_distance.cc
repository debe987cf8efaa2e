#include "common/metrics/edit_distance.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "common/metrics/python_text.h"

namespace repro::metrics {
namespace {

using Span = absl::Span<const int32_t>;

constexpr int kWordBits = 64;

// Bit i of masks[symbol][i / 64] says whether pattern[i] is that symbol.
class PositionMasks {
 public:
  explicit PositionMasks(Span pattern)
      : num_words_((pattern.size() + kWordBits - 1) / kWordBits),
        none_(num_words_, 0) {
    for (size_t i = 0; i < pattern.size(); ++i) {
      auto& mask = masks_.try_emplace(pattern[i], none_).first->second;
      mask[i / kWordBits] |= uint64_t{1} << (i % kWordBits);
    }
  }

  size_t num_words() const { return num_words_; }

  const std::vector<uint64_t>& of(int32_t symbol) const {
    const auto found = masks_.find(symbol);
    return found == masks_.end() ? none_ : found->second;
  }

 private:
  size_t num_words_;
  std::vector<uint64_t> none_;
  absl::flat_hash_map<int32_t, std::vector<uint64_t>> masks_;
};

// Drops what both begin and end with: neither distance depends on it. Returns
// how many symbols were dropped from each.
int64_t TrimCommon(Span* a, Span* b) {
  size_t dropped = 0;
  while (!a->empty() && !b->empty() && a->front() == b->front()) {
    a->remove_prefix(1);
    b->remove_prefix(1);
    ++dropped;
  }
  while (!a->empty() && !b->empty() && a->back() == b->back()) {
    a->remove_suffix(1);
    b->remove_suffix(1);
    ++dropped;
  }
  return dropped;
}

}  // namespace

// Hyyro 2004, "Bit-parallel LCS-length computation revisited": a 0 bit of `row`
// is a step of the table's row.
int64_t LcsLength(absl::Span<const int32_t> a, absl::Span<const int32_t> b) {
  const int64_t trimmed = TrimCommon(&a, &b);
  if (a.empty() || b.empty()) return trimmed;
  const PositionMasks masks(a);
  std::vector<uint64_t> row(masks.num_words(), ~uint64_t{0});
  for (const int32_t symbol : b) {
    const std::vector<uint64_t>& mask = masks.of(symbol);
    uint64_t carry = 0;
    for (size_t w = 0; w < row.size(); ++w) {
      const uint64_t matches = row[w] & mask[w];
      const uint64_t partial = row[w] + matches;
      const uint64_t sum = partial + carry;
      carry = (partial < row[w]) | (sum < partial);
      row[w] = sum | (row[w] - matches);
    }
  }
  int64_t length = trimmed;
  for (size_t w = 0; w < row.size(); ++w) {
    length += __builtin_popcountll(~row[w]);
  }
  return length;
}

// Myers 1999 in blocks, as in Hyyro 2003: `plus` and `minus` hold the vertical
// differences of +1 and -1 of one column of the table.
int64_t LevenshteinDistance(absl::Span<const int32_t> a,
                            absl::Span<const int32_t> b) {
  TrimCommon(&a, &b);
  if (a.empty() || b.empty()) return std::max(a.size(), b.size());
  const PositionMasks masks(a);
  const size_t num_words = masks.num_words();
  std::vector<uint64_t> plus(num_words, ~uint64_t{0});
  std::vector<uint64_t> minus(num_words, 0);
  const uint64_t last_row = uint64_t{1} << ((a.size() - 1) % kWordBits);
  int64_t distance = a.size();
  for (const int32_t symbol : b) {
    const std::vector<uint64_t>& mask = masks.of(symbol);
    // The horizontal difference at the row above the block: +1 at the table's
    // first row.
    uint64_t carry_plus = 1;
    uint64_t carry_minus = 0;
    for (size_t w = 0; w < num_words; ++w) {
      const uint64_t equal = mask[w] | carry_minus;
      const uint64_t diagonal =
          (((equal & plus[w]) + plus[w]) ^ plus[w]) | equal | minus[w];
      uint64_t up = minus[w] | ~(diagonal | plus[w]);
      uint64_t down = plus[w] & diagonal;
      if (w + 1 == num_words) {
        distance += (up & last_row) != 0;
        distance -= (down & last_row) != 0;
      }
      const uint64_t next_plus = up >> (kWordBits - 1);
      const uint64_t next_minus = down >> (kWordBits - 1);
      up = up << 1 | carry_plus;
      down = down << 1 | carry_minus;
      plus[w] = down | ~(diagonal | up);
      minus[w] = up & diagonal;
      carry_plus = next_plus;
      carry_minus = next_minus;
    }
  }
  return distance;
}

double LevenshteinSimilarity(absl::string_view a, absl::string_view b) {
  const Symbols from = CodePoints(a);
  const Symbols to = CodePoints(b);
  const size_t longest = std::max({from.size(), to.size(), size_t{1}});
  return 1 - static_cast<double>(LevenshteinDistance(from, to)) / longest;
}

double IndelSimilarity(absl::string_view a, absl::string_view b) {
  const Symbols from = CodePoints(a);
  const Symbols to = CodePoints(b);
  if (from.empty() && to.empty()) return 1;
  return 2.0 * LcsLength(from, to) / (from.size() + to.size());
}

std::vector<MatchingBlock> MatchingBlocks(absl::Span<const int32_t> a,
                                          absl::Span<const int32_t> b) {
  absl::flat_hash_map<int32_t, std::vector<int64_t>> positions;
  for (size_t j = 0; j < b.size(); ++j) positions[b[j]].push_back(j);
  if (b.size() >= 200) {
    const size_t most = b.size() / 100 + 1;
    for (auto& [symbol, where] : positions) {
      if (where.size() > most) where.clear();
    }
  }
  // Length of the block that ends at a[i - 1] and b[j - 1], at j; only entries
  // of the last row are not 0.
  std::vector<int64_t> lengths(b.size() + 1, 0);
  std::vector<int64_t> next_lengths(b.size() + 1, 0);
  const auto longest = [&](int64_t a_begin, int64_t a_end, int64_t b_begin,
                           int64_t b_end) {
    MatchingBlock best{a_begin, b_begin, 0};
    const std::vector<int64_t> nowhere;
    const std::vector<int64_t>* last = &nowhere;
    for (int64_t i = a_begin; i < a_end; ++i) {
      const auto found = positions.find(a[i]);
      const std::vector<int64_t>& where =
          found == positions.end() ? nowhere : found->second;
      for (const int64_t j : where) {
        if (j < b_begin) continue;
        if (j >= b_end) break;
        const int64_t length = lengths[j] + 1;
        next_lengths[j + 1] = length;
        if (length > best.size) best = {i - length + 1, j - length + 1, length};
      }
      for (const int64_t j : *last) lengths[j + 1] = 0;
      lengths.swap(next_lengths);
      last = &where;
    }
    for (const int64_t j : *last) lengths[j + 1] = 0;
    while (best.a_begin > a_begin && best.b_begin > b_begin &&
           a[best.a_begin - 1] == b[best.b_begin - 1]) {
      --best.a_begin;
      --best.b_begin;
      ++best.size;
    }
    while (best.a_begin + best.size < a_end &&
           best.b_begin + best.size < b_end &&
           a[best.a_begin + best.size] == b[best.b_begin + best.size]) {
      ++best.size;
    }
    return best;
  };

  struct Range {
    int64_t a_begin, a_end, b_begin, b_end;
  };
  std::vector<Range> left = {
      {0, static_cast<int64_t>(a.size()), 0, static_cast<int64_t>(b.size())}};
  std::vector<MatchingBlock> blocks;
  while (!left.empty()) {
    const Range range = left.back();
    left.pop_back();
    const MatchingBlock block =
        longest(range.a_begin, range.a_end, range.b_begin, range.b_end);
    if (block.size == 0) continue;
    blocks.push_back(block);
    const int64_t a_next = block.a_begin + block.size;
    const int64_t b_next = block.b_begin + block.size;
    if (range.a_begin < block.a_begin && range.b_begin < block.b_begin) {
      left.push_back(
          {range.a_begin, block.a_begin, range.b_begin, block.b_begin});
    }
    if (a_next < range.a_end && b_next < range.b_end) {
      left.push_back({a_next, range.a_end, b_next, range.b_end});
    }
  }
  std::sort(blocks.begin(), blocks.end(),
            [](const MatchingBlock& x, const MatchingBlock& y) {
              return x.a_begin < y.a_begin;
            });
  std::vector<MatchingBlock> merged;
  for (const MatchingBlock& block : blocks) {
    if (!merged.empty() &&
        merged.back().a_begin + merged.back().size == block.a_begin &&
        merged.back().b_begin + merged.back().size == block.b_begin) {
      merged.back().size += block.size;
    } else {
      merged.push_back(block);
    }
  }
  return merged;
}

std::vector<Opcode> Opcodes(absl::Span<const int32_t> a,
                            absl::Span<const int32_t> b) {
  std::vector<MatchingBlock> blocks = MatchingBlocks(a, b);
  blocks.push_back(
      {static_cast<int64_t>(a.size()), static_cast<int64_t>(b.size()), 0});
  std::vector<Opcode> opcodes;
  int64_t i = 0;
  int64_t j = 0;
  for (const MatchingBlock& block : blocks) {
    const bool deletes = i < block.a_begin;
    const bool inserts = j < block.b_begin;
    if (deletes || inserts) {
      const EditKind kind = !inserts   ? EditKind::kDelete
                            : !deletes ? EditKind::kInsert
                                       : EditKind::kReplace;
      opcodes.push_back({kind, i, block.a_begin, j, block.b_begin});
    }
    i = block.a_begin + block.size;
    j = block.b_begin + block.size;
    if (block.size > 0) {
      opcodes.push_back({EditKind::kEqual, block.a_begin, i, block.b_begin, j});
    }
  }
  return opcodes;
}

double DifflibRatio(absl::string_view a, absl::string_view b) {
  const Symbols from = CodePoints(a);
  const Symbols to = CodePoints(b);
  if (from.empty() && to.empty()) return 1;
  int64_t matched = 0;
  for (const MatchingBlock& block : MatchingBlocks(from, to)) {
    matched += block.size;
  }
  return 2.0 * matched / (from.size() + to.size());
}

double FuzzywuzzyRatio(absl::string_view a, absl::string_view b) {
  if (a.empty() || b.empty()) return 0;
  if (a == b) return 1;
  // Python's round and nearbyint take the even one of two equally near numbers.
  return std::nearbyint(100 * DifflibRatio(a, b)) / 100;
}

}  // namespace repro::metrics
