#ifndef REPRO_COMMON_CHECKPOINT_JSON_H_
#define REPRO_COMMON_CHECKPOINT_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace repro {

// An object of JSON whose names are unique and that nests no deeper than
// `max_depth` levels. Errors name `name` and the place.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text,
                                               const std::string& name,
                                               int max_depth);

}  // namespace repro

#endif  // REPRO_COMMON_CHECKPOINT_JSON_H_
