// Tokens that are found in the text before anything else is done to it.
#ifndef REPRO_COMMON_TOKENIZER_ADDED_TOKENS_H_
#define REPRO_COMMON_TOKENIZER_ADDED_TOKENS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace repro {

// The fields of `added_tokens` in tokenizer.json.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;  // only where no word character stands beside it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = false;   // looked for in the normalised text
};

// A stretch of text: an added token, or (id < 0) what lies between.
struct TextPart {
  absl::string_view text;
  int32_t id = -1;
};

// Finds added tokens: leftmost first, longest of those that begin there.
class AddedTokenFinder {
 public:
  // `token.content` must not be empty.
  void Add(const AddedToken& token);

  // The parts of `text` in order, none empty. Special tokens are passed over if
  // parse_special is false.
  std::vector<TextPart> Split(absl::string_view text, bool parse_special) const;

 private:
  std::vector<AddedToken> tokens_;
  // A trie: (node, byte) to node; node 0 is the root.
  absl::flat_hash_map<uint64_t, uint32_t> children_;
  absl::flat_hash_map<uint32_t, uint32_t> ends_;  // node to index in tokens_
  uint32_t num_nodes_ = 1;
  bool first_bytes_[256] = {};
};

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_ADDED_TOKENS_H_
