#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/text/utf8.h"
#include "common/tokenizer/token_model.h"

namespace repro {
namespace {

class WordPiece : public TokenModel {
 public:
  explicit WordPiece(WordPieceOptions options, int32_t unk)
      : options_(std::move(options)), unk_(unk) {
    for (const auto& [text, id] : options_.vocabulary) {
      longest_ = std::max(longest_, text.size());
      absl::string_view rest = text;
      if (absl::ConsumePrefix(&rest, options_.continuing_prefix)) {
        continuing_.emplace(rest, id);
      }
    }
  }

  const TokenIds& vocabulary() const override { return options_.vocabulary; }
  std::optional<int32_t> unk() const override { return unk_; }

  void EncodeWord(absl::string_view word,
                  std::vector<int32_t>* ids) const override {
    int64_t characters = 0;
    for (size_t at = 0; at < word.size(); ++characters) {
      NextCodePoint(word, &at);
      if (characters == options_.max_characters) {
        ids->push_back(unk_);
        return;
      }
    }
    const size_t begin_ids = ids->size();
    for (size_t begin = 0; begin < word.size();) {
      const TokenIds& known = begin == 0 ? options_.vocabulary : continuing_;
      size_t end = std::min(word.size(), begin + longest_);
      auto found = known.end();
      for (; end > begin; --end) {
        found = known.find(word.substr(begin, end - begin));
        if (found != known.end()) break;
      }
      if (found == known.end()) {
        ids->resize(begin_ids);
        ids->push_back(unk_);
        return;
      }
      ids->push_back(found->second);
      begin = end;
    }
  }

  std::string TokenBytes(absl::string_view token_text, bool first,
                         bool /*added*/) const override {
    std::string text(token_text);
    if (!first) {
      absl::string_view rest = token_text;
      text = absl::ConsumePrefix(&rest, options_.continuing_prefix)
                 ? std::string(rest)
                 : absl::StrCat(" ", token_text);
    }
    if (!options_.cleanup) return text;
    // In this order, each on what the one before left.
    for (const auto& [from, to] :
         {std::pair{" .", "."}, std::pair{" ?", "?"}, std::pair{" !", "!"},
          std::pair{" ,", ","}, std::pair{" ' ", "'"}, std::pair{" n't", "n't"},
          std::pair{" 'm", "'m"}, std::pair{" do not", " don't"},
          std::pair{" 's", "'s"}, std::pair{" 've", "'ve"},
          std::pair{" 're", "'re"}}) {
      if (absl::StrContains(text, from)) {
        text = absl::StrReplaceAll(text, {{from, to}});
      }
    }
    return text;
  }

 private:
  WordPieceOptions options_;
  int32_t unk_;
  size_t longest_ = 0;   // bytes of a token
  TokenIds continuing_;  // without the prefix
};

}  // namespace

absl::StatusOr<std::unique_ptr<const TokenModel>> MakeWordPiece(
    WordPieceOptions options) {
  const auto unk = options.vocabulary.find(options.unk_token);
  if (unk == options.vocabulary.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the vocabulary has no unknown token \"",
                     absl::Utf8SafeCEscape(options.unk_token), "\""));
  }
  const int32_t id = unk->second;
  return std::make_unique<WordPiece>(std::move(options), id);
}

}  // namespace repro
