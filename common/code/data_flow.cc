#include "common/code/data_flow.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/code/tokens.h"
#include "common/status/macros.h"

namespace repro::code {
namespace {

// What the rules do at a node, by its type.
enum class Role : uint8_t {
  kPlain,       // the children in order
  kDefinition,  // name comes from value
  kAssignment,  // left is computed from right
  kIncrement,   // each variable is computed from each
  kBranch,
  kFor,      // C's loop: once, then again what stands behind the declaration
  kForEach,  // twice: sequence, variable computed from it, body
  kWhile,    // twice all children
};

// How branches meet again, and which of the children are alternatives.
enum class BranchStyle {
  kAlternatives,     // children of the listed types begin at the entry
  kFromFirst,        // and all children behind the first such one
  kFromFirstOrSkip,  // and the entry's state joins even if there is an else
};

using Types = std::vector<absl::string_view>;

// The rules of a language as data. Field names are the grammar's.
struct Rules {
  Types definition;
  absl::string_view definition_value = "value";
  Types assignment;
  Types increment;
  Types branch;        // nodes that branch
  Types alternatives;  // their children that begin at the entry
  BranchStyle branch_style = BranchStyle::kFromFirst;
  Types loop;
  // Behind a child of this type the second round of `loop` begins.
  absl::string_view loop_head;
  Types for_each;
  absl::string_view for_each_name;
  absl::string_view for_each_value;
  Types while_loop;
  // Children that come before their siblings.
  Types first;
  // Assignments pair the elements of equally long lists.
  bool paired = false;
};

Rules MakeRules(CodeLanguage language) {
  Rules rules;
  switch (language) {
    case CodeLanguage::kPython:
      rules.definition = {"default_parameter"};
      rules.assignment = {"assignment", "augmented_assignment",
                          "for_in_clause"};
      rules.branch = {"if_statement"};
      rules.alternatives = {"elif_clause", "else_clause"};
      rules.branch_style = BranchStyle::kAlternatives;
      rules.for_each = {"for_statement"};
      rules.for_each_name = "left";
      rules.for_each_value = "right";
      rules.while_loop = {"while_statement"};
      rules.first = {"for_in_clause"};
      rules.paired = true;
      break;
    case CodeLanguage::kJava:
      rules.definition = {"variable_declarator"};
      rules.assignment = {"assignment_expression"};
      rules.increment = {"update_expression"};
      rules.branch = {"if_statement", "else"};
      rules.loop = {"for_statement"};
      rules.loop_head = "local_variable_declaration";
      rules.for_each = {"enhanced_for_statement"};
      rules.for_each_name = "name";
      rules.for_each_value = "value";
      rules.while_loop = {"while_statement"};
      break;
    case CodeLanguage::kCSharp:
      rules.definition = {"variable_declarator"};
      rules.assignment = {"assignment_expression"};
      rules.increment = {"postfix_unary_expression"};
      rules.branch = {"if_statement", "else"};
      rules.loop = {"for_statement"};
      rules.loop_head = "local_variable_declaration";
      rules.for_each = {"for_each_statement"};
      rules.for_each_name = "left";
      rules.for_each_value = "right";
      rules.while_loop = {"while_statement"};
      break;
    case CodeLanguage::kJavaScript:
      rules.definition = {"variable_declarator"};
      rules.assignment = {"assignment_pattern",
                          "augmented_assignment_expression"};
      rules.increment = {"update_expression"};
      // Grammars since 2021 put the alternative into an else_clause.
      rules.branch = {"if_statement", "else", "else_clause"};
      rules.branch_style = BranchStyle::kFromFirstOrSkip;
      rules.loop = {"for_statement"};
      rules.loop_head = "variable_declaration";
      rules.while_loop = {"while_statement"};
      break;
    case CodeLanguage::kGo:
      rules.definition = {"var_spec"};
      rules.assignment = {"assignment_statement"};
      rules.increment = {"inc_statement"};
      rules.branch = {"if_statement", "else"};
      rules.branch_style = BranchStyle::kFromFirstOrSkip;
      rules.loop = {"for_statement"};
      rules.loop_head = "for_clause";
      break;
    case CodeLanguage::kPhp:
      rules.definition = {"simple_parameter"};
      rules.definition_value = "default_value";
      rules.assignment = {"assignment_expression",
                          "augmented_assignment_expression"};
      rules.increment = {"update_expression"};
      rules.branch = {"if_statement", "else_clause"};
      rules.branch_style = BranchStyle::kFromFirstOrSkip;
      rules.loop = {"for_statement"};
      rules.loop_head = "assignment_expression";
      rules.for_each = {"foreach_statement"};
      rules.while_loop = {"while_statement"};
      break;
    case CodeLanguage::kRuby:
      rules.definition = {"keyword_parameter"};
      rules.assignment = {"assignment", "operator_assignment"};
      rules.branch = {"if", "elsif", "else", "unless", "when"};
      rules.branch_style = BranchStyle::kAlternatives;
      rules.for_each = {"for"};
      rules.for_each_name = "pattern";
      rules.for_each_value = "value";
      rules.while_loop = {"while_modifier", "until"};
      rules.paired = true;
      break;
    case CodeLanguage::kC:
    case CodeLanguage::kCpp:
      break;
  }
  if (rules.alternatives.empty()) rules.alternatives = rules.branch;
  return rules;
}

bool Contains(const Types& types, absl::string_view type) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

// Rules with the types as symbols of the grammar.
struct Table {
  Rules rules;
  std::vector<Role> roles;
  std::vector<bool> is_alternative;
  std::vector<bool> names_else;
  std::vector<bool> is_first;
  std::vector<bool> is_whole;  // one token, whatever its children
};

Table MakeTable(const SyntaxTree& tree) {
  Table table;
  table.rules = MakeRules(tree.language());
  const Rules& rules = table.rules;
  for (size_t i = 0; i < tree.symbol_count(); ++i) {
    const absl::string_view type = tree.SymbolName(i);
    table.roles.push_back(Contains(rules.definition, type)   ? Role::kDefinition
                          : Contains(rules.assignment, type) ? Role::kAssignment
                          : Contains(rules.increment, type)  ? Role::kIncrement
                          : Contains(rules.branch, type)     ? Role::kBranch
                          : Contains(rules.loop, type)       ? Role::kFor
                          : Contains(rules.for_each, type)   ? Role::kForEach
                          : Contains(rules.while_loop, type) ? Role::kWhile
                                                             : Role::kPlain);
    table.is_alternative.push_back(Contains(rules.alternatives, type));
    table.names_else.push_back(absl::StrContains(type, "else"));
    table.is_first.push_back(Contains(rules.first, type));
    table.is_whole.push_back(type == "string" || type == "string_literal" ||
                             type == "character_literal");
  }
  return table;
}

// The first tree of a language gives its table; all have the same symbols.
const Table& TableOf(const SyntaxTree& tree) {
  static std::array<std::once_flag, kCodeLanguages.size()> once;
  static std::array<const Table*, kCodeLanguages.size()> tables;
  const auto language = static_cast<size_t>(tree.language());
  std::call_once(once[language],
                 [&] { tables[language] = new Table(MakeTable(tree)); });
  return *tables[language];
}

// Where each variable was last set: a list of token numbers for each name,
// kUnset before. A journal undoes changes, so that a branch costs what it
// changes and not the number of variables.
class State {
 public:
  using List = int32_t;
  static constexpr List kUnset = -1;
  struct Change {
    int name;
    List list;
  };

