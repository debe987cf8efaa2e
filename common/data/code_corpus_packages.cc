#include "common/data/code_corpus_packages.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/data/io.h"
#include "common/status/macros.h"

extern char** environ;

namespace repro {
namespace {

constexpr int64_t kMaxMemberBytes = int64_t{256} << 20;
constexpr int64_t kMaxOutputBytes = 1 << 20;

absl::Status CheckPackageName(const std::string& name) {
  const bool good =
      name.size() >= 2 && absl::ascii_isalnum(name[0]) &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+-.") ==
          std::string::npos;
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(name), " is not a name of a Debian package"));
}

// What a program prints, on both streams, and its exit code.
absl::StatusOr<std::pair<std::string, int>> Run(
    const std::vector<std::string>& arguments) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("pipe: ", strerror(errno)));
  }
  const absl::Cleanup close_read = [&] { close(ends[0]); };
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
  pid_t pid;
  const int error =
      posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start ", arguments[0], ": ", strerror(error)));
  }
  std::string output;
  char buffer[4096];
  while (true) {
    const ssize_t count = read(ends[0], buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    if (static_cast<int64_t>(output.size()) < kMaxOutputBytes) {
      output.append(buffer, count);
    }
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return std::pair(std::move(output),
                   WIFEXITED(status) ? WEXITSTATUS(status) : 128);
}

struct ArchiveDeleter {
  void operator()(struct archive* reader) const { archive_read_free(reader); }
};
using Reader = std::unique_ptr<struct archive, ArchiveDeleter>;

absl::Status Damaged(const std::string& name, struct archive* reader) {
  const char* why = archive_error_string(reader);
  return absl::DataLossError(
      absl::StrCat(name, ": damaged, or not what it should be: ",
                   why == nullptr ? "unknown error" : why));
}

absl::StatusOr<std::string> ReadMember(const std::string& name,
                                       struct archive* reader) {
  std::string content;
  std::vector<char> chunk(1 << 16);
  while (true) {
    const la_ssize_t count =
        archive_read_data(reader, chunk.data(), chunk.size());
    if (count < 0) return Damaged(name, reader);
    if (count == 0) return content;
    content.append(chunk.data(), count);
    if (static_cast<int64_t>(content.size()) > kMaxMemberBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(name, ": more than ", kMaxMemberBytes, " bytes"));
    }
  }
}

// Members that are regular files, of an archive in memory.
absl::Status ReadMembers(const std::string& name, const std::string& bytes,
                         const std::string& prefix,
                         const std::function<bool(const std::string&)>& wanted,
                         const PackageFile& file, const PackageLink& link) {
  const Reader reader(archive_read_new());
  if (reader == nullptr) return absl::InternalError("archive_read_new failed");
  archive_read_support_filter_all(reader.get());
  archive_read_support_format_tar(reader.get());
  archive_read_support_format_zip(reader.get());
  if (archive_read_open_memory(reader.get(), bytes.data(), bytes.size()) !=
      ARCHIVE_OK) {
    return Damaged(name, reader.get());
  }
  while (true) {
    struct archive_entry* entry;
    const int result = archive_read_next_header(reader.get(), &entry);
    if (result == ARCHIVE_EOF) return absl::OkStatus();
    if (result < ARCHIVE_WARN) return Damaged(name, reader.get());
    const char* pathname = archive_entry_pathname(entry);
    if (pathname == nullptr) continue;
    const std::string path =
        absl::StrCat(prefix, absl::StripPrefix(pathname, "./"));
    if (link != nullptr && archive_entry_symlink(entry) != nullptr) {
      link(path, archive_entry_symlink(entry));
    }
    if (archive_entry_filetype(entry) != AE_IFREG ||
        archive_entry_hardlink(entry) != nullptr || !wanted(path)) {
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(
        std::string content,
        ReadMember(absl::StrCat(name, ": ", path), reader.get()));
    if (prefix.empty() && absl::EndsWith(path, "/src.zip")) {
      REPRO_RETURN_IF_ERROR(ReadMembers(absl::StrCat(name, ": ", path), content,
                                        path + "/", wanted, file, nullptr));
    } else {
      REPRO_RETURN_IF_ERROR(file(path, std::move(content)));
    }
  }
}

}  // namespace

