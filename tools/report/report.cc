#include "tools/report/report.h"

#include <ctemplate/template.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/claims/printed_number.h"
#include "common/claims/verdict.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "common/text/duration.h"
#include "tools/report/format.h"
#include "tools/report/model.h"
#include "tools/report/plot.h"
#include "tools/report/templates.h"

namespace repro {
namespace {

using ctemplate::TemplateDictionary;

// A table with more claims starts folded.
constexpr int kMaxOpenClaims = 16;

// Text inside Markdown, on one line.
class EscapeMarkdown : public ctemplate::TemplateModifier {
 public:
  void Modify(const char* in, size_t length, const ctemplate::PerExpandData*,
              ctemplate::ExpandEmitter* out,
              const std::string&) const override {
    const auto is_word = [in, length](size_t i) {
      return i < length && absl::ascii_isalnum(in[i]);
    };
    for (size_t i = 0; i < length; ++i) {
      const char c = in[i];
      if (c == '\n' || c == '\r') {
        out->Emit(' ');
      } else if (c == '<') {
        out->Emit(std::string("&lt;"));
      } else if (c == '&') {
        out->Emit(std::string("&amp;"));
      } else {
        // GitHub's Markdown takes an underscore inside a word as it is.
        const bool plain_underscore =
            c == '_' && i > 0 && is_word(i - 1) && is_word(i + 1);
        if (absl::string_view("\\`*_[]|~$>#").find(c) !=
                absl::string_view::npos &&
            !plain_underscore) {
          out->Emit('\\');
        }
        out->Emit(c);
      }
    }
  }
};

// Text inside backticks of Markdown.
class EscapeMarkdownCode : public ctemplate::TemplateModifier {
 public:
  void Modify(const char* in, size_t length, const ctemplate::PerExpandData*,
              ctemplate::ExpandEmitter* out,
              const std::string&) const override {
    for (size_t i = 0; i < length; ++i) {
      if (in[i] != '`') out->Emit(absl::ascii_isspace(in[i]) ? ' ' : in[i]);
    }
  }
};

constexpr char kHtmlTemplate[] = "report.html";
constexpr char kMarkdownTemplate[] = "report.md";

bool LoadTemplates() {
  static const EscapeMarkdown* const markdown = new EscapeMarkdown;
  static const EscapeMarkdownCode* const code = new EscapeMarkdownCode;
  return ctemplate::AddModifier("x-md", markdown) &&
         ctemplate::AddModifier("x-code", code) &&
         ctemplate::StringToTemplateCache(kHtmlTemplate, kPageHtml,
                                          ctemplate::DO_NOT_STRIP) &&
         ctemplate::StringToTemplateCache(kMarkdownTemplate, kPageMarkdown,
                                          ctemplate::DO_NOT_STRIP);
}

absl::StatusOr<std::string> Expand(const char* name,
                                   const TemplateDictionary& dictionary) {
  static const bool loaded = LoadTemplates();
  std::string text;
  if (!loaded || !ctemplate::ExpandTemplate(name, ctemplate::DO_NOT_STRIP,
                                            &dictionary, &text)) {
    return absl::InternalError(
        absl::StrCat(name, ": the template is not well-formed"));
  }
  return text;
}

// Sets NAME and shows NAME_SECTION, unless `value` is empty.
void SetOptional(TemplateDictionary* dictionary, const std::string& name,
                 const std::string& value) {
  dictionary->SetValueAndShowSection(name, value, name + "_SECTION");
}

// What an id attribute and a link to it may hold.
std::string Anchor(absl::string_view paper, absl::string_view claim) {
  std::string anchor = absl::StrCat(paper, "/", claim);
  for (char& c : anchor) {
    if (!absl::ascii_isalnum(c) && c != '/' && c != '.' && c != '-') c = '_';
  }
  return anchor;
}

// "VAN-B0 · params": the parts that are not empty.
std::string Joined(const std::vector<std::string>& parts,
                   const char* separator) {
  std::vector<std::string> present;
  std::copy_if(parts.begin(), parts.end(), std::back_inserter(present),
               [](const std::string& part) { return !part.empty(); });
  return absl::StrJoin(present, separator);
}

std::string WithUnit(const std::string& number, const std::string& unit) {
  if (unit.empty() || unit == "count" || number.empty()) return number;
  return absl::StrCat(number, " ", unit);
}

std::string OriginText(Origin origin) {
  switch (origin) {
    case DERIVED:
      return "derived";
    case SECOND_HAND:
      return "second-hand";
    case REPOSITORY:
      return "authors’ repository";
    default:
      return "";
  }
}

std::string DayOf(const std::string& rfc3339) { return rfc3339.substr(0, 10); }

std::string ShortCommit(const Build& build) {
  if (build.commit().empty()) return "";
  return absl::StrCat("commit ", build.commit().substr(0, 10),
                      build.modified() ? " with changes" : "");
}

// "window" of "window:sink=4".
std::string PolicyName(const PolicyScore& score) {
  return score.policy().substr(0, score.policy().find(':'));
}

// All but the budget, which has a column.
std::string OwnOptions(const PolicyScore& score) {
  std::vector<std::string> options =
      absl::StrSplit(score.options(), ',', [](absl::string_view option) {
        return !option.empty() && !absl::StartsWith(option, "budget=");
      });
  return absl::StrJoin(options, ", ");
}

double Mean(const google::protobuf::RepeatedField<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         std::max(1, values.size());
}

// "2026-11-20, commit 1a2b3c4d5e, NVIDIA H200".
std::string Provenance(const Measurement& measurement, const Result& result) {
  return Joined({DayOf(measurement.measured_at()), ShortCommit(result.build()),
                 measurement.device()},
                ", ");
}

// The criterion that at least two claims and all of the table share, or empty.
std::string CommonStatement(const TableView& table) {
  const std::string& first =
      table.claims.front().claim->criterion().statement();
  const bool common = std::all_of(
      table.claims.begin(), table.claims.end(), [&first](const auto& view) {
        return view.claim->criterion().statement() == first;
      });
  return common && table.claims.size() > 1 ? first : "";
}

// The value of a past measurement with the digits that mean something.
std::string FormatEntry(const HistoryEntry& entry, const Claim& claim) {
  Measurement measurement;
  measurement.set_value(entry.value);
  if (entry.interval.has_value()) {
    *measurement.mutable_interval() = *entry.interval;
  }
  return WithUnit(FormatMeasured(measurement, claim.reported()), claim.unit());
}

class PageBuilder {
 public:
  PageBuilder(const ReportInput& input, const ReportModel& model)
      : input_(input), model_(model), page_("report") {}

