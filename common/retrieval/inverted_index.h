#ifndef REPRO_COMMON_RETRIEVAL_INVERTED_INDEX_H_
#define REPRO_COMMON_RETRIEVAL_INVERTED_INDEX_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/checkpoint/mapped_file.h"

namespace repro::retrieval {

// A digest of documents as lists of terms, in order: equal for equal corpora on
// every machine. It finds mistakes, not forgeries.
uint64_t CorpusDigest(const std::vector<std::vector<std::string>>& documents);

// Which documents hold a term, how often, and how long they are. Postings of a
// term lie by rising document id. What a scorer needs of a posting besides its
// document is the pair (occurrences, document length); corpora have few
// distinct pairs, so a posting holds the number of its pair (its code), and a
// scorer keeps one table of weights by code: 6 bytes a posting, whatever the
// variant and its parameters.
class InvertedIndex {
 public:
  // Postings between two entries of block_last_documents.
  static constexpr int64_t kBlockSize = 128;
  static constexpr int64_t kNotFound = -1;

  struct TermStatistics {
    uint32_t occurrences;      // of a term in a document
    uint32_t document_length;  // in terms
  };

  int64_t num_documents() const { return document_lengths_.size(); }
  int64_t num_terms() const { return posting_offsets_.size() - 1; }
  int64_t num_postings() const { return documents_.size(); }
  uint64_t corpus_digest() const { return corpus_digest_; }
  // The sum of the lengths of all documents.
  int64_t total_length() const { return total_length_; }
  absl::Span<const uint32_t> document_lengths() const {
    return document_lengths_;
  }

  // The number of a term, in order of first occurrence, or kNotFound.
  int64_t FindTerm(absl::string_view term) const;
  absl::string_view term(int64_t number) const {
    return term_bytes_.substr(term_offsets_[number], term_offsets_[number + 1] -
                                                         term_offsets_[number]);
  }
  int64_t document_frequency(int64_t term) const {
    return posting_offsets_[term + 1] - posting_offsets_[term];
  }

  // [document_frequency], rising.
  absl::Span<const uint32_t> documents(int64_t term) const {
    return documents_.subspan(posting_offsets_[term], document_frequency(term));
  }
  // The last document of each block of kBlockSize postings.
  absl::Span<const uint32_t> block_last_documents(int64_t term) const {
    return absl::MakeConstSpan(block_last_documents_)
        .subspan(block_offsets_[term],
                 block_offsets_[term + 1] - block_offsets_[term]);
  }
  // [document_frequency], parallel to documents(). Code is uint16_t where
  // wide_codes() is false, else uint32_t.
  template <typename Code>
  absl::Span<const Code> codes(int64_t term) const {
    return absl::MakeConstSpan(
        static_cast<const Code*>(codes_) + posting_offsets_[term],
        document_frequency(term));
  }
  bool wide_codes() const { return statistics_.size() > 1 << 16; }
  // What a code stands for.
  absl::Span<const TermStatistics> statistics() const { return statistics_; }

  // The file, little-endian: a header with version, corpus digest and checksum,
  // then the arrays. `extra` is kept as it is for the caller. The file is
  // replaced atomically.
  absl::Status Save(const std::string& path, absl::string_view extra) const;

  // Maps the file and checks all of it, so that no later access leaves it.
  // Errors as Bm25Index::Load.
  static absl::StatusOr<std::shared_ptr<const InvertedIndex>> Load(
      const std::string& path, std::optional<uint64_t> corpus_digest,
      std::string* extra);

 private:
  friend class InvertedIndexBuilder;
  struct Arrays;

  InvertedIndex() = default;
  InvertedIndex(const InvertedIndex&) = delete;
  InvertedIndex& operator=(const InvertedIndex&) = delete;

  absl::Status Check() const;
  void BuildBlocks();

  uint64_t corpus_digest_ = 0;
  int64_t total_length_ = 0;
  absl::Span<const uint32_t> document_lengths_;
  absl::string_view term_bytes_;
  absl::Span<const uint64_t> term_offsets_;     // [num_terms + 1]
  absl::Span<const uint64_t> posting_offsets_;  // [num_terms + 1]
  absl::Span<const uint32_t> documents_;        // [num_postings]
  const void* codes_ = nullptr;                 // [num_postings]
  absl::Span<const TermStatistics> statistics_;
  // Open addressing: a term's number or kEmptySlot; a power of two of slots.
  absl::Span<const uint32_t> slots_;

  std::vector<uint64_t> block_offsets_;  // [num_terms + 1]
  std::vector<uint32_t> block_last_documents_;

  // What the spans point into: one of the two.
  std::shared_ptr<const Arrays> arrays_;
  std::shared_ptr<const MappedFile> file_;
};

// Takes the documents one after the other, so that they need not be in memory
// together.
class InvertedIndexBuilder {
 public:
  InvertedIndexBuilder();
  ~InvertedIndexBuilder();

  void Add(absl::Span<const std::string> terms);
  void Add(absl::Span<const absl::string_view> terms);

  // The index of what was added; the builder is empty afterwards.
  // InvalidArgument: no documents. ResourceExhausted: more than 2^32 - 2
  // documents, terms, or terms in one document.
  absl::StatusOr<std::shared_ptr<const InvertedIndex>> Finish();

 private:
  struct State;
  template <typename Term>
  void AddTerms(absl::Span<const Term> terms);

  std::unique_ptr<State> state_;
};

}  // namespace repro::retrieval

#endif  // REPRO_COMMON_RETRIEVAL_INVERTED_INDEX_H_
