// What the agents' replies say. Replies are free text: nothing here fails.
#ifndef REPRO_PAPERS_CODE_TREE_PARSE_H_
#define REPRO_PAPERS_CODE_TREE_PARSE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace repro::code_tree {

// The items of a numbered list, one a line, at most `max_items`: of each line
// of at least 5 bytes what follows "<7>" at its beginning, or else the first
// "7." anywhere in it, without white space at its ends; items that are then
// empty are left out. As coded, a line without a number is no item, even where
// it goes on with one.
std::vector<std::string> ParseNumberedList(absl::string_view reply,
                                           int max_items);

// The program of a reply: the first fenced block marked as Python; else the
// first one without a mark; else a fenced block that the reply's end cuts off;
// else what begins with the first line "def ..." and the imports right before
// it. Fences may be indented. Nothing if there is none of these or it is blank.
std::optional<std::string> ExtractCode(absl::string_view reply);

// The Critic's score: the largest digit of 0 to 5 on the last line that is not
// blank (as coded: "4/5" is 5, "10" is 1). Nothing if there is none there.
std::optional<int> ParseScore(absl::string_view reply);

struct Review {
  bool accepted = true;
  std::string text;  // the reasons
};

// The Critic's verdict on a program: rejected if the last line that is not
// blank has "false", in any case; accepted otherwise, a reply without a verdict
// included (as coded). The text is the reply without that line, or the whole of
// a reply of one or two lines.
Review ParseReview(absl::string_view reply);

}  // namespace repro::code_tree

#endif  // REPRO_PAPERS_CODE_TREE_PARSE_H_
