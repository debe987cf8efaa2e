#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/assets/asset_store.h"
#include "common/tensor/device.h"
#include "tools/commands.h"
#include "tools/environment.h"
#include "tools/terminal.h"

namespace repro {
namespace {

// The path of a program, or empty.
std::string Which(const std::string& program) {
  const char* path = std::getenv("PATH");
  for (const absl::string_view folder :
       absl::StrSplit(path == nullptr ? "/usr/bin" : path, ':')) {
    const std::string file = absl::StrCat(folder, "/", program);
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return "";
}

std::string FirstLine(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// A thing that a machine may lack, and what then does not work.
struct Check {
  std::string name;
  std::string found;  // empty: missing
  std::string without_it;
};

}  // namespace

absl::StatusOr<int> DoctorCommand(Format format) {
  const Build build = ThisBuild();
  const Machine machine = ThisMachine();
  const AssetStoreOptions assets = AssetStoreOptions::FromEnvironment();
  const auto cuda = ParseDevice("cuda");

  std::vector<Check> checks = {
      {"CUDA device", cuda.ok() ? DeviceName(*cuda) : "",
       absl::StrCat("claims that need a GPU are NOT_RUN (",
                    FirstLine(std::string(cuda.status().message())), ")")},
      {"nvcc", Which("nvcc"), "--config=cuda does not build"},
      {"bazel", Which("bazel"), "nothing builds; ./repro installs it"},
      {"python3", Which("python3"),
       "assets from Python wheels cannot be fetched"},
      {"gnuplot", Which("gnuplot"), "reports have no plots"},
      {"chromium", Which("chromium"), "the report's browser test is skipped"},
      {"clang-format", Which("clang-format"), "formatting is not checked"},
      {"clang-tidy", Which("clang-tidy"), "clang-tidy is not run"},
  };
  std::string roots;
  for (const std::string& root : assets.roots) {
    absl::StrAppend(&roots, roots.empty() ? "" : ":", root,
                    std::filesystem::is_directory(root) ? "" : " (no folder)");
  }
  checks.push_back({"REPRO_ASSETS", roots,
                    "assets without a public home are missing; see "
                    "`repro show PAPER`"});
  checks.push_back({"asset cache", assets.cache_dir, ""});

  if (format == Format::kJson) {
    nlohmann::json list = nlohmann::json::array();
    for (const Check& check : checks) {
      list.push_back(
          {{"name", check.name},
           {"found", check.found},
           {"without_it", check.found.empty() ? check.without_it : ""}});
    }
    std::cout << nlohmann::json({{"version", 1},
                                 {"commit", build.commit()},
                                 {"modified", build.modified()},
                                 {"compiler", build.compiler()},
                                 {"torch", build.torch()},
                                 {"cpu", machine.cpu()},
                                 {"cores", machine.cores()},
                                 {"memory_gb", machine.memory_gb()},
                                 {"system", machine.system()},
                                 {"checks", list}})
                     .dump(2)
              << "\n";
    return kExitOk;
  }
  std::cout << "repro " << build.commit().substr(0, 12)
            << (build.modified() ? " (modified)" : "") << ", "
            << build.compiler() << ", LibTorch " << build.torch() << "\n"
            << machine.system() << ", " << machine.cpu() << ", "
            << machine.cores() << " cores, "
            << absl::StrFormat("%.1f GB", machine.memory_gb()) << "\n\n";
  TextTable table({"what", "found", "without it"});
  for (const Check& check : checks) {
    table.AddRow({check.name, check.found.empty() ? "missing" : check.found,
                  check.found.empty() ? check.without_it : ""});
  }
  std::cout << table.ToText();
  return kExitOk;
}

}  // namespace repro
