#include "papers/code_if/metrics.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::code_if {

absl::StatusOr<Scores> ScoreVerdicts(const std::vector<bool>& verdicts,
                                     const Dependencies& dependencies) {
  const auto size = static_cast<int64_t>(verdicts.size());
  if (size == 0) return absl::InvalidArgumentError("no verdicts");
  const auto check = [size](int64_t position) {
    if (position >= 0 && position < size) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "dependencies: position ", position, " of ", size, " verdicts"));
  };
  for (const auto& [position, needed] : dependencies) {
    REPRO_RETURN_IF_ERROR(check(position));
    for (const int64_t other : needed) REPRO_RETURN_IF_ERROR(check(other));
  }
  int64_t yes = 0, rigorous = 0, run = 0, longest = 0;
  for (int64_t i = 0; i < size; ++i) {
    run = verdicts[i] ? run + 1 : 0;
    longest = std::max(longest, run);
    if (!verdicts[i]) continue;
    ++yes;
    const auto needed = dependencies.find(i);
    rigorous += needed == dependencies.end() ||
                std::all_of(needed->second.begin(), needed->second.end(),
                            [&](int64_t other) { return verdicts[other]; });
  }
  const auto share = [size](int64_t count) {
    return static_cast<double>(count) / static_cast<double>(size);
  };
  return Scores{yes == size ? 1.0 : 0.0, share(yes), share(rigorous),
                share(longest)};
}

absl::StatusOr<BenchmarkScores> ScoreQuestions(
    const std::vector<Question>& questions,
    const std::vector<std::optional<std::vector<bool>>>& verdicts) {
  if (verdicts.size() != questions.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(verdicts.size(), " lists of verdicts for ",
                     questions.size(), " questions"));
  }
  BenchmarkScores scores;
  std::map<std::string, int64_t> asked, followed;
  for (size_t q = 0; q < questions.size(); ++q) {
    const Question& question = questions[q];
    if (!verdicts[q]) {
      ++scores.num_dropped;
      continue;
    }
    const std::vector<bool>& given = *verdicts[q];
    if (given.size() != question.instructions.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "question ", question.id, ": ", given.size(), " verdicts for ",
          question.instructions.size(), " instructions"));
    }
    const absl::StatusOr<Scores> one =
        ScoreVerdicts(given, question.dependencies);
    if (!one.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("question ", question.id, ": ", one.status().message()));
    }
    ++scores.num_scored;
    scores.mean.csr += one->csr;
    scores.mean.ssr += one->ssr;
    scores.mean.rsr += one->rsr;
    scores.mean.ccsr += one->ccsr;
    for (size_t i = 0; i < given.size(); ++i) {
      const std::string& category = question.instructions[i].category;
      ++asked[category];
      followed[category] += given[i];
    }
  }
  if (scores.num_scored == 0) {
    return absl::InvalidArgumentError("no question has verdicts");
  }
  for (double* sum : {&scores.mean.csr, &scores.mean.ssr, &scores.mean.rsr,
                      &scores.mean.ccsr}) {
    *sum /= static_cast<double>(scores.num_scored);
  }
  for (const auto& [category, count] : asked) {
    scores.category_ssr[category] =
        static_cast<double>(followed[category]) / static_cast<double>(count);
  }
  return scores;
}

absl::StatusOr<double> IndependentCsr(double p,
                                      const std::vector<int64_t>& counts) {
  if (!(p >= 0 && p <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("p is ", p, ", not in [0, 1]"));
  }
  if (counts.empty()) return absl::InvalidArgumentError("no questions");
  double sum = 0;
  for (const int64_t count : counts) {
    if (count < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("a question with ", count, " instructions"));
    }
    sum += std::pow(p, static_cast<double>(count));
  }
  return sum / static_cast<double>(counts.size());
}

}  // namespace repro::code_if
