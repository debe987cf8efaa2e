#include "common/exec/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/exec/harness_source.h"
#include "common/exec/process_tree.h"
#include "common/exec/seccomp_filter.h"
#include "common/status/machine_lacks.h"
#include "common/status/macros.h"
#include "common/threads/parallel_for.h"

namespace repro::exec {
namespace {

constexpr char kScratch[] = "/tmp";
// In the sandbox's process; the harness knows the first two.
constexpr int kJobFd = 3;
constexpr int kReportFd = 4;
constexpr int kSeccompFd = 5;
// Root outside is exempt from RLIMIT_NPROC, whatever it is inside: this user,
// which Debian leaves unassigned, takes its place.
constexpr unsigned int kUnprivilegedId = 65533;
// Uid and gid inside.
constexpr char kInnerId[] = "65534";

// Status of a child that cannot become that user.
constexpr int kNotDropped = 124;

constexpr absl::Duration kPollInterval = absl::Milliseconds(10);
// For bubblewrap and the interpreter to start on a loaded machine.
constexpr absl::Duration kStartLimit = absl::Seconds(60);

// Closes its descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { Close(); }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// The same file, closed on exec and out of the way of the numbers that the
// sandbox's process uses.
absl::StatusOr<Fd> OutOfTheWay(Fd fd) {
  if (fd.get() < 0) return absl::ErrnoToStatus(errno, "a descriptor");
  Fd moved(fcntl(fd.get(), F_DUPFD_CLOEXEC, kSeccompFd + 1));
  if (moved.get() < 0) return absl::ErrnoToStatus(errno, "fcntl");
  return moved;
}

// A file in memory that nobody can change.
absl::StatusOr<Fd> SealedFile(const std::string& contents) {
  REPRO_ASSIGN_OR_RETURN(
      Fd file, OutOfTheWay(Fd(memfd_create("repro_sandbox",
                                           MFD_CLOEXEC | MFD_ALLOW_SEALING))));
  for (size_t done = 0; done < contents.size();) {
    const ssize_t size =
        write(file.get(), contents.data() + done, contents.size() - done);
    if (size < 0) return absl::ErrnoToStatus(errno, "write to memory");
    done += size;
  }
  if (lseek(file.get(), 0, SEEK_SET) != 0 ||
      fcntl(file.get(), F_ADD_SEALS,
            F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    return absl::ErrnoToStatus(errno, "sealing a file in memory");
  }
  return file;
}

struct Pipe {
  Fd reader;  // does not block
  Fd writer;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  Fd reader(ends[0]), writer(ends[1]);
  Pipe pipe;
  REPRO_ASSIGN_OR_RETURN(pipe.reader, OutOfTheWay(std::move(reader)));
  REPRO_ASSIGN_OR_RETURN(pipe.writer, OutOfTheWay(std::move(writer)));
  fcntl(pipe.reader.get(), F_SETFL, O_NONBLOCK);
  return pipe;
}

// What the sandbox's process gets: descriptors 0 to 5 in this order.
struct Descriptors {
  int stdin_fd, stdout_fd, stderr_fd, job, report, seccomp;
};

// Starts bubblewrap. The child shares this process's memory until it execs, so
// it only makes system calls, directly: glibc's setuid would tell the parent's
// threads, too.
__attribute__((noinline)) pid_t Spawn(char* const* argv, char* const* envp,
                                      const Descriptors& descriptors,
                                      bool drop_root) {
  sigset_t all, previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  const pid_t pid = vfork();
  if (pid == 0) {
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; ++number) {
      sigaction(number, &action, nullptr);
    }
    sigset_t none;
    sigemptyset(&none);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, NSIG / 8);
    setsid();
    const int sources[] = {descriptors.stdin_fd,  descriptors.stdout_fd,
                           descriptors.stderr_fd, descriptors.job,
                           descriptors.report,    descriptors.seccomp};
    unsigned int first_unused = 0;
    for (const int source : sources) {
      if (source < 0) continue;
      if (dup2(source, first_unused) < 0) _exit(125);
      ++first_unused;
    }
    if (syscall(SYS_close_range, first_unused, ~0u, 0) != 0) _exit(125);
    if (drop_root && (syscall(SYS_setgroups, 0, nullptr) != 0 ||
                      syscall(SYS_setresgid, kUnprivilegedId, kUnprivilegedId,
                              kUnprivilegedId) != 0 ||
                      syscall(SYS_setresuid, kUnprivilegedId, kUnprivilegedId,
                              kUnprivilegedId) != 0)) {
      _exit(kNotDropped);
    }
    execve(argv[0], argv, envp);
    _exit(126);
  }
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  return pid;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) {
    pointers.push_back(const_cast<char*>(text.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

absl::Status CheckPath(absl::string_view path) {
  bool good = !path.empty() && path[0] != '/';
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part == ".." || part.empty()) good = false;
  }
  for (const char letter : path) {
    if (static_cast<unsigned char>(letter) < ' ') good = false;
  }
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "file \"", absl::CHexEscape(path),
      "\": a path inside the scratch folder is expected, relative, without "
      "\"..\""));
}

