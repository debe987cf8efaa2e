// Data-parallel training: every process has the whole model and its part of
// each batch, and gradients are averaged before each update.
//
//   auto parallel = DataParallel::FromEnvironment();
//   ...
//   status = (*parallel)->Broadcast(model);  // rank 0's values everywhere
//   Train(options, state, [&](int64_t step) {
//     at::Tensor loss = Loss(model, (*parallel)->Slice(Batch(step)));
//     loss.backward();
//     loss = loss.detach();
//     absl::Status status = (*parallel)->AverageGradients(parameters);
//     if (status.ok()) status = (*parallel)->Average({loss});
//     TORCH_CHECK(status.ok(), status.ToString());
//     return loss.requires_grad_();  // a leaf: nothing is left to Train's
//   });                              // backward; it clips and updates
//
// Only rank 0 writes checkpoints and logs; README.md says how.
//
// The transport is LibTorch's c10d: a TCPStore to meet and Gloo between CPUs.
// Tensors of a GPU go through the host's memory. NCCL would avoid that, but
// c10d's NCCL backend lives in libtorch_cuda.so, which is not linked.
#ifndef REPRO_COMMON_TRAIN_DATA_PARALLEL_H_
#define REPRO_COMMON_TRAIN_DATA_PARALLEL_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/nn/module.h"

namespace repro {

// A process's place among those of one run.
struct Rank {
  int rank = 0;
  int world_size = 1;
  std::string master_address;  // where rank 0 listens
  uint16_t master_port = 0;
};

// From RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, which torchrun sets, and
// job scripts of SLURM and Kubernetes. Without WORLD_SIZE: one process.
// InvalidArgument names the variable that is missing or malformed.
absl::StatusOr<Rank> RankFromEnvironment();

// All processes make the same calls in the same order. With one process no
// call does anything.
class DataParallel {
 public:
  // Meets the other processes. `timeout` is for that and for each later call.
  // DeadlineExceeded: they were not all there in time. InvalidArgument: as
  // RankFromEnvironment.
  static absl::StatusOr<std::unique_ptr<DataParallel>> FromEnvironment(
      absl::Duration timeout = absl::Minutes(30));

  ~DataParallel();

  int rank() const { return rank_.rank; }
  int world_size() const { return rank_.world_size; }

  // Writes rank 0's parameters and buffers over this process's.
  // Unavailable, here and below: another process has gone, or is late.
  absl::Status Broadcast(const Module& module);

  // Replaces each gradient by its mean over the processes, in one all-reduce.
  // A gradient that this process lacks counts as 0 and is made, unless all
  // lack it. Sums are in the widest dtype among the gradients.
  absl::Status AverageGradients(const std::vector<at::Tensor>& parameters);

  // Replaces floating tensors by their means over the processes. Shapes are
  // the same everywhere.
  absl::Status Average(const std::vector<at::Tensor>& tensors);

  // This process's rows of batch: [batch_size, ...]: the rank-th of world_size
  // equal runs, [batch_size / world_size, ...], a view. A batch that does not
  // divide is an error: the mean of unequal parts' means is not the mean.
  at::Tensor Slice(const at::Tensor& batch) const;

 private:
  struct Group;  // c10d's, empty for one process
  DataParallel(Rank rank, std::unique_ptr<Group> group);

  const Rank rank_;
  const std::unique_ptr<Group> group_;
};

}  // namespace repro

#endif  // REPRO_COMMON_TRAIN_DATA_PARALLEL_H_
