// CodeIF's four metrics on yes/no verdicts, and what they would be if verdicts
// were independent.
//
//   const auto scores = ScoreVerdicts({true, false, true, true}, {{3, {1}}});
//   scores->rsr;  // 0.5
#ifndef REPRO_PAPERS_CODE_IF_METRICS_H_
#define REPRO_PAPERS_CODE_IF_METRICS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/code_if/questions.h"

namespace repro::code_if {

// All in [0, 1].
struct Scores {
  double csr = 0;   // 1 if all verdicts are yes
  double ssr = 0;   // share of yes
  double rsr = 0;   // share of yes whose dependencies are all yes
  double ccsr = 0;  // longest run of yes, divided by the number of verdicts
};

// Of one question. InvalidArgument: no verdicts, or a position of
// `dependencies` that no verdict has.
absl::StatusOr<Scores> ScoreVerdicts(const std::vector<bool>& verdicts,
                                     const Dependencies& dependencies);

struct BenchmarkScores {
  Scores mean;              // over the questions scored
  int64_t num_scored = 0;   // questions
  int64_t num_dropped = 0;  // questions without verdicts
  // Share of yes among all instructions of a category in scored questions.
  std::map<std::string, double> category_ssr;
};

// `verdicts[i]` belongs to `questions[i]`; nothing drops the question, as in
// the authors' script. InvalidArgument: another number of verdicts than of
// instructions, or all dropped; errors of ScoreVerdicts, which name the
// question.
absl::StatusOr<BenchmarkScores> ScoreQuestions(
    const std::vector<Question>& questions,
    const std::vector<std::optional<std::vector<bool>>>& verdicts);

// E[CSR] of a judge that says yes to each instruction independently with
// probability p: the mean of p^m over the numbers of instructions m.
// InvalidArgument: p outside [0, 1], no numbers or one below 1.
absl::StatusOr<double> IndependentCsr(double p,
                                      const std::vector<int64_t>& counts);

}  // namespace repro::code_if

#endif  // REPRO_PAPERS_CODE_IF_METRICS_H_
