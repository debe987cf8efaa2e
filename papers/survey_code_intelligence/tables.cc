#include "papers/survey_code_intelligence/tables.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro::survey_code_intelligence {
namespace {

using Cells = std::vector<std::string>;

template <typename Records, typename ToCells>
TextTable MakeTable(std::string title, Cells header, const Records& records,
                    const ToCells& to_cells) {
  TextTable table{std::move(title), std::move(header), {}};
  for (const auto& record : records) table.rows.push_back(to_cells(record));
  return table;
}

// Those of one table of the survey; 0 is all.
TextTable Benchmarks(const Survey& survey, int number) {
  std::vector<Benchmark> chosen;
  absl::c_copy_if(
      survey.benchmarks, std::back_inserter(chosen),
      [&](const Benchmark& row) { return number == 0 || row.table == number; });
  return MakeTable(number == 0 ? "Tables 1 and 5 to 9: datasets"
                               : absl::StrCat("Table ", number, ": datasets"),
                   {"table", "category", "dataset", "ref", "year", "n_pls",
                    "size_facts", "metric"},
                   chosen, [](const Benchmark& row) {
                     return Cells{absl::StrCat(row.table),
                                  row.category,
                                  row.dataset,
                                  absl::StrJoin(row.refs, ";"),
                                  absl::StrCat(row.year),
                                  row.num_languages,
                                  row.size_facts,
                                  row.metrics};
                   });
}

TextTable CodePtms(const Survey& survey) {
  return MakeTable("Table 2: pre-trained models",
                   {"architecture", "model", "ref", "uses_structure", "base",
                    "objectives", "size"},
                   survey.code_ptms, [](const CodePtm& row) {
                     return Cells{row.architecture,
                                  row.model,
                                  absl::StrCat(row.ref),
                                  row.uses_structure ? "yes" : "no",
                                  row.base,
                                  absl::StrJoin(row.objectives, ";"),
                                  row.size};
                   });
}

TextTable Corpora(const Survey& survey) {
  return MakeTable("Table 3: corpora", {"dataset", "ref", "size", "n_pls"},
                   survey.corpora, [](const Corpus& row) {
                     return Cells{
                         row.dataset,
                         row.ref.has_value() ? absl::StrCat(*row.ref) : "",
                         row.size, row.num_languages};
                   });
}

TextTable CodeLlms(const Survey& survey) {
  return MakeTable("Table 4: large language models",
                   {"architecture", "model", "ref", "sizes", "base", "vocab",
                    "context", "objective", "data_scale", "public"},
                   survey.code_llms, [](const CodeLlm& row) {
                     return Cells{
                         row.architecture, row.model,     absl::StrCat(row.ref),
                         row.sizes,        row.base,      row.vocab,
                         row.context,      row.objective, row.data_scale,
                         row.is_public};
                   });
}

TextTable Objectives(const Survey& survey) {
  return MakeTable("Table 10: training objectives",
                   {"model", "ref", "abbr", "objective"}, survey.objectives,
                   [](const Objective& row) {
                     return Cells{row.model, absl::StrCat(row.ref),
                                  row.abbreviation, row.objective};
                   });
}

TextTable References(const Survey& survey) {
  return MakeTable("References",
                   {"ref", "first_author", "year", "venue_class", "title",
                    "arxiv_id", "cited_on_pages"},
                   survey.references, [](const Reference& row) {
                     return Cells{
                         absl::StrCat(row.number),
                         row.first_author,
                         row.year.has_value() ? absl::StrCat(*row.year) : "",
                         row.venue_class,
                         row.title,
                         row.arxiv,
                         absl::StrJoin(row.pages, ";")};
                   });
}

TextTable Sections(const Survey& survey) {
  return MakeTable(
      "Sections", {"section", "topic", "first_page"}, survey.sections,
      [](const Section& row) {
        return Cells{row.id, row.topic, absl::StrCat(row.first_page)};
      });
}

TextTable ReadingLists(const Survey& survey) {
  return MakeTable("Reading lists",
                   {"list", "section", "short_name", "title", "venue",
                    "arxiv_id", "year", "month"},
                   survey.reading_lists, [](const ReadingItem& row) {
                     return Cells{row.list,  row.section, row.short_name,
                                  row.title, row.venue,   row.arxiv,
                                  row.year,  row.month};
                   });
}

TextTable Publications(const Survey& survey) {
  return MakeTable(
      "Figure 1: publications on arXiv", {"year", "cumulative_count"},
      survey.publications, [](const YearCount& row) {
        return Cells{absl::StrCat(row.year), absl::StrCat(row.publications)};
      });
}

TextTable Milestones(const Survey& survey) {
  return MakeTable("Figure 2: milestones",
                   {"model", "first_author", "phase", "approx_year_on_axis"},
                   survey.milestones, [](const Milestone& row) {
                     return Cells{row.model, row.first_author, row.phase,
                                  absl::StrCat(row.year)};
                   });
}

TextTable Tree(const Survey& survey) {
  return MakeTable("Figure 3: model tree", {"branch", "model"}, survey.tree,
                   [](const TreeNode& row) {
                     return Cells{row.branch, row.model};
                   });
}

TextTable PassAt1Values(const Survey& survey) {
  return MakeTable(
      "Figure 5: pass@1 on HumanEval, percent",
      {"family", "size", "variant", "humaneval_pass_at_1"}, survey.pass_at_1,
      [](const PassAt1& row) {
        return Cells{row.family, row.size, row.variant, row.printed};
      });
}

using Maker = std::function<TextTable(const Survey&)>;

const std::map<std::string, Maker>& Makers() {
  static const auto* const kMakers = [] {
    auto* makers = new std::map<std::string, Maker>{
        {"codeptms", CodePtms},
        {"table2", CodePtms},
        {"corpora", Corpora},
        {"table3", Corpora},
        {"codellms", CodeLlms},
        {"table4", CodeLlms},
        {"ptm_objectives", Objectives},
        {"table10", Objectives},
        {"references", References},
        {"sections", Sections},
        {"reading_lists", ReadingLists},
        {"fig1_cumulative_publications", Publications},
        {"figure1", Publications},
        {"fig2_milestones", Milestones},
        {"figure2", Milestones},
        {"fig3_model_tree", Tree},
        {"figure3", Tree},
        {"fig5_humaneval_pass1", PassAt1Values},
        {"figure5", PassAt1Values},
        {"benchmarks", [](const Survey& s) { return Benchmarks(s, 0); }},
    };
    for (const int number : {1, 5, 6, 7, 8, 9}) {
      (*makers)[absl::StrCat("table", number)] = [number](const Survey& s) {
        return Benchmarks(s, number);
      };
    }
    return makers;
  }();
  return *kMakers;
}

absl::Status NoSuch(absl::string_view what, absl::string_view name,
                    const Cells& names) {
  return absl::NotFoundError(absl::StrCat("no ", what, " ", Quoted(name),
                                          "; there are ",
                                          absl::StrJoin(names, ", ")));
}

// Code points, so that columns of names such as "Zügner" line up.
size_t Width(absl::string_view text) {
  return absl::c_count_if(text, [](char c) { return (c & 0xc0) != 0x80; });
}

std::string CsvCell(const std::string& cell) {
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  return absl::StrCat("\"", absl::StrReplaceAll(cell, {{"\"", "\"\""}}), "\"");
}

std::string MarkdownCell(const std::string& cell) {
  return absl::StrReplaceAll(cell, {{"|", "\\|"}, {"\n", " "}});
}

std::string RenderPadded(const TextTable& table) {
  std::vector<size_t> widths;
  for (const std::string& name : table.header) widths.push_back(Width(name));
  for (const Cells& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], Width(row[i]));
    }
  }
  std::string text = absl::StrCat(table.title, "\n");
  const auto append = [&](const Cells& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      absl::StrAppend(&line, i == 0 ? "" : "  ", cells[i],
                      std::string(widths[i] - Width(cells[i]), ' '));
    }
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  };
  append(table.header);
  for (const Cells& row : table.rows) append(row);
  return text;
}

