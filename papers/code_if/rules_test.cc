// Hand-made programs: for every template that rules decide, one that follows
// and one that does not, in the languages where the rule differs.
#include "papers/code_if/rules.h"

#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/data/mutate.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/code_if/program.h"

namespace repro::code_if {
namespace {

using code::CodeLanguage;
using ::testing::ElementsAre;
using Values = std::map<std::string, std::string>;

constexpr CodeLanguage kJava = CodeLanguage::kJava;
constexpr CodeLanguage kPython = CodeLanguage::kPython;
constexpr CodeLanguage kCpp = CodeLanguage::kCpp;
constexpr CodeLanguage kGo = CodeLanguage::kGo;

// "yes", "no" or "undecided".
std::string Verdict(int64_t id, const Values& values, CodeLanguage language,
                    const std::string& source) {
  const auto program = Program::Parse(language, source);
  if (!program.ok()) return std::string(program.status().message());
  const Rule rule = Rule::Make({id, values}, language);
  const std::optional<bool> verdict = rule.Check(*program);
  if (!verdict) return "undecided";
  EXPECT_NE(rule.decidability(), Decidability::kNever) << id;
  return *verdict ? "yes" : "no";
}

struct Case {
  int64_t id;
  Values values;
  CodeLanguage language;
  const char* follows;
  const char* does_not;
};

const std::vector<Case>& Cases() {
  static const auto* const cases = new std::vector<Case>{
      // The language.
      {1,
       {{"programming_language", "Java"}},
       kJava,
       "class A { int x; }",
       "def f():\n    return 1\n"},
      {1,
       {{"programming_language", "python"}},
       kPython,
       "def f():\n    return 1\n",
       "class A { int x; }"},
      {1,
       {{"programming_language", "Golang"}},
       kGo,
       "package p\n\nfunc f() {}\n",
       "def f():\n    return 1\n"},
      {1,
       {{"programming_language", "C++"}},
       kCpp,
       "int main() { return 0; }\n",
       "package p\n\nfunc f() (int, error) { x := 1; return x, nil }\n"},
      // A line of 7 characters, one of which has two bytes.
      {2, {{"characters_num", "7"}}, kPython, "a = '\xc3\xa4'\n", "ab = 'xy'"},
      // Global variables.
      {3, {}, kPython, "counter = 0\ncounter += 1\n", "def f():\n    x = 1\n"},
      {3,
       {},
       kJava,
       "class A { static int x; }",
       "class A { int x; void f() { int y = 1; } }"},
      {3,
       {},
       kCpp,
       "namespace n { int x; }",
       "int f(int a) { int x = a; return x; }"},
      {3,
       {},
       kGo,
       "package p\nvar x int\n",
       "package p\nfunc f() { var x int; _ = x }\n"},
      {4, {}, kPython, "def f():\n    x = 1\n", "x = 1\nx = 2\n"},
      {4, {}, kCpp, "int f() { static int x; return x; }", "int x = 0;"},
      // Numbers of parameters, functions and classes.
      {5,
       {{"parameter_count", "2"}},
       kPython,
       "class A:\n    def f(self, a, b=1): pass\n",
       "def f(a, *b, c=1): pass\n"},
      {5,
       {{"parameter_count", "1"}},
       kJava,
       "class A { void f(int a) {} }",
       "class A { void f(int a, String b) {} }"},
      {5,
       {{"parameter_count", "2"}},
       kGo,
       "package p\nfunc (t T) f(a, b int) {}\n",
       "package p\nfunc f(a, b, c int) {}\n"},
      {5,
       {{"parameter_count", "1"}},
       kCpp,
       "int f(int a) { return a; }",
       "int f(int a, int b) { return a; }"},
      {6,
       {{"function_count", "1"}},
       kPython,
       "def f(): pass\n",
       "def f(): pass\ndef g(): pass\n"},
      {6,
       {{"function_count", "1"}},
       kJava,
       "interface I { void f(); }\nclass A { void g() {} }",
       "class A { A() {} void g() {} }"},
      {7,
       {{"class_count", "1"}},
       kJava,
       "class A {}\ninterface I {}\nenum E { X }",
       "class A {}\nclass B {}"},
      {7,
       {{"class_count", "1"}},
       kGo,
       "package p\ntype A struct{}\ntype I interface{}\n",
       "package p\ntype A struct{}\ntype B struct{}\n"},
      {7,
       {{"class_count", "1"}},
       kCpp,
       "struct A {};",
       "class A {}; struct B {};"},
      {7,
       {{"class_count", "1"}},
       kPython,
       "class A: pass\n",
       "class A: pass\nclass B(A): pass\n"},
      // Keywords.
      {8,
       {{"keyword", "goto"}},
       kCpp,
       "// goto\nint main() { const char* s = \"goto\"; }",
       "int main() { a: goto a; }"},
      {8,
       {{"keyword", "global"}},
       kPython,
       "def f(): return 'global'\n",
       "def f():\n    global x\n    x = 1\n"},
      {9,
       {{"keyword", "defer"}},
       kGo,
       "package p\nfunc f() { defer g() }\n",
       "package p\nfunc f() { g() }\n"},
      {9,
       {{"keyword", "final"}},
       kJava,
       "class A { final int x = 1; }",
       "class A { int x = 1; }"},
      {9, {{"keyword", "None"}}, kPython, "x = None\n", "x = 1\n"},
      // Data structures.
      {10,
       {{"data_structure", "HashMap"}},
       kJava,
       "class A { Object m = new HashMap<String, Integer>(); }",
       "class A { int x; }"},
      {10,
       {{"data_structure", "std::vector"}},
       kCpp,
       "#include <vector>\nstd::vector<int> v;",
       "#include <vector>\nint v[3];"},
      {10,
       {{"data_structure", "deque"}},
       kPython,
       "from collections import deque\nd = deque()\n",
       "d = []\n"},
      {10,
       {{"data_structure", "struct"}},
       kGo,
       "package p\ntype A struct{ x int }\n",
       "package p\nvar x int\n"},
      {11,
       {{"data_structure", "interface"}},
       kGo,
       "package p\ntype A struct{ x int }\n",
       "package p\ntype I interface{ f() }\n"},
      {11,
       {{"data_structure", "ArrayList"}},
       kJava,
       "class A { int[] x; }",
       "class A { ArrayList<String> x; }"},
      // Loops and decisions.
      {12, {}, kPython, "for i in range(3): pass\n", "while True: pass\n"},
      {12,
       {},
       kJava,
       "class A { void f(int[] a) { for (int x : a) {} } }",
       "class A { void f() { while (true) {} } }"},
      {12, {}, kCpp, "void f() { for (;;) {} }", "void f() { while (1) {} }"},
      {12,
       {},
       kGo,
       "package p\nfunc f() { for i := 0; i < 3; i++ {} }\n",
       "package p\nfunc f() {}\n"},
      {13, {}, kPython, "while True: pass\n", "for i in range(3): pass\n"},
      {13,
       {},
       kCpp,
       "void f() {}",
       "void f(std::vector<int> v) { for (int x : v) {} }"},
      {14, {}, kPython, "while True: pass\n", "for i in range(3): pass\n"},
      {14,
       {},
       kJava,
       "class A { void f() { while (true) {} } }",
       "class A { void f() {} }"},
      {15, {}, kCpp, "void f() {}", "void f() { while (1) {} }"},
      {16, {}, kPython, "if x: pass\n", "while x: pass\n"},
      {16,
       {},
       kGo,
       "package p\nfunc f() { if true {} }\n",
       "package p\nfunc f() {}\n"},
      {17, {}, kJava, "class A {}", "class A { void f() { if (true) {} } }"},
      {17, {}, kCpp, "void f() {}", "void f() { if (1) {} }"},
      {18,
       {},
       kPython,
       "match x:\n    case 1:\n        pass\n",
       "if x == 1: pass\n"},
      {18,
       {},
       kGo,
       "package p\nfunc f(x int) { switch x { case 1: } }\n",
       "package p\nfunc f() {}\n"},
      {18,
       {},
       kJava,
       "class A { void f(int x) { switch (x) { case 1: break; } } }",
       "class A {}"},
      {19, {}, kCpp, "void f() {}", "void f(int x) { switch (x) {} }"},
      // Variables.
      {20,
       {{"variable_name", "count"}},
       kPython,
       "class A:\n    def f(self):\n        self.count = 1\n",
       "counter = 1\n"},
      {20,
       {{"variable_name", "count"}},
       kJava,
       "class A { void f() { int count = 1; } }",
       "class A { void count() {} }"},
      {20,
       {{"variable_name", "count"}},
       kCpp,
       "void f() { int* count = nullptr; }",
       "int count();"},
      {20,
       {{"variable_name", "count"}},
       kGo,
       "package p\nfunc f() { a, count := 1, 2 }\n",
       "package p\nfunc f() { count = 2 }\n"},
      // A variable that parses as a function, and a structured binding.
      {20,
       {{"variable_name", "x"}},
       kCpp,
       "void f() { Foo x(y); }",
       "Foo x(Bar);"},
      {20,
       {{"variable_name", "b"}},
       kPython,
       "a, (self.x, *b) = c\n",
       "a[b] = self.b(c).d = 1\n"},
      {26,
       {{"variable_name", "b"}, {"variable_value", "2"}},
       kCpp,
       "struct A { int a = 1, b = 2; };",
       "struct A { int b = 1, a = 2; };"},
      {43,
       {{"class_name", "A"}, {"properties_name_list", "x"}},
       kJava,
       "class A { int x; Object o = new Object() { int y; }; }",
       "class A { int y; Object o = new Object() { int x; }; }"},
      {44,
       {{"class_name", "A"}, {"method_name_list", "f"}},
       kCpp,
       "namespace n { template <typename T> class A {};\n"
       "template <typename T> void A<T>::f() {} }",
       "namespace n { class A {}; void f() {} }"},
      {34,
       {{"class_name", "A"}},
       kCpp,
       "typedef struct { int x; } A;",
       "typedef int A;"},
      {20,
       {{"variable_name", "b"}},
       kCpp,
       "void f() { for (const auto& [a, b] : m) {} }",
       "void f() { for (const auto& a : m) {} }"},
      {20,
       {{"variable_name", "b"}},
       kCpp,
       "void f() { auto [a, b] = g(); }",
       "void f() { auto [a, c] = g(); }"},
      {24,
       {{"variable_name", "x"}},
       kPython,
       "def f():\n    global x\n    x = 1\n",
       "def f():\n    x = 1\n"},
      {21,
       {{"enumeration_name", "Color"}},
       kPython,
       "from enum import Enum\nclass Color(Enum):\n    RED = 1\n",
       "COLOR = 1\n"},
      {21,
       {{"enumeration_name", "Color"}},
       kJava,
       "enum Color { RED }",
       "class A {}"},
      {21,
       {{"enumeration_name", "Color"}},
       kCpp,
       "enum class Color { kRed };",
       "enum class Shade { kRed };"},
      {21,
       {{"enumeration_name", "Color"}},
       kGo,
       "package p\ntype Color int\nconst (\n\tRed Color = iota\n\tBlue\n)\n",
       "package p\nconst Red = 1\n"},
      {22,
       {{"naming_convention", "snake_case"}},
       kPython,
       "first_name = f()\nfirst_name = g()\n",
       "firstName = f()\n"},
      {22,
       {{"naming_convention", "camelCase"}},
       kJava,
       "class A { int firstName; }",
       "class A { int first_name; }"},
      {22,
       {{"naming_convention", "PascalCase"}},
       kCpp,
       "int FirstName;",
       "int firstName;"},
      {22,
       {{"naming_convention", "UPPERCASE"}},
       kGo,
       "package p\nvar NAME int\n",
       "package p\nvar name int\n"},
      {23,
       {{"variable_name", "x"}, {"variable_type", "List"}},
       kJava,
       "class A { List<String> x; }",
       "class A { }"},
      {23,
       {{"variable_name", "x"}, {"variable_type", "int"}},
       kJava,
       "class A { int x; }",
       "class A { double x; }"},
      {23,
       {{"variable_name", "x"}, {"variable_type", "std::string"}},
       kCpp,
       "std::string x;",
       "int x;"},
      {23,
       {{"variable_name", "x"}, {"variable_type", "Node*"}},
       kCpp,
       "void f() { Node* x = g(); }",
       "void f() { }"},
      {23,
       {{"variable_name", "x"}, {"variable_type", "dictionary"}},
       kPython,
       "x = {}\n",
       "x = 'a'\n"},
      {23,
       {{"variable_name", "x"}, {"variable_type", "float"}},
       kPython,
       "x: float = 1\n",
       "x = 1\n"},
      {23,
       {{"variable_name", "x"}, {"variable_type", "map[string]string"}},
       kGo,
       "package p\nfunc f() { x := make(map[string]string); _ = x }\n",
       "package p\n"},
      {23,
       {{"variable_name", "x"}, {"variable_type", "string"}},
       kGo,
       "package p\nvar x string\n",
       "package p\nvar x = 1\n"},
      {24,
       {{"variable_name", "x"}},
       kGo,
       "package p\nvar x int\n",
       "package p\nfunc f() { x := 1; _ = x }\n"},
      {24,
       {{"variable_name", "x"}},
       kPython,
       "x = 1\n",
       "def f():\n    x = 1\n"},
      {25,
       {{"variable_name", "x"}},
       kCpp,
       "void f() { int x = 1; }",
       "int x = 1;"},
      {25,
       {{"variable_name", "x"}},
       kJava,
       "class A { int x; }",
       "class A { static int x; }"},
      {26,
       {{"variable_name", "x"}, {"variable_value", "0.5"}},
       kPython,
       "x = 0.50\n",
       "x = 1\n"},
      {26,
       {{"variable_name", "x"}, {"variable_value", "Iris"}},
       kPython,
       "x = 'Iris'\n",
       "y = 'Iris'\n"},
      {26,
       {{"variable_name", "x"}, {"variable_value", "new HashMap<>()"}},
       kJava,
       "class A { Map<String, Integer> x = new HashMap<>(); }",
       "class A { }"},
      {26,
       {{"variable_name", "x"}, {"variable_value", "nullptr"}},
       kCpp,
       "void f() { int* x = nullptr; }",
       "void f() { int x = 3; }"},
      {26,
       {{"variable_name", "x"}, {"variable_value", "60"}},
       kGo,
       "package p\nfunc f() { y, x := 1, 60; _, _ = x, y }\n",
       "package p\nvar x = 61\n"},
      {27,
       {{"variable_name", "x"}},
       kJava,
       "class A { static final int x = 1; }",
       "class A { static int x = 1; }"},
      {27,
       {{"variable_name", "x"}},
       kCpp,
       "constexpr int x = 1;",
       "int x = 1;"},
      {27,
       {{"variable_name", "x"}},
       kGo,
       "package p\nconst x = 1\n",
       "package p\nvar x = 1\n"},
      {27, {{"variable_name", "X"}}, kPython, "X = 1\n", "X = 1\nX += 1\n"},
      {28, {{"variable_name", "x"}}, kCpp, "int x = 1;", "const int x = 1;"},
      {28,
       {{"variable_name", "x"}},
       kPython,
       "x = 1\nx = 2\n",
       "x: Final = 1\n"},
      // Functions.
      {29,
       {{"function_name", "f"}},
       kPython,
       "class A:\n    def f(self): pass\n",
       "def g(): pass\n"},
      {29,
       {{"function_name", "f"}},
       kJava,
       "interface I { void f(); }",
       "class A { void g() { f(); } }"},
      {29,
       {{"function_name", "f"}},
       kCpp,
       "void A::f() {}",
       "void g() { f(); }"},
      {29,
       {{"function_name", "f"}},
       kGo,
       "package p\nfunc (a A) f() {}\n",
       "package p\nfunc g() { f() }\n"},
      {30,
       {{"naming_convention", "camelCase."}},
       kJava,
       "class A { A() {} void doIt() {} }",
       "class A { void do_it() {} }"},
      {30,
       {{"naming_convention", "snake_case"}},
       kPython,
       "def do_it(): pass\n",
       "def doIt(): pass\n"},
      {30,
       {{"naming_convention", "PascalCase"}},
       kGo,
       "package p\nfunc DoIt() {}\n",
       "package p\nfunc doIt() {}\n"},
      {30,
       {{"naming_convention", "snake_case"}},
       kCpp,
       "void do_it() {}",
       "void DoIt() {}"},
      {31,
       {{"disallowed_function_list", "['exec', 'eval']"}},
       kPython,
       "print(1)\n",
       "eval('1')\n"},
      {31,
       {{"disallowed_function_list", "std::sort"}},
       kCpp,
       "void f() { g(); }",
       "void f() { std::sort(a, b); }"},
      {31,
       {{"disallowed_function_list", "System.exit"}},
       kJava,
       "class A { void f() { g(); } }",
       "class A { void f() { System.exit(1); } }"},
      {31,
       {{"disallowed_function_list", "['eval', 'exec']"}},
       kGo,
       "package p\nfunc f() { g() }\n",
       "package p\nfunc f() { exec() }\n"},
      // Interfaces and classes.
      {32,
       {{"interface_name", "Shape"}},
       kJava,
       "interface Shape {}",
       "class A {}"},
      {32,
       {{"interface_name", "Shape"}},
       kGo,
       "package p\ntype Shape interface{ Area() int }\n",
       "package p\ntype A struct{}\n"},
      {32,
       {{"interface_name", "Shape"}},
       kCpp,
       "class Shape { public: virtual int area() const = 0; };",
       "class A {};"},
      {32,
       {{"interface_name", "Shape"}},
       kPython,
       "from abc import ABC\nclass Shape(ABC):\n    pass\n",
       "class A: pass\n"},
      {33,
       {{"naming_convention", "PascalCase"}},
       kJava,
       "interface Shape {}",
       "interface shape {}"},
      {33,
       {{"naming_convention", "snake_case"}},
       kGo,
       "package p\ntype my_shape interface{}\n",
       "package p\ntype MyShape interface{}\n"},
      {34, {{"class_name", "A"}}, kJava, "class A {}", "class B {}"},
      {34, {{"class_name", "A"}}, kPython, "class A: pass\n", "A = 1\n"},
      {34, {{"class_name", "A"}}, kCpp, "struct A {};", "struct B { A* a; };"},
      {34,
       {{"class_name", "A"}},
       kGo,
       "package p\ntype A struct{}\n",
       "package p\ntype B struct{}\n"},
      {35,
       {{"naming_convention", "PascalCase"}},
       kPython,
       "class MyClass: pass\n",
       "class my_class: pass\n"},
      {35,
       {{"naming_convention", "camelCase"}},
       kCpp,
       "class myClass {};",
       "class MyClass {};"},
      // Packages and libraries.
      {36,
       {{"package_name", "com.example"}},
       kJava,
       "package com.example;\nclass A {}",
       "package com.other;\nclass A {}"},
      {36, {{"package_name", "auth"}}, kGo, "package auth\n", "package main\n"},
      {37,
       {{"library_list", "['numpy', 'scikit-learn']"}},
       kPython,
       "import numpy as np\nfrom sklearn.svm import SVC\n",
       "import numpy\n"},
      {37,
       {{"library_list", "java.util.List, java.io"}},
       kJava,
       "import java.util.*;\nimport java.io.File;\nclass A {}",
       "import java.util.List;\nclass A {}"},
      {37,
       {{"library_list", "<iostream>, <vector>"}},
       kCpp,
       "#include <iostream>\n#include <vector>\n",
       "#include <iostream>\n"},
      {37,
       {{"library_list", "[\"time\", \"net/http\"]"}},
       kGo,
       "package p\nimport (\n\t\"time\"\n\t\"net/http\"\n)\n",
       "package p\nimport \"time\"\n"},
      {38,
       {{"function_name", "sqrt"}, {"library_name", "math"}},
       kPython,
       "from math import sqrt\nx = sqrt(2)\n",
       "import math\nx = 2 ** 0.5\n"},
      {38,
       {{"function_name", "Println"}, {"library_name", "fmt"}},
       kGo,
       "package p\nimport \"fmt\"\nfunc f() { fmt.Println() }\n",
       "package p\nfunc f() { println() }\n"},
      {38,
       {{"function_name", "write"}, {"library_name", "java.nio.file.Files"}},
       kJava,
       "import java.nio.file.Files;\nclass A { void f() { Files.write(p, b); } "
       "}",
       "import java.nio.file.Files;\nclass A { }"},
      {38,
       {{"function_name", "sort"}, {"library_name", "algorithm"}},
       kCpp,
       "#include <algorithm>\nvoid f() { std::sort(a, b); }",
       "#include <algorithm>\nvoid f() { }"},
      {39,
       {{"disallowed_library_list", "requests, BeautifulSoup"}},
       kPython,
       "import json\n",
       "from bs4 import BeautifulSoup\n"},
      {39,
       {{"disallowed_library_list", "'algorithm', 'unordered_set'"}},
       kCpp,
       "#include <vector>\n",
       "#include <algorithm>\n"},
      // Combinations.
      {40,
       {{"object_name", "manager"},
        {"class_name", "Manager"},
        {"parameters_name_list", "host and port"}},
       kPython,
       "manager = Manager(host, port)\n",
       "manager = make(host, port)\n"},
      {40,
       {{"object_name", "manager"},
        {"class_name", "Manager"},
        {"parameters_name_list", "no parameters"}},
       kJava,
       "class A { Manager manager = new Manager(); }",
       "class A { Manager other = new Manager(); }"},
      {41,
       {{"interface_name", "Shape"}, {"method_name_list", "area, name"}},
       kJava,
       "interface Shape { int area(); String name(); }",
       "interface Shape { int area(); }"},
      {41,
       {{"interface_name", "Shape"}, {"method_name_list", "['Area']"}},
       kGo,
       "package p\ntype Shape interface{ Area() int }\n",
       "package p\ntype Shape interface{ Name() string }\n"},
      {42,
       {{"class_name", "A"}, {"interface_name", "Shape"}},
       kJava,
       "class A implements Base, Shape {}",
       "class A {}"},
      {42,
       {{"class_name", "A"}, {"interface_name", "Shape"}},
       kPython,
       "class A(Shape): pass\n",
       "class A: pass\n"},
      {42,
       {{"class_name", "A"}, {"interface_name", "Shape"}},
       kCpp,
       "class A : public Shape {};",
       "class A {};"},
      {43,
       {{"class_name", "A"}, {"properties_name_list", "x, y"}},
       kPython,
       "class A:\n    x = 1\n    def __init__(self):\n        self.y = 2\n",
       "class A:\n    x = 1\n"},
      {43,
       {{"class_name", "A"}, {"properties_name_list", "['x']"}},
       kJava,
       "class A { private int x; }",
       "class A { int x() { return 1; } }"},
      {43,
       {{"class_name", "A"}, {"properties_name_list", "x"}},
       kCpp,
       "struct A { int x = 1; };",
       "struct A { int x(); };"},
      {43,
       {{"class_name", "A"}, {"properties_name_list", "x, y"}},
       kGo,
       "package p\ntype A struct{ x, y int }\n",
       "package p\ntype A struct{ x int }\n"},
      {44,
       {{"class_name", "A"}, {"method_name_list", "f, g"}},
       kGo,
       "package p\ntype A struct{}\nfunc (a *A) f() {}\nfunc (a A) g() {}\n",
       "package p\ntype A struct{}\nfunc (a *A) f() {}\nfunc g() {}\n"},
      {44,
       {{"class_name", "A"}, {"method_name_list", "f"}},
       kCpp,
       "class A { void f(); };",
       "class A { int f; };"},
      {44,
       {{"class_name", "A"}, {"method_name_list", "f"}},
       kPython,
       "class A:\n    def f(self): pass\n",
       "class A: pass\ndef f(): pass\n"},
      {45,
       {{"function_name", "f"}, {"parameter_name_list", "['a', 'b']"}},
       kPython,
       "def f(a, b: int = 1): pass\n",
       "def f(a): pass\n"},
      {45,
       {{"function_name", "f"}, {"parameter_name_list", "no parameters"}},
       kCpp,
       "int f() { return 1; }",
       "int f(int x) { return x; }"},
      {45,
       {{"function_name", "f"}, {"parameter_name_list", "a, b"}},
       kGo,
       "package p\nfunc f(a, b int) {}\n",
       "package p\nfunc f(a int) {}\n"},
      {45,
       {{"function_name", "f"}, {"parameter_name_list", "a"}},
       kJava,
       "class A { void f(int a) {} }",
       "class A { void f(int b) {} }"},
      {46,
       {{"function_name", "f"}, {"return_type", "String"}},
       kJava,
       "class A { String f() { return null; } }",
       "class A { int f() { return 1; } }"},
      {46,
       {{"function_name", "f"}, {"return_type", "dictionary"}},
       kPython,
       "def f() -> dict: pass\n",
       "def f() -> int: pass\n"},
      {46,
       {{"function_name", "f"}, {"return_type", "bool"}},
       kGo,
       "package p\nfunc f() bool { return true }\n",
       "package p\nfunc f() string { return \"\" }\n"},
      {46,
       {{"function_name", "f"}, {"return_type", "std::vector<int>"}},
       kCpp,
       "std::vector<int> f() { return {}; }",
       "int g() { return 1; }"},
      {47,
       {{"package_name", "auth"}, {"class_name_list", "User, Role"}},
       kGo,
       "package auth\ntype User struct{}\ntype Role struct{}\n",
       "package auth\ntype User struct{}\n"},
      {47,
       {{"package_name", "a.b"}, {"class_name_list", "['A']"}},
       kJava,
       "package a.b;\nclass A {}",
       "package a.c;\nclass A {}"},
      {48,
       {{"package_name", "auth"}, {"function_name_list", "login"}},
       kCpp,
       "namespace auth { void login() {} }",
       "namespace auth { void logout() {} }"},
      // Lines.
      {49,
       {{"line_num", "2"}},
       kPython,
       "def f():\n    pass\nx = 1\n",
       "def f():\n    x = 1\n    return x\n"},
      {49,
       {{"line_num", "2"}},
       kPython,
       "def f():\n    pass\n    # Said below.\n",
       "def f():\n    g()\n    h()\n"},
      {49,
       {{"line_num", "2"}},
       kJava,
       "class A {\n\n\n void f() {\n }\n}",
       "class A { void f() {\n\n } }"},
      {50, {{"line_num", "2"}}, kGo, "package p\n\n", "package p\n\n\n"},
  };
  return *cases;
}

TEST(RulesTest, BothVerdictsOfEveryTemplate) {
  std::set<int64_t> templates;
  for (const Case& one : Cases()) {
    const std::string name = absl::StrCat("template ", one.id, " in ",
                                          code::LanguageName(one.language));
    EXPECT_EQ(Verdict(one.id, one.values, one.language, one.follows), "yes")
        << name << ":\n"
        << one.follows;
    EXPECT_EQ(Verdict(one.id, one.values, one.language, one.does_not), "no")
        << name << ":\n"
        << one.does_not;
    templates.insert(one.id);
  }
  EXPECT_EQ(templates.size(), 50);
}

struct UndecidedCase {
  int64_t id;
  Values values;
  CodeLanguage language;
  const char* source;
};

TEST(RulesTest, UndecidedWhereReadersCouldDisagree) {
  const UndecidedCase cases[] = {
      {1, {{"programming_language", "Kotlin"}}, kJava, "class A {}"},
      {2, {{"characters_num", "many"}}, kJava, "class A {}"},
      // A constant; a name that is no keyword.
      {3, {}, kJava, "class A { static final int X = 1; }"},
      {8, {{"keyword", "list"}}, kPython, "list = 1\n"},
      {8, {{"keyword", "goto"}}, kCpp, "#define JUMP goto end\n"},
      // What calls return; what is inferred; a HashMap is a Map.
      {11, {{"data_structure", "list"}}, kPython, "x = s.split()\n"},
      {11, {{"data_structure", "map"}}, kCpp, "void f() { auto x = g(); }"},
      {10, {{"data_structure", "Map"}}, kJava, "class A { HashMap<K, V> m; }"},
      {10, {{"data_structure", "Pandas DataFrame"}}, kPython, "x = 1\n"},
      {13, {}, kPython, "x = [y for y in z]\n"},
      {15, {}, kJava, "class A { void f() { do {} while (true); } }"},
      {14, {}, kGo, "package p\nfunc f() { for true {} }\n"},
      {12, {}, kGo, "package p\nfunc f() { for true {} }\n"},
      {17, {}, kPython, "x = 1 if y else 2\n"},
      {20, {{"variable_name", "a"}}, kPython, "def f(a): pass\n"},
      {21, {{"enumeration_name", "A"}}, kPython, "class A: pass\n"},
      {22, {{"naming_convention", "snake_case"}}, kPython, "MAX_SIZE = 1\n"},
      {22, {{"naming_convention", "snake_case"}}, kPython, "f()\n"},
      {22, {{"naming_convention", "kebab-case"}}, kPython, "x = 1\n"},
      {23,
       {{"variable_name", "x"}, {"variable_type", "User"}},
       kPython,
       "x = load()\n"},
      {24, {{"variable_name", "x"}}, kPython, "x = 1\ndef f():\n    x = 2\n"},
      {25, {{"variable_name", "x"}}, kPython, "y = 1\n"},
      {26,
       {{"variable_name", "x"}, {"variable_value", "an empty list"}},
       kPython,
       "x = []\n"},
      {27, {{"variable_name", "x"}}, kPython, "x = 1\n"},
      {30, {{"naming_convention", "PascalCase"}}, kCpp, "int main() {}"},
      {31, {{"disallowed_function_list", "os module"}}, kPython, "f()\n"},
      {31,
       {{"disallowed_function_list", "disallowed_function_list"}},
       kPython,
       "f()\n"},
      {31, {{"disallowed_function_list", "eval"}}, kPython, "f(eval)\n"},
      {32, {{"interface_name", "A"}}, kCpp, "class A {};"},
      {36, {{"package_name", "a"}}, kPython, "x = 1\n"},
      {36, {{"package_name", "a"}}, kCpp, "int x;"},
      {37, {{"library_list", "algorithm"}}, kCpp, "#include <bits/stdc++.h>\n"},
      {37, {{"library_list", "['java.lang']"}}, kJava, "class A {}"},
      {38,
       {{"function_name", "add"}, {"library_name", "java.util.List"}},
       kJava,
       "import java.util.List;\nclass A { void f() { x.add(1); } }"},
      {42,
       {{"class_name", "A"}, {"interface_name", "I"}},
       kJava,
       "class A extends B {}"},
      {42,
       {{"class_name", "A"}, {"interface_name", "I"}},
       kGo,
       "package p\ntype I interface{ f() }\ntype A struct{}\n"
       "func (a A) f() {}\n"},
      {43,
       {{"class_name", "A"}, {"properties_name_list", "x"}},
       kPython,
       "class A(B): pass\n"},
      {46,
       {{"function_name", "f"}, {"return_type", "int"}},
       kPython,
       "def f(): pass\n"},
      {48,
       {{"package_name", "a"}, {"function_name_list", ""}},
       kGo,
       "package a\n"},
      // A macro; a property; a pointer to const; two values.
      {27, {{"variable_name", "X"}}, kCpp, "#define X 1\n"},
      {43,
       {{"class_name", "A"}, {"properties_name_list", "x"}},
       kPython,
       "class A:\n    @property\n    def x(self): return 1\n"},
      {27, {{"variable_name", "p"}}, kCpp, "const char* p = \"\";"},
      {26,
       {{"variable_name", "x"}, {"variable_value", "1"}},
       kGo,
       "package p\nvar x = 1\nfunc f() { x := 2; _ = x }\n"},
      // Declared in an interface only.
      {46,
       {{"function_name", "f"}, {"return_type", "bool"}},
       kGo,
       "package p\ntype I interface{ f() int }\n"},
      {20, {{"variable_name", "x"}}, kJava, "class A { F f = x -> x; }"},
      // Wrong syntax.
      {12, {}, kJava, "class A { void f( { for"},
      {99, {}, kJava, "class A {}"},
  };
  for (const UndecidedCase& one : cases) {
    EXPECT_EQ(Verdict(one.id, one.values, one.language, one.source),
              "undecided")
        << "template " << one.id << ":\n"
        << one.source;
  }
}

TEST(RulesTest, OneVerdictOnly) {
  // Go's structs have interfaces by their methods: only their lack is seen.
  const Values values = {{"class_name", "A"}, {"interface_name", "I"}};
  EXPECT_EQ(Rule::Make({42, values}, kGo).decidability(),
            Decidability::kOneVerdict);
  EXPECT_EQ(Verdict(42, values, kGo,
                    "package p\ntype I interface{ f() }\ntype A struct{}\n"),
            "no");
  // Folders make Python's packages, but a class that lacks is in none.
  EXPECT_EQ(Verdict(47, {{"package_name", "p"}, {"class_name_list", "A"}},
                    kPython, "class B: pass\n"),
            "no");
  EXPECT_EQ(Verdict(14, {}, kGo, "package p\nfunc f() {}\n"), "no");
  EXPECT_EQ(Verdict(10, {{"data_structure", "list"}}, kPython, "x = [1]\n"),
            "yes");
}

TEST(ConventionTest, Names) {
  const auto follows = [](const char* name, const char* convention) {
    return Follows(name, *ParseConvention(convention));
  };
  EXPECT_EQ(follows("fooBar2", "camelCase"), Evidence::kYes);
  EXPECT_EQ(follows("FooBar", "camelCase"), Evidence::kNo);
  EXPECT_EQ(follows("foo_bar", "camelCase."), Evidence::kNo);
  EXPECT_EQ(follows("FooBar", "'PascalCase'"), Evidence::kYes);
  EXPECT_EQ(follows("fooBar", "CamelCase"), Evidence::kUnclear);
  EXPECT_EQ(follows("FooBar", "CamelCase"), Evidence::kYes);
  EXPECT_EQ(follows("foo_bar", "lowercase_separated_by_underscores"),
            Evidence::kYes);
  EXPECT_EQ(follows("fooBar", "snake_case"), Evidence::kNo);
  EXPECT_EQ(follows("FOO", "UPPERCASE"), Evidence::kYes);
  EXPECT_EQ(follows("FOO_BAR", "UPPERCASE"), Evidence::kUnclear);
  EXPECT_EQ(follows("FOO_BAR", "UPPERCASE_WITH_UNDERSCORES"), Evidence::kYes);
  EXPECT_EQ(follows("Foo_Bar", "UPPERCASE_WITH_UNDERSCORES"), Evidence::kNo);
  EXPECT_EQ(follows("Foo_Bar", "CAPITALIZED_WITH_UNDERSCORES"),
            Evidence::kUnclear);
  EXPECT_EQ(follows("", "camelCase"), Evidence::kNo);
  EXPECT_FALSE(ParseConvention("kebab-case"));
  EXPECT_FALSE(ParseConvention(""));
}

TEST(ProgramTest, CodeOfAnAnswer) {
  EXPECT_EQ(CodeOf("x = 1\n"), "x = 1\n");
  EXPECT_EQ(CodeOf("Here:\n```python\nx = 1\n```\nand\n ```\ny\n```\nDone."),
            "x = 1\ny\n");
  EXPECT_EQ(CodeOf("```\nx"), "x");
  EXPECT_EQ(CodeOf(""), "");
}

TEST(ProgramTest, Python) {
  const auto program = Program::Parse(kPython,
                                      "import a.b, c as d\n"
                                      "from e import f as g, h\n"
                                      "class C(B, metaclass=M):\n"
                                      "    k: int = 1\n"
                                      "    def m(self, p, *q, r=lambda s: s):\n"
                                      "        self.z, w[i] = p\n"
                                      "        def inner(): pass\n");
  ASSERT_TRUE(program.ok());
  std::vector<std::string> names;
  for (const Variable& variable : program->variables()) {
    names.push_back(variable.name);
  }
  EXPECT_THAT(names, ElementsAre("k", "p", "q", "r", "s", "z"));
  ASSERT_EQ(program->types().size(), 1);
  EXPECT_THAT(program->types()[0].bases, ElementsAre("B"));
  EXPECT_THAT(program->types()[0].fields, ElementsAre("k", "z"));
  EXPECT_THAT(program->types()[0].methods, ElementsAre("m"));
  ASSERT_EQ(program->imports().size(), 3);
  EXPECT_EQ(program->imports()[1].local, "d");
  EXPECT_EQ(program->imports()[2].path, "e");
  EXPECT_THAT(program->imports()[2].names, ElementsAre("g", "h"));
}

// Programs with much of what the readers look for.
std::string Sample(CodeLanguage language) {
  switch (language) {
    case kJava:
      return R"code(package com.example.app;

import java.util.*;
import java.util.function.Function;
import static java.lang.Math.max;

public class PetController<T extends Comparable<T>> extends Base implements Runnable, Shape<T> {
    private static final int MAX = 10;
    private static int counter = 0;
    private final List<Pet> pets = new ArrayList<>();
    protected String[] names, others;
    public enum Status { ACTIVE, CLOSED; public String label() { return name(); } }
    record Point(int x, int y) {}
    public PetController(String name) { this.name = name; }
    @Override
    public void run() {
        for (int i = 0, j = 1; i < 3; i++) { System.out.println(i); }
        try (Scanner in = new Scanner(System.in)) { int n = in.nextInt(); } catch (IOException | RuntimeException e) { }
        Function<Integer, Integer> f = x -> x + 1;
        if (o instanceof Pet p) {}
        var list = new HashMap<String, Integer>();
        Object anon = new Object() { int hidden = 3; void inner() {} };
    }
    public <U> Map<String, List<U>> group(List<U> items, int... more) { return null; }
}
interface Shape<T> { double PI = 3.14; double area(); default int sides() { return 4; } }
)code";
    case kPython:
      return R"code(import os.path as p, numpy
from enum import Enum
from abc import ABC, abstractmethod
LIMIT: Final = 3
a, (b, *c) = d = f(1)
class Color(Enum):
    RED = 1
class Shape(ABC, metaclass=M):
    size: int = 2
    def __init__(self, x: int, y=lambda q: q, *rest, **more) -> None:
        self.x, w[i] = x, y
        global total
        total += 1
    @abstractmethod
    def area(self): ...
    @property
    def name(self): return f"{self.x!r}"
async def main(argv=None):
    for i, (j, _) in enumerate(argv or []):
        if (n := i) > 3: break
    while True: pass
    with open(p) as file, g() as (u, v): pass
    try: pass
    except (A, B) as error: raise
    match argv:
        case [x, *_]: pass
    return {k: v for k, v in z if k}, [1 if t else 2], {*s}, (1,)
)code";
    case kCpp:
      return R"code(#include <iostream>
#include <vector>
#include "my/header.h"
#define LIMIT 10
namespace shop::cart {
const int kMax = 3;
int total = 0;
static double rate{0.5};
template <typename T>
class Stack : public Base<T>, private virtual Other {
 public:
  explicit Stack(int n) : size_(n) {}
  ~Stack() override = default;
  virtual void push(const T& value) = 0;
  T pop();
  bool operator==(const Stack& o) const { return true; }
  template <typename U> U convert(U u) { return u; }
  int *data_, count_ = 0;
  static constexpr int kSize = 4;
  std::function<void(int)> callback_;
  void (*handler)(int);
 private:
  std::map<std::string, std::vector<int>> index_{};
};
template <typename T> T Stack<T>::pop() { T x; return x; }
enum class Color : int { kRed, kBlue };
struct Point { double x = 0, y = 0; };
typedef struct { int a; } Legacy;
}
int main(int argc, char* argv[]) {
  shop::cart::Stack<int> s(3);
  auto p = std::make_unique<Point>();
  Point q{1, 2};
  Point r(a, b);
  const std::string name = "x";
  for (const auto& [k, v] : m) {}
  for (int i = 0; i < 3; ++i) std::cout << i;
  auto f = [&](int z) { int w = z; return w; };
  int arr[3] = {1, 2, 3};
  unsigned long long big = 1;
  try {} catch (const std::exception& e) {}
  return 0;
}
)code";
    default:
      return R"code(package main

import (
	"fmt"
	m "math"
	_ "net/http/pprof"
)

const Pi, E = 3.14, 2.7
const (
	A Kind = iota
	B
)
type Kind int
var (
	total int
	names = []string{"a"}
)
type Shape interface {
	fmt.Stringer
	Area() float64
	Name(a, b int) (string, error)
}
type Circle struct {
	*Base
	Radius, X float64 `json:"r"`
	hook func(int) error
}
type Alias = map[string]int
func NewCircle(r float64) *Circle { return &Circle{Radius: r} }
func (c *Circle) Area() (area float64) { return m.Pi }
func process[T any](xs []T, f func(T) bool, rest ...int) (int, error) {
	for i, x := range xs { fmt.Println(i, x) }
	for i := 0; i < 3; i++ {}
	for len(xs) > 0 { break }
	if err := do(); err != nil { return 0, err }
	var a, b int = 1, 2
	ch := make(chan int, 3)
	c := &Circle{}
	fn := func(q int) int { return q }
	switch v := x.(type) { case int: _ = v }
	select { case y := <-ch: _ = y }
	return 0, nil
}
)code";
  }
}

