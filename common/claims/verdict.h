#ifndef REPRO_COMMON_CLAIMS_VERDICT_H_
#define REPRO_COMMON_CLAIMS_VERDICT_H_

#include <string>
#include <vector>

#include "common/claims/claims.pb.h"
#include "common/claims/result.pb.h"

namespace repro {

// At least this many seeds before a statistical criterion is decided.
inline constexpr int kMinSeeds = 3;

struct Judgement {
  Verdict verdict = VERDICT_UNSPECIFIED;
  std::string reason;  // one line: the numbers that decided
};

// Compares a measurement with what its claim reports. Pure: depends on nothing
// but its arguments. EXACT and REPLAY give REPRODUCED or DIFFERS, FULL_SCALE
// and SCALED give HOLDS or DIFFERS. What cannot be decided (fewer than
// kMinSeeds seeds for a statistical criterion, a measured NaN, no p value) is
// DIFFERS with that reason, never agreement.
//
// `claim` must have passed ValidatePaper().
Judgement Judge(const Claim& claim, const Measurement& measurement);

// What the claim's tolerance allows a measured value to be off, in the claim's
// unit; 0 if it states none.
double AllowedDifference(const Claim& claim);

// The names that tables and JSON show: "REPRODUCED", "BLOCKED", "EXACT".
std::string VerdictName(Verdict verdict);
std::string EvidenceName(Evidence evidence);

// All verdicts in the order in which totals list them.
std::vector<Verdict> AllVerdicts();

}  // namespace repro

#endif  // REPRO_COMMON_CLAIMS_VERDICT_H_
