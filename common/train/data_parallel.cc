#include "common/train/data_parallel.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

// LibTorch's wheel has Gloo but not Gloo's headers. BUILD makes empty ones, and
// this is what ProcessGroupGloo.hpp names of them. None of it reaches the
// object file: ProcessGroupGloo holds Gloo's objects by shared_ptr, and its
// virtual tables are in the library.
namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};
namespace transport {
class Device;
class UnboundBuffer;
}  // namespace transport
namespace rendezvous {
class Store {
 public:
  virtual ~Store();
  virtual void set(const std::string&, const std::vector<char>&) = 0;
  virtual std::vector<char> get(const std::string&) = 0;
  virtual void wait(const std::vector<std::string>&) = 0;
  virtual void wait(const std::vector<std::string>&,
                    const std::chrono::milliseconds&) = 0;
};
}  // namespace rendezvous
}  // namespace gloo

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

namespace repro {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A whole number of [low, high].
absl::StatusOr<int> NumberFrom(const char* name, int low, int high) {
  const std::string text = Variable(name);
  if (text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " is not set: with WORLD_SIZE=", Variable("WORLD_SIZE"),
        " every process needs RANK, MASTER_ADDR and MASTER_PORT, as torchrun "
        "sets them"));
  }
  int value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < low || value > high) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is '", text, "': give a whole number from ", low,
                     " to ", high));
  }
  return value;
}

// c10d's exceptions as a status.
absl::Status Catch(absl::StatusCode code, const std::string& what,
                   const std::function<void()>& body) {
  try {
    body();
  } catch (const c10::Error& error) {
    return absl::Status(code,
                        absl::StrCat(what, error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::Status(code, absl::StrCat(what, error.what()));
  }
  return absl::OkStatus();
}

}  // namespace

struct DataParallel::Group {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;

  void Sum(at::Tensor tensor) {
    std::vector<at::Tensor> tensors = {std::move(tensor)};
    gloo->allreduce(tensors)->wait();
  }
  void BroadcastFromZero(at::Tensor tensor) {
    std::vector<at::Tensor> tensors = {std::move(tensor)};
    gloo->broadcast(tensors)->wait();
  }
};

absl::StatusOr<Rank> RankFromEnvironment() {
  Rank rank;
  if (Variable("WORLD_SIZE").empty()) return rank;
  constexpr int kMaxProcesses = 1 << 20;
  REPRO_ASSIGN_OR_RETURN(rank.world_size,
                         NumberFrom("WORLD_SIZE", 1, kMaxProcesses));
  if (rank.world_size == 1 && Variable("RANK").empty()) return rank;
  REPRO_ASSIGN_OR_RETURN(rank.rank, NumberFrom("RANK", 0, rank.world_size - 1));
  if (rank.world_size == 1) return rank;
  rank.master_address = Variable("MASTER_ADDR");
  if (rank.master_address.empty()) {
    return absl::InvalidArgumentError(
        "MASTER_ADDR is not set: give the host name of the process of rank 0");
  }
  REPRO_ASSIGN_OR_RETURN(rank.master_port, NumberFrom("MASTER_PORT", 1, 65535));
  return rank;
}

DataParallel::DataParallel(Rank rank, std::unique_ptr<Group> group)
    : rank_(std::move(rank)), group_(std::move(group)) {}

DataParallel::~DataParallel() = default;

absl::StatusOr<std::unique_ptr<DataParallel>> DataParallel::FromEnvironment(
    absl::Duration timeout) {
  REPRO_ASSIGN_OR_RETURN(const Rank rank, RankFromEnvironment());
  auto group = std::make_unique<Group>();
  if (rank.world_size > 1) {
    const std::string what = absl::StrCat(
        "rank ", rank.rank, " of ", rank.world_size, ": not all met at ",
        rank.master_address, ":", rank.master_port, " within ",
        absl::FormatDuration(timeout),
        " (is every process started, and the port open?): ");
    REPRO_RETURN_IF_ERROR(Catch(absl::StatusCode::kDeadlineExceeded, what, [&] {
      c10d::TCPStoreOptions options;
      options.port = rank.master_port;
      // torchrun's agent may already listen there.
      options.isServer =
          rank.rank == 0 && Variable("TORCHELASTIC_USE_AGENT_STORE") != "True";
      options.numWorkers = rank.world_size;
      options.timeout = absl::ToChronoMilliseconds(timeout);
      // The agent's store outlives an attempt, and the keys with it.
      group->store = c10::make_intrusive<c10d::PrefixStore>(
          "repro/" + Variable("TORCHELASTIC_RESTART_COUNT"),
          c10::make_intrusive<c10d::TCPStore>(rank.master_address, options));
      group->gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(
          group->store, rank.rank, rank.world_size,
          c10d::ProcessGroupGloo::Options::create_default(options.timeout));
    }));
  }
  return std::unique_ptr<DataParallel>(
      new DataParallel(rank, std::move(group)));
}

absl::Status DataParallel::Broadcast(const Module& module) {
  if (world_size() == 1) return absl::OkStatus();
  return Catch(absl::StatusCode::kUnavailable, "broadcast: ", [&] {
    at::NoGradGuard no_grad;
    for (const NamedTensors& list :
         {module.NamedParameters(), module.NamedBuffers()}) {
      for (const auto& [name, tensor] : list) {
        const at::Tensor value = tensor.detach().cpu().contiguous();
        group_->BroadcastFromZero(value);
        tensor.copy_(value);
      }
    }
  });
}

absl::Status DataParallel::Average(const std::vector<at::Tensor>& tensors) {
  if (world_size() == 1 || tensors.empty()) return absl::OkStatus();
  return Catch(absl::StatusCode::kUnavailable, "all-reduce: ", [&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> pieces;
    pieces.reserve(tensors.size());
    for (const at::Tensor& t : tensors) pieces.push_back(t.reshape({-1}));
    at::Tensor bucket = at::cat(pieces).cpu();
    group_->Sum(bucket);
    bucket.div_(world_size());
    int64_t start = 0;
    for (const at::Tensor& t : tensors) {
      t.copy_(bucket.narrow(0, start, t.numel()).view(t.sizes()));
      start += t.numel();
    }
  });
}

absl::Status DataParallel::AverageGradients(
    const std::vector<at::Tensor>& parameters) {
  if (world_size() == 1 || parameters.empty()) return absl::OkStatus();
  // Each gradient, then the share of processes that have it.
  std::vector<at::Tensor> tensors;
  tensors.reserve(2 * parameters.size());
  for (const at::Tensor& p : parameters) {
    const at::Tensor& grad = p.grad();
    tensors.push_back(grad.defined() ? grad : at::zeros_like(p.detach()));
  }
  for (const at::Tensor& p : parameters) {
    tensors.push_back(
        at::full({1}, p.grad().defined() ? 1 : 0, p.detach().options()));
  }
  REPRO_RETURN_IF_ERROR(Average(tensors));
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& p = parameters[i];
    if (!p.grad().defined() &&
        tensors[parameters.size() + i].item<double>() > 0) {
      p.mutable_grad() = tensors[i];
    }
  }
  return absl::OkStatus();
}

at::Tensor DataParallel::Slice(const at::Tensor& batch) const {
  TORCH_CHECK(batch.dim() > 0 && batch.size(0) % world_size() == 0,
              "a batch of shape ", batch.sizes(), " is not ", world_size(),
              " equal parts: choose a batch size that divides");
  const int64_t rows = batch.size(0) / world_size();
  return batch.narrow(0, rank() * rows, rows);
}

}  // namespace repro
