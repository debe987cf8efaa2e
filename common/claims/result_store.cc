#include "common/claims/result_store.h"

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
constexpr int64_t kMaxResultBytes = int64_t{256} << 20;

}  // namespace

absl::Status WriteResult(const Result& result, const std::string& path) {
  json::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status = json::MessageToJsonString(result, &text, options);
  if (!status.ok()) {
    return absl::InternalError(absl::StrCat(
        path,
        ": cannot write the result as JSON: ", std::string(status.message())));
  }
  return WriteFileAtomically(path, text);
}

absl::StatusOr<Result> ReadResult(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(path, kMaxResultBytes));
  json::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  Result result;
  const auto status = json::JsonStringToMessage(text, &result, options);
  if (!status.ok() || result.schema_version() <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a result of `repro run`: ",
                     status.ok() ? "schema_version is missing"
                                 : std::string(status.message())));
  }
  if (result.schema_version() > kResultSchemaVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": schema version ", result.schema_version(),
                     ", this program reads up to ", kResultSchemaVersion,
                     ": use a newer `repro`"));
  }
  return result;
}

std::vector<std::string> ListResults(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() == ".json") paths.push_back(it->path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<Result> ReadResults(const std::string& folder,
                                std::vector<std::string>* problems) {
  std::vector<Result> results;
  for (const std::string& path : ListResults(folder)) {
    absl::StatusOr<Result> result = ReadResult(path);
    if (result.ok()) {
      results.push_back(*std::move(result));
    } else {
      problems->push_back(std::string(result.status().message()));
    }
  }
  return results;
}

}  // namespace repro
