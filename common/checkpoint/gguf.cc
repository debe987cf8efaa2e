#include "common/checkpoint/gguf.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/checkpoint/mapped_file.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro {
namespace {

constexpr absl::string_view kMagic = "GGUF";
constexpr uint32_t kMaxDims = 8;
constexpr uint64_t kMaxNameBytes = 65535;
constexpr int kMaxArrayDepth = 4;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = 1 << 16;

template <typename T>
T Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

// Bytes of a value of fixed size; 0 for strings, arrays and unknown types.
uint64_t FixedBytes(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kInt8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kUint16:
    case GgufValueType::kInt16:
      return 2;
    case GgufValueType::kUint32:
    case GgufValueType::kInt32:
    case GgufValueType::kFloat32:
      return 4;
    case GgufValueType::kUint64:
    case GgufValueType::kInt64:
    case GgufValueType::kFloat64:
      return 8;
    case GgufValueType::kString:
    case GgufValueType::kArray:
      return 0;
  }
  return 0;
}

absl::string_view TypeName(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
      return "uint8";
    case GgufValueType::kInt8:
      return "int8";
    case GgufValueType::kUint16:
      return "uint16";
    case GgufValueType::kInt16:
      return "int16";
    case GgufValueType::kUint32:
      return "uint32";
    case GgufValueType::kInt32:
      return "int32";
    case GgufValueType::kFloat32:
      return "float32";
    case GgufValueType::kBool:
      return "bool";
    case GgufValueType::kString:
      return "string";
    case GgufValueType::kArray:
      return "array";
    case GgufValueType::kUint64:
      return "uint64";
    case GgufValueType::kInt64:
      return "int64";
    case GgufValueType::kFloat64:
      return "float64";
  }
  return "";
}

bool IsKnown(GgufValueType type) { return !TypeName(type).empty(); }

// False where the value is not an integer (or bool) that int64 holds.
bool LoadInt(GgufValueType type, const char* bytes, int64_t* value) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kBool:
      *value = Load<uint8_t>(bytes);
      return true;
    case GgufValueType::kInt8:
      // A number, not a character: its sign counts.
      *value = Load<int8_t>(bytes);  // NOLINT(bugprone-signed-char-misuse)
      return true;
    case GgufValueType::kUint16:
      *value = Load<uint16_t>(bytes);
      return true;
    case GgufValueType::kInt16:
      *value = Load<int16_t>(bytes);
      return true;
    case GgufValueType::kUint32:
      *value = Load<uint32_t>(bytes);
      return true;
    case GgufValueType::kInt32:
      *value = Load<int32_t>(bytes);
      return true;
    case GgufValueType::kInt64:
      *value = Load<int64_t>(bytes);
      return true;
    case GgufValueType::kUint64: {
      const auto wide = Load<uint64_t>(bytes);
      *value = static_cast<int64_t>(wide);
      return wide <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    }
    default:
      return false;
  }
}

// False where the value is not a number.
bool LoadDouble(GgufValueType type, const char* bytes, double* value) {
  int64_t integer = 0;
  switch (type) {
    case GgufValueType::kFloat32:
      *value = Load<float>(bytes);
      return true;
    case GgufValueType::kFloat64:
      *value = Load<double>(bytes);
      return true;
    case GgufValueType::kUint64:
      *value = static_cast<double>(Load<uint64_t>(bytes));
      return true;
    case GgufValueType::kBool:
      return false;
    default:
      if (!LoadInt(type, bytes, &integer)) return false;
      *value = static_cast<double>(integer);
      return true;
  }
}

bool IsInteger(GgufValueType type) {
  return FixedBytes(type) > 0 && type != GgufValueType::kFloat32 &&
         type != GgufValueType::kFloat64 && type != GgufValueType::kBool;
}

}  // namespace

// Reads the header front to back, never past the end.
class GgufParser {
 public:
  GgufParser(absl::string_view bytes, const std::string& name)
      : bytes_(bytes), rest_(bytes), name_(name) {}

