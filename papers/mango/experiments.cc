// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/exec/sandbox.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/train/experiment.h"
#include "papers/mango/comments.h"
#include "papers/mango/error_types.h"
#include "papers/mango/pair_language.h"
#include "papers/mango/pair_loss.h"
#include "papers/mango/pair_training.h"
#include "papers/mango/programs.h"
#include "papers/mango/prompts.h"

namespace repro::mango {
namespace {

constexpr char kSlug[] = "mango";

absl::StatusOr<double> Lookup(const Claim& claim, const std::string& name,
                              const std::map<std::string, double>& values) {
  const auto found = values.find(name);
  if (found == values.end()) return UnknownName(claim, "report", name);
  return found->second;
}

// ----------------------------------------------------- settings and wordings

absl::Status MeasureSettings(ExperimentRun& run) {
  const completion::CompletionRequest request = SampleRequest("x");
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string setting,
                           run.Arg(*claim, "setting"));
    if (setting == "wordings") {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "kind"));
      REPRO_ASSIGN_OR_RETURN(const PrefixKind kind, ParsePrefixKind(name));
      const std::vector<std::string>& wordings = Wordings(kind);
      run.RecordCount(
          *claim,
          static_cast<double>(
              std::set<std::string>(wordings.begin(), wordings.end()).size()));
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(
        const double value,
        Lookup(*claim, setting,
               {{"temperature", request.temperature},
                {"top_p", request.top_p},
                {"samples", static_cast<double>(request.n)}}));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "settings", MeasureSettings);

// ----------------------------------------------------------- worked examples

// Two words of which the first has the given loss in nats: logits 0 and
// log(e^loss - 1), at each of `length` positions. [1, length, 2].
at::Tensor LogitsOfLoss(double loss, int64_t length) {
  at::Tensor logits = at::zeros({1, length, 2}, at::kFloat);
  logits.select(2, 1).fill_(std::log(std::expm1(loss)));
  return logits;
}

// A prompt of `prompt` tokens with the separator (2) at its begin and end, and
// programs of token 0.
absl::StatusOr<PairLoss> ExampleLoss(int64_t prompt, int64_t positive_tokens,
                                     double positive, int64_t negative_tokens,
                                     double negative,
                                     const PairOptions& options) {
  constexpr int32_t kMark = 2;
  TokenPair pair;
  pair.prompt.assign(prompt, 1);
  pair.prompt.front() = pair.prompt.back() = kMark;
  pair.positive.assign(positive_tokens, 0);
  pair.negative.assign(negative_tokens, 0);
  REPRO_ASSIGN_OR_RETURN(const PairBatch batch,
                         MakePairBatch({pair}, kMark, /*pad=*/0));
  return ComputePairLoss(LogitsOfLoss(positive, batch.positive.size(1)),
                         LogitsOfLoss(negative, batch.negative.size(1)), batch,
                         options);
}