  explicit State(size_t names) : lists_of_(names, kUnset) {}

  List Of(int name) const { return lists_of_[name]; }
  const std::vector<int>& Indexes(List list) const { return lists_[list]; }

  List NewList(std::vector<int> indexes) {
    lists_.push_back(std::move(indexes));
    return lists_.size() - 1;
  }
  void Set(int name, int index) { Assign({name, NewList({index})}); }
  void Assign(Change change) {
    journal_.push_back({change.name, lists_of_[change.name]});
    lists_of_[change.name] = change.list;
  }

  size_t Mark() const { return journal_.size(); }
  // Goes back to the state at the mark; what had changed since, once a name.
  std::vector<Change> Undo(size_t mark) {
    std::vector<Change> changes;
    for (size_t i = mark; i < journal_.size(); ++i) {
      changes.push_back({journal_[i].name, lists_of_[journal_[i].name]});
    }
    while (journal_.size() > mark) {
      lists_of_[journal_.back().name] = journal_.back().list;
      journal_.pop_back();
    }
    std::sort(changes.begin(), changes.end(),
              [](Change a, Change b) { return a.name < b.name; });
    changes.erase(
        std::unique(changes.begin(), changes.end(),
                    [](Change a, Change b) { return a.name == b.name; }),
        changes.end());
    return changes;
  }

