#include "common/train/experiment.h"

#include <string>

namespace repro {

Grid GridOfRun(ExperimentRun& run) {
  Grid grid;
  grid.seeds = run.seeds();
  grid.checkpoint_dir = run.checkpoint_dir();
  grid.progress = [&run](double done, double total, const std::string& what) {
    run.Progress(done, total, what);
  };
  grid.cancelled = [&run] { return run.Cancelled(); };
  return grid;
}

}  // namespace repro
