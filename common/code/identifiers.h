#ifndef REPRO_COMMON_CODE_IDENTIFIERS_H_
#define REPRO_COMMON_CODE_IDENTIFIERS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/code/syntax_tree.h"

namespace repro::code {

struct SplitOptions {
  bool lower_case = true;
  // "utf8" is one subtoken or "utf", "8".
  bool split_digits = true;
};

// The words of an identifier: parted at `_`, `$` and other punctuation, before
// an upper-case letter that follows a lower-case letter or digit (camelCase),
// and before the last of several upper-case letters when a lower-case one
// follows ("HTTPServer": "http", "server"). Letters beyond ASCII have no case
// here.
std::vector<std::string> SplitIdentifier(absl::string_view identifier,
                                         const SplitOptions& options = {});

// Whether the leaf is a name that the programmer chose: identifier,
// type_identifier, field_identifier, property_identifier, PHP's `name`, Ruby's
// constant and so on; no keyword, literal or built-in type.
bool IsIdentifier(SyntaxNode leaf);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_IDENTIFIERS_H_
