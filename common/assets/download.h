#ifndef REPRO_COMMON_ASSETS_DOWNLOAD_H_
#define REPRO_COMMON_ASSETS_DOWNLOAD_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace repro {

struct DownloadOptions {
  int attempts = 4;  // At least 1.
  absl::Duration backoff = absl::Seconds(1);
  int64_t expected_bytes = 0;  // 0: unknown.
  // See FetchProgress in asset_store.h.
  std::function<bool(int64_t, int64_t)> progress;
};

// Brings https, http or file `url` to `part_path`. Bytes that are there are
// kept and the rest asked for (HTTP Range); a server that sends the whole file
// all the same starts it afresh. Redirects are followed to http and https only.
// Tried again with growing pauses: no connection, a cut connection, a timeout,
// HTTP 408, 429 and 5xx. On OK the file is whole by what the server said of its
// length; the digest is the caller's to check. On an error the part is kept.
// Errors: NotFound (HTTP 404, 410, no such file), PermissionDenied (401, 403),
// Unavailable, Cancelled, ResourceExhausted (full disk), InvalidArgument
// (another scheme), DataLoss (more bytes than `expected_bytes`; the part is
// removed).
absl::Status Download(const std::string& url, const std::string& part_path,
                      const DownloadOptions& options);

}  // namespace repro

#endif  // REPRO_COMMON_ASSETS_DOWNLOAD_H_
