#include "papers/scan_snap/training.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/threads/parallel_for.h"
#include "papers/scan_snap/authors_streams.h"

namespace repro::scan_snap {
namespace {

absl::Status Check(const RunOptions& options) {
  for (const auto& [name, value, least] :
       {std::tuple("batch_size", options.batch_size, 1),
        std::tuple("sequence_length", options.sequence_length, 2),
        std::tuple("iterations", options.iterations, 1)}) {
    if (value < least) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is ", value, ", must be at least ", least));
    }
  }
  for (const auto& [name, value] :
       {std::pair("lr_y", options.lr_y), std::pair("lr_z", options.lr_z),
        std::pair("momentum", options.momentum)}) {
    if (!(value >= 0) || !std::isfinite(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is ", value, ", must be finite and at least 0"));
    }
  }
  if (options.authors_streams && options.seed > UINT32_MAX - 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("seed is ", options.seed,
                     ", the authors' streams take at most 2^32 - 3"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RunResult> Train(const RunOptions& options) {
  REPRO_RETURN_IF_ERROR(Check(options));
  REPRO_ASSIGN_OR_RETURN(const SequenceClasses classes,
                         SequenceClasses::Create(options.classes));
  std::mt19937_64 generator(options.seed);
  std::optional<AuthorsStreams> authors;
  OneLayerTransformer<float> model(classes);
  if (options.authors_streams) {
    authors.emplace(classes, static_cast<uint32_t>(options.seed));
    authors->Initialize(options.zero_init, &model);
  } else if (!options.zero_init) {
    model.InitializeUniform(generator);
  }
  MomentumSgd<float> y_optimizer(options.lr_y, options.momentum);
  MomentumSgd<float> z_optimizer(options.lr_z, options.momentum);
  std::vector<float> y_grad, z_grad;
  RunResult result;
  for (int i = 0; i < options.iterations; ++i) {
    const Batch<float> batch =
        authors ? authors->Draw(options.batch_size, options.sequence_length)
                : DrawBatch<float>(classes, options.batch_size,
                                   options.sequence_length, generator);
    result.losses.push_back(model.LossAndGradients(batch, &y_grad, &z_grad));
    y_optimizer.Step(y_grad, &model.y());
    z_optimizer.Step(z_grad, &model.z());
  }
  result.entropy = model.MeanDistinctEntropy();
  result.attention = model.PopulationAttention(0);
  return result;
}

absl::StatusOr<std::vector<RunResult>> TrainAll(
    const std::vector<RunOptions>& runs, int threads,
    const std::function<bool(int64_t done)>& progress) {
  std::vector<RunResult> results(runs.size());
  REPRO_RETURN_IF_ERROR(ParallelFor(
      static_cast<int64_t>(runs.size()), threads,
      [&](int64_t i) -> absl::Status {
        REPRO_ASSIGN_OR_RETURN(results[i], Train(runs[i]));
        return absl::OkStatus();
      },
      progress));
  return results;
}

}  // namespace repro::scan_snap
