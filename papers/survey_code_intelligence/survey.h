#ifndef REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_SURVEY_H_
#define REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_SURVEY_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "papers/survey_code_intelligence/facts.h"

// What the survey knows, as typed records.
namespace repro::survey_code_intelligence {

// A row of Tables 1 and 5 to 9.
struct Benchmark {
  int table = 0;
  std::string category;  // "Clone Detection"
  std::string dataset;
  std::vector<int> refs;      // reference numbers; empty for Defects4J
  int year = 0;               // of the dataset
  std::string num_languages;  // "6", ">40" or "-"
  std::string size_facts;     // "52K", "18K/330K" or empty
  std::string metrics;        // "EM/BLEU"; empty in Tables 1 and 5
};

// Table 2.
struct CodePtm {
  std::string architecture;  // "Encoder", "Enc-Dec", "Decoder"
  std::string model;
  int ref = 0;
  bool uses_structure = false;
  std::string base;  // the model it starts from, or empty
  std::vector<std::string> objectives;
  std::string size;
  std::vector<int64_t> parameters;
};

// Table 3.
struct Corpus {
  std::string dataset;
  std::optional<int> ref;
  std::string size;
  DataScale scale;
  std::string num_languages;
};

// Table 4.
struct CodeLlm {
  std::string architecture;
  std::string model;
  int ref = 0;
  std::string sizes;
  std::vector<int64_t> parameters;
  std::string base;
  std::string vocab;  // "50.3K" or empty
  std::string context;
  std::optional<ContextLength> context_length;  // empty cell: not stated
  std::string objective;                        // "MLM+CLM"
  std::string data_scale;
  DataScale data;         // of an empty cell: empty
  std::string is_public;  // "yes", "no" or empty
};

// Table 10.
struct Objective {
  std::string model;
  int ref = 0;
  std::string abbreviation;  // or empty
  std::string objective;
};

struct Reference {
  int number = 0;  // from 1, without gaps
  std::string first_author;
  std::optional<int> year;
  std::string venue_class;  // a guess, or empty
  std::string title;
  std::string arxiv;       // "2403.14734" or empty
  std::vector<int> pages;  // that cite it, rising
};

struct Section {
  std::string id;  // "2.2.1"
  std::string topic;
  int first_page = 0;
};

// An entry of the repository's reading lists; dates are those of the list.
struct ReadingItem {
  std::string list;
  std::string section;
  std::string short_name;
  std::string title;
  std::string venue;
  std::string arxiv;
  std::string year;   // "2024" or empty
  std::string month;  // "03" or empty
};

struct YearCount {  // Figure 1
  int year = 0;
  int64_t publications = 0;  // up to and with the year
};

struct Milestone {  // Figure 2
  std::string model;
  std::string first_author;
  std::string phase;
  int year = 0;  // as read off the axis
};

struct TreeNode {  // Figure 3
  std::string branch;
  std::string model;
};

struct PassAt1 {  // Figure 5
  std::string family;
  std::string size;
  std::string variant;  // "Base", "Instruct", "multi", "mono" or empty
  std::string printed;  // percent on HumanEval
  double percent = 0;
};

struct Survey {
  std::vector<Benchmark> benchmarks;
  std::vector<CodePtm> code_ptms;
  std::vector<Corpus> corpora;
  std::vector<CodeLlm> code_llms;
  std::vector<Objective> objectives;
  std::vector<Reference> references;
  std::vector<Section> sections;
  std::vector<ReadingItem> reading_lists;
  std::vector<YearCount> publications;
  std::vector<Milestone> milestones;
  std::vector<TreeNode> tree;
  std::vector<PassAt1> pass_at_1;
};

// The twelve files of a survey, without their ending: "benchmarks".
const std::vector<std::string>& SurveyFiles();

// Where the file of a name is.
using PathOf =
    std::function<absl::StatusOr<std::string>(absl::string_view name)>;

// Reads and checks all files. InvalidArgument "file:line: ..." for a cell that
// does not parse, a reference number that is not among the references, a year
// outside of 1990 to 2030 (a reference's: 1950), references that are not
// numbered from 1, publications that fall, a section that starts before the one
// above it, and an empty file; errors of `path_of` and of CsvTable.
absl::StatusOr<Survey> ReadSurvey(const PathOf& path_of);
// The files `folder`/<name>.csv.
absl::StatusOr<Survey> ReadSurvey(const std::string& folder);

}  // namespace repro::survey_code_intelligence

#endif  // REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_SURVEY_H_
