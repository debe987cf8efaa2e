// Which heads retrieve: gates, one a layer and key-value head, and the choice
// of those that keep their whole cache (DuoAttention, arXiv 2410.10819,
// section 2.2 and 2.3).
#ifndef REPRO_PAPERS_DUO_ATTENTION_HEADS_H_
#define REPRO_PAPERS_DUO_ATTENTION_HEADS_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/lm/model.h"

namespace repro::duo {

// Gates and scores: [layers, num_kv_heads] float64 on the CPU.

// The authors' format: one line a layer, values separated by tabs. Unclamped.
// InvalidArgument names `path`, line and column of what is not a finite number
// or a line of another width. The file may be compressed by gzip.
absl::StatusOr<at::Tensor> ReadGates(const std::string& path);
absl::StatusOr<at::Tensor> ParseGates(absl::string_view text,
                                      const std::string& path);
// With all digits.
std::string FormatGates(const at::Tensor& gates);

// The share of gates above `threshold`.
double ShareAbove(const at::Tensor& gates, double threshold);

// Numbers of the full heads of each layer, ascending.
using HeadSet = std::vector<std::vector<int64_t>>;
int64_t CountHeads(const HeadSet& heads);

// Full are the heads with gate >= tau, tau the quantile of all gates at
// `sparsity`, the share that is streamed, by linear interpolation. Uniform
// noise in [0, 1e-6) is added first, which breaks ties; without a generator
// none is. sparsity 0 keeps all heads and 1 none.
HeadSet SelectHeads(const at::Tensor& gates, double sparsity,
                    const at::Generator* generator);

// A control: `count` of all heads drawn without replacement.
HeadSet RandomHeads(int64_t layers, int64_t num_kv_heads, int64_t count,
                    at::Generator generator);

// A control, attention profiling: for each head the mean attention weight that
// the queries at `query_places` of a sequence give to what a streaming head
// does not see, the largest over its group of query heads, averaged over the
// rows of tokens [sequences, length] (int64, CPU). query_places: [sequences,
// length] bool.
at::Tensor AttentionProfile(const lm::LanguageModel& model,
                            const at::Tensor& tokens,
                            const at::Tensor& query_places, int64_t sink,
                            int64_t recent);

}  // namespace repro::duo

#endif  // REPRO_PAPERS_DUO_ATTENTION_HEADS_H_
