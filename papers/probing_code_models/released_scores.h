// The scores that the authors released, one a task, corpus, encoder, layer and
// repeat, and what follows from them: the size of each test set, the confusion
// matrix of each run, the best layers.
//
//   REPRO_ASSIGN_OR_RETURN(const ReleasedScores scores,
//                          ReadScores("layer_scores.csv.gz"));
//   const Layers& layers = scores.at({"isInGraph", "java250", "cdg",
//                                     "codebert", "plm"});
//   const int64_t best = BestLayer(layers);
#ifndef REPRO_PAPERS_PROBING_CODE_MODELS_RELEASED_SCORES_H_
#define REPRO_PAPERS_PROBING_CODE_MODELS_RELEASED_SCORES_H_

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace repro::probing_code_models {

// Of one test run; all in [0, 1], mcc in [-1, 1]. Of the tagger precision,
// recall and F1 are means over classes, of pair probes those of class 1.
struct Score {
  double accuracy = 0, precision = 0, recall = 0, f1 = 0, mcc = 0;
};

// What is probed, as the file spells it.
struct Probe {
  std::string task;     // link_prediction, isInGraph, postag
  std::string dataset;  // java250, poj
  std::string graph;    // ast, cfg, cdg, ddg; tag
  std::string model;    // codebert, graphcodebert, codet5, unixcoder
  std::string init;     // plm; random: the same model with random weights

  bool operator<(const Probe& other) const {
    return std::tie(task, dataset, graph, model, init) <
           std::tie(other.task, other.dataset, other.graph, other.model,
                    other.init);
  }
};

// Repeats in their order, by layer; layer 0 is the embedding's output.
using Layers = std::map<int64_t, std::vector<Score>>;
using ReleasedScores = std::map<Probe, Layers>;

// A table (CSV, plain or gzip) with the columns task, dataset, init, model,
// graph, layer, repeat, acc, precision, recall, f1, mcc; repeats of a layer
// count from 1 without a gap, in order. Errors: those of CsvTable;
// InvalidArgument "path:line: ..." for a score that is out of range or not a
// number, a negative layer, a repeat that is missing or comes twice; "path: no
// scores".
absl::StatusOr<ReleasedScores> ReadScores(const std::string& path);

// The mean of a member over the repeats, of which there is at least one.
double MeanOf(absl::Span<const Score> repeats, double Score::*measure);

// The layer with the highest mean MCC, the lowest of equals. `layers` is not
// empty.
int64_t BestLayer(const Layers& layers);

struct Fraction {
  int64_t numerator = 0, denominator = 1;
};

// The fraction nearest to `value` among those with a denominator of at most
// `max_denominator`, in lowest terms (continued fractions; exact for the double
// that `value` is). InvalidArgument unless 2^-40 <= value <= 1 or value is 0,
// and 1 <= max_denominator <= 2^30.
absl::StatusOr<Fraction> NearestFraction(double value, int64_t max_denominator);

// The number of items in a test set, from accuracies on it: each is correct /
// items, so that the least common multiple of their denominators is the number,
// or a divisor of it where all counts share a factor. InvalidArgument: no
// accuracies, one that is no fraction of at most `max_items` to the last bit,
// or a multiple above `max_items`.
absl::StatusOr<int64_t> RecoverTestSize(absl::Span<const double> accuracies,
                                        int64_t max_items = 200000);

// Counts of a binary task.
struct Confusion {
  int64_t true_positives = 0, false_positives = 0;
  int64_t false_negatives = 0, true_negatives = 0;

  int64_t positives() const { return true_positives + false_negatives; }
  int64_t items() const {
    return true_positives + false_positives + false_negatives + true_negatives;
  }
};

// The counts behind a score on `items` pairs. With q the share of positives,
//   1 - accuracy = q (1 - R + R (1/P - 1)).
// InvalidArgument if a count came out negative, or where P or R is 0: the
// equation then says nothing.
absl::StatusOr<Confusion> RecoverConfusion(const Score& score, int64_t items);

// The score of counts, in the order of operations of scikit-learn; F1 is
// 2 P R / (P + R). A ratio without a denominator is 0.
Score ScoreOf(const Confusion& counts);

}  // namespace repro::probing_code_models

#endif  // REPRO_PAPERS_PROBING_CODE_MODELS_RELEASED_SCORES_H_
