// Text to token ids and back, as the Hugging Face `tokenizers` library does it:
// added tokens are cut out of the text, the rest is normalised, cut into words
// and each word encoded by byte-level BPE or WordPiece.
//
//   REPRO_ASSIGN_OR_RETURN(auto tokenizer, LoadTokenizer("model_folder"));
//   REPRO_ASSIGN_OR_RETURN(auto ids, tokenizer->Encode("Hello"));
//   StreamDecoder stream(tokenizer.get());
//   for (int32_t id : ids) { Print(*stream.Next(id)); }
//   Print(stream.Finish());
#ifndef REPRO_COMMON_TOKENIZER_TOKENIZER_H_
#define REPRO_COMMON_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/tokenizer/added_tokens.h"
#include "common/tokenizer/normalizer.h"
#include "common/tokenizer/pre_tokenizer.h"
#include "common/tokenizer/token_model.h"

namespace repro {

struct EncodeOptions {
  // What the model puts around a text: <s>, [CLS] ... [SEP], or nothing.
  bool add_special_tokens = true;
  // Special tokens that stand in the text become their ids. False: they are
  // plain text, so that a stranger's text cannot end a turn. Added tokens that
  // are not special are recognised either way.
  bool parse_special = true;
};

// Ids with a role, where the model names them.
struct TokenRoles {
  std::optional<int32_t> bos, eos, pad, unk;
};

// What a tokenizer is made of; the loaders fill it in.
struct TokenizerParts {
  std::string name;  // for error messages: the file
  std::vector<AddedToken> added_tokens;
  std::vector<Normalizer> normalizers;       // applied in order
  std::vector<PreTokenizer> pre_tokenizers;  // applied in order
  std::unique_ptr<const TokenModel> model;
  std::vector<int32_t> prefix, suffix;  // of add_special_tokens
  TokenRoles roles;
  std::string chat_template;  // Jinja; empty: the model has none
};

// Immutable; threads may share it.
class Tokenizer {
 public:
  // InvalidArgument, naming parts.name, for added tokens that contradict the
  // model's vocabulary or each other and for ids that are no token.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(
      TokenizerParts parts);

  // InvalidArgument, with the offset of the first wrong byte, if `text` is not
  // valid UTF-8 (ReplaceInvalidUtf8 of utf8.h mends it). A byte that a BPE
  // vocabulary has no token for becomes its unknown token or, as in Hugging
  // Face's and llama.cpp's tokenizers, nothing if it has none.
  absl::StatusOr<std::vector<int32_t>> Encode(
      absl::string_view text, const EncodeOptions& options = {}) const;

  // Valid UTF-8: what is not becomes U+FFFD as by Python's errors="replace".
  // skip_special leaves special tokens out. InvalidArgument for an id that is
  // no token.
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                     bool skip_special = true) const;

  // The bytes that a token stands for inside a text, special ones included:
  // perhaps a part of a character, for WordPiece with the space before a word.
  // InvalidArgument as above.
  absl::StatusOr<std::string> DecodeToken(int32_t id) const;

  // The largest id plus one. Ids below may be unused.
  int64_t vocab_size() const { return static_cast<int64_t>(tokens_.size()); }

  // As the vocabulary spells it ("Ġthe", "##ing", "<|im_end|>").
  // InvalidArgument for an id that is no token.
  absl::StatusOr<std::string> TokenText(int32_t id) const;
  std::optional<int32_t> TokenId(absl::string_view token_text) const;

  bool IsSpecial(int32_t id) const;
  // In the order of their ids.
  std::vector<int32_t> special_tokens() const;

  std::optional<int32_t> bos() const { return parts_.roles.bos; }
  std::optional<int32_t> eos() const { return parts_.roles.eos; }
  std::optional<int32_t> pad() const { return parts_.roles.pad; }
  std::optional<int32_t> unk() const { return parts_.roles.unk; }

  const std::string& chat_template() const { return parts_.chat_template; }
  const std::string& name() const { return parts_.name; }

 private:
  friend class StreamDecoder;

  struct Token {
    std::string text;
    std::string decoded;  // of an added one: as it stands in normalised text
    bool used = false;
    bool added = false;
    bool special = false;
  };

  explicit Tokenizer(TokenizerParts parts) : parts_(std::move(parts)) {}

  absl::Status CheckId(int32_t id) const;
  // Of a used id.
  std::string TokenBytes(int32_t id, bool first) const;
  absl::StatusOr<std::string> ApplyNormalizers(absl::string_view text) const;
  // What lies between added tokens.
  absl::Status EncodeWords(absl::string_view text,
                           std::vector<int32_t>* ids) const;

  TokenizerParts parts_;
  std::vector<Token> tokens_;
  absl::flat_hash_map<std::string, int32_t> ids_;
  AddedTokenFinder raw_finder_, normalized_finder_;
};

// Decodes token by token and hands out whole characters only. What Next and
// Finish return, put together, is what Decode returns for all ids.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer* tokenizer, bool skip_special = true)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  // The characters that `id` completes; often none. InvalidArgument for an id
  // that is no token, which changes nothing.
  absl::StatusOr<std::string> Next(int32_t id);
  // U+FFFD for an incomplete character at the end. The decoder then starts
  // anew.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  bool first_ = true;
  std::string pending_;  // the beginning of a character
};

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_TOKENIZER_H_
