#ifndef REPRO_COMMON_CLAIMS_RUNNER_H_
#define REPRO_COMMON_CLAIMS_RUNNER_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/claims/experiment.h"
#include "common/claims/result.pb.h"

namespace repro {

// What experiments ask that need a language model, unless the user names one.
inline constexpr char kDefaultModelSpec[] = "local";

struct RunOptions {
  // What to measure: the papers named, or all; with neither, the default set,
  // unless `claim_globs` narrow it down.
  std::vector<std::string> papers;
  bool all = false;
  // fnmatch patterns on "claim/id" or "paper/claim/id".
  std::vector<std::string> claim_globs;
  // Take the cheapest evidence first, as much as fits.
  std::optional<double> budget_seconds;
  // Leave out experiments that are expected to take longer.
  std::optional<double> max_experiment_seconds;

  std::string device = "cpu";
  std::string model_spec = kDefaultModelSpec;  // see ExperimentRun
  int num_seeds = 0;  // 0: what each experiment declares
  uint64_t first_seed = 0;
  int threads = 0;  // 0: all cores
  std::string out_dir = "out";
  bool resume = false;
  bool offline = false;  // never download an asset
};

// One experiment with the claims it is to measure.
struct PlannedExperiment {
  const Paper* paper = nullptr;
  const Experiment* experiment = nullptr;
  std::vector<const Claim*> claims;
};

struct Plan {
  std::vector<PlannedExperiment> experiments;  // in the order of running
  std::vector<Skipped> skipped;                // and why
  double seconds = 0;                          // expected
};

// Decides what to run. NotFoundError for an unknown paper, or a pattern that no
// claim matches, with the nearest names.
absl::StatusOr<Plan> MakePlan(const Registry& registry,
                              const RunOptions& options);

// Is told what happens during a run, on the thread that runs it.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void Started(const Plan&) {}
  virtual void ExperimentStarted(const PlannedExperiment&) {}
  // `fraction` of the running experiment that is done, in [0, 1].
  virtual void Progress(double fraction, absl::string_view text) {}
  virtual void Measured(const Measurement&) {}
  // With the error if it broke; claims that it left out are in `skipped`.
  virtual void ExperimentFinished(const PlannedExperiment&,
                                  const absl::Status&) {}
  // Something to tell the user: an asset being downloaded.
  virtual void Notice(absl::string_view text) {}
};

struct RunEnvironment {
  Build build;
  Machine machine;
  std::string device_name;  // "NVIDIA H100 80GB HBM3", "Intel ..."
};

// Runs the plan. The result is in `<out_dir>/results/<id>.json` from the first
// measurement on and is replaced as more come, so a killed run loses only what
// was not measured. With options.resume the newest incomplete result of the
// same request is gone on with. An experiment that fails, lacks an asset
// or finds that the machine lacks something (MachineLacksError) leaves its
// claims in `skipped` and the run goes on. `stop` ends the run soon:
// the result is then not `complete`.
//
// Errors are of the output folder only.
absl::StatusOr<Result> ExecutePlan(const Registry& registry, const Plan& plan,
                                   const RunOptions& options,
                                   const RunEnvironment& environment,
                                   const std::atomic<bool>& stop,
                                   RunObserver& observer);

// Where ExecutePlan() keeps results.
std::string ResultsFolder(const std::string& out_dir);
std::string ResultPath(const std::string& out_dir, const Result& result);

// Turns what an experiment observed into a measurement with its verdict.
Measurement Measure(const Paper& paper, const Claim& claim,
                    const Observation& observation);

}  // namespace repro

#endif  // REPRO_COMMON_CLAIMS_RUNNER_H_