// A copy is left out as a duplicate, so packages that copy others come last.
std::vector<std::string> CorpusPackages(code::CodeLanguage language) {
  switch (language) {
    case code::CodeLanguage::kPython:
      return absl::StrSplit(
          "libpython3.11-minimal libpython3.11-stdlib python3-django "
          "python3-numpy python3-pandas python3-scipy python3-sklearn "
          "python3-sympy python3-networkx python3-sqlalchemy "
          "python3-twisted",
          ' ');
    case code::CodeLanguage::kJava:
      return absl::StrSplit("openjdk-17-source openjfx-source", ' ');
    case code::CodeLanguage::kJavaScript:
      return absl::StrSplit(
          "eslint libjs-angularjs libjs-chart.js libjs-codemirror "
          "libjs-jquery libjs-jquery-datatables libjs-jquery-tablesorter "
          "libjs-jquery-ui libjs-three mocha node-css-tree node-express "
          "node-less node-lodash node-nodemailer node-postcss node-sinon "
          "node-undici webpack mediawiki wordpress phpmyadmin "
          "roundcube-core dokuwiki",
          ' ');
    case code::CodeLanguage::kGo:
      return absl::StrSplit(
          "golang-1.19-src golang-golang-x-crypto-dev "
          "golang-golang-x-net-dev golang-golang-x-tools-dev "
          "golang-google-grpc-dev golang-etcd-server-dev "
          "golang-github-containers-image-dev "
          "golang-github-docker-docker-dev "
          "golang-github-go-git-go-git-dev "
          "golang-github-snapcore-snapd-dev",
          ' ');
    case code::CodeLanguage::kPhp:
      return absl::StrSplit(
          "composer php-doctrine-dbal php-doctrine-orm php-dompdf "
          "php-horde-imap-client php-illuminate-collections "
          "php-illuminate-database php-illuminate-routing "
          "php-illuminate-support php-laravel-framework php-nesbot-carbon "
          "php-phpseclib3 php-swiftmailer php-symfony-console "
          "php-symfony-dependency-injection php-symfony-form "
          "php-symfony-http-foundation php-symfony-http-kernel php-twig "
          "mediawiki wordpress phpmyadmin roundcube-core dokuwiki "
          "simplesamlphp",
          ' ');
    case code::CodeLanguage::kRuby:
      return absl::StrSplit(
          "libruby3.1 jekyll pry puppet-agent redmine rubocop "
          "ruby-actionpack ruby-actionview ruby-activemodel "
          "ruby-activerecord ruby-activesupport ruby-addressable "
          "ruby-asciidoctor ruby-aws-sdk ruby-capybara ruby-concurrent "
          "ruby-eventmachine ruby-grape ruby-graphql ruby-hamster "
          "ruby-mail ruby-mongo ruby-net-ssh ruby-nokogiri ruby-octokit "
          "ruby-prawn ruby-rack ruby-railties ruby-sass ruby-sequel "
          "ruby-sinatra ruby-thor vagrant yard",
          ' ');
    default:
      return {};
  }
}

absl::StatusOr<std::map<std::string, DebianPackage>> FindDebianPackages(
    const std::vector<std::string>& names) {
  std::vector<std::string> arguments = {
      "apt-get", "-o", "APT::Sandbox::User=root", "--print-uris", "download"};
  for (const std::string& name : names) {
    REPRO_RETURN_IF_ERROR(CheckPackageName(name));
    arguments.push_back(name);
  }
  const auto ran = Run(arguments);
  if (!ran.ok()) {
    return absl::UnavailableError(absl::StrCat(
        ran.status().message(), ": the packages are Debian's, by its apt"));
  }
  const auto& result = *ran;
  if (result.second != 0) {
    return absl::NotFoundError(absl::StrCat(
        "apt-get does not know all packages (",
        absl::StrReplaceAll(absl::StripAsciiWhitespace(result.first),
                            {{"\n", "; "}}),
        "): run `apt-get update`, on Debian 12 with its `main` archive"));
  }
  return ParsePrintUris(result.first, names);
}

