#include "common/count/timing.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <chrono>

#include "common/stats/descriptive.h"

namespace repro {
namespace {

constexpr int64_t kFlushedBytes = int64_t{1} << 28;
constexpr int kLeastRepetitions = 3;

// The milliseconds of one call.
double TimeOnce(c10::Device device, const std::function<void()>& run) {
  if (device.is_cpu()) {
    const auto start = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double, std::milli>(
               std::chrono::steady_clock::now() - start)
        .count();
  }
  const c10::Stream stream =
      c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  c10::Event start(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  c10::Event end(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  start.record(stream);
  run();
  end.record(stream);
  end.synchronize();
  return start.elapsedTime(end);
}

}  // namespace

double Timing::Median() const { return *repro::Median(milliseconds); }

Timing MeasureTime(c10::Device device, const std::function<void()>& run,
                   const TimingOptions& options) {
  TORCH_CHECK(options.warmup >= 0 && options.repetitions >= 1 &&
                  options.max_seconds >= 0,
              "MeasureTime: warmup ", options.warmup, ", repetitions ",
              options.repetitions, ", max_seconds ", options.max_seconds,
              ": expected at least 0, 1 and 0");
  at::Tensor flushed;
  if (options.flush_cache && !device.is_cpu()) {
    flushed =
        at::empty({kFlushedBytes}, at::TensorOptions(device).dtype(at::kByte));
  }
  const auto once = [&] {
    if (options.before_each) options.before_each();
    if (flushed.defined()) flushed.fill_(1);
    return TimeOnce(device, run);
  };
  for (int i = 0; i < options.warmup; ++i) once();
  Timing timing;
  double total = 0;
  while (timing.milliseconds.size() < options.repetitions) {
    timing.milliseconds.push_back(once());
    total += timing.milliseconds.back();
    if (options.max_seconds > 0 && total > 1e3 * options.max_seconds &&
        timing.milliseconds.size() >= kLeastRepetitions) {
      break;
    }
  }
  return timing;
}

}  // namespace repro
