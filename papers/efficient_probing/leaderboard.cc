#include "papers/efficient_probing/leaderboard.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/data/csv.h"
#include "common/status/macros.h"

namespace repro::efficient_probing {
namespace {

// A number in percent.
absl::StatusOr<double> Percent(const CsvTable& table, int64_t row,
                               absl::string_view column) {
  REPRO_ASSIGN_OR_RETURN(const double value, table.Double(row, column));
  if (!(value >= 0 && value <= 100)) {
    return table.RowError(
        row, absl::StrCat("column '", column, "': ", value, " per cent"));
  }
  return value;
}

absl::StatusOr<std::map<std::string, Run>> ReadRuns(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  std::map<std::string, Run> runs;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    Run run;
    REPRO_ASSIGN_OR_RETURN(run.name, table.Text(row, "run"));
    REPRO_ASSIGN_OR_RETURN(run.model, table.Text(row, "model"));
    REPRO_ASSIGN_OR_RETURN(run.representation,
                           table.Text(row, "representation"));
    REPRO_ASSIGN_OR_RETURN(const std::string parameters,
                           table.Text(row, "trainable_params"));
    if (!parameters.empty()) {
      REPRO_ASSIGN_OR_RETURN(run.trainable_parameters,
                             table.Int(row, "trainable_params"));
    }
    REPRO_ASSIGN_OR_RETURN(run.stated_maximum,
                           table.OptionalDouble(row, "max_acc1"));
    const std::string name = run.name;
    if (!runs.emplace(name, std::move(run)).second) {
      return table.RowError(row, absl::StrCat("a second run ", name));
    }
  }
  return runs;
}

absl::Status UnknownRun(const CsvTable& table, int64_t row,
                        const std::string& name) {
  return table.RowError(row, absl::StrCat("no such run: ", name));
}

// "logs/mae_base/ep.txt" -> "mae_base/ep".
absl::StatusOr<std::string> RunOfLog(const CsvTable& table, int64_t row,
                                     absl::string_view column) {
  REPRO_ASSIGN_OR_RETURN(const std::string log, table.Text(row, column));
  absl::string_view name = log;
  if (!absl::ConsumePrefix(&name, "logs/") ||
      !absl::ConsumeSuffix(&name, ".txt") || name.empty()) {
    return table.RowError(row, absl::StrCat("column '", column, "': \"", log,
                                            "\" is not logs/....txt"));
  }
  return std::string(name);
}

struct Widths {
  const char* model;
  // 0: as the patches.
  int64_t cls;
  int64_t patches;
};

// CLIP-like encoders project [CLS] and leave the patches; RADIO gives the
// [CLS] of three teachers side by side.
constexpr Widths kWidths[] = {
    {"vit_small_patch16", 0, 384},
    {"vit_base_patch16", 0, 768},
    {"vit_large_patch16", 0, 1024},
    {"vit_huge_patch14", 0, 1280},
    {"capi_vitl14_in1k", 0, 1024},
    {"dinov2_vitb14", 0, 768},
    {"dinov2_vitl14", 0, 1024},
    {"dinov3_vitb16", 0, 768},
    {"dinov3_vitl16", 0, 1024},
    {"dinov3_vit7b16", 0, 4096},
    {"franca_vitl14", 0, 1024},
    {"eva02_large_patch14_224.mim_in22k", 0, 1024},
    {"hiera_base_224.mae", 0, 768},
    {"hiera_large_224.mae", 0, 1152},
    {"hiera_huge_224.mae", 0, 2048},
    {"DiT-XL/2", 0, 1152},
    {"aimv2-large-patch14-224", 0, 1024},
    {"ViT-B-16", 512, 768},
    {"ViT-L-14", 768, 1024},
    {"EVA02-E-14", 1024, 1792},
    {"EVA02-E-14-plus", 1024, 1792},
    {"ViT-bigG-14-worldwide", 1280, 1664},
    {"ViT-bigG-14-worldwide-378", 1280, 1664},
    {"PE-Core-L-14-336", 0, 1024},
    {"ViT-L-16-SigLIP-256", 0, 1024},
    {"ViT-L-16-SigLIP2-256", 0, 1024},
    {"ViT-SO400M-14-SigLIP2", 0, 1152},
    {"radio_v2.5-b", 3 * 768, 768},
    {"radio_v2.5-l", 3 * 1024, 1024},
};

}  // namespace

