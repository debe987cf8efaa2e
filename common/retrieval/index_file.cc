#include "common/retrieval/index_file.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro::retrieval {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "index files are little-endian and mapped as they are");

constexpr char kMagic[8] = {'R', 'E', 'P', 'R', 'O', 'I', 'D', 'X'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kAlignment = 64;

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t kind;
  uint32_t num_sections;
  uint32_t zero;
  uint64_t corpus_digest;
  uint64_t file_bytes;
  uint64_t checksum;
};
static_assert(sizeof(Header) == 48, "");
constexpr size_t kChecksumOffset = 40;

struct Place {
  uint64_t offset;
  uint64_t length;
};

uint64_t Aligned(uint64_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

uint64_t Checksum(absl::string_view file) {
  return XXH3_64bits_withSeed(file.data() + sizeof(Header),
                              file.size() - sizeof(Header),
                              XXH3_64bits(file.data(), kChecksumOffset));
}

absl::Status DamagedError(absl::string_view path, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(path, ": damaged index: ", what, "; build the index again"));
}

}  // namespace

absl::Status WriteIndexFile(const std::string& path, IndexFileKind kind,
                            uint64_t corpus_digest,
                            absl::Span<const absl::string_view> sections) {
  std::vector<Place> places;
  uint64_t end = sizeof(Header) + sections.size() * sizeof(Place);
  for (absl::string_view section : sections) {
    places.push_back({Aligned(end), section.size()});
    end = places.back().offset + section.size();
  }
  std::string file(end, '\0');
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.kind = static_cast<uint32_t>(kind);
  header.num_sections = sections.size();
  header.corpus_digest = corpus_digest;
  header.file_bytes = end;
  std::memcpy(&file[0], &header, sizeof(header));
  std::memcpy(&file[sizeof(Header)], places.data(),
              places.size() * sizeof(Place));
  for (size_t i = 0; i < sections.size(); ++i) {
    sections[i].copy(&file[0] + places[i].offset, sections[i].size());
  }
  header.checksum = Checksum(file);
  std::memcpy(&file[0], &header, sizeof(header));
  return WriteFileAtomically(path, file);
}

absl::StatusOr<IndexFile> IndexFile::Open(
    const std::string& path, IndexFileKind kind, size_t num_sections,
    std::optional<uint64_t> corpus_digest) {
  IndexFile file;
  file.path_ = path;
  REPRO_ASSIGN_OR_RETURN(file.mapping_, MappedFile::Open(path));
  const absl::string_view bytes = file.mapping_->bytes();
  Header header;
  if (bytes.size() < sizeof(header) ||
      std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": not an index file (it does not begin with REPROIDX)"));
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.version != kVersion) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": index file of version ", header.version,
        ", this program reads ", kVersion, "; build the index again"));
  }
  if (header.file_bytes != bytes.size()) {
    return DamagedError(path, absl::StrCat("it has ", bytes.size(),
                                           " bytes of ", header.file_bytes));
  }
  if (Checksum(bytes) != header.checksum) {
    return DamagedError(path, "its checksum is wrong");
  }
  if (header.kind != static_cast<uint32_t>(kind)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": index of kind ", header.kind,
                     " where one of kind ", static_cast<uint32_t>(kind),
                     " is wanted (1: inverted index, 2: vectors)"));
  }
  // From here on damage would be a forgery, which the checksum does not stop.
  if (header.num_sections != num_sections ||
      bytes.size() < sizeof(Header) + num_sections * sizeof(Place)) {
    return DamagedError(path, absl::StrCat("it has ", header.num_sections,
                                           " sections, not ", num_sections));
  }
  for (size_t i = 0; i < num_sections; ++i) {
    Place place;
    std::memcpy(&place, bytes.data() + sizeof(Header) + i * sizeof(Place),
                sizeof(place));
    if (place.offset % kAlignment != 0 || place.offset > bytes.size() ||
        place.length > bytes.size() - place.offset) {
      return DamagedError(
          path, absl::StrCat("section ", i, " is outside of the file"));
    }
    file.sections_.push_back(bytes.substr(place.offset, place.length));
  }
  file.corpus_digest_ = header.corpus_digest;
  if (corpus_digest.has_value() && *corpus_digest != header.corpus_digest) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": index of another corpus (its digest is ",
        absl::Hex(header.corpus_digest, absl::kZeroPad16), ", the corpus' ",
        absl::Hex(*corpus_digest, absl::kZeroPad16),
        "); build the index again"));
  }
  return file;
}

absl::Status IndexFile::Damaged(absl::string_view what) const {
  return DamagedError(path_, what);
}

}  // namespace repro::retrieval
