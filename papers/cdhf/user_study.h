// The released user study (21 programmers with Copilot, Mozannar et al., CHI
// 2024): events, what a model may know of each accepted or rejected suggestion,
// and models trained on all programmers but one.
#ifndef REPRO_PAPERS_CDHF_USER_STUDY_H_
#define REPRO_PAPERS_CDHF_USER_STUDY_H_

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "papers/cdhf/gradient_boosting.h"

namespace repro::cdhf {

// ---- Events ----------------------------------------------------------------

// compCharLen, confidence, documentLength, numLines, numTokens, promptCharLen,
// promptEndPos, quantile, meanAlternativeLogProb, meanLogProb: what Copilot
// measures of a suggestion.
inline constexpr int kMeasurements = 10;
using Measurements = std::array<double, kMeasurements>;

struct Event {
  int64_t session = 0;
  int64_t user = 0;
  int64_t index = 0;  // in its session, from 0
  std::string state;  // Shown, Replay, Browsing, Accepted or Rejected
  std::string cups;   // the programmer's own label, in retrospect
  std::optional<Measurements> measurements;
  // As released: JSON strings with quotes and escapes, not the text itself.
  std::string suggestion;
  std::string prompt;
};

// JSON Lines, plain or gzip, with session, user, i, state, cups, m, suggestion
// and prompt; sessions one after the other, i from 0 in each. m without
// confidence, quantile and the two probabilities: no measurements. Errors:
// those of ReadJsonl; InvalidArgument "path:line: ..." for a field that is
// missing or has another type, an unknown state, an i out of order, and an m
// that has some of the ten fields that it may lack; "path: no events".
absl::StatusOr<std::vector<Event>> ReadEvents(const std::string& path);

// ---- Features --------------------------------------------------------------

inline constexpr int kNumbers = 15;
inline constexpr int kFlags = 21;
inline constexpr int kCodeLabels = 14;
inline constexpr int kCupsLabels = 13;
inline constexpr int kProgrammers = 21;

// Words between white space, then whether these occur: ' # print = for while if
// else def class import from return try except raise pass continue break
// assert. The first is meant to be ''' but is one quotation mark in the
// authors' code.
std::array<double, kFlags> TextFlags(absl::string_view text);

// An accepted or rejected suggestion.
struct Example {
  int64_t session = 0;
  int64_t user = 0;  // in [0, kProgrammers)
  bool rejected = false;
  int64_t cups = 0;  // index of the label, by first appearance in the events
  // Characters of suggestion and prompt, their words between single spaces,
  // index of the event, and the measurements: of the last Shown or Replay
  // before.
  std::array<double, kNumbers> numbers = {};
  std::array<double, 3> session_numbers = {};  // index, index / length, length
  // What the code is, of the authors' parser: 0 codeinit, function def,
  // test_assert, import, control flow, 5 print, error handling, assignment,
  // comment, binary_operator, 10 comparison, expression, docstring, 13 other.
  int64_t suggestion_label = 0;
  int64_t prompt_label = 0;  // of the last line
  std::array<double, kFlags> suggestion_flags = {};
  std::array<double, kFlags> prompt_flags = {};  // of the last three lines
};

// The released features, CSV as in features.csv: one row a suggestion, sessions
// one after the other. Errors: those of CsvTable; InvalidArgument
// "path:line: ..." for an unknown label, an index out of range, a session that
// comes back; "path: no examples".
absl::StatusOr<std::vector<Example>> ReadExamples(const std::string& path);

// The same from events, but for both code labels, which stay 0. Where the row
// before has no measurements, those of the last suggestion that had are used,
// and zeros where the session had none.
absl::StatusOr<std::vector<Example>> MakeExamples(
    const std::vector<Event>& events);

// What a model sees.
enum class View {
  // 69 columns, before a suggestion is generated: characters and words of the
  // prompt, documentLength, promptCharLen, promptEndPos, session numbers, the
  // prompt's label and flags, the programmer, and the last five labels (1:
  // rejected, or there was none).
  kContext,
  // 154 columns: everything of an Example but the cups label, the last five
  // labels, and the first eight numbers of the last five (0: there was none).
  kSuggestion,
  // 167 columns: and the cups label.
  kSuggestionAndState,
};
int64_t NumColumns(View view);

// One row an example. The last five are of the same session.
// InvalidArgument: none, or an index out of range.
absl::StatusOr<Matrix> MakeMatrix(const std::vector<Example>& examples,
                                  View view);

// ---- Leave one programmer out ----------------------------------------------

// For each example the probability of rejection by trees that were trained on
// all other programmers, `threads` fits at a time. FailedPrecondition with
// fewer than two programmers; Cancelled if `progress` says false.
absl::StatusOr<std::vector<double>> LeaveOneProgrammerOut(
    const std::vector<Example>& examples, View view,
    const BoostingOptions& options, int threads,
    const std::function<bool(int64_t done, int64_t total)>& progress);

// The same by the state alone: the share of rejections among the other
// programmers' suggestions of the same cups label, 1 for an unseen label.
absl::StatusOr<std::vector<double>> LeaveOneProgrammerOutByState(
    const std::vector<Example>& examples);

// One value a programmer, in the order of their numbers.
struct ProgrammerScores {
  std::vector<double> accuracy;  // rejected if the probability is above 0.5
  std::vector<double> auc;
};

// InvalidArgument: unequally long or empty vectors, NaN, and a programmer whose
// labels are all the same.
absl::StatusOr<ProgrammerScores> ScoreProgrammers(
    const std::vector<int64_t>& users, const std::vector<bool>& rejected,
    const std::vector<double>& p_reject);

// ---- Released probabilities ------------------------------------------------

// By example, as LeaveOneProgrammerOut gives them but of another program.
struct Probabilities {
  std::vector<int64_t> users;
  std::vector<bool> rejected;
  std::vector<double> context;  // of rejection
  std::vector<double> suggestion;
  std::vector<double> suggestion_and_state;
};

// CSV with session, rejected, m1_p_reject, m2_p_reject and m2cups_p_reject; a
// session is a programmer. Errors: those of CsvTable; InvalidArgument
// "path:line: ..." for a label that is not 0 or 1 and a probability outside (0,
// 1); "path: no probabilities".
absl::StatusOr<Probabilities> ReadProbabilities(const std::string& path);

// 1 - p of each.
std::vector<double> Complement(const std::vector<double>& probabilities);

}  // namespace repro::cdhf

#endif  // REPRO_PAPERS_CDHF_USER_STUDY_H_
