// One step of InfiniRetri in tokens: a context of sentences is read with the
// question after it, and those that the question attends to are kept (arXiv
// 2502.12962, section 3). infini_retri.h puts text around it.
#ifndef REPRO_PAPERS_INFINI_RETRI_RETRIEVER_H_
#define REPRO_PAPERS_INFINI_RETRI_RETRIEVER_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/model.h"

namespace repro::infini_retri {

struct RetrieverOptions {
  int64_t top_k = 300;       // k: tokens, whose sentences are kept whole
  int64_t phrase_width = 8;  // r: 1 for none
  bool use_question_weights = true;  // u; false: every row counts as 1
  int64_t layer = -1;                // whose attention is read; -1: the last
};

// What stands around a context. The prompt is before + context + between +
// question, where the question goes on to the prompt's end.
struct PromptFrame {
  std::vector<int32_t> before, between, question;
};

using TokenSentence = std::vector<int32_t>;

// Reads the contexts of one text and one question in turn.
class Retriever {
 public:
  // The model must outlive this.
  Retriever(const lm::LanguageModel* model, PromptFrame frame,
            const RetrieverOptions& options)
      : model_(model), frame_(std::move(frame)), options_(options) {}

  // The whole prompt around these sentences.
  std::vector<int32_t> Prompt(const std::vector<TokenSentence>& context) const;

  // s_j of each token of the context, after one forward pass. The first
  // context's question weights are those of all later ones. InvalidArgument: a
  // context or question without tokens, options that cannot be, or a prompt
  // that is longer than the model's context; ResourceExhausted and Internal:
  // what the model threw.
  absl::StatusOr<std::vector<double>> Scores(
      const std::vector<TokenSentence>& context);

  // Numbers of the sentences to keep, ascending: those of the k tokens with the
  // largest Scores, whose errors these are.
  absl::StatusOr<std::vector<int64_t>> Select(
      const std::vector<TokenSentence>& context);

  // u: [tokens of the question]; empty before the first Select.
  const std::vector<double>& question_weights() const { return weights_; }

 private:
  const lm::LanguageModel* model_;
  PromptFrame frame_;
  RetrieverOptions options_;
  std::vector<double> weights_;
};

// A context with the sentence of it that answers the frame's question.
struct LayerProbe {
  PromptFrame frame;
  std::vector<TokenSentence> context;
  int64_t answer = 0;  // number of the sentence
};

// Not of the paper: the layer under which the best token of the answers ranks
// first among its context's, on average over the probes; of equal ones the
// last. options.layer is ignored. For models whose last layer does not look at
// what answers. InvalidArgument: no probes, or no such sentence; the errors of
// Retriever::Scores.
absl::StatusOr<int64_t> BestLayer(const lm::LanguageModel& model,
                                  const std::vector<LayerProbe>& probes,
                                  RetrieverOptions options);

}  // namespace repro::infini_retri

#endif  // REPRO_PAPERS_INFINI_RETRI_RETRIEVER_H_
