#include "tools/language_model.h"

#include <exception>
#include <filesystem>
#include <iostream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/assets/asset_store.h"
#include "common/checkpoint/gguf.h"
#include "common/lm/default_model.h"
#include "common/lm/generate.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tokenizer/loader.h"

namespace repro {
namespace {

absl::StatusOr<LocatedAsset> FetchDefaultModel() {
  const AssetStore store(AssetStoreOptions::FromEnvironment());
  absl::StatusOr<LocatedAsset> asset = store.Locate(lm::DefaultModel());
  if (!absl::IsNotFound(asset.status())) return asset;
  int64_t last = -1;
  return store.Fetch(lm::DefaultModel(), [&](int64_t done, int64_t total) {
    const int64_t tenths = total > 0 ? 10 * done / total : 0;
    if (tenths != last) {
      std::cerr << kDefaultModelName << ": " << 10 * tenths << "%\n";
      last = tenths;
    }
    return !g_stop.load();
  });
}

}  // namespace

absl::StatusOr<RunnableModel> LoadRunnableModel(const ModelOptions& options,
                                                bool* missing) {
  *missing = false;
  RunnableModel out;
  lm::LoadOptions load;
  REPRO_ASSIGN_OR_RETURN(load.device, ParseDevice(options.device));
  ConfigureTorch(options.threads, /*deterministic=*/false);
  std::string path = options.model;
  if (path == kDefaultModelName) {
    out.name = kDefaultModelName;
    const absl::StatusOr<LocatedAsset> asset = FetchDefaultModel();
    if (!asset.ok()) {
      *missing = !absl::IsCancelled(asset.status());
      return asset.status();
    }
    path = asset->path;
  } else {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
      return absl::NotFoundError(
          absl::StrCat("--model ", path,
                       ": there is no such file; give a .gguf file, a "
                       "folder with config.json, or ",
                       kDefaultModelName));
    }
    const std::filesystem::path named =
        std::filesystem::path(path).lexically_normal();
    out.name = named.has_filename() ? named.filename().string()
                                    : named.parent_path().filename().string();
  }
  REPRO_ASSIGN_OR_RETURN(out.model, lm::LoadModel(path, load));
  if (absl::EndsWith(path, ".gguf")) {
    REPRO_ASSIGN_OR_RETURN(const auto file, OpenGguf(path));
    REPRO_ASSIGN_OR_RETURN(out.tokenizer, TokenizerFromGguf(*file));
  } else {
    REPRO_ASSIGN_OR_RETURN(out.tokenizer, LoadTokenizer(path));
  }
  REPRO_ASSIGN_OR_RETURN(const lm::PolicyOptions policy,
                         lm::PolicyOptions::Parse(options.policy_options));
  try {
    REPRO_ASSIGN_OR_RETURN(
        out.factory, lm::PreparePolicy(options.policy, policy, *out.model));
  } catch (const std::exception& error) {
    return lm::StatusOf(error);
  }
  return out;
}

}  // namespace repro
