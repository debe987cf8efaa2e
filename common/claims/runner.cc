#include "common/claims/runner.h"

#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <filesystem>
#include <numeric>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/assets/asset_store.h"
#include "common/claims/paper.h"
#include "common/claims/result_store.h"
#include "common/claims/verdict.h"
#include "common/stats/descriptive.h"
#include "common/stats/interval.h"
#include "common/status/machine_lacks.h"
#include "common/status/macros.h"

namespace repro {
namespace {

namespace fs = std::filesystem;

bool Matches(const Paper& paper, const Claim& claim,
             const std::vector<std::string>& globs) {
  if (globs.empty()) return true;
  const std::string full = absl::StrCat(paper.slug(), "/", claim.id());
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    return fnmatch(glob.c_str(), claim.id().c_str(), 0) == 0 ||
           fnmatch(glob.c_str(), full.c_str(), 0) == 0;
  });
}

Skipped Skip(const Paper& paper, const Claim& claim, Verdict verdict,
             std::string reason) {
  Skipped skipped;
  skipped.set_paper(paper.slug());
  skipped.set_claim(claim.id());
  skipped.set_evidence(claim.evidence());
  skipped.set_verdict(verdict);
  skipped.set_reason(std::move(reason));
  return skipped;
}

std::string BlockedReason(const Claim& claim) {
  const Blocker& blocker = claim.blocker();
  return absl::StrCat("needs ", blocker.asset(),
                      blocker.size().empty() ? "" : ", ", blocker.size(),
                      "; from: ", blocker.granted_by());
}

// Cheap evidence first: what is exact costs least for what it says.
std::pair<int, double> RunOrder(const PlannedExperiment& planned) {
  int evidence = Evidence_MAX;
  for (const Claim* claim : planned.claims) {
    evidence = std::min<int>(evidence, claim->evidence());
  }
  return {evidence, planned.experiment->seconds()};
}

std::string Now() {
  return absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone());
}

// Sorts by time; unique also among runs of one process in one millisecond.
std::string NewResultId() {
  static std::atomic<int> runs{0};
  return absl::StrCat(
      absl::FormatTime("%Y%m%dT%H%M%E3SZ", absl::Now(), absl::UTCTimeZone()),
      "-", absl::Hex(getpid(), absl::kZeroPad6), "-", runs++);
}

// What makes two requests the same for --resume. Threads and the budget do not
// change what is measured.
std::vector<std::string> Request(const RunOptions& options) {
  std::vector<std::string> request = options.papers;
  if (options.all) request.push_back("--all");
  for (const std::string& glob : options.claim_globs) {
    request.push_back("--claims=" + glob);
  }
  request.push_back("--device=" + options.device);
  if (options.model_spec != kDefaultModelSpec) {
    request.push_back("--model=" + options.model_spec);
  }
  request.push_back(absl::StrCat("--seeds=", options.num_seeds));
  request.push_back(absl::StrCat("--first-seed=", options.first_seed));
  return request;
}

// Holds the result of a run and keeps its file up to date.
class Journal {
 public:
  Journal(const RunOptions& options, const RunEnvironment& environment)
      : options_(options), start_(absl::Now()) {
    result_.set_schema_version(kResultSchemaVersion);
    result_.set_id(NewResultId());
    result_.set_started_at(Now());
    for (std::string& argument : Request(options)) {
      result_.add_arguments(std::move(argument));
    }
    result_.set_device(options.device);
    result_.set_model_spec(options.model_spec);
    result_.set_threads(options.threads);
    *result_.mutable_build() = environment.build;
    *result_.mutable_machine() = environment.machine;
  }

