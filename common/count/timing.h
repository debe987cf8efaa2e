// How long a function takes on a device.
//
//   const Timing timing = MeasureTime(device, [&] { model.Forward(x); });
//   run.Record(*claim, timing.Median());
//
// A step that is bound by the CPU's launches, as of decoding, is captured once
// and replayed: kernels/graph/graph.h.
#ifndef REPRO_COMMON_COUNT_TIMING_H_
#define REPRO_COMMON_COUNT_TIMING_H_

#include <c10/core/Device.h>

#include <functional>
#include <vector>

namespace repro {

struct TimingOptions {
  int warmup = 3;        // calls that are not timed
  int repetitions = 20;  // calls that are; at least 1
  // Stops before that number, after the call with which the timed calls have
  // taken longer than this together, but not before 3; 0: no limit.
  double max_seconds = 0;
  // Writes 256 MB before each call, on a GPU alone: nothing of the input is
  // left in its L2 cache.
  bool flush_cache = false;
  // Run before each call and not timed, such as setting gradients to none.
  std::function<void()> before_each;
};

struct Timing {
  std::vector<double> milliseconds;  // one a timed call, in order

  double Median() const;
  // What a call does, tokens for instance, over its median time: 1 / s.
  double PerSecond(double amount) const { return 1e3 * amount / Median(); }
};

// Times each call alone: by the steady clock on the CPU, and on a GPU by events
// on the device's current stream, after which it waits for the device. Throws
// c10::Error for options that make no sense; what `run` throws passes through.
Timing MeasureTime(c10::Device device, const std::function<void()>& run,
                   const TimingOptions& options = {});

}  // namespace repro

#endif  // REPRO_COMMON_COUNT_TIMING_H_