 private:
  std::vector<List> lists_of_;
  std::vector<std::vector<int>> lists_;
  std::vector<Change> journal_;
};

// Carries the rules out. Each is a few operations on a stack of its own, so
// that nesting costs no stack of the program.
class Walker {
 public:
  Walker(const SyntaxTree& tree, const Table& table, int64_t max_steps)
      : tree_(tree), table_(table), steps_left_(max_steps) {
    CollectTokens();
  }

  std::vector<std::string> TakeTokens() { return std::move(tokens_); }

  absl::StatusOr<std::vector<DataFlowEdge>> Run() {
    state_ = std::make_unique<State>(names_.size());
    Push({Kind::kVisit, 0, 0});
    while (!operations_.empty()) {
      if (--steps_left_ < 0) {
        return absl::ResourceExhaustedError(absl::StrCat(
            "the data flow of a ", LanguageName(tree_.language()),
            " source of ", tree_.source().size(),
            " bytes takes more steps than the limit (loops double them at each "
            "level): raise max_steps or give one function at a time"));
      }
      const Operation operation = operations_.back();
      operations_.pop_back();
      Do(operation);
      // The reference code raises an exception and has no graph then.
      if (is_malformed_) return std::vector<DataFlowEdge>();
    }
    std::stable_sort(
        edges_.begin(), edges_.end(),
        [](const Edge& a, const Edge& b) { return a.index < b.index; });
    return Public();
  }

 private:
  enum class Kind : uint8_t {
    kVisit,         // a: node
    kComesFrom,     // a, b: nodes; an edge for each pair of variables
    kComputedFrom,  // likewise
    kGather,        // likewise, but one edge from all variables of b
    kMergeEdges,    // a: the first edge of the loop
    kUseCurrent,
    kUseEntry,
    kJoin,
  };
  struct Operation {
    Kind kind;
    uint32_t a;
    uint32_t b;
  };
  struct Edge {
    int name;
    int index;
    DataFlowRelation relation;
    std::vector<int> source_names;
    std::vector<int> source_indexes;
  };
  struct Branch {
    size_t mark;
    bool joins_entry;
    bool on_current = true;
    std::vector<State::Change> current;  // while on_current is false
    std::vector<std::vector<State::Change>> others;
  };

  void Push(Operation operation) { operations_.push_back(operation); }
  // The first of them is done first.
  void PushAll(const std::vector<Operation>& operations) {
    operations_.insert(operations_.end(), operations.rbegin(),
                       operations.rend());
  }
  static Operation Visit(SyntaxNode node) {
    return {Kind::kVisit, node.index(), 0};
  }

  void CollectTokens() {
    first_token_.resize(tree_.node_count() + 1);
    for (uint32_t i = 0; i < tree_.node_count();) {
      const SyntaxNode node = tree_.node(i);
      const bool comment = IsComment(node);
      const bool token =
          !comment && (node.is_leaf() || table_.is_whole[node.symbol()]);
      const uint32_t end = token || comment ? node.subtree_end() : i + 1;
      std::fill(first_token_.begin() + i, first_token_.begin() + end,
                tokens_.size());
      if (token) {
        std::string text = absl::StrReplaceAll(node.text(), {{"\n", ""}});
        is_variable_.push_back(text != node.type());
        const auto [found, is_new] = name_ids_.emplace(text, names_.size());
        if (is_new) names_.push_back(text);
        name_of_.push_back(found->second);
        number_of_.push_back(tokens_.size());
        // Tokens without bytes at one place have the last one's number.
        if (node.start_byte() == node.end_byte()) {
          for (size_t j = number_of_.size() - 1; j-- > 0;) {
            if (starts_[j] != node.start_byte() || ends_[j] != starts_[j])
              break;
            number_of_[j] = tokens_.size();
            name_of_[j] = name_of_.back();
          }
        }
        starts_.push_back(node.start_byte());
        ends_.push_back(node.end_byte());
        tokens_.push_back(std::move(text));
      }
      i = end;
    }
    first_token_[tree_.node_count()] = tokens_.size();
  }