absl::Status MeasureWorkedExamples(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    PairOptions options;
    if (report == "margin") {
      REPRO_ASSIGN_OR_RETURN(const double positive,
                             run.DoubleArg(*claim, "positive"));
      REPRO_ASSIGN_OR_RETURN(const double negative,
                             run.DoubleArg(*claim, "negative"));
      int64_t tokens = 30;
      if (claim->args().count("negative_tokens") > 0) {
        REPRO_ASSIGN_OR_RETURN(tokens, run.IntArg(*claim, "negative_tokens"));
      }
      REPRO_ASSIGN_OR_RETURN(const PairLoss loss,
                             ExampleLoss(/*prompt=*/12, /*positive_tokens=*/40,
                                         positive, tokens, negative, options));
      run.Record(*claim, loss.contrastive.item<double>());
    } else if (report == "cross_entropy") {
      REPRO_ASSIGN_OR_RETURN(const std::string variant,
                             run.Arg(*claim, "variant"));
      if (variant == "as_coded") {
        options.mean = CrossEntropyMean::kOverPositions;
      } else if (variant != "as_published") {
        return UnknownName(*claim, "variant", variant);
      }
      // 101 tokens, so that 100 positions predict, 40 of them the program.
      REPRO_ASSIGN_OR_RETURN(const PairLoss loss,
                             ExampleLoss(/*prompt=*/61, /*positive_tokens=*/40,
                                         1.5, 30, 1.5, options));
      run.Record(*claim, loss.cross_entropy.item<double>());
    } else if (report == "response_start") {
      const auto start =
          ResponseStart({5, 100, 7, 8, 100, 9}, /*separator=*/100);
      if (!start.has_value()) return absl::InternalError("no second separator");
      run.RecordCount(*claim, static_cast<double>(*start));
    } else if (report == "cut_bytes") {
      run.RecordCount(*claim,
                      static_cast<double>(CutAtHash("s = '#a'").size()));
    } else {
      return UnknownName(*claim, "report", report);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "worked_examples", MeasureWorkedExamples);

// -------------------------------------------------------------------- prompts

absl::Status MeasurePrompts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string humaneval_path,
                         run.AssetPath("humaneval"));
  REPRO_ASSIGN_OR_RETURN(const std::string mbpp_path, run.AssetPath("mbpp"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<HumanEvalProblem> humaneval,
                         ReadHumanEval(humaneval_path));
  REPRO_ASSIGN_OR_RETURN(const std::vector<MbppProblem> mbpp,
                         ReadMbpp(mbpp_path));
  const std::string& prefix = Wordings(PrefixKind::kComment)[0];
  struct Dataset {
    std::set<std::string> prompts;  // distinct
    std::vector<std::string> programs;
    int64_t tabs = 0;
  };
  std::map<std::string, Dataset> datasets;
  Dataset& of_humaneval = datasets["humaneval"];
  for (const HumanEvalProblem& problem : humaneval) {
    of_humaneval.prompts.insert(DecodingPrompt(problem.prompt, prefix));
    of_humaneval.programs.push_back(problem.canonical_solution);
    of_humaneval.tabs += FromTabs(ToTabs(problem.prompt)) == problem.prompt;
  }
  Dataset& of_mbpp = datasets["mbpp"];
  for (const MbppProblem& problem : mbpp) {
    of_mbpp.programs.push_back(problem.code);
    if (!InMbppTestSplit(problem)) continue;
    REPRO_ASSIGN_OR_RETURN(const std::string task, MbppTask(problem));
    of_mbpp.prompts.insert(DecodingPrompt(task, prefix));
    of_mbpp.tabs += FromTabs(ToTabs(task)) == task;
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "dataset"));
    const auto dataset = datasets.find(name);
    if (dataset == datasets.end()) return UnknownName(*claim, "dataset", name);
    double hash = 0, comment = 0;
    for (const std::string& program : dataset->second.programs) {
      if (!absl::StrContains(program, '#')) continue;
      ++hash;
      REPRO_ASSIGN_OR_RETURN(const ProgramComments found,
                             FindComments(program));
      comment += found.comments > 0;
    }
    REPRO_ASSIGN_OR_RETURN(
        const double value,
        Lookup(
            *claim, report,
            {{"problems", static_cast<double>(dataset->second.prompts.size())},
             {"tabs", static_cast<double>(dataset->second.tabs)},
             {"hash", hash},
             {"comment", comment}}));
    run.RecordCount(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "prompts", MeasurePrompts);

// --------------------------------------------------------------------- labels

absl::StatusOr<std::map<std::string, std::string>> LabelledTests(
    ExperimentRun& run, const std::vector<HumanEvalProblem>& problems) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("labelled_tests"));
  REPRO_ASSIGN_OR_RETURN(auto tests, ReadLabelledTests(path));
  for (const HumanEvalProblem& problem : problems) {
    if (tests.count(problem.task_id) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": no tests of ", problem.task_id));
    }
  }
  return tests;
}

