#include "papers/plan_search/language_model_thinker.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro::plan_search {
namespace {

using completion::ChatMessage;

// ------------------------------------------------------------ Python's lists

// Reads "[...]" of string literals.
class StringListReader {
 public:
  explicit StringListReader(absl::string_view text) : rest_(text) {}

  std::optional<Observations> Read() {
    Observations strings;
    if (!Take("[")) return std::nullopt;
    while (!Take("]")) {
      std::string value;
      if (!Literal(value)) return std::nullopt;
      // Neighbours are one string.
      while (StartsLiteral()) {
        if (!Literal(value)) return std::nullopt;
      }
      strings.push_back(std::move(value));
      if (!Take(",")) {
        if (Take("]")) break;
        return std::nullopt;
      }
    }
    SkipSpace();
    if (!rest_.empty()) return std::nullopt;
    return strings;
  }

 private:
  void SkipSpace() {
    while (!rest_.empty()) {
      if (rest_[0] == '#') {
        const size_t end = rest_.find('\n');
        rest_.remove_prefix(end == absl::string_view::npos ? rest_.size()
                                                           : end);
      } else if (absl::ascii_isspace(rest_[0])) {
        rest_.remove_prefix(1);
      } else {
        return;
      }
    }
  }

  bool Take(absl::string_view token) {
    SkipSpace();
    return absl::ConsumePrefix(&rest_, token);
  }

  bool StartsLiteral() {
    SkipSpace();
    return !rest_.empty() && rest_[0] != ',' && rest_[0] != ']';
  }

  // Appends the value of one literal.
  bool Literal(std::string& value) {
    SkipSpace();
    const char prefix = rest_.empty() ? '\0' : absl::ascii_tolower(rest_[0]);
    if (prefix == 'r' || prefix == 'u') rest_.remove_prefix(1);
    const bool raw = prefix == 'r';
    if (rest_.empty() || (rest_[0] != '"' && rest_[0] != '\'')) return false;
    const std::string quote(1, rest_[0]);
    const std::string triple = quote + quote + quote;
    const bool is_triple = absl::ConsumePrefix(&rest_, triple);
    if (!is_triple) rest_.remove_prefix(1);
    const std::string& end = is_triple ? triple : quote;
    while (!absl::ConsumePrefix(&rest_, end)) {
      if (rest_.empty() || (rest_[0] == '\n' && !is_triple)) return false;
      const char c = rest_[0];
      rest_.remove_prefix(1);
      if (c != '\\') {
        value += c;
      } else if (raw && !rest_.empty()) {
        value += c;
        value += rest_[0];
        rest_.remove_prefix(1);
      } else if (rest_.empty() || !Escape(value)) {
        return false;
      }
    }
    return true;
  }

  // What stands behind a backslash.
  bool Escape(std::string& value) {
    const char c = rest_[0];
    rest_.remove_prefix(1);
    static constexpr char kLetters[] = "abfnrtv\\'\"";
    static constexpr char kValues[] = "\a\b\f\n\r\t\v\\'\"";
    for (size_t i = 0; i + 1 < sizeof(kLetters); ++i) {
      if (c == kLetters[i]) {
        value += kValues[i];
        return true;
      }
    }
    switch (c) {
      case '\n':
        return true;
      case 'x':
        return CodePoint(2, value);
      case 'u':
        return CodePoint(4, value);
      case 'U':
        return CodePoint(8, value);
      case 'N':
        return false;
      default:
        break;
    }
    if (c >= '0' && c <= '7') {
      int32_t code_point = c - '0';
      for (int i = 0;
           i < 2 && !rest_.empty() && rest_[0] >= '0' && rest_[0] <= '7'; ++i) {
        code_point = code_point * 8 + (rest_[0] - '0');
        rest_.remove_prefix(1);
      }
      AppendUtf8(code_point, &value);
      return true;
    }
    // Python keeps the backslash of an escape that it does not know.
    value += '\\';
    value += c;
    return true;
  }

