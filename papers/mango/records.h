// Fields of a line of a JSON Lines file, with errors that name file and line.
#ifndef REPRO_PAPERS_MANGO_RECORDS_H_
#define REPRO_PAPERS_MANGO_RECORDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/data/jsonl.h"

namespace repro::mango {

class Record {
 public:
  // Both outlive it.
  Record(const JsonLine& line, const std::string& path)
      : line_(line), path_(path) {}

  // InvalidArgument "path:line: what".
  absl::Status Error(const std::string& what) const;

  // InvalidArgument: missing, or of another type.
  absl::StatusOr<std::string> Text(const char* field) const;
  absl::StatusOr<std::vector<std::string>> Texts(const char* field) const;
  absl::StatusOr<int64_t> Integer(const char* field) const;

 private:
  const JsonLine& line_;
  const std::string& path_;
};

// The lines of a file, of which there is at least one: InvalidArgument
// "path: no records" and the errors of ReadJsonl.
absl::StatusOr<std::vector<JsonLine>> ReadRecords(const std::string& path);

}  // namespace repro::mango

#endif  // REPRO_PAPERS_MANGO_RECORDS_H_
