// Reader and writer of safetensors files.
#ifndef REPRO_COMMON_CHECKPOINT_SAFETENSORS_H_
#define REPRO_COMMON_CHECKPOINT_SAFETENSORS_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/checkpoint/mapped_file.h"
#include "common/checkpoint/safetensors_header.h"

namespace repro {

// The tensors of one file or of several that an index joins. Mapped: nothing is
// read before a tensor is used.
class Safetensors {
 public:
  // `path`: a .safetensors file, a model.safetensors.index.json, or a folder
  // with either (the index first). Errors as ParseSafetensorsHeader's, and
  // NotFound, DataLoss for an index that names a file outside its folder or a
  // tensor that its file does not have.
  static absl::StatusOr<Safetensors> Open(const std::string& path);

  std::vector<std::string> names() const;  // ascending
  bool Has(absl::string_view name) const;

  // On the CPU. A view of the mapping that keeps it alive, unless the file
  // misaligns the numbers: then a copy. Changing it in place leaves the file as
  // it is; clone() it to have memory of its own. NotFound, naming the file.
  absl::StatusOr<at::Tensor> Tensor(absl::string_view name) const;

  // Of all files together.
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }

 private:
  struct Entry {
    std::shared_ptr<const MappedFile> file;
    SafetensorsEntry entry;
  };
  std::string path_;
  std::map<std::string, Entry, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes a temporary file beside `path` and renames it. Tensors may be of any
// device and strides; the file is put together in memory first. InvalidArgument
// for a dtype that the format lacks, an undefined tensor, or a name that is not
// UTF-8 or is "__metadata__"; errors of writing as WriteFileAtomically's.
absl::Status SaveSafetensors(
    const std::string& path, const std::map<std::string, at::Tensor>& tensors,
    const std::map<std::string, std::string>& metadata = {});

}  // namespace repro

#endif  // REPRO_COMMON_CHECKPOINT_SAFETENSORS_H_
