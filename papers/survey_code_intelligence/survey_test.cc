// Reading, tables, queries, citations and consistency.

#include "papers/survey_code_intelligence/survey.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/assets/test_asset.h"
#include "common/data/mutate.h"
#include "papers/survey_code_intelligence/citations.h"
#include "papers/survey_code_intelligence/consistency.h"
#include "papers/survey_code_intelligence/tables.h"
#include "papers/survey_code_intelligence/test_survey.h"

namespace repro::survey_code_intelligence {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

Survey Small() {
  auto survey = ReadFiles(SmallFiles());
  EXPECT_TRUE(survey.ok()) << survey.status();
  return survey.ok() ? *std::move(survey) : Survey();
}

TEST(ReadSurvey, ReadsRecords) {
  const Survey survey = Small();
  ASSERT_EQ(survey.references.size(), 5);
  EXPECT_EQ(survey.references[2].title, "Bugs, and \"repairs\" of bugs");
  EXPECT_FALSE(survey.references[2].year.has_value());
  EXPECT_THAT(survey.references[0].pages, ElementsAre(1, 2, 4));
  EXPECT_THAT(survey.benchmarks[2].refs, ElementsAre(3, 4));
  EXPECT_THAT(survey.code_ptms[0].parameters,
              ElementsAre(125'000'000, 1'500'000'000));
  EXPECT_THAT(survey.code_ptms[0].objectives, ElementsAre("MLM", "NSP"));
  EXPECT_EQ(survey.code_llms[0].context_length->encoder, 1536);
  EXPECT_EQ(survey.code_llms[0].context_length->decoder, 768);
  EXPECT_FALSE(survey.code_llms[2].context_length.has_value());
  EXPECT_THAT(survey.corpora[0].scale.bytes, ElementsAre(6.4e12));
  EXPECT_THAT(survey.corpora[0].scale.items, ElementsAre(546e6));
  EXPECT_FALSE(survey.corpora[1].ref.has_value());
}

// A file with one text replaced, and what its error has to say.
struct Damage {
  std::string file;
  std::string from;
  std::string to;
  std::string error;
};

TEST(ReadSurvey, SaysWhatIsWrongAndWhere) {
  const std::vector<Damage> damages = {
      {"references", "\n3,C. Three", "\n4,C. Three",
       "references.csv:4: "
       "column 'ref': expected 3"},
      {"references", ",2019,", ",1066,", "references.csv:2: column 'year'"},
      {"references", "1901.00001", "190100001", "column 'arxiv_id'"},
      {"references", "1;2;4", "2;1", "pages do not rise"},
      {"references", "1;2;4", "1;1", "pages do not rise"},
      {"references", "1;2;4", "", "references.csv:2: column 'cited_on_pages'"},
      {"references", "first_author", "author", "first_author"},
      {"benchmarks", "Finds,2,", "Finds,6,",
       "benchmarks.csv:3: column 'ref': '6' is not a whole number from 1 to 5"},
      {"benchmarks", "7K;93", "7Q;93", "benchmarks.csv:2: column 'size_facts'"},
      {"benchmarks", "7K;93", "7K;", "benchmarks.csv:2: column 'size_facts'"},
      {"benchmarks", ">40", "many", "benchmarks.csv:7: column 'n_pls'"},
      {"benchmarks", "\n9,", "\n10,", "benchmarks.csv:8: column 'table'"},
      {"codeptms", ",no,", ",maybe,",
       "codeptms.csv:2: column "
       "'uses_structure': unknown value 'maybe'"},
      {"codeptms", "1.5B", "1.5.5B", "codeptms.csv:2: column 'size'"},
      {"codellms", "1536+768", "1536+", "codellms.csv:2: column 'context'"},
      {"codellms", "815GB", "815XB", "codellms.csv:3: column 'data_scale'"},
      {"sections", "End,4", "End,1", "sections.csv:5: column 'first_page'"},
      {"reading_lists", ",07\n", ",13\n",
       "reading_lists.csv:2: column "
       "'month'"},
      {"fig1_cumulative_publications", "25", "9", "publications.csv:3: "},
      {"fig5_humaneval_pass1", "20.50", "nan", "is not a percentage"},
      {"fig5_humaneval_pass1", "20.50", "120", "is not a percentage"},
      {"fig3_model_tree", "\nDecoder,beta\nDecoder,Delta", "", "no records"},
      {"fig2_milestones", ",2021\n", "\n", "fig2_milestones.csv:2: "},
  };
  ASSERT_TRUE(ReadFiles(SmallFiles()).ok());
  for (const Damage& damage : damages) {
    const std::string whole = SmallFiles()[damage.file];
    ASSERT_THAT(whole, HasSubstr(damage.from));
    const auto survey =
        ReadFiles({{damage.file,
                    absl::StrReplaceAll(whole, {{damage.from, damage.to}})}});
    ASSERT_FALSE(survey.ok()) << damage.file << ": " << damage.to;
    EXPECT_THAT(std::string(survey.status().message()),
                HasSubstr(damage.error));
    ASSERT_TRUE(ReadFiles({{damage.file, whole}}).ok());
  }
}

TEST(ReadSurvey, SaysWhichFileIsMissing) {
  const auto survey = ReadSurvey("/no/such/folder");
  EXPECT_TRUE(absl::IsNotFound(survey.status()));
  EXPECT_THAT(std::string(survey.status().message()),
              HasSubstr("/no/such/folder/references.csv"));
}

// Whatever the bytes: a survey or an error of one line, never a crash.
TEST(ReadSurvey, SurvivesDamage) {
  const auto plant = [](std::string* text, size_t at, const Below& below) {
    constexpr absl::string_view kSpecial("\n,;\"-/+.KMB>9", 13);
    (*text)[at] = kSpecial[below(kSpecial.size())];
  };
  std::mt19937_64 random(7);
  ASSERT_TRUE(ReadFiles(SmallFiles()).ok());
  int errors = 0;
  for (int i = 0; i < 300; ++i) {
    const std::string& name =
        SurveyFiles()[static_cast<size_t>(i) % SurveyFiles().size()];
    const std::string whole = SmallFiles()[name];
    const auto survey = ReadFiles(
        {{name, Mutate(whole,
                       {Mutation::kFlipBit, Mutation::kPlant, Mutation::kDrop,
                        Mutation::kRepeat, Mutation::kCut},
                       plant, &random)}});
    ASSERT_TRUE(ReadFiles({{name, whole}}).ok());
    if (survey.ok()) continue;
    ++errors;
    EXPECT_FALSE(absl::StrContains(survey.status().message(), '\n'));
    EXPECT_THAT(std::string(survey.status().message()), HasSubstr(".csv"));
  }
  EXPECT_GT(errors, 50);
  EXPECT_LT(errors, 300);
}

// ------------------------------------------------------------------- tables

TEST(SurveyTable, GivesTheFilesBack) {
  const Survey survey = Small();
  const auto files = SmallFiles();
  for (const std::string& name : SurveyFiles()) {
    const auto table = SurveyTable(survey, name);
    ASSERT_TRUE(table.ok()) << table.status();
    EXPECT_EQ(Render(*table, TableFormat::kCsv), files.at(name)) << name;
  }
  EXPECT_TRUE(absl::IsNotFound(SurveyTable(survey, "table11").status()));
}

TEST(Render, AlignsAndEscapes) {
  const TextTable table{"T", {"a", "bb"}, {{"Zü", "x|y"}, {"1234", ""}}};
  EXPECT_EQ(Render(table, TableFormat::kText),
            "T\na     bb\nZü    x|y\n1234\n");
  EXPECT_EQ(Render(table, TableFormat::kMarkdown),
            "| a | bb |\n| --- | --- |\n| Zü | x\\|y |\n| 1234 |  |\n");
  EXPECT_EQ(Render({"", {"a"}, {{"x\"y"}}}, TableFormat::kCsv),
            "a\n\"x\"\"y\"\n");
  EXPECT_TRUE(ParseTableFormat("markdown").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(ParseTableFormat("html").status()));
}

// The first cells of an answer.
std::vector<std::string> Answer(const std::string& query, size_t column) {
  const auto table = Query(Small(), query);
  EXPECT_TRUE(table.ok()) << table.status();
  std::vector<std::string> cells;
  if (!table.ok()) return cells;
  for (const auto& row : table->rows) cells.push_back(row[column]);
  return cells;
}

TEST(Query, FiltersAndSorts) {
  EXPECT_THAT(Answer("codellms where objective ~ fim", 1),
              ElementsAre("Beta", "Gamma"));
  EXPECT_THAT(Answer("codellms where context >= 1536 and public = NO", 1),
              ElementsAre("Alpha"));
  EXPECT_THAT(Answer("codellms where context < 99999", 1),
              ElementsAre("Alpha", "Beta"));  // Gamma has none
  EXPECT_THAT(Answer("table4 sort by context desc", 1),
              ElementsAre("Beta", "Alpha", "Gamma"));
  EXPECT_THAT(Answer("table4 sort by model desc", 1),
              ElementsAre("Gamma", "Beta", "Alpha"));
  EXPECT_THAT(Answer("references where title != Neural code search sort by "
                     "year desc",
                     0),
              ElementsAre("4", "1", "3"));
  EXPECT_THAT(Answer("codellms where sizes <= 1B", 1), ElementsAre("Alpha"));
}

TEST(Query, SaysWhatItDoesNotUnderstand) {
  const auto error = [](const std::string& query) {
    const auto table = Query(Small(), query);
    EXPECT_FALSE(table.ok()) << query;
    return std::string(table.status().message());
  };
  EXPECT_THAT(error(""), HasSubstr("no table ''"));
  EXPECT_THAT(error("models"), HasSubstr("codellms"));
  EXPECT_THAT(error("codellms where year = 3"), HasSubstr("no column 'year'"));
  EXPECT_THAT(error("codellms where context"), HasSubstr("'context'"));
  EXPECT_THAT(error("codellms where context is 3"), HasSubstr("operator"));
  EXPECT_THAT(error("codellms where context > long"),
              HasSubstr("is no quantity"));
  EXPECT_THAT(error("codellms sort by year"), HasSubstr("no column 'year'"));
}

TEST(RenderFigure, DrawsWhatThereIs) {
  const Survey survey = Small();
  const auto count = [](const std::string& text, const std::string& part) {
    size_t times = 0;
    for (size_t at = text.find(part); at != std::string::npos;
         at = text.find(part, at + 1)) {
      ++times;
    }
    return times;
  };
  EXPECT_EQ(count(*RenderFigure(survey, 1), "<circle"), 2);
  EXPECT_THAT(*RenderFigure(survey, 2), HasSubstr(">Alpha<"));
  EXPECT_EQ(count(*RenderFigure(survey, 3), "<text"), 3);
  // Four pixels a percent.
  EXPECT_THAT(*RenderFigure(survey, 5), HasSubstr("width=\"82\" height"));
  EXPECT_TRUE(absl::IsNotFound(RenderFigure(survey, 4).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(RenderFigure(Survey(), 1).status()));
}

// ---------------------------------------------------------------- citations

TEST(CitationGraph, CountsPairsAndPages) {
  const CitationGraph graph(Small());
  EXPECT_EQ(graph.num_pairs(), 9);
  EXPECT_THAT(
      graph.references_on(),
      ElementsAre(Pair(1, ElementsAre(1)), Pair(2, ElementsAre(1, 2)),
                  Pair(3, ElementsAre(3, 4)), Pair(4, ElementsAre(1, 2, 4)),
                  Pair(5, ElementsAre(5))));
  EXPECT_EQ(*graph.Degree(1), 3);
  EXPECT_EQ(*graph.CoCitations(1, 2), 2);
  EXPECT_EQ(*graph.CoCitations(1, 5), 0);
  // 1-2 (twice), 3-4, 1-4, 2-4.
  EXPECT_EQ(graph.NumCoCitedPairs(), 4);
  EXPECT_THAT(graph.MostCited(3),
              ElementsAre(Pair(1, 3), Pair(2, 2), Pair(4, 2)));
  EXPECT_THAT(graph.MostCited(-1), IsEmpty());
  EXPECT_EQ(graph.MostCited(99).size(), 5);
  EXPECT_TRUE(absl::IsOutOfRange(graph.Degree(0).status()));
  EXPECT_TRUE(absl::IsOutOfRange(graph.CoCitations(1, 6).status()));
}

TEST(CitationGraph, GivesAPageToTheLastSectionThatStarts) {
  const CitationGraph graph(Small());
  EXPECT_EQ(graph.SectionOfPage(0), "");
  EXPECT_EQ(graph.SectionOfPage(1), "1");
  EXPECT_EQ(graph.SectionOfPage(2), "2.1");
  EXPECT_EQ(graph.SectionOfPage(3), "2.1");
  EXPECT_EQ(graph.SectionOfPage(9), "3");
  EXPECT_THAT(graph.ReferencesBySection(),
              ElementsAre(Pair("1", ElementsAre(1)),
                          Pair("2.1", ElementsAre(1, 2, 3, 4)),
                          Pair("3", ElementsAre(1, 2, 4, 5))));
}

// -------------------------------------------------------------- consistency

TEST(CompareTables, TellsRoundingFromConflicts) {
  const auto differences = CompareTables(Small());
  ASSERT_TRUE(differences.ok()) << differences.status();
  ASSERT_EQ(differences->size(), 4);
  EXPECT_EQ((*differences)[0].full, "6971;93");
  EXPECT_FALSE((*differences)[0].conflict);
  EXPECT_EQ((*differences)[1].column, "n_pls");
  EXPECT_TRUE((*differences)[1].conflict);  // 1 and 6 languages
  EXPECT_EQ((*differences)[2].overview, "over 1M");
  EXPECT_TRUE((*differences)[2].conflict);
  EXPECT_EQ((*differences)[3].full, "over 10");
  EXPECT_FALSE((*differences)[3].conflict);
}

TEST(Consistency, FindsWhatIsMissing) {
  Survey survey = Small();
  EXPECT_THAT(MissingFromFullTables(survey), IsEmpty());
  EXPECT_THAT(SeveralReferences(survey), IsEmpty());
  survey.benchmarks[3].refs = {5};
  EXPECT_THAT(MissingFromFullTables(survey), ElementsAre("Fixes"));
  EXPECT_THAT(SeveralReferences(survey), ElementsAre("Fixes"));
  EXPECT_THAT(TreeModelsNotInTables(survey), ElementsAre("delta"));
  EXPECT_THAT(TableModelsNotInTree(survey),
              ElementsAre("alpha", "codebert", "gamma"));
  EXPECT_THAT(*BarsNotInTable4(survey), ElementsAre("Beta 7B mono"));
  EXPECT_THAT(TitlesOfSeveralReferences(survey),
              ElementsAre("neuralcodesearch"));
  EXPECT_THAT(*ReadingItemsOfAnotherMonth(survey), ElementsAre("Two"));
}

// ----------------------------------------------------------- the real survey

// Answers that were found by hand in the paper's tables.
TEST(TheSurvey, AnswersByHand) {
  const std::string file =
      FindTestAsset("survey_code_intelligence/references.csv");
  if (file.empty()) GTEST_SKIP() << "no survey in REPRO_ASSETS";
  const auto survey = ReadSurvey(file.substr(0, file.rfind('/')));
  ASSERT_TRUE(survey.ok()) << survey.status();
  const auto models = [&](const std::string& query) {
    std::vector<std::string> names;
    const auto table = Query(*survey, query);
    EXPECT_TRUE(table.ok()) << table.status();
    for (const auto& row : table->rows) names.push_back(row[1]);
    return names;
  };
  EXPECT_THAT(models("codellms where objective ~ FIM"),
              ElementsAre("InCoder", "SantaCoder", "StarCoder", "CodeLLaMA",
                          "DeepSeekCoder", "Stable Code", "DeciCoder",
                          "StarCoder2", "CodeGemma"));
  EXPECT_THAT(models("codellms where public = no"),
              ElementsAre("AlphaCode", "Codex", "PaLM-Coder", "PanGu-Coder"));
  EXPECT_THAT(models("codellms where context = 16384"),
              ElementsAre("DeepSeekCoder", "Stable Code", "StarCoder2"));
  EXPECT_THAT(
      models("codeptms where uses_structure = yes"),
      ElementsAre("GraphCodeBERT", "SynCoBERT", "CODE-MVP", "SCodeR", "DISCO",
                  "CodeT5", "UniXcoder", "NatGen", "TreeBERT"));
  const CitationGraph graph(*survey);
  EXPECT_THAT(graph.MostCited(2), ElementsAre(Pair(36, 8), Pair(114, 8)));
  std::vector<std::string> conflicts;
  const auto differences = CompareTables(*survey);
  ASSERT_TRUE(differences.ok()) << differences.status();
  for (const Difference& difference : *differences) {
    if (difference.conflict) conflicts.push_back(difference.dataset);
  }
  EXPECT_THAT(conflicts,
              testing::UnorderedElementsAre("POJ-104", "DiverseVul", "CODE-NN",
                                            "TL-CodeSum", "CONCODE"));
}

}  // namespace
}  // namespace repro::survey_code_intelligence
