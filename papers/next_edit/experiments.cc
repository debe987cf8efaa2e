// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/assets/sha256.h"
#include "common/claims/experiment.h"
#include "common/metrics/line_diff.h"
#include "common/metrics/python_text.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "papers/next_edit/analogy.h"
#include "papers/next_edit/evaluation.h"
#include "papers/next_edit/filters.h"
#include "papers/next_edit/sample.h"

namespace repro::next_edit {
namespace {

constexpr char kSlug[] = "next_edit";

absl::StatusOr<std::vector<Sample>> TestSet(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("test_set"));
  return ReadSamples(path);
}

int64_t NumLines(absl::string_view text) {
  return static_cast<int64_t>(
      metrics::SplitLines(text, metrics::LineEnds::kDrop).size());
}

double Percent(double part, double whole) { return 100 * part / whole; }

// ----------------------------------------------------------------- test set

// What samples are counted by.
using Property = std::function<bool(const Sample&)>;

EditShape Shape(const Sample& sample) {
  return DescribeEdits(sample.old_contents, sample.new_contents,
                       HunkRule::kAsPublished);
}

// Whether the edit from C to N is below all from O to C.
bool NextIsBelow(const Sample& sample) {
  const auto last = LastInsertion(sample.old_contents, sample.current_contents);
  const auto next = LastInsertion(sample.current_contents, sample.new_contents);
  return last.has_value() && next.has_value() && next->begin > last->end;
}

const std::map<std::string, Property>& Properties() {
  static const auto* const kProperties = new std::map<std::string, Property>{
      {"samples", [](const Sample&) { return true; }},
      {"text_rebuilt",
       [](const Sample& s) {
         return Sha256(absl::StrCat(Prompt(s), Target(s))) == s.text_sha256;
       }},
      {"current_rebuilt",
       [](const Sample& s) {
         return RemoveLastInsertion(s.old_contents, s.new_contents) ==
                s.current_contents;
       }},
      {"kept_by_filters",
       [](const Sample& s) {
         return FilterCommit(s.old_contents, s.new_contents,
                             HunkRule::kAsCoded) == FilterResult::kKept;
       }},
      {"next_is_one_insertion",
       [](const Sample& s) {
         const EditShape shape = DescribeEdits(
             s.current_contents, s.new_contents, HunkRule::kAsPublished);
         return shape.chunks.size() == 1 && shape.num_deleted == 0;
       }},
      {"next_is_below", NextIsBelow},
      {"final_line_end",
       [](const Sample& s) { return absl::EndsWith(s.new_contents, "\n"); }},
      {"carriage_returns",
       [](const Sample& s) { return absl::StrContains(s.old_contents, '\r'); }},
  };
  return *kProperties;
}

absl::Status MeasureTestSet(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<Sample> samples, TestSet(run));
  std::map<std::string, int64_t> by_language;
  std::map<std::string, int64_t> texts;
  std::vector<double> old_lines;
  for (const Sample& sample : samples) {
    ++by_language[sample.language];
    ++texts[sample.text_sha256];
    old_lines.push_back(static_cast<double>(NumLines(sample.old_contents)));
  }
  REPRO_ASSIGN_OR_RETURN(const double mean_lines, Mean(old_lines));
  const auto [fewest_lines, most_lines] =
      std::minmax_element(old_lines.begin(), old_lines.end());
  const auto [smallest, largest] = std::minmax_element(
      by_language.begin(), by_language.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  const std::map<std::string, double> values = {
      {"languages", static_cast<double>(by_language.size())},
      {"smallest_language", static_cast<double>(smallest->second)},
      {"largest_language", static_cast<double>(largest->second)},
      {"distinct_texts", static_cast<double>(texts.size())},
      {"fewest_old_lines", *fewest_lines},
      {"most_old_lines", *most_lines},
      {"mean_old_lines", mean_lines},
  };
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    if (const auto found = values.find(measure); found != values.end()) {
      run.Record(*claim, found->second);
      continue;
    }
    Property property;
    if (const auto found = Properties().find(measure);
        found != Properties().end()) {
      property = found->second;
    } else if (measure == "chunks") {
      REPRO_ASSIGN_OR_RETURN(const int64_t chunks,
                             run.IntArg(*claim, "chunks"));
      property = [=](const Sample& s) {
        return static_cast<int64_t>(Shape(s).chunks.size()) == chunks;
      };
    } else if (measure == "window_starts_at") {
      REPRO_ASSIGN_OR_RETURN(const int64_t line, run.IntArg(*claim, "line"));
      property = [=](const Sample& s) {
        const EditShape shape = Shape(s);
        return shape.window.has_value() && shape.window->old_first == line;
      };
    } else if (measure == "lines_behind_window") {
      REPRO_ASSIGN_OR_RETURN(const int64_t lines, run.IntArg(*claim, "lines"));
      property = [=](const Sample& s) {
        const EditShape shape = Shape(s);
        // CutToWindow() cuts at "\n".
        const int64_t all =
            std::count(s.old_contents.begin(), s.old_contents.end(), '\n') + 1;
        return shape.window.has_value() &&
               all - shape.window->old_last == lines;
      };
    } else {
      return UnknownName(*claim, "measure", measure);
    }
    run.Record(*claim, static_cast<double>(std::count_if(
                           samples.begin(), samples.end(), property)));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "test_set", MeasureTestSet);

// ------------------------------------------------------------------ metrics

// What a metric says of an output; the judge's verdict where there is one.
struct Verdicts {
  Matches matches;
  bool exact_up_to_trailing_space = false;
  bool judge = false;
};

using Metric = bool (*)(const Verdicts&);

// Null if there is none.
Metric MetricByName(const std::string& name) {
  static const auto* const kMetrics = new std::map<std::string, Metric>{
      {"exact", [](const Verdicts& v) { return v.matches.exact; }},
      {"partial", [](const Verdicts& v) { return v.matches.partial; }},
      {"position", [](const Verdicts& v) { return v.matches.position; }},
      {"judge", [](const Verdicts& v) { return v.judge; }},
      {"exact_up_to_trailing_space",
       [](const Verdicts& v) { return v.exact_up_to_trailing_space; }},
      {"partial_not_exact",
       [](const Verdicts& v) { return v.matches.partial && !v.matches.exact; }},
  };
  const auto found = kMetrics->find(name);
  return found == kMetrics->end() ? nullptr : found->second;
}

absl::StatusOr<Verdicts> Score(const std::string& current,
                               const std::string& truth,
                               const std::string& output) {
  Verdicts verdicts;
  REPRO_ASSIGN_OR_RETURN(verdicts.matches, Match(current, truth, output));
  verdicts.exact_up_to_trailing_space = ExactUpToTrailingSpace(truth, output);
  return verdicts;
}

struct Scored {
  const Sample* sample;
  std::string output;
  Verdicts verdicts;
};

// The share in percent or, where the claim's unit is none, the number of
// `scored` that the claim's metric accepts, in its language if it has one.
absl::StatusOr<double> MetricOfClaim(ExperimentRun& run, const Claim& claim,
                                     const std::vector<Scored>& scored) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "metric"));
  const Metric metric = MetricByName(name);
  if (metric == nullptr) return UnknownName(claim, "metric", name);
  std::string language;
  if (claim.args().count("language") > 0) {
    REPRO_ASSIGN_OR_RETURN(language, run.Arg(claim, "language"));
  }
  int64_t rows = 0;
  int64_t accepted = 0;
  for (const Scored& one : scored) {
    if (!language.empty() && one.sample->language != language) continue;
    ++rows;
    accepted += metric(one.verdicts);
  }
  if (rows == 0) return UnknownName(claim, "output in the language", language);
  return claim.unit() == "%" ? Percent(accepted, rows)
                             : static_cast<double>(accepted);
}

