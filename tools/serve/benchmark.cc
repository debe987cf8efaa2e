// Tokens a second and time to the first token of the server at 1, 4 and 16
// clients, each with a connection and a prompt of its own.
//
//   bazel run -c opt //tools/serve:benchmark
//
// With SmolLM2-135M if it is on this machine (REPRO_ASSETS or the cache), else
// with random weights of its shape.

#include <httplib.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/assets/asset_store.h"
#include "common/lm/default_model.h"
#include "common/lm/policy.h"
#include "common/lm/text_model.h"
#include "common/lm/tiny_model.h"
#include "common/stats/descriptive.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "tools/environment.h"
#include "tools/serve/server.h"
#include "tools/terminal.h"

namespace repro {
namespace {

constexpr int64_t kPromptTokens = 128, kNewTokens = 32;

// SmolLM2's shape but for its vocabulary, which is the tiny tokenizer's.
lm::TextModel Synthetic() {
  lm::ModelConfig config;
  config.vocab_size = lm::kTinyVocabulary;
  config.hidden_size = 576;
  config.intermediate_size = 1536;
  config.num_layers = 30;
  config.num_heads = 9;
  config.num_kv_heads = 3;
  config.head_dim = 64;
  config.max_positions = 2048;
  return {lm::RandomModel(config, MakeGenerator(1), at::kCPU, at::kFloat),
          lm::TinyTokenizer()};
}

struct Timing {
  double first_seconds = 0;
  int64_t tokens = 0;
};

// One streamed completion; the prompt is of tokens that differ by client.
Timing Ask(int port, int client) {
  std::vector<int> prompt;
  for (int i = 0; i < kPromptTokens; ++i) {
    prompt.push_back(32 + (i * 7 + client * 13) % 64);
  }
  httplib::Client http("127.0.0.1", port);
  http.set_read_timeout(600);
  httplib::Request request;
  request.method = "POST";
  request.path = "/v1/completions";
  request.headers = {{"Content-Type", "application/json"}};
  request.body = nlohmann::json({{"prompt", prompt},
                                 {"max_tokens", kNewTokens},
                                 {"temperature", 0},
                                 {"logprobs", 0},
                                 {"stream", true},
                                 {"stream_options", {{"include_usage", true}}}})
                     .dump();
  Timing timing;
  std::string body;
  const absl::Time start = absl::Now();
  request.content_receiver = [&](const char* bytes, size_t count, uint64_t,
                                 uint64_t) {
    if (body.empty()) {
      timing.first_seconds = absl::ToDoubleSeconds(absl::Now() - start);
    }
    body.append(bytes, count);
    return true;
  };
  const httplib::Result result = http.send(request);
  if (!result || result->status != 200) {
    std::cerr << "the server does not answer\n";
    std::exit(1);
  }
  for (const absl::string_view event : absl::StrSplit(body, "\n\n")) {
    if (!absl::StrContains(event, "\"completion_tokens\"")) continue;
    timing.tokens = nlohmann::json::parse(std::string(
        event.substr(event.find('{'))))["usage"]["completion_tokens"];
  }
  return timing;
}

int Main() {
  ConfigureTorch(0, /*deterministic=*/false);
  std::string name = "random weights of SmolLM2-135M's shape";
  lm::TextModel loaded;
  const auto asset = AssetStore(AssetStoreOptions::FromEnvironment())
                         .Locate(lm::DefaultModel());
  if (asset.ok()) {
    auto real = lm::LoadTextModel(asset->path, {});
    if (!real.ok()) {
      std::cerr << real.status() << "\n";
      return 1;
    }
    loaded = *std::move(real);
    name = lm::kDefaultModelName;
  } else {
    loaded = Synthetic();
  }
  const auto factory = lm::PreparePolicy("dense", {}, *loaded.model);
  const auto environment = MakeEnvironment("cpu");
  if (!factory.ok() || !environment.ok()) {
    std::cerr << factory.status() << " " << environment.status() << "\n";
    return 1;
  }
  ServerOptions options;
  options.port = 0;
  Server server(loaded.model.get(), loaded.tokenizer.get(), *factory, options);
  if (const absl::Status status = server.Start(); !status.ok()) {
    std::cerr << status << "\n";
    return 1;
  }
  Ask(server.port(), 0);  // warms up
  std::cout << name << ", prompts of " << kPromptTokens << " tokens, at most "
            << kNewTokens << " new ones\n"
            << environment->device_name << ", " << environment->machine.cores()
            << " cores; commit " << environment->build.commit()
            << (environment->build.modified() ? " (modified)" : "") << "\n\n";
  TextTable table(
      {"clients", "tokens/s", "first token, median", "first token, slowest"});
  for (const int clients : {1, 4, 16}) {
    std::vector<Timing> timings(clients);
    std::vector<std::thread> threads;
    const absl::Time start = absl::Now();
    for (int i = 0; i < clients; ++i) {
      threads.emplace_back([&, i] { timings[i] = Ask(server.port(), i); });
    }
    for (std::thread& thread : threads) thread.join();
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    int64_t tokens = 0;
    std::vector<double> first;
    for (const Timing& timing : timings) {
      tokens += timing.tokens;
      first.push_back(timing.first_seconds);
    }
    std::sort(first.begin(), first.end());
    table.AddRow({absl::StrCat(clients),
                  absl::StrFormat("%.1f", tokens / seconds),
                  absl::StrFormat("%.2f s", *Median(first)),
                  absl::StrFormat("%.2f s", first.back())});
  }
  std::cout << table.ToMarkdown();
  return 0;
}

}  // namespace
}  // namespace repro

int main() { return repro::Main(); }
