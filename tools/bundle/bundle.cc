#include "tools/bundle/bundle.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status/macros.h"
#include "tools/bundle/run_script.h"

namespace repro {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEndings[] = {".tar.gz", ".tar.zst", ".tgz", ".tar"};

// What the other machine has: by the start of the name.
constexpr const char* kSystemLibraries[] = {
    "ld-linux", "libc.so",       "libc10",     "libcudart",
    "libcupti", "libdl.so",      "libgcc_s",   "libgomp",
    "libm.so",  "libpthread.so", "libresolv.", "libstdc++.so",
    "librt.so", "libtorch",      "libutil.so", "linux-vdso"};

// `path` without its ending, empty for an unknown one.
std::string WithoutEnding(const std::string& path) {
  for (const char* ending : kEndings) {
    absl::string_view stem = path;
    if (absl::ConsumeSuffix(&stem, ending)) return std::string(stem);
  }
  return "";
}

std::string ShellQuoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// What a shell command prints; `exit_status` as of waitpid.
std::string OutputOf(const std::string& command, int* exit_status) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) {
    *exit_status = -1;
    return "";
  }
  std::array<char, 4096> buffer;
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), n);
  }
  *exit_status = pclose(pipe);
  return output;
}

absl::Status CannotRead(const std::string& path) {
  return absl::NotFoundError(
      absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
}

// Copies a file's bytes to `use(data, size)`, which says whether to go on.
template <typename Use>
absl::Status ReadPieces(const std::string& path, const Use& use) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return CannotRead(path);
  std::vector<char> buffer(1 << 20);
  while (in.read(buffer.data(), buffer.size()), in.gcount() > 0) {
    if (!use(buffer.data(), static_cast<size_t>(in.gcount()))) break;
  }
  return in.bad() ? CannotRead(path) : absl::OkStatus();
}

class TarWriter {
 public:
  // `name` decides the compression.
  TarWriter(const std::string& name, const std::string& path) : path_(path) {
    archive_write_set_format_ustar(tar_);
    if (absl::EndsWith(name, "gz")) {
      archive_write_add_filter_gzip(tar_);
      // The time would differ from run to run.
      archive_write_set_filter_option(tar_, "gzip", "timestamp", nullptr);
    } else if (absl::EndsWith(name, ".zst")) {
      archive_write_add_filter_zstd(tar_);
    }
    ok_ = archive_write_open_filename(tar_, path.c_str()) == ARCHIVE_OK;
  }
  ~TarWriter() { archive_write_free(tar_); }

  absl::Status Add(const BundleFile& file, const std::string& folder) {
    int64_t size = file.content.size();
    if (!file.source.empty()) {
      std::error_code error;
      size = fs::file_size(file.source, error);
      if (error) {
        return absl::NotFoundError(
            absl::StrCat("cannot read ", file.source, ": ", error.message()));
      }
    }
    archive_entry* entry = archive_entry_new();
    const absl::Cleanup free_entry = [entry] { archive_entry_free(entry); };
    archive_entry_set_pathname(entry,
                               absl::StrCat(folder, "/", file.path).c_str());
    archive_entry_set_size(entry, size);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, file.executable ? 0755 : 0644);
    archive_entry_set_mtime(entry, 0, 0);
    ok_ = ok_ && archive_write_header(tar_, entry) == ARCHIVE_OK;
    if (file.source.empty()) {
      Write(file.content.data(), file.content.size());
    } else {
      REPRO_RETURN_IF_ERROR(
          ReadPieces(file.source, [&](const char* data, size_t n) {
            Write(data, n);
            return ok_;
          }));
    }
    return State();
  }

  absl::Status Close() {
    ok_ = ok_ && archive_write_close(tar_) == ARCHIVE_OK;
    return State();
  }

 private:
  void Write(const char* data, size_t size) {
    ok_ = ok_ &&
          archive_write_data(tar_, data, size) == static_cast<la_ssize_t>(size);
  }
  absl::Status State() const {
    if (ok_) return absl::OkStatus();
    const char* error = archive_error_string(tar_);
    return absl::UnavailableError(
        absl::StrCat("cannot write ", path_, ": ",
                     error == nullptr ? "unknown error" : error,
                     ": choose a folder that is there, may be written and has "
                     "space"));
  }

  const std::string path_;
  archive* const tar_ = archive_write_new();
  bool ok_ = true;
};

}  // namespace

absl::Status CheckBundleName(const std::string& path) {
  if (!fs::path(WithoutEnding(path)).filename().empty()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", path,
                   "\": a bundle is called NAME.tar.gz, NAME.tgz, "
                   "NAME.tar.zst or NAME.tar"));
}

absl::Status WriteBundle(std::vector<BundleFile> files,
                         const std::string& path) {
  REPRO_RETURN_IF_ERROR(CheckBundleName(path));
  std::sort(
      files.begin(), files.end(),
      [](const BundleFile& a, const BundleFile& b) { return a.path < b.path; });
  const std::string folder = fs::path(WithoutEnding(path)).filename();
  const std::string temporary = absl::StrCat(path, ".tmp", getpid());
  absl::Cleanup remove_temporary = [&] { unlink(temporary.c_str()); };
  {
    TarWriter tar(path, temporary);
    for (const BundleFile& file : files) {
      REPRO_RETURN_IF_ERROR(tar.Add(file, folder));
    }
    REPRO_RETURN_IF_ERROR(tar.Close());
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
  }
  std::move(remove_temporary).Cancel();
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> SharedLibraries(
    const std::string& file) {
  int exit_status = 0;
  const std::string output =
      OutputOf(absl::StrCat("ldd ", ShellQuoted(file), " 2>&1"), &exit_status);
  if (exit_status != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("ldd ", file, ": ", absl::StripAsciiWhitespace(output)));
  }
  std::map<std::string, std::string> libraries;
  for (absl::string_view line : absl::StrSplit(output, '\n')) {
    // "\tlibz.so.1 => /lib/libz.so.1 (0x...)"
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (words.size() < 3 || words[1] != "=>") continue;
    const std::string name(words[0]);
    const bool of_system = std::any_of(
        std::begin(kSystemLibraries), std::end(kSystemLibraries),
        [&](const char* start) { return absl::StartsWith(name, start); });
    if (of_system) continue;
    if (!absl::StartsWith(words[2], "/")) {
      return absl::NotFoundError(
          absl::StrCat(file, " needs ", name, ", which is not found"));
    }
    libraries[name] = std::string(words[2]);
  }
  return libraries;
}

absl::StatusOr<std::string> StrippedContent(const std::string& file) {
  std::string path =
      (fs::temp_directory_path() / "repro_strip_XXXXXX").string();
  const int descriptor = mkstemp(path.data());
  if (descriptor < 0) return CannotRead(path);
  close(descriptor);
  const absl::Cleanup remove = [&] { unlink(path.c_str()); };
  int exit_status = 0;
  OutputOf(absl::StrCat("strip --strip-unneeded -o ", ShellQuoted(path), " ",
                        ShellQuoted(file), " 2>&1"),
           &exit_status);
  std::string content;
  REPRO_RETURN_IF_ERROR(ReadPieces(exit_status == 0 ? path : file,
                                   [&](const char* data, size_t size) {
                                     content.append(data, size);
                                     return true;
                                   }));
  return content;
}

std::string RunScript(const std::string& torch_version) {
  return absl::StrReplaceAll(kRunScript, {{"@TORCH_VERSION@", torch_version}});
}

}  // namespace repro
