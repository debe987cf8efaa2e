#include "papers/plan_search/search.h"

#include <algorithm>
#include <cstddef>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::plan_search {
namespace {

// Appends the subsets of `size` more elements from `first` on.
void AppendSubsets(const Observations& observations, size_t first, int size,
                   Observations& chosen, std::vector<Observations>& subsets) {
  if (size == 0) {
    subsets.push_back(chosen);
    return;
  }
  for (size_t i = first; i < observations.size(); ++i) {
    chosen.push_back(observations[i]);
    AppendSubsets(observations, i + 1, size - 1, chosen, subsets);
    chosen.pop_back();
  }
}

// The combinations to make programs of, in the order in which they were found.
struct Tree {
  std::vector<Observations> combinations;
  int64_t expanded = 0;
};

absl::StatusOr<Tree> Grow(const Problem& problem, Thinker& thinker,
                          const PlanSearchOptions& options,
                          std::mt19937_64& generator) {
  Tree tree;
  std::vector<Observations> leaves = {{}};
  std::vector<Observations> nodes = leaves;
  for (int layer = 0; layer < options.layers; ++layer) {
    std::vector<Observations> children;
    for (const Observations& leaf : leaves) {
      REPRO_ASSIGN_OR_RETURN(
          const Observations observations,
          thinker.Observe(problem, leaf, /*root=*/layer == 0));
      ++tree.expanded;
      std::vector<Observations> subsets =
          SubsetsUpTo(observations, options.max_subset);
      Shuffle(subsets, generator);
      children.insert(children.end(), subsets.begin(), subsets.end());
    }
    nodes.insert(nodes.end(), children.begin(), children.end());
    leaves = std::move(children);
  }
  if (options.collect == Collect::kLeaves) {
    tree.combinations = std::move(leaves);
    return tree;
  }
  std::set<Observations> seen;
  for (Observations& node : nodes) {
    if (seen.insert(node).second) tree.combinations.push_back(std::move(node));
  }
  return tree;
}

}  // namespace

std::vector<Observations> SubsetsUpTo(const Observations& observations,
                                      int max_size) {
  std::vector<Observations> subsets;
  const int most = std::min(max_size, static_cast<int>(observations.size()));
  Observations chosen;
  for (int size = 0; size <= most; ++size) {
    AppendSubsets(observations, 0, size, chosen, subsets);
  }
  return subsets;
}

int64_t SubsetCount(int64_t n, int max_size) {
  int64_t count = 0, of_size = 1;
  for (int64_t size = 0; size <= std::min<int64_t>(max_size, n); ++size) {
    count += of_size;
    of_size = of_size * (n - size) / (size + 1);
  }
  return count;
}

absl::StatusOr<SearchResult> PlanSearch(const Problem& problem,
                                        Thinker& thinker,
                                        const PlanSearchOptions& options,
                                        std::mt19937_64& generator) {
  if (options.max_subset < 0 || options.layers < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("PlanSearch: subsets of ", options.max_subset, " and ",
                     options.layers, " layers: neither may be negative"));
  }
  REPRO_ASSIGN_OR_RETURN(Tree tree, Grow(problem, thinker, options, generator));
  SearchResult result;
  result.expanded = tree.expanded;
  result.combinations = static_cast<int64_t>(tree.combinations.size());
  for (Observations& observations : tree.combinations) {
    Candidate sketch;
    REPRO_ASSIGN_OR_RETURN(sketch.idea, thinker.Sketch(problem, observations));
    sketch.observations = std::move(observations);
    if (options.fix) {
      Candidate fixed = sketch;
      fixed.fixed = true;
      REPRO_ASSIGN_OR_RETURN(fixed.idea, thinker.Fix(problem, sketch.idea));
      result.candidates.push_back(std::move(fixed));
    }
    result.candidates.push_back(std::move(sketch));
  }
  for (Candidate& candidate : result.candidates) {
    REPRO_ASSIGN_OR_RETURN(candidate.program,
                           thinker.Implement(problem, candidate.idea));
  }
  Shuffle(result.candidates, generator);
  return result;
}

absl::StatusOr<std::vector<Candidate>> RepeatedSampling(const Problem& problem,
                                                        Thinker& thinker,
                                                        int count) {
  std::vector<Candidate> candidates;
  for (int sample = 0; sample < count; ++sample) {
    Candidate candidate;
    REPRO_ASSIGN_OR_RETURN(candidate.program, thinker.Program(problem, sample));
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

absl::StatusOr<std::vector<Candidate>> IdeaSearch(const Problem& problem,
                                                  Thinker& thinker, int count) {
  std::vector<Candidate> candidates;
  for (int sample = 0; sample < count; ++sample) {
    Candidate candidate;
    REPRO_ASSIGN_OR_RETURN(candidate.idea, thinker.Idea(problem, sample));
    REPRO_ASSIGN_OR_RETURN(
        candidate.program,
        thinker.ImplementIdea(problem, candidate.idea, sample));
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

}  // namespace repro::plan_search
