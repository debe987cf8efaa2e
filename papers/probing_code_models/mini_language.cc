#include "papers/probing_code_models/mini_language.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status/macros.h"

namespace repro::probing_code_models {
namespace {

constexpr int64_t kNumVariables = 12;

bool IsVariable(const std::string& token) {
  return token.size() == 1 && token[0] >= 'a' && token[0] < 'a' + kNumVariables;
}
bool IsNumber(const std::string& token) {
  return token.size() == 1 && token[0] >= '0' && token[0] <= '9';
}
bool IsOperator(const std::string& token) {
  return token == "+" || token == "-" || token == "*";
}
bool IsComparison(const std::string& token) {
  return token == "<" || token == ">" || token == "==";
}

// Recursive descent over the tokens. What is nested deeper than kMaxNesting is
// refused: texts may come from outside.
class Parser {
 public:
  explicit Parser(std::vector<std::string> tokens)
      : tokens_(std::move(tokens)) {}

  absl::StatusOr<Program> Parse() {
    program_.ids.push_back(kStartId);
    const std::vector<std::string>& words = Vocabulary();
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const auto found =
          std::find(words.begin() + kFirstCodeId, words.end(), tokens_[i]);
      if (found == words.end()) {
        next_ = i;
        return Unexpected("a token of the language");
      }
      program_.ids.push_back(found - words.begin());
    }
    program_.ids.push_back(kEndId);
    const int64_t root = Open(NodeKind::kProgram, -1);
    std::vector<int64_t> open;
    REPRO_RETURN_IF_ERROR(
        Statements(root, /*controller=*/-1, /*depth=*/0, &open));
    if (next_ < tokens_.size()) return Unexpected("a statement");
    Close(root);
    DataDependence();
    return std::move(program_);
  }

 private:
  static constexpr int kMaxNesting = 50;

  absl::Status Unexpected(const std::string& expected) const {
    return absl::InvalidArgumentError(absl::StrCat(
        "token ", next_, ": expected ", expected, ", got ",
        next_ < tokens_.size() ? absl::StrCat("'", tokens_[next_], "'")
                               : "the end"));
  }
  std::string Peek() const {
    return next_ < tokens_.size() ? tokens_[next_] : "";
  }
  absl::Status Expect(const std::string& token) {
    if (Peek() != token) return Unexpected(absl::StrCat("'", token, "'"));
    ++next_;
    return absl::OkStatus();
  }

  // Position of the next token in `ids`.
  int64_t Position() const { return static_cast<int64_t>(next_) + 1; }

  int64_t Open(NodeKind kind, int64_t parent) {
    const auto node = static_cast<int64_t>(program_.nodes.size());
    program_.nodes.push_back({kind, parent, {Position(), Position()}});
    if (parent >= 0) program_.ast.insert({parent, node});
    return node;
  }
  void Close(int64_t node) { program_.nodes[node].tokens.end = Position() - 1; }

  // A node of one token.
  int64_t Leaf(NodeKind kind, int64_t parent) {
    const int64_t node = Open(kind, parent);
    ++next_;
    Close(node);
    return node;
  }

  absl::Status Variable(NodeKind kind, int64_t parent, int64_t statement) {
    if (!IsVariable(Peek())) return Unexpected("a variable");
    const std::string name = Peek();
    const int64_t node = Leaf(kind, parent);
    const int64_t position = program_.nodes[node].tokens.begin;
    if (kind == NodeKind::kTarget) {
      written_[statement] = {name, position};
    } else {
      reads_.push_back({statement, name, position});
    }
    return absl::OkStatus();
  }
  absl::Status Term(NodeKind kind, int64_t parent, int64_t statement) {
    if (IsNumber(Peek())) {
      Leaf(NodeKind::kNumber, parent);
      return absl::OkStatus();
    }
    return Variable(kind, parent, statement);
  }

  // A statement that is executed, after all of `open`, under `controller`.
  void Execute(int64_t node, int64_t controller, std::vector<int64_t>* open) {
    program_.statements.push_back(node);
    for (const int64_t before : *open) Flow(before, node);
    *open = {node};
    if (controller >= 0) program_.control_dependence.insert({controller, node});
  }
  void Flow(int64_t from, int64_t to) {
    // Only a loop with an empty body would lead from a statement to itself.
    if (from != to) program_.control_flow.insert({from, to});
  }

  absl::StatusOr<int64_t> Condition(int64_t parent, int64_t controller,
                                    std::vector<int64_t>* open) {
    const int64_t node = Open(NodeKind::kCondition, parent);
    REPRO_RETURN_IF_ERROR(Expect("("));
    Execute(node, controller, open);
    REPRO_RETURN_IF_ERROR(Variable(NodeKind::kTested, node, node));
    if (!IsComparison(Peek())) return Unexpected("a comparison");
    Leaf(NodeKind::kComparison, node);
    REPRO_RETURN_IF_ERROR(Term(NodeKind::kTested, node, node));
    REPRO_RETURN_IF_ERROR(Expect(")"));
    Close(node);
    return node;
  }

