#include "common/completion/openai_client.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/completion/openai_wire.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro::completion {
namespace {

// There is no such header, or none that can be read.
constexpr absl::Duration kNoRetryAfter = -absl::InfiniteDuration();

// RFC 9110, section 10.2.3: seconds, or a date.
absl::Duration RetryAfter(const http::Response& response, absl::Time now) {
  const std::string text = response.Header("retry-after");
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) {
    return seconds >= 0 ? absl::Seconds(seconds) : kNoRetryAfter;
  }
  absl::Time date;
  std::string error;
  if (absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", text, &date, &error)) {
    return std::max(date - now, absl::ZeroDuration());
  }
  return kNoRetryAfter;
}

// What a request may use; four bytes a token is common for English.
int64_t EstimateTokens(const CompletionRequest& request) {
  size_t bytes = request.prompt.size();
  for (const ChatMessage& message : request.messages) {
    bytes += message.role.size() + message.content.size();
  }
  return static_cast<int64_t>(bytes / 4) + request.n * request.max_tokens;
}

// A server may send a page of HTML.
std::string Shorten(std::string message) {
  constexpr size_t kMost = 600;
  if (message.size() <= kMost) return message;
  message.resize(kMost);
  message.resize(message.size() - IncompleteUtf8Suffix(message));
  return message + "...";
}

absl::StatusCode CodeOf(int http_code) {
  switch (http_code) {
    case 400:
    case 413:
    case 422:
      return absl::StatusCode::kInvalidArgument;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
      return absl::StatusCode::kNotFound;
    case 408:
      return absl::StatusCode::kDeadlineExceeded;
    case 429:
      return absl::StatusCode::kResourceExhausted;
    default:
      return http_code >= 500 || http_code == 409
                 ? absl::StatusCode::kUnavailable
                 : absl::StatusCode::kFailedPrecondition;
  }
}

}  // namespace

struct OpenAiClient::Attempt {
  absl::StatusOr<Completion> result;
  bool may_pass = false;  // worth another try
  absl::Duration retry_after = kNoRetryAfter;
};

absl::StatusOr<std::unique_ptr<OpenAiClient>> OpenAiClient::Create(
    OpenAiOptions options) {
  // Nothing of a wrong URL is repeated: it may hold a password.
  if (!absl::StartsWith(options.url, "http://") &&
      !absl::StartsWith(options.url, "https://")) {
    return absl::InvalidArgumentError(
        "the URL of an OpenAI-compatible server must begin with http:// or "
        "https://, as https://api.openai.com/v1");
  }
  if (options.url.find_first_of("@?# \t\r\n") != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the URL of an OpenAI-compatible server may not hold a user, a query "
        "or a space; its key belongs into the environment variable ",
        options.api_key_variable));
  }
  if (options.attempts < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("attempts is ", options.attempts, ", not at least 1"));
  }
  while (absl::EndsWith(options.url, "/")) options.url.pop_back();
  const char* key = options.api_key_variable.empty()
                        ? nullptr
                        : std::getenv(options.api_key_variable.c_str());
  std::string text = key == nullptr ? "" : key;
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) {
        return c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '\'';
      })) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the key in ", options.api_key_variable,
        " holds a space, a quote, a line break or another character that "
        "keys lack"));
  }
  return std::unique_ptr<OpenAiClient>(
      new OpenAiClient(std::move(options), std::move(text)));
}

OpenAiClient::OpenAiClient(OpenAiOptions options, std::string key)
    : options_(std::move(options)),
      key_(std::move(key)),
      limiter_(options_.limits, options_.clock),
      generator_(options_.jitter_seed ? *options_.jitter_seed
                                      : std::random_device()()) {}

std::string OpenAiClient::name() const {
  return absl::StrCat("openai:", options_.model, "@", options_.url);
}

OpenAiClient::Usage OpenAiClient::usage() const {
  absl::MutexLock lock(&mutex_);
  return usage_;
}

absl::StatusOr<Completion> OpenAiClient::Complete(
    const CompletionRequest& request) {
  REPRO_RETURN_IF_ERROR(Validate(request));
  if (request.model.empty() && options_.model.empty()) {
    return absl::InvalidArgumentError(
        "neither the request nor the client names a model");
  }
  const int64_t estimate = EstimateTokens(request);
  for (int attempt = 1;; ++attempt) {
    REPRO_RETURN_IF_ERROR(limiter_.Acquire(estimate, options_.cancelled));
    Attempt tried = TryOnce(request);
    if (tried.result.ok()) {
      Completion completion = *std::move(tried.result);
      const int64_t used =
          completion.prompt_tokens + completion.completion_tokens;
      if (used > 0) limiter_.Settle(estimate, used);
      absl::MutexLock lock(&mutex_);
      ++usage_.requests;
      usage_.prompt_tokens += completion.prompt_tokens;
      usage_.completion_tokens += completion.completion_tokens;
      usage_.cost += completion.cost;
      return completion;
    }
    const absl::Status status = tried.result.status();
    const std::string message = Shorten(Redact(status.message()));
    if (!tried.may_pass) return absl::Status(status.code(), message);
    if (attempt >= options_.attempts) {
      return absl::Status(
          status.code(),
          absl::StrCat(message, " (", attempt,
                       attempt == 1 ? " attempt)" : " attempts)"));
    }
    if (tried.retry_after > options_.max_retry_after) {
      return absl::Status(
          status.code(),
          absl::StrCat(message, "; the server wants no request for ",
                       absl::FormatDuration(tried.retry_after)));
    }
    const absl::Duration wait =
        std::max(tried.retry_after, absl::ZeroDuration()) + Jitter(attempt - 1);
    if (!options_.clock->Sleep(wait, options_.cancelled)) {
      return absl::CancelledError(
          absl::StrCat(options_.url, ": stopped while waiting to try again"));
    }
    absl::MutexLock lock(&mutex_);
    ++usage_.retries;
  }
}

