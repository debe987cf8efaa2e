#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/assets/sha256.h"
#include "common/claims/proto_json.h"
#include "common/data/io.h"
#include "common/lm/model.h"
#include "common/lm/perplexity.h"
#include "common/lm/policy.h"
#include "common/status/macros.h"
#include "common/testbed/niah.h"
#include "tools/commands.h"
#include "tools/environment.h"
#include "tools/evaluation/evaluation_store.h"
#include "tools/language_model.h"
#include "tools/terminal.h"

namespace repro {
namespace {

// A policy with its options.
struct Row {
  std::string policy;  // as the user named it
  std::string name, options;
  int64_t budget = 0;
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
      rows.push_back({policy, parts[0], given, 0});
      continue;
    }
    for (const int64_t budget : options.budgets) {
      const std::string sized =
          window ? absl::StrCat("sink=4,recent=", budget - 4)
                 : absl::StrCat(given, given.empty() ? "" : ",",
                                "budget=", budget);
      rows.push_back({policy, parts[0], sized, budget});
    }
  }
  return rows;
}

// The table of scores, perplexity last if there is one.
TextTable TableOf(const PolicyEvaluation& evaluation) {
  const bool perplexity = evaluation.perplexity_tokens() > 0;
  std::vector<std::string> header = {"policy", "budget"};
  for (const int64_t length : evaluation.lengths()) {
    header.push_back(absl::StrCat("needle ", length));
  }
  header.push_back("needle");
  if (perplexity) header.push_back("perplexity");
  TextTable table(header);
  for (const PolicyScore& score : evaluation.scores()) {
    std::vector<std::string> values = {
        score.policy(),
        score.budget() > 0 ? absl::StrCat(score.budget()) : "-"};
    double sum = 0;
    for (const double needle : score.needle()) {
      sum += needle;
      values.push_back(absl::StrFormat("%.3f", needle));
    }
    values.push_back(absl::StrFormat("%.3f", sum / score.needle_size()));
    if (perplexity) {
      values.push_back(absl::StrFormat("%.3f", score.perplexity()));
    }
    table.AddRow(values);
  }
  return table;
}

}  // namespace

absl::StatusOr<int> EvaluateCommand(const EvaluateCommandOptions& options,
                                    Format format) {
  if (options.policies.empty() || options.lengths.empty() ||
      options.depths.empty()) {
    return absl::InvalidArgumentError(
        "evaluate: name at least one policy, length and depth");
  }
  if (options.resume && options.record_path.empty()) {
    return absl::InvalidArgumentError(
        "evaluate: --resume goes on with the file of --record, which is not "
        "named");
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

  PolicyEvaluation evaluation;
  evaluation.set_schema_version(kEvaluationSchemaVersion);
  evaluation.set_measured_at(
      absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone()));
  evaluation.set_model(runnable.name);
  REPRO_ASSIGN_OR_RETURN(const RunEnvironment environment,
                         MakeEnvironment(options.device));
  evaluation.set_device(environment.device_name);
  *evaluation.mutable_build() = environment.build;
  *evaluation.mutable_machine() = environment.machine;
  if (!options.text_path.empty()) {
    evaluation.set_text(
        std::filesystem::path(options.text_path).filename().string());
    evaluation.set_text_sha256(Sha256(text));
    evaluation.set_perplexity_tokens(perplexity_tokens.numel());
  }
  *evaluation.mutable_lengths() = {options.lengths.begin(),
                                   options.lengths.end()};
  *evaluation.mutable_depths() = {options.depths.begin(), options.depths.end()};
  evaluation.set_count(options.count);

  if (options.resume && std::filesystem::exists(options.record_path)) {
    REPRO_ASSIGN_OR_RETURN(const PolicyEvaluation stored,
                           ReadEvaluation(options.record_path));
    const absl::Status same = SameEvaluation(stored, evaluation);
    if (!same.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(options.record_path, " is ", same.message()));
    }
    evaluation = stored;
  }

  REPRO_ASSIGN_OR_RETURN(const std::vector<Row> rows, Rows(options));
  size_t number = 0;
  for (const Row& row : rows) {
    const bool have = HasScore(evaluation, row.policy, row.options);
    std::cerr << ++number << " of " << rows.size() << ": " << row.policy
              << (row.options.empty() ? "" : " ") << row.options
              << (have ? ", measured before\n" : "\n");
    if (have) continue;
    const absl::Time start = absl::Now();
    REPRO_ASSIGN_OR_RETURN(const lm::PolicyOptions policy_options,
                           lm::PolicyOptions::Parse(row.options));
    REPRO_ASSIGN_OR_RETURN(const lm::StateFactory factory,
                           lm::PreparePolicy(row.name, policy_options, model));
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<testbed::NiahCell> cells,
        testbed::EvaluateNiah(model, tokenizer, factory, niah));
    PolicyScore* score = evaluation.add_scores();
    score->set_policy(row.policy);
    score->set_options(row.options);
    score->set_budget(row.budget);
    const size_t num_depths = options.depths.size();
    for (size_t l = 0; l < options.lengths.size(); ++l) {
      double sum = 0;
      for (size_t d = 0; d < num_depths; ++d) {
        sum += cells[l * num_depths + d].mean();
      }
      score->add_needle(sum / static_cast<double>(num_depths));
    }
    if (perplexity_tokens.defined()) {
      score->set_perplexity(
          lm::Perplexity(model, factory, perplexity_tokens, niah.prompt_chunk)
              .perplexity());
    }
    score->set_seconds(absl::ToDoubleSeconds(absl::Now() - start));
    // What is done stays if the rest is stopped.
    if (!options.record_path.empty()) {
      REPRO_RETURN_IF_ERROR(WriteEvaluation(evaluation, options.record_path));
    }
    if (g_stop) return absl::CancelledError("stopped");
  }
  if (format == Format::kJson) {
    REPRO_ASSIGN_OR_RETURN(const std::string json, ProtoJson(evaluation));
    std::cout << json;
  } else {
    const TextTable table = TableOf(evaluation);
    std::cout << (format == Format::kMarkdown ? table.ToMarkdown()
                                              : table.ToText());
  }
  return kExitOk;
}

}  // namespace repro
