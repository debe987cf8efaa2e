// SOAP, self-optimisation based on overhead profiling: a language model is
// shown a program and what running it costs, and asked for a faster one, for
// some rounds; the best program that passes its tests is kept.
#ifndef REPRO_PAPERS_EFFI_CODE_SOAP_H_
#define REPRO_PAPERS_EFFI_CODE_SOAP_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/ask.h"
#include "common/completion/completion.h"
#include "papers/effi_code/harness.h"
#include "papers/effi_code/overhead.h"

namespace repro::effi_code {

// What a run of a program with its tests costs.
struct ProgramCost {
  bool passed = false;
  // In the units of the measurement: s and MB, or instructions and bytes.
  Overhead overhead;
  // What the optimiser is told: the three measures and the line table.
  std::string report;
};

// Measures programs, in order; an error ends the optimisation.
using CostFunction = std::function<absl::StatusOr<std::vector<ProgramCost>>(
    const std::vector<TestedProgram>&)>;

// Time and memory of the process, as in the paper: by MeasureAll, with the line
// table of CountInstructions.
CostFunction MeasuredCost(int workers, const MeasureOptions& options = {});
// Instructions for time, the same in every run; traced bytes for memory, nearly
// so; and their product for memory over time.
CostFunction CountedCost(int workers, CountOptions options = {});

struct OptimizationTask {
  std::string description;
  // Shown to the model and run after the program.
  std::string tests;
  std::string program;
};

enum class KeepRule {
  kTime,        // the time is lower
  kMemoryTime,  // as coded: memory over time is
  kAny,         // as published for the data: one of the three measures is
};
bool IsBetter(const Overhead& candidate, const Overhead& current,
              KeepRule rule);

struct SoapOptions {
  int rounds = 5;
  KeepRule rule = KeepRule::kTime;
  int64_t max_tokens = 512;
  double temperature = 1;
  uint64_t seed = 0;
};

struct OptimizedProgram {
  std::string program;  // the initial one if nothing better came
  ProgramCost initial, final;
  int round = 0;  // of the program kept, from 1; 0: the initial one
};

// The request of one round.
std::string OptimizationPrompt(const OptimizationTask& task,
                               absl::string_view program,
                               const ProgramCost& cost);

// The first fenced block of an answer, Python's before others; none: nothing.
std::optional<std::string> FencedCode(absl::string_view answer);

// All tasks go through a round together. A task whose initial program fails is
// not asked about and comes back with initial.passed false; an answer without
// code is passed over. Errors: fewer than 0 rounds (InvalidArgument), those of
// the client and of `cost`; Internal if that gives another number of costs.
absl::StatusOr<std::vector<OptimizedProgram>> Optimize(
    const std::vector<OptimizationTask>& tasks,
    completion::CompletionClient& client, const CostFunction& cost,
    const SoapOptions& options, completion::Usage* usage = nullptr);

}  // namespace repro::effi_code

#endif  // REPRO_PAPERS_EFFI_CODE_SOAP_H_
