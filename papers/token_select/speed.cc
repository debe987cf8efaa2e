#include "papers/token_select/speed.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <memory>

#include "common/lm/attention.h"
#include "common/lm/dense_state.h"
#include "common/lm/policy.h"
#include "common/tensor/generator.h"
#include "kernels/selected_attention/selected_attention.h"

namespace repro::token_select {

Speed TimeChunk(const ChunkShape& shape, int64_t tokens,
                const TokenSelectOptions& options, c10::Device device,
                uint64_t seed, TimingOptions timing) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(tokens > options.budget() && shape.queries <= options.local,
              "token_select: ", shape.queries, " queries over ", tokens,
              " keys; expected at most ", options.local, " and more than ",
              options.budget());
  timing.flush_cache = device.is_cuda();
  at::Generator generator = MakeGenerator(seed, 0, device);
  const auto dtype = device.is_cuda() ? at::kBFloat16 : at::kFloat;
  const auto draw = [&](int64_t heads, int64_t count) {
    return at::empty({count, heads, shape.head_dim},
                     at::TensorOptions(device).dtype(dtype))
        .normal_(0, 1, generator);
  };
  const at::Tensor q = draw(shape.num_heads, shape.queries).transpose(0, 1);
  const at::Tensor k = draw(shape.num_kv_heads, tokens);
  const at::Tensor v = draw(shape.num_kv_heads, tokens);
  const at::Tensor slots =
      at::arange(tokens, at::TensorOptions(device).dtype(at::kInt));
  lm::ModelConfig config;
  config.head_dim = shape.head_dim;
  config.rope_theta = 1e6;
  config.max_positions = options.budget();
  const lm::Rope rope(config, device, dtype);

  Speed speed;
  speed.dense = MeasureTime(
      device,
      [&] { lm::DenseAttention(q, k.transpose(0, 1), v.transpose(0, 1)); },
      timing);
  speed.token_select = MeasureTime(
      device,
      [&] {
        const at::Tensor selection =
            Select(SelectionQuery(q, rope, options.local), k,
                   Middle(slots, options), options);
        const at::Tensor list = ReadList(slots, selection, options);
        RotaryTables tables;
        rope.Tables(list.size(0), &tables.cos, &tables.sin);
        SelectedAttention(q, k, v, list, tables);
      },
      timing);
  return speed;
}

Speed TimePrompt(const lm::LanguageModel& model, int64_t tokens,
                 int64_t engine_chunk, const TokenSelectOptions& options,
                 const TimingOptions& timing) {
  const at::NoGradGuard no_grad;
  const at::Tensor prompt =
      at::zeros({tokens}, at::TensorOptions(model.device()).dtype(at::kLong));
  const auto time = [&](const lm::StateFactory& factory) {
    return MeasureTime(
        model.device(),
        [&] {
          const std::unique_ptr<lm::AttentionState> state = factory();
          for (int64_t begin = 0; begin < tokens; begin += engine_chunk) {
            model.Forward({{prompt.slice(0, begin, begin + engine_chunk),
                            state.get(), begin}});
          }
        },
        timing);
  };
  Speed speed;
  speed.dense = time([&] {
    return lm::MakeDenseState(model.config(), model.device(), model.dtype());
  });
  speed.token_select = time([&] {
    return MakeTokenSelectState(model.config(), model.device(), model.dtype(),
                                options);
  });
  return speed;
}

}  // namespace repro::token_select
