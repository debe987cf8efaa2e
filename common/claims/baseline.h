#ifndef REPRO_COMMON_CLAIMS_BASELINE_H_
#define REPRO_COMMON_CLAIMS_BASELINE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/claims/result.pb.h"

namespace repro {

// The baselines of a folder (ci/baselines), one result file a paper, as one
// result. Only `paper`'s if given. NotFoundError if there is none.
absl::StatusOr<Result> ReadBaseline(const std::string& folder,
                                    const std::string& paper = "");

// Puts what `result` measured into the baselines of `folder`; claims that it
// did not measure keep theirs.
absl::Status UpdateBaseline(const Result& result, const std::string& folder);

}  // namespace repro

#endif  // REPRO_COMMON_CLAIMS_BASELINE_H_
