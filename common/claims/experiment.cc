#include "common/claims/experiment.h"

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/claims/paper.h"
#include "common/status/macros.h"

namespace repro {
namespace {

// Levenshtein distance.
int EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<int> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const int substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

template <typename T, typename Parse>
absl::StatusOr<T> ParseArg(const absl::StatusOr<std::string>& text,
                           const Claim& claim, absl::string_view name,
                           const Parse& parse) {
  if (!text.ok()) return text.status();
  T value;
  if (!parse(*text, &value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("claim ", claim.id(), ": argument \"", name, "\" is \"",
                     *text, "\", a number is expected"));
  }
  return value;
}

}  // namespace

double Observation::NotMeasured() {
  return std::numeric_limits<double>::quiet_NaN();
}

absl::StatusOr<std::string> ExperimentRun::Arg(const Claim& claim,
                                               absl::string_view name) const {
  const auto found = claim.args().find(std::string(name));
  if (found == claim.args().end()) {
    return absl::NotFoundError(
        absl::StrCat("claim ", claim.id(), " has no argument \"", name,
                     "\", which experiment ", experiment_.id(), " needs"));
  }
  return found->second;
}

absl::StatusOr<int64_t> ExperimentRun::IntArg(const Claim& claim,
                                              absl::string_view name) const {
  return ParseArg<int64_t>(Arg(claim, name), claim, name,
                           [](const std::string& text, int64_t* value) {
                             return absl::SimpleAtoi(text, value);
                           });
}

absl::StatusOr<double> ExperimentRun::DoubleArg(const Claim& claim,
                                                absl::string_view name) const {
  return ParseArg<double>(Arg(claim, name), claim, name,
                          [](const std::string& text, double* value) {
                            return absl::SimpleAtod(text, value);
                          });
}

absl::Status UnknownName(const Claim& claim, absl::string_view what,
                         absl::string_view name) {
  return absl::InvalidArgumentError(
      absl::StrCat(claim.id(), ": no ", what, " \"", name, "\""));
}

absl::Status RecordByName(ExperimentRun& run, absl::string_view arg,
                          const std::map<std::string, double>& values) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, arg));
    const auto found = values.find(name);
    if (found == values.end()) return UnknownName(*claim, arg, name);
    run.Record(*claim, found->second);
  }
  return absl::OkStatus();
}

void ExperimentRun::Record(const Claim& claim, double value) {
  Observation observation;
  observation.value = value;
  Record(claim, std::move(observation));
}

void ExperimentRun::RecordCount(const Claim& claim, double count) {
  Record(claim, count / UnitScale(claim.unit()));
}

Registry& Registry::Global() {
  static Registry* const registry = new Registry;
  return *registry;
}

void Registry::AddPaper(const Paper& paper) {
  if (!papers_.emplace(paper.slug(), paper).second) {
    problems_.push_back(absl::StrCat("paper ", paper.slug(), " twice"));
  }
}

void Registry::AddExperiment(const std::string& paper,
                             const std::string& experiment,
                             ExperimentFunction function) {
  if (!functions_.emplace(std::make_pair(paper, experiment), function).second) {
    problems_.push_back(
        absl::StrCat("experiment ", paper, "/", experiment, " twice"));
  }
}

absl::StatusOr<const Paper*> Registry::FindPaper(absl::string_view slug) const {
  const auto found = papers_.find(std::string(slug));
  if (found != papers_.end()) return &found->second;
  std::vector<std::string> slugs;
  for (const auto& [name, paper] : papers_) slugs.push_back(name);
  return absl::NotFoundError(absl::StrCat("unknown paper \"", slug, "\"",
                                          DidYouMean(slug, slugs),
                                          "; see `repro list`"));
}

const ExperimentFunction* Registry::FindFunction(
    absl::string_view paper, absl::string_view experiment) const {
  const auto found =
      functions_.find({std::string(paper), std::string(experiment)});
  return found == functions_.end() ? nullptr : &found->second;
}

absl::Status Registry::Check() const {
  std::vector<std::string> problems = problems_;
  for (const auto& [slug, paper] : papers_) {
    for (const Experiment& experiment : paper.experiments()) {
      if (FindFunction(slug, experiment.id()) == nullptr) {
        problems.push_back(absl::StrCat("papers/", slug, ": experiment \"",
                                        experiment.id(),
                                        "\" is declared and not registered"));
      }
    }
  }
  for (const auto& [key, function] : functions_) {
    const auto paper = papers_.find(key.first);
    if (paper == papers_.end() ||
        FindExperiment(paper->second, key.second) == nullptr) {
      problems.push_back(absl::StrCat("papers/", key.first, ": experiment \"",
                                      key.second,
                                      "\" is registered and not declared"));
    }
  }
  if (problems.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrJoin(problems, "\n"));
}

std::string DidYouMean(absl::string_view name,
                       const std::vector<std::string>& names) {
  std::vector<std::pair<int, std::string>> near;
  for (const std::string& candidate : names) {
    const int distance =
        absl::StrContains(candidate, name) ? 1 : EditDistance(name, candidate);
    if (distance <= std::max<int>(2, name.size() / 3)) {
      near.emplace_back(distance, candidate);
    }
  }
  if (near.empty() || name.empty()) return "";
  std::sort(near.begin(), near.end());
  near.resize(std::min<size_t>(near.size(), 3));
  return absl::StrCat(", did you mean ",
                      absl::StrJoin(near, " or ",
                                    [](std::string* out, const auto& pair) {
                                      absl::StrAppend(out, pair.second);
                                    }),
                      "?");
}

}  // namespace repro
