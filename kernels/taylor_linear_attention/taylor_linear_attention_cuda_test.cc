#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/taylor_linear_attention/taylor_linear_attention.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

constexpr double kEps = 1e-12;

// The lengths are shorter than, equal to and longer than the kernel's tiles of
// 16 and chunks of 64, and, from 1,024 on with few heads, cut in segments.
struct Shape {
  int64_t batch, heads, n, key_dim, value_dim;
};
constexpr Shape kShapes[] = {{2, 3, 1, 16, 64},    {2, 3, 63, 16, 64},
                             {1, 2, 64, 16, 128},  {3, 1, 65, 8, 48},
                             {2, 2, 1000, 16, 96}, {1, 2, 1500, 15, 5},
                             {1, 3, 200, 1, 200},  {1, 1, 4097, 16, 64},
                             {4, 16, 70, 16, 64},  {1, 2, 2049, 16, 128}};

double Bound(at::ScalarType type) { return type == at::kHalf ? 2e-3 : 1e-2; }

std::string Name(const testing::TestParamInfo<Shape>& info) {
  const Shape& s = info.param;
  return std::to_string(s.batch) + "x" + std::to_string(s.heads) + "x" +
         std::to_string(s.n) + "x" + std::to_string(s.key_dim) + "x" +
         std::to_string(s.value_dim);
}

// Values that `type` holds exactly, in float64 on the CPU.
at::Tensor Rounded(at::IntArrayRef sizes, uint64_t seed, at::ScalarType type) {
  return RandomNormal(sizes, seed).to(type).to(at::kDouble);
}

struct Inputs {
  at::Tensor q, k, v;

  Inputs To(at::TensorOptions options) const {
    return {q.to(options), k.to(options), v.to(options)};
  }
  Inputs Narrow(int64_t start, int64_t length) const {
    return {q.narrow(2, start, length), k.narrow(2, start, length),
            v.narrow(2, start, length)};
  }
};

Inputs Draw(const Shape& s, at::ScalarType type, uint64_t seed = 1) {
  return {Rounded({s.batch, s.heads, s.n, s.key_dim}, seed, type),
          Rounded({s.batch, s.heads, s.n, s.key_dim}, seed + 1, type),
          Rounded({s.batch, s.heads, s.n, s.value_dim}, seed + 2, type)};
}

class TaylorCuda : public testing::TestWithParam<Shape> {};