TEST(ProgramTest, SamplesParse) {
  for (const CodeLanguage language : {kJava, kPython, kCpp, kGo}) {
    EXPECT_FALSE(Program::Parse(language, Sample(language))->has_errors())
        << code::LanguageName(language);
  }
}

TEST(ProgramTest, Cpp) {
  const Program program = *Program::Parse(kCpp, Sample(kCpp));
  std::vector<std::string> globals, locals;
  for (const Variable& variable : program.variables()) {
    if (variable.kind == VariableKind::kGlobal)
      globals.push_back(variable.name);
    if (variable.kind == VariableKind::kLocal) locals.push_back(variable.name);
  }
  EXPECT_THAT(globals, ElementsAre("kMax", "total", "rate"));
  EXPECT_THAT(locals, ElementsAre("x", "s", "p", "q", "r", "name", "k", "v",
                                  "i", "f", "w", "arr", "big"));
  const TypeFact* const stack = program.FindType("Stack");
  ASSERT_NE(stack, nullptr);
  EXPECT_EQ(stack->kind, TypeKind::kInterface);
  EXPECT_THAT(stack->bases, ElementsAre("Base", "Other"));
  EXPECT_THAT(stack->fields, ElementsAre("data_", "count_", "kSize",
                                         "callback_", "handler", "index_"));
  EXPECT_THAT(stack->methods, ElementsAre("Stack", "~Stack", "push", "pop",
                                          "operator==", "convert"));
  EXPECT_NE(program.FindType("Legacy"), nullptr);
}

