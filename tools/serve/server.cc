#include "tools/serve/server.h"

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/lm/generate.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"
#include "common/tokenizer/chat_template.h"

namespace repro {
namespace {

using Json = nlohmann::json;

// How long a thread waits before it looks whether the client is still there.
constexpr absl::Duration kLook = absl::Milliseconds(100);

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json ErrorJson(int code, const std::string& message) {
  const char* type = code == 401   ? "authentication_error"
                     : code == 429 ? "rate_limit_error"
                     : code >= 500 ? "server_error"
                                   : "invalid_request_error";
  return {{"error",
           {{"message", message},
            {"type", type},
            {"param", nullptr},
            {"code", nullptr}}}};
}

void SetError(httplib::Response* response, int code,
              const std::string& message) {
  response->status = code;
  if (code == 429 || code == 503) response->set_header("Retry-After", "1");
  response->set_content(Dump(ErrorJson(code, message)), "application/json");
}

int HttpCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
      return 400;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
      return 503;
    default:
      return 500;
  }
}

absl::Status Wrong(const std::string& field, const std::string& expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", field, "\" must be ", expected));
}

// Reads an optional field; null is as if it were not there.
absl::Status ReadNumber(const Json& body, const char* name, double* out) {
  const auto it = body.find(name);
  if (it == body.end() || it->is_null()) return absl::OkStatus();
  if (!it->is_number()) return Wrong(name, "a number");
  *out = it->get<double>();
  return absl::OkStatus();
}

absl::Status ReadInteger(const Json& body, const char* name, int64_t least,
                         int64_t most, int64_t* out) {
  const auto it = body.find(name);
  if (it == body.end() || it->is_null()) return absl::OkStatus();
  const std::string expected =
      absl::StrCat("a whole number from ", least, " to ", most);
  if (!it->is_number_integer()) return Wrong(name, expected);
  if (it->is_number_unsigned() &&
      it->get<uint64_t>() > static_cast<uint64_t>(most)) {
    return Wrong(name, expected);
  }
  *out = it->get<int64_t>();
  return *out >= least && *out <= most ? absl::OkStatus()
                                       : Wrong(name, expected);
}

absl::Status ReadBool(const Json& body, const char* name, bool* out) {
  const auto it = body.find(name);
  if (it == body.end() || it->is_null()) return absl::OkStatus();
  if (!it->is_boolean()) return Wrong(name, "true or false");
  *out = it->get<bool>();
  return absl::OkStatus();
}

