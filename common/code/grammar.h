#ifndef REPRO_COMMON_CODE_GRAMMAR_H_
#define REPRO_COMMON_CODE_GRAMMAR_H_

#include <tree_sitter/api.h>

#include "common/code/language.h"

namespace repro::code {

// tree-sitter's grammar of a language.
const TSLanguage* TreeSitterLanguage(CodeLanguage language);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_GRAMMAR_H_