  bool CodePoint(size_t digits, std::string& value) {
    if (rest_.size() < digits) return false;
    int64_t code_point = 0;
    for (size_t i = 0; i < digits; ++i) {
      const char c = absl::ascii_tolower(rest_[i]);
      if (!absl::ascii_isxdigit(c)) return false;
      code_point = code_point * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    // A lone surrogate is a str in Python, but no text.
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF))
      return false;
    AppendUtf8(static_cast<int32_t>(code_point), &value);
    rest_.remove_prefix(digits);
    return true;
  }

  absl::string_view rest_;
};

// ------------------------------------------------------------------- prompts

struct WorkedExample {
  const char* problem;
  const char* words;
  const char* program;
};

constexpr WorkedExample kStdinExamples[] = {
    {"The first line has an integer n (1 <= n <= 100000), the second line n "
     "integers. Print the sum of those that are even.",
     "Every integer counts by itself, so one pass is enough: read the second "
     "line, keep what leaves no remainder when halved, and print the sum. The "
     "number n is not needed.",
     "def main():\n    input()\n    values = map(int, input().split())\n"
     "    print(sum(v for v in values if v % 2 == 0))\n\n\nmain()\n"},
    {"A line has a string of brackets ( and ), at most 100000 of them. Print "
     "YES if they are balanced, else NO.",
     "Keep the number of brackets that are open. It rises with ( and falls "
     "with ). The string is balanced if the number is never negative and ends "
     "at zero.",
     "def main():\n    opened = 0\n    balanced = True\n"
     "    for bracket in input().strip():\n"
     "        opened += 1 if bracket == '(' else -1\n"
     "        balanced = balanced and opened >= 0\n"
     "    print('YES' if balanced and opened == 0 else 'NO')\n\n\nmain()\n"},
};

constexpr WorkedExample kFunctionExamples[] = {
    {"Given a list of at least two different integers, return the second "
     "largest of its values.\n\ndef second_largest(values):",
     "Equal values count once, so make a set of them, sort it, and take the "
     "last but one.",
     "def second_largest(values):\n    return sorted(set(values))[-2]\n"},
    {"Return the length of the longest run of equal characters of a text.\n\n"
     "def longest_run(text):",
     "Go over the text and keep the length of the run that ends here: one more "
     "than before if the character is the same, else one. The answer is the "
     "largest length, and zero for an empty text.",
     "def longest_run(text):\n    best = run = 0\n    last = None\n"
     "    for character in text:\n"
     "        run = run + 1 if character == last else 1\n"
     "        last = character\n        best = max(best, run)\n"
     "    return best\n"},
};

std::string PythonBlock(absl::string_view program) {
  return absl::StrCat("```python\n", program, "\n```");
}

enum class Show { kWords, kProgram, kWordsAndProgram };

std::string Examples(const Problem& problem, Show show) {
  std::string text = "Two examples:\n\n";
  for (const WorkedExample& example :
       problem.starter_code.empty() ? kStdinExamples : kFunctionExamples) {
    absl::StrAppend(&text, "Problem:\n", example.problem, "\n\n");
    if (show != Show::kProgram) {
      absl::StrAppend(&text, "Solution in words:\n", example.words, "\n\n");
    }
    if (show != Show::kWords) {
      absl::StrAppend(&text, "Program:\n", PythonBlock(example.program),
                      "\n\n");
    }
  }
  return text;
}

std::string TheProblem(const Problem& problem) {
  return absl::StrCat("The problem:\n\n", problem.statement, "\n\n");
}

// How the program is to be called.
std::string Interface(const Problem& problem) {
  if (problem.starter_code.empty()) {
    return "The program reads standard input and prints to standard output; it "
           "is run as it is.";
  }
  return absl::StrCat("Complete this code:\n\n",
                      PythonBlock(problem.starter_code));
}

