#ifndef REPRO_COMMON_EXEC_SANDBOX_H_
#define REPRO_COMMON_EXEC_SANDBOX_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

// Runs untrusted programs in a sandbox made of bubblewrap, seccomp and resource
// limits. README.md holds the threat model.
namespace repro::exec {

// A folder or file of the host, seen read-only inside.
struct Mount {
  std::string host;
  std::string inside;
};

// How programs of a language run. /usr, /bin and the libraries are mounted for
// all of them.
struct Language {
  std::string name;
  // The program's file in the scratch folder.
  std::string file_name;
  // Absolute path and arguments; an argument "{file}" becomes the program's
  // path. Empty: Python, run in an interpreter that is up already.
  std::vector<std::string> command;
  std::vector<Mount> mounts;
  // Python only: folders of modules, put after the scratch folder.
  std::vector<std::string> import_paths;

  // CPython without site-packages: the standard library only.
  static Language Python();
};

// A file of the scratch folder; the path is relative, without "..".
struct File {
  std::string path;
  std::string contents;
};

struct Limits {
  // Of the program's run, not of the sandbox's making.
  absl::Duration wall = absl::Seconds(10);
  // Of all its processes together.
  absl::Duration cpu = absl::Seconds(10);
  // Address space of each process, and resident anonymous and shared memory of
  // all together.
  int64_t memory_bytes = int64_t{256} << 20;
  // Processes and threads.
  int processes = 32;
  int open_files = 64;
  // Of the scratch folder, a file system in memory; also the largest file.
  int64_t scratch_bytes = int64_t{64} << 20;
  // Of stdout and of stderr, each.
  int64_t output_bytes = int64_t{1} << 20;
};

enum class Mode {
  // The exit status decides: 0 passed.
  kScript,
  // The program, then `tests` in the same globals; passed only if control
  // reaches the end. Python only.
  kTests,
};

struct ExecRequest {
  Language language = Language::Python();
  std::string program;
  Mode mode = Mode::kScript;
  std::string tests;
  std::vector<File> files;
  std::string stdin_text;
  Limits limits;
};

enum class Outcome {
  kPassed,
  // Ended by itself with a status other than 0; in Mode::kTests a failed assert
  // of the tests, or an end before the tests' end.
  kWrong,
  kException,    // an uncaught exception: exception_type, message
  kTime,         // wall or CPU
  kMemory,       // MemoryError, or killed for the sum over processes
  kOutputLimit,  // killed; the texts hold what fits
  kKilled,       // by a signal, or for too many processes
  kCancelled,
  // No statement about the program: the sandbox could not run it; message says
  // why.
  kSandboxError,
};

// "passed", "wrong", "exception", "time", "memory", "output limit", ...
const char* OutcomeName(Outcome outcome);

struct ExecResult {
  Outcome outcome = Outcome::kSandboxError;
  // Of Python programs: "ValueError", "json.decoder.JSONDecodeError". Told by
  // the program's own process: see README.md for how far to trust it.
  std::string exception_type;
  std::string message;
  std::string stdout_text;
  std::string stderr_text;
  absl::Duration wall;
  absl::Duration cpu;
  // The larger of the biggest process's peak and the polled sum over processes.
  int64_t peak_memory_bytes = 0;
  int exit_code = 0;
  int signal = 0;
};

// OK where the outcome says something of the program: Cancelled for kCancelled,
// Internal for kSandboxError.
absl::Status RunStatus(const ExecResult& result);

// Which programs passed.
std::vector<bool> Passed(const std::vector<ExecResult>& results);

// Thread-safe: any number of threads may call Run at once.
class Sandbox {
 public:
  struct Options {
    std::string bwrap = "/usr/bin/bwrap";
    // Also the interpreter of the harness, whatever the language.
    std::string python = "/usr/bin/python3";
    // When it turns true, running programs are killed. Must outlive the
    // Sandbox.
    const std::atomic<bool>* cancel = nullptr;
  };

  // Makes sure that programs are isolated here, by trying: MachineLacksError
  // (common/status/machine_lacks.h) with what to do if they are not.
  static absl::StatusOr<Sandbox> Create(const Options& options);
  static absl::StatusOr<Sandbox> Create() { return Create(Options()); }

  // Returns when the program and every process that it started are gone.
  ExecResult Run(const ExecRequest& request) const;

  // Results in the order of the requests, whatever the number of workers.
  // `progress` is called from the workers, one at a time; once it says false,
  // running programs are killed. Errors: those of RunStatus.
  absl::StatusOr<std::vector<ExecResult>> RunAll(
      const std::vector<ExecRequest>& requests, int workers,
      const std::function<bool(int done, int total)>& progress = nullptr) const;

  // REPRO_SANDBOX in every program's environment: finds processes of this
  // sandbox in the host's /proc.
  const std::string& id() const { return id_; }

  // True if the kernel itself refuses the process above the limit; else
  // programs with too many are found by polling and killed.
  bool kernel_limits_processes() const { return kernel_limits_processes_; }

 private:
  Sandbox() = default;
  absl::Status SelfTest();
  ExecResult RunUnchecked(const ExecRequest& request, bool use_seccomp,
                          const std::atomic<bool>* stop = nullptr) const;
  std::vector<std::string> BwrapArguments(const ExecRequest& request,
                                          bool use_seccomp) const;

  Options options_;
  std::string id_;
  std::string filter_;  // BPF
  std::vector<std::string> root_arguments_;
  bool drop_root_ = false;
  bool kernel_limits_processes_ = false;
};

}  // namespace repro::exec

#endif  // REPRO_COMMON_EXEC_SANDBOX_H_
