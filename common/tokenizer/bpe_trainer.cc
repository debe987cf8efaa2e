#include "common/tokenizer/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <queue>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"
#include "common/tokenizer/byte_level.h"
#include "common/tokenizer/patterns.h"
#include "common/tokenizer/pre_tokenizer.h"
#include "common/tokenizer/regex.h"
#include "nlohmann/json.hpp"

namespace repro {
namespace {

constexpr int64_t kBytes = 256;
constexpr int64_t kProgressMerges = 256;

// Tokens while merges are learnt: bytes are 0 ... 255 in the order of their
// characters, then one a merge.
using Token = int32_t;

// Bytes by the code points that stand for them.
std::array<uint8_t, kBytes> BytesByCharacter() {
  std::array<uint8_t, kBytes> bytes;
  for (int i = 0; i < kBytes; ++i) bytes[i] = static_cast<uint8_t>(i);
  std::sort(bytes.begin(), bytes.end(), [](uint8_t a, uint8_t b) {
    // UTF-8 keeps the order of code points.
    return ByteLevelCharacter(a) < ByteLevelCharacter(b);
  });
  return bytes;
}

using PairKey = uint64_t;

PairKey Key(Token left, Token right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
}
Token Left(PairKey pair) { return static_cast<Token>(pair >> 32); }
Token Right(PairKey pair) { return static_cast<Token>(pair); }

struct Pair {
  int64_t count = 0;
  // Words where the pair stood when it was counted, in which it may stand no
  // more; a word may be named twice.
  std::vector<int32_t> words;
};

// What was known of a pair when it was put on the heap: its count only falls
// after that, so an entry is checked when it comes up.
struct Candidate {
  int64_t count;
  PairKey pair;

  bool operator<(const Candidate& other) const {
    if (count != other.count) return count < other.count;
    return pair > other.pair;
  }
};

class Merger {
 public:
  // The order of words is of no account to counts, but it makes positions, and
  // so the time, the same for the same counts.
  explicit Merger(const absl::flat_hash_map<std::string, int64_t>& words) {
    std::vector<std::pair<absl::string_view, int64_t>> sorted(words.begin(),
                                                              words.end());
    std::sort(sorted.begin(), sorted.end());
    std::array<Token, kBytes> token_of;
    const std::array<uint8_t, kBytes> bytes = BytesByCharacter();
    for (int i = 0; i < kBytes; ++i) token_of[bytes[i]] = i;

    size_t total = 0;
    for (const auto& [word, count] : sorted) total += word.size();
    tokens_.reserve(total);
    for (const auto& [word, count] : sorted) {
      const int32_t index = static_cast<int32_t>(words_.size());
      words_.push_back(
          {tokens_.size(), static_cast<int32_t>(word.size()), count});
      for (const char c : word) {
        const Token token = token_of[static_cast<uint8_t>(c)];
        if (tokens_.size() > words_.back().begin) {
          Add(Key(tokens_.back(), token), count, index);
        }
        tokens_.push_back(token);
      }
    }
    for (const auto& [pair, entry] : pairs_) heap_.push({entry.count, pair});
  }

  // The most frequent pair, which leaves the heap; false if there is none.
  bool Next(Candidate* top) {
    while (!heap_.empty()) {
      *top = heap_.top();
      heap_.pop();
      const int64_t count = pairs_.find(top->pair)->second.count;
      if (count == top->count && count > 0) return true;
      if (count > 0) heap_.push({count, top->pair});
    }
    return false;
  }

  // Writes `merged` for the pair wherever it stands.
  void Merge(PairKey pair, Token merged) {
    Pair& entry = pairs_.find(pair)->second;
    entry.count = 0;
    std::vector<int32_t> words = std::move(entry.words);
    entry.words.clear();
    created_.clear();
    for (const int32_t word : words) {
      MergeInWord(word, Left(pair), Right(pair), merged);
    }
    for (const PairKey key : created_) {
      Pair& neighbour = pairs_.find(key)->second;
      if (!neighbour.words.empty() && neighbour.count > 0) {
        heap_.push({neighbour.count, key});
      }
    }
  }

