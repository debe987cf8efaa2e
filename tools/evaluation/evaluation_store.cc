#include "tools/evaluation/evaluation_store.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
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

absl::Status SameEvaluation(const PolicyEvaluation& stored,
                            const PolicyEvaluation& evaluation) {
  PolicyEvaluation a = stored, b = evaluation;
  for (PolicyEvaluation* one : {&a, &b}) {
    one->clear_scores();
    one->clear_measured_at();
  }
  google::protobuf::util::MessageDifferencer differencer;
  std::string differences;
  differencer.ReportDifferencesToString(&differences);
  if (differencer.Compare(a, b)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "of another evaluation: ", absl::StripAsciiWhitespace(differences)));
}

bool HasScore(const PolicyEvaluation& evaluation, const std::string& policy,
              const std::string& options) {
  return std::any_of(evaluation.scores().begin(), evaluation.scores().end(),
                     [&](const PolicyScore& score) {
                       return score.policy() == policy &&
                              score.options() == options;
                     });
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
