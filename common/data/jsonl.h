#ifndef REPRO_COMMON_DATA_JSONL_H_
#define REPRO_COMMON_DATA_JSONL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace repro {

// One JSON value of a JSON Lines file and the line that it stands on (from 1).
struct JsonLine {
  nlohmann::json value;
  int64_t line;
};

// Reads a JSON Lines file, plain or gzip: one JSON value a line, UTF-8. Blank
// lines are skipped. Errors: those of ReadFile, and InvalidArgument
// "path:line: ..." for a line that is not one JSON value, is not valid UTF-8,
// or nests deeper than 500 levels.
absl::StatusOr<std::vector<JsonLine>> ReadJsonl(const std::string& path);

// The same for a text in memory; `name` stands for it in errors.
absl::StatusOr<std::vector<JsonLine>> ParseJsonl(absl::string_view content,
                                                 const std::string& name);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_JSONL_H_
