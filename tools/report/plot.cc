#include "tools/report/plot.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "tools/report/format.h"

namespace repro {
namespace {

namespace fs = std::filesystem;

// Narrow enough to be read on a phone without scaling, so that wide screens
// show several side by side. In CSS pixels, as are all lengths below.
constexpr int kWidth = 420;
constexpr int kHistoryWidth = 300;
constexpr int kHistoryHeight = 120;
constexpr int kRowHeight = 20;
constexpr int kFontSize = 12;
constexpr double kCharacterWidth = 6.8;
constexpr int kMaxLabelLength = 24;

// gnuplot gets a colour that stands for each role; RestyleColours() puts the
// CSS variable in its place.
enum Role { kAxis = 1, kText, kGrid, kReported, kMeasured, kDiffers };
constexpr const char* kRoleNames[] = {"",         "axis",     "text",   "grid",
                                      "reported", "measured", "differs"};

std::string Colour(Role role) { return absl::StrFormat("\"#0101%02x\"", role); }

// gnuplot's point types.
enum Mark {
  kCross = 2,
  kHollowSquare = 4,
  kHollowCircle = 6,
  kCircle = 7,
  kTriangle = 9
};

int NumCharacters(absl::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](unsigned char c) { return (c & 0xC0) != 0x80; });
}

// The range and ticks of an axis.
class Axis {
 public:
  // `values` are finite and not empty.
  Axis(const std::vector<double>& values, bool may_be_log) {
    low_ = *std::min_element(values.begin(), values.end());
    high_ = *std::max_element(values.begin(), values.end());
    log_ = may_be_log && low_ > 0 && high_ / low_ > 100;
    if (log_) {
      const double pad = std::pow(high_ / low_, 0.06);
      low_ /= pad;
      high_ *= pad;
    } else {
      double pad = 0.06 * (high_ - low_);
      if (pad == 0) pad = low_ == 0 ? 1 : 0.1 * std::abs(low_);
      low_ -= pad;
      high_ += pad;
    }
  }

  double low() const { return low_; }
  double high() const { return high_; }
  double Clamp(double value) const { return std::clamp(value, low_, high_); }

  // `name` is "x" or "y"; about `count` ticks.
  std::string Commands(const char* name, int count) const {
    std::string commands =
        absl::StrFormat("set %srange [%.17g:%.17g]\n", name, low_, high_);
    const double magnitude = std::max(std::abs(low_), std::abs(high_));
    if (log_) {
      const double decades = std::log10(high_ / low_);
      const int step =
          std::max(1, static_cast<int>(std::lround(decades / count)));
      const bool plain = magnitude < 1e5 && low_ >= 1e-4;
      absl::StrAppendFormat(&commands,
                            "set logscale %s\n"
                            "unset m%stics\n"
                            "set %stics %g\n"
                            "set format %s \"%s\"\n",
                            name, name, name, std::pow(10.0, step), name,
                            plain ? "%g" : "%.0e");
      return commands;
    }
    const double rough = (high_ - low_) / count;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    // The nearest of 1, 2, 5, 10 times the power of ten.
    const double factor = rough / power;
    const double step = power * (factor < 1.5   ? 1
                                 : factor < 3.5 ? 2
                                 : factor < 7.5 ? 5
                                                : 10);
    const int place = static_cast<int>(std::floor(std::log10(step) + 1e-9));
    std::string format = absl::StrFormat("%%.%df", std::max(0, -place));
    if (magnitude >= 1e5) {
      // 4.1M: digits after the point as the step needs them.
      const int thousands = static_cast<int>(std::log10(magnitude)) / 3 * 3;
      format =
          absl::StrFormat("%%.%ds%%c", std::clamp(thousands - place, 0, 6));
    } else if (magnitude < 1e-3) {
      const int leading = static_cast<int>(std::floor(std::log10(magnitude)));
      format = absl::StrFormat("%%.%de", std::clamp(leading - place, 0, 6));
    }
    absl::StrAppendFormat(&commands,
                          "unset logscale %s\n"
                          "set %stics %.17g\n"
                          "set format %s \"%s\"\n",
                          name, name, step, name, format);
    return commands;
  }

