#include "common/checkpoint/safetensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/checkpoint/json.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro {
namespace {

using nlohmann::json;

constexpr absl::string_view kIndexSuffix = ".index.json";
constexpr char kFileInFolder[] = "model.safetensors";
constexpr int64_t kMaxIndexBytes = 100'000'000;

struct Dtype {
  const char* name;
  at::ScalarType type;
};

constexpr Dtype kDtypes[] = {
    {"BOOL", at::kBool},
    {"U8", at::kByte},
    {"I8", at::kChar},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
    {"U16", at::kUInt16},
    {"I16", at::kShort},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"U32", at::kUInt32},
    {"I32", at::kInt},
    {"F32", at::kFloat},
    {"U64", at::kUInt64},
    {"I64", at::kLong},
    {"F64", at::kDouble},
};

bool IsFile(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

// Tensor to file name, of an index that is well-formed.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(path, kMaxIndexBytes));
  REPRO_ASSIGN_OR_RETURN(const json root, ParseJsonObject(text, path, 8));
  const auto map = root.find("weight_map");
  if (map == root.end() || !map->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has no object 'weight_map'"));
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, value] : map->items()) {
    const std::string file =
        value.is_string() ? value.get<std::string>() : std::string();
    if (file.empty() || file[0] == '.' || absl::StrContains(file, '/') ||
        absl::StrContains(file, '\0')) {
      return absl::DataLossError(absl::StrCat(
          path, ": weight_map gives tensor ", Quoted(tensor), " the file ",
          Quoted(file), ", which is no file name in the index's folder"));
    }
    files[tensor] = file;
  }
  return files;
}

}  // namespace

absl::StatusOr<Safetensors> Safetensors::Open(const std::string& path) {
  Safetensors result;
  result.path_ = path;
  std::string file = path;
  if (IsFolder(path)) {
    file = absl::StrCat(path, "/", kFileInFolder, kIndexSuffix);
    if (!IsFile(file)) file = absl::StrCat(path, "/", kFileInFolder);
  }
  const auto open = [&result](const std::string& name)
      -> absl::StatusOr<
          std::pair<std::shared_ptr<const MappedFile>, SafetensorsHeader>> {
    REPRO_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> mapped,
                           MappedFile::Open(name));
    REPRO_ASSIGN_OR_RETURN(SafetensorsHeader header,
                           ParseSafetensorsHeader(mapped->bytes(), name));
    result.metadata_.insert(header.metadata.begin(), header.metadata.end());
    return std::make_pair(std::move(mapped), std::move(header));
  };
  if (!absl::EndsWith(file, kIndexSuffix)) {
    REPRO_ASSIGN_OR_RETURN(auto opened, open(file));
    for (auto& [name, entry] : opened.second.tensors) {
      result.tensors_[name] = {opened.first, std::move(entry)};
    }
    return result;
  }
  REPRO_ASSIGN_OR_RETURN(const auto files, ReadIndex(file));
  std::map<std::string,
           std::pair<std::shared_ptr<const MappedFile>, SafetensorsHeader>>
      shards;
  for (const auto& [tensor, shard_name] : files) {
    auto shard = shards.find(shard_name);
    if (shard == shards.end()) {
      REPRO_ASSIGN_OR_RETURN(
          auto opened, open(absl::StrCat(FolderOf(file), "/", shard_name)));
      shard = shards.emplace(shard_name, std::move(opened)).first;
    }
    const auto found = shard->second.second.tensors.find(tensor);
    if (found == shard->second.second.tensors.end()) {
      return absl::DataLossError(
          absl::StrCat(file, ": weight_map places tensor ", Quoted(tensor),
                       " in ", shard_name, ", which has no such tensor"));
    }
    result.tensors_[tensor] = {shard->second.first, found->second};
  }
  return result;
}

std::vector<std::string> Safetensors::names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, entry] : tensors_) names.push_back(name);
  return names;
}

bool Safetensors::Has(absl::string_view name) const {
  return tensors_.find(std::string(name)) != tensors_.end();
}

absl::StatusOr<at::Tensor> Safetensors::Tensor(absl::string_view name) const {
  const auto found = tensors_.find(std::string(name));
  if (found == tensors_.end()) {
    return absl::NotFoundError(
        absl::StrCat(path_, ": has no tensor ", Quoted(name)));
  }
  const SafetensorsEntry& entry = found->second.entry;
  const auto* dtype =
      std::find_if(std::begin(kDtypes), std::end(kDtypes),
                   [&entry](const Dtype& d) { return entry.dtype == d.name; });
  // The parser lets no dtype through that is not in the table.
  const at::TensorOptions options = at::TensorOptions().dtype(dtype->type);
  std::shared_ptr<const MappedFile> file = found->second.file;
  char* data = const_cast<char*>(file->bytes().data()) + entry.begin;
  const bool aligned =
      reinterpret_cast<uintptr_t>(data) % SafetensorsDtypeBytes(entry.dtype) ==
      0;
  at::Tensor copy;
  try {
    if (aligned) {
      return at::from_blob(
          data, entry.shape, [file](void*) {}, options);
    }
    copy = at::empty(entry.shape, options);
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path_, ": no memory for tensor ", Quoted(name), ": ",
                     absl::string_view(error.what()).substr(0, 200)));
  }
  std::memcpy(copy.mutable_data_ptr(), data, entry.end - entry.begin);
  return copy;
}

absl::Status SaveSafetensors(
    const std::string& path, const std::map<std::string, at::Tensor>& tensors,
    const std::map<std::string, std::string>& metadata) {
  struct Item {
    const std::string* name;
    at::Tensor tensor;
    const char* dtype;
  };
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) {
    if (!IsUtf8(name) || name == "__metadata__") {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", Quoted(name), " cannot name a tensor"));
    }
    const char* dtype = nullptr;
    for (const Dtype& d : kDtypes) {
      if (tensor.defined() && tensor.scalar_type() == d.type) dtype = d.name;
    }
    if (dtype == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": tensor ", Quoted(name), " is ",
          tensor.defined()
              ? absl::StrCat("of dtype ", c10::toString(tensor.scalar_type()),
                             ", which the format lacks")
              : "undefined"));
    }
    items.push_back({&name, tensor, dtype});
  }
  // Wide numbers first: every tensor is then aligned.
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) {
                     return a.tensor.element_size() > b.tensor.element_size();
                   });
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t end = 0;
  for (const Item& item : items) {
    const uint64_t begin = end;
    end += item.tensor.numel() * item.tensor.element_size();
    header[*item.name] = {{"dtype", item.dtype},
                          {"shape", item.tensor.sizes().vec()},
                          {"data_offsets", {begin, end}}};
  }
  std::string content;
  try {
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const uint64_t size = text.size();
    content.reserve(sizeof(size) + size + end);
    content.append(reinterpret_cast<const char*>(&size), sizeof(size));
    content += text;
    for (const Item& item : items) {
      const at::Tensor plain = item.tensor.detach().to(at::kCPU).contiguous();
      content.append(static_cast<const char*>(plain.const_data_ptr()),
                     plain.nbytes());
    }
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": cannot be put together: ", error.what()));
  }
  return WriteFileAtomically(path, content);
}

}  // namespace repro
