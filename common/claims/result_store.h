#ifndef REPRO_COMMON_CLAIMS_RESULT_STORE_H_
#define REPRO_COMMON_CLAIMS_RESULT_STORE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/claims/result.pb.h"

namespace repro {

// What this program writes. Raised when the meaning of a field changes.
inline constexpr int kResultSchemaVersion = 1;

// Writes a result as protobuf JSON, in place of what `path` held: readers see
// the old file or the new one, never a part.
absl::Status WriteResult(const Result& result, const std::string& path);

// InvalidArgumentError for what is not a result, FailedPreconditionError for
// one of a newer schema; both name the file and what to do.
absl::StatusOr<Result> ReadResult(const std::string& path);

// The paths of the .json files of a folder, sorted, which is by time for
// results of runs. Empty if there is no such folder.
std::vector<std::string> ListResults(const std::string& folder);

// Reads all of ListResults(). A file that cannot be read is left out and
// described in `problems`.
std::vector<Result> ReadResults(const std::string& folder,
                                std::vector<std::string>* problems);

}  // namespace repro

#endif  // REPRO_COMMON_CLAIMS_RESULT_STORE_H_
