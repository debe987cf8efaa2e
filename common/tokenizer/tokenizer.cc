#include "common/tokenizer/tokenizer.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro {
namespace {

// No vocabulary is near; a table of all ids is affordable.
constexpr int32_t kMaxTokens = 1 << 22;

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text.substr(0, 100)), "\"");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(
    TokenizerParts parts) {
  std::unique_ptr<Tokenizer> result(new Tokenizer(std::move(parts)));
  const TokenizerParts& kept = result->parts_;
  const auto error = [&kept](auto&&... text) {
    return absl::InvalidArgumentError(absl::StrCat(kept.name, ": ", text...));
  };
  const auto add = [&](const std::string& text, int32_t id) -> absl::Status {
    if (id < 0 || id >= kMaxTokens) {
      return error("token ", Quoted(text), " has the id ", id,
                   ": ids are from 0 to ", kMaxTokens - 1);
    }
    if (static_cast<size_t>(id) >= result->tokens_.size()) {
      result->tokens_.resize(id + 1);
    }
    Token& token = result->tokens_[id];
    if (token.used && token.text != text) {
      return error("the id ", id, " stands for ", Quoted(token.text),
                   " and for ", Quoted(text));
    }
    const auto [known, is_new] = result->ids_.try_emplace(text, id);
    if (!is_new && known->second != id) {
      return error("token ", Quoted(text), " has the ids ", known->second,
                   " and ", id);
    }
    token.used = true;
    token.text = text;
    return absl::OkStatus();
  };
  for (const auto& [text, id] : kept.model->vocabulary()) {
    REPRO_RETURN_IF_ERROR(add(text, id));
  }
  for (const AddedToken& added : kept.added_tokens) {
    REPRO_RETURN_IF_ERROR(add(added.content, added.id));
    result->tokens_[added.id].added = true;
    result->tokens_[added.id].special |= added.special;
    AddedToken sought = added;
    if (added.normalized) {
      REPRO_ASSIGN_OR_RETURN(sought.content,
                             result->ApplyNormalizers(added.content));
    }
    result->tokens_[added.id].decoded = sought.content;
    if (sought.content.empty()) continue;
    (added.normalized ? result->normalized_finder_ : result->raw_finder_)
        .Add(sought);
  }
  std::vector<int32_t> named(kept.prefix);
  named.insert(named.end(), kept.suffix.begin(), kept.suffix.end());
  for (const std::optional<int32_t>& role :
       {kept.roles.bos, kept.roles.eos, kept.roles.pad, kept.roles.unk}) {
    if (role) named.push_back(*role);
  }
  for (const int32_t id : named) {
    REPRO_RETURN_IF_ERROR(result->CheckId(id));
  }
  return result;
}

absl::Status Tokenizer::CheckId(int32_t id) const {
  if (id >= 0 && id < vocab_size() && tokens_[id].used) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(parts_.name, ": no token has the id ", id,
                   " (the vocabulary's are below ", vocab_size(), ")"));
}

absl::StatusOr<std::string> Tokenizer::ApplyNormalizers(
    absl::string_view text) const {
  std::string out(text);
  for (const Normalizer& step : parts_.normalizers) {
    REPRO_ASSIGN_OR_RETURN(out, Normalize(step, out));
  }
  return out;
}

absl::Status Tokenizer::EncodeWords(absl::string_view text,
                                    std::vector<int32_t>* ids) const {
  std::vector<absl::string_view> words;
  if (!text.empty()) words.push_back(text);
  for (const PreTokenizer& step : parts_.pre_tokenizers) {
    REPRO_RETURN_IF_ERROR(PreTokenize(step, &words));
  }
  for (const absl::string_view word : words) {
    parts_.model->EncodeWord(word, ids);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(
    absl::string_view text, const EncodeOptions& options) const {
  const size_t valid = ValidUtf8Prefix(text);
  if (valid < text.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the text is not valid UTF-8: byte ", valid, " is 0x",
        absl::Hex(static_cast<uint8_t>(text[valid]), absl::kZeroPad2)));
  }
  std::vector<int32_t> ids;
  if (options.add_special_tokens) ids = parts_.prefix;
  for (const TextPart& raw : raw_finder_.Split(text, options.parse_special)) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const std::string normalized,
                           ApplyNormalizers(raw.text));
    for (const TextPart& part :
         normalized_finder_.Split(normalized, options.parse_special)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        REPRO_RETURN_IF_ERROR(EncodeWords(part.text, &ids));
      }
    }
  }
  if (options.add_special_tokens) {
    ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  }
  return ids;
}

std::string Tokenizer::TokenBytes(int32_t id, bool first) const {
  const Token& token = tokens_[id];
  return parts_.model->TokenBytes(token.added ? token.decoded : token.text,
                                  first, token.added);
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int32_t> ids,
                                              bool skip_special) const {
  std::string bytes;
  bool first = true;
  for (const int32_t id : ids) {
    REPRO_RETURN_IF_ERROR(CheckId(id));
    if (skip_special && tokens_[id].special) continue;
    bytes += TokenBytes(id, first);
    first = false;
  }
  return ReplaceInvalidUtf8(bytes);
}

absl::StatusOr<std::string> Tokenizer::DecodeToken(int32_t id) const {
  REPRO_RETURN_IF_ERROR(CheckId(id));
  return TokenBytes(id, /*first=*/false);
}

absl::StatusOr<std::string> Tokenizer::TokenText(int32_t id) const {
  REPRO_RETURN_IF_ERROR(CheckId(id));
  return tokens_[id].text;
}

std::optional<int32_t> Tokenizer::TokenId(absl::string_view token_text) const {
  const auto found = ids_.find(token_text);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && tokens_[id].special;
}

std::vector<int32_t> Tokenizer::special_tokens() const {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < vocab_size(); ++id) {
    if (tokens_[id].special) ids.push_back(id);
  }
  return ids;
}

absl::StatusOr<std::string> StreamDecoder::Next(int32_t id) {
  REPRO_RETURN_IF_ERROR(tokenizer_->CheckId(id));
  if (skip_special_ && tokenizer_->IsSpecial(id)) return std::string();
  pending_ += tokenizer_->TokenBytes(id, first_);
  first_ = false;
  const size_t whole = pending_.size() - IncompleteUtf8Suffix(pending_);
  std::string text =
      ReplaceInvalidUtf8(absl::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  first_ = true;
  return text;
}

}  // namespace repro
