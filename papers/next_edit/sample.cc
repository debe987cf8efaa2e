#include "papers/next_edit/sample.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/jsonl.h"
#include "common/metrics/edit_distance.h"
#include "common/metrics/line_diff.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::next_edit {

using metrics::LineEnds;
using metrics::SplitLines;

absl::StatusOr<std::vector<Sample>> ReadSamples(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no samples"));
  }
  std::vector<Sample> samples;
  for (const JsonLine& line : lines) {
    Sample sample;
    const char* field = "";
    const auto text = [&](const char* name) {
      field = name;
      return line.value.at(name).get<std::string>();
    };
    const auto error = [&](const std::string& what) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ":", line.line, ": field \"", field, "\": ", what));
    };
    try {
      sample.language = text("language");
      if (std::find(kLanguages.begin(), kLanguages.end(), sample.language) ==
          kLanguages.end()) {
        return error(
            absl::StrCat("no language of the test set: ", sample.language));
      }
      sample.old_file = text("old_file");
      sample.new_file = text("new_file");
      sample.old_contents = text("old_contents");
      sample.current_contents = text("current_contents");
      sample.new_contents = text("new_contents");
      sample.text_sha256 = text("text_sha256");
      field = "index";
      sample.index = line.value.at(field).get<int64_t>();
    } catch (const nlohmann::json::exception& exception) {
      return error(exception.what());
    }
    if (sample.index != static_cast<int64_t>(samples.size())) {
      return error(absl::StrCat("wanted ", samples.size(),
                                ", the number of the row, found ",
                                sample.index));
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::optional<std::string> RemoveLastInsertion(absl::string_view old_contents,
                                               absl::string_view new_contents) {
  const auto new_lines = SplitLines(new_contents, LineEnds::kKeep);
  const std::vector<metrics::Opcode> opcodes = metrics::LineOpcodes(
      SplitLines(old_contents, LineEnds::kKeep), new_lines);
  const auto last = std::find_if(
      opcodes.rbegin(), opcodes.rend(), [](const metrics::Opcode& opcode) {
        return opcode.kind == metrics::EditKind::kInsert;
      });
  if (last == opcodes.rend()) return std::nullopt;
  const auto begin = new_lines.begin();
  return absl::StrCat(absl::StrJoin(begin, begin + last->b_begin, ""),
                      absl::StrJoin(begin + last->b_end, new_lines.end(), ""));
}

std::string EditsDiff(const Sample& sample) {
  return absl::StrJoin(
      metrics::UnifiedDiff(SplitLines(sample.old_contents, LineEnds::kDrop),
                           SplitLines(sample.current_contents, LineEnds::kDrop),
                           sample.old_file, sample.new_file),
      "\n");
}

std::string Prompt(const Sample& sample) {
  return absl::StrCat("<|original_code|>\n", sample.old_contents,
                      "\n<|edits_diff|>\n", EditsDiff(sample),
                      "\n<|current_version|>\n", sample.current_contents,
                      "\n<|next_version|>\n");
}

std::string Target(const Sample& sample) {
  return absl::StrCat(sample.new_contents, "\n");
}

}  // namespace repro::next_edit
