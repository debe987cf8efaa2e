#include "common/code/grammar.h"

extern "C" {
const TSLanguage* tree_sitter_c();
const TSLanguage* tree_sitter_c_sharp();
const TSLanguage* tree_sitter_cpp();
const TSLanguage* tree_sitter_go();
const TSLanguage* tree_sitter_java();
const TSLanguage* tree_sitter_javascript();
const TSLanguage* tree_sitter_php();
const TSLanguage* tree_sitter_python();
const TSLanguage* tree_sitter_ruby();
}

namespace repro::code {

const TSLanguage* TreeSitterLanguage(CodeLanguage language) {
  switch (language) {
    case CodeLanguage::kPython:
      return tree_sitter_python();
    case CodeLanguage::kJava:
      return tree_sitter_java();
    case CodeLanguage::kJavaScript:
      return tree_sitter_javascript();
    case CodeLanguage::kGo:
      return tree_sitter_go();
    case CodeLanguage::kPhp:
      return tree_sitter_php();
    case CodeLanguage::kRuby:
      return tree_sitter_ruby();
    case CodeLanguage::kC:
      return tree_sitter_c();
    case CodeLanguage::kCpp:
      return tree_sitter_cpp();
    case CodeLanguage::kCSharp:
      return tree_sitter_c_sharp();
  }
  return nullptr;
}

}  // namespace repro::code
