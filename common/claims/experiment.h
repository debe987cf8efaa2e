#ifndef REPRO_COMMON_CLAIMS_EXPERIMENT_H_
#define REPRO_COMMON_CLAIMS_EXPERIMENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/claims/claims.pb.h"

namespace repro {

// What an experiment measured for one claim, in the claim's unit.
struct Observation {
  // The value shown. Left NaN, it is the mean of `samples`.
  double value = NotMeasured();
  // One value a seed; the 95% interval shown is computed from them: a t
  // interval of the mean, or with `median` an order-statistic interval.
  std::vector<double> samples;
  bool median = false;
  // One effect a seed, what a Criterion.Effect is tested on. Left empty, the
  // samples are.
  std::vector<double> effects;
  // Of a Criterion.RankTest.
  double p_value = NotMeasured();
  // What was made smaller than in the paper: "20 of 100 epochs".
  std::string scale;

  static double NotMeasured();
};

// What an experiment gets: the claims to measure and where to put what it
// finds. An experiment reads its claims' args, so that one function measures a
// whole table:
//
//   absl::Status CountParameters(ExperimentRun& run) {
//     for (const Claim* claim : run.claims()) {
//       REPRO_ASSIGN_OR_RETURN(const std::string model,
//                              run.Arg(*claim, "model"));
//       run.RecordCount(*claim, NumParameters(Van(VanConfig::Named(model))));
//     }
//     return absl::OkStatus();
//   }
//   REPRO_REGISTER_EXPERIMENT("van", "parameters", CountParameters);
class ExperimentRun {
 public:
  virtual ~ExperimentRun() = default;

  // The claims to measure, in the order of claims.textproto. Never empty; not
  // always all that name the experiment.
  const std::vector<const Claim*>& claims() const { return claims_; }
  const Experiment& experiment() const { return experiment_; }

  // Seeds to use: 0, 1, ... unless the user gives others.
  const std::vector<uint64_t>& seeds() const { return seeds_; }
  // "cpu", "cuda" or "cuda:1"; common/tensor/device.h turns it into a device.
  const std::string& device() const { return device_; }
  // The language model to ask, as completion::OpenClient takes it
  // (common/completion/open_client.h): "local" unless the user gives another.
  const std::string& model_spec() const { return model_spec_; }
  // How many programs an experiment may run at a time, at least 1. LibTorch is
  // already told.
  int threads() const { return threads_; }
  // Where the experiment may keep checkpoints, so that it goes on after it was
  // killed. Exists; belongs to this experiment alone; emptied when it finishes.
  const std::string& checkpoint_dir() const { return checkpoint_dir_; }

  // The value of a claim's argument; NotFoundError names claim and argument.
  absl::StatusOr<std::string> Arg(const Claim& claim,
                                  absl::string_view name) const;
  absl::StatusOr<int64_t> IntArg(const Claim& claim,
                                 absl::string_view name) const;
  absl::StatusOr<double> DoubleArg(const Claim& claim,
                                   absl::string_view name) const;

  // The file of an asset that the experiment declares, its sha256 checked.
  virtual absl::StatusOr<std::string> AssetPath(absl::string_view name) = 0;

  // A value that draws nothing at random.
  void Record(const Claim& claim, double value);
  // A raw count (parameters, multiply-adds), divided by the claim's unit.
  void RecordCount(const Claim& claim, double count);
  virtual void Record(const Claim& claim, Observation observation) = 0;

  // `done` of `total`, both in the same arbitrary unit; `text` says what runs.
  virtual void Progress(double done, double total, absl::string_view text) = 0;
  // True once the user wants to stop: return CancelledError soon.
  virtual bool Cancelled() const = 0;

 protected:
  ExperimentRun(const Experiment& experiment, std::vector<const Claim*> claims,
                std::vector<uint64_t> seeds, std::string device,
                std::string model_spec, int threads, std::string checkpoint_dir)
      : experiment_(experiment),
        claims_(std::move(claims)),
        seeds_(std::move(seeds)),
        device_(std::move(device)),
        model_spec_(std::move(model_spec)),
        threads_(threads),
        checkpoint_dir_(std::move(checkpoint_dir)) {}

 private:
  const Experiment& experiment_;
  const std::vector<const Claim*> claims_;
  const std::vector<uint64_t> seeds_;
  const std::string device_;
  const std::string model_spec_;
  const int threads_;
  const std::string checkpoint_dir_;
};

// For an argument of a claim that names what the experiment does not know:
// InvalidArgument 'table1/a: no policy "x"'.
absl::Status UnknownName(const Claim& claim, absl::string_view what,
                         absl::string_view name);

// Records for each claim of the run the value of the name that its argument
// `arg` is. Errors: those of Arg and UnknownName.
absl::Status RecordByName(ExperimentRun& run, absl::string_view arg,
                          const std::map<std::string, double>& values);

using ExperimentFunction = std::function<absl::Status(ExperimentRun&)>;

// What is linked into this program: papers by slug and their experiments.
// Filled before main() by REPRO_REGISTER_EXPERIMENT and by the code that the
// paper() rule generates from claims.textproto.
class Registry {
 public:
  static Registry& Global();

  // A paper that does not parse is remembered as an error, see status().
  void AddPaper(const Paper& paper);
  void AddExperiment(const std::string& paper, const std::string& experiment,
                     ExperimentFunction function);

  const std::map<std::string, Paper>& papers() const { return papers_; }
  // NotFoundError suggests the nearest slugs.
  absl::StatusOr<const Paper*> FindPaper(absl::string_view slug) const;
  // Null if there is none.
  const ExperimentFunction* FindFunction(absl::string_view paper,
                                         absl::string_view experiment) const;

  // Checks that declared and registered experiments are the same.
  absl::Status Check() const;

 private:
  std::map<std::string, Paper> papers_;
  std::map<std::pair<std::string, std::string>, ExperimentFunction> functions_;
  std::vector<std::string> problems_;
};

// Up to three of `names` that are near to `name`, for "did you mean": as text,
// empty if none is near.
std::string DidYouMean(absl::string_view name,
                       const std::vector<std::string>& names);

}  // namespace repro

// Registers `function` as what measures the claims of `experiment`.
#define REPRO_REGISTER_EXPERIMENT(paper, experiment, function)              \
  static const bool REPRO_EXPERIMENT_NAME_(__LINE__) = [] {                 \
    ::repro::Registry::Global().AddExperiment(paper, experiment, function); \
    return true;                                                            \
  }()
#define REPRO_EXPERIMENT_NAME_(line) REPRO_EXPERIMENT_NAME_INNER_(line)
#define REPRO_EXPERIMENT_NAME_INNER_(line) repro_experiment_##line

#endif  // REPRO_COMMON_CLAIMS_EXPERIMENT_H_
