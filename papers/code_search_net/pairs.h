#ifndef REPRO_PAPERS_CODE_SEARCH_NET_PAIRS_H_
#define REPRO_PAPERS_CODE_SEARCH_NET_PAIRS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/retrieval/bm25.h"

namespace repro::code_search_net {

// A function's documentation and code as tokens.
struct Pair {
  std::vector<std::string> documentation;
  std::vector<std::string> code;
};

// The pairs of a JSON Lines file, plain or gzip: of the corpus
// ("docstring_tokens" and "code_tokens"; `repro corpus code` writes such) or of
// CodeXGLUE's cloze test ("nl" and "pl"). InvalidArgument "file:line: ..." for
// a line that has neither, or where they are not lists of strings.
absl::StatusOr<std::vector<Pair>> ReadPairs(const std::string& path);

// The first of those pairs that have the same documentation.
std::vector<Pair> DistinctDocumentation(const std::vector<Pair>& pairs);

// CoSQA's functions and the web queries that some answer.
struct CosqaQuery {
  std::string text;
  int64_t function;  // its index
};
struct Cosqa {
  // documentation: of the docstring's first paragraph; code: without the
  // docstring. Either is empty where there is none or the function does not
  // parse.
  std::vector<Pair> functions;
  std::vector<CosqaQuery> queries;
};
// `codebase_path`: JSON Lines of strings; `query_paths`: tables with columns
// idx, query, retrieval_idx separated by tabs. InvalidArgument "file:line: ..."
// for malformed lines and functions that are not there.
absl::StatusOr<Cosqa> ReadCosqa(const std::string& codebase_path,
                                const std::vector<std::string>& query_paths);

// The reciprocal rank of each pair's function among the functions of all pairs
// by BM25 for its documentation, equal scores in the order of the pairs
// (retrieval::RanksBefore). Terms are Words(tokens, true). InvalidArgument: no
// pairs; options.
absl::StatusOr<std::vector<double>> Bm25ReciprocalRanks(
    const std::vector<Pair>& pairs, const retrieval::Bm25Options& options);

// Lucene's formula and defaults, with the documents' own lengths.
retrieval::Bm25Options LuceneOptions();

}  // namespace repro::code_search_net

#endif  // REPRO_PAPERS_CODE_SEARCH_NET_PAIRS_H_
