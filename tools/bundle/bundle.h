// What `repro bundle` packs and how: files of a program for a machine that has
// LibTorch and no Bazel.
#ifndef REPRO_TOOLS_BUNDLE_BUNDLE_H_
#define REPRO_TOOLS_BUNDLE_BUNDLE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace repro {

struct BundleFile {
  std::string path;  // in the bundle, "lib/libz.so.1"
  // The file to copy, or, where that is empty, the content.
  std::string source;
  std::string content;
  bool executable = false;
};

// Checks that WriteBundle knows the ending of `path`: .tar, .tar.gz, .tgz or
// .tar.zst.
absl::Status CheckBundleName(const std::string& path);

// Writes a tar with all files in one folder, named as the file without its
// ending. The same files give the same bytes: sorted, owner 0, time 0. On an
// error (named with what to do) nothing is left behind and an existing file
// stays as it was.
absl::Status WriteBundle(std::vector<BundleFile> files,
                         const std::string& path);

// name -> path of the shared libraries that `file` (a program or library)
// loads, but for those that the other machine has to bring: LibTorch with its
// CUDA and OpenMP libraries, and the C and C++ runtimes.
// Errors: NotFound for a library that this machine lacks.
absl::StatusOr<std::map<std::string, std::string>> SharedLibraries(
    const std::string& file);

// The content of a program or library without symbols that only a debugger
// reads; as it is, where there is no `strip`.
absl::StatusOr<std::string> StrippedContent(const std::string& file);

// The script that runs the program there, for the LibTorch it was built with.
std::string RunScript(const std::string& torch_version);

}  // namespace repro

#endif  // REPRO_TOOLS_BUNDLE_BUNDLE_H_
