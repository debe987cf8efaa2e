// Deciding by rule whether a program follows an instruction, where syntax
// tells. Ours, not the paper's: it asks a language model about every
// instruction.
//
//   const Rule rule = Rule::Make(*matcher.Match(instruction),
//                                CodeLanguage::kJava);
//   if (const auto verdict = rule.Check(program)) Use(*verdict);
#ifndef REPRO_PAPERS_CODE_IF_RULES_H_
#define REPRO_PAPERS_CODE_IF_RULES_H_

#include <functional>
#include <optional>

#include "absl/strings/string_view.h"
#include "common/code/language.h"
#include "papers/code_if/program.h"
#include "papers/code_if/questions.h"

namespace repro::code_if {

// Which verdicts a rule can come to, over all programs of a language.
enum class Decidability {
  kNever,       // none: "an empty vector", a package of Python
  kOneVerdict,  // one of yes and no
  kBoth,
};

// How names that the paper asks for are spelt.
enum class Convention {
  kCamel,             // [a-z][A-Za-z0-9]*
  kPascal,            // [A-Z][A-Za-z0-9]*
  kCamelOrPascal,     // "CamelCase": Pascal, and camel is unclear
  kSnake,             // [a-z][a-z0-9_]*
  kUpper,             // [A-Z][A-Z0-9]*, and underscores are unclear
  kUpperSnake,        // [A-Z][A-Z0-9_]*
  kCapitalizedSnake,  // as kUpperSnake, and Capitalized_Words are unclear
};

// As instructions name them; nothing for another.
std::optional<Convention> ParseConvention(absl::string_view name);

Evidence Follows(absl::string_view name, Convention convention);

// The rule of one instruction for programs of one language. What a rule means
// by its template's words:
//
//   1  The language: the program parses without errors; no: it does not, and it
//      does in another of the languages.
//   2, 50  Characters of a line (code points), lines of the code.
//   3, 4, 24, 25  Global: declared in a module, file, package or namespace. In
//      Java static fields are, but constants among them are unclear for 3
//      and 4.
//   5  Parameters of all functions, without self, cls and Go's receiver.
//   6  Functions, methods and constructors with a body.
//   7  Classes and records; structs in C++ and Go; not interfaces or enums of
//      Java and Go.
//   8, 9  The keyword is a token. As a name alone it is unclear.
//   10, 11  The structure is named as a type, made by its name or written as a
//      literal. What calls return is not seen, so that the absence of Python's
//      and Go's built-in structures decides nothing.
//   12 to 17  Loops and ifs. Unclear: comprehensions, do, conditional
//      expressions; Go's loop with a condition alone is no for and no while.
//   18, 19  switch; Python: match.
//   20 to 28  See Variable. Parameters are unclear for 20.
//   22, 30, 33, 35  All names; exempt ones (constants, parameters, main,
//      overriding methods) that do not follow are unclear, and so is a program
//      without names.
//   32, 34, 21  See TypeKind; a type of another kind with the name is unclear.
//   36, 47, 48  Java's and Go's package clause; C++: a namespace, whose absence
//      is unclear; Python: never, but for classes and functions that lack.
//   37 to 39  Imports, by path; a library may be imported by a part of it.
//   31, 38  Calls by name, receivers as written.
//   40 to 46  Names in the place asked for. Unclear: members that a base may
//      bring, types that syntax does not tell, parameters beyond those asked
//      for.
//   49  Lines of each function from its first to its last.
//
// Programs that do not parse are undecided but for 1, 2 and 50.
class Rule {
 public:
  static Rule Make(const MatchedInstruction& instruction,
                   code::CodeLanguage language);

  Decidability decidability() const { return decidability_; }
  // Nothing: not decidable by this rule. The program is one of the language.
  std::optional<bool> Check(const Program& program) const;

 private:
  using Checker = std::function<std::optional<bool>(const Program&)>;

  Decidability decidability_ = Decidability::kNever;
  bool needs_syntax_ = true;
  Checker check_;
};

}  // namespace repro::code_if

#endif  // REPRO_PAPERS_CODE_IF_RULES_H_
