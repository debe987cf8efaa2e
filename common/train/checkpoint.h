// A file of named tensors and strings, written whole or not at all.
#ifndef REPRO_COMMON_TRAIN_CHECKPOINT_H_
#define REPRO_COMMON_TRAIN_CHECKPOINT_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace repro {

struct Checkpoint {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> texts;
};

// Writes beside `path` and renames. The format is torch.save's, so that
// `torch.load(path)` gives {"tensors": {...}, "texts": {...}, "crc32": n}.
absl::Status WriteCheckpoint(const std::string& path,
                             const Checkpoint& checkpoint);

// Tensors come back on the CPU. NotFound: no file. DataLoss: not a checkpoint,
// truncated or altered; the message says what to do.
absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& path);

}  // namespace repro

#endif  // REPRO_COMMON_TRAIN_CHECKPOINT_H_