 private:
  double low_ = 0;
  double high_ = 0;
  bool log_ = false;
};

// A gnuplot command under construction: data blocks, settings, plot elements.
class ScriptWriter {
 public:
  // The stand-in of a text, in quotes.
  std::string Text(std::string text) {
    texts_.push_back(std::move(text));
    return absl::StrCat("\"@", texts_.size() - 1, "@\"");
  }
  void Set(const std::string& command) { absl::StrAppend(&settings_, command); }

  // Adds rows drawn as `style`; nothing if there are none.
  void Plot(const std::vector<std::vector<double>>& rows, const char* title,
            const std::string& style) {
    if (rows.empty()) return;
    const std::string name = absl::StrCat("$d", elements_.size());
    absl::StrAppend(&data_, name, " << EOD\n");
    for (const std::vector<double>& row : rows) {
      absl::StrAppend(&data_,
                      absl::StrJoin(row, " ",
                                    [](std::string* out, double value) {
                                      absl::StrAppendFormat(out, "%.17g",
                                                            value);
                                    }),
                      "\n");
    }
    absl::StrAppend(&data_, "EOD\n");
    elements_.push_back(absl::StrCat(name, " with ", style));
    titles_.push_back(title);
  }

  std::string Commands() const {
    return absl::StrFormat(
        "unset key\n"
        "set border 1 linecolor rgb %s\n"
        "set tics nomirror out scale 0.4 textcolor rgb %s\n"
        "set xtics offset 0,0.4\n"
        "%s%splot %s\n",
        Colour(kAxis), Colour(kText), data_, settings_,
        absl::StrJoin(elements_, ", "));
  }
  const std::vector<std::string>& texts() const { return texts_; }
  const std::vector<std::string>& titles() const { return titles_; }

 private:
  std::string data_;
  std::string settings_;
  std::vector<std::string> elements_;
  std::vector<std::string> titles_;  // of elements_
  std::vector<std::string> texts_;
};

std::string Points(Mark mark, double size, Role role, double width = 1.5) {
  return absl::StrFormat("points pt %d ps %g lw %g lc rgb %s", mark, size,
                         width, Colour(role));
}

std::string Margins(double left, double right, double top, double bottom,
                    int width, int height) {
  return absl::StrFormat(
      "set lmargin at screen %g\nset rmargin at screen %g\n"
      "set tmargin at screen %g\nset bmargin at screen %g\n",
      left / width, 1 - right / width, 1 - top / height, bottom / height);
}

// The points of a comparison, by how they are marked. `place` gives x and y.
template <typename Place>
void PlotMeasured(const std::vector<PlotPoint>& points, const Place& place,
                  ScriptWriter& writer) {
  std::vector<std::vector<double>> agrees, smaller, differs;
  for (size_t i = 0; i < points.size(); ++i) {
    auto& group = points[i].differs         ? differs
                  : points[i].smaller_scale ? smaller
                                            : agrees;
    group.push_back(place(i));
  }
  writer.Plot(agrees, "measured", Points(kCircle, 0.7, kMeasured));
  writer.Plot(smaller, "measured at a smaller scale",
              Points(kTriangle, 0.9, kMeasured));
  writer.Plot(differs, "measured, differs", Points(kCross, 0.9, kDiffers));
}

// An interval as the rows of gnuplot's `vectors`: where it begins and how far
// it goes. `along_x` tells its direction; `across` is its other coordinate.
std::vector<double> IntervalRow(const ConfidenceInterval& interval,
                                const Axis& axis, double across, bool along_x) {
  const double low = axis.Clamp(interval.low());
  const double length = axis.Clamp(interval.high()) - low;
  return along_x ? std::vector<double>{low, across, length, 0}
                 : std::vector<double>{across, low, 0, length};
}

