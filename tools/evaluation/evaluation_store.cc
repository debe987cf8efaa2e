#include "tools/evaluation/evaluation_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/claims/proto_json.h"
#include "common/status/macros.h"

namespace repro {
namespace {

constexpr char kWhat[] = "a record of `repro evaluate`";

}  // namespace

absl::Status WriteEvaluation(const PolicyEvaluation& evaluation,
                             const std::string& path) {
  return WriteProtoJson(evaluation, path);
}

absl::StatusOr<PolicyEvaluation> ReadEvaluation(const std::string& path) {
  PolicyEvaluation evaluation;
  REPRO_RETURN_IF_ERROR(ReadProtoJson(path, kWhat, &evaluation));
  REPRO_RETURN_IF_ERROR(CheckSchemaVersion(
      path, kWhat, evaluation.schema_version(), kEvaluationSchemaVersion));
  if (evaluation.scores().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": scores is empty, expected at least one"));
  }
  for (int i = 0; i < evaluation.scores_size(); ++i) {
    if (evaluation.scores(i).needle_size() == evaluation.lengths_size()) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": scores[", i, "].needle has ",
                     evaluation.scores(i).needle_size(), " values, lengths ",
                     evaluation.lengths_size()));
  }
  return evaluation;
}

std::vector<PolicyEvaluation> ReadEvaluations(
    const std::string& folder, std::vector<std::string>* problems) {
  std::vector<PolicyEvaluation> evaluations;
  for (const std::string& path : ListJsonFiles(folder)) {
    absl::StatusOr<PolicyEvaluation> evaluation = ReadEvaluation(path);
    if (evaluation.ok()) {
      evaluations.push_back(*std::move(evaluation));
    } else {
      problems->push_back(std::string(evaluation.status().message()));
    }
  }
  return evaluations;
}

}  // namespace repro
