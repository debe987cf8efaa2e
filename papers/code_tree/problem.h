// A programming problem as the search sees it.
#ifndef REPRO_PAPERS_CODE_TREE_PROBLEM_H_
#define REPRO_PAPERS_CODE_TREE_PROBLEM_H_

#include <string>
#include <vector>

namespace repro::code_tree {

struct StdinTest {
  std::string input;   // given on stdin
  std::string output;  // expected on stdout, without white space at its ends
};

// Either a function to write (asserts) or a whole program (stdin_tests).
struct Problem {
  std::string id;
  // What the agents read: a signature with its docstring, or a description.
  std::string prompt;
  // Python that runs before every program: imports and helpers of the prompt.
  // A prompt that ends in the function's docstring is fine here, too; bodies
  // without a signature then go on from it.
  std::string preamble;
  // The visible tests: "assert f(1) == 2".
  std::vector<std::string> asserts;
  std::vector<StdinTest> stdin_tests;

  bool reads_stdin() const { return !stdin_tests.empty(); }
};

}  // namespace repro::code_tree

#endif  // REPRO_PAPERS_CODE_TREE_PROBLEM_H_
