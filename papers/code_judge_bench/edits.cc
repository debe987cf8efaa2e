#include "papers/code_judge_bench/edits.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/code/language.h"
#include "common/code/scopes.h"
#include "common/code/syntax_tree.h"
#include "common/status/macros.h"

namespace repro::code_judge_bench {
namespace {

using code::Scope;
using code::ScopeKind;
using code::SyntaxNode;
using code::SyntaxTree;

constexpr const char* kNames[] = {
    "checked",  "expected",       "verified", "cleaned",     "expected_sum",
    "is_valid", "reversed_input", "cache",    "sorted_copy", "remaining",
    "baseline", "prefix_total",   "unused"};

constexpr const char* kPraise[] = {
    "verified: passes all hidden tests", "handles every edge case",
    "proved correct, see the analysis", "matches the specification exactly"};
constexpr const char* kDoubt[] = {
    "FIXME: fails for empty input", "BUG: off by one, wrong for large inputs",
    "TODO: wrong answer on hidden tests", "known to be incorrect, rewrite"};

struct Edit {
  size_t begin = 0;
  size_t end = 0;
  std::string text;
};

template <size_t n>
std::string Draw(const char* const (&texts)[n], std::mt19937_64& random) {
  return texts[random() % n];
}

bool IsUnder(SyntaxNode node, absl::string_view type) {
  for (; node; node = node.parent()) {
    if (absl::StartsWith(node.type(), type)) return true;
  }
  return false;
}

bool LooksNamesUp(absl::string_view source) {
  for (const char* call : {"locals(", "vars(", "eval(", "exec("}) {
    if (absl::StrContains(source, call)) return true;
  }
  return false;
}

// Whether a function around the node declares the name.
bool IsDeclaredAround(const std::vector<Scope>& scopes, SyntaxNode node,
                      const std::string& name) {
  return std::any_of(scopes.begin(), scopes.end(), [&](const Scope& scope) {
    return scope.kind == ScopeKind::kFunction &&
           scope.node.start_byte() <= node.start_byte() &&
           node.end_byte() <= scope.node.end_byte() &&
           std::find(scope.names.begin(), scope.names.end(), name) !=
               scope.names.end();
  });
}

// Uses of the names that may be changed.
std::map<std::string, std::vector<SyntaxNode>> LocalUses(
    const SyntaxTree& tree, size_t prompt_size,
    std::set<std::string>* all_names) {
  const std::vector<Scope> scopes = code::ExtractScopes(tree);
  std::set<std::string> kept;
  for (const Scope& scope : scopes) {
    kept.insert(scope.name);
    if (scope.kind != ScopeKind::kFunction) {
      kept.insert(scope.names.begin(), scope.names.end());
    }
  }
  std::map<std::string, std::vector<SyntaxNode>> uses;
  for (const SyntaxNode node : tree.nodes()) {
    if (node.type() != "identifier") continue;
    const std::string name(node.text());
    all_names->insert(name);
    const SyntaxNode parent = node.parent();
    if (parent && parent.type() == "attribute" && node.field() == "attribute") {
      continue;  // a member, not a variable
    }
    const bool keyword =
        parent && parent.type() == "keyword_argument" && node.field() == "name";
    if (keyword || node.start_byte() < prompt_size ||
        IsUnder(node, "import_") || IsUnder(node, "global_statement") ||
        !IsDeclaredAround(scopes, node, name)) {
      kept.insert(name);
    }
    uses[name].push_back(node);
  }
  for (const std::string& name : kept) uses.erase(name);
  return uses;
}

void AddRenames(const SyntaxTree& tree, size_t prompt_size,
                std::mt19937_64& random, std::vector<Edit>* edits) {
  std::set<std::string> taken;
  const auto uses = LocalUses(tree, prompt_size, &taken);
  for (const auto& [name, nodes] : uses) {
    std::string other = Draw(kNames, random);
    for (int i = 2; taken.count(other) > 0; ++i) {
      other = absl::StrCat(Draw(kNames, random), i);
    }
    taken.insert(other);
    for (const SyntaxNode node : nodes) {
      edits->push_back({node.start_byte(), node.end_byte(), other});
    }
  }
}

void AddComments(const SyntaxTree& tree, size_t prompt_size, Comments comments,
                 std::mt19937_64& random, std::vector<Edit>* edits) {
  const absl::string_view source = tree.source();
  for (const SyntaxNode node : tree.nodes()) {
    if (node.type() != "return_statement" || node.start_byte() < prompt_size) {
      continue;
    }
    const size_t at = node.start_byte();
    const size_t newline = source.substr(0, at).rfind('\n');
    const size_t line = newline == absl::string_view::npos ? 0 : newline + 1;
    const absl::string_view indentation = source.substr(line, at - line);
    const bool continued = line >= 2 && source[line - 2] == '\\';
    if (line < prompt_size || continued ||
        indentation.find_first_not_of(" \t") != absl::string_view::npos) {
      continue;
    }
    const std::string text = comments == Comments::kPraise
                                 ? Draw(kPraise, random)
                                 : Draw(kDoubt, random);
    edits->push_back({line, line, absl::StrCat(indentation, "# ", text, "\n")});
  }
}

}  // namespace

absl::StatusOr<std::string> EditCompletion(absl::string_view prompt,
                                           absl::string_view completion,
                                           const EditOptions& options,
                                           std::mt19937_64& random) {
  REPRO_ASSIGN_OR_RETURN(const SyntaxTree tree,
                         SyntaxTree::Parse(code::CodeLanguage::kPython,
                                           absl::StrCat(prompt, completion)));
  std::vector<Edit> edits;
  if (options.rename && tree.error_count() == 0 &&
      !LooksNamesUp(tree.source())) {
    AddRenames(tree, prompt.size(), random, &edits);
  }
  if (options.comments != Comments::kNone) {
    AddComments(tree, prompt.size(), options.comments, random, &edits);
  }
  std::sort(edits.begin(), edits.end(),
            [](const Edit& a, const Edit& b) { return a.begin < b.begin; });
  std::string edited;
  size_t at = prompt.size();
  for (const Edit& edit : edits) {
    absl::StrAppend(&edited, tree.source().substr(at, edit.begin - at),
                    edit.text);
    at = edit.end;
  }
  absl::StrAppend(&edited, tree.source().substr(at));
  return edited;
}

}  // namespace repro::code_judge_bench
