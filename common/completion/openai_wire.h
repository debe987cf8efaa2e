// OpenAI's JSON of requests and answers.
#ifndef REPRO_COMMON_COMPLETION_OPENAI_WIRE_H_
#define REPRO_COMMON_COMPLETION_OPENAI_WIRE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"

namespace repro::completion {

// "/chat/completions" for messages, "/completions" for a prompt.
const char* EndpointOf(const CompletionRequest& request);

std::string RequestBody(const CompletionRequest& request,
                        const std::string& model, bool stream);

// The answer to `request` from a body of JSON or of server-sent events; the
// cost is left 0. DataLoss, naming the field: not JSON, another schema, choices
// that are missing. Unavailable: an event that tells of an error, or events
// that end before the answer does.
absl::StatusOr<Completion> ParseAnswer(const CompletionRequest& request,
                                       absl::string_view body);
absl::StatusOr<Completion> ParseEvents(const CompletionRequest& request,
                                       absl::string_view body);

// What an answer with an error's code says: error.message of the JSON, or the
// text. *code is error.code or error.type ("insufficient_quota").
std::string ErrorMessage(absl::string_view body, std::string* code);

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_OPENAI_WIRE_H_
