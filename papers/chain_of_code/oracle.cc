#include "papers/chain_of_code/oracle.h"

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/completion/scripted.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "papers/chain_of_code/prompts.h"

namespace repro::chain_of_code {
namespace {

const std::map<std::string, std::set<std::string>, std::less<>>& Kinds() {
  static const auto& kinds =
      *new std::map<std::string, std::set<std::string>, std::less<>>{
          {"fruits",
           {"apple", "banana", "blackberry", "grape", "nectarine", "orange",
            "peach", "plum", "raspberry", "strawberry"}},
          {"vegetables",
           {"cabbage", "carrot", "cauliflower", "garlic", "head of broccoli",
            "lettuce head", "onion", "potato", "stalk of celery", "yam"}},
          {"animals",
           {"bear", "cat", "chicken", "cow", "dog", "donkey", "duck", "fish",
            "frog", "goat", "mouse", "pig", "rabbit", "snail", "snake"}},
          {"musical instruments",
           {"accordion", "clarinet", "drum", "flute", "piano", "trombone",
            "trumpet", "violin"}},
          {"furniture and appliances",
           {"bed", "car", "chair", "couch", "fridge", "lamp", "microwave",
            "oven", "stove", "table", "toaster"}},
      };
  return kinds;
}

// The nouns of the task have these plurals only.
std::string Singular(absl::string_view noun) {
  if (noun == "mice") return "mouse";
  if (absl::StartsWith(noun, "heads of ")) {
    return absl::StrCat("head of ", noun.substr(9));
  }
  if (absl::StartsWith(noun, "stalks of ")) {
    return absl::StrCat("stalk of ", noun.substr(10));
  }
  for (const auto& [ending, singular] :
       std::array<std::pair<absl::string_view, absl::string_view>, 5>{
           {{"berries", "berry"},
            {"peaches", "peach"},
            {"potatoes", "potato"},
            {"couches", "couch"},
            {"s", ""}}}) {
    if (absl::ConsumeSuffix(&noun, ending)) {
      return absl::StrCat(noun, singular);
    }
  }
  return std::string(noun);
}

absl::Status Unknown(const std::string& what) {
  return absl::NotFoundError(absl::StrCat("the oracle's table has no ", what));
}

// The text between `before` and the next `after`, from the last `before` on.
absl::StatusOr<absl::string_view> Between(absl::string_view text,
                                          absl::string_view before,
                                          absl::string_view after) {
  const size_t start = text.rfind(before);
  if (start == absl::string_view::npos) {
    return absl::UnimplementedError(
        absl::StrCat("the oracle looks for ", Quoted(before), " in vain"));
  }
  text.remove_prefix(start + before.size());
  const size_t end = text.find(after);
  if (end == absl::string_view::npos) {
    return absl::UnimplementedError(
        absl::StrCat("the oracle looks for ", Quoted(after), " in vain"));
  }
  return text.substr(0, end);
}

// "7. Take 3 steps left" as (forward, right, quarter turns to the right).
absl::StatusOr<std::array<int, 3>> Motion(absl::string_view order) {
  const std::vector<absl::string_view> words = absl::StrSplit(order, ' ');
  const auto is = [&](size_t i, absl::string_view word) {
    return i < words.size() && words[i] == word;
  };
  if (is(1, "Always")) return std::array<int, 3>{0, 0, 0};
  if (is(1, "Turn")) {
    if (is(2, "right")) return std::array<int, 3>{0, 0, 1};
    if (is(2, "around")) return std::array<int, 3>{0, 0, 2};
    if (is(2, "left")) return std::array<int, 3>{0, 0, 3};
  }
  int steps = 0;
  if (is(1, "Take") && words.size() > 2 && absl::SimpleAtoi(words[2], &steps)) {
    if (words.size() == 4 || is(4, "forward")) {
      return std::array<int, 3>{steps, 0, 0};
    }
    if (is(4, "backward")) return std::array<int, 3>{-steps, 0, 0};
    if (is(4, "left")) return std::array<int, 3>{0, -steps, 0};
    if (is(4, "right")) return std::array<int, 3>{0, steps, 0};
  }
  return Unknown(absl::StrCat("instruction ", Quoted(order)));
}

constexpr absl::string_view kIsOneOf = " is one of the ";
constexpr absl::string_view kTrue = " {'counted': True}",
                            kFalse = " {'counted': False}";

}  // namespace

absl::StatusOr<bool> IsOneOf(absl::string_view noun, absl::string_view kind) {
  const std::string singular = Singular(noun);
  const auto has = [&](const auto& entry) {
    return entry.second.count(singular) > 0;
  };
  if (std::none_of(Kinds().begin(), Kinds().end(), has)) {
    return Unknown(absl::StrCat("noun ", Quoted(noun)));
  }
  if (kind == "objects") return true;
  const auto found = Kinds().find(kind);
  if (found == Kinds().end()) {
    return Unknown(absl::StrCat("kind ", Quoted(kind)));
  }
  return has(*found);
}

absl::StatusOr<std::vector<Thing>> ParseThings(absl::string_view question) {
  constexpr std::array<absl::string_view, 11> kNumbers = {
      "a",    "an",  "one",   "two",   "three", "four",
      "five", "six", "seven", "eight", "nine"};
  const std::vector<absl::string_view> halves =
      absl::StrSplit(question, ". How many ");
  absl::string_view list = halves[0];
  if (halves.size() != 2 || !absl::ConsumePrefix(&list, "I have ")) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a question of object counting: ", Quoted(question)));
  }
  const absl::string_view kind = halves[1].substr(0, halves[1].find(" do I"));
  const std::string commas =
      absl::StrReplaceAll(list, {{", and ", ", "}, {" and ", ", "}});
  std::vector<Thing> things;
  for (absl::string_view part : absl::StrSplit(commas, ", ")) {
    const std::pair<absl::string_view, absl::string_view> split =
        absl::StrSplit(part, absl::MaxSplits(' ', 1));
    const auto* number =
        std::find(kNumbers.begin(), kNumbers.end(), split.first);
    if (number == kNumbers.end()) {
      return Unknown(absl::StrCat("number ", Quoted(split.first)));
    }
    Thing thing;
    thing.claim = absl::StrCat(split.second, kIsOneOf, kind);
    thing.count = std::max(1, static_cast<int>(number - kNumbers.begin()) - 1);
    REPRO_ASSIGN_OR_RETURN(thing.counted, IsOneOf(split.second, kind));
    things.push_back(std::move(thing));
  }
  return things;
}

