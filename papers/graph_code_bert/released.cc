#include "papers/graph_code_bert/released.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/code/code_bleu.h"
#include "common/code/data_flow.h"
#include "common/code/syntax_tree.h"
#include "common/code/tokens.h"
#include "common/data/io.h"
#include "common/metrics/bleu.h"
#include "common/metrics/generation.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::graph_code_bert {
namespace {

std::vector<std::vector<std::string>> OneReferenceEach(
    const std::vector<std::string>& references) {
  std::vector<std::vector<std::string>> result;
  result.reserve(references.size());
  for (const std::string& reference : references) result.push_back({reference});
  return result;
}

}  // namespace

absl::StatusOr<Columns> ReadColumns(const std::string& path,
                                    const std::vector<std::string>& required) {
  REPRO_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  return ParseColumns(content, path, required);
}

absl::StatusOr<Columns> ParseColumns(absl::string_view content,
                                     const std::string& name,
                                     const std::vector<std::string>& required) {
  LineReader reader(content);
  absl::string_view line;
  if (!reader.Next(&line)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": empty; expected a line with the columns' names"));
  }
  const std::vector<std::string> header = absl::StrSplit(line, '\t');
  Columns columns;
  for (const std::string& column : header) {
    if (!columns.emplace(column, std::vector<std::string>()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":1: column ", Quoted(column), " is named twice"));
    }
  }
  for (const std::string& column : required) {
    if (columns.count(column) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":1: no column ", Quoted(column), "; there are ",
                       absl::StrJoin(header, ", ")));
    }
  }
  bool any = false;
  while (reader.Next(&line)) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, '\t');
    if (fields.size() != header.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":", reader.line_number(), ": ", fields.size(),
                       " fields, and ", header.size(), " columns"));
    }
    for (size_t i = 0; i < fields.size(); ++i) {
      columns[header[i]].emplace_back(fields[i]);
    }
    any = true;
  }
  if (!any) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": no line below the columns' names"));
  }
  return columns;
}

absl::StatusOr<GenerationScore> ScoreGeneration(
    const std::vector<std::string>& references,
    const std::vector<std::string>& hypotheses) {
  std::vector<std::vector<metrics::Tokens>> reference_tokens;
  std::vector<metrics::Tokens> hypothesis_tokens;
  std::vector<std::string> stripped_references, stripped_hypotheses;
  for (const std::string& text : references) {
    reference_tokens.push_back({metrics::SplitWhitespace(text)});
    stripped_references.push_back(metrics::Strip(text));
  }
  for (const std::string& text : hypotheses) {
    hypothesis_tokens.push_back(metrics::SplitWhitespace(text));
    stripped_hypotheses.push_back(metrics::Strip(text));
  }
  REPRO_ASSIGN_OR_RETURN(
      const metrics::BleuScore bleu,
      metrics::CorpusBleu(reference_tokens, hypothesis_tokens,
                          metrics::BleuSmoothing::kAddOne,
                          metrics::ReferenceLength::kShortest));
  REPRO_ASSIGN_OR_RETURN(
      const double exact_match,
      metrics::ExactMatch(stripped_references, stripped_hypotheses));
  return GenerationScore{100 * bleu.bleu, 100 * exact_match};
}

absl::StatusOr<CodeBleuParts> ScoreCodeBleu(
    code::CodeLanguage language, const std::vector<std::string>& references,
    const std::vector<std::string>& hypotheses,
    const metrics::Keywords& keywords) {
  REPRO_ASSIGN_OR_RETURN(
      const code::CodeBleuScore score,
      code::EvaluateCodeBleu(language, OneReferenceEach(references), hypotheses,
                             keywords));
  return CodeBleuParts{100 * score.ngram, 100 * score.weighted_ngram,
                       100 * score.syntax.score, 100 * score.data_flow.score,
                       100 * score.code_bleu};
}

absl::StatusOr<DataFlowSizes> MeanDataFlowSizes(
    code::CodeLanguage language, const std::vector<std::string>& sources) {
  if (sources.empty() || !code::HasDataFlow(language)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data flow of ", sources.size(), " sources in ",
        code::LanguageName(language), ": expected sources in a language of ",
        "the paper, or C#"));
  }
  DataFlowSizes sums;
  for (const std::string& source : sources) {
    const auto graph = code::DataFlow(language, source);
    if (graph.ok()) {
      sums.tokens += static_cast<double>(graph->tokens.size());
      sums.nodes += static_cast<double>(graph->edges.size());
      for (const code::DataFlowEdge& node : graph->edges) {
        sums.edges += static_cast<double>(node.source_indexes.size());
      }
    } else if (absl::IsResourceExhausted(graph.status())) {
      REPRO_ASSIGN_OR_RETURN(
          const code::SyntaxTree tree,
          code::SyntaxTree::Parse(
              language, code::RemoveCommentsLexically(language, source)));
      sums.tokens += static_cast<double>(code::Tokens(tree).size());
    } else {
      return graph.status();
    }
  }
  const auto count = static_cast<double>(sources.size());
  return DataFlowSizes{sums.tokens / count, sums.nodes / count,
                       sums.edges / count};
}

}  // namespace repro::graph_code_bert
