#ifndef REPRO_COMMON_CLAIMS_COMPARE_H_
#define REPRO_COMMON_CLAIMS_COMPARE_H_

#include <string>
#include <vector>

#include "common/claims/claims.pb.h"
#include "common/claims/result.pb.h"

namespace repro {

enum class Change {
  kSame,         // the same verdict, no movement beyond noise
  kImproved,     // a better verdict, or moved the better way beyond noise
  kMoved,        // moved beyond noise, neither way is better
  kRegressed,    // a worse verdict, an exact value that is another, or moved
                 // the worse way beyond noise
  kNotMeasured,  // only the baseline has it
  kNew,          // only the newer result has it, or another claim version
};

struct ClaimChange {
  std::string paper;
  std::string claim;
  Change change = Change::kSame;
  std::string detail;  // one line: the two values and what decided
};

// Two runs of the same code differ by noise in this sense:
// - a value that draws nothing at random (no samples) does not move at all:
//   differences above 1e-9 relative (or 1e-12), the last bits of a sum, are a
//   change. Where the claim states a tolerance, a hundredth of it is what
//   another processor's rounding may move it by;
// - a value over seeds or repetitions moves when Welch's t test of the two sets
//   of samples rejects equal means at p < 0.001, or, where a side has one
//   sample or no spread, when neither interval covers the other's value.
// A verdict that got worse (agreeing to DIFFERS) is a regression whatever the
// values; only where it rests on effects over seeds, and Welch's test does not
// tell the two sets of effects apart, is it reported and no regression: an
// interval that ends near its bound falls on either side of it. The claim's
// direction says which way is worse; without one a move of an EXACT or REPLAY
// value is a regression and another is only reported.
ClaimChange CompareMeasurements(const Measurement& before,
                                const Measurement& after, const Claim& claim);

// All claims of both, as `papers` declares them. In the order of `before`
// and then what is new.
std::vector<ClaimChange> CompareResults(const Result& before,
                                        const Result& after,
                                        const std::vector<Paper>& papers);

// "regressed", "improved", ...
std::string ChangeName(Change change);

// True if something regressed: exit code 1.
bool HasRegression(const std::vector<ClaimChange>& changes);

}  // namespace repro

#endif  // REPRO_COMMON_CLAIMS_COMPARE_H_
