// The benchmark program of the kernels: each operator beside the strongest peer
// and the floor that the hardware sets, in one run.
#ifndef REPRO_KERNELS_TESTING_BENCHMARK_H_
#define REPRO_KERNELS_TESTING_BENCHMARK_H_

#include <c10/core/Device.h>

#include <functional>
#include <string>

namespace repro {

struct BenchmarkCase {
  std::string op;     // "lightning_attention forward"
  std::string shape;  // "B64 N1024 H16 D128"
  // "repro", or the peer's name: "LibTorch flash". Rows of one op and shape
  // are compared.
  std::string implementation;
  c10::DeviceType device = c10::kCUDA;

  // The least that has to be done: each input read once, each output written
  // once; operations count 2 a multiply-add. For the floor; 0: none.
  double bytes = 0;
  double operations = 0;

  // Allocates the inputs (random, never zeros) and returns what is timed. What
  // it throws (out of memory, not supported) becomes the row's text.
  std::function<std::function<void()>(c10::Device)> setup;
};

// Called before main, through REPRO_REGISTER_BENCHMARKS.
void AddBenchmarkCase(BenchmarkCase benchmark_case);

}  // namespace repro

// `function`: void(), calls AddBenchmarkCase for each of its cases.
#define REPRO_REGISTER_BENCHMARKS(function)        \
  static const bool repro_benchmarks_added_ = [] { \
    function();                                    \
    return true;                                   \
  }()

#endif  // REPRO_KERNELS_TESTING_BENCHMARK_H_
