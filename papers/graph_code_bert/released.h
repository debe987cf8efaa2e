// The released outputs of the generation tasks and their scores.
#ifndef REPRO_PAPERS_GRAPH_CODE_BERT_RELEASED_H_
#define REPRO_PAPERS_GRAPH_CODE_BERT_RELEASED_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"
#include "common/metrics/code_bleu.h"

namespace repro::graph_code_bert {

// Columns by their name, all equally long and not empty.
using Columns = std::map<std::string, std::vector<std::string>>;

// Tab-separated text, plain or gzip, whose first line names the columns; no
// quotes. Errors: those of ReadFile, and InvalidArgument "path:line: ..." for a
// repeated name, a line with another number of fields, or no line at all; and
// where one of `required` is not a column.
absl::StatusOr<Columns> ReadColumns(const std::string& path,
                                    const std::vector<std::string>& required);
absl::StatusOr<Columns> ParseColumns(absl::string_view content,
                                     const std::string& name,
                                     const std::vector<std::string>& required);

// In percent.
struct GenerationScore {
  double bleu = 0;
  double exact_match = 0;
};

// BLEU of the corpus over white-space tokens with one added to matches and
// totals of every order, and the share of lines equal to their reference but
// for white space at the ends. InvalidArgument: none, or unequally many.
absl::StatusOr<GenerationScore> ScoreGeneration(
    const std::vector<std::string>& references,
    const std::vector<std::string>& hypotheses);

// In percent.
struct CodeBleuParts {
  double ngram = 0;
  double weighted_ngram = 0;
  double syntax = 0;
  double data_flow = 0;
  double code_bleu = 0;
};

absl::StatusOr<CodeBleuParts> ScoreCodeBleu(
    code::CodeLanguage language, const std::vector<std::string>& references,
    const std::vector<std::string>& hypotheses,
    const metrics::Keywords& keywords);

// Of a set of functions, each parsed by itself.
struct DataFlowSizes {
  double tokens = 0;
  double nodes = 0;
  double edges = 0;
};

// Means over `sources`. A source whose graph would take too long counts with
// its tokens and an empty graph, as one that the reference code fails on.
// InvalidArgument: no sources, or a language without data flow.
absl::StatusOr<DataFlowSizes> MeanDataFlowSizes(
    code::CodeLanguage language, const std::vector<std::string>& sources);

}  // namespace repro::graph_code_bert

#endif  // REPRO_PAPERS_GRAPH_CODE_BERT_RELEASED_H_
