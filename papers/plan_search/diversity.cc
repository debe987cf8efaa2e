#include "papers/plan_search/diversity.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/completion/ask.h"
#include "common/status/macros.h"

namespace repro::plan_search {
namespace {

constexpr char kDescribe[] =
    "You are an expert Python programmer. The user sends a problem and a "
    "program that was written for it. Return a description of how the program "
    "works and of the idea behind it, in words, like an editorial. Write no "
    "code.";

constexpr char kCompare[] =
    "You are an expert Python programmer. The user sends a problem and two "
    "programs that try to solve it, each with a description of its idea. Say "
    "whether the ideas are the same. Answer with \"Yes.\" or \"No.\" and "
    "nothing else.";

absl::StatusOr<std::string> Ask(completion::CompletionClient& client,
                                absl::string_view step, const char* system,
                                std::string user,
                                const DiversityOptions& options) {
  completion::CompletionRequest request;
  request.model = options.model;
  request.messages = {{"system", system}, {"user", std::move(user)}};
  request.max_tokens = options.max_tokens;
  request.top_p = options.top_p;
  return completion::Ask(client, request, step);
}

std::string Shown(const std::string& program, absl::string_view description) {
  return absl::StrCat("```python\n", program, "\n```\n\n", description, "\n\n");
}

}  // namespace

bool SaysSame(absl::string_view reply) {
  return absl::StrContains(absl::AsciiStrToLower(reply), "yes");
}

absl::StatusOr<JudgedPairs> JudgePairs(completion::CompletionClient& client,
                                       const Problem& problem,
                                       std::vector<std::string> programs,
                                       const DiversityOptions& options,
                                       std::mt19937_64& generator) {
  Shuffle(programs, generator);
  const auto most = static_cast<size_t>(std::max(0, options.max_programs));
  if (programs.size() > most) programs.resize(most);
  programs.erase(std::remove(programs.begin(), programs.end(), ""),
                 programs.end());
  JudgedPairs judged;
  if (programs.size() < 2) return judged;
  const std::string the_problem =
      absl::StrCat("The problem:\n\n", problem.statement, "\n\n");
  std::vector<std::string> descriptions;
  for (const std::string& program : programs) {
    REPRO_ASSIGN_OR_RETURN(
        descriptions.emplace_back(),
        Ask(client, "describe", kDescribe,
            absl::StrCat(the_problem, "The program:\n\n", Shown(program, ""),
                         "Describe how it works and the idea behind it."),
            options));
  }
  for (size_t i = 0; i < programs.size(); ++i) {
    for (size_t j = i + 1; j < programs.size(); ++j) {
      REPRO_ASSIGN_OR_RETURN(
          const std::string verdict,
          Ask(client, "compare", kCompare,
              absl::StrCat(the_problem, "The first program and its idea:\n\n",
                           Shown(programs[i], descriptions[i]),
                           "The second program and its idea:\n\n",
                           Shown(programs[j], descriptions[j]),
                           "By the descriptions, do both have the same idea? "
                           "Answer \"Yes.\" or \"No.\" only."),
              options));
      ++judged.pairs;
      judged.similar += SaysSame(verdict);
    }
  }
  return judged;
}

}  // namespace repro::plan_search
