// Functions with the comment that their developer wrote: what is retrieved,
// shown and summarised.
#ifndef REPRO_PAPERS_ASAP_CODE_SAMPLES_H_
#define REPRO_PAPERS_ASAP_CODE_SAMPLES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"

namespace repro::asap {

// One record of CodeXGLUE's code-to-text, fields as there.
struct CodeSample {
  std::string repo;       // "tony19/logback-android"
  std::string path;       // inside of the repository
  std::string func_name;  // "HTMLLayoutBase.getEffectiveConverterMap"
  // The function as its prompt shows it and as BM25 sees it: see ShownCode.
  std::string code;
  std::string original;  // with its docstring
  std::string comment;   // docstring_tokens with a space between
};

// Reads JSON Lines, plain or gzip, with the fields repo, path, func_name, code,
// docstring (text) and docstring_tokens (texts). Errors: those of ReadJsonl;
// InvalidArgument "path:line: ..." for a record without one of them or with one
// of another kind, and for a file without records.
absl::StatusOr<std::vector<CodeSample>> ReadCodeSamples(
    const std::string& path, code::CodeLanguage language);

// The code without what would give its comment away. Python keeps the docstring
// inside of the function: triple-quoted strings of one line go first, then
// every occurrence of `docstring`; the quotes of a docstring of several lines
// stay. Other languages: `code` as it is.
std::string ShownCode(absl::string_view code, absl::string_view docstring,
                      code::CodeLanguage language);

}  // namespace repro::asap

#endif  // REPRO_PAPERS_ASAP_CODE_SAMPLES_H_
