#include "papers/chain_of_code/bbh.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"

namespace repro::chain_of_code {
namespace {

// Calls `use` with task and record for each line, having checked that i counts
// up in each task and that all 27 names are there.
absl::Status ForEachRecord(
    const std::string& path, const std::vector<std::string>& fields,
    const std::function<void(const std::string&, const nlohmann::json&)>& use) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::map<std::string, int64_t> counts;
  for (const Task& task : Tasks()) {
    for (const std::string& file : task.files) counts[file] = 0;
  }
  const auto wrong = [&](int64_t line, const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ":", line, ": ", what));
  };
  for (const auto& [value, line] : lines) {
    if (!value.is_object()) return wrong(line, "not an object");
    const auto task = value.find("task"), i = value.find("i");
    if (task == value.end() || !task->is_string()) {
      return wrong(line, "field \"task\" is not a string");
    }
    const auto count = counts.find(task->get<std::string>());
    if (count == counts.end()) {
      return wrong(line,
                   absl::StrCat("no task ", Quoted(task->get<std::string>()),
                                " in BIG-Bench Hard"));
    }
    if (i == value.end() || !i->is_number_integer() || *i != count->second) {
      return wrong(line, absl::StrCat("field \"i\" is not ", count->second,
                                      ", the next of its task"));
    }
    ++count->second;
    for (const std::string& field : fields) {
      const auto at = value.find(field);
      if (at == value.end() || !at->is_string()) {
        return wrong(line,
                     absl::StrCat("field \"", field, "\" is not a string"));
      }
    }
    use(count->first, value);
  }
  for (const auto& [file, count] : counts) {
    if (count == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": no line of task \"", file, "\""));
    }
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<Task>& Tasks() {
  using Type = ExecutionType;
  constexpr Kind kNlp = Kind::kNlp, kAlgorithmic = Kind::kAlgorithmic;
  static const auto& tasks = *new std::vector<Task>{
      {"Boolean Expressions",
       {"boolean_expressions"},
       kAlgorithmic,
       Type::kPythonSameProgram},
      {"Causal Judgement",
       {"causal_judgement"},
       kNlp,
       Type::kLmDifferentProgram},
      {"Date Understanding",
       {"date_understanding"},
       kNlp,
       Type::kPythonDifferentProgram},
      {"Disambiguation QA", {"disambiguation_qa"}, kNlp, Type::kLmSameProgram},
      {"Dyck Languages",
       {"dyck_languages"},
       kAlgorithmic,
       Type::kPythonSameProgram},
      {"Formal Fallacies",
       {"formal_fallacies"},
       kNlp,
       Type::kLmDifferentProgram},
      {"Geometric Shapes",
       {"geometric_shapes"},
       kAlgorithmic,
       Type::kPythonSameProgram},
      {"Hyperbaton", {"hyperbaton"}, kNlp, Type::kLmSameProgram},
      {"Logical Deduction",
       {"logical_deduction_three_objects", "logical_deduction_five_objects",
        "logical_deduction_seven_objects"},
       kAlgorithmic,
       Type::kLmDifferentProgram},
      {"Movie Recommendation",
       {"movie_recommendation"},
       kNlp,
       Type::kLmSameProgram},
      {"Multi-Step Arithmetic",
       {"multistep_arithmetic_two"},
       kAlgorithmic,
       Type::kPythonSameProgram},
      {"Navigate", {"navigate"}, kAlgorithmic, Type::kLmDifferentProgram},
      {"Object Counting",
       {"object_counting"},
       kAlgorithmic,
       Type::kPythonDifferentProgram},
      {"Penguins in a Table",
       {"penguins_in_a_table"},
       kNlp,
       Type::kPythonDifferentProgram},
      {"Reasoning about Colored Objects",
       {"reasoning_about_colored_objects"},
       kNlp,
       Type::kPythonDifferentProgram},
      {"Ruin Names", {"ruin_names"}, kNlp, Type::kLmSameProgram},
      {"Salient Translation Error Detection",
       {"salient_translation_error_detection"},
       kNlp,
       Type::kLmSameProgram},
      {"Snarks", {"snarks"}, kNlp, Type::kLmSameProgram},
      {"Sports Understanding",
       {"sports_understanding"},
       kNlp,
       Type::kLmSameProgram},
      {"Temporal Sequences",
       {"temporal_sequences"},
       kAlgorithmic,
       Type::kLmDifferentProgram},
      {"Tracking Shuffled Objects",
       {"tracking_shuffled_objects_three_objects",
        "tracking_shuffled_objects_five_objects",
        "tracking_shuffled_objects_seven_objects"},
       kAlgorithmic,
       Type::kPythonDifferentProgram},
      {"Web of Lies",
       {"web_of_lies"},
       kAlgorithmic,
       Type::kPythonDifferentProgram},
      {"Word Sorting",
       {"word_sorting"},
       kAlgorithmic,
       Type::kPythonSameProgram},
  };
  return tasks;
}

