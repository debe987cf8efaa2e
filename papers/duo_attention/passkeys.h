// The texts that gates are trained on: passkeys at several depths of a long
// text, all asked for at its end (section 2.2, synthetic dataset).
#ifndef REPRO_PAPERS_DUO_ATTENTION_PASSKEYS_H_
#define REPRO_PAPERS_DUO_ATTENTION_PASSKEYS_H_

#include <ATen/core/Generator.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tokenizer/tokenizer.h"
#include "papers/duo_attention/gate_training.h"

namespace repro::duo {

struct PasskeyConfig {
  int64_t num_passkeys = 10;   // 1 to 10
  int64_t passkey_words = 32;  // of the 26 words of the NATO alphabet
  int64_t least_length = 1000;
  int64_t most_length = 32000;  // tokens, all included
  int64_t num_lengths = 50;     // evenly spaced between these
  int64_t num_depths = 1000;    // evenly spaced in [0.05, 0.95]
};

// Makes samples from a text, repeated as long as needed; the authors' wording,
// its misspelling included.
class PasskeyTexts {
 public:
  // InvalidArgument: a config that cannot be, a text without tokens, a least
  // length without room for needles and questions.
  static absl::StatusOr<PasskeyTexts> Create(const Tokenizer& tokenizer,
                                             absl::string_view haystack,
                                             const PasskeyConfig& config);

  // A length, depths and passkeys are drawn. Labelled are questions and
  // passkeys at the end. Shorter than the drawn length by less than the
  // passkeys' differences in tokens.
  GateSample Draw(at::Generator generator) const;

 private:
  using Ids = std::vector<int64_t>;
  PasskeyTexts() = default;

  PasskeyConfig config_;
  Ids haystack_, separator_, begin_, end_;
  std::vector<Ids> needles_, questions_;  // an ordinal
  std::vector<Ids> words_;                // with and without a space before it
  int64_t besides_ = 0;                   // most tokens that are not haystack
};

}  // namespace repro::duo

#endif  // REPRO_PAPERS_DUO_ATTENTION_PASSKEYS_H_
