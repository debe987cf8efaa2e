// Launch of streaming_attention_prefill_cuda.cu, free of Torch.
#ifndef REPRO_KERNELS_STREAMING_ATTENTION_PREFILL_STREAMING_ATTENTION_PREFILL_CUDA_H_
#define REPRO_KERNELS_STREAMING_ATTENTION_PREFILL_STREAMING_ATTENTION_PREFILL_CUDA_H_

#include <cuda_runtime_api.h>

#include "kernels/flash/flash.h"

namespace repro {

struct StreamingLaunch {
  int sink_end;     // at most num_keys
  int recent;       // blocks; recent << block_shift is below 2^31
  int block_shift;  // log2 of a block
  int dropped;      // with num_keys, below 2^31 - 2 << block_shift
};

// Nothing is empty.
cudaError_t StreamingAttentionLaunch(const FlashParams& params,
                                     const StreamingLaunch& launch);

}  // namespace repro

#endif  // REPRO_KERNELS_STREAMING_ATTENTION_PREFILL_STREAMING_ATTENTION_PREFILL_CUDA_H_
