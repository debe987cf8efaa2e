#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/testbed/testbed.h"
#include "tools/commands.h"
#include "tools/terminal.h"

namespace repro {

absl::StatusOr<int> TestbedCommand(const TestbedCommandOptions& options) {
  REPRO_ASSIGN_OR_RETURN(testbed::Recipe recipe,
                         testbed::FindRecipe(options.name));
  if (!options.recipe_path.empty()) {
    REPRO_ASSIGN_OR_RETURN(const std::string text,
                           ReadFile(options.recipe_path, 1 << 20));
    REPRO_ASSIGN_OR_RETURN(recipe,
                           testbed::ParseRecipe(text, options.recipe_path));
  }
  const std::string folder =
      options.folder.empty()
          ? testbed::TestbedFolder(recipe, testbed::DefaultCacheDir())
          : options.folder;
  testbed::TrainingOptions training;
  REPRO_ASSIGN_OR_RETURN(training.device, ParseDevice(options.device));
  ConfigureTorch(options.threads, /*deterministic=*/false);
  if (options.train) {
    training.evaluate_every = options.evaluate_every;
    training.metrics_path = options.metrics_path;
    training.cancelled = [] { return g_stop.load(); };
    training.progress = [](int64_t done, int64_t total,
                           const std::string& text) {
      if (done % 50 == 0 || done == total) {
        std::cerr << absl::StrFormat("step %d of %d, %s\n", done, total, text);
      }
    };
    REPRO_RETURN_IF_ERROR(
        testbed::TrainAndSaveTestbed(recipe, folder, training));
  }
  REPRO_ASSIGN_OR_RETURN(const testbed::Testbed trained,
                         testbed::LoadTestbed(recipe, folder, training.device));
  std::cout << recipe.name << ", " << lm::NumParameters(trained.model->config())
            << " parameters, recipe " << testbed::RecipeDigest(recipe) << "\n"
            << folder << "\ntrained on " << trained.trained_on << "\n";
  TextTable table({"measure", "value"});
  for (const auto& [name, value] : trained.metrics) {
    table.AddRow({name, absl::StrFormat("%.4f", value)});
  }
  std::cout << table.ToText();
  return kExitOk;
}

}  // namespace repro
