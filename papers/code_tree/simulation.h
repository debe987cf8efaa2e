// Agents without a language model, whose programs are those that real agents
// wrote: what the search itself contributes, and how much of it hangs on the
// Critic being right.
#ifndef REPRO_PAPERS_CODE_TREE_SIMULATION_H_
#define REPRO_PAPERS_CODE_TREE_SIMULATION_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/code_tree/agents.h"
#include "papers/code_tree/search.h"

namespace repro::code_tree {

// What the simulation knows of one recorded program.
struct RecordedProgram {
  int visible_passed = 0;
  int visible_total = 0;
  bool right = false;
};

// The programs that the Solver draws from, one problem; not empty.
using Pool = std::vector<RecordedProgram>;

// The numbers behind the simulated agents; fixed before the first run.
struct SimulationOptions {
  // The share of false answers of the Critic: verdicts are turned with this
  // probability, scores are replaced by a uniform digit with twice this one.
  // At 0.5 the Critic tells nothing.
  double critic_noise = 0.1;
  // A repair is right with probability base + by_reward * r + by_quality * q,
  // where r is the program's reward and q, uniform in [0, 1], belongs to the
  // program; a true score is round(5 q).
  double repair_base = 0.05;
  double repair_by_reward = 0.25;
  double repair_by_quality = 0.25;
  // A repair that is not right leaves the program as it is with this
  // probability, or else is a draw from the pool.
  double repair_stuck = 0.5;
  // The same for a right program that is repaired although it is right.
  double repair_keeps_right = 0.9;
  // The Thinker, where it chooses, gives 1 to this many items.
  int most_strategies = 5;
  int most_reflections = 3;
};

// Plays all roles and runs the visible tests of one problem. Programs are the
// texts "0", "1", ... (places in the pool) and "right".
class SimulatedAgents : public Agents, public TestRunner {
 public:
  SimulatedAgents(const Pool& pool, const SimulationOptions& options,
                  uint64_t seed);

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
  absl::StatusOr<Feedback> Run(const Problem& problem,
                               const std::string& program) override;

  // InvalidArgument for a text that is no program of these agents.
  absl::StatusOr<bool> IsRight(const std::string& program) const;

 private:
  double Uniform();           // [0, 1)
  int UniformInt(int count);  // 0 .. count - 1
  std::vector<std::string> Items(const char* what, int count);
  absl::StatusOr<int> Place(const std::string& program) const;  // -1: "right"

  const Pool& pool_;
  const SimulationOptions options_;
  std::mt19937_64 generator_;
  std::vector<double> quality_;  // of each place in the pool
};

struct SimulatedScore {
  double published = 0;  // % of problems solved, by either rule of submission
  double coded = 0;
  double mean_programs = 0;
};

// Each problem once. Two searches with the same seed meet the same agents:
// their first draws agree. Errors: those of Search.
absl::StatusOr<SimulatedScore> Simulate(const std::vector<Pool>& problems,
                                        const SearchOptions& search,
                                        const SimulationOptions& options,
                                        uint64_t seed);

}  // namespace repro::code_tree

#endif  // REPRO_PAPERS_CODE_TREE_SIMULATION_H_
