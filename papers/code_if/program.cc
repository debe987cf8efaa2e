#include "papers/code_if/program.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/code/functions.h"
#include "common/code/tokens.h"
#include "common/status/macros.h"

namespace repro::code_if {
namespace {

using code::CodeLanguage;
using code::SyntaxNode;

std::string Text(SyntaxNode node) {
  return node ? std::string(node.text()) : std::string();
}

bool IsOneOf(absl::string_view text,
             std::initializer_list<absl::string_view> names) {
  return absl::c_linear_search(names, text);
}

// The nearest node above of one of the types; null if there is none.
SyntaxNode Above(SyntaxNode node,
                 std::initializer_list<absl::string_view> types) {
  for (SyntaxNode at = node.parent(); at; at = at.parent()) {
    if (IsOneOf(at.type(), types)) return at;
  }
  return SyntaxNode();
}

// Children with a field name, of which there can be several.
std::vector<SyntaxNode> Fields(SyntaxNode node, absl::string_view field) {
  std::vector<SyntaxNode> found;
  for (const SyntaxNode child : node.children()) {
    if (child.field() == field) found.push_back(child);
  }
  return found;
}

bool HasWord(SyntaxNode node, absl::string_view word) {
  return absl::c_any_of(node.children(),
                        [&](SyntaxNode child) { return child.text() == word; });
}

// What a C++ declarator declares: an identifier, or null for none.
SyntaxNode Declared(SyntaxNode declarator) {
  SyntaxNode at = declarator;
  while (at && !at.is_leaf() && at.type() != "qualified_identifier" &&
         at.type() != "operator_name" && at.type() != "destructor_name") {
    SyntaxNode next = at.ChildByField("declarator");
    for (const SyntaxNode child : at.children()) {
      if (next) break;
      if (absl::StrContains(child.type(), "declarator") ||
          child.type() == "identifier" || child.type() == "field_identifier") {
        next = child;
      }
    }
    if (!next) return SyntaxNode();
    at = next;
  }
  return at;
}

// The part of a C++ declarator that makes it a function's; null if none does.
SyntaxNode FunctionDeclarator(SyntaxNode declarator) {
  SyntaxNode at = declarator;
  while (at && at.type() != "function_declarator") {
    // `int (*f)(int)` is a pointer, whose declarator is in parentheses.
    SyntaxNode next = at.ChildByField("declarator");
    for (const SyntaxNode child : at.children()) {
      if (!next && absl::StrContains(child.type(), "declarator")) next = child;
    }
    at = next;
  }
  if (at && at.ChildByField("declarator") &&
      at.ChildByField("declarator").type() == "parenthesized_declarator") {
    return SyntaxNode();
  }
  return at;
}

// `[a, b]` of `auto& [a, b] = f()`; null if the declarator is none.
SyntaxNode StructuredBinding(SyntaxNode declarator) {
  SyntaxNode at = declarator;
  while (at && at.type() != "structured_binding_declarator") {
    at = at.type() == "init_declarator" ? at.ChildByField("declarator")
         : at.type() == "reference_declarator"
             ? at.ChildByType("structured_binding_declarator")
             : SyntaxNode();
  }
  return at;
}

// The default of one of the fields that a C++ declaration declares.
SyntaxNode DefaultOf(SyntaxNode declaration, SyntaxNode declarator) {
  bool behind = false;
  for (const SyntaxNode child : declaration.children()) {
    if (child == declarator) {
      behind = true;
    } else if (behind && child.field() == "declarator") {
      break;
    } else if (behind && child.field() == "default_value") {
      return child;
    }
  }
  return SyntaxNode();
}

// "a::b::c" gives "c", "A<T>" gives "A", "x.Y" gives "Y".
std::string LastPart(absl::string_view name) {
  name = name.substr(0, name.find('<'));
  const size_t at = name.find_last_of(":.");
  if (at != absl::string_view::npos) name.remove_prefix(at + 1);
  return std::string(absl::StripAsciiWhitespace(name));
}

// A type's name without its arguments.
std::string BaseName(SyntaxNode node) {
  absl::string_view text = node.text();
  text = text.substr(0, text.find_first_of("<["));
  return std::string(absl::StripAsciiWhitespace(text));
}

bool IsUpperCase(absl::string_view name) {
  return absl::c_none_of(name, absl::ascii_islower) &&
         absl::c_any_of(name, absl::ascii_isupper);
}

}  // namespace

std::string CodeOf(absl::string_view answer) {
  std::string code;
  bool inside = false;
  bool fenced = false;
  for (absl::string_view rest = answer; !rest.empty();) {
    const size_t end = rest.find('\n');
    const absl::string_view line =
        rest.substr(0, end == absl::string_view::npos ? end : end + 1);
    rest.remove_prefix(line.size());
    if (absl::StartsWith(absl::StripLeadingAsciiWhitespace(line), "```")) {
      inside = !inside;
      fenced = true;
    } else if (inside) {
      absl::StrAppend(&code, line);
    }
  }
  return fenced ? code : std::string(answer);
}

absl::StatusOr<Program> Program::Parse(CodeLanguage language,
                                       std::string source) {
  code::ParseLimits limits;
  limits.max_bytes = kMaxProgramBytes;
  REPRO_ASSIGN_OR_RETURN(
      code::SyntaxTree tree,
      code::SyntaxTree::Parse(language, std::move(source), limits));
  Program program(std::move(tree));
  program.ReadWords();
  program.calls_ = code::ExtractCalls(program.tree_);
  switch (language) {
    case CodeLanguage::kPython:
      program.ReadPython();
      break;
    case CodeLanguage::kJava:
      program.ReadJava();
      break;
    case CodeLanguage::kCpp:
      program.ReadCpp();
      break;
    case CodeLanguage::kGo:
      program.ReadGo();
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("programs of ", code::LanguageName(language),
                       " are not read; java, python, cpp and go are"));
  }
  program.ReadFunctions();
  return program;
}

