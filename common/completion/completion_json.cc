#include "common/completion/completion_json.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::completion {
namespace {

using Json = nlohmann::json;

absl::Status Wrong(const std::string& field, const char* expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", field, "\" is not ", expected));
}

absl::Status Read(const Json& object, const char* name, std::string* out) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_string()) return Wrong(name, "a string");
  *out = it->get<std::string>();
  return absl::OkStatus();
}

absl::Status Read(const Json& object, const char* name, double* out) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_number()) return Wrong(name, "a number");
  *out = it->get<double>();
  return absl::OkStatus();
}

absl::Status Read(const Json& object, const char* name, int64_t* out) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_number_integer() || *it < 0 ||
      *it > INT64_MAX) {
    return Wrong(name, "a whole number from 0");
  }
  *out = it->get<int64_t>();
  return absl::OkStatus();
}

absl::StatusOr<const Json*> Objects(const Json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_array()) return Wrong(name, "a list");
  for (const Json& one : *it) {
    if (!one.is_object()) return Wrong(name, "a list of objects");
  }
  return &*it;
}

Json LogprobJson(const TokenLogprob& token) {
  Json top = Json::array();
  for (const TokenLogprob& other : token.top) {
    top.push_back({{"token", other.token}, {"logprob", other.logprob}});
  }
  return {{"token", token.token},
          {"logprob", token.logprob},
          {"top", std::move(top)}};
}

}  // namespace

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json RequestJson(const CompletionRequest& request) {
  Json messages = Json::array();
  for (const ChatMessage& message : request.messages) {
    messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  return {{"version", 1},
          {"model", request.model},
          {"messages", std::move(messages)},
          {"prompt", request.prompt},
          {"max_tokens", request.max_tokens},
          // -0 is 0.
          {"temperature", request.temperature + 0.0},
          {"top_p", request.top_p},
          {"stop", request.stop},
          {"seed", request.seed ? Json(*request.seed) : Json()},
          {"n", request.n},
          {"logprobs", request.logprobs}};
}

Json ToJson(const Completion& completion) {
  Json choices = Json::array();
  for (const Choice& choice : completion.choices) {
    Json logprobs = Json::array();
    for (const TokenLogprob& token : choice.logprobs) {
      logprobs.push_back(LogprobJson(token));
    }
    choices.push_back({{"text", choice.text},
                       {"finish_reason", choice.finish_reason},
                       {"logprobs", std::move(logprobs)}});
  }
  return {{"choices", std::move(choices)},
          {"model", completion.model},
          {"prompt_tokens", completion.prompt_tokens},
          {"completion_tokens", completion.completion_tokens},
          {"cost", completion.cost}};
}

absl::StatusOr<Completion> CompletionFromJson(const Json& json) {
  if (!json.is_object()) return Wrong("completion", "an object");
  Completion completion;
  REPRO_RETURN_IF_ERROR(Read(json, "model", &completion.model));
  REPRO_RETURN_IF_ERROR(Read(json, "prompt_tokens", &completion.prompt_tokens));
  REPRO_RETURN_IF_ERROR(
      Read(json, "completion_tokens", &completion.completion_tokens));
  REPRO_RETURN_IF_ERROR(Read(json, "cost", &completion.cost));
  REPRO_ASSIGN_OR_RETURN(const Json* choices, Objects(json, "choices"));
  for (const Json& one : *choices) {
    Choice choice;
    REPRO_RETURN_IF_ERROR(Read(one, "text", &choice.text));
    REPRO_RETURN_IF_ERROR(Read(one, "finish_reason", &choice.finish_reason));
    REPRO_ASSIGN_OR_RETURN(const Json* tokens, Objects(one, "logprobs"));
    for (const Json& entry : *tokens) {
      TokenLogprob token;
      REPRO_RETURN_IF_ERROR(Read(entry, "token", &token.token));
      REPRO_RETURN_IF_ERROR(Read(entry, "logprob", &token.logprob));
      REPRO_ASSIGN_OR_RETURN(const Json* top, Objects(entry, "top"));
      for (const Json& other : *top) {
        TokenLogprob likely;
        REPRO_RETURN_IF_ERROR(Read(other, "token", &likely.token));
        REPRO_RETURN_IF_ERROR(Read(other, "logprob", &likely.logprob));
        token.top.push_back(std::move(likely));
      }
      choice.logprobs.push_back(std::move(token));
    }
    completion.choices.push_back(std::move(choice));
  }
  return completion;
}

}  // namespace repro::completion