absl::Status CheckRequest(const ExecRequest& request) {
  const Limits& limits = request.limits;
  const std::pair<const char*, int64_t> numbers[] = {
      {"memory_bytes", limits.memory_bytes},
      {"processes", limits.processes},
      {"open_files", limits.open_files},
      {"scratch_bytes", limits.scratch_bytes},
      {"output_bytes", limits.output_bytes},
      {"wall (ns)", absl::ToInt64Nanoseconds(limits.wall)},
      {"cpu (ns)", absl::ToInt64Nanoseconds(limits.cpu)}};
  for (const auto& [name, value] : numbers) {
    if (value > 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("limits: ", name, " is ", value, ": it must be above 0"));
  }
  if (request.mode == Mode::kTests && !request.language.command.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "language ", request.language.name,
        ": tests in the program's globals are run for Python only"));
  }
  REPRO_RETURN_IF_ERROR(CheckPath(request.language.file_name));
  for (const File& file : request.files) {
    REPRO_RETURN_IF_ERROR(CheckPath(file.path));
  }
  return absl::OkStatus();
}

// The form that harness.py reads: "NAME SIZE\n" and SIZE bytes, repeated.
std::string Job(const ExecRequest& request) {
  std::string job;
  const auto add = [&](absl::string_view name, absl::string_view data) {
    absl::StrAppend(&job, name, " ", data.size(), "\n", data);
  };
  const Limits& limits = request.limits;
  const auto add_limit = [&](const char* name, int64_t value) {
    add(absl::StrCat("limit ", name), absl::StrCat(value));
  };
  add_limit("AS", limits.memory_bytes);
  add_limit("CPU", absl::ToInt64Seconds(absl::Ceil(limits.cpu,  //
                                                   absl::Seconds(1))));
  add_limit("NPROC", int64_t{limits.processes} + 1);  // and the harness
  add_limit("NOFILE", limits.open_files);
  add_limit("FSIZE", limits.scratch_bytes);
  add_limit("STACK", std::min<int64_t>(int64_t{8} << 20, limits.memory_bytes));
  add_limit("CORE", 0);
  add_limit("MEMLOCK", 0);
  add_limit("MSGQUEUE", 0);
  for (const File& file : request.files) {
    add(absl::StrCat("file ", file.path), file.contents);
  }
  add(absl::StrCat("program ", request.language.file_name), request.program);
  if (request.mode == Mode::kTests) add("tests", request.tests);
  for (const std::string& part : request.language.command) add("command", part);
  for (const std::string& path : request.language.import_paths) {
    add("import", path);
  }
  return job;
}

// Why this process killed the sandbox.
enum class KillReason {
  kNone,
  kWall,
  kCpu,
  kMemory,
  kProcesses,
  kOutput,
  kCancelled,
  kStart
};

