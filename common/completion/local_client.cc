#include "common/completion/local_client.h"

#include <exception>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/lm/default_model.h"
#include "common/lm/generate.h"
#include "common/lm/text_model.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/text/utf8.h"

namespace repro::completion {
namespace {

// What a model needs to answer, not owned.
struct Runtime {
  const lm::LanguageModel* model = nullptr;
  const Tokenizer* tokenizer = nullptr;
  lm::StateFactory factory;
};

class LocalClient : public CompletionClient {
 public:
  LocalClient(std::string model_name, LocalOptions options, Runtime runtime)
      : model_name_(std::move(model_name)),
        options_(std::move(options)),
        runtime_(std::move(runtime)) {}

  std::string name() const override { return "local:" + model_name_; }

  absl::StatusOr<Completion> Complete(
      const CompletionRequest& request) override {
    REPRO_RETURN_IF_ERROR(Validate(request));
    if (!request.model.empty() && request.model != model_name_) {
      return absl::NotFoundError(absl::StrCat(
          "there is no model ", request.model, "; this one is ", model_name_));
    }
    absl::MutexLock lock(&mutex_);
    REPRO_RETURN_IF_ERROR(Load());
    lm::GenerationRequest base;
    if (request.messages.empty()) {
      REPRO_ASSIGN_OR_RETURN(
          base.prompt, lm::EncodePrompt(*runtime_.tokenizer, request.prompt));
    } else {
      REPRO_ASSIGN_OR_RETURN(
          base.prompt, lm::EncodeChat(*runtime_.tokenizer, request.messages));
    }
    base.max_tokens = request.max_tokens;
    base.stop = request.stop;
    base.sampling.temperature = request.temperature;
    base.sampling.top_p = request.top_p;
    base.sampling.top_logprobs = request.logprobs;
    Completion completion;
    completion.model = model_name_;
    for (int i = 0; i < request.n; ++i) {
      base.sampling.seed = request.seed.value_or(0) + static_cast<uint64_t>(i);
      REPRO_ASSIGN_OR_RETURN(const lm::GenerationResult result, Generate(base));
      completion.prompt_tokens = result.prompt_tokens;
      completion.completion_tokens +=
          static_cast<int64_t>(result.tokens.size());
      Choice choice;
      choice.text = result.text;
      choice.finish_reason = lm::Name(result.finish_reason);
      if (request.logprobs > 0) {
        for (const lm::SampledToken& token : result.tokens) {
          choice.logprobs.push_back(Logprob(token.chosen));
          for (const lm::TokenLogprob& other : token.top) {
            choice.logprobs.back().top.push_back(Logprob(other));
          }
        }
      }
      completion.choices.push_back(std::move(choice));
    }
    return completion;
  }

 private:
  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (runtime_.model != nullptr) return absl::OkStatus();
    const auto progress = [this](int64_t, int64_t) {
      return !options_.cancelled || !options_.cancelled();
    };
    lm::LoadOptions load;
    REPRO_ASSIGN_OR_RETURN(load.device, ParseDevice(options_.device));
    REPRO_ASSIGN_OR_RETURN(
        const std::string path,
        lm::LocateModel(
            options_.path.empty() ? lm::kDefaultModelName : options_.path,
            progress));
    REPRO_ASSIGN_OR_RETURN(lm::TextModel loaded, lm::LoadTextModel(path, load));
    Runtime runtime;
    try {
      REPRO_ASSIGN_OR_RETURN(runtime.factory,
                             lm::PreparePolicy("dense", {}, *loaded.model));
    } catch (const std::exception& error) {
      return lm::StatusOf(error);
    }
    loaded_ = std::move(loaded);
    runtime.model = loaded_.model.get();
    runtime.tokenizer = loaded_.tokenizer.get();
    runtime_ = std::move(runtime);
    return absl::OkStatus();
  }

  absl::StatusOr<lm::GenerationResult> Generate(
      const lm::GenerationRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    REPRO_ASSIGN_OR_RETURN(
        lm::GenerationResult result,
        lm::Generate(*runtime_.model, *runtime_.tokenizer, runtime_.factory,
                     request, [this](const lm::TextPiece&) {
                       return !options_.cancelled || !options_.cancelled();
                     }));
    if (result.finish_reason == lm::FinishReason::kCancelled) {
      return absl::CancelledError(absl::StrCat(name(), ": stopped"));
    }
    return result;
  }

  TokenLogprob Logprob(const lm::TokenLogprob& token) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return {ReplaceInvalidUtf8(
                runtime_.tokenizer->DecodeToken(token.id).value_or("")),
            token.logprob,
            {}};
  }

  const std::string model_name_;
  const LocalOptions options_;
  absl::Mutex mutex_;
  lm::TextModel loaded_ ABSL_GUARDED_BY(mutex_);
  Runtime runtime_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<CompletionClient>> MakeLocalClient(
    const LocalOptions& options) {
  if (options.path.empty() || options.path == lm::kDefaultModelName) {
    return std::make_unique<LocalClient>(lm::kDefaultModelName, options,
                                         Runtime());
  }
  // Nothing is fetched for a path.
  REPRO_RETURN_IF_ERROR(lm::LocateModel(options.path, nullptr).status());
  return std::make_unique<LocalClient>(lm::ModelName(options.path), options,
                                       Runtime());
}

std::unique_ptr<CompletionClient> MakeLocalClient(
    const lm::LanguageModel* model, const Tokenizer* tokenizer,
    lm::StateFactory factory, const std::string& name,
    const LocalOptions& options) {
  return std::make_unique<LocalClient>(
      name, options, Runtime{model, tokenizer, std::move(factory)});
}

}  // namespace repro::completion
