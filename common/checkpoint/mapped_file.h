#ifndef REPRO_COMMON_CHECKPOINT_MAPPED_FILE_H_
#define REPRO_COMMON_CHECKPOINT_MAPPED_FILE_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

// A regular file mapped into memory, privately: pages are read when touched,
// and a write to them changes this mapping alone. The file must keep its length
// while it is mapped (a program that replaces it by renaming does no harm).
class MappedFile {
 public:
  // Errors name the path: NotFound, PermissionDenied, InvalidArgument (a folder
  // or device), ResourceExhausted (no address space).
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(
      const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  absl::string_view bytes() const {
    return {static_cast<const char*>(data_), size_};
  }

 private:
  MappedFile(void* data, size_t size) : data_(data), size_(size) {}

  void* data_;  // null for an empty file
  size_t size_;
};

}  // namespace repro

#endif  // REPRO_COMMON_CHECKPOINT_MAPPED_FILE_H_
