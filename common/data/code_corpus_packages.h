// Source code that installs by name: Debian packages, read without installing
// them.
#ifndef REPRO_COMMON_DATA_CODE_CORPUS_PACKAGES_H_
#define REPRO_COMMON_DATA_CODE_CORPUS_PACKAGES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"

namespace repro {

// What apt would download.
struct DebianPackage {
  std::string name;
  std::string version;
  std::string url;
  std::string sha256;
  int64_t bytes = 0;
};

// The packages of Debian 12 that hold much code of a language.
std::vector<std::string> CorpusPackages(code::CodeLanguage language);

// Asks `apt-get --print-uris download`. NotFound: apt knows no such package
// (perhaps `apt-get update` was never run); Unavailable: there is no apt.
absl::StatusOr<DebianPackage> FindDebianPackage(const std::string& name);

// The output of that command: 'http://…/a_1.0_all.deb' a_1.0_all.deb 123
// SHA256:… InvalidArgument, with the line, for anything else.
absl::StatusOr<DebianPackage> ParsePrintUris(absl::string_view output,
                                             const std::string& name);

// Called with each file of a package; a status that is not OK ends the reading.
using PackageFile =
    std::function<absl::Status(const std::string& path, std::string content)>;

// The regular files of a .deb that `wanted` names, links left out, paths
// without a leading "./". A wanted src.zip is opened and its members follow as
// "…/src.zip/member", each asked for as well. InvalidArgument: not a .deb;
// DataLoss: damaged; ResourceExhausted: a member beyond 256 MB.
absl::Status ReadDebianPackage(
    const std::string& path,
    const std::function<bool(const std::string& path)>& wanted,
    const PackageFile& file);

// The licences that a Debian copyright file names (its "License:" fields),
// sorted; "see the file" alone if it names none in that form.
std::vector<std::string> LicensesOf(absl::string_view copyright);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_CODE_CORPUS_PACKAGES_H_
