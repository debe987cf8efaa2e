#include "common/retrieval/dense.h"

#define XXH_INLINE_ALL
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFFlat.h>
#include <omp.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <exception>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/retrieval/index_file.h"
#include "common/status/macros.h"

namespace repro::retrieval {
namespace {

using Id = decltype(faiss::Index::ntotal);

constexpr int64_t kMaxDim = 1 << 20;
constexpr int64_t kMaxOption = 1 << 20;  // probes, neighbours, ef

// Section 0 of the file; then the vectors, [size, dim], and for
//   IVF: centroids [num_lists, dim] and the list of each vector, uint32 [size];
//   HNSW: the number of levels of each vector, int32 [size], and the links of
//   all vectors, int32, -1 where there is none.
struct StoredHeader {
  uint32_t kind;
  uint32_t similarity;
  int64_t size, dim;
  int64_t num_lists, num_probes;
  int64_t num_neighbors, ef_construction, ef_search;
  int64_t entry_point;
};
enum Section : size_t { kHeader, kVectors, kFirst, kSecond, kNumSections };

template <typename Container>
absl::string_view Bytes(const Container& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(values[0])};
}

absl::Status CheckRange(const char* name, int64_t value, int64_t least,
                        int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "dense index: ", name, " is ", value, "; give ", least, " to ", most));
}

// `options` for `size` vectors; num_lists may be 0.
absl::Status CheckOptions(const DenseOptions& options, int64_t size) {
  switch (options.similarity) {
    case Similarity::kInnerProduct:
    case Similarity::kCosine:
    case Similarity::kL2:
      break;
    default:
      return absl::InvalidArgumentError("dense index: no such similarity");
  }
  switch (options.kind) {
    case DenseIndexKind::kFlat:
      return absl::OkStatus();
    case DenseIndexKind::kIvf:
      REPRO_RETURN_IF_ERROR(
          CheckRange("num_lists", options.num_lists, 0, size));
      return CheckRange("num_probes", options.num_probes, 1, kMaxOption);
    case DenseIndexKind::kHnsw:
      REPRO_RETURN_IF_ERROR(CheckRange("the number of vectors", size, 1,
                                       std::numeric_limits<int32_t>::max()));
      REPRO_RETURN_IF_ERROR(
          CheckRange("num_neighbors", options.num_neighbors, 2, 1 << 10));
      REPRO_RETURN_IF_ERROR(CheckRange("ef_construction",
                                       options.ef_construction, 1, kMaxOption));
      return CheckRange("ef_search", options.ef_search, 1, kMaxOption);
  }
  return absl::InvalidArgumentError("dense index: no such kind");
}

// The number of rows.
absl::StatusOr<int64_t> CheckMatrix(const char* name,
                                    absl::Span<const float> matrix,
                                    int64_t dim) {
  REPRO_RETURN_IF_ERROR(CheckRange("dim", dim, 1, kMaxDim));
  if (matrix.size() % dim != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("dense index: ", name, " have ", matrix.size(),
                     " values, no multiple of dim = ", dim));
  }
  for (size_t i = 0; i < matrix.size(); ++i) {
    if (!std::isfinite(matrix[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("dense index: ", name, ": row ", i / dim, ", column ",
                       i % dim, " is ", matrix[i]));
    }
  }
  return matrix.size() / dim;
}

faiss::MetricType Metric(Similarity similarity) {
  return similarity == Similarity::kL2 ? faiss::METRIC_L2
                                       : faiss::METRIC_INNER_PRODUCT;
}

// The rows with length 1, zeros as they are.
std::vector<float> Normalized(absl::Span<const float> matrix, int64_t dim) {
  std::vector<float> rows(matrix.begin(), matrix.end());
  for (size_t begin = 0; begin < rows.size(); begin += dim) {
    double square = 0;
    for (int64_t i = 0; i < dim; ++i) {
      square += double{rows[begin + i]} * rows[begin + i];
    }
    if (square == 0) continue;
    const double length = std::sqrt(square);
    for (int64_t i = 0; i < dim; ++i) rows[begin + i] /= length;
  }
  return rows;
}

std::unique_ptr<faiss::IndexIVFFlat> NewIvf(int64_t dim,
                                            const DenseOptions& options) {
  auto quantizer =
      std::make_unique<faiss::IndexFlat>(dim, Metric(options.similarity));
  auto ivf = std::make_unique<faiss::IndexIVFFlat>(
      quantizer.get(), dim, options.num_lists, Metric(options.similarity));
  ivf->own_fields = true;
  static_cast<void>(quantizer.release());
  ivf->nprobe = options.num_probes;
  return ivf;
}

