#include "papers/next_edit/analogy.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "common/metrics/line_diff.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"
#include "papers/next_edit/evaluation.h"

namespace repro::next_edit {
namespace {

using metrics::LineEnds;
using metrics::SplitLines;
using Views = std::vector<absl::string_view>;

constexpr int64_t kSurroundings = 3;  // lines on either side

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
}

// The byte behind the token, or the white space, at text[begin].
size_t PieceEnd(absl::string_view text, size_t begin) {
  size_t end = begin;
  if (IsWordByte(text[begin])) {
    while (end < text.size() && IsWordByte(text[end])) ++end;
  } else {
    NextCodePoint(text, &end);
  }
  return end;
}

// Words of ASCII letters, digits and underscores, and other characters but for
// ASCII white space.
Views LineTokens(absl::string_view line) {
  Views tokens;
  for (size_t begin = 0; begin < line.size();) {
    const size_t end = PieceEnd(line, begin);
    if (!absl::ascii_isspace(static_cast<unsigned char>(line[begin]))) {
      tokens.push_back(line.substr(begin, end - begin));
    }
    begin = end;
  }
  return tokens;
}

absl::string_view Indentation(absl::string_view line) {
  return line.substr(0, std::min(line.find_first_not_of(" \t"), line.size()));
}

// Of two bags of tokens, sorted.
double Dice(const Views& a, const Views& b) {
  if (a.empty() && b.empty()) return 1;
  Views common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(),
                        std::back_inserter(common));
  return 2.0 * static_cast<double>(common.size()) /
         static_cast<double>(a.size() + b.size());
}

// Lines with their tokens: in order, and sorted.
struct TokenizedText {
  explicit TokenizedText(absl::string_view text)
      : lines(SplitLines(text, LineEnds::kDrop)) {
    for (const absl::string_view line : lines) {
      tokens.push_back(LineTokens(line));
      bags.push_back(tokens.back());
      std::sort(bags.back().begin(), bags.back().end());
    }
  }

  int64_t num_lines() const { return static_cast<int64_t>(lines.size()); }

  absl::string_view IndentationAbove(int64_t line) const {
    return line > 0 ? Indentation(lines[line - 1]) : "";
  }

  Views lines;
  std::vector<Views> tokens;
  std::vector<Views> bags;
};

// An edit of one text, as the places of another see it.
class Analogy {
 public:
  Analogy(absl::string_view source, LineRange edit, absl::string_view target)
      : source_(source), edit_(edit), target_(target) {}

  int64_t num_places() const { return target_.num_lines() + 1; }

  double Likeness(int64_t place) const {
    double likeness = 0;
    for (int64_t distance = 1; distance <= kSurroundings; ++distance) {
      for (const auto& [ours, theirs] : Counterparts(place, distance)) {
        likeness += Dice(source_.bags[ours], target_.bags[theirs]) /
                    static_cast<double>(distance);
      }
    }
    return likeness;
  }

  std::vector<std::string> AdaptedCopy(int64_t place) const {
    std::map<absl::string_view, absl::string_view> words;
    for (int64_t distance = kSurroundings; distance >= 1; --distance) {
      for (const auto& [ours, theirs] : Counterparts(place, distance)) {
        const Views& from = source_.tokens[ours];
        const Views& to = target_.tokens[theirs];
        if (from.size() != to.size()) continue;
        for (size_t i = 0; i < from.size(); ++i) {
          if (from[i] != to[i] && IsWordByte(from[i][0]) &&
              IsWordByte(to[i][0])) {
            words[from[i]] = to[i];
          }
        }
      }
    }
    std::vector<std::string> copy;
    for (int64_t i = edit_.begin; i < edit_.end; ++i) {
      std::string line;
      for (size_t begin = 0; begin < source_.lines[i].size();) {
        const size_t end = PieceEnd(source_.lines[i], begin);
        const absl::string_view piece =
            source_.lines[i].substr(begin, end - begin);
        const auto found = words.find(piece);
        absl::StrAppend(&line, found == words.end() ? piece : found->second);
        begin = end;
      }
      absl::string_view rest = line;
      if (!metrics::Strip(line).empty() &&
          absl::ConsumePrefix(&rest, source_.IndentationAbove(edit_.begin))) {
        line = absl::StrCat(target_.IndentationAbove(place), rest);
      }
      copy.push_back(std::move(line));
    }
    return copy;
  }

