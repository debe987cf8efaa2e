// What a program of Java, Python, C++ or Go declares and uses, as far as
// CodeIF's instructions ask for it. By syntax alone: names are not resolved.
//
//   REPRO_ASSIGN_OR_RETURN(const Program program,
//                          Program::Parse(CodeLanguage::kGo, CodeOf(answer)));
//   for (const Variable& variable : program.variables()) Use(variable.name);
#ifndef REPRO_PAPERS_CODE_IF_PROGRAM_H_
#define REPRO_PAPERS_CODE_IF_PROGRAM_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"
#include "common/code/scopes.h"
#include "common/code/syntax_tree.h"

namespace repro::code_if {

// Whether a program does something: kUnclear where readers could disagree or
// syntax alone does not tell.
enum class Evidence { kNo, kUnclear, kYes };

inline Evidence EvidenceOf(bool yes) {
  return yes ? Evidence::kYes : Evidence::kNo;
}

enum class VariableKind {
  kGlobal,  // of a module, file, package or namespace; Java: a static field
  kField,   // of a class or object
  kLocal,   // in a function, loop variables too
  kParameter,
};

struct Variable {
  std::string name;
  VariableKind kind;
  std::string type;             // as written; empty if none is
  std::string value;            // as first written; empty if none is
  code::SyntaxNode value_node;  // null if there is none
  // Java: final; C++: const, constexpr, unclear for pointers; Go: const.
  // Python: kYes for a name in capitals that is assigned once and for Final,
  // kNo for what is assigned again.
  Evidence constant = Evidence::kNo;
};

struct FunctionFact {
  std::string name;
  std::string owner;  // the class, or Go's receiver; empty if there is none
  std::vector<std::string> parameters;  // without self and cls
  std::string return_type;              // as written; empty if there is none
  int64_t num_lines = 0;                // from its own first line; 0: no body
  bool is_constructor = false;          // of Java, C++ and Python
  bool overrides = false;  // its name is another's choice: @Override, __eq__
};

enum class TypeKind {
  kClass,  // Go: struct
  // Java, Go: interface. C++: a class with a pure virtual function. Python: one
  // of ABC or Protocol, or with an abstract method.
  kInterface,
  kEnum,
  kOther,
};

struct TypeFact {
  std::string name;
  TypeKind kind;
  std::vector<std::string> bases;  // as written, without type arguments
  std::vector<std::string> fields;
  std::vector<std::string> methods;
};

struct Import {
  std::string path;   // "java.util.*", "numpy.random", "vector", "net/http"
  std::string local;  // the name it has here: "np", "http"; empty if none
  std::vector<std::string> names;  // Python: from path import these
};

// The code of a chat model's answer: its fenced blocks, one after the other,
// or all of it if it has none. A fence that is not closed runs to the end.
std::string CodeOf(absl::string_view answer);

// Far more than the 4,096 tokens that a model may answer.
inline constexpr int64_t kMaxProgramBytes = int64_t{256} << 10;

// Immutable, move-only.
class Program {
 public:
  // ResourceExhausted: more than kMaxProgramBytes, or too long to parse;
  // InvalidArgument: another language.
  static absl::StatusOr<Program> Parse(code::CodeLanguage language,
                                       std::string source);

  code::CodeLanguage language() const { return tree_.language(); }
  const code::SyntaxTree& tree() const { return tree_; }
  // Parts that the grammar could not read: what is said below is incomplete.
  bool has_errors() const { return tree_.error_count() > 0; }

  // In source order; of Python each name once a scope.
  const std::vector<Variable>& variables() const { return variables_; }
  // Methods, constructors and declarations without a body included.
  const std::vector<FunctionFact>& functions() const { return functions_; }
  const std::vector<TypeFact>& types() const { return types_; }
  const std::vector<Import>& imports() const { return imports_; }
  const std::vector<code::Call>& calls() const { return calls_; }
  // Java's and Go's package; C++: namespaces, "a::b" and its parts.
  const std::vector<std::string>& packages() const { return packages_; }

  // Leaves outside of comments and literals.
  const std::vector<code::SyntaxNode>& words() const { return words_; }
  bool HasNode(absl::string_view type) const;

  const TypeFact* FindType(absl::string_view name) const;

 private:
  explicit Program(code::SyntaxTree tree) : tree_(std::move(tree)) {}
  void ReadWords();
  void ReadPython();
  void ReadJava();
  void ReadCpp();
  void ReadGo();
  void ReadFunctions();

  code::SyntaxTree tree_;
  std::vector<Variable> variables_;
  std::vector<FunctionFact> functions_;
  std::vector<TypeFact> types_;
  std::vector<Import> imports_;
  std::vector<code::Call> calls_;
  std::vector<std::string> packages_;
  std::vector<code::SyntaxNode> words_;
};

}  // namespace repro::code_if

#endif  // REPRO_PAPERS_CODE_IF_PROGRAM_H_