// What the harness says at the end.
struct Report {
  bool started = false;
  bool ended = false;
  int exit_code = 0;
  int signal = 0;
  absl::Duration wall, cpu;
  int64_t max_rss_bytes = 0;
  // Of the program's own process; empty if it told nothing.
  std::string stage, exception_type, message;
};

Report ParseReport(absl::string_view text) {
  Report report;
  report.started = absl::ConsumePrefix(&text, "started\n");
  if (!absl::ConsumePrefix(&text, "ended ") ||
      !absl::ConsumeSuffix(&text, "\n"))
    return report;
  const std::vector<absl::string_view> fields = absl::StrSplit(text, ' ');
  int64_t wall = 0, cpu = 0, max_rss = 0;
  if (fields.size() != 6 || !absl::SimpleAtoi(fields[0], &report.exit_code) ||
      !absl::SimpleAtoi(fields[1], &report.signal) ||
      !absl::SimpleAtoi(fields[2], &wall) ||
      !absl::SimpleAtoi(fields[3], &cpu) ||
      !absl::SimpleAtoi(fields[4], &max_rss)) {
    return report;
  }
  report.ended = true;
  report.wall = absl::Microseconds(wall);
  report.cpu = absl::Microseconds(cpu);
  report.max_rss_bytes = 1024 * max_rss;
  const std::string told = absl::HexStringToBytes(fields[5]);
  const std::vector<std::string> parts =
      absl::StrSplit(told, absl::MaxSplits('\0', 2));
  if (parts.size() == 3) {
    report.stage = parts[0];
    report.exception_type = parts[1];
    report.message = parts[2];
  }
  return report;
}

// Judges an end that this process did not bring about.
void Judge(const Report& report, const ExecRequest& request,
           ExecResult* result) {
  result->exit_code = report.exit_code;
  result->signal = report.signal;
  result->exception_type = report.exception_type;
  result->message = report.message;
  if (report.signal == SIGXCPU ||
      (report.signal == SIGKILL && report.cpu >= request.limits.cpu)) {
    result->outcome = Outcome::kTime;
    result->message = "CPU time limit";
  } else if (report.signal != 0) {
    result->outcome = Outcome::kKilled;
    result->message = absl::StrCat("signal ", report.signal, " (",
                                   strsignal(report.signal), ")");
  } else if (report.exception_type == "MemoryError" && report.exit_code != 0) {
    result->outcome = Outcome::kMemory;
  } else if (request.mode == Mode::kTests) {
    if (report.stage == "finished" && report.exit_code == 0) {
      result->outcome = Outcome::kPassed;
    } else if (report.stage == "tests" &&
               report.exception_type == "AssertionError") {
      result->outcome = Outcome::kWrong;
    } else if (!report.exception_type.empty() &&
               report.exception_type != "SystemExit") {
      result->outcome = Outcome::kException;
    } else {
      result->outcome = Outcome::kWrong;
      result->exception_type.clear();
      result->message = "the program ended before its tests did";
    }
  } else if (report.exit_code == 0) {
    result->outcome = Outcome::kPassed;
  } else if (!report.exception_type.empty()) {
    result->outcome = Outcome::kException;
  } else {
    result->outcome = Outcome::kWrong;
  }
  if (result->outcome == Outcome::kPassed) {
    // A script may end well after an exception: its status counts.
    result->exception_type.clear();
    result->message.clear();
  }
}

void JudgeKill(KillReason reason, const Limits& limits, ExecResult* result) {
  result->signal = SIGKILL;
  switch (reason) {
    case KillReason::kWall:
      result->outcome = Outcome::kTime;
      result->message = "wall time limit";
      break;
    case KillReason::kCpu:
      result->outcome = Outcome::kTime;
      result->message = "CPU time limit";
      break;
    case KillReason::kMemory:
      result->outcome = Outcome::kMemory;
      result->message = absl::StrCat("its processes together took more than ",
                                     limits.memory_bytes, " bytes");
      break;
    case KillReason::kProcesses:
      result->outcome = Outcome::kKilled;
      result->message =
          absl::StrCat("more than ", limits.processes, " processes");
      break;
    case KillReason::kOutput:
      result->outcome = Outcome::kOutputLimit;
      result->message =
          absl::StrCat("a stream above ", limits.output_bytes, " bytes");
      break;
    case KillReason::kCancelled:
      result->outcome = Outcome::kCancelled;
      result->message = "cancelled";
      break;
    case KillReason::kStart:
    case KillReason::kNone:
      result->outcome = Outcome::kSandboxError;
      result->message = "the sandbox did not start in time";
      break;
  }
}

