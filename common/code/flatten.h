#ifndef REPRO_COMMON_CODE_FLATTEN_H_
#define REPRO_COMMON_CODE_FLATTEN_H_

#include <string>
#include <vector>

#include "common/code/syntax_tree.h"

// Syntax trees as sequences.
namespace repro::code {

struct FlattenOptions {
  // An inner node of type t is prefix + t + left_suffix before its children and
  // prefix + t + right_suffix behind them.
  std::string prefix = "<";
  std::string left_suffix = ",left>";
  std::string right_suffix = ",right>";
  bool keep_comments = false;
};

// UniXcoder's one-to-one mapping (Guo et al., ACL 2022, algorithm 1): an inner
// node gives `<type,left>`, then its children, then `<type,right>`; a leaf its
// text. Leaves without text, which the parser made up, are left out.
std::vector<std::string> FlattenTree(SyntaxNode root,
                                     const FlattenOptions& options = {});

// tree-sitter's S-expression: "(module (expression_statement (identifier)))",
// named nodes with their fields as "left: (identifier)" if `with_fields`;
// "(MISSING \";\")" and "(ERROR …)" as tree-sitter prints them.
std::string SExpression(SyntaxNode root, bool with_fields = true);

// The types of all nodes in pre-order.
std::vector<std::string> PreorderTypes(SyntaxNode root, bool named_only = true);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_FLATTEN_H_
