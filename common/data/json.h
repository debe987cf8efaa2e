#ifndef REPRO_COMMON_DATA_JSON_H_
#define REPRO_COMMON_DATA_JSON_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace repro {

// The one JSON value that a text is, over any number of lines; `name` stands
// for the text in errors and `first_line` is the number of its first line.
// InvalidArgument "name:line: ..." for anything else, for what is not UTF-8,
// and for a text that nests deeper than 500 levels.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text,
                                         const std::string& name,
                                         int64_t first_line = 1);

// The same for a file, plain or gzip. Errors of ReadFile too.
absl::StatusOr<nlohmann::json> ReadJson(const std::string& path);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_JSON_H_
