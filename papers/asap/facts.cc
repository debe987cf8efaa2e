#include "papers/asap/facts.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/code/data_flow.h"
#include "common/status/macros.h"

namespace repro::asap {
namespace {

using code::CodeLanguage;

constexpr size_t kMaxDataFlowLines = 30;

// How a language's grammar calls the parent of an identifier, and how prompts
// call its role.
struct RoleRule {
  absl::string_view parent;
  absl::string_view heading;
  bool is_part = false;  // `parent` is only a part of the name
  absl::string_view other_part = {};
};
// In the order of IdentifierRole.
using RoleRules = std::array<RoleRule, 6>;

const RoleRules* RulesOf(CodeLanguage language) {
  static constexpr RoleRules kPython = {{
      {"parameters", "Parameters of the function"},
      {"return_statement", "Identifier to be returned"},
      {"call", "Method Invocation"},
      {"argument_list", "Method Arguments"},
      {"assignment", "Assigments"},
      {"attribute", "Identifier to access attribute/dotted name", true,
       "dotted_name"},
  }};
  static constexpr RoleRules kJava = {{
      {"formal_parameter", "Parameters of the function"},
      {"return_statement", "Identifier to be returned"},
      {"method_invocation", "Method Invocation"},
      {"argument_list", "Method Arguments"},
      {"variable_declarator", "Variable declaration"},
      {"access", "Identifier to access field/array", true},
  }};
  if (language == CodeLanguage::kPython) return &kPython;
  if (language == CodeLanguage::kJava) return &kJava;
  return nullptr;
}

bool Fits(const RoleRule& rule, absl::string_view parent) {
  if (!rule.is_part) return parent == rule.parent;
  return absl::StrContains(parent, rule.parent) ||
         (!rule.other_part.empty() &&
          absl::StrContains(parent, rule.other_part));
}

std::string PythonList(const std::vector<std::string>& identifiers) {
  return absl::StrCat("['", absl::StrJoin(identifiers, "', '"), "']");
}

std::string PythonList(const std::vector<int>& numbers) {
  return absl::StrCat("[", absl::StrJoin(numbers, ", "), "]");
}

}  // namespace

std::string RepositoryFact(const CodeSample& sample) {
  return absl::StrCat(
      "Please find some info about the location of the function in the repo.\n"
      "Repo: ",
      sample.repo, "\nPath: ", sample.path,
      "\nFunction_name: ", sample.func_name);
}

std::string OwnName(absl::string_view func_name) {
  const std::vector<std::string> parts = absl::StrSplit(func_name, '.');
  return parts.size() > 1 ? parts[1] : parts[0];
}

absl::StatusOr<std::vector<RoleIdentifiers>> IdentifiersByRole(
    const code::SyntaxTree& tree, absl::string_view own_name) {
  const RoleRules* const rules = RulesOf(tree.language());
  if (rules == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat("roles of identifiers are known of Python and Java, not ",
                     code::LanguageName(tree.language())));
  }
  constexpr size_t kRoles = std::tuple_size<RoleRules>::value;
  std::array<std::vector<std::string>, kRoles> found;
  std::array<std::set<absl::string_view>, kRoles> seen;
  for (const code::SyntaxNode node : tree.nodes()) {
    if (node.type() != "identifier" || !node.is_leaf() ||
        node.text() == own_name || !node.parent()) {
      continue;
    }
    const absl::string_view parent = node.parent().type();
    const auto rule =
        std::find_if(rules->begin(), rules->end(),
                     [&](const RoleRule& r) { return Fits(r, parent); });
    if (rule == rules->end()) continue;
    const auto role = rule - rules->begin();
    if (seen[role].insert(node.text()).second) {
      found[role].emplace_back(node.text());
    }
  }
  std::vector<RoleIdentifiers> roles;
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i].empty()) continue;
    roles.push_back({static_cast<IdentifierRole>(i), std::move(found[i])});
  }
  return roles;
}

absl::StatusOr<std::string> IdentifierFact(const code::SyntaxTree& tree,
                                           absl::string_view func_name) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<RoleIdentifiers> roles,
                         IdentifiersByRole(tree, OwnName(func_name)));
  std::string fact = absl::StrCat(
      "We categorized the identifiers into different classes. Please find the "
      "information below.\nFunction name: ",
      func_name);
  for (const RoleIdentifiers& role : roles) {
    const RoleRule& rule =
        RulesOf(tree.language())->at(static_cast<size_t>(role.role));
    absl::StrAppend(&fact, "\n", rule.heading, ": ",
                    PythonList(role.identifiers));
  }
  return fact;
}

absl::StatusOr<std::string> DataFlowFact(CodeLanguage language,
                                         absl::string_view code,
                                         DataFlowGrammar grammar) {
  REPRO_ASSIGN_OR_RETURN(const code::DataFlowGraph graph,
                         code::DataFlow(grammar == DataFlowGrammar::kOwn
                                            ? language
                                            : CodeLanguage::kJavaScript,
                                        code));
  // In order of appearance, as a dictionary of Python keeps its keys.
  std::vector<std::pair<std::string, std::vector<int>>> lines;
  std::map<std::string, size_t> line_of;
  for (const code::DataFlowEdge& edge : graph.edges) {
    if (edge.source_indexes.empty()) continue;
    const std::string key =
        absl::StrCat(edge.token, "-", PythonList(edge.source_indexes));
    const auto [line, is_new] = line_of.emplace(key, lines.size());
    if (is_new) lines.push_back({key, {}});
    lines[line->second].second.push_back(edge.token_index);
  }
  std::string fact =
      "Please find the dataflow of the function. We present the source and "
      "list of target indices.";
  for (size_t i = 0; i < std::min(lines.size(), kMaxDataFlowLines); ++i) {
    absl::StrAppend(&fact, "\n", lines[i].first, " ",
                    PythonList(lines[i].second));
  }
  if (lines.empty()) absl::StrAppend(&fact, "\n", kNoDataFlow);
  return fact;
}

absl::StatusOr<SemanticFacts> ExtractFacts(const CodeSample& sample,
                                           CodeLanguage language,
                                           DataFlowGrammar grammar) {
  REPRO_ASSIGN_OR_RETURN(const code::SyntaxTree tree,
                         code::SyntaxTree::Parse(language, sample.original));
  SemanticFacts facts;
  facts.repository = RepositoryFact(sample);
  REPRO_ASSIGN_OR_RETURN(facts.identifiers,
                         IdentifierFact(tree, sample.func_name));
  REPRO_ASSIGN_OR_RETURN(facts.data_flow,
                         DataFlowFact(language, sample.original, grammar));
  return facts;
}

}  // namespace repro::asap
