#include "papers/survey_code_intelligence/survey.h"

#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/data/csv.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro::survey_code_intelligence {
namespace {

// One record of a file; the first problem is kept, with its line.
class Row {
 public:
  Row(const CsvTable& table, int64_t row, int num_references)
      : table_(table), row_(row), num_references_(num_references) {}

  std::string Text(absl::string_view column) {
    auto text = table_.Text(row_, column);
    if (!text.ok()) {
      Fail(text.status());
      return "";
    }
    return *std::move(text);
  }

  std::string Required(absl::string_view column) {
    std::string text = Text(column);
    if (text.empty()) Problem(column, "is empty");
    return text;
  }

  // A whole number in [low, high].
  int Int(absl::string_view column, int low, int high) {
    return IntOf(column, Text(column), low, high);
  }

  int Year(absl::string_view column) { return Int(column, 1990, 2030); }

  int Ref(absl::string_view column) { return Int(column, 1, num_references_); }

  // "353;326"; an empty cell has none.
  std::vector<int> Ints(absl::string_view column, int low, int high) {
    std::vector<int> values;
    const std::string text = Text(column);
    if (text.empty()) return values;
    for (const absl::string_view part : absl::StrSplit(text, ';')) {
      values.push_back(IntOf(column, part, low, high));
    }
    return values;
  }

  std::vector<int> Refs(absl::string_view column) {
    return Ints(column, 1, num_references_);
  }

  // What `parse` makes of a cell.
  template <typename T>
  T Parsed(absl::string_view column,
           absl::StatusOr<T> (*parse)(absl::string_view)) {
    auto value = parse(Text(column));
    if (!value.ok()) {
      Problem(column, value.status().message());
      return T();
    }
    return *std::move(value);
  }

  // A number of languages: a quantity or "-".
  std::string Languages(absl::string_view column) {
    std::string text = Text(column);
    if (text != "-") Parsed(column, &ParseQuantity);
    return text;
  }

  std::string ArxivNumber(absl::string_view column) {
    std::string text = Text(column);
    if (!text.empty()) Parsed(column, &ParseArxivNumber);
    return text;
  }

  std::string OneOf(absl::string_view column,
                    const std::set<std::string>& values) {
    std::string text = Text(column);
    if (values.count(text) == 0) {
      Problem(column, absl::StrCat("unknown value ", Quoted(text)));
    }
    return text;
  }

  void Problem(absl::string_view column, absl::string_view what) {
    Fail(table_.RowError(row_, absl::StrCat("column '", column, "': ", what)));
  }

  const absl::Status& status() const { return status_; }

 private:
  int IntOf(absl::string_view column, absl::string_view text, int low,
            int high) {
    int value = low;
    if (!absl::SimpleAtoi(text, &value) || value < low || value > high) {
      Problem(column, absl::StrCat(Quoted(text), " is not a whole number from ",
                                   low, " to ", high));
      return low;
    }
    return value;
  }

  void Fail(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }

  const CsvTable& table_;
  const int64_t row_;
  const int num_references_;
  absl::Status status_;
};

// Reads the file `name`, a record by `read(row)`.
template <typename Record, typename Read>
absl::Status ReadRecords(const PathOf& path_of, absl::string_view name,
                         int num_references, std::vector<Record>* records,
                         const Read& read) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, path_of(name));
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  if (table.num_rows() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no records"));
  }
  for (int64_t i = 0; i < table.num_rows(); ++i) {
    Row row(table, i, num_references);
    Record record = read(row);
    REPRO_RETURN_IF_ERROR(row.status());
    records->push_back(std::move(record));
  }
  return absl::OkStatus();
}

// Pages of an A4 paper; only to refuse nonsense.
constexpr int kMaxPage = 1000;
constexpr int kMaxReferences = 1000000;

