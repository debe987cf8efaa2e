// Usage: benchmark [--device=cpu|cuda] [--table=FILE]
// [--benchmark_filter=REGEX]
//
// Medians of 20 calls (of at least 5 where they take longer than a second
// together) with the caches overwritten before each. The table
// (Markdown, printed last) gives for each row
//   fastest peer   the peer's time over ours
//   floor          the larger of bytes over 4.8 TB/s and operations over 790
//                  TFLOP/s (an H200), and its part of the time
//   this card      the same floor at the copy bandwidth and matrix rate (bf16;
//                  float32 on the CPU) that were measured on this card at the
//                  start
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <benchmark/benchmark.h>
#include <c10/core/Event.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "kernels/runtime/cuda.h"
#include "kernels/testing/benchmark.h"

namespace repro {
namespace {

constexpr char kOurs[] = "repro";
constexpr double kH200Bandwidth = 4.8e12;  // bytes a second
constexpr double kH200Rate = 790e12;       // bf16 operations a second

// A row takes all its repetitions unless it is slow.
constexpr int kWarmup = 3;
constexpr size_t kRepetitions = 20, kLeastRepetitions = 5;
constexpr double kEnoughSeconds = 1;

std::vector<BenchmarkCase>& Cases() {
  static std::vector<BenchmarkCase>& cases = *new std::vector<BenchmarkCase>();
  return cases;
}

struct Row {
  const BenchmarkCase* benchmark_case;
  std::vector<double> seconds;  // sorted; empty if it did not run
  std::string problem;

  double Quantile(double q) const {
    return seconds[static_cast<size_t>(q * (seconds.size() - 1))];
  }
};

// What times one call at a time, the cache flushed before each.
class Timer {
 public:
  explicit Timer(c10::Device device)
      : device_(device),
        flush_(at::empty({int64_t{1} << 28},
                         at::TensorOptions(device).dtype(at::kByte))) {}

