#include "papers/effi_code/soap.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::effi_code {
namespace {

std::string Joined(const TestedProgram& program) {
  return absl::StrCat(program.program, "\n", program.tests, "\n");
}

absl::StatusOr<std::vector<ProgramCost>> Measure(
    const CostFunction& cost, const std::vector<TestedProgram>& programs) {
  if (programs.empty()) return std::vector<ProgramCost>();
  REPRO_ASSIGN_OR_RETURN(std::vector<ProgramCost> costs, cost(programs));
  if (costs.size() != programs.size()) {
    return absl::InternalError(
        absl::StrCat(costs.size(), " costs of ", programs.size(), " programs"));
  }
  return costs;
}

// The block behind the first `fence`; a block that never ends goes to the end.
std::optional<std::string> BlockBehind(absl::string_view text,
                                       absl::string_view fence) {
  const size_t at = text.find(fence);
  if (at == absl::string_view::npos) return std::nullopt;
  absl::string_view block = text.substr(at + fence.size());
  // What stands behind the fence names the language.
  const size_t line = block.find('\n');
  if (line == absl::string_view::npos) return std::nullopt;
  block = block.substr(line + 1);
  return std::string(block.substr(0, block.find("```")));
}

}  // namespace

CostFunction MeasuredCost(int workers, const MeasureOptions& options) {
  return [workers, options](const std::vector<TestedProgram>& programs)
             -> absl::StatusOr<std::vector<ProgramCost>> {
    std::vector<std::string> texts;
    for (const TestedProgram& program : programs) {
      texts.push_back(Joined(program));
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<MeasuredRun> runs,
                           MeasureAll(texts, workers, options));
    CountOptions count;
    count.memory = true;
    REPRO_ASSIGN_OR_RETURN(const std::vector<InstructionCount> lines,
                           CountInstructions(programs, workers, count));
    std::vector<ProgramCost> costs;
    for (size_t i = 0; i < runs.size(); ++i) {
      ProgramCost& cost = costs.emplace_back();
      cost.passed = runs[i].passed;
      cost.overhead = runs[i].overhead;
      cost.report =
          absl::StrCat(OverheadText(cost.overhead),
                       LineTable(programs[i].program, lines[i].lines));
    }
    return costs;
  };
}

CostFunction CountedCost(int workers, CountOptions options) {
  options.memory = true;
  return [workers, options](const std::vector<TestedProgram>& programs)
             -> absl::StatusOr<std::vector<ProgramCost>> {
    REPRO_ASSIGN_OR_RETURN(const std::vector<InstructionCount> counts,
                           CountInstructions(programs, workers, options));
    std::vector<ProgramCost> costs;
    for (size_t i = 0; i < counts.size(); ++i) {
      const auto instructions = static_cast<double>(counts[i].instructions);
      const auto bytes = static_cast<double>(counts[i].peak_bytes);
      ProgramCost& cost = costs.emplace_back();
      cost.passed = counts[i].passed;
      cost.overhead = {instructions, bytes, instructions * bytes};
      cost.report =
          absl::StrCat("Instructions: ", counts[i].instructions,
                       "\nMemory peak: ", counts[i].peak_bytes, " bytes\n",
                       LineTable(programs[i].program, counts[i].lines));
    }
    return costs;
  };
}

bool IsBetter(const Overhead& candidate, const Overhead& current,
              KeepRule rule) {
  const bool time = candidate.time < current.time;
  const bool memory_time = candidate.memory_time < current.memory_time;
  switch (rule) {
    case KeepRule::kTime:
      return time;
    case KeepRule::kMemoryTime:
      return memory_time;
    case KeepRule::kAny:
      return time || memory_time || candidate.memory_peak < current.memory_peak;
  }
  return false;
}

std::string OptimizationPrompt(const OptimizationTask& task,
                               absl::string_view program,
                               const ProgramCost& cost) {
  return absl::StrCat(
      "Make this Python program more efficient. It must still pass the test.\n"
      "\nTask:\n",
      task.description, "\n\nTest:\n", task.tests, "\n\nProgram:\n```python\n",
      program, "\n```\n\nWhat running it costs:\n", cost.report,
      "\nAnswer with the whole optimised program in one ```python block, "
      "without the test.\n");
}

std::optional<std::string> FencedCode(absl::string_view answer) {
  std::optional<std::string> python = BlockBehind(answer, "```python");
  return python.has_value() ? python : BlockBehind(answer, "```");
}

absl::StatusOr<std::vector<OptimizedProgram>> Optimize(
    const std::vector<OptimizationTask>& tasks,
    completion::CompletionClient& client, const CostFunction& cost,
    const SoapOptions& options, completion::Usage* usage) {
  if (options.rounds < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("rounds is ", options.rounds));
  }
  std::vector<TestedProgram> initial;
  for (const OptimizationTask& task : tasks) {
    initial.push_back({task.program, task.tests});
  }
  REPRO_ASSIGN_OR_RETURN(std::vector<ProgramCost> costs,
                         Measure(cost, initial));
  std::vector<OptimizedProgram> results(tasks.size());
  for (size_t i = 0; i < tasks.size(); ++i) {
    results[i].program = tasks[i].program;
    results[i].initial = costs[i];
    results[i].final = std::move(costs[i]);
  }
  for (int round = 1; round <= options.rounds; ++round) {
    std::vector<TestedProgram> candidates;
    std::vector<size_t> owners;
    for (size_t i = 0; i < tasks.size(); ++i) {
      if (!results[i].initial.passed) continue;
      completion::CompletionRequest request;
      request.messages = {
          {"user",
           OptimizationPrompt(tasks[i], results[i].program, results[i].final)}};
      request.max_tokens = options.max_tokens;
      request.temperature = options.temperature;
      // Requests that differ in nothing have one answer.
      request.seed = options.seed + static_cast<uint64_t>(round);
      REPRO_ASSIGN_OR_RETURN(
          const std::string answer,
          completion::Ask(client, request,
                          absl::StrCat("task ", i, ", round ", round), usage));
      std::optional<std::string> code = FencedCode(answer);
      if (!code.has_value()) continue;
      candidates.push_back({*std::move(code), tasks[i].tests});
      owners.push_back(i);
    }
    REPRO_ASSIGN_OR_RETURN(costs, Measure(cost, candidates));
    for (size_t k = 0; k < owners.size(); ++k) {
      OptimizedProgram& best = results[owners[k]];
      if (!costs[k].passed ||
          !IsBetter(costs[k].overhead, best.final.overhead, options.rule)) {
        continue;
      }
      best.program = std::move(candidates[k].program);
      best.final = std::move(costs[k]);
      best.round = round;
    }
  }
  return results;
}

}  // namespace repro::effi_code
