#ifndef REPRO_TOOLS_EVALUATION_EVALUATION_STORE_H_
#define REPRO_TOOLS_EVALUATION_EVALUATION_STORE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/evaluation/evaluation.pb.h"

namespace repro {

inline constexpr int kEvaluationSchemaVersion = 1;

// As WriteResult of common/claims.
absl::Status WriteEvaluation(const PolicyEvaluation& evaluation,
                             const std::string& path);

// InvalidArgumentError for what is no evaluation, one without a score, or a
// score with another number of lengths than the evaluation has.
absl::StatusOr<PolicyEvaluation> ReadEvaluation(const std::string& path);

// Whether scores of `evaluation` stand beside those of `stored`: all but the
// scores and the time are the same. InvalidArgumentError says what is not.
absl::Status SameEvaluation(const PolicyEvaluation& stored,
                            const PolicyEvaluation& evaluation);

// Whether a policy with its options has a score.
bool HasScore(const PolicyEvaluation& evaluation, const std::string& policy,
              const std::string& options);

// All of a folder's .json files, sorted by name. What cannot be read is left
// out and described in `problems`.
std::vector<PolicyEvaluation> ReadEvaluations(
    const std::string& folder, std::vector<std::string>* problems);

}  // namespace repro

#endif  // REPRO_TOOLS_EVALUATION_EVALUATION_STORE_H_