  std::pair<uint32_t, uint32_t> TokensOf(uint32_t node) const {
    return {first_token_[node], first_token_[tree_.node(node).subtree_end()]};
  }

  void Do(const Operation& operation) {
    switch (operation.kind) {
      case Kind::kVisit:
        return DoVisit(tree_.node(operation.a));
      case Kind::kComesFrom:
      case Kind::kComputedFrom:
      case Kind::kGather:
        return DoLink(operation);
      case Kind::kMergeEdges:
        return DoMergeEdges(operation.a);
      case Kind::kUseCurrent:
        return DoUseCurrent();
      case Kind::kUseEntry:
        return DoUseEntry();
      case Kind::kJoin:
        return DoJoin();
    }
  }

  void DoVisit(SyntaxNode node) {
    if (IsComment(node)) return;
    if (node.is_leaf() || table_.is_whole[node.symbol()]) return Leaf(node);
    switch (table_.roles[node.symbol()]) {
      case Role::kPlain:
        return VisitPlain(node);
      case Role::kDefinition:
        return VisitDefinition(node);
      case Role::kAssignment:
        return VisitAssignment(node);
      case Role::kIncrement:
        return Push({Kind::kComputedFrom, node.index(), node.index()});
      case Role::kBranch:
        return VisitBranch(node);
      case Role::kFor:
        return VisitFor(node);
      case Role::kForEach:
        return VisitForEach(node);
      case Role::kWhile:
        return VisitWhile(node);
    }
  }

  void Leaf(SyntaxNode node) {
    const uint32_t token = first_token_[node.index()];
    if (!is_variable_[token]) return;
    const int name = name_of_[token];
    const int number = number_of_[token];
    Edge edge{name, number, DataFlowRelation::kComesFrom, {}, {}};
    const State::List list = state_->Of(name);
    if (list != State::kUnset) {
      edge.source_names = {name};
      edge.source_indexes = state_->Indexes(list);
      steps_left_ -= edge.source_indexes.size();
    } else if (node.type() == "identifier") {
      state_->Set(name, number);
    }
    edges_.push_back(std::move(edge));
  }

  void VisitPlain(SyntaxNode node) {
    std::vector<Operation> operations;
    for (const bool first : {true, false}) {
      for (const SyntaxNode child : node.children()) {
        if (table_.is_first[child.symbol()] == first) {
          operations.push_back(Visit(child));
        }
      }
    }
    PushAll(operations);
  }

  void VisitDefinition(SyntaxNode node) {
    SyntaxNode name = node.ChildByField("name");
    SyntaxNode value = node.ChildByField(table_.rules.definition_value);
    if (tree_.language() == CodeLanguage::kCSharp) {
      name = node.child(0);
      // Grammars until 2020 have an equals_value_clause, of `=` and the value.
      value = SyntaxNode();
      if (node.child_count() > 1) value = node.child(node.child_count() - 1);
    }
    if (!name) return Malformed();
    if (value) {
      return PushAll(
          {Visit(value), {Kind::kComesFrom, name.index(), value.index()}});
    }
    const auto [begin, end] = TokensOf(name.index());
    for (uint32_t i = begin; i < end; ++i) {
      if (!is_variable_[i]) continue;
      edges_.push_back(
          {name_of_[i], number_of_[i], DataFlowRelation::kComesFrom, {}, {}});
      state_->Set(name_of_[i], number_of_[i]);
    }
  }

  // Lists of equal length are paired, commas aside, and so are the parts of
  // expressions that happen to be equally many. A string has no parts, as in
  // the grammars that the rules were written for.
  void Pair(SyntaxNode left, SyntaxNode right, std::vector<SyntaxNode>* lefts,
            std::vector<SyntaxNode>* rights) const {
    const auto parts = [this](SyntaxNode node) {
      std::vector<SyntaxNode> parts;
      if (table_.is_whole[node.symbol()]) return parts;
      for (const SyntaxNode child : node.children()) {
        if (child.type() != ",") parts.push_back(child);
      }
      return parts;
    };
    *lefts = parts(left);
    *rights = parts(right);
    if (lefts->empty() || lefts->size() != rights->size()) {
      *lefts = {left};
      *rights = {right};
    }
  }

