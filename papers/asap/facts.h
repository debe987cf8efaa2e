// The semantic facts about a function, as texts for a prompt.
#ifndef REPRO_PAPERS_ASAP_FACTS_H_
#define REPRO_PAPERS_ASAP_FACTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"
#include "common/code/syntax_tree.h"
#include "papers/asap/code_samples.h"

namespace repro::asap {

// Where the function lies:
//   Please find some info about the location of the function in the repo.
//   Repo: tensorflow/probability
//   Path: tensorflow_probability/python/distributions/hidden_markov_model.py
//   Function_name: _extract_log_probs
std::string RepositoryFact(const CodeSample& sample);

enum class IdentifierRole {
  kParameter,
  kReturned,
  kInvocation,
  kArgument,
  kAssignment,
  kAccess,  // of an attribute, a field, an element
};

// The identifiers of a role, each once, in order of appearance.
struct RoleIdentifiers {
  IdentifierRole role;
  std::vector<std::string> identifiers;
};

// The `identifier` leaves but `own_name`, by the type of their direct parent,
// so that default and typed parameters of Python have no role. Roles without
// identifiers are left out, the others in the order of the enumeration. Node
// types are those of the authors' script for Python; theirs for other languages
// was not at hand. Java has the corresponding ones. Unimplemented: another
// language.
absl::StatusOr<std::vector<RoleIdentifiers>> IdentifiersByRole(
    const code::SyntaxTree& tree, absl::string_view own_name);

// They as text, a role a line, as Python prints a list:
//   We categorized the identifiers into different classes. Please find the
//   information below.                                        (the same line)
//   Function name: _extract_log_probs
//   Parameters of the function: ['num_states', 'dist']
// Headings are those of the authors' script for Python; Java has its own for
// assignments and accesses, as others quote them.
absl::StatusOr<std::string> IdentifierFact(const code::SyntaxTree& tree,
                                           absl::string_view func_name);

// The name that IdentifierFact leaves out. As coded, that is the second part of
// a name with points: "Inner" in "Outer.Inner.run".
std::string OwnName(absl::string_view func_name);

// Which grammar reads the code for its data flow.
enum class DataFlowGrammar {
  // That of the function's language, as published.
  kOwn,
  // JavaScript, whatever the language. The authors' script loops over all
  // languages with the variable that holds the one asked for, and so goes on
  // with the last: as coded.
  kJavaScript,
};

inline constexpr absl::string_view kNoDataFlow = "No DFG available";

// The edges of GraphCodeBERT's data flow (code::DataFlow), those of equal name
// and sources on one line, at most 30 lines, numbers of tokens in brackets:
//   Please find the dataflow of the function. We present the source and list of
//   target indices.                                           (the same line)
//   dist-[5] [34, 52]
// or the heading and kNoDataFlow. Errors: those of code::DataFlow.
absl::StatusOr<std::string> DataFlowFact(
    code::CodeLanguage language, absl::string_view code,
    DataFlowGrammar grammar = DataFlowGrammar::kOwn);

struct SemanticFacts {
  std::string repository;
  std::string identifiers;
  std::string data_flow;
};

// All of them, from the code with its docstring. Errors: those of
// SyntaxTree::Parse, IdentifiersByRole and DataFlowFact.
absl::StatusOr<SemanticFacts> ExtractFacts(
    const CodeSample& sample, code::CodeLanguage language,
    DataFlowGrammar grammar = DataFlowGrammar::kOwn);

}  // namespace repro::asap

#endif  // REPRO_PAPERS_ASAP_FACTS_H_