  // The dictionary that both templates are expanded with.
  const TemplateDictionary& Build() {
    page_.SetValue("CSS", kPageCss);
    page_.SetValue("SCRIPT", kPageScript);
    page_.SetIntValue("NUM_PAPERS", model_.papers.size());
    page_.SetIntValue("NUM_CLAIMS", Total(model_.counts));
    AddCounts(&page_, "TOTAL", model_.counts, /*with_zero=*/true);
    AddRun();
    for (const auto& [evidence, counts] : model_.by_evidence) {
      TemplateDictionary* row = page_.AddSectionDictionary("EVIDENCE_ROW");
      row->SetValue("EVIDENCE", EvidenceName(evidence));
      row->SetIntValue("EVIDENCE_CLAIMS", Total(counts));
      AddCounts(row, "EVIDENCE_TOTAL", counts, /*with_zero=*/true);
    }
    for (const PaperView& paper : model_.papers) AddPaper(paper);
    AddFindings();
    for (const PolicyEvaluation& evaluation : input_.evaluations) {
      AddEvaluation(evaluation);
    }
    AddBlocked();
    AddNotRun();
    DrawPlots();
    return page_;
  }

 private:
  struct Figure {
    TemplateDictionary* dictionary;
    const char* variable;
    int plot;
  };

  void AddCounts(TemplateDictionary* parent, const char* section,
                 const VerdictCounts& counts, bool with_zero) {
    for (const Verdict verdict : AllVerdicts()) {
      const auto found = counts.find(verdict);
      const int count = found == counts.end() ? 0 : found->second;
      if (count == 0 && !with_zero) continue;
      TemplateDictionary* entry = parent->AddSectionDictionary(section);
      entry->SetValue("VERDICT", VerdictName(verdict));
      entry->SetIntValue("COUNT", count);
      if (count == 0) entry->ShowSection("COUNT_IS_ZERO");
    }
  }

