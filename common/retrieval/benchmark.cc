// CPU seconds to build a BM25 index and to search it, on one thread, as JSON.
// peers.py runs it beside other programs.
//
//   bazel-bin/common/retrieval/benchmark documents.txt queries.txt
//       okapi_rank_bm25 100 5 rankings.txt
//
// A line of a file is a text, its terms separated by one space. Not timed:
// reading the files. Build: from terms in memory to an index that answers.
// Search: all queries, one after the other, from terms to the best k documents;
// the median of the passes. rankings.txt gets a line a query: id and score of
// each.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/data/io.h"
#include "common/retrieval/bm25.h"
#include "common/status/macros.h"

namespace repro::retrieval {
namespace {

using Texts = std::vector<std::vector<std::string>>;

absl::StatusOr<Texts> ReadTexts(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  Texts texts;
  LineReader reader(content);
  absl::string_view line;
  while (reader.Next(&line)) {
    texts.push_back(absl::StrSplit(line, ' ', absl::SkipEmpty()));
  }
  return texts;
}

// Of this process, so that other work on the machine counts less.
double CpuSeconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

absl::Status Run(const std::vector<std::string>& args) {
  int64_t k = 0, passes = 0;
  if (args.size() != 6 || !absl::SimpleAtoi(args[3], &k) ||
      !absl::SimpleAtoi(args[4], &passes) || k < 1 || passes < 1) {
    return absl::InvalidArgumentError(
        "usage: benchmark DOCUMENTS QUERIES VARIANT K PASSES RANKINGS");
  }
  REPRO_ASSIGN_OR_RETURN(const Texts documents, ReadTexts(args[0]));
  REPRO_ASSIGN_OR_RETURN(const Texts queries, ReadTexts(args[1]));
  Bm25Options options;
  REPRO_ASSIGN_OR_RETURN(options.variant, ParseBm25VariantName(args[2]));

  const double build_begin = CpuSeconds();
  REPRO_ASSIGN_OR_RETURN(const Bm25Index index,
                         Bm25Index::Build(documents, options));
  const double build_seconds = CpuSeconds() - build_begin;

  std::vector<std::vector<ScoredDocument>> rankings(queries.size());
  std::vector<double> search_seconds;
  for (int64_t pass = 0; pass < passes; ++pass) {
    const double begin = CpuSeconds();
    for (size_t i = 0; i < queries.size(); ++i) {
      rankings[i] = index.Search(queries[i], k);
    }
    search_seconds.push_back(CpuSeconds() - begin);
  }
  std::nth_element(search_seconds.begin(), search_seconds.begin() + passes / 2,
                   search_seconds.end());

  std::string lines;
  for (const std::vector<ScoredDocument>& ranking : rankings) {
    for (const ScoredDocument& d : ranking) {
      absl::StrAppendFormat(&lines, "%d %.17g ", d.id, d.score);
    }
    lines += '\n';
  }
  REPRO_RETURN_IF_ERROR(WriteFileAtomically(args[5], lines));
  absl::PrintF("{\"build\": %.6f, \"search\": %.6f}\n", build_seconds,
               search_seconds[passes / 2]);
  return absl::OkStatus();
}

}  // namespace
}  // namespace repro::retrieval

int main(int argc, char** argv) {
  const absl::Status status =
      repro::retrieval::Run(std::vector<std::string>(argv + 1, argv + argc));
  if (!status.ok()) std::cerr << "benchmark: " << status.message() << "\n";
  return status.ok() ? 0 : 2;
}