  // Takes over the newest incomplete result of the same request and build.
  // False if there is none.
  bool Resume() {
    const std::vector<std::string> paths =
        ListResults(ResultsFolder(options_.out_dir));
    for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
      absl::StatusOr<Result> result = ReadResult(*path);
      if (!result.ok() || result->complete() ||
          !std::equal(result->arguments().begin(), result->arguments().end(),
                      result_.arguments().begin(), result_.arguments().end()) ||
          result->build().SerializeAsString() !=
              result_.build().SerializeAsString()) {
        continue;
      }
      earlier_seconds_ = result->seconds();
      result_ = *std::move(result);
      result_.clear_skipped();
      return true;
    }
    return false;
  }

  bool Has(const std::string& paper, const Claim& claim) const {
    return std::any_of(result_.measurements().begin(),
                       result_.measurements().end(), [&](const auto& m) {
                         return m.paper() == paper && m.claim() == claim.id() &&
                                m.claim_version() == claim.version();
                       });
  }

  absl::Status Add(Measurement measurement) {
    *result_.add_measurements() = std::move(measurement);
    // Experiments may record hundreds of claims at once: do not write each.
    if (absl::Now() - written_ < absl::Milliseconds(500)) {
      return absl::OkStatus();
    }
    return Write();
  }

  void Add(Skipped skipped) { *result_.add_skipped() = std::move(skipped); }

  absl::Status Write() {
    written_ = absl::Now();
    result_.set_seconds(earlier_seconds_ +
                        absl::ToDoubleSeconds(written_ - start_));
    return WriteResult(result_, ResultPath(options_.out_dir, result_));
  }

  Result& result() { return result_; }

 private:
  const RunOptions& options_;
  Result result_;
  absl::Time start_;
  absl::Time written_ = absl::InfinitePast();
  double earlier_seconds_ = 0;
};

class ExperimentRunImpl : public ExperimentRun {
 public:
  ExperimentRunImpl(const PlannedExperiment& planned,
                    std::vector<const Claim*> claims,
                    std::vector<uint64_t> seeds, const RunOptions& options,
                    std::string checkpoint_dir,
                    const std::map<std::string, LocatedAsset>& assets,
                    const std::string& device_name, Journal& journal,
                    const std::atomic<bool>& stop, RunObserver& observer)
      : ExperimentRun(*planned.experiment, std::move(claims), std::move(seeds),
                      options.device, options.model_spec,
                      options.threads > 0
                          ? options.threads
                          : static_cast<int>(std::max(
                                1u, std::thread::hardware_concurrency())),
                      std::move(checkpoint_dir)),
        paper_(*planned.paper),
        assets_(assets),
        device_name_(device_name),
        journal_(journal),
        stop_(stop),
        observer_(observer) {}

  using ExperimentRun::Record;

  absl::StatusOr<std::string> AssetPath(absl::string_view name) override {
    const auto found = assets_.find(std::string(name));
    if (found == assets_.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat("experiment ", experiment().id(),
                       " does not declare the asset \"", name, "\""));
    }
    return found->second.path;
  }

  void Record(const Claim& claim, Observation observation) override {
    Measurement measurement = Measure(paper_, claim, observation);
    for (size_t i = 0; i < observation.samples.size() && i < seeds().size();
         ++i) {
      measurement.add_seeds(seeds()[i]);
    }
    measurement.set_seconds(absl::ToDoubleSeconds(absl::Now() - start_));
    measurement.set_device(device_name_);
    for (const std::string& name : experiment().assets()) {
      AssetUse* use = measurement.add_assets();
      use->set_name(name);
      use->set_sha256(assets_.at(name).sha256);
    }
    observer_.Measured(measurement);
    if (absl::Status status = journal_.Add(std::move(measurement));
        !status.ok()) {
      write_status_ = status;
    }
  }

  void Progress(double done, double total, absl::string_view text) override {
    observer_.Progress(total > 0 ? std::clamp(done / total, 0.0, 1.0) : 0.0,
                       text);
  }

  bool Cancelled() const override {
    return stop_.load() || !write_status_.ok();
  }

  const absl::Status& write_status() const { return write_status_; }

 private:
  const Paper& paper_;
  const std::map<std::string, LocatedAsset>& assets_;
  const std::string& device_name_;
  Journal& journal_;
  const std::atomic<bool>& stop_;
  RunObserver& observer_;
  const absl::Time start_ = absl::Now();
  absl::Status write_status_;
};

