#include "common/code/scopes.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/code/tokens.h"

namespace repro::code {
namespace {

using Types = std::vector<absl::string_view>;

struct Shape {
  Types functions;
  Types classes;
  // "type" or "type.field": what stands there declares plain names, by itself
  // or in a pattern.
  Types declares;
  Types calls;
  Types imports;
};

const Shape& ShapeOf(CodeLanguage language) {
  static const auto* const shapes = new std::vector<Shape>{
      // kPython
      {{"function_definition", "lambda"},
       {"class_definition"},
       {"assignment.left", "augmented_assignment.left", "for_statement.left",
        "for_in_clause.left", "named_expression.name", "as_pattern_target",
        "parameters", "lambda_parameters", "default_parameter.name",
        "typed_default_parameter.name", "typed_parameter", "list_splat_pattern",
        "dictionary_splat_pattern", "aliased_import.alias",
        "import_statement.name", "import_from_statement.name"},
       {"call"},
       {"import_statement.name", "import_from_statement.module_name",
        "aliased_import.name"}},
      // kJava
      {{"method_declaration", "constructor_declaration",
        "compact_constructor_declaration", "lambda_expression"},
       {"class_declaration", "interface_declaration", "enum_declaration",
        "record_declaration", "annotation_type_declaration"},
       {"variable_declarator.name", "formal_parameter.name",
        "enhanced_for_statement.name", "catch_formal_parameter.name",
        "resource.name", "inferred_parameters", "lambda_expression.parameters",
        "enum_constant.name"},
       {"method_invocation", "object_creation_expression",
        "explicit_constructor_invocation"},
       {"import_declaration"}},
      // kJavaScript
      {{"function_declaration", "generator_function_declaration",
        "method_definition", "function_expression", "function",
        "generator_function", "arrow_function"},
       {"class_declaration", "class"},
       {"variable_declarator.name", "formal_parameters",
        "assignment_pattern.left", "rest_pattern", "arrow_function.parameter",
        "catch_clause.parameter", "for_in_statement.left", "import_specifier",
        "import_clause", "namespace_import", "assignment_expression.left"},
       {"call_expression", "new_expression"},
       {"import_statement.source"}},
      // kGo
      {{"function_declaration", "method_declaration", "func_literal"},
       {"type_spec"},
       {"var_spec.name", "const_spec.name", "short_var_declaration.left",
        "parameter_declaration.name", "variadic_parameter_declaration.name",
        "range_clause.left"},
       {"call_expression"},
       {"import_spec.path"}},
      // kPhp
      {{"function_definition", "method_declaration", "anonymous_function",
        "anonymous_function_creation_expression", "arrow_function"},
       {"class_declaration", "interface_declaration", "trait_declaration",
        "enum_declaration"},
       {"simple_parameter.name", "variadic_parameter.name",
        "property_promotion_parameter.name", "assignment_expression.left",
        "augmented_assignment_expression.left", "foreach_statement", "pair",
        "static_variable_declaration.name", "catch_clause.name",
        "property_element"},
       {"function_call_expression", "member_call_expression",
        "nullsafe_member_call_expression", "scoped_call_expression",
        "object_creation_expression"},
       {"namespace_use_clause", "include_expression", "include_once_expression",
        "require_expression", "require_once_expression"}},
      // kRuby
      {{"method", "singleton_method", "lambda", "block", "do_block"},
       {"class", "module"},
       {"assignment.left", "operator_assignment.left", "method_parameters",
        "block_parameters", "lambda_parameters", "optional_parameter.name",
        "keyword_parameter.name", "splat_parameter.name",
        "hash_splat_parameter.name", "block_parameter.name", "for.pattern",
        "exception_variable", "left_assignment_list"},
       {"call"},
       {}},
      // kC
      {{"function_definition"},
       {"struct_specifier", "union_specifier"},
       {"declaration.declarator", "init_declarator.declarator",
        "parameter_declaration.declarator", "enumerator.name",
        "preproc_def.name", "preproc_function_def.name"},
       {"call_expression"},
       {"preproc_include.path"}},
      // kCpp
      {{"function_definition", "lambda_expression"},
       {"class_specifier", "struct_specifier", "union_specifier",
        "namespace_definition"},
       {"declaration.declarator", "init_declarator.declarator",
        "parameter_declaration.declarator",
        "optional_parameter_declaration.declarator", "enumerator.name",
        "for_range_loop.declarator", "field_declaration.declarator",
        "preproc_def.name", "preproc_function_def.name"},
       {"call_expression", "new_expression"},
       {"preproc_include.path"}},
      // kCSharp
      {{"method_declaration", "constructor_declaration",
        "destructor_declaration", "operator_declaration",
        "local_function_statement", "lambda_expression",
        "anonymous_method_expression"},
       {"class_declaration", "struct_declaration", "interface_declaration",
        "record_declaration", "enum_declaration"},
       {"variable_declarator", "parameter.name", "for_each_statement.left",
        "foreach_statement.left", "catch_declaration.name",
        "declaration_expression.name", "property_declaration.name",
        "enum_member_declaration.name"},
       {"invocation_expression", "object_creation_expression"},
       {"using_directive"}},
  };
  return (*shapes)[static_cast<size_t>(language)];
}

bool Matches(const Types& types, SyntaxNode parent, SyntaxNode child) {
  if (absl::c_linear_search(types, parent.type())) return true;
  return !child.field().empty() &&
         absl::c_linear_search(types,
                               absl::StrCat(parent.type(), ".", child.field()));
}

// Leaves (and PHP's variables) that may be declared; `self.x` holds none.
bool IsPlainName(SyntaxNode node) {
  const absl::string_view type = node.type();
  return type == "identifier" || type == "variable_name" ||
         type == "shorthand_property_identifier_pattern" ||
         type == "field_identifier" || type == "constant";
}

// Whether names below such a node are still declared by what is above it.
bool IsPattern(absl::string_view type) {
  return absl::StrContains(type, "pattern") || type == "expression_list" ||
         type == "left_assignment_list" || type == "tuple" || type == "list" ||
         type == "dotted_name" ||
         (absl::StrContains(type, "declarator") &&
          type != "function_declarator");
}

void AddName(std::string name, std::vector<std::string>* names,
             absl::flat_hash_set<std::string>* seen) {
  if (seen->insert(name).second) names->push_back(std::move(name));
}

// A node's name, through the declarators of C.
std::string NameOf(SyntaxNode node) {
  for (SyntaxNode at = node; at;) {
    if (const SyntaxNode name = at.ChildByField("name")) {
      return std::string(name.text());
    }
    const SyntaxNode declarator = at.ChildByField("declarator");
    if (!declarator) {
      return at == node ? std::string() : std::string(at.text());
    }
    at = declarator;
  }
  return "";
}

absl::string_view Between(const SyntaxTree& tree, uint32_t begin,
                          uint32_t end) {
  return absl::StripAsciiWhitespace(
      absl::string_view(tree.source()).substr(begin, end - begin));
}

// Splits a callee as written at its last `.`, `::` or `->`, type arguments
// aside.
void SplitCallee(Call* call) {
  absl::string_view callee = call->callee;
  if (absl::EndsWith(callee, ">") && !absl::StrContains(callee, "->")) {
    callee = callee.substr(0, callee.find('<'));
  }
  size_t depth = 0;
  size_t at = callee.size();
  // The last separator outside of brackets.
  while (at > 0) {
    const char c = callee[at - 1];
    if (c == ')' || c == ']' || c == '}') ++depth;
    if (c == '(' || c == '[' || c == '{') depth -= depth > 0;
    if (depth == 0 && (c == '.' || c == ':' ||
                       (c == '>' && at > 1 && callee[at - 2] == '-'))) {
      break;
    }
    --at;
  }
  call->name = std::string(absl::StripAsciiWhitespace(callee.substr(at)));
  absl::string_view receiver = callee.substr(0, at);
  for (const absl::string_view separator :
       {"?->", "->", "::", "?.", "&.", "."}) {
    if (absl::ConsumeSuffix(&receiver, separator)) break;
  }
  call->receiver = std::string(absl::StripAsciiWhitespace(receiver));
}

}  // namespace

std::vector<Scope> ExtractScopes(const SyntaxTree& tree) {
  const Shape& shape = ShapeOf(tree.language());
  std::vector<Scope> scopes = {{ScopeKind::kFile, "", -1, tree.root(), {}}};
  std::vector<absl::flat_hash_set<std::string>> seen(1);
  std::vector<int> open = {0};
  // Whether the names below a node are declared, by the node's number.
  std::vector<bool> declares(tree.node_count());
  const auto add = [&](int scope, std::string name) {
    AddName(std::move(name), &scopes[scope].names, &seen[scope]);
  };
  for (const SyntaxNode node : tree.nodes()) {
    while (scopes[open.back()].node.subtree_end() <= node.index()) {
      open.pop_back();
    }
    const SyntaxNode parent = node.parent();
    if (parent) {
      const bool declared =
          Matches(shape.declares, parent, node) ||
          (declares[parent.index()] && IsPattern(parent.type()));
      declares[node.index()] = declared;
      // Keys and defaults of patterns are no names of their own.
      if (declared && IsPlainName(node) && node.field() != "type" &&
          node.field() != "value") {
        add(open.back(), std::string(node.text()));
      }
    }
    const bool is_function =
        absl::c_linear_search(shape.functions, node.type());
    if (node.is_leaf() ||
        (!is_function && !absl::c_linear_search(shape.classes, node.type()))) {
      continue;
    }
    std::string name = NameOf(node);
    if (!name.empty()) add(open.back(), name);
    scopes.push_back({is_function ? ScopeKind::kFunction : ScopeKind::kClass,
                      std::move(name),
                      open.back(),
                      node,
                      {}});
    seen.emplace_back();
    open.push_back(scopes.size() - 1);
  }
  return scopes;
}

std::vector<Call> ExtractCalls(const SyntaxTree& tree) {
  const Shape& shape = ShapeOf(tree.language());
  std::vector<Call> calls;
  int scope = -1;
  std::vector<std::pair<uint32_t, int>> open;
  for (const SyntaxNode node : tree.nodes()) {
    while (!open.empty() && open.back().first <= node.index()) open.pop_back();
    if (node.index() == 0 ||
        (!node.is_leaf() &&
         (absl::c_linear_search(shape.functions, node.type()) ||
          absl::c_linear_search(shape.classes, node.type())))) {
      open.emplace_back(node.subtree_end(), ++scope);
      continue;
    }
    if (!absl::c_linear_search(shape.calls, node.type()) || node.is_leaf())
      continue;
    Call call;
    call.node = node;
    call.scope = open.back().second;
    SyntaxNode arguments = node.ChildByField("arguments");
    if (!arguments) arguments = node.ChildByType("argument_list");
    if (!arguments) arguments = node.ChildByType("arguments");
    uint32_t end = arguments ? arguments.start_byte() : node.end_byte();
    // Ruby's block, C#'s initializer.
    for (const SyntaxNode child : node.children()) {
      if (child.type() == "block" || child.type() == "do_block" ||
          absl::StrContains(child.type(), "initializer")) {
        end = std::min(end, child.start_byte());
      }
    }
    absl::string_view callee = Between(tree, node.start_byte(), end);
    if (absl::ConsumePrefix(&callee, "new ")) {
      callee = absl::StripLeadingAsciiWhitespace(callee);
    }
    call.callee = std::string(callee);
    SplitCallee(&call);
    if (arguments) {
      for (const SyntaxNode argument : arguments.children()) {
        if (argument.is_named() && !IsComment(argument)) {
          call.arguments.emplace_back(argument.text());
        }
      }
    }
    calls.push_back(std::move(call));
  }
  return calls;
}

std::vector<std::string> ExtractImports(const SyntaxTree& tree) {
  const Shape& shape = ShapeOf(tree.language());
  std::vector<std::string> imports;
  for (const SyntaxNode node : tree.nodes()) {
    // Ruby imports by calls.
    if (tree.language() == CodeLanguage::kRuby) {
      const SyntaxNode method = node.ChildByField("method");
      if (node.type() != "call" || !method || node.ChildByField("receiver") ||
          !absl::StartsWith(method.text(), "require")) {
        continue;
      }
      const SyntaxNode arguments = node.ChildByField("arguments");
      if (arguments && arguments.child(0)) {
        imports.emplace_back(arguments.child(0).text());
      }
      continue;
    }
    const SyntaxNode parent = node.parent();
    if (!parent || !node.is_named() || !Matches(shape.imports, parent, node) ||
        node.type() == "aliased_import" || IsComment(node)) {
      continue;
    }
    imports.emplace_back(node.text());
  }
  for (std::string& name : imports) {
    absl::string_view text = name;
    while (!text.empty() && absl::StrContains("\"'<>", text.front())) {
      text.remove_prefix(1);
    }
    while (!text.empty() && absl::StrContains("\"'<>", text.back())) {
      text.remove_suffix(1);
    }
    name = std::string(text);
  }
  return imports;
}

}  // namespace repro::code
