#include <filesystem>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/assets/asset_store.h"
#include "common/claims/experiment.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "tools/bundle/bundle.h"
#include "tools/commands.h"

namespace repro {
namespace {

namespace fs = std::filesystem;

constexpr char kKernels[] = "kernels";

// What ./repro builds besides the program, in ../kernels from it.
struct Part {
  const char* name;
  const char* folder;  // in the bundle
  const char* without;
};
constexpr Part kParts[] = {
    {"librepro_kernels.so", "lib/", "not to be loaded in Python"},
    {"librepro_kernels_cuda.so", "lib/",
     "no CUDA kernels; build with --config=cuda"},
    {"cuda_test", "", "no test of the CUDA kernels"},
    {"benchmark", "", "no benchmark of the kernels"},
};

absl::Status AddBinary(const fs::path& source, const std::string& path,
                       std::vector<BundleFile>* files,
                       std::map<std::string, std::string>* libraries) {
  REPRO_ASSIGN_OR_RETURN(std::string content, StrippedContent(source));
  files->push_back({path, "", std::move(content), true});
  REPRO_ASSIGN_OR_RETURN(const auto needed, SharedLibraries(source));
  libraries->insert(needed.begin(), needed.end());
  return absl::OkStatus();
}

// Where the program in the bundle finds the file: below a folder of
// REPRO_ASSETS, or in the cache, <sha256>/<file name>.
std::string BundlePath(const Asset& asset, const LocatedAsset& located) {
  for (const AssetSource& source : asset.sources()) {
    if (source.has_folder_path() && source.sha256() == located.sha256) {
      return absl::StrCat("assets/", source.folder_path());
    }
  }
  return absl::StrCat("cache/repro/assets/", located.sha256, "/",
                      fs::path(located.path).filename().string());
}

}  // namespace

absl::StatusOr<int> BundleCommand(const std::vector<std::string>& papers,
                                  const std::string& out) {
  REPRO_RETURN_IF_ERROR(CheckBundleName(out));
  std::vector<BundleFile> files;
  std::set<std::string> asset_paths;
  int missing = 0;
  for (const std::string& slug : papers) {
    if (slug == kKernels) continue;
    REPRO_ASSIGN_OR_RETURN(const Paper* paper,
                           Registry::Global().FindPaper(slug));
    AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
    options.paper = slug;
    const AssetStore store(options);
    for (const Asset& asset : paper->assets()) {
      const absl::StatusOr<LocatedAsset> located = store.Locate(asset);
      if (absl::IsNotFound(located.status())) {
        std::cerr << "repro: not in the bundle: " << located.status().message()
                  << "\n";
        ++missing;
        continue;
      }
      REPRO_RETURN_IF_ERROR(located.status());
      const std::string path = BundlePath(asset, *located);
      if (!asset_paths.insert(path).second) continue;
      files.push_back({path, located->path, "", false});
    }
  }

  std::error_code error;
  const fs::path program = fs::canonical("/proc/self/exe", error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot tell where this program lies (/proc/self/exe: ",
                     error.message(), ")"));
  }
  std::map<std::string, std::string> libraries;
  REPRO_RETURN_IF_ERROR(AddBinary(program, "repro", &files, &libraries));
  for (const Part& part : kParts) {
    const fs::path source =
        program.parent_path().parent_path() / kKernels / part.name;
    if (!fs::exists(source)) {
      std::cerr << "repro: not in the bundle: " << part.name << ": "
                << part.without << "\n";
      continue;
    }
    REPRO_RETURN_IF_ERROR(AddBinary(
        source, absl::StrCat(part.folder, part.name), &files, &libraries));
  }
  for (const auto& [name, path] : libraries) {
    files.push_back({absl::StrCat("lib/", name), path, "", false});
  }
  files.push_back({"run.sh", "", RunScript(TorchVersion()), true});

  const size_t num_files = files.size();
  REPRO_RETURN_IF_ERROR(WriteBundle(std::move(files), out));
  std::cout << out << ": " << num_files << " files, " << asset_paths.size()
            << " of them assets";
  if (missing > 0) std::cout << " (" << missing << " missing)";
  std::cout << absl::StrFormat(", %.1f MB; unpack it and ./run.sh --help\n",
                               fs::file_size(out) / 1e6);
  return kExitOk;
}

}  // namespace repro
