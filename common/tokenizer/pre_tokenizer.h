// Steps that cut a text into the words that a model encodes by themselves.
#ifndef REPRO_COMMON_TOKENIZER_PRE_TOKENIZER_H_
#define REPRO_COMMON_TOKENIZER_PRE_TOKENIZER_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tokenizer/regex.h"

namespace repro {

struct PreTokenizer {
  enum class Kind {
    kDigits,            // runs of numeric characters apart
    kIndividualDigits,  // each numeric character apart
    kBert,              // at white space, which goes, and around punctuation
    kIsolate,           // matches of the regex and what lies between
    kRemove,            // what lies between the matches
    kMatches,           // the matches alone
  };
  Kind kind;
  std::shared_ptr<const Regex> regex;  // of the last three
};

// Cuts each of *pieces, none of which is empty before or after.
// ResourceExhausted where the regex gives up.
absl::Status PreTokenize(const PreTokenizer& step,
                         std::vector<absl::string_view>* pieces);

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_PRE_TOKENIZER_H_
