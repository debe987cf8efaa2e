// Clients by a text, as `repro run --model SPEC` has it.
#ifndef REPRO_COMMON_COMPLETION_OPEN_CLIENT_H_
#define REPRO_COMMON_COMPLETION_OPEN_CLIENT_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"

namespace repro::completion {

struct OpenOptions {
  // Asked often while a client works; true: give up with Cancelled.
  std::function<bool()> cancelled;
};

//   local                  the default model of common/lm
//   local:PATH             a .gguf file or a folder with config.json
//   openai:MODEL@URL       an OpenAI-compatible server, "https://host/v1"; its
//                          key, if it wants one, is in OPENAI_API_KEY
//   record:DIR:SPEC        SPEC, each answer written into DIR and taken from
//                          there when asked for again
//   replay:DIR             what was recorded in DIR, nothing else
//
// A local model is loaded when it is first asked. InvalidArgument for another
// spec, with this list; NotFound for a path or folder that is not there.
absl::StatusOr<std::unique_ptr<CompletionClient>> OpenClient(
    absl::string_view spec, const OpenOptions& options = {});

}  // namespace repro::completion

#endif  // REPRO_COMMON_COMPLETION_OPEN_CLIENT_H_
