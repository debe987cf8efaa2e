#include "papers/token_select/infinite_bench_scores.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/jsonl.h"
#include "common/metrics/qa.h"
#include "common/status/macros.h"

namespace repro::token_select {
namespace {

using metrics::InfiniteBenchRules;
using nlohmann::json;
using Scorer = std::function<double(const std::string& text, const json& label,
                                    InfiniteBenchRules rules)>;

// A label may be an array of one.
const json& OnlyLabel(const json& label) {
  return label.is_array() ? label.at(0) : label;
}

template <double (*F1)(absl::string_view, absl::string_view)>
double BestF1(const std::string& text, const json& label, InfiniteBenchRules) {
  double best = 0;
  for (const std::string& answer : label.get<std::vector<std::string>>()) {
    best = std::max(best, F1(text, answer));
  }
  return best;
}

const std::map<std::string, Scorer>& Scorers() {
  const Scorer digits = [](const std::string& text, const json& label, auto) {
    return metrics::FirstDigitsMatch(text, OnlyLabel(label).get<std::string>());
  };
  static const auto* const scorers = new std::map<std::string, Scorer>{
      {"passkey", digits},
      {"number_string", digits},
      {"kv_retrieval",
       [](const std::string& text, const json& label, auto) {
         return metrics::ContainsWord(text,
                                      OnlyLabel(label).get<std::string>());
       }},
      {"code_run",
       [](const std::string& text, const json& label, auto) {
         return metrics::LastWordIsInteger(text,
                                           OnlyLabel(label).get<int64_t>());
       }},
      {"math_find",
       [](const std::string& text, const json& label, auto) {
         const json& number = OnlyLabel(label);
         return number.is_number_float()
                    ? metrics::FirstNumberIs(text, number.get<double>())
                    : metrics::FirstNumberIs(text, number.get<int64_t>());
       }},
      {"longbook_choice_eng",
       [](const std::string& text, const json& label,
          InfiniteBenchRules rules) {
         return metrics::ChoiceIsRight(text, label, rules);
       }},
      {"longdialogue_qa_eng",
       [](const std::string& text, const json& label,
          InfiniteBenchRules rules) {
         return metrics::DialogueIsRight(text, label, rules);
       }},
      {"longbook_qa_eng", BestF1<metrics::QaF1>},
      {"longbook_qa_chn", BestF1<metrics::ChineseCharacterF1>}};
  return *scorers;
}

}  // namespace

absl::StatusOr<std::map<std::string, double>> ScorePredictions(
    const std::string& path, const std::string& task,
    InfiniteBenchRules rules) {
  const auto scorer = Scorers().find(task);
  if (scorer == Scorers().end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("InfiniteBench: no scorer of task \"", task, "\""));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::map<std::string, std::pair<double, double>> sums;  // score, records
  for (const JsonLine& line : lines) {
    try {
      auto& [score, records] = sums[line.value.at("model").get<std::string>()];
      score += scorer->second(line.value.at("pred").get<std::string>(),
                              line.value.at("label"), rules);
      ++records;
    } catch (const json::exception& error) {
      return absl::DataLossError(
          absl::StrCat(path, ":", line.line, ": ", error.what()));
    }
  }
  std::map<std::string, double> means;
  for (const auto& [model, sum] : sums) {
    means[model] = 100 * sum.first / sum.second;
  }
  return means;
}

}  // namespace repro::token_select