TEST(ProgramTest, Java) {
  const Program program = *Program::Parse(kJava, Sample(kJava));
  const TypeFact* const controller = program.FindType("PetController");
  ASSERT_NE(controller, nullptr);
  EXPECT_THAT(controller->bases, ElementsAre("Base", "Runnable", "Shape"));
  EXPECT_THAT(controller->fields,
              ElementsAre("MAX", "counter", "pets", "names", "others"));
  EXPECT_THAT(controller->methods,
              ElementsAre("run", "group", "PetController"));
  EXPECT_THAT(program.FindType("Point")->fields, ElementsAre("x", "y"));
  EXPECT_THAT(program.FindType("Shape")->methods, ElementsAre("area", "sides"));
  EXPECT_THAT(program.packages(), ElementsAre("com.example.app"));
}

TEST(ProgramTest, Go) {
  const Program program = *Program::Parse(kGo, Sample(kGo));
  std::vector<std::string> constants, locals;
  for (const Variable& variable : program.variables()) {
    if (variable.constant == Evidence::kYes) constants.push_back(variable.name);
    if (variable.kind == VariableKind::kLocal) locals.push_back(variable.name);
  }
  EXPECT_THAT(constants, ElementsAre("Pi", "E", "A", "B"));
  EXPECT_THAT(locals, ElementsAre("i", "x", "i", "err", "a", "b", "ch", "c",
                                  "fn", "v", "y"));
  EXPECT_EQ(program.FindType("Kind")->kind, TypeKind::kEnum);
  EXPECT_THAT(program.FindType("Shape")->methods, ElementsAre("Area", "Name"));
  EXPECT_THAT(program.FindType("Circle")->fields,
              ElementsAre("Radius", "X", "hook"));
  EXPECT_THAT(program.FindType("Circle")->bases, ElementsAre("Base"));
  EXPECT_EQ(program.imports()[1].local, "m");
}

