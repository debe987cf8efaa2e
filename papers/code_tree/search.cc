#include "papers/code_tree/search.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::code_tree {
namespace {

// What the Critic's digit and the bonus for passing are divided by.
constexpr double kScoreScale = 15;
constexpr int kBestScore = 5;

absl::Status CheckOptions(const SearchOptions& options) {
  const auto at_least = [](const char* name, int value, int least) {
    return value >= least
               ? absl::OkStatus()
               : absl::InvalidArgumentError(absl::StrCat(
                     name, " is ", value, ", must be at least ", least));
  };
  REPRO_RETURN_IF_ERROR(at_least("max_programs", options.max_programs, 1));
  REPRO_RETURN_IF_ERROR(at_least("max_depth", options.max_depth, 0));
  return at_least("search_width", options.search_width, 1);
}

class Searcher {
 public:
  Searcher(const Problem& problem, Agents& agents, TestRunner& tests,
           const SearchOptions& options)
      : problem_(problem), agents_(agents), tests_(tests), options_(options) {}

  absl::StatusOr<SearchResult> Run() {
    switch (options_.arm) {
      case Arm::kCodeTree:
        REPRO_RETURN_IF_ERROR(CodeTree());
        break;
      case Arm::kBreadthFirst:
      case Arm::kDepthFirst:
        REPRO_RETURN_IF_ERROR(BestFirst());
        break;
      case Arm::kStrategyList:
        REPRO_RETURN_IF_ERROR(StrategyList());
        break;
      case Arm::kResample:
        REPRO_RETURN_IF_ERROR(Resample());
        break;
    }
    return std::move(result_);
  }

 private:
  Node& At(int node) { return result_.nodes[node]; }

  bool BudgetLeft() const { return result_.programs() < options_.max_programs; }

  int AddNode(Node node) {
    result_.nodes.push_back(std::move(node));
    return static_cast<int>(result_.nodes.size()) - 1;
  }

  absl::StatusOr<std::vector<std::string>> AskStrategies(
      std::optional<int> count, int asked_before, int most) {
    ++result_.calls.thinker;
    REPRO_ASSIGN_OR_RETURN(std::vector<std::string> strategies,
                           agents_.Strategies(problem_, count, asked_before));
    if (static_cast<int>(strategies.size()) > most) strategies.resize(most);
    return strategies;
  }

  // Adds a child for each reflection on the node's program; returns them in
  // the reflections' order.
  absl::StatusOr<std::vector<int>> AddReflections(int parent,
                                                  std::optional<int> count) {
    ++result_.calls.thinker;
    REPRO_ASSIGN_OR_RETURN(
        std::vector<std::string> reflections,
        agents_.Reflections(problem_, At(parent).strategy, At(parent).program,
                            At(parent).feedback.text, At(parent).review,
                            count));
    if (static_cast<int>(reflections.size()) > options_.search_width) {
      reflections.resize(options_.search_width);
    }
    std::vector<int> children;
    for (std::string& reflection : reflections) {
      if (reflection.empty()) continue;
      Node child;
      child.parent = parent;
      child.depth = At(parent).depth + 1;
      child.strategy = At(parent).strategy;
      child.reflection = std::move(reflection);
      children.push_back(AddNode(std::move(child)));
    }
    return children;
  }

  // Writes the node's program, or repairs its parent's, and runs the visible
  // tests. Where there is nothing to repair, the Solver writes anew.
  absl::Status Visit(int node, const Sampling& sampling = {}) {
    const int parent = At(node).parent;
    if (parent < 0 || At(parent).program.empty()) {
      ++result_.calls.solver;
      REPRO_ASSIGN_OR_RETURN(
          At(node).program,
          agents_.Solve(problem_, At(node).strategy, sampling));
    } else {
      ++result_.calls.debugger;
      REPRO_ASSIGN_OR_RETURN(
          At(node).program,
          agents_.Repair(problem_, At(parent).program, At(parent).feedback.text,
                         At(node).reflection));
    }
    result_.visited.push_back(node);
    REPRO_ASSIGN_OR_RETURN(At(node).feedback,
                           tests_.Run(problem_, At(node).program));
    At(node).value = At(node).feedback.reward;
    At(node).action = Action::kAbort;  // until something else is decided
    return absl::OkStatus();
  }

  void Accept(int node) {
    At(node).action = Action::kAccept;
    result_.accepted = node;
  }

  // ---- CodeTree ----