  void VisitAssignment(SyntaxNode node) {
    SyntaxNode left = node.ChildByField("left");
    SyntaxNode right = node.ChildByField("right");
    if (!table_.rules.paired) {
      if (!left || !right) return Malformed();
      return PushAll(
          {Visit(right), {Kind::kComputedFrom, left.index(), right.index()}});
    }
    std::vector<SyntaxNode> lefts;
    std::vector<SyntaxNode> rights;
    if (node.type() == "for_in_clause" ||
        node.type() == "operator_assignment") {
      if (node.type() == "operator_assignment") left = node.child(0);
      right = node.child(node.child_count() - 1);
      if (!left) return Malformed();
      lefts = {left};
      rights = {right};
    } else {
      // `x: int` assigns nothing.
      if (!right && tree_.language() == CodeLanguage::kPython) return;
      if (!left || !right) return Malformed();
      Pair(left, right, &lefts, &rights);
    }
    std::vector<Operation> operations;
    for (const SyntaxNode part : rights) operations.push_back(Visit(part));
    for (size_t i = 0; i < lefts.size(); ++i) {
      operations.push_back(
          {Kind::kGather, lefts[i].index(), rights[i].index()});
    }
    PushAll(operations);
  }

  void VisitBranch(SyntaxNode node) {
    const BranchStyle style = table_.rules.branch_style;
    bool has_else = table_.names_else[node.symbol()];
    bool from_entry = false;
    std::vector<Operation> operations;
    for (const SyntaxNode child : node.children()) {
      has_else |= table_.names_else[child.symbol()];
      const bool alternative = table_.is_alternative[child.symbol()];
      from_entry =
          alternative || (from_entry && style != BranchStyle::kAlternatives);
      operations.push_back(
          {from_entry ? Kind::kUseEntry : Kind::kUseCurrent, 0, 0});
      operations.push_back(Visit(child));
    }
    operations.push_back({Kind::kJoin, 0, 0});
    branches_.push_back(
        {state_->Mark(), !has_else || style == BranchStyle::kFromFirstOrSkip});
    PushAll(operations);
  }

  void VisitFor(SyntaxNode node) {
    std::vector<Operation> operations;
    for (const SyntaxNode child : node.children()) {
      operations.push_back(Visit(child));
    }
    bool again = false;
    for (const SyntaxNode child : node.children()) {
      if (again) {
        operations.push_back(Visit(child));
      } else if (child.type() == table_.rules.loop_head) {
        again = true;
        if (tree_.language() == CodeLanguage::kGo) {
          if (const SyntaxNode update = child.ChildByField("update")) {
            operations.push_back(Visit(update));
          }
        }
      }
    }
    PushLoop(std::move(operations));
  }

  void VisitForEach(SyntaxNode node) {
    SyntaxNode name = node.ChildByField(table_.rules.for_each_name);
    SyntaxNode value = node.ChildByField(table_.rules.for_each_value);
    SyntaxNode body = node.ChildByField("body");
    const CodeLanguage language = tree_.language();
    if (language == CodeLanguage::kPhp) {
      name = value = SyntaxNode();
      for (const SyntaxNode child : node.children()) {
        if (child.type() != "variable_name") continue;
        if (value) {
          name = child;
          break;
        }
        value = child;
      }
    }
    std::vector<SyntaxNode> names = {name};
    std::vector<SyntaxNode> values = {value};
    if (!name || !value) return Malformed();
    if (language == CodeLanguage::kPython) {
      Pair(name, value, &names, &values);
      // With an `else` the reference code passes over the body.
      body = node.child(node.child_count() - 1);
      if (body.type() != "block") body = SyntaxNode();
    } else if (!body) {
      return Malformed();
    }
    const bool gathers = table_.rules.paired;
    std::vector<Operation> operations;
    for (int round = 0; round < 2; ++round) {
      for (const SyntaxNode part : values) operations.push_back(Visit(part));
      for (size_t i = 0; i < names.size(); ++i) {
        operations.push_back({gathers ? Kind::kGather : Kind::kComputedFrom,
                              names[i].index(), values[i].index()});
      }
      if (body) operations.push_back(Visit(body));
    }
    PushLoop(std::move(operations));
  }

  void VisitWhile(SyntaxNode node) {
    std::vector<Operation> operations;
    for (int round = 0; round < 2; ++round) {
      for (const SyntaxNode child : node.children()) {
        operations.push_back(Visit(child));
      }
    }
    PushLoop(std::move(operations));
  }

