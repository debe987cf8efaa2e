#include "papers/mango/pair_language.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "common/data/json.h"
#include "common/status/macros.h"

namespace repro::mango {
namespace {

using nlohmann::json;

// "@" is what the step is applied to, "#" its number.
struct StepTexts {
  const char* words[2];
  const char* comment;
  const char* statement;
};

const StepTexts& TextsOf(StepKind kind) {
  static constexpr StepTexts kTexts[kNumStepKinds] = {
      {{"the even numbers of @", "what is even in @"},
       "keep the even numbers",
       "x = [v for v in x if v % 2 == 0]"},
      {{"the odd numbers of @", "what is odd in @"},
       "keep the odd numbers",
       "x = [v for v in x if v % 2 == 1]"},
      {{"the numbers above # of @", "what exceeds # in @"},
       "keep the numbers above #",
       "x = [v for v in x if v > #]"},
      {{"the numbers below # of @", "what is less than # in @"},
       "keep the numbers below #",
       "x = [v for v in x if v < #]"},
      {{"# added to each of @", "an increase by # of each of @"},
       "add # to each number",
       "x = [v + # for v in x]"},
      {{"# taken from each of @", "a decrease by # of each of @"},
       "subtract # from each number",
       "x = [v - # for v in x]"},
      {{"# times each of @", "the products with # of @"},
       "multiply each number by #",
       "x = [v * # for v in x]"},
      {{"the squares of @", "each by itself of @"},
       "square each number",
       "x = [v * v for v in x]"},
      {{"the negatives of @", "the other sign of @"},
       "negate each number",
       "x = [-v for v in x]"},
      {{"the reverse of @", "from the end @"},
       "reverse the order",
       "x = x[::-1]"},
      {{"in rising order @", "the sorted @"},
       "sort the numbers",
       "x = sorted(x)"},
      {{"the first # of @", "up to # of @"},
       "take the first # numbers",
       "x = x[:#]"},
      {{"all but the first # of @", "behind # of @"},
       "drop the first # numbers",
       "x = x[#:]"}};
  return kTexts[static_cast<int>(kind)];
}

const StepTexts& TextsOf(Reducer reducer) {
  static constexpr StepTexts kTexts[kNumReducers] = {
      {{"the sum of @", "the total of @"},
       "give back the sum",
       "return sum(x)"},
      {{"the count of @", "how many are @"},
       "give back the count",
       "return len(x)"},
      {{"the largest of @", "the maximum of @"},
       "give back the largest",
       "return max(x, default=0)"},
      {{"the smallest of @", "the minimum of @"},
       "give back the smallest",
       "return min(x, default=0)"}};
  return kTexts[static_cast<int>(reducer)];
}

bool HasNumber(StepKind kind) {
  switch (kind) {
    case StepKind::kAbove:
    case StepKind::kBelow:
    case StepKind::kAdd:
    case StepKind::kSubtract:
    case StepKind::kTimes:
    case StepKind::kTake:
    case StepKind::kDrop:
      return true;
    default:
      return false;
  }
}

int64_t LargestNumber(StepKind kind) {
  return kind == StepKind::kTake || kind == StepKind::kDrop ? 3 : 9;
}

std::string Fill(const char* text, int64_t n, const std::string& inner) {
  return absl::StrReplaceAll(text, {{"#", absl::StrCat(n)}, {"@", inner}});
}

// The program that runs the programs: prints a JSON list of 0 and 1.
constexpr char kDriver[] = R"PY(
import json

def solves(code, tests):
    scope = {}
    try:
        exec(code, scope)
        return all(scope["f"](list(x)) == y for x, y in tests)
    except BaseException:
        return False

with open("job.json") as file:
    job = json.load(file)
print("\n" + json.dumps([int(solves(*one)) for one in job]))
)PY";

constexpr size_t kProgramsAProcess = 100;

// With more of them numbers would leave 64 bits.
constexpr int kMaxSteps = 5, kMaxSquares = 2;

exec::ExecRequest RequestOf(const std::vector<PairTask>& tasks,
                            const std::vector<std::string>& programs,
                            size_t begin, size_t end) {
  json job = json::array();
  for (size_t i = begin; i < end; ++i) {
    json tests = json::array();
    for (const auto& [x, y] : tasks[i].tests) {
      tests.push_back(json::array({x, y}));
    }
    job.push_back(json::array({programs[i], tests}));
  }
  exec::ExecRequest request;
  request.program = kDriver;
  request.files = {{"job.json", job.dump(-1, ' ', /*ensure_ascii=*/true,
                                         json::error_handler_t::replace)}};
  request.limits.cpu = absl::Seconds(5);
  request.limits.wall = absl::Seconds(60);
  return request;
}

// The report of `count` programs; none if the process ended without it.
std::vector<bool> ReportOf(const exec::ExecResult& result, size_t count) {
  std::vector<bool> solved;
  absl::string_view text = result.stdout_text;
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  const auto report = ParseJson(text.substr(text.rfind('\n') + 1), "report");
  if (result.outcome != exec::Outcome::kPassed || !report.ok() ||
      !report->is_array() || report->size() != count) {
    return solved;
  }
  for (const json& one : *report) solved.push_back(one == 1);
  return solved;
}

}  // namespace

