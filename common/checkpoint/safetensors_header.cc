#include "common/checkpoint/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/checkpoint/json.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
// The limit of the reference implementation.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxDims = 64;  // of a Torch tensor
// {"name": {"shape": [1]}}
constexpr int kMaxDepth = 3;

absl::Status Damaged(const std::string& name, absl::string_view what,
                     absl::string_view why) {
  return absl::DataLossError(absl::StrCat(
      name, ": ", what, " ", why, "; the file is damaged: get it again"));
}

// A number that is not negative.
bool GetSize(const json& value, uint64_t* size) {
  if (!value.is_number_unsigned()) return false;
  *size = value.get<uint64_t>();
  return true;
}

absl::Status ParseEntry(const std::string& name, const std::string& tensor,
                        const json& value, uint64_t data_begin,
                        uint64_t data_size, SafetensorsEntry* entry) {
  const std::string what = absl::StrCat("tensor ", Quoted(tensor));
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
      !value.contains("shape") || !value.contains("data_offsets")) {
    return Damaged(name, what,
                   "is not described by dtype, shape and data_offsets");
  }
  const json& dtype = value["dtype"];
  const json& shape = value["shape"];
  const json& offsets = value["data_offsets"];
  if (!dtype.is_string()) return Damaged(name, what, "has no dtype");
  entry->dtype = dtype.get<std::string>();
  const auto element_bytes =
      static_cast<uint64_t>(SafetensorsDtypeBytes(entry->dtype));
  if (element_bytes == 0) {
    return absl::UnimplementedError(absl::StrCat(
        name, ": ", what, " has dtype ", Quoted(entry->dtype),
        ", which is not supported; convert it to F32, F16 or BF16"));
  }
  if (!shape.is_array() || shape.size() > kMaxDims) {
    return Damaged(
        name, what,
        absl::StrCat("has no shape of at most ", kMaxDims, " dimensions"));
  }
  uint64_t bytes = element_bytes;
  uint64_t extent = element_bytes;  // strides, which a size of 0 leaves as 1
  for (const json& dim : shape) {
    uint64_t size = 0;
    constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
    if (!GetSize(dim, &size) || size > kMax / extent) {
      return Damaged(name, what,
                     "has a dimension that is no size or overflows");
    }
    bytes *= size;
    extent *= std::max<uint64_t>(size, 1);
    entry->shape.push_back(static_cast<int64_t>(size));
  }
  uint64_t begin = 0, end = 0;
  if (!offsets.is_array() || offsets.size() != 2 ||
      !GetSize(offsets[0], &begin) || !GetSize(offsets[1], &end) ||
      begin > end || end > data_size) {
    return Damaged(name, what,
                   absl::StrCat("has data_offsets that are no range within ",
                                "the file's ", data_size, " bytes of data"));
  }
  if (end - begin != bytes) {
    return Damaged(name, what,
                   absl::StrCat("has shape and dtype of ", bytes,
                                " bytes but data_offsets of ", end - begin));
  }
  entry->begin = data_begin + begin;
  entry->end = data_begin + end;
  return absl::OkStatus();
}

// Data lies end to end from the header to the file's end.
absl::Status CheckNoHoles(const std::string& name,
                          const SafetensorsHeader& header, uint64_t begin,
                          uint64_t end) {
  std::vector<std::pair<std::pair<uint64_t, uint64_t>, const std::string*>>
      order;
  order.reserve(header.tensors.size());
  for (const auto& [tensor, entry] : header.tensors) {
    order.push_back({{entry.begin, entry.end}, &tensor});
  }
  std::sort(order.begin(), order.end());
  uint64_t at = begin;
  for (const auto& [range, tensor] : order) {
    if (range.first != at) {
      return Damaged(name, absl::StrCat("tensor ", Quoted(*tensor)),
                     range.first < at
                         ? "overlaps the one before it"
                         : "leaves a hole between itself and the one before");
    }
    at = range.second;
  }
  if (at == end) return absl::OkStatus();
  return Damaged(name, "the data",
                 absl::StrCat("ends at byte ", at, " but the file at ", end));
}

}  // namespace

int64_t SafetensorsDtypeBytes(absl::string_view dtype) {
  static const auto* const bytes = new std::map<absl::string_view, int64_t>{
      {"BOOL", 1},    {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"U16", 2},
      {"F8_E5M2", 1}, {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
      {"I32", 4},     {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8},
  };
  const auto found = bytes->find(dtype);
  return found == bytes->end() ? 0 : found->second;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    absl::string_view bytes, const std::string& name) {
  const auto not_safetensors = [&name](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is not a safetensors file: ", why));
  };
  if (bytes.size() < kLengthBytes) {
    return not_safetensors(
        absl::StrCat("has ", bytes.size(), " bytes, less than its length"));
  }
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), sizeof(header_size));
  if (header_size > kMaxHeaderBytes) {
    return not_safetensors(absl::StrCat("its header claims ", header_size,
                                        " bytes, above the format's limit of ",
                                        kMaxHeaderBytes));
  }
  if (header_size > bytes.size() - kLengthBytes) {
    return Damaged(name, "the header",
                   absl::StrCat("of ", header_size,
                                " bytes is cut off at the file's end, byte ",
                                bytes.size()));
  }
  const absl::string_view text = bytes.substr(kLengthBytes, header_size);
  if (text.empty() || text[0] != '{') {
    return not_safetensors("its header does not begin with '{'");
  }
  REPRO_ASSIGN_OR_RETURN(
      const json root,
      ParseJsonObject(text, absl::StrCat(name, ": header"), kMaxDepth));
  const uint64_t data_begin = kLengthBytes + header_size;
  SafetensorsHeader header;
  for (const auto& [key, value] : root.items()) {
    if (key == "__metadata__") {
      for (const auto& [field, content] : value.items()) {
        if (!value.is_object() || !content.is_string()) {
          return Damaged(name, "__metadata__", "is not an object of strings");
        }
        header.metadata[field] = content.get<std::string>();
      }
      continue;
    }
    REPRO_RETURN_IF_ERROR(ParseEntry(name, key, value, data_begin,
                                     bytes.size() - data_begin,
                                     &header.tensors[key]));
  }
  REPRO_RETURN_IF_ERROR(CheckNoHoles(name, header, data_begin, bytes.size()));
  return header;
}

}  // namespace repro
