// Methods with a comment of one intent: what is retrieved, shown and asked for.
#ifndef REPRO_PAPERS_MULTI_INTENT_COMMENT_SAMPLES_H_
#define REPRO_PAPERS_MULTI_INTENT_COMMENT_SAMPLES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/multi_intent/intent.h"

namespace repro::multi_intent {

struct CommentSample {
  std::string id;
  std::string code;
  std::string comment;  // lower case, tokens between single spaces
  Intent intent = Intent::kWhat;
};

// Reads DOME's JSON Lines, plain or gzip, with the texts id, raw_code, comment
// and label. Errors: those of ReadJsonl; InvalidArgument "path:line: ..." for a
// record without one of them, with one of another kind, with an unknown label,
// or with nothing as code or comment, and for a file without records.
absl::StatusOr<std::vector<CommentSample>> ReadCommentSamples(
    const std::string& path);

}  // namespace repro::multi_intent

#endif  // REPRO_PAPERS_MULTI_INTENT_COMMENT_SAMPLES_H_