  // Whether `copy` are the lines that end or begin at `place`.
  bool StandsAt(int64_t place, const std::vector<std::string>& copy) const {
    const auto equal_from = [&](int64_t begin) {
      const auto size = static_cast<int64_t>(copy.size());
      return begin >= 0 && begin + size <= target_.num_lines() &&
             std::equal(copy.begin(), copy.end(),
                        target_.lines.begin() + begin);
    };
    return equal_from(place) ||
           equal_from(place - static_cast<int64_t>(copy.size()));
  }

 private:
  // The lines at `distance` above and below: of the edit, of `place`. A pair of
  // which one is outside of its text is left out.
  std::vector<std::pair<int64_t, int64_t>> Counterparts(
      int64_t place, int64_t distance) const {
    std::vector<std::pair<int64_t, int64_t>> pairs;
    for (const auto& [ours, theirs] :
         {std::pair(edit_.begin - distance, place - distance),
          std::pair(edit_.end - 1 + distance, place - 1 + distance)}) {
      if (ours >= 0 && ours < source_.num_lines() && theirs >= 0 &&
          theirs < target_.num_lines()) {
        pairs.emplace_back(ours, theirs);
      }
    }
    return pairs;
  }

  const TokenizedText source_;
  const LineRange edit_;
  const TokenizedText target_;
};

bool IsOpen(int64_t place, LineRange edit, Places places) {
  return place > edit.end || (place < edit.begin && places == Places::kAll);
}

// Line ends are those of the first line. A text that ends without one goes on
// doing so.
std::string InsertLines(absl::string_view contents, int64_t place,
                        absl::Span<const std::string> inserted) {
  const Views lines = SplitLines(contents, LineEnds::kKeep);
  const absl::string_view end =
      !lines.empty() && absl::EndsWith(lines[0], "\r\n") ? "\r\n" : "\n";
  const auto num_lines = static_cast<int64_t>(lines.size());
  const bool last_is_open =
      !lines.empty() && SplitLines(lines.back(), LineEnds::kDrop)[0].size() ==
                            lines.back().size();
  std::string result;
  for (int64_t i = 0; i <= num_lines; ++i) {
    if (i == place) {
      const bool at_open_end = i == num_lines && last_is_open;
      for (const std::string& line : inserted) {
        absl::StrAppend(&result, at_open_end ? end : "", line,
                        at_open_end ? "" : end);
      }
    }
    if (i < num_lines) absl::StrAppend(&result, lines[i]);
  }
  return result;
}

// Of equally like places the one with the greatest is taken.
using Preference = std::pair<bool, int64_t>;

// `preference` gives none for a place that is not open.
std::string InsertBestCopy(
    const Analogy& analogy, absl::string_view contents,
    const std::function<std::optional<Preference>(int64_t)>& preference) {
  using Rank = std::pair<double, Preference>;
  std::optional<Rank> best_rank;
  int64_t best_place = 0;
  std::vector<std::string> best_copy;
  for (int64_t place = 0; place < analogy.num_places(); ++place) {
    const std::optional<Preference> preferred = preference(place);
    if (!preferred.has_value()) continue;
    const Rank rank(analogy.Likeness(place), *preferred);
    if (best_rank.has_value() && rank <= *best_rank) continue;
    std::vector<std::string> copy = analogy.AdaptedCopy(place);
    if (analogy.StandsAt(place, copy)) continue;
    best_rank = rank;
    best_place = place;
    best_copy = std::move(copy);
  }
  if (!best_rank.has_value()) return std::string(contents);
  return InsertLines(contents, best_place, best_copy);
}

