#include "common/code/functions.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/code/identifiers.h"
#include "common/code/tokens.h"
#include "common/text/utf8.h"

namespace repro::code {
namespace {

using Types = std::vector<absl::string_view>;

// What a grammar calls functions, what encloses them, and what stands around
// them as decorators and modifiers do.
struct Shape {
  Types functions;
  Types classes;
  // Parents that belong to the function's code.
  Types wrappers;
  // Parents that do not, but before which its comment stands.
  Types outer;
  absl::string_view return_type;
};

const Shape& ShapeOf(CodeLanguage language) {
  static const auto* const shapes = new std::vector<Shape>{
      // kPython
      {{"function_definition"},
       {"class_definition"},
       {"decorated_definition"},
       {},
       "return_type"},
      // kJava
      {{"method_declaration", "constructor_declaration",
        "compact_constructor_declaration"},
       {"class_declaration", "interface_declaration", "enum_declaration",
        "record_declaration", "annotation_type_declaration"},
       {},
       {},
       "type"},
      // kJavaScript
      {{"function_declaration", "generator_function_declaration",
        "method_definition", "function_expression", "function",
        "generator_function", "arrow_function"},
       {"class_declaration", "class"},
       {"variable_declarator", "lexical_declaration", "variable_declaration",
        "pair", "assignment_expression", "field_definition"},
       {"export_statement", "expression_statement"},
       ""},
      // kGo
      {{"function_declaration", "method_declaration"}, {}, {}, {}, "result"},
      // kPhp
      {{"function_definition", "method_declaration"},
       {"class_declaration", "interface_declaration", "trait_declaration",
        "enum_declaration"},
       {},
       {},
       "return_type"},
      // kRuby
      {{"method", "singleton_method"}, {"class", "module"}, {}, {}, ""},
      // kC
      {{"function_definition"}, {}, {}, {}, "type"},
      // kCpp
      {{"function_definition"},
       {"class_specifier", "struct_specifier", "union_specifier",
        "namespace_definition"},
       {"template_declaration"},
       {},
       "type"},
      // kCSharp
      {{"method_declaration", "constructor_declaration",
        "destructor_declaration", "operator_declaration",
        "local_function_statement"},
       {"class_declaration", "struct_declaration", "interface_declaration",
        "record_declaration", "record_struct_declaration", "enum_declaration"},
       {},
       {},
       "type"},
  };
  return (*shapes)[static_cast<size_t>(language)];
}

// The name inside of a declarator of C or C++, or a pattern: its first
// descendant that is one.
SyntaxNode DeclaredName(SyntaxNode node) {
  while (node) {
    const absl::string_view type = node.type();
    if (node.is_leaf() || type == "qualified_identifier" ||
        type == "destructor_name" || type == "operator_name" ||
        type == "operator_cast" || type == "template_function" ||
        type == "variable_name") {
      return node;
    }
    SyntaxNode next = node.ChildByField("declarator");
    if (!next) next = node.ChildByField("name");
    if (!next) {
      for (const SyntaxNode child : node.children()) {
        if (child.is_named() && !IsComment(child) && child.field() != "type" &&
            child.type() != "type") {
          next = child;
          break;
        }
      }
    }
    if (!next) return node;
    node = next;
  }
  return node;
}

SyntaxNode FunctionDeclarator(SyntaxNode function) {
  SyntaxNode declarator = function.ChildByField("declarator");
  while (declarator && declarator.type() != "function_declarator") {
    SyntaxNode next = declarator.ChildByField("declarator");
    if (!next) {
      for (const SyntaxNode child : declarator.children()) {
        if (absl::StrContains(child.type(), "declarator")) next = child;
      }
    }
    declarator = next;
  }
  return declarator;
}

// The function's name, or null for one without.
SyntaxNode NameOf(SyntaxNode function, CodeLanguage language) {
  if (language == CodeLanguage::kC || language == CodeLanguage::kCpp) {
    const SyntaxNode declarator = FunctionDeclarator(function);
    if (declarator) return DeclaredName(declarator.ChildByField("declarator"));
    const SyntaxNode other = function.ChildByField("declarator");
    return other && other.type() == "operator_cast" ? other : SyntaxNode();
  }
  if (const SyntaxNode name = function.ChildByField("name")) return name;
  if (language == CodeLanguage::kCSharp) {
    return function.ChildByType("identifier");
  }
  if (language != CodeLanguage::kJavaScript) return SyntaxNode();
  // What a function without a name is assigned to.
  const SyntaxNode parent = function.parent();
  if (!parent) return SyntaxNode();
  if (parent.type() == "variable_declarator") {
    const SyntaxNode name = parent.ChildByField("name");
    return name && name.type() == "identifier" ? name : SyntaxNode();
  }
  if (parent.type() == "pair") return parent.ChildByField("key");
  if (parent.type() == "field_definition") {
    return parent.ChildByField("property");
  }
  if (parent.type() == "assignment_expression" && function.field() == "right") {
    return parent.ChildByField("left");
  }
  return SyntaxNode();
}

std::string ParameterName(absl::string_view text) {
  while (!text.empty() && absl::StrContains("*&$. ", text[0])) {
    text.remove_prefix(1);
  }
  return std::string(text);
}

void AddParameters(SyntaxNode list, std::vector<Parameter>* parameters) {
  for (const SyntaxNode child : list.children()) {
    const absl::string_view type = child.type();
    if (!child.is_named() || IsComment(child) || type == "ERROR" ||
        type == "line_continuation" || absl::EndsWith(type, "_separator") ||
        type == "receiver_parameter" || absl::StrContains(type, "attribute")) {
      continue;
    }
    Parameter parameter;
    if (const SyntaxNode node = child.ChildByField("type")) {
      parameter.type = std::string(node.text());
    }
    for (const char* field : {"value", "default_value", "right"}) {
      if (const SyntaxNode node = child.ChildByField(field)) {
        parameter.default_value = std::string(node.text());
        break;
      }
    }
    if (const SyntaxNode node = child.ChildByType("equals_value_clause")) {
      parameter.default_value = std::string(
          absl::StripAsciiWhitespace(absl::StripPrefix(node.text(), "=")));
    }
    // `void` of C's `f(void)`, and types without a name.
    const bool only_type = absl::StrContains(type, "parameter_declaration") &&
                           !child.ChildByField("declarator") &&
                           !child.ChildByField("name");
    if (only_type && parameter.type == "void") continue;
    // Several names may share a type in Go.
    std::vector<SyntaxNode> names;
    for (const SyntaxNode part : child.children()) {
      if (part.field() == "name") names.push_back(part);
    }
    // Java's `int... x`.
    if (const SyntaxNode node = child.ChildByType("variable_declarator");
        names.empty() && node && node.ChildByField("name")) {
      names.push_back(node.ChildByField("name"));
    }
    if (names.empty() && child.ChildByField("left")) {
      names.push_back(child.ChildByField("left"));
    }
    if (names.empty() && !only_type) names.push_back(DeclaredName(child));
    if (names.empty()) parameters->push_back(parameter);
    for (const SyntaxNode name : names) {
      const bool pattern = type == "object_pattern" || type == "array_pattern";
      parameter.name = ParameterName(pattern ? child.text() : name.text());
      parameters->push_back(parameter);
    }
  }
}

// Places a character of white space where the terminal would show a tab's.
std::string ExpandTabs(absl::string_view text) {
  std::string out;
  size_t column = 0;
  for (const char c : text) {
    if (c == '\t') {
      const size_t width = 8 - column % 8;
      out.append(width, ' ');
      column += width;
      continue;
    }
    out += c;
    // Continuation bytes take no column.
    column = c == '\n' || c == '\r'                     ? 0
             : (static_cast<uint8_t>(c) & 0xc0) == 0x80 ? column
                                                        : column + 1;
  }
  return out;
}

size_t Indentation(absl::string_view line) {
  size_t i = 0;
  while (i < line.size() && absl::ascii_isspace(line[i])) ++i;
  return i;
}

// inspect.cleandoc of Python.
std::string CleanDoc(absl::string_view text) {
  const std::string expanded = ExpandTabs(text);
  std::vector<absl::string_view> lines = absl::StrSplit(expanded, '\n');
  size_t margin = std::string::npos;
  for (size_t i = 1; i < lines.size(); ++i) {
    const size_t indentation = Indentation(lines[i]);
    if (indentation < lines[i].size()) margin = std::min(margin, indentation);
  }
  lines[0].remove_prefix(Indentation(lines[0]));
  if (margin != std::string::npos) {
    for (size_t i = 1; i < lines.size(); ++i) {
      lines[i].remove_prefix(std::min(margin, lines[i].size()));
    }
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  while (!lines.empty() && lines.front().empty()) lines.erase(lines.begin());
  return absl::StrJoin(lines, "\n");
}

int HexValue(char c) {
  return absl::ascii_isdigit(c) ? c - '0' : absl::ascii_tolower(c) - 'a' + 10;
}

// The value of a string literal of Python without prefix and quotes.
void AppendUnescaped(absl::string_view text, std::string* out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      *out += text[i];
      continue;
    }
    const char c = text[++i];
    static constexpr absl::string_view kFrom = "abfnrtv\\'\"";
    static constexpr absl::string_view kTo = "\a\b\f\n\r\t\v\\'\"";
    const size_t simple = kFrom.find(c);
    if (simple != absl::string_view::npos) {
      *out += kTo[simple];
      continue;
    }
    if (c == '\n') continue;
    int32_t value = 0;
    if (c >= '0' && c <= '7') {
      size_t digits = 0;
      while (digits < 3 && i < text.size() && text[i] >= '0' &&
             text[i] <= '7') {
        value = 8 * value + (text[i++] - '0');
        ++digits;
      }
      --i;
      AppendUtf8(value, out);
      continue;
    }
    const size_t length = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    const absl::string_view digits = text.substr(i + 1, length);
    if (length > 0 && digits.size() == length &&
        std::all_of(digits.begin(), digits.end(), absl::ascii_isxdigit)) {
      uint64_t code_point = 0;
      for (const char digit : digits) {
        code_point = 16 * code_point + HexValue(digit);
      }
      const bool is_scalar = code_point <= 0x10ffff &&
                             (code_point < 0xd800 || code_point > 0xdfff);
      AppendUtf8(is_scalar ? code_point : 0xfffd, out);
      i += length;
      continue;
    }
    *out += '\\';
    *out += c;
  }
}

std::string UnixLines(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      if (i + 1 == text.size() || text[i + 1] != '\n') out += '\n';
    } else {
      out += text[i];
    }
  }
  return out;
}