 private:
  struct Word {
    size_t begin;  // in tokens_
    int32_t size;
    int64_t count;
  };

  void Add(PairKey pair, int64_t count, int32_t word) {
    Pair& entry = pairs_[pair];
    entry.count += count;
    if (entry.words.empty() || entry.words.back() != word) {
      entry.words.push_back(word);
    }
  }

  void Remove(PairKey pair, int64_t count) {
    const auto found = pairs_.find(pair);
    if (found != pairs_.end()) found->second.count -= count;
  }

  // Later occurrences see earlier ones merged, as in "abab".
  void MergeInWord(int32_t index, Token left, Token right, Token merged) {
    Word& word = words_[index];
    Token* const tokens = &tokens_[word.begin];
    const PairKey pair = Key(left, right);
    int32_t to = 0;
    for (int32_t from = 0; from < word.size; ++from) {
      if (tokens[from] != left || from + 1 == word.size ||
          tokens[from + 1] != right) {
        tokens[to++] = tokens[from];
        continue;
      }
      if (to > 0) {
        const Token before = tokens[to - 1];
        Remove(Key(before, left), word.count);
        Create(Key(before, merged), word.count, index);
      }
      if (from + 2 < word.size) {
        const Token after = tokens[from + 2];
        // In "aaa" the pair itself goes with its neighbour; it has left the
        // heap, and its count is 0.
        if (Key(right, after) != pair) Remove(Key(right, after), word.count);
        Create(Key(merged, after), word.count, index);
      }
      tokens[to++] = merged;
      ++from;
    }
    word.size = to;
  }

  void Create(PairKey pair, int64_t count, int32_t word) {
    Add(pair, count, word);
    if (created_.empty() || created_.back() != pair) created_.push_back(pair);
  }

  std::vector<Token> tokens_;
  std::vector<Word> words_;
  absl::flat_hash_map<PairKey, Pair> pairs_;
  std::priority_queue<Candidate> heap_;
  std::vector<PairKey> created_;  // by the present merge, some of them twice
};

absl::Status CheckOptions(const BpeTrainingOptions& options) {
  std::set<std::string> seen;
  for (const std::string& token : options.special_tokens) {
    if (token.empty() || !IsUtf8(token) || !seen.insert(token).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("special token \"", absl::Utf8SafeCEscape(token),
                       "\" is empty, not UTF-8 or given twice"));
    }
    for (int byte = 0; byte < kBytes; ++byte) {
      if (ByteLevelCharacter(static_cast<uint8_t>(byte)) == token) {
        return absl::InvalidArgumentError(
            absl::StrCat("special token \"", absl::Utf8SafeCEscape(token),
                         "\" is the token of a byte"));
      }
    }
  }
  const int64_t least =
      kBytes + static_cast<int64_t>(options.special_tokens.size());
  if (options.vocab_size < least || options.vocab_size > INT32_MAX) {
    return absl::InvalidArgumentError(absl::StrCat(
        "vocab_size ", options.vocab_size, ": at least ", least,
        " is needed for the bytes and special tokens, and at most 2^31 - 1"));
  }
  if (options.min_frequency < 0 || options.max_token_bytes < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "min_frequency ", options.min_frequency, " and max_token_bytes ",
        options.max_token_bytes, " must not be negative"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BpeTrainer::AddText(absl::string_view text) {
  const size_t valid = ValidUtf8Prefix(text);
  if (valid < text.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("text for BPE training is not UTF-8 at byte ", valid,
                     "; ReplaceInvalidUtf8 mends it"));
  }
  static const auto* const regex =
      new absl::StatusOr<std::shared_ptr<const Regex>>(
          Regex::Create(kGpt2Pattern));
  REPRO_RETURN_IF_ERROR(regex->status());
  std::vector<absl::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  REPRO_RETURN_IF_ERROR(
      PreTokenize({PreTokenizer::Kind::kIsolate, **regex}, &pieces));
  for (const absl::string_view piece : pieces) AddWord(piece);
  return absl::OkStatus();
}

void BpeTrainer::AddWord(absl::string_view word, int64_t count) {
  if (!word.empty() && count > 0) words_[word] += count;
}

absl::StatusOr<TrainedBpe> BpeTrainer::Train(
    const BpeTrainingOptions& options) const {
  REPRO_RETURN_IF_ERROR(CheckOptions(options));
  if (words_.size() > INT32_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat(words_.size(), " distinct words; 2^31 - 1 are supported"));
  }
  TrainedBpe out;
  out.special_tokens = options.special_tokens;
  // By Token. A merged text that another merge made before is that token.
  std::vector<std::string> texts;
  std::vector<int64_t> lengths;  // in bytes
  absl::flat_hash_map<std::string, Token> ids;
  for (const uint8_t byte : BytesByCharacter()) {
    texts.push_back(ByteLevelCharacter(byte));
    lengths.push_back(1);
    ids.emplace(texts.back(), static_cast<Token>(texts.size()) - 1);
  }
  const std::set<std::string> special(options.special_tokens.begin(),
                                      options.special_tokens.end());

