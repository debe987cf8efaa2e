#include <ATen/cuda/CUDAGraph.h>
#include <torch/library.h>

#include <map>
#include <memory>
#include <mutex>

namespace repro {
namespace {

std::mutex& Mutex() {
  static std::mutex& mutex = *new std::mutex();
  return mutex;
}

std::map<int64_t, std::shared_ptr<at::cuda::CUDAGraph>>& Graphs() {
  static auto& graphs =
      *new std::map<int64_t, std::shared_ptr<at::cuda::CUDAGraph>>();
  return graphs;
}

std::shared_ptr<at::cuda::CUDAGraph> Get(int64_t number) {
  const std::lock_guard<std::mutex> lock(Mutex());
  const auto found = Graphs().find(number);
  TORCH_CHECK(found != Graphs().end(), "graph ", number, ": no such graph");
  return found->second;
}

// Records the current stream from here on.
int64_t Begin() {
  const auto graph = std::make_shared<at::cuda::CUDAGraph>();
  graph->capture_begin();
  static int64_t next = 0;
  const std::lock_guard<std::mutex> lock(Mutex());
  Graphs().emplace(next, graph);
  return next++;
}

void End(int64_t number) { Get(number)->capture_end(); }

void Replay(int64_t number) { Get(number)->replay(); }

// Also in the middle of recording, after an error.
void Release(int64_t number) {
  const auto graph = Get(number);
  {
    const std::lock_guard<std::mutex> lock(Mutex());
    Graphs().erase(number);
  }
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  C10_CUDA_IGNORE_ERROR(cudaStreamIsCapturing(
      at::cuda::getCurrentCUDAStream().stream(), &status));
  if (status == cudaStreamCaptureStatusNone) return;
  try {
    graph->capture_end();
  } catch (const c10::Error&) {
    // It is invalid, which is why it is released.
  }
}

TORCH_LIBRARY_FRAGMENT(repro, m) {
  m.def("graph_begin() -> int", Begin);
  m.def("graph_end(int graph) -> ()", End);
  m.def("graph_replay(int graph) -> ()", Replay);
  m.def("graph_release(int graph) -> ()", Release);
}

}  // namespace
}  // namespace repro
