#include "papers/plan_search/simulation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/status/macros.h"

namespace repro::plan_search {
namespace {

constexpr int64_t kManyPrograms = 200;

// The standard's distributions differ from library to library.
double UniformOf(std::mt19937_64& generator) {
  return static_cast<double>(generator() >> 11) * 0x1.0p-53;
}

bool Has(const std::vector<int>& idea, int observation) {
  return std::find(idea.begin(), idea.end(), observation) != idea.end();
}

// Of ranks 1 to `observations`.
std::vector<double> ZipfWeights(int observations, double exponent) {
  std::vector<double> weights;
  for (int rank = 1; rank <= observations; ++rank) {
    weights.push_back(std::pow(rank, -exponent));
  }
  return weights;
}

// `count` more elements, without those that are there.
void AddByWeight(int count, const std::vector<double>& weights,
                 std::mt19937_64& generator, std::vector<int>& idea) {
  for (int i = 0; i < count && idea.size() < weights.size(); ++i) {
    double total = 0;
    for (size_t rank = 1; rank <= weights.size(); ++rank) {
      if (!Has(idea, static_cast<int>(rank))) total += weights[rank - 1];
    }
    double left = UniformOf(generator) * total;
    int drawn = 0;
    for (size_t rank = 1; rank <= weights.size(); ++rank) {
      if (Has(idea, static_cast<int>(rank))) continue;
      drawn = static_cast<int>(rank);
      left -= weights[rank - 1];
      if (left < 0) break;
    }
    idea.push_back(drawn);
  }
}

absl::StatusOr<std::vector<int>> Elements(const std::string& text) {
  std::vector<int> idea;
  for (const absl::string_view part :
       absl::StrSplit(text, '+', absl::SkipEmpty())) {
    if (!absl::SimpleAtoi(part, &idea.emplace_back())) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", text, "\" is no idea of the simulation"));
    }
  }
  return idea;
}

std::string TextOf(std::vector<int> idea) {
  std::sort(idea.begin(), idea.end());
  return absl::StrJoin(idea, "+");
}

absl::StatusOr<MethodScore> Score(
    const std::vector<std::vector<Candidate>>& problems,
    const SimulationOptions& options) {
  std::vector<std::vector<Sample>> samples;
  double diversity = 0;
  for (const std::vector<Candidate>& candidates : problems) {
    samples.emplace_back();
    for (const Candidate& candidate : candidates) {
      samples.back().push_back(
          {true, absl::StartsWith(candidate.program, "right ")});
    }
    // Shuffled or independent: the first are as good as drawn ones.
    const size_t judged =
        std::min(candidates.size(), static_cast<size_t>(options.judged));
    int64_t similar = 0, pairs = 0;
    for (size_t i = 0; i < judged; ++i) {
      for (size_t j = i + 1; j < judged; ++j, ++pairs) {
        const auto idea = [&](size_t k) {
          const absl::string_view program = candidates[k].program;
          return program.substr(program.find(' '));
        };
        similar += idea(i) == idea(j);
      }
    }
    REPRO_ASSIGN_OR_RETURN(const double of_problem, Diversity(similar, pairs));
    diversity += of_problem / static_cast<double>(problems.size());
  }
  MethodScore score;
  score.diversity = diversity;
  REPRO_ASSIGN_OR_RETURN(score.pass_at_1,
                         MeanPassAtK(samples, 1, Filter::kNone));
  REPRO_ASSIGN_OR_RETURN(score.pass_at_200,
                         MeanPassAtK(samples, kManyPrograms, Filter::kNone));
  REPRO_ASSIGN_OR_RETURN(score.gain,
                         RelativeGain(score.pass_at_1, score.pass_at_200));
  return score;
}

}  // namespace

SimulatedThinker::SimulatedThinker(const SimulationOptions& options,
                                   double peakedness, std::vector<int> needed,
                                   double solve_probability, uint64_t seed)
    : options_(options),
      weights_(ZipfWeights(options.observations, peakedness)),
      creative_weights_(
          ZipfWeights(options.observations, options.creative * peakedness)),
      needed_(std::move(needed)),
      solve_probability_(solve_probability),
      generator_(seed) {}

double SimulatedThinker::Uniform() { return UniformOf(generator_); }

std::string SimulatedThinker::Write(const std::vector<int>& idea) {
  bool right = true;
  if (options_.ideas_matter) {
    for (const int observation : needed_)
      right = right && Has(idea, observation);
    for (const int observation : idea) {
      if (!Has(needed_, observation)) right &= Uniform() >= options_.misleads;
    }
    right &= Uniform() < options_.implements;
  } else {
    right = Uniform() < solve_probability_;
  }
  return absl::StrCat(right ? "right " : "wrong ", TextOf(idea));
}

