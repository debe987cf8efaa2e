#include "papers/code_search_net/pairs.h"

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/code/functions.h"
#include "common/code/syntax_tree.h"
#include "common/code/tokens.h"
#include "common/data/code_corpus.h"
#include "common/data/io.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"
#include "papers/code_search_net/words.h"

namespace repro::code_search_net {
namespace {

using nlohmann::json;

absl::Status LineError(const std::string& path, int64_t line,
                       const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ":", line, ": ", what));
}

absl::StatusOr<std::vector<std::string>> Texts(const JsonLine& line,
                                               const std::string& path,
                                               const char* field) {
  const json& value = line.value.at(field);
  std::vector<std::string> texts;
  if (!value.is_array()) {
    return LineError(path, line.line, absl::StrCat(field, " is not a list"));
  }
  for (const json& text : value) {
    if (!text.is_string()) {
      return LineError(path, line.line,
                       absl::StrCat(field, " holds something but strings"));
    }
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

// The first function of the text that is not nested.
absl::StatusOr<Pair> ParsePython(const std::string& source) {
  Pair pair;
  REPRO_ASSIGN_OR_RETURN(
      const code::SyntaxTree tree,
      code::SyntaxTree::Parse(code::CodeLanguage::kPython, source));
  const std::vector<code::Function> functions = code::ExtractFunctions(tree);
  if (functions.empty()) return pair;
  pair.documentation =
      DocumentationTokens(CodeSearchNetSummary(functions[0].documentation));
  REPRO_ASSIGN_OR_RETURN(
      const code::SyntaxTree bare,
      code::SyntaxTree::Parse(code::CodeLanguage::kPython,
                              functions[0].code_without_documentation));
  for (const code::CodeToken& token : code::Tokens(bare)) {
    pair.code.emplace_back(token.text);
  }
  return pair;
}

}  // namespace

absl::StatusOr<std::vector<Pair>> ReadPairs(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::vector<Pair> pairs;
  for (const JsonLine& line : lines) {
    const auto has = [&](const char* a, const char* b) {
      return line.value.is_object() && line.value.contains(a) &&
             line.value.contains(b);
    };
    const bool corpus = has("docstring_tokens", "code_tokens");
    if (!corpus && !has("nl", "pl")) {
      return LineError(path, line.line,
                       "neither docstring_tokens and code_tokens nor nl and "
                       "pl");
    }
    Pair pair;
    REPRO_ASSIGN_OR_RETURN(
        pair.documentation,
        Texts(line, path, corpus ? "docstring_tokens" : "nl"));
    REPRO_ASSIGN_OR_RETURN(pair.code,
                           Texts(line, path, corpus ? "code_tokens" : "pl"));
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

std::vector<Pair> DistinctDocumentation(const std::vector<Pair>& pairs) {
  std::vector<Pair> distinct;
  std::set<std::vector<std::string>> seen;
  for (const Pair& pair : pairs) {
    if (seen.insert(pair.documentation).second) distinct.push_back(pair);
  }
  return distinct;
}

absl::StatusOr<Cosqa> ReadCosqa(const std::string& codebase_path,
                                const std::vector<std::string>& query_paths) {
  Cosqa cosqa;
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines,
                         ReadJsonl(codebase_path));
  for (const JsonLine& line : lines) {
    if (!line.value.is_string()) {
      return LineError(codebase_path, line.line, "is not a JSON string");
    }
    REPRO_ASSIGN_OR_RETURN(Pair pair,
                           ParsePython(line.value.get<std::string>()));
    cosqa.functions.push_back(std::move(pair));
  }
  for (const std::string& path : query_paths) {
    REPRO_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
    LineReader reader(content);
    absl::string_view line;
    while (reader.Next(&line)) {
      const std::vector<absl::string_view> fields = absl::StrSplit(line, '\t');
      if (fields.size() != 3) {
        return LineError(path, reader.line_number(),
                         absl::StrCat(fields.size(), " fields, expected 3"));
      }
      if (reader.line_number() == 1) {
        if (fields[1] != "query" || fields[2] != "retrieval_idx") {
          return LineError(path, 1, "expected idx, query, retrieval_idx");
        }
        continue;
      }
      CosqaQuery query;
      query.text = std::string(fields[1]);
      if (!absl::SimpleAtoi(fields[2], &query.function) || query.function < 0 ||
          query.function >= static_cast<int64_t>(cosqa.functions.size())) {
        return LineError(path, reader.line_number(),
                         absl::StrCat("no function ", Quoted(fields[2])));
      }
      cosqa.queries.push_back(std::move(query));
    }
  }
  return cosqa;
}

retrieval::Bm25Options LuceneOptions() {
  retrieval::Bm25Options options;
  options.variant = retrieval::Bm25Variant::kLuceneAccurate;
  options.k1 = 1.2;
  options.b = 0.75;
  return options;
}

absl::StatusOr<std::vector<double>> Bm25ReciprocalRanks(
    const std::vector<Pair>& pairs, const retrieval::Bm25Options& options) {
  std::vector<std::vector<std::string>> documents, queries;
  for (const Pair& pair : pairs) {
    documents.push_back(Words(pair.code, /*digits=*/true));
    queries.push_back(Words(pair.documentation, /*digits=*/true));
  }
  REPRO_ASSIGN_OR_RETURN(const retrieval::Bm25Index index,
                         retrieval::Bm25Index::Build(documents, options));
  std::vector<double> ranks;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const std::vector<double> scores = index.Scores(queries[i]);
    int64_t rank = 1;
    for (size_t j = 0; j < scores.size(); ++j) {
      rank += scores[j] > scores[i] || (scores[j] == scores[i] && j < i);
    }
    ranks.push_back(1 / static_cast<double>(rank));
  }
  return ranks;
}

}  // namespace repro::code_search_net