// A running sandbox, watched until it is gone.
class Watch {
 public:
  // Any of `stops` that is not null and turns true ends it.
  Watch(pid_t bwrap, const Limits& limits,
        const std::array<const std::atomic<bool>*, 2>& stops)
      : bwrap_(bwrap),
        pidfd_(syscall(SYS_pidfd_open, bwrap, 0)),
        limits_(limits),
        stops_(stops) {}

  // Reads the three pipes and enforces the limits until bubblewrap has ended.
  // bubblewrap ends after pid 1 of the namespace, and that one after all
  // others.
  void Loop(Fd out, Fd err, Fd report) {
    Stream streams[] = {{std::move(out), limits_.output_bytes},
                        {std::move(err), limits_.output_bytes},
                        {std::move(report), 1 << 16}};
    begin_ = absl::Now();
    absl::Time next_check = begin_ + kPollInterval;
    bool ended = false;
    while (!ended) {
      std::vector<pollfd> polled = {{pidfd_.get(), POLLIN, 0}};
      for (const Stream& stream : streams) {
        if (!stream.closed) polled.push_back({stream.fd.get(), POLLIN, 0});
      }
      poll(polled.data(), polled.size(),
           absl::ToInt64Milliseconds(kPollInterval));
      // Asked before reading: what was written before the end is then read.
      ended = waitpid(bwrap_, &status_, WNOHANG) != 0;
      for (Stream& stream : streams) stream.Read();
      if (streams[0].overflow || streams[1].overflow) {
        Kill(KillReason::kOutput);
      }
      if (!started_ && !streams[2].text.empty()) {
        started_ = true;
        begin_ = absl::Now();
      }
      const absl::Time now = absl::Now();
      if (!ended && now >= next_check) {
        Check(now);
        next_check = absl::Now() + kPollInterval;
      }
    }
    wall_ = absl::Now() - begin_;
    stdout_text = std::move(streams[0].text);
    stderr_text = std::move(streams[1].text);
    report_text = std::move(streams[2].text);
  }

  std::string stdout_text, stderr_text, report_text;
  KillReason reason() const { return reason_; }
  absl::Duration wall() const { return wall_; }
  absl::Duration cpu() const { return cpu_; }
  int64_t peak_memory_bytes() const { return peak_memory_bytes_; }
  // As waitpid gives it.
  int status() const { return status_; }

 private:
  struct Stream {
    Fd fd;
    int64_t limit;
    std::string text;
    bool closed = false;
    bool overflow = false;

    // All that is there, up to a bound that lets the other work be done.
    void Read() {
      char buffer[1 << 16];
      for (int i = 0; i < 64 && !closed; ++i) {
        const ssize_t size = read(fd.get(), buffer, sizeof(buffer));
        if (size == 0) closed = true;
        if (size <= 0) return;
        const int64_t room = limit - static_cast<int64_t>(text.size());
        if (size > room) overflow = true;
        text.append(buffer, std::min<int64_t>(size, room));
      }
    }
  };

  void Check(absl::Time now) {
    if (reason_ != KillReason::kNone) {
      Kill(reason_);
      return;
    }
    for (const std::atomic<bool>* stop : stops_) {
      if (stop != nullptr && stop->load()) return Kill(KillReason::kCancelled);
    }
    if (!started_) {
      if (now - begin_ > kStartLimit) Kill(KillReason::kStart);
      return;
    }
    if (now - begin_ > limits_.wall) Kill(KillReason::kWall);
    const std::vector<pid_t> first = Children(bwrap_);
    if (first.empty()) return;
    const TreeUsage usage = DescendantsUsage(first[0], limits_.processes);
    peak_memory_bytes_ = std::max(peak_memory_bytes_, usage.memory_bytes);
    cpu_ = std::max(cpu_, usage.cpu);
    if (usage.memory_bytes > limits_.memory_bytes) Kill(KillReason::kMemory);
    if (usage.tasks > limits_.processes) Kill(KillReason::kProcesses);
    if (usage.cpu > limits_.cpu) Kill(KillReason::kCpu);
  }

