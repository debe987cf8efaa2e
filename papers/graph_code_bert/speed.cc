#include "papers/graph_code_bert/speed.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "common/encoder/masked_attention.h"
#include "common/tensor/generator.h"
#include "papers/graph_code_bert/model.h"

namespace repro::graph_code_bert {

GraphInput RandomFullInput(int64_t positions, std::mt19937_64& random) {
  TORCH_CHECK(positions >= 10, "random input: ", positions,
              " positions; expected at least 10");
  const int64_t num_nodes = positions / 5;
  GraphInput input;
  input.num_text = positions - num_nodes;
  input.code_begin = 1;
  input.code_end = input.num_text - 1;
  input.special = {0, input.num_text - 1};
  const auto below = [&](int64_t bound) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(bound));
  };
  for (int64_t i = 0; i < input.num_text; ++i) {
    input.ids.push_back(4);
    input.positions.push_back(static_cast<int32_t>(i + 2));
  }
  for (int64_t i = 0; i < num_nodes; ++i) {
    input.ids.push_back(3);
    input.positions.push_back(0);
    const int64_t piece = 1 + below(input.num_text - 2);
    input.nodes.push_back({piece, piece + 1});
    input.edges.emplace_back(i, below(num_nodes));
    input.edges.emplace_back(i, below(num_nodes));
  }
  std::sort(input.edges.begin(), input.edges.end());
  input.edges.erase(std::unique(input.edges.begin(), input.edges.end()),
                    input.edges.end());
  return input;
}

MaskedAttentionSpeed TimeMaskedAttention(int64_t positions, int64_t batch,
                                         c10::Device device, uint64_t seed,
                                         const TimingOptions& timing) {
  constexpr int64_t kLayers = 12, kHeads = 12, kHeadDim = 64;
  const at::NoGradGuard no_grad;
  std::mt19937_64 random(seed);
  std::vector<GraphInput> inputs;
  for (int64_t row = 0; row < batch; ++row) {
    inputs.push_back(RandomFullInput(positions, random));
  }
  std::vector<const GraphInput*> pointers;
  for (const GraphInput& input : inputs) pointers.push_back(&input);
  const at::Tensor mask =
      MakeGraphBatch(pointers, {}, /*pad_id=*/1, device).mask;

  at::Generator generator = MakeGenerator(seed, 0, device);
  const auto draw = [&] {
    return at::empty({batch, kHeads, positions, kHeadDim},
                     at::TensorOptions(device).dtype(
                         device.is_cuda() ? at::kBFloat16 : at::kFloat))
        .normal_(0, 1, generator);
  };
  const at::Tensor q = draw(), k = draw(), v = draw();
  encoder::MaskedAttentionOptions options;
  options.scale = 1 / std::sqrt(static_cast<double>(kHeadDim));
  // As in the encoder, whose layers share one prepared mask.
  const auto time = [&](const at::Tensor& with) {
    return MeasureTime(
        device,
        [&] {
          const encoder::ScoreMask score_mask = encoder::MakeScoreMask(
              with, /*bias=*/{}, batch, positions, positions, q.options());
          for (int64_t layer = 0; layer < kLayers; ++layer) {
            encoder::MaskedAttention(q, k, v, score_mask, options);
          }
        },
        timing);
  };
  MaskedAttentionSpeed speed;
  speed.dense = time({});
  speed.masked = time(mask);
  return speed;
}

}  // namespace repro::graph_code_bert
