#ifndef REPRO_COMMON_RETRIEVAL_SCORED_DOCUMENT_H_
#define REPRO_COMMON_RETRIEVAL_SCORED_DOCUMENT_H_

#include <cstdint>

namespace repro::retrieval {

// One line of a ranking. Higher scores are better, whatever the retriever.
struct ScoredDocument {
  int64_t id;  // the position of the document in the corpus, from 0
  double score;
};

inline bool operator==(const ScoredDocument& a, const ScoredDocument& b) {
  return a.id == b.id && a.score == b.score;
}

// The order of every ranking here: by falling score, equal scores by rising id.
struct RanksBefore {
  bool operator()(const ScoredDocument& a, const ScoredDocument& b) const {
    return a.score != b.score ? a.score > b.score : a.id < b.id;
  }
};

}  // namespace repro::retrieval

#endif  // REPRO_COMMON_RETRIEVAL_SCORED_DOCUMENT_H_
