// BLEU of summaries as the authors' evaluation script has it: CodeXGLUE's
// smoothed sentence BLEU-4 (common/metrics), averaged, in percent.
#ifndef REPRO_PAPERS_ASAP_SUMMARY_BLEU_H_
#define REPRO_PAPERS_ASAP_SUMMARY_BLEU_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::asap {

// Of one summary against the developer's comment, in [0, 100]. As coded, an
// empty summary scores 100 exp(-r) for a comment of r tokens, not 0.
double SummaryBleu(absl::string_view comment, absl::string_view summary);

// The mean of each set of a JSON Lines file (plain or gzip) whose records have
// the texts "set", "gold" and "pred". Errors: those of ReadJsonl;
// InvalidArgument "path:line: ..." for a record without one of them.
absl::StatusOr<std::map<std::string, double>> ScoreSets(
    const std::string& path);

// The mean of a pair of files as the authors' packages hold them, lines of "id
// TAB text". An id with several comments is scored against all of them; one
// that lacks a prediction is left out of the mean, not scored 0, as the
// authors' script has it. Errors: those of ReadFile; InvalidArgument
// "path:line: ..." for a line of `gold_path` that is not two fields, and where
// no id is in both.
absl::StatusOr<double> ScoreFiles(const std::string& gold_path,
                                  const std::string& prediction_path);

}  // namespace repro::asap

#endif  // REPRO_PAPERS_ASAP_SUMMARY_BLEU_H_
