// Which of LibTorch's kernels computes softmax attention, for comparisons.
#ifndef REPRO_COMMON_NN_SOFTMAX_BACKEND_H_
#define REPRO_COMMON_NN_SOFTMAX_BACKEND_H_

#include <ATen/SDPBackend.h>

namespace repro {

// While it lives at::scaled_dot_product_attention runs by this backend or
// fails: SDPBackend::flash_attention is FlashAttention-2 on a GPU,
// cudnn_attention cuDNN's. They do not nest across threads.
class SoftmaxBackend {
 public:
  explicit SoftmaxBackend(at::SDPBackend backend);
  ~SoftmaxBackend();
  SoftmaxBackend(const SoftmaxBackend&) = delete;
  SoftmaxBackend& operator=(const SoftmaxBackend&) = delete;

 private:
  const bool flash_, cudnn_, efficient_, math_;  // as they were
};

}  // namespace repro

#endif  // REPRO_COMMON_NN_SOFTMAX_BACKEND_H_