// Finds the experiment's assets, downloading what has a public home.
absl::StatusOr<std::map<std::string, LocatedAsset>> GetAssets(
    const PlannedExperiment& planned, const RunOptions& options,
    const std::atomic<bool>& stop, RunObserver& observer) {
  AssetStoreOptions store_options = AssetStoreOptions::FromEnvironment();
  store_options.offline = options.offline;
  store_options.paper = planned.paper->slug();
  const AssetStore store(store_options);
  std::map<std::string, LocatedAsset> assets;
  for (const std::string& name : planned.experiment->assets()) {
    const Asset& asset = *FindAsset(*planned.paper, name);
    absl::StatusOr<LocatedAsset> located = store.Locate(asset);
    if (absl::IsNotFound(located.status()) && !options.offline) {
      const bool has_home = std::any_of(
          asset.sources().begin(), asset.sources().end(),
          [](const AssetSource& source) { return !source.has_folder_path(); });
      if (has_home) {
        observer.Notice(
            absl::StrCat("fetching ", name, ": ", asset.description()));
        absl::StatusOr<LocatedAsset> fetched =
            store.Fetch(asset, [&](int64_t done, int64_t total) {
              observer.Progress(total > 0 ? double(done) / total : 0,
                                absl::StrCat("fetching ", name));
              return !stop.load();
            });
        // The search's message says more than "no network".
        if (fetched.ok() || !absl::IsUnavailable(fetched.status())) {
          located = std::move(fetched);
        }
      }
    }
    if (!located.ok()) return located.status();
    assets.emplace(name, *std::move(located));
  }
  return assets;
}

