#include "papers/cdhf/user_study.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/data/csv.h"
#include "common/data/jsonl.h"
#include "common/metrics/classification.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"
#include "common/threads/parallel_for.h"

namespace repro::cdhf {
namespace {

using nlohmann::json;

constexpr const char* kMeasurementNames[kMeasurements] = {
    "compCharLen",  "confidence", "documentLength",
    "numLines",     "numTokens",  "promptCharLen",
    "promptEndPos", "quantile",   "meanAlternativeLogProb",
    "meanLogProb"};

constexpr const char* kNumberColumns[kNumbers] = {"len_suggestion_chars",
                                                  "len_prompt_chars",
                                                  "len_suggestion_words",
                                                  "len_prompt_words",
                                                  "event_index",
                                                  "compCharLen",
                                                  "confidence",
                                                  "documentLength",
                                                  "numLines",
                                                  "numTokens",
                                                  "promptCharLen",
                                                  "promptEndPos",
                                                  "quantile",
                                                  "meanAlternativeLogProb",
                                                  "meanLogProb"};

constexpr const char* kFlagNames[kFlags] = {
    "words", "triple_quote", "hash",  "print", "equal",    "for",   "while",
    "if",    "else",         "def",   "class", "import",   "from",  "return",
    "try",   "except",       "raise", "pass",  "continue", "break", "assert"};

constexpr const char* kFlagTexts[kFlags] = {
    "",    "'",      "#",     "print", "=",        "for",   "while",
    "if",  "else",   "def",   "class", "import",   "from",  "return",
    "try", "except", "raise", "pass",  "continue", "break", "assert"};

// Of history.
constexpr int kPrevious = 5;
constexpr int kPreviousNumbers = 8;

bool IsOutcome(const Event& event) {
  return event.state == "Accepted" || event.state == "Rejected";
}

bool IsDisplay(const Event& event) {
  return event.state == "Shown" || event.state == "Replay";
}

absl::StatusOr<std::optional<Measurements>> ParseMeasurements(const json& m) {
  Measurements measurements;
  int missing = 0;
  for (int i = 0; i < kMeasurements; ++i) {
    const auto found = m.find(kMeasurementNames[i]);
    if (found == m.end()) {
      ++missing;
      continue;
    }
    measurements[i] = found->get<double>();
    if (!std::isfinite(measurements[i])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "field \"m\": ", kMeasurementNames[i], " is not finite"));
    }
  }
  if (missing == 0) return measurements;
  const bool none = m.count("confidence") == 0 && m.count("quantile") == 0 &&
                    m.count("meanAlternativeLogProb") == 0 &&
                    m.count("meanLogProb") == 0;
  if (missing == 4 && none) return std::optional<Measurements>();
  return absl::InvalidArgumentError(
      absl::StrCat("field \"m\": lacks ", missing, " measurements"));
}

absl::StatusOr<Event> ParseEvent(const json& value) {
  static const auto* const kStates = new std::set<std::string>{
      "Shown", "Replay", "Browsing", "Accepted", "Rejected"};
  Event event;
  try {
    event.session = value.at("session").get<int64_t>();
    event.user = value.at("user").get<int64_t>();
    event.index = value.at("i").get<int64_t>();
    event.state = value.at("state").get<std::string>();
    event.cups = value.at("cups").get<std::string>();
    event.suggestion = value.at("suggestion").get<std::string>();
    event.prompt = value.at("prompt").get<std::string>();
    const json& m = value.at("m");
    if (!m.is_object()) {
      return absl::InvalidArgumentError("field \"m\" is not an object");
    }
    REPRO_ASSIGN_OR_RETURN(event.measurements, ParseMeasurements(m));
  } catch (const json::exception& exception) {
    return absl::InvalidArgumentError(exception.what());
  }
  if (kStates->count(event.state) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown state \"", event.state, "\""));
  }
  return event;
}

double CodePointCount(absl::string_view text) {
  return static_cast<double>(metrics::CodePoints(text).size());
}

double PieceCount(absl::string_view text) {
  return static_cast<double>(1 + std::count(text.begin(), text.end(), ' '));
}

std::string LastThreeLines(absl::string_view text) {
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  if (lines.size() > 3) lines.erase(lines.begin(), lines.end() - 3);
  return absl::StrJoin(lines, "\n");
}

absl::Status CheckExamples(const std::vector<Example>& examples) {
  if (examples.empty()) return absl::InvalidArgumentError("no examples");
  for (size_t i = 0; i < examples.size(); ++i) {
    const Example& one = examples[i];
    if (one.user < 0 || one.user >= kProgrammers || one.cups < 0 ||
        one.cups >= kCupsLabels || one.suggestion_label < 0 ||
        one.suggestion_label >= kCodeLabels || one.prompt_label < 0 ||
        one.prompt_label >= kCodeLabels) {
      return absl::InvalidArgumentError(absl::StrCat(
          "example ", i, ": user ", one.user, ", cups ", one.cups,
          ", code labels ", one.suggestion_label, " and ", one.prompt_label));
    }
  }
  return absl::OkStatus();
}

