// Programs a second, by the number of workers.

#include "benchmark/benchmark.h"

#include <cstdlib>
#include <vector>

#include "common/exec/sandbox.h"

namespace repro::exec {
namespace {

// A function with a few asserts, as the tasks of HumanEval are.
void BM_SmallPrograms(benchmark::State& state) {
  const absl::StatusOr<Sandbox> sandbox = Sandbox::Create();
  if (!sandbox.ok()) {
    state.SkipWithError(std::string(sandbox.status().message()).c_str());
    return;
  }
  ExecRequest request;
  request.program =
      "from typing import List\n"
      "def below_zero(operations: List[int]) -> bool:\n"
      "    balance = 0\n"
      "    for operation in operations:\n"
      "        balance += operation\n"
      "        if balance < 0:\n"
      "            return True\n"
      "    return False\n";
  request.mode = Mode::kTests;
  request.tests =
      "assert below_zero([]) == False\n"
      "assert below_zero([1, 2, -3, 1, 2, -3]) == False\n"
      "assert below_zero([1, 2, -4, 5, 6]) == True\n";
  const std::vector<ExecRequest> requests(40, request);
  for (auto _ : state) {
    const auto results =
        sandbox->RunAll(requests, static_cast<int>(state.range(0)));
    if (!results.ok()) {
      return state.SkipWithError(results.status().ToString().c_str());
    }
    for (const ExecResult& result : *results) {
      if (result.outcome != Outcome::kPassed) {
        state.SkipWithError(result.message.c_str());
      }
    }
  }
  state.SetItemsProcessed(state.iterations() * requests.size());
}
BENCHMARK(BM_SmallPrograms)
    ->ArgName("workers")
    ->Arg(1)
    ->Arg(2)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// What a plain `python3 -S` of the machine costs: the floor.
void BM_PlainInterpreter(benchmark::State& state) {
  for (auto _ : state) {
    if (system("/usr/bin/python3 -s -S -P -B -c pass") != 0) {
      state.SkipWithError("/usr/bin/python3 does not run");
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_PlainInterpreter)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace repro::exec
