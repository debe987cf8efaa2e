#include <filesystem>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "common/tokenizer/loader.h"
#include "common/tokenizer/patterns.h"
#include "nlohmann/json.hpp"

namespace repro {
namespace {

using Json = nlohmann::json;

constexpr int kMaxSequenceDepth = 8;

std::string Shown(absl::string_view text) {
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text.substr(0, 100)), "\"");
}

// A value and where it stands: "tokenizer.json: model.merges[3]".
class Field {
 public:
  Field(const Json* value, std::string where)
      : value_(value), where_(std::move(where)) {}

  const Json& json() const { return *value_; }
  const std::string& where() const { return where_; }
  bool is_null() const { return value_->is_null(); }

  template <typename... Text>
  absl::Status Invalid(const Text&... text) const {
    return absl::InvalidArgumentError(absl::StrCat(where_, ": ", text...));
  }
  template <typename... Text>
  absl::Status Unimplemented(const Text&... text) const {
    return absl::UnimplementedError(absl::StrCat(where_, ": ", text...));
  }
  // With the place put before another error's message.
  absl::Status Within(const absl::Status& status) const {
    return absl::Status(status.code(),
                        absl::StrCat(where_, ": ", status.message()));
  }

  // A member of an object; null if there is none or this is no object.
  Field operator[](const char* key) const {
    static const Json* const null = new Json;
    const Json* member = null;
    if (value_->is_object()) {
      const auto found = value_->find(key);
      if (found != value_->end()) member = &*found;
    }
    return {member,
            absl::StrCat(where_, where_.back() == ':' ? " " : ".", key)};
  }
  // An element of an array.
  Field at(size_t i) const {
    return {&(*value_)[i], absl::StrCat(where_, "[", i, "]")};
  }

  absl::StatusOr<std::string> String() const {
    if (!value_->is_string()) {
      return Invalid("a string is needed, not ", value_->type_name());
    }
    return value_->get<std::string>();
  }
  // `otherwise` for null.
  absl::StatusOr<std::string> String(absl::string_view otherwise) const {
    if (is_null()) return std::string(otherwise);
    return String();
  }
  absl::StatusOr<bool> Bool(bool otherwise) const {
    if (is_null()) return otherwise;
    if (!value_->is_boolean()) {
      return Invalid("true or false is needed, not ", value_->type_name());
    }
    return value_->get<bool>();
  }
  absl::StatusOr<int32_t> Int() const {
    if (!value_->is_number_integer()) {
      return Invalid("an integer is needed, not ", value_->type_name());
    }
    const bool fits = value_->is_number_unsigned()
                          ? value_->get<uint64_t>() <= 0x7FFFFFFF
                          : value_->get<int64_t>() >= 0 &&
                                value_->get<int64_t>() <= 0x7FFFFFFF;
    if (!fits) return Invalid(value_->dump(), " is not between 0 and 2^31 - 1");
    return value_->get<int32_t>();
  }
  absl::Status CheckArray() const {
    if (value_->is_array()) return absl::OkStatus();
    return Invalid("an array is needed, not ", value_->type_name());
  }

 private:
  const Json* value_;
  std::string where_;
};

absl::StatusOr<Json> ParseText(absl::string_view text,
                               const std::string& name) {
  try {
    Json json = Json::parse(text.begin(), text.end());
    if (!json.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": an object is needed, not ", json.type_name()));
    }
    return json;
  } catch (const Json::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": not JSON, as byte ",
                                                   error.byte, " of ",
                                                   text.size(), " shows"));
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": not JSON: ", absl::Utf8SafeCEscape(error.what())));
  }
}

