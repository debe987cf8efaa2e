#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/data/io.h"
#include "common/lm/model.h"
#include "common/lm/perplexity.h"
#include "common/lm/policy.h"
#include "common/status/macros.h"
#include "common/testbed/niah.h"
#include "tools/commands.h"
#include "tools/language_model.h"
#include "tools/terminal.h"

namespace repro {
namespace {

// A policy with its options, and how the table calls it.
struct Row {
  std::string label, name, options;
};

// Every policy at every budget. A policy with an option "budget" gets it as it
// is, "window" as sinks and recent tokens that add up to it; others run once.
absl::StatusOr<std::vector<Row>> Rows(const EvaluateCommandOptions& options) {
  std::vector<Row> rows;
  for (const std::string& policy : options.policies) {
    const std::vector<std::string> parts =
        absl::StrSplit(policy, absl::MaxSplits(':', 1));
    const std::string given = parts.size() > 1 ? parts[1] : "";
    REPRO_ASSIGN_OR_RETURN(const lm::Policy* found, lm::FindPolicy(parts[0]));
    const bool has_budget =
        std::any_of(found->options.begin(), found->options.end(),
                    [](const auto& o) { return o.first == "budget"; });
    const bool window = parts[0] == "window" && given.empty();
    if (!has_budget && !window) {
      rows.push_back({policy, parts[0], given});
      continue;
    }
    for (const int64_t budget : options.budgets) {
      const std::string sized =
          window ? absl::StrCat("sink=4,recent=", budget - 4)
                 : absl::StrCat(given, given.empty() ? "" : ",",
                                "budget=", budget);
      rows.push_back({absl::StrCat(policy, " ", budget), parts[0], sized});
    }
  }
  return rows;
}

}  // namespace

absl::StatusOr<int> EvaluateCommand(const EvaluateCommandOptions& options,
                                    Format format) {
  if (options.policies.empty() || options.lengths.empty() ||
      options.depths.empty()) {
    return absl::InvalidArgumentError(
        "evaluate: name at least one policy, length and depth");
  }
  for (const int64_t budget : options.budgets) {
    if (budget < 5) {
      return absl::InvalidArgumentError(
          absl::StrCat("evaluate: budget ", budget, ", expected at least 5"));
    }
  }
  ModelOptions model_options;
  if (!options.model.empty()) model_options.model = options.model;
  model_options.device = options.device;
  model_options.threads = options.threads;
  bool missing = false;
  REPRO_ASSIGN_OR_RETURN(const RunnableModel runnable,
                         LoadRunnableModel(model_options, &missing));
  const lm::LanguageModel& model = *runnable.model;
  const Tokenizer& tokenizer = *runnable.tokenizer;

  testbed::NiahConfig niah;
  niah.lengths = options.lengths;
  niah.depths = options.depths;
  niah.count = options.count;
  std::string text = niah.haystack;
  if (!options.text_path.empty()) {
    REPRO_ASSIGN_OR_RETURN(text, ReadFile(options.text_path, int64_t{1} << 26));
    niah.haystack = text;
  }
  // Perplexity is of the text itself; without one it would be of a few
  // sentences over and over.
  at::Tensor perplexity_tokens;
  if (!options.text_path.empty()) {
    REPRO_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text));
    const int64_t most =
        *std::max_element(options.lengths.begin(), options.lengths.end());
    ids.resize(std::min<size_t>(ids.size(), most));
    perplexity_tokens =
        at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong);
  }

  REPRO_ASSIGN_OR_RETURN(const std::vector<Row> rows, Rows(options));
  std::vector<std::string> header = {"policy"};
  for (const int64_t length : options.lengths) {
    header.push_back(absl::StrCat("needle ", length));
  }
  header.push_back("needle");
  if (perplexity_tokens.defined()) header.push_back("perplexity");
  TextTable table(header);
  nlohmann::json json = nlohmann::json::array();
  for (const Row& row : rows) {
    std::cerr << row.label << " ...\n";
    REPRO_ASSIGN_OR_RETURN(const lm::PolicyOptions policy_options,
                           lm::PolicyOptions::Parse(row.options));
    REPRO_ASSIGN_OR_RETURN(const lm::StateFactory factory,
                           lm::PreparePolicy(row.name, policy_options, model));
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<testbed::NiahCell> cells,
        testbed::EvaluateNiah(model, tokenizer, factory, niah));
    std::vector<std::string> values = {row.label};
    double sum = 0;
    for (size_t l = 0; l < options.lengths.size(); ++l) {
      double of_length = 0;
      for (size_t d = 0; d < options.depths.size(); ++d) {
        of_length += cells[l * options.depths.size() + d].mean();
      }
      sum += of_length;
      values.push_back(absl::StrFormat(
          "%.3f", of_length / static_cast<double>(options.depths.size())));
    }
    values.push_back(
        absl::StrFormat("%.3f", sum / static_cast<double>(cells.size())));
    if (perplexity_tokens.defined()) {
      values.push_back(absl::StrFormat(
          "%.3f",
          lm::Perplexity(model, factory, perplexity_tokens, niah.prompt_chunk)
              .perplexity()));
    }
    table.AddRow(values);
    nlohmann::json one;
    for (size_t i = 0; i < header.size(); ++i) one[header[i]] = values[i];
    json.push_back(std::move(one));
    if (g_stop) return absl::CancelledError("stopped");
  }
  if (format == Format::kJson) {
    std::cout << json.dump(2) << "\n";
  } else {
    std::cout << (format == Format::kMarkdown ? table.ToMarkdown()
                                              : table.ToText());
  }
  return kExitOk;
}

}  // namespace repro
