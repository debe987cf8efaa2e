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
absl::StatusOr<std::pair<std::string, std::string>> Frame(
    const Tokenizer& tokenizer) {
  constexpr char kHaystack[] = "<<haystack>>";
  constexpr char kAnswer[] = "The pass key is";
  const std::string content = absl::StrCat(
      "There is a pass key hidden in this text. Find it and "
      "remember it.\n\n",
      kHaystack, "\n\nWhat is the pass key?");
  std::string text = absl::StrCat(content, "\n");
  const absl::StatusOr<ChatTemplate> chat = ChatTemplate::Create(tokenizer);
  if (chat.ok()) {
    REPRO_ASSIGN_OR_RETURN(text, chat->Render({{"user", content}}, true));
  }
  const size_t at = text.find(kHaystack);
  return std::make_pair(
      text.substr(0, at),
      absl::StrCat(text.substr(at + sizeof(kHaystack) - 1), kAnswer));
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
  REPRO_ASSIGN_OR_RETURN(const auto frame, Frame(tokenizer));
  const EncodeOptions special = {/*add_special_tokens=*/false,
                                 /*parse_special=*/true};
  const EncodeOptions plain = {/*add_special_tokens=*/false,
                               /*parse_special=*/false};
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> before,
                         tokenizer.Encode(frame.first, special));
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> after,
                         tokenizer.Encode(frame.second, special));
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<int32_t> needle,
      tokenizer.Encode(absl::StrCat("The pass key is ", key, ". Remember it. ",
                                    key, " is the pass key. "),
                       plain));
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> once,
                         tokenizer.Encode(haystack, plain));
  const int64_t room =
      length -
      static_cast<int64_t>(before.size() + after.size() + needle.size());
  if (room < 0 || once.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "needle: a prompt of ", length, " tokens over a haystack of ",
        once.size(), ": everything else takes ", length - room));
  }
  NiahPrompt prompt;
  prompt.key = key;
  prompt.tokens = before;
  if (tokenizer.bos() && (before.empty() || before[0] != *tokenizer.bos()) &&
      !ChatTemplate::Create(tokenizer).ok() && room > 0) {
    prompt.tokens.insert(prompt.tokens.begin(), *tokenizer.bos());
  }
  const int64_t fill =
      length -
      static_cast<int64_t>(prompt.tokens.size() + after.size() + needle.size());
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
  prompt.tokens.insert(prompt.tokens.end(), after.begin(), after.end());
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
