// The released data, as the experiments read it.
#ifndef REPRO_PAPERS_MULTI_INTENT_TEST_SPLIT_H_
#define REPRO_PAPERS_MULTI_INTENT_TEST_SPLIT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/claims/experiment.h"
#include "common/status/macros.h"
#include "papers/multi_intent/comment_samples.h"

namespace repro::multi_intent {

inline constexpr char kSlug[] = "multi_intent";
inline constexpr char kTestSplit[] = "tlc_test";  // the asset

inline absl::StatusOr<std::vector<CommentSample>> TestSplit(
    ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath(kTestSplit));
  return ReadCommentSamples(path);
}

}  // namespace repro::multi_intent

#endif  // REPRO_PAPERS_MULTI_INTENT_TEST_SPLIT_H_
