#include "common/retrieval/inverted_index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/retrieval/index_file.h"
#include "common/status/macros.h"

namespace repro::retrieval {
namespace {

constexpr uint32_t kEmptySlot = std::numeric_limits<uint32_t>::max();
constexpr int64_t kMaxCount = int64_t{kEmptySlot} - 1;
constexpr uint64_t kDigestOfNothing = 0x62f6a1c2d9b41e07;

uint64_t Hash(absl::string_view term) {
  return XXH3_64bits(term.data(), term.size());
}

uint64_t AddToDigest(uint64_t digest, absl::Span<const uint64_t> hashes) {
  return XXH3_64bits_withSeed(hashes.data(), hashes.size() * sizeof(uint64_t),
                              digest + 1);
}

// The sections of the file.
enum Section : size_t {
  kDocumentLengths,
  kTermBytes,
  kTermOffsets,
  kPostingOffsets,
  kDocuments,
  kCodes,
  kStatistics,
  kSlots,
  kExtra,
  kNumSections,
};

template <typename T>
absl::string_view Bytes(absl::Span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(T)};
}

bool AreOffsets(absl::Span<const uint64_t> offsets, uint64_t end) {
  return !offsets.empty() && offsets.front() == 0 && offsets.back() == end &&
         std::is_sorted(offsets.begin(), offsets.end());
}

// Whether every value is below `bound`.
template <typename T>
bool AllBelow(const T* values, size_t n, uint64_t bound) {
  T largest = 0;
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, values[i]);
  return n == 0 || largest < bound;
}

}  // namespace

uint64_t CorpusDigest(const std::vector<std::vector<std::string>>& documents) {
  uint64_t digest = kDigestOfNothing;
  std::vector<uint64_t> hashes;
  for (const std::vector<std::string>& document : documents) {
    hashes.clear();
    for (const std::string& term : document) hashes.push_back(Hash(term));
    digest = AddToDigest(digest, hashes);
  }
  return digest;
}

struct InvertedIndex::Arrays {
  std::vector<uint32_t> document_lengths;
  std::string term_bytes;
  std::vector<uint64_t> term_offsets;
  std::vector<uint64_t> posting_offsets;
  std::vector<uint32_t> documents;
  std::vector<uint16_t> codes;  // one of these two
  std::vector<uint32_t> wide_codes;
  std::vector<TermStatistics> statistics;
  std::vector<uint32_t> slots;
};

int64_t InvertedIndex::FindTerm(absl::string_view wanted) const {
  const uint64_t mask = slots_.size() - 1;
  for (uint64_t at = Hash(wanted);; ++at) {
    const uint32_t number = slots_[at & mask];
    if (number == kEmptySlot) return kNotFound;
    if (term(number) == wanted) return number;
  }
}

void InvertedIndex::BuildBlocks() {
  block_offsets_.reserve(num_terms() + 1);
  block_offsets_.push_back(0);
  for (int64_t t = 0; t < num_terms(); ++t) {
    const absl::Span<const uint32_t> postings = documents(t);
    for (size_t begin = 0; begin < postings.size(); begin += kBlockSize) {
      block_last_documents_.push_back(
          postings[std::min<size_t>(begin + kBlockSize, postings.size()) - 1]);
    }
    block_offsets_.push_back(block_last_documents_.size());
  }
}

absl::Status InvertedIndex::Save(const std::string& path,
                                 absl::string_view extra) const {
  std::array<absl::string_view, kNumSections> sections;
  sections[kDocumentLengths] = Bytes(document_lengths_);
  sections[kTermBytes] = term_bytes_;
  sections[kTermOffsets] = Bytes(term_offsets_);
  sections[kPostingOffsets] = Bytes(posting_offsets_);
  sections[kDocuments] = Bytes(documents_);
  sections[kCodes] = {static_cast<const char*>(codes_),
                      documents_.size() * (wide_codes() ? 4 : 2)};
  sections[kStatistics] = Bytes(statistics_);
  sections[kSlots] = Bytes(slots_);
  sections[kExtra] = extra;
  return WriteIndexFile(path, IndexFileKind::kInverted, corpus_digest_,
                        sections);
}

