// Trains BPE on a text and prints processor seconds, beside
// bpe_trainer_peer.py:
//
//   bpe_trainer_benchmark TEXT_FILE VOCAB_SIZE OUT_JSON

#include <cstdint>
#include <ctime>
#include <iostream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "common/tokenizer/bpe_trainer.h"

namespace repro {
namespace {

double ProcessorSeconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

absl::Status Run(const std::string& path, int64_t vocab_size,
                 const std::string& out) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const double begin = ProcessorSeconds();
  BpeTrainer trainer;
  REPRO_RETURN_IF_ERROR(trainer.AddText(text));
  const double counted = ProcessorSeconds();
  BpeTrainingOptions options;
  options.vocab_size = vocab_size;
  options.special_tokens = {"<s>", "</s>"};
  REPRO_ASSIGN_OR_RETURN(const TrainedBpe bpe, trainer.Train(options));
  const double end = ProcessorSeconds();
  std::cout << absl::StrFormat(
      "%d words, %d merges: %.2f processor seconds (%.2f to count words, %.2f "
      "to merge)\n",
      trainer.num_words(), bpe.merges.size(), end - begin, counted - begin,
      end - counted);
  return WriteFileAtomically(out, bpe.ToJson());
}

int Main(int argc, char** argv) {
  int64_t vocab_size = 0;
  if (argc != 4 || !absl::SimpleAtoi(argv[2], &vocab_size)) {
    std::cerr << "usage: bpe_trainer_benchmark TEXT_FILE VOCAB_SIZE OUT_JSON\n";
    return 2;
  }
  const absl::Status status = Run(argv[1], vocab_size, argv[3]);
  if (status.ok()) return 0;
  std::cerr << status.message() << "\n";
  return 1;
}

}  // namespace
}  // namespace repro

int main(int argc, char** argv) { return repro::Main(argc, argv); }