class RowWriter {
 public:
  explicit RowWriter(std::vector<float>& values) : values_(values) {}

  void Add(double value) { values_.push_back(static_cast<float>(value)); }
  template <size_t kSize>
  void Add(const std::array<double, kSize>& values) {
    for (const double value : values) Add(value);
  }
  void AddOneHot(int64_t index, int64_t size) {
    for (int64_t i = 0; i < size; ++i) Add(i == index ? 1 : 0);
  }

 private:
  std::vector<float>& values_;
};

Matrix RowsOf(const Matrix& matrix, const std::vector<int64_t>& rows) {
  Matrix taken;
  taken.rows = static_cast<int64_t>(rows.size());
  taken.columns = matrix.columns;
  for (const int64_t row : rows) {
    const auto values = matrix.Row(row);
    taken.values.insert(taken.values.end(), values.begin(), values.end());
  }
  return taken;
}

}  // namespace

absl::StatusOr<std::vector<Event>> ReadEvents(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::vector<Event> events;
  std::set<int64_t> sessions;
  for (const JsonLine& line : lines) {
    const auto error = [&](absl::string_view what) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", line.line, ": ", what));
    };
    absl::StatusOr<Event> event = ParseEvent(line.value);
    if (!event.ok()) return error(event.status().message());
    const bool begins =
        events.empty() || events.back().session != event->session;
    if (begins && !sessions.insert(event->session).second) {
      return error(absl::StrCat("session ", event->session, " comes back"));
    }
    const int64_t expected = begins ? 0 : events.back().index + 1;
    if (event->index != expected) {
      return error(
          absl::StrCat("i is ", event->index, ", expected ", expected));
    }
    events.push_back(*std::move(event));
  }
  if (events.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no events"));
  }
  return events;
}

std::array<double, kFlags> TextFlags(absl::string_view text) {
  std::array<double, kFlags> flags;
  flags[0] = static_cast<double>(metrics::SplitWhitespace(text).size());
  for (int i = 1; i < kFlags; ++i) {
    flags[i] = text.find(kFlagTexts[i]) != absl::string_view::npos;
  }
  return flags;
}

absl::StatusOr<std::vector<Example>> ReadExamples(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  std::vector<Example> examples;
  std::set<int64_t> sessions;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    Example one;
    REPRO_ASSIGN_OR_RETURN(one.session, table.Int(row, "session"));
    REPRO_ASSIGN_OR_RETURN(one.user, table.Int(row, "user"));
    REPRO_ASSIGN_OR_RETURN(one.cups, table.Int(row, "cups_index"));
    REPRO_ASSIGN_OR_RETURN(one.suggestion_label,
                           table.Int(row, "suggestion_label"));
    REPRO_ASSIGN_OR_RETURN(one.prompt_label, table.Int(row, "prompt_label"));
    REPRO_ASSIGN_OR_RETURN(const std::string label, table.Text(row, "label"));
    one.rejected = label == "Rejected";
    if (!one.rejected && label != "Accepted") {
      return table.RowError(row, absl::StrCat("unknown label \"", label, "\""));
    }
    for (int i = 0; i < kNumbers; ++i) {
      REPRO_ASSIGN_OR_RETURN(one.numbers[i],
                             table.Double(row, kNumberColumns[i]));
    }
    REPRO_ASSIGN_OR_RETURN(one.session_numbers[0],
                           table.Double(row, "sess_index"));
    REPRO_ASSIGN_OR_RETURN(one.session_numbers[1],
                           table.Double(row, "sess_frac"));
    REPRO_ASSIGN_OR_RETURN(one.session_numbers[2],
                           table.Double(row, "sess_len"));
    for (int i = 0; i < kFlags; ++i) {
      REPRO_ASSIGN_OR_RETURN(
          one.suggestion_flags[i],
          table.Double(row, absl::StrCat("s_", kFlagNames[i])));
      REPRO_ASSIGN_OR_RETURN(
          one.prompt_flags[i],
          table.Double(row, absl::StrCat("p_", kFlagNames[i])));
    }
    if (absl::Status status = CheckExamples({one}); !status.ok()) {
      return table.RowError(row, status.message());
    }
    const bool begins =
        examples.empty() || examples.back().session != one.session;
    if (begins && !sessions.insert(one.session).second) {
      return table.RowError(
          row, absl::StrCat("session ", one.session, " comes back"));
    }
    examples.push_back(one);
  }
  if (examples.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no examples"));
  }
  return examples;
}

