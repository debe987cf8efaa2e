#include "common/completion/completion.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/assets/sha256.h"
#include "common/completion/completion_json.h"
#include "common/text/utf8.h"

namespace repro::completion {
namespace {

absl::Status Wrong(const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the request of a completion: ", what));
}

}  // namespace

absl::Status Validate(const CompletionRequest& request) {
  constexpr int64_t kMaxTokens = int64_t{1} << 24;
  constexpr int kMaxChoices = 1024, kMaxLogprobs = 20;
  if (request.messages.empty() == request.prompt.empty()) {
    return Wrong("either messages or prompt must be given");
  }
  for (size_t i = 0; i < request.messages.size(); ++i) {
    const ChatMessage& message = request.messages[i];
    if (message.role.empty()) {
      return Wrong(absl::StrCat("messages[", i, "].role is empty"));
    }
    if (!IsUtf8(message.role) || !IsUtf8(message.content)) {
      return Wrong(absl::StrCat("messages[", i, "] is not UTF-8"));
    }
  }
  if (!IsUtf8(request.prompt)) return Wrong("prompt is not UTF-8");
  if (!IsUtf8(request.model)) return Wrong("model is not UTF-8");
  if (request.max_tokens < 1 || request.max_tokens > kMaxTokens) {
    return Wrong(absl::StrCat("max_tokens is ", request.max_tokens,
                              ", not from 1 to ", kMaxTokens));
  }
  if (!(request.temperature >= 0 && request.temperature <= 2)) {
    return Wrong(absl::StrCat("temperature is ", request.temperature,
                              ", not from 0 to 2"));
  }
  if (!(request.top_p > 0 && request.top_p <= 1)) {
    return Wrong(absl::StrCat("top_p is ", request.top_p, ", not in (0, 1]"));
  }
  for (size_t i = 0; i < request.stop.size(); ++i) {
    if (request.stop[i].empty() || !IsUtf8(request.stop[i])) {
      return Wrong(absl::StrCat("stop[", i, "] is empty or not UTF-8"));
    }
  }
  if (request.seed && *request.seed > uint64_t{INT64_MAX}) {
    return Wrong(absl::StrCat("seed is ", *request.seed, ", more than ",
                              INT64_MAX, ", the most that servers take"));
  }
  if (request.n < 1 || request.n > kMaxChoices) {
    return Wrong(
        absl::StrCat("n is ", request.n, ", not from 1 to ", kMaxChoices));
  }
  if (request.logprobs < 0 || request.logprobs > kMaxLogprobs) {
    return Wrong(absl::StrCat("logprobs is ", request.logprobs,
                              ", not from 0 to ", kMaxLogprobs));
  }
  return absl::OkStatus();
}

std::string CanonicalJson(const CompletionRequest& request) {
  return Dump(RequestJson(request));
}

std::string RequestKey(const CompletionRequest& request) {
  return Sha256(CanonicalJson(request));
}

}  // namespace repro::completion
