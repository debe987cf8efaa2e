#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <queue>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/tokenizer/byte_level.h"
#include "common/tokenizer/token_model.h"

namespace repro {
namespace {

class ByteLevelBpe : public TokenModel {
 public:
  struct Merge {
    int32_t rank;
    int32_t id;
  };

  explicit ByteLevelBpe(BpeOptions options) : options_(std::move(options)) {
    for (int byte = 0; byte < 256; ++byte) {
      const auto found = options_.vocabulary.find(
          ByteLevelCharacter(static_cast<uint8_t>(byte)));
      byte_ids_[byte] = found == options_.vocabulary.end() ? -1 : found->second;
    }
    if (options_.ignore_merges) {
      for (const auto& [text, id] : options_.vocabulary) {
        words_.emplace(ByteLevelBytes(text), id);
      }
    }
  }

  absl::Status AddMerges() {
    merges_.reserve(options_.merges.size());
    int32_t rank = 0;
    for (const auto& [left, right] : options_.merges) {
      const auto where = [&, &left = left, &right = right] {
        return absl::StrCat("merge ", rank, " (\"", absl::Utf8SafeCEscape(left),
                            "\" with \"", absl::Utf8SafeCEscape(right), "\")");
      };
      int32_t ids[3];
      const std::string texts[3] = {left, right, absl::StrCat(left, right)};
      for (int i = 0; i < 3; ++i) {
        const auto found = options_.vocabulary.find(texts[i]);
        if (found == options_.vocabulary.end()) {
          return absl::InvalidArgumentError(
              absl::StrCat(where(), ": the vocabulary has no token \"",
                           absl::Utf8SafeCEscape(texts[i]), "\""));
        }
        ids[i] = found->second;
      }
      merges_[Pair(ids[0], ids[1])] = {rank, ids[2]};
      ++rank;
    }
    options_.merges.clear();
    return absl::OkStatus();
  }

  const TokenIds& vocabulary() const override { return options_.vocabulary; }
  std::optional<int32_t> unk() const override { return options_.unk; }

  void EncodeWord(absl::string_view word,
                  std::vector<int32_t>* ids) const override {
    if (options_.ignore_merges) {
      const auto found = words_.find(word);
      if (found != words_.end()) {
        ids->push_back(found->second);
        return;
      }
    }
    const bool cached = word.size() <= kMaxCachedBytes;
    if (cached) {
      absl::ReaderMutexLock lock(&mutex_);
      const auto found = cache_.find(word);
      if (found != cache_.end()) {
        ids->insert(ids->end(), found->second.begin(), found->second.end());
        return;
      }
    }
    const size_t begin = ids->size();
    MergeWord(word, ids);
    if (cached) {
      absl::MutexLock lock(&mutex_);
      if (cache_.size() < kMaxCachedWords) {
        cache_.try_emplace(word, ids->begin() + begin, ids->end());
      }
    }
  }

  std::string TokenBytes(absl::string_view token_text, bool /*first*/,
                         bool added) const override {
    return added ? std::string(token_text) : ByteLevelBytes(token_text);
  }

 private:
  static constexpr size_t kMaxCachedWords = 20000;
  static constexpr size_t kMaxCachedBytes = 64;

  // A token of the word so far; merged ones form a list.
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // -1: none
    bool gone;
  };
  // A merge that may still be possible: least rank first, then leftmost.
  struct Candidate {
    int32_t rank;
    int32_t at;
    int32_t id;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };

  static uint64_t Pair(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  }

  void MergeWord(absl::string_view word, std::vector<int32_t>* ids) const {
    std::vector<Symbol> symbols;
    symbols.reserve(word.size());
    bool unknown = false;
    for (const char c : word) {
      int32_t id = byte_ids_[static_cast<uint8_t>(c)];
      const bool was_unknown = unknown;
      unknown = id < 0;
      if (unknown) {
        if (!options_.unk || (was_unknown && options_.fuse_unk)) continue;
        id = *options_.unk;
      }
      const int32_t at = static_cast<int32_t>(symbols.size());
      symbols.push_back({id, at - 1, at + 1, false});
    }
    if (symbols.empty()) return;
    symbols.back().next = -1;

    std::vector<Candidate> storage;
    storage.reserve(symbols.size());
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>>
        queue(std::greater<>(), std::move(storage));
    const auto consider = [&](int32_t at) {
      if (at < 0 || symbols[at].next < 0) return;
      const auto merge =
          merges_.find(Pair(symbols[at].id, symbols[symbols[at].next].id));
      if (merge == merges_.end()) return;
      queue.push({merge->second.rank, at, merge->second.id});
    };
    for (int32_t at = 0; at + 1 < static_cast<int32_t>(symbols.size()); ++at) {
      consider(at);
    }
    while (!queue.empty()) {
      const Candidate top = queue.top();
      queue.pop();
      Symbol& left = symbols[top.at];
      if (left.gone || left.next < 0) continue;
      Symbol& right = symbols[left.next];
      const auto merge = merges_.find(Pair(left.id, right.id));
      if (merge == merges_.end() || merge->second.id != top.id) continue;
      left.id = top.id;
      right.gone = true;
      left.next = right.next;
      if (right.next >= 0) symbols[right.next].previous = top.at;
      consider(left.previous);
      consider(top.at);
    }
    for (int32_t at = 0; at >= 0; at = symbols[at].next) {
      ids->push_back(symbols[at].id);
    }
  }

  BpeOptions options_;
  std::array<int32_t, 256> byte_ids_;
  absl::flat_hash_map<uint64_t, Merge> merges_;
  absl::flat_hash_map<std::string, int32_t> words_;  // as bytes

  mutable absl::Mutex mutex_;
  mutable absl::flat_hash_map<std::string, std::vector<int32_t>> cache_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const TokenModel>> MakeByteLevelBpe(
    BpeOptions options) {
  auto model = std::make_unique<ByteLevelBpe>(std::move(options));
  if (absl::Status status = model->AddMerges(); !status.ok()) return status;
  return model;
}

}  // namespace repro
