#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "papers/survey_code_intelligence/tables.h"

namespace repro::survey_code_intelligence {
namespace {

constexpr double kMargin = 40;
constexpr double kRow = 18;  // of a line of text

// Shapes of a drawing, in pixels from its upper left corner.
class Svg {
 public:
  Svg(double width, double height) : width_(width), height_(height) {}

  void Text(double x, double y, absl::string_view text,
            absl::string_view anchor = "start") {
    absl::StrAppendFormat(
        &body_,
        "<text x=\"%g\" y=\"%g\" text-anchor=\"%s\">%s"
        "</text>\n",
        x, y, anchor,
        absl::StrReplaceAll(text,
                            {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}}));
  }

  void Line(double x1, double y1, double x2, double y2) {
    absl::StrAppendFormat(&body_,
                          "<line x1=\"%g\" y1=\"%g\" x2=\"%g\" y2=\"%g\" "
                          "stroke=\"black\"/>\n",
                          x1, y1, x2, y2);
  }

  void Bar(double x, double y, double width, double height) {
    absl::StrAppendFormat(&body_,
                          "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" "
                          "fill=\"steelblue\"/>\n",
                          x, y, width, height);
  }

  void Dot(double x, double y) {
    absl::StrAppendFormat(&body_, "<circle cx=\"%g\" cy=\"%g\" r=\"3\"/>\n", x,
                          y);
  }

  std::string Document() const {
    return absl::StrFormat(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n%s</svg>\n",
        width_, height_, body_);
  }

 private:
  double width_;
  double height_;
  std::string body_;
};

std::string CumulativeLine(const std::vector<YearCount>& counts) {
  constexpr double kStep = 70;
  constexpr double kHeight = 240;
  Svg svg(2 * kMargin + kStep * static_cast<double>(counts.size()),
          kHeight + 2 * kMargin);
  const double most =
      std::max<double>(1, static_cast<double>(counts.back().publications));
  const auto x = [&](size_t i) {
    return kMargin + kStep * static_cast<double>(i);
  };
  const auto y = [&](size_t i) {
    return kMargin + kHeight -
           kHeight * static_cast<double>(counts[i].publications) / most;
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    if (i > 0) svg.Line(x(i - 1), y(i - 1), x(i), y(i));
    svg.Dot(x(i), y(i));
    svg.Text(x(i), y(i) - 8, absl::StrCat(counts[i].publications), "middle");
    svg.Text(x(i), kHeight + 2 * kMargin - 12, absl::StrCat(counts[i].year),
             "middle");
  }
  return svg.Document();
}

// A column a year, models below each other in the figure's order.
std::string Timeline(const std::vector<Milestone>& milestones) {
  constexpr double kStep = 130;
  std::map<int, std::vector<std::string>> by_year;
  size_t most = 0;
  for (const Milestone& milestone : milestones) {
    auto& models = by_year[milestone.year];
    models.push_back(milestone.model);
    most = std::max(most, models.size());
  }
  Svg svg(2 * kMargin + kStep * static_cast<double>(by_year.size()),
          2 * kMargin + kRow * static_cast<double>(most + 1));
  double x = kMargin;
  for (const auto& [year, models] : by_year) {
    svg.Dot(x, kMargin);
    svg.Text(x, kMargin - 8, absl::StrCat(year));
    if (year != by_year.rbegin()->first) {
      svg.Line(x, kMargin, x + kStep, kMargin);
    }
    double y = kMargin;
    for (const std::string& model : models) svg.Text(x, y += kRow, model);
    x += kStep;
  }
  return svg.Document();
}

std::string ModelTree(const std::vector<TreeNode>& nodes) {
  constexpr double kIndent = 160;
  std::vector<std::string> branches;
  for (const TreeNode& node : nodes) {
    if (!absl::c_linear_search(branches, node.branch)) {
      branches.push_back(node.branch);
    }
  }
  Svg svg(2 * kMargin + 2 * kIndent,
          2 * kMargin + kRow * static_cast<double>(nodes.size()));
  double y = kMargin;
  for (const std::string& branch : branches) {
    svg.Text(kMargin, y + kRow, branch);
    const double top = y + kRow;
    for (const TreeNode& node : nodes) {
      if (node.branch != branch) continue;
      y += kRow;
      svg.Line(kMargin + kIndent - 20, y - 4, kMargin + kIndent - 6, y - 4);
      svg.Text(kMargin + kIndent, y, node.model);
    }
    svg.Line(kMargin + kIndent - 20, top - 4, kMargin + kIndent - 20, y - 4);
  }
  return svg.Document();
}

// Bars are as long in pixels as four times their percentage.
std::string PassAt1Bars(const std::vector<PassAt1>& values) {
  constexpr double kLabel = 190;
  constexpr double kPixelsPerPercent = 4;
  Svg svg(2 * kMargin + kLabel + 100 * kPixelsPerPercent,
          2 * kMargin + kRow * static_cast<double>(values.size()));
  double y = kMargin;
  for (const PassAt1& value : values) {
    const double length = kPixelsPerPercent * value.percent;
    svg.Text(kMargin, y + 12,
             absl::StrCat(value.family, " ", value.size,
                          value.variant.empty() ? "" : " ", value.variant));
    svg.Bar(kMargin + kLabel, y, length, kRow - 4);
    svg.Text(kMargin + kLabel + length + 4, y + 12, value.printed);
    y += kRow;
  }
  return svg.Document();
}

}  // namespace

absl::StatusOr<std::string> RenderFigure(const Survey& survey, int figure) {
  const bool empty = survey.publications.empty() || survey.milestones.empty() ||
                     survey.tree.empty() || survey.pass_at_1.empty();
  if (empty) return absl::InvalidArgumentError("the survey has no figures");
  switch (figure) {
    case 1:
      return CumulativeLine(survey.publications);
    case 2:
      return Timeline(survey.milestones);
    case 3:
      return ModelTree(survey.tree);
    case 5:
      return PassAt1Bars(survey.pass_at_1);
    default:
      return absl::NotFoundError(
          absl::StrCat("no figure ", figure, "; there are 1, 2, 3 and 5"));
  }
}

}  // namespace repro::survey_code_intelligence
