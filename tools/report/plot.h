#ifndef REPRO_TOOLS_REPORT_PLOT_H_
#define REPRO_TOOLS_REPORT_PLOT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/claims/result.pb.h"

namespace repro {

// A claim in a plot of reported against measured values. All numbers are
// finite.
struct PlotPoint {
  std::string label;
  double reported = 0;
  bool derived = false;  // `reported` is not the paper's own number
  double measured = 0;
  std::optional<ConfidenceInterval> interval;
  bool differs = false;
  bool smaller_scale = false;  // not the paper's quantity at its scale
};

// Reported beside measured on one axis, a line a claim; above kMaxDotPlotPoints
// claims, reported across and measured up with the line where they are equal.
// Logarithmic where all values are positive and span more than two decades.
struct ComparisonPlot {
  std::string axis;   // "parameters (M)"
  std::string title;  // in words, for who does not see the plot
  std::vector<PlotPoint> points;
};

inline constexpr int kMaxDotPlotPoints = 24;

struct HistoryPoint {
  double unix_seconds = 0;
  double value = 0;
  std::optional<ConfidenceInterval> interval;
};

// A value over time, the oldest first, with the reported one as a line.
struct HistoryPlot {
  std::string title;
  std::vector<HistoryPoint> points;
  std::optional<double> reported;
};

// A score over a budget, in the order of the budgets, which get equal steps,
// with what no budget gives as a line.
struct BudgetPlot {
  std::string title;
  std::vector<std::pair<int64_t, double>> points;
  std::optional<double> reference;
};

// Drawn plots, to be put into one HTML page. Colours are its CSS variables
// --plot-axis, --plot-text, --plot-grid, --plot-reported, --plot-measured and
// --plot-differs; all text is escaped.
struct Plots {
  std::string symbols;  // an invisible <svg>: the marks that `svgs` refer to
  std::vector<std::string> svgs;  // an <svg> element a plot
};

// Gathers plots and draws them all with one gnuplot process.
class Plotter {
 public:
  // The index of the plot in what Render() returns.
  int Add(const ComparisonPlot& plot);
  int Add(const HistoryPlot& plot);
  int Add(const BudgetPlot& plot);

  // UnavailableError if gnuplot is not installed or fails.
  absl::StatusOr<Plots> Render() const;

 private:
  struct Script {
    std::string commands;  // to gnuplot, without `set output`
    // Texts of the plot. gnuplot is given "@0@", "@1@", ... in their place: its
    // own quoting rules (commands in backticks, escapes) never see them.
    std::vector<std::string> texts;
    std::vector<std::string> parts;  // what each drawn part shows
    std::string title;
    int width = 0;
    int height = 0;
  };

  template <typename Plot, typename Draw>
  int AddScript(const Plot& plot, int width, int height, const Draw& draw);

  std::vector<Script> scripts_;
};

// Text made safe inside an element or a quoted attribute of HTML.
std::string HtmlEscape(const std::string& text);

}  // namespace repro

#endif  // REPRO_TOOLS_REPORT_PLOT_H_
