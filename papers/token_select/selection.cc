#include "papers/token_select/selection.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/max_pool1d.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "common/tensor/check.h"
#include "kernels/paged_dot_product/paged_dot_product.h"

namespace repro::token_select {

at::Tensor Criticality(const at::Tensor& scores, const at::Tensor& log_sum_exp,
                       Rule rule, int64_t k) {
  CheckShape(scores, {"num_heads", "tokens"}, "scores");
  switch (rule) {
    case Rule::kSoftVote:
      return SoftVote(scores, log_sum_exp);
    case Rule::kHeadVote: {
      const auto [best, places] =
          at::topk(scores, std::min(k, scores.size(1)), 1, /*largest=*/true,
                   /*sorted=*/false);
      return at::zeros_like(scores).scatter_(1, places, 1).sum(0);
    }
    case Rule::kSummedLogits:
      return scores.sum(0);
  }
  TORCH_CHECK(false, "token_select: no such rule");
}

at::Tensor MaxPool(const at::Tensor& votes, int64_t kernel) {
  CheckShape(votes, {"tokens"}, "votes");
  if (kernel <= 1 || votes.size(0) == 0) return votes;
  const at::Tensor padded =
      at::constant_pad_nd(votes, {(kernel - 1) / 2, kernel / 2},
                          -std::numeric_limits<double>::infinity());
  return at::max_pool1d(padded.unsqueeze(0), kernel, /*stride=*/1).squeeze(0);
}

at::Tensor TopTokens(const at::Tensor& votes, int64_t k) {
  CheckShape(votes, {"tokens"}, "votes");
  TORCH_CHECK(k >= 0, "token_select: the best ", k, " tokens");
  const auto [best, places] =
      at::topk(votes, std::min(k, votes.size(0)), 0, /*largest=*/true,
               /*sorted=*/false);
  return std::get<0>(at::sort(places));
}

at::Tensor TopBlocks(const at::Tensor& scores, int64_t k, int64_t block) {
  CheckShape(scores, {"num_heads", "tokens"}, "scores");
  TORCH_CHECK(block >= 1 && k >= 0, "token_select: ", k,
              " tokens in blocks of ", block);
  const int64_t tokens = scores.size(1), blocks = tokens / block;
  const at::Tensor means =
      scores.narrow(1, 0, blocks * block).unflatten(1, {blocks, block}).mean(2);
  const at::Tensor best = TopTokens(at::softmax(means, 1).sum(0), k / block);
  const auto places = [&](int64_t first, int64_t last) {
    return at::arange(first, last, best.options());
  };
  return at::cat({(best.unsqueeze(1) * block + places(0, block)).flatten(),
                  places(blocks * block, tokens)});
}

at::Tensor SelectionQuery(const at::Tensor& q, const lm::Rope& rope,
                          int64_t position) {
  const at::Tensor rotated = rope.Apply(q, position);
  if (q.size(1) == 1) return rotated.squeeze(1);
  return rotated
      .mean(1, /*keepdim=*/false,
            q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat)
      .to(q.scalar_type());
}

double Cosine(const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(a.sizes() == b.sizes(), "token_select: the cosine of ", a.sizes(),
              " and ", b.sizes());
  const at::Tensor x = a.flatten().to(at::kDouble);
  const at::Tensor y = b.flatten().to(at::kDouble);
  return ((x * y).sum() / (x.square().sum() * y.square().sum()).sqrt())
      .item<double>();
}

double ReuseBound(double gap, double query_norm, double largest_key_norm) {
  TORCH_CHECK(gap >= 0 && query_norm > 0 && largest_key_norm > 0,
              "token_select: gap ", gap, ", |q| ", query_norm, ", max |k| ",
              largest_key_norm);
  const double tangent = gap / (2 * query_norm * largest_key_norm);
  return 1 / std::sqrt(1 + tangent * tangent);
}

}  // namespace repro::token_select