  // The Critic on a program that passes the visible tests.
  absl::StatusOr<bool> Verified(int node) {
    if (!options_.verify) return true;
    ++result_.calls.verify;
    REPRO_ASSIGN_OR_RETURN(
        Review review,
        agents_.Verify(problem_, At(node).program, At(node).feedback.text));
    if (!review.accepted) At(node).review = std::move(review.text);
    return review.accepted;
  }

  // The Critic on a program that fails: whether to go on from it.
  absl::StatusOr<bool> WorthRefining(int node) {
    if (At(node).depth >= options_.max_depth) return false;
    if (options_.score) {
      ++result_.calls.score;
      REPRO_ASSIGN_OR_RETURN(
          const int score,
          agents_.Score(problem_, At(node).program, At(node).feedback.text));
      At(node).critic_score = score;
      At(node).value += score / kScoreScale;
    }
    if (!options_.abort) return true;
    const int parent = At(node).parent;
    const double before = parent < 0 ? 0 : At(parent).value;
    if (At(node).value < before) return false;
    // As coded: at a tie the depth is compared with the Critic's digit.
    return At(node).value > before || !At(node).critic_score ||
           At(node).depth <= *At(node).critic_score;
  }

  // Whether the node is accepted; sets its value.
  absl::StatusOr<bool> Judge(int node) {
    if (!At(node).feedback.AllPassed()) return false;
    REPRO_ASSIGN_OR_RETURN(const bool verified, Verified(node));
    At(node).value += kBestScore / kScoreScale;
    // A program that passes at the last depth, made from one that passed, is
    // taken whatever the Critic says.
    const int parent = At(node).parent;
    return verified || (parent >= 0 && At(parent).feedback.AllPassed() &&
                        At(node).depth == options_.max_depth);
  }

  absl::Status CodeTree() {
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<std::string> strategies,
        AskStrategies(std::nullopt, 0, options_.search_width));
    std::vector<int> stack;
    for (const std::string& strategy : strategies) {
      Node node;
      node.depth = 1;
      node.strategy = strategy;
      stack.push_back(AddNode(std::move(node)));
    }
    std::reverse(stack.begin(), stack.end());  // the first one on top
    while (!stack.empty() && BudgetLeft()) {
      const int node = stack.back();
      stack.pop_back();
      if (At(node).depth > options_.max_depth) continue;
      REPRO_RETURN_IF_ERROR(Visit(node));
      if (result_.candidate < 0) result_.candidate = node;
      REPRO_ASSIGN_OR_RETURN(const bool accepted, Judge(node));
      if (accepted) {
        Accept(node);
        break;
      }
      bool refine = At(node).depth < options_.max_depth;
      if (!At(node).feedback.AllPassed()) {
        result_.candidate = node;
        REPRO_ASSIGN_OR_RETURN(refine, WorthRefining(node));
      }
      if (!refine) continue;
      At(node).action = Action::kRefine;
      REPRO_ASSIGN_OR_RETURN(At(node).children,
                             AddReflections(node, std::nullopt));
      stack.insert(stack.end(), At(node).children.rbegin(),
                   At(node).children.rend());
    }
    return absl::OkStatus();
  }

  // ---- The arms without a Critic ----

  // Visits the node; true if it ends the search.
  absl::StatusOr<bool> VisitAndAccept(int node, const Sampling& sampling = {}) {
    REPRO_RETURN_IF_ERROR(Visit(node, sampling));
    if (!At(node).feedback.AllPassed()) return false;
    Accept(node);
    return true;
  }

  // In the order in which they are to be repaired.
  void Rank(std::vector<int>& nodes) {
    const bool worst_first = options_.arm == Arm::kDepthFirst &&
                             options_.variant == Variant::kAsCoded;
    std::stable_sort(nodes.begin(), nodes.end(), [&](int a, int b) {
      return worst_first ? At(a).value < At(b).value
                         : At(a).value > At(b).value;
    });
  }

