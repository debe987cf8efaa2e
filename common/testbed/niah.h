// Needle in a haystack for language models with a tokenizer: a number of five
// digits in a long text, asked for at its end, at controlled lengths and
// depths, under any attention policy.
#ifndef REPRO_COMMON_TESTBED_NIAH_H_
#define REPRO_COMMON_TESTBED_NIAH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/tokenizer/tokenizer.h"

namespace repro::testbed {

// The filler of passkey tests (Mohtashami and Jaggi 2023, arXiv 2305.16300).
std::string DefaultHaystack();

struct NiahConfig {
  std::string haystack = DefaultHaystack();  // repeated as long as needed
  std::vector<int64_t> lengths;              // tokens of the whole prompt
  std::vector<double> depths;                // of the needle, in [0, 1]
  int64_t count = 3;                         // keys of each length and depth
  uint64_t seed = 0;
  int64_t prompt_chunk = 512;  // tokens that are read at once
};

struct NiahPrompt {
  std::vector<int32_t> tokens;
  std::string key;  // five digits
};

// The prompt of exactly `length` tokens in RULER's words (single needle, Hsieh
// et al. 2024, arXiv 2404.06654): an instruction, the haystack with "One of the
// special magic numbers for long-context is: KEY." at its depth, moved on to
// the next end of a sentence, and the question, in the model's chat template if
// it has a known one; the answer's first words are given. InvalidArgument: a
// length without room for the rest, a depth outside [0, 1].
absl::StatusOr<NiahPrompt> MakeNiahPrompt(const Tokenizer& tokenizer,
                                          absl::string_view haystack,
                                          int64_t length, double depth,
                                          const std::string& key);

struct NiahCell {
  int64_t length = 0;
  double depth = 0;
  // Of each key: the share of digits in their place (metrics::DigitAccuracy)
  // of the greedy answer.
  std::vector<double> scores;

  double mean() const;
};

// In the order of lengths and depths. Keys depend on seed, length and depth, so
// that policies see the same prompts. The model's and the tokenizer's
// vocabularies must belong together.
absl::StatusOr<std::vector<NiahCell>> EvaluateNiah(
    const lm::LanguageModel& model, const Tokenizer& tokenizer,
    const lm::StateFactory& factory, const NiahConfig& config);

}  // namespace repro::testbed

#endif  // REPRO_COMMON_TESTBED_NIAH_H_
