// Rules that predict the next edit by repeating another elsewhere: what a model
// has to beat, and a measure of what the history of edits tells.
#ifndef REPRO_PAPERS_NEXT_EDIT_ANALOGY_H_
#define REPRO_PAPERS_NEXT_EDIT_ANALOGY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "papers/next_edit/sample.h"

namespace repro::next_edit {

// Lines [begin, end) of a text, counted from 0; all are lines of it.
struct LineRange {
  int64_t begin, end;
};

// The lines of C that the last insertion from O to C has added; none if there
// is no insertion.
std::optional<LineRange> LastInsertion(absl::string_view old_contents,
                                       absl::string_view current_contents);

// Where a line may be inserted: before any line and at the end, but for the
// places inside and at both ends of the last edit.
enum class Places {
  kAll,
  kBelow,  // the last edit
};

// `current_contents` with an adapted copy of the lines `edit` inserted where
// the surroundings are most like those of `edit`; unchanged where no place is
// left.
//
// The likeness of two places is the sum over d = 1, 2, 3 of 1/d times the Dice
// coefficient of the tokens (words, other characters; 1 if both lines have
// none) of the d-th lines above and of the d-th lines below, where both exist.
// Of equally like places the first below the edit is taken, else the last
// above. A place is left out if the copy stands there already, above or below.
//
// The copy has words replaced: where a line of the surroundings has as many
// tokens as its counterpart, differing words correspond, nearer lines' words
// before farther ones', and of equally near ones those below. Lines that begin
// with the indentation of the line above `edit` get that of the line above the
// place.
//
// Costs |C| comparisons of lines for each line of the surroundings.
std::string RepeatEdit(absl::string_view current_contents, LineRange edit,
                       Places places);

// The same with an edit of another text: lines `edit` of `source`. Every place
// is open, and of equally like ones the first is taken.
std::string TransferEdit(absl::string_view source, LineRange edit,
                         absl::string_view current_contents);

// For each sample the index of the one, among those in other languages, that
// has the most similar history: the greatest Dice coefficient of the tokens of
// all lines that O to C adds; the first of several. NotFound if all are in one
// language.
absl::StatusOr<std::vector<int64_t>> NearestInOtherLanguages(
    absl::Span<const Sample> samples);

// The expected position match of a line inserted at a random place. Errors are
// those of Match(); InvalidArgument if C has no insertion, or no place is left.
absl::StatusOr<double> ChancePositionMatch(const Sample& sample, Places places);

}  // namespace repro::next_edit

#endif  // REPRO_PAPERS_NEXT_EDIT_ANALOGY_H_
