#ifndef REPRO_COMMON_METRICS_EDIT_DISTANCE_H_
#define REPRO_COMMON_METRICS_EDIT_DISTANCE_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// How alike two sequences of symbols are. For texts, symbols are code points
// (CodePoints of python_text.h), for files they may be numbers of lines.
namespace repro::metrics {

// The length of the longest common subsequence: O(|a| |b| / 64).
int64_t LcsLength(absl::Span<const int32_t> a, absl::Span<const int32_t> b);

// The least number of insertions, deletions and substitutions: O(|a| |b| / 64).
int64_t LevenshteinDistance(absl::Span<const int32_t> a,
                            absl::Span<const int32_t> b);

// 1 - Levenshtein distance / max(|a|, |b|, 1).
double LevenshteinSimilarity(absl::string_view a, absl::string_view b);

// 2 LCS / (|a| + |b|), which is 1 - (insertions and deletions) / (|a| + |b|):
// fuzz.ratio of rapidfuzz over 100, and Levenshtein.ratio. 1 if both are empty.
double IndelSimilarity(absl::string_view a, absl::string_view b);

// A run of `size` equal symbols at a[a_begin] and b[b_begin].
struct MatchingBlock {
  int64_t a_begin = 0;
  int64_t b_begin = 0;
  int64_t size = 0;
};

// SequenceMatcher(None, a, b).get_matching_blocks() of Python's difflib without
// the empty block at the end: the longest block (of several the one that starts
// earliest in a, then in b), then the same left and right of it; blocks that
// touch in both are merged. Ratcliff and Obershelp's method with CPython's
// "autojunk": if |b| >= 200, a symbol that occurs more than |b| / 100 + 1
// (integer division) times in b starts no block, but may extend one. Neither
// symmetric nor optimal. Worst case O(|a| |b|) a block.
std::vector<MatchingBlock> MatchingBlocks(absl::Span<const int32_t> a,
                                          absl::Span<const int32_t> b);

enum class EditKind { kEqual, kReplace, kDelete, kInsert };

// a[a_begin, a_end) becomes b[b_begin, b_end).
struct Opcode {
  EditKind kind;
  int64_t a_begin, a_end, b_begin, b_end;
};

// SequenceMatcher(None, a, b).get_opcodes(): what turns a into b, in order and
// without gaps, the matching blocks as kEqual.
std::vector<Opcode> Opcodes(absl::Span<const int32_t> a,
                            absl::Span<const int32_t> b);

// SequenceMatcher(None, a, b).ratio(): 2 M / (|a| + |b|) with M matched
// symbols; 1 if both are empty.
double DifflibRatio(absl::string_view a, absl::string_view b);

// fuzzywuzzy.fuzz.ratio without its C library: DifflibRatio rounded to whole
// percent, in [0, 1]; 0 where a text is empty, 1 where they are equal and not
// empty.
double FuzzywuzzyRatio(absl::string_view a, absl::string_view b);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_EDIT_DISTANCE_H_
