#include "common/code/flatten.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/code/tokens.h"

namespace repro::code {
namespace {

// Calls enter(node) at each node in pre-order, which says whether to go below
// it, and leave(node) behind the last of its descendants. Uses no stack of the
// program: trees may be deep.
template <typename Enter, typename Leave>
void Walk(SyntaxNode root, const Enter& enter, const Leave& leave) {
  std::vector<SyntaxNode> open;
  const auto nodes = root.subtree();
  uint32_t skip_to = root.index();
  for (const SyntaxNode node : nodes) {
    if (node.index() < skip_to) continue;
    while (!open.empty() && open.back().subtree_end() <= node.index()) {
      leave(open.back());
      open.pop_back();
    }
    if (enter(node)) {
      open.push_back(node);
    } else {
      skip_to = node.subtree_end();
    }
  }
  for (; !open.empty(); open.pop_back()) leave(open.back());
}

}  // namespace

std::vector<std::string> FlattenTree(SyntaxNode root,
                                     const FlattenOptions& options) {
  std::vector<std::string> flat;
  Walk(
      root,
      [&](SyntaxNode node) {
        if (IsComment(node) && !options.keep_comments) return false;
        if (node.is_leaf()) {
          if (!node.text().empty()) flat.emplace_back(node.text());
          return false;
        }
        flat.push_back(
            absl::StrCat(options.prefix, node.type(), options.left_suffix));
        return true;
      },
      [&](SyntaxNode node) {
        flat.push_back(
            absl::StrCat(options.prefix, node.type(), options.right_suffix));
      });
  return flat;
}

std::string SExpression(SyntaxNode root, bool with_fields) {
  std::string text;
  Walk(
      root,
      [&](SyntaxNode node) {
        if (!node.is_named() && !node.is_missing()) return false;
        if (!text.empty()) text += ' ';
        if (with_fields && node != root && !node.field().empty()) {
          absl::StrAppend(&text, node.field(), ": ");
        }
        if (node.is_missing()) {
          absl::StrAppend(&text, "(MISSING ");
          if (node.is_named()) {
            absl::StrAppend(&text, node.type(), ")");
          } else {
            absl::StrAppend(&text, "\"", node.type(), "\")");
          }
          return false;
        }
        if (node.is_leaf() && node.type() == "ERROR" && !node.text().empty()) {
          absl::StrAppend(&text, "(UNEXPECTED '",
                          absl::CHexEscape(node.text().substr(0, 1)), "')");
          return false;
        }
        absl::StrAppend(&text, "(", node.type());
        return true;
      },
      [&](SyntaxNode) { text += ')'; });
  return text;
}

std::vector<std::string> PreorderTypes(SyntaxNode root, bool named_only) {
  std::vector<std::string> types;
  for (const SyntaxNode node : root.subtree()) {
    if (node.is_named() || !named_only) types.emplace_back(node.type());
  }
  return types;
}

}  // namespace repro::code
