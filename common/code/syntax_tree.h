#ifndef REPRO_COMMON_CODE_SYNTAX_TREE_H_
#define REPRO_COMMON_CODE_SYNTAX_TREE_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"

// Concrete syntax trees by tree-sitter.
//
//   REPRO_ASSIGN_OR_RETURN(const SyntaxTree tree,
//                          SyntaxTree::Parse(CodeLanguage::kPython, source));
//   for (SyntaxNode node : tree.nodes()) {
//     if (node.type() == "call") Use(node.ChildByField("function").text());
//   }
namespace repro::code {

namespace internal {

// One node; a tree is the vector of its nodes in pre-order. 24 bytes.
struct NodeRecord {
  uint32_t start;
  uint32_t end;
  uint32_t parent;       // the root is its own
  uint32_t subtree_end;  // one behind the last descendant
  uint16_t symbol;
  uint16_t field;  // 0: none
  bool is_named;
  bool is_missing;
  bool is_extra;
};

// The names of a grammar's node types and fields, by number.
struct Grammar {
  std::vector<std::string> types;
  std::vector<std::string> fields;
};

struct TreeData {
  CodeLanguage language;
  std::string source;
  const Grammar* grammar;
  std::vector<NodeRecord> nodes;
  std::vector<uint32_t> line_starts;
  int64_t error_count = 0;
};

}  // namespace internal

class SyntaxNodes;
class SyntaxChildren;

// A node of a tree that outlives it, moved or not. Cheap to copy. The null
// node, which stands for "there is none", may only be tested.
class SyntaxNode {
 public:
  SyntaxNode() = default;
  SyntaxNode(const internal::TreeData* tree, uint32_t index)
      : tree_(tree), index_(index) {}

  explicit operator bool() const { return tree_ != nullptr; }
  friend bool operator==(SyntaxNode a, SyntaxNode b) {
    return a.tree_ == b.tree_ && a.index_ == b.index_;
  }
  friend bool operator!=(SyntaxNode a, SyntaxNode b) { return !(a == b); }

  // The grammar's name of the node: "function_definition", or the token itself
  // where is_named() is false. "ERROR" for what could not be parsed.
  absl::string_view type() const {
    return tree_->grammar->types[record().symbol];
  }
  // A small number for type(), the same in all trees of a language.
  uint16_t symbol() const { return record().symbol; }
  bool is_named() const { return record().is_named; }
  // Put in by the parser where the grammar wants a token: has no bytes.
  bool is_missing() const { return record().is_missing; }
  // Allowed anywhere by the grammar, as comments are.
  bool is_extra() const { return record().is_extra; }

  // In bytes of the source.
  uint32_t start_byte() const { return record().start; }
  uint32_t end_byte() const { return record().end; }
  // From 0; columns in bytes.
  uint32_t start_row() const;
  uint32_t start_column() const;
  uint32_t end_row() const;
  uint32_t end_column() const;
  absl::string_view text() const;

  // The place of the node in pre-order; the root is 0. A node's descendants
  // have the numbers behind its own, up to subtree_end().
  uint32_t index() const { return index_; }
  uint32_t subtree_end() const { return record().subtree_end; }
  bool is_leaf() const { return record().subtree_end == index_ + 1; }

  // Null for the root.
  SyntaxNode parent() const;
  // For range-for, in source order.
  SyntaxChildren children() const;
  // Both linear in the number of children; null when `i` is out of range.
  size_t child_count() const;
  SyntaxNode child(size_t i) const;
  // The first child with this field name; null if there is none.
  SyntaxNode ChildByField(absl::string_view field) const;
  // The first child of this type; null if there is none.
  SyntaxNode ChildByType(absl::string_view type) const;
  // The name under which the parent holds the node; empty if it has none.
  absl::string_view field() const {
    return tree_->grammar->fields[record().field];
  }
  // This node and all below it, in pre-order, for range-for.
  SyntaxNodes subtree() const;

 private:
  const internal::NodeRecord& record() const { return tree_->nodes[index_]; }

