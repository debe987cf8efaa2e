// The trained testbed models in folders: made once, then read.
//
//   REPRO_ASSIGN_OR_RETURN(
//       const Testbed testbed,
//       LoadOrTrainTestbed("testbed_small", DefaultCacheDir(), {}));
//   EvaluateRecall(*testbed.model, ...);
#ifndef REPRO_COMMON_TESTBED_TESTBED_H_
#define REPRO_COMMON_TESTBED_TESTBED_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/lm/model.h"
#include "common/testbed/recipe.h"
#include "common/testbed/training.h"

namespace repro::testbed {

struct Testbed {
  Recipe recipe;
  std::unique_ptr<lm::LanguageModel> model;
  // Of the end of its training (MeasureTestbed), "seconds" with them.
  Metrics metrics;
  std::string trained_on;  // the device's name
  std::string folder;
};

// $XDG_CACHE_HOME/repro or ~/.cache/repro.
std::string DefaultCacheDir();

// <cache_dir>/testbed/<name>-<16 digits of the recipe's digest>.
std::string TestbedFolder(const Recipe& recipe, const std::string& cache_dir);

// Trains, checkpoints in the folder (an interrupted training goes on), and
// writes what LoadTestbed reads:
//   config.json, model.safetensors  the model, in bfloat16, as other programs
//                                   read it
//   recipe.json                     RecipeJson
//   training.json                   digest, metrics, seconds, device
// training.json comes last: a folder that has it is complete.
absl::Status TrainAndSaveTestbed(const Recipe& recipe,
                                 const std::string& folder,
                                 TrainingOptions options);

// On the device, float32 on the CPU and bfloat16 on CUDA (lm::LoadOptions).
// NotFound: it was not trained yet; FailedPrecondition: the folder holds the
// model of another recipe.
absl::StatusOr<Testbed> LoadTestbed(const Recipe& recipe,
                                    const std::string& folder,
                                    c10::Device device);

// LoadTestbed of the recipe's folder in the cache, trained first if it is not
// there: minutes. Of several processes one trains and the others wait.
absl::StatusOr<Testbed> LoadOrTrainTestbed(const std::string& recipe_name,
                                           const std::string& cache_dir,
                                           const TrainingOptions& options);

}  // namespace repro::testbed

#endif  // REPRO_COMMON_TESTBED_TESTBED_H_
