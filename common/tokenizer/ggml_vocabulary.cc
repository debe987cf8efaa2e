#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status/macros.h"
#include "common/tokenizer/loader.h"
#include "common/tokenizer/patterns.h"

namespace repro {
namespace {

// llama.cpp's numbers; the other types are ordinary tokens.
constexpr int64_t kUnknown = 2;
constexpr int64_t kControl = 3;
constexpr int64_t kUserDefined = 4;

// What llama.cpp calls a way to cut text, and what it is.
struct Pre {
  absl::string_view name;
  bool individual_digits;
  absl::string_view pattern;
  bool ignore_merges;
  NormalForm form;
};

constexpr Pre kPres[] = {
    {"gpt-2", false, kGpt2Pattern, false, NormalForm::kNone},
    {"phi-2", false, kGpt2Pattern, false, NormalForm::kNone},
    {"smollm", true, kGpt2Pattern, false, NormalForm::kNone},
    {"starcoder", true, kGpt2Pattern, false, NormalForm::kNone},
    {"refact", true, kGpt2Pattern, false, NormalForm::kNone},
    {"llama-bpe", false, kLlama3Pattern, true, NormalForm::kNone},
    {"llama3", false, kLlama3Pattern, true, NormalForm::kNone},
    {"llama-v3", false, kLlama3Pattern, true, NormalForm::kNone},
    {"qwen2", false, kQwen2Pattern, false, NormalForm::kNfc},
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerFromGgml(
    GgmlVocabulary vocabulary, const std::string& name) {
  if (vocabulary.model != "gpt2") {
    return absl::UnimplementedError(
        absl::StrCat(name, ": tokenizer.ggml.model is \"",
                     absl::Utf8SafeCEscape(vocabulary.model),
                     "\"; only \"gpt2\", byte-level BPE, is supported"));
  }
  const Pre* pre = nullptr;
  for (const Pre& known : kPres) {
    if (vocabulary.pre == known.name) pre = &known;
  }
  if (pre == nullptr) {
    return absl::UnimplementedError(absl::StrCat(
        name, ": tokenizer.ggml.pre is \"",
        absl::Utf8SafeCEscape(vocabulary.pre), "\"; supported are ",
        absl::StrJoin(kPres, ", ", [](std::string* out, const Pre& known) {
          absl::StrAppend(out, known.name);
        })));
  }
  if (!vocabulary.token_types.empty() &&
      vocabulary.token_types.size() != vocabulary.tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": tokenizer.ggml.token_type has ", vocabulary.token_types.size(),
        " elements, tokenizer.ggml.tokens ", vocabulary.tokens.size()));
  }

