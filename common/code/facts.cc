#include "common/code/facts.h"

#include <algorithm>
#include <array>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace repro::code {
namespace {

// Parts of the type of an identifier's parent, and the role that they give it.
// The first that fits counts.
struct RoleRule {
  absl::string_view part;
  IdentifierRole role;
};

const std::vector<RoleRule>& RulesOf(CodeLanguage language) {
  using Role = IdentifierRole;
  static const auto* const python = new std::vector<RoleRule>{
      {"parameters", Role::kParameter},
      {"return_statement", Role::kReturned},
      {"call", Role::kMethodInvocation},
      {"argument_list", Role::kMethodArgument},
      {"assignment", Role::kAssignment},
      {"attribute", Role::kAccess},
      {"dotted_name", Role::kAccess},
  };
  static const auto* const java = new std::vector<RoleRule>{
      {"formal_parameter", Role::kParameter},
      {"return_statement", Role::kReturned},
      {"method_invocation", Role::kMethodInvocation},
      {"argument_list", Role::kMethodArgument},
      {"variable_declarator", Role::kAssignment},
      {"assignment", Role::kAssignment},
      {"field_access", Role::kAccess},
  };
  static const auto* const others = new std::vector<RoleRule>{
      {"parameter", Role::kParameter},
      {"return", Role::kReturned},
      {"call", Role::kMethodInvocation},
      {"argument", Role::kMethodArgument},
      {"assignment", Role::kAssignment},
      {"variable_declarator", Role::kAssignment},
      {"short_var_declaration", Role::kAssignment},
      {"member", Role::kAccess},
      {"selector", Role::kAccess},
      {"scope", Role::kAccess},
  };
  static const auto* const none = new std::vector<RoleRule>;
  switch (language) {
    case CodeLanguage::kPython:
      return *python;
    case CodeLanguage::kJava:
      return *java;
    case CodeLanguage::kJavaScript:
    case CodeLanguage::kGo:
    case CodeLanguage::kPhp:
    case CodeLanguage::kRuby:
      return *others;
    default:
      return *none;
  }
}

}  // namespace

const char* RoleHeading(IdentifierRole role) {
  switch (role) {
    case IdentifierRole::kParameter:
      return "Parameters of the function";
    case IdentifierRole::kReturned:
      return "Identifier to be returned";
    case IdentifierRole::kMethodInvocation:
      return "Method Invocation";
    case IdentifierRole::kMethodArgument:
      return "Method Arguments";
    case IdentifierRole::kAssignment:
      return "Assigments";
    case IdentifierRole::kAccess:
      return "Identifier to access attribute/dotted name";
  }
  return "";
}

std::vector<RoleIdentifiers> IdentifiersByRole(
    const SyntaxTree& tree, absl::string_view function_name) {
  const std::vector<RoleRule>& rules = RulesOf(tree.language());
  // PHP's variable is a node with its `$`.
  const absl::string_view identifier =
      tree.language() == CodeLanguage::kPhp ? "variable_name" : "identifier";
  std::array<std::vector<std::string>, kIdentifierRoles> found;
  std::array<absl::flat_hash_set<std::string>, kIdentifierRoles> seen;
  for (const SyntaxNode node : tree.nodes()) {
    if (node.type() != identifier || node.text() == function_name) continue;
    const SyntaxNode parent = node.parent();
    if (!parent) continue;
    for (const RoleRule& rule : rules) {
      if (!absl::StrContains(parent.type(), rule.part)) continue;
      const auto role = static_cast<size_t>(rule.role);
      std::string text(node.text());
      if (seen[role].insert(text).second) {
        found[role].push_back(std::move(text));
      }
      break;
    }
  }
  std::vector<RoleIdentifiers> roles;
  for (int i = 0; i < kIdentifierRoles; ++i) {
    if (found[i].empty()) continue;
    roles.push_back({static_cast<IdentifierRole>(i), std::move(found[i])});
  }
  return roles;
}

std::string FormatIdentifiers(const std::vector<RoleIdentifiers>& roles,
                              absl::string_view qualified_name) {
  std::string text;
  for (const RoleIdentifiers& role : roles) {
    absl::StrAppend(&text, RoleHeading(role.role), ": ['",
                    absl::StrJoin(role.identifiers, "', '"), "']\n");
  }
  absl::StrAppend(&text, "Function name: ", qualified_name);
  return text;
}

std::vector<DataFlowGroup> GroupDataFlow(const DataFlowGraph& graph) {
  std::vector<DataFlowGroup> groups;
  absl::flat_hash_map<std::pair<std::string, std::vector<int>>, size_t> place;
  for (const DataFlowEdge& edge : graph.edges) {
    const auto [found, is_new] = place.emplace(
        std::make_pair(edge.token, edge.source_indexes), groups.size());
    if (is_new) groups.push_back({edge.token, edge.source_indexes, {}});
    groups[found->second].token_indexes.push_back(edge.token_index);
  }
  return groups;
}

std::string FormatDataFlow(const DataFlowGraph& graph, int max_lines) {
  const std::vector<DataFlowGroup> groups = GroupDataFlow(graph);
  if (groups.empty()) return "No DFG available";
  std::vector<std::string> lines;
  for (const DataFlowGroup& group : groups) {
    if (static_cast<int>(lines.size()) >= max_lines) break;
    lines.push_back(absl::StrCat(
        group.name, "-[", absl::StrJoin(group.source_indexes, ", "), "] -> [",
        absl::StrJoin(group.token_indexes, ", "), "]"));
  }
  return absl::StrJoin(lines, "\n");
}

}  // namespace repro::code
