// Time a token of greedy decoding on a GPU, one sequence, for the shapes of
// Llama-3-8B and Llama-2-7B with random bfloat16 weights and a cache of random
// values, beside the time that reading weights and cache once takes.
//
//   bazel-bin/common/lm/decode_benchmark [--model=llama3-8b]
//       [--context=4096] [--json]
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/lm/model.h"
#include "common/lm/static_decoder.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "kernels/runtime/cuda.h"
#include "nlohmann/json.hpp"

namespace repro::lm {
namespace {

constexpr int kSteps = 32;
constexpr int kRounds = 5;

double Seconds(c10::Device device, const std::function<void()>& run) {
  Synchronize(device);
  const auto start = std::chrono::steady_clock::now();
  run();
  Synchronize(device);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

// Bytes read and written a second by a large copy.
double CopyBandwidth(c10::Device device) {
  const at::Tensor from =
      at::empty({int64_t{1} << 30}, at::TensorOptions(device).dtype(at::kByte));
  from.random_();
  const at::Tensor to = at::empty_like(from);
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    best = std::min(best, Seconds(device, [&] {
                            for (int j = 0; j < 8; ++j) to.copy_(from);
                          }) / 8);
  }
  return 2.0 * static_cast<double>(from.nbytes()) / best;
}

struct Row {
  std::string model;
  int64_t context;
  double seconds = 0;  // a token; 0 where it did not run
  double bytes = 0;    // read once: weights but for the embedding, and cache
  std::string problem;
};

Row Measure(const LanguageModel& model, const std::string& name,
            int64_t context) {
  Row row;
  row.model = name;
  row.context = context;
  const ModelConfig& c = model.config();
  try {
    StaticDecoder decoder(model, 1, context + kSteps * (kRounds + 1));
    for (const at::Tensor& cache : decoder.caches()) {
      cache.normal_(0, 1, MakeGenerator(2, 0, model.device()));
    }
    std::vector<double> seconds;
    decoder.SetLength(context);
    for (int i = 0; i <= kRounds; ++i) {
      const double round = Seconds(model.device(), [&] {
        for (int j = 0; j < kSteps; ++j) decoder.Step();
      });
      if (i > 0) seconds.push_back(round / kSteps);
    }
    std::sort(seconds.begin(), seconds.end());
    row.seconds = seconds[seconds.size() / 2];
    row.bytes = static_cast<double>(model.WeightBytes() -
                                    model.weights().embedding.nbytes()) +
                2.0 * 2 * c.num_layers * c.num_kv_heads * c.head_dim *
                    static_cast<double>(context + kSteps * (kRounds + 1) / 2);
  } catch (const std::exception& error) {
    row.problem = error.what();
    row.problem = row.problem.substr(0, row.problem.find('\n'));
  }
  return row;
}

int Main(int argc, char** argv) {
  std::vector<std::string> models = {"llama3-8b", "llama2-7b"};
  std::vector<int64_t> contexts = {4096, 32768, 131072};
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    int64_t context = 0;
    if (absl::ConsumePrefix(&argument, "--model=") &&
        (argument == models[0] || argument == models.back())) {
      models = {std::string(argument)};
    } else if (absl::ConsumePrefix(&argument, "--context=") &&
               absl::SimpleAtoi(argument, &context) && context > 0 &&
               context < (1 << 24)) {
      contexts = {context};
    } else if (argument == "--json") {
      json = true;
    } else {
      std::cerr << "decode_benchmark: " << argv[i]
                << "? --model=llama3-8b|llama2-7b, --context=TOKENS, --json\n";
      return 2;
    }
  }
  const auto device = ParseDevice("cuda");
  if (!device.ok()) {
    std::cerr << "decode_benchmark: " << device.status().message() << "\n";
    return 3;
  }
  if (!LoadCudaKernels().empty()) {
    std::cerr << "decode_benchmark: no CUDA kernels: " << LoadCudaKernels()
              << "\n";
    return 3;
  }
  const at::NoGradGuard no_grad;
  const double bandwidth = CopyBandwidth(*device);
  std::vector<Row> rows;
  for (const std::string& name : models) {
    const auto model =
        RandomModel(name == "llama3-8b" ? ModelConfig::Llama3_8B()
                                        : ModelConfig::Llama2_7B(),
                    MakeGenerator(1, 0, *device), *device, at::kBFloat16);
    for (const int64_t context : contexts) {
      rows.push_back(Measure(*model, name, context));
    }
  }
  if (json) {
    nlohmann::json out = {{"device", DeviceName(*device)},
                          {"copy_bytes_per_second", bandwidth},
                          {"rows", nlohmann::json::array()}};
    for (const Row& row : rows) {
      out["rows"].push_back({{"model", row.model},
                             {"context", row.context},
                             {"seconds", row.seconds},
                             {"bytes", row.bytes},
                             {"problem", row.problem}});
    }
    std::cout << out.dump() << "\n";
    return 0;
  }
  std::cout << DeviceName(*device)
            << absl::StrFormat(", %.2f TB/s copied\n\n", bandwidth / 1e12)
            << "| model | context | ms a token | of 4.8 TB/s | of this card's "
               "copy |\n| --- | ---: | ---: | ---: | ---: |\n";
  for (const Row& row : rows) {
    if (row.seconds == 0) {
      std::cout << absl::StrFormat("| %s | %d | %s | | |\n", row.model,
                                   row.context, row.problem);
      continue;
    }
    const double rate = row.bytes / row.seconds;
    std::cout << absl::StrFormat("| %s | %d | %.3f | %.1f%% | %.1f%% |\n",
                                 row.model, row.context, 1e3 * row.seconds,
                                 100 * rate / 4.8e12, 100 * rate / bandwidth);
  }
  return 0;
}

}  // namespace
}  // namespace repro::lm

int main(int argc, char** argv) { return repro::lm::Main(argc, argv); }
