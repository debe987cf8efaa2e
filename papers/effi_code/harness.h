// Programs of HumanEval as the authors' harness builds and measures them, and
// a deterministic cost. Programs run in the sandbox of common/exec.
#ifndef REPRO_PAPERS_EFFI_CODE_HARNESS_H_
#define REPRO_PAPERS_EFFI_CODE_HARNESS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/data/human_eval.h"
#include "papers/effi_code/overhead.h"

namespace repro::effi_code {

// A program of a pool that passes its task's tests.
struct Candidate {
  std::string task_id;
  int64_t first = 0;  // its index in the pool
  std::string completion;
};
// JSON Lines with task_id, first, completion and label; those of label 0
// (correct), in the file's order. Errors of ReadRecords and JsonRecord.
absl::StatusOr<std::vector<Candidate>> ReadCorrectCandidates(
    const std::string& path);

// What the authors' code takes out of a completion (HumanEval): lines with
// "print(" or "assert" are dropped, the text restarts at each line with "def
// <entry_point>" and ends with the last line that has "    return "; then
// fences and end marks are stripped.
std::string CleanCompletion(absl::string_view completion,
                            absl::string_view entry_point);

// The imports that stand before every program: all names of thirteen modules,
// among them math and operator, whose `pow` hides the built-in one.
const std::string& ProgramImports();

struct ProgramOptions {
  bool imports = true;
  bool clean = true;
};
// Imports, prompt, completion, tests and the call of check. The authors' is
// with both options.
std::string ProgramText(const HumanEvalProblem& problem,
                        absl::string_view completion,
                        const ProgramOptions& options = {});

struct MeasureOptions {
  absl::Duration limit = absl::Seconds(10);
  absl::Duration interval = absl::Milliseconds(1);
  int64_t memory_bytes = int64_t{2} << 30;
  int repeats = 1;  // of the whole program within one log
  // As coded: what prints to stderr has failed.
  bool silent = true;
};

struct MeasuredRun {
  bool passed = false;
  std::string failure;  // "exception: TypeError: ..."
  std::vector<MemorySample> log;
  Overhead overhead;  // of the log
};

// Stops by returning false.
using Progress = std::function<bool(int done, int total)>;

// Runs each program as a script, by `workers` at once, which distort each
// other's times; results in order. The log begins when the program does, in an
// interpreter that is up (mprof's has its start in it, too), and memory is the
// largest so far. InvalidArgument: fewer than one repeat, an interval below a
// microsecond; Cancelled; Internal if the sandbox could not run a program.
absl::StatusOr<std::vector<MeasuredRun>> MeasureAll(
    const std::vector<std::string>& programs, int workers,
    const MeasureOptions& options, const Progress& progress = nullptr);

// A program and the code that tests it in its globals.
struct TestedProgram {
  std::string program;
  std::string tests;
};

// Of a line of the program, from 1.
struct LineCost {
  int64_t line = 0;
  int64_t hits = 0;
  int64_t instructions = 0;
  int64_t bytes = 0;  // that are allocated after it and were not before
};

// What the tests made the program do.
struct InstructionCount {
  bool passed = false;
  // Interpreter instructions inside of the program's text, its definition
  // aside, those of CPython 3.11; the same in every run.
  int64_t instructions = 0;
  int64_t peak_bytes = 0;  // of traced allocations, nearly so; else 0
  std::vector<LineCost> lines;
};

struct CountOptions {
  int64_t limit = 10'000'000;  // instructions; a program with more has failed
  bool memory = false;
  int programs_a_process = 100;
  absl::Duration limit_a_process = absl::Seconds(120);  // of the processor
};

// Many programs share a process; those of one that ends badly run again alone.
// Errors: Cancelled; Internal if the sandbox could not run a program.
absl::StatusOr<std::vector<InstructionCount>> CountInstructions(
    const std::vector<TestedProgram>& programs, int workers,
    const CountOptions& options = {}, const Progress& progress = nullptr);

// The line table that the optimiser is told: number, hits, instructions, bytes
// and text of each line that ran.
std::string LineTable(absl::string_view program,
                      const std::vector<LineCost>& lines);

}  // namespace repro::effi_code

#endif  // REPRO_PAPERS_EFFI_CODE_HARNESS_H_
