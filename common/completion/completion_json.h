// Requests and completions as JSON: what recordings hold.
#ifndef REPRO_COMMON_COMPLETION_COMPLETION_JSON_H_
#define REPRO_COMMON_COMPLETION_COMPLETION_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "common/completion/completion.h"

namespace repro::completion {

// Names sorted, no spaces; U+FFFD for what is not UTF-8.
std::string Dump(const nlohmann::json& json);

nlohmann::json RequestJson(const CompletionRequest& request);

// from_record is not part of it.
nlohmann::json ToJson(const Completion& completion);

// InvalidArgument, naming the field that is missing or of the wrong type.
absl::StatusOr<Completion> CompletionFromJson(const nlohmann::json& json);

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_COMPLETION_JSON_H_
