#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/sigmoid.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/gated_chunk_scan/gated_chunk_scan.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

struct Shape {
  int64_t batch, seq_len, heads, groups, head_dim, chunk_size;
};

// Averages and gradients, in turn: k, v, gate, k, v.
std::vector<at::Tensor> Results(const at::Tensor& gate, const at::Tensor& k,
                                const at::Tensor& v, const at::Tensor& dk,
                                const at::Tensor& dv, int64_t chunk_size) {
  const at::Tensor g = gate.detach().requires_grad_(),
                   x = k.detach().requires_grad_(),
                   z = v.detach().requires_grad_();
  if (g.is_cuda()) PoisonCudaMemory();
  const auto [yk, yv] = GatedChunkScan(g, x, z, chunk_size);
  if (g.is_cuda()) PoisonCudaMemory();
  const auto grads = torch::autograd::grad({yk, yv}, {g, x, z}, {dk, dv});
  return {yk.detach(), yv.detach(), grads[0], grads[1], grads[2]};
}

class GatedChunkScanCudaShapes : public testing::TestWithParam<Shape> {};

TEST_P(GatedChunkScanCudaShapes, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Shape s = GetParam();
  const std::vector<int64_t> sizes = {s.batch, s.seq_len, s.heads, s.head_dim};
  const std::vector<int64_t> k_sizes = {s.batch, s.seq_len, s.groups,
                                        s.head_dim};
  // Gates that forget within a few tokens, and such that remember hundreds.
  for (const double bias : {0., 5.}) {
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const auto gate_type : {at::kFloat, type}) {
        // Close to 1, a 16-bit gate is another gate.
        if (bias > 0 && gate_type != at::kFloat) continue;
        const auto rounded = [&](const at::Tensor& x, at::ScalarType to) {
          return x.to(to).to(at::kDouble);
        };
        const at::Tensor gate =
                             rounded(at::sigmoid(RandomNormal(sizes, 1) + bias),
                                     gate_type),
                         k = rounded(RandomNormal(k_sizes, 2), type),
                         v = rounded(RandomNormal(sizes, 3), type),
                         dk = rounded(RandomNormal(sizes, 4), type),
                         dv = rounded(RandomNormal(sizes, 5), type);
        const auto expected = Results(gate, k, v, dk, dv, s.chunk_size);
        const auto gpu = [](const at::Tensor& x, at::ScalarType to) {
          return x.to(at::TensorOptions(at::kCUDA).dtype(to));
        };
        const auto actual =
            Results(gpu(gate, gate_type), gpu(k, type), gpu(v, type),
                    gpu(dk, type), gpu(dv, type), s.chunk_size);
        const double bound = type == at::kFloat  ? 1e-5
                             : type == at::kHalf ? 2e-3
                                                 : 1e-2;
        const char* names[] = {"k", "v", "grad gate", "grad k", "grad v"};
        for (int i = 0; i < 5; ++i) {
          EXPECT_THAT(actual[i], RelativeErrorBelow(expected[i], bound))
              << names[i] << " " << type << " gate " << gate_type << " bias "
              << bias;
        }
      }
    }
  }
}

// Chunks below, at and above a warp's 16 tokens and a block's 64 and 128, that
// divide them or not; chains of blocks; head sizes that need padding.
INSTANTIATE_TEST_SUITE_P(
    Shapes, GatedChunkScanCudaShapes,
    testing::Values(
        Shape{1, 1, 1, 1, 8, 16}, Shape{2, 63, 4, 2, 64, 16},
        Shape{2, 64, 4, 4, 64, 1}, Shape{1, 65, 6, 3, 48, 4},
        Shape{2, 1000, 4, 2, 128, 16}, Shape{2, 1000, 2, 1, 64, 17},
        Shape{1, 1000, 2, 1, 64, 40}, Shape{2, 1000, 2, 2, 96, 64},
        Shape{2, 1000, 2, 1, 64, 100}, Shape{1, 4097, 4, 2, 128, 4097},
        Shape{2, 4097, 2, 1, 64, 1000}, Shape{3, 4097, 2, 1, 16, 512},
        Shape{1, 4097, 2, 2, 5, 1000000}, Shape{2, 300, 3, 3, 1, 8}),
    [](const testing::TestParamInfo<Shape>& info) {
      const Shape& s = info.param;
      return "B" + std::to_string(s.batch) + "T" + std::to_string(s.seq_len) +
             "H" + std::to_string(s.heads) + "G" + std::to_string(s.groups) +
             "D" + std::to_string(s.head_dim) + "L" +
             std::to_string(s.chunk_size);
    });

