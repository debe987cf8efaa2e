// The needle-in-a-haystack test of the paper (KVCache-Factory's): one sentence
// in Paul Graham's essays, asked for after them, with a model that has a
// tokenizer.
#ifndef REPRO_PAPERS_INFINI_RETRI_NEEDLE_H_
#define REPRO_PAPERS_INFINI_RETRI_NEEDLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/lm/model.h"
#include "common/tokenizer/tokenizer.h"

namespace repro::infini_retri {

inline constexpr char kNeedle[] =
    "The best thing to do in San Francisco is eat a sandwich and sit in "
    "Dolores Park on a sunny day.";
inline constexpr char kNeedleAnswer[] =
    "eat a sandwich and sit in Dolores Park on a sunny day.";
inline constexpr char kNeedleQuestion[] =
    "Based on the content of the book, what is the best thing to do in San "
    "Francisco?";

// The share of the answer's distinct lower-cased words (of text.split(): "day."
// with its full stop) that are words of the response. InvalidArgument: an
// answer without words.
absl::StatusOr<double> MatchedWords(absl::string_view response,
                                    absl::string_view answer);

// The texts of a JSON Lines file, plain or gzip, with a field "text" each.
// Errors: ReadJsonl's; InvalidArgument for a line without it or no line at all.
absl::StatusOr<std::vector<std::string>> ReadEssays(const std::string& path);

// Sentences of the essays, from a drawn essay on and round as often as needed,
// of `length` tokens at most together with the needle, which stands after the
// share `depth` of them. InvalidArgument: depth outside [0, 1], a length
// without room for the needle, essays without text.
absl::StatusOr<std::string> MakeNeedleText(
    const std::vector<std::string>& essays, const Tokenizer& tokenizer,
    absl::string_view needle, int64_t length, double depth, uint64_t seed);

struct NeedleOptions {
  int64_t length = 2048;  // tokens of the text
  std::vector<double> depths = {0.25, 0.5, 0.75};
  int64_t chunk_size = 256;
  int64_t top_k = 64;
  int64_t layer = -1;  // of the attention; -1: the last
  int64_t max_new_tokens = 30;
  int64_t sink = 4, recent = 508;  // of the window
};

struct NeedleScore {
  double matched = 0;    // MatchedWords of the greedy answers, in %
  double retrieved = 0;  // % of memories that hold the needle; NaN without any
};

// Means over the depths. Policies, of which those of a seed see the same texts:
//   infini_retri   w, k and layer as above, the rest as published
//   full, window   the whole text in one prompt, read by dense attention or by
//                  that of the first and the last tokens
// InvalidArgument: another name; else the errors of the parts.
absl::StatusOr<NeedleScore> MeasureNeedle(
    const lm::LanguageModel& model, const Tokenizer& tokenizer,
    const std::vector<std::string>& essays, const NeedleOptions& options,
    const std::string& policy, uint64_t seed);

// BestLayer of probes with another needle and another question: a magic number
// in one chunk of essays, three for each depth.
absl::StatusOr<int64_t> BestNeedleLayer(const lm::LanguageModel& model,
                                        const Tokenizer& tokenizer,
                                        const std::vector<std::string>& essays,
                                        const NeedleOptions& options);

}  // namespace repro::infini_retri

#endif  // REPRO_PAPERS_INFINI_RETRI_NEEDLE_H_