absl::StatusOr<std::vector<HumanEvalProblem>> Problems(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("humaneval"));
  return ReadHumanEval(path);
}

bool SameConditions(const std::vector<TestAssert>& a,
                    const std::vector<TestAssert>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const TestAssert& one, const TestAssert& other) {
                      return one.condition == other.condition;
                    });
}

absl::Status MeasureLabels(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<HumanEvalProblem> problems,
                         Problems(run));
  REPRO_ASSIGN_OR_RETURN(const auto tests, LabelledTests(run, problems));
  std::map<std::string, double> counts;
  for (const HumanEvalProblem& problem : problems) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<TestAssert> labelled,
                           FindAsserts(tests.at(problem.task_id)));
    REPRO_ASSIGN_OR_RETURN(const std::vector<TestAssert> original,
                           FindAsserts(problem.test));
    counts["same_conditions"] += SameConditions(labelled, original);
    int64_t number = 0, own = 0;
    for (const TestAssert& one : labelled) {
      ++counts["asserts"];
      counts["literal"] += one.literal;
      if (one.literal) continue;
      ++number;
      own += one.message == absl::StrCat("Test ", number);
    }
    counts["tests"] += static_cast<double>(number);
    counts["own_number"] += static_cast<double>(own);
    counts["uniform"] += own == number;
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const double value, Lookup(*claim, report, counts));
    run.RecordCount(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "labels", MeasureLabels);

// ---------------------------------------------------------------- error types

absl::Status MeasureErrorTypes(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<HumanEvalProblem> problems,
                         Problems(run));
  REPRO_ASSIGN_OR_RETURN(const auto tests, LabelledTests(run, problems));
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("wizardcoder"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<ReleasedProgram> released,
                         ReadWizardCoder(path));
  std::map<std::string, const HumanEvalProblem*> by_id;
  for (const HumanEvalProblem& problem : problems) {
    by_id[problem.task_id] = &problem;
  }
  const auto with_tests =
      [&](bool uniform) -> absl::StatusOr<std::vector<TestedProgram>> {
    std::vector<TestedProgram> programs;
    for (const ReleasedProgram& one : released) {
      const auto problem = by_id.find(one.task_id);
      if (problem == by_id.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": no problem ", one.task_id));
      }
      std::string test = tests.at(one.task_id);
      if (uniform) {
        REPRO_ASSIGN_OR_RETURN(test, WithUniformLabels(test));
      }
      // As HumanEval's evaluator puts them together.
      programs.push_back(
          {one.task_id,
           absl::StrCat(problem->second->prompt, one.program, "\n"),
           absl::StrCat(test, "\ncheck(", problem->second->entry_point,
                        ")\n")});
    }
    return programs;
  };
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  std::map<std::string, std::vector<SampleResult>> results;
  for (const bool uniform : {false, true}) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<TestedProgram> programs,
                           with_tests(uniform));
    const std::string name = uniform ? "uniform" : "authors";
    REPRO_ASSIGN_OR_RETURN(
        results[name],
        JudgeAll(sandbox, programs, run.threads(), [&](int done, int total) {
          run.Progress(done, total, absl::StrCat(name, " labels"));
          return !run.Cancelled();
        }));
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string type, run.Arg(*claim, "type"));
    if (type == "mistyped") {
      double mistyped = 0;
      for (size_t i = 0; i < released.size(); ++i) {
        const SampleResult& authors = results["authors"][i];
        const SampleResult& uniform = results["uniform"][i];
        mistyped += authors.passed != uniform.passed ||
                    TypeOfMessage(authors.message, LabelRule::kSubstring) !=
                        TypeOfMessage(uniform.message, LabelRule::kNumber);
      }
      run.RecordCount(*claim, mistyped);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const std::string labels, run.Arg(*claim, "labels"));
    REPRO_ASSIGN_OR_RETURN(const std::string rule, run.Arg(*claim, "rule"));
    if (results.count(labels) == 0) {
      return UnknownName(*claim, "labels", labels);
    }
    if (rule != "substring" && rule != "number") {
      return UnknownName(*claim, "rule", rule);
    }
    ErrorCounts counts =
        CountErrors(results[labels], rule == "number" ? LabelRule::kNumber
                                                      : LabelRule::kSubstring);
    REPRO_ASSIGN_OR_RETURN(
        const double value,
        Lookup(*claim, type,
               {{"passed", static_cast<double>(counts.passed)},
                {"first",
                 static_cast<double>(counts.failed[ErrorType::kFirstTest])},
                {"later",
                 static_cast<double>(counts.failed[ErrorType::kLaterTest])},
                {"other",
                 static_cast<double>(counts.failed[ErrorType::kOther])}}));
    run.RecordCount(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "error_types", MeasureErrorTypes);

