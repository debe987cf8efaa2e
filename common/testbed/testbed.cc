#include "common/testbed/testbed.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/lm/from_llama.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"

namespace repro::testbed {
namespace {

absl::Status MakeFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat(folder, ": cannot make this folder: ", error.message()));
  }
  return absl::OkStatus();
}

// Weights rounded to bfloat16, which halves the file and is what CUDA computes
// with.
void RoundWeights(lm::LanguageModel* model) {
  lm::ModelWeights& weights = model->mutable_weights();
  const auto round = [](at::Tensor* tensor) {
    *tensor = tensor->to(at::kCPU).to(at::kBFloat16);
  };
  const bool tied = weights.head.dense.is_alias_of(weights.embedding);
  round(&weights.embedding);
  round(&weights.final_norm);
  if (tied) {
    weights.head.dense = weights.embedding;
  } else {
    round(&weights.head.dense);
  }
  for (lm::LayerWeights& layer : weights.layers) {
    round(&layer.attention_norm);
    round(&layer.ffn_norm);
    for (lm::LinearWeight* linear :
         {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      round(&linear->dense);
    }
  }
}

// Held by the one process that trains in a folder.
class FolderLock {
 public:
  static absl::StatusOr<FolderLock> Wait(const std::string& folder) {
    const std::string path = absl::StrCat(folder, "/lock");
    const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || flock(file, LOCK_EX) != 0) {
      const std::string reason = std::strerror(errno);
      if (file >= 0) close(file);
      return absl::UnavailableError(
          absl::StrCat(path, ": cannot lock: ", reason));
    }
    return FolderLock(file);
  }
  FolderLock(FolderLock&& other) noexcept
      : file_(std::exchange(other.file_, -1)) {}
  ~FolderLock() {
    if (file_ >= 0) close(file_);
  }

 private:
  explicit FolderLock(int file) : file_(file) {}
  int file_;
};

}  // namespace

std::string DefaultCacheDir() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg) {
    return absl::StrCat(xdg, "/repro");
  }
  const char* home = std::getenv("HOME");
  return absl::StrCat(home && *home ? home : ".", "/.cache/repro");
}

std::string TestbedFolder(const Recipe& recipe, const std::string& cache_dir) {
  return absl::StrCat(cache_dir, "/testbed/", recipe.name, "-",
                      RecipeDigest(recipe).substr(0, 16));
}

absl::Status TrainAndSaveTestbed(const Recipe& recipe,
                                 const std::string& folder,
                                 TrainingOptions options) {
  REPRO_RETURN_IF_ERROR(MakeFolder(folder));
  const bool own_checkpoint = options.checkpoint_path.empty();
  if (own_checkpoint) {
    options.checkpoint_path = absl::StrCat(folder, "/training.pt");
  }
  REPRO_ASSIGN_OR_RETURN(const Trained trained, TrainTestbed(recipe, options));
  const std::unique_ptr<lm::LanguageModel> model =
      lm::FromLlama(*trained.model, recipe.context);
  RoundWeights(model.get());
  REPRO_RETURN_IF_ERROR(lm::SaveModel(*model, folder));
  REPRO_RETURN_IF_ERROR(WriteFileAtomically(
      absl::StrCat(folder, "/recipe.json"), RecipeJson(recipe) + "\n"));
  const nlohmann::json training = {{"recipe_digest", RecipeDigest(recipe)},
                                   {"metrics", trained.metrics},
                                   {"seconds", trained.seconds},
                                   {"steps", trained.steps},
                                   {"device", DeviceName(options.device)}};
  REPRO_RETURN_IF_ERROR(WriteFileAtomically(
      absl::StrCat(folder, "/training.json"), training.dump(2) + "\n"));
  if (own_checkpoint) std::remove(options.checkpoint_path.c_str());
  return absl::OkStatus();
}

absl::StatusOr<Testbed> LoadTestbed(const Recipe& recipe,
                                    const std::string& folder,
                                    c10::Device device) {
  const std::string path = absl::StrCat(folder, "/training.json");
  const absl::StatusOr<std::string> text = ReadFile(path, 1 << 20);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat(
        folder, ": no trained ", recipe.name,
        " is here; `./repro testbed train ", recipe.name, "` makes it"));
  }
  REPRO_RETURN_IF_ERROR(text.status());
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  Testbed testbed;
  testbed.recipe = recipe;
  testbed.folder = folder;
  try {
    if (json.at("recipe_digest") != RecipeDigest(recipe)) {
      return absl::FailedPreconditionError(absl::StrCat(
          path, ": recipe_digest is ", json["recipe_digest"].dump(),
          ", that of ", recipe.name, " is \"", RecipeDigest(recipe),
          "\": another recipe made this model; remove the folder to train"));
    }
    testbed.metrics = json.at("metrics").get<Metrics>();
    testbed.metrics["seconds"] = json.at("seconds");
    testbed.trained_on = json.at("device");
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(
        absl::StrCat(path, ": ", error.what(), "; remove the folder to train"));
  }
  lm::LoadOptions load;
  load.device = device;
  REPRO_ASSIGN_OR_RETURN(testbed.model, lm::LoadModel(folder, load));
  return testbed;
}

absl::StatusOr<Testbed> LoadOrTrainTestbed(const std::string& recipe_name,
                                           const std::string& cache_dir,
                                           const TrainingOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const Recipe recipe, FindRecipe(recipe_name));
  const std::string folder = TestbedFolder(recipe, cache_dir);
  absl::StatusOr<Testbed> testbed = LoadTestbed(recipe, folder, options.device);
  if (!absl::IsNotFound(testbed.status())) return testbed;
  REPRO_RETURN_IF_ERROR(MakeFolder(folder));
  REPRO_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Wait(folder));
  // Another process may have trained it meanwhile.
  testbed = LoadTestbed(recipe, folder, options.device);
  if (!absl::IsNotFound(testbed.status())) return testbed;
  REPRO_RETURN_IF_ERROR(TrainAndSaveTestbed(recipe, folder, options));
  return LoadTestbed(recipe, folder, options.device);
}

}  // namespace repro::testbed
