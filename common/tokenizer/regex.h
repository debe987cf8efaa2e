// Regular expressions of tokenizers: Oniguruma's syntax as far as they use it,
// on PCRE2.
#ifndef REPRO_COMMON_TOKENIZER_REGEX_H_
#define REPRO_COMMON_TOKENIZER_REGEX_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct pcre2_real_code_8;

namespace repro {

class Regex {
 public:
  // InvalidArgument, with the place in the pattern, for what PCRE2 rejects;
  // Unimplemented for \w, \W, \b and \B, which mean other characters to
  // Oniguruma.
  static absl::StatusOr<std::shared_ptr<const Regex>> Create(
      absl::string_view pattern);
  // Matches `text` alone.
  static absl::StatusOr<std::shared_ptr<const Regex>> CreateLiteral(
      absl::string_view text);

  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // [begin, end) of the matches that are not empty, from left to right.
  // `text` must be valid UTF-8. ResourceExhausted if a match needs too much
  // backtracking or memory; Internal for other errors of PCRE2.
  absl::Status FindAll(absl::string_view text,
                       std::vector<std::pair<size_t, size_t>>* matches) const;

 private:
  Regex(pcre2_real_code_8* code, std::string pattern)
      : code_(code), pattern_(std::move(pattern)) {}

  pcre2_real_code_8* code_;
  std::string pattern_;
};

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_REGEX_H_
