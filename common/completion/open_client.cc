#include "common/completion/open_client.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/completion/local_client.h"
#include "common/completion/openai_client.h"
#include "common/completion/record_replay.h"
#include "common/status/macros.h"

namespace repro::completion {
namespace {

// Does not repeat the spec: a URL may hold a password.
absl::Status Wrong(absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("--model: ", why,
                   "; give local, local:PATH, openai:MODEL@URL, "
                   "record:DIR:SPEC or replay:DIR"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CompletionClient>> OpenClient(
    absl::string_view spec, const OpenOptions& options) {
  LocalOptions local;
  local.cancelled = options.cancelled;
  if (spec == "local") return MakeLocalClient(local);
  if (absl::ConsumePrefix(&spec, "local:")) {
    if (spec.empty()) return Wrong("local: names no path");
    local.path = std::string(spec);
    return MakeLocalClient(local);
  }
  if (absl::ConsumePrefix(&spec, "openai:")) {
    const size_t at = spec.find("@http");
    if (at == spec.npos || at == 0) {
      return Wrong("openai: names no model or no http URL");
    }
    OpenAiOptions openai;
    openai.model = std::string(spec.substr(0, at));
    openai.url = std::string(spec.substr(at + 1));
    openai.cancelled = options.cancelled;
    return OpenAiClient::Create(std::move(openai));
  }
  if (absl::ConsumePrefix(&spec, "replay:")) {
    if (spec.empty()) return Wrong("replay: names no folder");
    return ReplayClient::Create(std::string(spec));
  }
  if (absl::ConsumePrefix(&spec, "record:")) {
    const size_t colon = spec.find(':');
    if (colon == spec.npos || colon == 0) {
      return Wrong("record: names no folder or no model to record");
    }
    REPRO_ASSIGN_OR_RETURN(std::unique_ptr<CompletionClient> inner,
                           OpenClient(spec.substr(colon + 1), options));
    return RecordingClient::Create(std::move(inner),
                                   std::string(spec.substr(0, colon)));
  }
  return Wrong("this is no kind of model");
}

}  // namespace repro::completion
