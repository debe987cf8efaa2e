#include "papers/effi_code/function_language.h"

#include <algorithm>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/status/macros.h"

namespace repro::effi_code {
namespace {

// "#" is the part's number, "@" what the part is applied to.
struct PartTexts {
  const char* words[2];
  const char* code;   // the condition, the term; of a result unused
  const char* range;  // of a pick: the numbers themselves
};

const PartTexts& TextsOf(Pick pick) {
  static constexpr PartTexts kTexts[] = {
      {{"the multiples of #", "the numbers that # divides"},
       "v % # == 0",
       "range(#, n + 1, #)"},
      {{"the numbers that end in #", "the numbers with last digit #"},
       "v % 10 == #",
       "range(#, n + 1, 10)"},
      {{"the numbers from # on", "the numbers not below #"},
       "v >= #",
       "range(#, n + 1)"},
      {{"the odd numbers", "the numbers that 2 does not divide"},
       "v % 2 == 1",
       "range(1, n + 1, 2)"}};
  return kTexts[static_cast<int>(pick)];
}

const PartTexts& TextsOf(Change change) {
  static constexpr PartTexts kTexts[] = {
      {{"@", "@"}, "v", ""},
      {{"the squares of @", "the second powers of @"}, "v * v", ""},
      {{"the cubes of @", "the third powers of @"}, "v * v * v", ""},
      {{"# times each of @", "the products with # of @"}, "v * #", ""},
      {{"# more than each of @", "the sums with # of @"}, "v + #", ""}};
  return kTexts[static_cast<int>(change)];
}

const PartTexts& TextsOf(Result result) {
  static constexpr PartTexts kTexts[] = {
      {{"the sum of @ up to n", "the total of @ up to n"}, "", ""},
      {{"the largest of @ up to n", "the maximum of @ up to n"}, "", ""},
      {{"the list of @ up to n", "all of @ up to n"}, "", ""}};
  return kTexts[static_cast<int>(result)];
}

std::string Fill(const char* text, int64_t number,
                 const std::string& inner = "") {
  return absl::StrReplaceAll(text, {{"#", absl::StrCat(number)}, {"@", inner}});
}

bool IsPicked(const Recipe& recipe, int64_t v) {
  switch (recipe.pick) {
    case Pick::kMultiples:
      return v % recipe.pick_number == 0;
    case Pick::kEndingIn:
      return v % 10 == recipe.pick_number;
    case Pick::kFrom:
      return v >= recipe.pick_number;
    case Pick::kOdd:
      return v % 2 == 1;
  }
  return false;
}

int64_t Changed(const Recipe& recipe, int64_t v) {
  switch (recipe.change) {
    case Change::kNone:
      return v;
    case Change::kSquare:
      return v * v;
    case Change::kCube:
      return v * v * v;
    case Change::kTimes:
      return v * recipe.change_number;
    case Change::kPlus:
      return v + recipe.change_number;
  }
  return v;
}

std::string SlowProgram(const Recipe& recipe, const std::string& condition,
                        const std::string& term) {
  std::string start = "0", step;
  switch (recipe.result) {
    case Result::kSum:
      step = absl::StrCat("            y = y + ", term, "\n");
      break;
    case Result::kLargest:
      step = absl::StrCat("            if ", term,
                          " > y:\n                y = ", term, "\n");
      break;
    case Result::kList:
      start = "[]";
      step = absl::StrCat("            y = y + [", term, "]\n");
      break;
  }
  return absl::StrCat("def f(n):\n    y = ", start,
                      "\n    v = 1\n    while v <= n:\n        if ", condition,
                      ":\n", step, "        v = v + 1\n    return y\n");
}

std::string ListProgram(Result result, const std::string& list) {
  switch (result) {
    case Result::kSum:
      return absl::StrCat("def f(n):\n    return sum(", list, ")\n");
    case Result::kLargest:
      return absl::StrCat("def f(n):\n    return max(", list, ", default=0)\n");
    case Result::kList:
      return absl::StrCat("def f(n):\n    return ", list, "\n");
  }
  return "";
}

// The same for the same bytes with every library.
uint64_t Fnv1a(const std::string& text) {
  uint64_t hash = 14695981039346656037U;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  }
  return hash;
}

}  // namespace

