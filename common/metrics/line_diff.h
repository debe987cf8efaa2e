#ifndef REPRO_COMMON_METRICS_LINE_DIFF_H_
#define REPRO_COMMON_METRICS_LINE_DIFF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/metrics/edit_distance.h"

// Texts compared line by line, as Python's difflib has it:
//
//   const auto a = SplitLines("x\ny\n", LineEnds::kDrop);
//   const auto b = SplitLines("x\nz\n", LineEnds::kDrop);
//   absl::StrJoin(UnifiedDiff(a, b, "old", "new"), "\n")
//
//   --- old
//   +++ new
//   @@ -1,2 +1,2 @@
//    x
//   -y
//   +z
namespace repro::metrics {

// Opcodes() of lines: two are equal if their bytes are.
std::vector<Opcode> LineOpcodes(absl::Span<const absl::string_view> a,
                                absl::Span<const absl::string_view> b);

// A change with the unchanged lines around it: a[a_begin, a_end) becomes
// b[b_begin, b_end), lines counted from 0.
struct Hunk {
  int64_t a_begin, a_end, b_begin, b_end;
  // Each behind ' ' (in both), '-' (in a) or '+' (in b).
  std::vector<std::string> lines;

  // "@@ -1,2 +1 @@": first line, counted from 1, and number of lines, which is
  // left out if it is 1; an empty range has the line before it.
  std::string Header() const;
};

// The changes from a to b in order, each with up to `context` unchanged lines
// on either side; those with at most 2 * context lines between them share one
// hunk. None if the texts are equal.
std::vector<Hunk> Hunks(absl::Span<const absl::string_view> a,
                        absl::Span<const absl::string_view> b,
                        int64_t context = 3);

// list(difflib.unified_diff(a, b, from_file, to_file, lineterm="")): two lines
// with the names, then header and lines of every hunk. Nothing if the texts are
// equal.
std::vector<std::string> UnifiedDiff(absl::Span<const absl::string_view> a,
                                     absl::Span<const absl::string_view> b,
                                     absl::string_view from_file,
                                     absl::string_view to_file,
                                     int64_t context = 3);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_LINE_DIFF_H_
