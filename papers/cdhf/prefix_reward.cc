#include "papers/cdhf/prefix_reward.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/jsonl.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro::cdhf {
namespace {

std::vector<float> TextColumnsOf(const std::array<double, 4>& sizes,
                                 const std::array<double, kFlags>& suggestion,
                                 const std::array<double, kFlags>& prompt) {
  std::vector<float> columns;
  for (const double value : sizes) {
    columns.push_back(static_cast<float>(value));
  }
  for (const auto* flags : {&suggestion, &prompt}) {
    for (const double value : *flags) {
      columns.push_back(static_cast<float>(value));
    }
  }
  return columns;
}

// As the release has texts.
std::string JsonString(absl::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

enum class Kind { kSpace, kWord, kOther };

Kind KindOf(int32_t code_point) {
  if (metrics::IsSpace(code_point)) return Kind::kSpace;
  return metrics::IsWord(code_point) ? Kind::kWord : Kind::kOther;
}

}  // namespace

absl::StatusOr<std::vector<double>> NormalisedCurve(
    const std::vector<double>& scores) {
  if (scores.empty()) return absl::InvalidArgumentError("no scores");
  double highest = 0;
  for (const double score : scores) {
    if (!(score >= 0) || std::isinf(score)) {
      return absl::InvalidArgumentError(absl::StrCat("a score is ", score));
    }
    highest = std::max(highest, score);
  }
  if (highest == 0) return absl::InvalidArgumentError("all scores are 0");
  const auto size = static_cast<double>(scores.size());
  std::vector<double> curve;
  for (int percent = 0; percent <= 90; percent += 5) {
    const auto begin = static_cast<size_t>(std::floor(size * (percent / 100.)));
    const auto end = std::min(
        scores.size(),
        static_cast<size_t>(std::floor(size * ((percent + 5) / 100.))) + 1);
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += scores[i];
    curve.push_back(sum / static_cast<double>(end - begin) / highest);
  }
  return curve;
}

absl::StatusOr<double> PeakPosition(const std::vector<double>& scores) {
  if (scores.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(scores.size(), " scores: a position needs two"));
  }
  for (const double score : scores) {
    if (std::isnan(score)) return absl::InvalidArgumentError("a score is NaN");
  }
  const auto peak = std::max_element(scores.begin(), scores.end());
  return static_cast<double>(peak - scores.begin()) /
         static_cast<double>(scores.size() - 1);
}

absl::StatusOr<double> UniformKolmogorov(std::vector<double> values) {
  if (values.empty()) return absl::InvalidArgumentError("no values");
  for (const double value : values) {
    if (!(value >= 0 && value <= 1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("value ", value, " is not in [0, 1]"));
    }
  }
  std::sort(values.begin(), values.end());
  const auto size = static_cast<double>(values.size());
  double statistic = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto below = static_cast<double>(i) / size;
    const auto with = static_cast<double>(i + 1) / size;
    statistic = std::max({statistic, with - values[i], values[i] - below});
  }
  return statistic;
}

std::vector<float> TextColumns(const Example& example) {
  return TextColumnsOf({example.numbers[0], example.numbers[1],
                        example.numbers[2], example.numbers[3]},
                       example.suggestion_flags, example.prompt_flags);
}

std::vector<float> TextColumns(absl::string_view suggestion,
                               absl::string_view prompt) {
  Event shown;
  shown.state = "Shown";
  shown.suggestion = JsonString(suggestion);
  shown.prompt = JsonString(prompt);
  Event outcome = shown;
  outcome.state = "Accepted";
  outcome.index = 1;
  return TextColumns(MakeExamples({shown, outcome}).value()[0]);
}

std::vector<std::string> Prefixes(absl::string_view text) {
  std::vector<std::string> prefixes;
  size_t at = 0;
  while (at < text.size()) {
    const Kind kind = KindOf(NextCodePoint(text, &at));
    while (kind != Kind::kOther && at < text.size()) {
      size_t after = at;
      if (KindOf(NextCodePoint(text, &after)) != kind) break;
      at = after;
    }
    prefixes.emplace_back(text.substr(0, at));
  }
  return prefixes;
}

absl::StatusOr<std::vector<Problem>> ReadProblems(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::vector<Problem> problems;
  for (const JsonLine& line : lines) {
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", line.line, ": ", what));
    };
    Problem& problem = problems.emplace_back();
    try {
      problem.prompt = line.value.at("prompt").get<std::string>();
      problem.solution = line.value.at("canonical_solution").get<std::string>();
    } catch (const nlohmann::json::exception& exception) {
      return error(exception.what());
    }
    if (problem.prompt.empty() || problem.solution.empty()) {
      return error("prompt or canonical_solution is empty");
    }
  }
  if (problems.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no problems"));
  }
  return problems;
}

}  // namespace repro::cdhf
