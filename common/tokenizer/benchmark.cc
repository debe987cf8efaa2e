// Encoding and decoding speed. The text is given by REPRO_TEXT (a UTF-8 file),
// the tokenizer by REPRO_TOKENIZER (a GGUF file or a folder with
// tokenizer.json).

#include "benchmark/benchmark.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/text/utf8.h"
#include "common/tokenizer/loader.h"

namespace repro {
namespace {

absl::StatusOr<std::unique_ptr<Tokenizer>> Load() {
  const char* path = std::getenv("REPRO_TOKENIZER");
  if (path == nullptr) {
    return absl::InvalidArgumentError(
        "set REPRO_TOKENIZER to a GGUF file or a folder with tokenizer.json");
  }
  if (!absl::EndsWith(path, ".gguf")) return LoadTokenizer(path);
  auto file = OpenGguf(path);
  if (!file.ok()) return file.status();
  return TokenizerFromGguf(**file);
}

absl::StatusOr<std::string> Text() {
  const char* path = std::getenv("REPRO_TEXT");
  if (path == nullptr) {
    return absl::InvalidArgumentError("set REPRO_TEXT to a text file");
  }
  auto text = ReadFile(path);
  if (!text.ok()) return text;
  return ReplaceInvalidUtf8(*text);
}

void BM_Encode(benchmark::State& state) {
  const auto tokenizer = Load();
  const auto text = Text();
  for (const absl::Status& status : {tokenizer.status(), text.status()}) {
    if (!status.ok()) {
      state.SkipWithError(status.ToString().c_str());
      return;
    }
  }
  for (auto _ : state) benchmark::DoNotOptimize((*tokenizer)->Encode(*text));
  state.SetBytesProcessed(state.iterations() * text->size());
}
BENCHMARK(BM_Encode)->Unit(benchmark::kMillisecond);

void BM_Decode(benchmark::State& state) {
  const auto tokenizer = Load();
  const auto text = Text();
  for (const absl::Status& status : {tokenizer.status(), text.status()}) {
    if (!status.ok()) {
      state.SkipWithError(status.ToString().c_str());
      return;
    }
  }
  const auto ids = (*tokenizer)->Encode(*text);
  for (auto _ : state) benchmark::DoNotOptimize((*tokenizer)->Decode(*ids));
  state.SetBytesProcessed(state.iterations() * text->size());
}
BENCHMARK(BM_Decode)->Unit(benchmark::kMillisecond);

// A word that no pre-tokenizer cuts.
void BM_EncodeLongWord(benchmark::State& state) {
  const auto tokenizer = Load();
  if (!tokenizer.ok()) {
    state.SkipWithError(tokenizer.status().ToString().c_str());
    return;
  }
  const std::string text(state.range(0), 'a');
  for (auto _ : state) benchmark::DoNotOptimize((*tokenizer)->Encode(text));
  state.SetBytesProcessed(state.iterations() * text.size());
}
BENCHMARK(BM_EncodeLongWord)
    ->RangeMultiplier(10)
    ->Range(1000, 1000000)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace repro
