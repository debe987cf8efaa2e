// What a client costs beside the model: requests a second through a replay, a
// recording and an OpenAI-compatible stub of this process.
//
//   bazel run -c opt //common/completion:benchmark

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/completion/openai_client.h"
#include "common/completion/record_replay.h"
#include "common/completion/scripted.h"
#include "common/http/raw_server.h"

namespace repro::completion {
namespace {

constexpr int kRequests = 100;  // that differ

CompletionRequest Request(int i) {
  CompletionRequest request;
  request.messages = {{"user", absl::StrCat(std::string(2000, 'x'), i)}};
  return request;
}

// 1 KB of answer to 2 KB of request.
std::unique_ptr<ScriptedClient> Script() {
  return std::make_unique<ScriptedClient>(
      [](const CompletionRequest&) -> absl::StatusOr<Completion> {
        return TextCompletion(std::string(1000, 'y'));
      });
}

std::string Folder(const char* name) {
  const std::string folder =
      (std::filesystem::temp_directory_path() / "repro_completion_").string() +
      name;
  std::filesystem::remove_all(folder);
  return folder;
}

void Ask(CompletionClient* client, int i, benchmark::State& state) {
  const auto answer = client->Complete(Request(i % kRequests));
  if (!answer.ok()) state.SkipWithError(answer.status().ToString().c_str());
}

void BM_Scripted(benchmark::State& state) {
  const auto client = Script();
  int i = 0;
  for (auto _ : state) Ask(client.get(), i++, state);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Scripted);

void BM_Replay(benchmark::State& state) {
  const std::string folder = Folder("replay");
  const auto recorder = RecordingClient::Create(Script(), folder);
  for (int i = 0; i < kRequests; ++i) Ask(recorder->get(), i, state);
  const auto client = ReplayClient::Create(folder);
  int i = 0;
  for (auto _ : state) Ask(client->get(), i++, state);
  state.SetItemsProcessed(state.iterations());
  std::filesystem::remove_all(folder);
}
BENCHMARK(BM_Replay);

// Each to the disk (fsync).
void BM_Record(benchmark::State& state) {
  const std::string folder = Folder("record");
  const auto client = RecordingClient::Create(Script(), folder);
  int seed = 0;
  for (auto _ : state) {
    CompletionRequest request = Request(0);
    request.seed = seed++;
    benchmark::DoNotOptimize((*client)->Complete(request));
  }
  state.SetItemsProcessed(state.iterations());
  std::filesystem::remove_all(folder);
}
BENCHMARK(BM_Record)->UseRealTime();

// The stub closes each connection, so a connection is made each time.
void BM_OpenAi(benchmark::State& state) {
  http::RawServer server([](const std::string&) -> http::RawServer::Reply {
    return {http::HttpAnswer(
        200, "application/json",
        absl::StrCat(R"({"choices": [{"message": {"content": ")",
                     std::string(1000, 'y'),
                     R"("}, "finish_reason": "stop"}]})"))};
  });
  OpenAiOptions options;
  options.url = server.url();
  options.model = "m";
  options.api_key_variable = "";
  const auto client = OpenAiClient::Create(options);
  int i = 0;
  for (auto _ : state) Ask(client->get(), i++, state);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_OpenAi)->UseRealTime();

}  // namespace
}  // namespace repro::completion

BENCHMARK_MAIN();
