#include "papers/rank_ef/ranking.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/classification.h"
#include "common/metrics/generation.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro::rank_ef {
namespace {

bool IsCorrect(const Candidate& candidate) {
  return candidate.feedback.label == FeedbackClass::kCorrect;
}

metrics::SampledProblem CountSamples(const std::vector<Candidate>& candidates) {
  metrics::SampledProblem counts;
  for (const Candidate& candidate : candidates) {
    counts.samples += candidate.count;
    if (IsCorrect(candidate)) counts.correct += candidate.count;
  }
  return counts;
}

absl::Status CheckShape(const CandidatePool& pool, const Scores& scores) {
  if (scores.size() != pool.candidates.size()) {
    return absl::InvalidArgumentError(absl::StrCat("scores of ", scores.size(),
                                                   " problems for a pool of ",
                                                   pool.candidates.size()));
  }
  for (size_t p = 0; p < scores.size(); ++p) {
    if (scores[p].size() != pool.candidates[p].size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "problem ", pool.problems[p].task_id, ": ", scores[p].size(),
          " scores for ", pool.candidates[p].size(), " candidates"));
    }
    for (size_t i = 0; i < scores[p].size(); ++i) {
      if (std::isnan(scores[p][i])) {
        return absl::InvalidArgumentError(
            absl::StrCat("problem ", pool.problems[p].task_id,
                         ": the score of candidate ", i, " is NaN"));
      }
    }
  }
  return absl::OkStatus();
}

double NumCharacters(const std::string& text) {
  double characters = 0;
  for (size_t at = 0; at < text.size(); ++characters) NextCodePoint(text, &at);
  return characters;
}

bool Removes(Failures failures, const Candidate& candidate) {
  if (failures == Failures::kAllExecutionErrors) {
    return candidate.feedback.label == FeedbackClass::kExecutionError;
  }
  const std::string& type = candidate.feedback.error_type;
  if (type == "SyntaxError" || type == "IndentationError" ||
      type == "TabError") {
    return true;
  }
  return failures == Failures::kSyntaxNamesImports &&
         (type == "NameError" || type == "ImportError" ||
          type == "ModuleNotFoundError");
}

}  // namespace

absl::StatusOr<double> UnrankedPassAtK(const CandidatePool& pool, int64_t k) {
  std::vector<metrics::SampledProblem> problems;
  for (const auto& candidates : pool.candidates) {
    problems.push_back(CountSamples(candidates));
  }
  return metrics::MeanPassAtK(problems, k);
}

absl::StatusOr<double> RandomRankingPassAtK(const CandidatePool& pool,
                                            int64_t k) {
  if (pool.candidates.empty()) {
    return absl::InvalidArgumentError("pass@k of a pool without problems");
  }
  double sum = 0;
  for (const auto& candidates : pool.candidates) {
    metrics::SampledProblem counts;
    counts.samples = static_cast<int64_t>(candidates.size());
    counts.correct =
        std::count_if(candidates.begin(), candidates.end(), IsCorrect);
    REPRO_ASSIGN_OR_RETURN(
        const double estimate,
        metrics::PassAtK(counts, std::min(k, counts.samples)));
    sum += estimate;
  }
  return sum / static_cast<double>(pool.candidates.size());
}

absl::StatusOr<double> RankedPassAtK(const CandidatePool& pool,
                                     const Scores& scores, int64_t k) {
  REPRO_RETURN_IF_ERROR(CheckShape(pool, scores));
  if (k < 1 || pool.candidates.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "pass@", k, " of ", pool.candidates.size(),
        " ranked problems: expected k and the number to be at least 1"));
  }
  double solved = 0;
  for (size_t p = 0; p < scores.size(); ++p) {
    std::vector<size_t> order(scores[p].size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return scores[p][a] > scores[p][b];
    });
    order.resize(std::min<size_t>(order.size(), k));
    solved += std::any_of(order.begin(), order.end(), [&](size_t i) {
      return IsCorrect(pool.candidates[p][i]);
    });
  }
  return solved / static_cast<double>(scores.size());
}

absl::StatusOr<TrivialRanker> ParseTrivialRanker(absl::string_view name) {
  if (name == "first") return TrivialRanker::kFirst;
  if (name == "most_frequent") return TrivialRanker::kMostFrequent;
  if (name == "shortest") return TrivialRanker::kShortest;
  if (name == "longest") return TrivialRanker::kLongest;
  if (name == "oracle") return TrivialRanker::kOracle;
  return absl::InvalidArgumentError(absl::StrCat(
      "no ranker \"", name,
      "\": expected first, most_frequent, shortest, longest or oracle"));
}

Scores TrivialScores(const CandidatePool& pool, TrivialRanker ranker) {
  const auto score = [ranker](const Candidate& candidate) -> double {
    switch (ranker) {
      case TrivialRanker::kFirst:
        return 0;  // the pool is in this order
      case TrivialRanker::kMostFrequent:
        return static_cast<double>(candidate.count);
      case TrivialRanker::kShortest:
        return -NumCharacters(candidate.completion);
      case TrivialRanker::kLongest:
        return NumCharacters(candidate.completion);
      case TrivialRanker::kOracle:
        return IsCorrect(candidate);
    }
    return 0;
  };
  Scores scores;
  for (const auto& candidates : pool.candidates) {
    std::vector<double>& of_problem = scores.emplace_back();
    for (const Candidate& candidate : candidates) {
      of_problem.push_back(score(candidate));
    }
  }
  return scores;
}

absl::StatusOr<Failures> ParseFailures(absl::string_view name) {
  if (name == "syntax") return Failures::kSyntax;
  if (name == "syntax_names_imports") return Failures::kSyntaxNamesImports;
  if (name == "execution") return Failures::kAllExecutionErrors;
  return absl::InvalidArgumentError(
      absl::StrCat("no failures \"", name,
                   "\": expected syntax, syntax_names_imports or execution"));
}

double CeilingWithout(const CandidatePool& pool, Failures failures) {
  double sum = 0;
  for (const auto& candidates : pool.candidates) {
    double samples = 0, correct = 0;
    for (const Candidate& candidate : candidates) {
      if (Removes(failures, candidate)) continue;
      samples += static_cast<double>(candidate.count);
      if (IsCorrect(candidate)) correct += static_cast<double>(candidate.count);
    }
    if (samples > 0) sum += correct / samples;
  }
  return sum / static_cast<double>(pool.candidates.size());
}

absl::StatusOr<double> WithinProblemAuc(
    const CandidatePool& pool, const Scores& scores,
    const std::function<bool(const Candidate&)>& positive) {
  REPRO_RETURN_IF_ERROR(CheckShape(pool, scores));
  double sum = 0, problems = 0;
  for (size_t p = 0; p < scores.size(); ++p) {
    std::vector<bool> labels;
    for (const Candidate& candidate : pool.candidates[p]) {
      labels.push_back(positive(candidate));
    }
    const auto positives = std::count(labels.begin(), labels.end(), true);
    if (positives == 0 || positives == labels.size()) continue;
    REPRO_ASSIGN_OR_RETURN(const double area,
                           metrics::RocAuc(labels, scores[p]));
    sum += area;
    ++problems;
  }
  if (problems == 0) {
    return absl::InvalidArgumentError(
        "no problem has candidates of both kinds");
  }
  return sum / problems;
}

}  // namespace repro::rank_ef