  const internal::TreeData* tree_ = nullptr;
  uint32_t index_ = 0;
};

namespace internal {

template <bool kSiblings>
class NodeIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = SyntaxNode;
  using difference_type = std::ptrdiff_t;
  using pointer = const SyntaxNode*;
  using reference = SyntaxNode;

  NodeIterator(const TreeData* tree, uint32_t index)
      : tree_(tree), index_(index) {}
  SyntaxNode operator*() const { return SyntaxNode(tree_, index_); }
  NodeIterator& operator++() {
    index_ = kSiblings ? tree_->nodes[index_].subtree_end : index_ + 1;
    return *this;
  }
  friend bool operator==(NodeIterator a, NodeIterator b) {
    return a.index_ == b.index_;
  }
  friend bool operator!=(NodeIterator a, NodeIterator b) {
    return a.index_ != b.index_;
  }

 private:
  const TreeData* tree_;
  uint32_t index_;
};

template <bool kSiblings>
class NodeRange {
 public:
  NodeRange(const TreeData* tree, uint32_t begin, uint32_t end)
      : tree_(tree), begin_(begin), end_(end) {}
  NodeIterator<kSiblings> begin() const { return {tree_, begin_}; }
  NodeIterator<kSiblings> end() const { return {tree_, end_}; }

 private:
  const TreeData* tree_;
  uint32_t begin_;
  uint32_t end_;
};

}  // namespace internal

class SyntaxNodes : public internal::NodeRange<false> {
  using NodeRange::NodeRange;
};
class SyntaxChildren : public internal::NodeRange<true> {
  using NodeRange::NodeRange;
};

inline SyntaxChildren SyntaxNode::children() const {
  return SyntaxChildren(tree_, index_ + 1, record().subtree_end);
}
inline SyntaxNodes SyntaxNode::subtree() const {
  return SyntaxNodes(tree_, index_, record().subtree_end);
}
inline SyntaxNode SyntaxNode::parent() const {
  return index_ == 0 ? SyntaxNode() : SyntaxNode(tree_, record().parent);
}
inline absl::string_view SyntaxNode::text() const {
  return absl::string_view(tree_->source)
      .substr(record().start, record().end - record().start);
}

struct ParseLimits {
  int64_t max_bytes = int64_t{64} << 20;
  double max_seconds = 120;  // 0: no limit
};

// A source text and its syntax tree. Immutable, move-only; safe to read from
// several threads.
class SyntaxTree {
 public:
  // Wrong syntax is no error: the tree holds what could be parsed, and
  // error_count() says in how many places it could not. Any bytes will do;
  // PHP begins outside of "<?php". ResourceExhausted: beyond a limit.
  static absl::StatusOr<SyntaxTree> Parse(CodeLanguage language,
                                          std::string source,
                                          const ParseLimits& limits = {});

  CodeLanguage language() const { return data_->language; }
  const std::string& source() const { return data_->source; }
  SyntaxNode root() const { return SyntaxNode(data_.get(), 0); }
  // All nodes in pre-order; node(i).index() == i.
  SyntaxNodes nodes() const { return root().subtree(); }
  size_t node_count() const { return data_->nodes.size(); }
  SyntaxNode node(uint32_t index) const {
    return SyntaxNode(data_.get(), index);
  }
  // ERROR and MISSING nodes.
  int64_t error_count() const { return data_->error_count; }

  // The number of node types: SyntaxNode::symbol() is below it.
  size_t symbol_count() const { return data_->grammar->types.size(); }
  absl::string_view SymbolName(uint16_t symbol) const {
    return data_->grammar->types[symbol];
  }

 private:
  explicit SyntaxTree(std::unique_ptr<internal::TreeData> data)
      : data_(std::move(data)) {}

  std::unique_ptr<const internal::TreeData> data_;
};

// The keywords, operators and punctuation of a grammar: the tokens that it has
// no name for.
std::vector<std::string> LiteralTokens(CodeLanguage language);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_SYNTAX_TREE_H_
