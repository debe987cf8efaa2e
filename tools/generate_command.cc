#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/data/io.h"
#include "common/lm/generate.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"
#include "tools/commands.h"
#include "tools/language_model.h"
#include "tools/terminal.h"

namespace repro {
namespace {

constexpr int64_t kMaxPromptBytes = int64_t{1} << 26;

std::string Text(const Tokenizer& tokenizer, int32_t id) {
  return ReplaceInvalidUtf8(tokenizer.DecodeToken(id).value_or(""));
}

nlohmann::json ToJson(const Tokenizer& tokenizer, const lm::TokenLogprob& t) {
  return {
      {"id", t.id}, {"text", Text(tokenizer, t.id)}, {"logprob", t.logprob}};
}

// A log-probability as "token" and its probability's logarithm.
std::string ToText(const Tokenizer& tokenizer, const lm::TokenLogprob& t) {
  return absl::StrFormat(
      "\"%s\" %.4f", absl::Utf8SafeCEscape(Text(tokenizer, t.id)), t.logprob);
}

double Rate(int64_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
}

absl::StatusOr<std::vector<int32_t>> Prompt(
    const GenerateCommandOptions& options, const Tokenizer& tokenizer) {
  std::string text = options.prompt;
  if (text == "-") {
    REPRO_ASSIGN_OR_RETURN(text, ReadFile("/dev/stdin", kMaxPromptBytes));
  }
  if (text.empty()) return absl::InvalidArgumentError("the prompt is empty");
  if (options.raw ||
      (tokenizer.chat_template().empty() && options.system.empty())) {
    return lm::EncodePrompt(tokenizer, text);
  }
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  messages.push_back({"user", text});
  return lm::EncodeChat(tokenizer, messages);
}

}  // namespace

absl::StatusOr<int> GenerateCommand(const GenerateCommandOptions& options,
                                    Format format) {
  REPRO_RETURN_IF_ERROR(lm::Validate(options.sampling));
  bool missing = false;
  const absl::StatusOr<RunnableModel> loaded =
      LoadRunnableModel(options.model, &missing);
  if (missing) {
    std::cerr << "repro: " << loaded.status().message() << "\n";
    return kExitMissingAsset;
  }
  REPRO_RETURN_IF_ERROR(loaded.status());
  const Tokenizer& tokenizer = *loaded->tokenizer;
  lm::GenerationRequest request;
  REPRO_ASSIGN_OR_RETURN(request.prompt, Prompt(options, tokenizer));
  request.max_tokens = options.max_tokens;
  request.stop = options.stop;
  request.sampling = options.sampling;
  const bool stream = format == Format::kTable;
  REPRO_ASSIGN_OR_RETURN(
      const lm::GenerationResult result,
      lm::Generate(*loaded->model, tokenizer, loaded->factory, request,
                   [&](const lm::TextPiece& piece) {
                     if (stream) std::cout << piece.text << std::flush;
                     return !g_stop.load();
                   }));
  const int64_t made = static_cast<int64_t>(result.tokens.size());
  if (format == Format::kJson) {
    nlohmann::json json = {{"model", loaded->name},
                           {"text", result.text},
                           {"finish_reason", lm::Name(result.finish_reason)},
                           {"prompt_tokens", result.prompt_tokens},
                           {"completion_tokens", made},
                           {"prompt_seconds", result.prompt_seconds},
                           {"decode_seconds", result.decode_seconds}};
    if (options.logprobs) {
      json["tokens"] = nlohmann::json::array();
      for (const lm::SampledToken& token : result.tokens) {
        nlohmann::json one = ToJson(tokenizer, token.chosen);
        one["top"] = nlohmann::json::array();
        for (const lm::TokenLogprob& other : token.top) {
          one["top"].push_back(ToJson(tokenizer, other));
        }
        json["tokens"].push_back(std::move(one));
      }
    }
    std::cout << json.dump(2) << "\n";
  } else {
    if (!stream) std::cout << result.text;
    std::cout << "\n";
    if (options.logprobs) {
      TextTable table({"token", "log-probability", "most likely"});
      for (const lm::SampledToken& token : result.tokens) {
        std::string top;
        for (const lm::TokenLogprob& other : token.top) {
          absl::StrAppend(&top, top.empty() ? "" : ", ",
                          ToText(tokenizer, other));
        }
        table.AddRow({absl::Utf8SafeCEscape(Text(tokenizer, token.chosen.id)),
                      absl::StrFormat("%.4f", token.chosen.logprob), top});
      }
      std::cout << (stream ? table.ToText() : table.ToMarkdown());
    }
    // The first token comes with the prompt's logits.
    std::cerr << absl::StreamFormat(
        "prompt: %d tokens, %.1f tokens/s; text: %d tokens, %.1f tokens/s "
        "(%s)\n",
        result.prompt_tokens, Rate(result.prompt_tokens, result.prompt_seconds),
        made, Rate(made - 1, result.decode_seconds),
        lm::Name(result.finish_reason));
  }
  return result.finish_reason == lm::FinishReason::kCancelled ? kExitInterrupted
                                                              : kExitOk;
}

}  // namespace repro