  void AddRun() {
    if (input_.results.empty()) {
      page_.ShowSection("NO_RUN");
      return;
    }
    const Result& result = input_.results.front();
    TemplateDictionary* run = page_.AddSectionDictionary("RUN");
    run->SetValue("RUN_ID", result.id());
    run->SetValue("RUN_STARTED", result.started_at());
    if (!result.complete()) run->ShowSection("RUN_INCOMPLETE");
    const auto fact = [run](const char* name, const std::string& value) {
      if (value.empty()) return;
      TemplateDictionary* entry = run->AddSectionDictionary("FACT");
      entry->SetValue("FACT_NAME", name);
      entry->SetValue("FACT_VALUE", value);
    };
    const Machine& machine = result.machine();
    fact("Run", result.id());
    fact("Asked for", absl::StrJoin(result.arguments(), " "));
    fact("Started", result.started_at());
    fact("Finished", result.finished_at());
    fact("Duration", FormatDuration(result.seconds()));
    fact("Device", result.device());
    fact("Threads", result.threads() > 0 ? absl::StrCat(result.threads()) : "");
    fact("Build",
         Joined({ShortCommit(result.build()), result.build().compiler(),
                 result.build().torch().empty()
                     ? ""
                     : absl::StrCat("LibTorch ", result.build().torch()),
                 result.build().mode()},
                ", "));
    fact("Processor",
         Joined({machine.cpu(), machine.cores() > 0
                                    ? absl::StrCat(machine.cores(), " cores")
                                    : ""},
                ", "));
    fact("Memory", machine.memory_gb() > 0
                       ? absl::StrFormat("%.0f GB", machine.memory_gb())
                       : "");
    fact("GPU", machine.gpu());
    fact("System", machine.system());
  }

  void AddPaper(const PaperView& view) {
    const Paper& paper = *view.paper;
    page_.AddSectionDictionary("NAV_PAPER")->SetValue("SLUG", paper.slug());
    TemplateDictionary* entry = page_.AddSectionDictionary("PAPER");
    entry->SetValue("SLUG", paper.slug());
    entry->SetValue("TITLE", paper.title());
    std::string citation = absl::StrJoin(paper.authors(), ", ");
    if (!paper.venue().empty()) absl::StrAppend(&citation, ". ", paper.venue());
    // "NeurIPS 2023" and 2023 need the year once.
    const std::string year = absl::StrCat(paper.year());
    if (paper.year() > 0 && paper.venue().find(year) == std::string::npos) {
      absl::StrAppend(&citation, paper.venue().empty() ? ". " : ", ", year);
    }
    absl::StrAppend(&citation, ".");
    entry->SetValue("CITATION", citation);
    SetOptional(entry, "ARXIV", paper.arxiv());
    SetOptional(entry, "CODE", paper.code_url());
    SetOptional(entry, "CODE_LICENSE", paper.code_license());
    entry->SetIntValue("PAPER_CLAIMS", Total(view.counts));
    AddCounts(entry, "PAPER_TOTAL", view.counts, /*with_zero=*/true);
    AddCounts(entry, "PAPER_BAR", view.counts, /*with_zero=*/false);
    AddCounts(entry, "PAPER_SHARE", view.counts, /*with_zero=*/false);
    AddAssets(entry, view);
    for (const TableView& table : view.tables) AddTable(entry, paper, table);
  }

  void AddAssets(TemplateDictionary* parent, const PaperView& view) {
    std::set<std::pair<std::string, std::string>> assets;
    for (const TableView& table : view.tables) {
      for (const ClaimView& claim : table.claims) {
        if (claim.measurement == nullptr) continue;
        for (const AssetUse& asset : claim.measurement->assets()) {
          assets.emplace(asset.name(), asset.sha256());
        }
      }
    }
    if (assets.empty()) return;
    TemplateDictionary* list = parent->AddSectionDictionary("ASSETS");
    list->SetIntValue("NUM_ASSETS", assets.size());
    for (const auto& [name, sha256] : assets) {
      TemplateDictionary* entry = list->AddSectionDictionary("ASSET");
      entry->SetValue("ASSET_NAME", name);
      entry->SetValue("ASSET_SHA256", sha256);
    }
  }

