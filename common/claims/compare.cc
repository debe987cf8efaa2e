#include "common/claims/compare.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "common/claims/verdict.h"
#include "common/stats/hypothesis.h"

namespace repro {
namespace {

constexpr double kMaxPValue = 0.001;
// The last bits of a sum, and of a difference that is 0 but for rounding.
constexpr double kLastBits = 1e-9;
constexpr double kZero = 1e-12;
// The share of a claim's tolerance that another processor's rounding may move
// an exact value by.
constexpr double kShareOfTolerance = 0.01;

bool Agrees(const Measurement& measurement) {
  return measurement.verdict() == REPRODUCED || measurement.verdict() == HOLDS;
}

using Values = google::protobuf::RepeatedField<double>;

absl::Span<const double> Span(const Values& values) {
  return absl::MakeConstSpan(values.data(), values.size());
}

bool HasSpread(absl::Span<const double> samples) {
  return std::any_of(samples.begin(), samples.end(),
                     [&](double sample) { return sample != samples[0]; });
}

bool Equal(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::abs(a - b) <=
         std::max(kZero, kLastBits * std::max(std::abs(a), std::abs(b)));
}

bool Covers(const Measurement& measurement, double value) {
  return measurement.has_interval() && measurement.interval().low() <= value &&
         value <= measurement.interval().high();
}

struct Movement {
  bool moved = false;
  std::string why;
};

// Welch's test of two sets of samples; nothing where one has no spread.
std::optional<Movement> Tested(const Values& before, const Values& after) {
  const auto a = Span(before), b = Span(after);
  if (!HasSpread(a) || !HasSpread(b)) return std::nullopt;
  const auto test = WelchTest(a, b);
  if (!test.ok()) return std::nullopt;
  return Movement{test->p_value < kMaxPValue,
                  absl::StrFormat("Welch's t test: p = %.2g", test->p_value)};
}

Movement Moved(const Measurement& before, const Measurement& after,
               const Claim& claim) {
  if (Equal(before.value(), after.value())) return {false, "equal"};
  if (before.samples().empty() && after.samples().empty()) {
    const double allowed = kShareOfTolerance * AllowedDifference(claim);
    return std::abs(before.value() - after.value()) <= allowed
               ? Movement{false, "rounding, far inside the tolerance"}
               : Movement{true, "an exact value changed"};
  }
  if (const auto tested = Tested(before.samples(), after.samples())) {
    return *tested;
  }
  const bool inside =
      Covers(before, after.value()) || Covers(after, before.value());
  return {!inside,
          inside ? "inside the 95% interval" : "outside the 95% interval"};
}

std::string Key(const Measurement& m) {
  return absl::StrCat(m.paper(), "/", m.claim());
}

std::string BothValues(const Measurement& before, const Measurement& after) {
  return absl::StrFormat("%.6g -> %.6g %s", before.value(), after.value(),
                         after.unit());
}

}  // namespace

ClaimChange CompareMeasurements(const Measurement& before,
                                const Measurement& after, const Claim& claim) {
  ClaimChange result{after.paper(), after.claim()};
  if (before.claim_version() != after.claim_version()) {
    result.change = Change::kNew;
    result.detail =
        absl::StrFormat("version %d of the claim, %d before",
                        after.claim_version(), before.claim_version());
    return result;
  }
  if (Agrees(before) != Agrees(after)) {
    result.change = Agrees(after) ? Change::kImproved : Change::kRegressed;
    result.detail = absl::StrCat(VerdictName(before.verdict()), " -> ",
                                 VerdictName(after.verdict()), " (",
                                 BothValues(before, after), ")");
    const auto tested = Tested(before.effects(), after.effects());
    if (tested.has_value() && !tested->moved) {
      result.change = Change::kMoved;
      absl::StrAppend(&result.detail, ", the effects differ by noise (",
                      tested->why, "): too few seeds");
    }
    return result;
  }
  const Movement movement = Moved(before, after, claim);
  result.detail = absl::StrCat(BothValues(before, after), ", ", movement.why);
  if (!movement.moved) return result;
  const bool sampled = before.samples_size() > 0 || after.samples_size() > 0;
  if (!sampled && (after.evidence() == EXACT || after.evidence() == REPLAY)) {
    result.change = Change::kRegressed;
  } else if (claim.direction() == DIRECTION_UNSPECIFIED) {
    result.change = Change::kMoved;
  } else {
    const bool rose = after.value() > before.value();
    result.change = rose == (claim.direction() == HIGHER_IS_BETTER)
                        ? Change::kImproved
                        : Change::kRegressed;
  }
  return result;
}

std::vector<ClaimChange> CompareResults(const Result& before,
                                        const Result& after,
                                        const std::vector<Paper>& papers) {
  std::map<std::string, const Claim*> claims;
  for (const Paper& paper : papers) {
    for (const Claim& claim : paper.claims()) {
      claims[absl::StrCat(paper.slug(), "/", claim.id())] = &claim;
    }
  }
  std::map<std::string, const Measurement*> measured;
  for (const Measurement& m : after.measurements()) measured[Key(m)] = &m;

  std::vector<ClaimChange> changes;
  for (const Measurement& m : before.measurements()) {
    const auto found = measured.find(Key(m));
    if (found == measured.end()) {
      changes.push_back({m.paper(), m.claim(), Change::kNotMeasured, ""});
      continue;
    }
    const auto claim = claims.find(Key(m));
    changes.push_back(CompareMeasurements(
        m, *found->second,
        claim == claims.end() ? Claim::default_instance() : *claim->second));
    measured.erase(found);
  }
  for (const Measurement& m : after.measurements()) {
    if (measured.count(Key(m)) > 0) {
      changes.push_back({m.paper(), m.claim(), Change::kNew,
                         absl::StrFormat("%.6g %s, %s", m.value(), m.unit(),
                                         VerdictName(m.verdict()))});
    }
  }
  return changes;
}

std::string ChangeName(Change change) {
  switch (change) {
    case Change::kSame:
      return "same";
    case Change::kImproved:
      return "improved";
    case Change::kMoved:
      return "moved";
    case Change::kRegressed:
      return "regressed";
    case Change::kNotMeasured:
      return "not measured";
    case Change::kNew:
      return "new";
  }
  return "";
}

bool HasRegression(const std::vector<ClaimChange>& changes) {
  return std::any_of(changes.begin(), changes.end(), [](const auto& change) {
    return change.change == Change::kRegressed;
  });
}

}  // namespace repro
