#include "common/completion/record_replay.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/assets/sha256.h"
#include "common/checkpoint/json.h"
#include "common/completion/completion_json.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro::completion {
namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 1;
constexpr int kMaxDepth = 16;
constexpr int64_t kMaxBytes = int64_t{1} << 28;

struct Recording {
  std::string client;
  Completion completion;
};

std::string PathOf(const std::string& folder, const std::string& key) {
  return absl::StrCat(folder, "/", key, ".json");
}

// NotFound if there is none.
absl::StatusOr<Recording> Read(const std::string& folder,
                               const CompletionRequest& request) {
  const std::string key = RequestKey(request);
  const std::string path = PathOf(folder, key);
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  const auto corrupt = [&](absl::string_view why) {
    return absl::DataLossError(
        absl::StrCat(path, ": not a recording: ", why,
                     "; remove the file and record it again"));
  };
  const absl::StatusOr<nlohmann::json> json =
      ParseJsonObject(text, path, kMaxDepth);
  if (!json.ok()) return corrupt(json.status().message());
  const auto version = json->find("version");
  if (version == json->end() || *version != kVersion) {
    return corrupt(absl::StrCat("\"version\" is not ", kVersion));
  }
  const auto asked = json->find("request");
  if (asked == json->end() || Sha256(Dump(*asked)) != key) {
    return corrupt("\"request\" is not the one that the file is named after");
  }
  const auto client = json->find("client");
  if (client == json->end() || !client->is_string()) {
    return corrupt("\"client\" is not a string");
  }
  const auto body = json->find("completion");
  if (body == json->end()) return corrupt("it has no \"completion\"");
  absl::StatusOr<Completion> completion = CompletionFromJson(*body);
  if (!completion.ok()) return corrupt(completion.status().message());
  if (completion->choices.size() != static_cast<size_t>(request.n)) {
    return corrupt(absl::StrCat("it has ", completion->choices.size(),
                                " choices, not ", request.n));
  }
  completion->from_record = true;
  return Recording{client->get<std::string>(), *std::move(completion)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordingClient>> RecordingClient::Create(
    std::unique_ptr<CompletionClient> inner, const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return absl::Status(absl::ErrnoToStatusCode(error.value()),
                        absl::StrCat(folder,
                                     ": cannot make the folder of "
                                     "recordings: ",
                                     error.message()));
  }
  return std::unique_ptr<RecordingClient>(
      new RecordingClient(std::move(inner), folder));
}

absl::StatusOr<Completion> RecordingClient::Complete(
    const CompletionRequest& request) {
  REPRO_RETURN_IF_ERROR(Validate(request));
  absl::StatusOr<Recording> recording = Read(folder_, request);
  const std::string path = PathOf(folder_, RequestKey(request));
  if (recording.ok()) {
    if (recording->client == name()) return std::move(recording->completion);
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": recorded from ", recording->client, ", not from ",
                     name(), "; record each model in a folder of its own"));
  }
  if (!absl::IsNotFound(recording.status())) return recording.status();
  REPRO_ASSIGN_OR_RETURN(Completion completion, inner_->Complete(request));
  if (completion.choices.size() != static_cast<size_t>(request.n)) {
    return absl::DataLossError(absl::StrCat(name(), ": gave ",
                                            completion.choices.size(),
                                            " choices, not ", request.n));
  }
  const nlohmann::json json = {{"version", kVersion},
                               {"client", name()},
                               {"request", RequestJson(request)},
                               {"completion", ToJson(completion)}};
  REPRO_RETURN_IF_ERROR(WriteFileAtomically(
      path, absl::StrCat(json.dump(1, ' ', false,
                                   nlohmann::json::error_handler_t::replace),
                         "\n")));
  return completion;
}

absl::StatusOr<std::unique_ptr<ReplayClient>> ReplayClient::Create(
    const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return absl::NotFoundError(
        absl::StrCat(folder,
                     ": there is no such folder of recordings; make "
                     "one with --model record:",
                     folder, ":SPEC"));
  }
  return std::unique_ptr<ReplayClient>(new ReplayClient(folder));
}

absl::StatusOr<Completion> ReplayClient::Complete(
    const CompletionRequest& request) {
  REPRO_RETURN_IF_ERROR(Validate(request));
  absl::StatusOr<Recording> recording = Read(folder_, request);
  if (recording.ok()) return std::move(recording->completion);
  if (!absl::IsNotFound(recording.status())) return recording.status();
  return absl::NotFoundError(absl::StrCat(
      "no recording ", RequestKey(request), " in ", folder_,
      "; record it with --model record:", folder_,
      ":SPEC, where SPEC is the model to ask (local, openai:MODEL@URL)"));
}

}  // namespace repro::completion