  void AddTable(TemplateDictionary* parent, const Paper& paper,
                const TableView& table) {
    TemplateDictionary* entry = parent->AddSectionDictionary("TABLE");
    entry->SetValue("TABLE_NAME", table.name);
    entry->SetIntValue("TABLE_CLAIMS", table.claims.size());
    entry->SetValue("TABLE_NOUN",
                    table.claims.size() == 1 ? "claim" : "claims");
    if (table.claims.size() <= kMaxOpenClaims) entry->ShowSection("TABLE_OPEN");
    AddCounts(entry, "TABLE_SHARE", table.counts, /*with_zero=*/false);
    // What all claims have in common is said once.
    const std::string statement = CommonStatement(table);
    SetOptional(entry, "TABLE_STATEMENT", statement);
    for (const ClaimView& claim : table.claims) {
      TemplateDictionary* row = entry->AddSectionDictionary("CLAIM");
      AddClaim(row, paper, claim);
      if (statement.empty()) {
        SetOptional(row, "STATEMENT", claim.claim->criterion().statement());
      }
    }
    AddComparisons(entry, table);
    AddHistory(entry, table);
  }

  void AddClaim(TemplateDictionary* entry, const Paper& paper,
                const ClaimView& view) {
    const Claim& claim = *view.claim;
    entry->SetValue("ANCHOR", Anchor(paper.slug(), claim.id()));
    entry->SetValue("CLAIM_ID", claim.id());
    entry->SetValue("ROW", claim.row());
    entry->SetValue("COLUMN", claim.column());
    entry->SetValue("METRIC", Joined({claim.metric(), claim.dataset()}, ", "));
    entry->SetValue("REPORTED", WithUnit(claim.reported(), claim.unit()));
    entry->SetValue("REPORTED_LABEL",
                    claim.origin() == DERIVED ? "Derived" : "Reported");
    SetOptional(entry, "ORIGIN", OriginText(claim.origin()));
    entry->SetValue("VERDICT", VerdictName(view.verdict));
    entry->SetValue("EVIDENCE", EvidenceName(claim.evidence()));
    entry->SetValue("REASON", view.failed && view.measurement == nullptr
                                  ? absl::StrCat("failed: ", view.reason)
                                  : view.reason);
    SetOptional(entry, "NOTE", claim.note());

    if (view.measurement == nullptr) {
      entry->ShowSection("NOT_MEASURED");
      return;
    }
    const Measurement& measurement = *view.measurement;
    SetOptional(
        entry, "MEASURED",
        WithUnit(FormatMeasured(measurement, claim.reported()), claim.unit()));
    SetOptional(entry, "INTERVAL", FormatInterval(measurement));
    SetOptional(entry, "SCALE", measurement.scale());
    if (view.full_scale != nullptr) {
      SetOptional(
          entry, "FULL",
          Joined({WithUnit(FormatMeasured(*view.full_scale, claim.reported()),
                           claim.unit()),
                  FormatInterval(*view.full_scale),
                  VerdictName(view.full_scale->verdict()),
                  Provenance(*view.full_scale, *view.full_scale_result)},
                 ", "));
    }
    if (view.recorded) {
      std::string recorded = absl::StrCat(
          "Recorded: ", Provenance(measurement, *view.result), ".");
      if (!view.skipped.empty()) {
        absl::StrAppend(&recorded, " Not in the newest run: ",
                        view.failed ? "failed: " : "", view.skipped, ".");
      }
      SetOptional(entry, "RECORDED", recorded);
    }
    SetOptional(entry, "COST", FormatDuration(measurement.seconds()));
    entry->SetValue(
        "DEVICE",
        Joined({measurement.device(),
                measurement.seeds_size() > 0
                    ? absl::StrCat(
                          measurement.seeds_size(),
                          measurement.seeds_size() == 1 ? " seed" : " seeds")
                    : ""},
               ", "));
  }

