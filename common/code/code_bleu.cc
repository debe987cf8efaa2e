#include "common/code/code_bleu.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/code/data_flow.h"
#include "common/code/syntax_tree.h"
#include "common/code/tokens.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"

namespace repro::code {
namespace {

absl::Status CheckCorpus(
    const std::vector<std::vector<std::string>>& references,
    const std::vector<std::string>& hypotheses) {
  if (references.size() == hypotheses.size() && !hypotheses.empty()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      references.size(), " segments with references and ", hypotheses.size(),
      " hypotheses: they must be equally many and at least one"));
}

// The evaluator takes out comments by Java's rule in every language.
std::string WithoutComments(absl::string_view source) {
  return RemoveCommentsLexically(CodeLanguage::kJava, source);
}

absl::StatusOr<SyntaxTree> ParseSegment(CodeLanguage language,
                                        const std::string& source) {
  // All of a PHP source is text before "<?php".
  const bool wrap =
      language == CodeLanguage::kPhp && !absl::StrContains(source, "<?");
  return SyntaxTree::Parse(language,
                           wrap ? absl::StrCat("<?php ", source) : source);
}

// Gives equal S-expressions equal numbers: those of named nodes, with their
// fields, as tree-sitter prints them.
class SubtreeNumbers {
 public:
  // Of the root and each inner node.
  std::vector<uint32_t> Of(const SyntaxTree& tree) {
    std::vector<uint32_t> numbers(tree.node_count());
    std::vector<uint32_t> subtrees;
    for (uint32_t i = tree.node_count(); i-- > 0;) {
      const SyntaxNode node = tree.node(i);
      std::vector<uint32_t> key = {TypeNumber(node.type()), node.is_missing(),
                                   FirstCharacter(node)};
      for (const SyntaxNode child : node.children()) {
        if (!child.is_named() && !child.is_missing()) continue;
        key.push_back(TypeNumber(child.field()));
        key.push_back(numbers[child.index()]);
      }
      numbers[i] =
          numbers_.emplace(std::move(key), numbers_.size()).first->second;
      if (i == 0 || !node.is_leaf()) subtrees.push_back(numbers[i]);
    }
    return subtrees;
  }

 private:
  uint32_t TypeNumber(absl::string_view type) {
    return types_.emplace(type, types_.size()).first->second;
  }
  // tree-sitter shows the character where an ERROR has no children.
  static uint32_t FirstCharacter(SyntaxNode node) {
    return node.is_leaf() && node.type() == "ERROR" && !node.text().empty()
               ? 1 + static_cast<uint8_t>(node.text()[0])
               : 0;
  }

  absl::flat_hash_map<std::vector<uint32_t>, uint32_t> numbers_;
  absl::flat_hash_map<std::string, uint32_t> types_;
};

// Edges of one token merged, as the evaluator does before it compares. Where
// Python's sets have no order, the names are sorted here.
std::vector<DataFlowEdge> MergePerToken(std::vector<DataFlowEdge> edges) {
  std::vector<DataFlowEdge> merged;
  absl::flat_hash_map<int, std::pair<size_t, int>> place;  // and how many
  for (DataFlowEdge& edge : edges) {
    const auto [found, is_new] =
        place.emplace(edge.token_index, std::make_pair(merged.size(), 1));
    if (is_new) {
      merged.push_back(std::move(edge));
      continue;
    }
    ++found->second.second;
    auto& names = merged[found->second.first].source_tokens;
    names.insert(names.end(), edge.source_tokens.begin(),
                 edge.source_tokens.end());
  }
  for (const auto& [token, at] : place) {
    if (at.second == 1) continue;
    auto& names = merged[at.first].source_tokens;
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
  }
  return merged;
}

// One text an edge: the variable, relation and sources, variables as numbers
// in order of appearance, an edge's sources before its variable.
absl::StatusOr<std::vector<std::string>> NormalizedEdges(
    CodeLanguage language, const std::string& source) {
  REPRO_ASSIGN_OR_RETURN(const SyntaxTree tree, ParseSegment(language, source));
  absl::StatusOr<DataFlowGraph> graph = DataFlow(tree);
  // A program made to explode has no data flow rather than no score.
  if (absl::IsResourceExhausted(graph.status())) graph = DataFlowGraph();
  REPRO_RETURN_IF_ERROR(graph.status());
  absl::flat_hash_map<std::string, int> numbers;
  const auto number = [&](const std::string& name) {
    return numbers.emplace(name, numbers.size()).first->second;
  };
  std::vector<std::string> texts;
  for (const DataFlowEdge& edge : MergePerToken(std::move(graph->edges))) {
    std::string sources;
    for (const std::string& name : edge.source_tokens) {
      absl::StrAppend(&sources, " ", number(name));
    }
    texts.push_back(absl::StrCat(number(edge.token), " ",
                                 RelationName(edge.relation), sources));
  }
  return texts;
}

MatchScore Finish(int64_t matched, int64_t total) {
  return {total == 0 ? 0 : static_cast<double>(matched) / total, matched,
          total};
}

}  // namespace

