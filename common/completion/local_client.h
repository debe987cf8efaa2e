// A model in this process: common/lm.
#ifndef REPRO_COMMON_COMPLETION_LOCAL_CLIENT_H_
#define REPRO_COMMON_COMPLETION_LOCAL_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/completion/completion.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/tokenizer/tokenizer.h"

namespace repro::completion {

struct LocalOptions {
  std::string path;  // a .gguf file or a folder; empty: the default model
  std::string device = "cpu";
  std::function<bool()> cancelled;  // asked at each token; true: give up
};

// Loads the model when it is first asked, so that a recording answers without
// it. Requests are answered one after the other, each by itself: an answer
// depends on the request, the model and the machine, not on what else runs.
// Choice i is drawn with the seed plus i; no seed is 0. NotFound for a path
// where nothing is.
absl::StatusOr<std::unique_ptr<CompletionClient>> MakeLocalClient(
    const LocalOptions& options);

// Of a model that is loaded; all but the options' path and device is used, and
// model and tokenizer must outlive the client. `name` answers to requests that
// name a model.
std::unique_ptr<CompletionClient> MakeLocalClient(
    const lm::LanguageModel* model, const Tokenizer* tokenizer,
    lm::StateFactory factory, const std::string& name,
    const LocalOptions& options = {});

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_LOCAL_CLIENT_H_
