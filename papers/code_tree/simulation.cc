#include "papers/code_tree/simulation.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro::code_tree {
namespace {

constexpr char kRight[] = "right";
constexpr int kPlaceOfRight = -1;

double Reward(const RecordedProgram& program) {
  return program.visible_total == 0
             ? 1.0
             : static_cast<double>(program.visible_passed) /
                   program.visible_total;
}

}  // namespace

SimulatedAgents::SimulatedAgents(const Pool& pool,
                                 const SimulationOptions& options,
                                 uint64_t seed)
    : pool_(pool), options_(options), generator_(seed) {
  for (size_t i = 0; i < pool.size(); ++i) quality_.push_back(Uniform());
}

// The standard's distributions differ from library to library.
double SimulatedAgents::Uniform() {
  return static_cast<double>(generator_() >> 11) * 0x1.0p-53;
}

int SimulatedAgents::UniformInt(int count) {
  return static_cast<int>(Uniform() * count);
}

std::vector<std::string> SimulatedAgents::Items(const char* what, int count) {
  std::vector<std::string> items;
  for (int i = 0; i < count; ++i) items.push_back(absl::StrCat(what, " ", i));
  return items;
}

absl::StatusOr<int> SimulatedAgents::Place(const std::string& program) const {
  if (program == kRight) return kPlaceOfRight;
  int place = 0;
  if (!absl::SimpleAtoi(program, &place) || place < 0 ||
      place >= static_cast<int>(pool_.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(program), " is no program of this pool"));
  }
  return place;
}

absl::StatusOr<bool> SimulatedAgents::IsRight(
    const std::string& program) const {
  REPRO_ASSIGN_OR_RETURN(const int place, Place(program));
  return place == kPlaceOfRight || pool_[place].right;
}

absl::StatusOr<std::vector<std::string>> SimulatedAgents::Strategies(
    const Problem&, std::optional<int> count, int) {
  return Items("strategy",
               count ? *count : 1 + UniformInt(options_.most_strategies));
}

absl::StatusOr<std::string> SimulatedAgents::Solve(const Problem&,
                                                   const std::string&,
                                                   const Sampling&) {
  return absl::StrCat(UniformInt(static_cast<int>(pool_.size())));
}

absl::StatusOr<std::vector<std::string>> SimulatedAgents::Reflections(
    const Problem&, const std::string&, const std::string&, const std::string&,
    const std::string&, std::optional<int> count) {
  return Items("reflection",
               count ? *count : 1 + UniformInt(options_.most_reflections));
}

absl::StatusOr<std::string> SimulatedAgents::Repair(const Problem& problem,
                                                    const std::string& program,
                                                    const std::string&,
                                                    const std::string&) {
  REPRO_ASSIGN_OR_RETURN(const int place, Place(program));
  const bool right = place == kPlaceOfRight || pool_[place].right;
  const double keeps =
      right ? options_.repair_keeps_right : options_.repair_stuck;
  if (!right) {
    const double mends = options_.repair_base +
                         options_.repair_by_reward * Reward(pool_[place]) +
                         options_.repair_by_quality * quality_[place];
    if (Uniform() < mends) return std::string(kRight);
  }
  if (Uniform() < keeps) return program;
  return Solve(problem, "", {});
}

absl::StatusOr<int> SimulatedAgents::Score(const Problem&,
                                           const std::string& program,
                                           const std::string&) {
  REPRO_ASSIGN_OR_RETURN(const int place, Place(program));
  if (Uniform() < 2 * options_.critic_noise) return UniformInt(6);
  return place == kPlaceOfRight
             ? 5
             : static_cast<int>(std::lround(5 * quality_[place]));
}

absl::StatusOr<Review> SimulatedAgents::Verify(const Problem&,
                                               const std::string& program,
                                               const std::string&) {
  REPRO_ASSIGN_OR_RETURN(const bool right, IsRight(program));
  const bool turned = Uniform() < options_.critic_noise;
  return Review{right != turned, "a review"};
}

absl::StatusOr<Feedback> SimulatedAgents::Run(const Problem&,
                                              const std::string& program) {
  REPRO_ASSIGN_OR_RETURN(const int place, Place(program));
  Feedback feedback;
  if (place == kPlaceOfRight) {
    feedback.total = feedback.passed = pool_[0].visible_total;
    feedback.reward = 1;
  } else {
    feedback.total = pool_[place].visible_total;
    feedback.passed = pool_[place].visible_passed;
    feedback.reward = Reward(pool_[place]);
  }
  feedback.text = "feedback";
  return feedback;
}

absl::StatusOr<SimulatedScore> Simulate(const std::vector<Pool>& problems,
                                        const SearchOptions& search,
                                        const SimulationOptions& options,
                                        uint64_t seed) {
  SimulatedScore score;
  for (size_t i = 0; i < problems.size(); ++i) {
    std::seed_seq mix{seed, static_cast<uint64_t>(i)};
    std::vector<uint32_t> words(2);
    mix.generate(words.begin(), words.end());
    SimulatedAgents agents(problems[i], options,
                           (uint64_t{words[0]} << 32) | words[1]);
    Problem problem;
    problem.id = absl::StrCat("problem ", i);
    REPRO_ASSIGN_OR_RETURN(const SearchResult result,
                           Search(problem, agents, agents, search));
    const auto right = [&](Variant variant) -> absl::StatusOr<bool> {
      const auto program = result.Submission(variant);
      if (!program) return false;
      return agents.IsRight(*program);
    };
    REPRO_ASSIGN_OR_RETURN(const bool published, right(Variant::kAsPublished));
    REPRO_ASSIGN_OR_RETURN(const bool coded, right(Variant::kAsCoded));
    score.published += published;
    score.coded += coded;
    score.mean_programs += result.programs();
  }
  const auto count = static_cast<double>(problems.size());
  score.published *= 100 / count;
  score.coded *= 100 / count;
  score.mean_programs /= count;
  return score;
}

}  // namespace repro::code_tree
