#include "papers/asap/code_samples.h"

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/data/jsonl.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::asap {
namespace {

// re.sub(quotes + "(.+?)" + quotes, "", text), where `quotes` are three equal
// characters: the shortest match with at least one character, on one line.
std::string RemoveQuotedLines(absl::string_view text,
                              absl::string_view quotes) {
  std::string kept;
  while (true) {
    size_t open = text.find(quotes);
    size_t close = absl::string_view::npos;
    while (open != absl::string_view::npos) {
      const size_t end_of_line = text.find('\n', open);
      close = text.find(quotes, open + quotes.size() + 1);
      if (close < end_of_line) break;
      open = text.find(quotes, open + 1);
    }
    if (open == absl::string_view::npos) break;
    absl::StrAppend(&kept, text.substr(0, open));
    text.remove_prefix(close + quotes.size());
  }
  return absl::StrCat(kept, text);
}

}  // namespace

std::string ShownCode(absl::string_view code, absl::string_view docstring,
                      code::CodeLanguage language) {
  if (language != code::CodeLanguage::kPython) return std::string(code);
  const std::string shown =
      RemoveQuotedLines(RemoveQuotedLines(code, R"(""")"), "'''");
  if (docstring.empty()) return shown;
  return absl::StrReplaceAll(shown, {{docstring, ""}});
}

absl::StatusOr<std::vector<CodeSample>> ReadCodeSamples(
    const std::string& path, code::CodeLanguage language) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no records"));
  }
  std::vector<CodeSample> samples;
  for (const JsonLine& line : lines) {
    CodeSample sample;
    const char* field = "";
    const auto text = [&](const char* name) {
      field = name;
      return line.value.at(name).get<std::string>();
    };
    try {
      sample.repo = text("repo");
      sample.path = text("path");
      sample.func_name = text("func_name");
      sample.original = text("code");
      sample.code = ShownCode(sample.original, text("docstring"), language);
      field = "docstring_tokens";
      sample.comment = metrics::Strip(absl::StrJoin(
          line.value.at(field).get<std::vector<std::string>>(), " "));
    } catch (const nlohmann::json::exception& error) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ":", line.line, ": field \"", field, "\": ", error.what()));
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace repro::asap