std::string Bullets(const Observations& observations) {
  return absl::StrCat("- ", absl::StrJoin(observations, "\n\n- "), "\n\n");
}

constexpr char kNothingNeeded[] =
    "No observations are necessary for this problem.\n\n";

constexpr char kExpert[] = "You are an expert Python programmer. ";

constexpr char kCreative[] =
    " Write no code. Be creative: go beyond what seems right at first sight.";

std::string ObserveAtRoot(const Problem& problem, int count) {
  return absl::StrCat(
      TheProblem(problem), "Write ", count,
      " observations on properties of this problem that are not obvious, each "
      "of a few words. They should be simple and creative, such as one does "
      "not come upon at once.\n\n"
      "Before each observation, reason in a paragraph or two:\n\n"
      "Observation 1:\n\n[Reasoning]\n\n\"[The observation]\" (for example: "
      "\"It is enough to look at sorted values\", or \"Dynamic programming "
      "over prefixes helps\")\n\n"
      "Each must help to solve the problem and not just say again what it "
      "says.");
}

std::string ObserveFurther(const Problem& problem, const Observations& given) {
  const bool some = !given.empty(), many = given.size() >= 2;
  std::string text = TheProblem(problem);
  if (some) {
    absl::StrAppend(
        &text,
        many ? "These observations are right and help to solve it:\n\n"
             : "This observation is right and helps to solve it:\n\n",
        Bullets(given));
  } else {
    absl::StrAppend(&text, kNothingNeeded);
  }
  absl::StrAppend(
      &text, "First say what ",
      many   ? "the observations imply together"
      : some ? "the observation implies"
             : "the problem implies",
      ", and quote exactly the critical parts of the problem",
      some ? (many ? " and the observations" : " and the observation") : "",
      ". Then derive new observations from these implications that are not "
      "obvious",
      many ? ", by joining the observations" : "",
      ". Before each of them, quote exactly what it follows from.\n\n"
      "## Implications\n\n[Quotes]\n\n[Reasoning, step by step]\n\n"
      "## New observations\n\n### Observation 1\n\n[Quotes of the "
      "implications]\n\n[Reasoning in a paragraph or two]\n\n[The new "
      "observation]\n\n### Observation 2\n\n...\n\n"
      "Each must help to solve the problem and not just say again what is "
      "known.");
  return text;
}

constexpr char kListThem[] = "List all the observations, and nothing else.";
constexpr char kKeepUseful[] = "Keep the most useful of these observations.";
constexpr char kAsPythonList[] =
    "Write these observations as a Python list of strings. For example, of\n\n"
    "1. Sort the values first.\n2. Each value matters once.\n\nit is\n\n"
    "```python\n[\n    \"Sort the values first.\",\n    \"Each value matters "
    "once.\",\n]\n```\n\nWrite the Python list only.";

constexpr char kHowToFix[] =
    "Given this criticism, how would you mend the idea? Write no code.";

}  // namespace

std::string ExtractBlock(absl::string_view reply) {
  std::string block;
  bool inside = false;
  while (true) {
    const size_t end = reply.find('\n');
    const absl::string_view line = reply.substr(0, end);
    if (absl::StartsWith(absl::StripAsciiWhitespace(line), "```")) {
      if (inside) return block;
      inside = true;
    } else if (inside) {
      absl::StrAppend(&block, line, "\n");
    }
    if (end == absl::string_view::npos) return block;
    reply.remove_prefix(end + 1);
  }
}

std::optional<Observations> ParseStringList(absl::string_view text) {
  return StringListReader(text).Read();
}

LanguageModelThinker::LanguageModelThinker(completion::CompletionClient* client,
                                           const LanguageModelOptions& options)
    : client_(client), options_(options) {}

