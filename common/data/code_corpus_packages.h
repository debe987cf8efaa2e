// Source code that installs by name: Debian packages, read without installing
// them.
#ifndef REPRO_COMMON_DATA_CODE_CORPUS_PACKAGES_H_
#define REPRO_COMMON_DATA_CODE_CORPUS_PACKAGES_H_

#include <cstdint>
#include <functional>
#include <map>
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

// The packages of Debian 12 that hold much documented code of a language. One
// may hold code of several.
std::vector<std::string> CorpusPackages(code::CodeLanguage language);

// Asks `apt-get --print-uris download` for all of them at once, by name.
// NotFound: apt does not know one (perhaps `apt-get update` was never run);
// Unavailable: there is no apt.
absl::StatusOr<std::map<std::string, DebianPackage>> FindDebianPackages(
    const std::vector<std::string>& names);

// The output of that command: 'http://…/a_1.0_all.deb' a_1.0_all.deb 123
// SHA256:… InvalidArgument for a line of another form, with the line, and for a
// name that has none.
absl::StatusOr<std::map<std::string, DebianPackage>> ParsePrintUris(
    absl::string_view output, const std::vector<std::string>& names);

// The path behind the folder that Debian installs a language's libraries in:
// "mail/message.rb" for "usr/lib/ruby/vendor_ruby/mail/message.rb". The path
// itself if it is in none of these.
std::string PathInSources(absl::string_view path);

// Called with each file of a package; a status that is not OK ends the reading.
using PackageFile =
    std::function<absl::Status(const std::string& path, std::string content)>;

// Called with each symbolic link of a package, wanted or not.
using PackageLink =
    std::function<void(const std::string& path, const std::string& target)>;

// The regular files of a .deb that `wanted` names, paths without a leading
// "./". A wanted src.zip is opened and its members follow as
// "…/src.zip/member", each asked for as well. `link` may be null.
// InvalidArgument: not a .deb; DataLoss: damaged; ResourceExhausted: a member
// beyond 256 MB.
absl::Status ReadDebianPackage(
    const std::string& path,
    const std::function<bool(const std::string& path)>& wanted,
    const PackageFile& file, const PackageLink& link = nullptr);

// The licences that a Debian copyright file names (its "License:" fields,
// behind a "Format:"), sorted; "see the file" alone if it is of another form.
std::vector<std::string> LicensesOf(absl::string_view copyright);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_CODE_CORPUS_PACKAGES_H_