  absl::Status Block(int64_t parent, int64_t controller, int depth,
                     std::vector<int64_t>* open) {
    const int64_t node = Open(NodeKind::kBlock, parent);
    REPRO_RETURN_IF_ERROR(Expect("{"));
    REPRO_RETURN_IF_ERROR(Statements(node, controller, depth + 1, open));
    REPRO_RETURN_IF_ERROR(Expect("}"));
    Close(node);
    return absl::OkStatus();
  }

  // `open`: the statements after which the next one may be executed.
  absl::Status Statements(int64_t parent, int64_t controller, int depth,
                          std::vector<int64_t>* open) {
    if (depth > kMaxNesting) return Unexpected("less nesting");
    do {
      REPRO_RETURN_IF_ERROR(Statement(parent, controller, depth, open));
    } while (next_ < tokens_.size() && Peek() != "}");
    return absl::OkStatus();
  }

  absl::Status Statement(int64_t parent, int64_t controller, int depth,
                         std::vector<int64_t>* open) {
    const std::string token = Peek();
    if (token == "if" || token == "while") {
      const bool loop = token == "while";
      const int64_t node =
          Open(loop ? NodeKind::kWhile : NodeKind::kIf, parent);
      ++next_;
      REPRO_ASSIGN_OR_RETURN(const int64_t condition,
                             Condition(node, controller, open));
      std::vector<int64_t> body_end = {condition};
      REPRO_RETURN_IF_ERROR(Block(node, condition, depth, &body_end));
      if (loop) {
        for (const int64_t end : body_end) Flow(end, condition);
        *open = {condition};
      } else {
        std::vector<int64_t> else_end = {condition};
        if (Peek() == "else") {
          ++next_;
          REPRO_RETURN_IF_ERROR(Block(node, condition, depth, &else_end));
        }
        *open = body_end;
        open->insert(open->end(), else_end.begin(), else_end.end());
      }
      Close(node);
      return absl::OkStatus();
    }
    if (token == "print") {
      const int64_t node = Open(NodeKind::kPrint, parent);
      ++next_;
      Execute(node, controller, open);
      REPRO_RETURN_IF_ERROR(Variable(NodeKind::kPrinted, node, node));
      REPRO_RETURN_IF_ERROR(Expect(";"));
      Close(node);
      return absl::OkStatus();
    }
    if (!IsVariable(token)) return Unexpected("a statement");
    const int64_t node = Open(NodeKind::kAssign, parent);
    Execute(node, controller, open);
    REPRO_RETURN_IF_ERROR(Variable(NodeKind::kTarget, node, node));
    REPRO_RETURN_IF_ERROR(Expect("="));
    if (next_ + 1 < tokens_.size() && IsOperator(tokens_[next_ + 1])) {
      const int64_t binary = Open(NodeKind::kBinary, node);
      REPRO_RETURN_IF_ERROR(Term(NodeKind::kOperand, binary, node));
      Leaf(NodeKind::kOperator, binary);
      REPRO_RETURN_IF_ERROR(Term(NodeKind::kOperand, binary, node));
      Close(binary);
    } else {
      REPRO_RETURN_IF_ERROR(Term(NodeKind::kOperand, node, node));
    }
    REPRO_RETURN_IF_ERROR(Expect(";"));
    Close(node);
    return absl::OkStatus();
  }

  // Reaching definitions: the least solution of
  //   in(s) = union of out(p) over control flow p -> s,
  //   out(s) = {s} and in(s) without the definitions of s's variable,
  // by rounds until nothing changes.
  void DataDependence() {
    std::map<int64_t, std::set<int64_t>> in, out;
    bool changed = true;
    while (changed) {
      changed = false;
      for (const int64_t statement : program_.statements) {
        std::set<int64_t>& reaching = in[statement];
        for (const auto& [from, to] : program_.control_flow) {
          if (to == statement) {
            reaching.insert(out[from].begin(), out[from].end());
          }
        }
        std::set<int64_t> leaving = reaching;
        const auto own = written_.find(statement);
        if (own != written_.end()) {
          for (auto it = leaving.begin(); it != leaving.end();) {
            it = written_.at(*it).name == own->second.name ? leaving.erase(it)
                                                           : std::next(it);
          }
          leaving.insert(statement);
        }
        if (leaving != out[statement]) {
          out[statement] = std::move(leaving);
          changed = true;
        }
      }
    }
    for (const Read& read : reads_) {
      for (const int64_t definition : in[read.statement]) {
        const Write& write = written_.at(definition);
        if (write.name != read.name) continue;
        program_.token_data_flow.insert({write.position, read.position});
        if (definition != read.statement) {
          program_.data_dependence.insert({definition, read.statement});
        }
      }
    }
  }

