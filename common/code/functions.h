#ifndef REPRO_COMMON_CODE_FUNCTIONS_H_
#define REPRO_COMMON_CODE_FUNCTIONS_H_

#include <string>
#include <vector>

#include "common/code/syntax_tree.h"

namespace repro::code {

struct Parameter {
  std::string name;           // without `*`, `&`, `$`
  std::string type;           // as written; empty if there is none
  std::string default_value;  // as written; empty if there is none
};

// A function or method with a body.
struct Function {
  std::string name;
  // With what encloses it: "Outer.Inner.name", "Receiver.name" in Go,
  // "Outer::name" in C++ and Ruby as written there.
  std::string qualified_name;
  // Python: the docstring as inspect.cleandoc shows it. Others: the Javadoc,
  // JSDoc, PHPDoc or XML comment, or the run of comments that ends on the line
  // above, without the comment's own marks; annotations and decorators may
  // stand between. Empty if there is none.
  std::string documentation;
  // From the first decorator, annotation or modifier to the end of the body.
  std::string code;
  // `code` without the docstring (Python); other languages have the comment
  // outside of `code`, and this equals it.
  std::string code_without_documentation;
  std::string body;  // with its braces
  std::vector<Parameter> parameters;
  std::string return_type;  // as written; empty if there is none
  // Lines of `code`, from 1, both included.
  int start_line = 0;
  int end_line = 0;
  // Names the enclosing classes, outermost first.
  std::vector<std::string> enclosing_classes;
  bool is_nested = false;  // inside of another function
  SyntaxNode node;         // the definition, without decorators
};

// All functions with a body in source order, nested ones and methods too;
// lambdas and other functions without a name are left out, but `const f = () =>
// …` and `f: function () …` in JavaScript have one.
std::vector<Function> ExtractFunctions(const SyntaxTree& tree);

// A comment as written, markers and common indentation removed: `/** … */`,
// `// …`, `# …`, several lines of them. Ends of lines are kept, blank lines at
// both ends dropped.
std::string CleanComment(absl::string_view comment);

// A Python string literal's docstring text: quotes and prefix removed, escapes
// decoded unless raw, then indentation as in inspect.cleandoc (PEP 257).
std::string CleanDocstring(absl::string_view literal);

// The first sentence or paragraph of a documentation, the summary that code
// summarisation data sets take: up to the first blank line or the first line
// that begins with "@" or ":param".
std::string FirstParagraph(absl::string_view documentation);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_FUNCTIONS_H_
