#include "papers/code_judge_bench/scoring.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/data/json_record.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"
#include "common/threads/parallel_for.h"

namespace repro::code_judge_bench {
namespace {

absl::StatusOr<Verdict> Prediction(const JsonRecord& record) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, record.Text("pred"));
  if (text.empty()) return Verdict();
  if (text == "A") return Verdict(Winner::kA);
  if (text == "B") return Verdict(Winner::kB);
  return record.Error(
      absl::StrCat("field \"pred\" is ", Quoted(text), ", not A, B or empty"));
}

}  // namespace

absl::StatusOr<std::vector<ItemVerdicts>> JudgeItems(
    const std::vector<Item>& items, const Judge& judge, int threads,
    const std::function<bool(int64_t done)>& progress) {
  std::vector<ItemVerdicts> verdicts(items.size());
  REPRO_RETURN_IF_ERROR(ParallelFor(
      static_cast<int64_t>(items.size()), threads,
      [&](int64_t i) -> absl::Status {
        const Item& item = items[i];
        const Comparison straight = {item.question, item.correct, item.wrong};
        ItemVerdicts& of_item = verdicts[i];
        of_item.split = item.split;
        of_item.difficulty = item.difficulty;
        REPRO_ASSIGN_OR_RETURN(of_item.straight, judge(straight));
        REPRO_ASSIGN_OR_RETURN(of_item.swapped, judge(Swapped(straight)));
        return absl::OkStatus();
      },
      progress));
  return verdicts;
}

absl::StatusOr<Scores> Score(const std::vector<ItemVerdicts>& items) {
  if (items.empty()) return absl::InvalidArgumentError("no items to score");
  int64_t straight = 0, swapped = 0, consistent = 0, both = 0, neither = 0;
  int64_t missing = 0;
  for (const ItemVerdicts& item : items) {
    const bool first = item.straight == Winner::kA;
    const bool second = item.swapped == Winner::kB;
    straight += first;
    swapped += second;
    both += first && second;
    neither += !first && !second;
    missing += !item.straight.has_value();
    missing += !item.swapped.has_value();
    // The same text wins: A then B, or B then A.
    consistent +=
        item.straight && item.swapped && *item.straight != *item.swapped;
  }
  const auto n = static_cast<double>(items.size());
  const auto percent = [](int64_t count, double of) {
    return 100 * static_cast<double>(count) / of;
  };
  Scores scores;
  scores.items = static_cast<int64_t>(items.size());
  scores.accuracy = percent(straight + swapped, 2 * n);
  scores.straight = percent(straight, n);
  scores.swapped = percent(swapped, n);
  scores.position_gap = percent(std::abs(straight - swapped), n);
  scores.consistency = percent(consistent, n);
  scores.both_right = percent(both, n);
  scores.neither_right = percent(neither, n);
  scores.no_verdict = percent(missing, 2 * n);
  return scores;
}

absl::StatusOr<BenchmarkScores> ScoreBenchmark(
    const std::vector<ItemVerdicts>& items) {
  BenchmarkScores scores;
  REPRO_ASSIGN_OR_RETURN(scores.all, Score(items));
  std::map<std::string, std::vector<ItemVerdicts>> splits, difficulties;
  for (const ItemVerdicts& item : items) {
    splits[item.split].push_back(item);
    for (const char* known : {"easy", "medium", "hard"}) {
      if (item.difficulty == known) difficulties[known].push_back(item);
    }
  }
  for (const auto& [name, of_split] : splits) {
    REPRO_ASSIGN_OR_RETURN(scores.by_split[name], Score(of_split));
    scores.split_mean += scores.by_split[name].accuracy;
  }
  scores.split_mean /= static_cast<double>(splits.size());
  for (const auto& [name, of_difficulty] : difficulties) {
    REPRO_ASSIGN_OR_RETURN(scores.by_difficulty[name], Score(of_difficulty));
  }
  return scores;
}

double LeastNeitherRight(double accuracy) {
  return std::max(0.0, 100 - 2 * accuracy);
}

absl::StatusOr<std::vector<ItemVerdicts>> ReadOutputs(const std::string& path,
                                                      const std::string& split,
                                                      int64_t batch_size) {
  if (batch_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("batch_size is ", batch_size, ", below 1"));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  if (lines.size() % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": ", lines.size(), " rows, an odd number: rows were lost"));
  }
  const size_t num_items = lines.size() / 2;
  std::vector<ItemVerdicts> items;
  for (size_t begin = 0; begin < num_items;) {
    const size_t size =
        std::min(static_cast<size_t>(batch_size), num_items - begin);
    for (size_t i = 0; i < size; ++i) {
      ItemVerdicts item;
      item.split = split;
      for (const bool straight : {true, false}) {
        const JsonRecord record(lines[2 * begin + (straight ? 0 : size) + i],
                                path);
        REPRO_ASSIGN_OR_RETURN(const std::string label, record.Text("label"));
        if (label != (straight ? "A" : "B")) {
          return record.Error(absl::StrCat("field \"label\" is ", Quoted(label),
                                           ", expected ", straight ? "A" : "B",
                                           " in batches of ", batch_size));
        }
        REPRO_ASSIGN_OR_RETURN(const std::string difficulty,
                               record.Text("difficulty"));
        if (!straight && difficulty != item.difficulty) {
          return record.Error(
              "field \"difficulty\" is not that of the item's other order");
        }
        item.difficulty = difficulty;
        REPRO_ASSIGN_OR_RETURN((straight ? item.straight : item.swapped),
                               Prediction(record));
      }
      items.push_back(std::move(item));
    }
    begin += size;
  }
  return items;
}

}  // namespace repro::code_judge_bench
