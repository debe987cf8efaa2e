#include "tools/terminal.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "common/text/duration.h"

namespace repro {
namespace {

size_t Width(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

constexpr int kLineWidth = 100;

}  // namespace

std::string TextTable::ToText() const {
  std::vector<size_t> widths;
  for (const std::string& cell : header_) widths.push_back(Width(cell));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  std::string out;
  const auto add = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&line, row[i],
                      std::string(widths[i] - Width(row[i]) + 2, ' '));
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&out, line, "\n");
  };
  add(header_);
  std::vector<std::string> rule;
  for (const size_t width : widths) rule.emplace_back(width, '-');
  add(rule);
  for (const auto& row : rows_) add(row);
  return out;
}

std::string TextTable::ToMarkdown() const {
  std::string out;
  const auto add = [&](const std::vector<std::string>& row) {
    absl::StrAppend(&out, "|");
    for (const std::string& cell : row) {
      absl::StrAppend(&out, " ",
                      absl::StrReplaceAll(cell, {{"|", "\\|"}, {"\n", " "}}),
                      " |");
    }
    absl::StrAppend(&out, "\n");
  };
  add(header_);
  add(std::vector<std::string>(header_.size(), "---"));
  for (const auto& row : rows_) add(row);
  return out;
}

std::string FormatLike(double value, absl::string_view reported) {
  if (std::abs(value) >= 1e6 && value == std::floor(value)) {
    return absl::StrFormat("%.0f", value);
  }
  int digits = 0;
  for (const char c : reported) {
    if (c == 'e' || c == 'E') break;
    digits += absl::ascii_isdigit(c);
  }
  return absl::StrFormat("%.*g", std::clamp(digits + 1, 3, 9), value);
}

void ProgressLine::Started(const Plan& plan) {
  start_ = absl::Now();
  total_seconds_ = plan.seconds;
  count_ = plan.experiments.size();
  Line(absl::StrFormat("%d experiments, about %s", count_,
                       FormatDuration(total_seconds_)));
}

void ProgressLine::ExperimentStarted(const PlannedExperiment& planned) {
  running_ = &planned;
  experiment_start_ = absl::Now();
  ++index_;
  measured_ = 0;
  if (terminal_) {
    last_drawn_ = absl::InfinitePast();
    Progress(0, "");
  }
}

void ProgressLine::Progress(double fraction, absl::string_view text) {
  if (running_ == nullptr) return;
  const absl::Time now = absl::Now();
  const double elapsed = absl::ToDoubleSeconds(now - experiment_start_);
  // Once the experiment shows its own pace, that beats what it declares.
  const double expected = running_->experiment->seconds();
  const double left_here = fraction > 0.02 ? elapsed * (1 - fraction) / fraction
                                           : std::max(0.0, expected - elapsed);
  const double left =
      left_here + std::max(0.0, total_seconds_ - finished_seconds_ - expected);
  const std::string line = absl::StrFormat(
      "[%d/%d] %s %3.0f%%%s%s, %s left", index_, count_, Name(), 100 * fraction,
      text.empty() ? "" : " ", text, FormatDuration(left));
  if (!terminal_) {
    if (now - std::max(last_printed_, experiment_start_) >= absl::Seconds(30)) {
      last_printed_ = now;
      Line(line);
    }
    return;
  }
  if (now - last_drawn_ < absl::Milliseconds(100)) return;
  last_drawn_ = now;
  std::cerr << "\r\033[K" << line.substr(0, kLineWidth) << std::flush;
  shown_ = true;
}

void ProgressLine::Measured(const Measurement&) { ++measured_; }

void ProgressLine::ExperimentFinished(const PlannedExperiment& planned,
                                      const absl::Status& status) {
  const double seconds = absl::ToDoubleSeconds(absl::Now() - experiment_start_);
  finished_seconds_ += planned.experiment->seconds();
  std::string text =
      absl::StrFormat("[%d/%d] %s: %d claims in %s", index_, count_, Name(),
                      measured_, FormatDuration(seconds));
  if (!status.ok()) {
    absl::StrAppend(&text, "; ", std::string(status.message()));
  }
  Line(text);
  running_ = nullptr;
}

void ProgressLine::Notice(absl::string_view text) { Line(std::string(text)); }

std::string ProgressLine::Name() const {
  return absl::StrCat(running_->paper->slug(), "/", running_->experiment->id());
}

void ProgressLine::Clear() {
  if (shown_) std::cerr << "\r\033[K" << std::flush;
  shown_ = false;
}

void ProgressLine::Line(const std::string& text) {
  Clear();
  std::cerr << text << std::endl;
}

}  // namespace repro
