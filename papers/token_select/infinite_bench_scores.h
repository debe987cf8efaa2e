// InfiniteBench's scores of predictions that were released.
#ifndef REPRO_PAPERS_TOKEN_SELECT_INFINITE_BENCH_SCORES_H_
#define REPRO_PAPERS_TOKEN_SELECT_INFINITE_BENCH_SCORES_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "common/metrics/infinite_bench.h"

namespace repro::token_select {

// The mean score, in %, of each model of a JSON Lines file (plain or gzip)
// whose records have "model", "pred" and "label". Tasks by InfiniteBench's
// names: passkey, number_string, kv_retrieval, code_run, math_find,
// longbook_choice_eng, longdialogue_qa_eng, longbook_qa_eng, longbook_qa_chn.
// `rules` matters to choices and dialogues. Errors: those of ReadJsonl;
// InvalidArgument for another task; DataLoss naming file and line for a record
// without these fields or with a label of another kind.
absl::StatusOr<std::map<std::string, double>> ScorePredictions(
    const std::string& path, const std::string& task,
    metrics::InfiniteBenchRules rules);

}  // namespace repro::token_select

#endif  // REPRO_PAPERS_TOKEN_SELECT_INFINITE_BENCH_SCORES_H_
