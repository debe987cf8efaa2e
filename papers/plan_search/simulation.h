// A language model that has ideas and nothing else: it shows what the searches
// do with a model whose first ideas are all alike.
//
// A problem needs a hidden set R of observations out of M. An idea is a set of
// observations; a program of it is right if it holds R, none of the others in
// it misleads, and the implementation succeeds. Observations are drawn from
// Zipf's law: that of rank r with weight r^-peakedness.
#ifndef REPRO_PAPERS_PLAN_SEARCH_SIMULATION_H_
#define REPRO_PAPERS_PLAN_SEARCH_SIMULATION_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/plan_search/scoring.h"
#include "papers/plan_search/search.h"

namespace repro::plan_search {

struct SimulationOptions {
  int problems = 60;
  int observations = 24;  // M
  // |R| is 1, 2 or 3 with these probabilities, its elements drawn from Zipf's
  // law with the exponent below, whatever the model's own.
  std::vector<double> size_of_needed = {0.4, 0.4, 0.2};
  double peakedness_of_needed = 1.0;
  std::vector<double> peakedness_of_model = {0.5, 1.0, 1.5, 2.0, 2.5};
  // Asked for something creative, the model draws with this share of its
  // exponent.
  double creative = 0.75;
  int idea_size = 3;            // of an idea without observations to start from
  int fewest_observations = 4;  // that an expansion finds
  int most_observations = 5;
  double misleads = 0.15;  // each observation that is not needed
  double implements = 0.9;
  double fix_drops = 0.5;  // one that is not needed, else adds a drawn one
  int samples = 225;       // of the two baselines
  int judged = 40;         // programs whose ideas are compared
  // The control: whether a program is right depends on the problem alone, with
  // a probability of 10^-u, u uniform in [0, 3).
  bool ideas_matter = true;
};

// The model, for one problem. Programs are "right IDEA" or "wrong IDEA"; ideas
// and observations are "3+7+11", and the empty observation is "".
class SimulatedThinker : public Thinker {
 public:
  SimulatedThinker(const SimulationOptions& options, double peakedness,
                   std::vector<int> needed, double solve_probability,
                   uint64_t seed);

  absl::StatusOr<Observations> Observe(const Problem& problem,
                                       const Observations& given,
                                       bool root) override;
  absl::StatusOr<std::string> Sketch(const Problem& problem,
                                     const Observations& observations) override;
  absl::StatusOr<std::string> Fix(const Problem& problem,
                                  const std::string& sketch) override;
  absl::StatusOr<std::string> Implement(const Problem& problem,
                                        const std::string& idea) override;
  absl::StatusOr<std::string> Program(const Problem& problem,
                                      uint64_t sample) override;
  absl::StatusOr<std::string> Idea(const Problem& problem,
                                   uint64_t sample) override;
  absl::StatusOr<std::string> ImplementIdea(const Problem& problem,
                                            const std::string& idea,
                                            uint64_t sample) override;

 private:
  double Uniform();  // [0, 1)
  std::string Write(const std::vector<int>& idea);

  const SimulationOptions options_;
  const std::vector<double> weights_;           // by rank
  const std::vector<double> creative_weights_;  // asked to be creative
  const std::vector<int> needed_;
  const double solve_probability_;
  std::mt19937_64 generator_;
};

// What one method reaches with a model of one peakedness.
struct MethodScore {
  double pass_at_1 = 0;
  double pass_at_200 = 0;
  double gain = 0;  // relative, of its own pass@1
  double diversity = 0;
};

struct SimulatedScores {
  // By peakedness_of_model.
  std::vector<MethodScore> repeated_sampling;
  std::vector<MethodScore> idea_search;
  std::vector<MethodScore> plan_search;
};

// All methods and models on the same problems. Errors: those of scoring.h.
absl::StatusOr<SimulatedScores> Simulate(const SimulationOptions& options,
                                         uint64_t seed);

}  // namespace repro::plan_search

#endif  // REPRO_PAPERS_PLAN_SEARCH_SIMULATION_H_