  struct Write {
    std::string name;
    int64_t position = 0;
  };
  struct Read {
    int64_t statement = 0;
    std::string name;
    int64_t position = 0;
  };

  const std::vector<std::string> tokens_;
  size_t next_ = 0;
  Program program_;
  std::map<int64_t, Write> written_;  // by statement
  std::vector<Read> reads_;
};

// Writes the text of random programs.
class Writer {
 public:
  Writer(const ProgramOptions& options, std::mt19937_64& random)
      : options_(options), random_(random) {}

  std::vector<std::string> Draw() {
    std::vector<std::string> names;
    for (int64_t i = 0; i < kNumVariables; ++i) {
      names.push_back(std::string(1, static_cast<char>('a' + i)));
    }
    std::shuffle(names.begin(), names.end(), random_);
    for (int group = 0; group < 2; ++group) {
      groups_[group].assign(names.begin() + 3 * group,
                            names.begin() + 3 * group + 3);
      Assign(group);
    }
    const int64_t statements = 3 + Below(6);
    for (int64_t i = 0; i < statements; ++i) Statement(0);
    return std::move(tokens_);
  }

 private:
  int64_t Below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random_);
  }
  void Write(std::initializer_list<std::string> tokens) {
    tokens_.insert(tokens_.end(), tokens);
  }
  std::string Number() { return absl::StrCat(Below(10)); }

  // A variable of the group that was assigned above.
  std::string Assigned(int group) {
    const std::vector<std::string>& assigned = assigned_[group];
    const auto size = static_cast<int64_t>(assigned.size());
    const int64_t recent = std::min<int64_t>(size, 2);
    return Below(4) < 3 ? assigned[size - 1 - Below(recent)]
                        : assigned[Below(size)];
  }
  std::string Term(int group) {
    return assigned_[group].empty() || Below(4) == 0 ? Number()
                                                     : Assigned(group);
  }

  void Assign(int group) {
    // Both operands are drawn before the variable counts as assigned.
    const std::string left = Term(group), right = Term(group);
    const std::string target = groups_[group][Below(3)];
    Write({target, "="});
    if (assigned_[group].empty() || Below(3) == 0) {
      Write({left});
    } else {
      const char* const operators[] = {"+", "-", "*"};
      Write({left, operators[Below(3)], right});
    }
    Write({";"});
    assigned_[group].push_back(target);
  }

  void Block(int depth, const std::vector<std::string>& last) {
    Write({"{"});
    const int64_t statements = 1 + Below(2);
    for (int64_t i = 0; i < statements; ++i) Statement(depth + 1);
    tokens_.insert(tokens_.end(), last.begin(), last.end());
    Write({"}"});
  }

  void Statement(int depth) {
    const int group = static_cast<int>(Below(2));
    const int64_t kind = depth < options_.max_depth ? Below(20) : Below(14);
    if (kind < 11) {
      Assign(group);
    } else if (kind < 14) {
      Write({"print", Assigned(group), ";"});
    } else {
      const std::string tested = Assigned(group);
      const char* const comparisons[] = {"<", ">", "=="};
      const bool loop = kind >= 17;
      Write({loop ? "while" : "if", "(", tested, comparisons[Below(3)],
             Term(group), ")"});
      if (loop) {
        Block(depth,
              {tested, "=", tested, Below(2) == 0 ? "+" : "-", Number(), ";"});
        assigned_[group].push_back(tested);
      } else {
        Block(depth, {});
        if (Below(2) == 0) {
          Write({"else"});
          Block(depth, {});
        }
      }
    }
  }

  const ProgramOptions& options_;
  std::mt19937_64& random_;
  std::vector<std::string> tokens_;
  std::vector<std::string> groups_[2];
  std::vector<std::string> assigned_[2];  // in order, with repeats
};

// Of AnnotateProgram; nothing for nodes without a type of their own.
std::optional<int64_t> TagType(NodeKind kind) {
  switch (kind) {
    case NodeKind::kBlock:
      return 0;
    case NodeKind::kCondition:
      return 1;
    case NodeKind::kTarget:
      return 2;
    case NodeKind::kOperand:
      return 3;
    case NodeKind::kTested:
      return 4;
    case NodeKind::kPrinted:
      return 5;
    case NodeKind::kNumber:
      return 6;
    case NodeKind::kOperator:
      return 7;
    case NodeKind::kComparison:
      return 8;
    default:
      return std::nullopt;
  }
}

}  // namespace

