#ifndef REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_GENERATED_PROGRAMS_H_
#define REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_GENERATED_PROGRAMS_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

// Section 4.3.1 says why metrics moved from matching texts to running programs:
// a text near the reference's can be wrong, one far from it right. Here on
// programs that are made to be right or wrong; no model wrote them.
namespace repro::survey_code_intelligence {

// A straight-line function of two numbers. Variables 0 and 1 are its inputs,
// 2, 3, ... are each assigned once, before they are used.
struct Operand {
  bool is_constant = false;
  int value = 0;  // the constant, or the variable
};
struct Statement {
  int target = 0;
  Operand left;
  char op = '+';  // one of + - * & ^
  Operand right;
};
struct Program {
  std::vector<Statement> statements;
  std::vector<std::string> names;  // of the variables
  int result = 0;                  // the variable that is returned
};

Program RandomProgram(int num_statements, std::mt19937_64& generator);

// In two's complement of 64 bits.
int64_t Evaluate(const Program& program, int64_t a, int64_t b);

// As "def f ( a , b ) : v2 = a + b ; return v2", a token a piece.
std::vector<std::string> ProgramTokens(const Program& program);

// What leaves the function as it is.
struct Rewriting {
  bool swap_operands = false;  // of + * & ^, each with probability 1/2
  bool reorder = false;        // any order that assigns before use
  bool rename = false;         // all variables but the inputs
};
Program Rewrite(const Program& program, const Rewriting& rewriting,
                std::mt19937_64& generator);

// One operator or one operand of a program as RandomProgram draws it is another
// one. The function may be the same.
Program MutateOneToken(const Program& program, std::mt19937_64& generator);

// The areas under the ROC curve of three ways of telling right programs from
// wrong ones; 0.5 is chance. Right is rewritten, wrong gives another result
// than the reference on one of 64 inputs.
struct MetricAreas {
  // Right: swapped, reordered and renamed. Wrong: one token changed.
  double bleu_near_miss = 0;       // CodeXGLUE's sentence BLEU, by reference
  double execution_near_miss = 0;  // share of 3 other inputs with its result
  // Right: swapped alone. Wrong: another random program.
  double bleu_unrelated = 0;
};

// Over `num_programs` references of 8 statements. InvalidArgument: fewer than
// 1.
absl::StatusOr<MetricAreas> CompareMetrics(int num_programs,
                                           std::mt19937_64& generator);

}  // namespace repro::survey_code_intelligence

#endif  // REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_GENERATED_PROGRAMS_H_