absl::StatusOr<Observations> SimulatedThinker::Observe(
    const Problem&, const Observations& given, bool) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<int> known,
                         Elements(absl::StrJoin(given, "+")));
  const int spread =
      options_.most_observations - options_.fewest_observations + 1;
  const int count =
      options_.fewest_observations + static_cast<int>(Uniform() * spread);
  std::vector<int> idea = known;
  AddByWeight(count, creative_weights_, generator_, idea);
  // A derived observation says what it is derived from, and something new.
  Observations observations;
  for (size_t i = known.size(); i < idea.size(); ++i) {
    std::vector<int> observation = known;
    observation.push_back(idea[i]);
    observations.push_back(TextOf(std::move(observation)));
  }
  return observations;
}

absl::StatusOr<std::string> SimulatedThinker::Sketch(
    const Problem& problem, const Observations& observations) {
  if (observations.empty()) return Idea(problem, 0);
  REPRO_ASSIGN_OR_RETURN(const std::vector<int> all,
                         Elements(absl::StrJoin(observations, "+")));
  std::vector<int> idea;
  for (const int observation : all) {
    if (!Has(idea, observation)) idea.push_back(observation);
  }
  return TextOf(std::move(idea));
}

absl::StatusOr<std::string> SimulatedThinker::Fix(const Problem&,
                                                  const std::string& sketch) {
  REPRO_ASSIGN_OR_RETURN(std::vector<int> idea, Elements(sketch));
  const auto idle =
      std::find_if(idea.begin(), idea.end(),
                   [&](int observation) { return !Has(needed_, observation); });
  if (idle != idea.end() && Uniform() < options_.fix_drops) {
    idea.erase(idle);
  } else {
    AddByWeight(1, creative_weights_, generator_, idea);
  }
  return TextOf(std::move(idea));
}

absl::StatusOr<std::string> SimulatedThinker::Implement(
    const Problem&, const std::string& idea) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<int> elements, Elements(idea));
  return Write(elements);
}

absl::StatusOr<std::string> SimulatedThinker::Program(const Problem&,
                                                      uint64_t) {
  std::vector<int> idea;
  AddByWeight(options_.idea_size, weights_, generator_, idea);
  return Write(idea);
}

absl::StatusOr<std::string> SimulatedThinker::Idea(const Problem&, uint64_t) {
  std::vector<int> idea;
  AddByWeight(options_.idea_size, creative_weights_, generator_, idea);
  return TextOf(std::move(idea));
}

absl::StatusOr<std::string> SimulatedThinker::ImplementIdea(
    const Problem& problem, const std::string& idea, uint64_t) {
  return Implement(problem, idea);
}

absl::StatusOr<SimulatedScores> Simulate(const SimulationOptions& options,
                                         uint64_t seed) {
  std::mt19937_64 generator(seed);
  struct Hidden {
    std::vector<int> needed;
    double solve_probability = 0;
  };
  std::vector<Hidden> problems(options.problems);
  const std::vector<double> weights_of_needed =
      ZipfWeights(options.observations, options.peakedness_of_needed);
  for (Hidden& problem : problems) {
    double left = UniformOf(generator);
    int size = 0;
    do {
      left -= options.size_of_needed[size++];
    } while (left >= 0 &&
             size < static_cast<int>(options.size_of_needed.size()));
    AddByWeight(size, weights_of_needed, generator, problem.needed);
    problem.solve_probability = std::pow(10.0, -3 * UniformOf(generator));
  }
  SimulatedScores scores;
  for (const double peakedness : options.peakedness_of_model) {
    std::vector<std::vector<Candidate>> repeated, ideas, plans;
    for (const Hidden& problem : problems) {
      SimulatedThinker thinker(options, peakedness, problem.needed,
                               problem.solve_probability, generator());
      REPRO_ASSIGN_OR_RETURN(
          repeated.emplace_back(),
          RepeatedSampling(Problem(), thinker, options.samples));
      REPRO_ASSIGN_OR_RETURN(ideas.emplace_back(),
                             IdeaSearch(Problem(), thinker, options.samples));
      REPRO_ASSIGN_OR_RETURN(SearchResult result,
                             PlanSearch(Problem(), thinker, {}, generator));
      plans.push_back(std::move(result.candidates));
    }
    REPRO_ASSIGN_OR_RETURN(scores.repeated_sampling.emplace_back(),
                           Score(repeated, options));
    REPRO_ASSIGN_OR_RETURN(scores.idea_search.emplace_back(),
                           Score(ideas, options));
    REPRO_ASSIGN_OR_RETURN(scores.plan_search.emplace_back(),
                           Score(plans, options));
  }
  return scores;
}

}  // namespace repro::plan_search
