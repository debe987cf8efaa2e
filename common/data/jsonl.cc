#include "common/data/jsonl.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"

namespace repro {
namespace {

constexpr int kMaxDepth = 500;

// nlohmann::json parses any depth but compares and prints by recursion, so that
// a line of a million brackets would overflow the stack of whoever uses it.
bool NestsTooDeep(absl::string_view text) {
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
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

// "[json.exception.parse_error.101] parse error at line 1, column 3: syntax
// error while ...; last read: ..." without the library's name for it, the line
// (it is always 1 here) and the quotation, which may not be valid UTF-8.
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

absl::StatusOr<std::vector<JsonLine>> ParseJsonl(absl::string_view content,
                                                 const std::string& name) {
  std::vector<JsonLine> values;
  LineReader reader(content);
  absl::string_view line;
  while (reader.Next(&line)) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    if (NestsTooDeep(line)) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":", reader.line_number(), ": nests deeper than ",
                       kMaxDepth, " levels"));
    }
    try {
      values.push_back({nlohmann::json::parse(line.begin(), line.end()),
                        reader.line_number()});
    } catch (const nlohmann::json::exception& error) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":", reader.line_number(),
                       ": not one JSON value: ", Reason(error)));
    }
  }
  return values;
}

absl::StatusOr<std::vector<JsonLine>> ReadJsonl(const std::string& path) {
  absl::StatusOr<std::string> content = ReadFile(path);
  if (!content.ok()) return content.status();
  return ParseJsonl(*content, path);
}

}  // namespace repro
