#ifndef REPRO_TOOLS_TERMINAL_H_
#define REPRO_TOOLS_TERMINAL_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/claims/runner.h"

namespace repro {

// Rows of text in columns, for a terminal or for Markdown. Widths count UTF-8
// code points.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header)
      : header_(std::move(header)) {}
  void AddRow(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string ToText() const;
  std::string ToMarkdown() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// A measured number with about the digits that its reported value has, and one
// more: "4.1058" for "4.1" would be "4.11".
std::string FormatLike(double value, absl::string_view reported);

// Shows on stderr what runs: one line that is rewritten on a terminal, plain
// lines otherwise.
class ProgressLine : public RunObserver {
 public:
  explicit ProgressLine(bool terminal) : terminal_(terminal) {}
  ~ProgressLine() override { Clear(); }

  void Started(const Plan& plan) override;
  void ExperimentStarted(const PlannedExperiment& planned) override;
  void Progress(double fraction, absl::string_view text) override;
  void Measured(const Measurement& measurement) override;
  void ExperimentFinished(const PlannedExperiment& planned,
                          const absl::Status& status) override;
  void Notice(absl::string_view text) override;

 private:
  void Clear();
  void Line(const std::string& text);
  std::string Name() const;

  const bool terminal_;
  bool shown_ = false;
  absl::Time last_drawn_ = absl::InfinitePast();
  absl::Time last_printed_ = absl::InfinitePast();

  double total_seconds_ = 0;     // expected, of the plan
  double finished_seconds_ = 0;  // of it, what is behind us
  int count_ = 0;
  int index_ = 0;
  int measured_ = 0;
  const PlannedExperiment* running_ = nullptr;
  absl::Time start_;
  absl::Time experiment_start_;
};

}  // namespace repro

#endif  // REPRO_TOOLS_TERMINAL_H_
