#include "papers/code_review_comments/review_bleu.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/metrics/bleu.h"
#include "common/status/macros.h"

namespace repro::code_review_comments {

using metrics::Tokens;

absl::StatusOr<StopWords> ReadStopWords(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  StopWords words;
  for (const absl::string_view line :
       metrics::SplitLines(text, metrics::LineEnds::kDrop)) {
    std::string word = metrics::Strip(line);
    if (!word.empty()) words.insert(std::move(word));
  }
  if (words.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no words"));
  }
  return words;
}

Tokens ReviewTokens(absl::string_view comment, const StopWords* stop_words) {
  // Without stop words the first split changes nothing: the second one parts
  // whatever it parts.
  if (stop_words == nullptr) return metrics::CodeXglueTokens(comment);
  std::string kept, run;
  bool in_word = false;
  const auto end_run = [&] {
    if (!run.empty() && stop_words->count(run) == 0) {
      absl::StrAppend(&kept, run, " ");
    }
    run.clear();
  };
  for (const int32_t code_point : metrics::CodePoints(comment)) {
    const bool is_word = metrics::IsWord(code_point);
    if (metrics::IsSpace(code_point) || is_word != in_word) end_run();
    if (!metrics::IsSpace(code_point)) AppendUtf8(code_point, &run);
    in_word = is_word;
  }
  end_run();
  return metrics::CodeXglueTokens(kept);
}

double ReviewBleu(absl::string_view gold, absl::string_view comment,
                  const StopWords* stop_words) {
  // An error only where there is no reference.
  return 100 *
         *metrics::CodeXglueSentenceBleu({ReviewTokens(gold, stop_words)},
                                         ReviewTokens(comment, stop_words));
}

}  // namespace repro::code_review_comments