absl::StatusOr<std::vector<Example>> MakeExamples(
    const std::vector<Event>& events) {
  std::map<int64_t, int64_t> lengths;
  for (const Event& event : events) ++lengths[event.session];
  std::map<std::string, int64_t> cups;
  std::vector<Example> examples;
  Measurements last = {};
  for (size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    cups.emplace(event.cups, static_cast<int64_t>(cups.size()));
    if (event.index == 0) last = {};
    if (!IsOutcome(event)) continue;
    // What was on display. Without one in the session, the event before, and
    // the event itself if it is the first.
    size_t shown = i;
    for (size_t back = 1; back <= static_cast<size_t>(event.index); ++back) {
      if (IsDisplay(events[i - back])) {
        shown = i - back;
        break;
      }
    }
    if (shown == i && event.index > 0) shown = i - 1;
    const Event& display = events[shown];
    if (display.measurements.has_value()) last = *display.measurements;

    Example one;
    one.session = event.session;
    one.user = event.user;
    one.rejected = event.state == "Rejected";
    one.cups = cups.at(event.cups);
    one.numbers[0] = CodePointCount(display.suggestion);
    one.numbers[1] = CodePointCount(display.prompt);
    one.numbers[2] = PieceCount(display.suggestion);
    one.numbers[3] = PieceCount(display.prompt);
    one.numbers[4] = static_cast<double>(event.index);
    std::copy(last.begin(), last.end(), one.numbers.begin() + 5);
    const auto length = static_cast<double>(lengths.at(event.session));
    one.session_numbers = {one.numbers[4], one.numbers[4] / length, length};
    one.suggestion_flags = TextFlags(event.suggestion);
    one.prompt_flags = TextFlags(LastThreeLines(event.prompt));
    examples.push_back(one);
  }
  REPRO_RETURN_IF_ERROR(CheckExamples(examples));
  return examples;
}

int64_t NumColumns(View view) {
  const int64_t everything = kNumbers + 3 + 2 * kCodeLabels + 2 * kFlags +
                             kProgrammers + kPrevious * (1 + kPreviousNumbers);
  switch (view) {
    case View::kContext:
      return 5 + 3 + kCodeLabels + kFlags + kProgrammers + kPrevious;
    case View::kSuggestion:
      return everything;
    case View::kSuggestionAndState:
      return everything + kCupsLabels;
  }
  return 0;
}

absl::StatusOr<Matrix> MakeMatrix(const std::vector<Example>& examples,
                                  View view) {
  REPRO_RETURN_IF_ERROR(CheckExamples(examples));
  Matrix matrix;
  matrix.rows = static_cast<int64_t>(examples.size());
  matrix.columns = NumColumns(view);
  RowWriter row(matrix.values);
  for (size_t i = 0; i < examples.size(); ++i) {
    const Example& one = examples[i];
    if (view == View::kContext) {
      for (const int number : {1, 3, 7, 10, 11}) row.Add(one.numbers[number]);
    } else {
      row.Add(one.numbers);
    }
    row.Add(one.session_numbers);
    if (view != View::kContext) {
      row.AddOneHot(one.suggestion_label, kCodeLabels);
    }
    row.AddOneHot(one.prompt_label, kCodeLabels);
    if (view != View::kContext) row.Add(one.suggestion_flags);
    row.Add(one.prompt_flags);
    row.AddOneHot(one.user, kProgrammers);
    if (view == View::kSuggestionAndState) {
      row.AddOneHot(one.cups, kCupsLabels);
    }
    // Example i - kPrevious first.
    std::array<const Example*, kPrevious> previous = {};
    for (size_t back = 1; back <= kPrevious && back <= i; ++back) {
      if (examples[i - back].session != one.session) break;
      previous[kPrevious - back] = &examples[i - back];
    }
    for (const Example* other : previous) {
      row.Add(other == nullptr || other->rejected ? 1 : 0);
    }
    if (view == View::kContext) continue;
    for (const Example* other : previous) {
      for (int number = 0; number < kPreviousNumbers; ++number) {
        row.Add(other == nullptr ? 0 : other->numbers[number]);
      }
    }
  }
  return matrix;
}