TEST(ProgramTest, MutatedSources) {
  constexpr absl::string_view kSpecial("\0\n\t\"'`(){}[]:;#/*\\=<>@,.\xff", 25);
  const auto plant = [&](std::string* text, size_t at, const Below& below) {
    (*text)[at] = kSpecial[below(kSpecial.size())];
  };
  std::mt19937_64 random(3);
  for (const CodeLanguage language : {kJava, kPython, kCpp, kGo}) {
    for (int i = 0; i < 1500; ++i) {
      const auto program = Program::Parse(
          language, Mutate(Sample(language),
                           {Mutation::kFlipBit, Mutation::kPlant,
                            Mutation::kDrop, Mutation::kRepeat, Mutation::kCut},
                           plant, &random));
      ASSERT_TRUE(program.ok()) << program.status();
      if (i % 10 != 0) continue;
      for (const Case& one : Cases()) {
        if (one.language != language) continue;
        Rule::Make({one.id, one.values}, language).Check(*program);
      }
    }
  }
}

TEST(ProgramTest, HostileSources) {
  const std::string deep(20000, '(');
  for (const CodeLanguage language : {kJava, kPython, kCpp, kGo}) {
    for (const std::string& source :
         {std::string(), std::string("\xff\xfe\0{", 4), deep,
          std::string("class class class {{{"), std::string(1000, '\n')}) {
      const auto program = Program::Parse(language, source);
      ASSERT_TRUE(program.ok()) << program.status();
      for (int64_t id = 1; id <= 50; ++id) {
        Rule::Make({id, {}}, language).Check(*program);
      }
    }
  }
  // As deep as the limit allows.
  for (const CodeLanguage language : {kJava, kCpp}) {
    std::string blocks = "class A { void f() ";
    while (blocks.size() + 10 < kMaxProgramBytes) blocks += "{int a;";
    ASSERT_TRUE(Program::Parse(language, blocks).ok());
  }
  EXPECT_EQ(Program::Parse(kGo, std::string(kMaxProgramBytes + 1, ' '))
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Program::Parse(CodeLanguage::kRuby, "").status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace repro::code_if
