#include "papers/code_tree/language_model_agents.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/status/macros.h"

namespace repro::code_tree {
namespace {

using completion::ChatMessage;

std::string CodeBlock(const std::string& program) {
  return absl::StrCat("```python\n", program, "\n```");
}

std::string WithCount(const std::string& prompt, const Prompts& prompts,
                      std::optional<int> count) {
  return absl::StrReplaceAll(
      prompt,
      {{"{count}", count ? absl::StrCat(*count) : prompts.thinker_chooses}});
}

// The prompts of both kinds of problem differ in these phrases.
struct Wording {
  const char* given;     // what the user sends
  const char* solution;  // what is written
  const char* complete;  // when it is complete
};

Prompts Make(const Wording& words) {
  Prompts p;
  p.thinker_chooses = "one or more, as many as this case deserves,";
  p.thinker_strategies = absl::StrCat(
      "You plan how to solve programming tasks in Python. The user sends ",
      words.given,
      ". Propose {count} different strategies to solve it, in English and "
      "without code. Give each strategy one line of a few sentences, and begin "
      "the lines with \"1. \", \"2. \", \"3. \" and so on.");
  p.thinker_reflections = absl::StrCat(
      "You find out why a program is wrong. The user sends ", words.given,
      ", a strategy, ", words.solution,
      " that is not right, and what came of running it. Write {count} "
      "alternative reflections.\n"
      "- An error can be mended in several ways, in the algorithm or in its "
      "details; where it is unclear what is wrong, alternatives may read it "
      "differently.\n"
      "- Each reflection is complete in itself: it names all that is wrong and "
      "says how to correct it, and repeats what others say where it needs "
      "that.\n"
      "- Give each reflection one line of a few sentences, and begin the lines "
      "with \"1. \", \"2. \" and so on.");
  p.think_again = "\nTake your time, and look for strategies of another kind.";
  const std::string answer = absl::StrCat(
      " Answer with one block of Python code, without tests or examples of "
      "its use:\n",
      CodeBlock("..."));
  p.solver = absl::StrCat("You write Python. The user sends ", words.given,
                          ". Write ", words.complete, ".", answer);
  p.solver_hint =
      "\nAn expert gives this hint, which you may follow; work out its details "
      "first.\nHint: ";
  p.debugger = absl::StrCat(
      "You improve Python. You see ", words.given,
      ", your earlier answer, the results of its tests and a reflection on "
      "what to change. Write ",
      words.complete, ", improved.", answer);
  p.debugger_improve = "Write the improved version.";
  p.critic_score = absl::StrCat(
      "You judge what a program puts out. The user sends ", words.given, ", ",
      words.solution,
      " and what came of running it on the visible tests. Compare outputs and "
      "expected outputs and rate how near they are:\n"
      "0: it fails with an error or runs out of time\n"
      "1: no pattern relates its outputs to the expected ones\n"
      "2: part of the cases come out wrong, such as negative numbers\n"
      "3: a clear pattern relates them, such as all being one too large\n"
      "4: right but for boundaries or special cases\n"
      "5: all outputs match\n"
      "First analyse briefly, then write the rating on a new line: one digit, "
      "nothing else.");
  p.critic_verify = absl::StrCat(
      "You review programs before hidden tests judge them. The user sends ",
      words.given, " and ", words.solution,
      " that passes all visible tests. Check\n"
      "1. generality: no values or cases are written in by hand unless the "
      "task says so;\n"
      "2. boundaries: indices, ends of loops, conditions, the end of "
      "recursion;\n"
      "3. edge cases that the task allows, such as zero, negative or empty "
      "input; what the task rules out and what the program handles without "
      "extra code needs no change;\n"
      "4. cost: polynomial time and memory.\n"
      "First analyse in a few sentences. Then write on a new line True if the "
      "program can stay as it is, or False if it must be changed to pass valid "
      "hidden tests.");
  return p;
}

}  // namespace

Prompts Prompts::Functions() {
  return Make({"the signature and docstring of a function",
               "an implementation of it",
               "the whole function with its "
               "signature and the imports that it needs"});
}

Prompts Prompts::Programs() {
  return Make({"a programming problem with the format of its input and output",
               "a program for it",
               "the whole program, which reads its input "
               "and prints its output"});
}

LanguageModelAgents::LanguageModelAgents(completion::CompletionClient* client,
                                         const LanguageModelOptions& options)
    : client_(client),
      options_(options),
      functions_(options.prompts.value_or(Prompts::Functions())),
      programs_(options.prompts.value_or(Prompts::Programs())) {}

const Prompts& LanguageModelAgents::PromptsFor(const Problem& problem) const {
  return problem.reads_stdin() ? programs_ : functions_;
}

absl::StatusOr<std::string> LanguageModelAgents::Ask(
    absl::string_view role, std::vector<ChatMessage> messages,
    int64_t max_tokens, const Sampling& sampling) {
  completion::CompletionRequest request;
  request.model = options_.model;
  request.messages = std::move(messages);
  request.max_tokens = max_tokens;
  request.temperature = sampling.temperature;
  if (sampling.temperature > 0) request.seed = options_.seed + sampling.sample;
  return completion::Ask(*client_, request, role, &usage_);
}

absl::StatusOr<std::vector<std::string>> LanguageModelAgents::AskList(
    std::vector<ChatMessage> messages) {
  REPRO_ASSIGN_OR_RETURN(
      const std::string reply,
      Ask("Thinker", std::move(messages), options_.max_text_tokens));
  // The search cuts at its width.
  return ParseNumberedList(reply, std::numeric_limits<int>::max());
}

absl::StatusOr<std::vector<std::string>> LanguageModelAgents::Strategies(
    const Problem& problem, std::optional<int> count, int asked_before) {
  const Prompts& prompts = PromptsFor(problem);
  return AskList(
      {{"system", WithCount(prompts.thinker_strategies, prompts, count)},
       {"user", absl::StrCat(problem.prompt,
                             asked_before > 0 ? prompts.think_again : "")}});
}

absl::StatusOr<std::string> LanguageModelAgents::Solve(
    const Problem& problem, const std::string& strategy,
    const Sampling& sampling) {
  const Prompts& prompts = PromptsFor(problem);
  const std::string hint =
      strategy.empty() ? "" : absl::StrCat(prompts.solver_hint, strategy, "\n");
  REPRO_ASSIGN_OR_RETURN(const std::string reply,
                         Ask("Solver",
                             {{"system", prompts.solver},
                              {"user", absl::StrCat(problem.prompt, hint)}},
                             options_.max_program_tokens, sampling));
  return ExtractCode(reply).value_or("");
}

absl::StatusOr<std::vector<std::string>> LanguageModelAgents::Reflections(
    const Problem& problem, const std::string& strategy,
    const std::string& program, const std::string& feedback,
    const std::string& review, std::optional<int> count) {
  const Prompts& prompts = PromptsFor(problem);
  std::string user = absl::StrCat(
      "Task:\n", problem.prompt, "\n\nStrategy: ", strategy, "\n\nProgram:\n",
      CodeBlock(program), "\n\nResults of the tests:\n", feedback);
  if (!review.empty()) absl::StrAppend(&user, "\n\nA review:\n", review);
  return AskList(
      {{"system", WithCount(prompts.thinker_reflections, prompts, count)},
       {"user", std::move(user)}});
}

absl::StatusOr<std::string> LanguageModelAgents::Repair(
    const Problem& problem, const std::string& program,
    const std::string& feedback, const std::string& reflection) {
  const Prompts& prompts = PromptsFor(problem);
  REPRO_ASSIGN_OR_RETURN(
      const std::string reply,
      Ask("Debugger",
          {{"system", prompts.debugger},
           {"user", problem.prompt},
           {"assistant", CodeBlock(program)},
           {"user", absl::StrCat("Results of the tests:\n", feedback,
                                 "\n\nWhat should change?")},
           {"assistant", reflection},
           {"user", prompts.debugger_improve}},
          options_.max_program_tokens));
  return ExtractCode(reply).value_or("");
}

absl::StatusOr<std::string> LanguageModelAgents::AskCritic(
    const std::string& system, const Problem& problem,
    const std::string& program, const std::string& feedback) {
  return Ask(
      "Critic",
      {{"system", system},
       {"user", absl::StrCat("Task:\n", problem.prompt, "\n\nProgram:\n",
                             CodeBlock(program),
                             "\n\nResults of the visible tests:\n", feedback)}},
      options_.max_text_tokens);
}

absl::StatusOr<int> LanguageModelAgents::Score(const Problem& problem,
                                               const std::string& program,
                                               const std::string& feedback) {
  REPRO_ASSIGN_OR_RETURN(
      const std::string reply,
      AskCritic(PromptsFor(problem).critic_score, problem, program, feedback));
  return ParseScore(reply).value_or(0);
}

absl::StatusOr<Review> LanguageModelAgents::Verify(
    const Problem& problem, const std::string& program,
    const std::string& feedback) {
  REPRO_ASSIGN_OR_RETURN(
      const std::string reply,
      AskCritic(PromptsFor(problem).critic_verify, problem, program, feedback));
  return ParseReview(reply);
}

}  // namespace repro::code_tree
