// The CodeSearchNet Challenge (Husain et al. 2019, arXiv 1909.09436, section
// 3): annotations, predictions, and NDCG as the authors' relevanceeval.py has
// it.
//
//   REPRO_ASSIGN_OR_RETURN(const auto annotations, ReadAnnotations(path));
//   const Judgements judgements = Group(annotations);
//   REPRO_ASSIGN_OR_RETURN(const auto predictions, ReadPredictions(csv_path));
//   REPRO_ASSIGN_OR_RETURN(
//       const ChallengeScores all,
//       Evaluate(judgements, predictions, metrics::Unjudged::kGainZero));
#ifndef REPRO_PAPERS_CODE_SEARCH_NET_CHALLENGE_H_
#define REPRO_PAPERS_CODE_SEARCH_NET_CHALLENGE_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/metrics/ranking.h"

namespace repro::code_search_net {

// In the order of the paper's tables, as Annotation::language spells them.
inline constexpr std::array<const char*, 6> kLanguages = {
    "go", "java", "javascript", "php", "python", "ruby"};

struct Annotation {
  std::string language;  // one of kLanguages
  std::string query;     // in lower case
  std::string url;       // of the function: file at a commit, "#L70-L85"
  int64_t relevance;     // 0, irrelevant, to 3, an exact match
};

// The rows of an annotationStore.csv, plain or gzip, in the file's order.
// InvalidArgument "file:line: ..." for another language, an empty query or URL,
// or a relevance outside 0..3; errors of CsvTable.
absl::StatusOr<std::vector<Annotation>> ReadAnnotations(
    const std::string& path);

// A function as a candidate for one query, with what its annotators gave it.
struct Judged {
  std::string url;
  std::vector<int64_t> grades;  // one or more, in the file's order

  double relevance() const;  // their mean
};

// Language, then query, to the functions annotated, in the file's order.
using Judgements =
    std::map<std::string, std::map<std::string, std::vector<Judged>>>;
Judgements Group(const std::vector<Annotation>& annotations);

// Cohen's squared kappa of the first two annotators of every function that has
// several. InvalidArgument if there are none, or all gave one grade.
absl::StatusOr<double> AnnotatorKappa(const Judgements& judgements);

// Language, then query, to URLs, best first.
using Predictions =
    std::map<std::string, std::map<std::string, std::vector<std::string>>>;

inline constexpr int64_t kMaxPredictions = 300;

// A csv with columns language, query and url (others are ignored), whose rows
// are in the order of rank for each language and query; names are taken in
// lower case, and what follows the first 300 of a query and language is
// dropped. Errors as of ReadAnnotations.
absl::StatusOr<Predictions> ReadPredictions(const std::string& path);

struct ChallengeScores {
  std::map<std::string, double> by_language;
  double mean = 0;  // of the languages
};

// NDCG with gains 2^r - 1, r the mean relevance. The ideal runs over all
// functions annotated for language and query. Queries for which none is
// relevant are left out; those without predictions score 0, and so does a
// language without predictions. kSkip is the paper's "Within", kGainZero its
// "All". InvalidArgument: a URL twice for one query and language (the authors'
// script counts its gain twice, which can exceed 1), no relevant function in a
// language.
absl::StatusOr<ChallengeScores> Evaluate(const Judgements& judgements,
                                         const Predictions& predictions,
                                         metrics::Unjudged unjudged);

// Orders of exactly the annotated functions, for which Within and All agree.
enum class PoolOrder {
  kFile,   // as annotated
  kWorst,  // rising relevance
  // Falling number of the query's distinct words that stand in the function's
  // path below the repository; equals by URL. Words are Words(text, false).
  kPathOverlap,
};
Predictions PoolPredictions(const Judgements& judgements, PoolOrder order);

// The expectation of Evaluate() over uniformly random orders of the annotated
// functions: every rank gains the mean gain.
absl::StatusOr<ChallengeScores> RandomPoolScores(const Judgements& judgements);

// "https://github.com/o/r/blob/<commit>/src/a.go#L1-L2" gives "src/a.go".
// Another URL is returned without what follows "#".
std::string PathOfUrl(absl::string_view url);

// The expected reciprocal rank of one item among n in a random order: H_n / n.
double ChanceReciprocalRank(int64_t n);

}  // namespace repro::code_search_net

#endif  // REPRO_PAPERS_CODE_SEARCH_NET_CHALLENGE_H_
