#ifndef REPRO_COMMON_CODE_DATA_FLOW_H_
#define REPRO_COMMON_CODE_DATA_FLOW_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"
#include "common/code/syntax_tree.h"

// The data-flow graph of Guo et al., "GraphCodeBERT: Pre-training Code
// Representations with Data Flow" (ICLR 2021), section 3 and the rules of its
// reference code: for each variable token, from which tokens its value comes.
namespace repro::code {

enum class DataFlowRelation {
  kComesFrom,     // used here, its value was set there
  kComputedFrom,  // assigned here from an expression
};

// "comesFrom" or "computedFrom".
const char* RelationName(DataFlowRelation relation);

struct DataFlowEdge {
  std::string token;
  int token_index;
  DataFlowRelation relation;
  // Names and token numbers that the value comes from. Both empty for a
  // variable that is only a source. In loops the names are a set, so that
  // their number may differ from that of the indexes.
  std::vector<std::string> source_tokens;
  std::vector<int> source_indexes;
};

struct DataFlowGraph {
  // Leaves in source order, comments left out, strings whole; an end of line
  // inside of one is dropped. Token numbers count these.
  std::vector<std::string> tokens;
  // In order of the token number. One token may have several.
  std::vector<DataFlowEdge> edges;
};

struct DataFlowOptions {
  // Keep variables without any edge to or from them.
  bool keep_isolated = false;
  // Work allowed, in visited nodes and made edges: loops double it at each
  // level of nesting, in the paper's rules.
  int64_t max_steps = 20'000'000;
};

// Whether the rules know the language: all but C and C++.
bool HasDataFlow(CodeLanguage language);

// The graph of a parsed source. C and C++ have no rules in the paper:
// Unimplemented. ResourceExhausted: beyond max_steps.
absl::StatusOr<DataFlowGraph> DataFlow(const SyntaxTree& tree,
                                       const DataFlowOptions& options = {});

// The same with what the reference code does first: RemoveCommentsLexically,
// and PHP is put between "<?php" and "?>".
absl::StatusOr<DataFlowGraph> DataFlow(CodeLanguage language,
                                       absl::string_view source,
                                       const DataFlowOptions& options = {});

}  // namespace repro::code

#endif  // REPRO_COMMON_CODE_DATA_FLOW_H_
