// The four roles of CodeTree (Li et al., section 3): the Thinker proposes
// strategies and reflections, the Solver writes programs, the Debugger repairs
// them, the Critic scores programs that fail and verifies those that pass.
#ifndef REPRO_PAPERS_CODE_TREE_AGENTS_H_
#define REPRO_PAPERS_CODE_TREE_AGENTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/code_tree/parse.h"
#include "papers/code_tree/problem.h"

namespace repro::code_tree {

// How a program is drawn from the Solver.
struct Sampling {
  double temperature = 0;
  // Tells apart what is drawn from the same prompt.
  uint64_t sample = 0;
};

// What a search asks. A call that fails ends the search with its error; a reply
// that says nothing is no failure: no strategies, an empty program, score 0, an
// accepted program.
class Agents {
 public:
  virtual ~Agents() = default;

  // Thinker: ways to solve the problem, in the order to try them; exactly
  // `count` are asked for, or as many as the agent sees fit. `asked_before`:
  // how often this problem's strategies were asked for already.
  virtual absl::StatusOr<std::vector<std::string>> Strategies(
      const Problem& problem, std::optional<int> count, int asked_before) = 0;

  // Solver; an empty strategy: none is given.
  virtual absl::StatusOr<std::string> Solve(const Problem& problem,
                                            const std::string& strategy,
                                            const Sampling& sampling) = 0;

  // Thinker: what may be wrong with a program and how to mend it, each
  // complete in itself. `review` is the Critic's, empty if it gave none.
  virtual absl::StatusOr<std::vector<std::string>> Reflections(
      const Problem& problem, const std::string& strategy,
      const std::string& program, const std::string& feedback,
      const std::string& review, std::optional<int> count) = 0;

  // Debugger: sees the tests' feedback without the Critic's review.
  virtual absl::StatusOr<std::string> Repair(const Problem& problem,
                                             const std::string& program,
                                             const std::string& feedback,
                                             const std::string& reflection) = 0;

  // Critic, of a program that fails visible tests: how near its outputs are to
  // the expected ones, 0 to 5.
  virtual absl::StatusOr<int> Score(const Problem& problem,
                                    const std::string& program,
                                    const std::string& feedback) = 0;

  // Critic, of a program that passes them: whether it will pass hidden ones.
  virtual absl::StatusOr<Review> Verify(const Problem& problem,
                                        const std::string& program,
                                        const std::string& feedback) = 0;
};

}  // namespace repro::code_tree

#endif  // REPRO_PAPERS_CODE_TREE_AGENTS_H_