absl::StatusOr<std::shared_ptr<const InvertedIndex>> InvertedIndex::Load(
    const std::string& path, std::optional<uint64_t> corpus_digest,
    std::string* extra) {
  REPRO_ASSIGN_OR_RETURN(const IndexFile file,
                         IndexFile::Open(path, IndexFileKind::kInverted,
                                         kNumSections, corpus_digest));
  std::shared_ptr<InvertedIndex> index(new InvertedIndex);
  index->corpus_digest_ = file.corpus_digest();
  index->term_bytes_ = file.section(kTermBytes);
  REPRO_ASSIGN_OR_RETURN(index->document_lengths_,
                         file.Array<uint32_t>(kDocumentLengths));
  REPRO_ASSIGN_OR_RETURN(index->term_offsets_,
                         file.Array<uint64_t>(kTermOffsets));
  REPRO_ASSIGN_OR_RETURN(index->posting_offsets_,
                         file.Array<uint64_t>(kPostingOffsets));
  REPRO_ASSIGN_OR_RETURN(index->documents_, file.Array<uint32_t>(kDocuments));
  REPRO_ASSIGN_OR_RETURN(index->statistics_,
                         file.Array<TermStatistics>(kStatistics));
  REPRO_ASSIGN_OR_RETURN(index->slots_, file.Array<uint32_t>(kSlots));
  if (file.section(kCodes).size() !=
      index->documents_.size() * (index->wide_codes() ? 4 : 2)) {
    return file.Damaged("codes and postings differ in number");
  }
  index->codes_ = file.section(kCodes).data();
  for (const uint32_t length : index->document_lengths_) {
    index->total_length_ += length;
  }
  const absl::Status status = index->Check();
  if (!status.ok()) return file.Damaged(status.message());
  index->BuildBlocks();
  *extra = std::string(file.section(kExtra));
  index->file_ = file.mapping();
  return index;
}

// What the accessors and scorers rely on. The message is a part of one.
absl::Status InvertedIndex::Check() const {
  const auto require = [](bool condition, const char* otherwise) {
    return condition ? absl::OkStatus() : absl::DataLossError(otherwise);
  };
  REPRO_RETURN_IF_ERROR(require(
      !document_lengths_.empty() && document_lengths_.size() <= kMaxCount,
      "it has no documents"));
  REPRO_RETURN_IF_ERROR(require(AreOffsets(term_offsets_, term_bytes_.size()),
                                "the offsets of terms are not in order"));
  REPRO_RETURN_IF_ERROR(require(AreOffsets(posting_offsets_, documents_.size()),
                                "the offsets of postings are not in order"));
  REPRO_RETURN_IF_ERROR(require(term_offsets_.size() == posting_offsets_.size(),
                                "terms and posting lists differ in number"));
  // An empty slot ends every search of the table.
  const uint64_t num_slots = slots_.size();
  REPRO_RETURN_IF_ERROR(
      require(num_slots > 0 && (num_slots & (num_slots - 1)) == 0,
              "the table of terms has no power of two of slots"));
  REPRO_RETURN_IF_ERROR(require(documents_.empty() || total_length_ > 0,
                                "it has postings of documents without terms"));
  bool has_empty_slot = false;
  for (const uint32_t slot : slots_) {
    if (slot == kEmptySlot) {
      has_empty_slot = true;
    } else if (slot >= num_terms()) {
      return absl::DataLossError("the table of terms names one that is not");
    }
  }
  REPRO_RETURN_IF_ERROR(
      require(has_empty_slot, "the table of terms has no empty slot"));
  const bool codes_fit = wide_codes()
                             ? AllBelow(static_cast<const uint32_t*>(codes_),
                                        documents_.size(), statistics_.size())
                             : AllBelow(static_cast<const uint16_t*>(codes_),
                                        documents_.size(), statistics_.size());
  REPRO_RETURN_IF_ERROR(
      require(codes_fit, "a posting's code stands for nothing"));
  for (const TermStatistics& s : statistics_) {
    REPRO_RETURN_IF_ERROR(
        require(s.occurrences > 0 && s.occurrences <= s.document_length,
                "a code has more occurrences than terms in the document"));
  }
  for (int64_t t = 0; t < num_terms(); ++t) {
    const absl::Span<const uint32_t> postings = documents(t);
    REPRO_RETURN_IF_ERROR(require(!postings.empty(), "a term has no postings"));
    bool rising = true;
    for (size_t i = 1; i < postings.size(); ++i) {
      rising &= postings[i - 1] < postings[i];
    }
    REPRO_RETURN_IF_ERROR(
        require(rising && postings.back() < document_lengths_.size(),
                "a term's documents are not in order"));
  }
  return absl::OkStatus();
}