  // Kills pid 1 of the namespace, and with it all its processes; bubblewrap
  // itself, which then takes it along, if it has not come so far or lasts.
  void Kill(KillReason reason) {
    if (reason_ == KillReason::kNone) {
      reason_ = reason;
      killed_ = absl::Now();
    }
    const std::vector<pid_t> first = Children(bwrap_);
    for (const pid_t pid : first) kill(pid, SIGKILL);
    if (first.empty() || absl::Now() - killed_ > absl::Seconds(1)) {
      kill(bwrap_, SIGKILL);
    }
  }

  const pid_t bwrap_;
  const Fd pidfd_;
  const Limits& limits_;
  const std::array<const std::atomic<bool>*, 2> stops_;
  absl::Time begin_, killed_;
  int status_ = 0;
  bool started_ = false;
  KillReason reason_ = KillReason::kNone;
  absl::Duration wall_, cpu_;
  int64_t peak_memory_bytes_ = 0;
};

// Whether this process can become the unprivileged user: real root with that
// user mapped, not root of a namespace of its own.
bool CanDropRoot() {
  if (geteuid() != 0) return false;
  const int file = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char buffer[4096];
  const ssize_t size = read(file, buffer, sizeof(buffer));
  close(file);
  for (absl::string_view line : absl::StrSplit(
           absl::string_view(buffer, std::max<ssize_t>(size, 0)), '\n')) {
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t first = 0, count = 0;
    if (fields.size() == 3 && absl::SimpleAtoi(fields[0], &first) &&
        absl::SimpleAtoi(fields[2], &count) && first <= kUnprivilegedId &&
        kUnprivilegedId < first + count) {
      return true;
    }
  }
  return false;
}

// "/bin" and so on: links into /usr on a merged system, folders on others.
void AddSystemFolder(const std::string& path, std::vector<std::string>* args) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return;
  if (S_ISLNK(info.st_mode)) {
    char target[4096];
    const ssize_t size = readlink(path.c_str(), target, sizeof(target));
    if (size <= 0) return;
    args->insert(args->end(), {"--symlink", std::string(target, size), path});
  } else {
    args->insert(args->end(), {"--ro-bind", path, path});
  }
}

}  // namespace

Language Language::Python() {
  Language language;
  language.name = "python";
  language.file_name = "main.py";
  return language;
}

const char* OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kPassed:
      return "passed";
    case Outcome::kWrong:
      return "wrong";
    case Outcome::kException:
      return "exception";
    case Outcome::kTime:
      return "time";
    case Outcome::kMemory:
      return "memory";
    case Outcome::kOutputLimit:
      return "output limit";
    case Outcome::kKilled:
      return "killed";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kSandboxError:
      return "sandbox error";
  }
  return "unknown";
}

absl::Status RunStatus(const ExecResult& result) {
  if (result.outcome == Outcome::kCancelled) {
    return absl::CancelledError("stopped");
  }
  if (result.outcome == Outcome::kSandboxError) {
    return absl::InternalError(
        absl::StrCat("the sandbox ran no program: ", result.message));
  }
  return absl::OkStatus();
}

std::vector<bool> Passed(const std::vector<ExecResult>& results) {
  std::vector<bool> passed;
  for (const ExecResult& result : results) {
    passed.push_back(result.outcome == Outcome::kPassed);
  }
  return passed;
}