  // One plot for each metric of the table that has at least two numbers.
  void AddComparisons(TemplateDictionary* parent, const TableView& table) {
    // By metric and unit, in the order of the table.
    std::vector<std::pair<std::string, std::vector<const ClaimView*>>> groups;
    for (const ClaimView& view : table.claims) {
      const Claim& claim = *view.claim;
      if (view.measurement == nullptr ||
          !std::isfinite(view.measurement->value()) ||
          !ParsePrintedNumber(claim.reported()).ok()) {
        continue;
      }
      const std::string axis =
          claim.unit().empty() || claim.unit() == "count"
              ? claim.metric()
              : absl::StrCat(claim.metric(), " (", claim.unit(), ")");
      auto group =
          std::find_if(groups.begin(), groups.end(),
                       [&axis](const auto& g) { return g.first == axis; });
      if (group == groups.end()) group = groups.insert(group, {axis, {}});
      group->second.push_back(&view);
    }
    TemplateDictionary* figures = nullptr;
    for (const auto& [axis, views] : groups) {
      if (views.size() < 2) continue;
      if (figures == nullptr) figures = parent->AddSectionDictionary("FIGURES");
      TemplateDictionary* figure = figures->AddSectionDictionary("FIGURE");
      figure->SetValue("FIGURE_AXIS", axis);
      AddComparison(figure, table.name, axis, views);
    }
  }

  void AddComparison(TemplateDictionary* figure, const std::string& table,
                     const std::string& axis,
                     const std::vector<const ClaimView*>& views) {
    std::set<std::string> rows, columns;
    for (const ClaimView* view : views) {
      rows.insert(view->claim->row());
      columns.insert(view->claim->column());
    }
    ComparisonPlot plot;
    plot.axis = axis;
    int num_differs = 0;
    bool reported = false, derived = false, agrees = false, smaller = false,
         interval = false;
    for (const ClaimView* view : views) {
      const Claim& claim = *view->claim;
      const Measurement& measurement = *view->measurement;
      PlotPoint& point = plot.points.emplace_back();
      point.label = Joined({rows.size() > 1 ? claim.row() : "",
                            columns.size() > 1 ? claim.column() : ""},
                           " · ");
      if (point.label.empty()) point.label = claim.row();
      if (point.label.empty()) point.label = claim.id();
      point.reported = ParsePrintedNumber(claim.reported())->value;
      point.derived = claim.origin() == DERIVED;
      point.measured = measurement.value();
      if (measurement.has_interval() &&
          std::isfinite(measurement.interval().low()) &&
          std::isfinite(measurement.interval().high())) {
        point.interval = measurement.interval();
      }
      point.differs = view->verdict == DIFFERS;
      point.smaller_scale =
          claim.evidence() == SCALED || !measurement.scale().empty();

      num_differs += point.differs;
      derived = derived || point.derived;
      reported = reported || !point.derived;
      agrees = agrees || (!point.differs && !point.smaller_scale);
      smaller = smaller || (!point.differs && point.smaller_scale);
      interval = interval || point.interval.has_value();
    }
    plot.title = absl::StrFormat(
        "%s, %s: reported against measured, %d claims, %d of them differ; the "
        "table below holds the numbers",
        table, axis, views.size(), num_differs);
    std::string key;
    if (views.size() > kMaxDotPlotPoints) {
      key = Joined({"reported across, measured up, equal on the line",
                    agrees ? "●\u00a0measured" : "",
                    smaller ? "▲\u00a0measured at a smaller scale" : "",
                    num_differs > 0 ? "✕\u00a0measured, differs" : "",
                    interval ? "— 95% interval" : ""},
                   "\u2002");
    } else {
      key = Joined(
          {reported ? "○\u00a0reported" : "", derived ? "□\u00a0derived" : "",
           agrees ? "●\u00a0measured" : "",
           smaller ? "▲\u00a0measured at a smaller scale" : "",
           num_differs > 0 ? "✕\u00a0measured, differs" : "",
           interval ? "—\u00a095% interval" : ""},
          "\u2002");
    }
    figure->SetValue("FIGURE_KEY", key);
    figures_.push_back({figure, "FIGURE_SVG", plotter_.Add(plot)});
  }

