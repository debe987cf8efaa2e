// The released comments, patches and ratings.
#ifndef REPRO_PAPERS_CODE_REVIEW_COMMENTS_REVIEWS_H_
#define REPRO_PAPERS_CODE_REVIEW_COMMENTS_REVIEWS_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "papers/code_review_comments/review_bleu.h"

namespace repro::code_review_comments {

// An item of CodeReviewer's test set with that model's comment.
struct PredictedItem {
  std::string gold;
  std::string codereviewer;
};

// JSON Lines (plain or gzip) with i, gold and codereviewer; i counts from 0.
// Errors of this and the next: those of ReadJsonl; InvalidArgument
// "path:line: ..." for a missing field, one of another kind or a wrong i, and
// for a file without records.
absl::StatusOr<std::vector<PredictedItem>> ReadPredictions(
    const std::string& path);

// The models whose comments the file of patches holds.
inline constexpr std::array<const char*, 3> kModels = {
    "gpt35_3shot", "gpt35_0shot", "davinci003_3shot"};

struct PatchItem {
  std::string patch;  // a hunk of a diff with its header
  std::string gold;
  std::array<std::string, kModels.size()> comments;  // in the order of kModels
};

// JSON Lines with i, patch, gold and a text for each of kModels.
absl::StatusOr<std::vector<PatchItem>> ReadPatches(const std::string& path);

// Comments that were retrieved: one JSON array of pairs [comment, score].
// Errors: those of ReadJson; InvalidArgument "path: element i: ...".
absl::StatusOr<std::vector<std::string>> ReadRetrieved(const std::string& path);

// The criteria of the human ratings, 1 to 5 each.
inline constexpr std::array<const char*, 3> kCriteria = {
    "concise", "comprehensive", "relevant"};

struct RatedReview {
  std::string lang;
  std::string id;  // of the diff; one is used twice
  int64_t test_index = 0;
  std::string system;  // "msg": the human comment
  std::string review;
  // By kCriteria; none where the review was not rated.
  std::array<std::optional<double>, kCriteria.size()> ratings;
};

// CSV with lang, id, test_index, system, review and the criteria. Errors: those
// of CsvTable; InvalidArgument "path:line: ..." for a rating outside 1 to 5, a
// second review of one system for one diff, a diff without a human comment, and
// for a table without rows.
absl::StatusOr<std::vector<RatedReview>> ReadRatings(const std::string& path);

// The mean rating of a system and how many reviews have one. InvalidArgument:
// a criterion that is none of kCriteria, or no rating.
struct MeanRating {
  double mean = 0;
  int64_t count = 0;
};
absl::StatusOr<MeanRating> RatingOf(const std::vector<RatedReview>& reviews,
                                    absl::string_view system,
                                    absl::string_view criterion);

// The mean BLEU of each system but "msg" against the human comments, over all
// its reviews, rated or not.
std::map<std::string, double> BleuBySystem(
    const std::vector<RatedReview>& reviews, const StopWords* stop_words);

// Spearman's correlation over systems of BleuBySystem with the mean rating.
// Errors: those of RatingOf and SpearmanCorrelation.
absl::StatusOr<double> SystemCorrelation(
    const std::vector<RatedReview>& reviews, absl::string_view criterion,
    const StopWords* stop_words);

// The same over single rated reviews in place of systems.
absl::StatusOr<double> ReviewCorrelation(
    const std::vector<RatedReview>& reviews, absl::string_view criterion,
    const StopWords* stop_words);

}  // namespace repro::code_review_comments

#endif  // REPRO_PAPERS_CODE_REVIEW_COMMENTS_REVIEWS_H_