const std::vector<std::string>& Vocabulary() {
  static const auto* const kVocabulary = [] {
    auto* words = new std::vector<std::string>{
        "[PAD]", "[CLS]", "[SEP]", "[MASK]", "if", "else", "while",
        "print", "=",     ";",     "(",      ")",  "{",    "}",
        "+",     "-",     "*",     "<",      ">",  "=="};
    for (int i = 0; i < 10; ++i) words->push_back(absl::StrCat(i));
    for (int64_t i = 0; i < kNumVariables; ++i) {
      words->push_back(std::string(1, static_cast<char>('a' + i)));
    }
    return words;
  }();
  return *kVocabulary;
}

absl::StatusOr<Program> ParseProgram(const std::string& text) {
  return Parser(absl::StrSplit(text, ' ', absl::SkipEmpty())).Parse();
}

Program DrawProgram(const ProgramOptions& options, std::mt19937_64& random) {
  while (true) {
    std::vector<std::string> tokens = Writer(options, random).Draw();
    const auto size = static_cast<int64_t>(tokens.size()) + 2;
    if (size < options.min_tokens || size > options.max_tokens) continue;
    // What the writer writes is of the language.
    return *Parser(std::move(tokens)).Parse();
  }
}

std::vector<int64_t> Components(const Edges& edges, int64_t num_nodes) {
  std::vector<int64_t> group(num_nodes);
  std::iota(group.begin(), group.end(), 0);
  const auto find = [&](int64_t node) {
    while (group[node] != node) node = group[node] = group[group[node]];
    return node;
  };
  for (const auto& [from, to] : edges) {
    const int64_t a = find(from), b = find(to);
    group[std::max(a, b)] = std::min(a, b);
  }
  for (int64_t node = 0; node < num_nodes; ++node) group[node] = find(node);
  return group;
}

TaggedText AnnotateProgram(const Program& program) {
  TaggedText tagged;
  // First and last character of each token; special tokens have none.
  std::vector<Span> characters(program.ids.size());
  for (size_t i = 1; i + 1 < program.ids.size(); ++i) {
    if (i > 1) {
      tagged.text += ' ';
      tagged.token_of.push_back(-1);
    }
    const std::string& word = Vocabulary()[program.ids[i]];
    const auto begin = static_cast<int64_t>(tagged.text.size());
    tagged.text += word;
    tagged.token_of.insert(tagged.token_of.end(), word.size(),
                           static_cast<int64_t>(i));
    characters[i] = {begin, begin + static_cast<int64_t>(word.size()) - 1};
  }
  for (const Node& node : program.nodes) {
    const std::optional<int64_t> type = TagType(node.kind);
    if (!type.has_value()) continue;
    tagged.annotations.push_back({characters[node.tokens.begin].begin,
                                  characters[node.tokens.end].end, *type});
  }
  return tagged;
}

std::vector<NodePair> SamplePairs(const Program& program, const Edges& linked,
                                  const std::vector<int64_t>& candidates,
                                  int64_t max_positives,
                                  std::mt19937_64& random) {
  std::vector<NodePair> positives, negatives;
  for (size_t i = 0; i < candidates.size(); ++i) {
    for (size_t j = i + 1; j < candidates.size(); ++j) {
      const int64_t a = candidates[i], b = candidates[j];
      if (program.nodes[a].tokens == program.nodes[b].tokens) continue;
      const bool link = linked.count({a, b}) > 0 || linked.count({b, a}) > 0;
      (link ? positives : negatives).push_back({a, b, link});
    }
  }
  std::shuffle(positives.begin(), positives.end(), random);
  std::shuffle(negatives.begin(), negatives.end(), random);
  if (static_cast<int64_t>(positives.size()) > max_positives) {
    positives.resize(max_positives);
  }
  const auto distance = [&](const NodePair& pair) {
    return std::abs(program.nodes[pair.first].tokens.begin -
                    program.nodes[pair.second].tokens.begin);
  };
  std::vector<NodePair> pairs;
  for (const NodePair& positive : positives) {
    const int64_t wanted = distance(positive);
    const auto nearest =
        std::min_element(negatives.begin(), negatives.end(),
                         [&](const NodePair& a, const NodePair& b) {
                           return std::abs(distance(a) - wanted) <
                                  std::abs(distance(b) - wanted);
                         });
    if (nearest == negatives.end()) break;
    pairs.push_back(positive);
    pairs.push_back(*nearest);
    negatives.erase(nearest);
  }
  for (NodePair& pair : pairs) {
    if (random() % 2 == 0) std::swap(pair.first, pair.second);
  }
  return pairs;
}

}  // namespace repro::probing_code_models
