// The four roles played by one language model.
#ifndef REPRO_PAPERS_CODE_TREE_LANGUAGE_MODEL_AGENTS_H_
#define REPRO_PAPERS_CODE_TREE_LANGUAGE_MODEL_AGENTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/ask.h"
#include "common/completion/completion.h"
#include "papers/code_tree/agents.h"

namespace repro::code_tree {

// What each role is told. "{count}" becomes the number of items wanted.
struct Prompts {
  std::string thinker_strategies;   // system
  std::string thinker_reflections;  // system
  std::string thinker_chooses;      // {count} where the Thinker decides
  std::string think_again;  // after the problem, where strategies ran short
  std::string solver;       // system
  std::string solver_hint;  // between problem and strategy
  std::string debugger;     // system
  std::string debugger_improve;  // the last user turn
  std::string critic_score;      // system
  std::string critic_verify;     // system

  // For functions with a signature, and for programs that read stdin. The
  // wording is this project's own; the contents of each role are the paper's.
  static Prompts Functions();
  static Prompts Programs();
};

struct LanguageModelOptions {
  std::string model;  // empty: the client's
  int64_t max_program_tokens = 4096;
  int64_t max_text_tokens = 2048;
  // Sample i of the Solver is asked with seed + i where the temperature is
  // above 0; all other calls are greedy and have no seed.
  uint64_t seed = 0;
  std::optional<Prompts> prompts;  // unset: by the kind of the problem
};

// Not for several threads at once; several of these may share a client.
class LanguageModelAgents : public Agents {
 public:
  // `client` outlives it.
  explicit LanguageModelAgents(completion::CompletionClient* client,
                               const LanguageModelOptions& options = {});

  absl::StatusOr<std::vector<std::string>> Strategies(
      const Problem& problem, std::optional<int> count,
      int asked_before) override;
  absl::StatusOr<std::string> Solve(const Problem& problem,
                                    const std::string& strategy,
                                    const Sampling& sampling) override;
  absl::StatusOr<std::vector<std::string>> Reflections(
      const Problem& problem, const std::string& strategy,
      const std::string& program, const std::string& feedback,
      const std::string& review, std::optional<int> count) override;
  absl::StatusOr<std::string> Repair(const Problem& problem,
                                     const std::string& program,
                                     const std::string& feedback,
                                     const std::string& reflection) override;
  absl::StatusOr<int> Score(const Problem& problem, const std::string& program,
                            const std::string& feedback) override;
  absl::StatusOr<Review> Verify(const Problem& problem,
                                const std::string& program,
                                const std::string& feedback) override;

  const completion::Usage& usage() const { return usage_; }

 private:
  const Prompts& PromptsFor(const Problem& problem) const;
  // The text of the reply; errors begin with the role.
  absl::StatusOr<std::string> Ask(absl::string_view role,
                                  std::vector<completion::ChatMessage> messages,
                                  int64_t max_tokens,
                                  const Sampling& sampling = {});
  absl::StatusOr<std::vector<std::string>> AskList(
      std::vector<completion::ChatMessage> messages);
  absl::StatusOr<std::string> AskCritic(const std::string& system,
                                        const Problem& problem,
                                        const std::string& program,
                                        const std::string& feedback);

  completion::CompletionClient* client_;
  const LanguageModelOptions options_;
  const Prompts functions_;
  const Prompts programs_;
  completion::Usage usage_;
};

}  // namespace repro::code_tree

#endif  // REPRO_PAPERS_CODE_TREE_LANGUAGE_MODEL_AGENTS_H_
