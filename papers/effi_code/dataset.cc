#include "papers/effi_code/dataset.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/code/functions.h"
#include "common/code/syntax_tree.h"
#include "common/code/tokens.h"
#include "common/data/io.h"
#include "common/data/json.h"
#include "common/status/macros.h"

namespace repro::effi_code {
namespace {

using nlohmann::json;

// Modules and built-ins that a task of the data must not need.
const std::set<absl::string_view>& RefusedNames() {
  static const auto* const kNames = new std::set<absl::string_view>{
      "open",    "input",      "eval",      "exec",           "compile",
      "os",      "sys",        "shutil",    "pathlib",        "subprocess",
      "socket",  "requests",   "urllib",    "http",           "random",
      "secrets", "threading",  "signal",    "ctypes",         "tempfile",
      "asyncio", "__import__", "importlib", "multiprocessing"};
  return *kNames;
}

// The text without white space at its ends and of one line, for duplicates.
std::string Normalized(absl::string_view text) {
  return absl::StrJoin(
      absl::StrSplit(text, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty()), " ");
}

// Tests that the solutions pass, of those that the model wrote.
absl::Status AddTests(std::vector<CollectedTask>* tasks,
                      completion::CompletionClient& client,
                      const CostFunction& cost, const DatasetOptions& options) {
  std::vector<TestedProgram> programs;
  std::vector<CollectedTask*> owners;
  for (CollectedTask& task : *tasks) {
    if (!task.tests.empty()) continue;
    completion::CompletionRequest request;
    request.messages = {{"user", TestPrompt(task)}};
    request.max_tokens = options.soap.max_tokens;
    request.seed = options.soap.seed;
    REPRO_ASSIGN_OR_RETURN(const std::string answer,
                           completion::Ask(client, request, "tests"));
    for (std::string& line : TestLines(answer, options.max_tests)) {
      programs.push_back({task.solution, std::move(line)});
      owners.push_back(&task);
    }
  }
  if (programs.empty()) return absl::OkStatus();
  REPRO_ASSIGN_OR_RETURN(const std::vector<ProgramCost> costs, cost(programs));
  if (costs.size() != programs.size()) {
    return absl::InternalError(
        absl::StrCat(costs.size(), " costs of ", programs.size(), " programs"));
  }
  for (size_t i = 0; i < programs.size(); ++i) {
    if (!costs[i].passed) continue;
    absl::StrAppend(&owners[i]->tests, programs[i].tests, "\n");
  }
  return absl::OkStatus();
}

}  // namespace

std::string RefusalOf(absl::string_view solution) {
  const auto tree = code::SyntaxTree::Parse(code::CodeLanguage::kPython,
                                            std::string(solution));
  if (!tree.ok()) return std::string(tree.status().message());
  if (tree->error_count() > 0) return "does not parse";
  if (code::ExtractFunctions(*tree).empty()) return "has no function";
  for (const code::CodeToken& token : code::Tokens(*tree)) {
    if (code::ClassOf(token) == code::TokenClass::kIdentifier &&
        RefusedNames().count(token.text) > 0) {
      return absl::StrCat("uses ", token.text);
    }
  }
  return "";
}

std::string TestPrompt(const CollectedTask& task) {
  return absl::StrCat(
      "Write tests for a Python function, one assert statement a line.\n\n"
      "Task:\n",
      task.instruction, "\n\nFunction:\n```python\n", task.solution, "\n```\n");
}

std::vector<std::string> TestLines(absl::string_view answer, int limit) {
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(answer, '\n')) {
    if (static_cast<int>(lines.size()) >= limit) break;
    line = absl::StripAsciiWhitespace(line);
    if (absl::StartsWith(line, "assert ") &&
        std::find(lines.begin(), lines.end(), line) == lines.end()) {
      lines.emplace_back(line);
    }
  }
  return lines;
}