  absl::StatusOr<std::shared_ptr<const GgufFile>> Parse(
      std::shared_ptr<const void> owner) {
    std::shared_ptr<GgufFile> file(new GgufFile);
    file->path_ = name_;
    file->owner_ = std::move(owner);
    if (rest_.substr(0, 4) != kMagic) {
      return absl::InvalidArgumentError(
          absl::StrCat(name_, ": is not a GGUF file: it begins with ",
                       Quoted(rest_.substr(0, 4)), " instead of 'GGUF'"));
    }
    rest_.remove_prefix(4);
    REPRO_ASSIGN_OR_RETURN(file->version_, Read<uint32_t>("the version"));
    if (file->version_ != 2 && file->version_ != 3) {
      const bool swapped =
          file->version_ == 2u << 24 || file->version_ == 3u << 24;
      return absl::UnimplementedError(absl::StrCat(
          name_, ": GGUF ",
          swapped ? std::string("with big-endian numbers")
                  : absl::StrCat("version ", file->version_),
          " is not supported; convert it to version 3, little-endian"));
    }
    REPRO_ASSIGN_OR_RETURN(const uint64_t num_tensors,
                           Read<uint64_t>("the number of tensors"));
    REPRO_ASSIGN_OR_RETURN(const uint64_t num_keys,
                           Read<uint64_t>("the number of metadata keys"));
    // The least that a key or a tensor takes: lengths, types, a value.
    constexpr uint64_t kLeastKey = 8 + 1 + 4 + 1;
    constexpr uint64_t kLeastTensor = 8 + 1 + 4 + 8 + 4 + 8;
    REPRO_RETURN_IF_ERROR(
        CheckCount(num_keys, kLeastKey, "number of metadata keys"));
    REPRO_RETURN_IF_ERROR(
        CheckCount(num_tensors, kLeastTensor, "number of tensors"));
    for (uint64_t i = 0; i < num_keys; ++i) {
      REPRO_RETURN_IF_ERROR(ReadKey(i, file.get()));
    }
    std::vector<uint64_t> offsets;
    for (uint64_t i = 0; i < num_tensors; ++i) {
      REPRO_RETURN_IF_ERROR(ReadTensor(i, file.get(), &offsets));
    }
    REPRO_RETURN_IF_ERROR(PlaceTensors(offsets, file.get()));
    for (size_t i = 0; i < file->tensors_.size(); ++i) {
      const std::string& tensor = file->tensors_[i].name;
      if (!file->tensor_index_.emplace(tensor, i).second) {
        return Damaged(absl::StrCat("tensor ", Quoted(tensor)), "comes twice");
      }
    }
    return std::shared_ptr<const GgufFile>(std::move(file));
  }

 private:
  absl::Status Damaged(absl::string_view what, absl::string_view why) const {
    return absl::DataLossError(absl::StrCat(
        name_, ": ", what, " ", why, "; the file is damaged: get it again"));
  }

  absl::Status Truncated(absl::string_view what) const {
    return Damaged(what, absl::StrCat("is cut off at the file's end, byte ",
                                      bytes_.size()));
  }

  absl::Status CheckCount(uint64_t count, uint64_t least_bytes,
                          absl::string_view what) const {
    if (count <= rest_.size() / least_bytes) return absl::OkStatus();
    return Damaged(what, absl::StrCat(count, " does not fit into the ",
                                      rest_.size(), " bytes that are left"));
  }

  template <typename T>
  absl::StatusOr<T> Read(absl::string_view what) {
    if (rest_.size() < sizeof(T)) return Truncated(what);
    const T value = Load<T>(rest_.data());
    rest_.remove_prefix(sizeof(T));
    return value;
  }

  absl::StatusOr<absl::string_view> ReadString(absl::string_view what) {
    REPRO_ASSIGN_OR_RETURN(const uint64_t size, Read<uint64_t>(what));
    if (size > rest_.size()) return Truncated(what);
    const absl::string_view text = rest_.substr(0, size);
    if (!IsUtf8(text)) {
      return Damaged(what, absl::StrCat(Quoted(text), " is not UTF-8"));
    }
    rest_.remove_prefix(size);
    return text;
  }

  absl::StatusOr<absl::string_view> ReadName(const std::string& what) {
    REPRO_ASSIGN_OR_RETURN(const absl::string_view name, ReadString(what));
    if (name.empty() || name.size() > kMaxNameBytes) {
      return Damaged(what, absl::StrCat("has ", name.size(),
                                        " bytes, not 1 to ", kMaxNameBytes));
    }
    return name;
  }

  absl::StatusOr<GgufValueType> ReadType(absl::string_view what) {
    REPRO_ASSIGN_OR_RETURN(const uint32_t number, Read<uint32_t>(what));
    const auto type = static_cast<GgufValueType>(number);
    if (!IsKnown(type)) {
      return Damaged(what, absl::StrCat("has the unknown type ", number));
    }
    return type;
  }

