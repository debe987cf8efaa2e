#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/lightning_attention/lightning_attention.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

double Bound(at::ScalarType type) { return type == at::kHalf ? 2e-3 : 1e-2; }

// What one run needs, in float64 on the CPU but rounded to `type`, so that only
// the GPU's arithmetic is compared.
struct Inputs {
  at::Tensor q, k, v, dout, decay;
  std::optional<at::Tensor> state, dstate, cu_seqlens;
};

struct Shape {
  int64_t batch, heads, length, key_dim, value_dim;
};

Inputs Random(const Shape& s, at::ScalarType type, bool states,
              std::optional<std::vector<int64_t>> bounds = std::nullopt) {
  const auto rounded = [type](at::IntArrayRef sizes, uint64_t seed) {
    return RandomNormal(sizes, seed).to(type).to(at::kDouble);
  };
  Inputs in;
  in.q = rounded({s.batch, s.heads, s.length, s.key_dim}, 1);
  in.k = rounded({s.batch, s.heads, s.length, s.key_dim}, 2);
  in.v = rounded({s.batch, s.heads, s.length, s.value_dim}, 3);
  in.dout = rounded({s.batch, s.heads, s.length, s.value_dim}, 4);
  in.decay =
      at::tensor({0.004, 0.0, 2.0, 0.1}, at::kFloat).narrow(0, 0, s.heads);
  if (bounds.has_value()) in.cu_seqlens = at::tensor(*bounds, at::kInt);
  if (states) {
    const int64_t sequences =
        bounds.has_value() ? static_cast<int64_t>(bounds->size()) - 1 : s.batch;
    const std::vector<int64_t> sizes = {sequences, s.heads, s.key_dim,
                                        s.value_dim};
    const auto single = [&](uint64_t seed) {
      return RandomNormal(sizes, seed).to(at::kFloat).to(at::kDouble);
    };
    in.state = single(5);
    in.dstate = single(6);
  }
  return in;
}

struct Results {
  at::Tensor out, state;
  std::vector<at::Tensor> gradients;  // of q, k, v and the initial state
};

// `move`: from the inputs' tensors in float64 to what the operator gets.
template <typename Move>
Results RunOperator(const Inputs& in, const Move& move,
                    at::ScalarType state_type, c10::Device device) {
  std::vector<at::Tensor> leaves = {move(in.q), move(in.k), move(in.v)};
  std::optional<at::Tensor> state, cu_seqlens;
  if (in.state.has_value()) {
    state = in.state->to(at::TensorOptions(device).dtype(state_type));
    leaves.push_back(*state);
  }
  if (in.cu_seqlens.has_value()) cu_seqlens = in.cu_seqlens->to(device);
  for (at::Tensor& leaf : leaves) leaf = leaf.detach().requires_grad_();
  if (state.has_value()) state = leaves[3];
  if (device.is_cuda()) PoisonCudaMemory();
  Results results;
  std::tie(results.out, results.state) = LightningAttention(
      leaves[0], leaves[1], leaves[2], in.decay.to(device), state, cu_seqlens);
  if (device.is_cuda()) PoisonCudaMemory();
  if (in.dstate.has_value()) {
    results.gradients = torch::autograd::grad(
        {results.out, results.state}, leaves,
        {move(in.dout), in.dstate->to(results.state.options())});
  } else {
    results.gradients =
        torch::autograd::grad({results.out}, leaves, {move(in.dout)});
  }
  return results;
}

Results Expected(const Inputs& in) {
  return RunOperator(
      in, [](const at::Tensor& x) { return x.clone(); }, at::kDouble, at::kCPU);
}

template <typename Move>
void ExpectEqual(const Inputs& in, at::ScalarType type, const Move& move,
                 const Results& expected) {
  const Results results = RunOperator(in, move, at::kFloat, at::kCUDA);
  EXPECT_EQ(results.out.scalar_type(), type);
  EXPECT_EQ(results.state.scalar_type(), at::kFloat);
  EXPECT_THAT(results.out, RelativeErrorBelow(expected.out, Bound(type)));
  EXPECT_THAT(results.state, RelativeErrorBelow(expected.state, Bound(type)));
  const char* const names[] = {"dq", "dk", "dv", "dstate"};
  for (size_t i = 0; i < expected.gradients.size(); ++i) {
    EXPECT_THAT(results.gradients[i],
                RelativeErrorBelow(expected.gradients[i], Bound(type)))
        << names[i];
  }
}

void ExpectTheCpus(const Inputs& in, at::ScalarType type) {
  ExpectEqual(
      in, type,
      [type](const at::Tensor& x) {
        return x.to(at::TensorOptions(at::kCUDA).dtype(type));
      },
      Expected(in));
}

class LightningAttentionCuda
    : public testing::TestWithParam<std::tuple<Shape, at::ScalarType>> {};

