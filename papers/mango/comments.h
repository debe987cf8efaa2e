// Comments of Python programs: how many there are, and the program without
// them, which is a negative of the training (the authors' result_statistic.py
// and src/train_wizardcoder_lora.py).
#ifndef REPRO_PAPERS_MANGO_COMMENTS_H_
#define REPRO_PAPERS_MANGO_COMMENTS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::mango {

struct LineCounts {
  int64_t lines = 0;     // that are not empty; white space counts as a line
  int64_t comments = 0;  // whose first character but white space is '#'
};

// As coded: lines end at '\n' alone, and what stands in a text of several lines
// is a line like others.
LineCounts CountLines(absl::string_view program);

// As coded: each line up to its first '#', so that strings are cut, too, and
// the white space before a comment stays.
std::string CutAtHash(absl::string_view program);

struct ProgramComments {
  int64_t comments = 0;  // by the grammar
  std::string without;   // the program without them; all else stays
  bool parses = false;   // without an error
};

// By the syntax tree. Errors: those of SyntaxTree::Parse.
absl::StatusOr<ProgramComments> FindComments(absl::string_view program);

}  // namespace repro::mango

#endif  // REPRO_PAPERS_MANGO_COMMENTS_H_