absl::Status RunExperiment(const ExperimentFunction& function,
                           ExperimentRun& run) {
  // LibTorch throws; nothing above this line does.
  try {
    return function(run);
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

}  // namespace

absl::StatusOr<Plan> MakePlan(const Registry& registry,
                              const RunOptions& options) {
  std::vector<const Paper*> papers;
  std::set<std::string> seen;
  for (const std::string& slug : options.papers) {
    REPRO_ASSIGN_OR_RETURN(const Paper* paper, registry.FindPaper(slug));
    if (seen.insert(slug).second) papers.push_back(paper);
  }
  if (papers.empty()) {
    for (const auto& [slug, paper] : registry.papers()) {
      papers.push_back(&paper);
    }
  }
  const bool default_set =
      options.papers.empty() && !options.all && options.claim_globs.empty();

  for (const std::string& glob : options.claim_globs) {
    std::vector<std::string> ids;
    bool found = false;
    for (const Paper* paper : papers) {
      for (const Claim& claim : paper->claims()) {
        found = found || Matches(*paper, claim, {glob});
        ids.push_back(claim.id());
      }
    }
    if (!found) {
      return absl::NotFoundError(absl::StrCat("no claim matches \"", glob, "\"",
                                              DidYouMean(glob, ids),
                                              "; see `repro show PAPER`"));
    }
  }

  Plan plan;
  for (const Paper* paper : papers) {
    std::map<std::string, PlannedExperiment> by_experiment;
    for (const Claim& claim : paper->claims()) {
      if (!Matches(*paper, claim, options.claim_globs)) continue;
      const Experiment* experiment = FindExperiment(*paper, claim.experiment());
      if (experiment == nullptr) {
        if (!default_set) {
          plan.skipped.push_back(
              Skip(*paper, claim, VERDICT_BLOCKED, BlockedReason(claim)));
        }
        continue;
      }
      if (default_set && !experiment->default_run()) continue;
      std::string reason;
      if (experiment->requires_cuda() && options.device == "cpu") {
        reason = "needs a CUDA device: run with --device cuda";
      } else if (options.max_experiment_seconds &&
                 experiment->seconds() > *options.max_experiment_seconds) {
        reason = absl::StrFormat("takes about %.0f s, more than %.0f s",
                                 experiment->seconds(),
                                 *options.max_experiment_seconds);
      }
      if (!reason.empty()) {
        plan.skipped.push_back(Skip(*paper, claim, NOT_RUN, reason));
        continue;
      }
      PlannedExperiment& planned = by_experiment[experiment->id()];
      planned.paper = paper;
      planned.experiment = experiment;
      planned.claims.push_back(&claim);
    }
    for (auto& [id, planned] : by_experiment) {
      plan.experiments.push_back(std::move(planned));
    }
  }
  std::stable_sort(
      plan.experiments.begin(), plan.experiments.end(),
      [](const auto& a, const auto& b) { return RunOrder(a) < RunOrder(b); });
  if (options.budget_seconds) {
    std::vector<PlannedExperiment> fitting;
    double used = 0;
    for (PlannedExperiment& planned : plan.experiments) {
      const double seconds = planned.experiment->seconds();
      if (used + seconds <= *options.budget_seconds) {
        used += seconds;
        fitting.push_back(std::move(planned));
        continue;
      }
      for (const Claim* claim : planned.claims) {
        plan.skipped.push_back(Skip(
            *planned.paper, *claim, NOT_RUN,
            absl::StrFormat("outside the budget: takes about %.0f s, %.0f s "
                            "of %.0f s are left",
                            seconds, *options.budget_seconds - used,
                            *options.budget_seconds)));
      }
    }
    plan.experiments = std::move(fitting);
  }
  for (const PlannedExperiment& planned : plan.experiments) {
    plan.seconds += planned.experiment->seconds();
  }
  return plan;
}

Measurement Measure(const Paper& paper, const Claim& claim,
                    const Observation& observation) {
  Measurement measurement;
  measurement.set_paper(paper.slug());
  measurement.set_claim(claim.id());
  measurement.set_claim_version(claim.version());
  measurement.set_evidence(claim.evidence());
  measurement.set_reported(claim.reported());
  measurement.set_unit(claim.unit());
  measurement.set_experiment(claim.experiment());
  measurement.set_scale(observation.scale);
  measurement.set_measured_at(Now());

  const std::vector<double>& samples = observation.samples;
  const std::vector<double>& effects =
      observation.effects.empty() ? samples : observation.effects;
  measurement.mutable_samples()->Add(samples.begin(), samples.end());
  if (claim.criterion().has_effect()) {
    measurement.mutable_effects()->Add(effects.begin(), effects.end());
  }
  double value = observation.value;
  if (std::isnan(value) && !samples.empty()) {
    const auto middle = observation.median ? Median(samples) : Mean(samples);
    if (middle.ok()) value = *middle;
  }
  measurement.set_value(value);
  if (samples.size() >= 2) {
    absl::StatusOr<Interval> interval = MeanInterval(samples);
    if (observation.median) {
      const auto median = MedianInterval(samples);
      interval = median.ok() ? absl::StatusOr<Interval>(median->interval)
                             : median.status();
    }
    if (interval.ok()) {
      measurement.mutable_interval()->set_low(interval->low);
      measurement.mutable_interval()->set_high(interval->high);
    }
  }
  if (!std::isnan(observation.p_value)) {
    measurement.set_p_value(observation.p_value);
  }
  const Judgement judgement = Judge(claim, measurement);
  measurement.set_verdict(judgement.verdict);
  measurement.set_reason(judgement.reason);
  return measurement;
}

std::string ResultsFolder(const std::string& out_dir) {
  return absl::StrCat(out_dir, "/results");
}

std::string ResultPath(const std::string& out_dir, const Result& result) {
  return absl::StrCat(ResultsFolder(out_dir), "/", result.id(), ".json");
}

absl::StatusOr<Result> ExecutePlan(const Registry& registry, const Plan& plan,
                                   const RunOptions& options,
                                   const RunEnvironment& environment,
                                   const std::atomic<bool>& stop,
                                   RunObserver& observer) {
  std::error_code error;
  fs::create_directories(ResultsFolder(options.out_dir), error);
  if (error) {
    return absl::PermissionDeniedError(absl::StrCat(
        ResultsFolder(options.out_dir), ": cannot be made: ", error.message(),
        "; give another folder with --out"));
  }
  Journal journal(options, environment);
  if (options.resume) {
    observer.Notice(
        journal.Resume()
            ? absl::StrCat("going on with result ", journal.result().id())
            : "no unfinished run of this request: starting anew");
  }
  for (const Skipped& skipped : plan.skipped) journal.Add(skipped);
  REPRO_RETURN_IF_ERROR(journal.Write());
  observer.Started(plan);

  for (const PlannedExperiment& planned : plan.experiments) {
    if (stop.load()) break;
    const std::string& slug = planned.paper->slug();
    std::vector<const Claim*> claims;
    for (const Claim* claim : planned.claims) {
      if (!journal.Has(slug, *claim)) claims.push_back(claim);
    }
    if (claims.empty()) continue;  // measured before the run was resumed
    observer.ExperimentStarted(planned);

    const auto skip_rest = [&](Verdict verdict, const std::string& reason,
                               bool failed, bool needs_asset) {
      for (const Claim* claim : claims) {
        if (journal.Has(slug, *claim)) continue;
        const bool blocked = claim->evidence() == BLOCKED && needs_asset;
        Skipped skipped = blocked
                              ? Skip(*planned.paper, *claim, VERDICT_BLOCKED,
                                     BlockedReason(*claim))
                              : Skip(*planned.paper, *claim, verdict, reason);
        skipped.set_failed(failed);
        skipped.set_needs_asset(needs_asset && !blocked);
        journal.Add(std::move(skipped));
      }
    };

    const auto assets = GetAssets(planned, options, stop, observer);
    if (!assets.ok()) {
      // A file that is there and wrong is a failure; one that is missing is
      // not.
      const bool missing = absl::IsNotFound(assets.status()) ||
                           absl::IsUnavailable(assets.status());
      skip_rest(NOT_RUN, std::string(assets.status().message()), !missing,
                missing);
      observer.ExperimentFinished(planned, assets.status());
      REPRO_RETURN_IF_ERROR(journal.Write());
      continue;
    }

    const std::string checkpoints = absl::StrCat(
        options.out_dir, "/checkpoints/", slug, "/", planned.experiment->id());
    if (!options.resume) fs::remove_all(checkpoints, error);
    fs::create_directories(checkpoints, error);
    std::vector<uint64_t> seeds(options.num_seeds > 0
                                    ? options.num_seeds
                                    : planned.experiment->seeds());
    std::iota(seeds.begin(), seeds.end(), options.first_seed);
    ExperimentRunImpl run(planned, claims, seeds, options, checkpoints, *assets,
                          environment.device_name, journal, stop, observer);
    const ExperimentFunction* function =
        registry.FindFunction(slug, planned.experiment->id());
    absl::Status status =
        function == nullptr
            ? absl::UnimplementedError("no code is registered for it")
            : RunExperiment(*function, run);
    if (!run.write_status().ok()) return run.write_status();
    if (status.ok() && !stop.load()) {
      fs::remove_all(checkpoints, error);
      const auto unmeasured = std::find_if(
          claims.begin(), claims.end(),
          [&](const Claim* claim) { return !journal.Has(slug, *claim); });
      if (unmeasured != claims.end()) {
        status = absl::InternalError(absl::StrCat(
            "the experiment ended without measuring ", (*unmeasured)->id()));
      }
    }
    if (!status.ok() && !stop.load()) {
      const bool broken = !IsMachineLacks(status);
      skip_rest(NOT_RUN,
                absl::StrCat(broken ? "failed: " : "", status.message()),
                broken, /*needs_asset=*/false);
    }
    observer.ExperimentFinished(planned, status);
    REPRO_RETURN_IF_ERROR(journal.Write());
  }

  journal.result().set_complete(!stop.load());
  journal.result().set_finished_at(Now());
  REPRO_RETURN_IF_ERROR(journal.Write());
  return journal.result();
}

}  // namespace repro
