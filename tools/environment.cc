#include "tools/environment.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "tools/build_info.h"

namespace repro {
namespace {

// PRETTY_NAME of /etc/os-release.
std::string SystemName() {
  std::ifstream release("/etc/os-release");
  std::string line;
  while (std::getline(release, line)) {
    absl::string_view value = line;
    if (absl::ConsumePrefix(&value, "PRETTY_NAME=")) {
      absl::ConsumePrefix(&value, "\"");
      absl::ConsumeSuffix(&value, "\"");
      return std::string(value);
    }
  }
  utsname name;
  return uname(&name) == 0 ? absl::StrCat(name.sysname, " ", name.release)
                           : "unknown";
}

}  // namespace

Build ThisBuild() {
  Build build;
  build.set_commit(kBuildCommit);
  build.set_modified(kBuildModified);
  build.set_compiler(absl::StrCat("g++ ", __VERSION__));
  build.set_torch(TorchVersion());
#ifdef NDEBUG
  build.set_mode("opt");
#else
  build.set_mode("dbg");
#endif
  return build;
}

Machine ThisMachine() {
  Machine machine;
  machine.set_cpu(DeviceName(c10::Device(c10::kCPU)));
  machine.set_cores(std::thread::hardware_concurrency());
  machine.set_memory_gb(double(sysconf(_SC_PHYS_PAGES)) *
                        sysconf(_SC_PAGE_SIZE) / (1 << 30));
  machine.set_system(SystemName());
  return machine;
}

absl::StatusOr<RunEnvironment> MakeEnvironment(const std::string& device) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device parsed, ParseDevice(device));
  RunEnvironment environment;
  environment.build = ThisBuild();
  environment.machine = ThisMachine();
  environment.device_name = DeviceName(parsed);
  if (!parsed.is_cpu()) {
    environment.machine.set_gpu(environment.device_name);
  }
  return environment;
}

}  // namespace repro
