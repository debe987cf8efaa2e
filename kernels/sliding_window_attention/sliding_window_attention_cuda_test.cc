#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/sliding_window_attention/sliding_window_attention.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

struct Case {
  int64_t batch, heads, seq_len, head_dim, value_dim, window;
};
constexpr Case kCases[] = {
    {1, 2, 1, 64, 64, 128},     {2, 1, 63, 64, 64, 128},
    {1, 3, 64, 128, 128, 65},   {1, 2, 65, 64, 64, 1},
    {2, 2, 1000, 64, 64, 128},  {1, 2, 4097, 64, 64, 1025},
    {1, 1, 4097, 128, 128, 65}, {1, 2, 333, 16, 16, 100},
    {1, 2, 333, 48, 96, 1000},  {1, 2, 200, 20, 13, 64}};

class SlidingWindowCuda : public testing::TestWithParam<Case> {};

// The CPU's in float64 for the values that the GPU gets, so that only its
// arithmetic is compared. A gradient of zero (a softmax over one key) has no
// relative error.
void ExpectClose(const at::Tensor& out, const at::Tensor& expected,
                 double bound, const std::string& what) {
  if (expected.numel() > 0 && expected.abs().max().item<double>() < 1e-9) {
    EXPECT_THAT(out, IsCloseTo(at::zeros_like(expected), 0, 1e-4)) << what;
  } else {
    EXPECT_THAT(out, RelativeErrorBelow(expected, bound)) << what;
  }
}

TEST_P(SlidingWindowCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Case c = GetParam();
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const double bound = type == at::kHalf ? 2e-3 : 1e-2;
    const auto rounded = [&](int64_t dim, uint64_t seed) {
      return RandomNormal({c.batch, c.heads, c.seq_len, dim}, seed)
          .to(type)
          .to(at::kDouble);
    };
    std::vector<at::Tensor> x = {rounded(c.head_dim, 1), rounded(c.head_dim, 2),
                                 rounded(c.value_dim, 3)};
    const at::Tensor grad = rounded(c.value_dim, 4);
    const auto options = at::TensorOptions(at::kCUDA).dtype(type);
    std::vector<at::Tensor> gpu_x;
    for (at::Tensor& t : x) {
      gpu_x.push_back(t.to(options).requires_grad_());
      t.requires_grad_();
    }
    const at::Tensor expected =
        SlidingWindowAttention(x[0], x[1], x[2], c.window);
    const auto expected_grads = torch::autograd::grad({expected}, x, {grad});

    PoisonCudaMemory();
    const at::Tensor out =
        SlidingWindowAttention(gpu_x[0], gpu_x[1], gpu_x[2], c.window);
    PoisonCudaMemory();
    const auto grads = torch::autograd::grad({out}, gpu_x, {grad.to(options)});
    const std::string name = type == at::kHalf ? "float16 " : "bfloat16 ";
    ExpectClose(out, expected, bound, name + "out");
    ExpectClose(grads[0], expected_grads[0], bound, name + "q");
    ExpectClose(grads[1], expected_grads[1], bound, name + "k");
    ExpectClose(grads[2], expected_grads[2], bound, name + "v");
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, SlidingWindowCuda, testing::ValuesIn(kCases),
                         [](const auto& info) {
                           const Case& c = info.param;
                           return std::to_string(c.seq_len) + "x" +
                                  std::to_string(c.head_dim) + "x" +
                                  std::to_string(c.value_dim) + "window" +
                                  std::to_string(c.window);
                         });

TEST(SlidingWindowCuda, StridedInputsAndTheSameResultEveryTime) {
  REPRO_SKIP_WITHOUT_CUDA();
  // One projection holds all, [batch, seq_len, heads, 3 head_dim].
  const at::Tensor all =
      RandomNormal({2, 500, 3, 192}, 7,
                   at::TensorOptions(at::kCUDA).dtype(at::kHalf))
          .requires_grad_();
  const auto run = [&](bool dense) {
    const at::Tensor heads = all.transpose(1, 2);
    std::vector<at::Tensor> parts;
    for (int64_t i = 0; i < 3; ++i) {
      const at::Tensor part = heads.slice(3, 64 * i, 64 * (i + 1));
      parts.push_back(dense ? part.contiguous() : part);
    }
    const at::Tensor out =
        SlidingWindowAttention(parts[0], parts[1], parts[2], 77);
    const at::Tensor grad =
        RandomNormal(out.sizes(), 8, out.options().requires_grad(false));
    return std::make_pair(out, torch::autograd::grad({out}, {all}, {grad})[0]);
  };
  const auto [out, grad] = run(false);
  for (const bool dense : {false, true}) {
    const auto [again, grad_again] = run(dense);
    EXPECT_THAT(again, IsIdenticalTo(out));
    EXPECT_THAT(grad_again, IsIdenticalTo(grad));
  }
}

TEST(SlidingWindowCuda, Empty) {
  REPRO_SKIP_WITHOUT_CUDA();
  for (const std::vector<int64_t>& sizes :
       {std::vector<int64_t>{0, 2, 5, 64}, {2, 0, 5, 64}, {2, 2, 0, 64}}) {
    const at::Tensor x =
        at::ones(sizes, at::TensorOptions(at::kCUDA).dtype(at::kHalf))
            .requires_grad_();
    const at::Tensor out = SlidingWindowAttention(x, x, x, 4);
    EXPECT_EQ(out.sizes(), sizes);
    out.sum().backward();
    EXPECT_EQ(x.grad().sizes(), sizes);
  }
}

TEST(SlidingWindowCuda, BadInputs) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::Tensor x =
      at::ones({1, 1, 4, 136}, at::TensorOptions(at::kCUDA).dtype(at::kHalf));
  const at::Tensor narrow = x.slice(3, 0, 64);
  const auto error = [](const at::Tensor& x, int64_t window, double scale,
                        const char* message) {
    EXPECT_THAT([&] { SlidingWindowAttention(x, x, x, window, scale); },
                ThrowsMessage<c10::Error>(HasSubstr(message)));
  };
  error(x, 4, 1, "at most 128 values, not 136");
  error(narrow.to(at::kFloat), 4, 1, "bfloat16 or float16, not Float");
  error(narrow, 4, -1, "scale must be positive");
  error(narrow, 0, 1, "window must be positive, not 0");
}

}  // namespace
}  // namespace repro