std::string RenderMarkdown(const TextTable& table) {
  const auto line = [](const Cells& cells) {
    return absl::StrCat(
        "| ",
        absl::StrJoin(cells, " | ",
                      [](std::string* out, const std::string& cell) {
                        out->append(MarkdownCell(cell));
                      }),
        " |\n");
  };
  std::string text =
      absl::StrCat(line(table.header), line(Cells(table.header.size(), "---")));
  for (const Cells& row : table.rows) text += line(row);
  return text;
}

std::string RenderCsv(const TextTable& table) {
  const auto line = [](const Cells& cells) {
    return absl::StrCat(
        absl::StrJoin(cells, ",",
                      [](std::string* out, const std::string& cell) {
                        out->append(CsvCell(cell));
                      }),
        "\n");
  };
  std::string text = line(table.header);
  for (const Cells& row : table.rows) text += line(row);
  return text;
}

// ------------------------------------------------------------------- queries

// The first quantity of a cell.
std::optional<double> FirstQuantity(absl::string_view cell) {
  const size_t end = cell.find_first_of("/;");
  absl::string_view first = cell.substr(0, end);
  if (const auto context = ParseContextLength(first); context.ok()) {
    return static_cast<double>(context->encoder > 0 ? context->encoder
                                                    : context->decoder);
  }
  if (const auto quantity = ParseQuantity(first); quantity.ok()) {
    return quantity->value;
  }
  double value = 0;
  if (absl::SimpleAtod(first, &value)) return value;
  return std::nullopt;
}

struct Condition {
  size_t column = 0;
  std::string op;
  std::string value;
};