absl::Status ParseAddedTokens(const Field& list,
                              std::vector<AddedToken>* tokens) {
  if (list.is_null()) return absl::OkStatus();
  REPRO_RETURN_IF_ERROR(list.CheckArray());
  for (size_t i = 0; i < list.json().size(); ++i) {
    const Field entry = list.at(i);
    AddedToken token;
    REPRO_ASSIGN_OR_RETURN(token.id, entry["id"].Int());
    REPRO_ASSIGN_OR_RETURN(token.content, entry["content"].String());
    REPRO_ASSIGN_OR_RETURN(token.special, entry["special"].Bool(false));
    REPRO_ASSIGN_OR_RETURN(token.single_word, entry["single_word"].Bool(false));
    REPRO_ASSIGN_OR_RETURN(token.lstrip, entry["lstrip"].Bool(false));
    REPRO_ASSIGN_OR_RETURN(token.rstrip, entry["rstrip"].Bool(false));
    REPRO_ASSIGN_OR_RETURN(token.normalized,
                           entry["normalized"].Bool(!token.special));
    tokens->push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status ParseNormalizer(const Field& field, int depth,
                             std::vector<Normalizer>* steps) {
  if (field.is_null()) return absl::OkStatus();
  REPRO_ASSIGN_OR_RETURN(const std::string type, field["type"].String());
  Normalizer step;
  if (type == "Sequence") {
    if (depth == 0) return field.Invalid("sequences are nested too deeply");
    const Field list = field["normalizers"];
    REPRO_RETURN_IF_ERROR(list.CheckArray());
    for (size_t i = 0; i < list.json().size(); ++i) {
      REPRO_RETURN_IF_ERROR(ParseNormalizer(list.at(i), depth - 1, steps));
    }
    return absl::OkStatus();
  }
  if (type == "NFC") {
    step.form = NormalForm::kNfc;
  } else if (type == "NFD") {
    step.form = NormalForm::kNfd;
  } else if (type == "NFKC") {
    step.form = NormalForm::kNfkc;
  } else if (type == "NFKD") {
    step.form = NormalForm::kNfkd;
  } else if (type == "Lowercase") {
    step.lowercase = true;
  } else if (type == "StripAccents") {
    step.strip_accents = true;
  } else if (type == "BertNormalizer") {
    REPRO_ASSIGN_OR_RETURN(step.clean_text, field["clean_text"].Bool(true));
    REPRO_ASSIGN_OR_RETURN(step.pad_chinese,
                           field["handle_chinese_chars"].Bool(true));
    REPRO_ASSIGN_OR_RETURN(step.lowercase, field["lowercase"].Bool(true));
    REPRO_ASSIGN_OR_RETURN(step.strip_accents,
                           field["strip_accents"].Bool(step.lowercase));
    if (step.strip_accents) step.form = NormalForm::kNfd;
  } else {
    return field.Unimplemented(
        "normalizer ", Shown(type),
        " is not supported: NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, "
        "BertNormalizer and Sequence are");
  }
  steps->push_back(step);
  return absl::OkStatus();
}

absl::Status ParseSplit(const Field& field, std::vector<PreTokenizer>* steps) {
  REPRO_ASSIGN_OR_RETURN(const std::string behavior,
                         field["behavior"].String());
  REPRO_ASSIGN_OR_RETURN(const bool invert, field["invert"].Bool(false));
  PreTokenizer::Kind kind;
  if (behavior == "Isolated") {
    kind = PreTokenizer::Kind::kIsolate;
  } else if (behavior == "Removed") {
    kind = invert ? PreTokenizer::Kind::kMatches : PreTokenizer::Kind::kRemove;
  } else {
    return field["behavior"].Unimplemented(
        Shown(behavior), " is not supported: Isolated and Removed are");
  }
  const Field pattern = field["pattern"];
  absl::StatusOr<std::shared_ptr<const Regex>> regex;
  if (!pattern["String"].is_null()) {
    REPRO_ASSIGN_OR_RETURN(const std::string text, pattern["String"].String());
    regex = Regex::CreateLiteral(text);
  } else {
    REPRO_ASSIGN_OR_RETURN(const std::string text, pattern["Regex"].String());
    regex = Regex::Create(text);
  }
  if (!regex.ok()) return pattern.Within(regex.status());
  steps->push_back({kind, *std::move(regex)});
  return absl::OkStatus();
}

absl::Status ParsePreTokenizer(const Field& field, int depth,
                               std::vector<PreTokenizer>* steps,
                               bool* byte_level) {
  if (field.is_null()) return absl::OkStatus();
  REPRO_ASSIGN_OR_RETURN(const std::string type, field["type"].String());
  if (*byte_level) {
    return field.Unimplemented("nothing may follow ByteLevel");
  }
  if (type == "Sequence") {
    if (depth == 0) return field.Invalid("sequences are nested too deeply");
    const Field list = field["pretokenizers"];
    REPRO_RETURN_IF_ERROR(list.CheckArray());
    for (size_t i = 0; i < list.json().size(); ++i) {
      REPRO_RETURN_IF_ERROR(
          ParsePreTokenizer(list.at(i), depth - 1, steps, byte_level));
    }
    return absl::OkStatus();
  }
  if (type == "BertPreTokenizer") {
    steps->push_back({PreTokenizer::Kind::kBert, nullptr});
    return absl::OkStatus();
  }
  if (type == "Digits") {
    REPRO_ASSIGN_OR_RETURN(const bool individual,
                           field["individual_digits"].Bool(false));
    steps->push_back({individual ? PreTokenizer::Kind::kIndividualDigits
                                 : PreTokenizer::Kind::kDigits,
                      nullptr});
    return absl::OkStatus();
  }
  if (type == "Split") return ParseSplit(field, steps);
  if (type == "ByteLevel") {
    REPRO_ASSIGN_OR_RETURN(const bool add_prefix_space,
                           field["add_prefix_space"].Bool(true));
    if (add_prefix_space) {
      return field["add_prefix_space"].Unimplemented("only false is supported");
    }
    REPRO_ASSIGN_OR_RETURN(const bool use_regex, field["use_regex"].Bool(true));
    if (use_regex) {
      REPRO_ASSIGN_OR_RETURN(auto regex, Regex::Create(kGpt2Pattern));
      steps->push_back({PreTokenizer::Kind::kIsolate, std::move(regex)});
    }
    *byte_level = true;
    return absl::OkStatus();
  }
  return field.Unimplemented(
      "pre-tokenizer ", Shown(type),
      " is not supported: ByteLevel, Digits, Split, BertPreTokenizer and "
      "Sequence are");
}

absl::StatusOr<TokenIds> ParseVocabulary(const Field& field) {
  if (!field.json().is_object()) {
    return field.Invalid("an object is needed, not ", field.json().type_name());
  }
  TokenIds vocabulary;
  vocabulary.reserve(field.json().size());
  for (const auto& [text, id] : field.json().items()) {
    const Field entry(&id, absl::StrCat(field.where(), "[", Shown(text), "]"));
    REPRO_ASSIGN_OR_RETURN(vocabulary[text], entry.Int());
  }
  return vocabulary;
}

absl::StatusOr<std::pair<std::string, std::string>> ParseMerge(
    const Field& field) {
  const Json& json = field.json();
  if (json.is_array() && json.size() == 2 && json[0].is_string() &&
      json[1].is_string()) {
    return std::make_pair(json[0].get<std::string>(),
                          json[1].get<std::string>());
  }
  if (json.is_string()) {
    const std::string text = json.get<std::string>();
    const size_t space = text.find(' ');
    if (space != std::string::npos &&
        text.find(' ', space + 1) == std::string::npos) {
      return std::make_pair(text.substr(0, space), text.substr(space + 1));
    }
  }
  return field.Invalid(
      "a merge is two tokens: \"a b\" or [\"a\", \"b\"], not ",
      Shown(json.dump(-1, ' ', true, Json::error_handler_t::replace)));
}

absl::StatusOr<std::unique_ptr<const TokenModel>> ParseBpe(const Field& field) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    REPRO_ASSIGN_OR_RETURN(const std::string text, field[key].String(""));
    if (!text.empty()) {
      return field[key].Unimplemented("only null is supported");
    }
  }
  REPRO_ASSIGN_OR_RETURN(const bool byte_fallback,
                         field["byte_fallback"].Bool(false));
  if (byte_fallback) {
    return field["byte_fallback"].Unimplemented(
        "only false is supported: byte-level BPE needs no fallback");
  }
  const Json& dropout = field["dropout"].json();
  if (!dropout.is_null() && dropout != 0) {
    return field["dropout"].Unimplemented("only null is supported");
  }
  BpeOptions options;
  REPRO_ASSIGN_OR_RETURN(options.vocabulary, ParseVocabulary(field["vocab"]));
  REPRO_ASSIGN_OR_RETURN(options.fuse_unk, field["fuse_unk"].Bool(false));
  REPRO_ASSIGN_OR_RETURN(options.ignore_merges,
                         field["ignore_merges"].Bool(false));
  REPRO_ASSIGN_OR_RETURN(const std::string unk, field["unk_token"].String(""));
  if (!unk.empty()) {
    const auto found = options.vocabulary.find(unk);
    if (found == options.vocabulary.end()) {
      return field["unk_token"].Invalid("the vocabulary has no token ",
                                        Shown(unk));
    }
    options.unk = found->second;
  }
  const Field merges = field["merges"];
  REPRO_RETURN_IF_ERROR(merges.CheckArray());
  options.merges.reserve(merges.json().size());
  for (size_t i = 0; i < merges.json().size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(auto merge, ParseMerge(merges.at(i)));
    options.merges.push_back(std::move(merge));
  }
  auto model = MakeByteLevelBpe(std::move(options));
  if (!model.ok()) return merges.Within(model.status());
  return model;
}

