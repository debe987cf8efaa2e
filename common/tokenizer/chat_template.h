// Chat templates: how a model wants a conversation written as one text.
#ifndef REPRO_COMMON_TOKENIZER_CHAT_TEMPLATE_H_
#define REPRO_COMMON_TOKENIZER_CHAT_TEMPLATE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tokenizer/tokenizer.h"

namespace repro {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// Templates are Jinja programs of the model's author. There is no interpreter
// here: the text of a template, which must be one of those known exactly,
// picks the C++ function that writes what it writes.
class ChatTemplate {
 public:
  // Unimplemented, with a list of the templates known, for another text;
  // NotFound for an empty one.
  static absl::StatusOr<ChatTemplate> Create(absl::string_view jinja,
                                             const std::string& bos_token,
                                             const std::string& eos_token);
  // With the tokenizer's own template and tokens.
  static absl::StatusOr<ChatTemplate> Create(const Tokenizer& tokenizer);

  // "ChatML", "Llama-3", ...
  const std::string& family() const;

  // The conversation as text; special tokens stand in it, so encode it with
  // {add_special_tokens = false, parse_special = true}. With
  // add_generation_prompt the beginning of the assistant's turn follows.
  // InvalidArgument where the template refuses: no message, an unknown role,
  // roles that do not alternate.
  absl::StatusOr<std::string> Render(const std::vector<ChatMessage>& messages,
                                     bool add_generation_prompt) const;

 private:
  struct Family;
  ChatTemplate(const Family* family, std::string bos, std::string eos,
               std::string default_system)
      : family_(family),
        bos_(std::move(bos)),
        eos_(std::move(eos)),
        default_system_(std::move(default_system)) {}
  static const std::vector<Family>& Families();

  const Family* family_;
  std::string bos_, eos_, default_system_;
};

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_CHAT_TEMPLATE_H_
