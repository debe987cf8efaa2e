#include "papers/multi_intent/comment_samples.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/data/json_record.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"

namespace repro::multi_intent {

absl::StatusOr<std::vector<CommentSample>> ReadCommentSamples(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<CommentSample> samples;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    CommentSample sample;
    REPRO_ASSIGN_OR_RETURN(sample.id, record.Text("id"));
    REPRO_ASSIGN_OR_RETURN(sample.code, record.Text("raw_code"));
    REPRO_ASSIGN_OR_RETURN(sample.comment, record.Text("comment"));
    REPRO_ASSIGN_OR_RETURN(const std::string label, record.Text("label"));
    if (sample.code.empty()) return record.Error("field \"raw_code\" is empty");
    if (sample.comment.empty()) {
      return record.Error("field \"comment\" is empty");
    }
    const absl::StatusOr<Intent> intent = ParseLabel(label);
    if (!intent.ok()) {
      return record.Error(
          absl::StrCat("field \"label\": ", intent.status().message()));
    }
    sample.intent = *intent;
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace repro::multi_intent