TEST_P(LightningAttentionCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto [shape, type] = GetParam();
  for (const bool states : {false, true}) {
    SCOPED_TRACE(states ? "with states" : "without states");
    ExpectTheCpus(Random(shape, type, states), type);
  }
}

// Lengths around a chunk and of many segments; head sizes that the kernel has,
// that are padded and that are cut.
INSTANTIATE_TEST_SUITE_P(
    Shapes, LightningAttentionCuda,
    testing::Combine(testing::ValuesIn<Shape>({{2, 4, 1, 128, 128},
                                               {1, 4, 63, 128, 128},
                                               {1, 4, 64, 128, 128},
                                               {1, 4, 65, 128, 128},
                                               {2, 3, 1000, 128, 128},
                                               {1, 4, 4097, 128, 128},
                                               {40, 4, 130, 128, 128},
                                               {1, 4, 300, 64, 64},
                                               {1, 4, 300, 64, 128},
                                               {1, 4, 300, 128, 64},
                                               {1, 2, 200, 16, 16},
                                               {1, 2, 200, 48, 96},
                                               {1, 2, 200, 256, 80},
                                               {1, 2, 200, 7, 300}}),
                     testing::Values(at::kBFloat16, at::kHalf)),
    [](const auto& info) {
      const Shape& s = std::get<0>(info.param);
      return "B" + std::to_string(s.batch) + "H" + std::to_string(s.heads) +
             "N" + std::to_string(s.length) + "K" + std::to_string(s.key_dim) +
             "V" + std::to_string(s.value_dim) +
             c10::toString(std::get<1>(info.param));
    });

TEST(LightningAttentionCudaTest, LongWithoutDecay) {
  REPRO_SKIP_WITHOUT_CUDA();
  Inputs in = Random({1, 2, 65536, 64, 64}, at::kBFloat16, /*states=*/false);
  in.decay = at::zeros({2}, at::kFloat);
  ExpectTheCpus(in, at::kBFloat16);
}

TEST(LightningAttentionCudaTest, LongWithDecay) {
  REPRO_SKIP_WITHOUT_CUDA();
  // Decays whose reach is a part of a segment, in one and in several pieces,
  // and beyond it.
  for (const int64_t dim : {64, 128}) {
    Inputs in = Random({1, 4, 40000, dim, dim}, at::kBFloat16, /*states=*/true);
    in.decay = at::tensor({0.02, 0.0, 2.0, 0.1}, at::kFloat);
    ExpectTheCpus(in, at::kBFloat16);
  }
}

TEST(LightningAttentionCudaTest, StridedInputs) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Inputs in = Random({2, 3, 150, 64, 64}, at::kBFloat16, true);
  const Results expected = Expected(in);
  const auto options = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  {
    SCOPED_TRACE("[batch, length, heads, dim] in memory");
    ExpectEqual(
        in, at::kBFloat16,
        [&](const at::Tensor& x) {
          return x.to(options).transpose(1, 2).contiguous().transpose(1, 2);
        },
        expected);
  }
  {
    SCOPED_TRACE("part of a packed tensor");
    ExpectEqual(
        in, at::kBFloat16,
        [&](const at::Tensor& x) {
          return at::cat({x, x, x}, -1)
              .to(options)
              .narrow(-1, x.size(-1), x.size(-1));
        },
        expected);
  }
  {
    SCOPED_TRACE("rows that are not aligned, columns that are not dense");
    ExpectEqual(
        in, at::kBFloat16,
        [&](const at::Tensor& x) {
          return at::cat({x, x.narrow(-1, 0, 1)}, -1)
              .to(options)
              .transpose(2, 3)
              .contiguous()
              .transpose(2, 3)
              .narrow(-1, 0, x.size(-1));
        },
        expected);
  }
  {
    SCOPED_TRACE("an address that is not aligned");
    ExpectEqual(
        in, at::kBFloat16,
        [&](const at::Tensor& x) {
          const at::Tensor flat = x.to(options).flatten();
          return at::cat({flat.narrow(0, 0, 1), flat})
              .narrow(0, 1, flat.numel())
              .view(x.sizes());
        },
        expected);
  }
}

TEST(LightningAttentionCudaTest, CuSeqlens) {
  REPRO_SKIP_WITHOUT_CUDA();
  // Empty sequences first, last and between; ragged ends; one of many segments.
  const std::vector<std::vector<int64_t>> cases = {
      {0, 0, 1, 1, 65, 129, 400, 3000, 3000},
      {0, 3000},
      {0, 1500, 3000},
      {0, 100, 20000}};
  for (const std::vector<int64_t>& bounds : cases) {
    SCOPED_TRACE(testing::PrintToString(bounds));
    for (const auto& [keys, values] :
         {std::pair<int64_t, int64_t>{128, 128}, {64, 48}}) {
      ExpectTheCpus(Random({1, 3, bounds.back(), keys, values}, at::kBFloat16,
                           /*states=*/true, bounds),
                    at::kBFloat16);
    }
  }
}