  void AddHistory(TemplateDictionary* parent, const TableView& table) {
    TemplateDictionary* history = nullptr;
    TemplateDictionary* unchanged = nullptr;
    int num_claims = 0, num_changed = 0;
    for (const ClaimView& view : table.claims) {
      if (view.history.size() < 2) continue;
      if (history == nullptr) history = parent->AddSectionDictionary("HISTORY");
      ++num_claims;
      const Claim& claim = *view.claim;
      const HistoryEntry& first = view.history.front();
      const HistoryEntry& last = view.history.back();
      const bool changed = std::any_of(
          view.history.begin(), view.history.end(),
          [&first](const HistoryEntry& entry) {
            const bool same_value =
                entry.value == first.value ||
                (std::isnan(entry.value) && std::isnan(first.value));
            return !same_value || entry.verdict != first.verdict;
          });
      const std::string label =
          Joined({claim.row(), claim.column(), claim.metric()}, " · ");
      const std::string period = absl::StrCat(
          view.history.size(), " measurements, ", DayOf(first.measured_at),
          " to ", DayOf(last.measured_at));
      if (!changed) {
        if (unchanged == nullptr) {
          unchanged = history->AddSectionDictionary("HISTORY_UNCHANGED");
        }
        TemplateDictionary* line =
            unchanged->AddSectionDictionary("HISTORY_LINE");
        line->SetValue("HISTORY_LABEL", label);
        line->SetValue("HISTORY_TEXT", absl::StrCat(FormatEntry(first, claim),
                                                    " (", period, ")"));
        continue;
      }
      ++num_changed;
      TemplateDictionary* figure =
          history->AddSectionDictionary("HISTORY_FIGURE");
      figure->SetValue("HISTORY_LABEL", label);
      std::string text =
          absl::StrCat(FormatEntry(first, claim), " → ",
                       FormatEntry(last, claim), " (", period, ")");
      if (first.verdict != last.verdict) {
        absl::StrAppend(&text, ", ", VerdictName(first.verdict), " → ",
                        VerdictName(last.verdict));
      }
      figure->SetValue("HISTORY_TEXT", text);
      AddHistoryPlot(figure, view, absl::StrCat(label, ": ", text));
    }
    if (history == nullptr) return;
    history->SetIntValue("HISTORY_CLAIMS", num_claims);
    history->SetValue("HISTORY_NOUN", num_claims == 1 ? "metric" : "metrics");
    history->SetIntValue("HISTORY_CHANGED", num_changed);
  }

  void AddHistoryPlot(TemplateDictionary* figure, const ClaimView& view,
                      const std::string& title) {
    HistoryPlot plot;
    plot.title = title;
    for (const HistoryEntry& entry : view.history) {
      absl::Time time;
      std::string error;
      if (!std::isfinite(entry.value) ||
          !absl::ParseTime(absl::RFC3339_full, entry.measured_at, &time,
                           &error)) {
        continue;
      }
      HistoryPoint& point = plot.points.emplace_back();
      point.unix_seconds = absl::ToDoubleSeconds(time - absl::UnixEpoch());
      point.value = entry.value;
      if (entry.interval.has_value() && std::isfinite(entry.interval->low()) &&
          std::isfinite(entry.interval->high())) {
        point.interval = entry.interval;
      }
    }
    if (plot.points.size() < 2) return;
    // A value at a smaller scale has no place beside the paper's.
    const auto printed = ParsePrintedNumber(view.claim->reported());
    if (printed.ok() && view.claim->evidence() != SCALED) {
      plot.reported = printed->value;
    }
    figures_.push_back({figure, "HISTORY_SVG", plotter_.Add(plot)});
  }

  void AddLinks(TemplateDictionary* parent, const Paper& paper,
                const std::vector<std::string>& claims) {
    for (const std::string& id : claims) {
      TemplateDictionary* link = parent->AddSectionDictionary("LINK");
      link->SetValue("LINK_ANCHOR", Anchor(paper.slug(), id));
      link->SetValue("LINK_ID", id);
    }
  }

