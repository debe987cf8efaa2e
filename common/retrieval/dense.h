#ifndef REPRO_COMMON_RETRIEVAL_DENSE_H_
#define REPRO_COMMON_RETRIEVAL_DENSE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/retrieval/scored_document.h"

namespace faiss {
struct Index;
}

namespace repro::retrieval {

// The score of a document for a query.
enum class Similarity {
  kInnerProduct,  // q . d
  kCosine,        // q . d / (|q| |d|); 0 for a vector of zeros
  kL2,            // -|q - d|^2, so that higher is better here too
};

enum class DenseIndexKind {
  kFlat,  // exact
  kIvf,   // FAISS IVF-Flat: scans the lists of the nearest centroids
  kHnsw,  // FAISS HNSW-Flat: a graph of near neighbours
};

struct DenseOptions {
  DenseIndexKind kind = DenseIndexKind::kFlat;
  Similarity similarity = Similarity::kCosine;
  // IVF. num_lists = 0 takes sqrt(n), at least 1.
  int64_t num_lists = 0;
  int64_t num_probes = 16;
  // HNSW.
  int64_t num_neighbors = 32;
  int64_t ef_construction = 128;
  int64_t ef_search = 128;
};

// Ranks documents by the similarity of their vectors to a query's:
//
//   REPRO_ASSIGN_OR_RETURN(const DenseIndex index,
//                          DenseIndex::Build(vectors, /*dim=*/256, {}));
//   REPRO_ASSIGN_OR_RETURN(const auto rankings, index.Search(queries, 10));
//
// Vectors are rows of a matrix in float32. Const methods may run on several
// threads at once.
class DenseIndex {
 public:
  // vectors: [n, dim], n >= 1. InvalidArgument: a size that is no multiple of
  // dim, a value that is not finite, an option outside its range.
  static absl::StatusOr<DenseIndex> Build(absl::Span<const float> vectors,
                                          int64_t dim,
                                          const DenseOptions& options);
  ~DenseIndex();
  DenseIndex(DenseIndex&&) noexcept;
  DenseIndex& operator=(DenseIndex&&) noexcept;

  // queries: [m, dim]; one ranking a query, in RanksBefore's order. kFlat gives
  // min(k, size()) documents; the others may find fewer. k < 1 gives none.
  // InvalidArgument as Build.
  absl::StatusOr<std::vector<std::vector<ScoredDocument>>> Search(
      absl::Span<const float> queries, int64_t k) const;

  int64_t size() const { return size_; }
  int64_t dim() const { return dim_; }
  const DenseOptions& options() const { return options_; }
  // Of the vectors as given to Build.
  uint64_t corpus_digest() const { return corpus_digest_; }
  static uint64_t CorpusDigest(absl::Span<const float> vectors, int64_t dim);

  // As Bm25Index::Save and Load.
  absl::Status Save(const std::string& path) const;
  static absl::StatusOr<DenseIndex> Load(
      const std::string& path,
      std::optional<uint64_t> corpus_digest = std::nullopt);

 private:
  DenseIndex();

  DenseOptions options_;
  int64_t size_ = 0;
  int64_t dim_ = 0;
  uint64_t corpus_digest_ = 0;
  std::unique_ptr<faiss::Index> index_;
};

}  // namespace repro::retrieval

#endif  // REPRO_COMMON_RETRIEVAL_DENSE_H_
