// The definition, one head group and block of queries after the other.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "kernels/hierarchical_topk_mask/branches.h"
#include "kernels/hierarchical_topk_mask/hierarchical_topk_mask.h"

namespace repro {
namespace {

struct Branch {
  int64_t head = 0;
  int64_t start = 0;  // in blocks
  int64_t size = 0;
};

// Of one block of queries.
template <typename T>
class Search {
 public:
  Search(const at::Tensor& q, const at::Tensor& k, int64_t block,
         const HierarchicalTopkOptions& options)
      : q_(q),
        k_(k),
        options_(options),
        first_query_(block * options.query_block),
        queries_(std::min(options.query_block, q.size(1) - first_query_)),
        searched_(std::max<int64_t>(0, k.size(1) - q.size(1) + first_query_ +
                                           queries_ - options.window)),
        num_blocks_((searched_ + options.key_block - 1) / options.key_block) {}

  // Blocks of heads [first_head, first_head + head_group), in order.
  std::vector<Branch> Run(int64_t first_head) const {
    const int64_t share = options_.top_k / options_.key_block;
    std::vector<Branch> branches;
    for (int64_t g = 0; g < options_.head_group; ++g) {
      const int64_t head = first_head + g;
      if (num_blocks_ <= share) {
        for (int64_t b = 0; b < num_blocks_; ++b) {
          branches.push_back({head, b, 1});
        }
        continue;
      }
      for (int64_t j = 0; j < share; ++j) {
        const int64_t start =
            BranchStart(j, share, num_blocks_, options_.aligned);
        branches.push_back(
            {head, start,
             BranchStart(j + 1, share, num_blocks_, options_.aligned) - start});
      }
    }
    const size_t kept = branches.size();
    while (std::any_of(branches.begin(), branches.end(),
                       [](const Branch& b) { return b.size > 1; })) {
      std::vector<Branch> halves;
      for (const Branch& b : branches) {
        if (b.size > 1) halves.push_back({b.head, b.start, b.size / 2});
        halves.push_back({b.head, b.start + b.size / 2, b.size - b.size / 2});
      }
      branches = Best(halves, kept);
    }
    return branches;
  }

 private:
  // The `count` of the highest score, in the order in which they came.
  std::vector<Branch> Best(const std::vector<Branch>& halves,
                           size_t count) const {
    std::vector<std::pair<T, size_t>> ranked;
    for (size_t i = 0; i < halves.size(); ++i) {
      ranked.push_back({Score(halves[i]), i});
    }
    std::sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    ranked.resize(std::min(count, ranked.size()));
    std::sort(ranked.begin(), ranked.end(),
              [](const auto& a, const auto& b) { return a.second < b.second; });
    std::vector<Branch> best;
    for (const auto& [score, i] : ranked) best.push_back(halves[i]);
    return best;
  }

  T Score(const Branch& branch) const {
    switch (options_.representative) {
      case HierarchicalTopkOptions::kCenter:
        return BlockScore(branch.head, branch.start + branch.size / 2);
      case HierarchicalTopkOptions::kFirst:
        return BlockScore(branch.head, branch.start);
      case HierarchicalTopkOptions::kLast:
        return BlockScore(branch.head, branch.start + branch.size - 1);
      case HierarchicalTopkOptions::kOracle:
        break;
    }
    T best = -std::numeric_limits<T>::infinity();
    for (int64_t i = 0; i < branch.size; ++i) {
      best = std::max(best, BlockScore(branch.head, branch.start + i));
    }
    return best;
  }

  T BlockScore(int64_t head, int64_t block) const {
    const int64_t dim = q_.size(2);
    const T* q =
        q_.const_data_ptr<T>() + (head * q_.size(1) + first_query_) * dim;
    const T* k = k_.const_data_ptr<T>() +
                 head / (q_.size(0) / k_.size(0)) * k_.size(1) * dim;
    T best = -std::numeric_limits<T>::infinity();
    for (int64_t i = 0; i < queries_; i += options_.query_stride) {
      const int64_t row = std::min(i + options_.query_stride, queries_) - 1;
      for (int64_t j = 0; j < options_.key_block; j += options_.key_stride) {
        const int64_t key = block * options_.key_block + j;
        if (key >= searched_) break;
        T product = 0;
        for (int64_t d = 0; d < dim; ++d) {
          product += q[row * dim + d] * k[key * dim + d];
        }
        best = std::max(best, product);
      }
    }
    return best;
  }

  const at::Tensor& q_;
  const at::Tensor& k_;
  const HierarchicalTopkOptions& options_;
  const int64_t first_query_;
  const int64_t queries_;
  const int64_t searched_;    // keys before the window
  const int64_t num_blocks_;  // that hold them
};

template <typename T>
void Fill(const at::Tensor& q, const at::Tensor& k,
          const HierarchicalTopkOptions& options, const at::Tensor& blocks,
          const at::Tensor& counts) {
  const int64_t query_blocks = blocks.size(1), width = blocks.size(2);
  const int64_t groups = q.size(0) / options.head_group;
  at::parallel_for(0, groups * query_blocks, 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      const int64_t block = i % query_blocks;
      const int64_t first_head = i / query_blocks * options.head_group;
      const Search<T> search(q, k, block, options);
      for (const Branch& found : search.Run(first_head)) {
        const int64_t row = found.head * query_blocks + block;
        int32_t& count = counts.mutable_data_ptr<int32_t>()[row];
        blocks.mutable_data_ptr<int32_t>()[row * width + count++] =
            static_cast<int32_t>(found.start);
      }
    }
  });
}

std::tuple<at::Tensor, at::Tensor> MaskCpu(
    const at::Tensor& q, const at::Tensor& k, int64_t top_k,
    int64_t query_block, int64_t query_stride, int64_t key_block,
    int64_t key_stride, int64_t window, int64_t representative, bool aligned,
    int64_t head_group) {
  HierarchicalTopkOptions options;
  options.top_k = top_k;
  options.query_block = query_block;
  options.query_stride = query_stride;
  options.key_block = key_block;
  options.key_stride = key_stride;
  options.window = window;
  options.representative =
      static_cast<HierarchicalTopkOptions::Representative>(representative);
  options.aligned = aligned;
  options.head_group = head_group;
  const int64_t query_blocks = (q.size(1) + query_block - 1) / query_block;
  const at::Tensor blocks =
      at::full({q.size(0), query_blocks, head_group * (top_k / key_block)}, -1,
               at::kInt);
  const at::Tensor counts = at::zeros({q.size(0), query_blocks}, at::kInt);
  if (q.scalar_type() == at::kDouble) {
    Fill<double>(q.contiguous(), k.contiguous(), options, blocks, counts);
  } else {
    Fill<float>(q.to(at::kFloat).contiguous(), k.to(at::kFloat).contiguous(),
                options, blocks, counts);
  }
  return {blocks, counts};
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("hierarchical_topk_mask_unchecked", MaskCpu);
}

}  // namespace
}  // namespace repro
