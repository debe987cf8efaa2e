// What turns a word into ids.
#ifndef REPRO_COMMON_TOKENIZER_TOKEN_MODEL_H_
#define REPRO_COMMON_TOKENIZER_TOKEN_MODEL_H_

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

namespace repro {

// Token text to id.
using TokenIds = absl::flat_hash_map<std::string, int32_t>;

// Threads may share one.
class TokenModel {
 public:
  virtual ~TokenModel() = default;

  virtual const TokenIds& vocabulary() const = 0;
  virtual std::optional<int32_t> unk() const = 0;
  // Appends the ids of `word`: valid UTF-8, not empty.
  virtual void EncodeWord(absl::string_view word,
                          std::vector<int32_t>* ids) const = 0;
  // The bytes that a token stands for; `first` in its text; `added` to the
  // model's own.
  virtual std::string TokenBytes(absl::string_view token_text, bool first,
                                 bool added) const = 0;
};

struct BpeOptions {
  TokenIds vocabulary;
  // In the order of their rank.
  std::vector<std::pair<std::string, std::string>> merges;
  std::optional<int32_t> unk;
  bool fuse_unk = false;  // one unknown token for a run of them
  // A word that is a token is that token, whatever the merges make of it.
  bool ignore_merges = false;
};

// Byte-level BPE (Sennrich et al., arXiv 1508.07909, on bytes that stand in the
// vocabulary as GPT-2's printable characters). A word of n bytes takes
// O(n log n). InvalidArgument, naming the merge, where one of its sides or its
// result is not in the vocabulary.
absl::StatusOr<std::unique_ptr<const TokenModel>> MakeByteLevelBpe(
    BpeOptions options);

struct WordPieceOptions {
  TokenIds vocabulary;
  std::string unk_token = "[UNK]";
  std::string continuing_prefix = "##";
  int64_t max_characters = 100;  // a longer word is unknown
  bool cleanup = true;           // decoding takes out spaces before punctuation
};

// WordPiece: the longest token that begins the word, then the longest that
// continues it, and so on (Devlin et al., arXiv 1810.04805); a word that cannot
// be made is one unknown token. InvalidArgument if unk_token is no token.
absl::StatusOr<std::unique_ptr<const TokenModel>> MakeWordPiece(
    WordPieceOptions options);

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_TOKEN_MODEL_H_
