#include "common/lm/text_model.h"

#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/checkpoint/gguf.h"
#include "common/lm/default_model.h"
#include "common/status/macros.h"
#include "common/tokenizer/loader.h"

namespace repro::lm {

absl::StatusOr<std::string> LocateModel(const std::string& name_or_path,
                                        const FetchProgress& progress) {
  if (name_or_path != kDefaultModelName) {
    std::error_code error;
    if (std::filesystem::exists(name_or_path, error)) return name_or_path;
    return absl::NotFoundError(
        absl::StrCat("--model ", name_or_path,
                     ": there is no such file; give a .gguf file, a folder "
                     "with config.json, or ",
                     kDefaultModelName));
  }
  const AssetStore store(AssetStoreOptions::FromEnvironment());
  absl::StatusOr<LocatedAsset> asset = store.Locate(DefaultModel());
  if (absl::IsNotFound(asset.status())) {
    asset = store.Fetch(DefaultModel(), progress);
  }
  REPRO_RETURN_IF_ERROR(asset.status());
  return asset->path;
}

absl::StatusOr<TextModel> LoadTextModel(const std::string& path,
                                        const LoadOptions& options) {
  TextModel out;
  REPRO_ASSIGN_OR_RETURN(out.model, LoadModel(path, options));
  if (absl::EndsWith(path, ".gguf")) {
    REPRO_ASSIGN_OR_RETURN(const auto file, OpenGguf(path));
    REPRO_ASSIGN_OR_RETURN(out.tokenizer, TokenizerFromGguf(*file));
  } else {
    REPRO_ASSIGN_OR_RETURN(out.tokenizer, LoadTokenizer(path));
  }
  return out;
}

std::string ModelName(const std::string& name_or_path) {
  if (name_or_path == kDefaultModelName) return name_or_path;
  const std::filesystem::path named =
      std::filesystem::path(name_or_path).lexically_normal();
  return named.has_filename() ? named.filename().string()
                              : named.parent_path().filename().string();
}

}  // namespace repro::lm
