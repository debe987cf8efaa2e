#include "papers/mango/prompts.h"

#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/data/io.h"
#include "common/data/json_record.h"
#include "common/status/macros.h"

namespace repro::mango {
namespace {

constexpr char kResponse[] = "### Response:";
constexpr int64_t kLongTests = 493;

constexpr PrefixKind kKinds[] = {PrefixKind::kPlain, PrefixKind::kComment,
                                 PrefixKind::kReasonFirst,
                                 PrefixKind::kReasonAnywhere};

using Texts = std::vector<std::string>;

const Texts& PlainWordings() {
  static const auto* const kTexts = new Texts{"A Python program for it:"};
  return *kTexts;
}

const Texts& CommentWordings() {
  static const auto* const kTexts = new Texts{
      "A commented Python program for it:",
      "A Python program whose comments explain its logic:",
      "This Python program is annotated, so that its logic is clear:",
      "The program in Python, with a comment on what each part is for:",
      "Comments say what happens and why in this Python program:",
      "It helps to comment on the logic, as this Python program does:",
      "Annotations make a program easier to follow; here it is in Python:",
      "A reader should see the idea from the comments of this program:",
      "Where the logic is hard, this Python program has a plain comment:",
      "The Python program, its difficult parts explained by short comments:",
      "What is not obvious has a simple comment in this Python program:",
      "An annotated solution in Python:",
      "Python code with explanatory comments that solves the problem:",
      "The problem is solved by this Python program with detailed comments:",
      "Below is the solution in Python; each step carries a comment:"};
  return *kTexts;
}

const Texts& ReasonFirstWordings() {
  static const auto* const kTexts = new Texts{
      "The steps first, then the Python program:",
      "First a plan, step by step; the Python program comes after it:",
      "Let us think about the steps, and then write the Python program:",
      "Before the Python program, here is how to get there, step by step:",
      "A plan of the code comes first and the Python program second:",
      "Reasoning in steps, followed by the Python program:",
      "To begin with, the approach in steps; the Python program follows:",
      "First think it through step by step, then give the Python program:",
      "We list what has to be done in order, and end with the program:",
      "An outline of the steps opens the answer, the program closes it:",
      "This answer starts with a full explanation and ends with the program:",
      "Here is a rationale in steps, and behind it the Python program:",
      "The way to the solution comes first, the solution in Python last:",
      "Step one is a plan of all steps; then the Python program is written:",
      "Break the problem into steps, and only then write it in Python:"};
  return *kTexts;
}

const Texts& ReasonAnywhereWordings() {
  static const auto* const kTexts = new Texts{
      "The Python program, explained step by step:",
      "A Python program together with its steps:",
      "The solution in Python with an explanation of every step:",
      "A walk through the Python program for the problem:",
      "The Python program, broken down into its logical steps:",
      "Python code that solves the problem, with a rationale in steps:",
      "A detailed account of each step goes with this Python program:",
      "The program in Python, laid out step by step:",
      "Step by step, this is the Python program:",
      "A Python program for it and a thorough explanation:",
      "The problem solved in Python, with a guide to the steps:",
      "Here the program in Python is taken apart step by step:",
      "The Python program is given with reasons for its steps:",
      "A clear sequence of steps and a Python program for the problem:",
      "The answer is a Python program whose steps are explained:"};
  return *kTexts;
}

// "name(parameters)" of the first function that the program defines.
absl::StatusOr<std::string> FirstCall(const MbppProblem& problem) {
  const absl::string_view code = problem.code;
  const size_t begin = code.find("def ");
  const size_t end =
      begin == absl::string_view::npos ? begin : code.find(')', begin);
  if (end == absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "MBPP problem ", problem.task_id, ": its program defines no function"));
  }
  return std::string(code.substr(begin + 4, end + 1 - begin - 4));
}

}  // namespace

const char* PrefixKindName(PrefixKind kind) {
  switch (kind) {
    case PrefixKind::kPlain:
      return "plain";
    case PrefixKind::kComment:
      return "comment";
    case PrefixKind::kReasonFirst:
      return "reason_first";
    case PrefixKind::kReasonAnywhere:
      return "reason_anywhere";
  }
  return "";
}

