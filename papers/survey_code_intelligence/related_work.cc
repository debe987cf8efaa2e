#include "papers/survey_code_intelligence/related_work.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "papers/survey_code_intelligence/citations.h"

namespace repro::survey_code_intelligence {

absl::StatusOr<TitleIndex> TitleIndex::Build(std::vector<std::string> titles) {
  retrieval::Analyzer analyzer(retrieval::AnalyzerKind::kLuceneEnglish);
  std::vector<std::vector<std::string>> documents;
  documents.reserve(titles.size());
  for (const std::string& title : titles) {
    documents.push_back(analyzer.Terms(title));
  }
  retrieval::Bm25Options options;
  options.variant = retrieval::Bm25Variant::kLuceneAccurate;
  REPRO_ASSIGN_OR_RETURN(retrieval::Bm25Index index,
                         retrieval::Bm25Index::Build(documents, options));
  return TitleIndex(std::move(titles), std::move(analyzer), std::move(index));
}

std::vector<RelatedReference> TitleIndex::Search(absl::string_view text,
                                                 int64_t k) const {
  std::vector<RelatedReference> found;
  for (const auto& document : index_.Search(analyzer_.Terms(text), k)) {
    if (document.score > 0) {
      found.push_back({static_cast<int>(document.id) + 1, document.score});
    }
  }
  return found;
}

absl::StatusOr<std::vector<RelatedReference>> TitleIndex::Related(
    int number, int64_t k) const {
  if (number < 1 || static_cast<size_t>(number) > titles_.size()) {
    return absl::OutOfRangeError(absl::StrCat(
        "no reference ", number, "; there are 1 to ", titles_.size()));
  }
  if (k < 1) return std::vector<RelatedReference>();
  k = std::min(k, static_cast<int64_t>(titles_.size()));
  std::vector<RelatedReference> found =
      Search(titles_[static_cast<size_t>(number) - 1], k + 1);
  found.erase(std::remove_if(found.begin(), found.end(),
                             [&](const RelatedReference& related) {
                               return related.number == number;
                             }),
              found.end());
  if (found.size() > static_cast<size_t>(k)) found.pop_back();
  return found;
}

std::vector<std::string> Titles(const Survey& survey) {
  std::vector<std::string> titles;
  titles.reserve(survey.references.size());
  for (const Reference& reference : survey.references) {
    titles.push_back(reference.title);
  }
  return titles;
}

absl::StatusOr<double> PagePrecision(const Survey& survey,
                                     const TitleIndex& index, int64_t k,
                                     int fold, int folds) {
  if (k < 1 || fold < 0 || fold >= folds) {
    return absl::InvalidArgumentError(absl::StrCat(
        "k = ", k, ", fold ", fold, " of ", folds, ": out of range"));
  }
  const CitationGraph graph(survey);
  double sum = 0;
  int64_t queries = 0;
  for (const Reference& reference : survey.references) {
    if (reference.number % folds != fold || reference.title.empty()) continue;
    REPRO_ASSIGN_OR_RETURN(const auto nearest,
                           index.Related(reference.number, k));
    int64_t hits = 0;
    for (const RelatedReference& related : nearest) {
      REPRO_ASSIGN_OR_RETURN(
          const int64_t shared,
          graph.CoCitations(reference.number, related.number));
      if (shared > 0) ++hits;
    }
    sum += static_cast<double>(hits) / static_cast<double>(k);
    ++queries;
  }
  if (queries == 0) return absl::InvalidArgumentError("no reference to ask");
  return sum / static_cast<double>(queries);
}

}  // namespace repro::survey_code_intelligence
