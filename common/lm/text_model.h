// A language model with its tokenizer, by name or path.
#ifndef REPRO_COMMON_LM_TEXT_MODEL_H_
#define REPRO_COMMON_LM_TEXT_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/assets/asset_store.h"
#include "common/lm/model.h"
#include "common/tokenizer/tokenizer.h"

namespace repro::lm {

// The path as it is, or for kDefaultModelName that of the default model, which
// is fetched if it is not on this machine; `progress` may be null. NotFound if
// nothing is at the path; AssetStore::Fetch's errors for the default model.
absl::StatusOr<std::string> LocateModel(const std::string& name_or_path,
                                        const FetchProgress& progress);

struct TextModel {
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Tokenizer> tokenizer;
};

// A .gguf file, or a folder with config.json, safetensors and tokenizer.json.
absl::StatusOr<TextModel> LoadTextModel(const std::string& path,
                                        const LoadOptions& options);

// kDefaultModelName itself, else the file's or folder's own name.
std::string ModelName(const std::string& name_or_path);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_TEXT_MODEL_H_