std::unique_ptr<faiss::IndexHNSWFlat> NewHnsw(int64_t dim,
                                              const DenseOptions& options) {
  auto hnsw = std::make_unique<faiss::IndexHNSWFlat>(
      dim, options.num_neighbors, Metric(options.similarity));
  hnsw->hnsw.efConstruction = options.ef_construction;
  hnsw->hnsw.efSearch = options.ef_search;
  return hnsw;
}

// Runs `f`, which calls FAISS: its exceptions become a Status.
template <typename F>
absl::Status Guarded(const F& f) {
  try {
    f();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("dense index: no memory for it");
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("dense index: FAISS: ", e.what()));
  }
  return absl::OkStatus();
}

}  // namespace

DenseIndex::DenseIndex() = default;
DenseIndex::~DenseIndex() = default;
DenseIndex::DenseIndex(DenseIndex&&) noexcept = default;
DenseIndex& DenseIndex::operator=(DenseIndex&&) noexcept = default;

uint64_t DenseIndex::CorpusDigest(absl::Span<const float> vectors,
                                  int64_t dim) {
  return XXH3_64bits_withSeed(vectors.data(), vectors.size() * sizeof(float),
                              dim);
}

absl::StatusOr<DenseIndex> DenseIndex::Build(absl::Span<const float> vectors,
                                             int64_t dim,
                                             const DenseOptions& options) {
  DenseIndex dense;
  dense.dim_ = dim;
  dense.options_ = options;
  REPRO_ASSIGN_OR_RETURN(dense.size_, CheckMatrix("vectors", vectors, dim));
  const int64_t size = dense.size_;
  if (size < 1) {
    return absl::InvalidArgumentError(
        "dense index: no vectors; give at least one");
  }
  REPRO_RETURN_IF_ERROR(CheckOptions(options, size));
  dense.corpus_digest_ = CorpusDigest(vectors, dim);
  std::vector<float> normalized;
  if (options.similarity == Similarity::kCosine) {
    normalized = Normalized(vectors, dim);
    vectors = normalized;
  }
  if (options.num_lists == 0) {
    dense.options_.num_lists = std::lround(std::sqrt(double(size)));
  }
  REPRO_RETURN_IF_ERROR(Guarded([&] {
    switch (options.kind) {
      case DenseIndexKind::kFlat:
        dense.index_ =
            std::make_unique<faiss::IndexFlat>(dim, Metric(options.similarity));
        break;
      case DenseIndexKind::kIvf: {
        auto ivf = NewIvf(dim, dense.options_);
        ivf->cp.min_points_per_centroid = 1;
        dense.index_ = std::move(ivf);
        break;
      }
      case DenseIndexKind::kHnsw:
        dense.index_ = NewHnsw(dim, options);
        break;
    }
    // The graph depends on the order in which threads insert.
    const int num_threads = omp_get_max_threads();
    if (options.kind == DenseIndexKind::kHnsw) omp_set_num_threads(1);
    absl::Cleanup restore = [&] { omp_set_num_threads(num_threads); };
    dense.index_->train(size, vectors.data());
    dense.index_->add(size, vectors.data());
  }));
  return dense;
}

absl::StatusOr<std::vector<std::vector<ScoredDocument>>> DenseIndex::Search(
    absl::Span<const float> queries, int64_t k) const {
  REPRO_ASSIGN_OR_RETURN(const int64_t num_queries,
                         CheckMatrix("queries", queries, dim_));
  std::vector<std::vector<ScoredDocument>> rankings(num_queries);
  k = std::min(k, size_);
  if (k < 1 || num_queries == 0) return rankings;
  std::vector<float> normalized;
  if (options_.similarity == Similarity::kCosine) {
    normalized = Normalized(queries, dim_);
    queries = normalized;
  }
  // Results of some queries at a time, so that k = size() fits into memory.
  const int64_t step = std::max<int64_t>(1, (int64_t{1} << 24) / k);
  for (int64_t begin = 0; begin < num_queries; begin += step) {
    const int64_t count = std::min(step, num_queries - begin);
    std::vector<float> scores(count * k);
    std::vector<Id> ids(count * k);
    REPRO_RETURN_IF_ERROR(Guarded([&] {
      index_->search(count, queries.data() + begin * dim_, k, scores.data(),
                     ids.data());
    }));
    for (int64_t q = 0; q < count; ++q) {
      std::vector<ScoredDocument>& ranking = rankings[begin + q];
      for (int64_t i = q * k; i < (q + 1) * k; ++i) {
        if (ids[i] < 0) continue;  // fewer were found
        const double score = scores[i];
        ranking.push_back(
            {ids[i], options_.similarity == Similarity::kL2 ? -score : score});
      }
      std::sort(ranking.begin(), ranking.end(), RanksBefore());
    }
  }
  return rankings;
}