  // Leaves rest_ behind `count` values of `type`.
  absl::Status Skip(GgufValueType type, uint64_t count, int depth,
                    absl::string_view what) {
    if (const uint64_t size = FixedBytes(type); size > 0) {
      if (count > rest_.size() / size) return Truncated(what);
      const absl::string_view values = rest_.substr(0, count * size);
      if (type == GgufValueType::kBool) {
        for (const char value : values) {
          if (value != 0 && value != 1) {
            return Damaged(what, "has a bool that is neither 0 nor 1");
          }
        }
      }
      rest_.remove_prefix(values.size());
      return absl::OkStatus();
    }
    for (uint64_t i = 0; i < count; ++i) {
      if (type == GgufValueType::kString) {
        REPRO_RETURN_IF_ERROR(ReadString(what).status());
        continue;
      }
      if (depth == kMaxArrayDepth) {
        return Damaged(what, absl::StrCat("nests arrays deeper than ",
                                          kMaxArrayDepth, " levels"));
      }
      REPRO_ASSIGN_OR_RETURN(const GgufValueType element, ReadType(what));
      REPRO_ASSIGN_OR_RETURN(const uint64_t elements, Read<uint64_t>(what));
      REPRO_RETURN_IF_ERROR(Skip(element, elements, depth + 1, what));
    }
    return absl::OkStatus();
  }

  absl::Status ReadKey(uint64_t number, GgufFile* file) {
    REPRO_ASSIGN_OR_RETURN(const absl::string_view key,
                           ReadName(absl::StrCat("metadata key ", number)));
    const std::string what = absl::StrCat("metadata ", Quoted(key));
    GgufFile::Value value;
    value.is_array = false;
    value.count = 1;
    REPRO_ASSIGN_OR_RETURN(value.type, ReadType(what));
    if (value.type == GgufValueType::kArray) {
      value.is_array = true;
      REPRO_ASSIGN_OR_RETURN(value.type, ReadType(what));
      REPRO_ASSIGN_OR_RETURN(value.count, Read<uint64_t>(what));
    }
    const absl::string_view from_here = rest_;
    REPRO_RETURN_IF_ERROR(
        Skip(value.type, value.count, value.is_array ? 1 : 0, what));
    value.elements = from_here.substr(0, from_here.size() - rest_.size());
    if (!file->metadata_.emplace(key, value).second) {
      return Damaged(what, "comes twice");
    }
    return absl::OkStatus();
  }