bool Holds(const Condition& condition, const Cells& row) {
  const std::string& cell = row[condition.column];
  const std::string& op = condition.op;
  if (op == "=") return absl::EqualsIgnoreCase(cell, condition.value);
  if (op == "!=") return !absl::EqualsIgnoreCase(cell, condition.value);
  if (op == "~") {
    return absl::StrContains(absl::AsciiStrToLower(cell),
                             absl::AsciiStrToLower(condition.value));
  }
  const auto left = FirstQuantity(cell);
  const auto right = FirstQuantity(condition.value);
  if (!left.has_value() || !right.has_value()) return false;
  if (op == "<") return *left < *right;
  if (op == "<=") return *left <= *right;
  if (op == ">") return *left > *right;
  return *left >= *right;
}

absl::StatusOr<size_t> ColumnOf(const TextTable& table,
                                absl::string_view name) {
  const auto found = absl::c_find(table.header, name);
  if (found == table.header.end()) return NoSuch("column", name, table.header);
  return static_cast<size_t>(found - table.header.begin());
}

absl::StatusOr<Condition> ParseCondition(const TextTable& table,
                                         absl::string_view text) {
  const Cells words =
      absl::StrSplit(text, absl::MaxSplits(' ', 2), absl::SkipWhitespace());
  static const auto* const kOps =
      new Cells{"=", "!=", "~", "<", "<=", ">", ">="};
  if (words.size() != 3 || !absl::c_linear_search(*kOps, words[1])) {
    return absl::InvalidArgumentError(
        absl::StrCat("condition ", Quoted(text),
                     ": write <column> <op> <value> with an operator of ",
                     absl::StrJoin(*kOps, " ")));
  }
  REPRO_ASSIGN_OR_RETURN(const size_t column, ColumnOf(table, words[0]));
  Condition condition{column, words[1],
                      std::string(absl::StripAsciiWhitespace(words[2]))};
  const bool ordered = condition.op[0] == '<' || condition.op[0] == '>';
  if (ordered && !FirstQuantity(condition.value).has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("condition ", Quoted(text), ": ", Quoted(condition.value),
                     " is no quantity"));
  }
  return condition;
}

absl::Status SortBy(absl::string_view text, TextTable* table) {
  const bool descending = absl::ConsumeSuffix(&text, " desc");
  REPRO_ASSIGN_OR_RETURN(const size_t column,
                         ColumnOf(*table, absl::StripAsciiWhitespace(text)));
  const auto before = [&](const Cells& a, const Cells& b) {
    const auto left = FirstQuantity(a[column]);
    const auto right = FirstQuantity(b[column]);
    if (left.has_value() != right.has_value()) return left.has_value();
    const bool less = left.has_value() ? *left < *right : a[column] < b[column];
    const bool more = left.has_value() ? *left > *right : a[column] > b[column];
    return descending ? more : less;
  };
  std::stable_sort(table->rows.begin(), table->rows.end(), before);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TextTable> SurveyTable(const Survey& survey,
                                      absl::string_view name) {
  const auto found = Makers().find(std::string(name));
  if (found == Makers().end()) {
    Cells names;
    for (const auto& [key, maker] : Makers()) names.push_back(key);
    return NoSuch("table", name, names);
  }
  return found->second(survey);
}

absl::StatusOr<TableFormat> ParseTableFormat(absl::string_view name) {
  if (name == "text") return TableFormat::kText;
  if (name == "markdown") return TableFormat::kMarkdown;
  if (name == "csv") return TableFormat::kCsv;
  return absl::InvalidArgumentError(absl::StrCat(
      "no format ", Quoted(name), "; there are text, markdown and csv"));
}

std::string Render(const TextTable& table, TableFormat format) {
  switch (format) {
    case TableFormat::kMarkdown:
      return RenderMarkdown(table);
    case TableFormat::kCsv:
      return RenderCsv(table);
    case TableFormat::kText:
      break;
  }
  return RenderPadded(table);
}

absl::StatusOr<TextTable> Query(const Survey& survey, absl::string_view query) {
  const std::pair<absl::string_view, absl::string_view> sorted =
      absl::StrSplit(query, absl::MaxSplits(" sort by ", 1));
  const std::pair<absl::string_view, absl::string_view> filtered =
      absl::StrSplit(sorted.first, absl::MaxSplits(" where ", 1));
  REPRO_ASSIGN_OR_RETURN(
      TextTable table,
      SurveyTable(survey, absl::StripAsciiWhitespace(filtered.first)));
  if (absl::StrContains(sorted.first, " where ")) {
    for (const absl::string_view text :
         absl::StrSplit(filtered.second, " and ")) {
      REPRO_ASSIGN_OR_RETURN(const Condition condition,
                             ParseCondition(table, text));
      table.rows.erase(std::remove_if(table.rows.begin(), table.rows.end(),
                                      [&](const Cells& row) {
                                        return !Holds(condition, row);
                                      }),
                       table.rows.end());
    }
  }
  if (absl::StrContains(query, " sort by ")) {
    REPRO_RETURN_IF_ERROR(SortBy(sorted.second, &table));
  }
  return table;
}

}  // namespace repro::survey_code_intelligence