absl::StatusOr<std::unique_ptr<const TokenModel>> ParseWordPiece(
    const Field& field, const Field& decoder) {
  WordPieceOptions options;
  REPRO_ASSIGN_OR_RETURN(options.vocabulary, ParseVocabulary(field["vocab"]));
  REPRO_ASSIGN_OR_RETURN(options.unk_token, field["unk_token"].String("[UNK]"));
  REPRO_ASSIGN_OR_RETURN(options.continuing_prefix,
                         field["continuing_subword_prefix"].String("##"));
  if (!field["max_input_chars_per_word"].is_null()) {
    REPRO_ASSIGN_OR_RETURN(options.max_characters,
                           field["max_input_chars_per_word"].Int());
  }
  REPRO_ASSIGN_OR_RETURN(options.cleanup, decoder["cleanup"].Bool(true));
  auto model = MakeWordPiece(std::move(options));
  if (!model.ok()) return field.Within(model.status());
  return model;
}

// [text, id] of BertProcessing and RobertaProcessing.
absl::StatusOr<int32_t> ParseTextAndId(const Field& field) {
  if (!field.json().is_array() || field.json().size() != 2) {
    return field.Invalid("a pair of token and id is needed");
  }
  return field.at(1).Int();
}

absl::Status ParseTemplate(const Field& field, TokenizerParts* parts) {
  const Field single = field["single"];
  REPRO_RETURN_IF_ERROR(single.CheckArray());
  bool text_seen = false;
  for (size_t i = 0; i < single.json().size(); ++i) {
    const Field piece = single.at(i);
    if (!piece["Sequence"].is_null()) {
      if (text_seen) return piece.Invalid("the text appears twice");
      text_seen = true;
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const std::string name,
                           piece["SpecialToken"]["id"].String());
    const Field ids = field["special_tokens"][name.c_str()]["ids"];
    REPRO_RETURN_IF_ERROR(ids.CheckArray());
    for (size_t j = 0; j < ids.json().size(); ++j) {
      REPRO_ASSIGN_OR_RETURN(const int32_t id, ids.at(j).Int());
      (text_seen ? parts->suffix : parts->prefix).push_back(id);
    }
  }
  if (!text_seen) return single.Invalid("the text does not appear");
  return absl::OkStatus();
}