TEST(LightningAttentionCudaTest, CuSeqlensAreIntOrLong) {
  REPRO_SKIP_WITHOUT_CUDA();
  Inputs in = Random({1, 3, 700, 64, 64}, at::kHalf, true,
                     std::vector<int64_t>{0, 300, 700});
  const auto move = [](const at::Tensor& x) {
    return x.to(at::TensorOptions(at::kCUDA).dtype(at::kHalf));
  };
  const at::Tensor out = RunOperator(in, move, at::kFloat, at::kCUDA).out;
  in.cu_seqlens = in.cu_seqlens->to(at::kLong);
  EXPECT_THAT(RunOperator(in, move, at::kFloat, at::kCUDA).out,
              IsIdenticalTo(out));
}

TEST(LightningAttentionCudaTest, ManySequences) {
  REPRO_SKIP_WITHOUT_CUDA();
  // More than the threads of the block that makes the table of segments.
  const at::Tensor lengths = at::arange(600) % 7;
  const at::Tensor sums =
      at::cat({at::zeros({1}, at::kLong), lengths.cumsum(0)});
  const std::vector<int64_t> bounds(sums.const_data_ptr<int64_t>(),
                                    sums.const_data_ptr<int64_t>() + 601);
  ExpectTheCpus(
      Random({1, 2, bounds.back(), 64, 64}, at::kBFloat16, true, bounds),
      at::kBFloat16);
}

TEST(LightningAttentionCudaTest, PrefillThenDecodeIsTheFullRun) {
  REPRO_SKIP_WITHOUT_CUDA();
  for (const auto& [keys, values] : {std::pair<int64_t, int64_t>{128, 128},
                                     {64, 64},
                                     {48, 96},
                                     {7, 300},
                                     {256, 30}}) {
    const Inputs in = Random({3, 4, 100, keys, values}, at::kBFloat16, false);
    const Results expected = Expected(in);
    const auto move = [](const at::Tensor& x) {
      return x.to(at::TensorOptions(at::kCUDA).dtype(at::kBFloat16));
    };
    const at::Tensor q = move(in.q), k = move(in.k), v = move(in.v),
                     decay = in.decay.to(at::kCUDA);
    PoisonCudaMemory();
    auto [out, state] = LightningAttention(
        q.narrow(2, 0, 90), k.narrow(2, 0, 90), v.narrow(2, 0, 90), decay);
    std::vector<at::Tensor> outs = {out};
    for (int64_t t = 90; t < 100; ++t) {
      outs.push_back(LightningAttentionStep(q.select(2, t), k.select(2, t),
                                            v.select(2, t), decay, state)
                         .unsqueeze(2));
    }
    EXPECT_THAT(at::cat(outs, 2), RelativeErrorBelow(expected.out, 1e-2))
        << keys << "x" << values;
    EXPECT_THAT(state, RelativeErrorBelow(expected.state, 1e-2))
        << keys << "x" << values;
  }
}

TEST(LightningAttentionCudaTest, Empty) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto options = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  const at::Tensor decay = at::zeros({3}, options.dtype(at::kFloat));
  const auto [out, state] = LightningAttention(
      at::empty({0, 3, 5, 64}, options), at::empty({0, 3, 5, 64}, options),
      at::empty({0, 3, 5, 32}, options), decay);
  EXPECT_EQ(out.sizes(), at::IntArrayRef({0, 3, 5, 32}));
  EXPECT_EQ(state.sizes(), at::IntArrayRef({0, 3, 64, 32}));
  const at::Tensor initial =
      RandomNormal({2, 3, 64, 32}, 1, options.dtype(at::kFloat));
  initial.requires_grad_();
  const auto [none, same] = LightningAttention(
      at::empty({2, 3, 0, 64}, options), at::empty({2, 3, 0, 64}, options),
      at::empty({2, 3, 0, 32}, options), decay, initial);
  EXPECT_EQ(none.sizes(), at::IntArrayRef({2, 3, 0, 32}));
  EXPECT_THAT(same, IsIdenticalTo(initial));
  same.backward(at::ones_like(same));
  EXPECT_THAT(initial.grad(), IsIdenticalTo(at::ones_like(initial)));
}

TEST(LightningAttentionCudaTest, Errors) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto options = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  const at::Tensor x = RandomNormal({1, 2, 10, 64}, 1, options);
  const at::Tensor decay = at::zeros({2}, options.dtype(at::kFloat));
  const at::Tensor wide = x.to(at::kFloat);
  EXPECT_THROW(LightningAttention(wide, wide, wide, decay), c10::Error);
  EXPECT_THROW(LightningAttention(x, x, x, decay.to(at::kCPU)), c10::Error);
  EXPECT_THROW(LightningAttention(x, x, x, decay, std::nullopt,
                                  at::tensor({0, 10}, at::kInt)),
               c10::Error);
}

}  // namespace
}  // namespace repro
