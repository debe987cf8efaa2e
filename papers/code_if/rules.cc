#include "papers/code_if/rules.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/text/utf8.h"

namespace repro::code_if {
namespace {

using code::Call;
using code::CodeLanguage;
using code::SyntaxNode;
using Verdict = std::optional<bool>;
using Checker = std::function<Verdict(const Program&)>;

bool IsOneOf(absl::string_view text,
             std::initializer_list<absl::string_view> names) {
  return absl::c_linear_search(names, text);
}

// ------------------------------------------------------------ evidence

Verdict Affirm(Evidence evidence) {
  if (evidence == Evidence::kUnclear) return std::nullopt;
  return evidence == Evidence::kYes;
}

Verdict Deny(Evidence evidence) {
  if (evidence == Evidence::kUnclear) return std::nullopt;
  return evidence == Evidence::kNo;
}

// kUnclear is ordered between the two.
Evidence And(Evidence a, Evidence b) { return std::min(a, b); }
Evidence Or(Evidence a, Evidence b) { return std::max(a, b); }

// kYes or kNo if all agree; kUnclear if not, and for nothing.
Evidence Unanimous(const std::vector<Evidence>& evidence) {
  if (evidence.empty()) return Evidence::kUnclear;
  return absl::c_all_of(evidence,
                        [&](Evidence one) { return one == evidence[0]; })
             ? evidence[0]
             : Evidence::kUnclear;
}

// ---------------------------------------------------------------- words

// [A-Za-z_][A-Za-z0-9_]*
bool IsName(absl::string_view text) {
  return !text.empty() && !absl::ascii_isdigit(text[0]) &&
         absl::c_all_of(
             text, [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

bool AreNames(const std::vector<std::string>& names) {
  return absl::c_all_of(names, IsName);
}

std::string LastPart(absl::string_view name) {
  const size_t at = name.find_last_of(":./");
  return std::string(at == absl::string_view::npos ? name
                                                   : name.substr(at + 1));
}

bool IsIdentifier(SyntaxNode leaf) {
  return leaf.is_named() && absl::StrContains(leaf.type(), "identifier");
}

bool HasWord(const Program& program, absl::string_view word) {
  return absl::c_any_of(program.words(),
                        [&](SyntaxNode leaf) { return leaf.text() == word; });
}

bool HasAny(const Program& program,
            std::initializer_list<absl::string_view> types) {
  return absl::c_any_of(
      types, [&](absl::string_view type) { return program.HasNode(type); });
}

Evidence UsesKeyword(const Program& program, absl::string_view word) {
  Evidence evidence = Evidence::kNo;
  for (const SyntaxNode leaf : program.words()) {
    if (leaf.text() == word) {
      evidence = Or(evidence,
                    IsIdentifier(leaf) ? Evidence::kUnclear : Evidence::kYes);
    } else if (leaf.type() == "preproc_arg" &&
               absl::StrContains(leaf.text(), word)) {
      evidence = Or(evidence, Evidence::kUnclear);
    }
  }
  return evidence;
}

// ----------------------------------------------------------- structures

// A data structure of a language that has a notation.
struct Notation {
  CodeLanguage language;
  std::vector<absl::string_view> names;
  std::vector<absl::string_view> nodes;
  bool comes_from_calls;  // its absence from the text is no proof
};

const std::vector<Notation>& Notations() {
  static const auto* const notations = new std::vector<Notation>{
      {CodeLanguage::kPython, {"list"}, {"list", "list_comprehension"}, true},
      {CodeLanguage::kPython,
       {"dict", "dictionary"},
       {"dictionary", "dictionary_comprehension"},
       true},
      {CodeLanguage::kPython, {"set"}, {"set", "set_comprehension"}, true},
      {CodeLanguage::kPython, {"tuple"}, {"tuple"}, true},
      {CodeLanguage::kJava,
       {"array"},
       {"array_type", "array_creation_expression", "array_initializer"},
       true},
      {CodeLanguage::kGo, {"map"}, {"map_type"}, true},
      {CodeLanguage::kGo, {"slice"}, {"slice_type"}, true},
      {CodeLanguage::kGo, {"array"}, {"array_type"}, true},
      {CodeLanguage::kGo, {"channel"}, {"channel_type"}, true},
      {CodeLanguage::kGo, {"struct"}, {"struct_type"}, false},
      {CodeLanguage::kGo, {"interface"}, {"interface_type"}, false},
  };
  return *notations;
}

// Whether the name stands as a type or is called.
Evidence NamesStructure(const Program& program, const std::string& name) {
  Evidence evidence = Evidence::kNo;
  for (const SyntaxNode leaf : program.words()) {
    if (leaf.text() == name) {
      evidence =
          Or(evidence, leaf.type() == "type_identifier" ? Evidence::kYes
                                                        : Evidence::kUnclear);
    } else if (leaf.type() == "type_identifier" &&
               absl::EndsWithIgnoreCase(leaf.text(), name)) {
      evidence = Or(evidence, Evidence::kUnclear);  // a HashMap is a Map
    }
  }
  for (const Call& call : program.calls()) {
    absl::string_view made = call.name;
    made = made.substr(0, made.find('<'));
    if (made == name) return Evidence::kYes;
  }
  // Inferred types.
  const bool inferred =
      (program.language() == CodeLanguage::kCpp && HasWord(program, "auto")) ||
      (program.language() == CodeLanguage::kJava && HasWord(program, "var"));
  return inferred ? Or(evidence, Evidence::kUnclear) : evidence;
}

// ---------------------------------------------------------------- names

struct CheckedName {
  std::string name;
  bool exempt;  // whether the program was free to choose it is unclear
};

Evidence AllFollow(const std::vector<CheckedName>& names, Convention convention,
                   CodeLanguage language) {
  Evidence all = Evidence::kYes;
  bool any = false;
  for (const CheckedName& one : names) {
    absl::string_view name = one.name;
    if (language == CodeLanguage::kPython || name == "_") {
      name = absl::string_view(name).substr(
          std::min(name.find_first_not_of('_'), name.size()));
    }
    if (name.empty()) continue;
    any = true;
    const Evidence follows = Follows(name, convention);
    all = And(all, one.exempt && follows == Evidence::kNo ? Evidence::kUnclear
                                                          : follows);
  }
  return any ? all : Evidence::kUnclear;
}

std::vector<CheckedName> VariableNames(const Program& program) {
  std::vector<CheckedName> names;
  for (const Variable& variable : program.variables()) {
    names.push_back({variable.name, variable.kind == VariableKind::kParameter ||
                                        variable.constant == Evidence::kYes});
  }
  return names;
}

std::vector<CheckedName> FunctionNames(const Program& program) {
  std::vector<CheckedName> names;
  for (const FunctionFact& function : program.functions()) {
    if (function.is_constructor) continue;
    names.push_back(
        {function.name,
         function.overrides || IsOneOf(function.name, {"main", "init"})});
  }
  return names;
}

// Python's and C++'s interfaces and Python's enumerations are classes too.
std::vector<CheckedName> TypeNames(const Program& program, TypeKind kind) {
  std::vector<CheckedName> names;
  for (const TypeFact& type : program.types()) {
    const bool is_class_too = kind == TypeKind::kClass &&
                              (program.language() == CodeLanguage::kPython ||
                               (program.language() == CodeLanguage::kCpp &&
                                type.kind == TypeKind::kInterface));
    if (type.kind == kind || is_class_too) {
      names.push_back({type.name, type.kind != kind});
    }
  }
  return names;
}

// ---------------------------------------------------------------- types

// Without std::, const, references and white space.
std::string NormalType(absl::string_view type, CodeLanguage language) {
  std::string text = absl::StrReplaceAll(
      type, {{"std::", ""}, {"const ", ""}, {"final ", ""}, {"&", ""}});
  text.erase(std::remove_if(text.begin(), text.end(), absl::ascii_isspace),
             text.end());
  if (language == CodeLanguage::kPython) {
    absl::AsciiStrToLower(&text);
    text = LastPart(text.substr(0, text.find('[')));
    if (text == "string") text = "str";
    if (text == "dictionary") text = "dict";
    if (text == "boolean") text = "bool";
  }
  return text;
}

// Types of which two with other names are two.
bool IsBuiltIn(absl::string_view type, CodeLanguage language) {
  switch (language) {
    case CodeLanguage::kPython:
      return IsOneOf(type, {"int", "float", "str", "bool", "list", "dict",
                            "set", "tuple", "none"});
    case CodeLanguage::kJava:
      return IsOneOf(type, {"int", "long", "short", "byte", "char", "float",
                            "double", "boolean", "String", "void"});
    case CodeLanguage::kCpp:
      return IsOneOf(type, {"int", "long", "longlong", "short", "char", "float",
                            "double", "bool", "string", "void"});
    default:
      return IsOneOf(type, {"int", "int64", "int32", "string", "bool",
                            "float64", "float32", "error"});
  }
}

Evidence SameType(absl::string_view declared, absl::string_view required,
                  CodeLanguage language) {
  const std::string is = NormalType(declared, language);
  const std::string wanted = NormalType(required, language);
  if (is.empty() || IsOneOf(is, {"auto", "var"})) return Evidence::kUnclear;
  if (is == wanted) return Evidence::kYes;
  // Type arguments that were not asked for: Map and Map<String, Integer>.
  if (is.substr(0, is.find_first_of("<[")) == wanted) return Evidence::kYes;
  if (language == CodeLanguage::kGo && wanted == "slice") {
    return absl::StartsWith(is, "[]") ? Evidence::kYes : Evidence::kUnclear;
  }
  return IsBuiltIn(is, language) && IsBuiltIn(wanted, language)
             ? Evidence::kNo
             : Evidence::kUnclear;
}

// The type that a value gives its variable; empty if syntax does not tell.
std::string ImpliedType(SyntaxNode value, CodeLanguage language) {
  if (!value) return "";
  const absl::string_view type = value.type();
  if (language == CodeLanguage::kPython) {
    if (type == "integer") return "int";
    if (type == "float") return "float";
    if (IsOneOf(type, {"string", "concatenated_string"})) {
      return absl::StartsWithIgnoreCase(value.text(), "b") ? "bytes" : "str";
    }
    if (IsOneOf(type, {"true", "false"})) return "bool";
    if (type == "none") return "none";
    if (IsOneOf(type, {"list", "list_comprehension"})) return "list";
    if (IsOneOf(type, {"dictionary", "dictionary_comprehension"})) {
      return "dict";
    }
    if (IsOneOf(type, {"set", "set_comprehension"})) return "set";
    if (type == "tuple") return "tuple";
    if (type == "call") {
      const std::string made(value.ChildByField("function").text());
      const std::string last = LastPart(made);
      if (IsBuiltIn(made, language) ||
          (!last.empty() && absl::ascii_isupper(last[0]))) {
        return last;
      }
    }
    return "";
  }
  if (language != CodeLanguage::kGo) return "";
  if (type == "int_literal") return "int";
  if (type == "float_literal") return "float64";
  if (IsOneOf(type, {"interpreted_string_literal", "raw_string_literal"})) {
    return "string";
  }
  if (IsOneOf(type, {"true", "false"})) return "bool";
  if (type == "composite_literal") {
    return std::string(value.ChildByField("type").text());
  }
  if (type == "call_expression" &&
      value.ChildByField("function").text() == "make") {
    const SyntaxNode arguments = value.ChildByField("arguments");
    if (arguments && arguments.child(1)) {
      return std::string(arguments.child(1).text());
    }
  }
  return "";
}

// --------------------------------------------------------------- values

bool IsNumber(absl::string_view text) {
  double number;
  return absl::SimpleAtod(text, &number);
}

bool IsConstantWord(absl::string_view text) {
  return IsOneOf(text, {"null", "nullptr", "None", "nil", "true", "false",
                        "True", "False"});
}

bool IsQuoted(absl::string_view text) {
  return text.size() >= 2 && text.front() == text.back() &&
         absl::StrContains("'\"", text.front()) &&
         !absl::StrContains(text.substr(1, text.size() - 2), text.front());
}

std::string WithoutSpace(absl::string_view text) {
  std::string out(text);
  out.erase(std::remove_if(out.begin(), out.end(), absl::ascii_isspace),
            out.end());
  return out;
}

// Whether a value as written is the one that is asked for, which has lost its
// quotes if it had any.
Evidence SameValue(absl::string_view written, absl::string_view required) {
  if (WithoutSpace(written) == WithoutSpace(required)) return Evidence::kYes;
  double a, b;
  if (absl::SimpleAtod(written, &a) && absl::SimpleAtod(required, &b)) {
    return EvidenceOf(a == b);
  }
  if (IsQuoted(written)) {
    if (written.substr(1, written.size() - 2) == required) {
      return Evidence::kYes;
    }
  }
  const bool literal =
      IsQuoted(written) || IsNumber(written) || IsConstantWord(written);
  return literal && (IsNumber(required) || IsConstantWord(required))
             ? Evidence::kNo
             : Evidence::kUnclear;
}

// ------------------------------------------------------------ variables

// A macro is no variable, but may be meant as one.
bool IsMacro(const Program& program, absl::string_view name) {
  return absl::c_any_of(program.words(), [&](SyntaxNode leaf) {
    return leaf.text() == name && leaf.parent() &&
           absl::StartsWith(leaf.parent().type(), "preproc_");
  });
}

std::vector<const Variable*> Named(const Program& program,
                                   absl::string_view name) {
  std::vector<const Variable*> found;
  for (const Variable& variable : program.variables()) {
    if (variable.name == name) found.push_back(&variable);
  }
  return found;
}

Evidence DefinesVariable(const Program& program, absl::string_view name) {
  Evidence evidence = Evidence::kNo;
  for (const Variable* variable : Named(program, name)) {
    evidence = Or(evidence, variable->kind == VariableKind::kParameter
                                ? Evidence::kUnclear
                                : Evidence::kYes);
  }
  return evidence;
}

Evidence UsesGlobals(const Program& program) {
  Evidence evidence = Evidence::kNo;
  for (const Variable& variable : program.variables()) {
    if (variable.kind != VariableKind::kGlobal) continue;
    // A constant is hardly what the instruction is about.
    evidence =
        Or(evidence, variable.constant == Evidence::kYes ? Evidence::kUnclear
                                                         : Evidence::kYes);
  }
  return evidence;
}

// kUnclear: the name is declared in both ways.
Evidence IsGlobal(const std::vector<const Variable*>& variables) {
  std::vector<Evidence> each;
  for (const Variable* variable : variables) {
    each.push_back(EvidenceOf(variable->kind == VariableKind::kGlobal));
  }
  return Unanimous(each);
}

Evidence IsConstant(const std::vector<const Variable*>& variables) {
  std::vector<Evidence> each;
  for (const Variable* variable : variables) each.push_back(variable->constant);
  return Unanimous(each);
}

Evidence HasType(const Program& program, absl::string_view name,
                 absl::string_view type) {
  std::vector<Evidence> each;
  for (const Variable* variable : Named(program, name)) {
    const std::string declared =
        variable->type.empty()
            ? ImpliedType(variable->value_node, program.language())
            : variable->type;
    each.push_back(SameType(declared, type, program.language()));
  }
  return each.empty() ? Evidence::kNo : Unanimous(each);
}

Evidence HasInitialValue(const Program& program, absl::string_view name,
                         absl::string_view value) {
  const std::vector<const Variable*> variables = Named(program, name);
  if (variables.empty()) return Evidence::kNo;
  std::vector<Evidence> each;
  for (const Variable* variable : variables) {
    if (!variable->value.empty()) {
      each.push_back(SameValue(variable->value, value));
    }
  }
  return Unanimous(each);
}

// ------------------------------------------------------ types, functions

Evidence DefinesType(const Program& program, absl::string_view name,
                     TypeKind kind) {
  const TypeFact* const type = program.FindType(name);
  if (type == nullptr) return Evidence::kNo;
  const bool is_class_too = kind == TypeKind::kClass &&
                            program.language() != CodeLanguage::kJava &&
                            program.language() != CodeLanguage::kGo &&
                            type->kind == TypeKind::kInterface;
  return type->kind == kind || is_class_too ? Evidence::kYes
                                            : Evidence::kUnclear;
}

Evidence DefinesFunction(const Program& program, absl::string_view name) {
  for (const FunctionFact& function : program.functions()) {
    if (function.name == name) return Evidence::kYes;
  }
  for (const TypeFact& type : program.types()) {
    if (absl::c_linear_search(type.methods, name)) return Evidence::kYes;
  }
  // A lambda has the name of its variable.
  return Named(program, name).empty() ? Evidence::kNo : Evidence::kUnclear;
}

Evidence HasMembers(const TypeFact* type,
                    const std::vector<std::string>& members, bool fields,
                    CodeLanguage language) {
  if (type == nullptr) return Evidence::kNo;
  Evidence all = Evidence::kYes;
  for (const std::string& member : members) {
    const bool is_field = absl::c_linear_search(type->fields, member);
    const bool is_method = absl::c_linear_search(type->methods, member);
    if (fields ? is_field : is_method) continue;
    // It may be inherited; in Python a property is a method and a lambda a
    // field.
    const bool unclear =
        !type->bases.empty() ||
        (language == CodeLanguage::kPython && (is_field || is_method));
    all = And(all, unclear ? Evidence::kUnclear : Evidence::kNo);
  }
  return all;
}

Evidence Implements(const Program& program, absl::string_view class_name,
                    absl::string_view interface_name) {
  const TypeFact* const type = program.FindType(class_name);
  if (type == nullptr) return Evidence::kNo;
  if (program.language() == CodeLanguage::kGo) {
    // By having the methods; whether they have the signatures is unclear.
    const TypeFact* const wanted = program.FindType(interface_name);
    if (wanted == nullptr || !type->bases.empty()) return Evidence::kUnclear;
    for (const std::string& method : wanted->methods) {
      if (!absl::c_linear_search(type->methods, method)) return Evidence::kNo;
    }
    return Evidence::kUnclear;
  }
  for (const std::string& base : type->bases) {
    if (LastPart(base) == interface_name) return Evidence::kYes;
  }
  return type->bases.empty() ? Evidence::kNo : Evidence::kUnclear;
}

// For a function that is only declared in an interface, whose parameters and
// result are not read.
Evidence WithoutDefinition(const Program& program, absl::string_view name) {
  return DefinesFunction(program, name) == Evidence::kNo ? Evidence::kNo
                                                         : Evidence::kUnclear;
}

Evidence TakesParameters(const Program& program, absl::string_view name,
                         const std::vector<std::string>& parameters) {
  Evidence evidence = Evidence::kNo;
  bool is_defined = false;
  for (const FunctionFact& function : program.functions()) {
    if (function.name != name) continue;
    is_defined = true;
    const bool takes_all =
        absl::c_all_of(parameters, [&](const std::string& parameter) {
          return absl::c_linear_search(function.parameters, parameter);
        });
    if (!takes_all) continue;
    // More than those asked for may be meant as well, but not if none is.
    const bool takes_more = function.parameters.size() > parameters.size();
    if (!takes_more) return Evidence::kYes;
    if (!parameters.empty()) evidence = Evidence::kUnclear;
  }
  return is_defined ? evidence : WithoutDefinition(program, name);
}

Evidence Returns(const Program& program, absl::string_view name,
                 absl::string_view type) {
  std::vector<Evidence> each;
  for (const FunctionFact& function : program.functions()) {
    if (function.name == name) {
      each.push_back(SameType(function.return_type, type, program.language()));
    }
  }
  return each.empty() ? WithoutDefinition(program, name) : Unanimous(each);
}

Evidence InPackage(const Program& program, absl::string_view name) {
  if (program.language() == CodeLanguage::kPython) return Evidence::kUnclear;
  const std::string path = absl::StrReplaceAll(name, {{".", "::"}});
  for (const std::string& package : program.packages()) {
    if (package == name ||
        (program.language() == CodeLanguage::kCpp && package == path)) {
      return Evidence::kYes;
    }
  }
  return program.language() == CodeLanguage::kCpp ? Evidence::kUnclear
                                                  : Evidence::kNo;
}

// -------------------------------------------------------------- imports

// The module behind a distribution's name.
std::string PythonModule(absl::string_view library) {
  const std::string name = absl::AsciiStrToLower(library);
  static constexpr std::pair<const char*, const char*> kModules[] = {
      {"scikit-learn", "sklearn"}, {"pytorch", "torch"},
      {"beautifulsoup", "bs4"},    {"beautifulsoup4", "bs4"},
      {"opencv", "cv2"},           {"pillow", "pil"},
      {"pyyaml", "yaml"}};
  for (const auto& [distribution, module] : kModules) {
    if (name == distribution) return module;
  }
  return name;
}

// Whether one import brings a library or a part of it.
Evidence Brings(const Import& import, absl::string_view library,
                CodeLanguage language) {
  switch (language) {
    case CodeLanguage::kPython: {
      const std::string module = PythonModule(library);
      const std::string path = absl::AsciiStrToLower(import.path);
      if (path == module || absl::StartsWith(path, module + ".")) {
        return Evidence::kYes;
      }
      for (const std::string& name : import.names) {
        if (absl::StrCat(path, ".", absl::AsciiStrToLower(name)) == module) {
          return Evidence::kYes;
        }
      }
      return absl::StrContains(path, module) ? Evidence::kUnclear
                                             : Evidence::kNo;
    }
    case CodeLanguage::kJava: {
      absl::string_view package = library;
      absl::ConsumeSuffix(&package, ".*");
      if (import.path == library || import.path == package ||
          absl::StartsWith(import.path, absl::StrCat(package, "."))) {
        return Evidence::kYes;
      }
      // java.util.* brings java.util.List.
      absl::string_view path = import.path;
      if (absl::ConsumeSuffix(&path, ".*") &&
          package.substr(0, package.rfind('.')) == path) {
        return Evidence::kYes;
      }
      return absl::StrContains(import.path, package) ? Evidence::kUnclear
                                                     : Evidence::kNo;
    }
    case CodeLanguage::kCpp: {
      const std::string header =
          absl::StrReplaceAll(library, {{"<", ""}, {">", ""}});
      const std::string& path = import.path;
      if (path == header || path == header + ".h" || path == header + ".hpp" ||
          path == "c" + header || path + ".h" == header ||
          absl::StartsWith(path, header + "/")) {
        return Evidence::kYes;
      }
      return path == "bits/stdc++.h" || absl::StrContains(path, header)
                 ? Evidence::kUnclear
                 : Evidence::kNo;
    }
    default:
      if (import.path == library) return Evidence::kYes;
      return LastPart(import.path) == LastPart(library) ? Evidence::kUnclear
                                                        : Evidence::kNo;
  }
}

Evidence Imports(const Program& program, absl::string_view library) {
  Evidence evidence = Evidence::kNo;
  for (const Import& import : program.imports()) {
    evidence = Or(evidence, Brings(import, library, program.language()));
  }
  // Java needs no import for java.lang, nor for a name written out.
  if (evidence == Evidence::kNo && program.language() == CodeLanguage::kJava &&
      (absl::StartsWith(library, "java.lang") ||
       absl::StrContains(program.tree().source(), library))) {
    return Evidence::kUnclear;
  }
  return evidence;
}

// Names of libraries without white space; "" has none.
bool AreLibraries(const std::vector<std::string>& libraries) {
  return !libraries.empty() &&
         absl::c_none_of(libraries, [](const std::string& library) {
           return absl::StrContains(library, " ");
         });
}

// ---------------------------------------------------------------- calls

// A function by name, "sort", or with what it belongs to, "std::sort".
Evidence Calls(const Program& program, absl::string_view function) {
  const std::string name = LastPart(function);
  const bool qualified = name.size() < function.size();
  // Named without being called: passed on, or something else.
  const Evidence evidence =
      HasWord(program, name) ? Evidence::kUnclear : Evidence::kNo;
  for (const Call& call : program.calls()) {
    absl::string_view callee = call.callee;
    if (absl::EndsWith(callee, ">")) {  // type arguments
      callee = callee.substr(0, callee.find('<'));
    }
    if (callee == function || (!qualified && call.name == name)) {
      return Evidence::kYes;
    }
    // A class whose functions are called: java.util.Collections.
    if (qualified && LastPart(call.receiver) == name) return Evidence::kYes;
  }
  return evidence;
}

Evidence CallsFromLibrary(const Program& program, absl::string_view function,
                          absl::string_view library) {
  const std::string name = LastPart(function);
  if (!HasWord(program, name)) return Evidence::kNo;
  const CodeLanguage language = program.language();
  const bool modules =
      language == CodeLanguage::kPython || language == CodeLanguage::kGo;
  for (const Import& import : program.imports()) {
    if (Brings(import, library, language) != Evidence::kYes) continue;
    for (const Call& call : program.calls()) {
      if (call.name != name) continue;
      if (modules &&
          ((!import.local.empty() && call.receiver == import.local) ||
           (call.receiver.empty() &&
            absl::c_linear_search(import.names, name)))) {
        return Evidence::kYes;
      }
      // A static method of Java, a free function of C++.
      if (language == CodeLanguage::kJava &&
          call.receiver == LastPart(library)) {
        return Evidence::kYes;
      }
      if (language == CodeLanguage::kCpp && call.receiver == "std") {
        return Evidence::kYes;
      }
    }
  }
  return modules && Imports(program, library) == Evidence::kNo
             ? Evidence::kNo
             : Evidence::kUnclear;
}

// An object that a constructor makes of the named arguments.
Evidence Initializes(const Program& program, absl::string_view object,
                     const std::string& class_name,
                     const std::vector<std::string>& arguments) {
  const std::vector<const Variable*> variables = Named(program, object);
  if (variables.empty() || !HasWord(program, class_name)) return Evidence::kNo;
  for (const Variable* variable : variables) {
    if (!variable->value_node) continue;
    for (const Call& call : program.calls()) {
      if (call.node == variable->value_node &&
          call.name.substr(0, call.name.find('<')) == class_name &&
          call.arguments == arguments) {
        return Evidence::kYes;
      }
    }
  }
  return Evidence::kUnclear;
}

// ----------------------------------------------------- lines, languages

int64_t LongestLine(absl::string_view source) {
  int64_t longest = 0;
  for (absl::string_view line : absl::StrSplit(source, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    int64_t characters = 0;
    for (size_t at = 0; at < line.size(); ++characters) {
      NextCodePoint(line, &at);
    }
    longest = std::max(longest, characters);
  }
  return longest;
}

// A newline at the end begins no line.
int64_t NumLines(absl::string_view source) {
  absl::ConsumeSuffix(&source, "\n");
  return source.empty() ? 0 : 1 + absl::c_count(source, '\n');
}

Evidence IsWrittenIn(const Program& program, CodeLanguage wanted) {
  const auto parses = [&](CodeLanguage language) {
    const auto tree =
        code::SyntaxTree::Parse(language, program.tree().source());
    return tree.ok() && tree->error_count() == 0;
  };
  if (absl::StripAsciiWhitespace(program.tree().source()).empty()) {
    return Evidence::kUnclear;
  }
  if (parses(wanted)) return Evidence::kYes;
  for (const CodeLanguage other : {CodeLanguage::kJava, CodeLanguage::kPython,
                                   CodeLanguage::kCpp, CodeLanguage::kGo}) {
    if (other != wanted && parses(other)) return Evidence::kNo;
  }
  return Evidence::kUnclear;
}

// --------------------------------------------------- control structures

Evidence UsesFor(const Program& program) {
  if (program.language() != CodeLanguage::kGo) {
    if (HasAny(program,
               {"for_statement", "enhanced_for_statement", "for_range_loop"})) {
      return Evidence::kYes;
    }
    return program.HasNode("for_in_clause") ? Evidence::kUnclear
                                            : Evidence::kNo;
  }
  if (HasAny(program, {"for_clause", "range_clause"})) return Evidence::kYes;
  return program.HasNode("for_statement") ? Evidence::kUnclear : Evidence::kNo;
}

Evidence UsesWhile(const Program& program) {
  if (program.language() == CodeLanguage::kGo) {
    for (const SyntaxNode node : program.tree().nodes()) {
      if (node.type() == "for_statement" && !node.ChildByType("for_clause") &&
          !node.ChildByType("range_clause")) {
        return Evidence::kUnclear;
      }
    }
    return Evidence::kNo;
  }
  if (program.HasNode("while_statement")) return Evidence::kYes;
  return program.HasNode("do_statement") ? Evidence::kUnclear : Evidence::kNo;
}

Evidence UsesIf(const Program& program) {
  if (program.HasNode("if_statement")) return Evidence::kYes;
  return HasAny(program,
                {"conditional_expression", "ternary_expression", "if_clause"})
             ? Evidence::kUnclear
             : Evidence::kNo;
}

Evidence UsesSwitch(const Program& program) {
  return EvidenceOf(HasAny(
      program, {"switch_statement", "switch_expression", "match_statement",
                "expression_switch_statement", "type_switch_statement"}));
}

// ---------------------------------------------------------------- rules

struct Made {
  Decidability decidability = Decidability::kNever;
  Checker check;
};

Made Both(Checker check) { return {Decidability::kBoth, std::move(check)}; }
Made One(Checker check) {
  return {Decidability::kOneVerdict, std::move(check)};
}

using Finder = std::function<Evidence(const Program&)>;
Checker Affirming(Finder find) {
  return [find = std::move(find)](const Program& program) {
    return Affirm(find(program));
  };
}
Checker Denying(Finder find) {
  return [find = std::move(find)](const Program& program) {
    return Deny(find(program));
  };
}

// Yes if the count is at most the number; never if that is none.
Made AtMost(absl::string_view number,
            std::function<int64_t(const Program&)> count) {
  int64_t limit;
  if (!absl::SimpleAtoi(number, &limit)) return {};
  return Both([limit, count = std::move(count)](const Program& program) {
    return Verdict(count(program) <= limit);
  });
}

// Of programs, by the name of a convention.
Made Conventions(
    absl::string_view convention,
    std::function<std::vector<CheckedName>(const Program&)> names) {
  const std::optional<Convention> parsed = ParseConvention(convention);
  if (!parsed) return {};
  return Both(Affirming(
      [parsed = *parsed, names = std::move(names)](const Program& program) {
        return AllFollow(names(program), parsed, program.language());
      }));
}

Made StructureRule(absl::string_view wanted, CodeLanguage language,
                   bool affirm) {
  const std::string name = LastPart(wanted);
  if (!IsName(name)) return {};
  for (const Notation& notation : Notations()) {
    if (notation.language != language ||
        !absl::c_linear_search(notation.names, name)) {
      continue;
    }
    const Finder find = [&notation](const Program& program) {
      Evidence evidence = Evidence::kNo;
      for (const absl::string_view type : notation.nodes) {
        if (program.HasNode(type)) return Evidence::kYes;
      }
      for (const absl::string_view by_name : notation.names) {
        evidence = Or(evidence, NamesStructure(program, std::string(by_name)));
      }
      return evidence == Evidence::kNo && notation.comes_from_calls
                 ? Evidence::kUnclear
                 : evidence;
    };
    const Checker check = affirm ? Affirming(find) : Denying(find);
    return notation.comes_from_calls ? One(check) : Both(check);
  }
  // Python's and Go's other structures have names to import; in Java a word in
  // lower case is no name of one.
  if (language == CodeLanguage::kJava && absl::ascii_islower(name[0])) {
    return {};
  }
  const Finder find = [name](const Program& program) {
    return NamesStructure(program, name);
  };
  return Both(affirm ? Affirming(find) : Denying(find));
}

Made FunctionListRule(absl::string_view list) {
  if (absl::StrContains(list, "disallowed")) return {};  // not filled in
  const std::vector<std::string> functions = SplitList(list);
  for (const std::string& function : functions) {
    const std::string name = LastPart(function);
    // "STL", "os module", "<ctime> library"
    if (!IsName(name) || absl::c_none_of(name, absl::ascii_islower) ||
        function.find_first_of(" <>()") != std::string::npos) {
      return {};
    }
  }
  if (functions.empty()) return {};
  return Both(Denying([functions](const Program& program) {
    Evidence any = Evidence::kNo;
    for (const std::string& function : functions) {
      any = Or(any, Calls(program, function));
    }
    return any;
  }));
}

std::string Value(const MatchedInstruction& instruction, const char* key) {
  const auto found = instruction.values.find(key);
  return found == instruction.values.end() ? "" : found->second;
}

// Templates 20 and 23 to 28.
Made VariableRule(const MatchedInstruction& instruction) {
  const std::string name = Value(instruction, "variable_name");
  if (!IsName(name)) return {};
  if (instruction.id == 20) {
    return Both(Affirming([name](const Program& program) {
      return DefinesVariable(program, name);
    }));
  }
  if (instruction.id == 23) {
    const std::string type = Value(instruction, "variable_type");
    if (type.empty()) return {};
    return Both(Affirming([name, type](const Program& program) {
      return HasType(program, name, type);
    }));
  }
  if (instruction.id == 26) {
    const std::string initial = Value(instruction, "variable_value");
    // "an empty vector" is no text that a program could have.
    if (initial.empty() || absl::StartsWith(initial, "a ") ||
        absl::StartsWith(initial, "an ") || absl::StartsWith(initial, "the ")) {
      return One([name](const Program& program) {
        return Named(program, name).empty() ? Verdict(false) : std::nullopt;
      });
    }
    return Both(Affirming([name, initial](const Program& program) {
      return HasInitialValue(program, name, initial);
    }));
  }
  return Both([name, id = instruction.id](const Program& program) {
    const std::vector<const Variable*> variables = Named(program, name);
    const bool affirm = id == 24 || id == 27;
    // What is not there is neither global nor constant; whether it then counts
    // as not being so is unclear.
    if (variables.empty()) return affirm ? Verdict(false) : std::nullopt;
    const Evidence evidence =
        id <= 25 ? IsGlobal(variables) : IsConstant(variables);
    return affirm ? Affirm(evidence) : Deny(evidence);
  });
}

Made UnlessMacro(Made made, const std::string& name) {
  if (!made.check) return made;
  return {made.decidability,
          [check = std::move(made.check), name](const Program& program) {
            return IsMacro(program, name) ? std::nullopt : check(program);
          }};
}

Made MakeRule(const MatchedInstruction& instruction, CodeLanguage language) {
  const auto value = [&](const char* key) { return Value(instruction, key); };
  switch (instruction.id) {
    case 1: {
      const auto wanted =
          code::ParseLanguageName(value("programming_language"));
      if (!wanted.ok()) return {};
      return Both(Affirming([wanted = *wanted](const Program& program) {
        return IsWrittenIn(program, wanted);
      }));
    }
    case 2:
      return AtMost(value("characters_num"), [](const Program& program) {
        return LongestLine(program.tree().source());
      });
    case 3:
      return Both(Affirming(UsesGlobals));
    case 4:
      return Both(Denying(UsesGlobals));
    case 5:
      return AtMost(value("parameter_count"), [](const Program& program) {
        size_t most = 0;
        for (const FunctionFact& function : program.functions()) {
          most = std::max(most, function.parameters.size());
        }
        return static_cast<int64_t>(most);
      });
    case 6:
      return AtMost(value("function_count"), [](const Program& program) {
        return static_cast<int64_t>(absl::c_count_if(
            program.functions(), [](const FunctionFact& function) {
              return function.num_lines > 0;
            }));
      });
    case 7:
      return AtMost(value("class_count"), [](const Program& program) {
        return static_cast<int64_t>(
            TypeNames(program, TypeKind::kClass).size());
      });
    case 8:
    case 9: {
      const std::string word = value("keyword");
      if (!IsName(word)) return {};
      const Finder find = [word](const Program& program) {
        return UsesKeyword(program, word);
      };
      return Both(instruction.id == 9 ? Affirming(find) : Denying(find));
    }
    case 10:
      return StructureRule(value("data_structure"), language, true);
    case 11:
      return StructureRule(value("data_structure"), language, false);
    case 12:
      return Both(Affirming(UsesFor));
    case 13:
      return Both(Denying(UsesFor));
    case 14:
      return language == CodeLanguage::kGo ? One(Affirming(UsesWhile))
                                           : Both(Affirming(UsesWhile));
    case 15:
      return language == CodeLanguage::kGo ? One(Denying(UsesWhile))
                                           : Both(Denying(UsesWhile));
    case 16:
      return Both(Affirming(UsesIf));
    case 17:
      return Both(Denying(UsesIf));
    case 18:
      return Both(Affirming(UsesSwitch));
    case 19:
      return Both(Denying(UsesSwitch));
    case 22:
      return Conventions(value("naming_convention"), VariableNames);
    case 30:
      return Conventions(value("naming_convention"), FunctionNames);
    case 33:
    case 35:
      return Conventions(
          value("naming_convention"), [id = instruction.id](const Program& of) {
            return TypeNames(
                of, id == 33 ? TypeKind::kInterface : TypeKind::kClass);
          });
    case 20:
    case 23:
    case 24:
    case 25:
    case 26:
    case 27:
    case 28:
      return UnlessMacro(VariableRule(instruction), value("variable_name"));
    case 21:
    case 32:
    case 34: {
      const std::string name = value(instruction.id == 21   ? "enumeration_name"
                                     : instruction.id == 32 ? "interface_name"
                                                            : "class_name");
      if (!IsName(name)) return {};
      const TypeKind kind = instruction.id == 21   ? TypeKind::kEnum
                            : instruction.id == 32 ? TypeKind::kInterface
                                                   : TypeKind::kClass;
      return Both(Affirming([name, kind](const Program& program) {
        return DefinesType(program, name, kind);
      }));
    }
    case 29: {
      const std::string name = value("function_name");
      if (!IsName(name)) return {};
      return Both(Affirming([name](const Program& program) {
        return DefinesFunction(program, name);
      }));
    }
    case 31:
      return FunctionListRule(value("disallowed_function_list"));
    case 36: {
      const std::string name = value("package_name");
      if (language == CodeLanguage::kPython || name.empty()) return {};
      const Checker check = Affirming(
          [name](const Program& program) { return InPackage(program, name); });
      return language == CodeLanguage::kCpp ? One(check) : Both(check);
    }
    case 37:
    case 39: {
      const bool affirm = instruction.id == 37;
      const std::vector<std::string> libraries =
          SplitList(value(affirm ? "library_list" : "disallowed_library_list"));
      if (!AreLibraries(libraries)) return {};
      return Both([libraries, affirm](const Program& program) {
        Evidence all = Evidence::kYes, any = Evidence::kNo;
        for (const std::string& library : libraries) {
          all = And(all, Imports(program, library));
          any = Or(any, Imports(program, library));
        }
        return affirm ? Affirm(all) : Deny(any);
      });
    }
    case 38: {
      const std::string name = value("function_name");
      const std::string library = value("library_name");
      if (!IsName(LastPart(name)) || !AreLibraries({library})) return {};
      return Both(Affirming([name, library](const Program& program) {
        return CallsFromLibrary(program, name, library);
      }));
    }
    case 40: {
      const std::string object = value("object_name");
      const std::string class_name = LastPart(value("class_name"));
      const std::vector<std::string> arguments =
          SplitList(value("parameters_name_list"));
      if (!IsName(object) || !IsName(class_name)) return {};
      const Checker check =
          Affirming([object, class_name, arguments](const Program& program) {
            return Initializes(program, object, class_name, arguments);
          });
      // Go has no constructors, and C++ many ways to call one.
      return AreNames(arguments) && (language == CodeLanguage::kJava ||
                                     language == CodeLanguage::kPython)
                 ? Both(check)
                 : One([check](const Program& program) {
                     const Verdict verdict = check(program);
                     return verdict == Verdict(false) ? verdict : std::nullopt;
                   });
    }
    case 41: {
      const std::string name = value("interface_name");
      const std::vector<std::string> methods =
          SplitList(value("method_name_list"));
      if (!IsName(name) || !AreNames(methods)) return {};
      return Both(Affirming([name, methods](const Program& program) {
        return And(DefinesType(program, name, TypeKind::kInterface),
                   HasMembers(program.FindType(name), methods, /*fields=*/false,
                              program.language()));
      }));
    }
    case 42: {
      const std::string name = value("class_name");
      const std::string implemented = value("interface_name");
      if (!IsName(name) || !IsName(implemented)) return {};
      const Checker check =
          Affirming([name, implemented](const Program& program) {
            return Implements(program, name, implemented);
          });
      return language == CodeLanguage::kGo ? One(check) : Both(check);
    }
    case 43:
    case 44: {
      const bool fields = instruction.id == 43;
      const std::string name = value("class_name");
      const std::vector<std::string> members = SplitList(
          value(fields ? "properties_name_list" : "method_name_list"));
      if (!IsName(name) || !AreNames(members)) return {};
      return Both(Affirming([name, members, fields](const Program& program) {
        return HasMembers(program.FindType(name), members, fields,
                          program.language());
      }));
    }
    case 45: {
      const std::string name = value("function_name");
      const std::vector<std::string> parameters =
          SplitList(value("parameter_name_list"));
      if (!IsName(name) || !AreNames(parameters)) return {};
      return Both(Affirming([name, parameters](const Program& program) {
        return TakesParameters(program, name, parameters);
      }));
    }
    case 46: {
      const std::string name = value("function_name");
      const std::string type = value("return_type");
      if (!IsName(name) || type.empty()) return {};
      return Both(Affirming([name, type](const Program& program) {
        return Returns(program, name, type);
      }));
    }
    case 47:
    case 48: {
      const bool classes = instruction.id == 47;
      const std::string package = value("package_name");
      const std::vector<std::string> members =
          SplitList(value(classes ? "class_name_list" : "function_name_list"));
      // Many instructions name none.
      if (members.empty() || !AreNames(members)) return {};
      const Checker check =
          Affirming([package, members, classes](const Program& program) {
            Evidence all = InPackage(program, package);
            for (const std::string& member : members) {
              all = And(all,
                        classes ? DefinesType(program, member, TypeKind::kClass)
                                : DefinesFunction(program, member));
            }
            return all;
          });
      return language == CodeLanguage::kPython ? One(check) : Both(check);
    }
    case 49:
      return AtMost(value("line_num"),
                    [name = value("function_name")](const Program& program) {
                      int64_t longest = 0;
                      for (const FunctionFact& function : program.functions()) {
                        if (name.empty() || function.name == name) {
                          longest = std::max(longest, function.num_lines);
                        }
                      }
                      return longest;
                    });
    case 50:
      return AtMost(value("line_num"), [](const Program& program) {
        return NumLines(program.tree().source());
      });
    default:
      return {};
  }
}

}  // namespace

std::optional<Convention> ParseConvention(absl::string_view name) {
  name = absl::StripAsciiWhitespace(name);
  absl::ConsumeSuffix(&name, ".");
  while (absl::ConsumePrefix(&name, "'") || absl::ConsumeSuffix(&name, "'")) {
  }
  if (name == "camelCase") return Convention::kCamel;
  if (name == "PascalCase") return Convention::kPascal;
  if (name == "CamelCase") return Convention::kCamelOrPascal;
  if (name == "snake_case" || name == "lowercase_separated_by_underscores") {
    return Convention::kSnake;
  }
  if (name == "UPPERCASE") return Convention::kUpper;
  if (name == "UPPERCASE_WITH_UNDERSCORES") return Convention::kUpperSnake;
  if (name == "CAPITALIZED_WITH_UNDERSCORES") {
    return Convention::kCapitalizedSnake;
  }
  return std::nullopt;
}

Evidence Follows(absl::string_view name, Convention convention) {
  if (name.empty()) return Evidence::kNo;
  const bool underscore = absl::StrContains(name, "_");
  const bool lower = absl::c_any_of(name, absl::ascii_islower);
  const bool upper = absl::c_any_of(name, absl::ascii_isupper);
  const bool begins_lower = absl::ascii_islower(name[0]);
  const bool begins_upper = absl::ascii_isupper(name[0]);
  switch (convention) {
    case Convention::kCamel:
      return EvidenceOf(begins_lower && !underscore);
    case Convention::kPascal:
      return EvidenceOf(begins_upper && !underscore);
    case Convention::kCamelOrPascal:
      if (underscore) return Evidence::kNo;
      return begins_upper   ? Evidence::kYes
             : begins_lower ? Evidence::kUnclear
                            : Evidence::kNo;
    case Convention::kSnake:
      return EvidenceOf(begins_lower && !upper);
    case Convention::kUpper:
      if (!begins_upper || lower) return Evidence::kNo;
      return underscore ? Evidence::kUnclear : Evidence::kYes;
    case Convention::kUpperSnake:
      return EvidenceOf(begins_upper && !lower);
    case Convention::kCapitalizedSnake:
      if (!begins_upper) return Evidence::kNo;
      return lower ? Evidence::kUnclear : Evidence::kYes;
  }
  return Evidence::kUnclear;
}

Rule Rule::Make(const MatchedInstruction& instruction,
                code::CodeLanguage language) {
  Made made = MakeRule(instruction, language);
  Rule rule;
  rule.decidability_ = made.decidability;
  rule.check_ = std::move(made.check);
  rule.needs_syntax_ =
      instruction.id != 1 && instruction.id != 2 && instruction.id != 50;
  return rule;
}

std::optional<bool> Rule::Check(const Program& program) const {
  if (!check_ || (needs_syntax_ && program.has_errors())) return std::nullopt;
  return check_(program);
}

}  // namespace repro::code_if