int64_t Evaluate(const Recipe& recipe, std::vector<int64_t> x) {
  const auto keep = [&x](const auto& wanted) {
    x.erase(std::remove_if(x.begin(), x.end(),
                           [&](int64_t v) { return !wanted(v); }),
            x.end());
  };
  for (const Step& step : recipe.steps) {
    const int64_t n = step.n;
    const int64_t at = std::min<int64_t>(n, static_cast<int64_t>(x.size()));
    switch (step.kind) {
      case StepKind::kEven:
        keep([](int64_t v) { return v % 2 == 0; });
        break;
      case StepKind::kOdd:
        keep([](int64_t v) { return v % 2 != 0; });
        break;
      case StepKind::kAbove:
        keep([n](int64_t v) { return v > n; });
        break;
      case StepKind::kBelow:
        keep([n](int64_t v) { return v < n; });
        break;
      case StepKind::kAdd:
        for (int64_t& v : x) v += n;
        break;
      case StepKind::kSubtract:
        for (int64_t& v : x) v -= n;
        break;
      case StepKind::kTimes:
        for (int64_t& v : x) v *= n;
        break;
      case StepKind::kSquare:
        for (int64_t& v : x) v *= v;
        break;
      case StepKind::kNegate:
        for (int64_t& v : x) v = -v;
        break;
      case StepKind::kReverse:
        std::reverse(x.begin(), x.end());
        break;
      case StepKind::kSort:
        std::sort(x.begin(), x.end());
        break;
      case StepKind::kTake:
        x.resize(at);
        break;
      case StepKind::kDrop:
        x.erase(x.begin(), x.begin() + at);
        break;
    }
  }
  switch (recipe.reducer) {
    case Reducer::kSum: {
      int64_t sum = 0;
      for (const int64_t v : x) sum += v;
      return sum;
    }
    case Reducer::kCount:
      return static_cast<int64_t>(x.size());
    case Reducer::kLargest:
      return x.empty() ? 0 : *std::max_element(x.begin(), x.end());
    case Reducer::kSmallest:
      return x.empty() ? 0 : *std::min_element(x.begin(), x.end());
  }
  return 0;
}

PairTask MakePairTask(const Recipe& recipe, uint64_t wording) {
  PairTask task;
  task.recipe = recipe;
  task.task = "x";
  task.bare = "def f(x):\n";
  task.commented = task.bare;
  const auto add = [&](const StepTexts& texts, int64_t n) {
    task.task = Fill(texts.words[wording & 1], n, task.task);
    wording >>= 1;
    const std::string statement =
        absl::StrCat("    ", Fill(texts.statement, n, ""), "\n");
    absl::StrAppend(&task.commented, "    # ", Fill(texts.comment, n, ""), "\n",
                    statement);
    absl::StrAppend(&task.bare, statement);
  };
  for (const Step& step : recipe.steps) add(TextsOf(step.kind), step.n);
  add(TextsOf(recipe.reducer), 0);
  return task;
}

