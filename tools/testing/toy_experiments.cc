// The experiments of toy.textproto. TOY_SIGN=-1 breaks the closed form, as a
// wrong sign in a method would.

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/completion/open_client.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro {
namespace {

absl::Status MeasureClosedForm(ExperimentRun& run) {
  const char* sign = std::getenv("TOY_SIGN");
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double count, run.DoubleArg(*claim, "count"));
    run.RecordCount(*claim, sign == nullptr ? count : -count);
  }
  return absl::OkStatus();
}

absl::Status MeasureSlowly(ExperimentRun& run) {
  int done = 0;
  for (const Claim* claim : run.claims()) {
    // Longer than the runner waits before it writes again.
    std::this_thread::sleep_for(std::chrono::milliseconds(600));
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const double value, run.DoubleArg(*claim, "value"));
    run.Record(*claim, value);
    run.Progress(++done, run.claims().size(), claim->id());
  }
  return absl::OkStatus();
}

absl::Status Replay(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("runs"));
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  double value = 0;
  if (!absl::SimpleAtod(text, &value)) {
    return absl::InvalidArgumentError(path + ": not a number");
  }
  run.Record(*run.claims()[0], value);
  return absl::OkStatus();
}

// Four questions of at most three tokens each.
absl::Status Ask(ExperimentRun& run) {
  completion::OpenOptions options;
  options.cancelled = [&run] { return run.Cancelled(); };
  REPRO_ASSIGN_OR_RETURN(const auto client,
                         completion::OpenClient(run.model_spec(), options));
  int64_t tokens = 0;
  for (int i = 0; i < 4; ++i) {
    completion::CompletionRequest request;
    request.messages = {{"user", absl::StrCat("Question ", i)}};
    request.max_tokens = 3;
    REPRO_ASSIGN_OR_RETURN(const completion::Completion answer,
                           client->Complete(request));
    tokens += answer.completion_tokens;
  }
  run.Record(*run.claims()[0], static_cast<double>(tokens));
  return absl::OkStatus();
}

REPRO_REGISTER_EXPERIMENT("toy", "ask", Ask);
REPRO_REGISTER_EXPERIMENT("toy", "closed_form", MeasureClosedForm);
REPRO_REGISTER_EXPERIMENT("toy", "slow", MeasureSlowly);
REPRO_REGISTER_EXPERIMENT("toy", "replay", Replay);

}  // namespace
}  // namespace repro
