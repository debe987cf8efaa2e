#include "papers/flowformer/list_ops.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status/macros.h"

namespace repro::flowformer {
namespace {

constexpr int kFirstOperator = 11;
constexpr int kOperators = 4;
constexpr int kClose = kFirstOperator + kOperators;
constexpr const char* kOperatorNames[kOperators] = {"[MIN", "[MAX", "[MED",
                                                    "[SM"};

int Apply(int operation, std::vector<int> arguments) {
  switch (operation) {
    case 0:
      return *std::min_element(arguments.begin(), arguments.end());
    case 1:
      return *std::max_element(arguments.begin(), arguments.end());
    case 2: {
      std::sort(arguments.begin(), arguments.end());
      const size_t n = arguments.size();
      return (arguments[(n - 1) / 2] + arguments[n / 2]) / 2;
    }
    default:
      return std::accumulate(arguments.begin(), arguments.end(), 0) % 10;
  }
}

// Draws a tree at `depth` to the end of `tokens` and returns its value. Gives
// up, with -1, on a tree that is already too long to be used.
int Draw(const ListOpsOptions& options, int depth, std::mt19937_64& random,
         std::vector<int64_t>& tokens) {
  const bool leaf = depth >= options.max_depth ||
                    std::uniform_real_distribution<double>()(random) >
                        options.operator_probability;
  if (leaf) {
    const int digit = std::uniform_int_distribution<int>(0, 9)(random);
    tokens.push_back(digit + 1);
    return digit;
  }
  const int count =
      std::uniform_int_distribution<int>(2, options.max_args)(random);
  const int operation =
      std::uniform_int_distribution<int>(0, kOperators - 1)(random);
  tokens.push_back(kFirstOperator + operation);
  std::vector<int> arguments;
  for (int i = 0; i < count; ++i) {
    const int value = Draw(options, depth + 1, random, tokens);
    if (value < 0 || tokens.size() >= options.max_length) return -1;
    arguments.push_back(value);
  }
  tokens.push_back(kClose);
  return Apply(operation, arguments);
}

// The value of the expression that begins at `position`, which is moved behind
// it.
absl::StatusOr<int> Evaluate(const std::vector<int64_t>& tokens,
                             size_t& position) {
  if (position >= tokens.size()) {
    return absl::InvalidArgumentError("ListOps: the expression has no end");
  }
  const int64_t token = tokens[position++];
  if (token < kFirstOperator) return static_cast<int>(token - 1);
  if (token == kClose) {
    return absl::InvalidArgumentError(
        absl::StrCat("ListOps: token ", position, ": ']' without an operator"));
  }
  std::vector<int> arguments;
  while (position < tokens.size() && tokens[position] != kClose) {
    REPRO_ASSIGN_OR_RETURN(const int value, Evaluate(tokens, position));
    arguments.push_back(value);
  }
  if (position == tokens.size() || arguments.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("ListOps: token ", position, ": an operator without ",
                     arguments.empty() ? "arguments" : "']'"));
  }
  ++position;
  return Apply(token - kFirstOperator, std::move(arguments));
}

}  // namespace

std::string ListOpsExample::Text() const {
  return absl::StrJoin(tokens, " ", [](std::string* out, int64_t token) {
    if (token < kFirstOperator) {
      absl::StrAppend(out, token - 1);
    } else {
      out->append(token == kClose ? "]"
                                  : kOperatorNames[token - kFirstOperator]);
    }
  });
}

ListOpsExample DrawListOps(const ListOpsOptions& options,
                           std::mt19937_64& random) {
  while (true) {
    ListOpsExample example;
    example.value = Draw(options, 1, random, example.tokens);
    const int length = example.tokens.size();
    if (example.value >= 0 && length > options.min_length &&
        length < options.max_length) {
      return example;
    }
  }
}

std::vector<ListOpsExample> DrawListOpsSet(const ListOpsOptions& options,
                                           int64_t count,
                                           std::mt19937_64& random) {
  std::set<std::vector<int64_t>> seen;
  std::vector<ListOpsExample> examples;
  while (static_cast<int64_t>(examples.size()) < count) {
    ListOpsExample example = DrawListOps(options, random);
    if (seen.insert(example.tokens).second) {
      examples.push_back(std::move(example));
    }
  }
  return examples;
}

absl::StatusOr<ListOpsExample> ParseListOps(absl::string_view text) {
  ListOpsExample example;
  for (const absl::string_view word :
       absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    const auto* name =
        std::find(kOperatorNames, kOperatorNames + kOperators, word);
    if (word.size() == 1 && absl::ascii_isdigit(word[0])) {
      example.tokens.push_back(word[0] - '0' + 1);
    } else if (word == "]") {
      example.tokens.push_back(kClose);
    } else if (name != kOperatorNames + kOperators) {
      example.tokens.push_back(kFirstOperator + (name - kOperatorNames));
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("ListOps: \"", word, "\" is no digit, operator or ']'"));
    }
  }
  size_t position = 0;
  REPRO_ASSIGN_OR_RETURN(example.value, Evaluate(example.tokens, position));
  if (position != example.tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "ListOps: token ", position + 1, ": text behind the expression"));
  }
  return example;
}

}  // namespace repro::flowformer
