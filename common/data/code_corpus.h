// A corpus of functions with their documentation, by CodeSearchNet's rules
// (Husain et al. 2019, arXiv 1909.09436, section 2, and the authors'
// function_parser) and in its schema. README.md lists the differences.
//
//   CodeCorpusBuilder builder({CodeLanguage::kPython});
//   for (const CorpusFile& file : files) {
//     REPRO_RETURN_IF_ERROR(builder.Add(file));
//   }
//   const CodeCorpus corpus = builder.Finish();
//   REPRO_RETURN_IF_ERROR(WriteCodeCorpus(corpus, out_dir));
#ifndef REPRO_COMMON_DATA_CODE_CORPUS_H_
#define REPRO_COMMON_DATA_CODE_CORPUS_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"
#include "nlohmann/json.hpp"

namespace repro {

struct CorpusFile {
  code::CodeLanguage language;
  std::string repository;  // "python3-django"
  std::string path;        // in the repository; "test" and "vendor" count here
  std::string content;
  std::string sha;  // of the repository's state: a commit, a package's digest
  std::string url;  // of the file; lines are appended as "#L3-L9"
};

// A record of CodeSearchNet's JSON Lines.
struct CorpusFunction {
  code::CodeLanguage language;
  std::string repository, path, sha;
  std::string func_name;                 // "Class.method"
  std::string code;                      // "original_string" and "code"
  std::vector<std::string> code_tokens;  // comments too, no docstring
  std::string docstring;
  std::vector<std::string> docstring_tokens;  // of the first paragraph
  std::string url;
  std::string partition;  // "train", "valid", "test"
};

nlohmann::json ToJson(const CorpusFunction& function);

// Why a function is left out; each is counted under the first that holds.
enum class CorpusFilter {
  kNested,              // inside of another function (not for JavaScript)
  kTest,                // "test" in the name
  kConstructor,         // or a method that extends the language (toString)
  kUndocumented,        // or nothing but lines for tools (//go:nosplit)
  kShortDocumentation,  // fewer than 3 tokens in its first paragraph
  kShortCode,           // fewer than 3 lines, blank ones and docstring aside
  kDuplicate,           // the same tokens as another
  kFewIdentifiers,      // fewer than 10 words, keywords aside
  kNearDuplicate,       // identifiers: Jaccard >= 0.8 as sets, 0.7 as multisets
};
inline constexpr int kNumCorpusFilters = 9;
// "nested", "named_test", ...; none is the name of a partition.
const char* CorpusFilterName(CorpusFilter filter);

// Of one language.
struct CorpusCounts {
  int64_t files = 0;              // seen
  int64_t files_of_tests = 0;     // "test" in the path, or vendored: not read
  int64_t files_not_utf8 = 0;     // not read
  int64_t files_too_large = 0;    // beyond the parser's limits
  int64_t files_with_errors = 0;  // of syntax; what could be parsed counts
  int64_t functions = 0;          // found in the rest
  std::array<int64_t, kNumCorpusFilters> left_out = {};
  int64_t beyond_limit = 0;
  int64_t kept = 0;
  std::map<std::string, int64_t> partitions;
};

struct CodeCorpus {
  // By language, then in the order of files and lines.
  std::vector<CorpusFunction> functions;
  std::map<code::CodeLanguage, CorpusCounts> counts;
};

struct CodeCorpusOptions {
  // Functions of a language that are kept, those with the smallest digests of
  // their url; 0: all.
  int64_t limit = 0;
  // Larger files are counted under files_too_large. There is no limit on time,
  // which would make the corpus depend on how busy the machine is.
  int64_t max_file_bytes = int64_t{64} << 20;
};

class CodeCorpusBuilder {
 public:
  explicit CodeCorpusBuilder(const CodeCorpusOptions& options = {})
      : options_(options) {}

  // InvalidArgument for a language that CodeSearchNet lacks. A file that cannot
  // be read is counted and is no error.
  absl::Status Add(const CorpusFile& file);

  // Removes duplicates within each language, of which the first is kept, and
  // gives partitions. The builder is then empty.
  CodeCorpus Finish();

 private:
  CodeCorpusOptions options_;
  std::map<code::CodeLanguage, std::vector<CorpusFunction>> functions_;
  std::map<code::CodeLanguage, CorpusCounts> counts_;
};

// The authors' first paragraph: the documentation up to its first blank line,
// or else up to its first "@", so that "Returns a {@link Map}." ends as
// "Returns a {".
std::string CodeSearchNetSummary(absl::string_view documentation);

// The corpus' first paragraph: up to the first blank line or the first line
// that begins with a tag ("@param", ":param"); empty if it has no words, which
// "{@inheritDoc}" is none of.
std::string CorpusSummary(absl::string_view documentation);

// The documentation without white space around it and without lines for tools:
// "go:linkname a b", "eslint-disable-line", "rubocop:disable all", ":nodoc:",
// and RDoc's paragraphs of ":call-seq:".
std::string CleanDocumentation(code::CodeLanguage language,
                               absl::string_view documentation);

// CodeSearchNet's tokens of a documentation: runs of other characters than
// blanks and ,'"`.():[]=*;>{}+-/\ ; "()", "{}", "[]"; and runs of one of
// .():[]=*;>{}+-/\ .
std::vector<std::string> DocumentationTokens(absl::string_view text);

// "train" (80%), "valid" or "test" (10% each) by a digest of repository and
// folder, so that a file's functions stay together.
std::string CorpusPartition(absl::string_view repository,
                            absl::string_view path);

// The indices that are near-duplicates of an earlier one, directly or through
// others (DuplicateDetector of dpu_utils, transitive as it is): identifiers
// with a Jaccard similarity of at least 0.8 as sets and 0.7 as multisets.
std::vector<int64_t> NearDuplicates(
    const std::vector<std::vector<std::string>>& identifiers);

// CodeSearchNet's six.
std::vector<code::CodeLanguage> CorpusLanguages();

// Whether a corpus of these languages may be written to a folder: it is not
// there, or holds nothing but a corpus of no other languages. InvalidArgument,
// with what stands in the way.
absl::Status CheckCorpusFolder(
    const std::string& folder,
    const std::vector<code::CodeLanguage>& languages);

// Writes <out_dir>/<language>/<partition>.jsonl.gz.
absl::Status WriteCodeCorpus(const CodeCorpus& corpus,
                             const std::string& out_dir);

// The file name extensions of a language with their dots, and whether
// CodeSearchNet has it at all (empty otherwise).
std::vector<std::string> CorpusExtensions(code::CodeLanguage language);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_CODE_CORPUS_H_
