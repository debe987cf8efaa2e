#include "kernels/streaming_attention_prefill/streaming_attention_prefill.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/testing/testing.h"

namespace repro {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

StreamingAttentionOptions Options(int64_t sink, int64_t recent,
                                  int64_t block = 1, int64_t dropped = 0) {
  StreamingAttentionOptions options;
  options.sink = sink;
  options.recent = recent;
  options.block = block;
  options.dropped = dropped;
  return options;
}

// The whole matrix of scores, by the rule as it is written. place: of each key.
at::Tensor Quadratic(const at::Tensor& q, const at::Tensor& k,
                     const at::Tensor& v, int64_t sink, int64_t recent,
                     int64_t block, const at::Tensor& place) {
  const int64_t group = q.size(1) / k.size(1);
  const at::Tensor i =
      place.narrow(0, place.size(0) - q.size(2), q.size(2)).unsqueeze(1);
  const at::Tensor block_i = i.floor_divide(block),
                   block_j = place.floor_divide(block);
  const at::Tensor seen = (block_j < sink)
                              .logical_or(block_j > block_i - recent)
                              .logical_and(place <= i);
  const at::Tensor scores =
      (at::matmul(q, k.repeat_interleave(group, 1).transpose(-1, -2)) /
       std::sqrt(q.size(3)))
          .masked_fill(seen.logical_not(),
                       -std::numeric_limits<double>::infinity());
  return at::matmul(at::softmax(scores, -1), v.repeat_interleave(group, 1));
}

struct Case {
  int64_t queries, keys, sink, recent, block;
};

class StreamingAttention : public testing::TestWithParam<Case> {};

TEST_P(StreamingAttention, IsTheMaskedSoftmax) {
  const Case& c = GetParam();
  const at::Tensor q = RandomNormal({2, 4, c.queries, 8}, 1);
  const at::Tensor k = RandomNormal({2, 2, c.keys, 8}, 2);
  const at::Tensor v = RandomNormal({2, 2, c.keys, 6}, 3);
  const at::Tensor expected =
      Quadratic(q, k, v, c.sink, c.recent, c.block, at::arange(c.keys));
  const StreamingAttentionOptions options = Options(c.sink, c.recent, c.block);
  EXPECT_THAT(StreamingAttentionPrefill(q, k, v, options),
              IsCloseTo(expected, 1e-10, 1e-12));
  for (const auto& [type, bound] :
       {std::make_pair(at::kFloat, 1e-5), std::make_pair(at::kBFloat16, 1e-2),
        std::make_pair(at::kHalf, 2e-3)}) {
    const at::Tensor out =
        StreamingAttentionPrefill(q.to(type), k.to(type), v.to(type), options);
    EXPECT_EQ(out.scalar_type(), type);
    EXPECT_THAT(out, RelativeErrorBelow(expected, bound)) << type;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rules, StreamingAttention,
    testing::Values(Case{1, 1, 0, 1, 1}, Case{1, 100, 4, 16, 1},
                    Case{300, 300, 4, 16, 1}, Case{200, 300, 64, 100, 1},
                    Case{130, 500, 7, 1, 1}, Case{300, 300, 0, 50, 1},
                    Case{150, 150, 1000, 3, 1}, Case{90, 400, 5, 1000, 1},
                    Case{300, 300, 1, 2, 32}, Case{77, 301, 2, 3, 16},
                    Case{260, 260, 0, 1, 128}, Case{130, 600, 1, 2, 128}));

TEST(StreamingAttentionPrefill, WorkedExample) {
  // Scores of zero: means of what is seen, sink 1 and recent 2.
  const at::Tensor v = at::tensor({1., 3., 5., 7., 9.}).view({1, 1, 5, 1});
  EXPECT_THAT(StreamingAttentionPrefill(at::zeros_like(v), v, v, Options(1, 2))
                  .flatten(),
              IsCloseTo(at::tensor({1., 2., 3., 13. / 3, 17. / 3}), 1e-6, 0));
}

TEST(StreamingAttentionPrefill, UpToSinkAndRecentItIsDense) {
  const at::Tensor q = RandomNormal({1, 2, 40, 8}, 1);
  const at::Tensor dense = StreamingAttentionPrefill(q, q, q, Options(0, 40));
  EXPECT_THAT(StreamingAttentionPrefill(q, q, q, Options(16, 24)),
              IsCloseTo(dense, 1e-12, 1e-13));
}

// A chunk over a cache of the sinks and the last keys that the chunk still
// sees is the same chunk over all keys.
TEST(StreamingAttentionPrefill, ChunksOverAPrunedCache) {
  const int64_t length = 500, chunk = 90;
  const at::Tensor q = RandomNormal({1, 4, length, 8}, 1);
  const at::Tensor k = RandomNormal({1, 2, length, 8}, 2);
  const at::Tensor v = RandomNormal({1, 2, length, 8}, 3);
  for (const int64_t block : {1, 16}) {
    const int64_t sink = 32 / block, recent = 64 / block;
    const at::Tensor whole =
        StreamingAttentionPrefill(q, k, v, Options(sink, recent, block));
    for (int64_t first = 0; first < length; first += chunk) {
      const int64_t end = std::min(first + chunk, length);
      const int64_t dropped = std::max<int64_t>(0, first - 64 - 32);
      const auto cached = [&](const at::Tensor& x) {
        return dropped == 0
                   ? x.narrow(2, 0, end)
                   : at::cat({x.narrow(2, 0, 32),
                              x.narrow(2, 32 + dropped, end - 32 - dropped)},
                             2);
      };
      EXPECT_THAT(StreamingAttentionPrefill(
                      q.slice(2, first, end), cached(k), cached(v),
                      Options(sink, recent, block, dropped)),
                  IsCloseTo(whole.slice(2, first, end), 1e-10, 1e-12))
          << block << " " << first;
    }
  }
}

TEST(StreamingAttentionPrefill, StridedInputs) {
  // One projection holds all, [batch, seq_len, heads, 3 head_dim].
  const at::Tensor all = RandomNormal({2, 33, 3, 15}, 7).transpose(1, 2);
  const at::Tensor q = all.slice(3, 0, 5), k = all.slice(3, 5, 10),
                   v = all.slice(3, 10);
  EXPECT_THAT(
      StreamingAttentionPrefill(q, k, v, Options(3, 9)),
      IsCloseTo(StreamingAttentionPrefill(q.contiguous(), k.contiguous(),
                                          v.contiguous(), Options(3, 9)),
                1e-13, 1e-14));
}

TEST(StreamingAttentionPrefill, Empty) {
  for (const std::vector<int64_t>& sizes :
       {std::vector<int64_t>{0, 2, 5, 4}, {2, 2, 0, 4}}) {
    const at::Tensor x = at::empty(sizes);
    EXPECT_EQ(StreamingAttentionPrefill(x, x, x, Options(1, 4)).sizes(), sizes);
  }
}

TEST(StreamingAttentionPrefill, BadInputs) {
  const at::Tensor x = at::ones({2, 4, 6, 8});
  const auto error =
      [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
         const StreamingAttentionOptions& options, const char* message) {
        EXPECT_THAT([&] { StreamingAttentionPrefill(q, k, v, options); },
                    ThrowsMessage<c10::Error>(HasSubstr(message)));
      };
  error(x[0], x, x, Options(1, 2), "not [4, 6, 8]");
  error(x, x.slice(3, 0, 4), x, Options(1, 2), "not [2, 4, 6, 4]");
  error(x, x, x.slice(2, 0, 3), Options(1, 2), "not [2, 4, 3, 8]");
  error(x, x.slice(1, 0, 3), x.slice(1, 0, 3), Options(1, 2),
        "4 query heads are no multiple of 3");
  error(x, x.slice(2, 0, 5), x.slice(2, 0, 5), Options(1, 2),
        "5 keys for 6 queries");
  error(x, x, x.to(at::kHalf), Options(1, 2), "one floating dtype");
  error(x, x, x, Options(-1, 2), "sink -1");
  error(x, x, x, Options(1, 0), "recent 0");
  error(x, x, x, Options(1, 2, 24), "block 24");
  error(x, x, x, Options(1, 2, 1, -1), "dropped -1");
  error(x, x, x, Options(7, 2, 1, 3), "3 tokens dropped behind 7 sinks");
  error(x, x.clone().requires_grad_(), x, Options(1, 2), "not differentiable");
}

}  // namespace
}  // namespace repro