std::string IntervalStyle(double width) {
  return absl::StrFormat("vectors nohead lw %g lc rgb %s", width,
                         Colour(kMeasured));
}

std::vector<double> AllValues(const std::vector<PlotPoint>& points) {
  bool positive = true;
  for (const PlotPoint& point : points) {
    positive = positive && point.reported > 0 && point.measured > 0;
  }
  std::vector<double> values;
  for (const PlotPoint& point : points) {
    values.push_back(point.reported);
    values.push_back(point.measured);
    if (!point.interval.has_value()) continue;
    // An interval that reaches below 0 is cut, so that the axis can be
    // logarithmic.
    if (!positive || point.interval->low() > 0) {
      values.push_back(point.interval->low());
    }
    values.push_back(point.interval->high());
  }
  return values;
}

void DrawDots(const ComparisonPlot& plot, int width, int height,
              ScriptWriter& writer) {
  const std::vector<PlotPoint>& points = plot.points;
  const Axis axis(AllValues(points), /*may_be_log=*/true);
  int longest = 0;
  std::vector<std::string> ticks;
  for (size_t i = 0; i < points.size(); ++i) {
    const std::string label = Shorten(points[i].label, kMaxLabelLength);
    longest = std::max(longest, NumCharacters(label));
    ticks.push_back(absl::StrCat(writer.Text(label), " ", i));
  }
  writer.Set(Margins(longest * kCharacterWidth + 14, 16, 6, 26, width, height));
  writer.Set(axis.Commands("x", 4));
  writer.Set(absl::StrFormat("set yrange [%g:-0.5]\n", points.size() - 0.5));
  writer.Set(absl::StrCat("set ytics scale 0 (", absl::StrJoin(ticks, ", "),
                          ")\nset grid noxtics ytics linetype 1 linecolor rgb ",
                          Colour(kGrid), "\n"));

  std::vector<std::vector<double>> reported, derived, intervals;
  for (size_t i = 0; i < points.size(); ++i) {
    (points[i].derived ? derived : reported)
        .push_back({points[i].reported, static_cast<double>(i)});
    if (points[i].interval.has_value()) {
      intervals.push_back(
          IntervalRow(*points[i].interval, axis, i, /*along_x=*/true));
    }
  }
  const auto place = [&points](size_t i) {
    return std::vector<double>{points[i].measured, static_cast<double>(i)};
  };
  writer.Plot(intervals, "95% interval", IntervalStyle(2));
  writer.Plot(reported, "reported", Points(kHollowCircle, 1.2, kReported));
  writer.Plot(derived, "derived", Points(kHollowSquare, 1.2, kReported));
  PlotMeasured(points, place, writer);
}

void DrawScatter(const ComparisonPlot& plot, int width, int height,
                 ScriptWriter& writer) {
  const std::vector<PlotPoint>& points = plot.points;
  const Axis axis(AllValues(points), /*may_be_log=*/true);
  writer.Set(Margins(66, 16, 10, 44, width, height));
  writer.Set(axis.Commands("x", 4));
  writer.Set(axis.Commands("y", 4));
  writer.Set("set border 3\n");
  writer.Set(absl::StrCat("set xlabel ",
                          writer.Text(absl::StrCat("reported ", plot.axis)),
                          " offset 0,0.9 textcolor rgb ", Colour(kText), "\n"));
  writer.Set(absl::StrCat("set ylabel ", writer.Text("measured"),
                          " offset 1,0 textcolor rgb ", Colour(kText), "\n"));
  const auto place = [&points](size_t i) {
    return std::vector<double>{points[i].reported, points[i].measured};
  };
  std::vector<std::vector<double>> intervals;
  for (const PlotPoint& point : points) {
    if (point.interval.has_value()) {
      intervals.push_back(IntervalRow(*point.interval, axis, point.reported,
                                      /*along_x=*/false));
    }
  }
  writer.Plot({{axis.low(), axis.low()}, {axis.high(), axis.high()}}, "equal",
              absl::StrCat("lines lw 1 lc rgb ", Colour(kReported)));
  writer.Plot(intervals, "95% interval", IntervalStyle(1));
  PlotMeasured(points, place, writer);
}

