#include "papers/next_edit/filters.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/metrics/line_diff.h"
#include "common/metrics/python_text.h"

namespace repro::next_edit {
namespace {

using metrics::Hunk;

bool Sees(HunkRule rule, const Hunk& hunk) {
  return rule == HunkRule::kAsPublished ||
         (hunk.a_end - hunk.a_begin != 1 && hunk.b_end - hunk.b_begin != 1);
}

// The first line of a range as a hunk header counts it: from 1, and an empty
// range is at the line before it.
int64_t FirstLine(int64_t begin, int64_t end) {
  return begin == end ? begin : begin + 1;
}

// Lines [first, last], counted from 0, as far as there are.
std::string Cut(absl::string_view contents, int64_t first, int64_t last) {
  const std::vector<absl::string_view> lines = absl::StrSplit(contents, '\n');
  const int64_t size = lines.size();
  const int64_t begin = std::clamp<int64_t>(first, 0, size);
  const int64_t end = std::clamp<int64_t>(last + 1, begin, size);
  return absl::StrJoin(lines.begin() + begin, lines.begin() + end, "\n");
}

}  // namespace

int64_t Window::num_lines() const {
  return std::max(old_last - old_first, new_last - new_first) + 1;
}

EditShape DescribeEdits(absl::string_view old_contents,
                        absl::string_view new_contents, HunkRule rule) {
  EditShape shape;
  for (const Hunk& hunk : metrics::Hunks(
           metrics::SplitLines(old_contents, metrics::LineEnds::kDrop),
           metrics::SplitLines(new_contents, metrics::LineEnds::kDrop))) {
    bool in_chunk = false;
    for (const std::string& line : hunk.lines) {
      const bool changed = line[0] != ' ';
      if (changed && !in_chunk) shape.chunks.push_back(0);
      if (changed) ++shape.chunks.back();
      shape.num_deleted += line[0] == '-';
      in_chunk = changed;
    }
    if (!Sees(rule, hunk)) continue;
    const int64_t old_first = FirstLine(hunk.a_begin, hunk.a_end);
    const int64_t new_first = FirstLine(hunk.b_begin, hunk.b_end);
    if (!shape.window.has_value()) {
      shape.window = Window{old_first, 0, new_first, 0};
    }
    shape.window->old_last = old_first + hunk.a_end - hunk.a_begin - 1;
    shape.window->new_last = new_first + hunk.b_end - hunk.b_begin - 1;
  }
  return shape;
}

FilterResult FilterCommit(absl::string_view old_contents,
                          absl::string_view new_contents, HunkRule rule,
                          const FilterLimits& limits) {
  const int64_t characters = metrics::CodePoints(old_contents).size() +
                             metrics::CodePoints(new_contents).size();
  if (characters > limits.max_characters) return FilterResult::kTooLong;
  const EditShape shape = DescribeEdits(old_contents, new_contents, rule);
  if (shape.chunks.size() == 1) return FilterResult::kOneChunk;
  for (const int64_t lines : shape.chunks) {
    if (lines > limits.max_chunk_lines) return FilterResult::kLongChunk;
  }
  if (!shape.window.has_value() ||
      shape.window->num_lines() > limits.max_window_lines) {
    return FilterResult::kWideWindow;
  }
  if (shape.num_deleted > 0) return FilterResult::kDeletesLines;
  return FilterResult::kKept;
}

std::optional<OldAndNew> CutToWindow(absl::string_view old_contents,
                                     absl::string_view new_contents,
                                     HunkRule rule, int64_t context_lines) {
  const std::optional<Window> window =
      DescribeEdits(old_contents, new_contents, rule).window;
  if (!window.has_value()) return std::nullopt;
  const int64_t first_index = rule == HunkRule::kAsCoded ? 0 : 1;
  const auto cut = [&](absl::string_view contents, int64_t first,
                       int64_t last) {
    return Cut(contents, first - first_index - context_lines,
               last - first_index + context_lines);
  };
  return OldAndNew{cut(old_contents, window->old_first, window->old_last),
                   cut(new_contents, window->new_first, window->new_last)};
}

}  // namespace repro::next_edit
