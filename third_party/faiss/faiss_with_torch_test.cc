#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <faiss/IndexFlat.h>
#include <gtest/gtest.h>

#include <vector>

namespace repro {
namespace {

// The nearest neighbours by inner product are the row-wise arg max of Q X^T.
TEST(FaissWithTorchTest, FlatIndexAgreesWithMatrixProduct) {
  using Index = decltype(faiss::Index::ntotal);
  const int64_t num_keys = 300, num_queries = 7, dim = 24;
  const at::Tensor keys = at::randn({num_keys, dim});
  const at::Tensor queries = at::randn({num_queries, dim});

  faiss::IndexFlatIP index(dim);
  index.add(num_keys, keys.data_ptr<float>());
  std::vector<float> scores(num_queries);
  std::vector<Index> labels(num_queries);
  index.search(num_queries, queries.data_ptr<float>(), 1, scores.data(),
               labels.data());

  const at::Tensor expected = at::mm(queries, keys.t()).argmax(1);
  for (int64_t i = 0; i < num_queries; ++i) {
    EXPECT_EQ(labels[i], expected[i].item<int64_t>()) << "query " << i;
  }
}

}  // namespace
}  // namespace repro
