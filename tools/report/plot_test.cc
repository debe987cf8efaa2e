#include "tools/report/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace repro {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

PlotPoint MakePoint(const std::string& label, double reported,
                    double measured) {
  PlotPoint point;
  point.label = label;
  point.reported = reported;
  point.measured = measured;
  return point;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

// The plots, or none with the test skipped where there is no gnuplot.
Plots RenderOrSkip(const Plotter& plotter) {
  const absl::StatusOr<Plots> plots = plotter.Render();
  if (!plots.ok() &&
      absl::StrContains(plots.status().message(), "not installed")) {
    return {};
  }
  EXPECT_TRUE(plots.ok()) << plots.status();
  return plots.ok() ? *plots : Plots{};
}

#define RENDER_OR_SKIP(plots, plotter)                          \
  const Plots plots = RenderOrSkip(plotter);                    \
  if (plots.svgs.empty()) GTEST_SKIP() << "gnuplot is missing"; \
  static_assert(true)

TEST(PlotterTest, NoPlotsNeedNoGnuplot) {
  const auto plots = Plotter().Render();
  ASSERT_TRUE(plots.ok());
  EXPECT_TRUE(plots->svgs.empty());
}

TEST(PlotterTest, DrawsAMarkForEachNumber) {
  ComparisonPlot plot{"parameters (M)",
                      "in words",
                      {MakePoint("B0", 4.1, 4.11), MakePoint("B1", 13.9, 13.86),
                       MakePoint("B2", 26.6, 26.58)}};
  plot.points[1].interval.emplace();
  plot.points[1].interval->set_low(13);
  plot.points[1].interval->set_high(14);
  plot.points[2].differs = true;
  Plotter plotter;
  EXPECT_EQ(plotter.Add(plot), 0);
  RENDER_OR_SKIP(plots, plotter);
  ASSERT_EQ(plots.svgs.size(), 1);
  const std::string& svg = plots.svgs[0];
  EXPECT_EQ(Count(svg, "href='#gpPt5'"), 3);  // reported: hollow circles
  EXPECT_EQ(Count(svg, "href='#gpPt6'"), 2);  // measured: filled circles
  EXPECT_EQ(Count(svg, "href='#gpPt1'"), 1);  // differs: a cross
  EXPECT_EQ(Count(svg, ">95% interval<"), 1);
  EXPECT_EQ(Count(svg, "<text>B0</text>"), 1);
  EXPECT_THAT(svg, HasSubstr("aria-label=\"in words\""));
  for (const char* symbol : {"gpPt1", "gpPt5", "gpPt6"}) {
    EXPECT_EQ(Count(plots.symbols, absl::StrCat("id='", symbol, "'")), 1);
  }
}

TEST(PlotterTest, DerivedAndSmallerScaleHaveMarksOfTheirOwn) {
  ComparisonPlot plot{
      "x", "t", {MakePoint("a", 1, 1.1), MakePoint("b", 2, 2.1)}};
  plot.points[0].derived = true;
  plot.points[1].smaller_scale = true;
  Plotter plotter;
  plotter.Add(plot);
  RENDER_OR_SKIP(plots, plotter);
  const std::string& svg = plots.svgs[0];
  EXPECT_EQ(Count(svg, "href='#gpPt3'"), 1);  // derived: a hollow square
  EXPECT_EQ(Count(svg, "href='#gpPt5'"), 1);
  EXPECT_EQ(Count(svg, "href='#gpPt8'"), 1);  // smaller scale: a triangle
  EXPECT_EQ(Count(svg, "href='#gpPt6'"), 1);
}

TEST(PlotterTest, ManyClaimsBecomeAScatterPlot) {
  ComparisonPlot plot{"x", "t", {}};
  for (int i = 0; i <= kMaxDotPlotPoints; ++i) {
    plot.points.push_back(MakePoint("unlabelled", i, i));
  }
  Plotter plotter;
  plotter.Add(plot);
  RENDER_OR_SKIP(plots, plotter);
  EXPECT_EQ(Count(plots.svgs[0], "href='#gpPt6'"), kMaxDotPlotPoints + 1);
  EXPECT_THAT(plots.svgs[0], HasSubstr("<title>equal</title>"));
  EXPECT_THAT(plots.svgs[0], Not(HasSubstr("unlabelled")));
}

TEST(PlotterTest, TheAxisIsLogarithmicOverMoreThanTwoDecades) {
  // On a logarithmic axis the ticks of 0.1, 1, 10, 100 are written, on a linear
  // one not all of them.
  Plotter plotter;
  plotter.Add(ComparisonPlot{
      "x", "t", {MakePoint("a", 0.05, 0.05), MakePoint("b", 200, 200)}});
  plotter.Add(ComparisonPlot{
      "x", "t", {MakePoint("a", -0.05, 0.05), MakePoint("b", 200, 200)}});
  RENDER_OR_SKIP(plots, plotter);
  ASSERT_EQ(plots.svgs.size(), 2);
  for (const char* tick : {"0.1", "1", "10", "100"}) {
    EXPECT_THAT(plots.svgs[0], HasSubstr(absl::StrCat("<text>", tick, "<")));
  }
  EXPECT_THAT(plots.svgs[1], Not(HasSubstr("<text>0.1<")));
}

TEST(PlotterTest, EqualValuesAndIntervalsBelowZeroAreDrawn) {
  ComparisonPlot equal{"x", "t", {MakePoint("a", 5, 5), MakePoint("b", 5, 5)}};
  ComparisonPlot zero{"x", "t", {MakePoint("a", 0, 0), MakePoint("b", 0, 0)}};
  ComparisonPlot log{
      "x", "t", {MakePoint("a", 1e-3, 1e-3), MakePoint("b", 10, 10)}};
  log.points[0].interval.emplace();
  log.points[0].interval->set_low(-1e-3);
  log.points[0].interval->set_high(3e-3);
  Plotter plotter;
  plotter.Add(equal);
  plotter.Add(zero);
  plotter.Add(log);
  RENDER_OR_SKIP(plots, plotter);
  ASSERT_EQ(plots.svgs.size(), 3);
  for (const std::string& svg : plots.svgs) {
    EXPECT_EQ(Count(svg, "href='#gpPt6'"), 2);
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
  }
}

TEST(PlotterTest, HistoryIsALineWithTheReportedValue) {
  HistoryPlot plot{"over time", {}, 1.5};
  for (int i = 0; i < 3; ++i) {
    // 2026-11-01T00:00:00Z and the days after it: date -ud @1793491200.
    plot.points.push_back({1793491200.0 + 86400 * i, 1.4 + 0.1 * i, {}});
  }
  Plotter plotter;
  plotter.Add(plot);
  RENDER_OR_SKIP(plots, plotter);
  const std::string& svg = plots.svgs[0];
  EXPECT_EQ(Count(svg, "href='#gpPt6'"), 3);
  EXPECT_THAT(svg, HasSubstr("<title>reported</title>"));
  EXPECT_THAT(svg, HasSubstr("2026-11-01"));
  EXPECT_THAT(svg, HasSubstr("2026-11-03"));
}

TEST(PlotterTest, LabelsAreNeverRunNorTakenForMarkup) {
  // 20 characters, so that nothing is cut.
  const std::string label = "<b>`touch x`\"\\n'@1@";
  Plotter plotter;
  plotter.Add(ComparisonPlot{"</svg><script>",
                             "\"><script>alert(1)</script>",
                             {MakePoint(label, 1, 1), MakePoint("b", 2, 2)}});
  RENDER_OR_SKIP(plots, plotter);
  EXPECT_THAT(plots.svgs[0],
              HasSubstr("<text>&lt;b&gt;`touch x`&quot;\\n&#39;@1@</text>"));
  EXPECT_THAT(plots.svgs[0], Not(HasSubstr("<script")));
  EXPECT_THAT(plots.svgs[0], Not(HasSubstr("<b>")));
}

TEST(PlotterTest, ColoursAreThePages) {
  Plotter plotter;
  plotter.Add(
      ComparisonPlot{"x", "t", {MakePoint("a", 1, 1), MakePoint("b", 2, 2)}});
  RENDER_OR_SKIP(plots, plotter);
  for (const char* name : {"axis", "text", "grid", "reported", "measured"}) {
    EXPECT_THAT(plots.svgs[0], HasSubstr(absl::StrCat("--plot-", name)));
  }
  EXPECT_THAT(plots.svgs[0], Not(HasSubstr("rgb(")));
}

TEST(PlotterTest, IdsAreUniqueInAPage) {
  Plotter plotter;
  for (int i = 0; i < 2; ++i) {
    plotter.Add(
        ComparisonPlot{"x", "t", {MakePoint("a", 1, 1), MakePoint("b", 2, 2)}});
  }
  RENDER_OR_SKIP(plots, plotter);
  for (const std::string& svg : plots.svgs) {
    EXPECT_THAT(svg, Not(HasSubstr(" id=")));
  }
}

TEST(PlotterTest, AMissingGnuplotIsAnErrorThatSaysHowToGetIt) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nonexistent", 1);
  Plotter plotter;
  plotter.Add(
      ComparisonPlot{"x", "t", {MakePoint("a", 1, 1), MakePoint("b", 2, 2)}});
  const auto plots = plotter.Render();
  setenv("PATH", path.c_str(), 1);
  ASSERT_FALSE(plots.ok());
  EXPECT_THAT(std::string(plots.status().message()), HasSubstr("gnuplot-nox"));
}

}  // namespace
}  // namespace repro