  void AddFindings() {
    bool any = false;
    for (const PaperView& view : model_.papers) {
      for (const Finding& finding : view.paper->findings()) {
        any = true;
        TemplateDictionary* entry = page_.AddSectionDictionary("FINDING");
        entry->SetValue("FINDING_TITLE", finding.title());
        entry->SetValue("FINDING_PAPER", view.paper->title());
        SetOptional(entry, "FINDING_REPORTED", finding.reported());
        SetOptional(entry, "FINDING_RECOMPUTED", finding.recomputed());
        SetOptional(entry, "FINDING_CORRECTED", finding.corrected());
        entry->SetValue("FINDING_EXPLANATION", finding.explanation());
        if (finding.claims_size() > 0) {
          AddLinks(entry->AddSectionDictionary("FINDING_CLAIMS"), *view.paper,
                   {finding.claims().begin(), finding.claims().end()});
        }
      }
    }
    if (!any) page_.ShowSection("NO_FINDINGS");
  }

  void AddEvaluation(const PolicyEvaluation& evaluation) {
    // The section and its link are there if there is an evaluation.
    if (policies_ == nullptr) {
      page_.ShowSection("NAV_POLICIES");
      policies_ = page_.AddSectionDictionary("POLICIES");
    }
    TemplateDictionary* entry = policies_->AddSectionDictionary("EVALUATION");
    entry->SetValue("MODEL", evaluation.model());
    entry->SetIntValue("NUM_DEPTHS", evaluation.depths_size());
    entry->SetIntValue("NUM_KEYS", evaluation.count());
    entry->SetValue("HAYSTACK", evaluation.text().empty() ? "built-in sentences"
                                                          : evaluation.text());
    entry->SetValue("EVALUATED", Joined({DayOf(evaluation.measured_at()),
                                         ShortCommit(evaluation.build()),
                                         evaluation.device()},
                                        ", "));
    const bool perplexity = evaluation.perplexity_tokens() > 0;
    if (perplexity) {
      entry->ShowSection("PERPLEXITY_HEADER");
      entry->SetIntValue("PERPLEXITY_TOKENS", evaluation.perplexity_tokens());
    }
    for (const int64_t length : evaluation.lengths()) {
      entry->AddSectionDictionary("LENGTH")->SetIntValue("TOKENS", length);
    }
    // Scores over budgets, by policy in the order of the file.
    std::vector<BudgetPlot> plots;
    std::optional<double> reference;
    for (const PolicyScore& score : evaluation.scores()) {
      TemplateDictionary* row = entry->AddSectionDictionary("SCORE");
      row->SetValue("POLICY", PolicyName(score));
      row->SetValue("OPTIONS", OwnOptions(score));
      row->SetValue("BUDGET",
                    score.budget() > 0 ? absl::StrCat(score.budget()) : "–");
      for (int i = 0; i < score.needle_size(); ++i) {
        TemplateDictionary* cell = row->AddSectionDictionary("NEEDLE");
        cell->SetFormattedValue("VALUE", "%.2f", score.needle(i));
        cell->SetIntValue("TOKENS", evaluation.lengths(i));
      }
      const double mean = Mean(score.needle());
      row->SetFormattedValue("MEAN", "%.2f", mean);
      if (perplexity) {
        TemplateDictionary* cell = row->AddSectionDictionary("PERPLEXITY");
        if (score.has_perplexity()) {
          cell->SetFormattedValue("VALUE", "%.3f", score.perplexity());
        }
      }
      if (score.budget() == 0) {
        if (!reference.has_value()) reference = mean;
        continue;
      }
      if (plots.empty() || plots.back().title != PolicyName(score)) {
        plots.emplace_back().title = PolicyName(score);
      }
      plots.back().points.emplace_back(score.budget(), mean);
    }
    TemplateDictionary* figures = nullptr;
    for (BudgetPlot& plot : plots) {
      if (plot.points.size() < 2) continue;
      if (figures == nullptr) figures = entry->AddSectionDictionary("FIGURES");
      TemplateDictionary* figure = figures->AddSectionDictionary("FIGURE");
      figure->SetValue("POLICY", plot.title);
      plot.title =
          absl::StrCat(plot.title,
                       ": mean needle score over the budget of tokens; the "
                       "table above holds the numbers");
      plot.reference = reference;
      figures_.push_back({figure, "FIGURE_SVG", plotter_.Add(plot)});
    }
  }