void DrawHistory(const HistoryPlot& plot, int width, int height,
                 ScriptWriter& writer) {
  std::vector<double> values;
  std::vector<std::vector<double>> line, intervals;
  for (const HistoryPoint& point : plot.points) {
    values.push_back(point.value);
    line.push_back({point.unix_seconds, point.value});
    if (point.interval.has_value()) {
      values.push_back(point.interval->low());
      values.push_back(point.interval->high());
    }
  }
  if (plot.reported.has_value()) values.push_back(*plot.reported);
  const Axis axis(values, /*may_be_log=*/true);
  for (const HistoryPoint& point : plot.points) {
    if (point.interval.has_value()) {
      intervals.push_back(IntervalRow(*point.interval, axis, point.unix_seconds,
                                      /*along_x=*/false));
    }
  }
  const double first = plot.points.front().unix_seconds;
  const double last = plot.points.back().unix_seconds;
  const double pad = last > first ? 0.03 * (last - first) : 1;

  writer.Set(Margins(58, 46, 8, 24, width, height));
  writer.Set(axis.Commands("y", 2));
  const auto day = [](double unix_seconds, const char* format) {
    return absl::FormatTime(format, absl::FromUnixSeconds(unix_seconds),
                            absl::UTCTimeZone());
  };
  // Two runs of one day are told apart by the time of day.
  const char* format =
      day(first, "%Y-%m-%d") == day(last, "%Y-%m-%d") ? "%H:%M:%S" : "%Y-%m-%d";
  std::string ticks =
      absl::StrFormat("%s %.17g", writer.Text(day(first, format)), first);
  if (last > first) {
    absl::StrAppendFormat(&ticks, ", %s %.17g", writer.Text(day(last, format)),
                          last);
  }
  writer.Set(absl::StrFormat("set xrange [%.17g:%.17g]\nset xtics (%s)\n",
                             first - pad, last + pad, ticks));
  if (plot.reported.has_value()) {
    writer.Plot({{first - pad, *plot.reported}, {last + pad, *plot.reported}},
                "reported",
                absl::StrCat("lines lw 1 lc rgb ", Colour(kReported)));
  }
  writer.Plot(intervals, "95% interval", IntervalStyle(1.5));
  writer.Plot(line, "measured",
              absl::StrFormat("linespoints pt %d ps 0.5 lw 1.5 lc rgb %s",
                              kCircle, Colour(kMeasured)));
}

void DrawBudgets(const BudgetPlot& plot, int width, int height,
                 ScriptWriter& writer) {
  std::vector<double> values;
  std::vector<std::vector<double>> line;
  std::vector<std::string> ticks;
  for (const auto& [budget, value] : plot.points) {
    const auto place = static_cast<double>(line.size());
    ticks.push_back(
        absl::StrCat(writer.Text(absl::StrCat(budget)), " ", place));
    values.push_back(value);
    line.push_back({place, value});
  }
  if (plot.reference.has_value()) values.push_back(*plot.reference);
  const Axis axis(values, /*may_be_log=*/true);
  const double first = -0.3, last = static_cast<double>(line.size()) - 0.7;
  writer.Set(Margins(58, 16, 8, 24, width, height));
  writer.Set(axis.Commands("y", 2));
  writer.Set(absl::StrFormat("set xrange [%g:%g]\nset xtics (%s)\n", first,
                             last, absl::StrJoin(ticks, ", ")));
  if (plot.reference.has_value()) {
    writer.Plot({{first, *plot.reference}, {last, *plot.reference}},
                "without a budget",
                absl::StrCat("lines lw 1 lc rgb ", Colour(kReported)));
  }
  writer.Plot(line, "measured",
              absl::StrFormat("linespoints pt %d ps 0.5 lw 1.5 lc rgb %s",
                              kCircle, Colour(kMeasured)));
}

