#include "common/metrics/infinite_bench.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/metrics/python_text.h"

namespace repro::metrics {
namespace {

bool IsDigit(char c) {
  return absl::ascii_isdigit(static_cast<unsigned char>(c));
}

std::string WithSpacesFor(absl::string_view characters,
                          absl::string_view text) {
  std::string spaced(text);
  for (char& c : spaced) {
    if (absl::StrContains(characters, absl::string_view(&c, 1))) c = ' ';
  }
  return spaced;
}

std::string CollapseSpaces(absl::string_view text) {
  std::string collapsed;
  for (const char c : text) {
    if (c != ' ' || collapsed.empty() || collapsed.back() != ' ') {
      collapsed.push_back(c);
    }
  }
  return collapsed;
}

// Python's int() of a word without white space in it: a sign, and digits with
// single underscores between them.
bool ParsePythonInt(absl::string_view word, int64_t* value) {
  absl::string_view digits = word;
  if (!absl::ConsumePrefix(&digits, "-")) absl::ConsumePrefix(&digits, "+");
  if (digits.empty() || digits.front() == '_' || digits.back() == '_' ||
      absl::StrContains(digits, "__")) {
    return false;
  }
  for (const char c : digits) {
    if (!IsDigit(c) && c != '_') return false;
  }
  return absl::SimpleAtoi(absl::StrReplaceAll(word, {{"_", ""}}), value);
}

// The first \d+\.\d+|\d+ of a text, empty if there is none.
absl::string_view FirstNumber(absl::string_view text) {
  const size_t begin = text.find_first_of("0123456789");
  if (begin == absl::string_view::npos) return {};
  text.remove_prefix(begin);
  size_t end = 0;
  while (end < text.size() && IsDigit(text[end])) ++end;
  if (end + 1 < text.size() && text[end] == '.' && IsDigit(text[end + 1])) {
    ++end;
    while (end < text.size() && IsDigit(text[end])) ++end;
  }
  return text.substr(0, end);
}

// What \b[A-`last`]\b(?!.*\b[A-`last`]\b) finds first: the last letter from A
// to `last` that is a word by itself, of the first line that has one. 0 if
// there is none.
char StandAloneLetter(absl::string_view text, char last) {
  const Symbols symbols = CodePoints(text);
  char found = 0;
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (symbols[i] == '\n' && found != 0) break;
    if (symbols[i] < 'A' || symbols[i] > last) continue;
    if (i > 0 && IsWord(symbols[i - 1])) continue;
    if (i + 1 < symbols.size() && IsWord(symbols[i + 1])) continue;
    found = static_cast<char>(symbols[i]);
  }
  return found;
}

// The length of the first code point.
size_t FirstLength(absl::string_view text) {
  std::string first;
  AppendUtf8(CodePoints(text).front(), &first);
  return first.size();
}

// Looks for the prefixes in their order. False if none is there, else sets
// `is_right`: whether what follows the first one's first occurrence, one
// character skipped, starts with a candidate.
bool JudgeAfterPrefix(absl::string_view text,
                      const std::vector<absl::string_view>& prefixes,
                      const std::vector<std::string>& candidates,
                      bool* is_right) {
  for (const absl::string_view prefix : prefixes) {
    const size_t begin = text.find(prefix);
    if (begin == absl::string_view::npos) continue;
    absl::string_view after = text.substr(begin + prefix.size());
    *is_right = false;
    if (after.empty()) return true;
    after.remove_prefix(FirstLength(after));
    for (const std::string& candidate : candidates) {
      if (absl::StartsWith(after, candidate)) *is_right = true;
    }
    return true;
  }
  return false;
}

bool IsOneOf(absl::string_view text, const std::vector<std::string>& labels) {
  return std::find(labels.begin(), labels.end(), text) != labels.end();
}

}  // namespace

bool FirstDigitsMatch(absl::string_view prediction, absl::string_view label) {
  const auto runs = DigitRuns(prediction);
  return (runs.empty() ? absl::string_view() : runs.front()) == label;
}