struct InvertedIndexBuilder::State {
  struct Term {
    uint64_t offset;
    uint32_t length;
    uint32_t last_document;
    uint32_t position;  // in the last document's part of `terms`
    uint32_t document_frequency;
  };
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash
    uint32_t number = kEmptySlot;
  };
  using TermStatistics = InvertedIndex::TermStatistics;

  std::vector<Slot> slots = std::vector<Slot>(1 << 12);
  std::vector<Term> vocabulary;
  std::vector<uint64_t> vocabulary_hashes;
  std::string term_bytes;
  uint64_t digest = kDigestOfNothing;
  bool overflow = false;

  // By document: its distinct terms and their codes.
  std::vector<uint32_t> document_lengths;
  std::vector<uint32_t> num_distinct;
  std::vector<uint32_t> terms;
  std::vector<uint32_t> codes;
  std::vector<TermStatistics> statistics;
  absl::flat_hash_map<uint64_t, uint32_t> code_of;

  std::vector<uint64_t> hashes;       // of the document at hand
  std::vector<uint32_t> occurrences;  // parallel to its part of `terms`

  uint32_t FindOrAdd(absl::string_view term, uint64_t hash);
  void Grow();
  uint32_t Code(uint32_t occurrences, uint32_t document_length);
};

uint32_t InvertedIndexBuilder::State::FindOrAdd(absl::string_view term,
                                                uint64_t hash) {
  const uint64_t mask = slots.size() - 1;
  const uint32_t tag = hash >> 32;
  uint64_t at = hash & mask;
  for (; slots[at].number != kEmptySlot; at = (at + 1) & mask) {
    if (slots[at].tag != tag) continue;
    const Term& known = vocabulary[slots[at].number];
    if (term ==
        absl::string_view(term_bytes.data() + known.offset, known.length)) {
      return slots[at].number;
    }
  }
  const uint32_t number = vocabulary.size();
  slots[at] = {tag, number};
  vocabulary.push_back({term_bytes.size(), static_cast<uint32_t>(term.size()),
                        kEmptySlot, 0, 0});
  vocabulary_hashes.push_back(hash);
  term_bytes.append(term.data(), term.size());
  if (vocabulary.size() * 2 > slots.size()) Grow();
  return number;
}

void InvertedIndexBuilder::State::Grow() {
  slots.assign(slots.size() * 2, Slot());
  const uint64_t mask = slots.size() - 1;
  for (uint32_t number = 0; number < vocabulary.size(); ++number) {
    const uint64_t hash = vocabulary_hashes[number];
    uint64_t at = hash & mask;
    while (slots[at].number != kEmptySlot) at = (at + 1) & mask;
    slots[at] = {static_cast<uint32_t>(hash >> 32), number};
  }
}

uint32_t InvertedIndexBuilder::State::Code(uint32_t occurrences,
                                           uint32_t document_length) {
  const auto [it, is_new] = code_of.try_emplace(
      uint64_t{occurrences} << 32 | document_length, statistics.size());
  if (is_new) statistics.push_back({occurrences, document_length});
  return it->second;
}

InvertedIndexBuilder::InvertedIndexBuilder()
    : state_(std::make_unique<State>()) {}
InvertedIndexBuilder::~InvertedIndexBuilder() = default;

void InvertedIndexBuilder::Add(absl::Span<const std::string> terms) {
  AddTerms(terms);
}
void InvertedIndexBuilder::Add(absl::Span<const absl::string_view> terms) {
  AddTerms(terms);
}

