#include "papers/code_tree/end_to_end.h"

#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "papers/code_tree/visible_tests.h"

namespace repro::code_tree {

std::vector<std::string> DrawTasks(const Tasks& tasks, int count,
                                   uint64_t seed) {
  std::vector<std::string> ids;
  for (const auto& [id, task] : tasks) ids.push_back(id);
  if (count >= static_cast<int>(ids.size())) return ids;
  std::mt19937_64 generator(seed);
  for (int i = 0; i < count; ++i) {
    const size_t rest = ids.size() - static_cast<size_t>(i);
    std::swap(ids[i], ids[i + generator() % rest]);
  }
  ids.resize(count);
  return ids;
}

absl::StatusOr<EndToEndScore> SolveTasks(
    const Tasks& tasks, const std::vector<std::string>& ids,
    completion::CompletionClient* client, const exec::Sandbox& sandbox,
    const SearchOptions& search, const LanguageModelOptions& model,
    const std::function<void(int done)>& progress) {
  SandboxTestRunner tests(&sandbox);
  LanguageModelAgents agents(client, model);
  EndToEndScore score;
  for (const std::string& id : ids) {
    const auto found = tasks.find(id);
    if (found == tasks.end()) {
      return absl::NotFoundError(absl::StrCat("no problem ", Quoted(id)));
    }
    const Task& task = found->second;
    const auto is_right =
        [&](const std::string& program) -> absl::StatusOr<bool> {
      const exec::ExecResult result =
          sandbox.Run(HiddenTestRequest(task, program, Before::kPrompt));
      REPRO_RETURN_IF_ERROR(exec::RunStatus(result));
      return result.outcome == exec::Outcome::kPassed;
    };
    REPRO_ASSIGN_OR_RETURN(const std::string direct,
                           agents.Solve(task.problem, "", {}));
    REPRO_ASSIGN_OR_RETURN(const bool direct_right, is_right(direct));
    REPRO_ASSIGN_OR_RETURN(const SearchResult result,
                           Search(task.problem, agents, tests, search));
    const auto submission = result.Submission(search.variant);
    bool searched_right = false;
    if (submission) {
      REPRO_ASSIGN_OR_RETURN(searched_right, is_right(*submission));
    }
    ++score.problems;
    score.direct += direct_right;
    score.searched += searched_right;
    score.programs += result.programs();
    score.calls.thinker += result.calls.thinker;
    score.calls.solver += result.calls.solver;
    score.calls.debugger += result.calls.debugger;
    score.calls.score += result.calls.score;
    score.calls.verify += result.calls.verify;
    if (progress) progress(score.problems);
  }
  score.usage = agents.usage();
  return score;
}

}  // namespace repro::code_tree
