#include "tools/language_model.h"

#include <exception>
#include <iostream>
#include <utility>

#include "common/assets/asset_store.h"
#include "common/lm/default_model.h"
#include "common/lm/generate.h"
#include "common/lm/text_model.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"

namespace repro {
namespace {

// Tenths of the default model's download on stderr, until Ctrl-C.
FetchProgress ShowProgress() {
  return [last = int64_t{-1}](int64_t done, int64_t total) mutable {
    const int64_t tenths = total > 0 ? 10 * done / total : 0;
    if (tenths != last) {
      std::cerr << lm::kDefaultModelName << ": " << 10 * tenths << "%\n";
      last = tenths;
    }
    return !g_stop.load();
  };
}

}  // namespace

absl::StatusOr<RunnableModel> LoadRunnableModel(const ModelOptions& options,
                                                bool* missing) {
  *missing = false;
  RunnableModel out;
  lm::LoadOptions load;
  REPRO_ASSIGN_OR_RETURN(load.device, ParseDevice(options.device));
  ConfigureTorch(options.threads, /*deterministic=*/false);
  const absl::StatusOr<std::string> path =
      lm::LocateModel(options.model, ShowProgress());
  *missing = !path.ok() && options.model == lm::kDefaultModelName &&
             !absl::IsCancelled(path.status());
  REPRO_RETURN_IF_ERROR(path.status());
  out.name = lm::ModelName(options.model);
  REPRO_ASSIGN_OR_RETURN(lm::TextModel loaded, lm::LoadTextModel(*path, load));
  out.model = std::move(loaded.model);
  out.tokenizer = std::move(loaded.tokenizer);
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
