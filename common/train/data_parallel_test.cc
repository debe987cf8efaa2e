// The binary starts itself once per rank, with kMode set, to be the processes
// of a run; main() at the end.
#include "common/train/data_parallel.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <arpa/inet.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/nn/layers.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/train/checkpoint.h"
#include "common/train/optimizer.h"
#include "common/train/trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::HasSubstr;

constexpr char kMode[] = "DATA_PARALLEL_TEST_MODE";
constexpr char kFolder[] = "DATA_PARALLEL_TEST_FOLDER";
constexpr int kWorkerSeconds = 40;
constexpr int kNumSteps = 20;

class Mlp : public Module {
 public:
  Mlp(uint64_t seed, at::ScalarType dtype)
      : init_(MakeGenerator(seed), dtype),
        up_(AddModule<Linear>("up", 3, 8, init_)),
        down_(AddModule<Linear>("down", 8, 2, init_)),
        // Not contiguous.
        offset_(AddBuffer(
            "offset",
            at::full({2, 2}, static_cast<double>(seed), dtype).select(1, 0))) {}
  at::Tensor Forward(const at::Tensor& x) const {
    return down_->Forward(up_->Forward(x).tanh()) + offset_;
  }

 private:
  Initializer init_;
  Linear* up_;
  Linear* down_;
  at::Tensor offset_;
};

// Trains on this process's part of batches of 8. Returns the parameters and
// buffers; the initial ones differ among ranks but for the broadcast.
absl::StatusOr<NamedTensors> TrainMlp(DataParallel& parallel,
                                      at::ScalarType dtype, int64_t num_steps,
                                      const std::string& checkpoint_path) {
  Mlp model(/*seed=*/1 + parallel.rank(), dtype);
  REPRO_RETURN_IF_ERROR(parallel.Broadcast(model));
  const std::vector<at::Tensor> parameters = model.Parameters();
  SgdOptions sgd;
  sgd.rate = 0.1;
  sgd.momentum = 0.9;
  const std::unique_ptr<Optimizer> optimizer = MakeSgd(parameters, sgd);
  TrainOptions options;
  options.num_steps = num_steps;
  options.checkpoint_path = checkpoint_path;
  options.write_checkpoint = parallel.rank() == 0;
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  const auto loss_of = [&](int64_t step) {
    const at::Tensor batch =
        at::randn({8, 3}, MakeGenerator(7, step), at::kDouble);
    const at::Tensor x = parallel.Slice(batch).to(dtype);
    const at::Tensor y = x.narrow(1, 0, 2).sin() * 2;
    at::Tensor loss = (model.Forward(x) - y).square().mean();
    loss.backward();
    loss = loss.detach();
    absl::Status status = parallel.AverageGradients(parameters);
    if (status.ok()) status = parallel.Average({loss});
    TORCH_CHECK(status.ok(), status.ToString());
    return loss.requires_grad_();
  };
  REPRO_ASSIGN_OR_RETURN(const TrainResult result,
                         Train(options, state, loss_of));
  NamedTensors out = model.NamedParameters();
  for (const auto& buffer : model.NamedBuffers()) out.push_back(buffer);
  out.emplace_back("loss", at::full({}, result.last_loss, at::kDouble));
  return out;
}

// What a process of a run does; its results, by name.
absl::StatusOr<Checkpoint> Work(const std::string& mode,
                                const std::string& folder) {
  REPRO_ASSIGN_OR_RETURN(
      const std::unique_ptr<DataParallel> parallel,
      DataParallel::FromEnvironment(absl::Seconds(kWorkerSeconds / 2)));
  Checkpoint out;
  if (mode == "train" || mode == "resume") {
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      const std::string type = c10::toString(dtype);
      std::string path;
      if (mode == "resume") {
        path = absl::StrCat(folder, "/", type, ".pt");
        REPRO_RETURN_IF_ERROR(
            TrainMlp(*parallel, dtype, kNumSteps / 3, path).status());
        // Rank 0 has written the file when all ranks are past this.
        REPRO_RETURN_IF_ERROR(parallel->Average({at::zeros({1})}));
      }
      REPRO_ASSIGN_OR_RETURN(const NamedTensors trained,
                             TrainMlp(*parallel, dtype, kNumSteps, path));
      for (const auto& [name, tensor] : trained) {
        out.tensors[absl::StrCat(type, "/", name)] = tensor.detach();
      }
    }
  } else if (mode == "gradients") {
    // The first parameter has a gradient on rank 0 alone, the second on none,
    // the third, of another dtype, on both.
    std::vector<at::Tensor> parameters = {at::zeros({2, 2}), at::zeros({3}),
                                          at::zeros({2}, at::kDouble)};
    for (at::Tensor& p : parameters) p.requires_grad_();
    if (parallel->rank() == 0) {
      parameters[0].mutable_grad() = at::full({2, 2}, 5.0).t();
    }
    parameters[2].mutable_grad() =
        at::full({2}, 1.0 + parallel->rank(), at::kDouble);
    REPRO_RETURN_IF_ERROR(parallel->AverageGradients(parameters));
    out.tensors["first"] = parameters[0].grad();
    out.texts["second"] = parameters[1].grad().defined() ? "made" : "none";
    out.tensors["third"] = parameters[2].grad();
  } else if (mode == "leave" && parallel->rank() == 0) {
    out.texts["status"] = parallel->Average({at::zeros({4})}).ToString();
  }
  return out;
}

