// Time of reading a prompt on a GPU, one sequence, for the shapes of
// Llama-3-8B and Llama-2-7B with random bfloat16 weights, beside the time of
// the model's matrix products and of cuDNN's causal attention run alone: what
// the rest (norms, rotations, activations, the cache) adds.
//
//   bazel-bin/common/lm/prefill_benchmark [--tokens=32768]
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/count/timing.h"
#include "common/lm/dense_state.h"
#include "common/lm/model.h"
#include "common/nn/softmax_backend.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "kernels/runtime/cuda.h"

namespace repro::lm {
namespace {

TimingOptions Options() {
  TimingOptions options;
  options.warmup = 1;
  options.repetitions = 5;
  return options;
}

at::Tensor Random(at::IntArrayRef shape, const LanguageModel& model,
                  uint64_t seed) {
  return at::empty(shape,
                   at::TensorOptions(model.device()).dtype(model.dtype()))
      .normal_(0, 1, MakeGenerator(seed, 0, model.device()));
}

// Milliseconds of the products of all layers and of the last token's logits.
double Products(const LanguageModel& model, int64_t tokens) {
  const ModelConfig& c = model.config();
  const at::Tensor hidden = Random({tokens, c.hidden_size}, model, 1);
  const at::Tensor heads = Random({tokens, c.num_heads * c.head_dim}, model, 2);
  const at::Tensor inner = Random({tokens, c.intermediate_size}, model, 3);
  return MeasureTime(
             model.device(),
             [&] {
               for (const LayerWeights& layer : model.weights().layers) {
                 layer.qkv.Apply(hidden);
                 layer.output.Apply(heads);
                 layer.gate_up.Apply(hidden);
                 layer.down.Apply(inner);
               }
               model.weights().head.Apply(hidden.narrow(0, tokens - 1, 1));
             },
             Options())
      .Median();
}

// Milliseconds of causal attention of all layers.
double Attention(const LanguageModel& model, int64_t tokens) {
  const ModelConfig& c = model.config();
  const at::Tensor q = Random({1, c.num_heads, tokens, c.head_dim}, model, 4);
  const at::Tensor k =
      Random({1, c.num_kv_heads, tokens, c.head_dim}, model, 5);
  const at::Tensor v =
      Random({1, c.num_kv_heads, tokens, c.head_dim}, model, 6);
  const SoftmaxBackend cudnn(at::SDPBackend::cudnn_attention);
  return MeasureTime(
             model.device(),
             [&] {
               for (int64_t l = 0; l < c.num_layers; ++l) {
                 at::scaled_dot_product_attention(
                     q, k, v, std::nullopt, 0.0, /*is_causal=*/true,
                     std::nullopt, /*enable_gqa=*/q.size(1) != k.size(1));
               }
             },
             Options())
      .Median();
}

double Prefill(const LanguageModel& model, int64_t tokens, int64_t chunk) {
  const at::Tensor ids = at::randint(
      model.config().vocab_size, {tokens}, MakeGenerator(7, 0, model.device()),
      at::TensorOptions(model.device()).dtype(at::kLong));
  return MeasureTime(
             model.device(),
             [&] {
               const auto state = MakeDenseState(model.config(), model.device(),
                                                 model.dtype());
               for (int64_t first = 0; first < tokens; first += chunk) {
                 const int64_t count = std::min(chunk, tokens - first);
                 model.Forward(
                     {{ids.narrow(0, first, count), state.get(), first}});
               }
             },
             Options())
      .Median();
}

int Main(int argc, char** argv) {
  int64_t tokens = 32768;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (!absl::ConsumePrefix(&argument, "--tokens=") ||
        !absl::SimpleAtoi(argument, &tokens) || tokens < 1 ||
        tokens > (1 << 20)) {
      std::cerr << "prefill_benchmark: " << argv[i] << "? --tokens=N\n";
      return 2;
    }
  }
  const auto device = ParseDevice("cuda");
  if (!device.ok()) {
    std::cerr << "prefill_benchmark: " << device.status().message() << "\n";
    return 3;
  }
  if (!LoadCudaKernels().empty()) {
    std::cerr << "prefill_benchmark: no CUDA kernels: " << LoadCudaKernels()
              << "\n";
    return 3;
  }
  const at::NoGradGuard no_grad;
  std::cout << DeviceName(*device) << ", " << tokens
            << " tokens\n\n| model | tokens at once | prefill ms | products ms "
               "| cuDNN attention ms | ratio |\n"
               "| --- | ---: | ---: | ---: | ---: | ---: |\n";
  for (const bool llama3 : {true, false}) {
    const auto model = RandomModel(
        llama3 ? ModelConfig::Llama3_8B() : ModelConfig::Llama2_7B(),
        MakeGenerator(1, 0, *device), *device, at::kBFloat16);
    const double products = Products(*model, tokens);
    const double attention = Attention(*model, tokens);
    for (const int64_t chunk : {tokens, std::min<int64_t>(tokens, 4096)}) {
      const double prefill = Prefill(*model, tokens, chunk);
      std::cout << absl::StrFormat("| %s | %d | %.1f | %.1f | %.1f | %.2f |\n",
                                   llama3 ? "Llama-3-8B" : "Llama-2-7B", chunk,
                                   prefill, products, attention,
                                   prefill / (products + attention));
      std::cout.flush();
    }
  }
  return 0;
}

}  // namespace
}  // namespace repro::lm

int main(int argc, char** argv) { return repro::lm::Main(argc, argv); }