  // Claims of one paper that lack the same thing share a row.
  void AddBlocked() {
    TemplateDictionary* table = nullptr;
    for (const PaperView& view : model_.papers) {
      using Key = std::tuple<std::string, std::string, std::string>;
      std::map<Key, std::vector<std::string>> rows;
      ForEachClaim(view, [&rows](const ClaimView& claim) {
        if (claim.verdict != VERDICT_BLOCKED) return;
        const Blocker& blocker = claim.claim->blocker();
        // A claim that is blocked on this machine alone has its reason only.
        rows[{blocker.asset().empty() ? claim.reason : blocker.asset(),
              blocker.size(), blocker.granted_by()}]
            .push_back(claim.claim->id());
      });
      for (const auto& [key, claims] : rows) {
        if (table == nullptr) {
          table = page_.AddSectionDictionary("BLOCKED_TABLE");
        }
        TemplateDictionary* row = table->AddSectionDictionary("BLOCKED_ROW");
        row->SetValue("BLOCKED_PAPER", view.paper->slug());
        row->SetValue("BLOCKED_ASSET", std::get<0>(key));
        row->SetValue("BLOCKED_SIZE", std::get<1>(key));
        row->SetValue("BLOCKED_GRANTED_BY", std::get<2>(key));
        row->SetIntValue("BLOCKED_COUNT", claims.size());
        AddLinks(row, *view.paper, claims);
      }
    }
    if (table == nullptr) page_.ShowSection("NO_BLOCKED");
  }

  void AddNotRun() {
    TemplateDictionary* table = nullptr;
    for (const PaperView& view : model_.papers) {
      // By whether it failed and why.
      std::map<std::pair<bool, std::string>, std::vector<std::string>> rows;
      ForEachClaim(view, [&rows](const ClaimView& claim) {
        if (claim.verdict != NOT_RUN) return;
        rows[{!claim.failed, claim.reason}].push_back(claim.claim->id());
      });
      for (const auto& [key, claims] : rows) {
        if (table == nullptr) {
          table = page_.AddSectionDictionary("SKIPPED_TABLE");
        }
        TemplateDictionary* row = table->AddSectionDictionary("SKIPPED_ROW");
        row->SetValue("SKIPPED_PAPER", view.paper->slug());
        if (!key.first) row->ShowSection("SKIPPED_FAILED");
        row->SetValue("SKIPPED_REASON", key.second);
        row->SetIntValue("SKIPPED_COUNT", claims.size());
        AddLinks(row, *view.paper, claims);
      }
    }
    if (table == nullptr) page_.ShowSection("NO_SKIPPED");
  }

  template <typename Function>
  static void ForEachClaim(const PaperView& paper, const Function& function) {
    for (const TableView& table : paper.tables) {
      for (const ClaimView& claim : table.claims) function(claim);
    }
  }

  void DrawPlots() {
    const absl::StatusOr<Plots> plots = plotter_.Render();
    if (!plots.ok()) {
      SetOptional(&page_, "PLOTS_MISSING",
                  std::string(plots.status().message()));
      return;
    }
    page_.SetValue("SYMBOLS", plots->symbols);
    for (const Figure& figure : figures_) {
      figure.dictionary->SetValue(figure.variable, plots->svgs[figure.plot]);
    }
  }

  const ReportInput& input_;
  const ReportModel& model_;
  TemplateDictionary page_;
  Plotter plotter_;
  std::vector<Figure> figures_;
  TemplateDictionary* policies_ = nullptr;
};

}  // namespace

absl::Status WriteReport(const ReportInput& input, const std::string& out_dir) {
  REPRO_ASSIGN_OR_RETURN(const ReportModel model, BuildModel(input));
  PageBuilder builder(input, model);
  const TemplateDictionary& page = builder.Build();
  REPRO_ASSIGN_OR_RETURN(const std::string html, Expand(kHtmlTemplate, page));
  REPRO_ASSIGN_OR_RETURN(const std::string markdown,
                         Expand(kMarkdownTemplate, page));
  std::error_code error;
  std::filesystem::create_directories(out_dir, error);
  if (error) {
    return absl::PermissionDeniedError(absl::StrCat(
        out_dir, ": cannot create the report's folder: ", error.message(),
        ": choose another with --out"));
  }
  REPRO_RETURN_IF_ERROR(
      WriteFileAtomically(absl::StrCat(out_dir, "/report.html"), html));
  return WriteFileAtomically(absl::StrCat(out_dir, "/report.md"), markdown);
}

}  // namespace repro
