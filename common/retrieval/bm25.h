#ifndef REPRO_COMMON_RETRIEVAL_BM25_H_
#define REPRO_COMMON_RETRIEVAL_BM25_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/retrieval/inverted_index.h"
#include "common/retrieval/scored_document.h"

namespace repro::retrieval {

// score(q, d) = sum over the terms t of the query, as often as they stand in
// it, of idf(t) * weight(t, d), with N documents, df(t) of them with t, tf the
// occurrences of t in d, and the normalised length
// B = 1 - b + b * length(d) / average length. Logarithms are natural.
enum class Bm25Variant {
  // BM25Okapi of the Python package rank_bm25:
  //   idf = log(N - df + 0.5) - log(df + 0.5), and where that is negative,
  //   epsilon times the mean idf of all terms (itself negative if most are);
  //   weight = tf (k1 + 1) / (tf + k1 B).
  kOkapiRankBm25,
  // BM25L of rank_bm25 0.2.2: idf = log(N + 1) - log(df + 0.5);
  //   weight = tf (k1 + 1) (tf / B + delta) / (k1 + tf / B + delta),
  //   whose factor tf is not in the paper's formula (kBm25L).
  kRankBm25L,
  // BM25Plus of rank_bm25: idf = log((N + 1) / df);
  //   weight = delta + tf (k1 + 1) / (tf + k1 B), also for tf = 0.
  kRankBm25Plus,
  // Robertson and Walker 1994: idf = log((N - df + 0.5) / (df + 0.5)), negative
  // for a term in more than half of the documents; weight of kOkapiRankBm25
  // without the factor k1 + 1.
  kRobertson,
  // Lucene 8 and later: idf = log(1 + (N - df + 0.5) / (df + 0.5));
  //   weight = tf / (tf + k1 B) with the length rounded down to one of the 256
  //   values that Lucene stores (SmallFloat.intToByte4). Lucene adds float32.
  kLucene,
  // The same with the length itself: "Lucene (accurate)" of Kamphuis et al.
  // 2020, "lucene" of the package bm25s.
  kLuceneAccurate,
  // ATIRE (Trotman et al. 2012): idf = log(N / df);
  //   weight = tf (k1 + 1) / (tf + k1 B).
  kAtire,
  // BM25L of Lv and Zhai 2011: idf = log((N + 1) / (df + 0.5));
  //   weight = (k1 + 1) (tf / B + delta) / (k1 + tf / B + delta) for tf > 0.
  kBm25L,
  // BM25+ of Lv and Zhai 2011: kRankBm25Plus with weight 0 for tf = 0.
  kBm25Plus,
};

// "okapi_rank_bm25", "rank_bm25_l", "rank_bm25_plus", "robertson", "lucene",
// "lucene_accurate", "atire", "bm25_l", "bm25_plus".
absl::StatusOr<Bm25Variant> ParseBm25VariantName(absl::string_view name);
const char* Bm25VariantName(Bm25Variant variant);

// The defaults are rank_bm25's; Lucene's are k1 = 1.2, b = 0.75; Anserini's
// k1 = 0.9, b = 0.4.
struct Bm25Options {
  Bm25Variant variant = Bm25Variant::kOkapiRankBm25;
  double k1 = 1.5;        // in [0, 1e9]
  double b = 0.75;        // in [0, 1]
  double epsilon = 0.25;  // of kOkapiRankBm25, in [-1e9, 1e9]
  // Of the L and Plus variants, in [0, 1e9]. Unset: 0.5 for L and 1 for Plus.
  std::optional<double> delta;
};

// Ranks documents by BM25. Documents and queries are lists of terms
// (analyzer.h). Scores are sums in float64 in one order for all documents: from
// the term with the largest possible contribution to that with the smallest.
//
//   REPRO_ASSIGN_OR_RETURN(const Bm25Index index,
//                          Bm25Index::Build(documents, Bm25Options()));
//   for (const ScoredDocument& d : index.Search({"parse", "json"}, 10)) ...
//
// Const methods may run on several threads at once.
class Bm25Index {
 public:
  // InvalidArgument: an option outside its range, no documents. Documents may
  // be empty.
  static absl::StatusOr<Bm25Index> Build(
      const std::vector<std::vector<std::string>>& documents,
      const Bm25Options& options);

  // Over an index that was built with InvertedIndexBuilder or loaded.
  static absl::StatusOr<Bm25Index> Create(
      std::shared_ptr<const InvertedIndex> index, const Bm25Options& options);

  // The same documents under other options; shares the postings.
  absl::StatusOr<Bm25Index> WithOptions(const Bm25Options& options) const;

  // The first min(k, size()) documents in RanksBefore's order: also those that
  // hold no term of the query, which score 0 (kRankBm25Plus: the sum of delta
  // idf). k < 1 gives none. Terms that no document holds are ignored.
  std::vector<ScoredDocument> Search(absl::Span<const std::string> query,
                                     int64_t k) const;

  // The score of every document, by id.
  std::vector<double> Scores(absl::Span<const std::string> query) const;

  // The scores of some documents, which may repeat: a batch of distractors.
  // InvalidArgument: an id that is not in [0, size()).
  absl::StatusOr<std::vector<double>> ScoresOf(
      absl::Span<const std::string> query,
      absl::Span<const int64_t> documents) const;

  // The idf of a term, 0 if no document holds it.
  double Idf(absl::string_view term) const;

  int64_t size() const { return index_->num_documents(); }
  const Bm25Options& options() const { return options_; }
  const InvertedIndex& inverted_index() const { return *index_; }

  // Writes index and options; see InvertedIndex about the file.
  absl::Status Save(const std::string& path) const;

  // Maps the file. `corpus_digest` (CorpusDigest of the documents) makes it
  // refuse the index of another corpus with FailedPrecondition. Other errors,
  // which name the path: NotFound, DataLoss (truncated, damaged),
  // InvalidArgument (another kind of file or version).
  static absl::StatusOr<Bm25Index> Load(
      const std::string& path,
      std::optional<uint64_t> corpus_digest = std::nullopt);

 private:
  struct QueryTerm;

  Bm25Index(std::shared_ptr<const InvertedIndex> index,
            const Bm25Options& options)
      : index_(std::move(index)), options_(options) {}

  absl::Status ComputeWeights();
  // The terms that contribute, in the order of summation; adds to *base what a
  // document without any of them scores.
  std::vector<QueryTerm> QueryTerms(absl::Span<const std::string> query,
                                    double* base) const;
  template <typename Code>
  std::vector<ScoredDocument> SearchCodes(absl::Span<const QueryTerm> terms,
                                          double base, int64_t k) const;
  template <typename Code>
  void AddScores(const QueryTerm& term, std::vector<double>* scores) const;

  std::shared_ptr<const InvertedIndex> index_;
  Bm25Options options_;
  std::vector<double> idf_;       // [num_terms]
  double weight_of_absence_ = 0;  // weight(t, d) for tf = 0
  // [num_codes]: weight(t, d) less weight_of_absence_ of each pair of tf and
  // length.
  std::vector<double> weights_;
  std::vector<double> max_weights_;  // [num_terms] of its postings
};

}  // namespace repro::retrieval

#endif  // REPRO_COMMON_RETRIEVAL_BM25_H_
