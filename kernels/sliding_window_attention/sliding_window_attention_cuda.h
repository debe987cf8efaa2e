// Launches of sliding_window_attention_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_SLIDING_WINDOW_ATTENTION_SLIDING_WINDOW_ATTENTION_CUDA_H_
#define REPRO_KERNELS_SLIDING_WINDOW_ATTENTION_SLIDING_WINDOW_ATTENTION_CUDA_H_

#include <cuda_runtime_api.h>

#include "kernels/flash/flash.h"

namespace repro {

// Nothing is empty; 1 <= window <= seq_len.
cudaError_t SlidingWindowForwardLaunch(const FlashParams& params, int window);
cudaError_t SlidingWindowBackwardLaunch(const FlashParams& params, int window);

}  // namespace repro

#endif  // REPRO_KERNELS_SLIDING_WINDOW_ATTENTION_SLIDING_WINDOW_ATTENTION_CUDA_H_
