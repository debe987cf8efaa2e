#include "common/train/checkpoint.h"

#include <ATen/core/Dict.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/serialization/pickle.h>
#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace repro {
namespace {

// Over every name, dtype, shape and byte. The archive's own checksums are not
// verified by LibTorch's reader.
int64_t Crc32(const Checkpoint& checkpoint) {
  uLong crc = crc32(0, nullptr, 0);
  const auto add = [&crc](const void* data, size_t size) {
    crc = crc32_z(crc, static_cast<const Bytef*>(data), size);
  };
  for (const auto& [name, tensor] : checkpoint.tensors) {
    const std::string header =
        absl::StrCat(name, "\n", static_cast<int>(tensor.scalar_type()), "\n",
                     tensor.dim(), "\n");
    add(header.data(), header.size());
    add(tensor.sizes().data(), tensor.dim() * sizeof(int64_t));
    add(tensor.const_data_ptr(), tensor.nbytes());
  }
  for (const auto& [name, text] : checkpoint.texts) {
    const std::string entry = absl::StrCat(name, "\n", text.size(), "\n", text);
    add(entry.data(), entry.size());
  }
  return static_cast<int64_t>(crc);
}

absl::Status Damaged(const std::string& path, absl::string_view why) {
  return absl::DataLossError(absl::StrCat(
      "checkpoint ", path, " is damaged (", why,
      "): delete it to train from the start, or restore it from a copy"));
}

}  // namespace

absl::Status WriteCheckpoint(const std::string& path,
                             const Checkpoint& checkpoint) {
  const std::string temporary = path + ".tmp";
  std::vector<char> bytes;
  try {
    Checkpoint plain;
    plain.texts = checkpoint.texts;
    c10::Dict<std::string, at::Tensor> tensors;
    c10::Dict<std::string, std::string> texts;
    for (const auto& [name, tensor] : checkpoint.tensors) {
      const at::Tensor copy = tensor.detach().to(at::kCPU).contiguous();
      plain.tensors[name] = copy;
      tensors.insert(name, copy);
    }
    for (const auto& [name, text] : checkpoint.texts) texts.insert(name, text);
    c10::impl::GenericDict root(c10::StringType::get(), c10::AnyType::get());
    root.insert("tensors", tensors);
    root.insert("texts", texts);
    root.insert("crc32", Crc32(plain));
    bytes = torch::jit::pickle_save(root);
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrCat("checkpoint ", path, ": ", error.what()));
  }
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), bytes.size());
  out.close();
  if (!out || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    std::remove(temporary.c_str());
    return absl::UnavailableError(
        absl::StrCat("cannot write checkpoint ", path, ": ", why,
                     "; give a folder that exists, is writable and has ",
                     bytes.size(), " bytes free"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return absl::NotFoundError(absl::StrCat("cannot read checkpoint ", path,
                                            ": ", std::strerror(errno)));
  }
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in),
                                std::istreambuf_iterator<char>()};
  Checkpoint checkpoint;
  int64_t expected = 0;
  try {
    const c10::impl::GenericDict root =
        torch::jit::pickle_load(bytes).toGenericDict();
    for (const auto& entry : root.at("tensors").toGenericDict()) {
      checkpoint.tensors[entry.key().toStringRef()] =
          entry.value().toTensor().contiguous();
    }
    for (const auto& entry : root.at("texts").toGenericDict()) {
      checkpoint.texts[entry.key().toStringRef()] = entry.value().toStringRef();
    }
    expected = root.at("crc32").toInt();
  } catch (const c10::Error& error) {
    return Damaged(path, error.what_without_backtrace());
  } catch (const std::exception& error) {
    return Damaged(path, error.what());
  }
  if (Crc32(checkpoint) != expected) return Damaged(path, "checksum differs");
  return checkpoint;
}

}  // namespace repro
