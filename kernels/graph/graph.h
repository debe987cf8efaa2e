// A step recorded once and replayed without the CPU's launches (a CUDA graph).
//
//   at::Tensor token = prompt.select(1, -1).contiguous(), logits;
//   CapturedGraph step(device, [&] {
//     logits = model.Step(token, &state);
//     token.copy_(logits.argmax(-1));
//   });
//   for (int i = 0; i < new_tokens; ++i) step.Replay();
//
// No operator of its own: LibTorch's CUDAGraph, which the CUDA library of this
// project reaches at run time, so that one CPU build serves both.
#ifndef REPRO_KERNELS_GRAPH_GRAPH_H_
#define REPRO_KERNELS_GRAPH_GRAPH_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>

namespace repro {

class CapturedGraph {
 public:
  // On a GPU calls `step` `warmup` times (at least 1: libraries make their
  // workspaces in it), on a stream of its own, and then once more to record it.
  // Recording does no work: what `step` computes then is computed by Replay.
  // So state that `step` updates in place has seen `warmup` steps; restore it
  // before the first Replay where that matters.
  //
  // `step` must do the same work each time, on the device alone: no .item(), no
  // copies from or to the CPU, no shape that changes, no draws at random. It is
  // called without gradients; one that runs backward turns them on itself and
  // sets those of its leaves to none first. Tensors that outlive it (inputs,
  // state, results it assigns) keep their memory until the graph's end.
  //
  // On the CPU nothing is called yet and Replay calls `step`.
  //
  // Throws c10::Error where the step cannot be recorded or the CUDA kernels of
  // this project are not loaded; what `step` throws passes through.
  CapturedGraph(c10::Device device, std::function<void()> step, int warmup = 3);
  ~CapturedGraph();
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;

  // Queues the step on the device's current stream.
  void Replay();

 private:
  const c10::Device device_;
  const std::function<void()> step_;
  int64_t graph_ = -1;  // its number in the CUDA library
};

}  // namespace repro

#endif  // REPRO_KERNELS_GRAPH_GRAPH_H_
