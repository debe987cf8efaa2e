#ifndef REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_RELATED_WORK_H_
#define REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_RELATED_WORK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/retrieval/analyzer.h"
#include "common/retrieval/bm25.h"
#include "papers/survey_code_intelligence/survey.h"

namespace repro::survey_code_intelligence {

struct RelatedReference {
  int number = 0;
  double score = 0;
};

// Finds references by the words of their titles: Lucene's English analyzer and
// BM25. One index serves one thread.
class TitleIndex {
 public:
  // titles[i] is that of reference i + 1 and may be empty. InvalidArgument: no
  // titles.
  static absl::StatusOr<TitleIndex> Build(std::vector<std::string> titles);

  // At most k references that share a word with the text, by falling score.
  std::vector<RelatedReference> Search(absl::string_view text, int64_t k) const;
  // The same for a reference's title, without itself. OutOfRange: no such
  // reference.
  absl::StatusOr<std::vector<RelatedReference>> Related(int number,
                                                        int64_t k) const;

 private:
  TitleIndex(std::vector<std::string> titles, retrieval::Analyzer analyzer,
             retrieval::Bm25Index index)
      : titles_(std::move(titles)),
        analyzer_(std::move(analyzer)),
        index_(std::move(index)) {}

  std::vector<std::string> titles_;
  retrieval::Analyzer analyzer_;
  retrieval::Bm25Index index_;
};

// By number, from the survey's references.
std::vector<std::string> Titles(const Survey& survey);

// Mean over the references with a title whose number is `fold` modulo `folds`:
// of k, how many of the nearest share a citing page. InvalidArgument: k < 1, a
// fold outside [0, folds), no such reference.
absl::StatusOr<double> PagePrecision(const Survey& survey,
                                     const TitleIndex& index, int64_t k,
                                     int fold, int folds);

}  // namespace repro::survey_code_intelligence

#endif  // REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_RELATED_WORK_H_
