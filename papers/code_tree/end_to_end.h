// The search with a language model, from prompts to hidden tests.
#ifndef REPRO_PAPERS_CODE_TREE_END_TO_END_H_
#define REPRO_PAPERS_CODE_TREE_END_TO_END_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/completion/completion.h"
#include "common/exec/sandbox.h"
#include "papers/code_tree/language_model_agents.h"
#include "papers/code_tree/released.h"
#include "papers/code_tree/search.h"

namespace repro::code_tree {

struct EndToEndScore {
  int problems = 0;
  int direct = 0;           // solved by one greedy program, without a strategy
  int searched = 0;         // solved by the search
  int programs = 0;         // that the searches wrote
  Calls calls;              // of the searches
  completion::Usage usage;  // of both
};

// `count` ids drawn without replacement; all of them, in order, if there are
// no more.
std::vector<std::string> DrawTasks(const Tasks& tasks, int count,
                                   uint64_t seed);

// Solves each of `ids` directly and by a search, and runs the hidden tests
// after the prompt. `progress` after each problem. Errors: the client's and
// the sandbox's.
absl::StatusOr<EndToEndScore> SolveTasks(
    const Tasks& tasks, const std::vector<std::string>& ids,
    completion::CompletionClient* client, const exec::Sandbox& sandbox,
    const SearchOptions& search, const LanguageModelOptions& model,
    const std::function<void(int done)>& progress = nullptr);

}  // namespace repro::code_tree

#endif  // REPRO_PAPERS_CODE_TREE_END_TO_END_H_
