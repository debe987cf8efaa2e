#include "papers/positional_attention/tasks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cummin.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/stack.h>

#include <tuple>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace repro::positional_attention {
namespace {

at::Tensor PrefixMedian(const at::Tensor& x) {
  std::vector<at::Tensor> medians;
  for (int64_t length = 1; length <= x.size(-1); ++length) {
    const at::Tensor sorted =
        std::get<0>(at::sort(x.narrow(-1, 0, length), /*dim=*/-1));
    medians.push_back(
        (sorted.select(-1, (length - 1) / 2) + sorted.select(-1, length / 2)) /
        2);
  }
  return at::stack(medians, -1);
}

// Kadane: the best sum that ends at i is x_i alone or with the best before it.
at::Tensor PrefixMaxSumSubarray(const at::Tensor& x) {
  std::vector<at::Tensor> best;
  at::Tensor ending;
  for (int64_t i = 0; i < x.size(-1); ++i) {
    const at::Tensor x_i = x.select(-1, i);
    ending = i == 0 ? x_i : at::maximum(x_i, ending + x_i);
    best.push_back(i == 0 ? ending : at::maximum(best.back(), ending));
  }
  return at::stack(best, -1);
}

}  // namespace

std::vector<Task> AllTasks() {
  return {Task::kSum, Task::kMin, Task::kMedian, Task::kSort,
          Task::kMaxSumSubarray};
}

std::string TaskName(Task task) {
  switch (task) {
    case Task::kSum:
      return "sum";
    case Task::kMin:
      return "min";
    case Task::kMedian:
      return "median";
    case Task::kSort:
      return "sort";
    case Task::kMaxSumSubarray:
      return "max_sum_subarray";
  }
  return "";
}

absl::StatusOr<Task> ParseTask(absl::string_view name) {
  std::vector<std::string> names;
  for (const Task task : AllTasks()) {
    if (TaskName(task) == name) return task;
    names.push_back(TaskName(task));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown task \"", name, "\": use one of ", absl::StrJoin(names, ", ")));
}

at::Tensor Labels(Task task, const at::Tensor& x) {
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) >= 1,
              "Labels: x [..., n] with n >= 1 expected, got ", x.sizes());
  switch (task) {
    case Task::kSum:
      return at::cumsum(x, /*dim=*/-1);
    case Task::kMin:
      return std::get<0>(at::cummin(x, /*dim=*/-1));
    case Task::kMedian:
      return PrefixMedian(x);
    case Task::kSort:
      return std::get<0>(at::sort(x, /*dim=*/-1));
    case Task::kMaxSumSubarray:
      return PrefixMaxSumSubarray(x);
  }
  TORCH_CHECK(false, "Labels: unknown task");
}

at::Tensor DrawInputs(int64_t samples, int64_t n, double high,
                      at::Generator generator) {
  TORCH_CHECK(samples >= 0 && n >= 1 && high > 0, "DrawInputs: samples ",
              samples, ", n ", n, ", high ", high);
  const bool reject = high != kTrainHigh;
  TORCH_CHECK(!reject || high > kTrainHigh, "DrawInputs: a test range of +-",
              high, " lies inside the training range +-", kTrainHigh);
  at::Tensor ends = at::empty({samples, 2}).uniform_(-high, high, generator);
  while (reject) {
    const at::Tensor inside = ends.abs().amax(1) <= kTrainHigh;
    const at::Tensor rows = inside.nonzero().squeeze(1);
    if (rows.numel() == 0) break;
    ends.index_copy_(
        0, rows, at::empty({rows.size(0), 2}).uniform_(-high, high, generator));
  }
  const at::Tensor low = ends.amin(1, /*keepdim=*/true);
  const at::Tensor width = ends.amax(1, /*keepdim=*/true) - low;
  return low + width * at::empty({samples, n}).uniform_(0, 1, generator);
}

}  // namespace repro::positional_attention