std::vector<Recipe> AllRecipes() {
  std::vector<Recipe> picks, changes, all;
  const auto add = [](std::vector<Recipe>* list, int64_t low, int64_t high,
                      const auto& make) {
    for (int64_t number = low; number <= high; ++number) {
      list->push_back(make(number));
    }
  };
  const auto pick = [](Pick kind) {
    return [kind](int64_t number) {
      Recipe recipe;
      recipe.pick = kind;
      recipe.pick_number = number;
      return recipe;
    };
  };
  add(&picks, 2, 9, pick(Pick::kMultiples));
  add(&picks, 1, 9, pick(Pick::kEndingIn));
  add(&picks, 2, 9, pick(Pick::kFrom));
  add(&picks, 0, 0, pick(Pick::kOdd));
  const auto change = [](Change kind) {
    return [kind](int64_t number) {
      Recipe recipe;
      recipe.change = kind;
      recipe.change_number = number;
      return recipe;
    };
  };
  add(&changes, 0, 0, change(Change::kNone));
  add(&changes, 0, 0, change(Change::kSquare));
  add(&changes, 0, 0, change(Change::kCube));
  add(&changes, 2, 9, change(Change::kTimes));
  add(&changes, 1, 9, change(Change::kPlus));
  for (const Recipe& of_pick : picks) {
    for (const Recipe& of_change : changes) {
      for (const Result result :
           {Result::kSum, Result::kLargest, Result::kList}) {
        Recipe recipe = of_pick;
        recipe.change = of_change.change;
        recipe.change_number = of_change.change_number;
        recipe.result = result;
        all.push_back(recipe);
      }
    }
  }
  return all;
}

std::vector<int64_t> Values(const Recipe& recipe, int64_t n) {
  std::vector<int64_t> values;
  for (int64_t v = 1; v <= n; ++v) {
    if (IsPicked(recipe, v)) values.push_back(Changed(recipe, v));
  }
  if (recipe.result == Result::kList) return values;
  int64_t one = 0;
  for (const int64_t v : values) {
    one = recipe.result == Result::kSum ? one + v : std::max(one, v);
  }
  return {one};
}

std::string TaskText(const Recipe& recipe, uint64_t wording) {
  const std::string picked =
      Fill(TextsOf(recipe.pick).words[wording & 1], recipe.pick_number);
  const std::string changed =
      Fill(TextsOf(recipe.change).words[wording >> 1 & 1], recipe.change_number,
           picked);
  return Fill(TextsOf(recipe.result).words[wording >> 2 & 1], 0, changed);
}

std::string ProgramOf(const Recipe& recipe, Form form) {
  const PartTexts& pick = TextsOf(recipe.pick);
  const std::string condition = Fill(pick.code, recipe.pick_number);
  const std::string term =
      Fill(TextsOf(recipe.change).code, recipe.change_number);
  switch (form) {
    case Form::kSlow:
      return SlowProgram(recipe, condition, term);
    case Form::kFair:
      return ListProgram(
          recipe.result,
          absl::StrCat("[", term, " for v in range(1, n + 1) if ", condition,
                       "]"));
    case Form::kFast:
      return ListProgram(
          recipe.result,
          absl::StrCat("[", term, " for v in ",
                       Fill(pick.range, recipe.pick_number), "]"));
  }
  return "";
}

std::string TestsOf(const Recipe& recipe) {
  std::string tests;
  for (const int64_t n : {12, 25, 40}) {
    const std::vector<int64_t> values = Values(recipe, n);
    absl::StrAppend(&tests, "assert f(", n,
                    ") == ", recipe.result == Result::kList ? "[" : "",
                    absl::StrJoin(values, ", "),
                    recipe.result == Result::kList ? "]" : "", "\n");
  }
  return tests;
}

absl::StatusOr<completion::Completion> Rewriter::Complete(
    const completion::CompletionRequest& request) {
  REPRO_RETURN_IF_ERROR(completion::Validate(request));
  std::string text = request.prompt;
  for (const completion::ChatMessage& message : request.messages) {
    absl::StrAppend(&text, message.content, "\n");
  }
  auto found = tasks_.end();
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    found = tasks_.find(std::string(line));
    if (found != tasks_.end()) break;
  }
  if (found == tasks_.end()) {
    return absl::NotFoundError("the request has no task of the language");
  }
  std::mt19937_64 random(Fnv1a(found->first) ^ request.seed.value_or(0));
  completion::Completion answer;
  answer.model = name();
  for (int i = 0; i < request.n; ++i) {
    const uint64_t draw = random() % 100;
    Recipe recipe = found->second;
    Form form = Form::kFast;
    if (draw >= 40 && draw < 65) form = Form::kFair;
    if (draw >= 65 && draw < 80) form = Form::kSlow;
    if (draw >= 80 && draw < 90) {
      recipe.result =
          recipe.result == Result::kSum ? Result::kLargest : Result::kSum;
    }
    completion::Choice choice;
    choice.text = draw < 90 ? absl::StrCat("```python\n",
                                           ProgramOf(recipe, form), "```\n")
                            : "The program is as fast as it can be.";
    choice.finish_reason = "stop";
    answer.choices.push_back(std::move(choice));
  }
  return answer;
}

}  // namespace repro::effi_code
