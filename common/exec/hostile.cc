#include "common/exec/hostile.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace repro::exec {
namespace {

constexpr char kCanaryText[] = "as it was\n";

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file),
                     std::istreambuf_iterator<char>());
}

// What a program that gets out would reach.
class Traps {
 public:
  Traps() = default;
  Traps(const Traps&) = delete;
  Traps& operator=(const Traps&) = delete;
  ~Traps() {
    for (const int fd : {tcp_, udp_, local_}) {
      if (fd >= 0) close(fd);
    }
    if (!folder_.empty()) {
      unlink(canary().c_str());
      rmdir(folder_.c_str());
    }
  }

  absl::Status Lay(const std::string& id) {
    socket_ = "repro-trap-" + id;
    const char* tmp = getenv("TMPDIR");
    std::string folder =
        absl::StrCat(tmp != nullptr ? tmp : "/tmp", "/repro_trap_XXXXXX");
    if (mkdtemp(folder.data()) == nullptr) {
      return absl::ErrnoToStatus(errno, absl::StrCat("making ", folder));
    }
    folder_ = folder;
    std::ofstream(canary()) << kCanaryText;

    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    constexpr int kFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    tcp_ = socket(AF_INET, SOCK_STREAM | kFlags, 0);
    udp_ = socket(AF_INET, SOCK_DGRAM | kFlags, 0);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (bind(tcp_, any, size) != 0 || listen(tcp_, 16) != 0 ||
        getsockname(tcp_, any, &size) != 0 || bind(udp_, any, size) != 0) {
      return absl::ErrnoToStatus(errno, "listening on 127.0.0.1");
    }
    port_ = ntohs(address.sin_port);
    sockaddr_un local = {};
    local.sun_family = AF_UNIX;
    memcpy(local.sun_path + 1, socket_.data(), socket_.size());
    local_ = ::socket(AF_UNIX, SOCK_STREAM | kFlags, 0);
    if (bind(local_, reinterpret_cast<sockaddr*>(&local),
             offsetof(sockaddr_un, sun_path) + 1 + socket_.size()) != 0 ||
        listen(local_, 16) != 0) {
      return absl::ErrnoToStatus(errno, "listening on an abstract socket");
    }
    return absl::OkStatus();
  }

  std::string canary() const { return folder_ + "/canary"; }
  int port() const { return port_; }
  const std::string& socket_name() const { return socket_; }

  // What was touched since the last call; empty: nothing.
  std::string Touched() const {
    std::string touched;
    if (ReadText(canary()) != kCanaryText) touched += "the canary changed; ";
    for (const int fd : {tcp_, local_}) {
      for (int connection; (connection = accept(fd, nullptr, nullptr)) >= 0;) {
        close(connection);
        touched += "the host's socket was reached; ";
      }
    }
    char byte;
    while (recv(udp_, &byte, 1, 0) >= 0) touched += "a datagram came; ";
    for (const char* path : {"/repro_canary", "/dev/repro_canary",
                             "/usr/lib/python3/repro_canary"}) {
      if (access(path, F_OK) == 0) {
        absl::StrAppend(&touched, path, " was written; ");
      }
    }
    return touched;
  }

 private:
  std::string folder_, socket_;
  int tcp_ = -1, udp_ = -1, local_ = -1;
  int port_ = 0;
};

// Processes that have the sandbox's mark in their environment.
int Survivors(const std::string& id) {
  const std::string mark = "REPRO_SANDBOX=" + id;
  int count = 0;
  DIR* processes = opendir("/proc");
  if (processes == nullptr) return 0;
  while (const dirent* entry = readdir(processes)) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry->d_name, &pid)) continue;
    if (absl::StrContains(
            ReadText(absl::StrCat("/proc/", entry->d_name, "/environ")),
            mark)) {
      ++count;
    }
  }
  closedir(processes);
  return count;
}

std::string Got(const ExecResult& result) {
  std::string got = OutcomeName(result.outcome);
  if (result.outcome == Outcome::kException) {
    absl::StrAppend(&got, " ", result.exception_type);
  }
  return got;
}

}  // namespace

absl::StatusOr<std::vector<HostileResult>> RunHostilePrograms(
    const Sandbox& sandbox,
    const std::function<void(const HostileResult&)>& progress,
    const std::atomic<bool>* cancel) {
  Traps traps;
  if (const absl::Status status = traps.Lay(sandbox.id()); !status.ok()) {
    return status;
  }
  ExecRequest benign;
  benign.program = "print(sum(int(line) for line in open(0)))";
  benign.stdin_text = "40\n2\n";

  std::vector<HostileResult> results;
  for (const HostileProgram& program : HostilePrograms()) {
    if (cancel != nullptr && cancel->load()) break;
    ExecRequest request;
    request.program = absl::StrReplaceAll(
        program.program, {{"{CANARY}", traps.canary()},
                          {"{PORT}", absl::StrCat(traps.port())},
                          {"{SOCKET}", traps.socket_name()},
                          {"{PID}", absl::StrCat(getpid())}});
    if (program.tests != nullptr) {
      request.mode = Mode::kTests;
      request.tests = program.tests;
    }
    if (program.poisoned_file != nullptr) {
      request.files.push_back({program.poisoned_file, "print('ESCAPED')\n"});
    }
    // Time enough for a loaded machine, but for those that use it up.
    const bool short_run = absl::string_view(program.expected) == "time";
    request.limits.wall = absl::Seconds(short_run ? 0.7 : 10);
    request.limits.cpu = absl::Seconds(short_run ? 0.4 : 2);
    request.limits.memory_bytes = int64_t{128} << 20;
    request.limits.processes = 16;
    request.limits.scratch_bytes = int64_t{8} << 20;
    request.limits.output_bytes = int64_t{256} << 10;

    HostileResult result;
    result.program = &program;
    result.result = sandbox.Run(request);
    result.got = Got(result.result);
    for (absl::string_view expected : absl::StrSplit(program.expected, " | ")) {
      if (result.got == expected) result.as_expected = true;
    }
    if (absl::StrContains(result.result.stdout_text, "ESCAPED")) {
      result.leak += "it printed ESCAPED; ";
    }
    result.leak += traps.Touched();
    if (const int survivors = Survivors(sandbox.id()); survivors > 0) {
      absl::StrAppend(&result.leak, survivors, " processes are left; ");
    }
    const ExecResult next = sandbox.Run(benign);
    if (next.outcome != Outcome::kPassed || next.stdout_text != "42\n") {
      absl::StrAppend(&result.leak,
                      "the next task: ", OutcomeName(next.outcome), " ",
                      next.message, "; ");
    }
    if (progress) progress(result);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace repro::exec
