#include "papers/chain_of_code/prompts.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/data/io.h"

namespace repro::chain_of_code {
namespace {

// App. A.4, word for word: it is part of the method for chat models.
constexpr absl::string_view kCompletionModelMessage =
    "Pretend you are a completion model that is prompted with three examples. "
    "You should follow the pattern of these examples strictly. At the end of "
    "your reply, you should always output an answer";

std::string Question(absl::string_view question) {
  return absl::StrCat("Q: ", question);
}

std::string WithProgram(absl::string_view question, absl::string_view program) {
  return absl::StrCat(Question(question), "\nA:\n", kCodeStart, "\n", program,
                      "\n", kCodeEnd, "\n");
}

}  // namespace

std::string DirectPrompt(const std::vector<Example>& examples,
                         absl::string_view question) {
  std::string prompt;
  for (const Example& example : examples) {
    absl::StrAppend(&prompt, Question(example.question), "\n", kAnswer, " ",
                    example.answer, "\n\n");
  }
  return absl::StrCat(prompt, Question(question), "\n", kAnswer);
}

std::string GenerationPrompt(const std::vector<Example>& examples,
                             absl::string_view question) {
  std::string prompt;
  for (const Example& example : examples) {
    absl::StrAppend(&prompt, WithProgram(example.question, example.program),
                    kAnswer, " ", example.answer, "\n\n");
  }
  return absl::StrCat(prompt, Question(question));
}

std::string AnswerPrompt(const std::vector<Example>& examples,
                         absl::string_view question,
                         absl::string_view program) {
  std::string prompt;
  for (const Example& example : examples) {
    absl::StrAppend(&prompt, WithProgram(example.question, example.program),
                    kAnswer, " ", example.answer, "\n\n");
  }
  return absl::StrCat(prompt, WithProgram(question, program), kAnswer);
}

std::string TracePrompt(const std::vector<Example>& examples,
                        absl::string_view question, absl::string_view program) {
  std::string prompt;
  for (const Example& example : examples) {
    absl::StrAppend(&prompt, WithProgram(example.question, example.program),
                    kTraceStart, "\n", absl::StrJoin(example.trace, "\n"), "\n",
                    kTraceEnd, "\n", kAnswer, " ", example.answer, "\n\n");
  }
  const absl::string_view first_line = program.substr(0, program.find('\n'));
  return absl::StrCat(prompt, WithProgram(question, program), kTraceStart,
                      "\nstate: {}\nline: ", first_line, "\ndelta state:");
}

std::string StatePrompt(absl::string_view worked_trace,
                        absl::string_view tail) {
  return absl::StrCat(kTraceStart, "\n", worked_trace, "\n", kTraceEnd, "\n\n",
                      kTraceStart, "\n", tail, "\ndelta state:");
}

const std::string& WorkedTrace() {
  static const auto& trace = *new std::string(
      R"(state: {}
line: cities = ["Porto", "Kyoto", "Lisbon"]
delta state: {'cities': ['Porto', 'Kyoto', 'Lisbon']}
line: countries = []
delta state: {'countries': []}
line: for city in cities:
delta state: {'city': 'Porto'}
line:   country = get_country(city, ret_type="str")
delta state: {'country': 'Portugal'}
line:   countries.append(country)
delta state: {'countries': ['Portugal']}
line: for city in cities:
delta state: {'city': 'Kyoto'}
line:   country = get_country(city, ret_type="str")
delta state: {'country': 'Japan'}
line:   countries.append(country)
delta state: {'countries': ['Portugal', 'Japan']}
line: for city in cities:
delta state: {'city': 'Lisbon'}
line:   country = get_country(city, ret_type="str")
delta state: {'country': 'Portugal'}
line:   countries.append(country)
delta state: {'countries': ['Portugal', 'Japan', 'Portugal']}
line: for city in cities:
delta state: {}
line: answer = len(set(countries))
delta state: {'answer': 2})");
  return trace;
}

absl::StatusOr<std::string> ExtractProgram(absl::string_view reply) {
  const size_t start = reply.find(kCodeStart);
  if (start == absl::string_view::npos) {
    return absl::NotFoundError(
        absl::StrCat("no \"", kCodeStart, "\" in the reply ", Quoted(reply)));
  }
  reply.remove_prefix(start + kCodeStart.size());
  const absl::string_view program = reply.substr(0, reply.find(kCodeEnd));
  return std::string(absl::StripAsciiWhitespace(program));
}

absl::StatusOr<std::string> ExtractAnswer(absl::string_view reply) {
  const size_t start = reply.rfind(kAnswer);
  if (start == absl::string_view::npos) {
    return absl::NotFoundError(
        absl::StrCat("no \"", kAnswer, "\" in the reply ", Quoted(reply)));
  }
  absl::string_view answer = reply.substr(start + kAnswer.size());
  answer = absl::StripAsciiWhitespace(answer.substr(0, answer.find('\n')));
  if (answer.empty()) {
    return absl::NotFoundError(absl::StrCat("nothing after \"", kAnswer, "\""));
  }
  return std::string(answer);
}

completion::CompletionRequest GreedyRequest(std::string prompt,
                                            int64_t max_tokens,
                                            std::vector<std::string> stop,
                                            bool chat) {
  completion::CompletionRequest request;
  if (chat) {
    request.messages = {{"system", std::string(kCompletionModelMessage)},
                        {"user", std::move(prompt)}};
  } else {
    request.prompt = std::move(prompt);
  }
  request.max_tokens = max_tokens;
  request.temperature = 0;
  request.stop = std::move(stop);
  return request;
}

}  // namespace repro::chain_of_code