TEST_P(TaylorCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Shape& shape = GetParam();
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const double bound = Bound(type);
    const auto options = at::TensorOptions(at::kCUDA).dtype(type);
    Inputs cpu = Draw(shape, type), gpu = cpu.To(options);
    const at::Tensor dy = Rounded(cpu.v.sizes(), 4, type);
    for (Inputs* x : {&cpu, &gpu}) {
      for (at::Tensor* t : {&x->q, &x->k, &x->v}) t->requires_grad_();
    }
    for (const bool normalize : {false, true}) {
      SCOPED_TRACE(testing::Message() << type << " normalize " << normalize);
      const auto [expected, expected_state] =
          TaylorLinearAttention(cpu.q, cpu.k, cpu.v, normalize, kEps);
      const auto gradients =
          torch::autograd::grad({expected}, {cpu.q, cpu.k, cpu.v}, {dy});
      PoisonCudaMemory();
      const auto [y, state] =
          TaylorLinearAttention(gpu.q, gpu.k, gpu.v, normalize, kEps);
      PoisonCudaMemory();
      const auto actual =
          torch::autograd::grad({y}, {gpu.q, gpu.k, gpu.v}, {dy.to(options)});
      EXPECT_THAT(y, RelativeErrorBelow(expected, bound));
      EXPECT_EQ(y.scalar_type(), type);
      EXPECT_THAT(state.kv, RelativeErrorBelow(expected_state.kv, bound));
      EXPECT_THAT(state.k, RelativeErrorBelow(expected_state.k, bound));
      for (int i = 0; i < 3; ++i) {
        // The first output is v itself: its q and k have no gradient.
        if (normalize && shape.n == 1 && i < 2) continue;
        EXPECT_THAT(actual[i], RelativeErrorBelow(gradients[i], bound)) << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, TaylorCuda, testing::ValuesIn(kShapes), Name);

// A run cut in two, with the state handed on, in outputs and in gradients.
TEST(TaylorLinearAttentionCuda, ContinuesFromAState) {
  REPRO_SKIP_WITHOUT_CUDA();
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const double bound = Bound(type);
    const auto options = at::TensorOptions(at::kCUDA).dtype(type);
    const Inputs all = Draw({1, 2, 1900, 16, 72}, type);
    Inputs tail = all.Narrow(101, 1799), gpu = tail.To(options);
    const Inputs head = all.Narrow(0, 101), gpu_head = head.To(options);
    const at::Tensor dy = Rounded(tail.v.sizes(), 4, type);
    const auto before =
        std::get<1>(TaylorLinearAttention(head.q, head.k, head.v, true, kEps));
    const auto gpu_before = std::get<1>(
        TaylorLinearAttention(gpu_head.q, gpu_head.k, gpu_head.v, true, kEps));
    for (Inputs* x : {&tail, &gpu}) {
      for (at::Tensor* t : {&x->q, &x->k, &x->v}) {
        *t = t->detach().requires_grad_();
      }
    }
    const auto [expected, expected_state] =
        TaylorLinearAttention(tail.q, tail.k, tail.v, true, kEps, before);
    const auto gradients =
        torch::autograd::grad({expected}, {tail.q, tail.k, tail.v}, {dy});
    PoisonCudaMemory();
    const auto [y, state] =
        TaylorLinearAttention(gpu.q, gpu.k, gpu.v, true, kEps, gpu_before);
    const auto actual =
        torch::autograd::grad({y}, {gpu.q, gpu.k, gpu.v}, {dy.to(options)});
    EXPECT_THAT(y, RelativeErrorBelow(expected, bound)) << type;
    EXPECT_THAT(state.kv, RelativeErrorBelow(expected_state.kv, bound));
    EXPECT_THAT(state.k, RelativeErrorBelow(expected_state.k, bound));
    for (int i = 0; i < 3; ++i) {
      EXPECT_THAT(actual[i], RelativeErrorBelow(gradients[i], bound))
          << type << i;
    }
  }
}

TEST(TaylorLinearAttentionCuda, PrefillThenStepsIsTheFullRun) {
  REPRO_SKIP_WITHOUT_CUDA();
  // Value widths of the step's vector, wide and scalar paths.
  for (const Shape& shape : {Shape{2, 3, 90, 16, 64}, Shape{1, 2, 90, 16, 128},
                             Shape{1, 2, 90, 16, 300}, Shape{1, 2, 90, 7, 9},
                             Shape{1, 2, 90, 16, 130}}) {
    for (const auto type : {at::kBFloat16, at::kHalf}) {
      for (const bool normalize : {false, true}) {
        SCOPED_TRACE(testing::Message() << type << shape.value_dim);
        const auto options = at::TensorOptions(at::kCUDA).dtype(type);
        const Inputs cpu = Draw(shape, type), gpu = cpu.To(options);
        const auto [expected, last] =
            TaylorLinearAttention(cpu.q, cpu.k, cpu.v, normalize, kEps);
        const Inputs prompt = gpu.Narrow(0, 77);
        auto [y, state] = TaylorLinearAttention(prompt.q, prompt.k, prompt.v,
                                                normalize, kEps);
        std::vector<at::Tensor> out = {y};
        for (int64_t t = 77; t < 90; ++t) {
          PoisonCudaMemory(1 << 20);
          out.push_back(TaylorLinearAttentionStep(
                            gpu.q.select(2, t), gpu.k.select(2, t),
                            gpu.v.select(2, t), state, normalize, kEps)
                            .unsqueeze(2));
        }
        EXPECT_THAT(at::cat(out, 2), RelativeErrorBelow(expected, Bound(type)));
        EXPECT_THAT(state.kv, RelativeErrorBelow(last.kv, Bound(type)));
        EXPECT_THAT(state.k, RelativeErrorBelow(last.k, Bound(type)));
      }
    }
  }
}

// [batch, seq_len, heads, dim] seen as [batch, heads, seq_len, dim], and
// columns of a wider tensor that are not aligned to vectors.
TEST(TaylorLinearAttentionCuda, StridedInputs) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto options = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  const Inputs x = Draw({2, 3, 130, 16, 64}, at::kBFloat16).To(options);
  const at::Tensor expected = std::get<0>(TaylorLinearAttention(x.q, x.k, x.v));
  const auto transposed = [](const at::Tensor& t) {
    return t.transpose(1, 2).contiguous().transpose(1, 2);
  };
  const auto shifted = [&](const at::Tensor& t) {
    const at::Tensor one = t.narrow(-1, 0, 1);
    return at::cat({one, t, one}, -1).narrow(-1, 1, t.size(-1));
  };
  const auto last_first = [](const at::Tensor& t) {
    return t.transpose(2, 3).contiguous().transpose(2, 3);
  };
  EXPECT_THAT(std::get<0>(TaylorLinearAttention(
                  transposed(x.q), transposed(x.k), transposed(x.v))),
              IsIdenticalTo(expected));
  EXPECT_THAT(std::get<0>(TaylorLinearAttention(shifted(x.q), shifted(x.k),
                                                shifted(x.v))),
              IsIdenticalTo(expected));
  EXPECT_THAT(std::get<0>(TaylorLinearAttention(
                  last_first(x.q), last_first(x.k), last_first(x.v))),
              IsIdenticalTo(expected));
}

TEST(TaylorLinearAttentionCuda, Empty) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto options = at::TensorOptions(at::kCUDA).dtype(at::kHalf);
  for (const int64_t batch : {0, 2}) {
    const int64_t n = batch == 0 ? 5 : 0;
    const at::Tensor q = at::empty({batch, 3, n, 16}, options);
    const at::Tensor v = at::empty({batch, 3, n, 24}, options);
    const auto [y, state] = TaylorLinearAttention(q, q, v);
    EXPECT_EQ(y.sizes(), v.sizes());
    EXPECT_THAT(state.kv, IsIdenticalTo(at::zeros({batch, 3, 273, 24})));
    EXPECT_THAT(state.k, IsIdenticalTo(at::zeros({batch, 3, 273})));
  }
}

TEST(TaylorLinearAttentionCuda, Errors) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Inputs x = Draw({1, 1, 4, 16, 8}, at::kHalf);
  const auto run = [](const Inputs& in) {
    TaylorLinearAttention(in.q, in.k, in.v);
  };
  EXPECT_THROW(run(x.To(at::TensorOptions(at::kCUDA).dtype(at::kFloat))),
               c10::Error);
  EXPECT_THROW(run(Draw({1, 1, 4, 17, 8}, at::kHalf)
                       .To(at::TensorOptions(at::kCUDA).dtype(at::kHalf))),
               c10::Error);
  EXPECT_THROW(run({x.q.to(at::kCUDA), x.k.to(at::kCUDA), x.v}), c10::Error);
}

}  // namespace
}  // namespace repro