  TokenizerParts parts;
  parts.name = name;
  parts.roles = vocabulary.roles;
  parts.chat_template = std::move(vocabulary.chat_template);
  BpeOptions options;
  options.ignore_merges = pre->ignore_merges;
  options.vocabulary.reserve(vocabulary.tokens.size());
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const std::string& text = vocabulary.tokens[i];
    const int32_t id = static_cast<int32_t>(i);
    const int64_t type =
        vocabulary.token_types.empty() ? 1 : vocabulary.token_types[i];
    const bool special = type == kControl || type == kUnknown;
    if (special || type == kUserDefined) {
      AddedToken added;
      added.id = id;
      added.content = text;
      added.special = special;
      parts.added_tokens.push_back(std::move(added));
    }
    const auto [known, is_new] = options.vocabulary.try_emplace(text, id);
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": tokenizer.ggml.tokens: \"", absl::Utf8SafeCEscape(text),
          "\" has the ids ", known->second, " and ", id));
    }
  }
  options.merges.reserve(vocabulary.merges.size());
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string& merge = vocabulary.merges[i];
    const size_t space = merge.find(' ');
    if (space == std::string::npos ||
        merge.find(' ', space + 1) != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": tokenizer.ggml.merges: merge ", i, ", \"",
          absl::Utf8SafeCEscape(merge), "\", is not two tokens and a space"));
    }
    options.merges.emplace_back(merge.substr(0, space),
                                merge.substr(space + 1));
  }
  absl::StatusOr<std::unique_ptr<const TokenModel>> model =
      MakeByteLevelBpe(std::move(options));
  if (!model.ok()) {
    return absl::Status(model.status().code(),
                        absl::StrCat(name, ": tokenizer.ggml.merges: ",
                                     model.status().message()));
  }
  parts.model = *std::move(model);
  if (pre->form != NormalForm::kNone) {
    Normalizer normalizer;
    normalizer.form = pre->form;
    parts.normalizers.push_back(normalizer);
  }
  if (pre->individual_digits) {
    parts.pre_tokenizers.push_back(
        {PreTokenizer::Kind::kIndividualDigits, nullptr});
  }
  REPRO_ASSIGN_OR_RETURN(auto regex, Regex::Create(pre->pattern));
  parts.pre_tokenizers.push_back(
      {PreTokenizer::Kind::kIsolate, std::move(regex)});
  const std::pair<bool, std::optional<int32_t>> kept[] = {
      {vocabulary.add_bos, parts.roles.bos},
      {vocabulary.add_eos, parts.roles.eos}};
  for (const auto& [add, id] : kept) {
    if (!add) continue;
    const bool bos = &add == &kept[0].first;
    if (!id) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": tokenizer.ggml.add_", bos ? "bos" : "eos",
                       "_token is set, but tokenizer.ggml.",
                       bos ? "bos" : "eos", "_token_id is missing"));
    }
    (bos ? parts.prefix : parts.suffix).push_back(*id);
  }
  return Tokenizer::Create(std::move(parts));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerFromGguf(
    const GgufFile& file) {
  const auto strings =
      [&file](
          absl::string_view key) -> absl::StatusOr<std::vector<std::string>> {
    REPRO_ASSIGN_OR_RETURN(const std::vector<absl::string_view> views,
                           file.Strings(key));
    return std::vector<std::string>(views.begin(), views.end());
  };
  GgmlVocabulary vocabulary;
  REPRO_ASSIGN_OR_RETURN(const absl::string_view model,
                         file.String("tokenizer.ggml.model"));
  REPRO_ASSIGN_OR_RETURN(const absl::string_view pre,
                         file.String("tokenizer.ggml.pre", "default"));
  REPRO_ASSIGN_OR_RETURN(const absl::string_view chat_template,
                         file.String("tokenizer.chat_template", ""));
  vocabulary.model = std::string(model);
  vocabulary.pre = std::string(pre);
  vocabulary.chat_template = std::string(chat_template);
  REPRO_ASSIGN_OR_RETURN(vocabulary.tokens, strings("tokenizer.ggml.tokens"));
  if (file.Has("tokenizer.ggml.merges")) {
    REPRO_ASSIGN_OR_RETURN(vocabulary.merges, strings("tokenizer.ggml.merges"));
  }
  if (file.Has("tokenizer.ggml.token_type")) {
    REPRO_ASSIGN_OR_RETURN(vocabulary.token_types,
                           file.Ints("tokenizer.ggml.token_type"));
  }
  const std::pair<const char*, std::optional<int32_t>*> roles[] = {
      {"bos", &vocabulary.roles.bos},
      {"eos", &vocabulary.roles.eos},
      {"padding", &vocabulary.roles.pad},
      {"unknown", &vocabulary.roles.unk}};
  for (const auto& [role, id] : roles) {
    const std::string key = absl::StrCat("tokenizer.ggml.", role, "_token_id");
    REPRO_ASSIGN_OR_RETURN(const int64_t value, file.Int(key, -1));
    if (value < 0) continue;
    if (value >= static_cast<int64_t>(vocabulary.tokens.size())) {
      return absl::InvalidArgumentError(absl::StrCat(
          file.path(), ": ", key, " is ", value, ", but there are ",
          vocabulary.tokens.size(), " tokens"));
    }
    *id = static_cast<int32_t>(value);
  }
  REPRO_ASSIGN_OR_RETURN(vocabulary.add_bos,
                         file.Bool("tokenizer.ggml.add_bos_token", false));
  REPRO_ASSIGN_OR_RETURN(vocabulary.add_eos,
                         file.Bool("tokenizer.ggml.add_eos_token", false));
  return TokenizerFromGgml(std::move(vocabulary), file.path());
}

}  // namespace repro
