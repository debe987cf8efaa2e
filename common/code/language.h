#ifndef REPRO_COMMON_CODE_LANGUAGE_H_
#define REPRO_COMMON_CODE_LANGUAGE_H_

#include <array>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::code {

enum class CodeLanguage {
  kPython,
  kJava,
  kJavaScript,
  kGo,
  kPhp,
  kRuby,
  kC,
  kCpp,
  kCSharp,
};

inline constexpr std::array<CodeLanguage, 9> kCodeLanguages = {
    CodeLanguage::kPython, CodeLanguage::kJava, CodeLanguage::kJavaScript,
    CodeLanguage::kGo,     CodeLanguage::kPhp,  CodeLanguage::kRuby,
    CodeLanguage::kC,      CodeLanguage::kCpp,  CodeLanguage::kCSharp,
};

// "python", "java", "javascript", "go", "php", "ruby", "c", "cpp", "c_sharp":
// CodeXGLUE's names.
const char* LanguageName(CodeLanguage language);

// The same names in any case, and "py", "js", "golang", "rb", "c++", "c#",
// "cs", "csharp".
// InvalidArgument for any other, listing those there are.
absl::StatusOr<CodeLanguage> ParseLanguageName(absl::string_view name);

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_LANGUAGE_H_
