#include "papers/asap/summary_bleu.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/data/jsonl.h"
#include "common/metrics/bleu.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::asap {

using metrics::CodeXglueTokens;
using metrics::Tokens;

double SummaryBleu(absl::string_view comment, absl::string_view summary) {
  // An error only where there is no reference.
  return 100 * *metrics::CodeXglueSentenceBleu({CodeXglueTokens(comment)},
                                               CodeXglueTokens(summary));
}

absl::StatusOr<std::map<std::string, double>> ScoreSets(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::map<std::string, std::pair<double, int64_t>> sums;  // BLEU, records
  for (const JsonLine& line : lines) {
    const char* field = "";
    const auto text = [&](const char* name) {
      field = name;
      return line.value.at(name).get<std::string>();
    };
    try {
      auto& [bleu, records] = sums[text("set")];
      bleu += SummaryBleu(text("gold"), text("pred"));
      ++records;
    } catch (const nlohmann::json::exception& error) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ":", line.line, ": field \"", field, "\": ", error.what()));
    }
  }
  std::map<std::string, double> means;
  for (const auto& [set, sum] : sums) {
    means[set] = sum.first / static_cast<double>(sum.second);
  }
  return means;
}

absl::StatusOr<double> ScoreFiles(const std::string& gold_path,
                                  const std::string& prediction_path) {
  REPRO_ASSIGN_OR_RETURN(const std::string gold, ReadFile(gold_path));
  REPRO_ASSIGN_OR_RETURN(const std::string predicted,
                         ReadFile(prediction_path));
  std::map<std::string, Tokens> predictions;
  LineReader prediction_lines(predicted);
  absl::string_view line;
  while (prediction_lines.Next(&line)) {
    // What follows a second tab is no part of the prediction.
    const Tokens fields =
        metrics::SplitKeepingEmpty(metrics::Strip(line), '\t');
    predictions[fields[0]] =
        CodeXglueTokens(fields.size() > 1 ? fields[1] : "");
  }
  std::map<std::string, std::vector<Tokens>> comments;
  LineReader gold_lines(gold);
  while (gold_lines.Next(&line)) {
    const Tokens fields = metrics::SplitKeepingEmpty(line, '\t');
    if (fields.size() != 2) {
      return absl::InvalidArgumentError(absl::StrCat(
          gold_path, ":", gold_lines.line_number(),
          ": wanted \"id TAB comment\", found ", fields.size(), " fields"));
    }
    if (predictions.count(fields[0]) > 0) {
      comments[fields[0]].push_back(CodeXglueTokens(fields[1]));
    }
  }
  if (comments.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no id of ", gold_path, " is in ", prediction_path));
  }
  double sum = 0;
  for (const auto& [id, references] : comments) {
    REPRO_ASSIGN_OR_RETURN(const double bleu, metrics::CodeXglueSentenceBleu(
                                                  references, predictions[id]));
    sum += bleu;
  }
  return 100 * sum / static_cast<double>(comments.size());
}

}  // namespace repro::asap