void AppendLiteral(absl::string_view literal, std::string* out) {
  const size_t quote = literal.find_first_of("'\"");
  if (quote == absl::string_view::npos) return;
  const std::string prefix = absl::AsciiStrToLower(literal.substr(0, quote));
  literal.remove_prefix(quote);
  const bool triple = literal.size() >= 6 && literal[1] == literal[0] &&
                      literal[2] == literal[0];
  const size_t width = triple ? 3 : 1;
  if (literal.size() < 2 * width) return;
  const std::string text =
      UnixLines(literal.substr(width, literal.size() - 2 * width));
  if (absl::StrContains(prefix, 'r')) {
    absl::StrAppend(out, text);
  } else {
    AppendUnescaped(text, out);
  }
}

std::string DocstringText(SyntaxNode docstring) {
  std::string text;
  if (docstring.type() == "concatenated_string") {
    for (const SyntaxNode part : docstring.children()) {
      if (part.type() == "string") AppendLiteral(part.text(), &text);
    }
  } else {
    AppendLiteral(docstring.text(), &text);
  }
  return CleanDoc(text);
}

// The code without the docstring's statement, whose lines go with it; `pass`
// in its place if the body holds nothing else.
std::string WithoutDocstring(const SyntaxTree& tree, uint32_t begin,
                             uint32_t end, SyntaxNode docstring) {
  const absl::string_view source = tree.source();
  const SyntaxNode statement = docstring.parent();
  int statements = 0;
  for (const SyntaxNode other : statement.parent().children()) {
    statements += !IsComment(other);
  }
  uint32_t from = statement.start_byte();
  uint32_t to = statement.end_byte();
  std::string instead;
  if (statements == 1) {
    instead = "pass";
  } else {
    uint32_t line = from;
    while (line > begin &&
           (source[line - 1] == ' ' || source[line - 1] == '\t')) {
      --line;
    }
    uint32_t next = to;
    while (next < end && (source[next] == ' ' || source[next] == '\t' ||
                          source[next] == '\r' || source[next] == ';')) {
      ++next;
    }
    if (line > begin && source[line - 1] == '\n' && next < end &&
        source[next] == '\n') {
      from = line;
      to = next + 1;
    } else {
      to = next;
    }
  }
  return absl::StrCat(source.substr(begin, from - begin), instead,
                      source.substr(to, end - to));
}

