// Megabytes a second on a corpus of real files, with tree-sitter's parse alone
// as the floor:
//   CORPUS=/usr/lib/python3.11 bazel-bin/common/code/benchmark

#include <benchmark/benchmark.h>
#include <tree_sitter/api.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/code/data_flow.h"
#include "common/code/functions.h"
#include "common/code/grammar.h"
#include "common/code/language.h"
#include "common/code/syntax_tree.h"
#include "common/data/io.h"

namespace repro::code {
namespace {

struct Case {
  CodeLanguage language;
  const char* extension;
};

constexpr Case kCases[] = {
    {CodeLanguage::kPython, ".py"},     {CodeLanguage::kJava, ".java"},
    {CodeLanguage::kJavaScript, ".js"}, {CodeLanguage::kGo, ".go"},
    {CodeLanguage::kPhp, ".php"},       {CodeLanguage::kRuby, ".rb"},
    {CodeLanguage::kC, ".c"},           {CodeLanguage::kCpp, ".cc"},
    {CodeLanguage::kCSharp, ".cs"},
};

constexpr size_t kMaxBytes = 4 << 20;

// Files below CORPUS with the extension, in order of their paths.
const std::vector<std::string>& Corpus(const std::string& extension) {
  static auto* const corpora =
      new std::map<std::string, std::vector<std::string>>;
  const auto [found, is_new] = corpora->try_emplace(extension);
  const char* folder = std::getenv("CORPUS");
  if (!is_new || folder == nullptr) return found->second;
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder, error)) {
    if (entry.is_regular_file(error) && entry.path().extension() == extension) {
      paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  size_t bytes = 0;
  for (const std::string& path : paths) {
    if (bytes >= kMaxBytes) break;
    auto text = ReadFile(path, 1 << 20);
    if (!text.ok()) continue;
    bytes += text->size();
    found->second.push_back(*std::move(text));
  }
  return found->second;
}

template <typename Use>
void OnCorpus(benchmark::State& state, const Case& what, const Use& use) {
  const std::vector<std::string>& corpus = Corpus(what.extension);
  if (corpus.empty()) {
    state.SkipWithError("no such file below CORPUS");
    return;
  }
  int64_t bytes = 0;
  for (auto _ : state) {
    for (const std::string& text : corpus) {
      use(text);
      bytes += text.size();
    }
  }
  state.SetBytesProcessed(bytes);
}

void Floor(benchmark::State& state, Case what) {
  OnCorpus(state, what, [&](const std::string& text) {
    TSParser* parser = ts_parser_new();
    ts_parser_set_language(parser, TreeSitterLanguage(what.language));
    ts_tree_delete(
        ts_parser_parse_string(parser, nullptr, text.data(), text.size()));
    ts_parser_delete(parser);
  });
}

void Parse(benchmark::State& state, Case what) {
  OnCorpus(state, what, [&](const std::string& text) {
    benchmark::DoNotOptimize(SyntaxTree::Parse(what.language, text));
  });
}

void Functions(benchmark::State& state, Case what) {
  OnCorpus(state, what, [&](const std::string& text) {
    benchmark::DoNotOptimize(
        ExtractFunctions(*SyntaxTree::Parse(what.language, text)));
  });
}

// Function by function, as models read them.
void FunctionsAndDataFlow(benchmark::State& state, Case what) {
  OnCorpus(state, what, [&](const std::string& text) {
    for (const Function& function :
         ExtractFunctions(*SyntaxTree::Parse(what.language, text))) {
      if (!HasDataFlow(what.language)) continue;
      benchmark::DoNotOptimize(DataFlow(what.language, function.code));
    }
  });
}

int RegisterAll() {
  for (const Case& what : kCases) {
    const std::string name = LanguageName(what.language);
    for (const auto& [part, run] :
         {std::pair{"tree_sitter", &Floor}, std::pair{"parse", &Parse},
          std::pair{"functions", &Functions},
          std::pair{"data_flow", &FunctionsAndDataFlow}}) {
      benchmark::RegisterBenchmark((name + "/" + part).c_str(), run, what)
          ->Unit(benchmark::kMillisecond);
    }
  }
  return 0;
}

const int kRegistered = RegisterAll();

}  // namespace
}  // namespace repro::code
