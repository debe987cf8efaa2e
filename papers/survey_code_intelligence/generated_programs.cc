#include "papers/survey_code_intelligence/generated_programs.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/bleu.h"
#include "common/metrics/classification.h"
#include "common/status/macros.h"

namespace repro::survey_code_intelligence {
namespace {

constexpr absl::string_view kOps = "+-*&^";
constexpr int kNumInputs = 2;
constexpr int kNumStatements = 8;
constexpr int kTruthInputs = 64;
constexpr int kTestInputs = 3;
constexpr int64_t kLargestInput = 100;
constexpr int kLargestConstant = 9;

int Draw(int low, int high, std::mt19937_64& generator) {
  return std::uniform_int_distribution<int>(low, high)(generator);
}

bool Chance(double probability, std::mt19937_64& generator) {
  return std::bernoulli_distribution(probability)(generator);
}

// A variable below `num_variables`, or with probability 1/5 a constant.
Operand DrawOperand(int num_variables, std::mt19937_64& generator) {
  if (Chance(0.2, generator)) {
    return {true, Draw(1, kLargestConstant, generator)};
  }
  return {false, Draw(0, num_variables - 1, generator)};
}

bool Same(const Operand& a, const Operand& b) {
  return a.is_constant == b.is_constant && a.value == b.value;
}

int64_t Apply(char op, int64_t left, int64_t right) {
  // Unsigned, where overflow is defined.
  const auto a = static_cast<uint64_t>(left);
  const auto b = static_cast<uint64_t>(right);
  switch (op) {
    case '+':
      return static_cast<int64_t>(a + b);
    case '-':
      return static_cast<int64_t>(a - b);
    case '*':
      return static_cast<int64_t>(a * b);
    case '&':
      return static_cast<int64_t>(a & b);
    default:
      return static_cast<int64_t>(a ^ b);
  }
}

// In an order drawn from those that assign before use.
std::vector<Statement> Reordered(std::vector<Statement> rest,
                                 size_t num_variables,
                                 std::mt19937_64& generator) {
  std::vector<bool> assigned(num_variables, false);
  for (size_t i = 0; i < kNumInputs; ++i) assigned[i] = true;
  const auto ready = [&](const Operand& operand) {
    return operand.is_constant || assigned[static_cast<size_t>(operand.value)];
  };
  std::vector<Statement> order;
  while (!rest.empty()) {
    std::vector<size_t> candidates;
    for (size_t i = 0; i < rest.size(); ++i) {
      if (ready(rest[i].left) && ready(rest[i].right)) candidates.push_back(i);
    }
    const size_t chosen = candidates[static_cast<size_t>(
        Draw(0, static_cast<int>(candidates.size()) - 1, generator))];
    assigned[static_cast<size_t>(rest[chosen].target)] = true;
    order.push_back(rest[chosen]);
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(chosen));
  }
  return order;
}

using Inputs = std::vector<std::pair<int64_t, int64_t>>;

Inputs DrawInputs(int count, std::mt19937_64& generator) {
  std::uniform_int_distribution<int64_t> draw(-kLargestInput, kLargestInput);
  Inputs inputs;
  for (int i = 0; i < count; ++i) {
    const int64_t a = draw(generator);
    inputs.emplace_back(a, draw(generator));
  }
  return inputs;
}

// The share of inputs on which both give the same.
double Agreement(const Program& program, const Program& reference,
                 const Inputs& inputs) {
  const auto same = absl::c_count_if(inputs, [&](const auto& input) {
    return Evaluate(program, input.first, input.second) ==
           Evaluate(reference, input.first, input.second);
  });
  return static_cast<double>(same) / static_cast<double>(inputs.size());
}

// Scores of programs and whether they are right.
struct Scored {
  std::vector<bool> right;
  std::vector<double> scores;

  void Add(bool is_right, double score) {
    right.push_back(is_right);
    scores.push_back(score);
  }
};

}  // namespace

Program RandomProgram(int num_statements, std::mt19937_64& generator) {
  Program program;
  program.names = {"a", "b"};
  for (int i = 0; i < num_statements; ++i) {
    Statement statement;
    statement.target = kNumInputs + i;
    statement.left = DrawOperand(statement.target, generator);
    statement.op = kOps[static_cast<size_t>(
        Draw(0, static_cast<int>(kOps.size()) - 1, generator))];
    statement.right = DrawOperand(statement.target, generator);
    program.statements.push_back(statement);
    program.names.push_back(absl::StrCat("v", statement.target));
    program.result = statement.target;
  }
  return program;
}

int64_t Evaluate(const Program& program, int64_t a, int64_t b) {
  std::vector<int64_t> values(program.names.size(), 0);
  values[0] = a;
  values[1] = b;
  const auto value = [&](const Operand& operand) {
    return operand.is_constant ? operand.value
                               : values[static_cast<size_t>(operand.value)];
  };
  for (const Statement& statement : program.statements) {
    values[static_cast<size_t>(statement.target)] =
        Apply(statement.op, value(statement.left), value(statement.right));
  }
  return values[static_cast<size_t>(program.result)];
}

