// A language model behind a request and an answer, wherever it runs.
//
//   REPRO_ASSIGN_OR_RETURN(std::unique_ptr<completion::CompletionClient>
//   client,
//                          completion::OpenClient("local"));
//   completion::CompletionRequest request;
//   request.messages = {{"user", "What is a monad?"}};
//   REPRO_ASSIGN_OR_RETURN(completion::Completion answer,
//                          client->Complete(request));
//   Use(answer.choices[0].text);
#ifndef REPRO_COMMON_COMPLETION_COMPLETION_H_
#define REPRO_COMMON_COMPLETION_COMPLETION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tokenizer/chat_template.h"

namespace repro::completion {

using ::repro::ChatMessage;  // {role, content}

// The sampling fields mean what they mean in OpenAI's API.
struct CompletionRequest {
  std::string model;  // empty: the one that the client was opened with
  // A conversation, or a text to go on with: one of the two.
  std::vector<ChatMessage> messages;
  std::string prompt;

  int64_t max_tokens = 256;
  double temperature = 0;         // in [0, 2]; 0: the most likely token
  double top_p = 1;               // in (0, 1]
  std::vector<std::string> stop;  // the text ends before the first of them
  // Unset: the client's choice. Requests that differ in nothing get one answer
  // from a recording, so give each of many samples another seed, or use n.
  std::optional<uint64_t> seed;
  int n = 1;         // choices
  int logprobs = 0;  // alternatives to report for each token, at most 20
};

// InvalidArgument, naming the field: neither or both of messages and prompt,
// numbers out of range, an empty stop string, text that is not UTF-8.
absl::Status Validate(const CompletionRequest& request);

struct TokenLogprob {
  std::string token;
  double logprob = 0;  // natural
  // The most likely first; of the sampled token's position.
  std::vector<TokenLogprob> top;
};

struct Choice {
  std::string text;
  std::string finish_reason;           // "stop", "length", or a server's own
  std::vector<TokenLogprob> logprobs;  // empty unless asked for
};

struct Completion {
  std::vector<Choice> choices;  // request.n of them
  std::string model;            // who answered
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;  // of all choices
  double cost = 0;  // by the client's price table, in its currency
  bool from_record = false;
};

// Safe to use from many threads at once.
class CompletionClient {
 public:
  virtual ~CompletionClient() = default;

  // Errors: Validate's; NotFound (no such model, no recording),
  // Unauthenticated, PermissionDenied, ResourceExhausted (a limit, after all
  // retries), DeadlineExceeded, Unavailable, Cancelled, DataLoss (an answer
  // that makes no sense or ends too early).
  virtual absl::StatusOr<Completion> Complete(
      const CompletionRequest& request) = 0;

  // "local:smollm2-135m-instruct", "openai:gpt-4o-mini@https://...". Goes into
  // results; holds no secret.
  virtual std::string name() const = 0;
};

// The request as JSON with sorted names and without spaces, every field
// present, and its SHA-256: the name of a recording.
std::string CanonicalJson(const CompletionRequest& request);
std::string RequestKey(const CompletionRequest& request);

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_COMPLETION_H_
