#ifndef REPRO_COMMON_DATA_JSON_RECORD_H_
#define REPRO_COMMON_DATA_JSON_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/data/jsonl.h"
#include "nlohmann/json.hpp"

namespace repro {

// The fields of a JSON object that was read from outside. A field that is
// missing, or of another type, is InvalidArgument "path:line: field ...", and
// so is every field of a value that is no object.
class JsonRecord {
 public:
  // Both outlive the record.
  JsonRecord(const JsonLine& line, const std::string& path)
      : line_(line), path_(path) {}

  // InvalidArgument "path:line: what".
  absl::Status Error(absl::string_view what) const;

  // Null where there is no such field.
  const nlohmann::json* Find(absl::string_view field) const;

  absl::StatusOr<std::string> Text(absl::string_view field) const;
  absl::StatusOr<std::vector<std::string>> Texts(absl::string_view field) const;
  absl::StatusOr<int64_t> Integer(absl::string_view field) const;
  // An integer from 0 on.
  absl::StatusOr<int64_t> Count(absl::string_view field) const;
  absl::StatusOr<double> Number(absl::string_view field) const;

 private:
  absl::Status NotA(absl::string_view field, absl::string_view type) const;

  const JsonLine& line_;
  const std::string& path_;
};

// The lines of a file that has at least one: InvalidArgument "path: no records"
// and the errors of ReadJsonl.
absl::StatusOr<std::vector<JsonLine>> ReadRecords(const std::string& path);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_JSON_RECORD_H_
