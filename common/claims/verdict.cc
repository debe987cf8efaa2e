#include "common/claims/verdict.h"

#include <cmath>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "common/claims/printed_number.h"
#include "common/stats/interval.h"
#include "common/status/macros.h"

namespace repro {
namespace {

Verdict Agreement(Evidence evidence) {
  return evidence == EXACT || evidence == REPLAY ? REPRODUCED : HOLDS;
}

absl::Status EnoughSeeds(int seeds) {
  if (seeds >= kMinSeeds) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "undecided: %d seeds, the test needs at least %d", seeds, kMinSeeds));
}

// The 95% t interval of the mean, or why there is none.
absl::StatusOr<Interval> MeanOverSeeds(
    const google::protobuf::RepeatedField<double>& values) {
  REPRO_RETURN_IF_ERROR(EnoughSeeds(values.size()));
  return MeanInterval(absl::MakeConstSpan(values.data(), values.size()));
}

}  // namespace

Judgement Judge(const Claim& claim, const Measurement& measurement) {
  const Verdict agrees = Agreement(claim.evidence());
  const auto judge = [&](bool holds, std::string reason) {
    return Judgement{holds ? agrees : DIFFERS, std::move(reason)};
  };
  const double value = measurement.value();
  if (std::isnan(value)) return judge(false, "measured NaN");

  const Criterion& criterion = claim.criterion();
  switch (criterion.rule_case()) {
    case Criterion::kEffect: {
      const auto interval = MeanOverSeeds(measurement.effects());
      if (!interval.ok()) {
        return judge(false, std::string(interval.status().message()));
      }
      const auto& effect = criterion.effect();
      const bool at_least = effect.bound_case() == Criterion::Effect::kAtLeast;
      const double bound = at_least ? effect.at_least() : effect.at_most();
      return judge(at_least ? interval->low >= bound : interval->high <= bound,
                   absl::StrFormat("effect's 95%% interval [%.4g, %.4g], "
                                   "%s %.4g needed (%d seeds)",
                                   interval->low, interval->high,
                                   at_least ? "at least" : "at most", bound,
                                   measurement.effects_size()));
    }
    case Criterion::kWithin: {
      const auto interval = MeanOverSeeds(measurement.samples());
      if (!interval.ok()) {
        return judge(false, std::string(interval.status().message()));
      }
      const auto& within = criterion.within();
      return judge(
          interval->low >= within.low() && interval->high <= within.high(),
          absl::StrFormat("mean's 95%% interval [%.4g, %.4g], inside "
                          "[%.4g, %.4g] needed (%d seeds)",
                          interval->low, interval->high, within.low(),
                          within.high(), measurement.samples_size()));
    }
    case Criterion::kRankTest: {
      const absl::Status enough = EnoughSeeds(measurement.samples_size());
      if (!enough.ok()) return judge(false, std::string(enough.message()));
      if (!measurement.has_p_value())
        return judge(false, "no p value measured");
      const double p = measurement.p_value();
      return judge(p >= criterion.rank_test().min_p(),  // false for NaN
                   absl::StrFormat("rank test against the released runs: "
                                   "p = %.3g, at least %.3g needed (%d seeds)",
                                   p, criterion.rank_test().min_p(),
                                   measurement.samples_size()));
    }
    default:
      break;
  }

  const absl::StatusOr<PrintedNumber> printed =
      ParsePrintedNumber(claim.reported());
  if (!printed.ok())
    return judge(false, std::string(printed.status().message()));
  const double difference = std::abs(value - printed->value);
  switch (criterion.rule_case()) {
    case Criterion::kTolerance: {
      const double allowed = AllowedDifference(claim);
      return judge(difference <= allowed,
                   absl::StrFormat("|difference| %.4g, at most %.4g allowed",
                                   difference, allowed));
    }
    case Criterion::kSampling: {
      const auto& sampling = criterion.sampling();
      const int seeds = measurement.samples_size();
      const absl::Status enough = EnoughSeeds(seeds);
      if (!enough.ok()) return judge(false, std::string(enough.message()));
      const double allowed =
          sampling.sigmas() * sampling.reported_sd() *
          std::sqrt(1.0 / sampling.reported_seeds() + 1.0 / seeds);
      return judge(difference < allowed,
                   absl::StrFormat("|difference| %.4g, below %.4g needed (%d "
                                   "seeds against the paper's %d)",
                                   difference, allowed, seeds,
                                   sampling.reported_seeds()));
    }
    default: {
      const bool rounds = RoundsTo(value, *printed);
      return judge(rounds, absl::StrFormat("%.9g %s to the printed %s", value,
                                           rounds ? "rounds" : "does not round",
                                           claim.reported()));
    }
  }
}

double AllowedDifference(const Claim& claim) {
  const auto& tolerance = claim.criterion().tolerance();
  const auto printed = ParsePrintedNumber(claim.reported());
  const double size = printed.ok() ? std::abs(printed->value) : 0;
  return std::max(tolerance.absolute(), tolerance.relative() * size);
}

std::string VerdictName(Verdict verdict) {
  return verdict == VERDICT_BLOCKED ? "BLOCKED" : Verdict_Name(verdict);
}

std::string EvidenceName(Evidence evidence) { return Evidence_Name(evidence); }

std::vector<Verdict> AllVerdicts() {
  return {REPRODUCED, HOLDS, DIFFERS, VERDICT_BLOCKED, NOT_RUN};
}

}  // namespace repro