  void PushLoop(std::vector<Operation> operations) {
    operations.push_back(
        {Kind::kMergeEdges, static_cast<uint32_t>(edges_.size()), 0});
    PushAll(operations);
  }

  void DoLink(const Operation& operation) {
    const auto [left_begin, left_end] = TokensOf(operation.a);
    const auto [right_begin, right_end] = TokensOf(operation.b);
    const auto relation = operation.kind == Kind::kComesFrom
                              ? DataFlowRelation::kComesFrom
                              : DataFlowRelation::kComputedFrom;
    std::vector<int> names;
    std::vector<int> numbers;
    for (uint32_t j = right_begin; j < right_end; ++j) {
      if (!is_variable_[j]) continue;
      names.push_back(name_of_[j]);
      numbers.push_back(number_of_[j]);
    }
    for (uint32_t i = left_begin; i < left_end; ++i) {
      if (!is_variable_[i]) continue;
      steps_left_ -= names.size();
      if (steps_left_ < 0) return;
      if (operation.kind == Kind::kGather) {
        edges_.push_back(
            {name_of_[i], number_of_[i], relation, names, numbers});
      } else {
        for (size_t j = 0; j < names.size(); ++j) {
          edges_.push_back(
              {name_of_[i], number_of_[i], relation, {names[j]}, {numbers[j]}});
        }
      }
      state_->Set(name_of_[i], number_of_[i]);
    }
  }

  static void SortUnique(std::vector<int>* values) {
    std::sort(values->begin(), values->end());
    values->erase(std::unique(values->begin(), values->end()), values->end());
  }

  // Edges of one token and relation become one. Sources are sets then: indexes
  // in order; names too, as Python's order of a set is not one to rely on.
  void DoMergeEdges(size_t begin) {
    struct Group {
      size_t edge;
      size_t members = 1;
    };
    absl::flat_hash_map<std::tuple<int, int, DataFlowRelation>, Group> groups;
    size_t kept = begin;
    for (size_t i = begin; i < edges_.size(); ++i) {
      Edge& edge = edges_[i];
      steps_left_ -= 1 + edge.source_indexes.size();
      const auto [found, is_new] = groups.emplace(
          std::make_tuple(edge.name, edge.index, edge.relation), Group{kept});
      if (is_new) {
        if (kept != i) edges_[kept] = std::move(edge);
        ++kept;
        continue;
      }
      ++found->second.members;
      Edge& into = edges_[found->second.edge];
      into.source_names.insert(into.source_names.end(),
                               edge.source_names.begin(),
                               edge.source_names.end());
      into.source_indexes.insert(into.source_indexes.end(),
                                 edge.source_indexes.begin(),
                                 edge.source_indexes.end());
    }
    edges_.resize(kept);
    for (const auto& [key, group] : groups) {
      if (group.members == 1) continue;
      Edge& edge = edges_[group.edge];
      SortUnique(&edge.source_indexes);
      std::sort(edge.source_names.begin(), edge.source_names.end(),
                [this](int a, int b) { return names_[a] < names_[b]; });
      edge.source_names.erase(
          std::unique(edge.source_names.begin(), edge.source_names.end()),
          edge.source_names.end());
    }
  }

  // Between kUseEntry and the next kUse… or kJoin an alternative runs.
  void EndAlternative(Branch* branch) {
    if (!branch->on_current)
      branch->others.push_back(state_->Undo(branch->mark));
  }

  void DoUseCurrent() {
    Branch& branch = branches_.back();
    if (branch.on_current) return;
    EndAlternative(&branch);
    for (const State::Change& change : branch.current) state_->Assign(change);
    steps_left_ -= branch.current.size();
    branch.on_current = true;
  }

  void DoUseEntry() {
    Branch& branch = branches_.back();
    if (branch.on_current) {
      branch.current = state_->Undo(branch.mark);
      branch.on_current = false;
    } else {
      EndAlternative(&branch);
    }
  }