bool Program::HasNode(absl::string_view type) const {
  return absl::c_any_of(tree_.nodes(), [&](SyntaxNode node) {
    return node.is_named() && node.type() == type;
  });
}

const TypeFact* Program::FindType(absl::string_view name) const {
  for (const TypeFact& type : types_) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

void Program::ReadWords() {
  for (const SyntaxNode node : tree_.nodes()) {
    if (!node.is_leaf() || code::IsComment(node)) continue;
    const absl::string_view type = node.type();
    // Parts of strings and characters, and their quotes.
    if (node.is_named() &&
        (absl::StrContains(type, "string") || absl::StrContains(type, "char") ||
         absl::StrContains(type, "rune") || type == "escape_sequence")) {
      continue;
    }
    words_.push_back(node);
  }
}

// Methods and constructors with a body by the general reader, and those
// without by language.
void Program::ReadFunctions() {
  for (const code::Function& function : code::ExtractFunctions(tree_)) {
    FunctionFact fact;
    fact.name = LastPart(function.name);
    // "operator<<" has no name to follow a convention with.
    if (language() == CodeLanguage::kCpp &&
        absl::StrContains(function.name, "operator") &&
        !absl::c_all_of(fact.name, [](char c) {
          return absl::ascii_isalnum(c) || c == '_' || c == '~';
        })) {
      fact.overrides = true;
    }
    fact.return_type = function.return_type;
    // Comments below the body may count as part of it.
    uint32_t last = function.node.subtree_end() - 1;
    while (last > function.node.index() &&
           (!tree_.node(last).is_leaf() || code::IsComment(tree_.node(last)))) {
      --last;
    }
    fact.num_lines =
        int64_t{tree_.node(last).end_row()} - function.node.start_row() + 1;
    if (!function.enclosing_classes.empty() && !function.is_nested) {
      fact.owner = LastPart(function.enclosing_classes.back());
    }
    const SyntaxNode receiver = function.node.ChildByField("receiver");
    if (receiver) {
      for (const SyntaxNode node : receiver.subtree()) {
        if (node.type() == "type_identifier") {
          fact.owner = Text(node);
          break;
        }
      }
    }
    if (language() == CodeLanguage::kCpp) {
      // Of "shop::Stack<T>::pop"; a namespace owns nothing.
      const absl::string_view name = function.qualified_name;
      const size_t scope = name.rfind("::");
      fact.owner = scope == absl::string_view::npos
                       ? fact.owner
                       : LastPart(name.substr(0, scope));
      if (FindType(fact.owner) == nullptr) fact.owner.clear();
    }
    for (size_t i = 0; i < function.parameters.size(); ++i) {
      const std::string& parameter = function.parameters[i].name;
      const bool receives = language() == CodeLanguage::kPython && i == 0 &&
                            IsOneOf(parameter, {"self", "cls"});
      if (!receives) fact.parameters.push_back(parameter);
    }
    fact.is_constructor =
        fact.name == "__init__" || absl::StartsWith(fact.name, "~") ||
        (language() != CodeLanguage::kGo && fact.name == fact.owner);
    fact.overrides |=
        absl::StartsWith(fact.name, "__") ||
        absl::StrContains(
            function.code.substr(0, function.code.find('{')),
            language() == CodeLanguage::kJava ? "@Override" : " override");
    functions_.push_back(std::move(fact));
  }
  // Out-of-class definitions of C++ and Go's methods belong to their types.
  for (const FunctionFact& function : functions_) {
    for (TypeFact& type : types_) {
      if (type.name == function.owner &&
          !absl::c_linear_search(type.methods, function.name)) {
        type.methods.push_back(function.name);
      }
    }
  }
}

// ----------------------------------------------------------------- Python

void Program::ReadPython() {
  // A name is a variable of the innermost function or class, or of the module.
  std::map<std::pair<uint32_t, std::string>, size_t> places;
  // Names that a function declares global.
  std::set<std::pair<uint32_t, std::string>> globals;
  for (const SyntaxNode node : tree_.nodes()) {
    if (node.type() != "global_statement") continue;
    const SyntaxNode function = Above(node, {"function_definition"});
    for (const SyntaxNode name : node.children()) {
      if (function && name.type() == "identifier") {
        globals.emplace(function.index(), Text(name));
      }
    }
  }
  const auto add = [&](SyntaxNode name, VariableKind kind, SyntaxNode type,
                       SyntaxNode value, bool once) {
    // Attributes of self are those of the class, wherever they are assigned.
    const SyntaxNode owner = kind == VariableKind::kGlobal ? SyntaxNode()
                             : kind == VariableKind::kField
                                 ? Above(name, {"class_definition"})
                                 : Above(name, {"function_definition", "lambda",
                                                "class_definition"});
    const auto [found, is_new] =
        places.emplace(std::make_pair(owner ? owner.index() : 0, Text(name)),
                       variables_.size());
    if (!is_new) {
      variables_[found->second].constant = Evidence::kNo;
      return;
    }
    Variable variable{Text(name), kind, Text(type), Text(value), value, {}};
    variable.constant =
        !once                                              ? Evidence::kNo
        : absl::StartsWith(variable.type, "Final")         ? Evidence::kYes
        : absl::StrContains(variable.type, "typing.Final") ? Evidence::kYes
        : IsUpperCase(variable.name)                       ? Evidence::kYes
                                                           : Evidence::kUnclear;
    variables_.push_back(std::move(variable));
  };
  // A target is a name, an attribute of self, or a pattern of them; `a.b` and
  // `a[i]` declare nothing.
  const auto add_target = [&](SyntaxNode target, SyntaxNode type,
                              SyntaxNode value, bool once) {
    std::vector<SyntaxNode> open = {target};
    while (!open.empty()) {
      const SyntaxNode node = open.back();
      open.pop_back();
      const SyntaxNode given = node == target ? value : SyntaxNode();
      if (node.type() == "attribute") {
        if (node.ChildByField("object").text() == "self") {
          add(node.ChildByField("attribute"), VariableKind::kField, type, given,
              once);
        }
      } else if (node.type() == "identifier") {
        const SyntaxNode scope =
            Above(node, {"function_definition", "lambda", "class_definition"});
        const bool is_global =
            !scope || globals.count({scope.index(), Text(node)}) > 0;
        const VariableKind kind = is_global ? VariableKind::kGlobal
                                  : scope.type() == "class_definition"
                                      ? VariableKind::kField
                                      : VariableKind::kLocal;
        add(node, kind, type, given, once);
      } else if (IsOneOf(node.type(),
                         {"pattern_list", "tuple_pattern", "list_pattern",
                          "list_splat_pattern", "as_pattern_target", "tuple",
                          "list", "parenthesized_expression"})) {
        std::vector<SyntaxNode> parts;
        for (const SyntaxNode part : node.children()) parts.push_back(part);
        open.insert(open.end(), parts.rbegin(), parts.rend());
      }
    }
  };
  for (const SyntaxNode node : tree_.nodes()) {
    const absl::string_view type = node.type();
    if (type == "assignment") {
      // The value of `a = b = 1` is that of the last assignment.
      SyntaxNode value = node.ChildByField("right");
      while (value && value.type() == "assignment") {
        value = value.ChildByField("right");
      }
      add_target(node.ChildByField("left"), node.ChildByField("type"), value,
                 /*once=*/true);
    } else if (type == "named_expression") {
      add_target(node.ChildByField("name"), {}, node.ChildByField("value"),
                 /*once=*/true);
    } else if (type == "augmented_assignment" || type == "for_statement" ||
               type == "for_in_clause") {
      add_target(node.ChildByField("left"), {}, {}, /*once=*/false);
    } else if (type == "as_pattern_target") {
      add_target(node, {}, {}, /*once=*/false);
    } else if (type == "import_statement" || type == "import_from_statement") {
      const SyntaxNode module = node.ChildByField("module_name");
      Import from{Text(module), "", {}};
      for (const SyntaxNode name : Fields(node, "name")) {
        const bool aliased = name.type() == "aliased_import";
        const std::string path =
            Text(aliased ? name.ChildByField("name") : name);
        const std::string local =
            aliased ? Text(name.ChildByField("alias")) : path;
        if (module) {
          from.names.push_back(local);
        } else {
          imports_.push_back({path, local, {}});
        }
      }
      if (module) imports_.push_back(std::move(from));
    } else if (type == "class_definition") {
      TypeFact fact{
          Text(node.ChildByField("name")), TypeKind::kClass, {}, {}, {}};
      bool is_enum = false, is_abstract = false;
      if (const SyntaxNode bases = node.ChildByField("superclasses")) {
        for (const SyntaxNode base : bases.children()) {
          if (!base.is_named() || code::IsComment(base)) continue;
          const std::string name = base.type() == "keyword_argument"
                                       ? Text(base.ChildByField("value"))
                                       : BaseName(base);
          const std::string last = LastPart(name);
          is_enum |=
              IsOneOf(last, {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"});
          is_abstract |= IsOneOf(last, {"ABC", "ABCMeta", "Protocol"});
          if (base.type() != "keyword_argument") fact.bases.push_back(name);
        }
      }
      for (const SyntaxNode inner : node.subtree()) {
        if (inner.type() == "decorator" &&
            absl::StrContains(inner.text(), "abstractmethod")) {
          is_abstract = true;
        }
        // Not in another class or function.
        if (inner.type() == "function_definition" &&
            Above(inner, {"class_definition", "function_definition"}) == node) {
          fact.methods.push_back(Text(inner.ChildByField("name")));
        }
      }
      fact.kind = is_enum       ? TypeKind::kEnum
                  : is_abstract ? TypeKind::kInterface
                                : TypeKind::kClass;
      types_.push_back(std::move(fact));
    } else if (type == "parameters" || type == "lambda_parameters") {
      for (const SyntaxNode part : node.subtree()) {
        if (part.type() == "identifier" && part.field() != "value" &&
            !IsOneOf(part.text(), {"self", "cls"}) &&
            IsOneOf(part.parent().type(),
                    {"parameters", "lambda_parameters", "default_parameter",
                     "typed_parameter", "typed_default_parameter",
                     "list_splat_pattern", "dictionary_splat_pattern"}) &&
            // Not those of a lambda in a default, which come by themselves.
            Above(part, {"parameters", "lambda_parameters"}) == node) {
          variables_.push_back({Text(part),
                                VariableKind::kParameter,
                                Text(part.parent().ChildByField("type")),
                                "",
                                {},
                                Evidence::kNo});
        }
      }
    }
  }
  // Fields are those of class bodies and of self.
  for (const auto& [scope, place] : places) {
    const Variable& variable = variables_[place];
    if (variable.kind != VariableKind::kField) continue;
    const SyntaxNode name = tree_.node(scope.first).ChildByField("name");
    for (TypeFact& type : types_) {
      if (name && type.name == name.text())
        type.fields.push_back(variable.name);
    }
  }
}

// ------------------------------------------------------------------- Java

void Program::ReadJava() {
  const auto types = {absl::string_view("class_declaration"),
                      absl::string_view("interface_declaration"),
                      absl::string_view("enum_declaration"),
                      absl::string_view("record_declaration")};
  const auto find_owner = [&](SyntaxNode node) -> TypeFact* {
    const SyntaxNode owner = Above(
        node, {"class_declaration", "interface_declaration", "enum_declaration",
               "record_declaration", "object_creation_expression"});
    // An anonymous class has no name to ask for.
    if (!owner || owner.type() == "object_creation_expression") return nullptr;
    const std::string name = Text(owner.ChildByField("name"));
    for (TypeFact& type : types_) {
      if (type.name == name) return &type;
    }
    return nullptr;
  };
  for (const SyntaxNode node : tree_.nodes()) {
    const absl::string_view type = node.type();
    if (type == "package_declaration") {
      for (const SyntaxNode child : node.children()) {
        if (child.type() == "scoped_identifier" ||
            child.type() == "identifier") {
          packages_.push_back(Text(child));
        }
      }
    } else if (type == "import_declaration") {
      std::string path;
      for (const SyntaxNode child : node.children()) {
        if (child.type() == "scoped_identifier" ||
            child.type() == "identifier") {
          path = Text(child);
        } else if (child.type() == "asterisk") {
          absl::StrAppend(&path, ".*");
        }
      }
      imports_.push_back({path, LastPart(path), {}});
    } else if (IsOneOf(type, types)) {
      TypeFact fact{Text(node.ChildByField("name")),
                    type == "interface_declaration" ? TypeKind::kInterface
                    : type == "enum_declaration"    ? TypeKind::kEnum
                                                    : TypeKind::kClass,
                    {},
                    {},
                    {}};
      for (const SyntaxNode child : node.children()) {
        if (!IsOneOf(child.type(), {"superclass", "super_interfaces",
                                    "extends_interfaces"})) {
          continue;
        }
        const SyntaxNode list = child.ChildByType("type_list");
        for (const SyntaxNode base : (list ? list : child).children()) {
          if (base.is_named()) fact.bases.push_back(BaseName(base));
        }
      }
      if (type == "record_declaration") {
        if (const SyntaxNode list = node.ChildByField("parameters")) {
          for (const SyntaxNode parameter : list.children()) {
            if (const SyntaxNode name = parameter.ChildByField("name")) {
              fact.fields.push_back(Text(name));
            }
          }
        }
      }
      types_.push_back(std::move(fact));
    } else if (IsOneOf(type, {"field_declaration", "constant_declaration",
                              "local_variable_declaration"})) {
      const SyntaxNode modifiers = node.ChildByType("modifiers");
      const bool of_interface = type == "constant_declaration";
      const bool is_final =
          of_interface || (modifiers && HasWord(modifiers, "final"));
      const bool is_static =
          of_interface || (modifiers && HasWord(modifiers, "static"));
      const VariableKind kind = type == "local_variable_declaration"
                                    ? VariableKind::kLocal
                                : is_static ? VariableKind::kGlobal
                                            : VariableKind::kField;
      for (const SyntaxNode declarator : Fields(node, "declarator")) {
        const SyntaxNode value = declarator.ChildByField("value");
        variables_.push_back({Text(declarator.ChildByField("name")), kind,
                              Text(node.ChildByField("type")), Text(value),
                              value, EvidenceOf(is_final)});
        if (kind == VariableKind::kLocal) continue;
        if (TypeFact* owner = find_owner(node)) {
          owner->fields.push_back(variables_.back().name);
        }
      }
    } else if (IsOneOf(type, {"formal_parameter", "catch_formal_parameter",
                              "enhanced_for_statement", "resource"})) {
      const SyntaxNode name = node.ChildByField("name");
      if (!name) continue;
      const SyntaxNode modifiers = node.ChildByType("modifiers");
      variables_.push_back(
          {Text(name),
           type == "formal_parameter" ? VariableKind::kParameter
                                      : VariableKind::kLocal,
           Text(node.ChildByField("type")), "", SyntaxNode(),
           EvidenceOf(modifiers && HasWord(modifiers, "final"))});
    } else if (type == "lambda_expression" || type == "inferred_parameters") {
      // `x -> ...` and `(x, y) -> ...`
      const SyntaxNode only = node.ChildByField("parameters");
      for (const SyntaxNode child : node.children()) {
        if (child.type() == "identifier" &&
            (type == "inferred_parameters" || (only && child == only))) {
          variables_.push_back({Text(child), VariableKind::kParameter, "", "",
                                SyntaxNode(), Evidence::kNo});
        }
      }
    } else if (type == "instanceof_expression") {
      if (const SyntaxNode name = node.ChildByField("name")) {
        variables_.push_back({Text(name), VariableKind::kLocal,
                              Text(node.ChildByField("right")), "",
                              SyntaxNode(), Evidence::kNo});
      }
    } else if (type == "method_declaration") {
      TypeFact* owner = find_owner(node);
      if (owner == nullptr) continue;
      const std::string name = Text(node.ChildByField("name"));
      owner->methods.push_back(name);
      if (node.ChildByField("body")) continue;  // ReadFunctions has it
      FunctionFact fact;
      fact.name = name;
      fact.owner = owner->name;
      fact.return_type = Text(node.ChildByField("type"));
      for (const SyntaxNode parameter :
           node.ChildByField("parameters").children()) {
        const SyntaxNode of = parameter.ChildByField("name");
        if (of) fact.parameters.push_back(Text(of));
      }
      functions_.push_back(std::move(fact));
    }
  }
}

// -------------------------------------------------------------------- C++

void Program::ReadCpp() {
  for (const SyntaxNode node : tree_.nodes()) {
    const absl::string_view type = node.type();
    if (type == "namespace_definition") {
      const std::string name = Text(node.ChildByField("name"));
      if (name.empty()) continue;
      packages_.push_back(name);
      // Parts of "a::b", and a namespace in another.
      const SyntaxNode outer = Above(node, {"namespace_definition"});
      if (outer) {
        packages_.push_back(
            absl::StrCat(Text(outer.ChildByField("name")), "::", name));
      }
    } else if (type == "preproc_include") {
      std::string path = Text(node.ChildByField("path"));
      path.erase(
          std::remove_if(path.begin(), path.end(),
                         [](char c) { return absl::StrContains("<>\"", c); }),
          path.end());
      imports_.push_back({path, "", {}});
    } else if (type == "enum_specifier" && node.ChildByField("body")) {
      types_.push_back(
          {Text(node.ChildByField("name")), TypeKind::kEnum, {}, {}, {}});
    } else if ((type == "class_specifier" || type == "struct_specifier") &&
               node.ChildByField("body")) {
      // `typedef struct {} Name;`
      SyntaxNode name = node.ChildByField("name");
      if (!name && node.parent().type() == "type_definition") {
        name = node.parent().ChildByField("declarator");
      }
      TypeFact fact{name ? BaseName(name) : "", TypeKind::kClass, {}, {}, {}};
      if (const SyntaxNode clause = node.ChildByType("base_class_clause")) {
        for (const SyntaxNode base : clause.children()) {
          if (IsOneOf(base.type(), {"type_identifier", "template_type",
                                    "qualified_identifier"})) {
            fact.bases.push_back(BaseName(base));
          }
        }
      }
      for (const SyntaxNode member : node.ChildByField("body").children()) {
        const SyntaxNode inner = member.type() == "template_declaration" &&
                                         member.ChildByType("declaration")
                                     ? member.ChildByType("declaration")
                                     : member;
        if (!IsOneOf(inner.type(), {"field_declaration", "declaration",
                                    "function_definition"})) {
          continue;
        }
        for (const SyntaxNode declarator : Fields(inner, "declarator")) {
          const SyntaxNode member_name = Declared(declarator);
          if (!member_name) continue;
          const bool is_function =
              static_cast<bool>(FunctionDeclarator(declarator));
          (is_function ? fact.methods : fact.fields)
              .push_back(Text(member_name));
          const std::string text =
              absl::StrReplaceAll(inner.text(), {{" ", ""}, {"\n", ""}});
          if (is_function && absl::StrContains(text, "virtual") &&
              (absl::EndsWith(text, "=0;") || absl::EndsWith(text, "=0"))) {
            fact.kind = TypeKind::kInterface;
          }
        }
      }
      types_.push_back(std::move(fact));
    } else if (IsOneOf(type, {"declaration", "field_declaration",
                              "for_range_loop", "parameter_declaration",
                              "optional_parameter_declaration"})) {
      const SyntaxNode scope = Above(
          node, {"function_definition", "lambda_expression", "class_specifier",
                 "struct_specifier", "enum_specifier", "union_specifier"});
      // Parameters of what is only declared are nobody's variables.
      const bool is_parameter = absl::StrContains(type, "parameter");
      const VariableKind kind = is_parameter ? VariableKind::kParameter
                                : !scope     ? VariableKind::kGlobal
                                : type == "field_declaration"
                                    ? VariableKind::kField
                                    : VariableKind::kLocal;
      const bool is_constant = HasWord(node, "const") ||
                               HasWord(node, "constexpr") ||
                               HasWord(node, "constinit");
      for (const SyntaxNode declarator : Fields(node, "declarator")) {
        // In a function `T x(y);` is a variable, though it parses as a
        // function.
        const bool in_function =
            scope &&
            IsOneOf(scope.type(), {"function_definition", "lambda_expression"});
        if (FunctionDeclarator(declarator) && !in_function) {
          const SyntaxNode name = Declared(declarator);
          if (!name || is_parameter) continue;
          FunctionFact fact;
          fact.name = LastPart(name.text());
          fact.return_type = Text(node.ChildByField("type"));
          const SyntaxNode owner =
              Above(node, {"class_specifier", "struct_specifier"});
          if (owner) fact.owner = Text(owner.ChildByField("name"));
          fact.is_constructor =
              fact.name == fact.owner || name.type() == "destructor_name";
          fact.overrides = name.type() == "operator_name" ||
                           absl::StrContains(node.text(), " override");
          for (const SyntaxNode parameter : FunctionDeclarator(declarator)
                                                .ChildByField("parameters")
                                                .children()) {
            if (!absl::StrContains(parameter.type(), "parameter")) continue;
            const SyntaxNode of =
                Declared(parameter.ChildByField("declarator"));
            if (of || parameter.text() != "void") {
              fact.parameters.push_back(Text(of));
            }
          }
          functions_.push_back(std::move(fact));
          continue;
        }
        if (const SyntaxNode binding = StructuredBinding(declarator)) {
          for (const SyntaxNode part : binding.children()) {
            if (part.type() != "identifier") continue;
            variables_.push_back({Text(part), kind, "auto", "", SyntaxNode(),
                                  EvidenceOf(is_constant)});
          }
          continue;
        }
        const SyntaxNode name = Declared(declarator);
        if (!name || name.type() == "qualified_identifier") continue;
        SyntaxNode value = declarator.ChildByField("value");
        if (!value && type == "field_declaration") {
          value = DefaultOf(node, declarator);
        }
        // Pointers and references belong to the type.
        std::string declared = Text(node.ChildByField("type"));
        for (SyntaxNode at = declarator; at && at != name;
             at = at.ChildByField("declarator")) {
          if (at.type() == "pointer_declarator") declared += '*';
          if (at.type() == "array_declarator") declared += "[]";
          // A pointer to a function, whose type is not of one piece.
          if (at.type() == "parenthesized_declarator") declared.clear();
        }
        // What a pointer points to may be all that is constant.
        const Evidence constant = is_constant && absl::EndsWith(declared, "*")
                                      ? Evidence::kUnclear
                                      : EvidenceOf(is_constant);
        variables_.push_back(
            {Text(name), kind, declared, Text(value), value, constant});
      }
    }
  }
}

// --------------------------------------------------------------------- Go

void Program::ReadGo() {
  // A type whose constants a const block lists is Go's enumeration.
  std::set<std::string> types_of_constants;
  for (const SyntaxNode node : tree_.nodes()) {
    if (node.type() == "const_spec") {
      types_of_constants.insert(Text(node.ChildByField("type")));
    }
  }
  for (const SyntaxNode node : tree_.nodes()) {
    const absl::string_view type = node.type();
    if (type == "package_clause") {
      packages_.push_back(Text(node.ChildByType("package_identifier")));
    } else if (type == "import_spec") {
      std::string path = Text(node.ChildByField("path"));
      if (path.size() >= 2) path = path.substr(1, path.size() - 2);
      const SyntaxNode alias = node.ChildByField("name");
      imports_.push_back(
          {path, alias ? Text(alias) : path.substr(path.rfind('/') + 1), {}});
    } else if (type == "var_spec" || type == "const_spec") {
      const VariableKind here =
          Above(node,
                {"function_declaration", "method_declaration", "func_literal"})
              ? VariableKind::kLocal
              : VariableKind::kGlobal;
      const std::vector<SyntaxNode> names = Fields(node, "name");
      const SyntaxNode list = node.ChildByField("value");
      size_t place = 0;
      for (const SyntaxNode name : names) {
        if (!name.is_named()) continue;
        SyntaxNode value;
        if (list) {
          size_t i = 0;
          for (const SyntaxNode one : list.children()) {
            if (one.is_named() && i++ == place) value = one;
          }
        }
        variables_.push_back({Text(name), here, Text(node.ChildByField("type")),
                              Text(value), value,
                              EvidenceOf(type == "const_spec")});
        ++place;
      }
    } else if (type == "short_var_declaration" || type == "range_clause" ||
               type == "receive_statement" || type == "type_switch_statement") {
      const SyntaxNode left =
          node.ChildByField(type == "type_switch_statement" ? "alias" : "left");
      const SyntaxNode right = node.ChildByField("right");
      if (!left || !absl::StrContains(node.text(), ":=")) continue;
      size_t place = 0;
      for (const SyntaxNode name : left.children()) {
        if (name.type() != "identifier") continue;
        SyntaxNode value;
        if (type == "short_var_declaration" && right) {
          size_t i = 0;
          for (const SyntaxNode one : right.children()) {
            if (one.is_named() && i++ == place) value = one;
          }
        }
        variables_.push_back({Text(name), VariableKind::kLocal, "", Text(value),
                              value, Evidence::kNo});
        ++place;
      }
    } else if (type == "parameter_declaration" ||
               type == "variadic_parameter_declaration") {
      const std::string declared =
          absl::StrCat(type == "parameter_declaration" ? "" : "[]",
                       Text(node.ChildByField("type")));
      for (const SyntaxNode name : Fields(node, "name")) {
        variables_.push_back({Text(name), VariableKind::kParameter, declared,
                              "", SyntaxNode(), Evidence::kNo});
      }
    } else if (type == "field_declaration") {
      for (const SyntaxNode name : Fields(node, "name")) {
        variables_.push_back({Text(name), VariableKind::kField,
                              Text(node.ChildByField("type")), "", SyntaxNode(),
                              Evidence::kNo});
      }
    } else if (type == "type_spec") {
      const SyntaxNode of = node.ChildByField("type");
      if (!of) continue;
      TypeFact fact{Text(node.ChildByField("name")),
                    of.type() == "struct_type"      ? TypeKind::kClass
                    : of.type() == "interface_type" ? TypeKind::kInterface
                                                    : TypeKind::kOther,
                    {},
                    {},
                    {}};
      for (const SyntaxNode inner : of.subtree()) {
        if (inner.type() == "field_declaration") {
          const std::vector<SyntaxNode> names = Fields(inner, "name");
          for (const SyntaxNode name : names) fact.fields.push_back(Text(name));
          // An embedded type brings its fields and methods.
          if (names.empty()) {
            fact.bases.push_back(Text(inner.ChildByField("type")));
          }
        } else if (inner.type() == "method_elem" ||
                   inner.type() == "method_spec") {
          fact.methods.push_back(Text(inner.ChildByField("name")));
        } else if (inner.type() == "type_elem" ||
                   inner.type() == "constraint_elem") {
          fact.bases.push_back(Text(inner));
        }
      }
      if (fact.kind == TypeKind::kOther &&
          types_of_constants.count(fact.name) > 0) {
        fact.kind = TypeKind::kEnum;
      }
      types_.push_back(std::move(fact));
    }
  }
}

}  // namespace repro::code_if