template <typename TermString>
void InvertedIndexBuilder::AddTerms(absl::Span<const TermString> terms) {
  State& s = *state_;
  if (s.overflow || terms.size() > kMaxCount ||
      s.document_lengths.size() == kMaxCount ||
      s.vocabulary.size() + terms.size() > kMaxCount) {
    s.overflow = true;
    return;
  }
  const uint32_t document = s.document_lengths.size();
  const size_t begin = s.terms.size();
  s.hashes.clear();
  s.occurrences.clear();
  // A large vocabulary is not in the caches: its look-ups are made to overlap.
  for (const TermString& term : terms) {
    s.hashes.push_back(Hash(term));
    __builtin_prefetch(&s.slots[s.hashes.back() & (s.slots.size() - 1)]);
  }
  for (const uint64_t hash : s.hashes) {
    const State::Slot& slot = s.slots[hash & (s.slots.size() - 1)];
    if (slot.number != kEmptySlot) {
      __builtin_prefetch(&s.vocabulary[slot.number], /*for writing*/ 1);
    }
  }
  for (size_t i = 0; i < terms.size(); ++i) {
    const uint32_t number = s.FindOrAdd(terms[i], s.hashes[i]);
    State::Term& known = s.vocabulary[number];
    if (known.last_document == document) {
      ++s.occurrences[known.position];
    } else {
      known.last_document = document;
      known.position = s.occurrences.size();
      ++known.document_frequency;
      s.terms.push_back(number);
      s.occurrences.push_back(1);
    }
  }
  s.digest = AddToDigest(s.digest, s.hashes);
  s.document_lengths.push_back(terms.size());
  s.num_distinct.push_back(s.occurrences.size());
  // Most terms stand a few times in a document.
  std::array<uint32_t, 32> known_codes;
  known_codes.fill(kEmptySlot);
  s.codes.resize(s.terms.size());
  for (size_t i = 0; i < s.occurrences.size(); ++i) {
    const uint32_t occurrences = s.occurrences[i];
    if (occurrences >= known_codes.size()) {
      s.codes[begin + i] = s.Code(occurrences, terms.size());
      continue;
    }
    uint32_t& code = known_codes[occurrences];
    if (code == kEmptySlot) code = s.Code(occurrences, terms.size());
    s.codes[begin + i] = code;
  }
}

absl::StatusOr<std::shared_ptr<const InvertedIndex>>
InvertedIndexBuilder::Finish() {
  const std::unique_ptr<State> finished =
      std::exchange(state_, std::make_unique<State>());
  State& s = *finished;
  if (s.overflow) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "more than ", kMaxCount,
        " documents, distinct terms or terms in a document; cut the corpus"));
  }
  if (s.document_lengths.empty()) {
    return absl::InvalidArgumentError(
        "no documents to index; add at least one");
  }
  auto arrays = std::make_shared<InvertedIndex::Arrays>();
  const size_t num_terms = s.vocabulary.size();
  arrays->term_bytes = std::move(s.term_bytes);
  arrays->term_offsets.reserve(num_terms + 1);
  arrays->posting_offsets.reserve(num_terms + 1);
  std::vector<uint64_t> next(num_terms);
  uint64_t num_postings = 0;
  for (size_t t = 0; t < num_terms; ++t) {
    arrays->term_offsets.push_back(s.vocabulary[t].offset);
    arrays->posting_offsets.push_back(num_postings);
    next[t] = num_postings;
    num_postings += s.vocabulary[t].document_frequency;
  }
  arrays->term_offsets.push_back(arrays->term_bytes.size());
  arrays->posting_offsets.push_back(num_postings);

  // A counting sort from documents to terms.
  arrays->documents.resize(num_postings);
  const auto scatter = [&](auto* codes) {
    codes->resize(num_postings);
    size_t i = 0;
    for (uint32_t d = 0; d < s.document_lengths.size(); ++d) {
      for (const size_t end = i + s.num_distinct[d]; i < end; ++i) {
        const uint64_t at = next[s.terms[i]]++;
        arrays->documents[at] = d;
        (*codes)[at] = s.codes[i];
      }
    }
  };
  const bool wide = s.statistics.size() > 1 << 16;
  if (wide) {
    scatter(&arrays->wide_codes);
  } else {
    scatter(&arrays->codes);
  }
  arrays->document_lengths = std::move(s.document_lengths);
  arrays->statistics = std::move(s.statistics);
  arrays->slots.reserve(s.slots.size());
  for (const State::Slot& slot : s.slots) arrays->slots.push_back(slot.number);

  std::shared_ptr<InvertedIndex> index(new InvertedIndex);
  index->corpus_digest_ = s.digest;
  index->document_lengths_ = arrays->document_lengths;
  for (const uint32_t length : arrays->document_lengths) {
    index->total_length_ += length;
  }
  index->term_bytes_ = arrays->term_bytes;
  index->term_offsets_ = arrays->term_offsets;
  index->posting_offsets_ = arrays->posting_offsets;
  index->documents_ = arrays->documents;
  index->codes_ = wide ? static_cast<const void*>(arrays->wide_codes.data())
                       : arrays->codes.data();
  index->statistics_ = arrays->statistics;
  index->slots_ = arrays->slots;
  index->arrays_ = std::move(arrays);
  index->BuildBlocks();
  return index;
}

}  // namespace repro::retrieval
