#ifndef REPRO_COMMON_CLAIMS_PAPER_H_
#define REPRO_COMMON_CLAIMS_PAPER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/claims/claims.pb.h"

namespace repro {

// Parses and checks a claims.textproto. Every error is one line a problem,
// "file:line:column: claims[3] \"table1/x\": field: what is wrong", all
// problems of the file together. `file` is only named in errors.
absl::StatusOr<Paper> ParsePaper(absl::string_view text,
                                 absl::string_view file);

// The experiment, claim or asset of that name, or null.
const Experiment* FindExperiment(const Paper& paper, absl::string_view id);
const Claim* FindClaim(const Paper& paper, absl::string_view id);
const Asset* FindAsset(const Paper& paper, absl::string_view name);

// "% -> 0.01", "k -> 1e3", "M -> 1e6", "G -> 1e9": by what a raw count or
// fraction is divided to be in the unit that the paper prints; 1 for others.
double UnitScale(absl::string_view unit);

}  // namespace repro

#endif  // REPRO_COMMON_CLAIMS_PAPER_H_