absl::StatusOr<Sandbox> Sandbox::Create(const Options& options) {
  Sandbox sandbox;
  sandbox.options_ = options;
  if (access(options.bwrap.c_str(), X_OK) != 0) {
    return MachineLacksError(
        absl::StrCat(options.bwrap,
                     " cannot be run: untrusted programs run in bubblewrap "
                     "only: apt-get install bubblewrap"));
  }
  if (!absl::StartsWith(options.python, "/usr/") ||
      access(options.python.c_str(), X_OK) != 0) {
    return MachineLacksError(
        absl::StrCat(options.python,
                     " is not a program under /usr, which is what the sandbox "
                     "sees: apt-get install python3"));
  }
  std::random_device random;
  sandbox.id_ = absl::StrFormat("%08x%08x", random(), random());
  REPRO_ASSIGN_OR_RETURN(sandbox.filter_, SeccompFilter());

  std::vector<std::string>& root = sandbox.root_arguments_;
  root = {"--ro-bind", "/usr", "/usr"};
  for (const char* folder : {"/bin", "/lib", "/lib32", "/lib64"}) {
    AddSystemFolder(folder, &root);
  }
  // The dynamic linker's cache, and Debian's alternatives of BLAS and others.
  for (const char* path : {"/etc/ld.so.cache", "/etc/alternatives"}) {
    if (Exists(path)) root.insert(root.end(), {"--ro-bind", path, path});
  }
  for (const char* device : {"null", "zero", "full", "random", "urandom"}) {
    const std::string path = absl::StrCat("/dev/", device);
    root.insert(root.end(), {"--dev-bind", path, path});
  }

  // Root of a container may not be allowed to become another user.
  std::vector<bool> choices;
  if (CanDropRoot()) choices.push_back(true);
  choices.push_back(false);
  absl::Status status;
  for (const bool drop_root : choices) {
    sandbox.drop_root_ = drop_root;
    status = sandbox.SelfTest();
    if (status.ok()) return sandbox;
  }
  return status;
}

absl::Status Sandbox::SelfTest() {
  const auto refuse = [](absl::string_view what, const ExecResult& result) {
    const std::string details =
        absl::StrReplaceAll(absl::StripAsciiWhitespace(absl::StrCat(
                                result.message, " ", result.stderr_text)),
                            {{"\n", " "}});
    return MachineLacksError(absl::StrCat(
        "no sandbox can be made here, and untrusted programs don't run without "
        "one: ",
        what, ": ", OutcomeName(result.outcome), ": ", details,
        ": bubblewrap needs user namespaces: see sysctl "
        "user.max_user_namespaces, kernel.unprivileged_userns_clone (Debian: "
        "1), kernel.apparmor_restrict_unprivileged_userns (Ubuntu 24.04: 0), "
        "or use a container that permits them"));
  };
  // What must not be seen: an abstract socket of the host's network namespace,
  // and a file.
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  absl::Cleanup close_listener = [&] { close(listener); };
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = "repro-" + id_;
  memcpy(address.sun_path + 1, name.data(), name.size());
  if (listener < 0 ||
      bind(listener, reinterpret_cast<sockaddr*>(&address),
           offsetof(sockaddr_un, sun_path) + 1 + name.size()) != 0 ||
      listen(listener, 4) != 0) {
    return absl::ErrnoToStatus(errno, "the self-test's socket");
  }
  const char* tmp = getenv("TMPDIR");
  std::string canary =
      absl::StrCat(tmp != nullptr ? tmp : "/tmp", "/repro_canary_XXXXXX");
  const Fd canary_file(mkstemp(canary.data()));
  if (canary_file.get() < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("making ", canary));
  }
  absl::Cleanup remove_canary = [&] { unlink(canary.c_str()); };

  // The namespaces alone must do, without seccomp.
  ExecRequest request;
  request.limits.wall = absl::Seconds(20);
  request.program = absl::StrCat(
      "import os, socket\n"
      "def can(act):\n"
      "  try:\n"
      "    act()\n"
      "    return True\n"
      "  except OSError:\n"
      "    return False\n"
      "print(can(lambda: socket.socket(socket.AF_UNIX).connect('\\0",
      name, "')), os.path.exists('", canary,
      "'), [os.statvfs(path).f_flag & os.ST_RDONLY for path in "
      "('/', '/usr', '/dev', '/tmp')], os.getpid(), os.getppid(), "
      "os.getuid(), os.path.exists('/proc/self'), os.path.exists('/root'), "
      "os.path.exists('/home'), os.path.exists('/etc/passwd'), "
      "[name for _, name in socket.if_nameindex()])\n");
  ExecResult result = RunUnchecked(request, /*use_seccomp=*/false);
  if (result.outcome != Outcome::kPassed) {
    return refuse("a first program does not run", result);
  }
  const std::string expected =
      absl::StrCat("False False [1, 1, 1, 0] 2 1 ", kInnerId,
                   " False False False False ['lo']\n");
  if (result.stdout_text != expected) {
    result.message =
        absl::StrCat("expected ", expected, "got ", result.stdout_text);
    return refuse("programs are not isolated", result);
  }

  request.program =
      "import ctypes\n"
      "libc = ctypes.CDLL(None, use_errno=True)\n"
      "print(libc.prctl(21), libc.prctl(39, 0, 0, 0, 0),"  // seccomp,
                                                           // no_new_privs
      " libc.socket(1, 1, 0), libc.unshare(0x10000000))\n";
  result = RunUnchecked(request, /*use_seccomp=*/true);
  if (result.outcome != Outcome::kPassed ||
      result.stdout_text != "2 1 -1 -1\n") {
    return refuse("the seccomp filter does not hold: expected 2 1 -1 -1, got " +
                      result.stdout_text,
                  result);
  }

  // Zombies count: one more child than may be.
  request.limits.processes = 4;
  request.program =
      "import os\n"
      "for i in range(4):\n"
      "  if os.fork() == 0: os._exit(0)\n";
  result = RunUnchecked(request, /*use_seccomp=*/true);
  kernel_limits_processes_ = result.exception_type == "BlockingIOError";
  return absl::OkStatus();
}

