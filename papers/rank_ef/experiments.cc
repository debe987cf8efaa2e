// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/claims/experiment.h"
#include "common/count/parameters.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/train/experiment.h"
#include "papers/rank_ef/execution.h"
#include "papers/rank_ef/feedback.h"
#include "papers/rank_ef/ranker.h"
#include "papers/rank_ef/ranking.h"
#include "papers/rank_ef/training.h"

namespace repro::rank_ef {
namespace {

absl::StatusOr<double> Lookup(const ExperimentRun& run, const Claim& claim,
                              const std::string& arg,
                              const std::map<std::string, double>& values) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, arg));
  const auto found = values.find(name);
  if (found == values.end()) return UnknownName(claim, arg, name);
  return found->second;
}

std::string OptionalArg(const Claim& claim, const std::string& arg,
                        const std::string& otherwise) {
  const auto found = claim.args().find(arg);
  return found == claim.args().end() ? otherwise : found->second;
}

absl::StatusOr<CandidatePool> PoolOf(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string problems, run.AssetPath("problems"));
  REPRO_ASSIGN_OR_RETURN(const std::string feedback, run.AssetPath("feedback"));
  return LoadPool(problems, feedback);
}

// ------------------------------------------------------ settings, parameters

absl::Status Settings(ExperimentRun& run) {
  const RankerTraining published;
  const std::map<std::string, double> values = {
      {"rate", published.rate},
      {"loss_weight", published.loss_weight},
      {"source_tokens", static_cast<double>(published.source_tokens)},
      {"feedback_tokens", static_cast<double>(published.feedback_tokens)}};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double value,
                           Lookup(run, *claim, "setting", values));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("rank_ef", "settings", Settings);

absl::Status Parameters(ExperimentRun& run) {
  constexpr int64_t kVocabulary = 32100;  // of CodeT5+ 770M
  const Ranker ranker(encoder::EncoderDecoderConfig::Large(kVocabulary),
                      Initializer::Meta());
  const std::map<std::string, int64_t> parts = ParametersByPrefix(ranker);
  const std::map<std::string, double> values = {
      {"model", parts.at("model")},
      {"class_head", parts.at("class_head")},
      {"classifier", CountClassifierParameters(ranker)}};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double value,
                           Lookup(run, *claim, "part", values));
    run.RecordCount(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("rank_ef", "parameters", Parameters);

// ------------------------------------------------------------------ the pool

// Samples by class, and the numbers of all and of distinct ones.
std::map<std::string, double> LabelCounts(const CandidatePool& pool) {
  std::map<std::string, double> counts = {{"samples", pool.NumSamples()},
                                          {"distinct", pool.NumDistinct()}};
  const char* const names[] = {"correct", "execution_error", "intent_error"};
  for (const auto& candidates : pool.candidates) {
    for (const Candidate& candidate : candidates) {
      counts[names[static_cast<int>(candidate.feedback.label)]] +=
          static_cast<double>(candidate.count);
    }
  }
  return counts;
}

// Problems whose most frequent text is a rule of number signs, or begins so.
double CountRules(const CandidatePool& pool) {
  const std::string rule(30, '#');
  double rules = 0;
  for (const auto& candidates : pool.candidates) {
    const auto most =
        std::max_element(candidates.begin(), candidates.end(),
                         [](const Candidate& a, const Candidate& b) {
                           return a.count < b.count;
                         });
    rules += absl::StartsWith(
        absl::StripLeadingAsciiWhitespace(most->completion), rule);
  }
  return rules;
}

absl::StatusOr<double> MeasurePool(const ExperimentRun& run, const Claim& claim,
                                   const CandidatePool& pool) {
  REPRO_ASSIGN_OR_RETURN(const std::string measure, run.Arg(claim, "measure"));
  if (measure == "labels") {
    return Lookup(run, claim, "count", LabelCounts(pool));
  }
  if (measure == "number_signs") return CountRules(pool);
  if (measure == "ceiling") {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "failures"));
    REPRO_ASSIGN_OR_RETURN(const Failures failures, ParseFailures(name));
    return 100 * CeilingWithout(pool, failures);
  }
  REPRO_ASSIGN_OR_RETURN(const int64_t k, run.IntArg(claim, "k"));
  double fraction = 0;
  if (measure == "unranked") {
    REPRO_ASSIGN_OR_RETURN(fraction, UnrankedPassAtK(pool, k));
  } else if (measure == "ranked") {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "ranker"));
    REPRO_ASSIGN_OR_RETURN(const TrivialRanker ranker,
                           ParseTrivialRanker(name));
    REPRO_ASSIGN_OR_RETURN(fraction,
                           RankedPassAtK(pool, TrivialScores(pool, ranker), k));
  } else {
    return UnknownName(claim, "measure", measure);
  }
  return 100 * fraction;
}

