// How each claim of claims.textproto is measured; arguments come from there.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/data/json_record.h"
#include "common/data/jsonl.h"
#include "common/metrics/python_text.h"
#include "common/stats/correlation.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "papers/multi_intent/comment_samples.h"
#include "papers/multi_intent/comment_scores.h"
#include "papers/multi_intent/demonstrations.h"
#include "papers/multi_intent/similarity.h"
#include "papers/multi_intent/test_split.h"

namespace repro::multi_intent {
namespace {

using Values = std::map<std::string, double>;

// ----------------------------------------------------- the printed numbers

// What the paper prints for a claim.
absl::StatusOr<double> Printed(absl::string_view id) {
  REPRO_ASSIGN_OR_RETURN(const Paper* paper,
                         Registry::Global().FindPaper(kSlug));
  for (const Claim& claim : paper->claims()) {
    double value = 0;
    if (claim.id() == id && absl::SimpleAtod(claim.reported(), &value)) {
      return value;
    }
  }
  return absl::NotFoundError(absl::StrCat("no claim \"", id, "\""));
}

// Table 3's numbers of the five intents, in their order. `column`:
// "dome/tlc/bleu".
absl::StatusOr<std::vector<double>> PrintedByIntent(absl::string_view column) {
  std::vector<double> values;
  for (const Intent intent : kIntents) {
    REPRO_ASSIGN_OR_RETURN(
        values.emplace_back(),
        Printed(absl::StrCat("table3/", IntentName(intent), "/", column)));
  }
  return values;
}

absl::Status MeasureArithmetic(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    double value = 0;
    if (claim->args().contains("mean_of")) {
      REPRO_ASSIGN_OR_RETURN(const std::string column,
                             run.Arg(*claim, "mean_of"));
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> intents,
                             PrintedByIntent(column));
      REPRO_ASSIGN_OR_RETURN(value, Mean(intents));
    } else {
      REPRO_ASSIGN_OR_RETURN(const std::string of, run.Arg(*claim, "gain_of"));
      REPRO_ASSIGN_OR_RETURN(const std::string over, run.Arg(*claim, "over"));
      REPRO_ASSIGN_OR_RETURN(const double high, Printed(of));
      REPRO_ASSIGN_OR_RETURN(const double low, Printed(over));
      value = 100 * (high / low - 1);
    }
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "arithmetic", MeasureArithmetic);

// ------------------------------------------------------------ the test split

absl::Status MeasureStatistics(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<CommentSample> samples,
                         TestSplit(run));
  Values values;
  values["records"] = static_cast<double>(samples.size());
  for (const Intent intent : kIntents) {
    values[absl::StrCat("records/", IntentName(intent))] = 0;
  }
  values["labelled/use"] = 0;
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath(kTestSplit));
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  for (const JsonLine& line : lines) {
    REPRO_ASSIGN_OR_RETURN(const std::string label,
                           JsonRecord(line, path).Text("label"));
    values[absl::StrCat("labelled/", label)] += 1;
  }
  for (const CommentSample& sample : samples) {
    values[absl::StrCat("records/", IntentName(sample.intent))] += 1;
    const double share = 1 / values["records"];
    values["comment_words"] +=
        share *
        static_cast<double>(metrics::SplitWhitespace(sample.comment).size());
    values["code_words"] +=
        share *
        static_cast<double>(metrics::SplitWhitespace(sample.code).size());
  }
  for (const auto& [name, rules] :
       {std::make_pair("vocabulary/coded", TokenRules::kScript),
        std::make_pair("vocabulary/published", TokenRules::kPublished)}) {
    REPRO_ASSIGN_OR_RETURN(
        const TokenIndex index,
        TokenIndex::Build(samples, {rules, SetMeasure::kJaccard}));
    values[name] = static_cast<double>(index.vocabulary_size());
  }
  return RecordByName(run, "report", values);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "statistics", MeasureStatistics);

// --------------------------------------------------------- copied comments

struct Selection {
  TokenSimilarity similarity;
  bool same_intent = false;
};

// "coded/overlap/any", as the claims write it.
absl::StatusOr<Selection> ParseSelection(const Claim& claim,
                                         const std::string& name) {
  for (const TokenRules rules : {TokenRules::kScript, TokenRules::kPublished}) {
    for (const SetMeasure measure :
         {SetMeasure::kOverlap, SetMeasure::kJaccard}) {
      for (const bool same : {false, true}) {
        if (name ==
            absl::StrCat(
                rules == TokenRules::kScript ? "coded" : "published",
                measure == SetMeasure::kOverlap ? "/overlap" : "/jaccard",
                same ? "/same" : "/any")) {
          return Selection{{rules, measure}, same};
        }
      }
    }
  }
  return UnknownName(claim, "selection", name);
}

