// InfiniRetri: questions about texts of any length (Ye, Wang, Wang 2025, arXiv
// 2502.12962). The text is read chunk by chunk, each together with what was
// kept of those before it and with the question; kept are, as text, the
// sentences that the question attends to in the last layer. What is left in the
// end is the context of one normal prompt. No cache outlives a chunk, and no
// position exceeds that of memory, chunk and prompt together.
//
//   auto loaded = lm::LoadTextModel(path, {});
//   auto answer = infini_retri::Ask(*loaded->model, *loaded->tokenizer, book,
//                                   "Who is Ishmael?", {});
//   Print(answer->text);
#ifndef REPRO_PAPERS_INFINI_RETRI_INFINI_RETRI_H_
#define REPRO_PAPERS_INFINI_RETRI_INFINI_RETRI_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/lm/generate.h"
#include "common/lm/model.h"
#include "common/tokenizer/tokenizer.h"
#include "papers/infini_retri/retriever.h"

namespace repro::infini_retri {

// Defaults are those of the package's API.
struct Options {
  int64_t chunk_size = 1024;  // w: tokens of a chunk; memory and prompt extra
  RetrieverOptions retriever;
  // Holds "{context}" and, later, "{question}", each once.
  std::string prompt =
      "Read the book and answer the question. Be very concise in your answer."
      "\n\n{context}\n\nQuestion:\n\n{question}\n\nAnswer:";
  int64_t max_new_tokens = 128;
  std::vector<std::string> stop;
  lm::SamplingOptions sampling = [] {
    lm::SamplingOptions api;
    api.temperature = 0.5;
    return api;
  }();

  // The package's inner defaults: k = 200, temperature 0.1.
  static Options Pipeline();
};

// Code points of the text's end that are the question if there is none.
inline constexpr int64_t kQuestionFromText = 512;

// The prompt in the model's chat template with an empty system message (with
// none where the template refuses one), or as it is, after the tokenizer's
// begin token, where the model has no template that is known. Special tokens
// are recognised in the template alone, not in the text or the question.
// InvalidArgument: `prompt` lacks a placeholder, or not UTF-8.
absl::StatusOr<PromptFrame> MakeFrame(const Tokenizer& tokenizer,
                                      absl::string_view prompt,
                                      absl::string_view question);

struct Retrieved {
  std::string memory;       // sentences of the text, in its order
  int64_t text_tokens = 0;  // of the text, chunk by chunk
  int64_t chunks = 0;
  int64_t longest_prompt = 0;  // tokens: what bounds the positions
};

// Called after each chunk with the memory; false: stop.
using ChunkCallback = std::function<bool(int64_t chunk, int64_t chunks,
                                         absl::string_view memory)>;

// Steps 1 to 3: what is kept of the text. `question` may be empty (above);
// `on_chunk` may be null. InvalidArgument: a blank text, what SplitChunks and
// MakeFrame refuse; Cancelled; the errors of Retriever::Select.
absl::StatusOr<Retrieved> Retrieve(const lm::LanguageModel& model,
                                   const Tokenizer& tokenizer,
                                   absl::string_view text,
                                   absl::string_view question,
                                   const Options& options,
                                   const ChunkCallback& on_chunk = nullptr);

struct Answer {
  std::string text;
  int64_t prompt_tokens = 0;  // of the last prompt
  Retrieved retrieved;
};

// Steps 1 to 4: the answer to the question by a prompt whose context is the
// memory. Errors: Retrieve's and lm::Generate's.
absl::StatusOr<Answer> Ask(const lm::LanguageModel& model,
                           const Tokenizer& tokenizer, absl::string_view text,
                           absl::string_view question, const Options& options,
                           const ChunkCallback& on_chunk = nullptr);

}  // namespace repro::infini_retri

#endif  // REPRO_PAPERS_INFINI_RETRI_INFINI_RETRI_H_
