#include "papers/razor_attention/released_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/data/io.h"
#include "common/tensor/check.h"
#include "papers/razor_attention/head_scores.h"
#include "papers/razor_attention/razor_attention.h"

namespace repro::razor {
namespace {

int64_t Share(double share, int64_t heads) {
  return static_cast<int64_t>(
      std::nearbyint(share * static_cast<double>(heads)));
}

double Mass(const at::Tensor& scores, int64_t count) {
  const at::Tensor flat = scores.flatten();
  double sum = 0;
  for (const int64_t place : TopPlaces(scores, count)) {
    sum += flat[place].item<double>();
  }
  return sum / flat.sum().item<double>();
}

double Pearson(const at::Tensor& x, const at::Tensor& y) {
  const at::Tensor a = x.flatten() - x.mean(), b = y.flatten() - y.mean();
  return ((a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt())
      .item<double>();
}

}  // namespace

absl::StatusOr<at::Tensor> ParseHeadTable(absl::string_view text,
                                          const std::string& path) {
  std::vector<double> values;
  int64_t rows = 0, columns = 0;
  LineReader reader(text);
  absl::string_view line;
  while (reader.Next(&line)) {
    if (line.empty()) continue;
    const std::vector<absl::string_view> fields = absl::StrSplit(line, '\t');
    const auto at = [&] {
      return absl::StrCat(path, ":", reader.line_number(), ": ");
    };
    if (rows == 0) columns = static_cast<int64_t>(fields.size());
    if (static_cast<int64_t>(fields.size()) != columns) {
      return absl::DataLossError(absl::StrCat(
          at(), fields.size(), " fields, the first line has ", columns));
    }
    for (const absl::string_view field : fields) {
      double value = 0;
      if (!absl::SimpleAtod(field, &value) || !std::isfinite(value)) {
        return absl::DataLossError(
            absl::StrCat(at(), Quoted(field), " is no finite number"));
      }
      values.push_back(value);
    }
    ++rows;
  }
  if (rows == 0) {
    return absl::DataLossError(absl::StrCat(path, ": no line with numbers"));
  }
  return at::from_blob(values.data(), {rows, columns}, at::kDouble).clone();
}

HeadStatistics Describe(const at::Tensor& scores, const at::Tensor& gates,
                        double share, double ratio) {
  CheckShape(scores, {"layers", "num_heads"}, "scores");
  CheckShape(gates, {scores.size(0), "num_kv_heads"}, "gates");
  const int64_t layers = scores.size(0), num_heads = scores.size(1);
  const int64_t num_kv_heads = gates.size(1);
  HeadStatistics s;
  s.top_heads = Share(share, scores.numel());
  s.promoted = CountHeads(PromoteGroups(TopPlaces(scores, s.top_heads), layers,
                                        num_heads, num_kv_heads));
  s.promoted_share =
      static_cast<double>(s.promoted) / static_cast<double>(gates.numel());
  s.kept_fraction = LimitKeptFraction(s.promoted_share, ratio);
  s.mass_of_top = Mass(scores, s.top_heads);
  s.mass_of_ten = Mass(scores, std::min<int64_t>(10, scores.numel()));
  const at::Tensor best = GroupMax(scores, num_kv_heads);
  s.pearson = Pearson(best, gates);
  std::vector<int64_t> by_score = TopPlaces(best, Share(share, gates.numel()));
  std::vector<int64_t> by_gate = TopPlaces(gates, gates.numel() / 2), both;
  std::sort(by_score.begin(), by_score.end());
  std::sort(by_gate.begin(), by_gate.end());
  std::set_intersection(by_score.begin(), by_score.end(), by_gate.begin(),
                        by_gate.end(), std::back_inserter(both));
  s.in_better_half = static_cast<int64_t>(both.size());
  return s;
}

}  // namespace repro::razor
