#include "common/claims/baseline.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "common/claims/result_store.h"
#include "common/status/macros.h"

namespace repro {

absl::StatusOr<Result> ReadBaseline(const std::string& folder,
                                    const std::string& paper) {
  if (!paper.empty()) {
    return ReadResult(absl::StrCat(folder, "/", paper, ".json"));
  }
  Result all;
  for (const std::string& path : ListResults(folder)) {
    REPRO_ASSIGN_OR_RETURN(const Result result, ReadResult(path));
    all.MergeFrom(result);
  }
  if (all.measurements().empty()) {
    return absl::NotFoundError(
        absl::StrCat(folder,
                     ": no baselines; write them with "
                     "`repro compare RESULT --baseline --update`"));
  }
  return all;
}

absl::Status UpdateBaseline(const Result& result, const std::string& folder) {
  std::map<std::string, std::map<std::string, Measurement>> by_paper;
  for (const Measurement& measurement : result.measurements()) {
    by_paper[measurement.paper()][measurement.claim()] = measurement;
  }
  for (auto& [paper, measurements] : by_paper) {
    const std::string path = absl::StrCat(folder, "/", paper, ".json");
    const absl::StatusOr<Result> old = ReadResult(path);
    if (old.ok()) {
      for (const Measurement& measurement : old->measurements()) {
        measurements.emplace(measurement.claim(), measurement);
      }
    } else if (!absl::IsNotFound(old.status())) {
      return old.status();
    }
    Result baseline;
    baseline.set_schema_version(kResultSchemaVersion);
    baseline.set_id(paper);
    baseline.set_complete(true);
    *baseline.mutable_build() = result.build();
    *baseline.mutable_machine() = result.machine();
    // In the order of ids, so that a change of the file reads as a diff.
    for (const auto& [claim, measurement] : measurements) {
      *baseline.add_measurements() = measurement;
    }
    REPRO_RETURN_IF_ERROR(WriteResult(baseline, path));
  }
  return absl::OkStatus();
}

}  // namespace repro
