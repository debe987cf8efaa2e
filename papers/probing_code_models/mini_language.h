// A small imperative language whose programs come with their syntax tree,
// control-flow, control-dependence and data-dependence graphs, all exact by
// construction: ground truth for probes of encoders that are trained on it.
//
//   program    := statement+
//   statement  := variable = value ; | print variable ;
//               | if condition block [else block] | while condition block
//   condition  := ( variable comparison term )
//   block      := { statement+ }
//   value      := term | term operator term
//   term       := variable | number
//
//   std::mt19937_64 random(seed);
//   const Program program = DrawProgram({}, random);
#ifndef REPRO_PAPERS_PROBING_CODE_MODELS_MINI_LANGUAGE_H_
#define REPRO_PAPERS_PROBING_CODE_MODELS_MINI_LANGUAGE_H_

#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/probing_code_models/spans.h"

namespace repro::probing_code_models {

// Special tokens, then the language's.
inline constexpr int64_t kPadId = 0, kStartId = 1, kEndId = 2, kMaskId = 3;
inline constexpr int64_t kFirstCodeId = 4;

// The token of each id. Fixed: 4 special ones and 38 of the language.
const std::vector<std::string>& Vocabulary();

enum class NodeKind {
  kProgram,
  kBlock,
  kAssign,
  kPrint,
  kIf,
  kWhile,
  kCondition,
  kBinary,
  kTarget,   // the variable that is assigned
  kOperand,  // a variable that is read by an assignment
  kTested,   // a variable that a condition reads
  kPrinted,
  kNumber,
  kOperator,
  kComparison,
};

struct Node {
  NodeKind kind = NodeKind::kProgram;
  int64_t parent = -1;  // index of a node before this one; -1 of the root
  Span tokens;          // in Program::ids
};

// Directed edges between indices of nodes, none from a node to itself.
using Edges = std::set<std::pair<int64_t, int64_t>>;

struct Program {
  std::vector<int64_t> ids;  // kStartId, the tokens, kEndId
  std::vector<Node> nodes;   // of the syntax tree, in pre-order

  // The nodes that are executed, kAssign, kPrint and kCondition, in text order.
  std::vector<int64_t> statements;
  Edges ast;           // parent to child
  Edges control_flow;  // between statements
  // From a condition to the statements whose execution it decides directly: a
  // branch's, not those of what is nested in it.
  Edges control_dependence;
  // From an assignment to the statements that may read its value.
  Edges data_dependence;
  // The same between tokens: the assigned variable's position and that of the
  // variable that reads it, as indices of `ids`. Pairs in one statement
  // (x = x + 1 in a loop) are among them.
  Edges token_data_flow;
};

// What graphs are made of. InvalidArgument for a text that is not of the
// language, naming the token, counted from 0.
absl::StatusOr<Program> ParseProgram(const std::string& text);

struct ProgramOptions {
  int64_t min_tokens = 30;  // kStartId and kEndId are counted
  int64_t max_tokens = 64;
  int64_t max_depth = 2;  // of blocks in each other
};

// A random program. It works on two disjoint groups of three of the twelve
// variables; a statement stays within one group, reads what was assigned above
// it, three times in four one of the group's last two assignments, and a loop
// ends by changing the variable that it tests. Deterministic for
// a state of `random`. The options are not checked: programs of at least 24 and
// up to at least 40 tokens can be drawn.
Program DrawProgram(const ProgramOptions& options, std::mt19937_64& random);

// Groups of nodes that edges of either direction connect; a node without edges
// is a group of its own: for each of num_nodes nodes, the least index in its
// group.
std::vector<int64_t> Components(const Edges& edges, int64_t num_nodes);

// The types of TagTokens for a program's tokens, and the annotations of its
// nodes, outer ones first, over its text: tokens joined by one blank.
inline constexpr int64_t kNumTagTypes = 9;
struct TaggedText {
  std::string text;
  std::vector<int64_t> token_of;  // of each character; -1 for blanks
  std::vector<Annotation> annotations;
};
TaggedText AnnotateProgram(const Program& program);

// A labelled pair of nodes.
struct NodePair {
  int64_t first = 0, second = 0;
  bool linked = false;
};

// As many pairs that `linked` names as that it does not, from the nodes
// `candidates`, at most `max_positives` of the former, chosen at random. Each
// unlinked pair is one whose nodes' first tokens are as far apart as those of
// the linked pair that it goes with, or as nearly so as the program allows, so
// that distance tells as little as it can; a linked pair for which none is left
// is dropped. Pairs have no direction: a link of either counts, and the order
// within a pair is random. Nodes with equal tokens are no pair.
std::vector<NodePair> SamplePairs(const Program& program, const Edges& linked,
                                  const std::vector<int64_t>& candidates,
                                  int64_t max_positives,
                                  std::mt19937_64& random);

}  // namespace repro::probing_code_models

#endif  // REPRO_PAPERS_PROBING_CODE_MODELS_MINI_LANGUAGE_H_