Reference ReadReference(Row& row, int expected) {
  Reference reference;
  reference.number = row.Int("ref", 1, kMaxReferences);
  if (row.status().ok() && reference.number != expected) {
    row.Problem("ref", absl::StrCat("expected ", expected));
  }
  reference.first_author = row.Text("first_author");
  if (!row.Text("year").empty()) reference.year = row.Int("year", 1950, 2030);
  reference.venue_class = row.Text("venue_class");
  reference.title = row.Text("title");
  reference.arxiv = row.ArxivNumber("arxiv_id");
  reference.pages = row.Ints("cited_on_pages", 1, kMaxPage);
  if (reference.pages.empty()) row.Problem("cited_on_pages", "is empty");
  if (absl::c_adjacent_find(reference.pages, std::greater_equal<int>()) !=
      reference.pages.end()) {
    row.Problem("cited_on_pages", "pages do not rise");
  }
  return reference;
}

Benchmark ReadBenchmark(Row& row) {
  Benchmark benchmark;
  benchmark.table = row.Int("table", 1, 9);
  benchmark.category = row.Required("category");
  benchmark.dataset = row.Required("dataset");
  benchmark.refs = row.Refs("ref");
  benchmark.year = row.Year("year");
  benchmark.num_languages = row.Languages("n_pls");
  benchmark.size_facts = row.Text("size_facts");
  if (!benchmark.size_facts.empty()) {
    row.Parsed("size_facts", &ParseQuantities);
  }
  benchmark.metrics = row.Text("metric");
  return benchmark;
}

CodePtm ReadCodePtm(Row& row) {
  CodePtm model;
  model.architecture =
      row.OneOf("architecture", {"Encoder", "Enc-Dec", "Decoder"});
  model.model = row.Required("model");
  model.ref = row.Ref("ref");
  model.uses_structure = row.OneOf("uses_structure", {"yes", "no"}) == "yes";
  model.base = row.Text("base");
  model.objectives = absl::StrSplit(row.Required("objectives"), ';');
  model.size = row.Text("size");
  model.parameters = row.Parsed("size", &ParseParameterCounts);
  return model;
}

CodeLlm ReadCodeLlm(Row& row) {
  CodeLlm model;
  model.architecture = row.OneOf("architecture", {"Enc-Dec", "Decoder"});
  model.model = row.Required("model");
  model.ref = row.Ref("ref");
  model.sizes = row.Text("sizes");
  model.parameters = row.Parsed("sizes", &ParseParameterCounts);
  model.base = row.Text("base");
  model.vocab = row.Text("vocab");
  if (!model.vocab.empty()) row.Parsed("vocab", &ParseQuantity);
  model.context = row.Text("context");
  if (!model.context.empty()) {
    model.context_length = row.Parsed("context", &ParseContextLength);
  }
  model.objective = row.Required("objective");
  model.data_scale = row.Text("data_scale");
  if (!model.data_scale.empty()) {
    model.data = row.Parsed("data_scale", &ParseDataScale);
  }
  model.is_public = row.OneOf("public", {"yes", "no", ""});
  return model;
}

Corpus ReadCorpus(Row& row) {
  Corpus corpus;
  corpus.dataset = row.Required("dataset");
  if (!row.Text("ref").empty()) corpus.ref = row.Ref("ref");
  corpus.size = row.Text("size");
  corpus.scale = row.Parsed("size", &ParseDataScale);
  corpus.num_languages = row.Languages("n_pls");
  return corpus;
}

Objective ReadObjective(Row& row) {
  Objective objective;
  objective.model = row.Required("model");
  objective.ref = row.Ref("ref");
  objective.abbreviation = row.Text("abbr");
  objective.objective = row.Required("objective");
  return objective;
}

ReadingItem ReadReadingItem(Row& row) {
  ReadingItem item;
  item.list = row.Required("list");
  item.section = row.Text("section");
  item.short_name = row.Text("short_name");
  item.title = row.Required("title");
  item.venue = row.Text("venue");
  item.arxiv = row.ArxivNumber("arxiv_id");
  item.year = row.Text("year");
  if (!item.year.empty()) row.Year("year");
  item.month = row.Text("month");
  if (!item.month.empty()) row.Int("month", 1, 12);
  return item;
}

PassAt1 ReadPassAt1(Row& row) {
  PassAt1 value;
  value.family = row.Required("family");
  value.size = row.Text("size");
  row.Parsed("size", &ParseParameterCounts);
  value.variant = row.Text("variant");
  value.printed = row.Text("humaneval_pass_at_1");
  if (!absl::SimpleAtod(value.printed, &value.percent) ||
      !(value.percent >= 0 && value.percent <= 100)) {
    row.Problem("humaneval_pass_at_1",
                absl::StrCat(Quoted(value.printed), " is not a percentage"));
  }
  return value;
}

