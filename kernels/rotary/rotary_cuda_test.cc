#include <ATen/TensorOperators.h>

#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/rotary/rotary.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

// Whole vectors, none, heads that fill no group of a thread's, several blocks.
struct Shape {
  int64_t batch, heads, tokens, dim;
};
constexpr Shape kShapes[] = {{1, 1, 1, 2},    {2, 3, 5, 64},
                             {1, 9, 17, 128}, {3, 4, 700, 128},
                             {2, 6, 33, 254}, {1, 32, 65, 96}};

class RotaryCuda : public testing::TestWithParam<Shape> {};

TEST_P(RotaryCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto [batch, heads, tokens, dim] = GetParam();
  const at::Tensor angle = RandomNormal({tokens, dim / 2}, 1) * 3;
  const at::Tensor cos = angle.cos().to(at::kFloat);
  const at::Tensor sin = angle.sin().to(at::kFloat);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const double bound = type == at::kFloat  ? 1e-6
                         : type == at::kHalf ? 1e-3
                                             : 8e-3;
    const auto options = at::TensorOptions(at::kCUDA).dtype(type);
    // As a product leaves them: the queries' heads, after others, of a token.
    const at::Tensor all =
        RandomNormal({batch, tokens, heads + 2, dim}, 2).to(type);
    const at::Tensor dy =
        RandomNormal({batch, heads, tokens, dim}, 3).to(type).to(at::kDouble);
    const auto part = [heads = heads](const at::Tensor& from) {
      return from.narrow(2, 2, heads).transpose(1, 2);
    };
    const at::Tensor x = all.to(at::kDouble).requires_grad_();
    const at::Tensor y = Rotary(part(x), cos, sin);
    y.backward(dy);

    const at::Tensor gpu_x = all.to(options).requires_grad_();
    PoisonCudaMemory();
    const at::Tensor gpu_y = Rotary(part(gpu_x), cos.cuda(), sin.cuda());
    PoisonCudaMemory();
    gpu_y.backward(dy.to(options));
    EXPECT_THAT(gpu_y, RelativeErrorBelow(y, bound)) << type;
    EXPECT_THAT(gpu_x.grad(), RelativeErrorBelow(x.grad(), bound)) << type;
  }
}

// Other numbers of axes, a row that is not dense, rows between 16-byte
// addresses.
TEST(RotaryCuda, TakesAnyStrides) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::Tensor angle = RandomNormal({6, 8}, 1);
  const at::Tensor cos = angle.cos().to(at::kFloat);
  const at::Tensor sin = angle.sin().to(at::kFloat);
  const at::Tensor x = RandomNormal({2, 3, 2, 6, 17}, 2).to(at::kFloat);
  using View = at::Tensor (*)(const at::Tensor&);
  const View views[] = {
      [](const at::Tensor& t) { return t.narrow(4, 1, 16); },
      [](const at::Tensor& t) { return t[0][0][0].narrow(1, 1, 16); },
      [](const at::Tensor& t) {
        return t.narrow(4, 0, 16).permute({2, 0, 1, 3, 4});
      },
      [](const at::Tensor& t) {
        return t.narrow(4, 0, 6).narrow(3, 0, 5).expand({2, 3, 2, 5, 6});
      },
      [](const at::Tensor& t) {
        return t.flatten().narrow(0, 0, 192).view({2, 16, 6}).transpose(1, 2);
      },
  };
  for (const View view : views) {
    const at::Tensor expected = view(x);
    const int64_t n = expected.size(-2), half = expected.size(-1) / 2;
    const at::Tensor c = cos.narrow(0, 0, n).narrow(1, 0, half);
    const at::Tensor s = sin.narrow(0, 0, n).narrow(1, 0, half);
    EXPECT_THAT(Rotary(view(x.cuda()), c.cuda(), s.cuda()),
                RelativeErrorBelow(Rotary(expected, c, s), 1e-6));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, RotaryCuda, testing::ValuesIn(kShapes),
                         [](const auto& info) {
                           const Shape& s = info.param;
                           return "B" + std::to_string(s.batch) + "H" +
                                  std::to_string(s.heads) + "N" +
                                  std::to_string(s.tokens) + "D" +
                                  std::to_string(s.dim);
                         });

}  // namespace
}  // namespace repro
