// The tree of strategies, programs and repairs, and the ways to explore it.
//
//   SandboxTestRunner tests(&sandbox);
//   LanguageModelAgents agents(client.get());
//   REPRO_ASSIGN_OR_RETURN(SearchResult result,
//                          Search(problem, agents, tests, {}));
//   if (auto program = result.Submission(Variant::kAsPublished)) Use(*program);
#ifndef REPRO_PAPERS_CODE_TREE_SEARCH_H_
#define REPRO_PAPERS_CODE_TREE_SEARCH_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "papers/code_tree/agents.h"
#include "papers/code_tree/problem.h"
#include "papers/code_tree/visible_tests.h"

namespace repro::code_tree {

// Where paper and released code differ.
enum class Variant { kAsPublished, kAsCoded };

enum class Arm {
  // Depth first with the Critic: verify, score, abort.
  kCodeTree,
  // Without a Critic, up to the first program that passes the visible tests:
  // best children first, level by level.
  kBreadthFirst,
  // The same, down the best child first; as coded, down the worst one.
  kDepthFirst,
  // One program for each of many strategies.
  kStrategyList,
  // Programs from the same prompt at temperature 1.
  kResample,
};

// "codetree", "bfs", "dfs", "list", "resample".
absl::string_view ArmName(Arm arm);
// InvalidArgument, with the names, for another one.
absl::StatusOr<Arm> ParseArm(absl::string_view name);

struct SearchOptions {
  Arm arm = Arm::kCodeTree;
  Variant variant = Variant::kAsPublished;
  // The budget: programs written or repaired.
  int max_programs = 20;
  // kCodeTree: strategies have depth 1, repairs one more than what they repair;
  // nodes beyond max_depth don't exist. kBreadthFirst, kDepthFirst: the first
  // programs have depth 0, and nodes of max_depth are not repaired.
  int max_depth = 3;
  // At most this many strategies and reflections are followed. kBreadthFirst
  // and kDepthFirst ask for just as many; kCodeTree lets the Thinker choose.
  int search_width = 10;
  // Ablations of kCodeTree. Without verification the first program that passes
  // the visible tests is accepted; without abort every node is refined down to
  // max_depth; without scoring a node's value lacks the Critic's digit and a
  // tie with the parent's value is refined.
  bool verify = true;
  bool abort = true;
  bool score = true;
  double resample_temperature = 1.0;
  double list_temperature = 0.8;

  // The paper's: width 10 for kCodeTree, 3 for kBreadthFirst and kDepthFirst.
  static SearchOptions Of(Arm arm);
};

// What the search does with a node once its program has been run.
enum class Action {
  kNone,  // not run
  kAccept,
  kRefine,
  kAbort,  // no children: by its value, its depth or the arm's rules
};

struct Node {
  int parent = -1;  // -1: a strategy's first program
  int depth = 0;
  std::string strategy;
  std::string reflection;  // what the Debugger was told; empty: the Solver's
  // Filled when the node is visited.
  std::string program;
  Feedback feedback;
  std::string review;  // the Critic's reasons for rejecting
  std::optional<int> critic_score;
  double value = 0;
  Action action = Action::kNone;
  std::vector<int> children;
};

struct Calls {
  int thinker = 0;
  int solver = 0;
  int debugger = 0;
  int score = 0;
  int verify = 0;

  int total() const { return thinker + solver + debugger + score + verify; }
};

struct SearchResult {
  std::vector<Node> nodes;
  // Those whose programs were written, in that order.
  std::vector<int> visited;
  int accepted = -1;   // a node
  int candidate = -1;  // kCodeTree, as coded: the latest failing or the first
  Calls calls;

  int programs() const { return static_cast<int>(visited.size()); }

  // The node whose program is submitted, -1 if there is none: the accepted one,
  // or else, as published, the one of the highest value, the first of equals;
  // as coded, `candidate` (kCodeTree) or nothing (all others).
  int SubmittedNode(Variant variant) const;
  std::optional<std::string> Submission(Variant variant) const;
};

// Errors: InvalidArgument for options out of range, and what an agent or the
// test runner returns, with the problem's id.
absl::StatusOr<SearchResult> Search(const Problem& problem, Agents& agents,
                                    TestRunner& tests,
                                    const SearchOptions& options);

}  // namespace repro::code_tree

#endif  // REPRO_PAPERS_CODE_TREE_SEARCH_H_