absl::StatusOr<Logs> Logs::Read(const std::string& runs,
                                const std::string& epochs,
                                const std::string& knn_sweeps) {
  Logs logs;
  REPRO_ASSIGN_OR_RETURN(logs.runs_, ReadRuns(runs));

  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(epochs));
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, table.Text(row, "run"));
    if (logs.runs_.count(name) == 0) {
      return UnknownRun(table, row, name);
    }
    std::vector<Epoch>& of_run = logs.epochs_[name];
    REPRO_ASSIGN_OR_RETURN(const int64_t number, table.Int(row, "epoch"));
    if (number != static_cast<int64_t>(of_run.size())) {
      return table.RowError(
          row, absl::StrCat("epoch ", number, " of ", name, " comes after ",
                            of_run.size(), " epochs"));
    }
    Epoch epoch;
    REPRO_ASSIGN_OR_RETURN(epoch.train_loss, table.Double(row, "train_loss"));
    REPRO_ASSIGN_OR_RETURN(epoch.val_top1, Percent(table, row, "val_acc1"));
    of_run.push_back(epoch);
  }

  REPRO_ASSIGN_OR_RETURN(const CsvTable sweeps, CsvTable::Read(knn_sweeps));
  for (int64_t row = 0; row < sweeps.num_rows(); ++row) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, sweeps.Text(row, "run"));
    if (logs.runs_.count(name) == 0) {
      return UnknownRun(sweeps, row, name);
    }
    KnnSetting setting;
    REPRO_ASSIGN_OR_RETURN(setting.features, sweeps.Text(row, "features"));
    REPRO_ASSIGN_OR_RETURN(setting.temperature, sweeps.Double(row, "T"));
    REPRO_ASSIGN_OR_RETURN(setting.k, sweeps.Int(row, "k"));
    REPRO_ASSIGN_OR_RETURN(setting.top1, Percent(sweeps, row, "top1"));
    logs.sweeps_[name].push_back(std::move(setting));
  }
  return logs;
}

absl::StatusOr<const Run*> Logs::Find(absl::string_view run) const {
  const auto found = runs_.find(std::string(run));
  if (found == runs_.end()) {
    return absl::NotFoundError(absl::StrCat("no run \"", run, "\""));
  }
  return &found->second;
}

absl::StatusOr<absl::Span<const Epoch>> Logs::Epochs(
    absl::string_view run) const {
  const auto found = epochs_.find(std::string(run));
  if (found == epochs_.end()) {
    return absl::NotFoundError(absl::StrCat("no epochs of \"", run, "\""));
  }
  return absl::Span<const Epoch>(found->second);
}

absl::StatusOr<double> Logs::BestKnn(absl::string_view run,
                                     absl::string_view features) const {
  double best = -1;
  if (const auto found = sweeps_.find(std::string(run));
      found != sweeps_.end()) {
    for (const KnnSetting& setting : found->second) {
      if (setting.features == features) best = std::max(best, setting.top1);
    }
  }
  if (best < 0) {
    return absl::NotFoundError(
        absl::StrCat("no k-NN of \"", run, "\" on ", features, " features"));
  }
  return best;
}

int64_t BestEpoch(absl::Span<const Epoch> epochs) {
  return std::max_element(epochs.begin(), epochs.end(),
                          [](const Epoch& a, const Epoch& b) {
                            return a.val_top1 < b.val_top1;
                          }) -
         epochs.begin();
}

absl::StatusOr<std::vector<LeaderboardRow>> ReadLeaderboard(
    const std::string& results) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(results));
  const std::set<std::string> families = {"MIM", "JEA", "Hybrid", "VLM", "GEN"};
  std::vector<LeaderboardRow> rows;
  for (int64_t i = 0; i < table.num_rows(); ++i) {
    LeaderboardRow row;
    REPRO_ASSIGN_OR_RETURN(row.family, table.Text(i, "family"));
    if (families.count(row.family) == 0) {
      return table.RowError(
          i, absl::StrCat("column 'family': \"", row.family, "\""));
    }
    REPRO_ASSIGN_OR_RETURN(row.method, table.Text(i, "method"));
    REPRO_ASSIGN_OR_RETURN(row.arch, table.Text(i, "arch"));
    REPRO_ASSIGN_OR_RETURN(row.ep_variant, table.Text(i, "ep_variant"));
    REPRO_ASSIGN_OR_RETURN(row.ep_queries, table.Int(i, "ep_queries"));
    REPRO_ASSIGN_OR_RETURN(row.lp_run, RunOfLog(table, i, "lp_log"));
    REPRO_ASSIGN_OR_RETURN(row.ep_run, RunOfLog(table, i, "ep_log"));
    REPRO_ASSIGN_OR_RETURN(row.knn_run, RunOfLog(table, i, "knn_log"));
    rows.push_back(std::move(row));
  }
  if (rows.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(results, ": no rows"));
  }
  return rows;
}

absl::StatusOr<Scores> ScoresFromLogs(const LeaderboardRow& row,
                                      const Logs& logs) {
  Scores scores;
  REPRO_ASSIGN_OR_RETURN(const absl::Span<const Epoch> lp,
                         logs.Epochs(row.lp_run));
  REPRO_ASSIGN_OR_RETURN(const absl::Span<const Epoch> ep,
                         logs.Epochs(row.ep_run));
  scores.lp = lp[BestEpoch(lp)].val_top1;
  scores.ep = ep[BestEpoch(ep)].val_top1;
  scores.lp_last = lp.back().val_top1;
  scores.ep_last = ep.back().val_top1;
  REPRO_ASSIGN_OR_RETURN(scores.knn, logs.BestKnn(row.knn_run, "raw"));
  return scores;
}

absl::StatusOr<int64_t> FeatureWidth(absl::string_view model,
                                     absl::string_view representation) {
  for (const Widths& widths : kWidths) {
    if (model != widths.model) continue;
    if (representation == "pos" || representation == "ep") {
      return widths.patches;
    }
    // Of ep_all, the patches take the projection of [CLS].
    if (representation == "cls" || representation == "ep_all") {
      return widths.cls == 0 ? widths.patches : widths.cls;
    }
  }
  return absl::NotFoundError(
      absl::StrCat("no width of \"", representation, "\" of \"", model, "\""));
}

}  // namespace repro::efficient_probing