// ------------------------------------------------------ comments of programs

absl::StatusOr<std::vector<ReleasedProgram>> Programs(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string wizardcoder,
                         run.AssetPath("wizardcoder"));
  REPRO_ASSIGN_OR_RETURN(const std::string agents, run.AssetPath("agents"));
  REPRO_ASSIGN_OR_RETURN(std::vector<ReleasedProgram> programs,
                         ReadAgents(agents));
  REPRO_ASSIGN_OR_RETURN(std::vector<ReleasedProgram> more,
                         ReadWizardCoder(wizardcoder));
  std::move(more.begin(), more.end(), std::back_inserter(programs));
  return programs;
}

// The GPT-4 runs are of two versions of the model; the claims name the family.
std::string Family(const std::string& model) {
  for (const char* family : {"gpt-4", "gpt-3.5"}) {
    if (absl::StartsWith(model, family)) return family;
  }
  return model;
}

absl::Status MeasureComments(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<ReleasedProgram> programs,
                         Programs(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string method, run.Arg(*claim, "method"));
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    double total = 0, lines = 0, comment_lines = 0, with = 0, with_right = 0,
           without_right = 0;
    for (const ReleasedProgram& program : programs) {
      if (Family(program.model) != model || program.method != method) continue;
      const LineCounts counts = CountLines(program.program);
      ++total;
      lines += static_cast<double>(counts.lines);
      comment_lines += static_cast<double>(counts.comments);
      const bool right = program.right.value_or(false);
      if (counts.comments > 0) {
        ++with;
        with_right += right;
      } else {
        without_right += right;
      }
    }
    if (total == 0) {
      return UnknownName(*claim, "program of",
                         absl::StrCat(model, " ", method));
    }
    REPRO_ASSIGN_OR_RETURN(const double value,
                           Lookup(*claim, report,
                                  {{"lines", lines / total},
                                   {"comment_lines", comment_lines / total},
                                   {"with", with},
                                   {"with_right", with_right},
                                   {"without", total - with},
                                   {"without_right", without_right}}));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "comments", MeasureComments);

absl::Status MeasureNegatives(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<ReleasedProgram> programs,
                         Programs(run));
  std::map<std::string, double> counts = {
      {"hash", 0}, {"parse", 0}, {"differ", 0}};
  for (const ReleasedProgram& program : programs) {
    if (!absl::StrContains(program.program, '#')) continue;
    REPRO_ASSIGN_OR_RETURN(const ProgramComments found,
                           FindComments(program.program));
    ++counts["hash"];
    if (!found.parses) continue;
    ++counts["parse"];
    counts["differ"] += found.without != CutAtHash(program.program);
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const double value, Lookup(*claim, report, counts));
    run.RecordCount(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "negatives", MeasureNegatives);

// ---------------------------------------------------------------------- pairs

// What a claim compares; `less` is none where it is about one arm.
struct PairQuestion {
  std::string measure;
  Arm arm = Arm::kMango;
  std::vector<Arm> less;
};

