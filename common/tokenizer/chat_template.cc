#include "common/tokenizer/chat_template.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro {
namespace {

using Messages = std::vector<ChatMessage>;

struct Context {
  absl::string_view bos, eos;
  absl::string_view default_system;
  bool generate;  // add_generation_prompt
};

// Jinja's trim and Python's strip: white space, which to Python includes four
// control characters, off both ends.
absl::string_view Trim(absl::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    const int32_t c = NextCodePoint(text, &at);
    if (IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F)) continue;
    if (begin == text.size()) begin = here;
    end = at;
  }
  return begin < end ? text.substr(begin, end - begin) : absl::string_view();
}

absl::StatusOr<std::string> ChatMl(const Messages& messages,
                                   const Context& context) {
  std::string text;
  if (!context.default_system.empty() && messages[0].role != "system") {
    absl::StrAppend(&text, "<|im_start|>system\n", context.default_system,
                    "<|im_end|>\n");
  }
  for (const ChatMessage& message : messages) {
    absl::StrAppend(&text, "<|im_start|>", message.role, "\n", message.content,
                    "<|im_end|>\n");
  }
  if (context.generate) text += "<|im_start|>assistant\n";
  return text;
}

absl::StatusOr<std::string> Llama3(const Messages& messages,
                                   const Context& context) {
  std::string text(context.bos);
  for (const ChatMessage& message : messages) {
    absl::StrAppend(&text, "<|start_header_id|>", message.role,
                    "<|end_header_id|>\n\n", Trim(message.content),
                    "<|eot_id|>");
  }
  if (context.generate) {
    text += "<|start_header_id|>assistant<|end_header_id|>\n\n";
  }
  return text;
}

// The first release wrote the assistant's header whether asked to or not.
absl::StatusOr<std::string> Llama3Always(const Messages& messages,
                                         const Context& context) {
  Context always = context;
  always.generate = true;
  return Llama3(messages, always);
}

absl::StatusOr<std::string> Llama2(const Messages& messages,
                                   const Context& context) {
  const bool has_system = messages[0].role == "system";
  std::string text;
  for (size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    const size_t turn = i - (has_system ? 1 : 0);
    if ((message.role == "user") != (turn % 2 == 0)) {
      return absl::InvalidArgumentError(
          "Conversation roles must alternate "
          "user/assistant/user/assistant/...");
    }
    const std::string content =
        has_system && turn == 0
            ? absl::StrCat("<<SYS>>\n", messages[0].content, "\n<</SYS>>\n\n",
                           message.content)
            : message.content;
    if (message.role == "user") {
      absl::StrAppend(&text, context.bos, "[INST] ", Trim(content), " [/INST]");
    } else if (message.role == "assistant") {
      absl::StrAppend(&text, " ", Trim(content), " ", context.eos);
    }
  }
  return text;
}

absl::StatusOr<std::string> Zephyr(const Messages& messages,
                                   const Context& context) {
  std::string text;
  for (const ChatMessage& message : messages) {
    absl::StrAppend(&text, "<|", message.role, "|>\n", message.content,
                    context.eos, "\n");
  }
  if (context.generate) text += "<|assistant|>\n";
  return text;
}

// The two spellings of a line feed inside a Jinja string.
std::string Canonical(absl::string_view jinja) {
  return absl::StrReplaceAll(jinja, {{"\\n", "\n"}});
}

constexpr absl::string_view kChatMl =
    R"({% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";

// Between these stands the system message of conversations without one.
constexpr absl::string_view kChatMlDefaultBegin =
    R"({% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n)";
constexpr absl::string_view kChatMlDefaultEnd =
    R"(<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";

constexpr absl::string_view kLlama3 =
    R"({% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})";
constexpr absl::string_view kLlama3Always =
    R"({% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }})";

constexpr absl::string_view kLlama2 =
    R"({% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %})";

constexpr absl::string_view kZephyr =
    R"({% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %})";

}  // namespace

struct ChatTemplate::Family {
  std::string name;
  std::string begin;  // of the template's text, or all of it
  std::string end;    // empty: nothing may stand between
  absl::StatusOr<std::string> (*render)(const Messages&, const Context&);
};

const std::vector<ChatTemplate::Family>& ChatTemplate::Families() {
  static const auto* const families = new std::vector<Family>{
      {"ChatML", Canonical(kChatMl), "", ChatMl},
      {"ChatML with a default system message (SmolLM2, Qwen2)",
       Canonical(kChatMlDefaultBegin), Canonical(kChatMlDefaultEnd), ChatMl},
      {"Llama-3", Canonical(kLlama3), "", Llama3},
      {"Llama-3, first release", Canonical(kLlama3Always), "", Llama3Always},
      {"Llama-2", Canonical(kLlama2), "", Llama2},
      {"Zephyr", Canonical(kZephyr), "", Zephyr},
  };
  return *families;
}

absl::StatusOr<ChatTemplate> ChatTemplate::Create(
    absl::string_view jinja, const std::string& bos_token,
    const std::string& eos_token) {
  if (jinja.empty()) {
    return absl::NotFoundError(
        "the model has no chat template: give it plain text");
  }
  std::string canonical = Canonical(jinja);
  absl::string_view text = canonical;
  text = absl::StripSuffix(text, "\n");  // as Jinja does
  for (const Family& family : Families()) {
    absl::string_view rest = text;
    if (!absl::ConsumePrefix(&rest, family.begin) ||
        !absl::ConsumeSuffix(&rest, family.end)) {
      continue;
    }
    // What is left must be the inside of a Jinja string.
    const bool plain = rest.find_first_of("'\\") == absl::string_view::npos;
    if (family.end.empty() ? !rest.empty() : !plain) continue;
    return ChatTemplate(&family, bos_token, eos_token, std::string(rest));
  }
  return absl::UnimplementedError(
      absl::StrCat("the chat template, which begins \"",
                   absl::Utf8SafeCEscape(jinja.substr(0, 60)),
                   "\", is none of those known: ",
                   absl::StrJoin(Families(), "; ",
                                 [](std::string* out, const Family& family) {
                                   out->append(family.name);
                                 })));
}

absl::StatusOr<ChatTemplate> ChatTemplate::Create(const Tokenizer& tokenizer) {
  std::string texts[2];
  const std::optional<int32_t> ids[2] = {tokenizer.bos(), tokenizer.eos()};
  for (int i = 0; i < 2; ++i) {
    if (!ids[i]) continue;
    REPRO_ASSIGN_OR_RETURN(texts[i], tokenizer.TokenText(*ids[i]));
  }
  absl::StatusOr<ChatTemplate> result =
      Create(tokenizer.chat_template(), texts[0], texts[1]);
  if (!result.ok()) {
    return absl::Status(
        result.status().code(),
        absl::StrCat(tokenizer.name(), ": ", result.status().message()));
  }
  return result;
}

const std::string& ChatTemplate::family() const { return family_->name; }

absl::StatusOr<std::string> ChatTemplate::Render(
    const std::vector<ChatMessage>& messages,
    bool add_generation_prompt) const {
  if (messages.empty()) {
    return absl::InvalidArgumentError("a conversation needs a message");
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant") {
      return absl::InvalidArgumentError(absl::StrCat(
          "message ", i, " has the role \"",
          absl::Utf8SafeCEscape(absl::string_view(role).substr(0, 100)),
          "\": roles are system, user and assistant"));
    }
  }
  return family_->render(messages,
                         {bos_, eos_, default_system_, add_generation_prompt});
}

}  // namespace repro
