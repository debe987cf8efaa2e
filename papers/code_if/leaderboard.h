// The authors' leaderboard: scores of 35 models on the whole benchmark and on
// its parts, at full precision, and what the parts say about the whole.
#ifndef REPRO_PAPERS_CODE_IF_LEADERBOARD_H_
#define REPRO_PAPERS_CODE_IF_LEADERBOARD_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::code_if {

// Parts of the questions, as the file spells them.
inline constexpr std::array<const char*, 7> kSubsets = {
    "full", "easy", "hard", "full_java", "full_python", "full_cpp", "full_go"};

// One model on one subset.
struct SubsetScores {
  int64_t num_scored = 0;  // questions: those whose judgement could be read
  // "CSR", "SSR", "RSR", "CCSR", in [0, 1]; the file calls them CS, SS, RS,
  // CCS.
  std::map<std::string, double> metrics;
  // By the names of kCategories.
  std::map<std::string, double> category_ssr;
};

struct ModelScores {
  std::string model;
  std::map<std::string, SubsetScores> subsets;  // by the names of kSubsets
};

// src/mocks/model_raw_data.json of the authors' site, plain or gzip, in the
// file's order. InvalidArgument, naming file and model, for what is not JSON,
// a missing value, one that is no number in [0, 1], a count below 1, or a model
// that comes twice.
absl::StatusOr<std::vector<ModelScores>> ReadLeaderboard(
    const std::string& path);

// The model with this name; NotFound lists those there are.
absl::StatusOr<const ModelScores*> FindModel(
    const std::vector<ModelScores>& models, absl::string_view name);

// A subset's metric from other fields than its own, since means weighted by
// questions add up: "full" from the four languages, "easy" from the four
// languages less "hard", "hard" likewise. InvalidArgument for another subset or
// metric.
absl::StatusOr<double> FromOtherSubsets(const ModelScores& model,
                                        absl::string_view subset,
                                        absl::string_view metric);

// The largest distance, over all models and metrics, between "full" and its
// sum from easy and hard, and from the four languages.
double LargestPartitionError(const std::vector<ModelScores>& models);

// How far CSR times questions is from an integer, the largest over all models
// and subsets.
double LargestCountError(const std::vector<ModelScores>& models);

// How many category values of "full" are k / n for integers k and n, to 1e-9,
// with n in [least_share, 1] times the category's instructions: shares of
// instructions, not means over questions.
int64_t CountInstructionShares(const std::vector<ModelScores>& models,
                               const std::map<std::string, int64_t>& sizes,
                               double least_share);

}  // namespace repro::code_if

#endif  // REPRO_PAPERS_CODE_IF_LEADERBOARD_H_
