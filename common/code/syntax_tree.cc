#include "common/code/syntax_tree.h"

#include <tree_sitter/api.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/code/grammar.h"

namespace repro::code {
namespace {

using internal::Grammar;
using internal::NodeRecord;
using internal::TreeData;

constexpr TSSymbol kErrorSymbol = std::numeric_limits<TSSymbol>::max();

// tree-sitter numbers ERROR 65535; here it comes behind the grammar's types.
const Grammar& GrammarOf(CodeLanguage language) {
  static const auto* const grammars = [] {
    auto* all = new std::array<Grammar, kCodeLanguages.size()>;
    for (const CodeLanguage language : kCodeLanguages) {
      const TSLanguage* from = TreeSitterLanguage(language);
      Grammar& to = (*all)[static_cast<size_t>(language)];
      for (uint32_t i = 0; i < ts_language_symbol_count(from); ++i) {
        to.types.push_back(ts_language_symbol_name(from, i));
      }
      to.types.push_back("ERROR");
      to.fields.push_back("");
      for (uint32_t i = 1; i <= ts_language_field_count(from); ++i) {
        to.fields.push_back(ts_language_field_name_for_id(from, i));
      }
    }
    return all;
  }();
  return (*grammars)[static_cast<size_t>(language)];
}

using Parser = std::unique_ptr<TSParser, decltype(&ts_parser_delete)>;
using Tree = std::unique_ptr<TSTree, decltype(&ts_tree_delete)>;

// Copies the tree into data->nodes. A cursor keeps its place on the heap, so
// that depth costs no stack.
void CopyNodes(const TSTree* tree, TreeData* data) {
  const auto error_symbol =
      static_cast<uint16_t>(data->grammar->types.size()) - 1;
  TSTreeCursor cursor = ts_tree_cursor_new(ts_tree_root_node(tree));
  uint32_t parent = 0;
  for (;;) {
    const TSNode node = ts_tree_cursor_current_node(&cursor);
    const TSSymbol symbol = ts_node_symbol(node);
    NodeRecord record;
    record.start = ts_node_start_byte(node);
    record.end = ts_node_end_byte(node);
    record.parent = parent;
    record.subtree_end = 0;
    record.symbol = symbol == kErrorSymbol ? error_symbol : symbol;
    record.field = ts_tree_cursor_current_field_id(&cursor);
    record.is_named = ts_node_is_named(node);
    record.is_missing = ts_node_is_missing(node);
    record.is_extra = ts_node_is_extra(node);
    data->error_count += symbol == kErrorSymbol || record.is_missing;
    const auto index = static_cast<uint32_t>(data->nodes.size());
    data->nodes.push_back(record);
    if (ts_tree_cursor_goto_first_child(&cursor)) {
      parent = index;
      continue;
    }
    data->nodes[index].subtree_end = index + 1;
    while (!ts_tree_cursor_goto_next_sibling(&cursor)) {
      if (!ts_tree_cursor_goto_parent(&cursor)) {
        ts_tree_cursor_delete(&cursor);
        data->nodes[0].subtree_end = data->nodes.size();
        return;
      }
      data->nodes[parent].subtree_end = data->nodes.size();
      parent = data->nodes[parent].parent;
    }
  }
}

std::pair<uint32_t, uint32_t> RowAndColumn(const TreeData& tree,
                                           uint32_t byte) {
  const auto behind =
      std::upper_bound(tree.line_starts.begin(), tree.line_starts.end(), byte);
  return {behind - tree.line_starts.begin() - 1, byte - *(behind - 1)};
}

}  // namespace

uint32_t SyntaxNode::start_row() const {
  return RowAndColumn(*tree_, start_byte()).first;
}
uint32_t SyntaxNode::start_column() const {
  return RowAndColumn(*tree_, start_byte()).second;
}
uint32_t SyntaxNode::end_row() const {
  return RowAndColumn(*tree_, end_byte()).first;
}
uint32_t SyntaxNode::end_column() const {
  return RowAndColumn(*tree_, end_byte()).second;
}

size_t SyntaxNode::child_count() const {
  return std::distance(children().begin(), children().end());
}

SyntaxNode SyntaxNode::child(size_t i) const {
  for (const SyntaxNode child : children()) {
    if (i-- == 0) return child;
  }
  return SyntaxNode();
}

SyntaxNode SyntaxNode::ChildByField(absl::string_view field) const {
  for (const SyntaxNode child : children()) {
    if (child.field() == field) return child;
  }
  return SyntaxNode();
}

SyntaxNode SyntaxNode::ChildByType(absl::string_view type) const {
  for (const SyntaxNode child : children()) {
    if (child.type() == type) return child;
  }
  return SyntaxNode();
}

absl::StatusOr<SyntaxTree> SyntaxTree::Parse(CodeLanguage language,
                                             std::string source,
                                             const ParseLimits& limits) {
  const int64_t most = std::min<int64_t>(
      limits.max_bytes, std::numeric_limits<uint32_t>::max() / 2);
  if (static_cast<int64_t>(source.size()) > most) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a ", LanguageName(language), " source of ", source.size(),
                     " bytes is beyond the limit of ", most,
                     ": split it or raise the limit"));
  }
  const Parser parser(ts_parser_new(), &ts_parser_delete);
  if (!ts_parser_set_language(parser.get(), TreeSitterLanguage(language))) {
    return absl::InternalError(
        absl::StrCat("the grammar of ", LanguageName(language),
                     " does not fit this version of tree-sitter"));
  }
  if (limits.max_seconds > 0) {
    ts_parser_set_timeout_micros(
        parser.get(), static_cast<uint64_t>(limits.max_seconds * 1e6));
  }
  const Tree tree(ts_parser_parse_string(parser.get(), nullptr, source.data(),
                                         source.size()),
                  &ts_tree_delete);
  if (tree == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "parsing a ", LanguageName(language), " source of ", source.size(),
        " bytes took more than ", limits.max_seconds, " seconds"));
  }
  auto data = std::make_unique<TreeData>();
  data->language = language;
  data->source = std::move(source);
  data->grammar = &GrammarOf(language);
  data->line_starts.push_back(0);
  for (uint32_t i = 0; i < data->source.size(); ++i) {
    if (data->source[i] == '\n') data->line_starts.push_back(i + 1);
  }
  CopyNodes(tree.get(), data.get());
  return SyntaxTree(std::move(data));
}

std::vector<std::string> LiteralTokens(CodeLanguage language) {
  const TSLanguage* grammar = TreeSitterLanguage(language);
  std::vector<std::string> tokens;
  for (uint32_t i = 1; i < ts_language_symbol_count(grammar); ++i) {
    if (ts_language_symbol_type(grammar, i) == TSSymbolTypeAnonymous) {
      tokens.push_back(ts_language_symbol_name(grammar, i));
    }
  }
  return tokens;
}

}  // namespace repro::code
