#ifndef REPRO_COMMON_CODE_SCOPES_H_
#define REPRO_COMMON_CODE_SCOPES_H_

#include <string>
#include <vector>

#include "common/code/syntax_tree.h"

namespace repro::code {

enum class ScopeKind { kFile, kClass, kFunction };

struct Scope {
  ScopeKind kind;
  std::string name;  // empty for the file and for lambdas
  int parent;        // its place in the list; -1 for the file
  SyntaxNode node;
  // Names that the scope itself declares or assigns, in order of appearance,
  // each once: parameters, variables, functions and classes. Only plain names:
  // `self.x = 1` declares nothing.
  std::vector<std::string> names;
};

// The file first, then classes and functions in source order.
std::vector<Scope> ExtractScopes(const SyntaxTree& tree);

struct Call {
  std::string callee;    // as written: "os.path.join", "new Foo" gives "Foo"
  std::string name;      // its last part: "join"
  std::string receiver;  // "os.path"; empty if there is none
  std::vector<std::string> arguments;  // as written
  int scope;                           // the innermost, in ExtractScopes' list
  SyntaxNode node;
};

// All calls and object creations in source order.
std::vector<Call> ExtractCalls(const SyntaxTree& tree);

// Names of modules, packages or files that the source imports or includes, as
// written there, in order.
std::vector<std::string> ExtractImports(const SyntaxTree& tree);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_SCOPES_H_