bool IsBlockComment(absl::string_view text) {
  return absl::StartsWith(text, "/*") || absl::StartsWith(text, "=begin");
}

// The comment right above a node: a block comment, or a run of line comments.
std::string CommentAbove(const SyntaxTree& tree, SyntaxNode node,
                         const std::vector<uint32_t>& previous) {
  uint32_t row = node.start_row();
  std::vector<absl::string_view> comments;
  for (SyntaxNode at = node; previous[at.index()] != 0;) {
    at = tree.node(previous[at.index()]);
    if (!IsComment(at)) break;
    const absl::string_view text =
        absl::StripTrailingAsciiWhitespace(at.text());
    // Grammars may count the end of the line to the comment.
    uint32_t end_row = at.end_row();
    if (at.end_column() == 0 && end_row > at.start_row()) --end_row;
    const bool block = IsBlockComment(text);
    if (end_row + 1 < row || (block && !comments.empty())) break;
    // A comment behind other code on its line is about that.
    const uint32_t before = previous[at.index()];
    if (before != 0 && tree.node(before).end_row() == at.start_row() &&
        tree.node(before).end_column() != 0 && !IsComment(tree.node(before))) {
      break;
    }
    comments.push_back(text);
    if (block) break;
    row = at.start_row();
  }
  std::reverse(comments.begin(), comments.end());
  return CleanComment(absl::StrJoin(comments, "\n"));
}