absl::StatusOr<MatchScore> SyntaxMatch(
    CodeLanguage language,
    const std::vector<std::vector<std::string>>& references,
    const std::vector<std::string>& hypotheses) {
  REPRO_RETURN_IF_ERROR(CheckCorpus(references, hypotheses));
  int64_t matched = 0;
  int64_t total = 0;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    SubtreeNumbers numbers;
    const std::string text = WithoutComments(hypotheses[i]);
    REPRO_ASSIGN_OR_RETURN(const SyntaxTree hypothesis,
                           ParseSegment(language, text));
    const std::vector<uint32_t> list = numbers.Of(hypothesis);
    const absl::flat_hash_set<uint32_t> present(list.begin(), list.end());
    for (const std::string& reference : references[i]) {
      REPRO_ASSIGN_OR_RETURN(
          const SyntaxTree tree,
          ParseSegment(language, WithoutComments(reference)));
      for (const uint32_t subtree : numbers.Of(tree)) {
        matched += present.contains(subtree);
        ++total;
      }
    }
  }
  return Finish(matched, total);
}

absl::StatusOr<MatchScore> DataFlowMatch(
    CodeLanguage language,
    const std::vector<std::vector<std::string>>& references,
    const std::vector<std::string>& hypotheses) {
  REPRO_RETURN_IF_ERROR(CheckCorpus(references, hypotheses));
  int64_t matched = 0;
  int64_t total = 0;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<std::string> edges,
        NormalizedEdges(language, WithoutComments(hypotheses[i])));
    for (const std::string& reference : references[i]) {
      absl::flat_hash_map<std::string, int> left;
      for (const std::string& edge : edges) ++left[edge];
      REPRO_ASSIGN_OR_RETURN(
          const std::vector<std::string> wanted,
          NormalizedEdges(language, WithoutComments(reference)));
      for (const std::string& edge : wanted) {
        const auto found = left.find(edge);
        if (found != left.end() && found->second > 0) {
          --found->second;
          ++matched;
        }
        ++total;
      }
    }
  }
  return Finish(matched, total);
}

absl::StatusOr<CodeBleuScore> EvaluateCodeBleu(
    CodeLanguage language,
    const std::vector<std::vector<std::string>>& references,
    const std::vector<std::string>& hypotheses,
    const metrics::Keywords& keywords,
    const metrics::CodeBleuWeights& weights) {
  REPRO_RETURN_IF_ERROR(CheckCorpus(references, hypotheses));
  std::vector<metrics::Tokens> hypothesis_tokens;
  std::vector<std::vector<metrics::Tokens>> reference_tokens;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    hypothesis_tokens.push_back(metrics::SplitWhitespace(hypotheses[i]));
    auto& tokens = reference_tokens.emplace_back();
    for (const std::string& reference : references[i]) {
      tokens.push_back(metrics::SplitWhitespace(reference));
    }
  }
  CodeBleuScore score;
  REPRO_ASSIGN_OR_RETURN(score.ngram, metrics::CodeBleuNgramMatch(
                                          reference_tokens, hypothesis_tokens));
  REPRO_ASSIGN_OR_RETURN(score.weighted_ngram,
                         metrics::CodeBleuWeightedNgramMatch(
                             reference_tokens, hypothesis_tokens, keywords));
  REPRO_ASSIGN_OR_RETURN(score.syntax,
                         SyntaxMatch(language, references, hypotheses));
  REPRO_ASSIGN_OR_RETURN(score.data_flow,
                         DataFlowMatch(language, references, hypotheses));
  REPRO_ASSIGN_OR_RETURN(
      score.code_bleu,
      metrics::CodeBleu(score.ngram, score.weighted_ngram, score.syntax.score,
                        score.data_flow.score, weights));
  return score;
}

metrics::Keywords KeywordsOf(CodeLanguage language) {
  metrics::Keywords keywords;
  for (const std::string& token : LiteralTokens(language)) {
    if (std::all_of(token.begin(), token.end(), [](char c) {
          return absl::ascii_isalpha(c) || c == '_';
        })) {
      keywords.insert(token);
    }
  }
  return keywords;
}

}  // namespace repro::code
