#include "common/data/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace repro {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr absl::string_view kGzipMagic = "\x1f\x8b";

absl::Status TooLarge(const std::string& name, int64_t max_bytes) {
  return absl::ResourceExhaustedError(
      absl::StrCat(name, ": holds more than the ", max_bytes,
                   " bytes allowed; is this the right file?"));
}

absl::Status ReadError(const std::string& path, int error) {
  return absl::Status(absl::ErrnoToStatusCode(error),
                      absl::StrCat("cannot read ", path, ": ", strerror(error),
                                   "; check the path and its permissions"));
}

absl::Status WriteError(const std::string& path, int error) {
  const char* advice = "check the path and the disk";
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      advice = "free some space or choose a folder on another disk";
      break;
    case EROFS:
    case EACCES:
    case EPERM:
      advice = "choose a folder that you may write to";
      break;
    case ENOENT:
    case ENOTDIR:
      advice = "create the folder first";
      break;
    case EISDIR:
      advice = "give the path of a file";
      break;
    case EFBIG:
      advice = "raise the file size limit (ulimit -f)";
      break;
  }
  return absl::Status(
      absl::ErrnoToStatusCode(error),
      absl::StrCat("cannot write ", path, ": ", strerror(error), "; ", advice));
}

// 0 or errno.
int WriteAll(int fd, absl::string_view content) {
  while (!content.empty()) {
    const ssize_t written =
        write(fd, content.data(), std::min(content.size(), kChunkBytes));
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    content.remove_prefix(written);
  }
  return 0;
}

// Creates a file beside `path` that nothing else uses; returns its descriptor,
// or -1 with errno set.
int CreateTemporaryBeside(const std::string& path, std::string* temporary) {
  static std::atomic<int64_t> counter{0};
  for (int attempt = 0; attempt < 1000; ++attempt) {
    *temporary =
        absl::StrCat(path, ".", getpid(), ".", counter.fetch_add(1), ".tmp");
    const int fd =
        open(temporary->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     int64_t max_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ReadError(path, errno);
  absl::Cleanup close_file = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0) return ReadError(path, errno);
  if (S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is a folder; give the path of a file"));
  }
  std::string content;
  if (S_ISREG(info.st_mode)) {
    if (info.st_size > max_bytes) return TooLarge(path, max_bytes);
    content.reserve(info.st_size);
  }
  std::vector<char> chunk(kChunkBytes);
  while (true) {
    const ssize_t count = read(fd, chunk.data(), chunk.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return ReadError(path, errno);
    }
    if (count == 0) break;
    content.append(chunk.data(), count);
    if (static_cast<int64_t>(content.size()) > max_bytes) {
      return TooLarge(path, max_bytes);
    }
  }
  if (absl::string_view(content).substr(0, 2) != kGzipMagic) return content;
  return GunzipBytes(content, path, max_bytes);
}

absl::StatusOr<std::string> GunzipBytes(absl::string_view compressed,
                                        const std::string& name,
                                        int64_t max_bytes) {
  z_stream stream = {};
  constexpr int kGzipOnly = 16;
  if (inflateInit2(&stream, MAX_WBITS + kGzipOnly) != Z_OK) {
    return absl::ResourceExhaustedError(
        absl::StrCat(name, ": no memory to decompress it"));
  }
  absl::Cleanup end_stream = [&stream] { inflateEnd(&stream); };

  std::string content;
  std::vector<char> chunk(kChunkBytes);
  const absl::Status truncated = absl::DataLossError(
      absl::StrCat(name, ": gzip data end too early (", compressed.size(),
                   " bytes); the file is truncated, get it again"));
  while (true) {
    // zlib counts input in 32 bits.
    const size_t offered = std::min<size_t>(compressed.size(), size_t{1} << 30);
    stream.next_in =
        reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
    stream.avail_in = static_cast<uInt>(offered);
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    compressed.remove_prefix(offered - stream.avail_in);
    content.append(chunk.data(), chunk.size() - stream.avail_out);
    if (static_cast<int64_t>(content.size()) > max_bytes) {
      return TooLarge(name, max_bytes);
    }
    if (result == Z_STREAM_END) {
      // Another member may follow; tape-like zero padding may, too.
      if (compressed.find_first_not_of('\0') == absl::string_view::npos) break;
      if (inflateReset(&stream) != Z_OK) {
        return absl::InternalError(absl::StrCat(name, ": inflateReset failed"));
      }
    } else if (result == Z_BUF_ERROR && compressed.empty()) {
      return truncated;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      return absl::DataLossError(
          absl::StrCat(name, ": gzip data are damaged (",
                       stream.msg != nullptr ? stream.msg : zError(result),
                       "); get the file again"));
    }
  }
  return content;
}

absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view content) {
  std::string temporary;
  const int fd = CreateTemporaryBeside(path, &temporary);
  if (fd < 0) return WriteError(path, errno);
  absl::Cleanup remove_temporary = [&temporary] { unlink(temporary.c_str()); };

  int error = WriteAll(fd, content);
  if (error == 0 && fsync(fd) != 0) error = errno;
  if (close(fd) != 0 && error == 0) error = errno;
  if (error != 0) return WriteError(path, error);
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return WriteError(path, errno);
  }
  std::move(remove_temporary).Cancel();

  // The name is durable once the folder is. Some file systems cannot do that,
  // and the file is complete either way, so a failure is not an error.
  const size_t slash = path.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int folder_fd =
      open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd >= 0) {
    fsync(folder_fd);
    close(folder_fd);
  }
  return absl::OkStatus();
}

std::string Quoted(absl::string_view text) {
  constexpr size_t kMaxBytes = 40;
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kMaxBytes)),
                      text.size() > kMaxBytes ? "...'" : "'");
}

LineReader::LineReader(absl::string_view content)
    : rest_(absl::StripPrefix(content, "\xef\xbb\xbf")) {}

bool LineReader::Next(absl::string_view* line) {
  if (rest_.empty()) return false;
  const size_t end = rest_.find('\n');
  *line = absl::StripSuffix(rest_.substr(0, end), "\r");
  rest_.remove_prefix(end == absl::string_view::npos ? rest_.size() : end + 1);
  ++line_number_;
  return true;
}

}  // namespace repro