// --------------------------------------------------------- released outputs

// With `zipped`, as the authors' script joins files: the current contents of
// row i of the test set with the truth and the output of row i of the outputs,
// in the order in which they were written.
absl::StatusOr<std::vector<Scored>> ScoreOutputs(
    const std::vector<Sample>& samples, std::vector<ModelOutput> outputs,
    bool zipped) {
  if (zipped) {
    std::sort(outputs.begin(), outputs.end(), [](const auto& a, const auto& b) {
      return a.file_position < b.file_position;
    });
  }
  std::vector<Scored> scored;
  for (ModelOutput& output : outputs) {
    const Sample& sample = samples[output.index];
    const Sample& current = zipped ? samples[output.file_position] : sample;
    REPRO_ASSIGN_OR_RETURN(
        Verdicts verdicts,
        Score(current.current_contents, sample.new_contents, output.output));
    verdicts.judge = output.judged_correct;
    scored.push_back({&sample, std::move(output.output), verdicts});
  }
  return scored;
}

absl::Status MeasureOutputs(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<Sample> samples, TestSet(run));
  // By model, then whether zipped.
  std::map<std::string, std::map<bool, std::vector<Scored>>> scored;
  for (const char* model : {"gpt-4.1", "gemini-3-flash-preview"}) {
    REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath(model));
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<ModelOutput> outputs,
        ReadOutputs(path, static_cast<int64_t>(samples.size())));
    for (const bool zipped : {false, true}) {
      REPRO_ASSIGN_OR_RETURN(scored[model][zipped],
                             ScoreOutputs(samples, outputs, zipped));
    }
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    if (scored.count(model) == 0) return UnknownName(*claim, "model", model);
    const std::vector<Scored>& joined = scored[model][false];
    double value = 0;
    if (report == "accepted") {
      REPRO_ASSIGN_OR_RETURN(value, MetricOfClaim(run, *claim, joined));
    } else if (report == "accepted_if_zipped") {
      REPRO_ASSIGN_OR_RETURN(value,
                             MetricOfClaim(run, *claim, scored[model][true]));
    } else if (report == "agrees_with_judge") {
      REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "metric"));
      const Metric metric = MetricByName(name);
      if (metric == nullptr) return UnknownName(*claim, "metric", name);
      const auto agreeing =
          std::count_if(joined.begin(), joined.end(), [&](const Scored& one) {
            return metric(one.verdicts) == one.verdicts.judge;
          });
      value = Percent(static_cast<double>(agreeing),
                      static_cast<double>(joined.size()));
    } else if (report == "lacks_final_line_end_only") {
      value = static_cast<double>(
          std::count_if(joined.begin(), joined.end(), [](const Scored& one) {
            return absl::StrCat(one.output, "\n") == one.sample->new_contents;
          }));
    } else {
      return UnknownName(*claim, "report", report);
    }
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "outputs", MeasureOutputs);