  absl::Status ReadTensor(uint64_t number, GgufFile* file,
                          std::vector<uint64_t>* offsets) {
    REPRO_ASSIGN_OR_RETURN(const absl::string_view name,
                           ReadName(absl::StrCat("tensor name ", number)));
    GgufTensor tensor;
    tensor.name = std::string(name);
    const std::string what = absl::StrCat("tensor ", Quoted(name));
    REPRO_ASSIGN_OR_RETURN(const uint32_t num_dims, Read<uint32_t>(what));
    if (num_dims < 1 || num_dims > kMaxDims) {
      return Damaged(what, absl::StrCat("has ", num_dims,
                                        " dimensions, not 1 to ", kMaxDims));
    }
    uint64_t numel = 1;
    for (uint32_t i = 0; i < num_dims; ++i) {
      REPRO_ASSIGN_OR_RETURN(const uint64_t dim, Read<uint64_t>(what));
      if (dim < 1 ||
          dim > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) /
                    numel) {
        return Damaged(what, absl::StrCat("has dimension ", i, " of size ", dim,
                                          ", which is 0 or overflows"));
      }
      numel *= dim;
      tensor.shape.push_back(static_cast<int64_t>(dim));
    }
    const int64_t row = tensor.shape[0];
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    REPRO_ASSIGN_OR_RETURN(const uint32_t type, Read<uint32_t>(what));
    const std::optional<GgmlTypeInfo> info = FindGgmlType(type);
    if (!info.has_value()) {
      return absl::UnimplementedError(absl::StrCat(
          name_, ": ", what, " has ggml type ", type,
          ", which is not supported; convert the model to F16, Q8_0 or a "
          "K-quant"));
    }
    if (row % info->block_size != 0) {
      return Damaged(
          what, absl::StrCat("has rows of ", row, " elements, but ", info->name,
                             " comes in blocks of ", info->block_size));
    }
    // Each block takes at least a byte, so this bounds the product below.
    const uint64_t blocks = numel / info->block_size;
    if (blocks > bytes_.size() / info->block_bytes) {
      return Damaged(what, absl::StrCat("claims ", numel, " elements of ",
                                        info->name, ", more than the file's ",
                                        bytes_.size(), " bytes hold"));
    }
    tensor.type = static_cast<GgmlType>(type);
    tensor.data =
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes_.data()),
                            blocks * info->block_bytes);
    REPRO_ASSIGN_OR_RETURN(const uint64_t offset, Read<uint64_t>(what));
    offsets->push_back(offset);
    file->tensors_.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // Moves each tensor's data, so far of the right size, to its place.
  absl::Status PlaceTensors(const std::vector<uint64_t>& offsets,
                            GgufFile* file) {
    REPRO_ASSIGN_OR_RETURN(
        const int64_t claimed,
        file->Int("general.alignment", int64_t{kDefaultAlignment}));
    const auto alignment = static_cast<uint64_t>(claimed);
    if (claimed < 8 || alignment > kMaxAlignment ||
        (alignment & (alignment - 1)) != 0) {
      return Damaged("metadata 'general.alignment'",
                     absl::StrCat("is ", claimed,
                                  ", not a power of two from "
                                  "8 to ",
                                  kMaxAlignment));
    }
    const uint64_t header = bytes_.size() - rest_.size();
    const uint64_t begin = (header + alignment - 1) / alignment * alignment;
    const uint64_t size = begin < bytes_.size() ? bytes_.size() - begin : 0;
    std::vector<std::pair<uint64_t, size_t>> order;  // offset, tensor
    for (size_t i = 0; i < offsets.size(); ++i) {
      GgufTensor& tensor = file->tensors_[i];
      const std::string what = absl::StrCat("tensor ", Quoted(tensor.name));
      if (offsets[i] % alignment != 0) {
        return Damaged(what, absl::StrCat("has offset ", offsets[i],
                                          ", not a multiple of ", alignment));
      }
      if (offsets[i] > size || tensor.data.size() > size - offsets[i]) {
        return Damaged(what, absl::StrCat("with offset ", offsets[i], " and ",
                                          tensor.data.size(),
                                          " bytes ends beyond the file's ",
                                          size, " bytes of data"));
      }
      tensor.data = absl::MakeConstSpan(tensor.data.data() + begin + offsets[i],
                                        tensor.data.size());
      order.emplace_back(offsets[i], i);
    }
    std::sort(order.begin(), order.end());
    for (size_t i = 1; i < order.size(); ++i) {
      const GgufTensor& before = file->tensors_[order[i - 1].second];
      if (order[i - 1].first + before.data.size() > order[i].first) {
        return Damaged(
            absl::StrCat("tensor ", Quoted(before.name)),
            absl::StrCat("overlaps tensor ",
                         Quoted(file->tensors_[order[i].second].name)));
      }
    }
    return absl::OkStatus();
  }

  absl::string_view bytes_;
  absl::string_view rest_;
  const std::string& name_;
};

int64_t GgufTensor::numel() const {
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

std::vector<absl::string_view> GgufFile::keys() const {
  std::vector<absl::string_view> keys;
  keys.reserve(metadata_.size());
  for (const auto& [key, value] : metadata_) keys.push_back(key);
  return keys;
}

bool GgufFile::Has(absl::string_view key) const {
  return metadata_.count(key) > 0;
}

absl::StatusOr<const GgufFile::Value*> GgufFile::Find(
    absl::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) {
    return absl::NotFoundError(
        absl::StrCat(path_, ": has no metadata ", Quoted(key)));
  }
  return &found->second;
}

absl::Status GgufFile::WrongType(absl::string_view key, const Value& value,
                                 absl::string_view wanted) const {
  return absl::InvalidArgumentError(
      absl::StrCat(path_, ": metadata ", Quoted(key), " is ",
                   value.is_array ? "an array of " : "of type ",
                   TypeName(value.type), ", not ", wanted));
}

absl::StatusOr<int64_t> GgufFile::Int(absl::string_view key,
                                      std::optional<int64_t> otherwise) const {
  if (otherwise.has_value() && !Has(key)) return *otherwise;
  REPRO_ASSIGN_OR_RETURN(const Value* value, Find(key));
  if (value->is_array || !IsInteger(value->type)) {
    return WrongType(key, *value, "an integer");
  }
  int64_t result = 0;
  if (!LoadInt(value->type, value->elements.data(), &result)) {
    return absl::OutOfRangeError(
        absl::StrCat(path_, ": metadata ", Quoted(key), " is above 2^63 - 1"));
  }
  return result;
}

