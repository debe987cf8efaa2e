// Where the first branches start, on the CPU and the GPU alike.
#ifndef REPRO_KERNELS_HIERARCHICAL_TOPK_MASK_BRANCHES_H_
#define REPRO_KERNELS_HIERARCHICAL_TOPK_MASK_BRANCHES_H_

#include <cstdint>

#ifdef __CUDACC__
#define REPRO_HOST_DEVICE __host__ __device__
#else
#define REPRO_HOST_DEVICE
#endif

namespace repro {

// Start of branch j of `branches` over `blocks` > branches blocks; j = branches
// gives the end. Aligned: rounded down to a multiple of 2^floor(log2 blocks) /
// branches.
REPRO_HOST_DEVICE inline int64_t BranchStart(int64_t j, int64_t branches,
                                             int64_t blocks, bool aligned) {
  if (j == branches) return blocks;
  const int64_t start = blocks * j / branches;
  if (!aligned) return start;
  int64_t power = 1;
  while (2 * power <= blocks) power *= 2;
  const int64_t step = (power + branches - 1) / branches;
  return start / step * step;
}

}  // namespace repro

#undef REPRO_HOST_DEVICE

#endif  // REPRO_KERNELS_HIERARCHICAL_TOPK_MASK_BRANCHES_H_
