#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/assets/asset_store.h"
#include "common/code/language.h"
#include "common/data/code_corpus.h"
#include "common/data/code_corpus_packages.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "nlohmann/json.hpp"
#include "tools/commands.h"
#include "tools/terminal.h"

namespace repro {
namespace {

struct ReadPackage {
  DebianPackage package;
  std::string language;
  std::vector<std::string> licenses;
  int64_t files = 0;
  int64_t kept = 0;
};

// Lines on stderr: one a second at most, one in ten where nobody watches.
class Progress {
 public:
  void Say(const std::function<std::string()>& text) {
    const absl::Time now = absl::Now();
    if (now - last_ < pause_) return;
    last_ = now;
    std::cerr << text() << "\n";
  }

 private:
  const absl::Duration pause_ = absl::Seconds(isatty(STDERR_FILENO) ? 1 : 10);
  absl::Time last_ = absl::Now();
};

// In the cache of assets, under its digest.
absl::StatusOr<LocatedAsset> FetchPackage(const DebianPackage& package,
                                          bool offline, Progress* progress) {
  Asset asset;
  asset.set_name(package.name);
  AssetSource* source = asset.add_sources();
  source->set_url(package.url);
  source->set_sha256(package.sha256);
  source->set_size_bytes(package.bytes);
  AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
  options.offline = offline;
  return AssetStore(options).Fetch(asset, [&](int64_t done, int64_t total) {
    progress->Say([&] {
      return absl::StrFormat("%s: %.1f of %.1f MB", package.name,
                             static_cast<double>(done) / 1e6,
                             static_cast<double>(total) / 1e6);
    });
    return !g_stop.load();
  });
}

std::string CopyrightPath(const std::string& package) {
  return absl::StrCat("usr/share/doc/", package, "/copyright");
}

// Finds the packages of a run, each once, and reads them.
class PackageReader {
 public:
  explicit PackageReader(const CorpusCommandOptions& options)
      : options_(options) {}

  // NotFound and others of FindDebianPackages; Cancelled.
  absl::Status Find(const std::vector<std::string>& names) {
    auto found = FindDebianPackages(names);
    // Ctrl-C ends apt-get, too.
    if (g_stop.load()) return absl::CancelledError("interrupted");
    REPRO_RETURN_IF_ERROR(found.status());
    for (auto& [name, package] : *found) packages_[name] = std::move(package);
    return absl::OkStatus();
  }

  // Adds the package's files of the language. NotFound and Unavailable: it
  // could not be had.
  absl::StatusOr<ReadPackage> Read(const std::string& name,
                                   code::CodeLanguage language,
                                   CodeCorpusBuilder* builder) {
    ReadPackage read;
    read.package = packages_.at(name);
    read.language = code::LanguageName(language);
    REPRO_ASSIGN_OR_RETURN(const std::string deb, Fetch(read.package));
    const std::vector<std::string> extensions = CorpusExtensions(language);
    const auto has_extension = [&](const std::string& path) {
      return std::any_of(extensions.begin(), extensions.end(),
                         [&](const std::string& extension) {
                           return absl::EndsWith(path, extension);
                         });
    };
    std::string copyright;
    std::string documented_by;  // whose copyright file is this package's, too
    REPRO_RETURN_IF_ERROR(ReadDebianPackage(
        deb,
        [&](const std::string& path) {
          return path == CopyrightPath(name) || has_extension(path) ||
                 (language == code::CodeLanguage::kJava &&
                  absl::EndsWith(path, "/src.zip"));
        },
        [&](const std::string& path, std::string content) -> absl::Status {
          if (g_stop.load()) return absl::CancelledError("interrupted");
          if (path == CopyrightPath(name)) {
            copyright = std::move(content);
            return absl::OkStatus();
          }
          ++read.files;
          progress_.Say([&] {
            return absl::StrCat(read.language, ": ", name, ": ", read.files,
                                " files");
          });
          CorpusFile file;
          file.language = language;
          file.repository = name;
          file.path = PathInSources(path);
          file.content = std::move(content);
          file.sha = read.package.sha256;
          file.url =
              absl::StrCat("deb:", name, "=", read.package.version, "/", path);
          return builder->Add(file);
        },
        [&](const std::string& path, const std::string& target) {
          if (path == absl::StrCat("usr/share/doc/", name)) {
            documented_by = target;
          }
        }));
    if (copyright.empty()) {
      REPRO_ASSIGN_OR_RETURN(copyright, Copyright(name, documented_by));
    }
    read.licenses = LicensesOf(copyright);
    copyrights_[name] = std::move(copyright);
    return read;
  }

  // By package.
  const std::map<std::string, std::string>& copyrights() const {
    return copyrights_;
  }