// Of all lines that O to C adds, sorted.
Views AddedTokens(const Sample& sample) {
  const Views lines = SplitLines(sample.current_contents, LineEnds::kDrop);
  Views tokens;
  for (const metrics::Opcode& opcode : metrics::LineOpcodes(
           SplitLines(sample.old_contents, LineEnds::kDrop), lines)) {
    if (opcode.kind == metrics::EditKind::kEqual) continue;
    for (int64_t i = opcode.b_begin; i < opcode.b_end; ++i) {
      const Views of_line = LineTokens(lines[i]);
      tokens.insert(tokens.end(), of_line.begin(), of_line.end());
    }
  }
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

}  // namespace

std::optional<LineRange> LastInsertion(absl::string_view old_contents,
                                       absl::string_view current_contents) {
  std::optional<LineRange> last;
  for (const metrics::Opcode& opcode :
       metrics::LineOpcodes(SplitLines(old_contents, LineEnds::kDrop),
                            SplitLines(current_contents, LineEnds::kDrop))) {
    if (opcode.kind == metrics::EditKind::kInsert) {
      last = LineRange{opcode.b_begin, opcode.b_end};
    }
  }
  return last;
}

std::string RepeatEdit(absl::string_view current_contents, LineRange edit,
                       Places places) {
  return InsertBestCopy(Analogy(current_contents, edit, current_contents),
                        current_contents,
                        [&](int64_t place) -> std::optional<Preference> {
                          if (!IsOpen(place, edit, places)) return std::nullopt;
                          const bool below = place > edit.end;
                          return Preference(below, below ? -place : place);
                        });
}

std::string TransferEdit(absl::string_view source, LineRange edit,
                         absl::string_view current_contents) {
  return InsertBestCopy(
      Analogy(source, edit, current_contents), current_contents,
      [](int64_t place) { return Preference(false, -place); });
}

absl::StatusOr<std::vector<int64_t>> NearestInOtherLanguages(
    absl::Span<const Sample> samples) {
  std::vector<Views> histories;
  for (const Sample& sample : samples) {
    histories.push_back(AddedTokens(sample));
  }
  std::vector<int64_t> nearest;
  for (size_t i = 0; i < samples.size(); ++i) {
    std::optional<size_t> best;
    double most = 0;
    for (size_t j = 0; j < samples.size(); ++j) {
      if (samples[j].language == samples[i].language) continue;
      const double likeness = Dice(histories[i], histories[j]);
      if (!best.has_value() || likeness > most) {
        best = j;
        most = likeness;
      }
    }
    if (!best.has_value()) {
      return absl::NotFoundError("all samples are in one language");
    }
    nearest.push_back(static_cast<int64_t>(*best));
  }
  return nearest;
}

absl::StatusOr<double> ChancePositionMatch(const Sample& sample,
                                           Places places) {
  const std::string& current = sample.current_contents;
  const auto edit = LastInsertion(sample.old_contents, current);
  if (!edit.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sample ", sample.index, ": no insertion before the next edit"));
  }
  const auto num_lines =
      static_cast<int64_t>(SplitLines(current, LineEnds::kDrop).size());
  int64_t open = 0;
  int64_t matching = 0;
  for (int64_t place = 0; place <= num_lines; ++place) {
    if (!IsOpen(place, *edit, places)) continue;
    REPRO_ASSIGN_OR_RETURN(
        const Matches matches,
        // No line of code, so that the diff inserts it where it stands.
        Match(current, sample.new_contents,
              InsertLines(current, place, {"<|next|>"})));
    ++open;
    matching += matches.position;
  }
  if (open == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("sample ", sample.index, ": no place for an edit"));
  }
  return static_cast<double>(matching) / static_cast<double>(open);
}

}  // namespace repro::next_edit