absl::StatusOr<std::string> LanguageModelThinker::Ask(
    absl::string_view step, const std::vector<ChatMessage>& messages,
    double temperature, uint64_t sample) {
  completion::CompletionRequest request;
  request.model = options_.model;
  request.messages = messages;
  request.max_tokens = options_.max_tokens;
  request.temperature = temperature;
  request.top_p = options_.top_p;
  if (temperature > 0) request.seed = options_.seed + sample;
  return completion::Ask(*client_, request, step, &usage_);
}

absl::StatusOr<Observations> LanguageModelThinker::Observe(
    const Problem& problem, const Observations& given, bool root) {
  std::vector<ChatMessage> messages = {
      {"system",
       absl::StrCat(kExpert,
                    root ? "The user sends a programming problem. Return "
                           "observations on it that are useful, right and not "
                           "obvious, like hints."
                         : "The user sends a programming problem and "
                           "observations on it that are right. Derive new "
                           "ones from them that are useful and right.",
                    kCreative)},
      {"user", root ? ObserveAtRoot(problem, options_.observations)
                    : ObserveFurther(problem, given)}};
  const std::pair<const char*, const char*> steps[] = {
      {"observe", kListThem},
      {"list observations", kKeepUseful},
      {"filter observations", kAsPythonList}};
  for (const auto& [step, next] : steps) {
    REPRO_ASSIGN_OR_RETURN(std::string reply,
                           Ask(step, messages, options_.temperature));
    messages.push_back({"assistant", std::move(reply)});
    messages.push_back({"user", next});
  }
  for (int attempt = 0; attempt < options_.parse_tries; ++attempt) {
    REPRO_ASSIGN_OR_RETURN(const std::string reply,
                           Ask("parse observations", messages, 0.2 * attempt));
    std::optional<Observations> parsed = ParseStringList(ExtractBlock(reply));
    if (parsed) return *std::move(parsed);
  }
  return Observations();
}

absl::StatusOr<std::string> LanguageModelThinker::Sketch(
    const Problem& problem, const Observations& observations) {
  const std::string given =
      observations.empty()
          ? kNothingNeeded
          : absl::StrCat("These observations help to solve it:\n\n",
                         Bullets(observations));
  return Ask(
      "sketch",
      {{"system",
        absl::StrCat(kExpert,
                     "The user sends a programming problem and observations "
                     "that it takes to solve it. Return a solution in words, "
                     "like an editorial, that uses them.",
                     kCreative)},
       {"user",
        absl::StrCat(TheProblem(problem), given,
                     "Use these observations to find a solution in words. Look "
                     "for simple, creative ideas, since the first intuition "
                     "may mislead. Before each step of the solution, quote "
                     "exactly what it uses of the observations: the quotes "
                     "are crucial.")}},
      options_.temperature);
}

absl::StatusOr<std::string> LanguageModelThinker::Fix(
    const Problem& problem, const std::string& sketch) {
  std::vector<ChatMessage> messages = {
      {"system",
       absl::StrCat(kExpert,
                    "You coach competitive programmers. The user sends a "
                    "problem and a student's idea to solve it. Criticise the "
                    "idea and give a simple counter-example that makes it "
                    "fail. Write no code.")},
      {"user", absl::StrCat(TheProblem(problem), "The idea:\n\n", sketch,
                            "\n\nIt may be wrong. Criticise it; what counts is "
                            "only whether it is right and fast enough for all "
                            "inputs. Give an input on which it fails.")}};
  REPRO_ASSIGN_OR_RETURN(std::string criticism,
                         Ask("criticise", messages, options_.temperature));
  messages.push_back({"assistant", std::move(criticism)});
  messages.push_back({"user", kHowToFix});
  return Ask("fix", messages, options_.temperature);
}