// The node before each among its siblings; 0 for none.
std::vector<uint32_t> PreviousSiblings(const SyntaxTree& tree) {
  std::vector<uint32_t> previous(tree.node_count());
  for (const SyntaxNode node : tree.nodes()) {
    uint32_t last = 0;
    for (const SyntaxNode child : node.children()) {
      previous[child.index()] = last;
      last = child.index();
    }
  }
  return previous;
}

int CountNamed(SyntaxNode node, absl::string_view type) {
  int count = 0;
  for (const SyntaxNode child : node.children()) count += child.type() == type;
  return count;
}

// The type that a method of Go belongs to, without `*` and type parameters.
std::string GoReceiver(SyntaxNode function) {
  const SyntaxNode receiver = function.ChildByField("receiver");
  if (!receiver) return "";
  for (const SyntaxNode node : receiver.subtree()) {
    if (node.type() == "type_identifier") return std::string(node.text());
  }
  return "";
}

}  // namespace

std::vector<Function> ExtractFunctions(const SyntaxTree& tree) {
  const CodeLanguage language = tree.language();
  const Shape& shape = ShapeOf(language);
  // By symbol, as most nodes are none of them.
  std::vector<bool> is_function(tree.symbol_count());
  std::vector<bool> is_class(tree.symbol_count());
  for (size_t i = 0; i < tree.symbol_count(); ++i) {
    is_function[i] = absl::c_linear_search(shape.functions, tree.SymbolName(i));
    is_class[i] = absl::c_linear_search(shape.classes, tree.SymbolName(i));
  }
  std::vector<uint32_t> previous;
  struct Open {
    uint32_t end;
    std::string name;
    bool is_class;
  };
  std::vector<Open> open;
  std::vector<Function> functions;
  for (const SyntaxNode node : tree.nodes()) {
    while (!open.empty() && open.back().end <= node.index()) open.pop_back();
    if (is_class[node.symbol()] && !node.is_leaf()) {
      const SyntaxNode name = node.ChildByField("name");
      if (name) {
        open.push_back({node.subtree_end(), std::string(name.text()), true});
      }
      continue;
    }
    if (!is_function[node.symbol()] || node.is_leaf()) continue;
    const SyntaxNode name = NameOf(node, language);
    SyntaxNode body = node.ChildByField("body");
    if (!body && language == CodeLanguage::kCSharp) {
      body = node.ChildByType("arrow_expression_clause");
    }
    // A method of Ruby needs none.
    if (!name || name.text().empty() ||
        (!body && language != CodeLanguage::kRuby)) {
      continue;
    }
    Function function;
    function.node = node;
    function.name = std::string(name.text());
    if (name.type() == "template_function") {
      const SyntaxNode plain = name.ChildByField("name");
      if (plain) function.name = std::string(plain.text());
    }
    std::string scope = function.name;
    // Behind the last `::` or `.` of a name that says where it belongs.
    const size_t colons = function.name.rfind("::");
    if (colons != std::string::npos && language == CodeLanguage::kCpp) {
      function.name.erase(0, colons + 2);
    } else if (name.type() == "member_expression") {
      function.name.erase(0, function.name.rfind('.') + 1);
    }
    std::vector<std::string> qualifiers;
    for (const Open& outer : open) {
      qualifiers.push_back(outer.name);
      if (outer.is_class) function.enclosing_classes.push_back(outer.name);
      function.is_nested |= !outer.is_class;
    }
    if (language == CodeLanguage::kGo) {
      const std::string receiver = GoReceiver(node);
      if (!receiver.empty()) {
        qualifiers.push_back(receiver);
        function.enclosing_classes.push_back(receiver);
      }
    }
    qualifiers.push_back(scope);
    function.qualified_name =
        absl::StrJoin(qualifiers, language == CodeLanguage::kCpp ? "::" : ".");

    // A declaration of several variables is not one function's code.
    SyntaxNode whole = node;
    for (SyntaxNode parent = node.parent();
         parent && absl::c_linear_search(shape.wrappers, parent.type()) &&
         CountNamed(parent, "variable_declarator") <= 1;
         parent = parent.parent()) {
      whole = parent;
    }
    // A comment before the first statement of a body stands outside of it in
    // some grammars.
    SyntaxNode documented = whole;
    for (SyntaxNode parent = documented.parent();
         parent && parent.parent() &&
         (absl::c_linear_search(shape.outer, parent.type()) ||
          parent.start_byte() == documented.start_byte());
         parent = parent.parent()) {
      documented = parent;
    }
    function.code = std::string(whole.text());
    function.code_without_documentation = function.code;
    function.start_line = whole.start_row() + 1;
    function.end_line = whole.end_row() + 1;
    if (body) function.body = std::string(body.text());
    if (language == CodeLanguage::kPython) {
      if (const SyntaxNode docstring = PythonDocstring(node)) {
        function.documentation = DocstringText(docstring);
        function.code_without_documentation = WithoutDocstring(
            tree, whole.start_byte(), whole.end_byte(), docstring);
      }
    } else {
      if (previous.empty()) previous = PreviousSiblings(tree);
      function.documentation = CommentAbove(tree, documented, previous);
    }
    SyntaxNode parameters = node.ChildByField("parameters");
    if (!parameters &&
        (language == CodeLanguage::kC || language == CodeLanguage::kCpp)) {
      const SyntaxNode declarator = FunctionDeclarator(node);
      if (declarator) parameters = declarator.ChildByField("parameters");
    }
    if (parameters) {
      AddParameters(parameters, &function.parameters);
    } else if (const SyntaxNode parameter = node.ChildByField("parameter")) {
      function.parameters.push_back({std::string(parameter.text()), "", ""});
    }
    for (const absl::string_view field :
         {shape.return_type, absl::string_view("returns")}) {
      if (field.empty()) continue;
      if (const SyntaxNode type = node.ChildByField(field)) {
        function.return_type = std::string(type.text());
        break;
      }
    }
    open.push_back({node.subtree_end(), function.name, false});
    functions.push_back(std::move(function));
  }
  return functions;
}