constexpr char kScriptName[] = "plots.gp";
constexpr char kLogName[] = "log.txt";

// Runs gnuplot on the script in `folder`, its working folder; what it says on
// failure is in the error.
absl::Status RunGnuplot(const std::string& folder) {
  const pid_t child = fork();
  if (child < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start gnuplot: ", std::strerror(errno)));
  }
  if (child == 0) {
    if (chdir(folder.c_str()) != 0) _exit(126);
    const int output = open(kLogName, O_WRONLY | O_CREAT, 0600);
    const int input = open("/dev/null", O_RDONLY);
    if (output < 0 || input < 0) _exit(126);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execlp("gnuplot", "gnuplot", "--default-settings", kScriptName,
           static_cast<char*>(nullptr));
    _exit(127);
  }
  int state = 0;
  while (waitpid(child, &state, 0) < 0) {
    if (errno != EINTR) {
      return absl::UnavailableError(
          absl::StrCat("gnuplot: ", std::strerror(errno)));
    }
  }
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return absl::OkStatus();
  if (WIFEXITED(state) && WEXITSTATUS(state) == 127) {
    return absl::UnavailableError(
        "gnuplot is not installed (Debian and Ubuntu: apt install "
        "gnuplot-nox)");
  }
  const auto message = ReadFile(absl::StrCat(folder, "/", kLogName));
  return absl::UnavailableError(absl::StrCat(
      "gnuplot failed: ",
      message.ok() ? absl::StripAsciiWhitespace(*message) : "no message"));
}

// Cuts what is between `begin` and `end`, both included, and returns it.
std::string Cut(const std::string& begin, const std::string& end,
                std::string& text) {
  const size_t from = text.find(begin);
  if (from == std::string::npos) return "";
  const size_t to = text.find(end, from);
  if (to == std::string::npos) return "";
  const std::string cut = text.substr(from, to + end.size() - from);
  text.erase(from, cut.size());
  return cut;
}

// gnuplot's colours, rgb(1,1,4) or rgb(  1,   1,   4), to CSS variables.
std::string RestyleColours(std::string text) {
  for (int role = kAxis; role <= kDiffers; ++role) {
    const std::string variable =
        absl::StrCat("var(--plot-", kRoleNames[role], ")");
    absl::StrReplaceAll(
        {{absl::StrFormat("rgb(1,1,%d)", role), variable},
         {absl::StrFormat("rgb(  1,   1, %3d)", role), variable}},
        &text);
  }
  return text;
}

// Puts texts[i] in the place of "@i@".
std::string RestoreTexts(const std::string& svg,
                         const std::vector<std::string>& texts) {
  std::string result;
  size_t position = 0;
  while (true) {
    const size_t begin = svg.find('@', position);
    const size_t end =
        begin == std::string::npos ? begin : svg.find('@', begin + 1);
    size_t index = 0;
    if (end == std::string::npos) break;
    result.append(svg, position, begin - position);
    if (absl::SimpleAtoi(svg.substr(begin + 1, end - begin - 1), &index) &&
        index < texts.size()) {
      result += HtmlEscape(texts[index]);
    }
    position = end + 1;
  }
  return result.append(svg, position);
}

}  // namespace

std::string HtmlEscape(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"},
                                    {"<", "&lt;"},
                                    {">", "&gt;"},
                                    {"\"", "&quot;"},
                                    {"'", "&#39;"}});
}

template <typename Plot, typename Draw>
int Plotter::AddScript(const Plot& plot, int width, int height,
                       const Draw& draw) {
  Script script;
  script.title = plot.title;
  script.width = width;
  script.height = height;
  ScriptWriter writer;
  draw(plot, width, height, writer);
  script.commands = writer.Commands();
  script.texts = writer.texts();
  script.parts = writer.titles();
  scripts_.push_back(std::move(script));
  return static_cast<int>(scripts_.size()) - 1;
}

