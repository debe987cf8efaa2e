// Trains the gates of a model and prints them in the authors' format.
//
//   bazel run -c opt //papers/duo_attention:train_gates -- --model=FILE.gguf
//       [--device=cpu] [--steps=2000] [--length=4096] [--passkeys=10]
//       [--words=32] [--sink=128] [--recent=256] [--haystack=FILE] > gates.tsv
//
// Lengths are drawn from half of --length to all of it.
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/checkpoint/gguf.h"
#include "common/data/io.h"
#include "common/lm/model.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/testbed/niah.h"
#include "common/tokenizer/loader.h"
#include "papers/duo_attention/gate_training.h"
#include "papers/duo_attention/heads.h"
#include "papers/duo_attention/passkeys.h"

namespace repro::duo {
namespace {

absl::StatusOr<std::unique_ptr<Tokenizer>> ReadTokenizer(
    const std::string& model) {
  if (!absl::EndsWith(model, ".gguf")) return LoadTokenizer(model);
  REPRO_ASSIGN_OR_RETURN(const auto file, OpenGguf(model));
  return TokenizerFromGguf(*file);
}

absl::StatusOr<std::string> Train(std::map<std::string, std::string> flags) {
  const auto number = [&](const char* name) -> absl::StatusOr<int64_t> {
    int64_t value = 0;
    if (!absl::SimpleAtoi(flags.at(name), &value) || value < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, "=", flags.at(name), ": want a number"));
    }
    return value;
  };
  lm::LoadOptions load;
  REPRO_ASSIGN_OR_RETURN(load.device, ParseDevice(flags["device"]));
  load.keep_quantized = false;
  REPRO_ASSIGN_OR_RETURN(const auto model, lm::LoadModel(flags["model"], load));
  REPRO_ASSIGN_OR_RETURN(const auto tokenizer, ReadTokenizer(flags["model"]));
  std::string haystack = testbed::DefaultHaystack();
  if (!flags["haystack"].empty()) {
    REPRO_ASSIGN_OR_RETURN(haystack, ReadFile(flags["haystack"], 1 << 28));
  }
  PasskeyConfig texts;
  REPRO_ASSIGN_OR_RETURN(texts.num_passkeys, number("passkeys"));
  REPRO_ASSIGN_OR_RETURN(texts.passkey_words, number("words"));
  REPRO_ASSIGN_OR_RETURN(texts.most_length, number("length"));
  texts.least_length = texts.most_length / 2;
  REPRO_ASSIGN_OR_RETURN(const PasskeyTexts data,
                         PasskeyTexts::Create(*tokenizer, haystack, texts));
  GateTraining training;
  REPRO_ASSIGN_OR_RETURN(training.steps, number("steps"));
  REPRO_ASSIGN_OR_RETURN(training.mask.sink, number("sink"));
  REPRO_ASSIGN_OR_RETURN(training.mask.recent, number("recent"));
  training.progress = [](int64_t done, int64_t total, const std::string& text) {
    std::cerr << done << "/" << total << " " << text << "\n";
  };
  REPRO_ASSIGN_OR_RETURN(const at::Tensor gates,
                         TrainGates(*model, training, [&](int64_t step) {
                           return data.Draw(MakeGenerator(42, 1 + step));
                         }));
  return FormatGates(gates);
}

int Main(int argc, char** argv) {
  std::map<std::string, std::string> flags = {
      {"model", ""},      {"device", "cpu"},  {"steps", "2000"},
      {"length", "4096"}, {"passkeys", "10"}, {"words", "32"},
      {"sink", "128"},    {"recent", "256"},  {"haystack", ""}};
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    absl::ConsumePrefix(&argument, "--");
    const std::pair<std::string, std::string> flag =
        absl::StrSplit(argument, absl::MaxSplits('=', 1));
    if (flags.count(flag.first) == 0) {
      std::cerr << "train_gates: " << argv[i] << "? See the top of this file's "
                << "source: --model, --device, --steps, --length, --passkeys, "
                << "--words, --sink, --recent, --haystack\n";
      return 2;
    }
    flags[flag.first] = flag.second;
  }
  const absl::StatusOr<std::string> gates = Train(flags);
  if (!gates.ok()) {
    std::cerr << "train_gates: " << gates.status().message() << "\n";
    return absl::IsInvalidArgument(gates.status()) ? 2 : 1;
  }
  std::cout << *gates;
  return 0;
}

}  // namespace
}  // namespace repro::duo

int main(int argc, char** argv) { return repro::duo::Main(argc, argv); }
