#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

constexpr code::CodeLanguage kLanguages[] = {
    code::CodeLanguage::kPython,     code::CodeLanguage::kJava,
    code::CodeLanguage::kJavaScript, code::CodeLanguage::kGo,
    code::CodeLanguage::kPhp,        code::CodeLanguage::kRuby};

struct ReadPackage {
  DebianPackage package;
  std::string language;
  std::vector<std::string> licenses;
  int64_t files = 0;
};

// In the cache of assets, under its digest.
absl::StatusOr<LocatedAsset> FetchPackage(const DebianPackage& package,
                                          bool offline) {
  Asset asset;
  asset.set_name(package.name);
  AssetSource* source = asset.add_sources();
  source->set_url(package.url);
  source->set_sha256(package.sha256);
  source->set_size_bytes(package.bytes);
  AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
  options.offline = offline;
  int64_t last_tenth = -1;
  return AssetStore(options).Fetch(asset, [&](int64_t done, int64_t total) {
    const int64_t tenth = total > 0 ? 10 * done / total : 0;
    if (tenth != last_tenth) {
      std::cerr << package.name << ": " << 10 * tenth << "% of "
                << package.bytes / 1000000 << " MB\n";
      last_tenth = tenth;
    }
    return !g_stop.load();
  });
}

absl::Status AddPackage(const std::string& deb, code::CodeLanguage language,
                        const std::string& out_dir, CodeCorpusBuilder* builder,
                        ReadPackage* read) {
  const std::string copyright =
      absl::StrCat("usr/share/doc/", read->package.name, "/copyright");
  const std::vector<std::string> extensions = CorpusExtensions(language);
  const auto has_extension = [&](const std::string& path) {
    return std::any_of(extensions.begin(), extensions.end(),
                       [&](const std::string& extension) {
                         return absl::EndsWith(path, extension);
                       });
  };
  return ReadDebianPackage(
      deb,
      [&](const std::string& path) {
        return path == copyright || has_extension(path) ||
               (language == code::CodeLanguage::kJava &&
                absl::EndsWith(path, "/src.zip"));
      },
      [&](const std::string& path, std::string content) -> absl::Status {
        if (g_stop.load()) return absl::CancelledError("interrupted");
        if (path == copyright) {
          read->licenses = LicensesOf(content);
          return WriteFileAtomically(
              absl::StrCat(out_dir, "/licenses/", read->package.name), content);
        }
        if (++read->files % 1000 == 0) {
          std::cerr << read->package.name << ": " << read->files << " files\n";
        }
        CorpusFile file;
        file.language = language;
        file.repository = read->package.name;
        file.path = path;
        file.content = std::move(content);
        file.sha = read->package.sha256;
        file.url = absl::StrCat("deb:", read->package.name, "=",
                                read->package.version, "/", path);
        return builder->Add(file);
      });
}

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

nlohmann::json Manifest(const CodeCorpus& corpus,
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
                                {"licenses", read.licenses}});
  }
  for (const auto& [language, counts] : corpus.counts) {
    nlohmann::json& entry = json["counts"][code::LanguageName(language)];
    for (const auto& [name, count] : Rows(counts)) entry[name] = count;
  }
  return json;
}

void PrintTables(const CodeCorpus& corpus,
                 const std::vector<ReadPackage>& packages) {
  TextTable sources({"package", "version", "files", "licences"});
  for (const ReadPackage& read : packages) {
    sources.AddRow({read.package.name, read.package.version,
                    absl::StrCat(read.files),
                    absl::StrCat(read.licenses.size())});
  }
  std::cout << sources.ToText() << "\n";
  std::vector<std::string> header = {""};
  std::vector<std::vector<std::string>> rows;
  for (const auto& [language, counts] : corpus.counts) {
    header.push_back(code::LanguageName(language));
    size_t row = 0;
    for (const auto& [name, count] : Rows(counts)) {
      if (row == rows.size()) rows.push_back({name});
      rows[row++].push_back(absl::StrCat(count));
    }
  }
  TextTable table(header);
  for (std::vector<std::string>& row : rows) table.AddRow(std::move(row));
  std::cout << table.ToText();
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
    languages.assign(std::begin(kLanguages), std::end(kLanguages));
  }
  std::error_code error;
  std::filesystem::create_directories(options.out_dir + "/licenses", error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot make ", options.out_dir,
                                               "/licenses: ", error.message()));
  }

  CodeCorpusOptions corpus_options;
  corpus_options.limit = options.limit;
  CodeCorpusBuilder builder(corpus_options);
  std::vector<ReadPackage> packages;
  for (const code::CodeLanguage language : languages) {
    for (const std::string& name : CorpusPackages(language)) {
      ReadPackage read;
      REPRO_ASSIGN_OR_RETURN(read.package, FindDebianPackage(name));
      read.language = code::LanguageName(language);
      const absl::StatusOr<LocatedAsset> deb =
          FetchPackage(read.package, options.offline);
      if (g_stop.load()) return kExitInterrupted;
      if (!deb.ok()) {
        std::cerr << name << ": " << deb.status().message() << "\n";
        return kExitMissingAsset;
      }
      const absl::Status status =
          AddPackage(deb->path, language, options.out_dir, &builder, &read);
      if (absl::IsCancelled(status)) return kExitInterrupted;
      REPRO_RETURN_IF_ERROR(status);
      packages.push_back(std::move(read));
    }
  }
  std::cerr << "looking for duplicates\n";
  const CodeCorpus corpus = builder.Finish();
  REPRO_RETURN_IF_ERROR(WriteCodeCorpus(corpus, options.out_dir));
  const std::string manifest = Manifest(corpus, packages).dump(2) + "\n";
  REPRO_RETURN_IF_ERROR(
      WriteFileAtomically(options.out_dir + "/manifest.json", manifest));
  if (format == Format::kJson) {
    std::cout << manifest;
  } else {
    PrintTables(corpus, packages);
  }
  return kExitOk;
}

}  // namespace repro
