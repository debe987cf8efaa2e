// Measures the claims of the training in miniature.

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/claims/experiment.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/train/experiment.h"
#include "papers/effi_code/study.h"

namespace repro::effi_code {
namespace {

// What a claim compares.
struct Question {
  Start start = Start::kBase;
  bool net = false;  // else pass@1
  Arm arm = Arm::kAll, less = Arm::kBefore;
  bool show_effect = false;  // else the arm's own value
};

absl::StatusOr<Question> QuestionOf(ExperimentRun& run, const Claim& claim) {
  Question question;
  REPRO_ASSIGN_OR_RETURN(const std::string start, run.Arg(claim, "start"));
  REPRO_ASSIGN_OR_RETURN(const std::string measure, run.Arg(claim, "measure"));
  REPRO_ASSIGN_OR_RETURN(const std::string arm, run.Arg(claim, "arm"));
  REPRO_ASSIGN_OR_RETURN(const std::string less, run.Arg(claim, "less"));
  if (start != StartName(Start::kBase) &&
      start != StartName(Start::kInstruct)) {
    return UnknownName(claim, "start", start);
  }
  if (measure != "net" && measure != "pass") {
    return UnknownName(claim, "measure", measure);
  }
  question.start =
      start == StartName(Start::kBase) ? Start::kBase : Start::kInstruct;
  question.net = measure == "net";
  REPRO_ASSIGN_OR_RETURN(question.arm, ParseArm(arm));
  REPRO_ASSIGN_OR_RETURN(question.less, ParseArm(less));
  question.show_effect = claim.args().count("show") > 0;
  return question;
}

// Means over the seeds of all arms: pass@1, and NET beside kAll.
std::string ScaleOf(const Study& study,
                    const std::vector<StudyOutcome>& outcomes) {
  std::string scale =
      absl::StrCat(study.model.num_layers, " layers of ", study.model.dim, ", ",
                   study.tuning_tasks, " tasks collected, ", study.test_tasks,
                   " tested; pass@1 and NET on what \"all\" solves, too:");
  for (const Arm arm : AllArms()) {
    double pass = 0, net = 0;
    for (const StudyOutcome& outcome : outcomes) {
      pass += outcome.PassAt1(arm);
      net += outcome.NormalizedCost(arm, Arm::kAll);
    }
    const auto seeds = static_cast<double>(outcomes.size());
    absl::StrAppendFormat(&scale, " %s %.1f %.2f;", ArmName(arm), pass / seeds,
                          net / seeds);
  }
  scale.pop_back();
  return scale;
}

absl::Status MeasureTraining(ExperimentRun& run) {
  const Study study = Study::Small();
  std::vector<Question> questions;
  std::set<Start> starts;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const Question question, QuestionOf(run, *claim));
    questions.push_back(question);
    starts.insert(question.start);
  }
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(
      auto outcomes,
      RunStudy(study, std::vector<Start>(starts.begin(), starts.end()),
               run.threads(), device, GridOfRun(run)));
  for (size_t q = 0; q < questions.size(); ++q) {
    const Question& question = questions[q];
    Observation observation;
    for (const StudyOutcome& outcome : outcomes[question.start]) {
      const double value =
          question.net ? outcome.NormalizedCost(question.arm, question.less)
                       : outcome.PassAt1(question.arm);
      const double less =
          question.net ? outcome.NormalizedCost(question.less, question.arm)
                       : outcome.PassAt1(question.less);
      observation.effects.push_back(value - less);
      observation.samples.push_back(question.show_effect ? value - less
                                                         : value);
    }
    observation.scale = ScaleOf(study, outcomes[question.start]);
    run.Record(*run.claims()[q], std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("effi_code", "training", MeasureTraining);

}  // namespace
}  // namespace repro::effi_code