// Long enough that no GPU runs all blocks at once, so that they wait for each
// other; the bits must not depend on who waits for whom.
TEST(GatedChunkScanCuda, LongChainsAreRightAndDeterministic) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto options = at::TensorOptions(at::kCUDA).dtype(at::kFloat);
  const std::vector<int64_t> sizes = {1, 1 << 16, 4, 128},
                             k_sizes = {1, 1 << 16, 1, 128};
  const at::Tensor gate = at::sigmoid(RandomNormal(sizes, 1, options) + 3.),
                   k = RandomNormal(k_sizes, 2, options),
                   v = RandomNormal(sizes, 3, options),
                   dk = RandomNormal(sizes, 4, options),
                   dv = RandomNormal(sizes, 5, options);
  const auto cpu = [](const at::Tensor& x) {
    return x.to(at::TensorOptions(at::kCPU).dtype(at::kDouble));
  };
  for (const int64_t chunk_size : {1 << 16, 5000, 24, 16}) {
    const auto expected =
        Results(cpu(gate), cpu(k), cpu(v), cpu(dk), cpu(dv), chunk_size);
    const auto first = Results(gate, k, v, dk, dv, chunk_size);
    for (size_t i = 0; i < first.size(); ++i) {
      EXPECT_THAT(first[i], RelativeErrorBelow(expected[i], 1e-5))
          << chunk_size << " " << i;
    }
    for (int run = 0; run < 3; ++run) {
      const auto again = Results(gate, k, v, dk, dv, chunk_size);
      for (size_t i = 0; i < first.size(); ++i) {
        EXPECT_TRUE(at::equal(again[i], first[i])) << chunk_size << " " << i;
      }
    }
  }
}

TEST(GatedChunkScanCuda, StridedInputs) {
  REPRO_SKIP_WITHOUT_CUDA();
  // Slices of one projection, of rows that start at any address or at none that
  // vectors can be loaded from.
  for (const int64_t offset : {0, 1}) {
    const at::Tensor all =
        RandomNormal({2, 77, 10 * 64 + offset}, 7,
                     at::TensorOptions(at::kCUDA).dtype(at::kHalf));
    const auto part = [&](int64_t begin, int64_t heads) {
      return all.narrow(2, offset + begin * 64, heads * 64)
          .unflatten(2, {heads, 64});
    };
    const at::Tensor gate =
        at::sigmoid(part(0, 4)).transpose(0, 1).contiguous().transpose(0, 1);
    const at::Tensor v = part(4, 4), k = part(8, 2);
    const at::Tensor one = at::ones({}, v.options()).expand_as(v);
    const auto strided = Results(gate, k, v, one, v, 16);
    const auto dense =
        Results(gate.contiguous(), k.contiguous(), v.contiguous(),
                one.contiguous(), v.contiguous(), 16);
    for (size_t i = 0; i < dense.size(); ++i) {
      EXPECT_THAT(strided[i], IsIdenticalTo(dense[i])) << i;
    }
  }
}

TEST(GatedChunkScanCuda, Empty) {
  REPRO_SKIP_WITHOUT_CUDA();
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{0, 5, 2, 8},
                                            {2, 0, 2, 8},
                                            {2, 5, 0, 8},
                                            {2, 5, 2, 0}}) {
    const at::Tensor x = at::empty(sizes, at::TensorOptions(at::kCUDA));
    for (const at::Tensor& out : Results(x, x, x, x, x, 4)) {
      EXPECT_EQ(out.sizes(), sizes);
    }
  }
}

// A scan of a prefix, then tokens one at a time.
TEST(GatedChunkScanCuda, StepsContinueTheScan) {
  REPRO_SKIP_WITHOUT_CUDA();
  constexpr int64_t kSeqLen = 40, kPrefix = 21, kChunk = 16;
  for (const int64_t dim : {128, 7}) {
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const auto options = at::TensorOptions(at::kCUDA).dtype(type);
      const at::Tensor gate = at::sigmoid(RandomNormal(
                           {3, kSeqLen, 4, dim}, 1,
                           at::TensorOptions(at::kCUDA).dtype(at::kFloat))),
                       k = RandomNormal({3, kSeqLen, 2, dim}, 2, options),
                       v = RandomNormal({3, kSeqLen, 4, dim}, 3, options);
      // Of float32, so that the states start unrounded.
      const auto [yk, yv] =
          GatedChunkScan(gate, k.to(at::kFloat), v.to(at::kFloat), kChunk);
      at::Tensor k_state = yk.select(1, kPrefix - 1).clone();
      // States of any strides.
      at::Tensor v_state = yv.select(1, kPrefix - 1)
                               .transpose(0, 1)
                               .contiguous()
                               .transpose(0, 1);
      for (int64_t t = kPrefix; t < kSeqLen; ++t) {
        const bool first = t % kChunk == 0;
        if (first) k_state.fill_(NAN);
        GatedChunkScanStep(
            gate.select(1, t), k.select(1, t), v.select(1, t),
            at::scalar_tensor(first,
                              at::TensorOptions(at::kCUDA).dtype(at::kBool)),
            k_state, v_state);
        EXPECT_THAT(k_state, IsCloseTo(yk.select(1, t), 1e-5, 1e-6)) << t;
        EXPECT_THAT(v_state, IsCloseTo(yv.select(1, t), 1e-5, 1e-6)) << t;
      }
    }
  }
}

TEST(GatedChunkScanCuda, BadInputs) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::Tensor x = at::ones({2, 4, 4, 8}, at::TensorOptions(at::kCUDA));
  EXPECT_THROW(GatedChunkScan(x.cpu(), x, x, 2), c10::Error);
  EXPECT_THROW(GatedChunkScan(x, x, x, 0), c10::Error);
  const at::Tensor wide = x.to(at::kDouble);
  EXPECT_THAT([&] { GatedChunkScan(wide, wide, wide, 2); },
              testing::ThrowsMessage<c10::Error>(testing::HasSubstr(
                  "supported are float, half and bfloat16")));
}

}  // namespace
}  // namespace repro
