// Sentences and chunks of a text: what InfiniRetri keeps and what it reads at a
// time (arXiv 2502.12962; the rules are those of the authors' package
// infini-retri 0.0.3, chunks.py and retrieval.py).
#ifndef REPRO_PAPERS_INFINI_RETRI_SENTENCES_H_
#define REPRO_PAPERS_INFINI_RETRI_SENTENCES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/tokenizer/tokenizer.h"

namespace repro::infini_retri {

// The longest piece, in code points without the white space around it, that
// joins a full stop before it: "Mr." stays with " Li".
inline constexpr int64_t kJoinedBySentences = 8;
inline constexpr int64_t kJoinedByChunks = 10;

// Cuts at each blank line ("\n\n") and each of the characters 。！？.?! and
// then joins from left to right: a piece goes on with the current sentence if
// either is blank, the piece is such a separator, or the sentence ends with "."
// and the piece has at most `joined` code points. Together the sentences are
// the text; a blank text has none. InvalidArgument: not UTF-8.
absl::StatusOr<std::vector<std::string>> SplitSentences(
    absl::string_view text, int64_t joined = kJoinedBySentences);

// Whole sentences (of kJoinedByChunks) while their tokens, and one more for
// each after the first, are at most `chunk_size`. A longer sentence is cut
// before spaces, and a longer word between characters; what that gives is
// chunks of its own. Tokens of parts are added up, which byte-level BPE makes
// exact at spaces. Together the chunks are the text. InvalidArgument: not
// UTF-8, chunk_size < 1, or a character of more tokens than that.
absl::StatusOr<std::vector<std::string>> SplitChunks(absl::string_view text,
                                                     const Tokenizer& tokenizer,
                                                     int64_t chunk_size);

}  // namespace repro::infini_retri

#endif  // REPRO_PAPERS_INFINI_RETRI_SENTENCES_H_