std::vector<std::string> ProgramTokens(const Program& program) {
  std::vector<std::string> tokens = {"def", "f", "(", "a", ",", "b", ")", ":"};
  const auto text = [&](const Operand& operand) {
    return operand.is_constant
               ? absl::StrCat(operand.value)
               : program.names[static_cast<size_t>(operand.value)];
  };
  for (const Statement& statement : program.statements) {
    tokens.insert(tokens.end(),
                  {program.names[static_cast<size_t>(statement.target)], "=",
                   text(statement.left), std::string(1, statement.op),
                   text(statement.right), ";"});
  }
  tokens.insert(tokens.end(),
                {"return", program.names[static_cast<size_t>(program.result)]});
  return tokens;
}

Program Rewrite(const Program& program, const Rewriting& rewriting,
                std::mt19937_64& generator) {
  Program rewritten = program;
  if (rewriting.swap_operands) {
    for (Statement& statement : rewritten.statements) {
      if (statement.op != '-' && Chance(0.5, generator)) {
        std::swap(statement.left, statement.right);
      }
    }
  }
  if (rewriting.reorder) {
    rewritten.statements = Reordered(std::move(rewritten.statements),
                                     rewritten.names.size(), generator);
  }
  if (rewriting.rename) {
    std::vector<int> numbers;
    for (size_t i = kNumInputs; i < rewritten.names.size(); ++i) {
      numbers.push_back(static_cast<int>(i));
    }
    absl::c_shuffle(numbers, generator);
    for (size_t i = 0; i < numbers.size(); ++i) {
      rewritten.names[kNumInputs + i] = absl::StrCat("x", numbers[i]);
    }
  }
  return rewritten;
}

Program MutateOneToken(const Program& program, std::mt19937_64& generator) {
  Program mutant = program;
  Statement& statement = mutant.statements[static_cast<size_t>(
      Draw(0, static_cast<int>(mutant.statements.size()) - 1, generator))];
  if (Chance(0.5, generator)) {
    const char old = statement.op;
    while (statement.op == old) {
      statement.op = kOps[static_cast<size_t>(
          Draw(0, static_cast<int>(kOps.size()) - 1, generator))];
    }
    return mutant;
  }
  Operand& operand = Chance(0.5, generator) ? statement.left : statement.right;
  const Operand old = operand;
  // In a program as drawn, variables below the target are assigned before.
  while (Same(operand, old)) operand = DrawOperand(statement.target, generator);
  return mutant;
}

absl::StatusOr<MetricAreas> CompareMetrics(int num_programs,
                                           std::mt19937_64& generator) {
  if (num_programs < 1) return absl::InvalidArgumentError("no programs");
  Scored bleu_near;
  Scored bleu_far;
  Scored execution;
  while (static_cast<int>(bleu_near.right.size()) < 2 * num_programs) {
    const Program reference = RandomProgram(kNumStatements, generator);
    const Program mutant = MutateOneToken(reference, generator);
    const Program other = RandomProgram(kNumStatements, generator);
    const Inputs truth = DrawInputs(kTruthInputs, generator);
    if (Agreement(mutant, reference, truth) == 1 ||
        Agreement(other, reference, truth) == 1) {
      continue;  // not known to be wrong
    }
    const Program right = Rewrite(reference, {true, true, true}, generator);
    const Program swapped = Rewrite(reference, {true, false, false}, generator);
    const Inputs tests = DrawInputs(kTestInputs, generator);
    const std::vector<metrics::Tokens> tokens = {ProgramTokens(reference)};
    const auto add_bleu = [&](bool is_right, const Program& program,
                              Scored* scored) -> absl::Status {
      REPRO_ASSIGN_OR_RETURN(
          const double bleu,
          metrics::CodeXglueSentenceBleu(tokens, ProgramTokens(program)));
      scored->Add(is_right, bleu);
      return absl::OkStatus();
    };
    REPRO_RETURN_IF_ERROR(add_bleu(true, right, &bleu_near));
    REPRO_RETURN_IF_ERROR(add_bleu(false, mutant, &bleu_near));
    REPRO_RETURN_IF_ERROR(add_bleu(true, swapped, &bleu_far));
    REPRO_RETURN_IF_ERROR(add_bleu(false, other, &bleu_far));
    execution.Add(true, Agreement(right, reference, tests));
    execution.Add(false, Agreement(mutant, reference, tests));
  }
  MetricAreas areas;
  REPRO_ASSIGN_OR_RETURN(areas.bleu_near_miss,
                         metrics::RocAuc(bleu_near.right, bleu_near.scores));
  REPRO_ASSIGN_OR_RETURN(areas.bleu_unrelated,
                         metrics::RocAuc(bleu_far.right, bleu_far.scores));
  REPRO_ASSIGN_OR_RETURN(areas.execution_near_miss,
                         metrics::RocAuc(execution.right, execution.scores));
  return areas;
}

}  // namespace repro::survey_code_intelligence
