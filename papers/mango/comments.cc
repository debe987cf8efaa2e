#include "papers/mango/comments.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/code/language.h"
#include "common/code/syntax_tree.h"
#include "common/code/tokens.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::mango {

LineCounts CountLines(absl::string_view program) {
  LineCounts counts;
  for (const absl::string_view line : absl::StrSplit(program, '\n')) {
    counts.lines += !line.empty();
    counts.comments += absl::StartsWith(metrics::Strip(line), "#");
  }
  return counts;
}

std::string CutAtHash(absl::string_view program) {
  std::vector<absl::string_view> lines = absl::StrSplit(program, '\n');
  for (absl::string_view& line : lines) line = line.substr(0, line.find('#'));
  return absl::StrJoin(lines, "\n");
}

absl::StatusOr<ProgramComments> FindComments(absl::string_view program) {
  REPRO_ASSIGN_OR_RETURN(const code::SyntaxTree tree,
                         code::SyntaxTree::Parse(code::CodeLanguage::kPython,
                                                 std::string(program)));
  ProgramComments found;
  found.parses = tree.error_count() == 0;
  size_t begin = 0;
  for (const code::SyntaxNode node : tree.nodes()) {
    if (!code::IsComment(node)) continue;
    ++found.comments;
    absl::StrAppend(&found.without,
                    program.substr(begin, node.start_byte() - begin));
    begin = node.end_byte();
  }
  absl::StrAppend(&found.without, program.substr(begin));
  return found;
}

}  // namespace repro::mango
