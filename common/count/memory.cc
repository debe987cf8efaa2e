#include "common/count/memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <memory>

#include "common/tensor/device.h"

namespace repro {
namespace {

// The CPU allocator tells the profiler of its thread of every allocation
// (alloc_size > 0) and release (< 0).
class CpuRecorder : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t alloc_size, size_t, size_t,
                         c10::Device device) override {
    if (!device.is_cpu()) return;
    held_ += alloc_size;
    peak_ = std::max(peak_, held_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak() const { return peak_; }

 private:
  int64_t held_ = 0;
  int64_t peak_ = 0;
};

}  // namespace

int64_t PeakBytes(c10::Device device, const std::function<void()>& run) {
  if (device.is_cpu()) {
    const auto recorder = std::make_shared<CpuRecorder>();
    c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, recorder);
    run();
    return recorder->peak();
  }
  c10::DeviceAllocator* allocator = c10::getDeviceAllocator(device.type());
  const c10::DeviceIndex index = device.has_index() ? device.index() : 0;
  constexpr auto kAll =
      static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  Synchronize(device);
  allocator->resetPeakStats(index);
  const int64_t before =
      allocator->getDeviceStats(index).allocated_bytes[kAll].current;
  run();
  Synchronize(device);
  return allocator->getDeviceStats(index).allocated_bytes[kAll].peak - before;
}

}  // namespace repro
