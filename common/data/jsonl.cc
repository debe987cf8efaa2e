#include "common/data/jsonl.h"

#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "common/data/io.h"
#include "common/data/json.h"
#include "common/status/macros.h"

namespace repro {

absl::StatusOr<std::vector<JsonLine>> ParseJsonl(absl::string_view content,
                                                 const std::string& name) {
  std::vector<JsonLine> values;
  LineReader reader(content);
  absl::string_view line;
  while (reader.Next(&line)) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    REPRO_ASSIGN_OR_RETURN(nlohmann::json value,
                           ParseJson(line, name, reader.line_number()));
    values.push_back({std::move(value), reader.line_number()});
  }
  return values;
}

absl::StatusOr<std::vector<JsonLine>> ReadJsonl(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  return ParseJsonl(content, path);
}

}  // namespace repro