absl::StatusOr<std::map<std::string, DebianPackage>> ParsePrintUris(
    absl::string_view output, const std::vector<std::string>& names) {
  std::map<std::string, DebianPackage> packages;
  for (const absl::string_view line : absl::StrSplit(output, '\n')) {
    if (!absl::StartsWith(line, "'")) continue;  // notices
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    DebianPackage package;
    // name_version_architecture.deb, with ':' as %3a.
    std::vector<std::string> parts;
    if (fields.size() == 4) parts = absl::StrSplit(fields[1], '_');
    if (parts.size() != 3 || !absl::EndsWith(fields[0], "'") ||
        !absl::EndsWith(fields[1], ".deb") ||
        !absl::SimpleAtoi(fields[2], &package.bytes) || package.bytes <= 0 ||
        !absl::StartsWith(fields[3], "SHA256:") || fields[3].size() != 7 + 64) {
      return absl::InvalidArgumentError(
          absl::StrCat("apt-get --print-uris download: ", Quoted(line),
                       " is not URL, file, size and SHA256"));
    }
    package.name = parts[0];
    package.version = absl::StrReplaceAll(parts[1], {{"%3a", ":"}});
    package.url = std::string(fields[0].substr(1, fields[0].size() - 2));
    package.sha256 = std::string(fields[3].substr(7));
    packages[package.name] = std::move(package);
  }
  for (const std::string& name : names) {
    if (packages.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "apt-get --print-uris download ", name,
          " printed no URL: ", Quoted(absl::StripAsciiWhitespace(output))));
    }
  }
  return packages;
}

std::string PathInSources(absl::string_view path) {
  for (const absl::string_view folder :
       {"usr/lib/ruby/vendor_ruby/", "usr/lib/ruby/gems/",
        "usr/share/rubygems-integration/all/gems/", "usr/lib/ruby/",
        "usr/lib/python3/dist-packages/", "usr/lib/python3.11/",
        "usr/share/php/", "usr/share/nodejs/", "usr/share/javascript/",
        "usr/share/gocode/src/", "usr/share/go-1.19/",
        "usr/lib/jvm/openjdk-17/lib/src.zip/", "usr/share/openjfx/lib/src.zip/",
        "usr/share/"}) {
    if (absl::ConsumePrefix(&path, folder)) break;
  }
  return std::string(path);
}

absl::Status ReadDebianPackage(
    const std::string& path,
    const std::function<bool(const std::string& path)>& wanted,
    const PackageFile& file, const PackageLink& link) {
  const Reader reader(archive_read_new());
  if (reader == nullptr) return absl::InternalError("archive_read_new failed");
  archive_read_support_format_ar(reader.get());
  if (archive_read_open_filename(reader.get(), path.c_str(), 1 << 16) !=
      ARCHIVE_OK) {
    return Damaged(path, reader.get());
  }
  while (true) {
    struct archive_entry* entry;
    const int result = archive_read_next_header(reader.get(), &entry);
    if (result == ARCHIVE_EOF) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": no .deb: it holds no data.tar"));
    }
    if (result < ARCHIVE_WARN) return Damaged(path, reader.get());
    const char* member = archive_entry_pathname(entry);
    if (member == nullptr || !absl::StartsWith(member, "data.tar")) continue;
    REPRO_ASSIGN_OR_RETURN(const std::string data,
                           ReadMember(path, reader.get()));
    return ReadMembers(path, data, "", wanted, file, link);
  }
}

std::vector<std::string> LicensesOf(absl::string_view copyright) {
  std::set<std::string> names;
  bool has_format = false;
  for (const absl::string_view line : absl::StrSplit(copyright, '\n')) {
    // Older files have free text behind their "License:".
    has_format |= absl::StartsWithIgnoreCase(line, "Format");
    if (!has_format) continue;
    if (!absl::StartsWith(line, "License:")) continue;
    const absl::string_view name =
        absl::StripAsciiWhitespace(line.substr(sizeof("License:") - 1));
    if (!name.empty()) names.emplace(name);
  }
  if (names.empty()) return {"see the file"};
  return {names.begin(), names.end()};
}

}  // namespace repro
