#include "papers/code_review_comments/reviews.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/csv.h"
#include "common/data/json.h"
#include "common/data/json_record.h"
#include "common/stats/correlation.h"
#include "common/status/macros.h"

namespace repro::code_review_comments {
namespace {

// Reads a file whose records `read(record, item)` understands.
template <typename Item, typename Read>
absl::StatusOr<std::vector<Item>> ReadItems(const std::string& path,
                                            const Read& read) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<Item> items;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    REPRO_ASSIGN_OR_RETURN(const int64_t i, record.Integer("i"));
    if (i != static_cast<int64_t>(items.size())) {
      return record.Error(absl::StrCat("field \"i\" is not ", items.size()));
    }
    REPRO_RETURN_IF_ERROR(read(record, &items.emplace_back()));
  }
  return items;
}

absl::StatusOr<size_t> CriterionIndex(absl::string_view criterion) {
  const auto found = std::find(kCriteria.begin(), kCriteria.end(), criterion);
  if (found == kCriteria.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no criterion \"", criterion, "\"; there are ",
                     absl::StrJoin(kCriteria, ", ")));
  }
  return found - kCriteria.begin();
}

using Diff = std::tuple<std::string, std::string, int64_t>;

Diff DiffOf(const RatedReview& review) {
  return {review.lang, review.id, review.test_index};
}

std::string NameOf(const RatedReview& review) {
  return absl::StrCat(review.lang, " ", review.id, " ", review.test_index);
}

std::map<Diff, std::string> HumanComments(
    const std::vector<RatedReview>& reviews) {
  std::map<Diff, std::string> comments;
  for (const RatedReview& review : reviews) {
    if (review.system == "msg") comments[DiffOf(review)] = review.review;
  }
  return comments;
}

}  // namespace

absl::StatusOr<std::vector<PredictedItem>> ReadPredictions(
    const std::string& path) {
  return ReadItems<PredictedItem>(
      path, [](const JsonRecord& record, PredictedItem* item) -> absl::Status {
        REPRO_ASSIGN_OR_RETURN(item->gold, record.Text("gold"));
        REPRO_ASSIGN_OR_RETURN(item->codereviewer, record.Text("codereviewer"));
        return absl::OkStatus();
      });
}

absl::StatusOr<std::vector<PatchItem>> ReadPatches(const std::string& path) {
  return ReadItems<PatchItem>(
      path, [](const JsonRecord& record, PatchItem* item) -> absl::Status {
        REPRO_ASSIGN_OR_RETURN(item->patch, record.Text("patch"));
        REPRO_ASSIGN_OR_RETURN(item->gold, record.Text("gold"));
        for (size_t m = 0; m < kModels.size(); ++m) {
          REPRO_ASSIGN_OR_RETURN(item->comments[m], record.Text(kModels[m]));
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<std::vector<std::string>> ReadRetrieved(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const nlohmann::json pairs, ReadJson(path));
  if (!pairs.is_array() || pairs.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not an array with elements"));
  }
  std::vector<std::string> comments;
  for (const nlohmann::json& pair : pairs) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() ||
        !pair[1].is_number()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": element ", comments.size(),
                       ": not a pair of comment and score"));
    }
    comments.push_back(pair[0].get<std::string>());
  }
  return comments;
}

absl::StatusOr<std::vector<RatedReview>> ReadRatings(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  if (table.num_rows() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no rows"));
  }
  std::vector<RatedReview> reviews;
  std::map<Diff, std::map<std::string, int64_t>> systems;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    RatedReview review;
    REPRO_ASSIGN_OR_RETURN(review.lang, table.Text(row, "lang"));
    REPRO_ASSIGN_OR_RETURN(review.id, table.Text(row, "id"));
    REPRO_ASSIGN_OR_RETURN(review.test_index, table.Int(row, "test_index"));
    REPRO_ASSIGN_OR_RETURN(review.system, table.Text(row, "system"));
    REPRO_ASSIGN_OR_RETURN(review.review, table.Text(row, "review"));
    for (size_t c = 0; c < kCriteria.size(); ++c) {
      REPRO_ASSIGN_OR_RETURN(review.ratings[c],
                             table.OptionalDouble(row, kCriteria[c]));
      const double rating = review.ratings[c].value_or(1);
      if (!(rating >= 1 && rating <= 5)) {
        return table.RowError(row, absl::StrCat(kCriteria[c], " is ", rating,
                                                ", expected 1 to 5"));
      }
    }
    if (!systems[DiffOf(review)].emplace(review.system, row).second) {
      return table.RowError(
          row, absl::StrCat("a second review of ", review.system, " for ",
                            NameOf(review)));
    }
    reviews.push_back(std::move(review));
  }
  for (const auto& [diff, rows] : systems) {
    if (rows.count("msg") == 0) {
      const int64_t row = rows.begin()->second;
      return table.RowError(row, absl::StrCat("no human comment (msg) for ",
                                              NameOf(reviews[row])));
    }
  }
  return reviews;
}

absl::StatusOr<MeanRating> RatingOf(const std::vector<RatedReview>& reviews,
                                    absl::string_view system,
                                    absl::string_view criterion) {
  REPRO_ASSIGN_OR_RETURN(const size_t c, CriterionIndex(criterion));
  MeanRating rating;
  for (const RatedReview& review : reviews) {
    if (review.system != system || !review.ratings[c].has_value()) continue;
    rating.mean += *review.ratings[c];
    ++rating.count;
  }
  if (rating.count == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("no rating of \"", system, "\""));
  }
  rating.mean /= static_cast<double>(rating.count);
  return rating;
}

std::map<std::string, double> BleuBySystem(
    const std::vector<RatedReview>& reviews, const StopWords* stop_words) {
  const std::map<Diff, std::string> human = HumanComments(reviews);
  std::map<std::string, std::pair<double, int64_t>> sums;
  for (const RatedReview& review : reviews) {
    const auto gold = human.find(DiffOf(review));
    if (review.system == "msg" || gold == human.end()) continue;
    auto& [sum, count] = sums[review.system];
    sum += ReviewBleu(gold->second, review.review, stop_words);
    ++count;
  }
  std::map<std::string, double> means;
  for (const auto& [system, sum] : sums) {
    means[system] = sum.first / static_cast<double>(sum.second);
  }
  return means;
}

absl::StatusOr<double> SystemCorrelation(
    const std::vector<RatedReview>& reviews, absl::string_view criterion,
    const StopWords* stop_words) {
  std::vector<double> bleu, ratings;
  for (const auto& [system, mean] : BleuBySystem(reviews, stop_words)) {
    REPRO_ASSIGN_OR_RETURN(const MeanRating rating,
                           RatingOf(reviews, system, criterion));
    bleu.push_back(mean);
    ratings.push_back(rating.mean);
  }
  return SpearmanCorrelation(bleu, ratings);
}

absl::StatusOr<double> ReviewCorrelation(
    const std::vector<RatedReview>& reviews, absl::string_view criterion,
    const StopWords* stop_words) {
  REPRO_ASSIGN_OR_RETURN(const size_t c, CriterionIndex(criterion));
  const std::map<Diff, std::string> human = HumanComments(reviews);
  std::vector<double> bleu, ratings;
  for (const RatedReview& review : reviews) {
    const auto gold = human.find(DiffOf(review));
    if (review.system == "msg" || gold == human.end() ||
        !review.ratings[c].has_value()) {
      continue;
    }
    bleu.push_back(ReviewBleu(gold->second, review.review, stop_words));
    ratings.push_back(*review.ratings[c]);
  }
  return SpearmanCorrelation(bleu, ratings);
}

}  // namespace repro::code_review_comments