 private:
  absl::StatusOr<std::string> Fetch(const DebianPackage& package) {
    const auto deb = FetchPackage(package, options_.offline, &progress_);
    if (g_stop.load()) return absl::CancelledError("interrupted");
    if (deb.ok()) return deb->path;
    if (options_.offline && absl::IsUnavailable(deb.status())) {
      return absl::UnavailableError(
          absl::StrCat(package.name, " ", package.version,
                       " is not in the cache: run without --offline"));
    }
    absl::string_view hint;
    if (absl::IsNotFound(deb.status())) {
      hint = " (apt's lists may be old: run `apt-get update`)";
    }
    return absl::Status(
        deb.status().code(),
        absl::StrCat(package.name, ": ", deb.status().message(), hint));
  }

  // A package's folder of documentation may be a link to that of another on
  // which it depends.
  absl::StatusOr<std::string> Copyright(const std::string& name,
                                        std::string other) {
    for (int links = 0; links < 8 && !other.empty(); ++links) {
      const auto known = copyrights_.find(other);
      if (known != copyrights_.end()) return known->second;
      if (packages_.count(other) == 0) REPRO_RETURN_IF_ERROR(Find({other}));
      REPRO_ASSIGN_OR_RETURN(const std::string deb, Fetch(packages_.at(other)));
      std::string copyright, next;
      REPRO_RETURN_IF_ERROR(ReadDebianPackage(
          deb,
          [&](const std::string& path) { return path == CopyrightPath(other); },
          [&](const std::string&, std::string content) {
            copyright = std::move(content);
            return absl::OkStatus();
          },
          [&](const std::string& path, const std::string& target) {
            if (path == absl::StrCat("usr/share/doc/", other)) next = target;
          }));
      if (!copyright.empty()) return copyright;
      other = next;
    }
    return absl::DataLossError(
        absl::StrCat(name, ": no licence: it holds no ", CopyrightPath(name)));
  }

  const CorpusCommandOptions& options_;
  std::map<std::string, DebianPackage> packages_;
  std::map<std::string, std::string> copyrights_;
  Progress progress_;
};

// The rows of the table and of counts in the manifest, in the order of the
// rules.
std::vector<std::pair<std::string, int64_t>> Rows(const CorpusCounts& counts) {
  std::vector<std::pair<std::string, int64_t>> rows = {
      {"files", counts.files},
      {"files_of_tests", counts.files_of_tests},
      {"files_not_utf8", counts.files_not_utf8},
      {"files_too_large", counts.files_too_large},
      {"files_with_errors", counts.files_with_errors},
      {"functions", counts.functions}};
  for (int i = 0; i < kNumCorpusFilters; ++i) {
    rows.emplace_back(CorpusFilterName(static_cast<CorpusFilter>(i)),
                      counts.left_out[i]);
  }
  rows.emplace_back("beyond_limit", counts.beyond_limit);
  rows.emplace_back("kept", counts.kept);
  for (const char* partition : {"train", "valid", "test"}) {
    const auto found = counts.partitions.find(partition);
    rows.emplace_back(partition,
                      found == counts.partitions.end() ? 0 : found->second);
  }
  return rows;
}

using Counts = std::map<code::CodeLanguage, CorpusCounts>;

// Without a date, so that the same packages make the same bytes.
nlohmann::json Manifest(const Counts& counts_of,
                        const std::vector<ReadPackage>& packages) {
  nlohmann::json json = {{"packages", nlohmann::json::array()},
                         {"counts", nlohmann::json::object()}};
  for (const ReadPackage& read : packages) {
    json["packages"].push_back({{"name", read.package.name},
                                {"language", read.language},
                                {"version", read.package.version},
                                {"sha256", read.package.sha256},
                                {"bytes", read.package.bytes},
                                {"files", read.files},
                                {"kept", read.kept},
                                {"licenses", read.licenses}});
  }
  for (const auto& [language, counts] : counts_of) {
    nlohmann::json& entry = json["counts"][code::LanguageName(language)];
    for (const auto& [name, count] : Rows(counts)) entry[name] = count;
  }
  return json;
}

// "MIT, BSD-3-clause and 4 more".
std::string Some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  if (names.size() <= kShown + 1) return absl::StrJoin(names, ", ");
  return absl::StrCat(
      absl::StrJoin(names.begin(), names.begin() + kShown, ", "), " and ",
      names.size() - kShown, " more");
}

void PrintTables(Format format, const Counts& counts_of,
                 const std::map<code::CodeLanguage, double>& seconds,
                 const std::vector<ReadPackage>& packages) {
  const auto text = [&](const TextTable& table) {
    return format == Format::kMarkdown ? table.ToMarkdown() : table.ToText();
  };
  TextTable sources(
      {"language", "package", "version", "files", "kept", "licences"});
  for (const ReadPackage& read : packages) {
    sources.AddRow({read.language, read.package.name, read.package.version,
                    absl::StrCat(read.files), absl::StrCat(read.kept),
                    Some(read.licenses)});
  }
  std::cout << text(sources) << "\n";
  std::vector<std::string> header = {""};
  std::vector<std::vector<std::string>> rows;
  for (const auto& [language, counts] : counts_of) {
    header.push_back(code::LanguageName(language));
    size_t row = 0;
    const auto add = [&](absl::string_view name, const std::string& cell) {
      if (row == rows.size()) rows.push_back({std::string(name)});
      rows[row++].push_back(cell);
    };
    for (const auto& [name, count] : Rows(counts)) {
      add(name, absl::StrCat(count));
    }
    add("cpu_seconds", absl::StrFormat("%.1f", seconds.at(language)));
  }
  TextTable table(header);
  for (std::vector<std::string>& row : rows) table.AddRow(std::move(row));
  std::cout << text(table) << "\nmade on "
            << absl::FormatTime("%Y-%m-%d", absl::Now(), absl::UTCTimeZone())
            << "\n";
}

// Of this process, all threads.
double CpuSeconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

}  // namespace

