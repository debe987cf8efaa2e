// Reader of GGUF files, versions 2 and 3, little-endian (the format:
// ggml/docs/gguf.md in llama.cpp's repository). The file is mapped, not read,
// and not trusted: whatever it claims is checked before it is used, and nothing
// is allocated that is not backed by bytes of the file.
//
//   REPRO_ASSIGN_OR_RETURN(auto file, OpenGguf("model.gguf"));
//   REPRO_ASSIGN_OR_RETURN(int64_t layers, file->Int("llama.block_count"));
//   REPRO_ASSIGN_OR_RETURN(const GgufTensor* t, file->Tensor("output.weight"));
//   at::Tensor weight = Dequantize(*t);  // dequantize.h
#ifndef REPRO_COMMON_CHECKPOINT_GGUF_H_
#define REPRO_COMMON_CHECKPOINT_GGUF_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/checkpoint/ggml_type.h"

namespace repro {

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  // row-major, the last one contiguous; each >= 1
  GgmlType type = GgmlType::kF32;
  // Rows of shape.back() / block_size blocks. Valid while the GgufFile is.
  absl::Span<const uint8_t> data;

  int64_t numel() const;
};

// Types of metadata values; the numbers are those of the file format.
enum class GgufValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

class GgufFile {
 public:
  const std::string& path() const { return path_; }
  uint32_t version() const { return version_; }

  // Names and strings are valid UTF-8. In the order of their names.
  std::vector<absl::string_view> keys() const;
  bool Has(absl::string_view key) const;

  // Metadata. Where the file has no such key: `otherwise`, or NotFound if that
  // is not given. InvalidArgument for a value of another type. Errors name file
  // and key; the returned views are valid while this object is.

  // An integer of any width; OutOfRange beyond int64.
  absl::StatusOr<int64_t> Int(
      absl::string_view key,
      std::optional<int64_t> otherwise = std::nullopt) const;
  // A float or an integer of any width.
  absl::StatusOr<double> Float(
      absl::string_view key,
      std::optional<double> otherwise = std::nullopt) const;
  absl::StatusOr<bool> Bool(absl::string_view key,
                            std::optional<bool> otherwise = std::nullopt) const;
  absl::StatusOr<absl::string_view> String(
      absl::string_view key,
      std::optional<absl::string_view> otherwise = std::nullopt) const;

  // Arrays. The number of elements of one of any type:
  absl::StatusOr<int64_t> ArraySize(absl::string_view key) const;
  // Of integers of any width, or of bools (0 and 1).
  absl::StatusOr<std::vector<int64_t>> Ints(absl::string_view key) const;
  // Of floats or integers of any width.
  absl::StatusOr<std::vector<double>> Floats(absl::string_view key) const;
  absl::StatusOr<std::vector<absl::string_view>> Strings(
      absl::string_view key) const;

  // In the order of the file.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  bool HasTensor(absl::string_view name) const;
  // NotFound, naming file and tensor. Never null.
  absl::StatusOr<const GgufTensor*> Tensor(absl::string_view name) const;

 private:
  friend class GgufParser;
  GgufFile() = default;

  struct Value {
    GgufValueType type;  // of the value, or of an array's elements
    bool is_array;
    uint64_t count;              // of elements
    absl::string_view elements;  // as stored
  };
  absl::StatusOr<const Value*> Find(absl::string_view key) const;
  absl::Status WrongType(absl::string_view key, const Value& value,
                         absl::string_view wanted) const;

  std::string path_;
  std::shared_ptr<const void> owner_;  // of the bytes
  uint32_t version_ = 0;
  std::map<absl::string_view, Value> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<absl::string_view, size_t> tensor_index_;
};

// Errors name the path, what is wrong and, if known, key or tensor: those of
// MappedFile::Open; InvalidArgument for what is not a GGUF file; Unimplemented
// for another version, byte order or tensor type; DataLoss for one that is
// truncated or contradicts itself.
absl::StatusOr<std::shared_ptr<const GgufFile>> OpenGguf(
    const std::string& path);

// The same for bytes in memory, which `owner` keeps alive; `name` stands for
// the path. `owner` may be null if the bytes outlive the result.
absl::StatusOr<std::shared_ptr<const GgufFile>> ParseGguf(
    absl::string_view bytes, const std::string& name,
    std::shared_ptr<const void> owner);

}  // namespace repro

#endif  // REPRO_COMMON_CHECKPOINT_GGUF_H_