std::vector<std::string> Sandbox::BwrapArguments(const ExecRequest& request,
                                                 bool use_seccomp) const {
  std::vector<std::string> args = {options_.bwrap,     "--unshare-user",
                                   "--unshare-pid",    "--unshare-net",
                                   "--unshare-ipc",    "--unshare-uts",
                                   "--unshare-cgroup", "--uid",
                                   kInnerId,           "--gid",
                                   kInnerId,           "--hostname",
                                   "sandbox",          "--die-with-parent",
                                   "--as-pid-1",       "--new-session",
                                   "--cap-drop",       "ALL"};
  args.insert(args.end(), root_arguments_.begin(), root_arguments_.end());
  for (const Mount& mount : request.language.mounts) {
    args.insert(args.end(), {"--ro-bind", mount.host, mount.inside});
  }
  args.insert(args.end(), {"--size", absl::StrCat(request.limits.scratch_bytes),
                           "--tmpfs", kScratch,
                           // Locks of multiprocessing.
                           "--size", "1048576", "--tmpfs", "/dev/shm",
                           // The root is a tmpfs without a limit.
                           "--remount-ro", "/", "--chdir", kScratch});
  if (use_seccomp) {
    args.insert(args.end(), {"--seccomp", absl::StrCat(kSeccompFd)});
  }
  // No site-packages and no cache of byte code; imports of the harness do not
  // look into the scratch folder.
  args.insert(args.end(), {"--", options_.python, "-s", "-S", "-P", "-B", "-c",
                           kHarnessSource});
  return args;
}

ExecResult Sandbox::Run(const ExecRequest& request) const {
  return RunUnchecked(request, /*use_seccomp=*/true);
}

