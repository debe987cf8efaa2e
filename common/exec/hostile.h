#ifndef REPRO_COMMON_EXEC_HOSTILE_H_
#define REPRO_COMMON_EXEC_HOSTILE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/exec/sandbox.h"

namespace repro::exec {

// A program that tries to get out of the sandbox, to harm the machine or to
// fake its own result. Each is bounded: a bomb stops after a fixed count, and
// nothing signals more than its own parent, so that a sandbox that fails does
// no harm.
struct HostileProgram {
  const char* name;
  const char* attempt;
  // What must come of it: an outcome's name, for exceptions with the type:
  // "exception PermissionError". Alternatives are joined by " | ".
  const char* expected;
  // {CANARY}, {PORT}, {SOCKET} and {PID} stand for a file, a TCP port, an
  // abstract Unix socket and the process of the host. A program that succeeds
  // prints ESCAPED.
  const char* program;
  // If not null: run in Mode::kTests with these tests.
  const char* tests = nullptr;
  // If not null: a file with this name lies in the scratch folder and prints
  // ESCAPED when imported.
  const char* poisoned_file = nullptr;
};

const std::vector<HostileProgram>& HostilePrograms();

struct HostileResult {
  const HostileProgram* program;
  ExecResult result;
  std::string got;  // in the form of `expected`
  bool as_expected = false;
  // What got out: empty if nothing did, the canary is as it was, the host's
  // sockets were not reached, no process is left, and the next task ran.
  std::string leak;

  bool ok() const { return as_expected && leak.empty(); }
};

// Runs all of them, one after the other, each followed by a benign task.
// `progress` is called after each. Ends early when `cancel` turns true. Fails
// if the traps on the host cannot be laid.
absl::StatusOr<std::vector<HostileResult>> RunHostilePrograms(
    const Sandbox& sandbox,
    const std::function<void(const HostileResult&)>& progress = nullptr,
    const std::atomic<bool>* cancel = nullptr);

}  // namespace repro::exec

#endif  // REPRO_COMMON_EXEC_HOSTILE_H_