// A string or a list of strings.
absl::Status ReadStop(const Json& body, std::vector<std::string>* out) {
  constexpr size_t kMost = 16;
  const auto it = body.find("stop");
  if (it == body.end() || it->is_null()) return absl::OkStatus();
  const Json list = it->is_array() ? *it : Json::array({*it});
  for (const Json& one : list) {
    if (!one.is_string() || list.size() > kMost) {
      return Wrong("stop", "a string or a list of at most 16 strings");
    }
    out->push_back(one.get<std::string>());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> ReadTokens(const Json& list) {
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id < 0 || id > (int64_t{1} << 30)) {
      return Wrong("prompt", "a string, tokens, or a list of these");
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

absl::StatusOr<std::vector<ChatMessage>> ReadMessages(const Json& body) {
  const auto it = body.find("messages");
  if (it == body.end() || !it->is_array() || it->empty()) {
    return Wrong("messages",
                 "a list of messages with \"role\" and \"content\"");
  }
  std::vector<ChatMessage> messages;
  for (const Json& one : *it) {
    if (!one.is_object() || !one.contains("role") || !one["role"].is_string() ||
        !one.contains("content")) {
      return Wrong("messages",
                   "a list of messages with \"role\" and \"content\"");
    }
    ChatMessage message;
    message.role = one["role"].get<std::string>();
    const Json& content = one["content"];
    if (content.is_string()) {
      message.content = content.get<std::string>();
    } else if (content.is_array()) {
      for (const Json& part : content) {
        if (!part.is_object() || part.value("type", Json()) != "text" ||
            !part.contains("text") || !part["text"].is_string()) {
          return Wrong("content",
                       "a string or a list of parts of type \"text\"");
        }
        message.content += part["text"].get<std::string>();
      }
    } else {
      return Wrong("content", "a string or a list of parts of type \"text\"");
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

// A part of a character as OpenAI writes it: "bytes:\\xe2\\x80".
std::string TokenName(const std::string& bytes) {
  if (IsUtf8(bytes)) return bytes;
  std::string name = "bytes:";
  for (const char c : bytes) {
    absl::StrAppend(&name, "\\x",
                    absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
  }
  return name;
}

// One request of a client, parsed.
struct Call {
  bool chat = false;
  bool stream = false;
  bool include_usage = false;
  bool logprobs = false;
  std::vector<lm::GenerationRequest> choices;
};

// One answer on its way; the engine drops what nobody waits for.
struct Answer {
  ~Answer() {
    for (const auto& stream : streams) stream->Cancel();
  }
  Call call;
  std::string id;
  int64_t created = 0;
  absl::Time deadline;
  std::vector<std::shared_ptr<lm::TextStream>> streams;
  std::vector<bool> begun, ended;
  std::vector<int64_t> text_offset;  // characters of text before, a choice
  int64_t completion_tokens = 0;
};

}  // namespace

class Server::Impl {
 public:
  Impl(const lm::LanguageModel* model, const Tokenizer* tokenizer,
       lm::StateFactory factory, ServerOptions options)
      : model_(model),
        tokenizer_(tokenizer),
        options_(std::move(options)),
        engine_(model, tokenizer, std::move(factory), options_.engine),
        next_seed_(options_.seed) {
    // One thread a connection: those that run, those that wait, and some to
    // refuse the others.
    const int64_t threads =
        options_.engine.max_running + options_.engine.max_waiting + 8;
    http_.new_task_queue = [threads] {
      return new httplib::ThreadPool(static_cast<size_t>(threads));
    };
    // The library's own would let two servers share a port.
    http_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    const auto seconds = absl::ToInt64Seconds(options_.read_timeout);
    const auto rest = absl::ToInt64Microseconds(options_.read_timeout -
                                                absl::Seconds(seconds));
    http_.set_read_timeout(seconds, rest);
    http_.set_write_timeout(seconds, rest);
    http_.set_keep_alive_timeout(std::max<int64_t>(1, seconds));
    http_.set_payload_max_length(static_cast<size_t>(options_.max_body_bytes));
    http_.set_pre_routing_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          return Admit(request, &response);
        });
    http_.set_error_handler(
        [](const httplib::Request& request, httplib::Response& response) {
          if (!response.body.empty()) return;
          const int code = response.status;
          SetError(&response, code,
                   code == 404   ? absl::StrCat("there is no ", request.method,
                                                " ", request.path)
                   : code == 413 ? "the body is too large"
                                 : "the request is malformed");
        });
    http_.set_exception_handler([](const httplib::Request&,
                                   httplib::Response& response,
                                   const std::exception_ptr&) {
      SetError(&response, 500, "internal error");
    });
    http_.Get("/health",
              [this](const httplib::Request&, httplib::Response& response) {
                if (stopping_)
                  return SetError(&response, 503, "the server is stopping");
                response.set_content(Dump({{"status", "ok"},
                                           {"running", engine_.running()},
                                           {"waiting", engine_.waiting()}}),
                                     "application/json");
              });
    http_.Get("/v1/models", [this](const httplib::Request&,
                                   httplib::Response& response) {
      response.set_content(
          Dump({{"object", "list"}, {"data", Json::array({ModelJson()})}}),
          "application/json");
    });
    http_.Get(R"(/v1/models/(.+))", [this](const httplib::Request& request,
                                           httplib::Response& response) {
      if (request.matches[1].str() != options_.model_name) {
        return SetError(&response, 404, NoModel(request.matches[1].str()));
      }
      response.set_content(Dump(ModelJson()), "application/json");
    });
    for (const bool chat : {false, true}) {
      http_.Post(chat ? "/v1/chat/completions" : "/v1/completions",
                 [this, chat](const httplib::Request& request,
                              httplib::Response& response) {
                   Complete(request, chat, &response);
                 });
    }
  }

  ~Impl() { Stop(); }

  absl::Status Start() {
    if (options_.port == 0) {
      port_ = http_.bind_to_any_port(options_.host.c_str());
    } else if (http_.bind_to_port(options_.host.c_str(), options_.port)) {
      port_ = options_.port;
    }
    if (port_ <= 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", options_.host, ":", options_.port,
                       ": is the port in use?"));
    }
    listener_ = std::thread([this] { http_.listen_after_bind(); });
    // Stopping before it runs would be lost.
    while (!http_.is_running()) absl::SleepFor(absl::Milliseconds(1));
    return absl::OkStatus();
  }

  int port() const { return port_; }

  void Stop() {
    stopping_ = true;
    engine_.Stop(options_.stop_wait);
    // What is written on the way out is short.
    const absl::Time end = absl::Now() + options_.read_timeout;
    while (active_ > 0 && absl::Now() < end) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    if (!listener_.joinable()) return;
    http_.stop();
    listener_.join();
  }

 private:
  using HandlerResponse = httplib::Server::HandlerResponse;

  HandlerResponse Admit(const httplib::Request& request,
                        httplib::Response* response) const {
    if (options_.api_key.empty() || request.path == "/health" ||
        request.get_header_value("Authorization") ==
            absl::StrCat("Bearer ", options_.api_key)) {
      return HandlerResponse::Unhandled;
    }
    SetError(response, 401, "give the server's API key as a Bearer token");
    return HandlerResponse::Handled;
  }

  Json ModelJson() const {
    return {{"id", options_.model_name},
            {"object", "model"},
            {"created", 0},
            {"owned_by", "repro"},
            {"context_length", model_->config().max_positions}};
  }

  std::string NoModel(const std::string& name) const {
    return absl::StrCat("there is no model ", name, "; this server has ",
                        options_.model_name);
  }

  absl::StatusOr<Call> Parse(const std::string& text, bool chat) {
    const Json body = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!body.is_object()) {
      return absl::InvalidArgumentError("the body is not a JSON object");
    }
    const auto model = body.find("model");
    if (model != body.end() && !model->is_null()) {
      if (!model->is_string()) return Wrong("model", "a string");
      if (*model != options_.model_name) {
        return absl::NotFoundError(NoModel(model->get<std::string>()));
      }
    }
    for (const char* name : {"tools", "functions", "logit_bias", "suffix",
                             "presence_penalty", "frequency_penalty", "echo"}) {
      const auto it = body.find(name);
      if (it == body.end() || it->is_null() || it->empty() || *it == false ||
          *it == 0) {
        continue;
      }
      return absl::InvalidArgumentError(
          absl::StrCat("\"", name, "\" is not supported"));
    }
    Call call;
    call.chat = chat;
    lm::GenerationRequest base;
    lm::SamplingOptions& sampling = base.sampling;
    sampling.temperature = 1;
    REPRO_RETURN_IF_ERROR(
        ReadNumber(body, "temperature", &sampling.temperature));
    REPRO_RETURN_IF_ERROR(ReadNumber(body, "top_p", &sampling.top_p));
    REPRO_RETURN_IF_ERROR(ReadNumber(body, "min_p", &sampling.min_p));
    REPRO_RETURN_IF_ERROR(
        ReadNumber(body, "repetition_penalty", &sampling.repetition_penalty));
    REPRO_RETURN_IF_ERROR(
        ReadInteger(body, "top_k", 0, 1 << 30, &sampling.top_k));
    base.max_tokens = chat ? options_.max_new_tokens
                           : std::min<int64_t>(16, options_.max_new_tokens);
    REPRO_RETURN_IF_ERROR(ReadInteger(
        body, "max_tokens", 1, options_.max_new_tokens, &base.max_tokens));
    REPRO_RETURN_IF_ERROR(ReadInteger(body, "max_completion_tokens", 1,
                                      options_.max_new_tokens,
                                      &base.max_tokens));
    int64_t n = 1, seed = -1;
    REPRO_RETURN_IF_ERROR(ReadInteger(body, "n", 1, options_.max_choices, &n));
    REPRO_RETURN_IF_ERROR(
        ReadInteger(body, "seed", INT64_MIN, INT64_MAX, &seed));
    const bool seeded = body.contains("seed") && !body["seed"].is_null();
    REPRO_RETURN_IF_ERROR(ReadBool(body, "stream", &call.stream));
    const auto stream_options = body.find("stream_options");
    if (stream_options != body.end() && stream_options->is_object()) {
      REPRO_RETURN_IF_ERROR(
          ReadBool(*stream_options, "include_usage", &call.include_usage));
    }
    REPRO_RETURN_IF_ERROR(ReadStop(body, &base.stop));
    if (chat) {
      REPRO_RETURN_IF_ERROR(ReadBool(body, "logprobs", &call.logprobs));
      REPRO_RETURN_IF_ERROR(
          ReadInteger(body, "top_logprobs", 0, 20, &sampling.top_logprobs));
    } else {
      int64_t top = -1;
      REPRO_RETURN_IF_ERROR(ReadInteger(body, "logprobs", 0, 20, &top));
      call.logprobs = top >= 0;
      sampling.top_logprobs = std::max<int64_t>(top, 0);
    }
    std::vector<std::vector<int32_t>> prompts;
    if (chat) {
      REPRO_ASSIGN_OR_RETURN(const std::vector<ChatMessage> messages,
                             ReadMessages(body));
      REPRO_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                             lm::EncodeChat(*tokenizer_, messages));
      prompts.push_back(std::move(ids));
    } else {
      REPRO_ASSIGN_OR_RETURN(prompts, ReadPrompts(body));
    }
    if (static_cast<int64_t>(prompts.size()) * n > options_.max_choices) {
      return absl::InvalidArgumentError(
          absl::StrCat(prompts.size(), " prompts times n = ", n,
                       " is more than ", options_.max_choices));
    }
    for (std::vector<int32_t>& prompt : prompts) {
      for (int64_t i = 0; i < n; ++i) {
        lm::GenerationRequest request = base;
        request.prompt = prompt;
        request.sampling.seed =
            seeded ? static_cast<uint64_t>(seed) + static_cast<uint64_t>(i)
                   : next_seed_++;
        REPRO_RETURN_IF_ERROR(lm::Validate(request, model_->config()));
        call.choices.push_back(std::move(request));
      }
    }
    return call;
  }

  absl::StatusOr<std::vector<std::vector<int32_t>>> ReadPrompts(
      const Json& body) const {
    const auto it = body.find("prompt");
    const char* kExpected = "a string, tokens, or a list of these";
    if (it == body.end() || it->is_null()) return Wrong("prompt", kExpected);
    std::vector<Json> parts;
    if (it->is_array() && !it->empty() && !(*it)[0].is_number()) {
      parts.assign(it->begin(), it->end());
    } else {
      parts.push_back(*it);
    }
    std::vector<std::vector<int32_t>> prompts;
    for (const Json& part : parts) {
      absl::StatusOr<std::vector<int32_t>> ids = Wrong("prompt", kExpected);
      if (part.is_string()) {
        ids = lm::EncodePrompt(*tokenizer_, part.get<std::string>());
      } else if (part.is_array()) {
        ids = ReadTokens(part);
      }
      REPRO_RETURN_IF_ERROR(ids.status());
      prompts.push_back(*std::move(ids));
    }
    return prompts;
  }

  void Complete(const httplib::Request& request, bool chat,
                httplib::Response* response) {
    if (stopping_) return SetError(response, 503, "the server is stopping");
    absl::StatusOr<Call> call = Parse(request.body, chat);
    if (!call.ok()) {
      return SetError(response, HttpCode(call.status()),
                      std::string(call.status().message()));
    }
    auto answer = std::make_shared<Answer>();
    answer->call = *std::move(call);
    answer->id = absl::StrCat(chat ? "chatcmpl-" : "cmpl-", next_id_++);
    answer->created = absl::ToUnixSeconds(absl::Now());
    answer->deadline = absl::Now() + options_.max_time;
    const size_t choices = answer->call.choices.size();
    answer->begun.resize(choices);
    answer->ended.resize(choices);
    answer->text_offset.resize(choices);
    for (const lm::GenerationRequest& choice : answer->call.choices) {
      auto stream = engine_.Submit(choice);
      if (!stream.ok()) {
        return SetError(response, HttpCode(stream.status()),
                        std::string(stream.status().message()));
      }
      answer->streams.push_back(*std::move(stream));
    }
    // Counts until the answer is written or dropped.
    const std::shared_ptr<void> active(
        nullptr, [this, count = ++active_](void*) { --active_; });
    if (answer->call.stream) {
      response->set_chunked_content_provider(
          "text/event-stream",
          [this, answer, active](size_t, httplib::DataSink& sink) {
            return Stream(answer.get(), &sink);
          });
    } else {
      Collect(answer.get(), response);
    }
  }

  // What both kinds of answers begin with.
  Json Head(const Answer& answer, const char* chat_object) const {
    return {{"id", answer.id},
            {"object", answer.call.chat ? chat_object : "text_completion"},
            {"created", answer.created},
            {"model", options_.model_name}};
  }

  Json Usage(const Answer& answer) const {
    int64_t prompt = 0;
    for (const auto& stream : answer.streams) prompt += stream->prompt_tokens();
    return {{"prompt_tokens", prompt},
            {"completion_tokens", answer.completion_tokens},
            {"total_tokens", prompt + answer.completion_tokens}};
  }

  static const char* FinishName(lm::FinishReason reason) {
    return reason == lm::FinishReason::kStop ? "stop" : "length";
  }

  Json TokenJson(const lm::TokenLogprob& token) const {
    const std::string bytes = tokenizer_->DecodeToken(token.id).value_or("");
    return {{"token", TokenName(bytes)},
            {"logprob", token.logprob},
            {"bytes", std::vector<uint8_t>(bytes.begin(), bytes.end())}};
  }

  // Of `tokens` in the form of the endpoint; null if it was not asked for.
  Json Logprobs(Answer* answer, size_t choice,
                const std::vector<lm::SampledToken>& tokens) const {
    if (!answer->call.logprobs) return nullptr;
    if (answer->call.chat) {
      Json content = Json::array();
      for (const lm::SampledToken& token : tokens) {
        Json one = TokenJson(token.chosen);
        one["top_logprobs"] = Json::array();
        for (const lm::TokenLogprob& other : token.top) {
          one["top_logprobs"].push_back(TokenJson(other));
        }
        content.push_back(std::move(one));
      }
      return {{"content", std::move(content)}};
    }
    Json out = {{"tokens", Json::array()},
                {"token_logprobs", Json::array()},
                {"top_logprobs", Json::array()},
                {"text_offset", Json::array()}};
    for (const lm::SampledToken& token : tokens) {
      const Json one = TokenJson(token.chosen);
      Json top = Json::object();
      for (const lm::TokenLogprob& other : token.top) {
        top[TokenJson(other)["token"].get<std::string>()] = other.logprob;
      }
      out["text_offset"].push_back(answer->text_offset[choice]);
      for (const uint8_t byte : one["bytes"]) {
        answer->text_offset[choice] += (byte & 0xc0) != 0x80;
      }
      out["tokens"].push_back(one["token"]);
      out["token_logprobs"].push_back(token.chosen.logprob);
      out["top_logprobs"].push_back(std::move(top));
    }
    return out;
  }

  // Ends what takes too long.
  static void CheckTime(const Answer& answer) {
    if (absl::Now() < answer.deadline) return;
    for (const auto& stream : answer.streams) stream->Cancel();
  }

  void Collect(Answer* answer, httplib::Response* response) const {
    Json choices = Json::array();
    for (size_t i = 0; i < answer->streams.size(); ++i) {
      lm::TextStream& stream = *answer->streams[i];
      lm::TextPiece all;
      while (!stream.done()) {
        if (std::optional<lm::TextPiece> piece = stream.Next(kLook)) {
          all.text += piece->text;
          std::move(piece->tokens.begin(), piece->tokens.end(),
                    std::back_inserter(all.tokens));
        }
        CheckTime(*answer);
      }
      if (const absl::Status status = stream.status(); !status.ok()) {
        // Lack of memory is the server's, not too many requests.
        const bool memory =
            status.code() == absl::StatusCode::kResourceExhausted;
        return SetError(response, memory ? 503 : HttpCode(status),
                        std::string(status.message()));
      }
      answer->completion_tokens += static_cast<int64_t>(all.tokens.size());
      Json choice = {{"index", i},
                     {"logprobs", Logprobs(answer, i, all.tokens)},
                     {"finish_reason", FinishName(stream.finish_reason())}};
      if (answer->call.chat) {
        choice["message"] = {{"role", "assistant"}, {"content", all.text}};
      } else {
        choice["text"] = all.text;
      }
      choices.push_back(std::move(choice));
    }
    Json out = Head(*answer, "chat.completion");
    out["choices"] = std::move(choices);
    out["usage"] = Usage(*answer);
    response->set_content(Dump(out), "application/json");
  }

  // Writes what there is. False: the client is gone.
  bool Stream(Answer* answer, httplib::DataSink* sink) const {
    const auto send = [&](const std::string& data) {
      const std::string event = absl::StrCat("data: ", data, "\n\n");
      return sink->write(event.data(), event.size());
    };
    const auto send_choice = [&](size_t i, const Json& delta,
                                 const std::string& text, Json logprobs,
                                 Json finish) {
      Json choice = {{"index", i},
                     {"logprobs", std::move(logprobs)},
                     {"finish_reason", std::move(finish)}};
      if (answer->call.chat) {
        choice["delta"] = delta;
      } else {
        choice["text"] = text;
      }
      Json out = Head(*answer, "chat.completion.chunk");
      out["choices"] = Json::array({std::move(choice)});
      if (answer->call.include_usage) out["usage"] = nullptr;
      return send(Dump(out));
    };
    bool all_ended = true;
    const absl::Duration wait = kLook / answer->streams.size();
    for (size_t i = 0; i < answer->streams.size(); ++i) {
      if (answer->ended[i]) continue;
      lm::TextStream& stream = *answer->streams[i];
      if (answer->call.chat && !answer->begun[i]) {
        answer->begun[i] = true;
        if (!send_choice(i, {{"role", "assistant"}, {"content", ""}}, "",
                         nullptr, nullptr)) {
          return false;
        }
      }
      if (const std::optional<lm::TextPiece> piece = stream.Next(wait)) {
        answer->completion_tokens += static_cast<int64_t>(piece->tokens.size());
        if ((!piece->text.empty() || answer->call.logprobs) &&
            !send_choice(i, {{"content", piece->text}}, piece->text,
                         Logprobs(answer, i, piece->tokens), nullptr)) {
          return false;
        }
      }
      if (!stream.done()) {
        all_ended = false;
        continue;
      }
      answer->ended[i] = true;
      if (const absl::Status status = stream.status(); !status.ok()) {
        // The status line is gone already.
        if (!send(Dump(ErrorJson(500, std::string(status.message()))))) {
          return false;
        }
        sink->done();
        return true;
      }
      if (!send_choice(i, Json::object(), "", nullptr,
                       FinishName(stream.finish_reason()))) {
        return false;
      }
    }
    CheckTime(*answer);
    if (!all_ended) return sink->is_writable();
    if (answer->call.include_usage) {
      Json out = Head(*answer, "chat.completion.chunk");
      out["choices"] = Json::array();
      out["usage"] = Usage(*answer);
      if (!send(Dump(out))) return false;
    }
    if (!send("[DONE]")) return false;
    sink->done();
    return true;
  }

  const lm::LanguageModel* const model_;
  const Tokenizer* const tokenizer_;
  const ServerOptions options_;
  lm::Engine engine_;
  std::atomic<uint64_t> next_seed_;
  std::atomic<int64_t> next_id_{1};
  std::atomic<int64_t> active_{0};
  std::atomic<bool> stopping_{false};
  httplib::Server http_;
  int port_ = -1;
  std::thread listener_;
};

Server::Server(const lm::LanguageModel* model, const Tokenizer* tokenizer,
               lm::StateFactory factory, ServerOptions options)
    : impl_(std::make_unique<Impl>(model, tokenizer, std::move(factory),
                                   std::move(options))) {}

Server::~Server() = default;

absl::Status Server::Start() { return impl_->Start(); }
int Server::port() const { return impl_->port(); }
void Server::Stop() { impl_->Stop(); }

}  // namespace repro