ExecResult Sandbox::RunUnchecked(const ExecRequest& request, bool use_seccomp,
                                 const std::atomic<bool>* stop) const {
  ExecResult result;
  const auto fail = [&](const absl::Status& status) {
    result.outcome = Outcome::kSandboxError;
    result.message = std::string(status.message());
    return result;
  };
  if (const absl::Status status = CheckRequest(request); !status.ok()) {
    return fail(status);
  }
  absl::StatusOr<Fd> job = SealedFile(Job(request));
  if (!job.ok()) return fail(job.status());
  absl::StatusOr<Fd> input = SealedFile(request.stdin_text);
  if (!input.ok()) return fail(input.status());
  Fd seccomp;
  if (use_seccomp) {
    absl::StatusOr<Fd> file = SealedFile(filter_);
    if (!file.ok()) return fail(file.status());
    seccomp = *std::move(file);
  }
  absl::StatusOr<Pipe> out = MakePipe(), err = MakePipe(), report = MakePipe();
  for (const auto* pipe : {&out, &err, &report}) {
    if (!pipe->ok()) return fail(pipe->status());
  }

  const std::vector<std::string> args = BwrapArguments(request, use_seccomp);
  // The whole environment of the program, but for bubblewrap's PWD. Hashes, and
  // so the order of sets, are the same in every run.
  const std::vector<std::string> environment = {
      "PATH=/usr/bin:/bin",  absl::StrCat("HOME=", kScratch),
      "LANG=C.UTF-8",        "PYTHONHASHSEED=0",
      "OMP_NUM_THREADS=1",   "MALLOC_ARENA_MAX=1",
      "REPRO_SANDBOX=" + id_};
  const pid_t pid = Spawn(Pointers(args).data(), Pointers(environment).data(),
                          {input->get(), out->writer.get(), err->writer.get(),
                           job->get(), report->writer.get(), seccomp.get()},
                          drop_root_);
  if (pid < 0) return fail(absl::ErrnoToStatus(errno, "vfork"));
  for (auto* pipe : {&out, &err, &report}) (*pipe)->writer.Close();
  Watch watch(pid, request.limits, {options_.cancel, stop});
  watch.Loop(std::move(out->reader), std::move(err->reader),
             std::move(report->reader));

  const Report end = ParseReport(watch.report_text);
  result.stdout_text = std::move(watch.stdout_text);
  result.stderr_text = std::move(watch.stderr_text);
  result.wall = end.ended ? end.wall : watch.wall();
  result.cpu = std::max(end.cpu, watch.cpu());
  result.peak_memory_bytes =
      std::max(end.max_rss_bytes, watch.peak_memory_bytes());
  if (watch.reason() != KillReason::kNone) {
    JudgeKill(watch.reason(), request.limits, &result);
  } else if (end.ended) {
    Judge(end, request, &result);
  } else if (end.started) {
    // Only the kernel can kill pid 1: out of memory.
    result.outcome = Outcome::kKilled;
    result.signal = SIGKILL;
    result.message = "the whole sandbox was killed from outside";
  } else {
    result.outcome = Outcome::kSandboxError;
    result.message =
        absl::StrCat("the sandbox did not start: ",
                     absl::StripAsciiWhitespace(result.stderr_text));
    if (result.stderr_text.empty()) {
      absl::StrAppend(&result.message, "wait status ", watch.status(), ", ",
                      WEXITSTATUS(watch.status()) == kNotDropped
                          ? "this process cannot become another user"
                          : "bubblewrap cannot be run");
    }
    result.stderr_text.clear();
  }
  return result;
}

absl::StatusOr<std::vector<ExecResult>> Sandbox::RunAll(
    const std::vector<ExecRequest>& requests, int workers,
    const std::function<bool(int done, int total)>& progress) const {
  std::vector<ExecResult> results(requests.size());
  const auto total = static_cast<int64_t>(requests.size());
  std::atomic<bool> stop{false};
  REPRO_RETURN_IF_ERROR(ParallelFor(
      total, workers,
      [&](int64_t i) {
        results[i] = RunUnchecked(requests[i], /*use_seccomp=*/true, &stop);
        return RunStatus(results[i]);
      },
      [&](int64_t done) {
        if (progress &&
            !progress(static_cast<int>(done), static_cast<int>(total))) {
          stop = true;
        }
        return !stop;
      }));
  return results;
}

}  // namespace repro::exec
