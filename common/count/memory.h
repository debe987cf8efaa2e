// Bytes that tensors hold while a function runs.
#ifndef REPRO_COMMON_COUNT_MEMORY_H_
#define REPRO_COMMON_COUNT_MEMORY_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>

namespace repro {

// The peak of LibTorch's allocations on `device` during `run`, less what was
// held at its start; at least 0. On the CPU it counts this thread's requests
// (and those of autograd on its behalf); on a GPU the caching allocator's
// bytes in use, which it rounds up to 512. Calls do not nest.
int64_t PeakBytes(c10::Device device, const std::function<void()>& run);

// The bytes that the caching allocator of a GPU has in use now, rounded up to
// 512 for each tensor. Throws c10::Error for the CPU, which keeps no account.
int64_t AllocatedBytes(c10::Device device);

}  // namespace repro

#endif  // REPRO_COMMON_COUNT_MEMORY_H_
