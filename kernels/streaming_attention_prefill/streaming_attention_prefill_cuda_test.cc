#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <c10/util/Exception.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/streaming_attention_prefill/streaming_attention_prefill.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

struct Case {
  int64_t batch, heads, kv_heads, queries, keys, head_dim, value_dim, sink,
      recent, block, dropped;
};
// Short walks and, from 1,024 recent keys on, long ones.
constexpr Case kCases[] = {{1, 2, 2, 1, 1, 64, 64, 1, 1, 1, 0},
                           {2, 4, 2, 63, 63, 64, 64, 4, 16, 1, 0},
                           {1, 4, 1, 1000, 1000, 128, 128, 64, 256, 1, 0},
                           {1, 4, 2, 500, 777, 128, 128, 64, 256, 1, 0},
                           {1, 2, 1, 300, 365, 64, 64, 65, 37, 1, 1000},
                           {1, 2, 1, 1000, 1000, 128, 128, 1, 2, 128, 0},
                           {1, 2, 1, 513, 900, 128, 128, 1, 2, 128, 77},
                           {1, 2, 1, 1, 4097, 128, 128, 64, 256, 1, 0},
                           {1, 2, 2, 4097, 4097, 64, 64, 100, 1500, 1, 0},
                           {1, 2, 1, 1111, 3000, 128, 128, 200, 1024, 1, 0},
                           {1, 2, 1, 1111, 3000, 128, 128, 1, 9, 128, 13},
                           {1, 1, 1, 200, 200, 64, 64, 1000, 5, 1, 0},
                           {1, 1, 1, 333, 500, 128, 128, 3, 100000, 1, 0},
                           {1, 2, 1, 333, 333, 48, 96, 5, 100, 1, 0},
                           {1, 2, 2, 200, 220, 20, 13, 0, 64, 1, 0}};

class StreamingAttentionCuda : public testing::TestWithParam<Case> {};

// The CPU's in float64 for the values that the GPU gets.
TEST_P(StreamingAttentionCuda, IsTheCpusInFloat64) {
  REPRO_SKIP_WITHOUT_CUDA();
  const Case& c = GetParam();
  StreamingAttentionOptions rule;
  rule.sink = c.sink;
  rule.recent = c.recent;
  rule.block = c.block;
  rule.dropped = c.dropped;
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const auto rounded = [&](int64_t heads, int64_t rows, int64_t dim,
                             uint64_t seed) {
      return RandomNormal({c.batch, heads, rows, dim}, seed)
          .to(type)
          .to(at::kDouble);
    };
    const at::Tensor q = rounded(c.heads, c.queries, c.head_dim, 1),
                     k = rounded(c.kv_heads, c.keys, c.head_dim, 2),
                     v = rounded(c.kv_heads, c.keys, c.value_dim, 3);
    const auto cuda = at::TensorOptions(at::kCUDA).dtype(type);
    const at::Tensor gpu_q = q.to(cuda), gpu_k = k.to(cuda), gpu_v = v.to(cuda);
    PoisonCudaMemory();
    EXPECT_THAT(StreamingAttentionPrefill(gpu_q, gpu_k, gpu_v, rule),
                RelativeErrorBelow(StreamingAttentionPrefill(q, k, v, rule),
                                   type == at::kHalf ? 2e-3 : 1e-2))
        << type;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, StreamingAttentionCuda,
                         testing::ValuesIn(kCases), [](const auto& info) {
                           const Case& c = info.param;
                           return "Q" + std::to_string(c.queries) + "T" +
                                  std::to_string(c.keys) + "D" +
                                  std::to_string(c.head_dim) + "s" +
                                  std::to_string(c.sink) + "r" +
                                  std::to_string(c.recent) + "b" +
                                  std::to_string(c.block);
                         });

TEST(StreamingAttentionCuda, StridedAndEmptyInputs) {
  REPRO_SKIP_WITHOUT_CUDA();
  const auto half = at::TensorOptions(at::kCUDA).dtype(at::kHalf);
  // One projection holds all, [batch, seq_len, heads, 3 head_dim].
  const at::Tensor all =
      RandomNormal({2, 500, 3, 192}, 7, half).transpose(1, 2);
  const at::Tensor q = all.slice(3, 0, 64), k = all.slice(3, 64, 128),
                   v = all.slice(3, 128);
  StreamingAttentionOptions rule;
  rule.sink = 10;
  rule.recent = 77;
  EXPECT_THAT(StreamingAttentionPrefill(q, k, v, rule),
              IsIdenticalTo(StreamingAttentionPrefill(
                  q.contiguous(), k.contiguous(), v.contiguous(), rule)));
  EXPECT_EQ(StreamingAttentionPrefill(q.slice(2, 0, 0), k, v, rule).sizes(),
            (std::vector<int64_t>{2, 3, 0, 64}));
}

TEST(StreamingAttentionCuda, BadInputs) {
  REPRO_SKIP_WITHOUT_CUDA();
  const at::Tensor x =
      at::ones({1, 1, 4, 136}, at::TensorOptions(at::kCUDA).dtype(at::kHalf));
  const auto error = [](const at::Tensor& x, const char* message) {
    EXPECT_THAT([&] { StreamingAttentionPrefill(x, x, x, {}); },
                ThrowsMessage<c10::Error>(HasSubstr(message)));
  };
  error(x, "at most 128 values, not 136");
  error(x.slice(3, 0, 64).to(at::kFloat), "bfloat16 or float16, not Float");
}

}  // namespace
}  // namespace repro
