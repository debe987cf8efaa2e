#include "common/retrieval/dense.h"

#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/data/fuzz_check.h"
#include "common/data/io.h"
#include "common/data/mutate.h"

namespace repro::retrieval {
namespace {

constexpr Similarity kSimilarities[] = {Similarity::kInnerProduct,
                                        Similarity::kCosine, Similarity::kL2};
constexpr DenseIndexKind kKinds[] = {
    DenseIndexKind::kFlat, DenseIndexKind::kIvf, DenseIndexKind::kHnsw};

std::vector<float> Gaussian(int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

// The definition of Similarity in float64.
double Score(const float* q, const float* d, int64_t dim, Similarity s) {
  double dot = 0, qq = 0, dd = 0, distance = 0;
  for (int64_t i = 0; i < dim; ++i) {
    dot += double{q[i]} * d[i];
    qq += double{q[i]} * q[i];
    dd += double{d[i]} * d[i];
    distance += (double{q[i]} - d[i]) * (double{q[i]} - d[i]);
  }
  switch (s) {
    case Similarity::kInnerProduct:
      return dot;
    case Similarity::kCosine:
      return qq == 0 || dd == 0 ? 0 : dot / std::sqrt(qq * dd);
    case Similarity::kL2:
      return -distance;
  }
  return 0;
}

TEST(DenseIndexTest, FlatAgreesWithALoop) {
  const int64_t n = 203, m = 31, dim = 13, k = 10;
  const std::vector<float> vectors = Gaussian(n * dim, 1);
  const std::vector<float> queries = Gaussian(m * dim, 2);
  for (const Similarity similarity : kSimilarities) {
    const auto index =
        DenseIndex::Build(vectors, dim, {DenseIndexKind::kFlat, similarity});
    ASSERT_TRUE(index.ok()) << index.status();
    const auto rankings = index->Search(queries, k);
    ASSERT_TRUE(rankings.ok()) << rankings.status();
    for (int64_t q = 0; q < m; ++q) {
      std::vector<ScoredDocument> expected;
      for (int64_t d = 0; d < n; ++d) {
        expected.push_back(
            {d, Score(&queries[q * dim], &vectors[d * dim], dim, similarity)});
      }
      std::sort(expected.begin(), expected.end(), RanksBefore());
      ASSERT_EQ((*rankings)[q].size(), k);
      for (int64_t i = 0; i < k; ++i) {
        EXPECT_EQ((*rankings)[q][i].id, expected[i].id);
        EXPECT_NEAR((*rankings)[q][i].score, expected[i].score, 1e-4);
      }
    }
  }
}

// The share of the flat index' ten nearest that another finds.
double Recall(const DenseIndex& index, const DenseIndex& flat,
              const std::vector<float>& queries) {
  const auto found = index.Search(queries, 10);
  const auto exact = flat.Search(queries, 10);
  EXPECT_TRUE(found.ok() && exact.ok());
  double hits = 0;
  for (size_t q = 0; q < exact->size(); ++q) {
    std::set<int64_t> ids;
    for (const ScoredDocument& d : (*found)[q]) ids.insert(d.id);
    for (const ScoredDocument& d : (*exact)[q]) hits += ids.count(d.id);
  }
  return hits / (10 * exact->size());
}

TEST(DenseIndexTest, RecallAgainstFlat) {
  const int64_t n = 2000, m = 100, dim = 16;
  const std::vector<float> vectors = Gaussian(n * dim, 3);
  const std::vector<float> queries = Gaussian(m * dim, 4);
  for (const Similarity similarity : {Similarity::kCosine, Similarity::kL2}) {
    const auto flat =
        DenseIndex::Build(vectors, dim, {DenseIndexKind::kFlat, similarity});
    DenseOptions options = {DenseIndexKind::kIvf, similarity};
    // All lists are scanned: the same as flat.
    options.num_lists = 20;
    options.num_probes = 20;
    const auto exhaustive = DenseIndex::Build(vectors, dim, options);
    ASSERT_TRUE(exhaustive.ok()) << exhaustive.status();
    EXPECT_EQ(Recall(*exhaustive, *flat, queries), 1);
    // A list of 20 has about a twentieth of the documents; Gaussian vectors
    // have no clusters, so that one list finds far fewer than all.
    options.num_probes = 1;
    const auto one_list = DenseIndex::Build(vectors, dim, options);
    ASSERT_TRUE(one_list.ok());
    EXPECT_LT(Recall(*one_list, *flat, queries), 0.9);
    EXPECT_GT(Recall(*one_list, *flat, queries), 0.05);
    const auto hnsw =
        DenseIndex::Build(vectors, dim, {DenseIndexKind::kHnsw, similarity});
    ASSERT_TRUE(hnsw.ok()) << hnsw.status();
    EXPECT_GT(Recall(*hnsw, *flat, queries), 0.95);
  }
}

TEST(DenseIndexTest, SavedAndLoaded) {
  const int64_t dim = 8;
  const std::vector<float> vectors = Gaussian(300 * dim, 5);
  const std::vector<float> queries = Gaussian(20 * dim, 6);
  const std::string path = testing::TempDir() + "/dense.index";
  for (const Similarity similarity : kSimilarities) {
    for (const DenseIndexKind kind : kKinds) {
      DenseOptions options = {kind, similarity};
      options.num_probes = 3;
      const auto built = DenseIndex::Build(vectors, dim, options);
      ASSERT_TRUE(built.ok()) << built.status();
      ASSERT_TRUE(built->Save(path).ok());
      const auto loaded =
          DenseIndex::Load(path, DenseIndex::CorpusDigest(vectors, dim));
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      EXPECT_EQ(loaded->size(), 300);
      EXPECT_EQ(loaded->options().num_lists, built->options().num_lists);
      const auto a = built->Search(queries, 7), b = loaded->Search(queries, 7);
      ASSERT_TRUE(a.ok() && b.ok());
      EXPECT_EQ(*a, *b);
    }
  }
  std::vector<float> others = vectors;
  others[9] += 1;
  EXPECT_EQ(DenseIndex::Load(path, DenseIndex::CorpusDigest(others, dim))
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(DenseIndexTest, BadInput) {
  const std::vector<float> vectors = {1, 2, 3, 4};
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(DenseIndex::Build({}, 2, {}).ok());
  EXPECT_FALSE(DenseIndex::Build(vectors, 0, {}).ok());
  EXPECT_FALSE(DenseIndex::Build(vectors, 3, {}).ok());
  EXPECT_FALSE(DenseIndex::Build({1, infinity}, 2, {}).ok());
  DenseOptions options = {DenseIndexKind::kIvf};
  options.num_lists = 3;
  EXPECT_FALSE(DenseIndex::Build(vectors, 2, options).ok());
  options.num_lists = 1;
  options.num_probes = 0;
  EXPECT_FALSE(DenseIndex::Build(vectors, 2, options).ok());
  options = {DenseIndexKind::kHnsw};
  options.num_neighbors = 1;
  EXPECT_FALSE(DenseIndex::Build(vectors, 2, options).ok());
  const auto index = DenseIndex::Build(vectors, 2, {});
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->Search({1, 0}, 100)->front().size(), 2);
  EXPECT_TRUE(index->Search({1, 0}, 0)->front().empty());
  EXPECT_TRUE(index->Search({}, 3)->empty());
  EXPECT_FALSE(index->Search({1, 0, 0}, 1).ok());
  EXPECT_FALSE(index->Search({1, infinity}, 1).ok());
  EXPECT_EQ((*index->Search({0, 0}, 1))[0][0].score, 0);
}

// Without WriteFileAtomically's wait for the disk.
void Write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(DenseIndexTest, MutatedFiles) {
  const int64_t dim = 3;
  const std::vector<float> vectors = Gaussian(40 * dim, 7);
  const std::vector<float> queries = Gaussian(2 * dim, 8);
  const std::string path = testing::TempDir() + "/" + kFuzzedName;
  std::mt19937_64 random(9);
  for (const DenseIndexKind kind : kKinds) {
    DenseOptions options = {kind};
    options.num_neighbors = 4;
    ASSERT_TRUE(DenseIndex::Build(vectors, dim, options)->Save(path).ok());
    const std::string bytes = ReadFile(path).value();
    int64_t num_loaded = 0, num_refused = 0;
    for (int i = 0; i < 1500; ++i) {
      std::string mutated = Mutate(
          bytes, {Mutation::kFlipBit, Mutation::kPlant, Mutation::kDrop},
          [](std::string* target, size_t at, const Below& below) {
            const uint32_t values[] = {0, 1, 2, 39, 40, 0x7fffffff, 0xffffffff};
            const uint32_t value = values[below(7)];
            at -= at % 4;
            const size_t n = std::min<size_t>(4, target->size() - at);
            target->replace(at, n, reinterpret_cast<const char*>(&value), n);
          },
          &random);
      const bool resealed = i % 4 != 0 && mutated.size() >= 48;
      if (resealed) {
        const uint64_t size = mutated.size();
        std::memcpy(&mutated[32], &size, sizeof(size));
        const uint64_t checksum =
            XXH3_64bits_withSeed(mutated.data() + 48, mutated.size() - 48,
                                 XXH3_64bits(mutated.data(), 40));
        std::memcpy(&mutated[40], &checksum, sizeof(checksum));
      }
      Write(path, mutated);
      const auto loaded = DenseIndex::Load(path);
      if (!loaded.ok()) {
        ++num_refused;
        FuzzCheckError(loaded.status());
        continue;
      }
      ++num_loaded;
      FuzzCheck(resealed || mutated == bytes, "damage was not found");
      loaded->Search(Gaussian(2 * loaded->dim(), 8), 5).IgnoreError();
    }
    EXPECT_GT(num_loaded, 50);
    EXPECT_GT(num_refused, 500);
  }
}

}  // namespace
}  // namespace repro::retrieval
