#ifndef REPRO_COMMON_TRAIN_EXPERIMENT_H_
#define REPRO_COMMON_TRAIN_EXPERIMENT_H_

#include "common/claims/experiment.h"
#include "common/train/grid.h"

namespace repro {

// The grid of a run, without names: its seeds, its checkpoint folder, its
// progress and its end when the run is cancelled. `run` outlives it.
Grid GridOfRun(ExperimentRun& run);

}  // namespace repro

#endif  // REPRO_COMMON_TRAIN_EXPERIMENT_H_
