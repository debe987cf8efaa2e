#include "common/testbed/niah.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/needle.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/tokenizer/chat_template.h"

namespace repro::testbed {
namespace {

// Digits may come one a token, with a space before them.
constexpr int64_t kNewTokens = 8;

// What stands before and after the haystack.
struct Frame {
  std::vector<int32_t> before, after;
};

absl::StatusOr<Frame> MakeFrame(const Tokenizer& tokenizer) {
  constexpr char kHaystack[] = "<<haystack>>";
  constexpr char kAnswer[] =
      "The special magic number for long-context mentioned in the provided "
      "text is";
  const std::string content = absl::StrCat(
      "A special magic number is hidden within the following text. Make sure "
      "to memorize it. I will quiz you about the number afterwards.\n",
      kHaystack,
      "\nWhat is the special magic number for long-context mentioned in the "
      "provided text?");
  std::string text = absl::StrCat(content, "\n");
  const absl::StatusOr<ChatTemplate> chat = ChatTemplate::Create(tokenizer);
  if (chat.ok()) {
    REPRO_ASSIGN_OR_RETURN(text, chat->Render({{"user", content}}, true));
  }
  const size_t at = text.find(kHaystack);
  const EncodeOptions special = {/*add_special_tokens=*/false,
                                 /*parse_special=*/true};
  Frame frame;
  REPRO_ASSIGN_OR_RETURN(frame.before,
                         tokenizer.Encode(text.substr(0, at), special));
  REPRO_ASSIGN_OR_RETURN(
      frame.after,
      tokenizer.Encode(
          absl::StrCat(text.substr(at + sizeof(kHaystack) - 1), kAnswer),
          special));
  // A template writes its own.
  if (!chat.ok() && tokenizer.bos()) {
    frame.before.insert(frame.before.begin(), *tokenizer.bos());
  }
  return frame;
}

absl::StatusOr<std::string> Greedy(const lm::LanguageModel& model,
                                   const Tokenizer& tokenizer,
                                   const lm::StateFactory& factory,
                                   const NiahPrompt& prompt,
                                   int64_t prompt_chunk) {
  const at::NoGradGuard no_grad;
  const int64_t length = static_cast<int64_t>(prompt.tokens.size());
  const at::Tensor tokens = at::tensor(
      std::vector<int64_t>(prompt.tokens.begin(), prompt.tokens.end()),
      at::kLong);
  std::vector<int32_t> answer;
  try {
    const std::unique_ptr<lm::AttentionState> state = factory();
    at::Tensor logits;
    for (int64_t first = 0; first < length; first += prompt_chunk) {
      logits = model.Forward(
          {{tokens.slice(0, first, std::min(first + prompt_chunk, length)),
            state.get(), first}});
    }
    state->PromptDone();
    while (true) {
      const int64_t next = logits.argmax(-1).item<int64_t>();
      const std::vector<int64_t>& eos = model.config().eos_ids;
      if (std::find(eos.begin(), eos.end(), next) != eos.end()) break;
      answer.push_back(static_cast<int32_t>(next));
      const int64_t made = static_cast<int64_t>(answer.size());
      if (made == kNewTokens) break;
      logits = model.Forward(
          {{at::full({1}, next, at::kLong), state.get(), length + made - 1}});
    }
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("needle: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("needle: ", error.what()));
  }
  return tokenizer.Decode(answer);
}

}  // namespace

std::string DefaultHaystack() {
  return "The grass is green. The sky is blue. The sun is yellow. Here we go. "
         "There and back again. ";
}

absl::StatusOr<NiahPrompt> MakeNiahPrompt(const Tokenizer& tokenizer,
                                          absl::string_view haystack,
                                          int64_t length, double depth,
                                          const std::string& key) {
  if (!(depth >= 0 && depth <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("needle: depth ", depth, ", expected 0 to 1"));
  }
  REPRO_ASSIGN_OR_RETURN(const Frame frame, MakeFrame(tokenizer));
  const EncodeOptions plain = {/*add_special_tokens=*/false,
                               /*parse_special=*/false};
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<int32_t> needle,
      tokenizer.Encode(
          absl::StrCat(
              " One of the special magic numbers for long-context is: ", key,
              "."),
          plain));
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> once,
                         tokenizer.Encode(haystack, plain));
  const int64_t besides = static_cast<int64_t>(
      frame.before.size() + frame.after.size() + needle.size());
  const int64_t fill = length - besides;
  if (fill < 0 || once.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "needle: a prompt of ", length, " tokens over a haystack of ",
        once.size(), ": everything else takes ", besides));
  }
  NiahPrompt prompt;
  prompt.key = key;
  prompt.tokens = frame.before;
  int64_t place = static_cast<int64_t>(depth * static_cast<double>(fill));
  for (; place > 0 && place < fill; ++place) {
    REPRO_ASSIGN_OR_RETURN(
        const std::string last,
        tokenizer.DecodeToken(once[(place - 1) % once.size()]));
    if (last.find('.') != std::string::npos) break;
  }
  for (int64_t i = 0; i <= fill; ++i) {
    if (i == place) {
      prompt.tokens.insert(prompt.tokens.end(), needle.begin(), needle.end());
    }
    if (i < fill) prompt.tokens.push_back(once[i % once.size()]);
  }
  prompt.tokens.insert(prompt.tokens.end(), frame.after.begin(),
                       frame.after.end());
  return prompt;
}

double NiahCell::mean() const {
  return std::accumulate(scores.begin(), scores.end(), 0.0) /
         static_cast<double>(scores.size());
}

absl::StatusOr<std::vector<NiahCell>> EvaluateNiah(
    const lm::LanguageModel& model, const Tokenizer& tokenizer,
    const lm::StateFactory& factory, const NiahConfig& config) {
  if (config.lengths.empty() || config.depths.empty() || config.count < 1 ||
      config.prompt_chunk < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "needle: ", config.lengths.size(), " lengths, ", config.depths.size(),
        " depths, count ", config.count, ", prompt_chunk ", config.prompt_chunk,
        ": expected at least 1 of each"));
  }
  std::vector<NiahCell> cells;
  for (size_t l = 0; l < config.lengths.size(); ++l) {
    for (size_t d = 0; d < config.depths.size(); ++d) {
      NiahCell cell;
      cell.length = config.lengths[l];
      cell.depth = config.depths[d];
      const at::Tensor keys = at::randint(
          10000, 100000, {config.count},
          MakeGenerator(config.seed, l * config.depths.size() + d), at::kLong);
      for (int64_t i = 0; i < config.count; ++i) {
        REPRO_ASSIGN_OR_RETURN(
            const NiahPrompt prompt,
            MakeNiahPrompt(tokenizer, config.haystack, cell.length, cell.depth,
                           absl::StrCat(keys[i].item<int64_t>())));
        REPRO_ASSIGN_OR_RETURN(
            const std::string answer,
            Greedy(model, tokenizer, factory, prompt, config.prompt_chunk));
        REPRO_ASSIGN_OR_RETURN(const double score,
                               metrics::DigitAccuracy(answer, prompt.key));
        cell.scores.push_back(score);
      }
      cells.push_back(std::move(cell));
    }
  }
  return cells;
}

}  // namespace repro::testbed
