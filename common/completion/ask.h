// One text from a language model, with what it took.
#ifndef REPRO_COMMON_COMPLETION_ASK_H_
#define REPRO_COMMON_COMPLETION_ASK_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"

namespace repro::completion {

// What was asked and what came, over all answered requests.
struct Usage {
  int64_t requests = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  double cost = 0;
};

// The text of the first choice. Adds to `usage`, unless it is null, what any
// answer took. Errors begin with `step`: those of the client, and DataLoss for
// an answer without a choice.
absl::StatusOr<std::string> Ask(CompletionClient& client,
                                const CompletionRequest& request,
                                absl::string_view step, Usage* usage = nullptr);

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_ASK_H_
