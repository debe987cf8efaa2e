#include "common/code/language.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace repro::code {

const char* LanguageName(CodeLanguage language) {
  switch (language) {
    case CodeLanguage::kPython:
      return "python";
    case CodeLanguage::kJava:
      return "java";
    case CodeLanguage::kJavaScript:
      return "javascript";
    case CodeLanguage::kGo:
      return "go";
    case CodeLanguage::kPhp:
      return "php";
    case CodeLanguage::kRuby:
      return "ruby";
    case CodeLanguage::kC:
      return "c";
    case CodeLanguage::kCpp:
      return "cpp";
    case CodeLanguage::kCSharp:
      return "c_sharp";
  }
  return "unknown";
}

absl::StatusOr<CodeLanguage> ParseLanguageName(absl::string_view name) {
  static constexpr std::pair<const char*, CodeLanguage> kAliases[] = {
      {"py", CodeLanguage::kPython}, {"js", CodeLanguage::kJavaScript},
      {"golang", CodeLanguage::kGo}, {"rb", CodeLanguage::kRuby},
      {"c++", CodeLanguage::kCpp},   {"c#", CodeLanguage::kCSharp},
      {"cs", CodeLanguage::kCSharp}, {"csharp", CodeLanguage::kCSharp},
  };
  const std::string lower = absl::AsciiStrToLower(name);
  std::vector<std::string> names;
  for (const CodeLanguage language : kCodeLanguages) {
    if (lower == LanguageName(language)) return language;
    names.push_back(LanguageName(language));
  }
  for (const auto& [alias, language] : kAliases) {
    if (lower == alias) return language;
  }
  return absl::InvalidArgumentError(absl::StrCat("no programming language \"",
                                                 name, "\"; there are ",
                                                 absl::StrJoin(names, ", ")));
}

}  // namespace repro::code