absl::StatusOr<std::function<bool(const Task&)>> TaskGroup(
    absl::string_view name) {
  const auto kind = [](Kind wanted) {
    return [wanted](const Task& task) { return task.kind == wanted; };
  };
  const auto execution = [](ExecutionType wanted) {
    return [wanted](const Task& task) { return task.execution == wanted; };
  };
  const std::map<std::string, std::function<bool(const Task&)>, std::less<>>
      groups = {
          {"all", [](const Task&) { return true; }},
          {"nlp", kind(Kind::kNlp)},
          {"algorithmic", kind(Kind::kAlgorithmic)},
          {"python_same", execution(ExecutionType::kPythonSameProgram)},
          {"python_different",
           execution(ExecutionType::kPythonDifferentProgram)},
          {"lm_same", execution(ExecutionType::kLmSameProgram)},
          {"lm_different", execution(ExecutionType::kLmDifferentProgram)},
      };
  const auto found = groups.find(std::string(name));
  if (found == groups.end()) {
    return absl::NotFoundError(
        absl::StrCat("no group of tasks \"", name, "\""));
  }
  return found->second;
}

absl::StatusOr<std::map<std::string, std::vector<Instance>>> ReadBbh(
    const std::string& path) {
  std::map<std::string, std::vector<Instance>> instances;
  REPRO_RETURN_IF_ERROR(ForEachRecord(
      path, {"input", "target"},
      [&](const std::string& file, const nlohmann::json& value) {
        instances[file].push_back({value["input"].get<std::string>(),
                                   value["target"].get<std::string>()});
      }));
  return instances;
}

absl::StatusOr<std::map<std::string, std::vector<std::string>>> ReadPredictions(
    const std::string& path, const std::string& field) {
  std::map<std::string, std::vector<std::string>> predictions;
  REPRO_RETURN_IF_ERROR(ForEachRecord(
      path, {field}, [&](const std::string& file, const nlohmann::json& value) {
        predictions[file].push_back(value[field].get<std::string>());
      }));
  return predictions;
}

absl::StatusOr<std::vector<Instance>> ParseCotPrompt(absl::string_view text) {
  constexpr absl::string_view kQuestion = "\n\nQ: ", kReasoning = "\nA: ",
                              kSo = "So the answer is ";
  std::vector<Instance> instances;
  size_t at = text.find(kQuestion);
  while (at != absl::string_view::npos) {
    absl::string_view example = text.substr(at + kQuestion.size());
    at = text.find(kQuestion, at + 1);
    if (at != absl::string_view::npos) {
      example = example.substr(0, example.find(kQuestion));
    }
    const size_t reasoning = example.find(kReasoning);
    const size_t so = example.rfind(kSo);
    if (reasoning == absl::string_view::npos || so == absl::string_view::npos ||
        so < reasoning) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a worked question without \"A:\" or \"So the answer is\": ",
          Quoted(example)));
    }
    instances.push_back({std::string(example.substr(0, reasoning)),
                         CotAnswer(example.substr(so))});
  }
  if (instances.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no worked question in ", Quoted(text)));
  }
  return instances;
}

std::string DirectAnswer(absl::string_view prediction) {
  return std::string(absl::StripAsciiWhitespace(prediction));
}

std::string CotAnswer(absl::string_view prediction) {
  constexpr absl::string_view kMark = "answer is ";
  const size_t at = prediction.rfind(kMark);
  if (at != absl::string_view::npos) {
    prediction.remove_prefix(at + kMark.size());
  }
  prediction = absl::StripAsciiWhitespace(prediction);
  while (absl::EndsWith(prediction, ".")) prediction.remove_suffix(1);
  return std::string(prediction);
}

absl::StatusOr<double> Accuracy(const std::vector<std::string>& answers,
                                const std::vector<Instance>& instances) {
  if (answers.size() != instances.size() || answers.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(answers.size(), " answers to ", instances.size(),
                     " questions: expected one for each, and some"));
  }
  int64_t right = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    right += answers[i] == instances[i].target;
  }
  return 100.0 * static_cast<double>(right) /
         static_cast<double>(answers.size());
}

absl::StatusOr<double> MeanOverTasks(
    const std::map<std::string, double>& by_file, absl::string_view group) {
  REPRO_ASSIGN_OR_RETURN(const auto in_group, TaskGroup(group));
  double sum = 0;
  int64_t count = 0;
  for (const Task& task : Tasks()) {
    if (!in_group(task)) continue;
    double of_task = 0;
    for (const std::string& file : task.files) {
      const auto found = by_file.find(file);
      if (found == by_file.end()) {
        return absl::NotFoundError(absl::StrCat("no value of \"", file, "\""));
      }
      of_task += found->second;
    }
    sum += of_task / static_cast<double>(task.files.size());
    ++count;
  }
  return sum / static_cast<double>(count);
}

}  // namespace repro::chain_of_code