absl::StatusOr<Dataset> BuildDataset(const std::vector<CollectedTask>& tasks,
                                     completion::CompletionClient& client,
                                     const CostFunction& cost,
                                     const DatasetOptions& options) {
  Dataset dataset;
  dataset.collected = static_cast<int64_t>(tasks.size());
  std::vector<CollectedTask> suitable;
  std::copy_if(tasks.begin(), tasks.end(), std::back_inserter(suitable),
               [](const CollectedTask& task) {
                 return RefusalOf(task.solution).empty();
               });
  dataset.suitable = static_cast<int64_t>(suitable.size());
  REPRO_RETURN_IF_ERROR(AddTests(&suitable, client, cost, options));
  std::vector<OptimizationTask> tested;
  for (CollectedTask& task : suitable) {
    if (task.tests.empty()) continue;
    tested.push_back({std::move(task.instruction), std::move(task.tests),
                      std::move(task.solution)});
  }
  REPRO_ASSIGN_OR_RETURN(std::vector<OptimizedProgram> optimized,
                         Optimize(tested, client, cost, options.soap));
  std::set<std::string> instructions;
  for (size_t i = 0; i < tested.size(); ++i) {
    OptimizedProgram& one = optimized[i];
    if (!one.initial.passed) continue;
    ++dataset.tested;
    dataset.tested_before += one.initial.overhead.time;
    dataset.tested_after += one.final.overhead.time;
    if (!IsBetter(one.final.overhead, one.initial.overhead,
                  options.selection)) {
      continue;
    }
    ++dataset.better;
    if (!instructions.insert(Normalized(tested[i].description)).second) {
      continue;
    }
    dataset.mean_before += one.initial.overhead.time;
    dataset.mean_after += one.final.overhead.time;
    dataset.pairs.push_back({std::move(tested[i].description),
                             std::move(one.program),
                             std::move(tested[i].program), one.initial.overhead,
                             one.final.overhead});
  }
  dataset.distinct = static_cast<int64_t>(dataset.pairs.size());
  const auto mean = [](double* sum, int64_t count) {
    if (count > 0) *sum /= static_cast<double>(count);
  };
  mean(&dataset.mean_before, dataset.distinct);
  mean(&dataset.mean_after, dataset.distinct);
  mean(&dataset.tested_before, dataset.tested);
  mean(&dataset.tested_after, dataset.tested);
  return dataset;
}

absl::StatusOr<std::vector<TrainingRecord>> ReadTrainingFile(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseTrainingFile(text, path);
}

absl::StatusOr<std::vector<TrainingRecord>> ParseTrainingFile(
    absl::string_view text, const std::string& name) {
  REPRO_ASSIGN_OR_RETURN(const json value, ParseJson(text, name));
  if (!value.is_array() || value.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected a list of records"));
  }
  std::vector<TrainingRecord> records;
  for (size_t i = 0; i < value.size(); ++i) {
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": record ", i, ": ", what));
    };
    if (!value[i].is_object()) return error("not an object");
    TrainingRecord& record = records.emplace_back();
    const std::pair<const char*, std::string*> fields[] = {
        {"instruction", &record.instruction},
        {"input", &record.input},
        {"output", &record.output}};
    for (const auto& [field, target] : fields) {
      const auto found = value[i].find(field);
      const bool optional = target == &record.input;
      if (found == value[i].end() && optional) continue;
      if (found == value[i].end() || !found->is_string()) {
        return error(absl::StrCat("field \"", field, "\" is not a text"));
      }
      *target = found->get<std::string>();
      if (target->empty() && !optional) {
        return error(absl::StrCat("field \"", field, "\" is empty"));
      }
    }
  }
  return records;
}

std::string TrainingFile(const std::vector<TrainingPair>& pairs) {
  json list = json::array();
  for (const TrainingPair& pair : pairs) {
    list.push_back({{"instruction", pair.instruction},
                    {"input", ""},
                    {"output", pair.optimized}});
  }
  return absl::StrCat(
      list.dump(1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace),
      "\n");
}

std::string CompletionPrompt(absl::string_view prompt) {
  return absl::StrCat("\nComplete this function.\n", prompt, "\n");
}

int64_t FineTuning::NumSteps(int64_t samples, int64_t devices) const {
  const auto validation =
      static_cast<int64_t>(validation_share * static_cast<double>(samples));
  const int64_t batch = device_batch * accumulation * devices;
  if (batch < 1 || samples <= validation) return 0;
  return epochs * ((samples - validation + batch - 1) / batch);
}

absl::StatusOr<EncodedExample> EncodeExample(const std::vector<int32_t>& prompt,
                                             const std::vector<int32_t>& answer,
                                             int32_t end, int64_t ignored,
                                             int64_t cutoff) {
  if (cutoff < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a cut-off of ", cutoff, " tokens"));
  }
  EncodedExample example;
  example.ids = prompt;
  example.labels.assign(prompt.size(), ignored);
  for (const int32_t id : answer) {
    example.ids.push_back(id);
    example.labels.push_back(id);
  }
  example.ids.push_back(end);
  example.labels.push_back(end);
  const size_t size = std::min(example.ids.size(), static_cast<size_t>(cutoff));
  example.ids.resize(size);
  example.labels.resize(size);
  return example;
}

}  // namespace repro::effi_code
