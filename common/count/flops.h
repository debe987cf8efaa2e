// Multiply-adds of a forward run, counted from the operators that LibTorch
// runs and their real shapes.
//
//   VanModel model(config, Initializer::Meta());
//   FlopCount count = CountFlops(FlopConvention::kConvLinear, [&] {
//     model.Forward(at::empty({1, 3, 224, 224}, at::kMeta));
//   });
//
// On the meta device no arithmetic is done and nothing is allocated. LibTorch's
// C++ build lacks a few kernels of that device: this library adds those of
// convolution, batch normalisation, adaptive average pooling and roll; a
// forward that needs another one says so and is counted on the CPU.
#ifndef REPRO_COMMON_COUNT_FLOPS_H_
#define REPRO_COMMON_COUNT_FLOPS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace repro {

// One multiply-add counts 1 ("FLOPs" in many papers' tables).
enum class FlopConvention {
  // Convolutions and linear layers (at::linear and addmm); all else free, other
  // matrix products included.
  kConvLinear,
  // Those, plus 1 for each output element of a convolution or linear layer
  // with a bias, plus 2 for each element of a BatchNorm or LayerNorm.
  kConvLinearBiasNorm,
  // Convolutions and every matrix product, attention's included (torchprofile).
  kConvMatmul,
  // Those, plus what fvcore's FlopCountAnalysis adds: for each element 5 in a
  // LayerNorm or a BatchNorm in training, 2 in a BatchNorm otherwise, each 1
  // less without weights; 1 for each input element of an adaptive average
  // pooling over two axes; 4 for each output element of a bilinear resize.
  kFvcore,
};

struct FlopCount {
  int64_t total = 0;
  // By operator: "convolution", "linear", "matmul", "batch_norm", "layer_norm",
  // "pooling", "resize"; a bias is in its operator's.
  std::map<std::string, int64_t> by_operator;
};

// Runs `forward` on this thread, without gradients, and counts. Calls do not
// nest. An exception from `forward` passes through.
FlopCount CountFlops(FlopConvention convention,
                     const std::function<void()>& forward);

}  // namespace repro

#endif  // REPRO_COMMON_COUNT_FLOPS_H_
