#include "papers/next_edit/evaluation.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/data/jsonl.h"
#include "common/metrics/line_diff.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::next_edit {
namespace {

using metrics::Hunk;

constexpr absl::string_view kOpeningTag = "<next_version>\n";
constexpr absl::string_view kClosingTag = "\n</next_version>";

bool ChangesBlankLinesOnly(const Hunk& hunk) {
  return std::all_of(
      hunk.lines.begin(), hunk.lines.end(), [](const std::string& line) {
        return line[0] == ' ' ||
               metrics::Strip(absl::string_view(line).substr(1)).empty();
      });
}

std::vector<Hunk> CountedHunks(absl::string_view from, absl::string_view to) {
  std::vector<Hunk> hunks =
      metrics::Hunks(metrics::SplitLines(from, metrics::LineEnds::kDrop),
                     metrics::SplitLines(to, metrics::LineEnds::kDrop));
  hunks.erase(std::remove_if(hunks.begin(), hunks.end(), ChangesBlankLinesOnly),
              hunks.end());
  return hunks;
}

std::vector<std::string> ContextLines(const Hunk& hunk) {
  std::vector<std::string> context;
  std::copy_if(hunk.lines.begin(), hunk.lines.end(),
               std::back_inserter(context),
               [](const std::string& line) { return line[0] == ' '; });
  return context;
}

}  // namespace

absl::StatusOr<Matches> Match(absl::string_view current_contents,
                              absl::string_view new_contents,
                              absl::string_view output) {
  const std::vector<Hunk> wanted = CountedHunks(current_contents, new_contents);
  if (wanted.empty()) {
    return absl::InvalidArgumentError(
        "the true next version changes nothing but blank lines");
  }
  const Hunk& truth = wanted.front();
  const std::vector<std::string> true_context = ContextLines(truth);
  Matches matches;
  matches.exact = new_contents == output;
  for (const Hunk& hunk : CountedHunks(current_contents, output)) {
    matches.partial |=
        hunk.Header() == truth.Header() && hunk.lines == truth.lines;
    matches.position |= ContextLines(hunk) == true_context;
  }
  return matches;
}

bool ExactUpToTrailingSpace(absl::string_view new_contents,
                            absl::string_view output) {
  return metrics::StripTrailing(new_contents) == metrics::StripTrailing(output);
}

std::optional<std::string> AnswerOfApiModel(absl::string_view response) {
  if (absl::StartsWith(response, "```")) {
    // As response[first_newline + 1:-4] in Python; without a line end, from 0.
    const size_t begin = response.find('\n') + 1;
    const size_t end = response.size() - std::min<size_t>(response.size(), 4);
    response = response.substr(begin, end - std::min(begin, end));
  }
  absl::ConsumeSuffix(&response, "\n");
  if (!absl::StartsWith(response, kOpeningTag) ||
      !absl::EndsWith(response, kClosingTag)) {
    return std::nullopt;
  }
  // The tags may share their line end: text[15:-16] is then empty.
  const size_t end = response.size() - kClosingTag.size();
  const size_t begin = std::min(kOpeningTag.size(), end);
  return std::string(response.substr(begin, end - begin));
}

std::string AnswerOfLocalModel(absl::string_view response) {
  const size_t tag = response.find(kOpeningTag);
  if (tag == absl::string_view::npos) return std::string(response);
  const size_t begin = tag + kOpeningTag.size();
  const size_t end = response.find(kClosingTag, begin);
  if (end == absl::string_view::npos) return std::string(response);
  return std::string(response.substr(begin, end - begin));
}

absl::StatusOr<std::vector<ModelOutput>> ReadOutputs(const std::string& path,
                                                     int64_t num_samples) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no outputs"));
  }
  std::vector<ModelOutput> outputs;
  std::set<int64_t> indices;
  std::set<int64_t> positions;
  for (const JsonLine& line : lines) {
    ModelOutput output;
    const char* field = "";
    const auto error = [&](const std::string& what) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ":", line.line, ": field \"", field, "\": ", what));
    };
    const auto value = [&](const char* name) {
      field = name;
      return line.value.at(name);
    };
    try {
      output.output = value("model_output").get<std::string>();
      output.judged_correct = value("judge").get<std::string>() == "yes";
      output.file_position = value("file_position").get<int64_t>();
      if (output.file_position < 0 ||
          output.file_position >= static_cast<int64_t>(lines.size()) ||
          !positions.insert(output.file_position).second) {
        return error(absl::StrCat(output.file_position,
                                  " is an earlier record's, or not below ",
                                  lines.size()));
      }
      output.index = value("index").get<int64_t>();
      if (output.index < 0 || output.index >= num_samples ||
          !indices.insert(output.index).second) {
        return error(absl::StrCat(output.index,
                                  " is an earlier record's, or not below ",
                                  num_samples));
      }
    } catch (const nlohmann::json::exception& exception) {
      return error(exception.what());
    }
    outputs.push_back(std::move(output));
  }
  return outputs;
}

}  // namespace repro::next_edit
