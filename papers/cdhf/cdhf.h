// Conditional suggestion display from human feedback (Mozannar, Bansal, Fourney
// and Horvitz, AAAI 2024, arXiv 2306.04930): a code suggestion is hidden if the
// programmer would probably reject it. A first model judges by the context
// alone, before any suggestion is generated; a second one, which sees the
// suggestion, is asked where the first is unsure.
//
//   REPRO_ASSIGN_OR_RETURN(const Thresholds thresholds,
//                          Fit(first, second, rejected, options, generator));
//   Decide(thresholds, p1, p2, Rule::kAsPublished).value().hide
//
// Every probability here is that of acceptance. Where the authors' cdhf.py does
// not do what the paper says, both are there.
#ifndef REPRO_PAPERS_CDHF_CDHF_H_
#define REPRO_PAPERS_CDHF_CDHF_H_

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "absl/status/statusor.h"

namespace repro::cdhf {

// ---- The utility of showing ------------------------------------------------

// Seconds of the programmer.
struct Costs {
  double latency = 0;  // until the suggestion is there
  double verify = 0;   // to read it
  double edit = 0;     // after accepting it
  double write = 0;    // to write the code without it
};

// Showing takes latency + verify + p edit + (1 - p) write, hiding takes write:
// the least probability of acceptance p at which showing takes no longer,
// (latency + verify) / (write - edit). Above 1: never show. InvalidArgument: a
// cost that is negative or not finite, or write <= edit (accepting saves
// nothing: no probability makes showing pay).
absl::StatusOr<double> ShowThreshold(const Costs& costs);

// ---- The rule --------------------------------------------------------------

// -p log2 p - (1 - p) log2 (1 - p), in bits. InvalidArgument unless 0 < p < 1,
// as in the reference.
absl::StatusOr<double> Entropy(double p);

enum class Rule {
  // A stage may hide nothing (threshold 0), where no thresholds meet the target
  // nothing is hidden, and an entropy at the threshold goes to the first stage
  // in Fit and in Decide.
  kAsPublished,
  // Fit: thresholds are the given probabilities only, and where none of them
  // meets the target the first ones are taken, because the loss of 999 for what
  // is not allowed is below the initial 9999. Decide: an entropy at the
  // threshold goes to the second stage, though Fit gives it to the first.
  kAsCoded,
};

struct Thresholds {
  double entropy = 0;  // r: above it the second model is asked
  double first = 0;    // t1: hide if p1 < t1
  double second = 0;   // t2: hide if p2 < t2
};

struct Decision {
  bool hide = false;
  bool second_asked = false;
};

// InvalidArgument: that of Entropy(p1); p2 that is NaN.
absl::StatusOr<Decision> Decide(const Thresholds& thresholds, double p1,
                                double p2, Rule rule);

// ---- Fitting ---------------------------------------------------------------

// Sorted by probability, the last one at which the share of rejected
// suggestions among it and all before it is at least `target`; 0 if there is
// none. Hiding below it leaves out that event itself, so that the share among
// the hidden ones may be under the target. Equal probabilities keep their
// order. InvalidArgument: empty or unequally long vectors, NaN.
absl::StatusOr<double> ThresholdForAccuracy(
    const std::vector<double>& probabilities, const std::vector<bool>& rejected,
    double target);

struct FitOptions {
  double accuracy = 0.95;  // least share of rejected ones among the hidden
  double lambda = 0.5;     // weight of asking the second model
  // Entropy thresholds are quantiles of H(p1) at 0, step, 2 step, ... 1.
  double entropy_step = 0.01;
  // If set: the one entropy threshold that leaves this share to the first.
  std::optional<double> first_share;
  // How many candidates of t1 and of t2 are drawn with replacement from those
  // between the bounds; 0: all distinct ones, in the order of the events.
  int64_t candidates = 100;
  double looseness = 0.05;  // bounds are for accuracy + and - this
  Rule rule = Rule::kAsPublished;
};

// Minimises lambda * share of events for the second model + (1 - lambda) *
// share shown, subject to the accuracy. Candidates of t lie between
// ThresholdForAccuracy at accuracy + looseness and at accuracy - looseness; the
// first of equal losses wins, r before t1 before t2.
//
// InvalidArgument: empty or unequally long vectors, a probability outside
// (0, 1), options out of range. FailedPrecondition, as coded only: no candidate
// of a stage lies between its bounds (numpy refuses to draw from none).
absl::StatusOr<Thresholds> Fit(const std::vector<double>& first,
                               const std::vector<double>& second,
                               const std::vector<bool>& rejected,
                               const FitOptions& options,
                               std::mt19937_64& generator);

// ---- Evaluation ------------------------------------------------------------

// Shares of all events, but for the conditional accuracy.
struct DisplayMetrics {
  double hidden = 0;
  double conditional_accuracy = 0;  // rejected | hidden; NaN if none is hidden
  double first_alone = 0;           // decided without the second model
  double accuracy = 0;  // hidden and rejected, or shown and accepted
  double shown_rejected = 0;
  double hidden_accepted = 0;
};

// InvalidArgument: empty or unequally long vectors, and those of Decide.
absl::StatusOr<DisplayMetrics> Evaluate(const Thresholds& thresholds,
                                        const std::vector<double>& first,
                                        const std::vector<double>& second,
                                        const std::vector<bool>& rejected,
                                        Rule rule);

}  // namespace repro::cdhf

#endif  // REPRO_PAPERS_CDHF_CDHF_H_