// -------------------------------------------------------- what metrics allow

// Outputs that are known without a model, against N or, as generate_offline.py
// has it, against N and a line end.
absl::Status MeasureKnownOutputs(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<Sample> samples, TestSet(run));
  const std::map<std::string, std::function<std::string(const Sample&)>>
      known_outputs = {
          {"old", [](const Sample& s) { return s.old_contents; }},
          {"current", [](const Sample& s) { return s.current_contents; }},
          {"new", [](const Sample& s) { return s.new_contents; }},
          {"target", [](const Sample& s) { return Target(s); }},
          {"new_answered_by_api_model",
           [](const Sample& s) {
             // The final line end is written once.
             return *AnswerOfApiModel(
                 absl::StrCat("<next_version>\n", s.new_contents,
                              absl::EndsWith(s.new_contents, "\n") ? "" : "\n",
                              "</next_version>"));
           }},
          {"new_answered_by_local_model",
           [](const Sample& s) {
             return AnswerOfLocalModel(absl::StrCat(
                 "<next_version>\n", s.new_contents, "\n</next_version>"));
           }},
      };
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "output"));
    REPRO_ASSIGN_OR_RETURN(const std::string truth, run.Arg(*claim, "truth"));
    const auto output = known_outputs.find(name);
    if (output == known_outputs.end())
      return UnknownName(*claim, "output", name);
    if (truth != "new" && truth != "target") {
      return UnknownName(*claim, "truth", truth);
    }
    std::vector<Scored> scored;
    for (const Sample& sample : samples) {
      std::string text = output->second(sample);
      REPRO_ASSIGN_OR_RETURN(
          const Verdicts verdicts,
          Score(sample.current_contents,
                truth == "new" ? sample.new_contents : Target(sample), text));
      scored.push_back({&sample, std::move(text), verdicts});
    }
    REPRO_ASSIGN_OR_RETURN(const double value,
                           MetricOfClaim(run, *claim, scored));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "known_outputs", MeasureKnownOutputs);

// ----------------------------------------------------------------- the rule

absl::StatusOr<Places> PlacesOfClaim(ExperimentRun& run, const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "places"));
  if (name == "all") return Places::kAll;
  if (name == "below") return Places::kBelow;
  return UnknownName(claim, "places", name);
}