absl::StatusOr<int> CorpusCommand(const CorpusCommandOptions& options,
                                  Format format) {
  std::vector<code::CodeLanguage> languages;
  for (const std::string& name : options.languages) {
    REPRO_ASSIGN_OR_RETURN(const code::CodeLanguage language,
                           code::ParseLanguageName(name));
    if (CorpusPackages(language).empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          name,
          ": there are no packages for it; python, java, javascript, go, "
          "php and ruby have some"));
    }
    languages.push_back(language);
  }
  if (languages.empty()) {
    languages = CorpusLanguages();
  }
  std::sort(languages.begin(), languages.end());
  languages.erase(std::unique(languages.begin(), languages.end()),
                  languages.end());
  REPRO_RETURN_IF_ERROR(CheckCorpusFolder(options.out_dir, languages));
  PackageReader reader(options);
  std::set<std::string> names;
  for (const code::CodeLanguage language : languages) {
    const std::vector<std::string> of_language = CorpusPackages(language);
    names.insert(of_language.begin(), of_language.end());
  }
  REPRO_RETURN_IF_ERROR(reader.Find({names.begin(), names.end()}));
  std::error_code error;
  std::filesystem::create_directories(options.out_dir + "/licenses", error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot make ", options.out_dir,
                                               "/licenses: ", error.message()));
  }
  // Written last: a folder without it holds no whole corpus.
  const std::string manifest_path = options.out_dir + "/manifest.json";

  CodeCorpusOptions corpus_options;
  corpus_options.limit = options.limit;
  Counts counts;
  std::map<code::CodeLanguage, double> seconds;
  std::vector<ReadPackage> packages;
  // One language at a time, for the sake of memory.
  for (const code::CodeLanguage language : languages) {
    const double start = CpuSeconds();
    CodeCorpusBuilder builder(corpus_options);
    const size_t first = packages.size();
    for (const std::string& name : CorpusPackages(language)) {
      absl::StatusOr<ReadPackage> read = reader.Read(name, language, &builder);
      if (absl::IsNotFound(read.status()) ||
          absl::IsUnavailable(read.status())) {
        std::cerr << read.status().message() << "\n";
        return kExitMissingAsset;
      }
      REPRO_RETURN_IF_ERROR(read.status());
      packages.push_back(*std::move(read));
    }
    std::cerr << code::LanguageName(language) << ": looking for duplicates\n";
    const CodeCorpus corpus = builder.Finish();
    if (g_stop.load()) return absl::CancelledError("interrupted");
    std::filesystem::remove(manifest_path, error);
    REPRO_RETURN_IF_ERROR(WriteCodeCorpus(corpus, options.out_dir));
    std::map<std::string, int64_t> kept;
    for (const CorpusFunction& function : corpus.functions) {
      ++kept[function.repository];
    }
    for (size_t i = first; i < packages.size(); ++i) {
      packages[i].kept = kept[packages[i].package.name];
    }
    counts.insert(corpus.counts.begin(), corpus.counts.end());
    seconds[language] = CpuSeconds() - start;
  }
  for (const auto& [name, copyright] : reader.copyrights()) {
    REPRO_RETURN_IF_ERROR(WriteFileAtomically(
        absl::StrCat(options.out_dir, "/licenses/", name), copyright));
  }
  const std::string manifest = Manifest(counts, packages).dump(2) + "\n";
  REPRO_RETURN_IF_ERROR(WriteFileAtomically(manifest_path, manifest));
  if (format == Format::kJson) {
    std::cout << manifest;
  } else {
    PrintTables(format, counts, seconds, packages);
  }
  return kExitOk;
}

}  // namespace repro
