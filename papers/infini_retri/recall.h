// Recall far beyond the trained context, of a small trained model: passkeys in
// long texts, answered through InfiniRetri, dense attention or a window.
#ifndef REPRO_PAPERS_INFINI_RETRI_RECALL_H_
#define REPRO_PAPERS_INFINI_RETRI_RECALL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/model.h"
#include "common/testbed/recipe.h"
#include "papers/infini_retri/retriever.h"

namespace repro::infini_retri {

// Passkey prompts (common/testbed/data.h) as sentences: each needle is one,
// "the second code is W1 W2" as it were, and the text between them is cut after
// `run` symbols at most. tokens: without the begin symbol. A needle that is cut
// off at the end is a sentence as well.
std::vector<TokenSentence> PasskeySentences(const std::vector<int32_t>& tokens,
                                            int64_t passkey_len, int64_t run);

// Whole sentences while their tokens are at most `chunk_size`; a longer one is
// a chunk of its own.
std::vector<std::vector<TokenSentence>> PackSentences(
    const std::vector<TokenSentence>& sentences, int64_t chunk_size);

struct RecallOptions {
  int64_t sequences = 8;
  int64_t questions = 4;    // a sequence
  int64_t chunk_size = 96;  // w
  int64_t run = 6;          // longest sentence of text
  RetrieverOptions retriever = {/*top_k=*/16, /*phrase_width=*/4};
  // Of the control: as many tokens as the model was trained on.
  int64_t sink = 4;
};

struct RetrievalRecall {
  double accuracy = 0;  // % of answers whose tokens are all right
  // % of the steps that saw the needle asked for, in chunk or memory, and kept
  // it; NaN but for InfiniRetri.
  double survival = 0;
};

// Policy is a name and, after commas, what differs from the options:
//   infini_retri   phrase_width, layer and use_question_weights may be given
//                  (here and, but for layer, below)
//   best_layer     the same by the layer that ranks needles best in single
//                  chunks (BestLayer) of other texts of the trained length
//   full           dense attention to the whole prompt
//   window         the first `sink` and the last tokens, of the context's size
// Policies of a seed and length see the same questions. InvalidArgument:
// another name or a length without room; else the errors of the parts.
absl::StatusOr<RetrievalRecall> MeasureRetrieval(const lm::LanguageModel& model,
                                                 const testbed::Recipe& recipe,
                                                 const RecallOptions& options,
                                                 const std::string& policy,
                                                 int64_t length, uint64_t seed);

}  // namespace repro::infini_retri

#endif  // REPRO_PAPERS_INFINI_RETRI_RECALL_H_
