#ifndef REPRO_COMMON_RETRIEVAL_INDEX_FILE_H_
#define REPRO_COMMON_RETRIEVAL_INDEX_FILE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/checkpoint/mapped_file.h"

// The file that every index of this folder is kept in, little-endian:
//
//   byte 0   "REPROIDX"
//        8   uint32 version (1), uint32 kind, uint32 number of sections, uint32
//        0
//       24   uint64 corpus digest
//       32   uint64 length of the file
//       40   uint64 XXH3 of all bytes from 48 on, seeded with the XXH3 of the
//            first 40
//       48   for each section: uint64 offset, uint64 length
//            the sections, each at a multiple of 64, zeros between them
namespace repro::retrieval {

enum class IndexFileKind : uint32_t { kInverted = 1, kDense = 2 };

// Replaces the file atomically.
absl::Status WriteIndexFile(const std::string& path, IndexFileKind kind,
                            uint64_t corpus_digest,
                            absl::Span<const absl::string_view> sections);

// Such a file, mapped; the checksum has been verified.
class IndexFile {
 public:
  // Errors name the path: NotFound and the like, InvalidArgument (not such a
  // file, another version or kind), DataLoss (truncated, damaged),
  // FailedPrecondition (`corpus_digest` is given and another).
  static absl::StatusOr<IndexFile> Open(const std::string& path,
                                        IndexFileKind kind, size_t num_sections,
                                        std::optional<uint64_t> corpus_digest);

  uint64_t corpus_digest() const { return corpus_digest_; }
  absl::string_view section(size_t i) const { return sections_[i]; }

  // Section i as an array of T, a type without padding that every bit pattern
  // is a value of. DataLoss: its length is no multiple of T's.
  template <typename T>
  absl::StatusOr<absl::Span<const T>> Array(size_t i) const {
    static_assert(alignof(T) <= 64, "");
    if (sections_[i].size() % sizeof(T) != 0) {
      return Damaged(absl::StrCat("section ", i, " has a length of ",
                                  sections_[i].size(), " bytes"));
    }
    return absl::MakeConstSpan(reinterpret_cast<const T*>(sections_[i].data()),
                               sections_[i].size() / sizeof(T));
  }

  // DataLoss that names the file and says what to do.
  absl::Status Damaged(absl::string_view what) const;

  // Keeps what the sections point into.
  std::shared_ptr<const MappedFile> mapping() const { return mapping_; }

 private:
  std::string path_;
  uint64_t corpus_digest_ = 0;
  std::vector<absl::string_view> sections_;
  std::shared_ptr<const MappedFile> mapping_;
};

}  // namespace repro::retrieval

#endif  // REPRO_COMMON_RETRIEVAL_INDEX_FILE_H_