absl::StatusOr<std::vector<PairTask>> DrawPairTasks(
    int64_t count, int min_steps, int max_steps, uint64_t seed,
    std::set<std::string>* taken) {
  if (min_steps < 0 || max_steps < min_steps || max_steps > kMaxSteps) {
    return absl::InvalidArgumentError(absl::StrCat(min_steps, " to ", max_steps,
                                                   " steps: expected 0 to ",
                                                   kMaxSteps, " in order"));
  }
  constexpr int kTests = 4, kListLength = 7;
  constexpr int64_t kSmallest = -9, kLargest = 20;
  constexpr int kTries = 1000;  // in a row that bring nothing new
  std::mt19937_64 random(seed);
  // Not std::uniform_int_distribution, which libraries define differently.
  const auto draw = [&random](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random() % (high - low + 1));
  };
  std::vector<PairTask> tasks;
  for (int tries = 0; static_cast<int64_t>(tasks.size()) < count;) {
    Recipe recipe;
    recipe.steps.resize(draw(min_steps, max_steps));
    for (Step& step : recipe.steps) {
      step.kind = static_cast<StepKind>(draw(0, kNumStepKinds - 1));
      if (HasNumber(step.kind)) step.n = draw(1, LargestNumber(step.kind));
    }
    recipe.reducer = static_cast<Reducer>(draw(0, kNumReducers - 1));
    if (std::count_if(recipe.steps.begin(), recipe.steps.end(),
                      [](const Step& step) {
                        return step.kind == StepKind::kSquare;
                      }) > kMaxSquares) {
      continue;
    }
    PairTask task = MakePairTask(recipe, random());
    if (!taken->insert(task.task).second) {
      if (++tries == kTries) {
        return absl::ResourceExhaustedError(
            absl::StrCat("no more than ", tasks.size(), " tasks of ", min_steps,
                         " to ", max_steps, " steps were found"));
      }
      continue;
    }
    tries = 0;
    for (int t = 0; t < kTests; ++t) {
      std::vector<int64_t> x(kListLength);
      for (int64_t& v : x) v = draw(kSmallest, kLargest);
      const int64_t y = Evaluate(recipe, x);
      task.tests.emplace_back(std::move(x), y);
    }
    tasks.push_back(std::move(task));
  }
  return tasks;
}

absl::StatusOr<std::vector<bool>> SolvedBy(
    const exec::Sandbox& sandbox, const std::vector<PairTask>& tasks,
    const std::vector<std::string>& programs, int workers) {
  if (tasks.size() != programs.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        tasks.size(), " tasks and ", programs.size(), " programs"));
  }
  std::vector<exec::ExecRequest> requests;
  for (size_t begin = 0; begin < tasks.size(); begin += kProgramsAProcess) {
    requests.push_back(
        RequestOf(tasks, programs, begin,
                  std::min(tasks.size(), begin + kProgramsAProcess)));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecResult> results,
                         sandbox.RunAll(requests, workers));
  std::vector<bool> solved(tasks.size(), false);
  std::vector<size_t> again;
  for (size_t r = 0; r < results.size(); ++r) {
    const size_t begin = r * kProgramsAProcess;
    const size_t end = std::min(tasks.size(), begin + kProgramsAProcess);
    const std::vector<bool> report = ReportOf(results[r], end - begin);
    for (size_t i = begin; i < end; ++i) {
      if (report.empty()) {
        again.push_back(i);
      } else {
        solved[i] = report[i - begin];
      }
    }
  }
  requests.clear();
  for (const size_t i : again) {
    requests.push_back(RequestOf(tasks, programs, i, i + 1));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<exec::ExecResult> alone,
                         sandbox.RunAll(requests, workers));
  for (size_t k = 0; k < alone.size(); ++k) {
    const std::vector<bool> report = ReportOf(alone[k], 1);
    solved[again[k]] = !report.empty() && report[0];
  }
  return solved;
}

}  // namespace repro::mango
