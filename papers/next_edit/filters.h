// Which commits become training samples, and what of a file the test set keeps:
// the authors' filters that need neither a tokenizer nor a language model. Two
// of theirs are not here: twice the tokens of O and N is at most 8,192
// (gpt-4o-mini's tokenizer), and gpt-4o-mini finds the chunks to be related.
#ifndef REPRO_PAPERS_NEXT_EDIT_FILTERS_H_
#define REPRO_PAPERS_NEXT_EDIT_FILTERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace repro::next_edit {

// The authors read first line and number of lines from the diff's hunk headers
// by an expression that wants both numbers, of both files. A hunk of one line
// has its number of lines left out, and is not seen.
enum class HunkRule {
  kAsPublished,  // every hunk
  kAsCoded,      // hunks that have other than one line in both files
};

// Lines of two files, counted from 1, last ones included; an empty range has
// its end one before its beginning.
struct Window {
  int64_t old_first, old_last, new_first, new_last;

  // The longer one's.
  int64_t num_lines() const;
};

// What a unified diff with 3 lines of context shows of the change.
struct EditShape {
  // Lines of each chunk: a maximal run of deleted and added lines.
  std::vector<int64_t> chunks;
  int64_t num_deleted = 0;  // lines
  // From the first line of the first hunk to the last line of the last; none if
  // there is no hunk that `rule` sees.
  std::optional<Window> window;
};
EditShape DescribeEdits(absl::string_view old_contents,
                        absl::string_view new_contents, HunkRule rule);

struct FilterLimits {
  int64_t max_characters = 32768;  // code points of O and N together
  int64_t max_chunk_lines = 5;
  int64_t max_window_lines = 80;
};

// In the order in which they are applied.
enum class FilterResult {
  kKept,
  kTooLong,
  // One chunk; none passes, as coded, and falls to kWideWindow.
  kOneChunk,
  kLongChunk,
  kWideWindow,  // or none
  kDeletesLines,
};

// The first filter that drops a commit.
FilterResult FilterCommit(absl::string_view old_contents,
                          absl::string_view new_contents, HunkRule rule,
                          const FilterLimits& limits = {});

struct OldAndNew {
  std::string old_contents, new_contents;
};

// The files cut to the window and `context_lines` on both sides. kAsCoded takes
// line numbers, which count from 1, as indices, which count from 0: 19 lines
// are kept before the window and 21 behind it, where 20 are asked for. Lines
// end at "\n" alone here, and the last one kept has none. None without a
// window.
std::optional<OldAndNew> CutToWindow(absl::string_view old_contents,
                                     absl::string_view new_contents,
                                     HunkRule rule, int64_t context_lines = 20);

}  // namespace repro::next_edit

#endif  // REPRO_PAPERS_NEXT_EDIT_FILTERS_H_