  Merger merger(words_);
  const int64_t total =
      options.vocab_size - static_cast<int64_t>(options.special_tokens.size());
  Candidate top;
  int64_t reported = -1;
  while (static_cast<int64_t>(texts.size()) < total && merger.Next(&top) &&
         top.count >= options.min_frequency) {
    const int64_t made = static_cast<int64_t>(out.merges.size());
    if (options.progress && made / kProgressMerges != reported) {
      reported = made / kProgressMerges;
      if (!options.progress(made, total - kBytes)) {
        return absl::CancelledError(
            absl::StrCat("BPE training was stopped after ", made, " merges"));
      }
    }
    const Token left = Left(top.pair), right = Right(top.pair);
    const std::string text = absl::StrCat(texts[left], texts[right]);
    const int64_t length = lengths[left] + lengths[right];
    if (options.max_token_bytes > 0 && length > options.max_token_bytes) {
      continue;
    }
    // Plain text must not become a special token.
    if (special.count(text) > 0) continue;
    const auto [found, is_new] =
        ids.emplace(text, static_cast<Token>(texts.size()));
    out.merges.emplace_back(texts[left], texts[right]);
    if (is_new) {
      texts.push_back(text);
      lengths.push_back(length);
    }
    merger.Merge(top.pair, found->second);
  }
  if (options.progress &&
      !options.progress(static_cast<int64_t>(out.merges.size()),
                        total - kBytes)) {
    return absl::CancelledError("BPE training was stopped at its end");
  }
  out.tokens = std::move(texts);
  return out;
}

std::string TrainedBpe::ToJson() const {
  using Json = nlohmann::ordered_json;
  // Its emplace looks for the key among all others; these are distinct.
  Json::object_t vocabulary;
  Json added = Json::array();
  int64_t id = 0;
  for (const std::string& token : special_tokens) {
    added.push_back({{"id", id},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    vocabulary.emplace_back(token, id++);
  }
  for (const std::string& token : tokens) vocabulary.emplace_back(token, id++);
  Json ranks = Json::array();
  for (const auto& [left, right] : merges) {
    ranks.push_back(Json::array({left, right}));
  }
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", std::move(added)},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", byte_level},
                     {"post_processor", nullptr},
                     {"decoder", byte_level},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", false},
                       {"vocab", std::move(vocabulary)},
                       {"merges", std::move(ranks)}}}};
  return json.dump(2);
}

}  // namespace repro