absl::StatusOr<PrefixKind> ParsePrefixKind(absl::string_view name) {
  for (const PrefixKind kind : kKinds) {
    if (name == PrefixKindName(kind)) return kind;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no kind of prefix ", Quoted(name),
                   ": plain, comment, reason_first or reason_anywhere"));
}

const std::vector<std::string>& Wordings(PrefixKind kind) {
  switch (kind) {
    case PrefixKind::kComment:
      return CommentWordings();
    case PrefixKind::kReasonFirst:
      return ReasonFirstWordings();
    case PrefixKind::kReasonAnywhere:
      return ReasonAnywhereWordings();
    case PrefixKind::kPlain:
      break;
  }
  return PlainWordings();
}

std::string TrainingPrompt(absl::string_view instruction,
                           absl::string_view input, const PromptTexts& texts) {
  std::string prompt = absl::StrCat(texts.preamble, "\n\n### Instruction:\n",
                                    instruction, "\n\n");
  if (!input.empty()) absl::StrAppend(&prompt, "### Input:\n", input, "\n\n");
  absl::StrAppend(&prompt, kResponse);
  return prompt;
}

std::string DecodingPrompt(absl::string_view task, absl::string_view prefix,
                           const PromptTexts& texts) {
  return absl::StrCat(
      TrainingPrompt(absl::StrCat(texts.task_line, "\n", ToTabs(task)), "",
                     texts),
      " ", prefix);
}

std::string ToTabs(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"    ", "\t"}});
}

std::string FromTabs(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\t", "    "}});
}

std::string ExtractProgram(absl::string_view response) {
  constexpr absl::string_view kFence = "```";
  const size_t header = response.find(kResponse);
  if (header != absl::string_view::npos) {
    response.remove_prefix(header + sizeof(kResponse) - 1);
  }
  size_t begin = response.find("```python");
  if (begin == absl::string_view::npos) begin = response.find(kFence);
  if (begin != absl::string_view::npos) {
    const size_t line = response.find('\n', begin);
    response.remove_prefix(line == absl::string_view::npos ? response.size()
                                                           : line + 1);
    response = response.substr(0, response.find(kFence));
  }
  return FromTabs(response);
}

completion::CompletionRequest GreedyRequest(const std::string& prompt) {
  completion::CompletionRequest request;
  request.prompt = prompt;
  // The authors' 2,048 are for prompt and program together.
  request.max_tokens = 1024;
  return request;
}

completion::CompletionRequest SampleRequest(const std::string& prompt) {
  completion::CompletionRequest request = GreedyRequest(prompt);
  request.temperature = 0.8;
  request.top_p = 0.95;
  request.n = 10;
  return request;
}

absl::StatusOr<std::vector<MbppProblem>> ReadMbpp(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadRecords(path));
  std::vector<MbppProblem> problems;
  std::set<int64_t> ids;
  for (const JsonLine& line : lines) {
    const JsonRecord record(line, path);
    MbppProblem problem;
    REPRO_ASSIGN_OR_RETURN(problem.task_id, record.Integer("task_id"));
    REPRO_ASSIGN_OR_RETURN(problem.text, record.Text("text"));
    REPRO_ASSIGN_OR_RETURN(problem.code, record.Text("code"));
    REPRO_ASSIGN_OR_RETURN(problem.tests, record.Texts("test_list"));
    if (!ids.insert(problem.task_id).second) {
      return record.Error(
          absl::StrCat("task_id ", problem.task_id, " comes twice"));
    }
    problems.push_back(std::move(problem));
  }
  return problems;
}

bool InMbppTestSplit(const MbppProblem& problem) {
  return problem.task_id >= 11 && problem.task_id <= 510;
}

absl::StatusOr<std::string> MbppTask(const MbppProblem& problem) {
  std::vector<std::string> tests = problem.tests;
  if (problem.task_id == kLongTests) {
    REPRO_ASSIGN_OR_RETURN(const std::string call, FirstCall(problem));
    tests = {call};
  }
  return absl::StrCat("\n", problem.text, "\nTest examples:\n",
                      absl::StrJoin(tests, "\n"));
}

}  // namespace repro::mango
