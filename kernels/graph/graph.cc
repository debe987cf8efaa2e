#include "kernels/graph/graph.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <utility>

namespace repro {
namespace {

// The CUDA library's functions are reached as Torch operators, the one register
// that it shares with this program.
template <typename Function>
c10::TypedOperatorHandle<Function> Find(const char* name) {
  const auto op = c10::Dispatcher::singleton().findSchema({name, ""});
  TORCH_CHECK(op.has_value(), "no operator ", name,
              ": librepro_kernels_cuda.so is not loaded; put it on the "
              "loader's path or beside the program");
  return op->typed<Function>();
}

}  // namespace

CapturedGraph::CapturedGraph(c10::Device device, std::function<void()> step,
                             int warmup)
    : device_(device), step_(std::move(step)) {
  TORCH_CHECK(warmup >= 1, "CapturedGraph: warmup ", warmup,
              ", expected at least 1");
  if (device_.is_cpu()) return;
  const auto begin = Find<int64_t()>("repro::graph_begin");
  const auto end = Find<void(int64_t)>("repro::graph_end");
  const auto release = Find<void(int64_t)>("repro::graph_release");
  const at::NoGradGuard no_grad;
  const c10::impl::VirtualGuardImpl device_type(device_.type());
  device_type.synchronizeDevice(device_.index());
  {
    // CUDA does not record its default stream.
    const c10::StreamGuard guard(
        device_type.getStreamFromGlobalPool(device_, false));
    for (int i = 0; i < warmup; ++i) step_();
    device_type.synchronizeDevice(device_.index());
    graph_ = begin.call();
    try {
      step_();
      end.call(graph_);
    } catch (...) {
      release.call(graph_);
      throw;
    }
  }
  device_type.synchronizeDevice(device_.index());
}

CapturedGraph::~CapturedGraph() {
  if (graph_ >= 0) Find<void(int64_t)>("repro::graph_release").call(graph_);
}

void CapturedGraph::Replay() {
  if (device_.is_cpu()) {
    const at::NoGradGuard no_grad;
    step_();
    return;
  }
  static const auto replay = Find<void(int64_t)>("repro::graph_replay");
  replay.call(graph_);
}

}  // namespace repro