OpenAiClient::Attempt OpenAiClient::TryOnce(const CompletionRequest& request) {
  const std::string& model =
      request.model.empty() ? options_.model : request.model;
  http::Request sent;
  sent.url = options_.url + EndpointOf(request);
  sent.headers = {{"Content-Type", "application/json"}};
  if (!key_.empty()) {
    sent.headers.emplace_back("Authorization", absl::StrCat("Bearer ", key_));
  }
  sent.body = RequestBody(request, model, options_.stream);
  sent.connect_timeout = options_.connect_timeout;
  sent.read_timeout = options_.read_timeout;
  sent.total_timeout = options_.total_timeout;
  sent.max_response_bytes = options_.max_response_bytes;
  sent.cancelled = options_.cancelled;

  absl::StatusOr<http::Response> response = http_.Send(sent);
  if (!response.ok()) {
    return {response.status(), absl::IsUnavailable(response.status()) ||
                                   absl::IsDeadlineExceeded(response.status())};
  }
  if (response->code != 200) return Refused(*response);
  // A server may answer as a whole though events were asked for.
  const bool events =
      absl::StartsWith(response->Header("content-type"), "text/event-stream");
  absl::StatusOr<Completion> completion =
      events ? ParseEvents(request, response->body)
             : ParseAnswer(request, response->body);
  if (!completion.ok()) {
    return {absl::Status(
                completion.status().code(),
                absl::StrCat(sent.url, ": ", completion.status().message())),
            absl::IsUnavailable(completion.status())};
  }
  if (completion->model.empty()) completion->model = model;
  Redact(&*completion);
  const auto price = options_.prices.find(model);
  if (price != options_.prices.end()) {
    constexpr double kMillion = 1e6;
    completion->cost =
        (price->second.prompt * completion->prompt_tokens +
         price->second.completion * completion->completion_tokens) /
        kMillion;
  }
  return {std::move(completion)};
}

OpenAiClient::Attempt OpenAiClient::Refused(
    const http::Response& response) const {
  std::string code;
  std::string message = absl::StrCat(options_.url, ": HTTP ", response.code);
  const std::string why = ErrorMessage(response.body, &code);
  if (!why.empty()) absl::StrAppend(&message, ": ", why);
  if (response.code == 401) {
    absl::StrAppend(&message,
                    "; the key is taken from the environment "
                    "variable ",
                    options_.api_key_variable,
                    key_.empty() ? ", which is not set" : "");
  } else if (response.code >= 300 && response.code < 400) {
    absl::StrAppend(&message,
                    "; it is elsewhere: ", response.Header("location"));
  }
  // A quota that is used up does not come back by waiting.
  const bool may_pass = response.code == 408 || response.code == 409 ||
                        response.code >= 500 ||
                        (response.code == 429 && code != "insufficient_quota");
  return {absl::Status(CodeOf(response.code), message), may_pass,
          RetryAfter(response, options_.clock->Now())};
}

absl::Duration OpenAiClient::Jitter(int attempt) {
  constexpr int kMostDoublings = 30;
  const absl::Duration most = std::min(
      options_.max_backoff,
      options_.backoff * (int64_t{1} << std::min(attempt, kMostDoublings)));
  absl::MutexLock lock(&mutex_);
  return most * std::uniform_real_distribution<double>(0, 1)(generator_);
}

std::string OpenAiClient::Redact(absl::string_view text) const {
  return key_.empty() ? std::string(text)
                      : absl::StrReplaceAll(text, {{key_, "[API key]"}});
}

void OpenAiClient::Redact(Completion* completion) const {
  if (key_.empty()) return;
  completion->model = Redact(completion->model);
  for (Choice& choice : completion->choices) {
    choice.text = Redact(choice.text);
    choice.finish_reason = Redact(choice.finish_reason);
    for (TokenLogprob& token : choice.logprobs) {
      token.token = Redact(token.token);
      for (TokenLogprob& other : token.top) other.token = Redact(other.token);
    }
  }
}

}  // namespace repro::completion
