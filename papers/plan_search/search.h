// PlanSearch (Wang et al., arXiv 2409.03733) and its baselines: one
// program for each combination of observations about a problem, instead of
// many samples of one idea.
//
//   LanguageModelThinker thinker(client.get());
//   std::mt19937_64 generator(3);
//   REPRO_ASSIGN_OR_RETURN(const SearchResult result,
//                          PlanSearch(problem, thinker, {}, generator));
//   for (const Candidate& candidate : result.candidates) {
//     Run(candidate.program);
//   }
#ifndef REPRO_PAPERS_PLAN_SEARCH_SEARCH_H_
#define REPRO_PAPERS_PLAN_SEARCH_SEARCH_H_

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace repro::plan_search {

struct Problem {
  std::string statement;
  // The signature to complete. Empty: the program reads stdin.
  std::string starter_code;
};

// Each a sentence or a few; a combination of them is ordered.
using Observations = std::vector<std::string>;

// What a language model does for the three searches. An error ends the search.
class Thinker {
 public:
  virtual ~Thinker() = default;

  // New observations, derived from `given`. At the root of the tree nothing is
  // given, and the question is another than for an empty combination below it.
  // None: the empty combination is the only child.
  virtual absl::StatusOr<Observations> Observe(const Problem& problem,
                                               const Observations& given,
                                               bool root) = 0;
  // A solution in words that uses the observations.
  virtual absl::StatusOr<std::string> Sketch(
      const Problem& problem, const Observations& observations) = 0;
  // The sketch, criticised and mended.
  virtual absl::StatusOr<std::string> Fix(const Problem& problem,
                                          const std::string& sketch) = 0;
  // The program of a solution in words; empty where the answer has none.
  virtual absl::StatusOr<std::string> Implement(const Problem& problem,
                                                const std::string& idea) = 0;

  // Of repeated sampling and IdeaSearch; `sample` tells equal requests apart.
  virtual absl::StatusOr<std::string> Program(const Problem& problem,
                                              uint64_t sample) = 0;
  virtual absl::StatusOr<std::string> Idea(const Problem& problem,
                                           uint64_t sample) = 0;
  virtual absl::StatusOr<std::string> ImplementIdea(const Problem& problem,
                                                    const std::string& idea,
                                                    uint64_t sample) = 0;
};

// Subsets of at most `max_size` elements by rising size, each in the order of
// the list; lexicographic by position within a size. max_size >= 0.
std::vector<Observations> SubsetsUpTo(const Observations& observations,
                                      int max_size);

// How many these are: sum over s <= max_size of C(n, s).
// n >= 0, max_size >= 0.
int64_t SubsetCount(int64_t n, int max_size);

enum class Collect {
  // As coded: every node of the tree, each distinct combination once. The empty
  // one is a child of every node and counts once.
  kDistinctNodes,
  // As published: the leaves, each of them. Without repeated observations that
  // is the same number of programs, but the empty combination has as many of
  // them as there are parents.
  kLeaves,
};

struct PlanSearchOptions {
  int max_subset = 2;  // S
  int layers = 2;      // L
  bool fix = true;     // keep sketches and their fixes
  Collect collect = Collect::kDistinctNodes;
};

struct Candidate {
  Observations observations;
  bool fixed = false;
  std::string idea;
  std::string program;  // empty: the answer held none
};

struct SearchResult {
  // Shuffled, so that the first k of them are k drawn without replacement.
  std::vector<Candidate> candidates;
  int64_t expanded = 0;      // nodes whose observations were asked for
  int64_t combinations = 0;  // that sketches were asked for
};

// InvalidArgument: max_subset or layers below 0; and errors of the
// thinker.
absl::StatusOr<SearchResult> PlanSearch(const Problem& problem,
                                        Thinker& thinker,
                                        const PlanSearchOptions& options,
                                        std::mt19937_64& generator);

// `count` programs for a problem, independent of each other.
absl::StatusOr<std::vector<Candidate>> RepeatedSampling(const Problem& problem,
                                                        Thinker& thinker,
                                                        int count);

// A solution in words, then its program, `count` times.
absl::StatusOr<std::vector<Candidate>> IdeaSearch(const Problem& problem,
                                                  Thinker& thinker, int count);

// Fisher-Yates. The standard's shuffle differs from library to library.
template <typename T>
void Shuffle(std::vector<T>& values, std::mt19937_64& generator) {
  for (size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[generator() % i]);
  }
}

}  // namespace repro::plan_search

#endif  // REPRO_PAPERS_PLAN_SEARCH_SEARCH_H_
