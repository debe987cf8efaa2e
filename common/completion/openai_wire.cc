#include "common/completion/openai_wire.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/checkpoint/json.h"
#include "common/completion/completion_json.h"
#include "common/http/event_stream.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro::completion {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 32;

absl::Status Wrong(absl::string_view field, absl::string_view expected) {
  return absl::DataLossError(absl::StrCat("the answer makes no sense: \"",
                                          field, "\" is not ", expected));
}

absl::StatusOr<Json> Parse(absl::string_view text) {
  absl::StatusOr<Json> json = ParseJsonObject(text, "the answer", kMaxDepth);
  if (!json.ok()) return absl::DataLossError(json.status().message());
  return json;
}

// Null if the field is missing or null.
const Json* Find(const Json& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

absl::StatusOr<std::string> String(const Json& object, const char* name) {
  const Json* value = Find(object, name);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return Wrong(name, "a string");
  return value->get<std::string>();
}

absl::StatusOr<int64_t> Count(const Json& object, const char* name) {
  const Json* value = Find(object, name);
  if (value == nullptr) return 0;
  if (!value->is_number_integer() || *value < 0 || *value > INT64_MAX) {
    return Wrong(name, "a whole number from 0");
  }
  return value->get<int64_t>();
}

absl::StatusOr<TokenLogprob> ChatToken(const Json& json) {
  if (!json.is_object() || !json.contains("token") ||
      !json["token"].is_string() || !json.contains("logprob") ||
      !json["logprob"].is_number()) {
    return Wrong("logprobs.content", "a list of tokens with logprobs");
  }
  TokenLogprob token;
  token.token = json["token"].get<std::string>();
  token.logprob = json["logprob"].get<double>();
  return token;
}

absl::Status AddChatLogprobs(const Json& logprobs, Choice* choice) {
  const Json* content = Find(logprobs, "content");
  if (content == nullptr) return absl::OkStatus();
  if (!content->is_array()) return Wrong("logprobs.content", "a list");
  for (const Json& one : *content) {
    REPRO_ASSIGN_OR_RETURN(TokenLogprob token, ChatToken(one));
    if (const Json* top = Find(one, "top_logprobs")) {
      if (!top->is_array()) return Wrong("top_logprobs", "a list");
      for (const Json& other : *top) {
        REPRO_ASSIGN_OR_RETURN(TokenLogprob likely, ChatToken(other));
        token.top.push_back(std::move(likely));
      }
    }
    choice->logprobs.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status AddTextLogprobs(const Json& logprobs, Choice* choice) {
  const Json* tokens = Find(logprobs, "tokens");
  const Json* values = Find(logprobs, "token_logprobs");
  const Json* tops = Find(logprobs, "top_logprobs");
  if (tokens == nullptr) return absl::OkStatus();
  if (!tokens->is_array() || values == nullptr || !values->is_array() ||
      values->size() != tokens->size()) {
    return Wrong("logprobs.token_logprobs", "a list as long as tokens");
  }
  if (tops != nullptr &&
      (!tops->is_array() || tops->size() != tokens->size())) {
    return Wrong("logprobs.top_logprobs", "a list as long as tokens");
  }
  for (size_t i = 0; i < tokens->size(); ++i) {
    if (!(*tokens)[i].is_string() || !(*values)[i].is_number()) {
      return Wrong("logprobs.tokens", "a list of texts with numbers");
    }
    TokenLogprob token;
    token.token = (*tokens)[i].get<std::string>();
    token.logprob = (*values)[i].get<double>();
    if (tops != nullptr && (*tops)[i].is_object()) {
      for (const auto& [name, value] : (*tops)[i].items()) {
        if (!value.is_number()) {
          return Wrong("logprobs.top_logprobs", "numbers by token");
        }
        token.top.push_back({name, value.get<double>(), {}});
      }
      std::stable_sort(token.top.begin(), token.top.end(),
                       [](const TokenLogprob& a, const TokenLogprob& b) {
                         return a.logprob > b.logprob;
                       });
    }
    choice->logprobs.push_back(std::move(token));
  }
  return absl::OkStatus();
}

// Adds a whole answer (`part` is "message") or one event of it ("delta").
absl::Status Add(const CompletionRequest& request, const Json& json,
                 const char* part, Completion* completion) {
  const bool chat = !request.messages.empty();
  const Json* choices = Find(json, "choices");
  if (choices == nullptr || !choices->is_array()) {
    return Wrong("choices", "a list");
  }
  for (size_t i = 0; i < choices->size(); ++i) {
    const Json& one = (*choices)[i];
    if (!one.is_object()) return Wrong("choices", "a list of objects");
    int64_t index = static_cast<int64_t>(i);
    if (Find(one, "index") != nullptr) {
      REPRO_ASSIGN_OR_RETURN(index, Count(one, "index"));
    }
    if (index >= request.n) {
      return Wrong("choices", absl::StrCat("of ", request.n, " as asked for"));
    }
    Choice& choice = completion->choices[index];
    if (chat) {
      const Json* message = Find(one, part);
      if (message == nullptr || !message->is_object()) {
        return Wrong(absl::StrCat("choices[", i, "].", part), "an object");
      }
      // Null in a delta that brings only a role, or where tools were called.
      REPRO_ASSIGN_OR_RETURN(const std::string text,
                             String(*message, "content"));
      choice.text += text;
    } else {
      if (!one.contains("text")) {
        return Wrong(absl::StrCat("choices[", i, "].text"), "a string");
      }
      REPRO_ASSIGN_OR_RETURN(const std::string text, String(one, "text"));
      choice.text += text;
    }
    REPRO_ASSIGN_OR_RETURN(std::string reason, String(one, "finish_reason"));
    if (!reason.empty()) choice.finish_reason = std::move(reason);
    if (const Json* logprobs = Find(one, "logprobs");
        logprobs != nullptr && request.logprobs > 0) {
      if (!logprobs->is_object()) return Wrong("logprobs", "an object");
      REPRO_RETURN_IF_ERROR(chat ? AddChatLogprobs(*logprobs, &choice)
                                 : AddTextLogprobs(*logprobs, &choice));
    }
  }
  REPRO_ASSIGN_OR_RETURN(std::string model, String(json, "model"));
  if (!model.empty()) completion->model = std::move(model);
  if (const Json* usage = Find(json, "usage")) {
    if (!usage->is_object()) return Wrong("usage", "an object");
    REPRO_ASSIGN_OR_RETURN(completion->prompt_tokens,
                           Count(*usage, "prompt_tokens"));
    REPRO_ASSIGN_OR_RETURN(completion->completion_tokens,
                           Count(*usage, "completion_tokens"));
  }
  return absl::OkStatus();
}

// -1 if all choices have ended.
int Unfinished(const Completion& completion) {
  for (size_t i = 0; i < completion.choices.size(); ++i) {
    if (completion.choices[i].finish_reason.empty()) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

const char* EndpointOf(const CompletionRequest& request) {
  return request.messages.empty() ? "/completions" : "/chat/completions";
}

std::string RequestBody(const CompletionRequest& request,
                        const std::string& model, bool stream) {
  Json body = {{"model", model},
               {"max_tokens", request.max_tokens},
               {"temperature", request.temperature},
               {"top_p", request.top_p},
               {"n", request.n}};
  if (request.messages.empty()) {
    body["prompt"] = request.prompt;
    if (request.logprobs > 0) body["logprobs"] = request.logprobs;
  } else {
    body["messages"] = Json::array();
    for (const ChatMessage& message : request.messages) {
      body["messages"].push_back(
          {{"role", message.role}, {"content", message.content}});
    }
    if (request.logprobs > 0) {
      body["logprobs"] = true;
      body["top_logprobs"] = request.logprobs;
    }
  }
  if (!request.stop.empty()) body["stop"] = request.stop;
  if (request.seed) body["seed"] = *request.seed;
  if (stream) {
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
  }
  return Dump(body);
}

absl::StatusOr<Completion> ParseAnswer(const CompletionRequest& request,
                                       absl::string_view body) {
  REPRO_ASSIGN_OR_RETURN(const Json json, Parse(body));
  Completion completion;
  completion.choices.resize(request.n);
  REPRO_RETURN_IF_ERROR(Add(request, json, "message", &completion));
  if (const int i = Unfinished(completion); i >= 0) {
    return Wrong(absl::StrCat("choices[", i, "].finish_reason"), "a string");
  }
  return completion;
}

absl::StatusOr<Completion> ParseEvents(const CompletionRequest& request,
                                       absl::string_view body) {
  Completion completion;
  completion.choices.resize(request.n);
  for (const std::string& data : http::EventData(body)) {
    if (data == "[DONE]") break;
    REPRO_ASSIGN_OR_RETURN(const Json json, Parse(data));
    if (json.contains("error")) {
      std::string code;
      return absl::UnavailableError(
          absl::StrCat("the answer broke off: ", ErrorMessage(data, &code)));
    }
    REPRO_RETURN_IF_ERROR(Add(request, json, "delta", &completion));
  }
  if (const int i = Unfinished(completion); i >= 0) {
    return absl::UnavailableError(
        absl::StrCat("the answer broke off: choice ", i, " has no end"));
  }
  return completion;
}

std::string ErrorMessage(absl::string_view body, std::string* code) {
  constexpr size_t kMost = size_t{1} << 16;
  std::string message(body.substr(0, kMost));
  if (const absl::StatusOr<Json> json = Parse(body); json.ok()) {
    const auto error = json->find("error");
    if (error != json->end() && error->is_object()) {
      *code = String(*error, "code").value_or("");
      if (code->empty()) *code = String(*error, "type").value_or("");
      message = String(*error, "message").value_or(message);
    } else if (error != json->end() && error->is_string()) {
      message = error->get<std::string>();
    }
  }
  return absl::Utf8SafeCEscape(ReplaceInvalidUtf8(message));
}

}  // namespace repro::completion
