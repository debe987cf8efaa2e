#include "papers/code_review_comments/prompting.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/code/scopes.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::code_review_comments {
namespace {

constexpr int kMaxErrors = 10;

void AppendChange(const ReviewedChange& change, PromptFacts facts,
                  std::string* prompt) {
  absl::StrAppend(prompt, "Code To Be Reviewed:\n", change.patch, "\n");
  if (facts == PromptFacts::kSummary || facts == PromptFacts::kBoth) {
    absl::StrAppend(prompt, "Summary:\n", change.summary, "\n");
  }
  if (facts == PromptFacts::kCallGraph || facts == PromptFacts::kBoth) {
    absl::StrAppend(prompt, "Callgraph:\n", change.call_graph, "\n");
  }
  absl::StrAppend(prompt, "Review Comment:\n<s>");
}

}  // namespace

std::string ProcessPatch(absl::string_view patch) {
  std::string processed;
  bool is_header = true;
  for (const std::string& line : metrics::SplitKeepingEmpty(patch, '\n')) {
    if (std::exchange(is_header, false) || metrics::Strip(line).empty()) {
      continue;
    }
    absl::StrAppend(&processed,
                    line[0] == '+'   ? "<add>"
                    : line[0] == '-' ? "<delete>"
                                     : "<keep>",
                    metrics::Strip(absl::string_view(line).substr(1)));
  }
  return processed;
}

std::string CallGraphText(const code::SyntaxTree& file) {
  const std::vector<code::Scope> scopes = code::ExtractScopes(file);
  std::map<int, std::vector<std::string>> callees;  // by scope, in source order
  for (const code::Call& call : code::ExtractCalls(file)) {
    int scope = call.scope;
    while (scope >= 0 && (scopes[scope].kind != code::ScopeKind::kFunction ||
                          scopes[scope].name.empty())) {
      scope = scopes[scope].parent;
    }
    const bool is_name =
        call.name.find_first_of("() \t\n") == std::string::npos;
    if (scope < 0 || !is_name) continue;
    std::vector<std::string>& names = callees[scope];
    if (std::find(names.begin(), names.end(), call.name) == names.end()) {
      names.push_back(call.name);
    }
  }
  return absl::StrCat(
      "[",
      absl::StrJoin(callees, ",",
                    [&](std::string* out, const auto& entry) {
                      absl::StrAppend(out, scopes[entry.first].name, "->[",
                                      absl::StrJoin(entry.second, ","), "]");
                    }),
      "]");
}

std::string BuildPrompt(const std::vector<ReviewedChange>& exemplars,
                        const ReviewedChange& query, PromptFacts facts) {
  std::string prompt;
  for (const ReviewedChange& exemplar : exemplars) {
    AppendChange(exemplar, facts, &prompt);
    absl::StrAppend(&prompt, " ", exemplar.comment, " </s>\n\n");
  }
  AppendChange(query, facts, &prompt);
  return prompt;
}

absl::StatusOr<ExemplarIndex> ExemplarIndex::Build(
    const std::vector<std::string>& patches) {
  std::vector<std::vector<std::string>> documents;
  documents.reserve(patches.size());
  for (const std::string& patch : patches) {
    documents.push_back(metrics::SplitKeepingEmpty(patch, ' '));
  }
  REPRO_ASSIGN_OR_RETURN(
      retrieval::Bm25Index bm25,
      retrieval::Bm25Index::Build(documents, retrieval::Bm25Options()));
  return ExemplarIndex(std::move(bm25));
}

std::vector<int64_t> ExemplarIndex::Search(
    absl::string_view patch, int64_t count,
    std::optional<int64_t> except) const {
  std::vector<int64_t> numbers;
  if (count < 1) return numbers;
  for (const retrieval::ScoredDocument& document :
       bm25_.Search(metrics::SplitKeepingEmpty(patch, ' '),
                    count + (except.has_value() ? 1 : 0))) {
    if (document.id != except && static_cast<int64_t>(numbers.size()) < count) {
      numbers.push_back(document.id);
    }
  }
  return numbers;
}

absl::StatusOr<GeneratedComments> GenerateComments(
    completion::CompletionClient& client, std::vector<ReviewedChange> exemplars,
    const ReviewedChange& query, const GenerationOptions& options) {
  completion::CompletionRequest request;
  request.temperature = options.temperature;
  request.max_tokens = options.max_tokens;
  request.stop = {"</s>"};
  request.n = options.samples;
  request.seed = options.seed;
  for (int errors = 1;; ++errors) {
    request.prompt = BuildPrompt(exemplars, query, options.facts);
    absl::StatusOr<completion::Completion> answer = client.Complete(request);
    if (answer.ok()) {
      GeneratedComments comments;
      comments.exemplars = static_cast<int64_t>(exemplars.size());
      for (const completion::Choice& choice : answer->choices) {
        comments.samples.push_back(metrics::Strip(choice.text));
      }
      return comments;
    }
    const absl::Status& status = answer.status();
    if (errors >= kMaxErrors || absl::IsUnauthenticated(status) ||
        absl::IsPermissionDenied(status) || absl::IsNotFound(status) ||
        absl::IsCancelled(status)) {
      return status;
    }
    if (!exemplars.empty()) exemplars.pop_back();
  }
}

}  // namespace repro::code_review_comments