  // The union over all ways through the branch. A way that did not set a name
  // has the entry's list for it.
  void DoJoin() {
    Branch branch = std::move(branches_.back());
    branches_.pop_back();
    if (branch.on_current) {
      branch.current = state_->Undo(branch.mark);
    } else {
      EndAlternative(&branch);
    }
    branch.others.push_back(std::move(branch.current));
    const size_t ways = branch.others.size() + branch.joins_entry;
    struct Union {
      std::vector<int> indexes;
      size_t ways = 0;
    };
    std::map<int, Union> unions;
    for (const auto& changes : branch.others) {
      for (const State::Change& change : changes) {
        const std::vector<int>& indexes = state_->Indexes(change.list);
        steps_left_ -= 1 + indexes.size();
        Union& all = unions[change.name];
        ++all.ways;
        all.indexes.insert(all.indexes.end(), indexes.begin(), indexes.end());
      }
    }
    for (auto& [name, all] : unions) {
      const State::List entry = state_->Of(name);
      if (all.ways < ways && entry != State::kUnset) {
        const std::vector<int>& indexes = state_->Indexes(entry);
        all.indexes.insert(all.indexes.end(), indexes.begin(), indexes.end());
      }
      SortUnique(&all.indexes);
      state_->Assign({name, state_->NewList(std::move(all.indexes))});
    }
  }

  void Malformed() { is_malformed_ = true; }

  std::vector<DataFlowEdge> Public() const {
    std::vector<DataFlowEdge> edges;
    edges.reserve(edges_.size());
    for (const Edge& edge : edges_) {
      std::vector<std::string> names;
      for (const int name : edge.source_names) names.push_back(names_[name]);
      edges.push_back({names_[edge.name], edge.index, edge.relation,
                       std::move(names), edge.source_indexes});
    }
    return edges;
  }

  const SyntaxTree& tree_;
  const Table& table_;
  int64_t steps_left_;

  std::vector<std::string> tokens_;
  std::vector<uint32_t> starts_;
  std::vector<uint32_t> ends_;
  std::vector<uint32_t> first_token_;  // of each node, in the list of tokens
  std::vector<bool> is_variable_;
  std::vector<int> number_of_;
  std::vector<int> name_of_;
  std::vector<std::string> names_;
  absl::flat_hash_map<std::string, int> name_ids_;

  std::unique_ptr<State> state_;
  std::vector<Operation> operations_;
  std::vector<Branch> branches_;
  std::vector<Edge> edges_;
  bool is_malformed_ = false;
};

void DropIsolated(DataFlowGraph* graph) {
  std::vector<bool> linked(graph->tokens.size());
  for (const DataFlowEdge& edge : graph->edges) {
    if (!edge.source_indexes.empty()) linked[edge.token_index] = true;
    for (const int index : edge.source_indexes) linked[index] = true;
  }
  graph->edges.erase(std::remove_if(graph->edges.begin(), graph->edges.end(),
                                    [&](const DataFlowEdge& edge) {
                                      return !linked[edge.token_index];
                                    }),
                     graph->edges.end());
}

}  // namespace

const char* RelationName(DataFlowRelation relation) {
  return relation == DataFlowRelation::kComesFrom ? "comesFrom"
                                                  : "computedFrom";
}

bool HasDataFlow(CodeLanguage language) {
  return language != CodeLanguage::kC && language != CodeLanguage::kCpp;
}

absl::StatusOr<DataFlowGraph> DataFlow(const SyntaxTree& tree,
                                       const DataFlowOptions& options) {
  if (!HasDataFlow(tree.language())) {
    return absl::UnimplementedError(absl::StrCat(
        "there are no data-flow rules for ", LanguageName(tree.language())));
  }
  Walker walker(tree, TableOf(tree), options.max_steps);
  DataFlowGraph graph;
  REPRO_ASSIGN_OR_RETURN(graph.edges, walker.Run());
  graph.tokens = walker.TakeTokens();
  if (!options.keep_isolated) DropIsolated(&graph);
  return graph;
}

absl::StatusOr<DataFlowGraph> DataFlow(CodeLanguage language,
                                       absl::string_view source,
                                       const DataFlowOptions& options) {
  std::string text = RemoveCommentsLexically(language, source);
  if (language == CodeLanguage::kPhp) text = absl::StrCat("<?php", text, "?>");
  REPRO_ASSIGN_OR_RETURN(const SyntaxTree tree,
                         SyntaxTree::Parse(language, std::move(text)));
  return DataFlow(tree, options);
}

}  // namespace repro::code
