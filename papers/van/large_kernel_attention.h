// Large kernel attention (LKA): a K x K convolution factored into three cheap
// ones, whose result gates the input. Guo, Lu, Liu, Cheng, Hu, "Visual
// Attention Network", section 3.1.
//
//   Attention = Conv1x1(DW-D-Conv(DW-Conv(F)))                          (1)
//   Output    = Attention * F, element by element                       (2)
//
// DW-Conv is depth-wise, (2d - 1) x (2d - 1); DW-D-Conv is depth-wise,
// ceil(K / d) x ceil(K / d) with dilation d. Without biases that is
//
//   P(K, d) = C (ceil(K / d)^2 + (2d - 1)^2 + C)    parameters          (3)
//   F(K, d) = P(K, d) H W                           multiply-adds       (4)
#ifndef REPRO_PAPERS_VAN_LARGE_KERNEL_ATTENTION_H_
#define REPRO_PAPERS_VAN_LARGE_KERNEL_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"

namespace repro::van {

// How the attention A meets the input F.
enum class Gate {
  kProduct,  // A * F, equation (2)
  kNone,     // A alone
  kSum,      // A + F
  kSigmoid,  // sigmoid(A) * F
};

struct LkaConfig {
  int64_t kernel_size = 21;  // K
  int64_t dilation = 3;      // d
  bool depthwise = true;     // step 1, DW-Conv
  bool dilated = true;       // step 2, DW-D-Conv
  bool pointwise = true;     // step 3, Conv1x1
  // One K x K convolution over all channels in place of the three steps.
  bool dense = false;
  Gate gate = Gate::kProduct;

  // The rows of Table 3 and the peers of Table 2, K = 21:
  //   "full"
  //   "no_dw", "no_dw_d", "no_1x1"     a step dropped
  //   "no_gate", "add", "sigmoid"      another gate
  //   "dense"                          21 x 21 over all channels
  //   "separable"                      depth-wise 21 x 21, then 1 x 1
  // NotFound lists the names.
  static absl::StatusOr<LkaConfig> Named(absl::string_view name);
  static std::vector<std::string> Names();

  int64_t depthwise_size() const { return 2 * dilation - 1; }
  int64_t dilated_size() const {
    return (kernel_size + dilation - 1) / dilation;
  }
};

// P(K, d) of equation (3) for C = `channels`.
int64_t LkaParameters(int64_t channels, int64_t kernel_size, int64_t dilation);

// A convolution of stride 1 whose output is as large as its input. An even
// kernel with an odd dilation needs one more row and column of zeros at the
// bottom and right.
class SameConv2d : public Module {
 public:
  // groups = 1 or channels; weight [channels, channels / groups, size, size]
  // drawn as N(0, 2 groups / (size^2 channels)), bias 0.
  SameConv2d(int64_t channels, int64_t size, int64_t dilation, int64_t groups,
             const Initializer& init);

  // x: [batch, channels, height, width] -> the same shape.
  at::Tensor Forward(const at::Tensor& x) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
  int64_t dilation_;
  int64_t groups_;
};

class LargeKernelAttention : public Module {
 public:
  // Parameters are named as the authors' code names them: "conv0" (step 1),
  // "conv_spatial" (step 2), "conv1" (step 3); "conv_dense" if dense.
  LargeKernelAttention(int64_t channels, const LkaConfig& config,
                       const Initializer& init);

  // A of equation (1). f: [batch, channels, height, width] -> the same shape.
  at::Tensor AttentionMap(const at::Tensor& f) const;

  // Equation (2), or the gate of the configuration. Shapes as above.
  at::Tensor Forward(const at::Tensor& f) const;

 private:
  int64_t channels_;
  Gate gate_;
  std::vector<SameConv2d*> steps_;  // in order of application
};

}  // namespace repro::van

#endif  // REPRO_PAPERS_VAN_LARGE_KERNEL_ATTENTION_H_
