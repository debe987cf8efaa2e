// Steps that change the text before it is cut into words.
#ifndef REPRO_COMMON_TOKENIZER_NORMALIZER_H_
#define REPRO_COMMON_TOKENIZER_NORMALIZER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

enum class NormalForm { kNone, kNfc, kNfd, kNfkc, kNfkd };

// In this order: clean, pad, form, strip, lower case. BERT's is {kNfd if
// accents are stripped, true, true, strip_accents, lowercase}.
struct Normalizer {
  NormalForm form = NormalForm::kNone;
  // Control characters, U+0000 and U+FFFD go, white space becomes a space.
  bool clean_text = false;
  bool pad_chinese = false;    // a space before and behind each ideograph
  bool strip_accents = false;  // marks of category Mn go
  bool lowercase = false;      // each character by itself
};

// `text` must be valid UTF-8. ResourceExhausted for lack of memory.
absl::StatusOr<std::string> Normalize(const Normalizer& normalizer,
                                      absl::string_view text);

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_NORMALIZER_H_