  double Seconds(const std::function<void()>& run) {
    flush_.fill_(1);
    if (!device_.is_cuda()) {
      const auto start = std::chrono::steady_clock::now();
      run();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                           start)
          .count();
    }
    const c10::impl::VirtualGuardImpl guard(device_.type());
    const c10::Stream stream = guard.getStream(device_);
    c10::Event start(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
    c10::Event end(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
    start.record(stream);
    run();
    end.record(stream);
    end.synchronize();
    return start.elapsedTime(end) / 1e3;
  }

 private:
  c10::Device device_;
  at::Tensor flush_;
};

void Measure(benchmark::State& state, const BenchmarkCase& benchmark_case,
             c10::Device device, Row* row) {
  row->benchmark_case = &benchmark_case;
  row->seconds.clear();
  try {
    const std::function<void()> run = benchmark_case.setup(device);
    Timer timer(device);
    double total = 0;
    for (int i = 0; i < kWarmup && total < kEnoughSeconds; ++i) {
      total += timer.Seconds(run);
    }
    for (auto _ : state) {
      total = 0;
      while (
          row->seconds.size() < kRepetitions &&
          (row->seconds.size() < kLeastRepetitions || total < kEnoughSeconds)) {
        row->seconds.push_back(timer.Seconds(run));
        total += row->seconds.back();
      }
      std::sort(row->seconds.begin(), row->seconds.end());
      state.SetIterationTime(row->Quantile(0.5));
    }
  } catch (const std::exception& error) {
    row->problem = std::string(error.what());
    row->problem = row->problem.substr(0, row->problem.find('\n'));
    row->seconds.clear();
    state.SkipWithError(row->problem.c_str());
  }
}

// This card's ceilings: {bytes a second of a copy (read and write), operations
// a second of a matrix product, bf16 or on the CPU float32}, the best of ten.
std::pair<double, double> Ceilings(c10::Device device) {
  const bool cuda = device.is_cuda();
  const at::TensorOptions options =
      at::TensorOptions(device).dtype(cuda ? at::kBFloat16 : at::kFloat);
  Timer timer(device);
  double copy = 1e9, product = 1e9;
  const at::Tensor from = at::randn({int64_t{1} << (cuda ? 29 : 26)}, options);
  const at::Tensor to = at::empty_like(from);
  const int64_t n = cuda ? 8192 : 2048;
  const at::Tensor a = at::randn({n, n}, options);
  const at::Tensor b = at::randn({n, n}, options);
  for (int i = 0; i < 10; ++i) {
    copy = std::min(copy, timer.Seconds([&] { to.copy_(from); }));
    product = std::min(product, timer.Seconds([&] { at::matmul(a, b); }));
  }
  return {2.0 * from.nbytes() / copy, 2.0 * n * n * n / product};
}

double Floor(const BenchmarkCase& benchmark_case, double bandwidth,
             double rate) {
  return std::max(benchmark_case.bytes / bandwidth,
                  benchmark_case.operations / rate);
}

std::string Fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

std::string Percent(double part) { return Fixed(100 * part, 0) + "%"; }

std::string Table(const std::vector<Row>& rows, bool cuda,
                  std::pair<double, double> ceilings) {
  std::ostringstream out;
  if (cuda) {
    out << "This card: " << Fixed(ceilings.first / 1e12, 2) << " TB/s copied, "
        << Fixed(ceilings.second / 1e12, 0)
        << " TFLOP/s in a matrix product.\n\n";
  } else {
    out << "CPU, " << at::get_num_threads()
        << " threads: " << Fixed(ceilings.first / 1e9, 1) << " GB/s copied, "
        << Fixed(ceilings.second / 1e9, 0)
        << " GFLOP/s in a float32 matrix product.\n\n";
  }
  out << "| op | shape | implementation | ms | 10% to 90% | fastest peer / "
         "ours | floor ms | of floor | of this card's floor |\n"
         "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
  std::map<std::pair<std::string, std::string>, double> fastest_peer;
  for (const Row& row : rows) {
    const BenchmarkCase& c = *row.benchmark_case;
    if (row.seconds.empty() || c.implementation == kOurs) continue;
    const auto [it, added] =
        fastest_peer.emplace(std::make_pair(c.op, c.shape), row.Quantile(0.5));
    if (!added) it->second = std::min(it->second, row.Quantile(0.5));
  }
  for (const Row& row : rows) {
    const BenchmarkCase& c = *row.benchmark_case;
    out << "| " << c.op << " | " << c.shape << " | " << c.implementation
        << " | ";
    if (row.seconds.empty()) {
      out << row.problem << " | | | | | |\n";
      continue;
    }
    const double median = row.Quantile(0.5);
    out << Fixed(1e3 * median, 4) << " | " << Fixed(1e3 * row.Quantile(0.1), 4)
        << " to " << Fixed(1e3 * row.Quantile(0.9), 4) << " | ";
    const auto peer = fastest_peer.find({c.op, c.shape});
    if (c.implementation == kOurs && peer != fastest_peer.end()) {
      out << Fixed(peer->second / median, 2);
    }
    out << " | ";
    const double floor = Floor(c, kH200Bandwidth, kH200Rate);
    if (cuda && floor > 0) {
      out << Fixed(1e3 * floor, 4) << " | " << Percent(floor / median);
    } else {
      out << " | ";
    }
    out << " | ";
    if (floor > 0) {
      out << Percent(Floor(c, ceilings.first, ceilings.second) / median);
    }
    out << " |\n";
  }
  return out.str();
}

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const std::string kTable = "--table=";
  bool cuda = false;
  std::string table_path;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--device=cuda") {
      cuda = true;
    } else if (argument.rfind(kTable, 0) == 0) {
      table_path = argument.substr(kTable.size());
    } else if (argument != "--device=cpu") {
      std::cerr
          << "benchmark: unknown argument " << argument
          << "; --device=cpu|cuda, --table=FILE, --benchmark_filter=...\n";
      return 2;
    }
  }
  if (cuda) {
    if (!LoadCuda().empty() || !at::globalContext().hasCUDA()) {
      std::cerr << "benchmark: no GPU" << LoadCuda() << "\n";
      return 3;
    }
    if (!LoadCudaKernels().empty()) {
      std::cerr << "benchmark: no CUDA kernels:" << LoadCudaKernels() << "\n";
      return 3;
    }
  }
  const c10::Device device =
      cuda ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
  const std::pair<double, double> ceilings = Ceilings(device);
  std::vector<Row> rows(Cases().size());
  std::vector<Row*> ran;
  for (size_t i = 0; i < rows.size(); ++i) {
    const BenchmarkCase& c = Cases()[i];
    if (c.device != device.type()) continue;
    Row* row = &rows[i];
    benchmark::RegisterBenchmark(
        (c.op + "/" + c.shape + "/" + c.implementation).c_str(),
        [&c, device, row, &ran](benchmark::State& state) {
          Measure(state, c, device, row);
          ran.push_back(row);
        })
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond)
        ->Iterations(1);
  }
  benchmark::RunSpecifiedBenchmarks();
  std::vector<Row> measured;
  for (const Row* row : ran) measured.push_back(*row);
  const std::string table = Table(measured, cuda, ceilings);
  std::cout << "\n" << table;
  if (!table_path.empty()) {
    std::ofstream file(table_path);
    file << table;
    if (!file.flush()) {
      std::cerr << "benchmark: cannot write " << table_path << "\n";
      return 2;
    }
  }
  return 0;
}

}  // namespace

void AddBenchmarkCase(BenchmarkCase benchmark_case) {
  Cases().push_back(std::move(benchmark_case));
}

}  // namespace repro

int main(int argc, char** argv) { return repro::Main(argc, argv); }