absl::Status DenseIndex::Save(const std::string& path) const {
  StoredHeader header = {static_cast<uint32_t>(options_.kind),
                         static_cast<uint32_t>(options_.similarity),
                         size_,
                         dim_,
                         options_.num_lists,
                         options_.num_probes,
                         options_.num_neighbors,
                         options_.ef_construction,
                         options_.ef_search,
                         0};
  std::vector<float> vectors(size_ * dim_);
  std::vector<float> centroids;
  std::vector<uint32_t> lists;
  std::array<absl::string_view, kNumSections> sections;
  REPRO_RETURN_IF_ERROR(Guarded([&] {
    switch (options_.kind) {
      case DenseIndexKind::kFlat:
        index_->reconstruct_n(0, size_, vectors.data());
        break;
      case DenseIndexKind::kIvf: {
        const auto& ivf = static_cast<const faiss::IndexIVFFlat&>(*index_);
        centroids.resize(options_.num_lists * dim_);
        ivf.quantizer->reconstruct_n(0, options_.num_lists, centroids.data());
        lists.resize(size_);
        for (int64_t list = 0; list < options_.num_lists; ++list) {
          const faiss::InvertedLists::ScopedIds ids(ivf.invlists, list);
          faiss::InvertedLists::ScopedCodes codes(ivf.invlists, list);
          const size_t bytes = dim_ * sizeof(float);
          for (size_t i = 0; i < ivf.invlists->list_size(list); ++i) {
            lists[ids[i]] = list;
            std::memcpy(&vectors[ids[i] * dim_], codes.get() + i * bytes,
                        bytes);
          }
        }
        sections[kFirst] = Bytes(centroids);
        sections[kSecond] = Bytes(lists);
        break;
      }
      case DenseIndexKind::kHnsw: {
        const auto& hnsw = static_cast<const faiss::IndexHNSWFlat&>(*index_);
        hnsw.storage->reconstruct_n(0, size_, vectors.data());
        header.entry_point = hnsw.hnsw.entry_point;
        sections[kFirst] = Bytes(hnsw.hnsw.levels);
        sections[kSecond] = Bytes(hnsw.hnsw.neighbors);
        break;
      }
    }
  }));
  sections[kHeader] = {reinterpret_cast<const char*>(&header), sizeof(header)};
  sections[kVectors] = Bytes(vectors);
  return WriteIndexFile(path, IndexFileKind::kDense, corpus_digest_, sections);
}

namespace {

// Sets the graph of `index`, whose storage has the vectors. Returns what is
// wrong with it, or null: search follows links without looking.
const char* SetGraph(absl::Span<const int32_t> levels,
                     absl::Span<const int32_t> links, int64_t entry_point,
                     faiss::IndexHNSWFlat* index) {
  faiss::HNSW& hnsw = index->hnsw;
  const int64_t size = levels.size();
  const int32_t max_levels = hnsw.cum_nneighbor_per_level.size() - 1;
  hnsw.offsets.assign(1, 0);
  int32_t most = 0;
  for (const int32_t n : levels) {
    if (n < 1 || n > max_levels) return "a vector's levels are out of range";
    most = std::max(most, n);
    hnsw.offsets.push_back(hnsw.offsets.back() + hnsw.cum_nb_neighbors(n));
  }
  if (hnsw.offsets.back() != links.size()) {
    return "the graph has another number of links";
  }
  if (entry_point < 0 || entry_point >= size || levels[entry_point] != most) {
    return "the graph has no such entry point";
  }
  for (int64_t i = 0; i < size; ++i) {
    for (int32_t level = 0; level < levels[i]; ++level) {
      size_t begin = hnsw.offsets[i] + hnsw.cum_nb_neighbors(level);
      const size_t end = hnsw.offsets[i] + hnsw.cum_nb_neighbors(level + 1);
      for (; begin < end; ++begin) {
        const int32_t link = links[begin];
        if (link < -1 || link >= size || (link >= 0 && levels[link] <= level)) {
          return "a link of the graph leads nowhere";
        }
      }
    }
  }
  hnsw.levels.resize(size);
  std::copy(levels.begin(), levels.end(), hnsw.levels.begin());
  hnsw.neighbors.resize(links.size());
  std::copy(links.begin(), links.end(), hnsw.neighbors.begin());
  hnsw.entry_point = entry_point;
  hnsw.max_level = most - 1;
  return nullptr;
}

}  // namespace