  absl::Status BestFirst() {
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<std::string> strategies,
        AskStrategies(options_.search_width, 0, options_.search_width));
    std::vector<int> first;
    for (const std::string& strategy : strategies) {
      if (!BudgetLeft()) break;
      Node node;
      node.strategy = strategy;
      first.push_back(AddNode(std::move(node)));
      REPRO_ASSIGN_OR_RETURN(const bool done, VisitAndAccept(first.back()));
      if (done) return absl::OkStatus();
    }
    Rank(first);
    const bool depth_first = options_.arm == Arm::kDepthFirst;
    // As coded, the depth-first arm looks at the budget before a node only, not
    // before each of its repairs.
    const bool strict = !depth_first || options_.variant != Variant::kAsCoded;
    std::deque<int> open(first.begin(), first.end());
    while (!open.empty() && BudgetLeft()) {
      const int node = open.front();
      open.pop_front();
      if (At(node).depth >= options_.max_depth) continue;
      At(node).action = Action::kRefine;
      REPRO_ASSIGN_OR_RETURN(const std::vector<int> children,
                             AddReflections(node, options_.search_width));
      At(node).children = children;
      std::vector<int> repaired;
      for (const int child : children) {
        if (strict && !BudgetLeft()) break;
        REPRO_ASSIGN_OR_RETURN(const bool done, VisitAndAccept(child));
        if (done) return absl::OkStatus();
        repaired.push_back(child);
      }
      Rank(repaired);
      open.insert(depth_first ? open.begin() : open.end(), repaired.begin(),
                  repaired.end());
    }
    return absl::OkStatus();
  }

  absl::Status StrategyList() {
    const int count = options_.max_programs;
    REPRO_ASSIGN_OR_RETURN(std::vector<std::string> strategies,
                           AskStrategies(count, 0, count));
    const int missing = count - static_cast<int>(strategies.size());
    if (missing > 0) {
      REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> more,
                             AskStrategies(missing, 1, missing));
      strategies.insert(strategies.end(), more.begin(), more.end());
    }
    Sampling sampling;
    sampling.temperature = options_.list_temperature;
    for (const std::string& strategy : strategies) {
      Node node;
      node.strategy = strategy;
      REPRO_ASSIGN_OR_RETURN(
          const bool done, VisitAndAccept(AddNode(std::move(node)), sampling));
      if (done) break;
      ++sampling.sample;
    }
    return absl::OkStatus();
  }

  absl::Status Resample() {
    Sampling sampling;
    sampling.temperature = options_.resample_temperature;
    while (BudgetLeft()) {
      REPRO_ASSIGN_OR_RETURN(const bool done,
                             VisitAndAccept(AddNode(Node()), sampling));
      if (done) break;
      ++sampling.sample;
    }
    return absl::OkStatus();
  }

  const Problem& problem_;
  Agents& agents_;
  TestRunner& tests_;
  const SearchOptions& options_;
  SearchResult result_;
};

struct NamedArm {
  Arm arm;
  absl::string_view name;
};
constexpr NamedArm kArms[] = {{Arm::kCodeTree, "codetree"},
                              {Arm::kBreadthFirst, "bfs"},
                              {Arm::kDepthFirst, "dfs"},
                              {Arm::kStrategyList, "list"},
                              {Arm::kResample, "resample"}};

}  // namespace

absl::string_view ArmName(Arm arm) {
  for (const NamedArm& named : kArms) {
    if (named.arm == arm) return named.name;
  }
  return "unknown";
}

absl::StatusOr<Arm> ParseArm(absl::string_view name) {
  std::string names;
  for (const NamedArm& named : kArms) {
    if (named.name == name) return named.arm;
    absl::StrAppend(&names, names.empty() ? "" : ", ", named.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no arm \"", name, "\"; there are: ", names));
}

SearchOptions SearchOptions::Of(Arm arm) {
  SearchOptions options;
  options.arm = arm;
  if (arm == Arm::kBreadthFirst || arm == Arm::kDepthFirst) {
    options.search_width = 3;
  }
  return options;
}

int SearchResult::SubmittedNode(Variant variant) const {
  if (accepted >= 0) return accepted;
  if (variant == Variant::kAsCoded) return candidate;
  int best = -1;
  for (const int node : visited) {
    if (best < 0 || nodes[node].value > nodes[best].value) best = node;
  }
  return best;
}

std::optional<std::string> SearchResult::Submission(Variant variant) const {
  const int node = SubmittedNode(variant);
  if (node < 0) return std::nullopt;
  return nodes[node].program;
}

absl::StatusOr<SearchResult> Search(const Problem& problem, Agents& agents,
                                    TestRunner& tests,
                                    const SearchOptions& options) {
  REPRO_RETURN_IF_ERROR(CheckOptions(options));
  absl::StatusOr<SearchResult> result =
      Searcher(problem, agents, tests, options).Run();
  if (!result.ok()) {
    return absl::Status(
        result.status().code(),
        absl::StrCat(problem.id, ": ", result.status().message()));
  }
  return result;
}

}  // namespace repro::code_tree
