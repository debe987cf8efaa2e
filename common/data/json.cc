#include "common/data/json.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro {
namespace {

constexpr int kMaxDepth = 500;

// nlohmann::json parses any depth but compares and prints by recursion, so that
// a text of a million brackets would overflow the stack of whoever uses it.
// Returns the offset of the bracket that is too deep; text.size() if none is.
size_t TooDeep(absl::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return i;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return text.size();
}

// "[json.exception.parse_error.101] parse error at line 1, column 3: syntax
// error while ...; last read: ..." without the library's name for it, the line
// (the caller says it) and the quotation, which may not be valid UTF-8.
std::string Reason(const nlohmann::json::exception& error) {
  absl::string_view text = error.what();
  const size_t column = text.find("column ");
  const size_t tag = text.find("] ");
  if (column != absl::string_view::npos) {
    text.remove_prefix(column);
  } else if (tag != absl::string_view::npos) {
    text.remove_prefix(tag + 2);
  }
  return std::string(text.substr(0, text.find("; last read")));
}

}  // namespace

absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text,
                                         const std::string& name,
                                         int64_t first_line) {
  const auto error = [&](size_t offset, const std::string& what) {
    const auto end = text.begin() + std::min(offset, text.size());
    return absl::InvalidArgumentError(absl::StrCat(
        name, ":", first_line + std::count(text.begin(), end, '\n'), ": ",
        what));
  };
  const size_t too_deep = TooDeep(text);
  if (too_deep < text.size()) {
    return error(too_deep,
                 absl::StrCat("nests deeper than ", kMaxDepth, " levels"));
  }
  try {
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& wrong) {
    // `byte` counts from 1 and includes the one that is wrong.
    return error(wrong.byte == 0 ? 0 : wrong.byte - 1,
                 absl::StrCat("not one JSON value: ", Reason(wrong)));
  } catch (const nlohmann::json::exception& wrong) {
    return error(0, absl::StrCat("not one JSON value: ", Reason(wrong)));
  }
}

absl::StatusOr<nlohmann::json> ReadJson(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  return ParseJson(content, path);
}

}  // namespace repro
