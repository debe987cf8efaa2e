#ifndef REPRO_COMMON_CODE_TOKENS_H_
#define REPRO_COMMON_CODE_TOKENS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/code/language.h"
#include "common/code/syntax_tree.h"

namespace repro::code {

struct CodeToken {
  // Views of the tree's source and grammar.
  absl::string_view text;
  absl::string_view type;
  SyntaxNode node;
};

// Whether the node is a comment of its language ("comment", "line_comment",
// "block_comment").
bool IsComment(SyntaxNode node);

// The string that documents a Python module, class or function, a statement of
// its own at the start of the body; null for other nodes. `node` is the
// "module", "class_definition" or "function_definition".
SyntaxNode PythonDocstring(SyntaxNode node);

struct TokenOptions {
  bool drop_comments = true;
  bool drop_docstrings = false;  // of Python
  // A string is one token, not its quotes and parts.
  bool keep_strings_whole = true;
};

// The leaves of the tree in source order, those without bytes left out.
std::vector<CodeToken> Tokens(const SyntaxTree& tree,
                              const TokenOptions& options = {});

enum class TokenClass {
  kKeyword,
  kIdentifier,
  kNumber,
  kString,
  kOperator,
  kPunctuation,
  kComment,
};
TokenClass ClassOf(const CodeToken& token);

// The source without comments and, in Python, docstrings, by the grammar: each
// comment becomes one blank, a docstring alone in its body becomes `pass`, and
// lines of which nothing is left go away.
std::string RemoveComments(const SyntaxTree& tree);

// What GraphCodeBERT and CodeBLEU run before they parse, to the byte, so that
// their token numbers come out the same. Python: by lexical rules over tokens
// (a string that begins a line, or follows an indentation, is dropped). Ruby:
// the source as it is. Others: `//…`, `/*…*/` become a blank wherever they
// stand outside of '…' and "…", whatever the language; blank lines go away.
std::string RemoveCommentsLexically(CodeLanguage language,
                                    absl::string_view source);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_TOKENS_H_
