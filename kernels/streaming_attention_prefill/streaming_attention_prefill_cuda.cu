// The tiled kernels of kernels/flash under a mask of sinks and a window, which
// skip the tiles between.
//
// Llama-3-8B's layer (32 heads of 128, 8 of keys), 32,768 queries, sink 64,
// recent 256: 320 keys a query are 0.17 TFLOP (0.22 ms at 790 TFLOP/s) and q
// and out 0.54 GB (0.16 ms at 3.35 TB/s). A block of 64 queries sees one tile
// of 64 sinks and 319 to 320 keys of a window in up to six tiles of 64; blocks
// of 128 queries with tiles of 128, whose pipeline is faster a tile, would see
// five tiles of 128 for the same. On an H200: 0.64 against 0.79 ms; at 4 +
// 1,020 keys 1.61 against 1.58, at 64 + 4,032 keys 5.4 against 4.5, so that
// they pay from kLongRecent keys on. For D = 64 the short walk is the faster
// one at 1,024 keys, too (0.88 against 1.19).
#include <cuda_runtime.h>

#include "kernels/flash/forward.h"
#include "kernels/streaming_attention_prefill/streaming_attention_prefill_cuda.h"

namespace repro {
namespace {

constexpr int kLongRecent = 1024;

template <bool kLongWalk>
struct StreamingMask {
  static constexpr bool kOwn = false;
  static constexpr bool kLong = kLongWalk;
  StreamingLaunch launch;
  int place;  // of query 0

  __device__ int First(int t) const {
    const int block = (t + place + launch.dropped) >> launch.block_shift;
    return max(0, ((block - launch.recent + 1) << launch.block_shift) -
                      launch.dropped);
  }
  __device__ int End(int t) const { return t + place + 1; }
  __device__ int SinkEnd() const { return launch.sink_end; }
};

}  // namespace

cudaError_t StreamingAttentionLaunch(const FlashParams& params,
                                     const StreamingLaunch& launch) {
  const int place = params.num_keys - params.seq_len;
  const bool narrow = params.head_dim <= 64 && params.value_dim <= 64;
  return !narrow && launch.recent << launch.block_shift >= kLongRecent
             ? FlashForward(params, StreamingMask<true>{launch, place})
             : FlashForward(params, StreamingMask<false>{launch, place});
}

}  // namespace repro