int WorkerMain() {
  alarm(kWorkerSeconds);  // ends this process, whatever it hangs in
  const std::string folder = std::getenv(kFolder);
  const absl::StatusOr<Checkpoint> out = Work(std::getenv(kMode), folder);
  absl::Status status = out.status();
  if (status.ok()) {
    status = WriteCheckpoint(absl::StrCat(folder, "/rank", std::getenv("RANK")),
                             *out);
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

// A port of 127.0.0.1 that nothing listens on.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

pid_t Start(const std::vector<std::string>& variables) {
  std::vector<char*> environment;
  environment.reserve(variables.size());
  for (const std::string& v : variables) {
    environment.push_back(const_cast<char*>(v.c_str()));
  }
  for (char** v = environ; *v != nullptr; ++v) environment.push_back(*v);
  environment.push_back(nullptr);
  char self[] = "/proc/self/exe";
  char* arguments[] = {self, nullptr};
  pid_t pid = -1;
  EXPECT_EQ(
      posix_spawn(&pid, self, nullptr, nullptr, arguments, environment.data()),
      0);
  return pid;
}

// Runs `mode` in two processes and returns what they leave.
std::vector<Checkpoint> RunRanks(const std::string& mode) {
  std::string folder = testing::TempDir() + "/data_parallel_XXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  const int port = FreePort();
  std::vector<pid_t> pids;
  pids.reserve(2);
  for (int rank = 0; rank < 2; ++rank) {
    pids.push_back(Start(
        {absl::StrCat(kMode, "=", mode), absl::StrCat(kFolder, "=", folder),
         absl::StrCat("RANK=", rank), "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1",
         absl::StrCat("MASTER_PORT=", port), "GLOO_SOCKET_IFNAME=lo",
         "OMP_NUM_THREADS=1"}));
  }
  std::vector<Checkpoint> out;
  for (int rank = 0; rank < 2; ++rank) {
    int status = -1;  // the alarm of WorkerMain bounds the wait
    EXPECT_EQ(waitpid(pids[rank], &status, 0), pids[rank]);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
        << "rank " << rank << ": status " << status;
    auto result = ReadCheckpoint(absl::StrCat(folder, "/rank", rank));
    EXPECT_TRUE(result.ok()) << result.status();
    out.push_back(result.ok() ? *std::move(result) : Checkpoint());
  }
  return out;
}

// Sets the variables of a run for one test; empty: not set.
class DataParallelTest : public testing::Test {
 protected:
  void Set(const char* rank, const char* world_size, const char* address,
           const std::string& port) {
    setenv("RANK", rank, 1);
    setenv("WORLD_SIZE", world_size, 1);
    setenv("MASTER_ADDR", address, 1);
    setenv("MASTER_PORT", port.c_str(), 1);
  }
  void SetUp() override { Set("", "", "", ""); }
  void TearDown() override { Set("", "", "", ""); }

  std::string Error() {
    const absl::Status status = RankFromEnvironment().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DataParallel::FromEnvironment().status(), status);
    return std::string(status.message());
  }

  // Two processes give what this one gives on whole batches.
  void ExpectOneProcessResult(const std::vector<Checkpoint>& ranks) {
    const auto parallel = DataParallel::FromEnvironment();
    ASSERT_TRUE(parallel.ok()) << parallel.status();
    for (const auto& [dtype, tolerance] :
         {std::pair(at::kFloat, 1e-6), std::pair(at::kDouble, 1e-12)}) {
      const auto expected = TrainMlp(**parallel, dtype, kNumSteps, "");
      ASSERT_TRUE(expected.ok()) << expected.status();
      ASSERT_EQ(expected->size(), 6);
      for (const auto& [name, tensor] : *expected) {
        for (const Checkpoint& rank : ranks) {
          const auto found =
              rank.tensors.find(absl::StrCat(c10::toString(dtype), "/", name));
          ASSERT_NE(found, rank.tensors.end()) << name;
          EXPECT_THAT(found->second,
                      IsCloseTo(tensor.detach(), /*rtol=*/0, tolerance))
              << name;
        }
      }
    }
  }
};

TEST_F(DataParallelTest, TwoProcessesGiveTheOneProcessResult) {
  ExpectOneProcessResult(RunRanks("train"));
}

TEST_F(DataParallelTest, AllRanksResumeFromRankZerosCheckpoint) {
  ExpectOneProcessResult(RunRanks("resume"));
}

TEST_F(DataParallelTest, MissingGradientsCountAsZero) {
  for (const Checkpoint& rank : RunRanks("gradients")) {
    ASSERT_EQ(rank.tensors.size(), 2);
    EXPECT_THAT(rank.tensors.at("first"), IsIdenticalTo(at::full({2, 2}, 2.5)));
    EXPECT_EQ(rank.texts.at("second"), "none");
    EXPECT_THAT(rank.tensors.at("third"),
                IsIdenticalTo(at::full({2}, 1.5, at::kDouble)));
  }
}

TEST_F(DataParallelTest, ProcessThatLeavesIsAnError) {
  EXPECT_THAT(RunRanks("leave")[0].texts["status"],
              HasSubstr("UNAVAILABLE: all-reduce: "));
}

TEST_F(DataParallelTest, OneProcess) {
  for (const char* world_size : {"", "1"}) {
    Set("", world_size, "", "");
    const auto parallel = DataParallel::FromEnvironment();
    ASSERT_TRUE(parallel.ok()) << parallel.status();
    EXPECT_EQ((*parallel)->rank(), 0);
    EXPECT_EQ((*parallel)->world_size(), 1);
    const at::Tensor value = at::full({2}, 3.0);
    EXPECT_TRUE((*parallel)->Average({value}).ok());
    EXPECT_THAT(value, IsIdenticalTo(at::full({2}, 3.0)));
    EXPECT_THAT((*parallel)->Slice(value), IsIdenticalTo(value));
    EXPECT_THROW((*parallel)->Slice(at::full({}, 1)), c10::Error);
  }
}

TEST_F(DataParallelTest, Rank) {
  Set("2", "4", "node0", "29500");
  const auto rank = RankFromEnvironment();
  ASSERT_TRUE(rank.ok()) << rank.status();
  EXPECT_EQ(rank->rank, 2);
  EXPECT_EQ(rank->world_size, 4);
  EXPECT_EQ(rank->master_address, "node0");
  EXPECT_EQ(rank->master_port, 29500);
}

TEST_F(DataParallelTest, MalformedEnvironment) {
  Set("", "2", "127.0.0.1", "29500");
  EXPECT_THAT(Error(), HasSubstr("RANK is not set: with WORLD_SIZE=2"));
  Set("0", "2", "", "29500");
  EXPECT_THAT(Error(), HasSubstr("MASTER_ADDR is not set"));
  Set("0", "2", "127.0.0.1", "");
  EXPECT_THAT(Error(), HasSubstr("MASTER_PORT is not set"));
  Set("2", "2", "127.0.0.1", "29500");
  EXPECT_THAT(Error(),
              HasSubstr("RANK is '2': give a whole number from 0 to 1"));
  Set("1", "1", "", "");
  EXPECT_THAT(Error(), HasSubstr("RANK is '1'"));
  Set("-1", "2", "127.0.0.1", "29500");
  EXPECT_THAT(Error(), HasSubstr("RANK is '-1'"));
  Set("0", "two", "127.0.0.1", "29500");
  EXPECT_THAT(Error(), HasSubstr("WORLD_SIZE is 'two'"));
  Set("0", "0", "127.0.0.1", "29500");
  EXPECT_THAT(Error(), HasSubstr("WORLD_SIZE is '0'"));
  Set("0", "2", "127.0.0.1", "65536");
  EXPECT_THAT(Error(), HasSubstr("MASTER_PORT is '65536'"));
}

// Nobody listens; and rank 0 waits for a rank 1 that never comes.
TEST_F(DataParallelTest, AbsentProcessesAreADeadline) {
  for (const char* rank : {"1", "0"}) {
    const std::string port = absl::StrCat(FreePort());
    Set(rank, "2", "127.0.0.1", port);
    const absl::Status status =
        DataParallel::FromEnvironment(absl::Seconds(2)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("127.0.0.1:" + port));
  }
}

TEST_F(DataParallelTest, CheckpointThatIsNotToBeWritten) {
  const std::string path = testing::TempDir() + "/data_parallel_unwritten.pt";
  Mlp model(1, at::kFloat);
  const std::unique_ptr<Optimizer> optimizer = MakeSgd(model.Parameters(), {});
  TrainOptions options;
  options.num_steps = 1;
  options.checkpoint_path = path;
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  for (const bool write : {false, true}) {
    options.write_checkpoint = write;
    const auto result = Train(options, state, [&](int64_t) {
      return model.Forward(at::zeros({1, 3})).sum();
    });
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(access(path.c_str(), F_OK) == 0, write);
  }
  unlink(path.c_str());
}

}  // namespace

int DataParallelTestMain(int argc, char** argv) {
  if (std::getenv(kMode) != nullptr) return WorkerMain();
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}

}  // namespace repro

int main(int argc, char** argv) {
  return repro::DataParallelTestMain(argc, argv);
}
