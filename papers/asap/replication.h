// Thirty runs of the authors' package with a later gpt-3.5-turbo, by a group
// that replicates studies (angrymeir/LLM-RepliKit, main41).
#ifndef REPRO_PAPERS_ASAP_REPLICATION_H_
#define REPRO_PAPERS_ASAP_REPLICATION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace repro::asap {

// "mean", "median", "standard deviation" (of a sample, n - 1), "minimum" or
// "maximum" of the runs' BLEU. InvalidArgument: another name, too few runs.
absl::StatusOr<double> RunStatistic(absl::Span<const double> runs,
                                    absl::string_view name);

// How many runs score less than `claimed`: 0 and all of them both say that the
// claimed value lies outside of what was replicated.
int RunsBelow(absl::Span<const double> runs, double claimed);

}  // namespace repro::asap

#endif  // REPRO_PAPERS_ASAP_REPLICATION_H_