absl::Status ParsePostProcessor(const Field& field, int depth,
                                TokenizerParts* parts) {
  if (field.is_null()) return absl::OkStatus();
  REPRO_ASSIGN_OR_RETURN(const std::string type, field["type"].String());
  if (type == "ByteLevel") return absl::OkStatus();  // moves offsets alone
  if (type == "Sequence") {
    if (depth == 0) return field.Invalid("sequences are nested too deeply");
    const Field list = field["processors"];
    REPRO_RETURN_IF_ERROR(list.CheckArray());
    for (size_t i = 0; i < list.json().size(); ++i) {
      REPRO_RETURN_IF_ERROR(ParsePostProcessor(list.at(i), depth - 1, parts));
    }
    return absl::OkStatus();
  }
  if (!parts->prefix.empty() || !parts->suffix.empty()) {
    return field.Unimplemented("two processors add tokens");
  }
  if (type == "TemplateProcessing") return ParseTemplate(field, parts);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    REPRO_ASSIGN_OR_RETURN(const int32_t cls, ParseTextAndId(field["cls"]));
    REPRO_ASSIGN_OR_RETURN(const int32_t sep, ParseTextAndId(field["sep"]));
    parts->prefix = {cls};
    parts->suffix = {sep};
    return absl::OkStatus();
  }
  return field.Unimplemented(
      "post-processor ", Shown(type),
      " is not supported: ByteLevel, TemplateProcessing, BertProcessing, "
      "RobertaProcessing and Sequence are");
}

// A token of tokenizer_config.json: its text, or an object with it.
absl::StatusOr<std::string> ConfigToken(const Field& field) {
  if (field.json().is_object()) return field["content"].String("");
  return field.String("");
}