double ProbabilityRight(const std::vector<Thing>& things, double error_rate,
                        Emulated emulated) {
  std::map<int, double> distribution = {{0, 1}};  // of the error of the count
  for (const Thing& thing : things) {
    std::map<int, double> errors;  // of this thing
    const auto add = [&](int error, double probability, bool adds) {
      const double slip =
          adds && emulated == Emulated::kAllLines ? error_rate : 0;
      errors[error] += probability * (1 - slip);
      errors[error - 1] += probability * slip / 2;
      errors[error + 1] += probability * slip / 2;
    };
    add(0, 1 - error_rate, thing.counted);
    add(thing.counted ? -thing.count : thing.count, error_rate, !thing.counted);
    std::map<int, double> next;
    for (const auto& [before, p] : distribution) {
      for (const auto& [error, q] : errors) next[before + error] += p * q;
    }
    distribution = std::move(next);
  }
  return distribution[0];
}

double OracleClient::Draw(const std::string& key) const {
  std::vector<uint32_t> entropy = {static_cast<uint32_t>(seed_),
                                   static_cast<uint32_t>(seed_ >> 32)};
  entropy.insert(entropy.end(), key.begin(), key.end());
  std::seed_seq sequence(entropy.begin(), entropy.end());
  std::mt19937_64 generator(sequence);
  return std::generate_canonical<double, 53>(generator);
}

absl::StatusOr<completion::Completion> OracleClient::Complete(
    const completion::CompletionRequest& request) {
  REPRO_RETURN_IF_ERROR(completion::Validate(request));
  const absl::string_view prompt = request.prompt;
  if (absl::StrContains(prompt, kCodeEnd)) {
    REPRO_ASSIGN_OR_RETURN(std::string trace, Trace(prompt));
    return completion::TextCompletion(std::move(trace));
  }
  REPRO_ASSIGN_OR_RETURN(const absl::string_view line,
                         Between(prompt, "\nline: ", "\ndelta state:"));
  if (absl::StrContains(line, "is_true(")) {
    REPRO_ASSIGN_OR_RETURN(const absl::string_view claim,
                           Between(prompt, "{'claim': '", "'"));
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(claim, absl::MaxSplits(kIsOneOf, 1));
    REPRO_ASSIGN_OR_RETURN(const bool counted,
                           IsOneOf(parts.first, parts.second));
    return completion::TextCompletion(
        std::string(counted != Errs(std::string(claim)) ? kTrue : kFalse));
  }
  if (absl::StrContains(line, "get_motion(")) {
    REPRO_ASSIGN_OR_RETURN(const absl::string_view order,
                           Between(prompt, "{'order': '", "'"));
    REPRO_ASSIGN_OR_RETURN(const auto motion, Motion(order));
    return completion::TextCompletion(absl::StrCat(
        " {'motion': (", motion[0], ", ", motion[1], ", ", motion[2], ")}"));
  }
  return absl::UnimplementedError(
      absl::StrCat("the oracle does not know the line ", Quoted(line)));
}

absl::StatusOr<std::string> OracleClient::Trace(
    absl::string_view prompt) const {
  REPRO_ASSIGN_OR_RETURN(const absl::string_view question,
                         Between(prompt, "Q: ", "\nA:\n"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Thing> things,
                         ParseThings(question));
  int count = 0;
  std::string trace = " {}";
  for (const Thing& thing : things) {
    const bool counted = thing.counted != Errs(thing.claim);
    absl::StrAppend(&trace, "\nline:   counted = is_true(claim)\ndelta state:",
                    counted ? kTrue : kFalse);
    if (!counted) continue;
    count += thing.count;
    if (Errs("sum, " + thing.claim)) {
      count += Draw("sign, " + thing.claim) < 0.5 ? 1 : -1;
    }
    absl::StrAppend(&trace, "\nline:     count += ", thing.count,
                    "\ndelta state: {'count': ", count, "}");
  }
  return absl::StrCat(trace,
                      "\nline: answer = count\ndelta state: {'answer': ", count,
                      "}\n", kTraceEnd, "\n", kAnswer, " ", count);
}

}  // namespace repro::chain_of_code
