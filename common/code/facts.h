#ifndef REPRO_COMMON_CODE_FACTS_H_
#define REPRO_COMMON_CODE_FACTS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/code/data_flow.h"
#include "common/code/syntax_tree.h"

// Semantic facts about a function, in the form in which Ahmed et al.,
// "Automatic Semantic Augmentation of Language Model Prompts" (ICSE 2024), put
// them into prompts.
namespace repro::code {

enum class IdentifierRole {
  kParameter,
  kReturned,
  kMethodInvocation,
  kMethodArgument,
  kAssignment,
  kAccess,  // attribute, dotted name or field
};
inline constexpr int kIdentifierRoles = 6;

// The heading of the role: "Parameters of the function", "Identifier to be
// returned", "Method Invocation", "Method Arguments", "Assigments" (spelled so
// in the original prompts), "Identifier to access attribute/dotted name".
const char* RoleHeading(IdentifierRole role);

struct RoleIdentifiers {
  IdentifierRole role;
  std::vector<std::string> identifiers;  // each once, in order of appearance
};

// Every `identifier` leaf but `function_name`, by the type of its direct
// parent (so that default and typed parameters of Python have no role). Roles
// without identifiers are left out. Python, Java, JavaScript, Go, PHP and
// Ruby; others give no roles.
std::vector<RoleIdentifiers> IdentifiersByRole(const SyntaxTree& tree,
                                               absl::string_view function_name);

// One heading and Python list a line, then "Function name: " and
// `qualified_name`:
//   Parameters of the function: ['path', 'mode']
std::string FormatIdentifiers(const std::vector<RoleIdentifiers>& roles,
                              absl::string_view qualified_name);

struct DataFlowGroup {
  std::string name;
  std::vector<int> source_indexes;
  std::vector<int> token_indexes;  // of the tokens with that name and sources
};

// The edges of a graph by name and source indexes, in order of appearance.
std::vector<DataFlowGroup> GroupDataFlow(const DataFlowGraph& graph);

// One group a line, at most `max_lines`, as "name-[sources] -> [tokens]" reads
// in Python's notation; "No DFG available" if there is none.
std::string FormatDataFlow(const DataFlowGraph& graph, int max_lines = 30);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_FACTS_H_