absl::StatusOr<double> GgufFile::Float(absl::string_view key,
                                       std::optional<double> otherwise) const {
  if (otherwise.has_value() && !Has(key)) return *otherwise;
  REPRO_ASSIGN_OR_RETURN(const Value* value, Find(key));
  double result = 0;
  if (value->is_array ||
      !LoadDouble(value->type, value->elements.data(), &result)) {
    return WrongType(key, *value, "a number");
  }
  return result;
}

absl::StatusOr<bool> GgufFile::Bool(absl::string_view key,
                                    std::optional<bool> otherwise) const {
  if (otherwise.has_value() && !Has(key)) return *otherwise;
  REPRO_ASSIGN_OR_RETURN(const Value* value, Find(key));
  if (value->is_array || value->type != GgufValueType::kBool) {
    return WrongType(key, *value, "a bool");
  }
  return value->elements[0] != 0;
}

absl::StatusOr<absl::string_view> GgufFile::String(
    absl::string_view key, std::optional<absl::string_view> otherwise) const {
  if (otherwise.has_value() && !Has(key)) return *otherwise;
  REPRO_ASSIGN_OR_RETURN(const Value* value, Find(key));
  if (value->is_array || value->type != GgufValueType::kString) {
    return WrongType(key, *value, "a string");
  }
  return value->elements.substr(sizeof(uint64_t));
}

absl::StatusOr<int64_t> GgufFile::ArraySize(absl::string_view key) const {
  REPRO_ASSIGN_OR_RETURN(const Value* value, Find(key));
  if (!value->is_array) return WrongType(key, *value, "an array");
  return static_cast<int64_t>(value->count);
}

absl::StatusOr<std::vector<int64_t>> GgufFile::Ints(
    absl::string_view key) const {
  REPRO_ASSIGN_OR_RETURN(const Value* value, Find(key));
  if (!value->is_array ||
      !(IsInteger(value->type) || value->type == GgufValueType::kBool)) {
    return WrongType(key, *value, "an array of integers");
  }
  std::vector<int64_t> result(value->count);
  const uint64_t size = FixedBytes(value->type);
  for (uint64_t i = 0; i < value->count; ++i) {
    if (!LoadInt(value->type, value->elements.data() + i * size, &result[i])) {
      return absl::OutOfRangeError(absl::StrCat(
          path_, ": metadata ", Quoted(key), "[", i, "] is above 2^63 - 1"));
    }
  }
  return result;
}

absl::StatusOr<std::vector<double>> GgufFile::Floats(
    absl::string_view key) const {
  REPRO_ASSIGN_OR_RETURN(const Value* value, Find(key));
  const uint64_t size = FixedBytes(value->type);
  if (!value->is_array || size == 0 || value->type == GgufValueType::kBool) {
    return WrongType(key, *value, "an array of numbers");
  }
  std::vector<double> result(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    LoadDouble(value->type, value->elements.data() + i * size, &result[i]);
  }
  return result;
}

absl::StatusOr<std::vector<absl::string_view>> GgufFile::Strings(
    absl::string_view key) const {
  REPRO_ASSIGN_OR_RETURN(const Value* value, Find(key));
  if (!value->is_array || value->type != GgufValueType::kString) {
    return WrongType(key, *value, "an array of strings");
  }
  std::vector<absl::string_view> result;
  result.reserve(value->count);
  absl::string_view rest = value->elements;
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto size = Load<uint64_t>(rest.data());
    result.push_back(rest.substr(sizeof(size), size));
    rest.remove_prefix(sizeof(size) + size);
  }
  return result;
}

bool GgufFile::HasTensor(absl::string_view name) const {
  return tensor_index_.count(name) > 0;
}

absl::StatusOr<const GgufTensor*> GgufFile::Tensor(
    absl::string_view name) const {
  const auto found = tensor_index_.find(name);
  if (found == tensor_index_.end()) {
    return absl::NotFoundError(
        absl::StrCat(path_, ": has no tensor ", Quoted(name)));
  }
  return &tensors_[found->second];
}

absl::StatusOr<std::shared_ptr<const GgufFile>> OpenGguf(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file,
                         MappedFile::Open(path));
  return ParseGguf(file->bytes(), path, file);
}

absl::StatusOr<std::shared_ptr<const GgufFile>> ParseGguf(
    absl::string_view bytes, const std::string& name,
    std::shared_ptr<const void> owner) {
  return GgufParser(bytes, name).Parse(std::move(owner));
}

}  // namespace repro