absl::StatusOr<PairQuestion> QuestionOf(ExperimentRun& run,
                                        const Claim& claim) {
  PairQuestion question;
  REPRO_ASSIGN_OR_RETURN(question.measure, run.Arg(claim, "measure"));
  REPRO_ASSIGN_OR_RETURN(const std::string arm, run.Arg(claim, "arm"));
  REPRO_ASSIGN_OR_RETURN(question.arm, ParseArm(arm));
  if (claim.args().count("less") > 0) {
    REPRO_ASSIGN_OR_RETURN(const std::string less, run.Arg(claim, "less"));
    REPRO_ASSIGN_OR_RETURN(question.less.emplace_back(), ParseArm(less));
  }
  if (question.measure != "pass" && question.measure != "prefix" &&
      question.measure != "gap") {
    return UnknownName(claim, "measure", question.measure);
  }
  return question;
}

// Of one arm and seed. Each arm is asked as it was trained: the bare one by the
// plain prompt, the others by a comment prompt.
double ValueOf(const PairOutcome& outcome, Arm arm,
               const std::string& measure) {
  if (measure == "gap") return outcome.gap;
  if (measure == "prefix") {
    return outcome.solved_comment - outcome.solved_plain;
  }
  return arm == Arm::kBare ? outcome.solved_plain : outcome.solved_comment;
}

std::string ScaleOf(const PairStudy& study,
                    const std::map<Arm, std::vector<PairOutcome>>& outcomes) {
  std::string scale = absl::StrCat(
      study.model.num_layers, " layers of ", study.model.dim, ", ",
      study.train_tasks, " functions of ", study.min_steps, " to ",
      study.max_steps, " steps, ", study.steps, " updates, ", study.test_tasks,
      " tasks; solved after comment and plain prompt, gap, L+, commented:");
  for (const auto& [arm, of_seeds] : outcomes) {
    std::vector<double> mean(5, 0);
    for (const PairOutcome& outcome : of_seeds) {
      const std::vector<double> numbers = outcome.Numbers();
      for (size_t i = 0; i < mean.size(); ++i) {
        mean[i] += numbers[i] / static_cast<double>(of_seeds.size());
      }
    }
    absl::StrAppend(&scale, " ", ArmName(arm));
    for (const double value : mean) {
      absl::StrAppend(&scale, " ", std::round(1000 * value) / 1000);
    }
    absl::StrAppend(&scale, ";");
  }
  scale.pop_back();
  return scale;
}

absl::Status MeasurePairs(ExperimentRun& run) {
  const PairStudy study = run.experiment().id() == "pairs_large"
                              ? PairStudy::Large()
                              : PairStudy::Small();
  std::vector<PairQuestion> questions;
  std::set<Arm> arms;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const PairQuestion question,
                           QuestionOf(run, *claim));
    questions.push_back(question);
    arms.insert(question.arm);
    arms.insert(question.less.begin(), question.less.end());
  }
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  REPRO_ASSIGN_OR_RETURN(const PairData data, MakePairData(study, /*seed=*/0));
  REPRO_ASSIGN_OR_RETURN(
      auto outcomes,
      TrainPairs(study, data, std::vector<Arm>(arms.begin(), arms.end()),
                 sandbox, run.threads(), device, GridOfRun(run)));
  for (size_t q = 0; q < questions.size(); ++q) {
    const PairQuestion& question = questions[q];
    Observation observation;
    for (size_t s = 0; s < run.seeds().size(); ++s) {
      double value =
          ValueOf(outcomes[question.arm][s], question.arm, question.measure);
      for (const Arm less : question.less) {
        value -= ValueOf(outcomes[less][s], less, question.measure);
      }
      observation.samples.push_back(value);
    }
    observation.effects = observation.samples;
    observation.scale = ScaleOf(study, outcomes);
    run.Record(*run.claims()[q], std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "pairs", MeasurePairs);
REPRO_REGISTER_EXPERIMENT(kSlug, "pairs_large", MeasurePairs);

}  // namespace
}  // namespace repro::mango
