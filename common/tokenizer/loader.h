// Tokenizers from files.
#ifndef REPRO_COMMON_TOKENIZER_LOADER_H_
#define REPRO_COMMON_TOKENIZER_LOADER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/checkpoint/gguf.h"
#include "common/tokenizer/tokenizer.h"

namespace repro {

// A Hugging Face folder: tokenizer.json and, if it is there,
// tokenizer_config.json for the roles of tokens and the chat template.
// Errors: those of reading and of ParseTokenizerJson.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(
    const std::string& folder);

// The text of tokenizer.json and of tokenizer_config.json (may be empty);
// errors name `name` and the field. InvalidArgument for what contradicts
// itself, Unimplemented for what this library does not know: models other than
// byte-level BPE and WordPiece, and so on. Truncation and padding are ignored:
// they are the caller's.
absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerJson(
    absl::string_view json, absl::string_view config_json,
    const std::string& name);

// The metadata `tokenizer.ggml.*` of GGUF files.
struct GgmlVocabulary {
  std::string model;                // "gpt2": byte-level BPE
  std::string pre;                  // which regular expressions
  std::vector<std::string> tokens;  // by id
  std::vector<int64_t> token_types;
  std::vector<std::string> merges;  // "Ġ t"
  TokenRoles roles;
  bool add_bos = false, add_eos = false;
  std::string chat_template;
};

// Errors as above. Unimplemented, with a list of those known, for another model
// or `pre`.
absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerFromGgml(
    GgmlVocabulary vocabulary, const std::string& name);

absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerFromGguf(
    const GgufFile& file);

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_LOADER_H_