bool ContainsWord(absl::string_view prediction, absl::string_view label) {
  const Tokens words =
      SplitWhitespace(WithSpacesFor("\n:\"'.,?!{}", prediction));
  return IsOneOf(label, words);
}

bool LastWordIsInteger(absl::string_view prediction, int64_t label) {
  const Tokens words = SplitWhitespace(WithSpacesFor("\n.`'\":", prediction));
  int64_t value = 0;
  return !words.empty() && ParsePythonInt(words.back(), &value) &&
         value == label;
}

bool FirstNumberIs(absl::string_view prediction, int64_t label) {
  int64_t value = 0;
  return absl::SimpleAtoi(FirstNumber(prediction), &value) && value == label;
}

bool FirstNumberIs(absl::string_view prediction, double label) {
  double value = 0;
  return absl::SimpleAtod(FirstNumber(prediction), &value) && value == label;
}

double CommonPrefixShare(absl::string_view prediction,
                         const std::vector<int64_t>& label, int64_t skip) {
  if (label.empty()) return 0;
  const auto runs = DigitRuns(prediction);
  size_t equal = 0;
  while (equal < label.size() && equal + skip < runs.size()) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(runs[equal + skip], &value) ||
        value != label[equal]) {
      break;
    }
    ++equal;
  }
  return static_cast<double>(equal) / label.size();
}

bool CodeDebugIsRight(absl::string_view prediction, absl::string_view function,
                      absl::string_view letter, InfiniteBenchRules rules) {
  const std::vector<std::string> candidates = {std::string(letter),
                                               std::string(function)};
  std::string text = Strip(prediction);
  if (rules == InfiniteBenchRules::kOriginal) {
    absl::string_view rest = text;
    if (absl::ConsumePrefix(&rest, letter) && !rest.empty() &&
        (rest.front() == '.' || rest.front() == ':')) {
      return true;
    }
  }
  if (rules == InfiniteBenchRules::kRevised) {
    const char found = StandAloneLetter(text, 'J');
    if (found != 0 && letter == absl::string_view(&found, 1)) return true;
  }
  text = CollapseSpaces(absl::StrReplaceAll(
      WithSpacesFor("\n`'\"-*", text), {{"Option", " "}, {"option", " "}}));
  if (rules == InfiniteBenchRules::kRevised) {
    for (const std::string& candidate : candidates) {
      if (absl::StartsWith(text, candidate)) return true;
    }
  }
  bool is_right = false;
  // Both programs also name "correct option is:", which "is:" precedes.
  JudgeAfterPrefix(text, {"answer is:", "is:", "answer:"}, candidates,
                   &is_right);
  return is_right;
}

bool ChoiceIsRight(absl::string_view prediction,
                   const std::vector<std::string>& labels,
                   InfiniteBenchRules rules) {
  std::string text = Strip(prediction);
  if (rules == InfiniteBenchRules::kRevised) {
    const char found = StandAloneLetter(text, 'D');
    if (found != 0 && IsOneOf(absl::string_view(&found, 1), labels)) {
      return true;
    }
  }
  if (text.empty()) return false;
  const absl::string_view first = absl::string_view(text).substr(0, 1);
  if (absl::StrContains("ABCD", first)) return IsOneOf(first, labels);
  if (IsOneOf(text, labels)) return true;
  text = CollapseSpaces(WithSpacesFor("\n\"'.,?!{}", text));
  bool is_right = false;
  if (JudgeAfterPrefix(text,
                       {"answer is:", "answer:", "answer is", "option is"},
                       labels, &is_right)) {
    return is_right;
  }
  for (const std::string& word : SplitWhitespace(text)) {
    if (absl::StrContains("ABCD", word)) return IsOneOf(word, labels);
  }
  return false;
}

bool DialogueIsRight(absl::string_view prediction,
                     const std::vector<std::string>& labels,
                     InfiniteBenchRules rules) {
  if (rules == InfiniteBenchRules::kOriginal) {
    return !labels.empty() && ContainsWord(Upper(prediction), labels.front());
  }
  const std::string text = Upper(Strip(prediction));
  for (const std::string& label : labels) {
    if (absl::StrContains(text, Upper(label))) return true;
  }
  return false;
}

}  // namespace repro::metrics