absl::StatusOr<std::vector<double>> LeaveOneProgrammerOut(
    const std::vector<Example>& examples, View view,
    const BoostingOptions& options, int threads,
    const std::function<bool(int64_t done, int64_t total)>& progress) {
  REPRO_ASSIGN_OR_RETURN(const Matrix matrix, MakeMatrix(examples, view));
  std::set<int64_t> users;
  for (const Example& one : examples) users.insert(one.user);
  if (users.size() < 2) {
    return absl::FailedPreconditionError(
        "leaving one programmer out needs two at least");
  }
  const std::vector<int64_t> left_out(users.begin(), users.end());
  const auto total = static_cast<int64_t>(left_out.size());

  std::vector<double> probabilities(examples.size());
  const auto fit = [&](int64_t user) -> absl::Status {
    std::vector<int64_t> rows;
    std::vector<bool> rejected;
    for (size_t i = 0; i < examples.size(); ++i) {
      if (examples[i].user == user) continue;
      rows.push_back(static_cast<int64_t>(i));
      rejected.push_back(examples[i].rejected);
    }
    REPRO_ASSIGN_OR_RETURN(
        const BoostedTrees trees,
        BoostedTrees::Train(RowsOf(matrix, rows), rejected, options));
    for (size_t i = 0; i < examples.size(); ++i) {
      if (examples[i].user != user) continue;
      REPRO_ASSIGN_OR_RETURN(
          probabilities[i],
          trees.Probability(matrix.Row(static_cast<int64_t>(i))));
    }
    return absl::OkStatus();
  };

  REPRO_RETURN_IF_ERROR(ParallelFor(
      total, threads, [&](int64_t i) { return fit(left_out[i]); },
      [&](int64_t done) { return progress(done, total); }));
  return probabilities;
}

absl::StatusOr<std::vector<double>> LeaveOneProgrammerOutByState(
    const std::vector<Example>& examples) {
  REPRO_RETURN_IF_ERROR(CheckExamples(examples));
  struct Counts {
    double all = 0;
    double rejected = 0;
  };
  std::array<Counts, kCupsLabels> total;
  std::array<std::array<Counts, kCupsLabels>, kProgrammers> own;
  for (const Example& one : examples) {
    for (Counts* counts : {&total[one.cups], &own[one.user][one.cups]}) {
      counts->all += 1;
      counts->rejected += one.rejected;
    }
  }
  std::vector<double> probabilities;
  for (const Example& one : examples) {
    const Counts& all = total[one.cups];
    const Counts& mine = own[one.user][one.cups];
    const double others = all.all - mine.all;
    probabilities.push_back(others > 0 ? (all.rejected - mine.rejected) / others
                                       : 1);
  }
  return probabilities;
}

absl::StatusOr<ProgrammerScores> ScoreProgrammers(
    const std::vector<int64_t>& users, const std::vector<bool>& rejected,
    const std::vector<double>& p_reject) {
  if (users.empty() || users.size() != rejected.size() ||
      users.size() != p_reject.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(users.size(), " programmers, ", rejected.size(),
                     " labels, ", p_reject.size(), " probabilities"));
  }
  struct Own {
    std::vector<bool> rejected;
    std::vector<double> p;
    double right = 0;
  };
  std::map<int64_t, Own> by_user;
  for (size_t i = 0; i < users.size(); ++i) {
    Own& own = by_user[users[i]];
    own.rejected.push_back(rejected[i]);
    own.p.push_back(p_reject[i]);
    own.right += (p_reject[i] > 0.5) == rejected[i];
  }
  ProgrammerScores scores;
  for (const auto& [user, own] : by_user) {
    const absl::StatusOr<double> auc = metrics::RocAuc(own.rejected, own.p);
    if (!auc.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("programmer ", user, ": ", auc.status().message()));
    }
    scores.accuracy.push_back(own.right / static_cast<double>(own.p.size()));
    scores.auc.push_back(*auc);
  }
  return scores;
}

absl::StatusOr<Probabilities> ReadProbabilities(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  Probabilities all;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    REPRO_ASSIGN_OR_RETURN(all.users.emplace_back(), table.Int(row, "session"));
    REPRO_ASSIGN_OR_RETURN(const int64_t rejected, table.Int(row, "rejected"));
    if (rejected != 0 && rejected != 1) {
      return table.RowError(row, absl::StrCat("rejected is ", rejected));
    }
    all.rejected.push_back(rejected == 1);
    const struct {
      const char* column;
      std::vector<double>& values;
    } columns[] = {{"m1_p_reject", all.context},
                   {"m2_p_reject", all.suggestion},
                   {"m2cups_p_reject", all.suggestion_and_state}};
    for (const auto& [column, values] : columns) {
      REPRO_ASSIGN_OR_RETURN(const double p, table.Double(row, column));
      if (!(p > 0 && p < 1)) {
        return table.RowError(row, absl::StrCat(column, " is ", p));
      }
      values.push_back(p);
    }
  }
  if (all.users.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no probabilities"));
  }
  return all;
}

std::vector<double> Complement(const std::vector<double>& probabilities) {
  std::vector<double> complement;
  for (const double p : probabilities) complement.push_back(1 - p);
  return complement;
}

}  // namespace repro::cdhf
