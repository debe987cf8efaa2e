#include "common/nn/softmax_backend.h"

#include <ATen/Context.h>

namespace repro {
namespace {

void Enable(bool flash, bool cudnn, bool efficient, bool math) {
  at::Context& context = at::globalContext();
  context.setSDPUseFlash(flash);
  context.setSDPUseCuDNN(cudnn);
  context.setSDPUseMemEfficient(efficient);
  context.setSDPUseMath(math);
}

}  // namespace

SoftmaxBackend::SoftmaxBackend(at::SDPBackend backend)
    : flash_(at::globalContext().userEnabledFlashSDP()),
      cudnn_(at::globalContext().userEnabledCuDNNSDP()),
      efficient_(at::globalContext().userEnabledMemEfficientSDP()),
      math_(at::globalContext().userEnabledMathSDP()) {
  Enable(backend == at::SDPBackend::flash_attention,
         backend == at::SDPBackend::cudnn_attention,
         backend == at::SDPBackend::efficient_attention,
         backend == at::SDPBackend::math);
}

SoftmaxBackend::~SoftmaxBackend() { Enable(flash_, cudnn_, efficient_, math_); }

}  // namespace repro