absl::Status ReadFigures(const PathOf& path_of, Survey* survey) {
  REPRO_RETURN_IF_ERROR(ReadRecords(
      path_of, "fig1_cumulative_publications", 0, &survey->publications,
      [&](Row& row) {
        YearCount count;
        count.year = row.Year("year");
        count.publications = row.Int("cumulative_count", 0, 1000000000);
        if (!survey->publications.empty() &&
            (count.year <= survey->publications.back().year ||
             count.publications < survey->publications.back().publications)) {
          row.Problem("cumulative_count", "year or count falls");
        }
        return count;
      }));
  REPRO_RETURN_IF_ERROR(ReadRecords(
      path_of, "fig2_milestones", 0, &survey->milestones, [](Row& row) {
        Milestone milestone;
        milestone.model = row.Required("model");
        milestone.first_author = row.Text("first_author");
        milestone.phase = row.Required("phase");
        milestone.year = row.Year("approx_year_on_axis");
        return milestone;
      }));
  REPRO_RETURN_IF_ERROR(
      ReadRecords(path_of, "fig3_model_tree", 0, &survey->tree, [](Row& row) {
        TreeNode node;
        node.branch = row.Required("branch");
        node.model = row.Required("model");
        return node;
      }));
  return ReadRecords(path_of, "fig5_humaneval_pass1", 0, &survey->pass_at_1,
                     &ReadPassAt1);
}

}  // namespace

const std::vector<std::string>& SurveyFiles() {
  static const auto* const kFiles = new std::vector<std::string>{
      "benchmarks",      "codeptms",        "corpora",
      "codellms",        "ptm_objectives",  "references",
      "sections",        "reading_lists",   "fig1_cumulative_publications",
      "fig2_milestones", "fig3_model_tree", "fig5_humaneval_pass1"};
  return *kFiles;
}

absl::StatusOr<Survey> ReadSurvey(const PathOf& path_of) {
  Survey survey;
  int expected = 0;
  REPRO_RETURN_IF_ERROR(
      ReadRecords(path_of, "references", 0, &survey.references,
                  [&](Row& row) { return ReadReference(row, ++expected); }));
  const int num_references = expected;
  REPRO_RETURN_IF_ERROR(ReadRecords(path_of, "benchmarks", num_references,
                                    &survey.benchmarks, &ReadBenchmark));
  REPRO_RETURN_IF_ERROR(ReadRecords(path_of, "codeptms", num_references,
                                    &survey.code_ptms, &ReadCodePtm));
  REPRO_RETURN_IF_ERROR(ReadRecords(path_of, "corpora", num_references,
                                    &survey.corpora, &ReadCorpus));
  REPRO_RETURN_IF_ERROR(ReadRecords(path_of, "codellms", num_references,
                                    &survey.code_llms, &ReadCodeLlm));
  REPRO_RETURN_IF_ERROR(ReadRecords(path_of, "ptm_objectives", num_references,
                                    &survey.objectives, &ReadObjective));
  REPRO_RETURN_IF_ERROR(
      ReadRecords(path_of, "sections", 0, &survey.sections, [&](Row& row) {
        Section section;
        section.id = row.Required("section");
        section.topic = row.Required("topic");
        section.first_page = row.Int("first_page", 1, kMaxPage);
        if (!survey.sections.empty() &&
            section.first_page < survey.sections.back().first_page) {
          row.Problem("first_page", "is before the section above");
        }
        return section;
      }));
  REPRO_RETURN_IF_ERROR(ReadRecords(path_of, "reading_lists", 0,
                                    &survey.reading_lists, &ReadReadingItem));
  REPRO_RETURN_IF_ERROR(ReadFigures(path_of, &survey));
  return survey;
}

absl::StatusOr<Survey> ReadSurvey(const std::string& folder) {
  return ReadSurvey([&](absl::string_view name) -> absl::StatusOr<std::string> {
    return absl::StrCat(folder, "/", name, ".csv");
  });
}

}  // namespace repro::survey_code_intelligence