absl::Status Pool(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const CandidatePool pool, PoolOf(run));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double value, MeasurePool(run, *claim, pool));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("rank_ef", "pool", Pool);

// ----------------------------------------------------------------- execution

absl::StatusOr<std::vector<Feedback>> Execute(
    ExperimentRun& run, const std::vector<Execution>& executions) {
  return ExecuteAll(executions, run.threads(), {}, [&run](int done, int total) {
    run.Progress(done, total, "programs run");
    return !run.Cancelled();
  });
}

struct Agreement {
  double label = 0, error_type = 0, message = 0;

  void Add(const Feedback& released, const Feedback& ours) {
    if (released.label != ours.label) return;
    ++label;
    if (released.error_type != ours.error_type) return;
    ++error_type;
    const bool same_line =
        released.line_number == ours.line_number && released.line == ours.line;
    message += released.error_message == ours.error_message && same_line;
  }
};

absl::Status ExecuteSample(ExperimentRun& run) {
  constexpr int kEvery = 80;
  REPRO_ASSIGN_OR_RETURN(const CandidatePool pool, PoolOf(run));
  std::vector<Execution> executions;
  for (const HumanEvalProblem& problem : pool.problems) {
    executions.push_back({&problem, problem.canonical_solution});
  }
  const size_t num_canonical = executions.size();
  std::vector<const Feedback*> released;
  int64_t index = 0;
  for (size_t p = 0; p < pool.problems.size(); ++p) {
    for (const Candidate& candidate : pool.candidates[p]) {
      if (index++ % kEvery != 0) continue;
      executions.push_back({&pool.problems[p], candidate.completion});
      released.push_back(&candidate.feedback);
    }
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<Feedback> feedback,
                         Execute(run, executions));
  double canonical = 0;
  for (size_t i = 0; i < num_canonical; ++i) {
    canonical += feedback[i].label == FeedbackClass::kCorrect;
  }
  Agreement agreement;
  for (size_t i = 0; i < released.size(); ++i) {
    agreement.Add(*released[i], feedback[num_canonical + i]);
  }
  const std::map<std::string, double> values = {
      {"canonical", canonical},
      {"label", agreement.label},
      {"error_type", agreement.error_type}};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double value,
                           Lookup(run, *claim, "measure", values));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("rank_ef", "execute_sample", ExecuteSample);

absl::Status ExecutePool(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(CandidatePool pool, PoolOf(run));
  std::vector<Execution> executions;
  for (size_t p = 0; p < pool.problems.size(); ++p) {
    for (const Candidate& candidate : pool.candidates[p]) {
      executions.push_back({&pool.problems[p], candidate.completion});
    }
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<Feedback> feedback,
                         Execute(run, executions));
  Agreement agreement;
  size_t i = 0;
  for (auto& candidates : pool.candidates) {
    for (Candidate& candidate : candidates) {
      agreement.Add(candidate.feedback, feedback[i]);
      candidate.feedback = feedback[i++];
    }
  }
  std::map<std::string, double> values = LabelCounts(pool);  // of our labels
  values["label"] = agreement.label;
  values["error_type"] = agreement.error_type;
  values["message"] = agreement.message;
  REPRO_ASSIGN_OR_RETURN(const double pass, UnrankedPassAtK(pool, 1));
  values["pass1"] = 100 * pass;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double value,
                           Lookup(run, *claim, "measure", values));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("rank_ef", "execute", ExecutePool);

// ------------------------------------------------------------------- rankers

// One value a seed: pass@k in %, or an area under the curve.
absl::StatusOr<std::vector<double>> Evaluate(
    const Claim& claim, const CandidatePool& pool,
    const std::vector<HeldOutScores>& of_seeds, const std::string& measure) {
  std::vector<double> values;
  for (const HeldOutScores& scores : of_seeds) {
    double value = 0;
    if (measure == "auc") {
      REPRO_ASSIGN_OR_RETURN(
          value, WithinProblemAuc(pool, scores.correct, [](const Candidate& c) {
            return c.feedback.label == FeedbackClass::kCorrect;
          }));
    } else if (measure == "execution_auc") {
      REPRO_ASSIGN_OR_RETURN(
          value, WithinProblemAuc(pool, scores.execution_error,
                                  [](const Candidate& c) {
                                    return c.feedback.label ==
                                           FeedbackClass::kExecutionError;
                                  }));
    } else {
      const std::map<std::string, int64_t> ks = {
          {"pass1", 1}, {"pass2", 2}, {"pass5", 5}, {"pass10", 10}};
      const auto k = ks.find(measure);
      if (k == ks.end()) return UnknownName(claim, "measure", measure);
      REPRO_ASSIGN_OR_RETURN(value,
                             RankedPassAtK(pool, scores.correct, k->second));
      value *= 100;
    }
    values.push_back(value);
  }
  return values;
}