using Predictor = std::function<absl::StatusOr<std::string>(const Sample&)>;

absl::StatusOr<std::vector<Scored>> ScorePredictor(
    const std::vector<Sample>& samples, const Predictor& predict) {
  std::vector<Scored> scored;
  for (const Sample& sample : samples) {
    REPRO_ASSIGN_OR_RETURN(std::string output, predict(sample));
    REPRO_ASSIGN_OR_RETURN(
        const Verdicts verdicts,
        Score(sample.current_contents, sample.new_contents, output));
    scored.push_back({&sample, std::move(output), verdicts});
  }
  return scored;
}

std::optional<LineRange> LastEdit(const Sample& sample) {
  return LastInsertion(sample.old_contents, sample.current_contents);
}

// Without an edit the contents stay as they are.
std::string RepeatLastEdit(const Sample& sample, Places places) {
  const std::optional<LineRange> edit = LastEdit(sample);
  return edit.has_value() ? RepeatEdit(sample.current_contents, *edit, places)
                          : sample.current_contents;
}

absl::Status MeasureRule(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<Sample> samples, TestSet(run));
  std::map<Places, std::vector<Scored>> repeated;
  for (const Places places : {Places::kAll, Places::kBelow}) {
    REPRO_ASSIGN_OR_RETURN(repeated[places],
                           ScorePredictor(samples, [&](const Sample& sample) {
                             return RepeatLastEdit(sample, places);
                           }));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<int64_t> nearest,
                         NearestInOtherLanguages(samples));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Scored> transferred,
                         ScorePredictor(samples, [&](const Sample& sample) {
                           const Sample& other = samples[nearest[sample.index]];
                           const std::optional<LineRange> edit = LastInsertion(
                               other.current_contents, other.new_contents);
                           return edit.has_value()
                                      ? TransferEdit(other.new_contents, *edit,
                                                     sample.current_contents)
                                      : sample.current_contents;
                         }));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const Places places, PlacesOfClaim(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const std::string predictor,
                           run.Arg(*claim, "predictor"));
    double value = 0;
    if (predictor == "repeats_last_edit") {
      REPRO_ASSIGN_OR_RETURN(value,
                             MetricOfClaim(run, *claim, repeated[places]));
    } else if (predictor == "transfers_from_other_languages") {
      REPRO_ASSIGN_OR_RETURN(value, MetricOfClaim(run, *claim, transferred));
    } else if (predictor == "random_place") {
      double sum = 0;
      for (const Sample& sample : samples) {
        REPRO_ASSIGN_OR_RETURN(const double chance,
                               ChancePositionMatch(sample, places));
        sum += chance;
      }
      value = Percent(sum, static_cast<double>(samples.size()));
    } else {
      return UnknownName(*claim, "predictor", predictor);
    }
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "rule", MeasureRule);

// The rule with the last edit, against the rule with as many lines of C from a
// random place in its stead: what it knows of C is the same, but not which
// lines are new.
absl::Status MeasureHistory(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<Sample> samples, TestSet(run));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Scored> with_history,
                         ScorePredictor(samples, [](const Sample& sample) {
                           return RepeatLastEdit(sample, Places::kAll);
                         }));
  std::vector<std::vector<Scored>> without_history;
  for (const uint64_t seed : run.seeds()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    std::mt19937_64 random(seed);
    REPRO_ASSIGN_OR_RETURN(
        without_history.emplace_back(),
        ScorePredictor(samples, [&](const Sample& sample) {
          const std::optional<LineRange> edit = LastEdit(sample);
          if (!edit.has_value()) return sample.current_contents;
          const int64_t lines = edit->end - edit->begin;
          const int64_t begin = std::uniform_int_distribution<int64_t>(
              0, NumLines(sample.current_contents) - lines)(random);
          return RepeatEdit(sample.current_contents, {begin, begin + lines},
                            Places::kAll);
        }));
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double with,
                           MetricOfClaim(run, *claim, with_history));
    Observation observation;
    for (const std::vector<Scored>& scored : without_history) {
      REPRO_ASSIGN_OR_RETURN(const double without,
                             MetricOfClaim(run, *claim, scored));
      observation.samples.push_back(with - without);
    }
    observation.effects = observation.samples;
    observation.scale = "a rule in place of a language model";
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "history", MeasureHistory);

}  // namespace
}  // namespace repro::next_edit
