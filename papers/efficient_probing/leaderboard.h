// The released leaderboard of probes: 37 encoders on ImageNet-1K, each with the
// logs of its linear probe (LP), its efficient probe (EP) and its k-NN sweep.
//
//   auto logs = Logs::Read(runs, epochs, knn_sweeps);
//   auto rows = ReadLeaderboard(results);
//   auto scores = ScoresFromLogs((*rows)[0], *logs);  // lp, ep, knn in percent
//
// Errors name file, line and column: InvalidArgument for what is malformed or
// contradicts itself, NotFound for a log that is not there.
#ifndef REPRO_PAPERS_EFFICIENT_PROBING_LEADERBOARD_H_
#define REPRO_PAPERS_EFFICIENT_PROBING_LEADERBOARD_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace repro::efficient_probing {

// One of 133 logs.
struct Run {
  std::string name;            // "mae_base/ep"
  std::string model;           // "vit_base_patch16"
  std::string representation;  // "cls", "pos" (GAP), "ep", "ep_all"
  // Of the head; none for k-NN.
  std::optional<int64_t> trainable_parameters;
  std::optional<double> stated_maximum;  // top-1 at the log's end, percent
};

struct Epoch {
  double train_loss = 0;
  double val_top1 = 0;  // percent
};

struct KnnSetting {
  std::string features;  // "raw" or "final_norm"
  double temperature = 0;
  int64_t k = 0;
  double top1 = 0;  // percent
};

class Logs {
 public:
  // From runs.csv, epochs.csv and knn_sweeps.csv. Epochs of a run are 0, 1, ...
  static absl::StatusOr<Logs> Read(const std::string& runs,
                                   const std::string& epochs,
                                   const std::string& knn_sweeps);

  const std::map<std::string, Run>& runs() const { return runs_; }
  // Not empty.
  absl::StatusOr<absl::Span<const Epoch>> Epochs(absl::string_view run) const;
  absl::StatusOr<const Run*> Find(absl::string_view run) const;
  const std::map<std::string, std::vector<Epoch>>& epochs() const {
    return epochs_;
  }
  // The best top-1 over all k and T for those features.
  absl::StatusOr<double> BestKnn(absl::string_view run,
                                 absl::string_view features) const;

 private:
  std::map<std::string, Run> runs_;
  std::map<std::string, std::vector<Epoch>> epochs_;
  std::map<std::string, std::vector<KnnSetting>> sweeps_;
};

// The first epoch with the highest validation accuracy. `epochs`: not empty.
int64_t BestEpoch(absl::Span<const Epoch> epochs);

struct LeaderboardRow {
  std::string family;  // "MIM", "JEA", "Hybrid", "VLM", "GEN"
  std::string method;
  std::string arch;
  std::string ep_variant;  // "ep" or "ep_all"
  int64_t ep_queries = 0;
  // Names of runs.
  std::string lp_run;
  std::string ep_run;
  std::string knn_run;
};

// Its columns of accuracies are not read: they are what is to be found.
absl::StatusOr<std::vector<LeaderboardRow>> ReadLeaderboard(
    const std::string& results);

// In percent; from nothing but the logs.
struct Scores {
  double lp = 0;  // best epoch
  double ep = 0;
  double knn = 0;      // best setting on raw features
  double lp_last = 0;  // last epoch of the log
  double ep_last = 0;
};
absl::StatusOr<Scores> ScoresFromLogs(const LeaderboardRow& row,
                                      const Logs& logs);

// The width of what a probe of `model` reads: "cls" (projected or concatenated
// as the encoder gives it), "pos", "ep" or "ep_all". From the encoders'
// published configurations. NotFound for other models.
absl::StatusOr<int64_t> FeatureWidth(absl::string_view model,
                                     absl::string_view representation);

}  // namespace repro::efficient_probing

#endif  // REPRO_PAPERS_EFFICIENT_PROBING_LEADERBOARD_H_
