#include "papers/asap/exemplars.h"

#include <string>

#include "absl/status/status.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"
#include "papers/asap/summary_bleu.h"

namespace repro::asap {

std::vector<std::string> Bm25Terms(absl::string_view code) {
  return metrics::SplitKeepingEmpty(code, ' ');
}

absl::StatusOr<ExemplarIndex> ExemplarIndex::Build(
    const std::vector<CodeSample>& samples) {
  std::vector<std::vector<std::string>> documents;
  documents.reserve(samples.size());
  for (const CodeSample& sample : samples) {
    documents.push_back(Bm25Terms(sample.code));
  }
  REPRO_ASSIGN_OR_RETURN(
      retrieval::Bm25Index bm25,
      retrieval::Bm25Index::Build(documents, retrieval::Bm25Options()));
  return ExemplarIndex(std::move(bm25));
}

std::vector<int64_t> ExemplarIndex::Search(absl::string_view code,
                                           int64_t count,
                                           int64_t excluded) const {
  std::vector<int64_t> best;
  for (const retrieval::ScoredDocument& document :
       bm25_.Search(Bm25Terms(code), count + (excluded == kNobody ? 0 : 1))) {
    if (document.id == excluded) continue;
    if (static_cast<int64_t>(best.size()) == count) break;
    best.push_back(document.id);
  }
  return best;
}

absl::StatusOr<double> CopiedCommentBleu(
    const std::vector<CodeSample>& samples) {
  if (samples.size() < 2) {
    return absl::InvalidArgumentError(
        "copying the best exemplar's comment needs at least 2 samples");
  }
  REPRO_ASSIGN_OR_RETURN(const ExemplarIndex index,
                         ExemplarIndex::Build(samples));
  double sum = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const int64_t best =
        index.Search(samples[i].code, 1, static_cast<int64_t>(i)).at(0);
    sum += SummaryBleu(samples[i].comment, samples[best].comment);
  }
  return sum / static_cast<double>(samples.size());
}

}  // namespace repro::asap