int Plotter::Add(const ComparisonPlot& plot) {
  if (plot.points.size() > kMaxDotPlotPoints) {
    return AddScript(plot, kWidth, 360, DrawScatter);
  }
  return AddScript(plot, kWidth,
                   32 + kRowHeight * static_cast<int>(plot.points.size()),
                   DrawDots);
}

int Plotter::Add(const HistoryPlot& plot) {
  return AddScript(plot, kHistoryWidth, kHistoryHeight, DrawHistory);
}

int Plotter::Add(const BudgetPlot& plot) {
  return AddScript(plot, kHistoryWidth, kHistoryHeight, DrawBudgets);
}

absl::StatusOr<Plots> Plotter::Render() const {
  Plots plots;
  if (scripts_.empty()) return plots;

  std::error_code error;
  const fs::path parent = fs::temp_directory_path(error);
  std::string folder = (parent / "repro-plots-XXXXXX").string();
  if (error || mkdtemp(folder.data()) == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot make a temporary folder in ", parent.string(),
                     " (TMPDIR names another): ", std::strerror(errno)));
  }
  const auto remove = absl::MakeCleanup([&folder] {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  });

  std::string commands;
  for (size_t i = 0; i < scripts_.size(); ++i) {
    absl::StrAppendFormat(
        &commands,
        "set output\n"
        "reset\n"
        "set terminal svg size %d,%d noenhanced font \"sans,%d\"\n"
        "set output \"%d.svg\"\n"
        "%s",
        scripts_[i].width, scripts_[i].height, kFontSize, i,
        scripts_[i].commands);
  }
  absl::StrAppend(&commands, "set output\n");
  REPRO_RETURN_IF_ERROR(
      WriteFileAtomically(absl::StrCat(folder, "/", kScriptName), commands));
  REPRO_RETURN_IF_ERROR(RunGnuplot(folder));

  for (size_t i = 0; i < scripts_.size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(std::string svg,
                           ReadFile(absl::StrCat(folder, "/", i, ".svg")));
    std::string symbols = Cut("<defs>", "</defs>", svg);
    Cut("<?xml", "<g id=\"gnuplot_canvas\">", svg);
    Cut("</svg>", "\n", svg);
    const size_t canvas_end = svg.rfind("</g>");
    if (symbols.empty() || canvas_end == std::string::npos) {
      return absl::UnavailableError(
          "gnuplot wrote an SVG of an unknown form: use gnuplot 5.4 or 6");
    }
    svg.erase(canvas_end);
    if (plots.symbols.empty()) {
      // gnuplot draws its cross as thin as an outline.
      absl::StrReplaceAll({{"id='gpPt1' stroke-width='0.222'",
                            "id='gpPt1' stroke-width='0.5'"}},
                          &symbols);
      plots.symbols = absl::StrCat(
          "<svg class=\"symbols\" width=\"0\" height=\"0\" "
          "aria-hidden=\"true\">",
          symbols, "</svg>");
    }
    const Script& script = scripts_[i];
    svg = RestoreTexts(RestyleColours(std::move(svg)), script.texts);
    absl::StrReplaceAll({{" font-family=\"sans\"", ""}}, &svg);
    // gnuplot numbers the parts, which would repeat ids in a page, and calls
    // them by their data.
    for (size_t part = 0; part < script.parts.size(); ++part) {
      absl::StrReplaceAll(
          {{absl::StrCat(" id=\"gnuplot_plot_", part + 1, "\" "), ""},
           {absl::StrCat("<title>$d", part, "</title>"),
            absl::StrCat("<title>", script.parts[part], "</title>")}},
          &svg);
    }
    const std::string title = HtmlEscape(script.title);
    plots.svgs.push_back(absl::StrFormat(
        "<svg class=\"plot\" viewBox=\"0 0 %d %d\" width=\"%d\" "
        "height=\"%d\" role=\"img\" aria-label=\"%s\"><title>%s</title>%s"
        "</svg>",
        script.width, script.height, script.width, script.height, title, title,
        svg));
  }
  return plots;
}

}  // namespace repro
