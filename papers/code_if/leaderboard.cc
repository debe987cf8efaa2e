#include "papers/code_if/leaderboard.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/io.h"
#include "common/data/json.h"
#include "common/status/macros.h"
#include "papers/code_if/questions.h"

namespace repro::code_if {
namespace {

using nlohmann::json;

// Metric and the file's name of it.
constexpr std::pair<const char*, const char*> kMetrics[] = {
    {"CSR", "CS"}, {"SSR", "SS"}, {"RSR", "RS"}, {"CCSR", "CCS"}};

constexpr const char* kLanguageSubsets[] = {"full_java", "full_python",
                                            "full_cpp", "full_go"};

absl::StatusOr<double> Share(const json& value, const std::string& key) {
  const std::string text = value.at(key).get<std::string>();
  double number;
  if (!absl::SimpleAtod(text, &number) || !(number >= 0 && number <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "field \"", key, "\": ", Quoted(text), " is no number in [0, 1]"));
  }
  return number;
}

absl::Status ReadModel(const json& value, ModelScores* read) {
  read->model = value.at("model").get<std::string>();
  for (const char* subset : kSubsets) {
    SubsetScores& scores = read->subsets[subset];
    const std::string key = absl::StrCat(subset, "_data_len");
    const std::string count = value.at(key).get<std::string>();
    if (!absl::SimpleAtoi(count, &scores.num_scored) || scores.num_scored < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("field \"", key, "\": ", Quoted(count),
                       " is no number of questions"));
    }
    for (const auto& [metric, name] : kMetrics) {
      REPRO_ASSIGN_OR_RETURN(scores.metrics[metric],
                             Share(value, absl::StrCat(subset, "_", name)));
    }
    for (const char* category : kCategories) {
      REPRO_ASSIGN_OR_RETURN(
          scores.category_ssr[category],
          Share(value, absl::StrCat(subset, "_", category, "_SS")));
    }
  }
  return absl::OkStatus();
}

// The metric times the questions scored.
double Sum(const ModelScores& model, const std::string& subset,
           const std::string& metric) {
  const SubsetScores& scores = model.subsets.at(subset);
  return static_cast<double>(scores.num_scored) * scores.metrics.at(metric);
}

double SumOfLanguages(const ModelScores& model, const std::string& metric) {
  double sum = 0;
  for (const char* language : kLanguageSubsets) {
    sum += Sum(model, language, metric);
  }
  return sum;
}

}  // namespace

absl::StatusOr<std::vector<ModelScores>> ReadLeaderboard(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const json file, ReadJson(path));
  std::vector<ModelScores> models;
  std::set<std::string> names;
  std::string place = "performances";
  absl::Status status;
  try {
    const json& performances = file.at("performances");
    if (!performances.is_array() || performances.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": \"performances\" is no list of models"));
    }
    for (const json& value : performances) {
      place = absl::StrCat("model ", models.size() + 1);
      ModelScores read;
      status = ReadModel(value, &read);
      if (status.ok() && !names.insert(read.model).second) {
        status = absl::InvalidArgumentError(
            absl::StrCat(Quoted(read.model), " comes twice"));
      }
      if (!status.ok()) break;
      models.push_back(std::move(read));
    }
  } catch (const json::exception& error) {
    status = absl::InvalidArgumentError(error.what());
  }
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", place, ": ", status.message()));
  }
  return models;
}

absl::StatusOr<const ModelScores*> FindModel(
    const std::vector<ModelScores>& models, absl::string_view name) {
  std::vector<std::string> names;
  for (const ModelScores& model : models) {
    if (model.model == name) return &model;
    names.push_back(model.model);
  }
  return absl::NotFoundError(absl::StrCat("no model \"", name, "\"; there are ",
                                          absl::StrJoin(names, ", ")));
}

absl::StatusOr<double> FromOtherSubsets(const ModelScores& model,
                                        absl::string_view subset,
                                        absl::string_view metric) {
  const std::string name(metric);
  if (model.subsets.at("full").metrics.count(name) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("no metric \"", metric, "\""));
  }
  double questions = 0;
  for (const char* language : kLanguageSubsets) {
    questions += static_cast<double>(model.subsets.at(language).num_scored);
  }
  const double sum = SumOfLanguages(model, name);
  if (subset == "full") return sum / questions;
  if (subset != "easy" && subset != "hard") {
    return absl::InvalidArgumentError(
        absl::StrCat("no subset \"", subset, "\" that others add up to"));
  }
  const std::string other = subset == "easy" ? "hard" : "easy";
  questions -= static_cast<double>(model.subsets.at(other).num_scored);
  if (questions < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(model.model, ": no questions are left for ", subset));
  }
  return (sum - Sum(model, other, name)) / questions;
}

double LargestPartitionError(const std::vector<ModelScores>& models) {
  double largest = 0;
  for (const ModelScores& model : models) {
    const auto questions =
        static_cast<double>(model.subsets.at("full").num_scored);
    for (const auto& [metric, value] : model.subsets.at("full").metrics) {
      const double halves =
          Sum(model, "easy", metric) + Sum(model, "hard", metric);
      largest = std::max(
          {largest, std::abs(halves / questions - value),
           std::abs(SumOfLanguages(model, metric) / questions - value)});
    }
  }
  return largest;
}

double LargestCountError(const std::vector<ModelScores>& models) {
  double largest = 0;
  for (const ModelScores& model : models) {
    for (const char* subset : kSubsets) {
      const double count = Sum(model, subset, "CSR");
      largest = std::max(largest, std::abs(count - std::round(count)));
    }
  }
  return largest;
}

int64_t CountInstructionShares(const std::vector<ModelScores>& models,
                               const std::map<std::string, int64_t>& sizes,
                               double least_share) {
  int64_t count = 0;
  for (const ModelScores& model : models) {
    for (const auto& [category, value] :
         model.subsets.at("full").category_ssr) {
      const auto size = sizes.find(category);
      if (size == sizes.end()) continue;
      for (int64_t n = size->second;
           static_cast<double>(n) >=
           least_share * static_cast<double>(size->second);
           --n) {
        const double yes = value * static_cast<double>(n);
        if (std::abs(yes - std::round(yes)) < 1e-9 * static_cast<double>(n)) {
          ++count;
          break;
        }
      }
    }
  }
  return count;
}

}  // namespace repro::code_if