absl::Status ParseConfig(const Field& config, TokenizerParts* parts) {
  const std::pair<const char*, std::optional<int32_t>*> roles[] = {
      {"bos_token", &parts->roles.bos},
      {"eos_token", &parts->roles.eos},
      {"pad_token", &parts->roles.pad},
      {"unk_token", &parts->roles.unk}};
  for (const auto& [key, id] : roles) {
    REPRO_ASSIGN_OR_RETURN(const std::string text, ConfigToken(config[key]));
    if (text.empty()) continue;
    const auto known = parts->model->vocabulary().find(text);
    if (known != parts->model->vocabulary().end()) *id = known->second;
    for (const AddedToken& added : parts->added_tokens) {
      if (added.content == text) *id = added.id;
    }
    if (!*id) return config[key].Invalid("no token is ", Shown(text));
  }
  // One template, or several with names.
  const Field chat_template = config["chat_template"];
  if (!chat_template.json().is_array()) {
    REPRO_ASSIGN_OR_RETURN(parts->chat_template, chat_template.String(""));
    return absl::OkStatus();
  }
  for (size_t i = 0; i < chat_template.json().size(); ++i) {
    const Field entry = chat_template.at(i);
    REPRO_ASSIGN_OR_RETURN(const std::string name, entry["name"].String());
    if (name != "default") continue;
    REPRO_ASSIGN_OR_RETURN(parts->chat_template, entry["template"].String());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerJson(
    absl::string_view json, absl::string_view config_json,
    const std::string& name) {
  REPRO_ASSIGN_OR_RETURN(const Json parsed, ParseText(json, name));
  const Field root(&parsed, absl::StrCat(name, ":"));
  TokenizerParts parts;
  parts.name = name;
  REPRO_RETURN_IF_ERROR(
      ParseAddedTokens(root["added_tokens"], &parts.added_tokens));
  REPRO_RETURN_IF_ERROR(ParseNormalizer(root["normalizer"], kMaxSequenceDepth,
                                        &parts.normalizers));
  bool byte_level = false;
  REPRO_RETURN_IF_ERROR(ParsePreTokenizer(root["pre_tokenizer"],
                                          kMaxSequenceDepth,
                                          &parts.pre_tokenizers, &byte_level));
  const Field model = root["model"];
  const Field decoder = root["decoder"];
  REPRO_ASSIGN_OR_RETURN(const std::string type, model["type"].String());
  REPRO_ASSIGN_OR_RETURN(const std::string decoder_type,
                         decoder["type"].String(""));
  if (type == "BPE") {
    if (!byte_level) {
      return root["pre_tokenizer"].Unimplemented(
          "BPE is supported with ByteLevel at the end alone");
    }
    if (decoder_type != "ByteLevel") {
      return decoder.Unimplemented("byte-level BPE needs ByteLevel");
    }
    REPRO_ASSIGN_OR_RETURN(parts.model, ParseBpe(model));
  } else if (type == "WordPiece") {
    if (byte_level) {
      return root["pre_tokenizer"].Unimplemented(
          "ByteLevel is not supported with WordPiece");
    }
    if (decoder_type != "WordPiece") {
      return decoder.Unimplemented("WordPiece needs WordPiece");
    }
    REPRO_ASSIGN_OR_RETURN(parts.model, ParseWordPiece(model, decoder));
  } else {
    return model["type"].Unimplemented(
        "model ", Shown(type), " is not supported: BPE and WordPiece are");
  }
  parts.roles.unk = parts.model->unk();
  REPRO_RETURN_IF_ERROR(
      ParsePostProcessor(root["post_processor"], kMaxSequenceDepth, &parts));
  if (!config_json.empty()) {
    const std::string config_name = absl::StrCat(name, " (its config)");
    REPRO_ASSIGN_OR_RETURN(const Json config,
                           ParseText(config_json, config_name));
    REPRO_RETURN_IF_ERROR(
        ParseConfig(Field(&config, absl::StrCat(config_name, ":")), &parts));
  }
  return Tokenizer::Create(std::move(parts));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(
    const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/tokenizer.json");
  REPRO_ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  const std::string config_path =
      absl::StrCat(folder, "/tokenizer_config.json");
  std::string config;
  std::error_code error;
  if (std::filesystem::exists(config_path, error)) {
    REPRO_ASSIGN_OR_RETURN(config, ReadFile(config_path));
  }
  return ParseTokenizerJson(json, config, path);
}

}  // namespace repro
