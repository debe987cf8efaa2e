#include "common/count/memory.h"

#include <ATen/Context.h>
#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>
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

c10::DeviceIndex Index(c10::Device device) {
  return device.has_index() ? device.index() : 0;
}

// The allocator has no account of a device before its first use.
c10::DeviceAllocator* Allocator(c10::Device device) {
  at::globalContext().lazyInitDevice(device.type());
  return c10::getDeviceAllocator(device.type());
}

c10::CachingAllocator::Stat AllocatedStat(c10::Device device) {
  constexpr auto kAll =
      static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return Allocator(device)->getDeviceStats(Index(device)).allocated_bytes[kAll];
}

}  // namespace

int64_t PeakBytes(c10::Device device, const std::function<void()>& run) {
  if (device.is_cpu()) {
    const auto recorder = std::make_shared<CpuRecorder>();
    c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, recorder);
    run();
    return recorder->peak();
  }
  Synchronize(device);
  Allocator(device)->resetPeakStats(Index(device));
  const int64_t before = AllocatedStat(device).current;
  run();
  Synchronize(device);
  return AllocatedStat(device).peak - before;
}

int64_t AllocatedBytes(c10::Device device) {
  TORCH_CHECK(!device.is_cpu(), "AllocatedBytes: ", device,
              " keeps no account of its allocations");
  return AllocatedStat(device).current;
}

}  // namespace repro
