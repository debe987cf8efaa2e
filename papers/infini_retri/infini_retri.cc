#include "papers/infini_retri/infini_retri.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/lm/dense_state.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"
#include "common/tokenizer/chat_template.h"
#include "papers/infini_retri/sentences.h"

namespace repro::infini_retri {
namespace {

constexpr absl::string_view kContext = "{context}";
constexpr absl::string_view kQuestion = "{question}";

// Of a stranger's text: no special tokens.
absl::StatusOr<std::vector<int32_t>> Encode(const Tokenizer& tokenizer,
                                            absl::string_view text) {
  return tokenizer.Encode(text, {/*add_special_tokens=*/false,
                                 /*parse_special=*/false});
}

// The prompt as the model wants it, placeholders inside; `chat` says whether a
// template wrote it.
absl::StatusOr<std::string> Render(const Tokenizer& tokenizer,
                                   absl::string_view prompt, bool* chat) {
  const absl::StatusOr<ChatTemplate> known = ChatTemplate::Create(tokenizer);
  *chat = known.ok();
  if (!*chat) return std::string(prompt);
  const ChatMessage user = {"user", std::string(prompt)};
  absl::StatusOr<std::string> with_system =
      known->Render({{"system", ""}, user}, /*add_generation_prompt=*/true);
  if (with_system.ok()) return with_system;
  return known->Render({user}, /*add_generation_prompt=*/true);
}

// The question itself, or the end of the text.
absl::string_view QuestionOf(absl::string_view text,
                             absl::string_view question) {
  if (!metrics::Strip(question).empty()) return question;
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size();) {
    starts.push_back(at);
    NextCodePoint(text, &at);
  }
  const auto count = static_cast<int64_t>(starts.size());
  return text.substr(starts[std::max<int64_t>(0, count - kQuestionFromText)]);
}

absl::Status CheckText(absl::string_view text) {
  if (metrics::Strip(text).empty()) {
    return absl::InvalidArgumentError("infini_retri: the text is blank");
  }
  return absl::OkStatus();
}

}  // namespace

Options Options::Pipeline() {
  Options options;
  options.retriever.top_k = 200;
  options.sampling.temperature = 0.1;
  return options;
}

absl::StatusOr<PromptFrame> MakeFrame(const Tokenizer& tokenizer,
                                      absl::string_view prompt,
                                      absl::string_view question) {
  const size_t context_at = prompt.find(kContext);
  const size_t question_at = prompt.find(kQuestion);
  if (context_at == absl::string_view::npos ||
      question_at == absl::string_view::npos || question_at < context_at ||
      prompt.rfind(kContext) != context_at ||
      prompt.rfind(kQuestion) != question_at) {
    return absl::InvalidArgumentError(absl::StrCat(
        "infini_retri: the prompt must hold ", kContext, " once and after it ",
        kQuestion, " once: \"", prompt, "\""));
  }
  bool chat = false;
  REPRO_ASSIGN_OR_RETURN(const std::string rendered,
                         Render(tokenizer, prompt, &chat));
  const absl::string_view whole = rendered;
  const size_t before_end = whole.find(kContext);
  const size_t between = before_end + kContext.size();
  const size_t between_end = whole.find(kQuestion);
  const auto encode_own = [&](absl::string_view part) {
    return tokenizer.Encode(part, {/*add_special_tokens=*/false,
                                   /*parse_special=*/true});
  };
  PromptFrame frame;
  REPRO_ASSIGN_OR_RETURN(frame.before, encode_own(whole.substr(0, before_end)));
  // A template writes its own.
  if (!chat && tokenizer.bos()) {
    frame.before.insert(frame.before.begin(), *tokenizer.bos());
  }
  REPRO_ASSIGN_OR_RETURN(
      frame.between, encode_own(whole.substr(between, between_end - between)));
  REPRO_ASSIGN_OR_RETURN(frame.question, Encode(tokenizer, question));
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<int32_t> after,
      encode_own(whole.substr(between_end + kQuestion.size())));
  frame.question.insert(frame.question.end(), after.begin(), after.end());
  return frame;
}

absl::StatusOr<Retrieved> Retrieve(const lm::LanguageModel& model,
                                   const Tokenizer& tokenizer,
                                   absl::string_view text,
                                   absl::string_view question,
                                   const Options& options,
                                   const ChunkCallback& on_chunk) {
  REPRO_RETURN_IF_ERROR(CheckText(text));
  REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> chunks,
                         SplitChunks(text, tokenizer, options.chunk_size));
  REPRO_ASSIGN_OR_RETURN(
      PromptFrame frame,
      MakeFrame(tokenizer, options.prompt, QuestionOf(text, question)));
  Retriever retriever(&model, std::move(frame), options.retriever);
  Retrieved out;
  for (const std::string& chunk : chunks) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> chunk_tokens,
                           Encode(tokenizer, chunk));
    out.text_tokens += static_cast<int64_t>(chunk_tokens.size());
    // Old memory has to be chosen again, like anything else.
    REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> sentences,
                           SplitSentences(absl::StrCat(out.memory, chunk)));
    std::vector<TokenSentence> context;
    for (const std::string& sentence : sentences) {
      REPRO_ASSIGN_OR_RETURN(context.emplace_back(),
                             Encode(tokenizer, sentence));
    }
    REPRO_ASSIGN_OR_RETURN(const std::vector<int64_t> kept,
                           retriever.Select(context));
    out.longest_prompt =
        std::max(out.longest_prompt,
                 static_cast<int64_t>(retriever.Prompt(context).size()));
    out.memory.clear();
    for (const int64_t i : kept) out.memory += sentences[i];
    ++out.chunks;
    if (on_chunk != nullptr &&
        !on_chunk(out.chunks, static_cast<int64_t>(chunks.size()),
                  out.memory)) {
      return absl::CancelledError("infini_retri: stopped");
    }
  }
  return out;
}

absl::StatusOr<Answer> Ask(const lm::LanguageModel& model,
                           const Tokenizer& tokenizer, absl::string_view text,
                           absl::string_view question, const Options& options,
                           const ChunkCallback& on_chunk) {
  Answer answer;
  REPRO_ASSIGN_OR_RETURN(
      answer.retrieved,
      Retrieve(model, tokenizer, text, question, options, on_chunk));
  REPRO_ASSIGN_OR_RETURN(
      PromptFrame frame,
      MakeFrame(tokenizer, options.prompt, QuestionOf(text, question)));
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> memory,
                         Encode(tokenizer, answer.retrieved.memory));
  lm::GenerationRequest request;
  request.prompt =
      Retriever(&model, std::move(frame), options.retriever).Prompt({memory});
  request.max_tokens = options.max_new_tokens;
  request.stop = options.stop;
  request.sampling = options.sampling;
  REPRO_ASSIGN_OR_RETURN(lm::GenerationResult result,
                         lm::Generate(
                             model, tokenizer,
                             [&] {
                               return lm::MakeDenseState(model.config(),
                                                         model.device(),
                                                         model.dtype());
                             },
                             request, /*on_piece=*/nullptr));
  answer.text = std::move(result.text);
  answer.prompt_tokens = result.prompt_tokens;
  return answer;
}

}  // namespace repro::infini_retri