std::string ScaleOf(const ScaledRanker& options, const CandidatePool& pool) {
  return absl::StrCat(options.model.encoder_layers, " + ",
                      options.model.decoder_layers, " layers of ",
                      options.model.dim, " from scratch, ",
                      options.training.epochs, " epochs of ",
                      pool.NumDistinct() * (options.folds - 1) / options.folds,
                      " candidates of HumanEval, ", options.folds, " folds");
}

// What a claim asks of the rankers.
struct Question {
  RankerVariant variant;
  std::optional<RankerVariant> against;
  Split split = Split::kByProblem;
  std::string measure;
};

absl::StatusOr<Question> ReadQuestion(const ExperimentRun& run,
                                      const Claim& claim) {
  Question question;
  REPRO_ASSIGN_OR_RETURN(question.measure, run.Arg(claim, "measure"));
  REPRO_ASSIGN_OR_RETURN(const std::string scheme, run.Arg(claim, "scheme"));
  REPRO_ASSIGN_OR_RETURN(question.variant.scheme, ParseScheme(scheme));
  if (claim.args().count("loss_weight") > 0) {
    REPRO_ASSIGN_OR_RETURN(question.variant.loss_weight,
                           run.DoubleArg(claim, "loss_weight"));
  }
  const std::string against = OptionalArg(claim, "against", "");
  if (!against.empty()) {
    question.against = question.variant;
    REPRO_ASSIGN_OR_RETURN(question.against->scheme, ParseScheme(against));
  }
  const std::string split = OptionalArg(claim, "split", "by_problem");
  if (split == "within_problem") {
    question.split = Split::kWithinProblem;
  } else if (split != "by_problem") {
    return UnknownName(claim, "split", split);
  }
  return question;
}

using ScoresByVariant = std::map<std::string, std::vector<HeldOutScores>>;

// A variant's values, one a seed, or what it has more than `against`: of an
// area the difference, of pass@k in % of the other's.
absl::StatusOr<std::vector<double>> Answer(const Claim& claim,
                                           const Question& question,
                                           const CandidatePool& pool,
                                           const ScoresByVariant& scores) {
  REPRO_ASSIGN_OR_RETURN(
      std::vector<double> values,
      Evaluate(claim, pool, scores.at(question.variant.Name()),
               question.measure));
  if (!question.against.has_value()) return values;
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<double> others,
      Evaluate(claim, pool, scores.at(question.against->Name()),
               question.measure));
  const bool relative = absl::StartsWith(question.measure, "pass");
  for (size_t i = 0; i < values.size(); ++i) {
    if (relative && others[i] == 0) {
      return absl::OutOfRangeError(
          absl::StrCat(claim.id(), ": ", question.against->Name(),
                       " solves nothing: there is no relative gain"));
    }
    values[i] = (values[i] - others[i]) * (relative ? 100 / others[i] : 1);
  }
  return values;
}

// Trains what the claims name, each ranker once.
absl::Status MeasureRankers(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const CandidatePool pool, PoolOf(run));
  const ScaledRanker options = ScaledRanker::Default();
  std::vector<Question> questions;
  std::map<Split, std::vector<RankerVariant>> variants;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(Question question, ReadQuestion(run, *claim));
    std::vector<RankerVariant>& of_split = variants[question.split];
    of_split.push_back(question.variant);
    if (question.against.has_value()) of_split.push_back(*question.against);
    questions.push_back(std::move(question));
  }
  const Grid grid = GridOfRun(run);
  std::map<Split, ScoresByVariant> scores;
  for (const auto& [split, of_split] : variants) {
    REPRO_ASSIGN_OR_RETURN(scores[split], CrossValidate(pool, of_split, split,
                                                        options, device, grid));
  }
  for (size_t i = 0; i < questions.size(); ++i) {
    const Claim& claim = *run.claims()[i];
    Observation observation;
    REPRO_ASSIGN_OR_RETURN(
        observation.samples,
        Answer(claim, questions[i], pool, scores.at(questions[i].split)));
    observation.scale = ScaleOf(options, pool);
    run.Record(claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("rank_ef", "ranker", MeasureRankers);
REPRO_REGISTER_EXPERIMENT("rank_ef", "ranker_contrast", MeasureRankers);

}  // namespace
}  // namespace repro::rank_ef