std::string CleanComment(absl::string_view comment) {
  std::vector<std::string> lines;
  bool in_block = false;
  for (absl::string_view line : absl::StrSplit(comment, '\n')) {
    line = absl::StripTrailingAsciiWhitespace(line);
    absl::string_view text = absl::StripLeadingAsciiWhitespace(line);
    if (!in_block && absl::StartsWith(text, "=begin")) {
      in_block = true;
      continue;
    }
    if (in_block && text == "=end") {
      in_block = false;
      continue;
    }
    const bool was_block = in_block;
    if (!in_block && absl::StartsWith(text, "/*")) {
      in_block = true;
      text.remove_prefix(1);
      while (absl::ConsumePrefix(&text, "*")) {
      }
      absl::ConsumePrefix(&text, "!");
    } else if (!in_block) {
      if (absl::StartsWith(text, "//")) {
        while (absl::ConsumePrefix(&text, "/")) {
        }
        absl::ConsumePrefix(&text, "!");
      } else {
        while (absl::ConsumePrefix(&text, "#")) {
        }
      }
    }
    if (in_block && absl::EndsWith(text, "*/")) {
      in_block = false;
      text.remove_suffix(2);
      while (absl::EndsWith(text, "*")) text.remove_suffix(1);
    }
    if (was_block) absl::ConsumePrefix(&text, "*");
    lines.emplace_back(absl::StripTrailingAsciiWhitespace(text));
  }
  // The blank behind the mark, and what all lines are indented by.
  size_t margin = std::string::npos;
  for (const std::string& line : lines) {
    const size_t indentation = Indentation(line);
    if (indentation < line.size()) margin = std::min(margin, indentation);
  }
  for (std::string& line : lines) {
    line.erase(0, std::min(margin, line.size()));
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  while (!lines.empty() && lines.front().empty()) lines.erase(lines.begin());
  return absl::StrJoin(lines, "\n");
}

std::string CleanDocstring(absl::string_view literal) {
  std::string text;
  AppendLiteral(literal, &text);
  return CleanDoc(text);
}

std::string FirstParagraph(absl::string_view documentation) {
  std::vector<absl::string_view> lines;
  for (const absl::string_view line : absl::StrSplit(documentation, '\n')) {
    const absl::string_view text = absl::StripAsciiWhitespace(line);
    if (text.empty() && lines.empty()) continue;
    if (text.empty() || text[0] == '@' || absl::StartsWith(text, ":param")) {
      break;
    }
    lines.push_back(text);
  }
  return absl::StrJoin(lines, "\n");
}

}  // namespace repro::code
