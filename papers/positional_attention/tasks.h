// The five algorithmic tasks and their random inputs.
#ifndef REPRO_PAPERS_POSITIONAL_ATTENTION_TASKS_H_
#define REPRO_PAPERS_POSITIONAL_ATTENTION_TASKS_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::positional_attention {

enum class Task { kSum, kMin, kMedian, kSort, kMaxSumSubarray };

std::vector<Task> AllTasks();

// As the released results name them: "sum", "min", "median", "sort",
// "max_sum_subarray".
std::string TaskName(Task task);
// InvalidArgument lists the names.
absl::StatusOr<Task> ParseTask(absl::string_view name);

// Labels of x [..., n], one for each position i, of the same shape:
//   sum              x_1 + ... + x_i
//   min              min(x_1 .. x_i)
//   median           median of x_1 .. x_i, the midpoint of the two middle
//                    values where i is even
//   max_sum_subarray largest sum of a non-empty contiguous part of x_1 .. x_i
//   sort             the i-th smallest of all n (not cumulative)
// All are positively homogeneous: Labels(c x) = c Labels(x) for c > 0.
at::Tensor Labels(Task task, const at::Tensor& x);

// Training values lie in [-kTrainHigh, kTrainHigh].
inline constexpr double kTrainHigh = 2;

// [samples, n] float32 on the CPU. For each sample the ends of its interval are
// drawn first, a, b ~ U[-high, high], then x_i ~ U[min(a, b), max(a, b)]. If
// high differs from kTrainHigh, intervals inside the training range are drawn
// again, so that a sample of a test range always may leave it.
at::Tensor DrawInputs(int64_t samples, int64_t n, double high,
                      at::Generator generator);

}  // namespace repro::positional_attention

#endif  // REPRO_PAPERS_POSITIONAL_ATTENTION_TASKS_H_
