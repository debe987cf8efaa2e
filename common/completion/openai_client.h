// A server that speaks OpenAI's API: OpenAI's own, vLLM, llama.cpp, Ollama,
// `repro serve`, ...
#ifndef REPRO_COMMON_COMPLETION_OPENAI_CLIENT_H_
#define REPRO_COMMON_COMPLETION_OPENAI_CLIENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/completion/completion.h"
#include "common/completion/rate_limit.h"
#include "common/http/client.h"

namespace repro::completion {

// Of a million tokens, in any currency.
struct Price {
  double prompt = 0;
  double completion = 0;
};

struct OpenAiOptions {
  std::string url;    // "https://api.openai.com/v1"
  std::string model;  // of requests that name none
  // The environment variable with the API key, read once; a variable that is
  // not set means that the server wants none. The key is sent to `url`, and
  // neither errors, answers nor name() hold it.
  std::string api_key_variable = "OPENAI_API_KEY";

  // Asks for server-sent events, so that read_timeout is of the next token
  // rather than of the whole answer.
  bool stream = true;
  absl::Duration connect_timeout = absl::Seconds(10);
  absl::Duration read_timeout = absl::Minutes(2);
  absl::Duration total_timeout = absl::Minutes(10);  // of one attempt
  int64_t max_response_bytes = int64_t{64} << 20;

  // Tried again: no connection or a cut one, timeouts, HTTP 408, 409, 429 and
  // 5xx. Attempt k waits for a time drawn from [0, min(max_backoff, 2^k
  // backoff)] ("full jitter": Brooker 2015, Exponential Backoff And Jitter),
  // on top of what the server asks for by Retry-After.
  int attempts = 6;  // at least 1
  absl::Duration backoff = absl::Seconds(1);
  absl::Duration max_backoff = absl::Minutes(1);
  absl::Duration max_retry_after = absl::Minutes(5);  // longer: give up
  std::optional<uint64_t> jitter_seed;  // unset: another one each time

  RateLimits limits;
  std::map<std::string, Price> prices;  // by model; others cost 0
  std::function<bool()> cancelled;      // asked often; true: give up
  Clock* clock = Clock::Real();         // must outlive the client
};

class OpenAiClient : public CompletionClient {
 public:
  // What all of its requests came to.
  struct Usage {
    int64_t requests = 0;  // that were answered
    int64_t retries = 0;
    int64_t prompt_tokens = 0;
    int64_t completion_tokens = 0;
    double cost = 0;
  };

  // InvalidArgument for a URL that is not http or https, or that holds a user,
  // a password or a query (it goes into results); and for options out of range.
  static absl::StatusOr<std::unique_ptr<OpenAiClient>> Create(
      OpenAiOptions options);

  absl::StatusOr<Completion> Complete(
      const CompletionRequest& request) override;
  std::string name() const override;
  Usage usage() const;

 private:
  struct Attempt;

  OpenAiClient(OpenAiOptions options, std::string key);
  Attempt TryOnce(const CompletionRequest& request);
  Attempt Refused(const http::Response& response) const;
  absl::Duration Jitter(int attempt);
  std::string Redact(absl::string_view text) const;
  void Redact(Completion* completion) const;

  const OpenAiOptions options_;
  const std::string key_;
  http::Client http_;
  RateLimiter limiter_;
  mutable absl::Mutex mutex_;
  std::mt19937_64 generator_ ABSL_GUARDED_BY(mutex_);
  Usage usage_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_OPENAI_CLIENT_H_
