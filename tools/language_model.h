#ifndef REPRO_TOOLS_LANGUAGE_MODEL_H_
#define REPRO_TOOLS_LANGUAGE_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/tokenizer/tokenizer.h"
#include "tools/commands.h"

namespace repro {

// What `generate` and `serve` run.
struct RunnableModel {
  std::string name;  // lm::kDefaultModelName, or the file's or folder's name
  std::unique_ptr<lm::LanguageModel> model;
  std::unique_ptr<Tokenizer> tokenizer;
  lm::StateFactory factory;  // of the policy
};

// The default model is fetched if it is not on this machine, with progress on
// stderr, until g_stop. *missing: the error is that it could not be had.
absl::StatusOr<RunnableModel> LoadRunnableModel(const ModelOptions& options,
                                                bool* missing);

}  // namespace repro

#endif  // REPRO_TOOLS_LANGUAGE_MODEL_H_
