#include "common/claims/proto_json.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro {
namespace {

namespace fs = std::filesystem;
namespace json = google::protobuf::util;

// Far above any result: a larger file is not one.
constexpr int64_t kMaxBytes = int64_t{256} << 20;

}  // namespace

absl::StatusOr<std::string> ProtoJson(
    const google::protobuf::Message& message) {
  json::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status = json::MessageToJsonString(message, &text, options);
  if (!status.ok()) {
    return absl::InternalError(absl::StrCat("cannot be written as JSON: ",
                                            std::string(status.message())));
  }
  return text;
}

absl::Status WriteProtoJson(const google::protobuf::Message& message,
                            const std::string& path) {
  const absl::StatusOr<std::string> text = ProtoJson(message);
  if (!text.ok()) {
    return absl::InternalError(
        absl::StrCat(path, ": ", text.status().message()));
  }
  return WriteFileAtomically(path, *text);
}

absl::Status ReadProtoJson(const std::string& path, const std::string& what,
                           google::protobuf::Message* message) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  json::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status = json::JsonStringToMessage(text, message, options);
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": not ", what, ": ", std::string(status.message())));
}

absl::Status CheckSchemaVersion(const std::string& path,
                                const std::string& what, int version,
                                int newest) {
  if (version <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not ", what, ": schema_version is missing"));
  }
  if (version > newest) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": schema version ", version, ", this program reads up to ",
        newest, ": use a newer `repro`"));
  }
  return absl::OkStatus();
}

std::vector<std::string> ListJsonFiles(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".json") paths.push_back(it->path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace repro
