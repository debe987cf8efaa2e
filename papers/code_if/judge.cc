#include "papers/code_if/judge.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::code_if {
namespace {

// Puts quotes around every run of letters.
std::string QuoteLetters(absl::string_view text) {
  std::string quoted;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool letter = absl::ascii_isalpha(text[i]);
    if (letter && (i == 0 || !absl::ascii_isalpha(text[i - 1]))) quoted += '"';
    quoted += text[i];
    if (letter && (i + 1 == text.size() || !absl::ascii_isalpha(text[i + 1]))) {
      quoted += '"';
    }
  }
  return quoted;
}

// Reads "[...]", a Python list of strings, numbers, True, False and None.
class ListReader {
 public:
  explicit ListReader(absl::string_view text) : text_(text) {}

  // Nothing for a syntax error.
  std::optional<std::vector<std::string>> Read() {
    std::vector<std::string> elements;
    if (!Take('[')) return std::nullopt;
    while (!Take(']')) {
      std::optional<std::string> element = Element();
      if (!element) return std::nullopt;
      elements.push_back(*std::move(element));
      if (Take(',')) continue;
      if (!Take(']')) return std::nullopt;
      break;
    }
    SkipSpace();
    if (at_ != text_.size()) return std::nullopt;
    return elements;
  }

 private:
  void SkipSpace() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (absl::ascii_isspace(text_[at_])) {
        ++at_;
      } else {
        return;
      }
    }
  }

  bool Take(char c) {
    SkipSpace();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // Moves to the quote that begins a string, behind its prefix if it has one.
  bool AtQuote() {
    SkipSpace();
    const absl::string_view rest = text_.substr(at_);
    const size_t prefix =
        !rest.empty() && absl::StrContains("uUrR", rest[0]) ? 1 : 0;
    if (rest.size() <= prefix || !absl::StrContains("'\"", rest[prefix])) {
      return false;
    }
    at_ += prefix;
    return true;
  }

  std::optional<std::string> Element() {
    if (AtQuote()) {
      // Strings beside each other are one.
      std::string joined;
      while (AtQuote()) {
        if (!String(&joined)) return std::nullopt;
      }
      return joined;
    }
    const size_t begin = at_;
    while (at_ < text_.size() &&
           (absl::ascii_isalnum(text_[at_]) || text_[at_] == '.' ||
            text_[at_] == '-' || text_[at_] == '+' || text_[at_] == '_')) {
      ++at_;
    }
    const absl::string_view word = text_.substr(begin, at_ - begin);
    double number;
    if (word == "True" || word == "False" || word == "None" ||
        (absl::SimpleAtod(word, &number) &&
         word.find_first_of("0123456789") != absl::string_view::npos)) {
      return std::string(word);
    }
    return std::nullopt;
  }

  bool String(std::string* value) {
    const char quote = text_[at_++];
    // Three quotes are an empty string beside another, with the same value.
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\n') return false;
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      *value += text_[at_++];
    }
    if (at_ == text_.size()) return false;
    ++at_;
    return true;
  }

  absl::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string NumberedInstructions(const std::vector<Instruction>& instructions) {
  std::string lines;
  for (size_t i = 0; i < instructions.size(); ++i) {
    absl::StrAppend(&lines, i == 0 ? "" : "\n", i + 1, ". ",
                    instructions[i].text);
  }
  return lines;
}

std::string AnswerPrompt(const Question& question) {
  return absl::StrCat(
      "You are a programming assistant. Write a code snippet that answers the "
      "question below and follows every instruction.\n\n"
      "When you write the snippet:\n\n"
      "- Follow the instructions to the letter, language and methods "
      "included.\n"
      "- Keep the snippet short and clear.\n"
      "- Mind the syntax and format of the programming language.\n"
      "- Give code that is valid and no more complex than needed.\n\n"
      "Output format: the code alone, without explanations.\n\n"
      "Question:\n",
      question.text, "\n\nInstructions:\n",
      NumberedInstructions(question.instructions), "\n");
}

std::string JudgePrompt(const Question& question, absl::string_view answer) {
  return absl::StrCat(
      "You are a programming assistant. Judge whether the code below follows "
      "each of the instructions that were given with the question. Return a "
      "list as long as the list of instructions that holds 'Yes' and 'No' "
      "only.\n\n"
      "When you judge:\n\n"
      "- Be strict: where a language or a method is asked for, check that it "
      "is used.\n"
      "- The list has one entry for each instruction, 'Yes' or 'No'.\n"
      "- Mind the syntax and format of the programming language.\n"
      "- The list is valid and plain.\n\n"
      "User question:\n",
      question.text, "\n\nInstructions:\n",
      NumberedInstructions(question.instructions),
      "\n\nModel-generated code:\n", answer,
      "\n\nReturn the list alone, such as ['No', 'No', 'Yes'], with ",
      question.instructions.size(), " entries.\n");
}

std::vector<std::string> ParseJudgeAnswer(absl::string_view answer) {
  const size_t open = answer.find('[');
  const size_t close = open == absl::string_view::npos ? absl::string_view::npos
                                                       : answer.find(']', open);
  if (close == absl::string_view::npos) return {"No"};
  std::string list(answer.substr(open, close - open + 1));
  if (list.find_first_of("'\"") == std::string::npos) list = QuoteLetters(list);
  return ListReader(list).Read().value_or(std::vector<std::string>{"No"});
}

std::optional<std::vector<bool>> ParseVerdicts(absl::string_view answer,
                                               size_t num_instructions) {
  const std::vector<std::string> elements = ParseJudgeAnswer(answer);
  if (elements.size() != num_instructions) return std::nullopt;
  std::vector<bool> verdicts;
  for (const std::string& element : elements) {
    verdicts.push_back(element == "Yes");
  }
  return verdicts;
}

absl::StatusOr<std::optional<std::vector<bool>>> AskJudge(
    completion::CompletionClient& client, const Question& question,
    absl::string_view answer, const JudgeOptions& options) {
  completion::CompletionRequest request;
  request.messages = {{"user", JudgePrompt(question, answer)}};
  request.temperature = options.temperature;
  request.max_tokens = options.max_tokens;
  REPRO_ASSIGN_OR_RETURN(const completion::Completion completion,
                         client.Complete(request));
  if (completion.choices.empty()) {
    return absl::DataLossError("the judge's answer holds no choice");
  }
  return ParseVerdicts(completion.choices[0].text,
                       question.instructions.size());
}

}  // namespace repro::code_if
