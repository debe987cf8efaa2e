// UEA series as the reference prepares them for its classifier.
#ifndef REPRO_PAPERS_FLOWFORMER_SERIES_DATA_H_
#define REPRO_PAPERS_FLOWFORMER_SERIES_DATA_H_

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/status/statusor.h"
#include "common/data/ts.h"

namespace repro::flowformer {

struct SeriesSet {
  at::Tensor x;     // float32 [series, max_len, features], zero behind the end
  at::Tensor mask;  // float32 [series, max_len], 1 where a step is
  at::Tensor labels;  // int64 [series]
  int64_t steps = 0;  // of all series, before clipping

  SeriesSet To(at::Device device) const;
};

struct SeriesProblem {
  SeriesSet train;
  SeriesSet test;
  int64_t features = 0;
  int64_t max_len = 0;  // of the training series; longer test series are cut
  int64_t classes = 0;
  // Of each feature over all training steps; std with n - 1.
  std::vector<double> mean;
  std::vector<double> std;

  SeriesProblem To(at::Device device) const;
};

// Standardises both sets by the training set's mean and std (plus the machine
// epsilon of double) and pads them. InvalidArgument: the sets differ in
// dimensions or class labels, a missing value, fewer than 2 training steps.
absl::StatusOr<SeriesProblem> PrepareSeries(const TsFile& train,
                                            const TsFile& test);

// The accuracy, from 0 to 1, on the test set of the class whose mean of
// padded training series is nearest (Euclidean): a baseline without a model.
double NearestMeanAccuracy(const SeriesProblem& problem);

// The share of the test set that its most frequent class has.
double MajorityShare(const SeriesProblem& problem);

}  // namespace repro::flowformer

#endif  // REPRO_PAPERS_FLOWFORMER_SERIES_DATA_H_
