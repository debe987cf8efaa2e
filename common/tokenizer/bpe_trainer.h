// Training of a byte-level BPE vocabulary (Sennrich et al. 2016, arXiv
// 1508.07909, on bytes) as Hugging Face's `tokenizers` trains one.
//
//   BpeTrainer trainer;
//   for (const std::string& text : texts) {
//     REPRO_RETURN_IF_ERROR(trainer.AddText(text));
//   }
//   BpeTrainingOptions options;
//   options.vocab_size = 10000;
//   options.special_tokens = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
//   REPRO_ASSIGN_OR_RETURN(const TrainedBpe bpe, trainer.Train(options));
//   REPRO_RETURN_IF_ERROR(
//       WriteFileAtomically(folder + "/tokenizer.json", bpe.ToJson()));
#ifndef REPRO_COMMON_TOKENIZER_BPE_TRAINER_H_
#define REPRO_COMMON_TOKENIZER_BPE_TRAINER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

struct BpeTrainingOptions {
  // Special tokens, the 256 bytes, then one token a merge.
  int64_t vocab_size = 30000;
  // A pair that occurs less often is not merged.
  int64_t min_frequency = 0;
  // Get the first ids in this order; distinct and not empty.
  std::vector<std::string> special_tokens;
  // No token is made of more bytes; 0: any number.
  int64_t max_token_bytes = 0;
  // After each merge and once for the start; false cancels.
  std::function<bool(int64_t done, int64_t total)> progress;
};

struct TrainedBpe {
  std::vector<std::string> special_tokens;  // ids 0, 1, ...
  // By id, after the special tokens; as tokenizer.json spells them ("Ġthe").
  std::vector<std::string> tokens;
  // In the order of their rank.
  std::vector<std::pair<std::string, std::string>> merges;

  // A tokenizer.json with GPT-2's pre-tokenizer (ByteLevel without a prefix
  // space), which common/tokenizer and Hugging Face load.
  std::string ToJson() const;
};

// Counts words, then learns merges from the counts.
class BpeTrainer {
 public:
  // Cuts `text` by GPT-2's pattern. InvalidArgument if it is not UTF-8.
  absl::Status AddText(absl::string_view text);
  // One word, of any bytes, that is not cut; as for vocabularies over tokens of
  // a parser.
  void AddWord(absl::string_view word, int64_t count = 1);

  int64_t num_words() const { return static_cast<int64_t>(words_.size()); }

  // Merges the most frequent pair of adjacent tokens, over and over; pairs do
  // not cross words. Of equally frequent pairs the one with the smaller ids
  // goes first: (left, right) compared in that order, where bytes have ids in
  // the order of their characters in the vocabulary and merged tokens in the
  // order of their merges. The result depends on counts alone, not on the
  // order of texts. InvalidArgument: options that make no sense, or a
  // vocab_size below special tokens + 256. Cancelled: by progress.
  absl::StatusOr<TrainedBpe> Train(const BpeTrainingOptions& options) const;

 private:
  absl::flat_hash_map<std::string, int64_t> words_;
};

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_BPE_TRAINER_H_
