#ifndef REPRO_COMMON_DATA_IO_H_
#define REPRO_COMMON_DATA_IO_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

// Largest content that ReadFile returns unless told otherwise: a gzip file of
// a few kilobytes can unfold to gigabytes.
inline constexpr int64_t kMaxFileBytes = int64_t{4} << 30;

// The whole content of a file or pipe. What begins with gzip's magic bytes is
// decompressed (all of its members, one after the other).
// Errors name the path: NotFound, PermissionDenied, InvalidArgument (a folder),
// DataLoss (truncated or corrupt gzip), ResourceExhausted (more than
// `max_bytes`, before or after decompression).
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     int64_t max_bytes = kMaxFileBytes);

// The content of gzip data held in memory; `name` stands for it in errors.
absl::StatusOr<std::string> GunzipBytes(absl::string_view compressed,
                                        const std::string& name,
                                        int64_t max_bytes = kMaxFileBytes);

// Replaces `path` by a file that holds `content`: readers see the old file or
// the whole new one, also after a crash. Writes a temporary file in the same
// folder, fsyncs, renames. On an error (full disk, read-only folder, no such
// folder) the temporary file is removed, `path` is as it was, and the message
// says path, reason and what to do.
absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view content);

// A piece of input as error messages quote it: 'text', at most 40 bytes of it,
// with what is not printable ASCII escaped.
std::string Quoted(absl::string_view text);

// Walks over the lines of a text that outlives it:
//
//   LineReader reader(content);
//   absl::string_view line;
//   while (reader.Next(&line)) Use(reader.line_number(), line);
//
// A line ends at "\n" or "\r\n", which are not part of it; the last line needs
// no end. A leading UTF-8 byte-order mark is skipped.
class LineReader {
 public:
  explicit LineReader(absl::string_view content);

  // False at the end of the text.
  bool Next(absl::string_view* line);

  // Of the line that Next gave last; the first line is 1.
  int64_t line_number() const { return line_number_; }

 private:
  absl::string_view rest_;
  int64_t line_number_ = 0;
};

}  // namespace repro

#endif  // REPRO_COMMON_DATA_IO_H_
