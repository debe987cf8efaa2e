// Training on sequence classes as the paper's synthetic experiments do (Sec.
// 6).
#ifndef REPRO_PAPERS_SCAN_SNAP_TRAINING_H_
#define REPRO_PAPERS_SCAN_SNAP_TRAINING_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/scan_snap/one_layer_transformer.h"
#include "papers/scan_snap/sequence_classes.h"

namespace repro::scan_snap {

// The defaults are Syn-Small's (Fig. 4); Syn-Medium (Fig. 6) differs in
// `classes`, the rates and `zero_init`.
struct RunOptions {
  SequenceClassOptions classes;
  double lr_y = 1;  // eta_Y, of the decoder
  double lr_z = 1;  // eta_Z, of the attention
  double momentum = 0.9;
  int batch_size = 128;
  int sequence_length = 128;  // context and query
  int iterations = 100;
  bool zero_init = true;
  uint64_t seed = 0;
  // Draws what the authors' program draws with this seed (authors_streams.h).
  bool authors_streams = false;
};

struct RunResult {
  // The batch's cross entropy before the update: [iterations].
  std::vector<double> losses;
  // After the last update: OneLayerTransformer::MeanDistinctEntropy, and
  // PopulationAttention of class 0.
  double entropy = 0;
  std::vector<double> attention;
};

// Trains in float. The same options give the same result. InvalidArgument: what
// SequenceClasses::Create rejects, a size below 1 (sequence_length below 2), a
// rate or momentum that is negative or not finite, a seed above 2^32 - 3 with
// `authors_streams`.
absl::StatusOr<RunResult> Train(const RunOptions& options);

// Trains all `runs`, each on one of `threads` threads; results are in the order
// of `runs` and do not depend on `threads`. `progress`, if set, is called under
// a lock after each run with how many are done; when it returns false no
// further run begins and the result is CancelledError. The error of the first
// run that has one is returned.
absl::StatusOr<std::vector<RunResult>> TrainAll(
    const std::vector<RunOptions>& runs, int threads,
    const std::function<bool(int64_t done)>& progress = nullptr);

}  // namespace repro::scan_snap

#endif  // REPRO_PAPERS_SCAN_SNAP_TRAINING_H_