// Means over all samples, and over those of an intent ("bleu/why"), of the
// comment of the nearest other sample.
absl::StatusOr<Values> ScoreCopies(ExperimentRun& run,
                                   const std::vector<CommentSample>& samples,
                                   const Selection& selection) {
  REPRO_ASSIGN_OR_RETURN(const TokenIndex index,
                         TokenIndex::Build(samples, selection.similarity));
  Values sums;
  std::map<Intent, double> counts;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    const CommentSample& sample = samples[i];
    SampleFilter filter;
    filter.except = static_cast<int64_t>(i);
    if (selection.same_intent) filter.intent = sample.intent;
    REPRO_ASSIGN_OR_RETURN(const std::vector<ScoredDocument> nearest,
                           index.Search(sample.code, 1, filter));
    if (nearest.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample ", sample.id, " has no other to copy from"));
    }
    const std::string& copied = samples[nearest[0].id].comment;
    const CommentScores scores = ScoreComment(sample.comment, copied);
    const CommentScores script = ScoreCommentAsScript(sample.comment, copied);
    const std::string of_intent = absl::StrCat("/", IntentName(sample.intent));
    for (const auto& [name, score] :
         {std::make_pair("bleu", scores.bleu),
          std::make_pair("rouge_l", scores.rouge_l),
          std::make_pair("script_bleu", script.bleu),
          std::make_pair("script_rouge_l", script.rouge_l)}) {
      sums[name] += score / static_cast<double>(samples.size());
      sums[name + of_intent] += score;
    }
    counts[sample.intent] += 1;
  }
  for (const auto& [intent, count] : counts) {
    for (auto& [name, sum] : sums) {
      if (absl::EndsWith(name, absl::StrCat("/", IntentName(intent)))) {
        sum /= count;
      }
    }
  }
  return sums;
}

absl::Status MeasureCopiedComments(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<CommentSample> samples,
                         TestSplit(run));
  std::map<std::string, Values> scores;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name,
                           run.Arg(*claim, "selection"));
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    if (scores.count(name) == 0) {
      REPRO_ASSIGN_OR_RETURN(const Selection selection,
                             ParseSelection(*claim, name));
      REPRO_ASSIGN_OR_RETURN(scores[name],
                             ScoreCopies(run, samples, selection));
    }
    const auto found = scores[name].find(report);
    if (found == scores[name].end()) {
      return UnknownName(*claim, "report", report);
    }
    run.Record(*claim, found->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "copied_comment", MeasureCopiedComments);

// ------------------------------------------------------- the first character

// What the script's ROUGE-L gives the comment of another sample of the same
// intent, drawn at random: the share of pairs (reference, other) in which the
// other's first character occurs in the reference, in percent. By intent, and
// "all", the mean over samples.
absl::StatusOr<Values> ExpectedFirstCharacter(
    const std::vector<CommentSample>& samples) {
  std::map<Intent, std::map<char, double>> firsts;
  std::map<Intent, double> counts;
  for (const CommentSample& sample : samples) {
    firsts[sample.intent][sample.comment[0]] += 1;
    counts[sample.intent] += 1;
  }
  Values values;
  for (const CommentSample& sample : samples) {
    const double count = counts[sample.intent];
    if (count < 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("one sample alone of ", IntentName(sample.intent)));
    }
    double hits = -1;  // its own comment is no other
    for (const auto& [first, times] : firsts[sample.intent]) {
      if (absl::StrContains(sample.comment, first)) hits += times;
    }
    const double share = 100 * hits / (count - 1);
    values[IntentName(sample.intent)] += share / count;
    values["all"] += share / static_cast<double>(samples.size());
  }
  return values;
}

absl::Status MeasureFirstCharacter(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<CommentSample> samples,
                         TestSplit(run));
  REPRO_ASSIGN_OR_RETURN(const Values expected,
                         ExpectedFirstCharacter(samples));
  for (const Claim* claim : run.claims()) {
    if (!claim->args().contains("against")) {
      REPRO_ASSIGN_OR_RETURN(const std::string report,
                             run.Arg(*claim, "report"));
      const auto found = expected.find(report);
      if (found == expected.end()) return UnknownName(*claim, "report", report);
      run.Record(*claim, found->second);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const std::string system, run.Arg(*claim, "system"));
    REPRO_ASSIGN_OR_RETURN(const std::string against,
                           run.Arg(*claim, "against"));
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<double> printed,
        PrintedByIntent(absl::StrCat(system, "/tlc/rouge_l")));
    std::vector<double> measured;
    if (against == "random/first_character") {
      for (const Intent intent : kIntents) {
        measured.push_back(expected.at(IntentName(intent)));
      }
    } else if (against == "copied/words") {
      Selection selection;
      selection.similarity = {TokenRules::kScript, SetMeasure::kJaccard};
      selection.same_intent = true;
      REPRO_ASSIGN_OR_RETURN(const Values copies,
                             ScoreCopies(run, samples, selection));
      for (const Intent intent : kIntents) {
        measured.push_back(
            copies.at(absl::StrCat("rouge_l/", IntentName(intent))));
      }
    } else {
      return UnknownName(*claim, "against", against);
    }
    REPRO_ASSIGN_OR_RETURN(const double correlation,
                           SpearmanCorrelation(printed, measured));
    run.Record(*claim, correlation);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "first_character", MeasureFirstCharacter);

}  // namespace
}  // namespace repro::multi_intent