absl::StatusOr<std::string> LanguageModelThinker::Implement(
    const Problem& problem, const std::string& idea) {
  if (!options_.pseudocode) return ImplementIdea(problem, idea, 0);
  REPRO_ASSIGN_OR_RETURN(
      const std::string pseudocode,
      Ask("pseudocode",
          {{"system",
            absl::StrCat(kExpert,
                         "The user sends a problem and a solution in words. "
                         "Return pseudocode that follows it exactly, in a "
                         "Markdown block.")},
           {"user", absl::StrCat(TheProblem(problem), "The solution:\n\n", idea,
                                 "\n\nWrite pseudocode that follows this "
                                 "solution exactly. It stays on a high level, "
                                 "without details.")}},
          options_.temperature));
  REPRO_ASSIGN_OR_RETURN(
      const std::string reply,
      Ask("program",
          {{"system",
            absl::StrCat(kExpert,
                         "The user sends a problem and pseudocode of its "
                         "solution. Return a program that follows the "
                         "pseudocode and passes all tests, in a Markdown "
                         "block, and nothing else.")},
           {"user",
            absl::StrCat(Examples(problem, Show::kProgram), TheProblem(problem),
                         "The pseudocode:\n\n", pseudocode,
                         "\n\nWrite a Python program that follows it "
                         "and solves the problem. ",
                         Interface(problem))}},
          options_.temperature));
  return std::string(absl::StripAsciiWhitespace(ExtractBlock(reply)));
}

absl::StatusOr<std::string> LanguageModelThinker::Program(
    const Problem& problem, uint64_t sample) {
  REPRO_ASSIGN_OR_RETURN(
      const std::string reply,
      Ask("program",
          {{"system",
            absl::StrCat(kExpert,
                         "The user sends a problem. Return a program that "
                         "solves it and passes all tests, in a Markdown "
                         "block, and nothing else.")},
           {"user",
            absl::StrCat(Examples(problem, Show::kProgram), TheProblem(problem),
                         "Write a Python program that solves it, in the form "
                         "of the examples. ",
                         Interface(problem))}},
          options_.temperature, sample));
  return std::string(absl::StripAsciiWhitespace(ExtractBlock(reply)));
}

absl::StatusOr<std::string> LanguageModelThinker::Idea(const Problem& problem,
                                                       uint64_t sample) {
  return Ask(
      "idea",
      {{"system", absl::StrCat(kExpert,
                               "The user sends a problem. Return a solution in "
                               "words, like an editorial.",
                               kCreative)},
       {"user",
        absl::StrCat(Examples(problem, Show::kWords), TheProblem(problem),
                     "Find a solution in words. Look for simple, "
                     "creative ideas, since the first intuition may "
                     "mislead: it is crucial to go beyond it.")}},
      options_.temperature, sample);
}

absl::StatusOr<std::string> LanguageModelThinker::ImplementIdea(
    const Problem& problem, const std::string& idea, uint64_t sample) {
  REPRO_ASSIGN_OR_RETURN(
      const std::string reply,
      Ask("program",
          {{"system",
            absl::StrCat(kExpert,
                         "The user sends a problem and a solution in words. "
                         "Return a program that follows the solution and "
                         "passes all tests, in a Markdown block, and nothing "
                         "else.")},
           {"user", absl::StrCat(Examples(problem, Show::kWordsAndProgram),
                                 TheProblem(problem), "The solution:\n\n", idea,
                                 "\n\nWrite a Python program that follows it. ",
                                 Interface(problem))}},
          options_.temperature, sample));
  return std::string(absl::StripAsciiWhitespace(ExtractBlock(reply)));
}

absl::StatusOr<std::string> LanguageModelThinker::BackTranslate(
    const Problem& problem, const std::string& program, int words,
    uint64_t sample) {
  if (words < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("back-translation into ", words, " words"));
  }
  return Ask(
      "back-translate",
      {{"system",
        absl::StrCat(kExpert,
                     "The user sends a problem and a program that solves it. "
                     "Return the solution in words, like an editorial. Write "
                     "no code.")},
       {"user",
        absl::StrCat(TheProblem(problem), "The program:\n\n",
                     PythonBlock(program),
                     "\n\nDescribe the solution in about ", words, " words.")}},
      options_.temperature, sample);
}

}  // namespace repro::plan_search