absl::StatusOr<DenseIndex> DenseIndex::Load(
    const std::string& path, std::optional<uint64_t> corpus_digest) {
  REPRO_ASSIGN_OR_RETURN(const IndexFile file,
                         IndexFile::Open(path, IndexFileKind::kDense,
                                         kNumSections, corpus_digest));
  StoredHeader header;
  if (file.section(kHeader).size() != sizeof(header)) {
    return file.Damaged("its header has another length");
  }
  std::memcpy(&header, file.section(kHeader).data(), sizeof(header));
  DenseIndex dense;
  dense.corpus_digest_ = file.corpus_digest();
  dense.size_ = header.size;
  dense.dim_ = header.dim;
  DenseOptions& options = dense.options_;
  options.kind = static_cast<DenseIndexKind>(header.kind);
  options.similarity = static_cast<Similarity>(header.similarity);
  options.num_lists = header.num_lists;
  options.num_probes = header.num_probes;
  options.num_neighbors = header.num_neighbors;
  options.ef_construction = header.ef_construction;
  options.ef_search = header.ef_search;

  REPRO_ASSIGN_OR_RETURN(const auto vectors, file.Array<float>(kVectors));
  if (header.dim < 1 || header.dim > kMaxDim || header.size < 1 ||
      vectors.size() % header.dim != 0 ||
      vectors.size() / header.dim != header.size) {
    return file.Damaged("its vectors have another number");
  }
  const absl::Status options_status = CheckOptions(options, header.size);
  if (!options_status.ok()) return file.Damaged(options_status.message());
  const absl::StatusOr<int64_t> rows =
      CheckMatrix("vectors", vectors, header.dim);
  if (!rows.ok()) return file.Damaged(rows.status().message());

  absl::Status status;
  const absl::Status faiss_status = Guarded([&] {
    switch (options.kind) {
      case DenseIndexKind::kFlat:
        dense.index_ = std::make_unique<faiss::IndexFlat>(
            header.dim, Metric(options.similarity));
        dense.index_->add(header.size, vectors.data());
        return;
      case DenseIndexKind::kIvf: {
        const auto centroids = file.Array<float>(kFirst);
        const auto lists = file.Array<uint32_t>(kSecond);
        if (!centroids.ok() || !lists.ok() || options.num_lists < 1 ||
            centroids->size() != options.num_lists * header.dim ||
            lists->size() != header.size ||
            *std::max_element(lists->begin(), lists->end()) >=
                options.num_lists ||
            !CheckMatrix("centroids", *centroids, header.dim).ok()) {
          status = file.Damaged("its lists do not fit its vectors");
          return;
        }
        auto ivf = NewIvf(header.dim, options);
        ivf->quantizer->add(options.num_lists, centroids->data());
        ivf->is_trained = true;
        for (int64_t i = 0; i < header.size; ++i) {
          ivf->invlists->add_entry((*lists)[i], i,
                                   reinterpret_cast<const uint8_t*>(
                                       vectors.data() + i * header.dim));
        }
        ivf->ntotal = header.size;
        dense.index_ = std::move(ivf);
        return;
      }
      case DenseIndexKind::kHnsw: {
        const auto levels = file.Array<int32_t>(kFirst);
        const auto links = file.Array<int32_t>(kSecond);
        if (!levels.ok() || !links.ok() || levels->size() != header.size) {
          status = file.Damaged("its graph does not fit its vectors");
          return;
        }
        auto hnsw = NewHnsw(header.dim, options);
        hnsw->storage->add(header.size, vectors.data());
        hnsw->ntotal = header.size;
        if (const char* const what =
                SetGraph(*levels, *links, header.entry_point, hnsw.get())) {
          status = file.Damaged(what);
          return;
        }
        dense.index_ = std::move(hnsw);
        return;
      }
    }
  });
  REPRO_RETURN_IF_ERROR(status);
  if (!faiss_status.ok()) return file.Damaged(faiss_status.message());
  return dense;
}

}  // namespace repro::retrieval
