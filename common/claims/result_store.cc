#include "common/claims/result_store.h"

#include <utility>

#include "common/claims/proto_json.h"
#include "common/status/macros.h"

namespace repro {
namespace {

constexpr char kWhat[] = "a result of `repro run`";

}  // namespace

absl::Status WriteResult(const Result& result, const std::string& path) {
  return WriteProtoJson(result, path);
}

absl::StatusOr<Result> ReadResult(const std::string& path) {
  Result result;
  REPRO_RETURN_IF_ERROR(ReadProtoJson(path, kWhat, &result));
  REPRO_RETURN_IF_ERROR(CheckSchemaVersion(path, kWhat, result.schema_version(),
                                           kResultSchemaVersion));
  return result;
}

std::vector<std::string> ListResults(const std::string& folder) {
  return ListJsonFiles(folder);
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
