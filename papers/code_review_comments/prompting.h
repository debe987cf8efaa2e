// Few-shot prompts for review comments: similar patches with their comments,
// and what the code's summary and call graph say.
//
//   REPRO_ASSIGN_OR_RETURN(const auto index, ExemplarIndex::Build(patches));
//   std::vector<ReviewedChange> exemplars;
//   for (int64_t id : index.Search(query.patch, 3)) exemplars.push_back(...);
//   REPRO_ASSIGN_OR_RETURN(const auto comments,
//                          GenerateComments(*client, exemplars, query, {}));
#ifndef REPRO_PAPERS_CODE_REVIEW_COMMENTS_PROMPTING_H_
#define REPRO_PAPERS_CODE_REVIEW_COMMENTS_PROMPTING_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/syntax_tree.h"
#include "common/completion/completion.h"
#include "common/retrieval/bm25.h"

namespace repro::code_review_comments {

// A hunk as the prompts show it: the header line goes, then blank lines; the
// first character of each line says <add> ("+"), <delete> ("-") or <keep>
// (anything else, "\" too) and the rest follows without white space at its
// ends, nothing between lines. " a", "+b", "-c" give "<keep>a<add>b<delete>c".
std::string ProcessPatch(absl::string_view patch);

// The calls of a file's functions: "[f->[g,h],k->[f]]", callers in source
// order, each callee's name once, in order of first call (the outer one of
// nested calls comes first). A call belongs to the innermost function that has
// a name. Calls outside of functions, calls of expressions that are no names,
// and functions without calls are left out, so that "[]" says there are none.
std::string CallGraphText(const code::SyntaxTree& file);

// A processed patch with what a prompt can say about it.
struct ReviewedChange {
  std::string patch;
  std::string summary;     // for kSummary and kBoth
  std::string call_graph;  // for kCallGraph and kBoth
  std::string comment;     // of an exemplar
};

// The paper's four variants.
enum class PromptFacts { kWithout, kSummary, kCallGraph, kBoth };

// The exemplars in their order, then the query, whose "<s>" the model goes on
// from.
std::string BuildPrompt(const std::vector<ReviewedChange>& exemplars,
                        const ReviewedChange& query, PromptFacts facts);

// Processed patches by BM25 (rank_bm25's Okapi) over the pieces between single
// spaces.
class ExemplarIndex {
 public:
  // InvalidArgument: no patches.
  static absl::StatusOr<ExemplarIndex> Build(
      const std::vector<std::string>& patches);

  // The numbers of the `count` best patches, best first, equal ones by number;
  // without `except`, the query's own if it is in the index.
  std::vector<int64_t> Search(absl::string_view patch, int64_t count,
                              std::optional<int64_t> except = {}) const;

  const retrieval::Bm25Index& bm25() const { return bm25_; }

 private:
  explicit ExemplarIndex(retrieval::Bm25Index bm25) : bm25_(std::move(bm25)) {}

  retrieval::Bm25Index bm25_;
};

struct GenerationOptions {
  PromptFacts facts = PromptFacts::kWithout;
  int samples = 5;
  double temperature = 0.5;
  int64_t max_tokens = 250;
  std::optional<uint64_t> seed;
};

struct GeneratedComments {
  std::vector<std::string> samples;  // white space at the ends removed
  int64_t exemplars = 0;             // that the prompt kept
};

// Asks for options.samples comments. After an error the last exemplar is left
// out and the model is asked again, as the authors' script does; the tenth
// error, or one that no shorter prompt can mend (Unauthenticated,
// PermissionDenied, NotFound, Cancelled), is returned.
absl::StatusOr<GeneratedComments> GenerateComments(
    completion::CompletionClient& client, std::vector<ReviewedChange> exemplars,
    const ReviewedChange& query, const GenerationOptions& options);

}  // namespace repro::code_review_comments

#endif  // REPRO_PAPERS_CODE_REVIEW_COMMENTS_PROMPTING_H_
